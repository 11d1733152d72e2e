"""The experiments of Pennington and Bahri 2017; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/pennington2017geometry.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.pennington2017geometry import (
    free_sums,
    hessian_parts,
    teachers,
    theory_rows,
)

Progress = Callable[..., None]


def theory(
    *,
    phis: list[float],
    energies: list[float],
    index_energies: list[float],
    threshold_phis: list[float],
    density_points: int,
    curve_points: int,
    highest_energy: float,
    progress: Progress,
) -> Rows:
    """Tabulate densities, indices, thresholds and the 3/2 law (Figure 1, sections 4 and 6)."""
    rows = Rows(theory_rows.UNITS)
    for phi in phis:
        for energy in energies:
            theory_rows.add_density(rows, theory_rows.WIGNER, energy, phi, density_points)
            theory_rows.add_density(rows, theory_rows.RELU, energy, phi, density_points)
    progress(0.4, "densities")
    theory_rows.add_indices(rows, phis, index_energies)
    theory_rows.add_index_curves(rows, phis, highest_energy, curve_points)
    theory_rows.add_thresholds(rows, threshold_phis)
    theory_rows.add_law(rows, phis, curve_points)
    return rows


def monte_carlo(
    *,
    width: int,
    phis: list[float],
    energies: list[float],
    seeds: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Draw matrices of both models and hold their spectra against the closed forms."""
    return free_sums.monte_carlo(width, phis, energies, seeds, root_seed, progress)


def freeness(
    *,
    data: Dataset,
    images: int,
    side: int,
    hidden: int,
    seeds: int,
    stops: list[int],
    learning_rate: float,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train a ReLU autoencoder and rotate one part of its Hessian against the other (Figure 2)."""
    return free_sums.freeness(
        data, images, side, hidden, seeds, stops, learning_rate, device, root_seed, progress
    )


def error_signals(
    *,
    width: int,
    examples: list[int],
    energy: float,
    seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Put noise in place of the residuals and take the spectrum of H1 (Figure 3)."""
    return hessian_parts.error_signals(width, examples, energy, seeds, device, root_seed, progress)


def jacobian(
    *,
    width: int,
    examples: list[int],
    shown: int,
    seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Take the spectrum of H0, its null directions and its gap (Figures 4 and 5)."""
    return hessian_parts.jacobian(width, examples, shown, seeds, device, root_seed, progress)


def minimisers(
    *,
    width: int,
    examples: list[int],
    seeds: int,
    learning_rate: float,
    first_steps: int,
    second_steps: int,
    cuts: list[float],
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Minimise the loss of tanh networks on random data (Figure 6b)."""
    return teachers.minimisers(
        width, examples, seeds, learning_rate, first_steps, second_steps, cuts, device, root_seed,
        progress,
    )  # fmt: skip


def critical_points(
    *,
    width: int,
    examples: list[int],
    runs: int,
    learning_rate: float,
    descent_steps: int,
    search_steps: int,
    cuts: list[float],
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Search critical points from training trajectories: index against energy (Figure 6a)."""
    return teachers.critical_points(
        width, examples, runs, learning_rate, descent_steps, search_steps, cuts, device, root_seed,
        progress,
    )  # fmt: skip
