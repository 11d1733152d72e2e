"""The experiments of Neyshabur et al. 2015; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/neyshabur2015path.yaml.
"""

from __future__ import annotations

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.neyshabur2015path import balance as balancing
from reproductions.papers.neyshabur2015path import codes as public_codes
from reproductions.papers.neyshabur2015path import networks, sweeps, toys
from reproductions.papers.neyshabur2015path.networks import Progress


def chains(
    *, scales: list[float], steps: int, seeds: int, root_seed: int, progress: Progress
) -> Rows:
    """Step on small networks with known answers (Figure 1 b, c, and the theorem)."""
    return toys.rows(scales, steps, seeds, root_seed)


def balance(
    *,
    data: Dataset,
    hidden: int,
    images: int,
    epochs: int,
    batch: int,
    seeds: int,
    alphas_sgd: list[int],
    alpha_path_sgd: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Hold the balanced start against the unbalanced one (Figure 1 a)."""
    held = networks.images(data, images, min(1000, len(data.test_images)), device)
    plan = balancing.Plan(hidden, epochs, batch, seeds, alphas_sgd, alpha_path_sgd, root_seed)
    return balancing.rows(held, plan, progress)


def mnist(
    *,
    data: Dataset,
    side: int,
    hidden: int,
    images: int,
    validation: int,
    epochs: int,
    batch: int,
    seeds: int,
    selection_epochs: int,
    alphas_sgd: list[int],
    alphas_adagrad: list[int],
    alphas_path_sgd: list[int],
    keep: float,
    train_examples: int,
    test_images: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train SGD, AdaGrad and Path-SGD from both starts (Figure 2; Figure 3 with dropout)."""
    held = networks.images(data, images, test_images, device, side)
    alphas = {"sgd": alphas_sgd, "adagrad": alphas_adagrad, "path_sgd": alphas_path_sgd}
    plan = sweeps.Plan(
        hidden, epochs, batch, seeds, selection_epochs, validation, alphas, keep, train_examples,
        root_seed,
    )  # fmt: skip
    return sweeps.compare(held, plan, progress)


cifar = cifar100 = svhn = mnist
mnist_dropout = cifar_dropout = cifar100_dropout = svhn_dropout = mnist


def codes(
    *,
    data: Dataset,
    hidden: int,
    images: int,
    epochs: int,
    batch: int,
    seeds: int,
    alpha_path_sgd: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train with each change that public codes make to the method."""
    held = networks.images(data, images, 1, device)
    plan = public_codes.Plan(hidden, epochs, batch, seeds, alpha_path_sgd, root_seed)
    return public_codes.rows(held, plan, progress)
