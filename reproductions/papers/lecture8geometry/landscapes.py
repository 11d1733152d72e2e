"""Paths in bowls, in several coordinates, and what the gradient's size means there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.papers.lecture8geometry.composed import Composed
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import path
from reproductions.problems.quadratics import Bowl, random_bowls

PATH_UNITS = {"x": "1", "y": "1", "level": "1"}
FACT_UNITS = {"slack": "1", "ratio": "1", "rest": "1"}
COORDINATES = {
    "original": ((1.0, 0.0), (0.0, 1.0)),
    "stretched": ((1.6, 0.0), (0.0, 0.5)),
    "sheared": ((1.0, 0.9), (0.0, 0.7)),
}
_BOWL = ((2.0, 1.2), (1.2, 1.6))
_START = (-1.8, 0.4)
_CURVATURES = (0.5, 15.0)  # least and largest of the bowls whose facts are held
_MU_STREAM = 15
REST_RATES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)  # in units of the start's excess
_GRID = (91, 61)


def coordinate_rows(rates: dict[str, float], steps: int) -> Rows:
    """Return the points of every rule in three coordinates of one bowl, all in the original's."""
    rows = Rows(PATH_UNITS)
    bowl = Bowl(torch.tensor([_BOWL], dtype=torch.float64))
    start = torch.tensor([_START], dtype=torch.float64)
    for name, rate in rates.items():
        for chart, matrix in COORDINATES.items():
            other = Composed(bowl, torch.tensor(matrix, dtype=torch.float64))
            ahead = path(name, other, other.coordinates(start), rate, steps)
            points = other.original(ahead[:, 0])
            for axis, quantity in enumerate(("x", "y")):
                rows.add(arm=name, quantity=quantity, value=points[:, axis],
                         step=range(steps + 1), chart=chart)  # fmt: skip
    contours(rows, bowl.loss, (-2.2, 2.2), (-2.2, 2.2))
    return rows


def contours(
    rows: Rows,
    loss: Callable[[Tensor], Tensor],
    x: tuple[float, float],
    y: tuple[float, float],
) -> None:
    """Add a function's values on a grid of two axes' ranges."""
    axes = torch.linspace(*x, _GRID[0]), torch.linspace(*y, _GRID[1])
    grid = torch.cartesian_prod(*axes).to(torch.float64)
    rows.add(arm="contours", quantity="level", value=loss(grid), index=range(len(grid)),
             x=grid[:, 0], y=grid[:, 1])  # fmt: skip


def fact_rows(draws: Draws, size: int, steps: int, rest_steps: int) -> Rows:
    """Return the slack of three facts of strong convexity along descent, and their ratios.

    Arms: polyak is |g|^2 against 2 mu (f - f*), distance |g| against mu |x - x*|, inner
    <g, x - x*> against f - f* + mu/2 |x - x*|^2; `lowest` holds paths that start on the
    eigenvector of the least curvature, where the first two are equal.
    """
    rows, low, high = Rows(FACT_UNITS), *_CURVATURES
    curvatures = torch.linspace(low, high, size, dtype=torch.float64)
    bowl = Bowl(random_bowls(draws.sources(_MU_STREAM), curvatures).to(draws.device))
    eigenvector = torch.linalg.eigh(bowl.matrix).eigenvectors[:, :, 0]
    starts = {"random": draws.points(size, stream=22), "lowest": eigenvector}
    for start, point in starts.items():
        points = path("sgd", bowl, point, 1 / high, steps)
        for t, at in enumerate(points):
            for fact, (left, right) in _facts(bowl, at, low).items():
                rows.add(arm=fact, quantity="slack", value=((left - right) / left).cpu(),
                         seed=range(draws.members), step=t, start=start)  # fmt: skip
                rows.add(arm=fact, quantity="ratio", value=(left / right).cpu(),
                         seed=range(draws.members), step=t, start=start)  # fmt: skip
    for name, rates in {"sgd": (1 / high,), "inverse_norm": REST_RATES}.items():
        for rate in rates:
            rows.add(arm=name, quantity="rest", value=_rest(bowl, name, starts["random"], rate,
                     rest_steps).cpu(), seed=range(draws.members), rate=rate)  # fmt: skip
    return rows


def _rest(bowl: Bowl, name: str, start: Tensor, rate: float, steps: int) -> Tensor:
    """Return the largest excess (E,) in a path's last tenth over that of the start.

    The rate of the inverse norm is in units of the start's excess: in such steps f falls by it.
    """
    first = bowl.loss(start)
    own = rate * first[:, None] if name == "inverse_norm" else rate
    points = path(name, bowl, start, own, steps)
    late = torch.stack([bowl.loss(point) for point in points[-(steps // 10) :]])
    return late.amax(0) / first


def _facts(bowl: Bowl, point: Tensor, mu: float) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the larger and the smaller side of every fact, (E,) each; the minimum is 0 at 0."""
    value, gradient = bowl.gradient(point)
    size, distance = (torch.linalg.vector_norm(one, dim=1) for one in (gradient, point))
    inner = (gradient * point).sum(1)
    return {
        "polyak": (size**2, 2 * mu * value),
        "distance": (size, mu * distance),
        "inner": (inner, value + mu / 2 * distance**2),
    }
