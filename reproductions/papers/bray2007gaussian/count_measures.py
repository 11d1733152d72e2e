"""Measures of exact numbers, energies and spreads of critical points at finite N."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, joint, over_seeds, slope
from reproductions.harness.tables import select
from reproductions.papers.bray2007gaussian.lookup import (
    KERNELS,
    batches,
    critical,
    curve,
    least,
    share,
    sizes,
)

_BULK = (0.1, 0.9)  # indices of which misfits are told
_QUARTER = 0.25  # the index whose misfit is followed over N
_QUADRATURE = 1e-7


def off_curve(
    theory: Any, kac_rice: Any, kernel: str, n: int, quantity: str = "energy"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of every k, and by how much each batch is off the limit's curve."""
    at, limit = share(n), curve(theory, kernel, quantity)
    if quantity == "energy":
        found = batches(kac_rice, kernel, n, "mean_energy")
    else:
        found = batches(kac_rice, kernel, n, "log_number") / n
    return at, found - np.interp(at, *limit)[:, None]


def largest(off: tuple[np.ndarray, np.ndarray]) -> Metric:
    """Return the largest distance of the mean over batches, over the bulk of the indices."""
    at, values = off
    bulk = (at >= _BULK[0]) & (at <= _BULK[1])
    return joint(values[bulk], lambda drawn: np.abs(drawn.mean(axis=-1)).max(axis=0))


def counts(theory: Any, kac_rice: Any) -> dict[str, Metric]:
    """Measure energies and numbers by index against the limit."""
    found = {}
    for n in sizes(kac_rice):
        for kernel in KERNELS:
            off = off_curve(theory, kac_rice, kernel, n)
            found[f"curve_misfit_{kernel}_{n}"] = largest(off)
        numbers = off_curve(theory, kac_rice, "exponential", n, "log_number")
        found[f"log_number_misfit_{n}"] = largest(numbers)
    found["curve_misfit_exponent"] = _decay(theory, kac_rice)
    return found | _minima(theory, kac_rice) | _spreads(kac_rice)


def quarter(theory: Any, kac_rice: Any, kernel: str) -> np.ndarray:
    """Return by how much each batch is off the curve at index 1/4, (sizes, batches)."""
    rows = []
    for n in sizes(kac_rice):
        at, off = off_curve(theory, kac_rice, kernel, n)
        rows.append([np.interp(_QUARTER, at, one) for one in off.T])
    return np.array(rows)


def _decay(theory: Any, kac_rice: Any) -> Metric:
    logs = np.log(sizes(kac_rice))
    logs = logs - logs.mean()

    def exponent(drawn: np.ndarray) -> Any:
        level = np.log(np.abs(drawn.mean(axis=-1)))
        return np.tensordot(logs, level, 1) / (logs @ logs)

    return joint(quarter(theory, kac_rice, "exponential"), exponent)


def gaps(theory: Any, kac_rice: Any) -> np.ndarray:
    """Return 1 - eps/eps_c of the mean energy of minima, by size; the same for every kernel."""
    end = critical(theory, "exponential")
    lowest = [least(kac_rice, "exponential", n, "mean_energy")[0] for n in sizes(kac_rice)]
    return 1 - np.array(lowest) / end


def drops(kac_rice: Any) -> np.ndarray:
    """Return the log of minima over critical points of index 1/2, by size."""
    found = []
    for n in sizes(kac_rice):
        middle = batches(kac_rice, "exponential", n, "log_number")[n // 2].mean()
        found.append(least(kac_rice, "exponential", n, "log_number")[0] - middle)
    return np.array(found)


def _minima(theory: Any, kac_rice: Any) -> dict[str, Metric]:
    n = np.array(sizes(kac_rice), dtype=float)
    gap = gaps(theory, kac_rice)
    constant = np.polyfit(n ** (-1 / 3), gap * np.sqrt(n / 2), 1)[1]
    terms = np.stack([n, np.sqrt(n), np.ones_like(n)], axis=1)
    per_dimension, per_root, _ = np.linalg.lstsq(terms, drops(kac_rice), rcond=None)[0]
    return {
        "minima_gap_constant": exact(constant, _QUADRATURE),
        "minima_gap_exponent": exact(np.polyfit(np.log(n), np.log(gap), 1)[0], _QUADRATURE),
        "log_number_drop_slope": exact(per_dimension),
        "log_number_drop_root": exact(per_root),
    }


def deviations(kac_rice: Any, kernel: str) -> np.ndarray:
    """Return the standard deviation of the energy at k = N/2, (sizes, batches)."""
    return np.array(
        [batches(kac_rice, kernel, n, "energy_deviation")[n // 2] for n in sizes(kac_rice)]
    )


def residual(kac_rice: Any, kernel: str) -> np.ndarray:
    """Return sqrt(D / (N f'')) by size."""
    rows = select(kac_rice, arm=kernel, quantity="residual_deviation")
    return rows.sort_values("dimensions").value.to_numpy()


def _spreads(kac_rice: Any) -> dict[str, Metric]:
    found, at = {}, sizes(kac_rice)
    spread = {kernel: deviations(kac_rice, kernel) for kernel in KERNELS}
    for kernel in KERNELS:
        found[f"spread_exponent_{kernel}"] = slope(np.log(at), np.log(spread[kernel]))
    for number, n in enumerate(at):
        limit = residual(kac_rice, "power")[number] ** 2
        found[f"spread_variance_ratio_power_{n}"] = over_seeds(spread["power"][number] ** 2 / limit)
        root = spread["exponential"][number] * n / math.sqrt(math.log(n))
        found[f"spread_over_root_log_{n}"] = over_seeds(root)
    return found


def conditionings(table: Any) -> dict[str, Metric]:
    """Measure the shift at fixed energy against its formula and against the other regression."""
    found, n = {}, max(n for n in sizes(table) if n <= 100)
    for kernel in KERNELS:
        energy, mean = line(table, kernel, "mean_shift", n)
        half = energy < 0
        at = np.interp(energy[half].min() / 1.8, energy, mean)  # at eps_c / 2
        formula = np.interp(energy[half].min() / 1.8, *line(table, kernel, "dominant_shift"))
        curve_slope = _slope(*line(table, kernel, "shift_on_index_curve"))
        bare = _slope(*line(table, kernel, "bare_shift"))
        found[f"shift_at_energy_ratio_{kernel}"] = exact(at / formula, _QUADRATURE)
        found[f"conditionings_ratio_{kernel}"] = exact(
            curve_slope / _slope(energy, mean), _QUADRATURE
        )
        found[f"bare_ratio_{kernel}"] = exact(_slope(energy, mean) / bare, _QUADRATURE)
    return found


def line(table: Any, kernel: str, quantity: str, n: int | None = None) -> tuple[Any, Any]:
    """Return (energy, value) of one quantity at fixed energy, ascending."""
    rows = select(table, arm=kernel, quantity=quantity)
    rows = (rows if n is None else select(rows, dimensions=n)).sort_values("energy")
    return rows.energy.to_numpy(), rows.value.to_numpy()


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(x, y, 1)[0])
