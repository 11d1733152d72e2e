"""Trust regions: the steps that end on their rims, sampled rivals, and the second-order expansion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.trust_region import REGIONS, ball_multiplier
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import step, worst
from reproductions.problems.quadratics import Bowl

SHRINKS = (0.04, 0.02, 0.01, 0.005, 0.0025)
_EXAMPLE = ((2.0, 0.9), (0.9, 0.8))  # the bowl of the figure
_AT, _RADII, _GRID = (-1.6, 1.5), (0.3, 0.6, 0.9), 61
UNITS = {"residual": "1", "margin": "1", "remainder": "1", "x": "1", "y": "1", "level": "1"}


def rows(draws: Draws, size: int, samples: int, radius: float) -> Rows:
    """Return what the steps are held to, and the points of the figure."""
    rows, seeds = Rows(UNITS), range(draws.members)
    gradient = draws.points(size)
    for region, residual in _residuals(gradient, radius).items():
        rows.add(arm=region, quantity="residual", value=residual, seed=seeds)
        margin = _margin(draws, gradient, region, radius, samples)
        rows.add(arm=region, quantity="margin", value=margin, seed=seeds)
    for arm, remainder in expansion(draws).items():
        rows.add(arm=arm, quantity="remainder", value=remainder.T, step=range(len(SHRINKS)),
                 seed=[[seed] for seed in seeds], shrink=list(SHRINKS))  # fmt: skip
    _example(rows)
    return rows


def _residuals(gradient: Tensor, radius: float) -> dict[str, Tensor]:
    ball, box = (_step(region, gradient, radius) for region in ("ball", "box"))
    length = (torch.linalg.vector_norm(ball, dim=1) / radius - 1).abs()
    rest = worst(gradient + 2 * ball_multiplier(gradient, radius) * ball, gradient)
    whole = radius * gradient.abs().sum(1)
    decrease = ((box * gradient).sum(1) + whole).abs() / whole
    return {"ball": torch.maximum(length, rest), "box": decrease}


def _step(region: str, gradient: Tensor, radius: float) -> Tensor:
    transform = REGIONS[region](radius)
    return transform.update(gradient, transform.init(gradient), gradient)[0]


def _margin(draws: Draws, gradient: Tensor, region: str, radius: float, samples: int) -> Tensor:
    """Return the least excess of sampled points of the rim, relative to the step's decrease."""
    points = draws.points(samples, gradient.shape[1], stream=20)
    order = 2 if region == "ball" else math.inf
    points = radius * points / torch.linalg.vector_norm(points, ord=order, dim=2, keepdim=True)
    least = (points * gradient[:, None]).sum(2).amin(1)
    own = (_step(region, gradient, radius) * gradient).sum(1)
    return (least - own) / own.abs()


def expansion(draws: Draws) -> dict[str, Tensor]:
    """Return what two expansions leave of f(x + h d), (shrinks, E): with 1/2 and as on the slide."""
    loss, theta = draws.network((3, 2, 1), 60, "squared")
    direction = draws.points(theta.shape[1], stream=21)
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    value, gradient, hessian = loss.curvature(theta)
    first = (gradient * direction).sum(1)
    second = (direction * (hessian @ direction[..., None])[..., 0]).sum(1)
    found: dict[str, list[Tensor]] = {"half": [], "slide": []}
    for h in SHRINKS:
        left = loss.loss(theta + h * direction) - value - h * first
        found["half"].append((left - h**2 * second / 2).abs())
        found["slide"].append((left - h**2 * second).abs())
    return {arm: torch.stack(parts) for arm, parts in found.items()}


def _example(rows: Rows) -> None:
    """Add the figure's bowl, its level sets and the steps from one point for several radii."""
    bowl = Bowl(torch.tensor([_EXAMPLE], dtype=torch.float64))
    start = torch.tensor([_AT], dtype=torch.float64)
    for region, name in (("ball", "normalised"), ("box", "sign")):
        ends = [start + step(name, bowl, start, radius) for radius in _RADII]
        for axis, quantity in enumerate(("x", "y")):
            values = [start[0, axis].item(), *(end[0, axis].item() for end in ends)]
            rows.add(arm=region, quantity=quantity, value=values, step=range(len(values)),
                     radius=[0.0, *_RADII])  # fmt: skip
    x, y = torch.linspace(-3, 1, _GRID), torch.linspace(-0.5, 3, _GRID)
    grid = torch.cartesian_prod(x, y).to(torch.float64)
    whole = Bowl(bowl.matrix.expand(len(grid), -1, -1))
    rows.add(arm="contours", quantity="level", value=whole.loss(grid), index=range(len(grid)),
             x=grid[:, 0], y=grid[:, 1])  # fmt: skip
