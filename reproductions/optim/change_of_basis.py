"""Random changes of basis: one factor other than zero for every hidden unit or channel.

With sigma the range, factors are independent and uniform on

    intra       [1 - sigma, 1 + sigma]                                     sigma < 1
    inter       [1 - sigma, 1 + sigma] or [-1 - sigma, -1 + sigma], each with probability 1/2
    positive    (0, sigma]
    negative    [-sigma, 0)
    centred     [centre - sigma, centre + sigma]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.device import generator

KINDS = ("intra", "inter", "positive", "negative", "centred")
CHANGE_OF_BASIS = 10  # the purpose in a generator's key


class Moments(NamedTuple):
    """What independent factors tau do to squares in expectation."""

    square: float  # A = E[tau^2]
    inverse_square: float  # B = E[1 / tau^2]


def draw(
    shape: Sequence[int],
    sigma: float,
    source: torch.Generator,
    *,
    kind: str = "intra",
    centre: float = 1.0,
) -> Tensor:
    """Draw factors of a change of basis, float64 on the CPU; none is zero.

    Source: Armenta et al. 2023; the intervals are those of the authors' code, which draws the same
    for sigma >= 1, where "intra" would touch zero: here that is refused.

    Args:
        shape: of the result.
        sigma: the range, positive.
        source: a CPU generator.
        kind: one of KINDS.
        centre: of "centred".

    Raises:
        ValueError: naming an unknown kind, or a range that the kind does not allow.
    """
    check_range(sigma, kind)
    unit = torch.rand(tuple(shape), generator=source, dtype=torch.float64)
    if kind in ("positive", "negative"):
        found = (1 - unit) * sigma  # rand leaves out 1, so zero is left out
        return found if kind == "positive" else -found
    around = centre if kind == "centred" else 1.0
    found = around + (2 * unit - 1) * sigma
    if kind == "inter":
        # For sigma < 1 a sign drawn apart is the same mixture; for more, the intervals overlap.
        below = torch.rand(found.shape, generator=source, dtype=torch.float64) < 0.5
        found = torch.where(below, found - 2, found)
    return torch.where(found == 0, torch.full_like(found, torch.finfo(found.dtype).eps), found)


def draw_each(
    seeds: Sequence[int],
    units: int,
    sigma: float,
    *,
    kind: str = "intra",
    centre: float = 1.0,
    root_seed: int = 0,
) -> Tensor:
    """Draw a change of basis (E, U) of U units, each member from the generator of its own seed.

    Equal seeds give equal members, whatever the ensemble.

    Raises:
        ValueError: as `draw`.
    """
    drawn = {
        seed: draw(
            (units,), sigma, generator(root_seed, seed, CHANGE_OF_BASIS), kind=kind, centre=centre
        )
        for seed in dict.fromkeys(seeds)
    }
    return torch.stack([drawn[seed] for seed in seeds])


def check_range(sigma: float, kind: str) -> None:
    """Refuse an unknown kind, and a range that it does not allow.

    Raises:
        ValueError: naming what was given and what is allowed.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not (sigma > 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma must be positive and finite, got {sigma!r}")
    if kind == "intra" and sigma >= 1:
        raise ValueError(f"sigma must be below 1 for intra, where it would reach zero: {sigma!r}")


def moments(sigma: float) -> Moments:
    """Return A = 1 + sigma^2 / 3 and B = 1 / (1 - sigma^2), of "intra" and of "inter".

    Source: derived; both exceed 1 for sigma in (0, 1), and B grows without bound as sigma nears 1.

    Raises:
        ValueError: where sigma is not in (0, 1), so that a factor may be zero and B infinite.
    """
    check_range(sigma, "intra")
    return Moments(1 + sigma**2 / 3, 1 / (1 - sigma**2))
