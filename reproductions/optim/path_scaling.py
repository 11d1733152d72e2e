"""The path norm of fully connected networks and its scaling of every weight, from two sweeps.

A path runs from an input, or from a bias, to an output; its value is the product of the weights on
it. With gamma_in(u) the sum of |value|^p over all paths that end in unit u, gamma_out(v) the same
over all that start from v,

    gamma_in(v)  = sum_u gamma_in(u) |W_uv|^p + |b_v|^p        gamma_in(input) = 1
    gamma_out(u) = sum_v |W_uv|^p gamma_out(v)                 gamma_out(output) = 1

and what scales the step of a weight factorises:

    kappa(u -> v) = (gamma_in(u) gamma_out(v))^(2/p)

A bias is an edge from a unit that is always on, with gamma_in = 1. Layers are pairs of views (W
(E, fan_in, fan_out), b (E, fan_out) or None), as `Layout.views` gives them. Powers of weights are
taken a few rows at a time in scratch that stays in cache: nothing of the size of theta is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from reproductions.optim.layout import Layout

Layers: TypeAlias = Sequence[tuple[Tensor, Tensor | None]]

# Numbers of scratch: what stays in cache, in pieces large enough for threads to share.
SCRATCH = {"cpu": 1 << 20, "cuda": 1 << 24}


class PathSums(NamedTuple):
    """What goes into kappa, layer by layer."""

    entering: list[Tensor]  # (E, fan_in), gamma_in of the units below each layer
    leaving: list[Tensor]  # (E, fan_out), gamma_out of the units above each layer


class Rate(NamedTuple):
    """1 / kappa of a layer as an outer product: inputs_u outputs_v, for a bias outputs_v."""

    inputs: Tensor  # (E, fan_in)
    outputs: Tensor  # (E, fan_out)


def path_norm(layout: Layout, theta: Tensor, p: float = 2.0) -> Tensor:
    """Return gamma_net (E,), the sum over all paths of |value|^p, from one forward sweep.

    Source: Neyshabur, Salakhutdinov and Srebro 2015; their path regulariser phi_p is its
    p-th root. Paths that start at a bias count, as they do in the authors' code.

    Raises:
        ValueError: where p is not a positive finite number, or theta is not (E, P).
    """
    check_exponent(p)
    layers = layout.views(theta)
    found = theta.new_ones(len(theta), layout.widths[0])
    for layer in layers:
        ahead, _ = through(layer, p, found, None)
        assert ahead is not None
        found = ahead
    return found.sum(1)


def path_scaling(layout: Layout, theta: Tensor, p: float = 2.0) -> Tensor:
    """Return kappa (E, P) of every weight and bias.

    Source: Neyshabur, Salakhutdinov and Srebro 2015. For p = 2 it is the derivative of
    `path_norm` by the square of the weight.

    Raises:
        ValueError: as `path_norm`.
    """
    check_exponent(p)
    kappa, sums = torch.empty_like(theta), path_sums(layout.views(theta), p)
    for (weight, bias), below, above in zip(layout.views(kappa), *sums, strict=True):
        below, above = below ** (2 / p), above ** (2 / p)
        torch.mul(below.unsqueeze(2), above.unsqueeze(1), out=weight)
        bias.copy_(above)
    return kappa


def path_rates(layers: Layers, p: float = 2.0) -> list[Rate]:
    """Return 1 / kappa of every layer; where that is not finite the rate is zero.

    kappa is zero where no path of value other than zero leads on from the unit above, or none
    arrives at the unit below. In a network of units that are zero at zero the gradient of such
    a weight is zero too, so there is nothing to step along. Sums so small that the dtype has no
    inverse of them, or none of their power, count as zero.

    Raises:
        ValueError: where p is not a positive finite number.
    """
    return rates_of(path_sums(layers, p), p)


def rates_of(sums: PathSums, p: float = 2.0) -> list[Rate]:
    """Return 1 / kappa of every layer from the sums over paths; see `path_rates`."""
    pairs = zip(sums.entering, sums.leaving, strict=True)
    return [Rate(_inverse(below, p), _inverse(above, p)) for below, above in pairs]


def path_sums(layers: Layers, p: float = 2.0) -> PathSums:
    """Return gamma_in and gamma_out around every layer.

    Cost: the first and the last layer are read once, inner layers twice but for the largest, where
    the two sweeps meet and share the powers.

    Raises:
        ValueError: where p is not a positive finite number.
    """
    check_exponent(p)
    first, last = layers[0][0], layers[-1][0]
    entering = {0: first.new_ones(first.shape[0], first.shape[1])}
    leaving = {len(layers) - 1: last.new_ones(last.shape[0], last.shape[2])}
    for depth, up, down in _order([weight[0].numel() for weight, _ in layers]):
        below, above = entering.get(depth), leaving.get(depth)
        ahead, back = through(layers[depth], p, below if up else None, above if down else None)
        if ahead is not None:
            entering[depth + 1] = ahead
        if back is not None:
            leaving[depth - 1] = back
    depths = range(len(layers))
    return PathSums([entering[depth] for depth in depths], [leaving[depth] for depth in depths])


def check_exponent(p: float) -> None:
    """Refuse an exponent of the path norm that is not a positive finite number.

    Raises:
        ValueError: naming it.
    """
    if not (p > 0 and math.isfinite(p)):
        raise ValueError(f"p must be positive and finite, got {p!r}")


def blocks(weight: Tensor) -> Iterator[slice]:
    """Yield outputs of a layer (E, fan_in, fan_out), so few at a time that their weights fit."""
    members, fan_in, fan_out = weight.shape
    rows = max(1, SCRATCH.get(weight.device.type, 1 << 18) // (members * fan_in))
    for start in range(0, fan_out, rows):
        yield slice(start, min(start + rows, fan_out))


def _order(sizes: Sequence[int]) -> Iterator[tuple[int, bool, bool]]:
    """Yield (depth, swept up, swept down) so that whatever a sweep needs is there in time."""
    last = len(sizes) - 1
    meeting = max(range(1, last), key=sizes.__getitem__, default=last)
    yield from ((depth, True, False) for depth in range(meeting))
    yield from ((depth, False, True) for depth in range(last, meeting, -1))
    yield meeting, meeting < last, meeting > 0
    yield from ((depth, True, False) for depth in range(meeting + 1, last))
    yield from ((depth, False, True) for depth in range(meeting - 1, 0, -1))


def through(
    layer: tuple[Tensor, Tensor | None], p: float, below: Tensor | None, above: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return gamma_in (E, fan_out) from that below a layer, gamma_out (E, fan_in) from above."""
    weight, bias = layer
    ahead = weight.new_empty(weight.shape[0], weight.shape[2]) if below is not None else None
    back = weight.new_zeros(weight.shape[0], weight.shape[1]) if above is not None else None
    scratch: Tensor | None = None
    for rows in blocks(weight):
        part = weight[:, :, rows].mT  # as stored, inputs of a unit adjacent
        scratch = torch.empty_like(part) if scratch is None else scratch[:, : part.shape[1]]
        powers = _power(part, p, scratch)
        if ahead is not None and below is not None:
            ahead[:, rows] = torch.bmm(powers, below.unsqueeze(2)).squeeze(2)
        if back is not None and above is not None:
            back.unsqueeze(1).baddbmm_(above[:, rows].unsqueeze(1), powers)
    if ahead is not None and bias is not None:
        ahead += _power(bias, p, torch.empty_like(bias))
    return ahead, back


def _power(values: Tensor, p: float, out: Tensor) -> Tensor:
    if p == 2:
        return torch.mul(values, values, out=out)
    return torch.abs(values, out=out).pow_(p)


def _inverse(gamma: Tensor, p: float) -> Tensor:
    inverse = gamma.reciprocal() if p == 2 else gamma ** (-2 / p)
    return inverse.nan_to_num_(0.0, 0.0, 0.0)
