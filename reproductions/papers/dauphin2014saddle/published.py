"""What the published figures hold, read from `digitised/`: the numbers ours are held against."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from reproductions.harness.tables import read_points, select

DIGITISED = Path(__file__).parent / "digitised"
POINTS = {"mnist": "fig1a_mnist_points", "cifar": "fig1c_cifar_points"}
SPECTRA = {"mnist": "fig1b_mnist_spectra", "cifar": "fig1d_cifar_spectra"}
MINIMUM, CURVES = "fig3ad_minimum_errors", "fig3be_training_curves"
MOST_NEGATIVE = "fig3cf_most_negative"
AUTOENCODER, AUTOENCODER_CURVATURE = "fig4a_autoencoder", "fig4b_autoencoder_curvature"


@cache
def points(name: str) -> Any:
    """Return the table of one digitised figure."""
    return read_points((DIGITISED / name).with_suffix(".csv"))


def curve(name: str, data: str, method: str) -> Any:
    """Return the rows of one method on one data set, of Figure 3."""
    return select(points(name), data=data, method=method)
