"""The plain objective agrees with a polynomial's own derivatives."""

from __future__ import annotations

import torch

from reproductions.optim.objective import Autograd


def quartic(theta: torch.Tensor) -> torch.Tensor:
    x, y = theta.unbind(1)
    return x**4 + 3 * x * y**2


def test_autograd_gives_the_derivatives_of_a_polynomial():
    theta = torch.tensor([[1.0, 2.0], [-0.5, 0.25]], dtype=torch.float64)
    x, y = theta.unbind(1)
    found = Autograd(quartic).curvature(theta)
    torch.testing.assert_close(found.loss, x**4 + 3 * x * y**2)
    torch.testing.assert_close(found.gradient, torch.stack([4 * x**3 + 3 * y**2, 6 * x * y], 1))
    rows = [torch.stack([12 * x**2, 6 * y], 1), torch.stack([6 * y, 6 * x], 1)]
    torch.testing.assert_close(found.hessian, torch.stack(rows, 1))


def test_products_of_autograd_are_those_of_its_hessian():
    theta = torch.tensor([[1.0, 2.0], [-0.5, 0.25]], dtype=torch.float64)
    vectors = torch.tensor([[[1.0, 0.0], [2.0, -1.0]], [[0.5, 3.0], [1.0, 1.0]]]).double()
    objective = Autograd(quartic)
    wanted = torch.einsum("epr,qer->qep", objective.curvature(theta).hessian, vectors)
    torch.testing.assert_close(objective.product(theta, vectors), wanted)
    torch.testing.assert_close(objective.product(theta, vectors[0]), wanted[0])
