"""The starts that are compared: plain, teleported, and what controls for parts of a teleport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import random_basis, scaling, teleport

CONTROL = 61  # the purpose in a generator's key: displacements and resampled weights
BINS = 1000  # of the histogram that weights are drawn from again

ARMS = ("plain", "teleported", "rescaled", "equal_mean", "pseudo", "resampled")
"""plain: as drawn. teleported: once, activations conjugated. rescaled: as drawn, the gradient of
every layer times the mean of 1/D^2 that the teleport would give it. equal_mean: teleported, the
gradient of every layer divided by that mean. pseudo: displaced at random by the length of the
teleport. resampled: weights drawn from the histogram of the teleported ones."""


class Start(NamedTuple):
    """Where one arm begins, for every seed."""

    theta: Tensor  # (S, P)
    tau: Tensor  # (S, U), one for arms whose activations are plain
    scale: Tensor | None  # (S, P), what multiplies gradients; None for one


def starts(
    layout: Layout, arms: Sequence[str], seeds: Sequence[int], scheme: str, sigma: float,
    root_seed: int,
) -> dict[str, Start]:  # fmt: skip
    """Return the start of every arm, float64 on the CPU; those of a seed share all draws.

    Source: the authors' code: one inter-landscape teleport before the first epoch.

    Raises:
        ValueError: naming an unknown arm.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise ValueError(f"arms must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    plain = layout.initialise(seeds, scheme=scheme, root_seed=root_seed, dtype=torch.float64)
    tau = random_basis(layout, seeds, sigma, kind="inter", root_seed=root_seed)
    moved, ones = teleport(layout, plain, tau), torch.ones_like(tau)
    rates = mean_rates(layout, tau)
    made = {
        "plain": lambda: Start(plain, ones, None),
        "teleported": lambda: Start(moved, tau, None),
        "rescaled": lambda: Start(plain, ones, rates),
        "equal_mean": lambda: Start(moved, tau, 1 / rates),
        "pseudo": lambda: Start(displaced(layout, plain, moved, seeds, root_seed), ones, None),
        "resampled": lambda: Start(resampled(layout, moved, seeds, root_seed), ones, None),
    }
    return {arm: made[arm]() for arm in arms}


def mean_rates(layout: Layout, tau: Tensor) -> Tensor:
    """Return (E, P), for every weight the mean of 1/D^2 over its tensor, D the weights' factors.

    Source: derived. SGD on the teleported network moves the original one with lr / D^2; the mean
    is B in the first layer, A B in hidden ones and A in the last, but for the luck of the draw.
    """
    rates = scaling(layout, tau) ** -2
    for weight, bias in layout.views(rates):
        weight.copy_(weight.mean((1, 2), keepdim=True).expand_as(weight))
        bias.copy_(bias.mean(1, keepdim=True).expand_as(bias))
    return rates


def displaced(
    layout: Layout, plain: Tensor, moved: Tensor, seeds: Sequence[int], root_seed: int
) -> Tensor:
    """Return plain plus, tensor by tensor, a Gaussian vector as long as moved - plain in L1.

    Source: the authors' pseudo-teleportation.
    """
    found = plain.clone()
    for seed, own, target in zip(seeds, found, moved, strict=True):
        source = generator(root_seed, seed, CONTROL)
        for start, stop in tensors(layout):
            noise = torch.randn(stop - start, generator=source, dtype=torch.float64)
            length = (target[start:stop] - own[start:stop]).abs().sum()
            own[start:stop] += noise * (length / noise.abs().sum())
    return found


def resampled(layout: Layout, moved: Tensor, seeds: Sequence[int], root_seed: int) -> Tensor:
    """Return weights drawn from the histogram of those of their tensor, thresholds as they are.

    Source: the authors' control of equal distribution: 1000 bins; within a bin uniform.
    """
    found = moved.clone()
    for seed, own in zip(seeds, found, strict=True):
        source = generator(root_seed, seed, CONTROL, 1)
        for layer in layout.layers:
            weights = own[layer.start : layer.bias]
            low, high = float(weights.min()), float(weights.max())
            counts = torch.histc(weights, BINS, low, high)
            bins = torch.multinomial(counts, len(weights), replacement=True, generator=source)
            within = torch.rand(len(weights), generator=source, dtype=torch.float64)
            weights.copy_(low + (bins + within) * ((high - low) / BINS))
    return found


def tensors(layout: Layout) -> list[tuple[int, int]]:
    """Return the first and past-the-last column of every weight and bias tensor."""
    ends = [((one.start, one.bias), (one.bias, one.stop)) for one in layout.layers]
    return [pair for both in ends for pair in both]
