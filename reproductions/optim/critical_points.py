"""Search critical points of any index, and tell them from places where the search merely ended.

All searches lower the merit J = |g|^2 / 2, whose gradient is H g. J has minima of its own where
H g = 0 and g is not 0: there the gradient lies in the kernel of the Hessian ("gradient-flat") and
every method here comes to rest. So a point is judged by three numbers, not by its place in a list:
the gradient norm, the share of g that no Newton step can remove, and the length of that step.

Source: Frye 2020, thesis, chapter 3, for the relative residual r = |H p + g| / |g| with p = -H^+ g;
runs with r > 0.9 are called gradient-flat there, and a squared gradient norm below 1e-10 is asked
for. p comes from a decomposition here and from an iterative solver there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.eigensteps import METHODS, Method, decompose, directions
from reproductions.optim.gradient_norm import GradientDescent, QuasiNewton, backtrack, merit
from reproductions.optim.newton_solvers import Solver, in_kernel, solver_of
from reproductions.optim.objective import Objective
from reproductions.optim.second_order import DAMPINGS, groups, part

TOLERANCE = 1e-5  # of the gradient norm
CUT = 1e-6  # eigenvalues below so much of the largest belong to the kernel
FLAT = 0.9  # relative residual
REACH = 0.1  # of a Newton step, in the unit of theta
IDLE = 1e-12  # a move that changes J by a smaller share leads nowhere
SEARCH_DAMPINGS = (100.0, 10.0, *DAMPINGS)
STATUS = ("converged", "steps spent", "stalled", "not finite")

# part of the objective, theta (A, P), gradient (A, P), which of the members (E,)
# -> theta, gradient, who moved (A,)
Advance = Callable[[Objective, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

LEVENBERG = Method(  # (v^2 + d^2) / v: no step along the kernel
    lambda values, damping: torch.where(values == 0, 0.0, values + damping**2 / values)
)


class CriticalPoints(NamedTuple):
    """Where searches ended, and what is there.

    Fields:
        theta: (E, P).
        loss, gradient_norm: (E,).
        relative_residual: (E,), r from 0, where the Newton step removes the gradient to first
            order, to 1, where it removes nothing; 0 where the gradient is exactly 0.
        step_length: (E,), |p|, how far the next critical point is if the loss is quadratic.
        eigenvalues: (E, P), ascending, of the Hessian.
        steps: (E,), int64, moves made.
        status: E of STATUS; "stalled" where no step lowered J, or by less than a share of IDLE.
    """

    theta: Tensor
    loss: Tensor
    gradient_norm: Tensor
    relative_residual: Tensor
    step_length: Tensor
    eigenvalues: Tensor
    steps: Tensor
    status: tuple[str, ...]

    def is_critical(
        self, tolerance: float = TOLERANCE, *, flat: float = FLAT, reach: float = REACH
    ) -> Tensor:
        """Tell (E,) whether a point is critical.

        Asks for a gradient norm of at most `tolerance` that is not gradient-flat (r below `flat`)
        and for a Newton step of at most `reach`: on the tail of exp(-x) gradient and curvature
        vanish together and only the step, always 1, tells that there is nothing to be found.
        A gradient that is exactly zero is critical.
        """
        near = (self.relative_residual < flat) & (self.step_length <= reach)
        return (self.gradient_norm == 0) | ((self.gradient_norm <= tolerance) & near)


def assess(
    objective: Objective, theta: Tensor, *, cut: float = CUT, tolerance: float = TOLERANCE
) -> CriticalPoints:
    """Return what is at some points, wherever they come from; the status is "converged" or not.

    Args:
        objective: where its members differ, it has a method part(members (E,) bool) -> Objective.
        theta: (E, P).
        cut: eigenvalues of at most so much of a member's largest |eigenvalue| count as zero in p.
        tolerance: gradient norm up to which the status is "converged".
    """
    none = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)
    return _assess(objective, theta, none, none == 1, cut, tolerance)


def newton_search(
    objective: Objective,
    theta: Tensor,
    *,
    steps: int = 100,
    tolerance: float = TOLERANCE,
    cut: float = CUT,
    solver: str = "decomposition",
    inner_steps: int | None = None,
    inner_tolerance: float = 0.1,
    dense: bool = True,
) -> CriticalPoints:
    """Search by Newton's method on the gradient, its steps shortened until |g| falls.

    p = -H^+ g lowers J from any point where H g is not 0, for g^T H p = -|g|^2 (1 - r^2), so it
    converges to critical points of any index; the step halves until J falls by 1e-4 of the slope.

    Source: Dauphin et al. 2014, appendix C, searches by Newton's method and states no more; the
    pseudo-inverse and the safeguard are those of Newton-MR as Frye 2020 uses it.

    Cost, a step and running member: a few gradients and the solver's, see `newton_solvers`.

    Args:
        objective, theta, cut: as in `assess`.
        steps: at most so many; a member stops when it converges, stalls or is not finite.
        tolerance: gradient norm at which a member has converged.
        solver: of `newton_solvers`: "decomposition", "factorisation" or "minres".
        inner_steps: of "minres", at most so many iterations a step; P when None.
        inner_tolerance: of "minres", share of |g| to which |H p + g| falls, where it can.
        dense: of "minres", multiply with the dense Hessian, or let the objective do it.

    Raises:
        ValueError: on an unknown solver.
    """
    most = theta.shape[1] if inner_steps is None else inner_steps
    solve = solver_of(solver, steps=most, tolerance=inner_tolerance, dense=dense)
    advance = _solved(solve, cut)
    way = advance if solver == "minres" and not dense else _in_groups(advance)
    return _search(objective, theta, way, steps, tolerance, cut)


def _solved(solve: Solver, cut: float) -> Advance:
    """Let an advance go along the steps of a solver."""

    def advance(own: Objective, at: Tensor, gradient: Tensor, _: Tensor):
        found = solve(own, at, gradient, cut)
        return backtrack(own, at, gradient, found.step, found.slope)

    return advance


def damped_newton_search(
    objective: Objective,
    theta: Tensor,
    *,
    steps: int = 100,
    dampings: Sequence[float] = SEARCH_DAMPINGS,
    tolerance: float = TOLERANCE,
    cut: float = CUT,
) -> CriticalPoints:
    """Search by the step -(H^2 + d^2 I)^-1 H g, with the damping that lowers |g| most.

    Source: Levenberg 1944 on the least-squares problem |g|^2 / 2, whose Gauss-Newton matrix is
    H^2; the damping is searched at every update as Dauphin et al. 2014, appendix F.1, do for the
    loss. d is in the unit of the eigenvalues. How their search for critical points was damped is
    not stated.

    Args:
        dampings: a member for which none lowers the gradient norm has stalled.

    The other arguments are those of `newton_search`; the cut only counts in the assessment.
    """
    grid = torch.tensor(dampings, dtype=theta.dtype, device=theta.device)

    def advance(own: Objective, at: Tensor, gradient: Tensor, _: Tensor):
        spectrum = decompose(own.curvature(at)[2], gradient)
        best = at, gradient, torch.zeros(len(at), dtype=torch.bool, device=at.device)
        for step in directions(spectrum, LEVENBERG, grid):
            slopes = own.gradient(at + step)[1]
            lower = merit(slopes) < merit(best[1])
            best = (
                torch.where(lower[:, None], at + step, best[0]),
                torch.where(lower[:, None], slopes, best[1]),
                best[2] | lower,
            )
        return best

    return _search(objective, theta, _in_groups(advance), steps, tolerance, cut)


def gradient_norm_search(
    objective: Objective,
    theta: Tensor,
    *,
    minimiser: str = "quasi_newton",
    steps: int = 1000,
    rate: float | Tensor = 0.01,
    memory: int = 20,
    tolerance: float = TOLERANCE,
    cut: float = CUT,
) -> CriticalPoints:
    """Search by minimising J = |g|^2 / 2, with one Hessian-vector product a step, H g.

    Source: Pennington, Bahri 2017, figure 6, descend on the norm of the gradient; their rate is not
    known here. The quasi-Newton minimiser is ours: descent needs far more steps than it.

    Args:
        minimiser: "quasi_newton" (limited-memory BFGS with backtracking) or "gradient_descent".
        rate: of gradient descent, a float or (E, 1); J falls where it is below 2 / max |v|^2.
        memory: pairs that the quasi-Newton method keeps.

    The other arguments are those of `newton_search`; the cut only counts in the assessment, which
    takes one dense Hessian a member.

    Raises:
        ValueError: on an unknown minimiser.
    """
    makers: dict[str, Callable[[], Advance]] = {
        "quasi_newton": lambda: QuasiNewton(theta, memory),
        "gradient_descent": lambda: GradientDescent(theta, rate),
    }
    if minimiser not in makers:
        raise ValueError(f"minimiser must be one of {', '.join(makers)}, got {minimiser!r}")
    return _search(objective, theta, makers[minimiser](), steps, tolerance, cut)


def _search(
    objective: Objective,
    theta: Tensor,
    advance: Advance,
    steps: int,
    tolerance: float,
    cut: float,
) -> CriticalPoints:
    theta, gradient = theta.clone(), objective.gradient(theta)[1].clone()
    moves = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)
    stalled = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
    for _ in range(steps):
        running = torch.linalg.vector_norm(gradient, dim=1) > tolerance
        running &= gradient.isfinite().all(1) & ~stalled
        if not running.any():
            break
        found = advance(part(objective, running), theta[running], gradient[running], running)
        before = merit(gradient[running])
        theta[running], gradient[running], moved = found
        moves[running] += moved
        stalled[running] = ~moved | ((merit(found[1]) - before).abs() < IDLE * before)
    return _assess(objective, theta, moves, stalled, cut, tolerance)


def _in_groups(advance: Advance) -> Advance:
    """Let an advance that decomposes dense Hessians take as many members as fit."""

    def grouped(own: Objective, theta: Tensor, gradient: Tensor, running: Tensor):
        found = [
            advance(part(own, some), theta[some], gradient[some], some) for some in groups(theta)
        ]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    return grouped


def _assess(
    objective: Objective,
    theta: Tensor,
    moves: Tensor,
    stalled: Tensor,
    cut: float,
    tolerance: float,
) -> CriticalPoints:
    rows = [_measure(part(objective, some), theta[some], cut) for some in groups(theta)]
    loss, norm, residual, length, values = (torch.cat(row) for row in zip(*rows, strict=True))
    finite = loss.isfinite() & norm.isfinite() & values[:, 0].isfinite()
    code = torch.where(stalled, 2, 1)
    code = torch.where(norm <= tolerance, 0, code)
    status = tuple(STATUS[one] for one in torch.where(finite, code, 3).tolist())
    return CriticalPoints(theta, loss, norm, residual, length, values, moves, status)


def _measure(objective: Objective, theta: Tensor, cut: float) -> tuple[Tensor, ...]:
    loss, gradient, hessian = objective.curvature(theta)
    spectrum = decompose(hessian, gradient)
    kernel = in_kernel(spectrum, cut)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    left = torch.linalg.vector_norm(spectrum.coefficients * kernel, dim=1)  # |H p + g|
    residual = torch.where(norm == 0, 0.0, left / norm)
    step = directions(spectrum, METHODS["newton"], theta.new_zeros(1), cut)[0]
    return loss, norm, residual, torch.linalg.vector_norm(step, dim=1), spectrum.values
