"""How the first step of every rule depends on the scale s of the coordinates w~ = s w."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reproductions.harness.tables import Rows
from reproductions.papers.lecture8geometry.composed import Composed
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.equivariance import EXAMPLES, MODELS
from reproductions.papers.lecture8geometry.rules import FIRST_ORDER, SECOND_ORDER, step

UNITS = {"step_size": "1"}


def rows(draws: Draws, scales: Sequence[float]) -> Rows:
    """Return the length of every rule's first step in w, for each s."""
    rows = Rows(UNITS)
    for name in (*FIRST_ORDER, *SECOND_ORDER):
        widths, head = MODELS.get(name, MODELS["gauss_newton"])
        loss, theta = draws.network(widths, EXAMPLES, head)
        unit = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
        for place, s in enumerate(scales):
            other = Composed(loss, unit / s, head)
            moved = other.original(step(name, other, other.coordinates(theta), 1.0))
            size = torch.linalg.vector_norm(moved, dim=1)
            rows.add(arm=name, quantity="step_size", value=size.cpu(), seed=range(draws.members),
                     index=place, s=s)  # fmt: skip
    return rows
