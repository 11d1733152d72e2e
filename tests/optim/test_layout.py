from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reproductions.optim.layout import SCHEMES, Layout

WIDTHS = st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple)


@given(WIDTHS, st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_views_cover_every_column_once_and_share_memory(widths: tuple[int, ...], members: int):
    layout = Layout(widths)
    theta = torch.zeros(members, layout.parameters)
    for weight, bias in layout.views(theta):
        weight += 1
        bias += 1
    assert torch.equal(theta, torch.ones_like(theta))
    for (weight, bias), inputs, outputs in zip(
        layout.views(theta), widths, widths[1:], strict=False
    ):
        assert weight.shape == (members, inputs, outputs)
        assert bias.shape == (members, outputs)


def test_columns_are_ordered_as_torch_orders_its_parameters():
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()[None]
    (first, bias), (second, _) = Layout((5, 4, 3)).views(flat)
    assert torch.equal(first[0], model[0].weight.T)
    assert torch.equal(bias[0], model[0].bias)
    assert torch.equal(second[0], model[2].weight.T)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_seed_gives_the_same_member_in_every_ensemble_and_precision(scheme: str):
    layout = Layout((6, 5, 3))
    together = layout.initialise([3, 1, 4, 1], scheme=scheme, dtype=torch.float64)
    alone = layout.initialise([4], scheme=scheme, dtype=torch.float64)
    assert torch.equal(together[2], alone[0])
    assert torch.equal(together[1], together[3])
    assert torch.equal(layout.initialise([4], scheme=scheme), alone.float())


def test_other_seeds_and_other_roots_give_other_members():
    layout = Layout((6, 5, 3))
    a, b = layout.initialise([1, 2])
    assert not torch.equal(a, b)
    assert not torch.equal(a, layout.initialise([1], root_seed=7)[0])


def test_initialisers_have_their_stated_spread():
    layout = Layout((400, 300))

    def drawn(scheme: str) -> tuple[torch.Tensor, torch.Tensor]:
        ((weight, bias),) = layout.views(layout.initialise([0], scheme=scheme, dtype=torch.float64))
        return weight, bias

    weight, bias = drawn("uniform")
    assert weight.abs().max() <= 1 / 20 and bias.abs().max() <= 1 / 20
    assert weight.std() == pytest.approx(1 / 20 / 3**0.5, rel=0.01)
    weight, bias = drawn("he")
    assert weight.std() == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert not bias.any()
    weight, bias = drawn("glorot")
    assert weight.std() == pytest.approx((2 / 700) ** 0.5, rel=0.01)
    assert not bias.any()
    for scheme, spread in (
        ("glorot_normal", (2 / 700) ** 0.5), ("normal_0.02", 0.02), ("normal_0.08", 0.08)
    ):  # fmt: skip
        weight, bias = drawn(scheme)
        assert weight.std() == pytest.approx(spread, rel=0.01)
        assert (weight.abs() > 3 * spread).any()  # normal: a uniform one ends at 1.73
        assert not bias.any()


def test_a_default_member_is_distributed_like_torch_initialises():
    theta = Layout((784, 100, 10)).initialise([0])
    (first, _), (second, _) = Layout((784, 100, 10)).views(theta)
    assert first.abs().max() == pytest.approx(784**-0.5, rel=1e-3)
    assert second.abs().max() == pytest.approx(100**-0.5, rel=1e-2)


@pytest.mark.parametrize("widths", [(), (3,), (3, 0), (3, -1, 2)])
def test_impossible_widths_are_refused(widths: tuple[int, ...]):
    with pytest.raises(ValueError, match="widths"):
        Layout(widths)


def test_misuse_is_named():
    with pytest.raises(ValueError, match="scheme must be one of uniform"):
        Layout((2, 2)).initialise([0], scheme="orthogonal")
    with pytest.raises(ValueError, match=r"theta must have shape \(E, 6\)"):
        Layout((2, 2)).views(torch.zeros(1, 5))


@pytest.mark.parametrize(("scheme", "low"), [("unit_cube", 0.0), ("symmetric_cube", -1.0)])
def test_cubes_fill_their_sides_with_weights_and_biases(scheme, low):
    theta = Layout((100, 30, 10)).initialise([0, 1], scheme=scheme, dtype=torch.float64)
    assert low <= theta.min() < low + 0.01 and 0.99 < theta.max() <= 1
    assert theta.mean().item() == pytest.approx((1 + low) / 2, abs=0.02)
    bias = Layout((100, 30, 10)).views(theta)[0][1]
    assert bias.std() > 0.2
