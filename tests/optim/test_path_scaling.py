"""Path norm and kappa against paths counted one by one, differences and a squared network."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim import path_scaling as module
from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_norm, path_rates, path_scaling, path_sums
from reproductions.optim.rescaling import rescale
from tests.paths import F64, SHAPES, brute_norm, brute_scaling, case, factors, paths

EXPONENTS = [2.0, 1.0, 3.0, 0.5]


def squared_network(layout: Layout, powers: Tensor) -> Tensor:
    """Return gamma_net (E,) as the outputs of a network of powers that is fed ones."""
    x = powers.new_ones(len(powers), layout.widths[0])
    for weight, bias in layout.views(powers):
        x = torch.relu(torch.einsum("ei,eio->eo", x, weight) + bias)
    return x.sum(1)


@pytest.mark.parametrize("p", EXPONENTS)
@pytest.mark.parametrize("widths", SHAPES)
def test_norm_and_scaling_are_sums_over_paths(widths: tuple[int, ...], p: float):
    layout, theta = case(widths, members=2)
    norm, kappa = path_norm(layout, theta, p), path_scaling(layout, theta, p)
    for member, own in enumerate(theta):
        torch.testing.assert_close(norm[member], brute_norm(layout, own, p), rtol=1e-12, atol=0)
        wanted = brute_scaling(layout, own, p)
        torch.testing.assert_close(kappa[member], wanted, rtol=1e-11, atol=0)


def test_paths_from_inputs_and_from_biases_are_all_there():
    layout = Layout((3, 4, 5, 2))
    assert len(list(paths(layout))) == 3 * 4 * 5 * 2 + 4 * 5 * 2 + 5 * 2 + 2
    ones = torch.ones(1, layout.parameters, dtype=F64)
    assert path_norm(layout, ones).item() == 3 * 4 * 5 * 2 + 4 * 5 * 2 + 5 * 2 + 2


@pytest.mark.parametrize("p", EXPONENTS)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_scaling_is_the_derivative_of_the_network_of_powers(p: float, widths: list[int], seed: int):
    layout = Layout(tuple(widths))
    theta = layout.initialise([seed, seed + 1], dtype=F64)
    powers = theta.abs() ** p
    slopes = torch.func.grad(lambda at: squared_network(layout, at).sum())(powers)
    wanted = slopes ** (2 / p)
    torch.testing.assert_close(path_scaling(layout, theta, p), wanted, rtol=1e-11, atol=1e-300)
    norm = squared_network(layout, powers)
    torch.testing.assert_close(path_norm(layout, theta, p), norm, rtol=1e-12, atol=0)


def test_scaling_is_the_difference_quotient_by_the_squared_weight():
    """gamma_net is linear in each squared weight, so a difference of any size is exact."""
    layout, theta = case((3, 4, 5, 2), members=1)
    kappa = path_scaling(layout, theta)
    for column in range(layout.parameters):
        moved = theta.clone()
        moved[0, column] = (theta[0, column] ** 2 + 0.5).sqrt()
        quotient = (path_norm(layout, moved) - path_norm(layout, theta)) / 0.5
        torch.testing.assert_close(kappa[:, column], quotient, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("widths", SHAPES)
def test_without_biases_every_layer_accounts_for_the_whole_norm(widths: tuple[int, ...]):
    layout, theta = case(widths)
    for _, bias in layout.views(theta):
        bias.zero_()
    parts = layout.views(path_scaling(layout, theta) * theta**2)
    norm = path_norm(layout, theta)
    for weight, _ in parts:
        torch.testing.assert_close(weight.sum((1, 2)), norm, rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", EXPONENTS)
def test_rescaling_units_leaves_the_norm_and_scales_kappa_inversely(p: float):
    layout, theta = case((3, 4, 5, 2))
    moved = rescale(layout, theta, factors(layout, len(theta)))
    before, after = path_norm(layout, theta, p), path_norm(layout, moved, p)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=0)
    kept = [path_scaling(layout, at, p) * at**2 for at in (theta, moved)]
    torch.testing.assert_close(*kept, rtol=1e-11, atol=0)


def test_sizes_at_a_balanced_start_are_those_expected():
    """W of variance 1 / fan_in: gamma_in about 1, gamma_out about K / H, gamma_net about K."""
    layout = Layout((784, 800, 800, 10))
    theta = layout.initialise([0], scheme="he", dtype=F64) / math.sqrt(2)
    sums = path_sums(layout.views(theta))
    assert [part.mean().item() for part in sums.entering[1:]] == pytest.approx([1, 1], rel=0.05)
    wanted = pytest.approx([10 / 800] * 2, rel=0.1)
    assert [part.mean().item() for part in sums.leaving[:-1]] == wanted
    assert path_norm(layout, theta).item() == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("scratch", [1, 7, 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, scratch: int):
    layout, theta = case((3, 4, 5, 2))
    whole = path_scaling(layout, theta), path_norm(layout, theta)
    monkeypatch.setitem(module.SCRATCH, "cpu", scratch)
    parts = path_scaling(layout, theta), path_norm(layout, theta)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)


def test_rates_are_inverses_as_outer_products_and_zero_where_there_is_no_path():
    layout, theta = case((3, 4, 2))
    (first, bias), (second, _) = layout.views(theta)
    second[:, 1] = 0  # unit 1 leads nowhere
    first[:, :, 2] = bias[:, 2:3] = 0  # nothing arrives at unit 2
    kappa, rates = path_scaling(layout, theta), path_rates(layout.views(theta))
    for (weight, last), rate in zip(layout.views(kappa), rates, strict=True):
        found = rate.inputs.unsqueeze(2) * rate.outputs.unsqueeze(1)
        wanted = torch.where(weight == 0, 0.0, 1 / weight)
        torch.testing.assert_close(found, wanted, rtol=1e-13, atol=0)
        torch.testing.assert_close(rate.outputs, torch.where(last == 0, 0.0, 1 / last))
    assert (rates[0].outputs[:, 1] == 0).all() and (rates[1].inputs[:, 2] == 0).all()
    assert (rates[1].inputs[:, [0, 1, 3]] > 0).all()  # what leaves the dead unit 1 can move


def test_members_do_not_know_of_each_other():
    layout, theta = case((3, 4, 5, 2))
    whole = path_scaling(layout, theta)
    torch.testing.assert_close(path_scaling(layout, theta[1:2]), whole[1:2], rtol=1e-13, atol=0)
    theta[0, 3] = torch.nan
    spoiled = path_scaling(layout, theta)
    assert torch.equal(spoiled[1:], whole[1:]) and spoiled[0].isnan().any()


def test_everything_is_computed_in_the_dtype_of_theta():
    layout, theta = case((3, 4, 5, 2))
    found = path_scaling(layout, theta.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), path_scaling(layout, theta), rtol=1e-5, atol=0)


@pytest.mark.parametrize("p", [0.0, -2.0, math.inf, math.nan])
def test_exponents_that_make_no_norm_are_refused(p: float):
    layout, theta = case((3, 4, 2))
    for function in (path_norm, path_scaling):
        with pytest.raises(ValueError, match="p must be positive and finite, got"):
            function(layout, theta, p)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_scaling_is_the_same_on_a_gpu():
    layout, theta = case((3, 4, 5, 2))
    torch.testing.assert_close(
        path_scaling(layout, theta.cuda()).cpu(), path_scaling(layout, theta)
    )
