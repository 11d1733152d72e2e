"""Data-dependent path normalisation: from Path-SGD to a diagonal of the Fisher matrix.

The complexity of a unit v with incoming weights w, its bias among them, is as we understand it

    gamma_v^2 = w' R w    R = alpha E[h h'] + (1 - alpha) diag(gamma_u^2)

with h the activations that enter, gamma = 1 of inputs, and 1 beside the bias for both. The
complexity of a network is the sum over its outputs, and kappa of a weight half its second
derivative by that weight. With b_v the derivative of the whole by gamma_v^2 that goes through the
diagonal parts alone, and z_x what enters unit x,

    kappa(u -> v) = (1 - alpha) gamma_u^2 b_v + E[h_u^2 sum_x alpha b_x (dz_x / dz_v)^2]

where x runs over v and the units above it. alpha = 0 gives Path-SGD's kappa; alpha = 1 leaves the
mean over examples of the squared derivatives of the outputs, the diagonal of the Fisher matrix of
outputs with Gaussian noise. Every term is turned over by a rescaling of units, so steps commute
with it for every alpha. For small networks: the second term costs N H^3 for layers of H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import through
from reproductions.optim.transform import (
    Hyper,
    Schedule,
    Transform,
    as_hyper,
    check_hyper,
    scaled,
    start_clock,
)

CHUNK_NUMBERS = {"cpu": 1 << 21, "cuda": 1 << 26}  # of products of derivatives kept at a time


class DataPathState(NamedTuple):
    t: Tensor  # ()
    kappa: Tensor  # (E, P) of the last update
    lr: Tensor  # () or (E, 1)


class _Pass(NamedTuple):
    """What a forward pass over the data gives, layer by layer."""

    inputs: list[Tensor]  # (E, N, fan_in), activations that enter
    squares: list[Tensor]  # (E, fan_in), gamma^2 of the units below


def data_path_norm(layout: Layout, theta: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    """Return the complexity of ReLU networks, the sum over outputs of gamma^2, (E,).

    Source: Neyshabur, Tomioka, Salakhutdinov and Srebro 2016, as we understand it; see the module.

    Args:
        theta: (E, P).
        inputs: (N, D), the examples of the second moment, the same for every member.
        alpha: in [0, 1], the share of the data.

    Raises:
        ValueError: where alpha leaves [0, 1] or inputs do not fit.
    """
    one = _forward(layout, theta, _checked(layout, theta, inputs, alpha), alpha)
    return one.squares[-1].sum(1)


def data_path_scaling(layout: Layout, theta: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    """Return kappa (E, P) of every weight and bias; arguments as of `data_path_norm`.

    Source: Neyshabur, Tomioka, Salakhutdinov and Srebro 2016, DDP-SGD, as we understand it. The
    expectation is over the examples given, exact; an estimate from minibatches is the caller's.
    """
    one = _forward(layout, theta, _checked(layout, theta, inputs, alpha), alpha)
    layers = layout.views(theta)
    above = [theta.new_ones(len(theta), layout.widths[-1])]
    for layer in reversed(layers[1:]):
        _, back = through(layer, 2.0, None, above[0])
        assert back is not None
        above.insert(0, back * (1 - alpha))
    kappa = torch.zeros_like(theta)
    places = layout.views(kappa)
    for rows in torch.arange(len(inputs)).split(_rows(layout, theta)):
        _add_data(layers, [x[:, rows] for x in one.inputs], above, alpha, places)
    kappa /= len(inputs)
    for (weight, bias), below, own in zip(places, one.squares, above, strict=False):
        weight += (1 - alpha) * (below.unsqueeze(2) * own.unsqueeze(1))
        bias += (1 - alpha) * own
    return kappa


def ddp_sgd(
    layout: Layout, lr: Hyper, inputs: Tensor, alpha: float, *, schedule: Schedule | None = None
) -> Transform:
    """Step -alpha_t g / kappa(theta), with kappa of `data_path_scaling`; 0 where kappa is zero.

    Source: as of `data_path_scaling`. Deviation: the second moments are those of fixed examples,
    not of the minibatch.

    Args:
        layout, inputs, alpha: as of `data_path_norm`.
        lr: step size.

    Raises:
        ValueError: where lr is negative, alpha leaves [0, 1] or, at an update, inputs do not fit.
    """
    check_hyper(lr=lr)
    _check_share(alpha)

    def init(theta: Tensor) -> DataPathState:
        return DataPathState(start_clock(theta), torch.zeros_like(theta), *as_hyper(theta, lr=lr))

    def update(grad: Tensor, state: DataPathState, theta: Tensor) -> tuple[Tensor, DataPathState]:
        kappa = data_path_scaling(layout, theta, inputs, alpha)
        state = state._replace(t=state.t + 1, kappa=kappa)
        return -grad * rate(state).to(grad.dtype), state

    def rate(state: DataPathState) -> Tensor:
        inverse = state.kappa.reciprocal().nan_to_num_(0.0, 0.0, 0.0)
        return scaled(state.lr, schedule, state.t).to(inverse.dtype) * inverse

    return Transform(init, update, rate)


def _forward(layout: Layout, theta: Tensor, x: Tensor, alpha: float) -> _Pass:
    inputs, squares = [x], [theta.new_ones(len(theta), layout.widths[0])]
    for layer in layout.views(theta):
        weight, bias = layer
        entered = torch.baddbmm(bias.unsqueeze(1), inputs[-1], weight)
        paths, _ = through(layer, 2.0, squares[-1], None)
        assert paths is not None
        squares.append(alpha * entered.square().mean(1) + (1 - alpha) * paths)
        inputs.append(torch.relu_(entered))
    return _Pass(inputs, squares)


def _add_data(
    layers: Sequence[tuple[Tensor, Tensor]],
    inputs: Sequence[Tensor],
    above: Sequence[Tensor],
    alpha: float,
    places: Sequence[tuple[Tensor, Tensor]],
) -> None:
    """Add the second term of some examples, summed.

    M (E, N, H, H) is the sum over units x above, and those of the layer, of
    alpha b_x (dz_x / dz) (dz_x / dz)'; only its diagonal is used, but all of it goes down.
    """
    examples = inputs[0].shape[1]
    moments = torch.diag_embed(alpha * above[-1]).unsqueeze(1).expand(-1, examples, -1, -1)
    for depth in reversed(range(len(layers))):
        weight, bias = places[depth]
        diagonal = moments.diagonal(dim1=2, dim2=3)
        weight += torch.einsum("enu,env->euv", inputs[depth].square(), diagonal)
        bias += diagonal.sum(1)
        if depth:
            slopes = (inputs[depth] > 0).to(weight.dtype)
            down = layers[depth][0].unsqueeze(1) * slopes.unsqueeze(3)
            moments = down @ moments @ down.mT
            moments.diagonal(dim1=2, dim2=3).add_(alpha * above[depth - 1].unsqueeze(1))


def _rows(layout: Layout, theta: Tensor) -> int:
    """Return how many examples to take at a time, at least one."""
    widest = max(one * two for one in layout.widths[1:] for two in layout.widths[1:])
    return max(1, CHUNK_NUMBERS[theta.device.type] // (len(theta) * widest))


def _checked(layout: Layout, theta: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    """Return inputs (E, N, D) in the dtype of theta."""
    _check_share(alpha)
    width = layout.widths[0]
    if inputs.dim() != 2 or inputs.shape[1] != width or not len(inputs):
        raise ValueError(f"inputs must have shape (N, {width}), got {tuple(inputs.shape)}")
    return inputs.to(theta.dtype).expand(len(theta), -1, -1)


def _check_share(alpha: float) -> None:
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in [0, 1], got {alpha!r}")
