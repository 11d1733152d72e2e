"""Steps that minimise a linear model in a region of fixed size, and what stands beside them.

Of the model f + J dx the minimum in a ball |dx| <= eps is -eps J/|J|, in a box |dx_i| <= eps it is
-eps sign(J). As transforms these are `first_order.normalised` and `first_order.sign`, with lr = eps;
they are here under the regions' names beside the one step that they lack.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.first_order import normalised, sign
from reproductions.optim.transform import (
    Hyper,
    Schedule,
    Transform,
    as_hyper,
    check_hyper,
    running_mean,
    safe_quotient,
    scaled,
    start_clock,
)

REGIONS = {"ball": normalised, "box": sign}


class SquareState(NamedTuple):
    t: Tensor  # ()
    square: Tensor  # (E, 1): what the last gradient was divided by
    lr: Tensor  # () or (E, 1)


class MeanState(NamedTuple):
    t: Tensor  # ()
    mean: Tensor  # (E, P) running mean of the gradients
    lr: Tensor  # () or (E, 1)
    beta: Tensor  # () or (E, 1)


def inverse_norm(lr: Hyper, *, schedule: Schedule | None = None) -> Transform:
    """Step -alpha_t g_t / |g_t|^2, the only power of |g_t| that no scale of coordinates changes.

    Its size grows without bound where the gradient vanishes: at a minimum it does not come to rest.
    """
    check_hyper(lr=lr)

    def init(theta: Tensor) -> SquareState:
        square = torch.zeros(len(theta), 1, dtype=theta.dtype, device=theta.device)
        return SquareState(start_clock(theta), square, *as_hyper(theta, lr=lr))

    def update(grad: Tensor, state: SquareState, theta: Tensor) -> tuple[Tensor, SquareState]:
        state = state._replace(t=state.t + 1, square=(grad**2).sum(1, keepdim=True))
        alpha = scaled(state.lr, schedule, state.t).to(grad.dtype)
        return safe_quotient(grad * -alpha, state.square), state

    def rate(state: SquareState) -> Tensor:
        return scaled(state.lr, schedule, state.t).to(state.square.dtype) / state.square

    return Transform(init, update, rate)


def averaged_ball(lr: Hyper, beta: Hyper, *, schedule: Schedule | None = None) -> Transform:
    """Step -alpha_t m_t / |m_t| with the running mean m_t of the gradients, m_0 = 0.

    The ball's step for the mean of a stochastic gradient: one noisy gradient at a time would be
    normalised before it is averaged, and that may point the wrong way. The start's missing weight
    1 - beta^t cancels in the quotient.
    """
    check_hyper(lr=lr, beta=beta)

    def init(theta: Tensor) -> MeanState:
        hyper = as_hyper(theta, lr=lr, beta=beta)
        return MeanState(start_clock(theta), torch.zeros_like(theta), *hyper)

    def update(grad: Tensor, state: MeanState, theta: Tensor) -> tuple[Tensor, MeanState]:
        mean = running_mean(state.mean, state.beta, grad)
        state = state._replace(t=state.t + 1, mean=mean)
        return safe_quotient(mean, size(state)) * -alpha(state).to(grad.dtype), state

    def alpha(state: MeanState) -> Tensor:
        return scaled(state.lr, schedule, state.t)

    def size(state: MeanState) -> Tensor:
        return torch.linalg.vector_norm(state.mean, dim=1, keepdim=True)

    def rate(state: MeanState) -> Tensor:
        return alpha(state).to(state.mean.dtype) / size(state)

    return Transform(init, update, rate)


def ball_multiplier(gradient: Tensor, radius: float | Tensor) -> Tensor:
    """Return the multiplier |J| / (2 eps) (E, 1) of the constraint |dx|^2 <= eps^2.

    With it J + 2 lambda dx = 0 at the ball's step.

    Args:
        gradient: J (E, P).
        radius: eps, a number or (E, 1).
    """
    return torch.linalg.vector_norm(gradient, dim=1, keepdim=True) / (2 * radius)
