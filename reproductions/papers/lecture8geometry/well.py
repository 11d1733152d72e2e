"""From a plateau into a narrow well: every rule at the best of a grid of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.papers.lecture8geometry.landscapes import contours
from reproductions.papers.lecture8geometry.rules import FIRST_ORDER
from reproductions.problems.quadratics import CENTRE, WIDTHS, Well

UNITS = {
    "x": "1",
    "y": "1",
    "steps": "1",
    "loss": "1",
    "gradient_per_distance": "1",
    "least_curvature": "1",
    "level": "1",
}
# off the lattice of the rates, so that no rule lands on the bottom by luck
_START, _REACHED = (0.05, 1.03), -0.9
_STAY = 500  # steps for which a rule must stay in the well to have arrived
_KEPT = 400  # points of a path for the figure


def well_rows(rates: Mapping[str, Sequence[float]], most_steps: int) -> Rows:
    """Count each rule's steps until it is in the well for good, at the best of its rates."""
    rows = Rows(UNITS)
    for name, grid in rates.items():
        points, losses = walk(name, grid, most_steps)
        count, best, arrived = arrival(losses)
        labels: dict[str, Any] = {"arm": name, "arrived": arrived, "rate": grid[best]}
        rows.add(quantity="steps", value=count, **labels)
        _add_path(rows, points[: count + 1, best], labels)
    rows.add(arm="bottom", quantity="least_curvature", value=1 / max(WIDTHS) ** 2)
    contours(rows, Well().loss, (-0.5, 10.5), (-1.3, 1.3))
    return rows


def walk(name: str, rates: Sequence[float], most_steps: int) -> tuple[Tensor, Tensor]:
    """Return points (T + 1, E, 2) and losses (T + 1, E), a member a rate.

    All walk until one of them has arrived and stayed, or for `most_steps` and the stay.
    """
    transform = FIRST_ORDER[name](torch.tensor(rates, dtype=torch.float64)[:, None])
    point = torch.tensor([_START], dtype=torch.float64).expand(len(rates), 2)
    state, points, losses = transform.init(point), [], []
    inside = torch.zeros(len(rates), dtype=torch.int64)
    for _ in range(most_steps + _STAY + 1):
        value, gradient = Well().gradient(point)
        points.append(point)
        losses.append(value)
        inside = torch.where(value <= _REACHED, inside + 1, 0)
        if int(inside.max()) > _STAY:
            break
        move, state = transform.update(gradient, state, point)
        point = point + move
    return torch.stack(points), torch.stack(losses)


def arrival(losses: Tensor) -> tuple[int, int, bool]:
    """Return the least step from which on a loss (T + 1, E) stays low, whose it is, and whether.

    Where none has stayed, it is the step before the stay would begin, and the rate that is deepest.
    """
    tail = losses[-_STAY - 1 :]
    stayed = (tail <= _REACHED).all(0)
    last = len(losses) - len(tail)
    best = int(stayed.to(torch.int64).argmax()) if stayed.any() else int(losses[last].argmin())
    return last, best, bool(stayed.any())


def _add_path(rows: Rows, points: Tensor, labels: dict[str, Any]) -> None:
    """Add a path's points, losses and |g| over the distance to the bottom."""
    losses, gradients = Well().gradient(points)
    distance = torch.linalg.vector_norm(points - points.new_tensor([CENTRE, 0.0]), dim=1)
    ratio = torch.linalg.vector_norm(gradients, dim=1) / distance
    every = 1 + len(points) // _KEPT
    chosen = sorted({*range(0, len(points), every), len(points) - 1})
    columns = {"x": points[:, 0], "y": points[:, 1], "loss": losses, "gradient_per_distance": ratio}
    for quantity, values in columns.items():
        rows.add(quantity=quantity, value=values[chosen], step=chosen, **labels)
