"""What the published figures hold, read from `digitised/`: the numbers ours are held against."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reproductions.harness.tables import read_points

DIGITISED = Path(__file__).parent / "digitised"
WIDTH = 16  # of the networks of Figures 3 to 6
FITTED = (48, 64, 96, 128, 256, 512)  # examples of Figure 6(a)
GAP_SCALE = 0.03846  # of the red curve of Figure 5
SMALL = 0.06  # index up to which the dots of Figure 6(a) are fitted here


@cache
def points(name: str) -> Any:
    """Return the table of one digitised figure."""
    return read_points((DIGITISED / name).with_suffix(".csv"))


def fraction(phi: float) -> str:
    """Return phi as the paper writes it, such as 2/3."""
    return str(Fraction(float(phi)).limit_denominator(512))


def examples(phi: float) -> int:
    """Return the number of examples at which networks of the published width have this phi."""
    return round(2 * WIDTH / float(phi))


def index_curve(phi: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (index, mean energy) of the dots of Figure 6(a), None where it has none for phi."""
    found = points("fig6a_points")
    own = found[found.m == examples(phi)]
    return (own.alpha.to_numpy(), own.eps_mean.to_numpy()) if len(own) else None


def minima() -> tuple[np.ndarray, np.ndarray]:
    """Return (phi, energy) of the dots of Figure 6(b)."""
    found = points("fig6b_points")
    return 2 * WIDTH / found.m.to_numpy(), found.energy.to_numpy()


def minimum(phi: float) -> float:
    """Return the energy of the dot of Figure 6(b) at phi, nan where there is none."""
    found = points("fig6b_points")
    own = found[found.m == examples(phi)]
    return float(own.energy.iloc[0]) if len(own) else np.nan


def lines() -> dict[int, tuple[float, float, float]]:
    """Return examples -> (threshold, coefficient, exponent) of the lines of Figure 6(a)."""
    found = points("fig6a_fit_curves")
    columns = found.threshold, found.coefficient, found.free_exponent
    return dict(zip(FITTED, zip(*(one.tolist() for one in columns), strict=True), strict=True))
