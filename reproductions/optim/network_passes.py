"""Forward and backward passes of an ensemble of networks over a data set that all members share.

Members stand in rows beside each other, so the first layer of all of them is one matrix product.
Examples are taken in chunks, in which everything stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.network_parts import Network

Layers = list[tuple[Tensor, Tensor]]  # of each layer W (E, fan_out, fan_in) and b (E, fan_out)
CHUNK_BYTES = {"cpu": 512 << 10, "cuda": 512 << 20}  # of the units' outputs in a chunk of examples
LEAST_CHUNK = 256


class Pass(NamedTuple):
    """What a forward and a backward pass over a chunk of C examples leave behind."""

    loss: Tensor  # (E,), summed over the chunk
    inputs: Tensor  # (C, D)
    outputs: list[Tensor]  # (E, H, C) of every hidden layer
    slopes: list[Tensor]  # (E, H, C), phi' of every hidden layer
    said: Tensor  # (E, K, C)
    deltas: list[Tensor]  # (E, H, C), gradient of the mean loss by what enters a layer's units
    whole: int  # examples of the whole data set, over which the loss is a mean

    def bends(self, network: Network) -> list[Tensor | None]:
        """Return the gradient by a unit's output times phi'', (E, H, C), of every hidden layer."""
        return [
            None if activation.bend is None else activation.bend(x).mul_(delta)
            for activation, x, delta in zip(
                network.activations, self.outputs, self.deltas, strict=False
            )
        ]


class Scratch:
    """Lend buffers by name, the same memory every time: fresh memory costs more than a pass."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._flat: dict[object, Tensor] = {}

    def __call__(self, name: object, *shape: int) -> Tensor:
        count = prod(shape)
        if name not in self._flat or len(self._flat[name]) < count:
            self._flat[name] = self._like.new_empty(count)
        return self._flat[name][:count].view(shape)


def layers_of(layout: Layout, theta: Tensor) -> Layers:
    """Return the layers of theta (E, P), copied so that each stands by itself."""
    return [(weight.mT.contiguous(), bias.contiguous()) for weight, bias in layout.views(theta)]


def affine(weight: Tensor, bias: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return W x + b (E, fan_out, C) of x (E, fan_in, C), or of examples (C, D) that all share."""
    if x.dim() == 2:
        flat = None if out is None else out.flatten(0, 1)
        flat = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), x.t(), out=flat)
        return flat.view(*bias.shape, len(x))
    return torch.baddbmm(bias.unsqueeze(2), weight, x, out=out)


def forward(network: Network, layers: Layers, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the outputs of the hidden layers and the logits, each (E, H, C), of inputs (C, D)."""
    outputs: list[Tensor] = []
    for (weight, bias), activation in zip(layers, network.activations, strict=False):
        outputs.append(activation.apply(affine(weight, bias, outputs[-1] if outputs else inputs)))
    return outputs, affine(*layers[-1], outputs[-1] if outputs else inputs)


def both_ways(
    network: Network, layers: Layers, inputs: Tensor, targets: Tensor, count: int
) -> Pass:
    """Pass forward and backward over a chunk of a data set of `count` examples."""
    outputs, logits = forward(network, layers, inputs)
    loss, said = network.head.say(logits, targets)
    deltas = [network.head.residual(said, targets).div_(count)]
    slopes = [act.slope(x) for act, x in zip(network.activations, outputs, strict=True)]
    for (weight, _), slope in zip(layers[:0:-1], slopes[::-1], strict=True):
        deltas.append(torch.bmm(weight.mT, deltas[-1]).mul_(slope))
    return Pass(loss, inputs, outputs, slopes, said, deltas[::-1], count)


def add_gradient(sums: Layers, one: Pass) -> None:
    """Add a chunk's part of the gradient to sums."""
    for delta, x, (weight, bias) in zip(one.deltas, [None, *one.outputs], sums, strict=True):
        bias += delta.sum(2)
        if x is None:
            weight.view(-1, weight.shape[2]).addmm_(delta.flatten(0, 1), one.inputs)
        else:
            weight.baddbmm_(delta, x.mT)


def zeros_like(layers: Layers) -> Layers:
    """Return layers of zeros."""
    return [(torch.zeros_like(weight), torch.zeros_like(bias)) for weight, bias in layers]


def flatten(layers: Layers) -> Tensor:
    """Return layers as theta (E, P) has them."""
    return torch.cat([part.flatten(1) for layer in layers for part in layer], 1)


def chunk_size(network: Network, theta: Tensor) -> int:
    """Return how many examples to take at a time."""
    numbers = len(theta) * max(network.layout.widths[1:])
    return max(LEAST_CHUNK, CHUNK_BYTES[theta.device.type] // (numbers * theta.element_size()))


def chunks(
    network: Network, theta: Tensor, inputs: Tensor, targets: Tensor, size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield examples (C, D) and targets in the dtype of theta, as many at a time as fit."""
    size = size or chunk_size(network, theta)
    for x, y in zip(inputs.split(size), targets.split(size), strict=True):
        yield x.to(theta.dtype), y if network.head.classes else y.to(theta.dtype)
