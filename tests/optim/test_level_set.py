"""Level-set teleports: what they keep, what they raise, and where they know the answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from reproductions.optim import level_set
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.objective import Autograd

F64 = torch.float64
CURVES = torch.tensor([[1.0, 4.0], [3.0, 0.5]], dtype=F64)


def bowl(theta: Tensor) -> Tensor:
    return (CURVES[: len(theta)] * theta.square()).sum(1) / 2


def one_bowl(theta: Tensor) -> Tensor:
    return (CURVES[0] * theta.square()).sum(1) / 2


def network(activations: str = "tanh", dtype: torch.dtype = F64) -> tuple[NetworkLoss, Tensor]:
    layout, source = Layout((5, 6, 4)), torch.Generator().manual_seed(2)
    inputs = torch.randn(40, 5, generator=source, dtype=F64).to(dtype)
    labels = torch.randint(4, (40,), generator=source)
    loss = NetworkLoss(layout, inputs, labels, activations=activations)
    return loss, layout.initialise(range(6), dtype=dtype)


def test_on_a_bowl_the_steepest_place_is_on_the_axis_of_largest_curvature():
    theta = torch.tensor([[1.0, 0.3], [-2.0, 0.1], [0.5, -1.0]], dtype=F64)
    got = level_set.teleport(Autograd(one_bowl), theta, steps=100, rate=0.1, tolerance=1e-2)
    height = one_bowl(theta)
    wanted = (2 * height / 4.0).sqrt()  # of the second coordinate, where the first is zero
    torch.testing.assert_close(got.theta[:, 1].abs(), wanted, rtol=2e-2, atol=0)
    assert got.theta[:, 0].abs().max() < 0.3
    torch.testing.assert_close(got.norm, 4 * wanted, rtol=2e-2, atol=0)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
@pytest.mark.parametrize("activations", ["tanh", "relu"])
def test_the_loss_stays_within_its_tolerance_and_the_gradient_grows(
    activations: str, tolerance: float
):
    loss, theta = network(activations)
    got = level_set.teleport(loss, theta, steps=15, tolerance=tolerance)
    assert (got.loss <= got.first_loss * (1 + tolerance)).all()
    assert (got.norm > 1.2 * got.first_norm).all()
    again, gradient = loss.gradient(got.theta)
    torch.testing.assert_close(again, got.loss, rtol=1e-12, atol=0)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    torch.testing.assert_close(norm, got.norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.loss(theta), got.first_loss, rtol=1e-12, atol=0)


def test_more_steps_never_lead_to_a_smaller_gradient_within_a_closed_tolerance():
    loss, theta = network()
    norms = [
        level_set.teleport(loss, theta, steps=steps, tolerance=0.0).norm for steps in range(1, 9)
    ]
    for one, two in pairwise(norms):
        assert (two >= one * (1 - 1e-12)).all()


def test_a_member_moves_as_it_would_alone():
    loss, theta = network()
    together = level_set.teleport(loss, theta, steps=6)
    for member in range(len(theta)):
        alone = level_set.teleport(loss, theta[member : member + 1], steps=6)
        torch.testing.assert_close(alone.theta[0], together.theta[member], rtol=1e-8, atol=1e-10)
        assert alone.cost[0] == together.cost[member]


def test_a_step_is_best_to_first_order():
    loss, theta = network()
    at = level_set._look(loss, theta)
    slope = loss.product(theta, at.gradient) / at.norm[:, None].square()
    rho = torch.full((len(theta),), 0.1, dtype=F64)
    step, promise, _ = level_set._step(at, slope, rho, at.loss)
    linear = (step * at.gradient).sum(1)
    assert (linear <= 1e-12).all()  # the linearised loss is allowed
    assert (promise > 0).all()

    def value(d: Tensor) -> Tensor:
        return (slope * d).sum(1) - d.square().sum(1) / (2 * rho)

    source = torch.Generator().manual_seed(0)
    for _ in range(200):
        other = step + 0.05 * torch.randn(step.shape, generator=source, dtype=F64)
        over = (other * at.gradient).sum(1).clamp(min=0) / at.norm.square()
        other = other - over[:, None] * at.gradient
        assert (value(other) <= value(step) + 1e-12).all()


def test_the_cost_counts_gradients_products_and_tries():
    class Counting:
        def __init__(self, inner: NetworkLoss) -> None:
            self.inner, self.gradients, self.products = inner, 0, 0

        def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
            self.gradients += len(theta)
            return self.inner.gradient(theta)

        def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
            self.products += len(theta)
            return self.inner.product(theta, vectors)

    loss, theta = network()
    counting = Counting(loss)
    got = level_set.teleport(counting, theta, steps=5)  # type: ignore[arg-type]
    assert got.cost.sum() == counting.gradients + level_set.PRODUCT * counting.products
    assert counting.products == 5 * len(theta)


def test_a_member_at_rest_or_lost_stays():
    theta = torch.tensor([[0.0, 0.0], [torch.inf, 1.0], [1.0, 1.0]], dtype=F64)
    got = level_set.teleport(Autograd(one_bowl), theta, steps=5)
    assert torch.equal(got.theta[:2], theta[:2])
    assert not torch.equal(got.theta[2], theta[2])


def test_float32_serves_as_well():
    loss, theta = network("relu", torch.float32)
    got = level_set.teleport(loss, theta, steps=8)
    assert got.theta.dtype == torch.float32
    assert (got.loss <= got.first_loss * (1 + 1e-3)).all()
    assert (got.norm > got.first_norm).all()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rate": 0.0}, {"tries": 0}, {"tolerance": -1e-3}])
def test_misuse_is_named(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="all must be positive, the tolerance not negative"):
        level_set.teleport(Autograd(bowl), torch.ones(1, 2, dtype=F64), **{"steps": 1, **wrong})
