"""What the published figures hold, read from `digitised/`: the numbers ours are held against."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reproductions.harness.tables import read_points

DIGITISED = Path(__file__).parent / "digitised"
FIGURE_7 = {
    2: "fig7_n2.csv", 5: "fig7_n5.csv", 10: "fig7_n10.csv", 25: "fig7_n25.csv",
    50: "fig7_n50.csv", 100: "fig7_n100.csv", 250: "fig7_n250.csv", 500: "fig7_n500.csv",
}  # fmt: skip
WIDTHS = tuple(FIGURE_7)  # hidden units
TABLE_1 = {25: 0.7616, 50: 0.6861, 100: 0.5983, 250: 0.5302, 500: 0.4081}
SCALING = (13.6942, -1.12799)  # alpha, beta of exp(alpha n^beta), recovered from Figures 3 and 7
PUBLISHED_RUNS = 1000


@cache
def points(name: str) -> Any:
    """Return the table of one digitised figure."""
    return read_points((DIGITISED / name).with_suffix(".csv"))


def losses(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (training losses, test losses) of every published network of a width, Figure 7."""
    found = points(FIGURE_7[width])
    return found.train_loss.to_numpy(), found.test_loss.to_numpy()


def histogram(name: str, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (left edges, right edges, counts) of one histogram of Figures 3, 6 or 8."""
    found = points(name)
    return found["left"].to_numpy(), found["right"].to_numpy(), found[column].to_numpy()


def moments(name: str, column: str) -> tuple[float, float]:
    """Return mean and standard deviation of a published histogram, from the bins' centres."""
    left, right, counts = histogram(name, column)
    centres = (left + right) / 2
    mean = np.average(centres, weights=counts)
    spread = np.average((centres - mean) ** 2, weights=counts) * counts.sum() / (counts.sum() - 1)
    return float(mean), float(np.sqrt(spread))
