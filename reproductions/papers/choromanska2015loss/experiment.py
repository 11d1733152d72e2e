"""The experiments of Choromanska et al. 2015; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/choromanska2015loss.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.choromanska2015loss import (
    annealed,
    critical_counts,
    descents,
    hessians,
    training,
)

Progress = Callable[..., None]


def networks(
    *,
    data: Dataset,
    widths: list[int],
    seeds: int,
    scheme: str,
    schedule: Literal["authors", "compressed"],
    epochs: int,
    batch: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train networks of every width from many starts (Figures 3 right, 7, 9, 10, Table 1)."""
    pixels = training.pixels(data, device)
    plan = training.Plan(scheme, schedule, epochs, batch, root_seed)
    return training.by_width(pixels, widths, seeds, plan, progress)


def initialisation(
    *,
    data: Dataset,
    widths: list[int],
    seeds: int,
    schemes: list[str],
    rates: list[float],
    epochs: list[int],
    schedule: Literal["authors", "compressed"],
    batch: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train where the paper's text and the authors' code differ: initial weights and epochs."""
    pixels = training.pixels(data, device)
    plans = [
        training.Plan(scheme, schedule, length, batch, root_seed)
        for scheme in schemes
        for length in epochs
    ]
    return training.variants(pixels, widths, seeds, plans, rates, progress)


def index(
    *,
    data: Dataset,
    widths: list[int],
    seeds: list[int],
    thresholds: list[float],
    schedule: Literal["authors", "compressed"],
    epochs: int,
    batch: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Count negative eigenvalues of the exact Hessian at solutions (Figures 4 and 5)."""
    pixels = training.pixels(data, device)
    plan = training.Plan("uniform", schedule, epochs, batch, root_seed)
    return hessians.indices(pixels, widths, seeds, thresholds, plan, progress)


def spin_glass(
    *,
    sizes: list[int],
    one_tensor_starts: int,
    tensors: list[int],
    starts: int,
    rate: float,
    steps: int,
    enumeration_tensors: int,
    enumeration_starts: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Descend on the spherical spin glass, one tensor and many (Figures 3 left, 8 top)."""
    return descents.rows(
        sizes, one_tensor_starts, tensors, starts,
        descents.Plan(rate, steps, device, root_seed),
        (enumeration_tensors, enumeration_starts), progress,
    )  # fmt: skip


def annealing(
    *,
    data: Dataset,
    widths: list[int],
    chains: int,
    images: int,
    steps: int,
    temperature: float,
    power: float,
    spread: float,
    sgd_seeds: int,
    sgd_epochs: int,
    sgd_batch: int,
    sgd_rate: float,
    sgd_scheme: str,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Hold SGD against Metropolis annealing on a subset of MNIST (Figure 6)."""
    pixels = training.pixels(data, device)
    cooling = annealed.Cooling(chains, steps, temperature, power)
    descent = annealed.Descent(sgd_seeds, sgd_epochs, sgd_batch, sgd_rate, sgd_scheme)
    return annealed.compare(
        pixels.first(images), widths, cooling, spread, descent, root_seed, progress
    )


def redundancy(
    *,
    data: Dataset,
    width: int,
    chains: int,
    images: int,
    steps: int,
    temperature: float,
    power: float,
    flips: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Anneal over weights -1, 0 and 1 and compare the accuracy with SGD's (section 5.1)."""
    pixels = training.pixels(data, device)
    cooling = annealed.Cooling(chains, steps, temperature, power)
    return annealed.ternary(pixels.first(images), width, cooling, flips, root_seed, progress)


def zero_error(
    *,
    data: Dataset,
    widths: list[int],
    seeds: int,
    images: int,
    epochs: int,
    batch: int,
    learning_rate: float,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train wider and wider networks until no training image is wrong (the lecture's exhibit)."""
    pixels = training.pixels(data, device).first(images)
    return training.to_zero(
        pixels, widths, seeds, epochs, batch, learning_rate, root_seed, progress
    )


def theory(
    *,
    p: int,
    spins: int,
    indices: list[int],
    curve_points: int,
    orders: list[int],
    finite_sizes: list[int],
    draws: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Tabulate the theory behind Figures 1 and 2 and exact mean numbers at finite size."""
    rows = critical_counts.curves(p, spins, indices, curve_points)
    rows.extend(critical_counts.thresholds(orders, indices))
    progress(0.2, "curves and thresholds")
    rows.extend(critical_counts.finite(p, finite_sizes, draws, root_seed, progress))
    return rows
