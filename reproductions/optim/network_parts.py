"""Activations and output losses of networks, with the derivatives that curvature asks for.

Examples stand last everywhere: outputs of a layer are (E, H, C) over a chunk of C examples. All
three losses are likelihoods of an exponential family in its natural parameter: the gradient by the
logits is what the outputs say minus the target, and the Hessian is the covariance of what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reproductions.optim.layout import Layout


class Activation(NamedTuple):
    """Hold phi, in place, and of its output x its slope phi' and its bend phi'' / phi'."""

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor], Tensor] | None  # None where phi'' is zero


ACTIVATIONS = {
    "tanh": Activation(torch.tanh_, lambda x: (x * x).neg_().add_(1), lambda x: -2 * x),
    "sigmoid": Activation(torch.sigmoid_, lambda x: x - x * x, lambda x: 1 - 2 * x),
    # at a kink the slope is zero, as torch has it
    "relu": Activation(torch.relu_, lambda x: (x > 0).to(x.dtype), None),
    "linear": Activation(lambda z: z, torch.ones_like, None),
}


class Head(NamedTuple):
    """Hold a loss of logits z (E, K, C), summed over examples; y are the targets of the chunk.

    Fields:
        classes: whether targets are class numbers (C,), not numbers (C, K).
        say: (z, y) -> the loss (E,) and what the outputs say, (E, K, C).
        residual: (said, y) -> the gradient by z.
        curve: (said, moves) -> the Hessian by z times moves (E, Q, K, C).
        matrix: said -> the Hessian by z, (E, K, K, C).
    """

    classes: bool
    say: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    residual: Callable[[Tensor, Tensor], Tensor]
    curve: Callable[[Tensor, Tensor], Tensor]
    matrix: Callable[[Tensor], Tensor]


def _chosen(said: Tensor, targets: Tensor) -> Tensor:
    return targets.expand(len(said), 1, -1)


def _softmax(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits, 1)
    loss = logs.gather(1, _chosen(logs, targets)).sum((1, 2)).neg_()
    return loss, logs.exp_()


def _softmax_residual(said: Tensor, targets: Tensor) -> Tensor:
    index = _chosen(said, targets)
    return said.scatter_add(1, index, said.new_full((), -1.0).expand(index.shape))


def _softmax_curve(said: Tensor, moves: Tensor) -> Tensor:
    said = said.unsqueeze(1)
    moves = said * moves
    return moves.addcmul_(said, moves.sum(2, keepdim=True), value=-1)


def _softmax_matrix(said: Tensor) -> Tensor:
    matrix = said.unsqueeze(1) * -said.unsqueeze(2)
    matrix.diagonal(0, 1, 2).add_(said.transpose(1, 2))
    return matrix


def _squared(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (logits - targets.t()).square_().sum((1, 2)).div_(2), logits


def _bernoulli(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return (softplus(logits) - logits * targets.t()).sum((1, 2)), logits.sigmoid()


def _difference(said: Tensor, targets: Tensor) -> Tensor:
    return said - targets.t()


def _bernoulli_curve(said: Tensor, moves: Tensor) -> Tensor:
    return moves * (said - said * said).unsqueeze(1)


def _diagonal(values: Tensor) -> Tensor:
    return torch.diag_embed(values.transpose(1, 2), dim1=1, dim2=2).contiguous()


HEADS = {
    "softmax": Head(True, _softmax, _softmax_residual, _softmax_curve, _softmax_matrix),
    "squared": Head(
        False,
        _squared,
        _difference,
        lambda said, moves: moves,
        lambda said: _diagonal(torch.ones_like(said)),
    ),
    "bernoulli": Head(
        False,
        _bernoulli,
        _difference,
        _bernoulli_curve,
        lambda said: _diagonal(said - said * said),
    ),
}


class Network(NamedTuple):
    """Hold what a network is beside its parameters."""

    layout: Layout
    activations: tuple[Activation, ...]  # one per hidden layer
    head: Head

    @classmethod
    def of(cls, layout: Layout, activations: str | Sequence[str], head: str) -> Network:
        """Return the network of some names.

        Raises:
            ValueError: naming an activation or head that is not known, or a number of activations
                that is not that of the hidden layers.
        """
        hidden = len(layout.layers) - 1
        names = [activations] * hidden if isinstance(activations, str) else list(activations)
        if len(names) != hidden:
            raise ValueError(f"activations must be one name or {hidden}, got {len(names)}")
        for name in [*names, *([activations] if isinstance(activations, str) else [])]:
            if name not in ACTIVATIONS:
                known = ", ".join(ACTIVATIONS)
                raise ValueError(f"activation must be one of {known}, got {name!r}")
        if head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
        return cls(layout, tuple(ACTIVATIONS[name] for name in names), HEADS[head])

    def check(self, inputs: Tensor, targets: Tensor) -> None:
        """Refuse data that do not fit.

        Raises:
            ValueError: naming the shape that was wanted.
        """
        width, outputs = self.layout.widths[0], self.layout.widths[-1]
        if inputs.dim() != 2 or inputs.shape[1] != width or not len(inputs):
            raise ValueError(f"inputs must have shape (N, {width}), got {tuple(inputs.shape)}")
        wanted = (len(inputs),) if self.head.classes else (len(inputs), outputs)
        if targets.shape != wanted:
            raise ValueError(f"targets must have shape {wanted}, got {tuple(targets.shape)}")
