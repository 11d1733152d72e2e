"""The exact Hessian and Gauss-Newton matrix of fully connected networks over a data set.

With x_l what enters layer l, a one appended, M_lm and J_ml as in `network_second` and d_l the
gradient by what enters the units of layer l, one example adds to the weights W_l (biases beside)

    (W_l ib, W_m jc)   x_lb (M_lm)_ij x_mc  +  [l < m] x_lb (J_{m-1,l})_ci (d_m)_j

to the Hessian, and the first term, with M of the Gauss-Newton kind, to the Gauss-Newton matrix.
Each is a product of inputs with something small, so its sum over a data set is a matrix product;
the inputs of the first layer are common to all members, and so is that product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.network_blocks import (
    Cross,
    Diagonal,
    Turn,
    all_inputs,
    mirror,
    shared_inputs,
    triangle,
)
from reproductions.optim.network_parts import Network
from reproductions.optim.network_passes import (
    Layers,
    Pass,
    Scratch,
    add_gradient,
    both_ways,
    flatten,
    layers_of,
    zeros_like,
)
from reproductions.optim.network_second import jacobians, second_derivatives
from reproductions.optim.objective import Curvature

CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30}  # of scratch for a chunk of examples
CHUNK = {"cpu": (400, 1000), "cuda": (400, 1 << 20)}  # the fewest and most examples of one
SUMS_BYTES = {"cpu": 256 << 20, "cuda": 4 << 30}  # so many members share the products of inputs


def network_curvature(
    layout: Layout,
    theta: Tensor,
    inputs: Tensor,
    targets: Tensor,
    *,
    activations: str | Sequence[str] = "tanh",
    head: str = "softmax",
    chunk: int | None = None,
) -> Curvature:
    """Return loss, gradient and Hessian of fully connected networks.

    Cost: for each pair of layers N times the numbers of its block, a quarter of them for the block
    of a layer with itself. Pairs of inputs that are never both nonzero in a chunk are left out,
    which is exact; examples are taken class by class, where more of them are. At a kink of ReLU
    the slope counts as zero and the kink itself as nothing.

    Args:
        layout: the widths and where each weight sits.
        theta: (E, P); everything is computed in its dtype.
        inputs: (N, D), the same for every member, of any dtype.
        targets: (N,) class numbers for "softmax", else (N, K) numbers.
        activations, head: as in `NetworkLoss`.
        chunk: examples at a time; by default as many as fit. Changes nothing beyond rounding.

    Raises:
        ValueError: where names are not known or shapes do not fit.
    """
    network = Network.of(layout, activations, head)
    network.check(inputs, targets)
    return curvature_of(network, theta, inputs, targets, chunk)


def network_gauss_newton(
    layout: Layout,
    theta: Tensor,
    inputs: Tensor,
    targets: Tensor,
    *,
    activations: str | Sequence[str] = "tanh",
    head: str = "softmax",
    chunk: int | None = None,
) -> Tensor:
    """Return the Gauss-Newton matrix (E, P, P); everything else as in `network_curvature`.

    Source: Schraudolph 2002: J' H J with H the Hessian of the loss by the logits.
    """
    network = Network.of(layout, activations, head)
    network.check(inputs, targets)
    return gauss_newton_of(network, theta, inputs, targets, chunk)


def curvature_of(
    network: Network, theta: Tensor, inputs: Tensor, targets: Tensor, chunk: int | None = None
) -> Curvature:
    """Return loss, gradient and Hessian; see `network_curvature`."""
    return _summed(network, theta, inputs, targets, chunk, curved=True)


def gauss_newton_of(
    network: Network, theta: Tensor, inputs: Tensor, targets: Tensor, chunk: int | None = None
) -> Tensor:
    """Return the Gauss-Newton matrix (E, P, P); see `network_gauss_newton`."""
    return _summed(network, theta, inputs, targets, chunk, curved=False).hessian


def _summed(
    network: Network,
    theta: Tensor,
    inputs: Tensor,
    targets: Tensor,
    chunk: int | None,
    *,
    curved: bool,
) -> Curvature:
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    members, size = theta.shape
    found = Curvature(*(theta.new_empty(members, *[size] * order) for order in range(3)))
    for own in torch.arange(members).split(_together(network.layout, theta)):
        group = slice(int(own[0]), int(own[-1]) + 1)
        sums = _Sums(network, theta[group], curved)
        rows = chunk or _fitting(network.layout, theta[group])
        for x, y in _chunks(network, theta, inputs, targets, rows):
            sums.add(x, y, len(inputs))
        sums.write(Curvature(*(part[group] for part in found)), len(inputs))
    return found


def _chunks(
    network: Network, theta: Tensor, inputs: Tensor, targets: Tensor, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    if not network.head.classes:
        pieces = zip(inputs.split(size), targets.split(size), strict=True)
        yield from ((x.to(theta.dtype), y.to(theta.dtype)) for x, y in pieces)
        return
    for rows in targets.argsort(stable=True).split(size):
        yield inputs[rows].to(theta.dtype), targets[rows]


class _Sums:
    """What some members add up over the data set."""

    def __init__(self, network: Network, theta: Tensor, curved: bool) -> None:
        self._network, self._curved = network, curved
        self._layers = layers_of(network.layout, theta)
        self._loss, self._gradient = theta.new_zeros(len(theta)), zeros_like(self._layers)
        self._scratch = Scratch(theta)
        located, members = network.layout.layers, len(theta)
        groups = [1] + [members] * (len(located) - 1)
        self._diagonal = [
            Diagonal(layer, members, group, theta)
            for layer, group in zip(located, groups, strict=True)
        ]
        self._cross = {
            (lower, upper): Cross(located[lower], located[upper], members, groups[lower], theta)
            for lower, upper in combinations(range(len(located)), 2)
        }

    def add(self, inputs: Tensor, targets: Tensor, count: int) -> None:
        """Add a chunk of examples of a data set of `count`."""
        one = both_ways(self._network, self._layers, inputs, targets, count)
        self._loss += one.loss
        add_gradient(self._gradient, one)
        blocks = second_derivatives(self._network, self._layers, one, curved=self._curved)
        entering = [shared_inputs(inputs), *(all_inputs(x) for x in one.outputs)]
        for depth, diagonal in enumerate(self._diagonal):
            diagonal.add(entering[depth], blocks[depth, depth], self._scratch)
        turns = _turns(self._layers, one) if self._curved else {}
        for pair, cross in self._cross.items():
            lower, upper = pair
            x, y = entering[lower], entering[upper]
            cross.add(x, y, blocks[pair], turns.get(pair), self._scratch)

    def write(self, found: Curvature, count: int) -> None:
        """Put the sums, as means over `count` examples, where theta has the parameters."""
        found.loss.copy_(self._loss / count)
        found.gradient.copy_(flatten(self._gradient))
        for diagonal in self._diagonal:
            diagonal.write(found.hessian)
        for cross in self._cross.values():
            cross.write(found.hessian)
        mirror(found.hessian)


def _turns(layers: Layers, one: Pass) -> dict[tuple[int, int], Turn]:
    found, far = {}, jacobians(layers, one)
    for lower, upper in combinations(range(len(layers)), 2):
        slopes = one.slopes[lower] if upper == lower + 1 else None
        found[lower, upper] = Turn(slopes, far.get((upper - 1, lower)), one.deltas[upper])
    return found


def _together(layout: Layout, like: Tensor) -> int:
    """Return how many members' sums fit, at least one."""
    numbers = sum(triangle(own.fan_in + 1) * triangle(own.fan_out) for own in layout.layers)
    for one, two in combinations(layout.layers, 2):
        numbers += (one.fan_in + 1) * one.fan_out * (two.fan_in + 1) * two.fan_out
    return max(1, SUMS_BYTES[like.device.type] // (numbers * like.element_size()))


def _fitting(layout: Layout, theta: Tensor) -> int:
    """Return how many examples to take at a time."""
    pairs = [(one.fan_out, two) for one, two in combinations(layout.layers, 2)]
    numbers = sum(units * two.fan_out for units, two in pairs)
    numbers += sum(2 * own.fan_out**2 for own in layout.layers)
    numbers += max((two.fan_out * (two.fan_in + 1) for _, two in pairs), default=0)
    fewest, most = CHUNK[theta.device.type]
    fitting = CHUNK_BYTES[theta.device.type] // (len(theta) * numbers * theta.element_size())
    return min(most, max(fewest, fitting))
