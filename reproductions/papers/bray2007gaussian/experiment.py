"""The experiments of Bray and Dean 2007; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/bray2007gaussian.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from reproductions.harness.tables import Rows
from reproductions.papers.bray2007gaussian import counting, curves, searching

Progress = Callable[..., None]


def theory(
    *,
    a: float,
    g: float,
    scales: list[float],
    exponents: list[float],
    curve_points: int,
) -> Rows:
    """Tabulate energy and number of critical points against their index, N infinite."""
    return curves.tabulate(a, g, scales, exponents, curve_points)


def matrices(
    *,
    sizes: list[int],
    shifts: list[float],
    draws: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Hold the index of shifted random matrices against the semicircle."""
    return curves.of_matrices(sizes, shifts, draws, root_seed, progress)


def kac_rice(
    *,
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
    """Tabulate energy, spread and number of critical points of every index at finite N."""
    return counting.by_index(
        a, g, sizes, batches, draws, spectrum_indices, spectrum_bins, root_seed, progress
    )


def conditionings(
    *,
    a: float,
    g: float,
    sizes: list[int],
    energies: int,
    progress: Progress,
) -> Rows:
    """Tabulate the shift at fixed energy, beside the energy at fixed index."""
    return counting.by_energy(a, g, sizes, energies, progress)


def search(
    *,
    a: float,
    g: float,
    sizes: list[int],
    waves: int,
    fields: int,
    walkers: int,
    moved_walkers: int,
    steps: int,
    reach: float,
    tolerance: float,
    walk: int,
    rate: float,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Find critical points of all indices in sampled fields of both kernels."""
    counts = {"random": walkers, "descended": moved_walkers, "ascended": moved_walkers}
    plan = searching.Plan(steps, reach, tolerance, walk, rate)
    return searching.found(a, g, sizes, waves, fields, counts, plan, device, root_seed, progress)


def waves(
    *,
    a: float,
    g: float,
    dimensions: int,
    waves: list[int],
    fields: int,
    points: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure how far fields of finitely many waves are from Gaussian ones."""
    return searching.gaussianity(
        a, g, dimensions, waves, fields, points, device, root_seed, progress
    )
