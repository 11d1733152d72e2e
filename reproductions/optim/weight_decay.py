"""Weight decay as a penalty: decay times the weights joins the gradient of any transform."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reproductions.optim.transform import Hyper, Transform, as_hyper, check_hyper


class DecayState(NamedTuple):
    decay: Tensor  # () or (E, 1)
    inner: Any


def weight_decay(inner: Transform, decay: Hyper) -> Transform:
    """Give a transform the gradient of the loss plus decay / 2 |theta|^2.

    Source: torch.optim.SGD's weight_decay (the coupled form; with momentum the velocity holds it).

    Args:
        inner: what is handed g + decay theta for g.
        decay: a number or (E, 1), not negative.
    """
    check_hyper(decay=decay)

    def init(theta: Tensor) -> DecayState:
        (placed,) = as_hyper(theta, decay=decay)
        return DecayState(placed, inner.init(theta))

    def update(grad: Tensor, state: DecayState, theta: Tensor) -> tuple[Tensor, DecayState]:
        whole = torch.addcmul(grad, theta, state.decay.to(grad.dtype))
        step, moved = inner.update(whole, state.inner, theta)
        return step, state._replace(inner=moved)

    return Transform(init, update, lambda state: inner.rate(state.inner))
