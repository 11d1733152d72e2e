"""Rescaling of units: the function stays, the gradient turns over, draws belong to their seeds."""

from __future__ import annotations

import math

import pytest
import torch

from reproductions.optim.layout import Layout
from reproductions.optim.rescaling import rescale, unbalancing_factors
from tests.paths import F64, SHAPES, case, data, factors, gradient, logits


@pytest.mark.parametrize("widths", SHAPES)
def test_rescaling_leaves_the_outputs(widths: tuple[int, ...]):
    layout, theta = case(widths)
    moved = rescale(layout, theta, factors(layout, len(theta)))
    inputs, _ = data(layout)
    one, two = (logits(layout, at, inputs) for at in (theta, moved))
    torch.testing.assert_close(two, one, rtol=1e-11, atol=1e-13)
    assert torch.equal(moved, theta) == (len(widths) == 2)


def test_gradients_scale_inversely_to_weights():
    layout, theta = case((3, 4, 5, 2))
    moved = rescale(layout, theta, factors(layout, len(theta)))
    inputs, targets = data(layout)
    pairs = [gradient(layout, at, inputs, targets) * at for at in (theta, moved)]
    torch.testing.assert_close(*pairs, rtol=1e-11, atol=1e-13)


def test_inverse_factors_bring_the_weights_back_and_the_start_is_left_alone():
    layout, theta = case((3, 4, 5, 2))
    before, by = theta.clone(), factors(layout, len(theta))
    moved = rescale(layout, theta, by)
    assert torch.equal(theta, before)
    back = rescale(layout, moved, [1 / part for part in by])
    torch.testing.assert_close(back, theta, rtol=1e-13, atol=0)


def test_factors_of_a_layer_may_be_common_to_all_members():
    layout, theta = case((3, 4, 5, 2))
    by = [part[0] for part in factors(layout, 1)]
    each = [part.expand(len(theta), -1) for part in by]
    assert torch.equal(rescale(layout, theta, by), rescale(layout, theta, each))


def test_a_function_in_float32_is_kept_to_one_part_in_a_hundred_thousand():
    layout = Layout((20, 60, 60, 10))
    theta = layout.initialise([0, 1])
    moved = rescale(layout, theta, unbalancing_factors(layout, [0, 1], draws=15))
    inputs = data(layout, 50)[0].float()
    one, two = (logits(layout, at, inputs) for at in (theta, moved))
    assert (two - one).norm() < 1e-5 * one.norm() and (moved / theta).max() > 5


def test_factors_belong_to_seeds_whatever_the_ensemble():
    layout = Layout((5, 40, 30, 3))
    three = unbalancing_factors(layout, [4, 9, 4], draws=[10, 7])
    alone = unbalancing_factors(layout, [9], draws=[10, 7])
    other = unbalancing_factors(layout, [9], draws=[10, 7], root_seed=1)
    for whole, one, else_ in zip(three, alone, other, strict=True):
        assert torch.equal(whole[1:2], one) and torch.equal(whole[0], whole[2])
        assert not torch.equal(whole[0], whole[1]) and not torch.equal(one, else_)
        assert whole.dtype == F64


def test_draws_are_the_protocol_of_the_paper():
    """1000 draws of 4000 units with replacement touch 22.1 per hundred; the median factor is 10."""
    layout = Layout((2, 4000, 4000, 2))
    for part in unbalancing_factors(layout, [0, 1], draws=1000):
        touched = part[part != 1]
        assert len(touched) / part.numel() == pytest.approx(1 - math.exp(-0.25), abs=0.01)
        assert touched.median().item() == pytest.approx(10, rel=0.35)  # some are drawn twice
    steady = unbalancing_factors(layout, [0], draws=1000, scale=3.0, spread=0.0)[0]
    powers = (steady.log() / math.log(3)).round()
    torch.testing.assert_close(3.0**powers, steady, rtol=1e-12, atol=0)
    assert powers.sum() == 1000 and powers.max() > 1  # a unit drawn twice has the product


def test_no_draws_leave_the_network():
    layout, theta = case((3, 4, 5, 2))
    by = unbalancing_factors(layout, [0, 1, 2], draws=0)
    assert torch.equal(rescale(layout, theta, by), theta)


def test_misuse_is_named():
    layout, theta = case((3, 4, 5, 2))
    ones = [torch.ones(4), torch.ones(5)]
    with pytest.raises(ValueError, match="factors must be 2, one per hidden layer, got 1"):
        rescale(layout, theta, ones[:1])
    with pytest.raises(ValueError, match=r"factors must have shape \(5,\) or \(3, 5\), got \(4,\)"):
        rescale(layout, theta, [ones[0], ones[0]])
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="factors must be positive and finite"):
            rescale(layout, theta, [ones[0] * bad, ones[1]])
    with pytest.raises(ValueError, match=r"draws must be 2 numbers not below 0, got \[3\]"):
        unbalancing_factors(layout, [0], draws=[3])
    with pytest.raises(ValueError, match="scale must be positive and spread not negative"):
        unbalancing_factors(layout, [0], draws=3, scale=0.0)
