"""Looks at changes around one unit against whole forward passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.annealing import anneal, legal_flips, legal_start
from reproductions.optim.layout import Layout
from reproductions.problems.unitwise import Unitwise, unit_groups
from reproductions.problems.whole_set import WholeSet

F64 = torch.float64
LAYOUT = Layout((6, 5, 4))
LEVELS = (-1.0, 0.0, 1.0)


def data(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(40, 6, generator=source, dtype=F64) * scale
    return inputs, torch.randint(0, 4, (40,), generator=source)


def walk(
    levels: tuple[float, ...], scale: float, dtype: torch.dtype, steps: int = 400
) -> tuple[Tensor, Tensor]:
    """Flip and keep at random, for several rounds of all groups; return looks and true energies."""
    source, (inputs, targets) = torch.Generator().manual_seed(1), data(scale)
    energy = Unitwise(LAYOUT, inputs.to(dtype), targets, levels)
    whole = WholeSet(LAYOUT, inputs, targets)
    theta = legal_start(levels, LAYOUT.parameters, range(3)).to(dtype)
    pairs = [(energy.start(theta), whole(theta.double()))]
    for step in range(steps):
        group = (step // 11) % len(energy.groups)
        columns = energy.groups[group]
        place = torch.rand(3, len(columns), generator=source).topk(1 + step % 3, 1).indices
        value = torch.tensor(levels, dtype=dtype)[
            torch.randint(len(levels), place.shape, generator=source)
        ]
        changed = theta.scatter(1, columns[place], value)
        pairs.append((energy.look(group, place, value), whole(changed.double())))
        accepted = torch.rand(3, generator=source) < 0.5
        energy.keep(accepted)
        theta = torch.where(accepted[:, None], changed, theta)
    looked, wanted = zip(*pairs, strict=True)
    return torch.stack(looked).double(), torch.stack(wanted)


@pytest.mark.parametrize("levels", [LEVELS, (-0.5, 0.25), (-2.0, -1.0, 0.5, 1.0)])
def test_a_look_is_a_whole_forward_pass(levels: tuple[float, ...]):
    torch.testing.assert_close(*walk(levels, 1.0, F64), rtol=1e-12, atol=1e-12)


def test_rounding_does_not_add_up():
    looked, wanted = walk(LEVELS, 1.0, torch.float32, steps=1000)
    torch.testing.assert_close(looked[-100:], wanted[-100:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_logits_of_any_size_are_seen_to(dtype: torch.dtype):
    """Exponentials of hundreds overflow float32; the looks then take the long way."""
    torch.testing.assert_close(*walk(LEVELS, 100.0, dtype), rtol=1e-5, atol=1e-5)


def test_annealing_by_looks_is_annealing_by_whole_passes():
    inputs, targets = data()
    told, whole = Unitwise(LAYOUT, inputs, targets, LEVELS), WholeSet(LAYOUT, inputs, targets)
    start = legal_start(LEVELS, LAYOUT.parameters, range(4)).double()
    found = [
        anneal(energy, start, legal_flips(LEVELS, lambda step: 2, told.groups), steps=500,
               temperature=lambda step: 0.02, seeds=range(4), record_at=[500])
        for energy in (told, whole)
    ]  # fmt: skip
    assert torch.equal(found[0].theta, found[1].theta)
    torch.testing.assert_close(found[0].best_energy, found[1].best_energy)


def test_every_weight_is_in_one_group_and_the_last_biases_in_one_of_every_unit():
    columns, counts = torch.cat(unit_groups(LAYOUT)).unique(return_counts=True)
    assert torch.equal(columns, torch.arange(LAYOUT.parameters))
    assert counts.tolist() == [1] * (LAYOUT.parameters - 4) + [5] * 4


def test_a_network_of_another_depth_is_refused():
    with pytest.raises(ValueError, match="one hidden layer"):
        Unitwise(Layout((6, 4)), *data(), LEVELS)
