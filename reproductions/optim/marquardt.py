"""Levenberg-Marquardt with Hessians: least loss, or least gradient norm, of many members at once.

Both merits are lowered by p = -(A + damping I)^-1 (gradient of the merit); only A differs:

    loss            A = H               gradient g
    |g|^2 / 2       A = H^2             gradient H g

and the damping follows how well the quadratic model foretold the change (Marquardt's rule). The
second is what a search for critical points of any index minimises: on networks whose Hessians have
many small eigenvalues it comes nearer to them than steps along a pseudo-inverse, which go far in
directions of next to no curvature.

Source: Marquardt 1963 and, for the rule by the foretold change, Nocedal and Wright 2006, chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.critical_points import CUT, TOLERANCE, CriticalPoints, assess
from reproductions.optim.objective import Objective
from reproductions.optim.second_order import groups, part

FIRST_DAMPING = 1e-2
LEAST_DAMPING = 1e-12
RAISED, LOWERED = 3.0, 0.25
POOR, GOOD = 0.25, 0.75  # of the foretold change


class _At(NamedTuple):
    """A merit and its quadratic model."""

    merit: Tensor  # (E,)
    slope: Tensor  # (E, P)
    matrix: Tensor  # (E, P, P)
    gradient_square: Tensor  # (E,)


def _of_loss(objective: Objective, theta: Tensor) -> _At:
    loss, gradient, hessian = objective.curvature(theta)
    return _At(loss, gradient, hessian, gradient.square().sum(1))


def _of_gradient(objective: Objective, theta: Tensor) -> _At:
    _, gradient, hessian = objective.curvature(theta)
    square = gradient.square().sum(1)
    slope = (hessian @ gradient.unsqueeze(2)).squeeze(2)
    return _At(square / 2, slope, hessian @ hessian, square)


_MODELS: dict[str, Callable[[Objective, Tensor], _At]] = {
    "loss": _of_loss,
    "gradient": _of_gradient,
}


def minimise(
    objective: Objective, theta: Tensor, merit: str, *, steps: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Lower the loss or the gradient norm until |g| is at most `tolerance`.

    Cost: a dense Hessian and a Cholesky factorisation a step and running member.

    Args:
        objective: where its members differ, it has a method part(members (E,) bool) -> Objective.
        theta: (E, P), left alone.
        merit: "loss" or "gradient".
        steps: at most so many.
        tolerance: gradient norm at which a member ends.

    Returns:
        theta (E, P) and the steps made (E,).

    Raises:
        ValueError: on an unknown merit.
    """
    if merit not in _MODELS:
        raise ValueError(f"merit must be one of {', '.join(_MODELS)}, got {merit!r}")
    theta, made = theta.clone(), torch.zeros(len(theta), dtype=torch.int64, device=theta.device)
    for which in groups(theta):
        theta[which], made[which] = _minimise(
            part(objective, which), theta[which], _MODELS[merit], steps, tolerance
        )
    return theta, made


def marquardt_search(
    objective: Objective,
    theta: Tensor,
    *,
    steps: int = 100,
    tolerance: float = TOLERANCE,
    cut: float = CUT,
) -> CriticalPoints:
    """Search critical points by lowering the gradient norm; arguments as in `newton_search`."""
    theta, made = minimise(objective, theta, "gradient", steps=steps, tolerance=tolerance)
    return assess(objective, theta, cut=cut, tolerance=tolerance)._replace(steps=made)


def _minimise(
    objective: Objective,
    theta: Tensor,
    model: Callable[[Objective, Tensor], _At],
    steps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    made = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)
    damping = torch.full((len(theta),), FIRST_DAMPING, dtype=theta.dtype, device=theta.device)
    running = torch.arange(len(theta), device=theta.device)
    at = model(objective, theta)
    for _ in range(steps):
        keep = at.gradient_square > tolerance**2
        if not keep.all():
            running, at = running[keep], _At(*(value[keep] for value in at))
        if not len(running):
            break
        own = torch.zeros_like(made, dtype=torch.bool).index_fill_(0, running, True)
        moved, foretold = _step(at, theta[running], damping[running])
        now = model(part(objective, own), moved)
        share = (at.merit - now.merit) / foretold
        share = torch.where(share.isfinite() & (foretold > 0), share, -1.0)
        better = share > 0
        theta[running[better]] = moved[better]
        at = _At(*(_where(better, new, old) for new, old in zip(now, at, strict=True)))
        factor = torch.where(share < POOR, RAISED, torch.where(share > GOOD, LOWERED, 1.0))
        damping[running] = (damping[running] * factor).clamp_min(LEAST_DAMPING)
        made[running] += 1
    return theta, made


def _step(at: _At, theta: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Return the moved theta and the foretold fall of the merit, -1 where A is indefinite."""
    matrix = at.matrix.clone()
    matrix.diagonal(dim1=1, dim2=2).add_(damping.unsqueeze(1))
    factor, failed = torch.linalg.cholesky_ex(matrix)
    factor[failed > 0] = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    step = -torch.cholesky_solve(at.slope.unsqueeze(2), factor).squeeze(2)
    step[failed > 0] = 0.0
    bent = (at.matrix @ step.unsqueeze(2)).squeeze(2)
    foretold = -(step * (at.slope + bent / 2)).sum(1)
    return theta + step, torch.where(failed > 0, -1.0, foretold)


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
