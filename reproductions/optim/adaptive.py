"""The family of exponential and plain running means: RMSProp, Adam, AMSGrad, AdamNC."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from reproductions.optim.transform import (
    Hyper,
    Schedule,
    Transform,
    as_hyper,
    check_hyper,
    inverse_sqrt,
    running_mean,
    safe_quotient,
    scaled,
    start_clock,
)

Order = Literal["paper", "torch", "optax"]


class AdamState(NamedTuple):
    t: Tensor  # ()
    mean: Tensor  # (E, P) running mean of gradients, m_t
    square: Tensor  # (E, P) running mean of their squares, v_t
    peak: Tensor  # (E, P) largest v so far; not used, and empty (E, 0), outside AMSGrad
    lr: Tensor  # () or (E, 1)
    beta1: Tensor  # () or (E, 1)
    beta2: Tensor  # () or (E, 1)
    eps: Tensor  # () or (E, 1)


class AdamncState(NamedTuple):
    t: Tensor  # ()
    mean: Tensor  # (E, P)
    total: Tensor  # (E, P) sum of squared gradients, t v_t
    lr: Tensor  # () or (E, 1)
    beta1: Tensor  # () or (E, 1)
    eps: Tensor  # () or (E, 1)


class _Form(NamedTuple):
    order: Order | None = None  # None: no maximum at all
    debias: bool = False
    eps_inside: bool = False


def rmsprop(
    lr: Hyper,
    beta2: Hyper,
    *,
    eps: Hyper = 0.0,
    eps_inside: bool = False,
    schedule: Schedule | None = None,
) -> Transform:
    """Step -alpha_t g_t / sqrt(v_t), v_t = beta2 v_{t-1} + (1 - beta2) g_t^2.

    Source: Reddi et al. 2018, section 2: Adam with beta1 = 0. torch.optim.RMSprop calls beta2
    alpha and is the same with eps = 1e-8.
    """
    check_hyper(beta2=beta2)
    return _adam_family(lr, 0.0, beta2, eps, schedule, _Form(eps_inside=eps_inside))


def adam(
    lr: Hyper,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    *,
    eps: Hyper = 0.0,
    eps_inside: bool = False,
    debias: bool = False,
    schedule: Schedule | None = None,
) -> Transform:
    """Step -alpha_t m_t / sqrt(v_t), both exponential running means.

    Source: Reddi et al. 2018, Algorithm 1 with equation 1 (and equation 3 for eps_inside).
    torch.optim.Adam is debias=True, eps=1e-8.

    Args:
        eps: added to the root, or under it where eps_inside.
        debias: divide m by 1 - beta1^t and v by 1 - beta2^t.
    """
    return _adam_family(lr, beta1, beta2, eps, schedule, _Form(None, debias, eps_inside))


def amsgrad(
    lr: Hyper,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    *,
    eps: Hyper = 0.0,
    eps_inside: bool = False,
    order: Order = "paper",
    schedule: Schedule | None = None,
) -> Transform:
    """Step -alpha_t m_t / sqrt(vhat_t), vhat_t = max(vhat_{t-1}, v_t).

    Source: Reddi et al. 2018, Algorithm 2.

    Args:
        order: "paper", no bias correction; "torch", the maximum of the raw v is corrected
            afterwards, so the learning rate can grow; "optax", the maximum of the corrected v,
            which stays at g_1^2 where that is large. The last two correct m as well.
    """
    if order not in get_args(Order):
        raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {order!r}")
    form = _Form(order, order != "paper", eps_inside)
    return _adam_family(lr, beta1, beta2, eps, schedule, form)


def _adam_family(
    lr: Hyper,
    beta1: Hyper,
    beta2: Hyper,
    eps: Hyper,
    schedule: Schedule | None,
    form: _Form,
) -> Transform:
    check_hyper(lr=lr, beta1=beta1, beta2=beta2, eps=eps)

    def init(theta: Tensor) -> AdamState:
        zeros, hyper = torch.zeros_like, as_hyper(theta, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        peak = zeros(theta) if form.order else theta.new_zeros(theta.shape[0], 0)
        return AdamState(start_clock(theta), zeros(theta), zeros(theta), peak, *hyper)

    def update(grad: Tensor, state: AdamState, theta: Tensor) -> tuple[Tensor, AdamState]:
        mean = running_mean(state.mean, state.beta1, grad)
        square = running_mean(state.square, state.beta2, grad * grad)
        state = state._replace(t=state.t + 1, mean=mean, square=square)
        state = state._replace(peak=_peak(state, form.order))
        alpha = scaled(state.lr, schedule, state.t)
        if form.debias:
            alpha = alpha / (1 - state.beta1**state.t)
        return safe_quotient(mean * -alpha.to(grad.dtype), _divisor(state, form)), state

    def rate(state: AdamState) -> Tensor:
        return scaled(state.lr, schedule, state.t).to(state.square.dtype) / _divisor(state, form)

    return Transform(init, update, rate)


def _peak(state: AdamState, order: Order | None) -> Tensor:
    if order is None:
        return state.peak
    seen = _corrected(state.square, state) if order == "optax" else state.square
    return torch.maximum(state.peak, seen)


def _divisor(state: AdamState, form: _Form) -> Tensor:
    square = state.peak if form.order else state.square
    if form.debias and form.order != "optax":
        square = _corrected(square, state)
    eps = state.eps.to(square.dtype)
    return torch.sqrt(square + eps) if form.eps_inside else torch.sqrt(square) + eps


def _corrected(square: Tensor, state: AdamState) -> Tensor:
    return square / (1 - state.beta2**state.t).to(square.dtype)


def adamnc(
    lr: Hyper, beta1: Hyper = 0.9, *, eps: Hyper = 0.0, schedule: Schedule | None = None
) -> Transform:
    """Step -alpha_t m_t / (sqrt(v_t) + eps) with v_t the plain mean of all squared gradients.

    Source: Reddi et al. 2018, Algorithm 3 with beta2_t = 1 - 1/t. With schedule=inverse_sqrt it is
    Adagrad with momentum.
    """
    check_hyper(lr=lr, beta1=beta1, eps=eps)

    def init(theta: Tensor) -> AdamncState:
        hyper, zeros = as_hyper(theta, lr=lr, beta1=beta1, eps=eps), torch.zeros_like(theta)
        return AdamncState(start_clock(theta), zeros, zeros.clone(), *hyper)

    def update(grad: Tensor, state: AdamncState, theta: Tensor) -> tuple[Tensor, AdamncState]:
        mean, total = running_mean(state.mean, state.beta1, grad), state.total + grad * grad
        state = state._replace(t=state.t + 1, mean=mean, total=total)
        return safe_quotient(mean * -alpha(state).to(grad.dtype), divisor(state)), state

    # sqrt(t) is kept on the side of alpha: under 1/sqrt(t) the two cancel exactly, and the
    # learning rate then never grows in floating point either.
    def alpha(state: AdamncState) -> Tensor:
        if schedule is inverse_sqrt:
            return state.lr
        return scaled(state.lr, schedule, state.t) * torch.sqrt(state.t)

    def divisor(state: AdamncState) -> Tensor:
        eps = (state.eps * torch.sqrt(state.t)).to(state.total.dtype)
        return torch.sqrt(state.total) + eps

    def rate(state: AdamncState) -> Tensor:
        return alpha(state).to(state.total.dtype) / divisor(state)

    return Transform(init, update, rate)
