"""First-order methods, each as pure functions over an ensemble theta (E, P).

The defaults are the analysed algorithms: no bias correction, eps = 0, and 0/0 = 0. Switches turn
them into the forms that torch and optax compute. Every method but Adagrad, which has its own,
takes a `schedule`, a function of the step t = 1, 2, ... that multiplies lr (`inverse_sqrt` is the
theorems').
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.adaptive import Order, adam, adamnc, amsgrad, rmsprop
from reproductions.optim.transform import (
    Hyper,
    Schedule,
    Transform,
    as_hyper,
    by_member,
    check_hyper,
    inverse_sqrt,
    project_box,
    safe_quotient,
    scaled,
    start_clock,
)

__all__ = [
    "Hyper",
    "Order",
    "Schedule",
    "Transform",
    "adagrad",
    "adam",
    "adamnc",
    "amsgrad",
    "by_member",
    "inverse_sqrt",
    "momentum",
    "normalised",
    "project_box",
    "rmsprop",
    "sgd",
    "sign",
]


class SgdState(NamedTuple):
    t: Tensor  # ()
    lr: Tensor  # () or (E, 1)


class MomentumState(NamedTuple):
    t: Tensor  # ()
    velocity: Tensor  # (E, P)
    lr: Tensor  # () or (E, 1)
    mu: Tensor  # () or (E, 1)


class AdagradState(NamedTuple):
    t: Tensor  # ()
    total: Tensor  # (E, P) sum of squared gradients
    lr: Tensor  # () or (E, 1)
    eps: Tensor  # () or (E, 1)


class NormState(NamedTuple):
    t: Tensor  # ()
    norm: Tensor  # (E, P) or (E, 1): what the last gradient was divided by
    lr: Tensor  # () or (E, 1)


def sgd(lr: Hyper, *, schedule: Schedule | None = None) -> Transform:
    """Step -alpha_t g_t.

    Source: Reddi et al. 2018, Algorithm 1 with phi = g_t, psi = 1.
    """
    check_hyper(lr=lr)

    def init(theta: Tensor) -> SgdState:
        return SgdState(start_clock(theta), *as_hyper(theta, lr=lr))

    def factor(state: SgdState) -> tuple[Tensor, SgdState]:
        state = state._replace(t=state.t + 1)
        return -rate(state), state

    def update(grad: Tensor, state: SgdState, theta: Tensor) -> tuple[Tensor, SgdState]:
        times, state = factor(state)
        return grad * times.to(grad.dtype), state

    def rate(state: SgdState) -> Tensor:
        return scaled(state.lr, schedule, state.t)

    return Transform(init, update, rate, factor)


def momentum(
    lr: Hyper, mu: Hyper, *, nesterov: bool = False, schedule: Schedule | None = None
) -> Transform:
    """Step -alpha_t u_t with the heavy ball u_t = mu u_{t-1} + g_t, or Nesterov's g_t + mu u_t.

    Source: torch.optim.SGD's form (the learning rate stands outside the velocity, no dampening).
    """
    check_hyper(lr=lr, mu=mu)

    def init(theta: Tensor) -> MomentumState:
        hyper = as_hyper(theta, lr=lr, mu=mu)
        return MomentumState(start_clock(theta), torch.zeros_like(theta), *hyper)

    def update(grad: Tensor, state: MomentumState, theta: Tensor) -> tuple[Tensor, MomentumState]:
        mass = state.mu.to(grad.dtype)
        velocity = mass * state.velocity + grad
        state = state._replace(t=state.t + 1, velocity=velocity)
        ahead = grad + mass * velocity if nesterov else velocity
        return ahead * -rate(state).to(grad.dtype), state

    def rate(state: MomentumState) -> Tensor:
        return scaled(state.lr, schedule, state.t)

    return Transform(init, update, rate)


def adagrad(lr: Hyper, *, eps: Hyper = 0.0) -> Transform:
    """Step -lr g_t / (sqrt(sum of g^2 up to t) + eps).

    Source: Reddi et al. 2018, Algorithm 1 with psi = mean of g^2 and alpha_t = lr / sqrt(t): the
    two roots of t cancel. torch.optim.Adagrad is the same with eps = 1e-10.
    """
    check_hyper(lr=lr, eps=eps)

    def init(theta: Tensor) -> AdagradState:
        hyper = as_hyper(theta, lr=lr, eps=eps)
        return AdagradState(start_clock(theta), torch.zeros_like(theta), *hyper)

    def update(grad: Tensor, state: AdagradState, theta: Tensor) -> tuple[Tensor, AdagradState]:
        state = state._replace(t=state.t + 1, total=state.total + grad * grad)
        return safe_quotient(grad * -state.lr.to(grad.dtype), divisor(state)), state

    def divisor(state: AdagradState) -> Tensor:
        return torch.sqrt(state.total) + state.eps.to(state.total.dtype)

    def rate(state: AdagradState) -> Tensor:
        return state.lr.to(state.total.dtype) / divisor(state)

    return Transform(init, update, rate)


def sign(lr: Hyper, *, schedule: Schedule | None = None) -> Transform:
    """Step -alpha_t sign(g_t), the steepest descent in a box; V_t = g_t^2."""
    return _by_own_size(lr, schedule, torch.abs)


def normalised(lr: Hyper, *, schedule: Schedule | None = None) -> Transform:
    """Step -alpha_t g_t / |g_t|, the steepest descent in a ball; the norm is each member's own."""
    return _by_own_size(lr, schedule, lambda g: torch.linalg.vector_norm(g, dim=1, keepdim=True))


def _by_own_size(
    lr: Hyper, schedule: Schedule | None, size: Callable[[Tensor], Tensor]
) -> Transform:
    check_hyper(lr=lr)

    def init(theta: Tensor) -> NormState:
        return NormState(start_clock(theta), size(torch.zeros_like(theta)), *as_hyper(theta, lr=lr))

    def update(grad: Tensor, state: NormState, theta: Tensor) -> tuple[Tensor, NormState]:
        state = state._replace(t=state.t + 1, norm=size(grad))
        alpha = scaled(state.lr, schedule, state.t).to(grad.dtype)
        return safe_quotient(grad, state.norm) * -alpha, state

    def rate(state: NormState) -> Tensor:
        return scaled(state.lr, schedule, state.t).to(state.norm.dtype) / state.norm

    return Transform(init, update, rate)
