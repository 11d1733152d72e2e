"""A fixed diagonal preconditioner before any transform."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from reproductions.optim.transform import Transform


class PreconditionedState(NamedTuple):
    scale: Tensor  # broadcastable to (E, P)
    inner: Any


def preconditioned(inner: Transform, scale: Tensor) -> Transform:
    """Give a transform the gradient times a factor of every weight.

    Under SGD, with momentum or without, that is a learning rate of every weight.

    Args:
        inner: what is handed scale g for g.
        scale: (E, P), (E, 1) or (1, P).
    """

    def init(theta: Tensor) -> PreconditionedState:
        return PreconditionedState(scale.to(theta), inner.init(theta))

    def update(
        grad: Tensor, state: PreconditionedState, theta: Tensor
    ) -> tuple[Tensor, PreconditionedState]:
        step, moved = inner.update(grad * state.scale, state.inner, theta)
        return step, state._replace(inner=moved)

    return Transform(init, update, lambda state: inner.rate(state.inner))
