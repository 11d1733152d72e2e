"""The fit of a normal distribution: its Fisher matrix is the Hessian at the best point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.objective import Autograd
from reproductions.problems.gaussian_fit import CHARTS, GaussianFit
from reproductions.problems.reparametrised import Charted

FIT = GaussianFit(1.5, 0.7)


@pytest.fixture
def points() -> Tensor:
    return torch.tensor([[0.0, 2.0], [-1.0, 0.5], [1.5, 0.7]], dtype=torch.float64)


def test_the_gradient_is_autograds_and_vanishes_at_the_data(points: Tensor) -> None:
    loss, gradient = FIT.gradient(points)
    torch.testing.assert_close((loss, gradient), Autograd(FIT.loss).gradient(points))
    assert gradient[2].abs().max() < 1e-14


def test_the_fisher_matrix_is_the_expected_hessian(points: Tensor) -> None:
    """The data's moments replaced by the model's own make the mean Hessian the Fisher matrix."""
    for mu, sigma in points.tolist():
        at = torch.tensor([[mu, sigma]], dtype=torch.float64)
        own = Autograd(GaussianFit(mu, sigma).loss).curvature(at).hessian
        torch.testing.assert_close(FIT.gauss_newton(at), own)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_and_its_inverse_undo_each_other(name: str, points: Tensor) -> None:
    chart = CHARTS[name]
    torch.testing.assert_close(chart.original(chart.coordinates(points)), points)


@pytest.mark.parametrize("name", CHARTS)
def test_a_charts_jacobian_is_that_of_its_map(name: str, points: Tensor) -> None:
    chart = CHARTS[name]
    theta = chart.coordinates(points)
    wanted = torch.func.vmap(torch.func.jacfwd(lambda one: chart.original(one[None])[0]))(theta)
    torch.testing.assert_close(chart.jacobian(theta), wanted)


@pytest.mark.parametrize("name", CHARTS)
def test_a_charted_fisher_matrix_is_the_expected_hessian_in_that_chart(
    name: str, points: Tensor
) -> None:
    """Without the rule J^T F J: autograd of the composed loss on the model's own moments."""
    chart = CHARTS[name]
    theta = chart.coordinates(points)
    found = Charted(FIT, chart.original, chart.jacobian)
    for one, (mu, sigma) in zip(theta, points.tolist(), strict=True):
        own = GaussianFit(mu, sigma)
        composed = Autograd(lambda at, own=own: own.loss(chart.original(at)))
        hessian = composed.curvature(one[None]).hessian
        torch.testing.assert_close(found.gauss_newton(one[None]), hessian)
    gradient = Autograd(found.loss).gradient(theta)
    torch.testing.assert_close(found.gradient(theta), gradient)
