"""Measures of the limit's curve, and of random matrices beside the semicircle."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, joint
from reproductions.harness.tables import by_seed, select
from reproductions.papers.bray2007gaussian.lookup import KERNELS, critical, curve, sizes

_NEAR = 0.002  # of eps_c, where the constant is read
_SMALL = 1e-3  # indices below which the exponent is read


def theory(table: Any) -> dict[str, Metric]:
    """Measure the curve of energy against index."""
    of = {kernel: select(table, arm=kernel, quantity="critical_energy") for kernel in KERNELS}
    all_scales = of["exponential"].value.to_numpy()
    index, energy = curve(table, "exponential")
    middle = int(np.argmin(np.abs(energy)))
    slope = np.diff(index[[middle - 1, middle + 1]]) / np.diff(energy[[middle - 1, middle + 1]])
    distance, small = near(table, "exponential")
    constant = small / distance**1.5
    close = distance < max(_NEAR, float(distance.min()))
    low = small < _SMALL
    fit = np.polyfit(np.log(distance[low]), np.log(small[low]), 1)
    return {
        "critical_energy_exponential": exact(all_scales[np.argmax(np.abs(all_scales + 2))]),
        "critical_energy_power": exact(select(of["power"], parameter=1.0).value.iloc[0]),
        "index_slope_curve": exact(slope[0]),
        "index_symmetry_gap": exact(np.abs(energy + energy[::-1]).max()),
        "small_index_constant": exact(constant[close].mean()),
        "small_index_exponent": exact(fit[0]),
    }


def near(table: Any, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (1 - eps/eps_c, index) of the curve where both are positive and the index small."""
    index, energy = curve(table, kernel)
    distance = 1 - energy / critical(table, kernel)
    keep = (distance > 0) & (index > 0) & (index < 0.5)
    return distance[keep], index[keep]


def deviations(table: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shifts, and by how much each matrix' index is off the semicircle's there."""
    index = by_seed(select(table, arm="matrix", dimensions=n), "shift")
    theirs = select(table, arm="semicircle").sort_values("shift")
    return theirs["shift"].to_numpy(), index - theirs.value.to_numpy()[:, None]


def matrices(table: Any) -> dict[str, Metric]:
    """Measure how far the mean index of the largest matrices is from the semicircle's."""
    off = deviations(table, sizes(table)[-1])[1]
    return {"semicircle_index_misfit": joint(off, lambda d: np.abs(d.mean(axis=-1)).max(axis=0))}
