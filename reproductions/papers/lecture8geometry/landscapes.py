"""Paths in a bowl, where the gradient's size means something, and in a well, where it does not."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import FIRST_ORDER, path
from reproductions.problems.quadratics import CENTRE, Bowl, Well, random_bowls
from reproductions.problems.reparametrised import Reparametrised

PATH_UNITS = {"x": "1", "y": "1", "level": "1"}
FACT_UNITS = {"slack": "1", "ratio": "1"}
WELL_UNITS = {
    "x": "1",
    "y": "1",
    "steps": "1",
    "loss": "1",
    "gradient_per_distance": "1",
    "level": "1",
}
COORDINATES = {
    "original": ((1.0, 0.0), (0.0, 1.0)),
    "stretched": ((1.6, 0.0), (0.0, 0.5)),
    "sheared": ((1.0, 0.9), (0.0, 0.7)),
}
_BOWL = ((2.0, 1.2), (1.2, 1.6))
_START = (-1.8, 0.4)
_CURVATURES = (0.5, 15.0)  # least and largest of the bowls whose facts are held
_MU_STREAM = 15
_WELL_START, _REACHED, _KEPT = (0.0, 1.0), -0.9, 400
_GRID = (91, 61)


def coordinate_rows(rates: dict[str, float], steps: int) -> Rows:
    """Return the points of every rule in three coordinates of one bowl, all in the original's."""
    rows = Rows(PATH_UNITS)
    bowl = Bowl(torch.tensor([_BOWL], dtype=torch.float64))
    start = torch.tensor([_START], dtype=torch.float64)
    for name, rate in rates.items():
        for chart, matrix in COORDINATES.items():
            other = Reparametrised(bowl, torch.tensor(matrix, dtype=torch.float64))
            ahead = path(name, other, other.coordinates(start), rate, steps)
            points = other.original(ahead[:, 0])
            for axis, quantity in enumerate(("x", "y")):
                rows.add(arm=name, quantity=quantity, value=points[:, axis],
                         step=range(steps + 1), chart=chart)  # fmt: skip
    grid = _grid((-2.2, 2.2), (-2.2, 2.2))
    _contours(rows, Bowl(bowl.matrix.expand(len(grid), -1, -1)).loss(grid), grid)
    return rows


def _grid(x: tuple[float, float], y: tuple[float, float]) -> Tensor:
    axes = torch.linspace(*x, _GRID[0]), torch.linspace(*y, _GRID[1])
    return torch.cartesian_prod(*axes).to(torch.float64)


def _contours(rows: Rows, level: Tensor, grid: Tensor) -> None:
    rows.add(arm="contours", quantity="level", value=level, index=range(len(grid)),
             x=grid[:, 0], y=grid[:, 1])  # fmt: skip


def fact_rows(draws: Draws, size: int, steps: int) -> Rows:
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
    return rows


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


def well_rows(rates: dict[str, float], most_steps: int) -> Rows:
    """Count the steps of descent and of normalised steps from a plateau into a narrow well."""
    rows, centre = Rows(WELL_UNITS), torch.tensor([[CENTRE, 0.0]], dtype=torch.float64)
    for name, rate in rates.items():
        kept = []
        for t, (point, value, gradient) in enumerate(_walk(name, rate)):
            sizes = [float(torch.linalg.vector_norm(one)) for one in (gradient, point - centre)]
            kept.append((t, *point[0].tolist(), value, sizes[0] / sizes[1]))
            if value <= _REACHED or t == most_steps:
                break
        _add_well(rows, name, kept)
    grid = _grid((-0.5, 10.5), (-1.3, 1.3))
    _contours(rows, Well().loss(grid), grid)
    return rows


def _walk(name: str, rate: float) -> Iterator[tuple[Tensor, float, Tensor]]:
    """Yield point, value and gradient of every step, without end."""
    point, transform = torch.tensor([_WELL_START], dtype=torch.float64), FIRST_ORDER[name](rate)
    state = transform.init(point)
    while True:
        value, gradient = Well().gradient(point)
        yield point, value.item(), gradient
        move, state = transform.update(gradient, state, point)
        point = point + move


def _add_well(rows: Rows, name: str, kept: list[tuple[float, ...]]) -> None:
    arrived = kept[-1][3] <= _REACHED
    rows.add(arm=name, quantity="steps", value=kept[-1][0], arrived=arrived)
    chosen = [*kept[:-1][:: 1 + len(kept) // _KEPT], kept[-1]]
    step_, *columns = zip(*chosen, strict=True)
    for quantity, values in zip(("x", "y", "loss", "gradient_per_distance"), columns, strict=True):
        rows.add(arm=name, quantity=quantity, value=values, step=step_, arrived=arrived)
