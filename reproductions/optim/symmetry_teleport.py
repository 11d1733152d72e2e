"""Symmetry teleportation by positive factors: the steepest and the least steep of equal networks.

A change of basis tau = exp(s) of the hidden units divides the gradient by each weight's factor, so
that the squared gradient norm of the teleported network is

    F(s) = sum over weights of g_ab^2 exp(2 s_a - 2 s_b)  +  sum over thresholds of g_b^2 exp(-2 s_b)

with s = 0 at inputs and outputs: one backward pass gives it for every s, with its slope. F and its
logarithm are convex in s. Hence

    it has no maximum: with s of the first layer going to minus infinity it grows without end, so
    that ascent needs a bound, and over a box |s_u| <= log(bound) it is greatest at a corner;
    no step along the signs of its slope can lower it, whatever its length;
    a minimum is unique, up to units that no gradient enters or leaves: there each unit's gradient
    entering it, thresholds included, and leaving it have equal sums of squares.

Source: Zhao et al. 2022, Symmetry teleportation for accelerated optimization, ascend the squared
gradient norm along a group by automatic differentiation; the closed form, its convexity and what
follows are derived.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layout

Squares = list[tuple[Tensor, Tensor]]  # of a layer's gradient: (E, fan_in, fan_out), (E, fan_out)


class Found(NamedTuple):
    """A change of basis, and what it makes of the gradient."""

    tau: Tensor  # (E, U) float64, positive
    squared_norm: Tensor  # (E,) float64, of the teleported network's gradient
    slope: Tensor  # (E, U) float64, of its logarithm by s: twice what leaves minus what enters


def ascend(
    layout: Layout,
    gradient: Tensor,
    bound: float,
    *,
    steps: int = 20,
    rate: float = 0.1,
    cap: float = math.inf,
) -> Found:
    """Raise the gradient norm of E networks along their positive changes of basis.

    Each step moves every s by `rate` up the slope and clips it at the bound; by convexity the norm
    never falls. A step that would lead past the cap is not taken, nor any after it.

    Args:
        gradient: (E, P), of the networks as they are; a member whose gradient is not finite stays.
        bound: largest factor; the smallest is its inverse.
        rate: by which log tau may change in a step; log(bound) of it or more goes to corners only.
        cap: of the squared gradient norm.

    Raises:
        ValueError: where bound is not above 1, or rate or steps not positive.
    """
    if not (1 < bound < math.inf and rate > 0 and steps > 0):
        message = "bound must be finite and above 1, rate and steps positive"
        raise ValueError(f"{message}: got {bound!r}, {rate!r}, {steps!r}")
    squares, most = _squares(layout, gradient), math.log(bound)
    logs = _still(layout, gradient)
    norm, slope = _norm_and_slope(squares, logs)
    open_ = torch.ones_like(norm, dtype=torch.bool)
    for _ in range(steps):
        tried = (logs + rate * slope.sign()).clamp(-most, most)
        new_norm, new_slope = _norm_and_slope(squares, tried)
        open_ = open_ & (new_norm <= cap)
        logs = torch.where(open_[:, None], tried, logs)
        norm = torch.where(open_, new_norm, norm)
        slope = torch.where(open_[:, None], new_slope, slope)
    return Found(logs.exp(), norm, slope)


def balance(layout: Layout, gradient: Tensor, *, sweeps: int = 50) -> Found:
    """Lower the gradient norm of E networks to its least along their positive changes of basis.

    Given its neighbours the best factor of a unit is (entering / leaving)^(1/4) of the sums of
    squares; layers take turns, so that the norm never rises. A unit that no gradient enters or
    leaves keeps its factor: of such there is no least.

    Args:
        gradient: (E, P), of the networks as they are.
        sweeps: over all layers.
    """
    squares, logs = _squares(layout, gradient), _still(layout, gradient)
    for _ in range(sweeps):
        for depth in range(len(squares) - 1):
            entering, leaving = _flows(squares, _split(squares, logs), depth)
            both = (entering > 0) & (leaving > 0)
            change = torch.where(both, (entering / leaving).log() / 4, 0.0)
            start = sum(bias.shape[1] for _, bias in squares[:depth])
            logs[:, start : start + change.shape[1]] += change
    return Found(logs.exp(), *_norm_and_slope(squares, logs))


def _squares(layout: Layout, gradient: Tensor) -> Squares:
    finite = gradient.isfinite().all(1, keepdim=True)
    squared = torch.where(finite, gradient, 0.0).double().square()
    return layout.views(squared)


def _still(layout: Layout, gradient: Tensor) -> Tensor:
    units = sum(layout.widths[1:-1])
    return torch.zeros(len(gradient), units, dtype=torch.float64, device=gradient.device)


def _split(squares: Squares, logs: Tensor) -> list[Tensor]:
    """Return s of every layer of units, inputs and outputs among them, (E, width) each."""
    ends = [logs.new_zeros(len(logs), width) for width in _ends(squares)]
    widths = [bias.shape[1] for _, bias in squares[:-1]]
    return [ends[0], *logs.split(widths, 1), ends[1]]


def _ends(squares: Squares) -> tuple[int, int]:
    return squares[0][0].shape[1], squares[-1][1].shape[1]


def _entering(squares: Squares, logs: list[Tensor], depth: int) -> Tensor:
    """Return the sum of squares that enters each unit of layer `depth` of units, (E, fan_out)."""
    weight, bias = squares[depth]
    below, above = (2 * logs[depth]).exp(), (-2 * logs[depth + 1]).exp()
    return (torch.einsum("ea,eab->eb", below, weight) + bias) * above


def _leaving(squares: Squares, logs: list[Tensor], depth: int) -> Tensor:
    """Return the sum of squares that leaves each input of layer `depth`, (E, fan_in)."""
    below, above = (2 * logs[depth]).exp(), (-2 * logs[depth + 1]).exp()
    return torch.einsum("eab,eb->ea", squares[depth][0], above) * below


def _flows(squares: Squares, logs: list[Tensor], depth: int) -> tuple[Tensor, Tensor]:
    return _entering(squares, logs, depth), _leaving(squares, logs, depth + 1)


def _norm_and_slope(squares: Squares, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Return F, (E,), and the slope of its logarithm, (E, U); 0 where F is 0."""
    split = _split(squares, logs)
    entering = [_entering(squares, split, depth) for depth in range(len(squares))]
    norm = torch.stack([part.sum(1) for part in entering]).sum(0)
    slopes = [
        2 * (_leaving(squares, split, depth + 1) - entering[depth])
        for depth in range(len(squares) - 1)
    ]
    slope = torch.cat(slopes, 1) if slopes else logs
    return norm, torch.where(norm[:, None] > 0, slope / norm[:, None], 0.0)
