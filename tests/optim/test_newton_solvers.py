"""The ways to Newton's step agree where H has an inverse, and each does in a kernel what it says."""

from __future__ import annotations

import itertools
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from reproductions.optim import newton_solvers
from reproductions.optim.critical_points import CriticalPoints, newton_search
from reproductions.optim.layout import Layout
from reproductions.optim.minres import POWERS
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.newton_solvers import (
    NewtonStep,
    Solver,
    by_decomposition,
    by_factorisation,
    by_minres,
    solver_of,
)
from reproductions.optim.objective import Autograd, Curvature
from reproductions.problems.saddles import Quadratic

F64 = torch.float64
SOLVERS: dict[str, Solver] = {
    "decomposition": by_decomposition,
    "factorisation": by_factorisation,
    "minres": partial(by_minres, steps=60, tolerance=1e-12, dense=True),
    "minres without matrices": partial(by_minres, steps=60, tolerance=1e-12, dense=False),
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
SEARCHES = ({"solver": "factorisation"}, {"solver": "minres"}, {"solver": "minres", "dense": False})


def network(widths: tuple[int, ...] = (3, 2, 2)) -> NetworkLoss:
    source = torch.Generator().manual_seed(3)
    inputs, targets = (torch.randn(30, size, generator=source, dtype=F64) for size in (3, 2))
    return NetworkLoss(Layout(widths), inputs, targets, head="squared")


def places(objective: NetworkLoss, members: int = 4) -> Tensor:
    return 2 * objective.layout.initialise(range(members), dtype=F64)


def step_at(solver: Solver, objective: NetworkLoss, cut: float = 1e-6) -> tuple[NewtonStep, ...]:
    theta = places(objective)
    _, gradient, hessian = objective.curvature(theta)
    exact = -torch.linalg.solve(hessian, gradient)
    return solver(objective, theta, gradient, cut), NewtonStep(exact, -gradient.square().sum(1))


@every_solver
def test_a_hessian_with_an_inverse_gives_one_and_the_same_step(solver: Solver):
    found, exact = step_at(solver, network())
    torch.testing.assert_close(found.step, exact.step, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.slope, exact.slope, rtol=1e-8, atol=0)


@every_solver
@pytest.mark.parametrize("cut", [1e-6, 1e-2])
def test_the_slope_is_that_of_the_merit_along_the_step(solver: Solver, cut: float):
    objective = network()
    theta = places(objective)
    found = step_at(solver, objective, cut)[0]
    merits = [
        objective.gradient(theta + sign * 1e-5 * found.step)[1].square().sum(1) / 2
        for sign in (1, -1)
    ]
    torch.testing.assert_close((merits[0] - merits[1]) / 2e-5, found.slope, rtol=1e-4, atol=1e-7)
    assert (found.slope < 0).all()


@every_solver
def test_there_is_no_step_along_a_kernel(solver: Solver):
    """x^2 - y^2 + 3 z + 1e-9 w^2 / 2 at (1, 1, 0, 1): z and w are to be left alone."""
    curvatures, slopes = torch.tensor([2.0, -2, 0, 1e-9]).to(F64), torch.tensor([0.0, 0, 3, 0])
    objective = Autograd(lambda at: (curvatures * at**2 / 2 + slopes * at).sum(1))
    theta = torch.tensor([[1.0, 1.0, 0.0, 1.0]], dtype=F64)
    found = solver(objective, theta, objective.gradient(theta)[1], 1e-4)
    wanted = torch.tensor([[-1.0, -1.0, 0.0, 0.0]], dtype=F64)
    torch.testing.assert_close(found.step, wanted, rtol=0, atol=2e-3)
    assert found.slope.item() == pytest.approx(-8, rel=1e-6)


def test_the_factorisation_shifts_every_eigenvalue_by_the_share_of_the_largest():
    """1 / v becomes v / (v^2 + d^2); on a diagonal matrix |H| is found exactly."""
    values = torch.tensor([[10.0, -1.0, 0.1, 0.0], [-2.0, 1.0, 0.5, 1e-3]], dtype=F64)
    gradient = torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]], dtype=F64)
    found = by_factorisation(Quadratic(values), gradient / values, gradient, 0.01)
    shift = 0.01 * torch.tensor([[10.0], [2.0]], dtype=F64)
    step = -gradient * values / (values**2 + shift**2)
    torch.testing.assert_close(found.step, step)
    torch.testing.assert_close(found.slope, (gradient * values * step).sum(1))


def test_few_matrices_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    together = step_at(by_factorisation, network())[0]
    monkeypatch.setattr(newton_solvers, "TOGETHER", 1)
    apart = step_at(by_factorisation, network())[0]
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-12)


class Given:
    """An objective that is what its curvature says."""

    def __init__(self, hessian: Tensor) -> None:
        self.hessian = hessian

    def curvature(self, theta: Tensor) -> Curvature:
        return Curvature(theta[:, 0], theta, self.hessian)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        return torch.einsum("epq,eq->ep", self.hessian, vectors)


@every_solver
def test_members_without_a_curvature_do_not_move_and_spoil_no_other(solver: Solver):
    hessian = torch.diag(torch.tensor([2.0, -1.0])).to(F64).repeat(4, 1, 1)
    hessian[1], hessian[2, 0, 0] = 0, torch.nan
    gradient = torch.ones(4, 2, dtype=F64)
    found = solver(Given(hessian), gradient, gradient, 1e-6)  # type: ignore[arg-type]
    wanted = torch.tensor([-0.5, 1.0], dtype=F64)
    for member in (0, 3):
        torch.testing.assert_close(found.step[member], wanted)
    assert found.step[1].tolist() == [0.0, 0.0]
    goes = (found.slope < 0) & found.step.isfinite().all(1)
    assert goes.tolist() == [True, False, False, True]


def wells(theta: Tensor) -> Tensor:
    """Return sum (x^2 - 1)^2 / 4: critical exactly where every x is -1, 0 or 1."""
    return ((theta**2 - 1) ** 2).sum(1) / 4


@pytest.mark.parametrize("options", SEARCHES)
def test_searches_agree_on_all_81_critical_points_of_four_wells(options: dict):
    points = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=4)), dtype=F64)
    source = torch.Generator().manual_seed(1)
    theta = points + 0.1 * torch.randn(81, 4, generator=source, dtype=F64)
    exact, found = (newton_search(Autograd(wells), theta, **one) for one in ({}, options))
    torch.testing.assert_close(exact.theta, points, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.theta, exact.theta, rtol=0, atol=2e-5)
    assert exact.is_critical().all() and found.is_critical().all()
    assert torch.equal((found.eigenvalues < 0).sum(1), (points == 0).sum(1))


@cache
def known_points() -> tuple[NetworkLoss, CriticalPoints]:
    """Return a network of one unit and the points without a kernel that the exact search finds."""
    objective = network((3, 1, 2))
    found = newton_search(objective, places(objective, 20), steps=60, tolerance=1e-10)
    size = found.eigenvalues.abs()
    kept = found.is_critical(1e-10) & (size.amin(1) > 1e-3 * size.amax(1))
    return objective, CriticalPoints(*(one[kept] for one in found[:-1]), ("converged",))


@pytest.mark.parametrize("options", SEARCHES)
def test_searches_agree_on_the_critical_points_of_a_network(options: dict):
    objective, known = known_points()
    assert len(known.theta) >= 3 and len((known.eigenvalues < 0).sum(1).unique()) >= 2
    source = torch.Generator().manual_seed(2)
    away = 1e-3 * torch.randn(known.theta.shape, generator=source, dtype=F64)
    found = newton_search(objective, known.theta + away, tolerance=1e-10, **options)
    assert found.is_critical(1e-10).all() and (found.steps > 0).all()
    torch.testing.assert_close(found.theta, known.theta, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.eigenvalues, known.eigenvalues, rtol=0, atol=1e-6)


class Counted:
    """Count what a search asks of an objective."""

    def __init__(self, inner: Autograd) -> None:
        self.inner, self.products, self.curvatures = inner, 0, 0

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.gradient(theta)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        self.products += 1
        return self.inner.product(theta, vectors)

    def curvature(self, theta: Tensor) -> Curvature:
        self.curvatures += 1
        return self.inner.curvature(theta)


@pytest.mark.parametrize("dense", [True, False])
def test_products_come_from_where_they_are_wanted(dense: bool):
    objective = Counted(Autograd(wells))
    theta = torch.full((1, 3), 1.1, dtype=F64)
    options: dict = {"solver": "minres", "dense": dense, "tolerance": 1e-12}
    found = newton_search(objective, theta, steps=2, **options)  # type: ignore[arg-type]
    assert found.steps.item() == 2
    assert objective.curvatures == (2 if dense else 0) + 1  # one is for the assessment
    assert (objective.products > 0) is not dense


def test_inner_steps_bound_the_products_of_a_step():
    objective = Counted(Autograd(wells))
    theta = torch.linspace(0.5, 2, 6, dtype=F64)[None]
    options: dict = {"solver": "minres", "dense": False, "inner_tolerance": 0.0}
    newton_search(objective, theta, steps=1, inner_steps=2, **options)  # type: ignore[arg-type]
    assert objective.products == 2 + POWERS + 1


def test_misuse_is_named():
    with pytest.raises(ValueError, match="one of decomposition, factorisation, minres, got 'lu'"):
        newton_search(Autograd(wells), torch.ones(1, 2), solver="lu")
    assert solver_of("decomposition", steps=1, tolerance=0.1, dense=True) is by_decomposition
