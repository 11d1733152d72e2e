"""Measures of critical points found in sampled fields, and of the fields themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from reproductions.harness.statistics import Metric, joint, over_seeds, ratio
from reproductions.harness.tables import by_seed, select
from reproductions.papers.bray2007gaussian.lookup import (
    ASCENDED,
    DESCENDED,
    KERNELS,
    RANDOM,
    critical,
    points,
    residuals,
    sizes,
)

MAIN = 20  # the size that the claims are about, where it was searched
BANDS = ((-1.5, -0.9), (-0.3, 0.3), (0.9, 1.5))  # of energy
_FEWEST = 3  # points of a field
_GRID = 97  # places at which distributions are compared


def main_size(search: Any) -> int:
    """Return the size that is measured: 20, or the smallest there is."""
    there = sizes(search)
    return MAIN if MAIN in there else there[0]


def per_field(table: Any, column: str, statistic: Any) -> np.ndarray:
    """Return a statistic of every field's points; a field of fewer than three has none."""
    groups = [one[column].to_numpy() for _, one in table.groupby("seed")]
    return np.array([statistic(one) for one in groups if len(one) >= _FEWEST])


def found(theory: Any, search: Any, kac_rice: Any) -> dict[str, Metric]:
    """Measure the points found from random starts against the exact means at their index."""
    n, results = main_size(search), {}
    spread = {}
    for kernel in KERNELS:
        away = residuals(search, kac_rice, kernel, n)
        plain = away[away.start == RANDOM]
        results[f"found_energy_misfit_{kernel}"] = over_seeds(per_field(plain, "away", np.mean))
        results[f"found_correlation_{kernel}"] = over_seeds(_correlations(search, kernel, n))
        spread[kernel] = per_field(plain, "away", lambda one: (one**2).mean())
        squares = per_field(plain, "units", lambda one: (one**2).mean())
        results[f"found_spread_{kernel}"] = rms(squares)
        for start in (DESCENDED, ASCENDED):
            moved = away[away.start == start]
            name = f"found_bias_{start}_{kernel}"
            results[name] = over_seeds(per_field(moved, "away", np.mean))
        results[f"found_share_{kernel}"] = over_seeds(shares(search, kernel, n)[RANDOM])
    fields = min(map(len, spread.values()))
    squares = ratio(spread["power"][:fields], spread["exponential"][:fields])
    results["found_spread_ratio"] = _rooted(squares)
    results["found_spectrum_misfit"] = spectrum_misfit(theory, search, n)
    return results


def rms(squares: np.ndarray) -> Metric:
    """Return the root of the mean over fields of their mean squares."""
    return over_seeds(squares, _root_mean)


def _root_mean(values: np.ndarray, axis: int = -1) -> Any:
    return np.sqrt(values.mean(axis=axis))


def _rooted(square: Metric) -> Metric:
    return square._replace(
        value=math.sqrt(square.value), low=math.sqrt(square.low), high=math.sqrt(square.high)
    )


def _correlations(search: Any, kernel: str, n: int) -> np.ndarray:
    """Return the rank correlation of energy and index of every field, over all its points."""
    groups = points(search, kernel, n).groupby("seed")
    return np.array([stats.spearmanr(one.energy, one.negative).statistic for _, one in groups])


def shares(search: Any, kernel: str, n: int) -> dict[str, np.ndarray]:
    """Return, by start, the share of each field's searches that ended at a new critical point."""
    rows = select(search, arm=kernel, dimensions=n, quantity="energy")
    good = rows.assign(good=(rows.status == "ok").astype(float))
    return {
        str(start): one.groupby("seed").good.mean().to_numpy()
        for start, one in good.groupby("start")
    }


def centred(search: Any, theory: Any, kernel: str, n: int, band: tuple[float, float]) -> Any:
    """Return the eigenvalues of points in a band of energy, one a row: seed, energy, level.

    `level` is about the point's own shift, that which its energy stands for on the curve, and in
    radii of the semicircle.
    """
    keys = ["start", "seed", "index"]
    rows = search[(search.arm == kernel) & (search.dimensions == n) & (search.status == "ok")]
    energies = rows[rows.quantity == "energy"].set_index(keys).value.rename("energy")
    levels = rows[rows.quantity == "eigenvalue"][[*keys, "value"]]
    both = levels.join(energies[energies.between(*band)], on=keys, how="inner")
    return both.assign(level=both.value - both.energy / critical(theory, kernel))


def semicircle(x: np.ndarray) -> np.ndarray:
    """Return the share of a semicircle of radius 1 below x."""
    x = np.clip(x, -1.0, 1.0)
    return 0.5 + (x * np.sqrt(1 - x * x) + np.arcsin(x)) / math.pi


def spectrum_misfit(theory: Any, search: Any, n: int) -> Metric:
    """Return the largest distance of the eigenvalues' distribution from the semicircle, by band."""
    fields, grid = np.unique(search.seed), np.linspace(-1.2, 1.2, _GRID)
    rows = []
    for band in BANDS:
        levels = centred(search, theory, "exponential", n, band)
        own = [np.sort(levels.level[levels.seed == field]) for field in fields]
        below = [np.append(np.searchsorted(one, grid), len(one)) for one in own]
        rows.append(np.stack(below, axis=1))
    limit = semicircle(grid)

    def largest(drawn: np.ndarray) -> Any:
        counts = drawn.sum(axis=-1).reshape(len(BANDS), _GRID + 1, *drawn.shape[1:-1])
        shares = counts[:, :-1] / np.maximum(counts[:, -1:], 1)
        away = np.abs(shares - limit.reshape(-1, *[1] * (drawn.ndim - 2)))
        return np.where(counts[:, -1:] > 0, away, 0.0).max(axis=(0, 1))

    return joint(np.concatenate(rows), largest)


def waves(table: Any) -> dict[str, Metric]:
    """Measure how the spectrum's fourth moment tends to that of random matrices."""
    at, moments = excess(table, "power")
    logs = np.log(at) - np.log(at).mean()

    def exponent(drawn: np.ndarray) -> Any:
        return np.tensordot(logs, np.log(drawn.mean(axis=-1)), 1) / (logs @ logs)

    found = {"waves_exponent_power": joint(moments, exponent)}
    for kernel in KERNELS:
        at, moments = excess(table, kernel)
        found[f"fourth_moment_excess_{kernel}"] = over_seeds(moments[-1])
    return found


def excess(table: Any, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Return waves per dimension, and the fourth moment above that of matrices, (waves, fields)."""
    rows = select(table, arm=kernel)
    matrix = select(table, arm="matrix").value.mean()
    return np.unique(rows.waves).astype(float), by_seed(rows, "waves") - matrix
