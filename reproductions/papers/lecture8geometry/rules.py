"""The rules that the lecture compares, by name, all from the shared optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reproductions.optim.eigensteps import METHODS, decompose, directions
from reproductions.optim.first_order import normalised, sgd, sign
from reproductions.optim.natural import natural_gradient_step
from reproductions.optim.trust_region import inverse_norm

FIRST_ORDER: dict[str, Callable[[Any], Any]] = {
    "sgd": sgd,
    "normalised": normalised,
    "sign": sign,
    "inverse_norm": inverse_norm,
}
SECOND_ORDER = ("newton", "gauss_newton", "natural")


def step(name: str, objective: Any, theta: Tensor, rate: float | Tensor) -> Tensor:
    """Return one step (E, P) of a rule at theta, rate times its own where it is of second order."""
    if name in FIRST_ORDER:
        transform = FIRST_ORDER[name](rate)
        return transform.update(objective.gradient(theta)[1], transform.init(theta), theta)[0]
    if name == "natural":
        return natural_gradient_step(
            objective.gauss_newton(theta), objective.gradient(theta)[1], rate
        )
    method = METHODS[name]
    if method.matrix == "hessian":
        _, gradient, matrix = objective.curvature(theta)
    else:
        gradient, matrix = objective.gradient(theta)[1], getattr(objective, method.matrix)(theta)
    return rate * directions(decompose(matrix, gradient), method, gradient.new_zeros(1))[0]


def path(name: str, objective: Any, theta: Tensor, rate: float | Tensor, steps: int) -> Tensor:
    """Return the points (steps + 1, E, P) that a rule visits, the start first."""
    points = [theta]
    for _ in range(steps):
        points.append(points[-1] + step(name, objective, points[-1], rate))
    return torch.stack(points)


def worst(difference: Tensor, scale: Tensor) -> Tensor:
    """Return every member's largest |difference| over its largest |scale|, both (E, ...)."""
    return difference.flatten(1).abs().amax(1) / scale.flatten(1).abs().amax(1)
