"""Find the change of basis between two networks from the ratios of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reproductions.optim.module_scaling import (
    correction_of,
    factors,
    named_by,
    shared,
    tensors_of,
)
from reproductions.optim.module_units import SIGN
from reproductions.optim.module_walk import NONE, Rule


class Pair(NamedTuple):
    """A tensor in both networks, float64 on the CPU, and the running variance in front of it."""

    rule: Rule
    before: Tensor
    after: Tensor
    variances: Mapping[str, Tensor]


def between(
    rules: Sequence[Rule],
    still: Sequence[str],
    module: nn.Module,
    other: nn.Module,
    flags: Tensor,
    tolerance: float | None,
) -> Tensor:
    """Return tau (U,) that leads from one module to another.

    Args:
        still: names of tensors that must be the same in both.
        flags: (U,) what each scalar may be; one that may be 1 or -1 alone becomes the nearer.
        tolerance: on the distance of a tensor, relative to its norm.

    Raises:
        ValueError: naming the tensor that is further away than allowed.
    """
    before, after = tensors_of(module), tensors_of(other)
    pairs = [
        Pair(
            rule,
            _exactly(named_by(rule, before)),
            _exactly(named_by(rule, after)),
            {rule.variance: before[rule.variance]} if rule.variance else {},
        )
        for rule in (*rules, *(Rule(name, NONE) for name in still))
    ]
    tau = solve(pairs, len(flags))
    tau = torch.where(flags == SIGN, tau.sign(), tau)
    # scalars are as exact as the coarsest tensor that they are found from
    coarsest = max((_eps(after[rule.name]) for rule in rules), default=0.0)
    for pair in pairs:
        eps = _eps(after[pair.rule.name]) if pair.rule.name in still else coarsest
        _compare(pair, tau, min(1000 * eps, 0.05) if tolerance is None else tolerance)
    return tau


def _compare(pair: Pair, tau: Tensor, allowed: float) -> None:
    found = deviation(pair, tau)
    if not found <= allowed:  # not a number is not
        raise ValueError(
            f"the modules are not teleports of each other: {pair.rule.name} differs by"
            f" {found:.2g} of its norm, {allowed:.2g} is allowed"
        )


def _eps(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0


def _exactly(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)


def solve(pairs: Sequence[Pair], units: int) -> Tensor:
    """Return tau (U,) by least squares, from the fixed units outwards.

    A unit's scalar comes from the first tensor that ties it to known ones, with
    after tau_in = before tau_out in the sense of least squares over the entries of both. A unit
    that no entry other than zero leads to has one.
    """
    scalars = torch.full((units + 1,), torch.nan, dtype=torch.float64)
    scalars[0] = 1.0
    links = [_Link.of(pair) for pair in pairs if pair.rule.power == 1]
    while True:
        before = scalars.isnan().sum()
        for link in links:
            if scalars.isnan().any():
                link.forward(scalars)
                link.backward(scalars)
        if scalars.isnan().sum() == before:
            return scalars[1:].nan_to_num(nan=1.0)


class _Link(NamedTuple):
    """Sums over entries that change alike, with their numbers, all of one shape."""

    pair: Pair
    out: Tensor
    into: Tensor
    crossed: Tensor  # before * after
    squared_before: Tensor
    squared_after: Tensor

    @classmethod
    def of(cls, pair: Pair) -> _Link:
        shape = pair.rule.shape
        products = (
            pair.before * pair.after,
            pair.before.square(),
            pair.after.square(),
        )
        lead = (1,) * (pair.before.ndim - len(shape))
        sums = (one.sum_to_size(lead + shape).flatten() for one in products)
        numbers = (one.expand(shape).flatten() for one in (pair.rule.out, pair.rule.into))
        return cls(pair, *numbers, *sums)

    def forward(self, scalars: Tensor) -> None:
        """Find scalars of outputs from those of inputs."""
        into, rule = scalars[self.into], self.pair.rule
        usable = scalars[self.out].isnan() & ~into.isnan()
        if usable.any():
            known = correction_of(rule, shared(scalars[1:]), self.pair.variances.__getitem__)
            correction = torch.ones_like(into) if known is None else known.flatten()
            top = self.crossed * into * correction
            _fill(scalars, self.out, usable, top, self.squared_before * correction.square())

    def backward(self, scalars: Tensor) -> None:
        """Find scalars of inputs from those of outputs."""
        out = scalars[self.out]
        usable = scalars[self.into].isnan() & ~out.isnan()
        if usable.any() and self.pair.rule.variance is None:
            _fill(scalars, self.into, usable, self.crossed * out, self.squared_after)


def _fill(scalars: Tensor, numbers: Tensor, usable: Tensor, top: Tensor, bottom: Tensor) -> None:
    zeros = torch.zeros_like(scalars)
    numerator = zeros.index_add(0, numbers[usable], top[usable])
    denominator = zeros.index_add(0, numbers[usable], bottom[usable])
    found = denominator > 0
    scalars[found] = numerator[found] / denominator[found]


def deviation(pair: Pair, tau: Tensor) -> float:
    """Return how far a tensor of the second network is from that of the teleported first.

    Their distance, relative to the norm of the second.
    """
    both = shared(tau)
    correction = correction_of(pair.rule, both, pair.variances.__getitem__)
    gap = (factors(pair.rule, both, correction) * pair.before - pair.after).norm()
    scale = pair.after.norm()
    return float(gap / scale) if scale > 0 else float(gap)
