"""Exact second-order descent of whole ensembles: the damping is searched at every update.

The steps themselves are in `eigensteps`, with the methods and what each divides the gradient by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reproductions.optim.eigensteps import METHODS, Method, decompose, directions
from reproductions.optim.objective import Objective

DAMPINGS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
GROUP_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # of matrices of members that are taken together


class Update(NamedTuple):
    """One update of every member.

    Fields:
        theta: (E, P), after it.
        loss, loss_after: (E,), of one and the same objective.
        damping: (E,), 0 where the method has none, nan where the member stayed.
        gradient_norm: (E,), before.
        eigenvalues: (E, P), ascending, of the matrix that the method uses, before.
    """

    theta: Tensor
    loss: Tensor
    loss_after: Tensor
    damping: Tensor
    gradient_norm: Tensor
    eigenvalues: Tensor


class Descent(NamedTuple):
    """What T updates did; entries of members that had stopped are nan, counts -1.

    Fields:
        theta: (E, P), last.
        loss, loss_after: (T, E), before and after each update, of that update's objective.
        damping, gradient_norm: (T, E), as in `Update`.
        least_eigenvalue: (T, E), the most negative one, of the matrix that the method uses.
        negative: (T, E), int64, how many of its eigenvalues are below zero.
        stopped: (E,), int64, the update at which a loss, gradient or matrix was not finite; T if
            never.
    """

    theta: Tensor
    loss: Tensor
    loss_after: Tensor
    damping: Tensor
    gradient_norm: Tensor
    least_eigenvalue: Tensor
    negative: Tensor
    stopped: Tensor


def update(
    objective: Objective,
    theta: Tensor,
    method: str = "saddle_free",
    *,
    dampings: Sequence[float] = DAMPINGS,
    on_failure: str = "best",
) -> Update:
    """Make one exact step of every member, with the damping that lowers its loss most.

    Source: Dauphin et al. 2014, section 6 and appendix F.1: at every update the damping of damped
    Newton and of saddle-free Newton is the one of {1, 1e-1, ..., 1e-5} that improves the objective
    most. What happens where none improves it is not stated.

    Cost: the objective's curvature, `decompose`, and a loss for each damping.

    Args:
        objective: where its members differ, it has a method part(members (E,) bool) -> Objective.
        theta: (E, P).
        method: one of METHODS.
        dampings: of equal losses the first damping listed wins; not used by "newton".
        on_failure: where no damping lowers a member's loss, "best" takes the least loss all the
            same, which is the literal argmin and on a fixed objective the only way on; "stay" does
            not move. A member none of whose candidates has a finite loss stays in both.

    Raises:
        ValueError: on an unknown method or on_failure, or without dampings.
    """
    chosen = _method(method, dampings, on_failure)
    grid = torch.tensor(dampings if chosen.damped else [0.0], dtype=theta.dtype)
    grid = grid.to(theta.device)
    parts = [
        _update(part(objective, members), theta[members], chosen, grid, on_failure == "stay")
        for members in groups(theta)
    ]
    return parts[0] if len(parts) == 1 else Update(*map(torch.cat, zip(*parts, strict=True)))


def _update(
    objective: Objective, theta: Tensor, method: Method, dampings: Tensor, stay: bool
) -> Update:
    loss, gradient, matrix = _evaluate(objective, theta, method)
    spectrum = decompose(matrix, gradient)
    steps = directions(spectrum, method, dampings)
    losses = torch.stack([objective.loss(theta + step) for step in steps])
    after, best = torch.where(losses.isfinite(), losses, torch.inf).min(0)
    moves = after.isfinite() & ((after < loss) if stay else loss.isfinite())
    step = steps[best, torch.arange(len(theta), device=theta.device)]
    return Update(
        torch.where(moves[:, None], theta + step, theta),
        loss,
        torch.where(moves, after, loss),
        torch.where(moves, dampings[best], torch.nan),
        torch.linalg.vector_norm(gradient, dim=1),
        spectrum.values,
    )


def _evaluate(objective: Objective, theta: Tensor, method: Method) -> tuple[Tensor, Tensor, Tensor]:
    if method.matrix == "hessian":
        loss, gradient, hessian = objective.curvature(theta)
        return loss, gradient, hessian
    if not hasattr(objective, method.matrix):
        raise ValueError(f"the objective has no {method.matrix}(theta), which the method needs")
    return *objective.gradient(theta), getattr(objective, method.matrix)(theta)


def descend(
    objective_at: Callable[[int], Objective],
    theta: Tensor,
    method: str = "saddle_free",
    *,
    steps: int,
    dampings: Sequence[float] = DAMPINGS,
    on_failure: str = "best",
    observe: Callable[[int, Tensor], Any] | None = None,
) -> Descent:
    """Make T updates; a member whose loss, gradient or matrix is not finite stops where it is.

    Args:
        objective_at: number of an update, from 0 -> the objective of that update: the same every
            time, or a new minibatch.
        theta: (E, P), left alone.
        steps: T.
        observe: called with the number of updates made and theta (E, P) before every update and
            after the last; the tensor must not be changed.

    The other arguments are those of `update`.
    """
    _method(method, dampings, on_failure)
    found = _nothing(theta, steps)
    for step in range(steps):
        if observe is not None:
            observe(step, found.theta)
        alive = found.stopped == steps
        if not alive.any():
            break
        objective = part(objective_at(step), alive)
        done = update(
            objective, found.theta[alive], method, dampings=dampings, on_failure=on_failure
        )
        _write(found, step, alive, done)
    if observe is not None:
        observe(steps, found.theta)
    return found


def _nothing(theta: Tensor, steps: int) -> Descent:
    """Return the record of a descent before its first update."""
    members = len(theta)
    loss, after, damping, norm, least = theta.new_full((5, steps, members), torch.nan)
    counts = torch.full((steps, members), -1, device=theta.device)
    stopped = torch.full((members,), steps, device=theta.device)
    return Descent(theta.clone(), loss, after, damping, norm, least, counts, stopped)


def _write(found: Descent, step: int, alive: Tensor, done: Update) -> None:
    least, negative = done.eigenvalues[:, 0], (done.eigenvalues < 0).sum(1)
    usable = done.loss.isfinite() & done.gradient_norm.isfinite() & least.isfinite()
    found.theta[alive] = done.theta
    for name in ("loss", "loss_after", "damping", "gradient_norm"):
        getattr(found, name)[step, alive] = getattr(done, name)
    found.least_eigenvalue[step, alive] = least
    found.negative[step, alive] = torch.where(usable, negative, -1)
    found.stopped[alive] = torch.where(usable, found.stopped[alive], step)


def part(objective: Objective, members: Tensor) -> Objective:
    """Return the objective of some members (E,) bool: itself, unless it has its own `part`."""
    own = getattr(objective, "part", None)
    return objective if own is None or members.all() else own(members)


def groups(theta: Tensor) -> Iterator[Tensor]:
    """Yield members (E,) bool, so many at a time that their matrices fit GROUP_BYTES."""
    matrix = theta.shape[1] ** 2 * theta.element_size()
    together = max(1, GROUP_BYTES[theta.device.type] // matrix)
    numbers = torch.arange(len(theta), device=theta.device)
    for start in range(0, len(theta), together):
        yield (numbers >= start) & (numbers < start + together)


def _method(name: str, dampings: Sequence[float], on_failure: str) -> Method:
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    if on_failure not in ("best", "stay"):
        raise ValueError(f"on_failure must be best or stay, got {on_failure!r}")
    if not len(dampings) or not all(damping >= 0 for damping in dampings):
        raise ValueError(f"dampings must be one or more numbers not below 0, got {dampings}")
    return METHODS[name]
