"""Node-wise rescaling: other weights, the same function, where units are homogeneous.

A hidden unit's incoming weights and bias times c and its outgoing weights over c leave a network
of ReLU, leaky ReLU or linear units as it is, for every c > 0: a teleport that needs no other
activations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import teleport

UNBALANCING = 9  # the purpose in a generator's key: which units are rescaled, and how much


def rescale(layout: Layout, theta: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Return theta (E, P) with every hidden unit rescaled by its factor.

    Source: Neyshabur, Salakhutdinov and Srebro 2015, the map rho_{c,v}, for all units
    at once.

    Args:
        theta: (E, P), left alone.
        factors: per hidden layer c (E, H), or (H,) for all members; positive.

    Raises:
        ValueError: where factors do not fit the hidden layers or are not positive and finite.
    """
    hidden = layout.widths[1:-1]
    if len(factors) != len(hidden):
        raise ValueError(f"factors must be {len(hidden)}, one per hidden layer, got {len(factors)}")
    own = [_fitting(theta, factor, width) for factor, width in zip(factors, hidden, strict=True)]
    return teleport(layout, theta, torch.cat(own, 1)) if own else theta.clone()


def _fitting(theta: Tensor, factor: Tensor, width: int) -> Tensor:
    if tuple(factor.shape) not in {(width,), (len(theta), width)}:
        wanted, got = f"({width},) or ({len(theta)}, {width})", tuple(factor.shape)
        raise ValueError(f"factors must have shape {wanted}, got {got}")
    if not (factor.isfinite() & (factor > 0)).all():
        raise ValueError("factors must be positive and finite")
    return factor.to(theta.device).expand(len(theta), width)


def unbalancing_factors(
    layout: Layout,
    seeds: Sequence[int],
    *,
    draws: int | Sequence[int],
    scale: float = 10.0,
    spread: float = 1.0,
    root_seed: int = 0,
) -> list[Tensor]:
    """Draw the factors of an unbalanced start: per hidden layer (E, H), float64, 1 for most units.

    Source: Neyshabur, Salakhutdinov and Srebro 2015, with the authors' code: units are
    drawn with replacement, 1000 of each of two layers of 4000, each draw rescales by 10 c with c
    log-normal, and a unit drawn twice by the product.

    Args:
        seeds: one per member; equal seeds give equal factors, whatever the ensemble.
        draws: of units in each hidden layer, one number or one a layer.
        scale: the median factor of a draw.
        spread: standard deviation of the logarithm of a draw.

    Raises:
        ValueError: where draws do not fit the hidden layers, or numbers are out of range.
    """
    hidden = layout.widths[1:-1]
    counts = [draws] * len(hidden) if isinstance(draws, int) else list(draws)
    if len(counts) != len(hidden) or any(count < 0 for count in counts):
        raise ValueError(f"draws must be {len(hidden)} numbers not below 0, got {draws}")
    if not (scale > 0 and spread >= 0):
        raise ValueError(f"scale must be positive and spread not negative, got {scale}, {spread}")
    layers: list[list[Tensor]] = [[] for _ in hidden]
    for seed in seeds:
        source = generator(root_seed, seed, UNBALANCING)
        for layer, width, count in zip(layers, hidden, counts, strict=True):
            layer.append(_factors(width, count, math.log(scale), spread, source))
    return [torch.stack(layer) for layer in layers]


def _factors(
    width: int, count: int, centre: float, spread: float, source: torch.Generator
) -> Tensor:
    units = torch.randint(width, (count,), generator=source)
    drawn = centre + spread * torch.randn(count, generator=source, dtype=torch.float64)
    return torch.zeros(width, dtype=torch.float64).index_add_(0, units, drawn).exp()
