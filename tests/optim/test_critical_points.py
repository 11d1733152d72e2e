"""Searches find critical points of every index that are known, and own up where there are none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from reproductions.optim import second_order
from reproductions.optim.critical_points import (
    CriticalPoints,
    assess,
    damped_newton_search,
    gradient_norm_search,
    newton_search,
)
from reproductions.optim.gradient_norm import QuasiNewton, backtrack, merit
from reproductions.optim.layout import Layout
from reproductions.optim.objective import Autograd
from reproductions.problems.saddles import Quadratic, inflection, monkey

F64 = torch.float64
SEARCHES: dict[str, Callable[..., CriticalPoints]] = {
    "newton": newton_search,
    "newton, factorisation": partial(newton_search, solver="factorisation"),
    "newton, minres": partial(newton_search, solver="minres"),
    "newton, minres without matrices": partial(newton_search, solver="minres", dense=False),
    "damped newton": damped_newton_search,
    "gradient norm": gradient_norm_search,
}
every_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


def wells(theta: Tensor) -> Tensor:
    """Return sum (x^2 - 1)^2 / 4: critical exactly where every x is -1, 0 or 1; 0 is downward."""
    return ((theta**2 - 1) ** 2).sum(1) / 4


def starts(members: int, size: int, scale: float = 1.0) -> Tensor:
    source = torch.Generator().manual_seed(members + size)
    return scale * torch.randn(members, size, generator=source, dtype=F64)


@every_search
def test_all_critical_points_of_wells_are_found_from_nearby(search: Callable[..., CriticalPoints]):
    points = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=3)), dtype=F64)
    found = search(Autograd(wells), points + starts(27, 3, scale=0.05), tolerance=1e-10)
    torch.testing.assert_close(found.theta, points, rtol=0, atol=1e-9)
    assert found.status == ("converged",) * 27 and found.is_critical(1e-10).all()
    index = (found.eigenvalues < 0).sum(1)
    assert torch.equal(index, (points == 0).sum(1)) and set(index.tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(found.loss, (points == 0).to(F64).sum(1) / 4)
    assert (found.steps > 0).all()


@every_search
def test_from_anywhere_a_search_ends_critical_or_says_that_it_has_not(
    search: Callable[..., CriticalPoints],
):
    found = search(Autograd(wells), starts(40, 4))
    nearest = found.theta.round().clamp(-1, 1)
    off = (found.theta - nearest).abs().amax(1)
    assert (off[found.is_critical()] < 1e-4).all() and found.is_critical().sum() >= 30
    assert torch.equal(found.gradient_norm <= 1e-5, _are(found, "converged"))
    assert (found.relative_residual[~_are(found, "converged")] > 0.9).all()


def _are(found: CriticalPoints, status: str) -> Tensor:
    return torch.tensor([one == status for one in found.status])


def test_newton_converges_in_few_steps_where_it_started_near():
    near = torch.tensor([[1.01, 0.02], [-0.03, 0.99]], dtype=F64)
    assert newton_search(Autograd(wells), near, tolerance=1e-12).steps.max() <= 4


@every_search
def test_the_gradient_norm_never_grows(search: Callable[..., CriticalPoints]):
    objective, theta = Autograd(wells), starts(20, 4, scale=2.0)
    norms = [search(objective, theta, steps=steps).gradient_norm for steps in range(6)]
    for before, after in itertools.pairwise(norms):
        assert (after <= before * (1 + 1e-12)).all()
    assert (norms[5] < norms[0] / 3).all()


@every_search
def test_a_quadratic_saddle_of_each_member_s_own_is_found(search: Callable[..., CriticalPoints]):
    curvatures = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.7, 1.0], [-1.0, -1.0, -4.0]], dtype=F64)
    theta = starts(3, 3)
    theta[1] = 0  # has converged before the others start
    found = search(Quadratic(curvatures), theta, tolerance=1e-9)
    assert found.theta.abs().max() < 1e-8 and found.steps[1] == 0
    torch.testing.assert_close(found.eigenvalues, curvatures.sort(1).values)
    assert found.is_critical(1e-9).all()


def test_damped_newton_takes_the_damping_that_lowers_the_gradient_norm_most():
    objective, theta, dampings = Autograd(wells), starts(10, 3), (10.0, 1.0, 0.1)
    found = damped_newton_search(objective, theta, steps=1, dampings=dampings)
    _, gradient, hessian = objective.curvature(theta)
    product = (hessian @ gradient[:, :, None])[:, :, 0]
    unit = torch.eye(3, dtype=F64)
    tried = [
        theta - torch.linalg.solve(hessian @ hessian + damping**2 * unit, product)
        for damping in dampings
    ]
    norms = torch.stack([objective.gradient(at)[1].norm(dim=1) for at in tried])
    assert len(norms.argmin(0).unique()) > 1
    wanted = torch.stack(tried)[norms.argmin(0), torch.arange(10)]
    fell = norms.amin(0) < gradient.norm(dim=1)
    torch.testing.assert_close(found.theta[fell], wanted[fell])
    assert torch.equal(found.theta[~fell], theta[~fell]) and fell.sum() >= 8


def test_an_undamped_grid_knows_the_kernel():
    objective = Autograd(lambda at: at[:, 0] ** 2 + 0 * at[:, 1])
    found = damped_newton_search(objective, torch.ones(1, 2, dtype=F64), dampings=(0.0,))
    assert found.theta.tolist() == [[0.0, 1.0]] and found.is_critical().all()


def test_newton_solves_a_quadratic_at_once():
    found = newton_search(Quadratic(torch.tensor([[1.0, -2.0]], dtype=F64)), starts(1, 2))
    assert found.steps.tolist() == [1] and found.gradient_norm.item() < 1e-15


def linear_network(layout: Layout, inputs: Tensor, targets: Tensor) -> Autograd:
    def loss(theta: Tensor) -> Tensor:
        (first, _), (second, _) = layout.views(theta)
        error = inputs @ first @ second - targets
        idle = sum(bias.square().sum(1) for _, bias in layout.views(theta))
        return error.square().sum((1, 2)) / (2 * len(inputs)) + idle / 2

    return Autograd(loss)


@every_search
def test_the_saddle_of_a_linear_network_is_found_and_known(search: Callable[..., CriticalPoints]):
    """With inputs white, targets x W: W2 W1 = the best rank-r part of W, or any subset of ranks.

    At the origin all is zero and the Hessian couples W1 and W2 by -W: its eigenvalues are plus and
    minus the singular values, each as often as the hidden layer is wide. Baldi, Hornik 1989.
    """
    layout = Layout((2, 2, 2))
    inputs = 2**0.5 * torch.eye(2, dtype=F64)
    objective = linear_network(
        layout, inputs, inputs @ torch.diag(torch.tensor([3.0, 1.0])).to(F64)
    )
    found = search(objective, starts(4, layout.parameters, scale=0.02), tolerance=1e-9)
    assert found.is_critical(1e-9).all() and found.theta.abs().max() < 1e-7
    wanted = torch.tensor([-3.0, -3, -1, -1, 1, 1, 1, 1, 1, 1, 3, 3], dtype=F64)
    torch.testing.assert_close(found.eigenvalues, wanted.expand(4, 12), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.loss, torch.full((4,), 5.0, dtype=F64))


def test_a_saddle_with_a_kernel_is_critical_all_the_same():
    """One of two modes learnt: the loss is level along rescaling and turning of the hidden units.

    The mode left over couples the idle unit by plus and minus its singular value, 1.
    """
    layout = Layout((2, 2, 2))
    inputs = 2**0.5 * torch.eye(2, dtype=F64)
    objective = linear_network(
        layout, inputs, inputs @ torch.diag(torch.tensor([3.0, 1.0])).to(F64)
    )
    theta = torch.zeros(1, layout.parameters, dtype=F64)
    (first, _), (second, _) = layout.views(theta)
    first[0, 0, 0] = second[0, 0, 0] = 3**0.5
    found = newton_search(objective, theta + starts(1, 12, scale=0.01), tolerance=1e-10)
    assert found.is_critical(1e-10).all() and found.loss.item() == pytest.approx(0.5)
    assert (found.eigenvalues.abs() < 1e-8).sum() == 3
    wanted = torch.tensor([-1.0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 4, 6], dtype=F64)
    torch.testing.assert_close(found.eigenvalues[0], wanted, rtol=0, atol=0.02)


@every_search
def test_a_gradient_in_the_kernel_of_the_hessian_is_not_critical(
    search: Callable[..., CriticalPoints],
):
    """x^3 + c x + y^2 / 2 is at rest nowhere; |g| is least, c, at the origin, where H g = 0."""
    objective = Autograd(lambda at: at[:, 0] ** 3 + 1e-3 * at[:, 0] + at[:, 1] ** 2 / 2)
    found = search(objective, starts(6, 2), steps=300)
    assert found.status == ("stalled",) * 6
    assert (found.relative_residual > 0.9).all() and (found.step_length < 1e-6).all()
    torch.testing.assert_close(found.gradient_norm, torch.full((6,), 1e-3, dtype=F64))
    assert not found.is_critical().any()
    assert not found.is_critical(1e-2).any()  # however loose the tolerance


@every_search
def test_the_tail_of_an_exponential_is_not_critical(search: Callable[..., CriticalPoints]):
    """The gradient norm passes any tolerance and H p = -g is solved, but |p| = 1 for ever."""
    objective = Autograd(lambda at: torch.exp(-at[:, 0]) + at[:, 1] ** 2)
    found = search(objective, starts(4, 2))
    assert found.status == ("converged",) * 4 and (found.relative_residual < 1e-6).all()
    torch.testing.assert_close(found.step_length, torch.ones(4, dtype=F64), rtol=1e-3, atol=0)
    assert not found.is_critical().any()
    assert found.is_critical(reach=2.0).all()  # so it is the step that tells


@every_search
@pytest.mark.parametrize("function", [monkey, inflection])
def test_points_without_curvature_are_critical_where_the_gradient_vanishes(
    search: Callable[..., CriticalPoints], function: Callable[[Tensor], Tensor]
):
    size = 2 if function is monkey else 1
    found = search(Autograd(function), starts(4, size), steps=500, tolerance=1e-8)
    assert found.is_critical(1e-8).all() and found.theta.abs().max() < 1e-3


def test_assessing_tells_what_is_at_a_point_without_moving():
    theta = starts(5, 3)
    found = assess(Autograd(wells), theta)
    gradient, curvature = theta**3 - theta, 3 * theta**2 - 1
    torch.testing.assert_close(found.gradient_norm, gradient.norm(dim=1))
    torch.testing.assert_close(found.eigenvalues, curvature.sort(1).values)
    torch.testing.assert_close(found.step_length, (gradient / curvature).norm(dim=1))
    assert torch.equal(found.theta, theta) and (found.steps == 0).all()
    assert found.relative_residual.max() == 0
    at_rest = assess(Autograd(wells), torch.zeros(1, 3, dtype=F64))
    assert at_rest.status == ("converged",) and at_rest.is_critical(0.0).all()


def test_the_residual_is_what_the_pseudo_inverse_leaves():
    objective = Autograd(lambda at: at[:, 0] ** 2 + at[:, 1] * 3 + 4 * at[:, 0])
    found = assess(objective, torch.zeros(1, 2, dtype=F64))
    assert found.gradient_norm.item() == 5 and found.relative_residual.item() == pytest.approx(0.6)
    assert found.step_length.item() == pytest.approx(2)


@every_search
def test_members_do_not_know_of_each_other(search: Callable[..., CriticalPoints]):
    theta, order = starts(5, 3), [3, 1, 4, 0, 2]
    whole, permuted = (search(Autograd(wells), at, steps=6) for at in (theta, theta[order]))
    torch.testing.assert_close(permuted.theta, whole.theta[order])
    assert torch.equal(permuted.steps, whole.steps[order])
    alone = search(Autograd(wells), theta[2:3], steps=6)
    torch.testing.assert_close(alone.theta, whole.theta[2:3])


@every_search
def test_a_member_that_is_not_finite_spoils_no_other(search: Callable[..., CriticalPoints]):
    theta = starts(4, 3)
    wanted = search(Autograd(wells), theta[[0, 1, 3]])
    theta[2] = torch.nan
    found = search(Autograd(wells), theta)
    assert found.status[2] == "not finite" and found.steps[2] == 0
    assert not found.is_critical()[2]
    torch.testing.assert_close(found.theta[[0, 1, 3]], wanted.theta)


def test_a_search_that_runs_out_says_so():
    found = newton_search(Autograd(wells), starts(2, 3), steps=1)
    assert found.status == ("steps spent",) * 2 and (found.steps == 1).all()


def test_members_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    curvatures = torch.tensor([[1.0, -2.0], [0.5, 0.7], [-1.0, -4.0]], dtype=F64)
    cases = (Quadratic(curvatures), starts(3, 2)), (Autograd(wells), starts(3, 2))
    for search in SEARCHES.values():
        together = [search(*case) for case in cases]
        with monkeypatch.context() as patch:
            patch.setitem(second_order.GROUP_BYTES, "cpu", 1)
            parts = [search(*case) for case in cases]
        for one, other in zip(together, parts, strict=True):
            torch.testing.assert_close(one[:-1], other[:-1])


def test_gradient_descent_on_the_norm_follows_its_recurrence():
    """On a quadratic, theta <- (1 - rate a^2) theta along each axis."""
    curvatures, theta = torch.tensor([[1.0, -2.0]], dtype=F64).repeat(2, 1), starts(2, 2)
    rate = torch.tensor([[0.1], [0.2]], dtype=F64)
    found = gradient_norm_search(
        Quadratic(curvatures), theta, minimiser="gradient_descent", rate=rate, steps=5
    )
    torch.testing.assert_close(found.theta, (1 - rate * curvatures**2) ** 5 * theta)


def test_quasi_newton_needs_far_fewer_steps_than_descent():
    curvatures = torch.logspace(-1, 1, 8, dtype=F64).expand(3, 8)
    theta, objective = starts(3, 8), Quadratic(curvatures)
    quick = gradient_norm_search(objective, theta, steps=200)
    slow = gradient_norm_search(
        objective, theta, steps=200, minimiser="gradient_descent", rate=0.01
    )
    assert quick.status == ("converged",) * 3 and slow.status == ("steps spent",) * 3


def test_quasi_newton_directions_are_those_of_the_dense_update():
    """With room for every pair, B is BFGS's matrix, updated pair by pair from a multiple of one."""
    source = torch.Generator().manual_seed(5)
    root = torch.randn(4, 4, generator=source, dtype=F64)
    objective = Autograd(lambda at: ((at @ root) ** 2).sum(1) / 2 + (at**4).sum(1) / 4)
    theta = starts(1, 4)
    search, running = QuasiNewton(theta, memory=10), torch.tensor([True])
    gradient = objective.gradient(theta)[1]
    points, uphill = [theta], [objective.product(theta, gradient)]
    for _ in range(4):
        theta, gradient, moved = search(objective, theta, gradient, running)
        assert moved.all()
        points.append(theta)
        uphill.append(objective.product(theta, gradient))
    search._remember(theta, uphill[-1], running)
    moves = [(b - a)[0] for a, b in itertools.pairwise(points)]
    changes = [(b - a)[0] for a, b in itertools.pairwise(uphill)]
    inverse = torch.eye(4, dtype=F64) * (moves[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for move, change in zip(moves, changes, strict=True):
        assert move @ change > 0  # none was skipped
        left = torch.eye(4, dtype=F64) - torch.outer(move, change) / (move @ change)
        inverse = left @ inverse @ left.T + torch.outer(move, move) / (move @ change)
    found = search._direction(gradient, uphill[-1], running)
    torch.testing.assert_close(found[0], -inverse @ uphill[-1][0])


def test_backtracking_halves_until_the_norm_falls_and_refuses_what_leads_up():
    objective = Quadratic(torch.ones(3, 1, dtype=F64))
    theta = torch.ones(3, 1, dtype=F64)
    step = torch.tensor([[-1.0], [-6.0], [1.0]], dtype=F64)
    slope = (step * theta).sum(1)
    moved, gradient, accepted = backtrack(objective, theta, theta, step, slope)
    assert accepted.tolist() == [True, True, False]
    torch.testing.assert_close(moved[:, 0].tolist(), [0.0, -0.5, 1.0])
    assert torch.equal(gradient, moved) and merit(gradient).tolist() == [0.0, 0.125, 0.5]


def test_misuse_is_named():
    with pytest.raises(ValueError, match="minimiser must be one of quasi_newton, gradient_descent"):
        gradient_norm_search(Autograd(wells), starts(1, 2), minimiser="adam")
