"""Sums over examples of the blocks of a Hessian: (inputs of a layer) (x) (something small).

Members that share the inputs of a layer stand side by side in one matrix product; those that do not
have one each. In both a tensor (G, ...) leads, of one group or of as many groups as members. Of
what is symmetric, the products of two inputs and of two units of one layer, a triangle is formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layer
from reproductions.optim.network_passes import Scratch

PANEL_BYTES = {"cpu": 1 << 20, "cuda": 512 << 20}  # of products of two inputs at a time
DENSE = 0.85  # above this share of pairs of inputs, all of them are formed


def triangle(size: int) -> int:
    """Return how many pairs there are of some things, each with itself too."""
    return size * (size + 1) // 2


class Inputs(NamedTuple):
    """What enters a layer in a chunk of C examples, a one appended; some may be left out.

    Fields:
        values: (G, A, C).
        which: (A,) of all inputs, or None where none is left out.
        seconds: of each input the inputs from it on with which it makes a pair.
        counts: how many these are.
        pairs: (R,) which of all pairs, or None where none is left out.
    """

    values: Tensor
    which: Tensor | None
    seconds: list[slice] | list[Tensor]
    counts: list[int]
    pairs: Tensor | None


def all_inputs(values: Tensor) -> Inputs:
    """Return inputs (G, A - 1, C) with a one appended, none left out."""
    ones = values.new_ones(len(values), 1, values.shape[2])
    values = torch.cat([values, ones], 1)
    return _whole(values)


def _whole(values: Tensor) -> Inputs:
    size = values.shape[1]
    seconds = [slice(first, None) for first in range(size)]
    return Inputs(values, None, seconds, list(range(size, 0, -1)), None)


def shared_inputs(examples: Tensor) -> Inputs:
    """Return what all members share, examples (C, D), without pairs of which one is always zero."""
    whole = all_inputs(examples.t().unsqueeze(0))
    values = whole.values[0]
    nonzero = (values != 0).to(values.dtype)
    together = torch.mm(nonzero, nonzero.t()).triu_() > 0
    size = len(values)
    if int(together.sum()) > DENSE * triangle(size):
        return whole
    which = together.diagonal().nonzero().squeeze(1)
    first, second = torch.triu_indices(size, size, device=values.device)
    pairs = together[first, second].nonzero().squeeze(1)
    within = together[which][:, which]
    counts = within.sum(1).tolist()
    seconds = list(within.nonzero()[:, 1].split(counts))
    return Inputs(values[which].unsqueeze(0), which, seconds, counts, pairs)


class Diagonal:
    """Add up x_b x_c M_ij for the block of one layer with itself.

    Args:
        layer: the layer.
        members: E.
        groups: G.
    """

    def __init__(self, layer: Layer, members: int, groups: int, like: Tensor) -> None:
        self.layer, self.groups = layer, groups
        self._small = torch.triu_indices(layer.fan_out, layer.fan_out, device=like.device)
        numbers = members // groups * triangle(layer.fan_out)
        self.sums = like.new_zeros(groups, triangle(layer.fan_in + 1), numbers)

    def add(self, inputs: Inputs, block: Tensor, scratch: Scratch) -> None:
        """Add a chunk with M (E, H, H, C)."""
        first, second = self._small
        wanted = first * self.layer.fan_out + second
        small = block.flatten(1, 2).index_select(1, wanted).view(self.groups, -1, block.shape[3])
        for start, products in _panels(inputs, scratch):
            stop = start + products.shape[1]
            if inputs.pairs is None:
                self.sums[:, start:stop].baddbmm_(products, small.mT)
            else:
                added = torch.mm(products[0], small[0].t())
                self.sums[0].index_add_(0, inputs.pairs[start:stop], added)

    def write(self, hessian: Tensor) -> None:
        """Put the sums above the diagonal of the Hessian (E, P, P)."""
        layer, size = self.layer, self.layer.fan_in + 1
        pairs = triangle_places(size, hessian.device).flatten()
        sums = self.sums.view(self.groups, len(self.sums[0]), -1, triangle(layer.fan_out))
        start = 0
        for unit in range(layer.fan_out):
            stop = start + layer.fan_out - unit
            part = sums[..., start:stop].index_select(1, pairs)  # (G, A A, E / G, H - unit)
            part = part.permute(0, 2, 3, 1).reshape(len(hessian), stop - start, size, size)
            put(hessian, (layer, unit), (layer, unit), part.transpose(1, 2))
            start = stop


def _panels(inputs: Inputs, scratch: Scratch) -> Iterator[tuple[int, Tensor]]:
    """Yield products of two inputs (G, R, C), some at a time, and which is the first of them."""
    values, counts = inputs.values, inputs.counts
    groups, _, examples = values.shape
    one = groups * examples * values.element_size()
    most = max(max(counts), PANEL_BYTES[values.device.type] // one)
    buffer = scratch("products", groups, min(most, sum(counts)), examples)
    row, start = 0, 0
    while row < len(counts):
        stop, size = row + 1, counts[row]
        while stop < len(counts) and size + counts[stop] <= most:
            size, stop = size + counts[stop], stop + 1
        panel = buffer[:, :size]
        for first, out in zip(range(row, stop), panel.split(counts[row:stop], 1), strict=True):
            second = inputs.seconds[first]
            others = (
                values[:, second] if isinstance(second, slice) else values.index_select(1, second)
            )
            torch.mul(others, values[:, first : first + 1], out=out)
        yield start, panel
        row, start = stop, start + size


class Cross:
    """Add up x_b (M_ij y_c + J_ci d_j) for two layers, x what enters the first, y the second.

    Args:
        first, second: the layers, in this order from the inputs.
        members: E.
        groups: G, of x.
    """

    def __init__(
        self, first: Layer, second: Layer, members: int, groups: int, like: Tensor
    ) -> None:
        self.first, self.second = first, second
        numbers = members // groups * second.fan_out * (second.fan_in + 1)
        self.sums = like.new_zeros(first.fan_out, groups, first.fan_in + 1, numbers)

    def add(self, x: Inputs, y: Inputs, block: Tensor, turn: Turn | None, scratch: Scratch) -> None:
        """Add a chunk with M (E, H_l, H_m, C)."""
        members, units, outs, examples = block.shape
        groups, size = x.values.shape[0], y.values.shape[1]
        rows = scratch("rows", members, outs, size, examples)
        for unit in range(units):
            torch.mul(block[:, unit].unsqueeze(2), y.values.unsqueeze(1), out=rows)
            if turn is not None:
                turn.add(rows, unit)
            flat = rows.view(groups, -1, examples).mT
            if x.which is None:
                self.sums[unit].baddbmm_(x.values, flat)
            else:
                self.sums[unit, 0].index_add_(0, x.which, torch.mm(x.values[0], flat[0]))

    def write(self, hessian: Tensor) -> None:
        """Put the sums above the diagonal of the Hessian (E, P, P)."""
        first, second = self.first, self.second
        for unit, sums in enumerate(self.sums):
            part = sums.view(*sums.shape[:2], -1, second.fan_out, second.fan_in + 1)
            part = part.transpose(1, 2).flatten(0, 1)  # (E, fan_in + 1, fan_out, fan_in + 1)
            put(hessian, (first, unit), (second, 0), part)


class Turn(NamedTuple):
    """What moves weights of a later layer through its inputs: J_ci d_j.

    Fields:
        slopes: (E, H, C) where the layers are neighbours: J is then diagonal.
        jacobian: (E, C, H, C) else, of what enters the later layer by what enters these units.
        delta: (E, K, C), the gradient by what enters the later layer's units.
    """

    slopes: Tensor | None
    jacobian: Tensor | None
    delta: Tensor

    def add(self, rows: Tensor, unit: int) -> None:
        """Add to rows (E, K, H + 1, C) what comes of one unit."""
        if self.slopes is not None:
            rows[:, :, unit].addcmul_(self.slopes[:, unit : unit + 1], self.delta)
        elif self.jacobian is not None:
            rows[:, :, :-1].addcmul_(
                self.jacobian[:, :, unit].unsqueeze(1), self.delta.unsqueeze(2)
            )


def triangle_places(size: int, device: torch.device) -> Tensor:
    """Return (size, size): the place of every pair in a triangle laid out row by row."""
    first, second = torch.triu_indices(size, size, device=device)
    place = torch.empty(size, size, dtype=torch.int64, device=device)
    place[first, second] = place[second, first] = torch.arange(len(first), device=device)
    return place


def put(hessian: Tensor, row: tuple[Layer, int], column: tuple[Layer, int], part: Tensor) -> None:
    """Write what one unit has with the units from some unit on, above the diagonal.

    Args:
        hessian: (E, P, P).
        row: a layer and a unit of it.
        column: the same layer and unit, or a later layer and its first unit.
        part: (E, fan_in + 1, units, fan_in + 1), of each layer the biases last.
    """
    (one, unit), (two, start) = row, column
    weights = slice(one.start + unit * one.fan_in, one.start + (unit + 1) * one.fan_in)
    own, others = slice(one.bias + unit, one.bias + unit + 1), slice(two.bias + start, two.stop)
    far = slice(two.start + start * two.fan_in, two.bias)
    shape = part.shape[2], two.fan_in
    hessian[:, weights, far].unflatten(2, shape).copy_(part[:, :-1, :, :-1])
    hessian[:, weights, others] = part[:, :-1, :, -1]
    hessian[:, own, others] = part[:, -1:, :, -1]
    if one is two:  # below the diagonal the bias of the unit meets the weights of the others
        hessian[:, far, own] = part[:, -1, :, :-1].flatten(1).unsqueeze(2)
    else:
        hessian[:, own, far].unflatten(2, shape).copy_(part[:, -1:, :, :-1])


def mirror(matrix: Tensor, tile: int = 64) -> None:
    """Copy what is above the diagonal of matrices (E, P, P) below it."""
    size = matrix.shape[1]
    for start in range(0, size, tile):
        rows = slice(start, start + tile)
        own = matrix[:, rows, rows]
        own.copy_(own.triu() + own.triu(1).mT)
        for left in range(start + tile, size, tile):
            columns = slice(left, left + tile)
            matrix[:, columns, rows] = matrix[:, rows, columns].mT
