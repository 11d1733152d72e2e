"""Bowls and the well: derivatives against autograd, and the numbers the docstrings name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.objective import Autograd
from reproductions.problems.quadratics import (
    CENTRE,
    Bowl,
    Well,
    random_bowls,
)

CURVATURES = torch.tensor([0.2, 1.0, 3.0, 20.0], dtype=torch.float64)


@pytest.fixture
def bowl() -> Bowl:
    return Bowl(random_bowls([generator(2018, seed) for seed in range(3)], CURVATURES))


@pytest.fixture
def theta() -> Tensor:
    return torch.randn(3, 4, dtype=torch.float64, generator=generator(2018, 9))


def test_a_bowls_derivatives_are_autograds(bowl: Bowl, theta: Tensor) -> None:
    oracle, vectors = Autograd(bowl.loss), theta.flip(1)
    torch.testing.assert_close(bowl.curvature(theta), tuple(oracle.curvature(theta)))
    torch.testing.assert_close(bowl.gradient(theta), oracle.gradient(theta))
    torch.testing.assert_close(bowl.product(theta, vectors), oracle.product(theta, vectors))
    torch.testing.assert_close(bowl.gauss_newton(theta), oracle.curvature(theta).hessian)


def test_a_random_bowl_has_the_eigenvalues_asked_for_in_its_own_frame(bowl: Bowl) -> None:
    values = torch.linalg.eigvalsh(bowl.matrix)
    torch.testing.assert_close(values, CURVATURES.expand(3, 4))
    assert (bowl.matrix[0] - bowl.matrix[1]).abs().max() > 0.1


def test_a_bowl_does_not_depend_on_the_others(bowl: Bowl) -> None:
    alone = random_bowls([generator(2018, 1)], CURVATURES)
    torch.testing.assert_close(alone[0], bowl.matrix[1], rtol=0, atol=0)


def test_the_plateau_is_flat_and_the_ravine_steep_across() -> None:
    points = torch.tensor([[0.0, 1.0], [CENTRE, 0.0]], dtype=torch.float64)
    value, gradient, hessian = Autograd(Well().loss).curvature(points)
    size = torch.linalg.vector_norm(gradient, dim=1)
    assert 0 < size[0].item() < 1e-4
    assert 2 / 6.25 * size[0].item() < 4e-5
    torch.testing.assert_close(Well().gradient(points), (value, gradient))
    torch.testing.assert_close(hessian[1], torch.diag(points.new_tensor([0.25, 6.25])))
    assert (value[1].item(), size[1].item()) == (-1.0, 0.0)


def test_the_well_is_not_convex() -> None:
    points = torch.tensor([[0.0, 1.0], [4.0, 0.0]], dtype=torch.float64)
    assert (torch.linalg.eigvalsh(Autograd(Well().loss).curvature(points)[2])[:, 0] < 0).all()
