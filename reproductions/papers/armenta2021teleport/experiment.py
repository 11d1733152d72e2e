"""The experiments of Armenta et al. 2023; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/armenta2021teleport.yaml.
"""

from __future__ import annotations

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.armenta2021teleport import angle_modules as module_angles
from reproductions.papers.armenta2021teleport import angles as layered_angles
from reproductions.papers.armenta2021teleport import beyond as chosen_teleports
from reproductions.papers.armenta2021teleport import beyond_small as small_problems
from reproductions.papers.armenta2021teleport import conv_training as convolutions
from reproductions.papers.armenta2021teleport import convergence as training
from reproductions.papers.armenta2021teleport import convergence_identity as preconditioning
from reproductions.papers.armenta2021teleport import exactness as exact_outputs
from reproductions.papers.armenta2021teleport import (
    gradient_change,
    gradient_conv,
    module_exactness,
)
from reproductions.papers.armenta2021teleport import histograms as weight_histograms
from reproductions.papers.armenta2021teleport import interpolation as lines
from reproductions.papers.armenta2021teleport import moments as expectations
from reproductions.papers.armenta2021teleport.images import Progress, images


def exactness(
    *,
    inputs: int,
    hidden: int,
    layers: int,
    sigma: float,
    teleports: int,
    examples: int,
    seeds: int,
    modules: list[str],
    conjugated: list[str],
    side: int,
    images: int,
    module_seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Teleport networks of every kind and compare their outputs (the authors' test suite)."""
    widths = (inputs, *[hidden] * layers, 10)
    plan = exact_outputs.Plan(widths, sigma, teleports, examples, seeds, device, root_seed)
    others = module_exactness.Plan(
        modules, conjugated, side, images, sigma, teleports, module_seeds, device, root_seed
    )
    return exact_outputs.rows(plan, others, progress)


def moments(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    layers: int,
    batch: int,
    sigmas: list[float],
    draws: int,
    seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Average squared weights and gradients over teleports (the theorem on the gradient)."""
    plan = expectations.Plan(hidden, layers, batch, sigmas, draws, seeds, root_seed)
    return expectations.rows(images(data, batch, 1, device, side), plan, progress)


def interpolation(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    layers: int,
    train_images: int,
    test_images: int,
    epochs: int,
    batch_small: int,
    batch_large: int,
    lr: float,
    mu: float,
    weight_decay: float,
    sigma: float,
    draws: int,
    alphas: int,
    train_examples: int,
    curvature_examples: int,
    trace_draws: int,
    measured_traces: int,
    seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Follow the loss between two trained networks and between their teleports (Figure 5)."""
    plan = lines.Plan(
        hidden, layers, epochs, (batch_small, batch_large), lr, mu, weight_decay, sigma, draws,
        alphas, train_examples, curvature_examples, trace_draws, measured_traces, seeds,
        root_seed,
    )  # fmt: skip
    return lines.rows(images(data, train_images, test_images, device, side), plan, progress)


def histograms(
    *, inputs: int, hidden: int, layers: int, sigma: float, seeds: int, device: str,
    root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Count how large the weights are before and after a teleport (Figure 11)."""
    widths = (inputs, *[hidden] * layers, 10)
    return weight_histograms.rows(widths, sigma, seeds, device, root_seed)


def convergence_identity(
    *, hidden: int, depth: int, steps: int, batch: int, seeds: int, sigma: float,
    activations: list[str], root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Follow SGD after a teleport and SGD with rates lr / D^2 (what teleporting once amounts to)."""
    widths = (20, *[hidden] * depth, 10)
    plan = preconditioning.Plan(widths, steps, batch, seeds, sigma, activations, root_seed)
    return preconditioning.rows(plan, progress)


def convergence_mnist(
    *, data: Dataset, side: int, hidden: int, depth: int, images: int, validation: int,
    test_images: int, epochs: int, batch: int, seeds: int, arms: list[str],
    activations: list[str], initialisers: list[str], learning_rates: list[float],
    wider_learning_rates: list[float], wider_momentum_rates: list[float], decays: list[float],
    momentum: float, sigma: float, patience: int, shown: list[int], device: str, root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Train with and without one teleport before the first epoch (Figures 6, 8, 9 and 10)."""
    plan = training.Plan(
        hidden, depth, epochs, batch, seeds, validation, arms, learning_rates,
        wider_learning_rates, wider_momentum_rates, decays, momentum, sigma, patience, shown,
        root_seed,
    )  # fmt: skip
    held = training.place(data, images, test_images, device, side)
    return training.compare(held, plan, activations, initialisers, progress)


convergence_cifar = activations = initialisers = pseudo = convergence_mnist


def convergence_conv(
    *, data: Dataset, networks: list[str], images: int, validation: int, test_images: int,
    epochs: int, batch: int, seeds: int, learning_rates: list[float], decay: float,
    momentum: float, sigma: float, patience: int, device: str, root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Train convolutional networks with and without a teleport at the start (Figure 6)."""
    plan = convolutions.Plan(
        networks, epochs, batch, seeds, validation, learning_rates, decay, momentum, sigma,
        patience, root_seed,
    )  # fmt: skip
    return convolutions.rows(training.place(data, images, test_images, device), plan, progress)


def beyond_small(
    *, seeds: int, growth: float, bound: float, device: str, root_seed: int, progress: Progress
) -> Rows:
    """Teleport to a larger gradient on two functions of the plane and a small network."""
    return small_problems.rows(seeds, growth, bound, device, root_seed)


def beyond_mnist(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    depth: int,
    train_images: int,
    validation: int,
    test_images: int,
    epochs: int,
    batch: int,
    seeds: int,
    exponents: list[float],
    sigma: float,
    bound: float,
    cap: float,
    ascent_steps: int,
    ascent_rate: float,
    early_epochs: list[int],
    level_epochs: list[int],
    teleport_examples: int,
    level_steps: int,
    level_rate: float,
    level_tolerance: float,
    train_examples: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train with teleports that are chosen, each arm at its own best learning rate."""
    plan = chosen_teleports.Plan(
        hidden, depth, epochs, batch, seeds, exponents, validation, sigma, bound, ascent_steps,
        ascent_rate, cap, early_epochs, level_epochs, teleport_examples, level_steps, level_rate,
        level_tolerance, train_examples, root_seed,
    )  # fmt: skip
    held = images(data, train_images, test_images, device, side)
    return chosen_teleports.compare(held, plan, progress)


beyond_cifar = beyond_mnist


def angles(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    train_images: int,
    batches: list[int],
    sigmas: list[float],
    teleports: int,
    networks: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure angles between small teleports, gradients and random vectors (Figure 4)."""
    plan = layered_angles.Plan(hidden, batches, sigmas, teleports, networks, root_seed)
    return layered_angles.rows(images(data, train_images, 1, device, side), plan, progress)


def angles_vgg(
    *,
    data: Dataset,
    train_images: int,
    network: str,
    batches: list[int],
    sources: list[str],
    sigmas: list[float],
    teleports: int,
    vectors: int,
    precisions: list[str],
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure the same angles on VGG-16 (Figure 4)."""
    plan = module_angles.Plan(
        network, batches, sources, sigmas, teleports, vectors, precisions, root_seed
    )
    return module_angles.rows(images(data, train_images, 1, device), plan, progress)


def gradients(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    layers: int,
    train_images: int,
    sigmas: list[float],
    batches: int,
    batch: int,
    teleports: int,
    seeds: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure how teleports change gradient and weights, fully connected network (Figure 7)."""
    plan = gradient_change.Plan(sigmas, batches, batch, teleports, root_seed)
    held = images(data, train_images, 1, device, side)
    return gradient_change.fully_connected(held, [hidden] * layers, seeds, plan, progress)


def gradients_conv(
    *,
    data: Dataset,
    networks: list[str],
    seeds: list[int],
    train_images: int,
    sigmas: list[float],
    batches: int,
    batch: int,
    teleports: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure how teleports change gradient and weights, convolutional networks (Figure 7)."""
    plan = gradient_change.Plan(sigmas, batches, batch, teleports, root_seed)
    held = images(data, train_images, 1, device)
    return gradient_conv.convolutional(held, networks, seeds, plan, progress)
