"""The forward pass over a whole data set against the multilayer perceptron's own loss."""

from __future__ import annotations

import pytest
import torch

from reproductions.optim.layout import Layout
from reproductions.problems import whole_set
from reproductions.problems.mlp import MLP
from reproductions.problems.whole_set import WholeSet

F64 = torch.float64
SHAPES = [(6, 4), (6, 5, 4), (6, 5, 7, 4)]


def data(n: int = 40, width: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, width, generator=source, dtype=F64)
    return inputs, torch.randint(0, classes, (n,), generator=source)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("room", [1 << 30, 5000])
def test_the_loss_is_the_networks(shape: tuple[int, ...], room: int, monkeypatch):
    monkeypatch.setattr(whole_set, "CPU_BYTES", room)  # all at once, or few examples a pass
    layout, (inputs, targets) = Layout(shape), data()
    theta = layout.initialise(range(5), dtype=F64) * 3
    wanted = MLP(layout).loss(theta, inputs[None], targets[None])
    energy = WholeSet(layout, inputs, targets)
    torch.testing.assert_close(energy(theta), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(energy(theta[1:3]), wanted[1:3], rtol=1e-12, atol=1e-12)


def test_large_logits_do_not_overflow():
    layout, (inputs, targets) = Layout((6, 5, 4)), data()
    theta = layout.initialise(range(3), dtype=F64) * 300
    wanted = MLP(layout).loss(theta, inputs[None], targets[None])
    assert wanted.isfinite().all() and (wanted > 1000).all()
    torch.testing.assert_close(WholeSet(layout, inputs, targets)(theta), wanted)


def test_losses_handed_out_are_not_overwritten_and_theta_is_left_alone():
    layout = Layout((6, 5, 4))
    energy, theta = WholeSet(layout, *data()), layout.initialise(range(3), dtype=F64)
    before, first = theta.clone(), energy(theta)
    kept = first.clone()
    energy(theta + 1)
    assert torch.equal(first, kept)
    assert torch.equal(theta, before)


def test_misuse_is_named():
    inputs, targets = data()
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(40, 5\)"):
        WholeSet(Layout((6, 4)), inputs[:, :5], targets)
    with pytest.raises(ValueError, match=r"targets must have shape \(40,\), got \(39,\)"):
        WholeSet(Layout((6, 4)), inputs, targets[:-1])
