"""SGD with momentum, weight decay and rates of layers for a whole grid, in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.plateau import Plateau
from reproductions.optim.transform import Transform


class Part(NamedTuple):
    """Neighbouring members that are moved at once, so that what is written stays in cache."""

    members: slice
    lr: Tensor  # (members, 1)
    mu: float  # of the momentum; 0 for none
    decay: Tensor  # (members, 1)
    scale: Tensor | None  # (1, P), what multiplies gradients; None for one


class Placed(NamedTuple):
    velocity: Tensor | None  # (members, P)
    lr: Tensor
    decay: Tensor
    scale: Tensor | None


def in_place(parts: Sequence[Part], falling: Plateau) -> Transform:
    """Return the update -lr u of u = mu u + scale g + decay theta, written over the gradient.

    That is `weight_decay(momentum(...))` inside `preconditioned`, number by number, without a new
    tensor at every step; decay stays outside the scale.
    """

    def init(theta: Tensor) -> list[Placed]:
        return [
            Placed(
                torch.zeros_like(theta[part.members]) if part.mu else None,
                part.lr.to(theta.device), part.decay.to(theta),
                None if part.scale is None else part.scale.to(theta),
            )
            for part in parts
        ]  # fmt: skip

    def update(grad: Tensor, state: list[Placed], theta: Tensor) -> tuple[Tensor, list[Placed]]:
        for part, own in zip(parts, state, strict=True):
            step = grad[part.members]
            if own.scale is not None:
                step.mul_(own.scale)
            step.addcmul_(theta[part.members], own.decay)
            if own.velocity is not None:
                step = own.velocity.mul_(part.mu).add_(step)
            rate = -(own.lr * falling.multiplier[part.members])
            torch.mul(step, rate.to(grad.dtype), out=grad[part.members])
        return grad, state

    return Transform(init, update, lambda state: torch.cat([own.lr for own in state]))
