"""The loss over a whole data set that every member shares, forward only and as fast as it goes.

Where nothing but the loss of many parameter vectors on the same examples is asked for (Metropolis
annealing asks millions of times), the members' first layers are one matrix: one wide product with
the examples, transposed once and for all, replaces a product per member. Examples stand last, so a
softmax over few classes runs across many at once. Several times faster than `MLP.loss`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reproductions.problems.mlp import Layers

CPU_BYTES = 64 << 20  # what the activations of one pass may take: beyond it, fewer examples a pass
GPU_BYTES = 4 << 30


class WholeSet:
    """Mean cross-entropy of ReLU networks over one data set, for E members at once.

    Args:
        layout: the widths and where each weight sits.
        inputs: (N, D), the same for every member.
        targets: (N,) class numbers.

    Raises:
        ValueError: where inputs, targets and layout do not fit together.
    """

    def __init__(self, layout: Layers, inputs: Tensor, targets: Tensor) -> None:
        check(layout, inputs, targets)
        self.layout, self.targets = layout, targets
        # a last row of ones carries the biases of the first layer
        self.examples = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1).t().contiguous()
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) of theta (E, P)."""
        layers = self.layout.views(theta)
        total, count = theta.new_zeros(len(theta)), len(self.targets)
        for x, y in zip(*self._passes(theta), strict=True):
            logits = self._forward(layers, x)
            total += cross_entropy(logits, y.expand(len(theta), -1), spoil=True)
        return total / count

    def _passes(self, theta: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Cut the examples so that a pass stays within memory."""
        per_example = len(theta) * sum(self.layout.widths[1:]) * theta.element_size()
        room = CPU_BYTES if theta.device.type == "cpu" else GPU_BYTES
        size = max(1, room // per_example)
        return self.examples.split(size, 1), self.targets.split(size)

    def _forward(self, layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        """Return the logits (E, K, B) of examples (D + 1, B), in a buffer used again."""
        out = x
        for depth, (weight, bias) in enumerate(layers):
            members, _, fan_out = weight.shape
            place = self._buffer(depth, (members, fan_out, x.shape[1]), weight)
            if depth == 0:
                torch.mm(first_layer(weight, bias).flatten(0, 1), x, out=place.flatten(0, 1))
            else:
                torch.baddbmm(bias.unsqueeze(2), weight.transpose(1, 2), out, out=place)
            out = place.relu_() if depth < len(layers) - 1 else place
        return out

    def _buffer(self, depth: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        key = (depth, shape, like.dtype)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return self._buffers[key]


def first_layer(weight: Tensor, bias: Tensor) -> Tensor:
    """Return weights (E, D, H) and biases (E, H) as (E, H, D + 1), the bias last."""
    return torch.cat([weight.transpose(1, 2), bias.unsqueeze(2)], 2)


def cross_entropy(logits: Tensor, targets: Tensor, *, spoil: bool = False) -> Tensor:
    """Return the cross-entropy summed over examples, (E,).

    Args:
        logits: (E, K, B).
        targets: (E, B) class numbers.
        spoil: the logits may be overwritten, which saves a pass over memory.
    """
    chosen = logits.gather(1, targets.unsqueeze(1))
    highest = logits.amax(1, keepdim=True)
    shifted = logits.sub_(highest) if spoil else logits - highest
    return (shifted.exp_().sum(1).log_() + (highest - chosen).squeeze(1)).sum(1)


def check(layout: Layers, inputs: Tensor, targets: Tensor) -> None:
    """Refuse a data set that does not fit the network."""
    if inputs.dim() != 2 or inputs.shape[1] != layout.widths[0] or not len(inputs):
        wanted, got = f"(N, {layout.widths[0]})", tuple(inputs.shape)
        raise ValueError(f"inputs must have shape {wanted}, got {got}")
    if targets.shape != inputs.shape[:1]:
        raise ValueError(f"targets must have shape ({len(inputs)},), got {tuple(targets.shape)}")
