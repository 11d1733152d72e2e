"""Level-set teleportation: the steepest place in reach where the loss is no higher.

Maximise log |gradient| subject to loss <= loss at the start, by steps that are best to first order.
With g the gradient, H the Hessian and q = H g / |g|^2, the slope of log |g|, a step of rate rho is

    d = rho q - g max(0, rho q.g + loss - loss at the start) / |g|^2

which is rho q, brought back to where the linearised loss is allowed. Where a network is positively
homogeneous the level set holds all its positive changes of basis, along which |g| has no bound:
then the number of steps and their length are what bounds the teleport.

Source: Mishkin, Bietti and Gower 2024, Level set teleportation; normalised sequential linear steps
with a line search. Deviations: a member is its own problem; the line search demands besides that
the loss stays within a stated tolerance, and takes the penalty twice the multiplier.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.objective import Objective

RISE = 0.25  # share of what the linear model promises that a step must keep
PRODUCT = 2.0  # what a product with the Hessian costs, in gradients
LEAST = 1e-12  # of the gradient norm: below it a member does not move


class Teleported(NamedTuple):
    """Where level-set teleportation leads, and what it cost."""

    theta: Tensor  # (E, P)
    loss: Tensor  # (E,)
    norm: Tensor  # (E,) of the gradient
    first_loss: Tensor  # (E,) at the start
    first_norm: Tensor  # (E,)
    cost: Tensor  # (E,) float64, in gradients; a product with the Hessian counts as PRODUCT


class _Place(NamedTuple):
    theta: Tensor  # (E, P)
    loss: Tensor  # (E,)
    gradient: Tensor  # (E, P)
    norm: Tensor  # (E,)


def teleport(
    objective: Objective,
    theta: Tensor,
    *,
    steps: int,
    rate: float = 0.1,
    tolerance: float = 1e-3,
    tries: int = 8,
) -> Teleported:
    """Raise the gradient norm of every member at a loss no higher than at the start.

    Args:
        objective: the loss of each member, which is asked for some of the members too; so all share
            their data.
        theta: (E, P), left alone; a member whose loss or gradient is not finite stays.
        steps: at most; of each a gradient, a product with the Hessian, and one more gradient for
            each try of the line search after the first.
        rate: of the first step, doubled after a step that was taken at once, halved at every try
            that failed.
        tolerance: by how much of its size the loss may be above that at the start.
        tries: of the line search; a member that fails at all stays for this step.

    Raises:
        ValueError: where steps, rate or tries is not positive, or the tolerance negative.
    """
    if not (steps > 0 and rate > 0 and tries > 0 and tolerance >= 0):
        said = f"steps {steps!r}, rate {rate!r}, tries {tries!r}, tolerance {tolerance!r}"
        raise ValueError(f"all must be positive, the tolerance not negative: {said}")
    now = first = _look(objective, theta.clone())
    limit = first.loss + tolerance * first.loss.abs()
    rates = torch.full_like(now.loss, rate)
    cost = torch.ones_like(now.loss, dtype=torch.float64)
    for _ in range(steps):
        moving = now.loss.isfinite() & (now.norm > LEAST) & now.norm.isfinite()
        if not moving.any():
            break
        slope = objective.product(now.theta, now.gradient) / now.norm[:, None].square()
        cost += torch.where(moving, PRODUCT, 0.0).double()
        now = _search(objective, now, slope, first.loss, limit, rates, cost, moving, tries)
    return Teleported(now.theta, now.loss, now.norm, first.loss, first.norm, cost)


def _look(objective: Objective, theta: Tensor) -> _Place:
    loss, gradient = objective.gradient(theta)
    return _Place(theta, loss, gradient, torch.linalg.vector_norm(gradient, dim=1))


def _search(
    objective: Objective, now: _Place, slope: Tensor, first: Tensor, limit: Tensor,
    rates: Tensor, cost: Tensor, moving: Tensor, tries: int,
) -> _Place:  # fmt: skip
    """Return the place after a step; rates (E,) and cost (E,) change in place."""
    kept = _Place(*(part.clone() for part in now))
    left = moving.nonzero().squeeze(1)
    for attempt in range(tries):
        old, rho = _Place(*(part[left] for part in now)), rates[left]
        step, promise, penalty = _step(old, slope[left], rho, first[left])
        new = _look(objective, old.theta + step)
        cost[left] += 1
        merit = _merit(new, penalty, first[left]) - _merit(old, penalty, first[left])
        good = (merit >= RISE * promise) & (new.loss <= limit[left])  # false where not finite
        for part, fresh in zip(kept, new, strict=True):
            part[left[good]] = fresh[good]
        rates[left] = torch.where(good, rho * (2.0 if attempt == 0 else 1.0), rho / 2)
        left = left[~good]
        if not len(left):
            break
    return kept


def _step(
    at: _Place, slope: Tensor, rho: Tensor, first: Tensor
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the step (E, P), what it promises of the merit (E,), and the penalty on loss (E,)."""
    along, square = (slope * at.gradient).sum(1), at.norm.square()
    back = (rho * along + at.loss - first).clamp(min=0) / square
    step = rho[:, None] * slope - back[:, None] * at.gradient
    multiplier = along.clamp(min=0) / square
    # Above the multiplier any penalty makes the step one of ascent; in units of 1 / loss.
    penalty = 2 * multiplier + 1 / first.abs().clamp(min=LEAST)
    promise = (slope * step).sum(1) + penalty * (at.loss - first).clamp(min=0)
    return step, promise, penalty


def _merit(at: _Place, penalty: Tensor, first: Tensor) -> Tensor:
    return at.norm.log() - penalty * (at.loss - first).clamp(min=0)
