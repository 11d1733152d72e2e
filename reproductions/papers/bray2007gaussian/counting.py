"""Mean energies, spreads and numbers of critical points at finite N, by Kac and Rice, as rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reproductions.harness.tables import Rows
from reproductions.papers.bray2007gaussian.curves import kernels
from reproductions.problems import gaussian_points, gaussian_theory
from reproductions.problems.gaussian_points import ByIndex
from reproductions.problems.gaussian_theory import Kernel

Progress = Callable[..., None]
INDEX_UNITS = {
    "mean_energy": "1",
    "energy_deviation": "1",
    "log_number": "log",
    "effective_draws": "1",
    "residual_deviation": "1",
    "hessian_density": "1",
}
SHIFT_UNITS = {
    "mean_shift": "1",
    "shift_deviation": "1",
    "dominant_shift": "1",
    "bare_shift": "1",
    "shift_on_index_curve": "1",
    "mean_index": "1",
}
SAMPLED, EXACT = "sampled", "exact"


def by_index(
    a: float,
    g: float,
    sizes: list[int],
    batches: int,
    draws: int,
    spectrum_indices: list[int],
    spectrum_bins: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Tabulate what critical points of every index are like, and the Hessian's spectrum at some.

    Args:
        sizes: N; the spectra are those of the first.
        batches: independent repetitions, the seeds of the table.
        draws: random matrices in a batch.
        spectrum_indices: k.
    """
    rows = Rows(INDEX_UNITS)
    for number, n in enumerate(sizes):
        for batch in range(batches):
            drawn = gaussian_points.spectra(n, draws, [root_seed, n, batch])
            laws = gaussian_points.of_spectra(drawn, n)
            for kernel in kernels(a, g):
                _add(rows, laws, np.arange(n + 1), n, kernel, SAMPLED, batch)
            rows.add(arm="any", quantity="effective_draws", value=laws.effective, seed=batch,
                     index=np.arange(n + 1), dimensions=n, method=SAMPLED)  # fmt: skip
            if number == 0:
                _add_spectra(rows, drawn, n, batch, spectrum_indices, spectrum_bins)
        _add_exact(rows, n, kernels(a, g))
        progress((number + 1) / len(sizes), f"critical points at N = {n}")
    return rows


def _add(
    rows: Rows, laws: ByIndex, at: np.ndarray, n: int, kernel: Kernel, method: str, seed: int
) -> None:
    mean, deviation = gaussian_points.energy_moments(laws, n, kernel)
    number = gaussian_points.log_numbers(laws, n, kernel)
    found = {"mean_energy": mean, "energy_deviation": deviation, "log_number": number}
    for quantity, value in found.items():
        rows.add(arm=kernel.name, quantity=quantity, value=value, seed=seed, index=at,
                 dimensions=n, method=method)  # fmt: skip


def _add_exact(rows: Rows, n: int, of: list[Kernel]) -> None:
    """Add index 0 and 1 by quadrature, and what the spread would be at a shift that is fixed."""
    laws = gaussian_points.least(n)
    for kernel in of:
        _add(rows, laws, np.arange(2), n, kernel, EXACT, 0)
        rows.add(arm=kernel.name, quantity="residual_deviation", dimensions=n, method=EXACT,
                 value=np.sqrt(kernel.residual_variance / n))  # fmt: skip


def _add_spectra(
    rows: Rows, drawn: np.ndarray, n: int, batch: int, indices: list[int], bins: int
) -> None:
    edges = np.linspace(-2.4, 2.4, bins + 1)
    for k in indices:
        density = gaussian_points.hessian_density(drawn, n, k, edges)
        rows.add(arm="any", quantity="hessian_density", value=density, seed=batch, index=k,
                 level=(edges[1:] + edges[:-1]) / 2, dimensions=n, method=SAMPLED)  # fmt: skip


def by_energy(a: float, g: float, sizes: list[int], energies: int, progress: Progress) -> Rows:
    """Tabulate the shift of critical points of given energy, and the three formulas near it.

    Args:
        energies: points from 0.9 eps_c to -0.9 eps_c.
    """
    rows = Rows(SHIFT_UNITS)
    for kernel in kernels(a, g):
        radius = 2 * np.sqrt(kernel.ddf)
        eps = np.linspace(0.9, -0.9, energies) * kernel.critical_energy
        lines = {
            "dominant_shift": gaussian_theory.shift_at_energy(eps, kernel),
            "bare_shift": kernel.df * eps / kernel.f,
            "shift_on_index_curve": eps / kernel.energy_per_shift,
        }
        for quantity, value in lines.items():
            rows.add(arm=kernel.name, quantity=quantity, value=value, energy=eps)
            rows.add(arm=kernel.name, quantity="mean_index", energy=eps, line=quantity,
                     value=gaussian_theory.index_of_shift(value / radius))  # fmt: skip
        for n in sizes:
            mean, deviation = gaussian_points.at_energy(eps, n, kernel)
            where = {"arm": kernel.name, "energy": eps, "dimensions": n}
            rows.add(quantity="mean_shift", value=mean, **where)
            rows.add(quantity="shift_deviation", value=deviation, **where)
        progress(0.5, f"shifts at fixed energy, {kernel.name}")
    return rows
