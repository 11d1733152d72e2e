"""Path-SGD: gradient descent that does not notice when units of a ReLU network are rescaled."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import Rate, blocks, check_exponent, path_rates
from reproductions.optim.transform import (
    Hyper,
    Schedule,
    Transform,
    as_hyper,
    check_hyper,
    scaled,
    start_clock,
)


class PathState(NamedTuple):
    t: Tensor  # ()
    inputs: Tensor  # (E, sum of fan_in), of the last update; with `outputs`, 1 / kappa
    outputs: Tensor  # (E, sum of fan_out)
    lr: Tensor  # () or (E, 1)


def path_sgd(
    layout: Layout, lr: Hyper, p: float = 2.0, *, schedule: Schedule | None = None
) -> Transform:
    """Step -alpha_t g / kappa(theta), with kappa of `path_scaling.path_scaling`.

    Source: Neyshabur, Salakhutdinov and Srebro 2015, the update rule; biases as in the authors'
    code. The step commutes with `rescaling.rescale` where units are homogeneous (ReLU, linear).
    A weight whose kappa is zero, so whose gradient is zero as well, is not moved, nor one whose
    kappa is not finite or too small for the dtype to have an inverse. The state keeps numbers of units, none of weights.

    Args:
        layout: the widths and where each weight sits in theta.
        lr: not that of SGD: weights of variance 1 / fan_in below H units have kappa about K / H.
        p: exponent of the path norm.

    Raises:
        ValueError: where p is not a positive finite number, or lr is negative.
    """
    check_hyper(lr=lr)
    check_exponent(p)

    def init(theta: Tensor) -> PathState:
        inputs, outputs = (theta.new_zeros(len(theta), sum(fan)) for fan in _fans(layout))
        return PathState(start_clock(theta), inputs, outputs, *as_hyper(theta, lr=lr))

    def rates(state: PathState, theta: Tensor) -> tuple[list[Rate], PathState]:
        found = path_rates(layout.views(theta), p)
        state = _kept(state._replace(t=state.t + 1), found)
        times = -scaled(state.lr, schedule, state.t).to(theta.dtype)
        return [Rate(of.inputs, of.outputs * times) for of in found], state

    def update(grad: Tensor, state: PathState, theta: Tensor) -> tuple[Tensor, PathState]:
        found, state = rates(state, theta)
        return _step(layout, grad, found), state

    def rate(state: PathState) -> Tensor:
        inverse = _inverse_kappa(layout, state)
        return scaled(state.lr, schedule, state.t).to(inverse.dtype) * inverse

    return Transform(init, update, rate, rates=rates)


def _fans(layout: Layout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return layout.widths[:-1], layout.widths[1:]


def _kept(state: PathState, rates: list[Rate]) -> PathState:
    inputs, outputs = (torch.cat(parts, 1) for parts in zip(*rates, strict=True))
    return state._replace(inputs=inputs, outputs=outputs)


def _step(layout: Layout, grad: Tensor, rates: list[Rate]) -> Tensor:
    """Multiply each layer's gradient by an outer product, block by block: one pass over memory."""
    step = torch.empty_like(grad)
    layers = zip(layout.views(grad), layout.views(step), rates, strict=True)
    for (weight, bias), (place, last), rate in layers:
        below, above = rate.inputs.unsqueeze(2), rate.outputs.unsqueeze(1)
        for rows in blocks(weight):
            torch.mul(weight[:, :, rows], below * above[:, :, rows], out=place[:, :, rows])
        torch.mul(bias, rate.outputs, out=last)
    return step


def _inverse_kappa(layout: Layout, state: PathState) -> Tensor:
    """Return 1 / kappa (E, P) of the last update."""
    inverse = state.inputs.new_empty(len(state.inputs), layout.parameters)
    fans_in, fans_out = _fans(layout)
    inputs, outputs = state.inputs.split(fans_in, 1), state.outputs.split(fans_out, 1)
    for (weight, bias), below, above in zip(layout.views(inverse), inputs, outputs, strict=True):
        torch.mul(below.unsqueeze(2), above.unsqueeze(1), out=weight)
        bias.copy_(above)
    return inverse
