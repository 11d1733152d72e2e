"""Products with the Hessian and the Gauss-Newton matrix of networks, by hand.

Every quantity of the forward and the backward pass is differentiated along a direction of the
parameters. What the passes leave at one theta is kept, so that a product at the same theta is the
directional passes alone; several directions go through them together.

Source: Pearlmutter 1994, Fast exact multiplication by the Hessian (the R operator); Schraudolph
2002, Fast curvature matrix-vector products for second-order gradient descent (Gauss-Newton).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.network_parts import Network
from reproductions.optim.network_passes import (
    Layers,
    Pass,
    Scratch,
    affine,
    chunk_size,
    layers_of,
)

DIRECTIONS_BYTES = {"cpu": 8 << 20, "cuda": 2 << 30}  # of the moves of one layer's units

Bends = list[Tensor | None]


class Linearised:
    """The products of one theta with any vectors.

    Args:
        network: what the network is.
        theta: (E, P).
        passes: of each chunk of examples, with its bends; gone through once a product.
    """

    def __init__(
        self, network: Network, theta: Tensor, passes: Iterable[tuple[Pass, Bends]]
    ) -> None:
        self._network, self._passes = network, passes
        self._layers = layers_of(network.layout, theta)
        self._shape = tuple(theta.shape)
        numbers = len(theta) * max(network.layout.widths[1:]) * chunk_size(network, theta)
        budget = DIRECTIONS_BYTES[theta.device.type]
        self._scratch = Scratch(theta)
        self._at_once = max(1, budget // (numbers * theta.element_size()))

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors."""
        return self._product(vectors, curved=True)

    def gauss_newton(self, vectors: Tensor) -> Tensor:
        """Return the Gauss-Newton matrices' products with vectors (E, P) or (Q, E, P)."""
        return self._product(vectors, curved=False)

    def _product(self, vectors: Tensor, *, curved: bool) -> Tensor:
        if vectors.dim() not in (2, 3) or tuple(vectors.shape[-2:]) != self._shape:
            members, size = self._shape
            wanted = f"({members}, {size}) or (Q, {members}, {size})"
            raise ValueError(f"vectors must have shape {wanted}, got {tuple(vectors.shape)}")
        if vectors.dim() == 2:
            return self._together(vectors[None], curved)[0]
        return torch.cat([self._together(some, curved) for some in vectors.split(self._at_once)])

    def _together(self, vectors: Tensor, curved: bool) -> Tensor:
        moves, sums = _moves(self._network, self._layers, vectors)
        for one, bends in self._passes:
            entered, left = _ahead(moves, one, self._scratch)
            self._back(moves, one, bends if curved else None, entered, left)
        if len(vectors) * vectors.shape[1] == 1:
            return sums.view_as(vectors)
        return torch.cat([part for move in moves for part in move.product()], 2).transpose(0, 1)

    def _back(
        self,
        moves: list[_Move],
        one: Pass,
        bends: Bends | None,
        entered: list[Tensor],
        left: list[Tensor],
    ) -> None:
        """Add how the gradient moves: R (d x') = (R d) x' + d (R x)', from the last layer down.

        Without bends it is the Gauss-Newton matrix's product: R x does not count then either.
        """
        change = self._network.head.curve(one.said, entered[-1]) / one.whole  # R d, (E, Q, K, C)
        for depth in range(len(moves) - 1, 0, -1):
            move, delta, x = moves[depth], one.deltas[depth], one.outputs[depth - 1]
            move.biases.add_(change.sum(3))
            move.weights.flatten(1, 2).baddbmm_(change.flatten(1, 2), x.mT)
            below = self._scratch(("below", depth), *left[depth - 1].shape)
            torch.bmm(move.wide.mT, change.flatten(0, 1), out=below.flatten(0, 1))
            if bends is not None:
                move.turned.flatten(2).baddbmm_(delta, left[depth - 1].flatten(1, 2).mT)
                below.flatten(1, 2).baddbmm_(move.back, delta)
            change = below.mul_(one.slopes[depth - 1].unsqueeze(1))
            bend = None if bends is None else bends[depth - 1]
            if bend is not None:
                change.addcmul_(bend.unsqueeze(1), entered[depth - 1])
        weights = moves[0].weights
        weights.view(-1, weights.shape[3]).addmm_(change.flatten(0, 2), one.inputs)
        moves[0].biases.add_(change.sum(3))


class _Move(NamedTuple):
    """A layer's part of Q directions a member, and of their products with the matrix."""

    wide: Tensor  # (E Q, fan_out, fan_in), the weights, once for each direction
    weight: Tensor  # (E, Q, fan_out, fan_in), the directions
    bias: Tensor  # (E, Q, fan_out)
    back: Tensor  # (E, Q fan_in, fan_out), the directions turned
    weights: Tensor  # (E, Q, fan_out, fan_in), the product
    turned: Tensor  # (E, fan_out, Q, fan_in), more of it; the same memory for one direction
    biases: Tensor  # (E, Q, fan_out)

    def product(self) -> tuple[Tensor, Tensor]:
        """Return the product's weights and biases, each (E, Q, numbers)."""
        if self.weight.shape[1] > 1:
            self.weights.add_(self.turned.transpose(1, 2))
        return self.weights.flatten(2), self.biases


def _moves(network: Network, layers: Layers, vectors: Tensor) -> tuple[list[_Move], Tensor]:
    """Return each layer's part of vectors (Q, E, P), and the memory of the products.

    It is laid out layer by layer, which for one direction of one member is as theta is.
    """
    count, members, size = vectors.shape
    both = members * count
    flat = vectors.transpose(0, 1).reshape(both, size)  # a member's vectors adjacent
    sums = flat.new_zeros(both * size)
    moves = []
    for place, (wide, _), (weight, bias) in zip(
        network.layout.layers, layers, layers_of(network.layout, flat), strict=True
    ):
        outs, ins = weight.shape[1:]
        weight = weight.view(members, count, outs, ins)
        weights = sums[both * place.start : both * place.bias].view_as(weight)
        turned = (members, outs, count, ins)
        moves.append(
            _Move(
                wide.repeat_interleave(count, 0) if count > 1 else wide,
                weight,
                bias.view(members, count, outs),
                weight.mT.reshape(members, -1, outs),
                weights,
                weights.view(turned) if count == 1 else wide.new_zeros(turned),
                sums[both * place.bias : both * place.stop].view(members, count, outs),
            )
        )
    return moves, sums


def _ahead(moves: list[_Move], one: Pass, scratch: Scratch) -> tuple[list[Tensor], list[Tensor]]:
    """Return how what enters the units of each layer moves, and what leaves the hidden ones.

    R z = V x + v + W R x and R x = phi' R z, each (E, Q, H, C).
    """
    entered: list[Tensor] = []
    left: list[Tensor] = []
    examples = len(one.inputs)
    for depth, move in enumerate(moves):
        x = one.outputs[depth - 1] if depth else one.inputs
        z = scratch(("entered", depth), *move.bias.shape, examples)
        affine(move.weight.flatten(1, 2), move.bias.flatten(1), x, out=z.flatten(1, 2))
        if depth:
            z.flatten(0, 1).baddbmm_(move.wide, left[-1].flatten(0, 1))
        entered.append(z)
        if depth < len(one.slopes):
            x = scratch(("left", depth), *z.shape)
            left.append(torch.mul(z, one.slopes[depth].unsqueeze(1), out=x))
    return entered, left
