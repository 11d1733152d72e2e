"""Other coordinates: what autograd makes of the composed function is what the class gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.objective import Autograd
from reproductions.problems.reparametrised import Charted, Reparametrised

SOURCE = 2018
INNER = Autograd(lambda w: (w**4).sum(1) + w[:, 0] * torch.sin(w[:, 1]) + w[:, 2] ** 2)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(SOURCE, len(shape)))


@pytest.fixture(params=["one matrix", "one a member"])
def other(request: pytest.FixtureRequest) -> Reparametrised:
    return Reparametrised(INNER, drawn(3, 3) if request.param == "one matrix" else drawn(4, 3, 3))


def test_derivatives_are_those_of_the_composed_function(other: Reparametrised) -> None:
    theta, oracle = drawn(4, 3), Autograd(other.loss)
    loss, gradient, hessian = oracle.curvature(theta)
    torch.testing.assert_close(other.gradient(theta), (loss, gradient))
    torch.testing.assert_close(other.curvature(theta), (loss, gradient, hessian))


def test_coordinates_and_originals_are_inverse(other: Reparametrised) -> None:
    point = drawn(4, 3)
    torch.testing.assert_close(other.original(other.coordinates(point)), point)
    torch.testing.assert_close(other.loss(other.coordinates(point)), INNER.loss(point))


def test_a_gauss_newton_matrix_is_carried_over_as_a_form() -> None:
    class Inner:
        def gauss_newton(self, theta: Tensor) -> Tensor:
            return torch.eye(3, dtype=theta.dtype).expand(len(theta), 3, 3)

    matrix = drawn(3, 3)
    found = Reparametrised(Inner(), matrix).gauss_newton(drawn(2, 3))
    torch.testing.assert_close(found, (matrix.T @ matrix).expand(2, 3, 3))


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"matrix must be \(P, P\) or \(E, P, P\), got \(3, 2\)"):
        Reparametrised(INNER, drawn(3, 2))


def test_a_chart_that_is_linear_is_a_change_of_coordinates() -> None:
    class Inner:
        gradient = staticmethod(INNER.gradient)
        loss = staticmethod(INNER.loss)

        def gauss_newton(self, theta: Tensor) -> Tensor:
            return INNER.curvature(theta).hessian

    matrix, theta = drawn(3, 3), drawn(4, 3)
    linear = Reparametrised(Inner(), matrix)
    charted = Charted(Inner(), lambda one: one @ matrix.T, lambda one: matrix.expand(4, 3, 3))
    torch.testing.assert_close(charted.gradient(theta), linear.gradient(theta))
    torch.testing.assert_close(charted.gauss_newton(theta), linear.gauss_newton(theta))


def test_a_charts_gradient_is_that_of_the_composed_function() -> None:
    def chart(one: Tensor) -> Tensor:
        return one.exp() + one.roll(1, 1) ** 2

    def jacobian(one: Tensor) -> Tensor:
        return torch.diag_embed(one.exp()) + torch.diag_embed(2 * one.roll(1, 1)).roll(-1, 2)

    charted, theta = Charted(INNER, chart, jacobian), drawn(4, 3)
    torch.testing.assert_close(charted.gradient(theta), Autograd(charted.loss).gradient(theta))
