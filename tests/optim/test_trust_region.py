"""Steps in a region: no other point of it is lower, and what a change of scale does to them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.transform import Transform, inverse_sqrt
from reproductions.optim.trust_region import (
    REGIONS,
    averaged_ball,
    ball_multiplier,
    inverse_norm,
)

EPS = 0.3


@pytest.fixture
def gradient() -> Tensor:
    return torch.randn(4, 5, dtype=torch.float64, generator=generator(2018, 0))


def first(transform: Transform, gradient: Tensor) -> Tensor:
    theta = torch.zeros_like(gradient)
    return transform.update(gradient, transform.init(theta), theta)[0]


def others(gradient: Tensor, region: str) -> Tensor:
    """Return points (1000, E, P) of a region's boundary."""
    points = torch.randn(1000, *gradient.shape, dtype=torch.float64, generator=generator(2018, 1))
    order = 2 if region == "ball" else math.inf
    return EPS * points / torch.linalg.vector_norm(points, ord=order, dim=2, keepdim=True)


@pytest.mark.parametrize("region", REGIONS)
def test_no_sampled_point_of_the_region_is_lower(region: str, gradient: Tensor) -> None:
    step = first(REGIONS[region](EPS), gradient)
    elsewhere = (others(gradient, region) * gradient).sum(2)
    assert (elsewhere >= (step * gradient).sum(1) - 1e-12).all()


def test_the_ball_step_is_stationary_with_its_multiplier(gradient: Tensor) -> None:
    step = first(REGIONS["ball"](EPS), gradient)
    torch.testing.assert_close(torch.linalg.vector_norm(step, dim=1), gradient.new_full((4,), EPS))
    left = gradient + 2 * ball_multiplier(gradient, EPS) * step
    assert left.abs().max() < 1e-14


def test_the_box_step_lowers_the_model_by_the_sum_of_absolute_values(gradient: Tensor) -> None:
    decrease = (first(REGIONS["box"](EPS), gradient) * gradient).sum(1)
    torch.testing.assert_close(decrease, -EPS * gradient.abs().sum(1), rtol=1e-15, atol=1e-15)


def test_the_inverse_norm_step_is_the_plain_quotient(gradient: Tensor) -> None:
    for member, step in zip(gradient, first(inverse_norm(EPS), gradient), strict=True):
        torch.testing.assert_close(step, -EPS * member / sum(x * x for x in member))


@pytest.mark.parametrize("s", [1e-3, 0.5, 40.0])
def test_scaled_coordinates_leave_the_inverse_norm_step_alone(s: float, gradient: Tensor) -> None:
    # in w~ = s w the gradient is g / s, and a step of w~ moves w by step / s
    step, scaled = (first(inverse_norm(EPS), g) for g in (gradient, gradient / s))
    torch.testing.assert_close(scaled / s, step, rtol=1e-14, atol=0)


def test_the_averaged_ball_step_is_the_ball_step_of_the_mean(gradient: Tensor) -> None:
    transform, theta, mean = averaged_ball(EPS, 0.9), torch.zeros_like(gradient), 0.0
    state = transform.init(theta)
    for t in range(6):
        grad = gradient.roll(t, 1)
        mean = 0.9 * mean + 0.1 * grad
        step, state = transform.update(grad, state, theta)
        torch.testing.assert_close(step, first(REGIONS["ball"](EPS), mean))


def test_the_averaged_ball_follows_descent_on_average_where_the_ball_does_not() -> None:
    """On (-3 x) + (x) + (x + 1), one summand a step, minus the mean gradient points to +x."""
    moved = {}
    for name, transform in {"ball": REGIONS["ball"](1.0), "mean": averaged_ball(1.0, 0.99)}.items():
        theta = torch.zeros(1, 1, dtype=torch.float64)
        state = transform.init(theta)
        for t in range(900):
            grad = torch.tensor([[(-3.0, 1.0, 1.0)[t % 3]]], dtype=torch.float64)
            step, state = transform.update(grad, state, theta)
            theta = theta + step
        moved[name] = theta.item()
    assert moved["ball"] == -300.0
    assert moved["mean"] > 800


@pytest.mark.parametrize("transform", [inverse_norm(EPS), averaged_ball(EPS, 0.9)])
def test_a_zero_gradient_moves_nothing(transform: Transform, gradient: Tensor) -> None:
    assert not first(transform, torch.zeros_like(gradient)).any()


@pytest.mark.parametrize("make", [inverse_norm, lambda lr, **k: averaged_ball(lr, 0.5, **k)])
def test_members_are_alone_and_the_schedule_multiplies_the_rate(make, gradient: Tensor) -> None:
    lr = torch.tensor([[0.1], [0.2], [0.3], [0.4]], dtype=torch.float64)
    together, theta = make(lr, schedule=inverse_sqrt), torch.zeros_like(gradient)
    state = together.init(theta)
    for t in (1, 2):
        step, state = together.update(gradient, state, theta)
        for e in range(4):
            alone = first(make(lr[e].item() / math.sqrt(t)), gradient[e : e + 1])
            torch.testing.assert_close(step[e : e + 1], alone)
    size = torch.linalg.vector_norm(step, dim=1) / torch.linalg.vector_norm(gradient, dim=1)
    if make is inverse_norm:
        torch.testing.assert_close(together.rate(state)[:, 0], size)


def test_a_rate_below_zero_and_a_beta_of_one_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="lr must be finite and not negative, got -1.0"):
        inverse_norm(-1.0)
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got 1.0"):
        averaged_ball(1.0, 1.0)
