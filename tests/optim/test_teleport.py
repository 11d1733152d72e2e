"""Teleports: the formula unit by unit, the same function, the law of gradients, norms without teleports."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.teleport import (
    conjugated,
    factors,
    layer_norms,
    norms,
    random_basis,
    recover,
    scaling,
    teleport,
    teleport_gradient,
    units,
)
from tests.networks import F64, PLAIN
from tests.paths import SHAPES, case, data, logits

LAYOUT = Layout((3, 4, 5, 2))
WIDTHS = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)
CONJUGATED = ["tanh", "sigmoid", "relu", "linear"]


def basis(layout: Layout, members: int = 3, kind: str = "inter", sigma: float = 0.9) -> Tensor:
    return random_basis(layout, range(members), sigma, kind=kind, root_seed=4)


def slow_teleport(layout: Layout, theta: Tensor, tau: Tensor) -> Tensor:
    """Return the teleported theta (E, P), one weight at a time."""
    moved = theta.clone()
    for member in range(len(theta)):
        hidden = list(tau[member].split(list(layout.widths[1:-1])))
        ends = [torch.ones(layout.widths[0]), *hidden, torch.ones(layout.widths[-1])]
        for depth, layer in enumerate(layout.layers):
            for above in range(layer.fan_out):
                factor = ends[depth + 1][above]
                moved[member, layer.bias + above] *= factor
                for below in range(layer.fan_in):
                    place = layer.start + above * layer.fan_in + below
                    moved[member, place] *= factor / ends[depth][below]
    return moved


def outputs(
    layout: Layout, theta: Tensor, x: Tensor, activation: str, tau: Tensor | None = None
) -> Tensor:
    """Return (E, B, K), written as the formula reads, activations conjugated if there is a tau."""
    hidden = layout.widths[1:-1]
    each = list(tau.split(list(hidden), 1)) if tau is not None else [None] * len(hidden)
    for (weight, bias), factor in zip(layout.views(theta), [*each, None], strict=True):
        x = x @ weight + bias[:, None]
        if weight.data_ptr() == layout.views(theta)[-1][0].data_ptr():
            return x
        x = (
            PLAIN[activation](x)
            if factor is None
            else (factor[:, None] * PLAIN[activation](x / factor[:, None]))
        )
    return x


@pytest.mark.parametrize("widths", SHAPES)
def test_a_teleport_multiplies_every_weight_by_outputs_over_inputs(widths: tuple[int, ...]):
    layout, theta = case(widths)
    tau, before = basis(layout), theta.clone()
    moved = teleport(layout, theta, tau)
    torch.testing.assert_close(moved, slow_teleport(layout, theta, tau), rtol=1e-14, atol=0)
    torch.testing.assert_close(scaling(layout, tau) * theta, moved, rtol=1e-14, atol=0)
    assert torch.equal(theta, before)


@pytest.mark.parametrize("widths", SHAPES)
def test_positive_factors_leave_a_relu_network_an_ordinary_one_of_the_same_outputs(
    widths: tuple[int, ...],
):
    layout, theta = case(widths)
    inputs, _ = data(layout)
    moved = teleport(layout, theta, basis(layout, kind="intra"))
    one, two = (outputs(layout, at, inputs, "relu") for at in (theta, moved))
    torch.testing.assert_close(two, one, rtol=1e-11, atol=1e-13)
    assert torch.equal(moved, theta) == (len(widths) == 2)


@pytest.mark.parametrize("activation", CONJUGATED)
def test_any_factors_leave_the_outputs_where_activations_are_conjugated(activation: str):
    layout, theta = case(LAYOUT.widths)
    inputs, _ = data(layout)
    tau = basis(layout)
    assert (tau < 0).any() and (tau > 0).any()
    moved, plain = teleport(layout, theta, tau), outputs(layout, theta, inputs, activation)
    torch.testing.assert_close(
        outputs(layout, moved, inputs, activation, tau), plain, rtol=1e-10, atol=1e-12
    )
    changed = (outputs(layout, moved, inputs, activation) - plain).abs().max()
    assert (changed > 1e-3) == (activation != "linear")  # a linear network needs no conjugation


@pytest.mark.parametrize("activation", CONJUGATED)
def test_conjugation_is_the_formula_unit_by_unit(activation: str):
    values, tau = torch.randn(2, 6, 4, dtype=F64), basis(Layout((1, 4, 1)), 2)
    found = conjugated(activation, values, tau)
    for member in range(2):
        for unit in range(4):
            factor = tau[member, unit]
            wanted = factor * PLAIN[activation](values[member, :, unit] / factor)
            torch.testing.assert_close(found[member, :, unit], wanted, rtol=1e-15, atol=0)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_gradients_at_the_teleport_are_those_before_over_the_same_factors(activation: str):
    layout, theta = case(LAYOUT.widths)
    inputs, targets = data(layout)
    tau = basis(layout, kind="intra" if activation == "relu" else "inter")

    def gradient(at: Tensor, by: Tensor | None) -> Tensor:
        def loss(own: Tensor) -> Tensor:
            logits = torch.log_softmax(outputs(layout, own, inputs, activation, by), 2)
            index = targets[None, :, None].expand(len(own), -1, 1)
            return -logits.gather(2, index).mean((1, 2)).sum()

        leaf = at.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0]

    plain = gradient(theta, None)
    law = teleport_gradient(layout, plain, tau)
    torch.testing.assert_close(law * scaling(layout, tau), plain, rtol=1e-13, atol=0)
    by_autograd = gradient(teleport(layout, theta, tau), None if activation == "relu" else tau)
    torch.testing.assert_close(by_autograd, law, rtol=1e-10, atol=1e-13)


@given(WIDTHS, st.integers(0, 1000), st.sampled_from(["intra", "inter", "centred"]))
@settings(max_examples=40, deadline=None)
def test_teleports_compose_by_products_and_are_undone_by_inverses(
    widths: tuple[int, ...], seed: int, kind: str
):
    layout = Layout(widths)
    theta = layout.initialise([seed, seed + 1], dtype=F64)
    one, two = (random_basis(layout, [s, s + 7], 0.8, kind=kind) for s in (seed, seed + 3))
    there = teleport(layout, teleport(layout, theta, one), two)
    torch.testing.assert_close(there, teleport(layout, theta, one * two), rtol=1e-12, atol=0)
    back = teleport(layout, there, 1 / (one * two))
    torch.testing.assert_close(back, theta, rtol=1e-12, atol=0)


@given(WIDTHS, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_change_of_basis_is_recovered_from_both_networks(widths: tuple[int, ...], seed: int):
    layout = Layout(widths)
    theta = layout.initialise([seed, seed + 1], dtype=F64)
    tau = random_basis(layout, [seed, seed + 5], 0.9, kind="inter")
    found = recover(layout, theta, teleport(layout, theta, tau))
    assert found.shape == tau.shape and found.dtype == F64
    torch.testing.assert_close(found, tau, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        recover(layout, theta, theta), torch.ones_like(tau), rtol=1e-12, atol=0
    )


def test_what_is_recovered_in_float32_leads_to_the_target():
    layout, theta = case((20, 30, 30, 5))
    theta, tau = theta.float(), basis(Layout((20, 30, 30, 5)))
    moved = teleport(layout, theta, tau)
    found = recover(layout, theta, moved)
    torch.testing.assert_close(found, tau, rtol=1e-5, atol=0)
    torch.testing.assert_close(teleport(layout, theta, found), moved, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("power", [2, -2, 1, -1])
@pytest.mark.parametrize("widths", SHAPES)
def test_norms_are_those_of_teleports_that_were_made(widths: tuple[int, ...], power: int):
    layout, theta = case(widths, 1)
    tau = basis(layout, 6)
    made = theta[0] * scaling(layout, tau) ** power
    found = norms(layout, theta[0], tau, power=power)
    torch.testing.assert_close(found, made.sum(1), rtol=1e-10, atol=1e-12)
    parts = layer_norms(layout, theta[0], tau, power=power)
    for depth, (weight, bias) in enumerate(layout.views(made)):
        torch.testing.assert_close(parts[:, depth, 0], weight.sum((1, 2)), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(parts[:, depth, 1], bias.sum(1), rtol=1e-10, atol=1e-12)


def test_squared_norms_of_weights_and_gradient_and_their_product_come_from_the_same_sums():
    layout, theta = case((3, 4, 5, 2), 1)
    slope, tau = torch.randn_like(theta), basis(Layout((3, 4, 5, 2)), 5)
    moved, there = teleport(layout, theta, tau), teleport_gradient(layout, slope, tau)
    for own, power, made in (
        (theta[0] ** 2, 2, moved**2),
        (slope[0] ** 2, -2, there**2),
        (theta[0] * slope[0], 1, moved * slope),
    ):
        torch.testing.assert_close(norms(layout, own, tau, power=power), made.sum(1))


def test_norms_are_read_in_float64_whatever_they_are_given_in():
    layout, theta = case((3, 4, 2), 1)
    tau = basis(layout, 4)
    low = norms(layout, theta[0].float(), tau.float())
    assert low.dtype == F64
    torch.testing.assert_close(low, norms(layout, theta[0], tau), rtol=1e-6, atol=0)


def test_one_network_may_be_teleported_often_and_many_by_one_change_of_basis():
    layout, theta = case(LAYOUT.widths)
    tau = basis(layout)
    often = teleport(layout, theta[:1], tau)
    assert torch.equal(often, teleport(layout, theta[:1].expand(3, -1).contiguous(), tau))
    alike = teleport(layout, theta, tau[:1])
    assert torch.equal(alike, teleport(layout, theta, tau[:1].expand(3, -1)))


def test_a_seed_is_teleported_alike_in_every_ensemble():
    layout, seeds = LAYOUT, [4, 9, 4]
    theta = layout.initialise(seeds)
    whole = teleport(layout, theta, random_basis(layout, seeds, 0.9))
    alone = teleport(layout, layout.initialise([9]), random_basis(layout, [9], 0.9))
    assert torch.equal(whole[1:2], alone) and torch.equal(whole[0], whole[2])
    assert not torch.equal(whole[0], whole[1])
    assert whole.dtype == torch.float32


def test_a_result_may_be_written_into_a_buffer():
    layout, theta = case(LAYOUT.widths)
    tau, place = basis(layout), torch.full_like(theta, math.nan)
    found = teleport(layout, theta, tau, out=place)
    assert found is place
    assert torch.equal(place, teleport(layout, theta, tau))
    with pytest.raises(ValueError, match=r"out must be \(3, 53\)"):
        teleport(layout, theta, tau, out=place[:2])


def test_float32_is_float64_up_to_rounding():
    layout, theta = case((30, 40, 40, 10))
    tau = basis(layout)
    found = teleport(layout, theta.float(), tau)
    torch.testing.assert_close(found.double(), teleport(layout, theta, tau), rtol=4e-7, atol=0)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, -math.inf])
def test_a_factor_that_is_no_factor_is_named_by_its_unit(bad: float):
    layout, theta = case(LAYOUT.widths)
    tau = basis(layout)
    tau[1, 6] = bad
    tau[2, 0] = bad
    message = r"tau of member 1, unit 6 must be finite and not 0: (-?0\.0|nan|-?inf)"
    for run in (
        lambda: teleport(layout, theta, tau),
        lambda: teleport_gradient(layout, theta, tau),
        lambda: norms(layout, theta[0], tau),
        lambda: factors(layout, tau),
    ):
        with pytest.raises(ValueError, match=message):
            run()


def test_shapes_that_do_not_fit_are_told():
    layout, theta = case(LAYOUT.widths)
    tau = basis(layout)
    with pytest.raises(ValueError, match=r"tau must have shape \(E, 9\), got \(3, 8\)"):
        teleport(layout, theta, tau[:, :8])
    with pytest.raises(ValueError, match=r"tau must have shape \(E, 9\), got \(9,\)"):
        factors(layout, tau[0])
    with pytest.raises(ValueError, match="as many members, got 3, 2"):
        teleport(layout, theta, tau[:2])
    with pytest.raises(ValueError, match=r"theta must have shape \(E, 53\), got \(3, 50\)"):
        teleport(layout, theta[:, :50], tau)
    with pytest.raises(ValueError, match="as many members, got 3, 2"):
        recover(layout, theta, theta[:2])


def test_a_unit_of_which_nothing_can_be_recovered_is_named():
    layout, theta = case(LAYOUT.widths)
    for at, which in ((theta.clone(), 0), (theta.clone(), 1)):
        weight, bias = layout.views(at)[1]
        weight[2, :, 3] = bias[2, 3] = 0
        pair = (at, theta) if which == 0 else (theta, at)
        with pytest.raises(ValueError, match="unit 3 of hidden layer 1, member 2"):
            recover(layout, *pair)


def test_an_activation_that_torch_does_not_have_is_named():
    with pytest.raises(ValueError, match="activation 'wobble' is not known to torch"):
        conjugated("wobble", torch.zeros(1, 1, 1), torch.ones(1, 1))


def test_a_network_without_hidden_units_has_nothing_to_teleport():
    layout = Layout((3, 2))
    theta = layout.initialise([0, 1])
    assert units(layout) == 0
    assert torch.equal(teleport(layout, theta, torch.ones(2, 0)), theta)
    assert recover(layout, theta, theta).shape == (2, 0)


def test_a_basis_of_little_precision_is_read_in_full():
    layout, theta = case((3, 4, 5, 2))
    tau = random_basis(layout, range(len(theta)), 0.9).to(torch.float16)
    inputs = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, two = (logits(layout, at, inputs) for at in (theta, teleport(layout, theta, tau)))
    torch.testing.assert_close(two, one, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("first, second", [(1e-60, 1.0), (1e60, 1.0), (1e-30, 1e30), (1e30, 1e-30)])
def test_factors_that_leave_the_range_of_the_weights_are_refused(first: float, second: float):
    layout = Layout((3, 1, 1, 2))
    theta = layout.initialise([0])
    with pytest.raises(ValueError, match="range of torch.float32"):
        teleport(layout, theta, torch.tensor([[first, second]], dtype=torch.float64))
