"""The exact Hessian of networks with one hidden ReLU layer, over a whole data set, from structure.

With inputs x (a one appended), z = relu(W1 x) (a one appended), V the weights of W2 without biases,
p = softmax(W2 z), y the target (one-hot), S = diag(p) - p p^T and a = 1 where a unit is active and
0 where not, the Hessian of one example's cross-entropy is

    (W1_ib, W1_jc)   x_b x_c  a_i a_j (V^T S V)_ij
    (W1_ib, W2_kj)   x_b [ a_i (V^T S)_ik z_j + (i = j) a_i (p - y)_k ]
    (W2_kj, W2_lm)   S_kl  z_j z_m

Each is a product of something of the inputs with something small, so its sum over a data set is one
matrix product. Examples stand last everywhere, and of what is symmetric one triangle is formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.objective import Curvature

CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 512 << 20}  # of scratch for a chunk of examples
LEAST_CHUNK = 400  # the sums are read and written once a chunk: fewer examples would not pay
SUMS_BYTES = {"cpu": 96 << 20, "cuda": 1 << 30}  # so many members share the products of inputs


def relu_hessian(
    layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Return the Hessian (E, P, P) alone; see `relu_curvature`."""
    return relu_curvature(layout, theta, inputs, targets, chunk=chunk).hessian


def relu_curvature(
    layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor, *, chunk: int | None = None
) -> Curvature:
    """Return loss, gradient and Hessian of networks with one hidden ReLU layer.

    The loss is the mean cross-entropy of softmax outputs over the data set, as in `problems.mlp`.
    At a kink, where a pre-activation is zero, the slope of ReLU counts as zero, as torch has it;
    curvature that sits in the kinks themselves (a Dirac where an example crosses) does not count.

    Cost: about N D^2 H^2 / 2 + 2 N D H^2 K operations a member. Pairs of inputs that are never both
    nonzero in a chunk are left out there, which is exact; examples are taken class by class, where
    more of them are (on MNIST at 10x10, half of all pairs). Memory beside the result: the sums,
    D^2 H^2 / 4 + D H^2 K numbers a member, SUMS_BYTES of them where several members fit; as much
    once more for a chunk's part of one; and CHUNK_BYTES.

    Args:
        layout: of widths (D, H, K).
        theta: (E, P); everything is computed in its dtype.
        inputs: (N, D), the same for every member, of any dtype.
        targets: (N,) class numbers.
        chunk: examples at a time; by default as many as fit. Changes nothing beyond rounding.

    Raises:
        ValueError: where the network has not exactly one hidden layer, or shapes do not fit.
    """
    _check(layout, inputs, targets, chunk)
    layers = [torch.cat([weight, bias.unsqueeze(1)], 1) for weight, bias in layout.views(theta)]
    members, size = theta.shape
    found = Curvature(*(theta.new_empty(members, *[size] * order) for order in range(3)))
    scratch, together = _Scratch(theta), _together(layout, theta)
    for start in range(0, members, together):
        group = range(members)[start : start + together]
        sums = [_Sums(*(layer[one].t().contiguous() for layer in layers)) for one in group]
        for examples in _chunks(layout, inputs, targets, chunk, scratch):
            for own in sums:
                own.add(examples, scratch)
        for one, own in zip(group, sums, strict=True):
            own.write(layout, len(targets), Curvature(*(part[one] for part in found)))
    return found


class _Scratch:
    """Lend buffers by name, the same memory every time."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self._flat: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        count = prod(shape)
        if name not in self._flat or len(self._flat[name]) < count:
            self._flat[name] = self.like.new_empty(count)
        return self._flat[name][:count].view(shape)


class _Examples(NamedTuple):
    """A chunk of C examples, without the inputs and pairs of inputs that are zero in all of it."""

    inputs: Tensor  # (I, C), the last row ones
    which: Tensor  # (I,) of the D + 1 inputs
    targets: Tensor  # (1, C)
    products: Tensor  # (R, C) of two inputs
    pairs: Tensor  # (R,) which pairs of the D + 1 inputs


def _chunks(
    layout: Layout, inputs: Tensor, targets: Tensor, chunk: int | None, scratch: _Scratch
) -> Iterator[_Examples]:
    width, size = layout.widths[0] + 1, chunk or _fitting(layout, scratch.like)
    place = _pairs(width, inputs.device)
    for rows in targets.argsort(stable=True).split(size):
        x = scratch("inputs", width, len(rows))
        x[:-1] = inputs[rows].t()
        x[-1] = 1
        nonzero = (x != 0).to(x.dtype)
        together = torch.mm(nonzero, nonzero.t()).triu_() > 0
        which, counts = together.diagonal().nonzero().squeeze(1), together.sum(1).tolist()
        products = scratch("products", sum(counts), len(rows))
        seconds = together.nonzero()[:, 1].split(counts)
        for row, others, out in zip(x, seconds, products.split(counts), strict=True):
            torch.mul(x.index_select(0, others), row, out=out)
        yield _Examples(x[which], which, targets[rows].unsqueeze(0), products, place[together])


class _Sums:
    """What one member adds up over the data set.

    Args:
        first: (H, D + 1), weights of the first layer, biases last.
        second: (K, H + 1), the same of the second.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second
        (units, inputs), outputs = first.shape, len(second)
        self.loss = first.new_zeros(())
        self.gradients = torch.zeros_like(first), torch.zeros_like(second)
        self.inner = first.new_zeros(_triangle(inputs), _triangle(units))
        self.cross = first.new_zeros(inputs, (units + 1) * units * outputs)
        self.kinks = first.new_zeros(units * outputs, inputs)  # the part of cross with i = j
        self.outer = first.new_zeros(_triangle(outputs), _triangle(units + 1))

    def add(self, examples: _Examples, scratch: _Scratch) -> None:
        """Add a chunk of examples."""
        x, which, targets = examples.inputs, examples.which, examples.targets
        hidden = self.first[:, which] @ x
        active = (hidden > 0).to(x.dtype)
        z = torch.cat([hidden.relu_(), torch.ones_like(x[:1])])
        p = torch.log_softmax(self.second @ z, 0)
        self.loss -= p.gather(0, targets).sum()
        classes = torch.arange(len(p), device=p.device).unsqueeze(1)
        residual = p.exp_() - (classes == targets).to(p.dtype)
        back = self.second[:, :-1].t()  # V^T
        self.gradients[0].index_add_(1, which, (back @ residual).mul_(active) @ x.t())
        self.gradients[1].addmm_(residual, z.t())
        slopes = scratch("slopes", *back.shape, x.shape[1])  # a_i (V^T S)_ik
        torch.sub(back.unsqueeze(2), (back @ p).unsqueeze(1), out=slopes)
        slopes.mul_(p).mul_(active.unsqueeze(1))
        self._add_inner(examples, slopes, active, scratch)
        self._add_cross(examples, slopes, z, scratch)
        torch.mul(active.unsqueeze(1), residual, out=slopes)
        self.kinks.index_add_(1, which, slopes.flatten(0, 1) @ x.t())
        self._add_outer(p, z, scratch)

    def _add_inner(
        self, examples: _Examples, slopes: Tensor, active: Tensor, scratch: _Scratch
    ) -> None:
        back = self.second[:, :-1].t()
        small = scratch("small", self.inner.shape[1], active.shape[1])
        for unit, part in enumerate(small.split(list(range(len(active), 0, -1)))):
            torch.mm(back[unit:], slopes[unit], out=part)
            part.mul_(active[unit:])
        added = scratch("inner", len(examples.pairs), len(small))
        torch.mm(examples.products, small.t(), out=added)
        self.inner.index_add_(0, examples.pairs, added)

    def _add_cross(self, examples: _Examples, slopes: Tensor, z: Tensor, scratch: _Scratch) -> None:
        x, factors = examples.inputs, slopes.flatten(0, 1)
        both = scratch("both", len(x), *z.shape)
        torch.mul(x.unsqueeze(1), z, out=both)
        added = scratch("cross", len(x) * len(z), len(factors))
        torch.mm(both.flatten(0, 1), factors.t(), out=added)
        self.cross.index_add_(0, examples.which, added.view(len(x), -1))

    def _add_outer(self, p: Tensor, z: Tensor, scratch: _Scratch) -> None:
        spread = _products(p, scratch("spread", len(self.outer), p.shape[1])).neg_()  # S
        spread[_pairs(len(p), p.device).diagonal()] += p
        squares = _products(z, scratch("squares", self.outer.shape[1], z.shape[1]))
        self.outer.addmm_(spread, squares.t())

    def write(self, layout: Layout, count: int, found: Curvature) -> None:
        """Put the sums over `count` examples, as means, where theta has the parameters."""
        columns = [_columns(layout, depth, self.loss.device) for depth in (0, 1)]
        found.loss.copy_(self.loss / count)
        for where, part in zip(columns, self.gradients, strict=True):
            found.gradient[where] = part / count
        self._write_inner(found.hessian, columns[0])
        self._write_cross(found.hessian, *columns)
        self._write_outer(found.hessian, columns[1])
        found.hessian.div_(count)

    def _write_inner(self, hessian: Tensor, first: Tensor) -> None:
        of_units, of_inputs = (_pairs(size, first.device) for size in first.shape)
        for unit, rows in enumerate(first):  # a unit at a time: this is most of the Hessian
            part = self.inner[:, of_units[unit]].t()[:, of_inputs]  # (H, D + 1, D + 1)
            hessian[rows.unsqueeze(1), first.flatten()] = part.transpose(0, 1).flatten(1)

    def _write_cross(self, hessian: Tensor, first: Tensor, second: Tensor) -> None:
        (units, inputs), outputs = first.shape, len(second)
        cross = self.cross.view(inputs, units + 1, units, outputs)
        kinks = self.kinks.view(units, outputs, inputs)
        cross[:, :units].diagonal(0, 1, 2).add_(kinks.permute(2, 1, 0))
        block = cross.permute(2, 0, 3, 1).reshape(first.numel(), second.numel())
        hessian[first.view(-1, 1), second.flatten()] = block
        hessian[second.view(-1, 1), first.flatten()] = block.t()

    def _write_outer(self, hessian: Tensor, second: Tensor) -> None:
        of_outputs, of_units = (_pairs(size, second.device) for size in second.shape)
        block = self.outer[of_outputs][..., of_units].transpose(1, 2)
        hessian[second.view(-1, 1), second.flatten()] = block.reshape(second.numel(), -1)


def _triangle(size: int) -> int:
    return size * (size + 1) // 2


def _pairs(size: int, device: torch.device) -> Tensor:
    """Return (size, size): the place of every pair in a triangle laid out row by row."""
    first, second = torch.triu_indices(size, size, device=device)
    place = torch.empty(size, size, dtype=torch.int64, device=device)
    place[first, second] = place[second, first] = torch.arange(len(first), device=device)
    return place


def _products(rows: Tensor, out: Tensor) -> Tensor:
    """Write the products of every two rows (n, C) into out (n (n + 1) / 2, C)."""
    for number, part in enumerate(out.split(list(range(len(rows), 0, -1)))):
        torch.mul(rows[number:], rows[number], out=part)
    return out


def _columns(layout: Layout, depth: int, device: torch.device) -> Tensor:
    """Return (fan_out, fan_in + 1): where theta has the weights of a layer, biases last."""
    layer = layout.layers[depth]
    weights = torch.arange(layer.start, layer.bias).view(layer.fan_out, layer.fan_in)
    biases = torch.arange(layer.bias, layer.stop).unsqueeze(1)
    return torch.cat([weights, biases], 1).to(device)


def _together(layout: Layout, like: Tensor) -> int:
    """Return how many members' sums fit, at least one."""
    inputs, units, outputs = layout.widths
    numbers = (
        _triangle(inputs + 1) * _triangle(units) + (inputs + 1) * (units + 2) * units * outputs
    )
    return max(1, SUMS_BYTES[like.device.type] // (numbers * like.element_size()))


def _fitting(layout: Layout, like: Tensor) -> int:
    """Return how many examples to take at a time."""
    inputs, units, outputs = layout.widths
    numbers = _triangle(inputs + 1) + _triangle(units) + _triangle(units + 1)
    numbers += (inputs + 1) * (units + 3) + units * outputs + _triangle(outputs)
    return max(LEAST_CHUNK, CHUNK_BYTES[like.device.type] // (numbers * like.element_size()))


def _check(layout: Layout, inputs: Tensor, targets: Tensor, chunk: int | None) -> None:
    if len(layout.widths) != 3:
        raise ValueError(f"widths must be (inputs, hidden, outputs), got {layout.widths}")
    if inputs.dim() != 2 or inputs.shape[1] != layout.widths[0] or not len(inputs):
        wanted, got = f"(N, {layout.widths[0]})", tuple(inputs.shape)
        raise ValueError(f"inputs must have shape {wanted}, got {got}")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"targets must have shape ({len(inputs)},), got {tuple(targets.shape)}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
