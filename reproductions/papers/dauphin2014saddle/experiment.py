"""The experiments of Dauphin et al. 2014; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/dauphin2014saddle.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.dauphin2014saddle import autoencoders, critical, descents, toys
from reproductions.papers.dauphin2014saddle.pixels import pixels

Progress = Callable[..., None]


def toy_saddles(
    *,
    steps: int,
    learning_rate: float,
    damping: float,
    starts: list[float],
    curvatures: list[float],
    radius: float,
    progress: Progress,
) -> Rows:
    """Follow every method on the two saddles of Figure 2, and time how it leaves a saddle."""
    rows = toys.trajectories(steps, learning_rate, damping)
    progress(0.5, "trajectories")
    rows.extend(toys.escapes(starts, curvatures, learning_rate, damping, radius))
    return rows


def critical_mnist(
    *,
    data: Dataset,
    side: int,
    images: int,
    width: int,
    activation: str,
    runs: int,
    run_epochs: int,
    jobs: list[int],
    noises: list[float],
    steps: int,
    method: str,
    tolerance: float,
    thresholds: list[float],
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Search critical points from saddle-free Newton runs and from the unit cube (Figure 1 a, b)."""
    seen = pixels(data, side, images, device)
    search = critical.Search(steps, method, tolerance, thresholds, root_seed)
    return critical.from_runs(
        seen, width, activation, (runs, run_epochs), jobs, noises, search, progress
    )


def critical_cifar(
    *,
    data: Dataset,
    side: int,
    images: int,
    widths: list[int],
    activation: str,
    networks: int,
    epochs: list[int],
    batch: int,
    learning_rate: float,
    steps: int,
    method: str,
    tolerance: float,
    thresholds: list[float],
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Search critical points from networks trained for a random time (Figure 1 c, d)."""
    seen = pixels(data, side, images, device)
    search = critical.Search(steps, method, tolerance, thresholds, root_seed)
    training = critical.Training(networks, epochs, batch, learning_rate)
    return critical.from_training(seen, widths, activation, training, search, progress)


def descent_mnist(
    *,
    data: Dataset,
    side: int,
    images: int,
    widths: list[int],
    activation: str,
    scheme: str,
    seeds: list[int],
    epochs: int,
    updates_per_epoch: int,
    passes: int,
    dampings: list[float],
    samples: int,
    rates: list[float],
    batches: list[int],
    momenta: list[float],
    ablations: bool,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train with momentum SGD, damped and saddle-free Newton (Figure 3 a to c; d to f on CIFAR-10)."""
    search = descents.Search(samples, rates, batches, momenta)
    plan = descents.Plan(
        activation,
        scheme,
        epochs,
        updates_per_epoch,
        passes,
        dampings,
        ablations,
        search,
        root_seed,
    )
    return descents.compare(pixels(data, side, images, device), widths, seeds, plan, progress)


descent_cifar = descent_mnist


def autoencoder(
    *,
    data: Dataset,
    side: int,
    images: int,
    hidden: list[int],
    seeds: int,
    epochs: int,
    lowered_for: int,
    last_epochs: int,
    equal_cost: bool,
    marks: list[int],
    batch: int,
    learning_rate: float,
    highest_momentum: float,
    vectors: int,
    inner_steps: int,
    curvature_images: int,
    dampings: list[float],
    updates_per_epoch: int,
    products: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train the deep autoencoder with momentum, then with Krylov saddle-free Newton (Figure 4)."""
    stages = autoencoders.Stages(epochs, lowered_for, last_epochs, marks, equal_cost)
    momentum = autoencoders.Plan(batch, learning_rate, highest_momentum)
    krylov = autoencoders.Krylov(
        vectors, inner_steps, curvature_images, dampings, updates_per_epoch
    )
    return autoencoders.compare(
        pixels(data, side, images, device), hidden, seeds, stages, momentum, krylov, products,
        root_seed, progress,
    )  # fmt: skip
