"""Rescaled ReLU units and teleported networks: the same function in other weights, as residuals."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_norm
from reproductions.optim.rescaling import rescale
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import step, worst

_WIDTHS, _EXAMPLES = (5, 6, 4), 40


def rescaled_relu(draws: Draws, rate: float = 0.1) -> dict[str, Tensor]:
    """Return errors of output, gradient and step after every unit is rescaled by its own tau."""
    loss, theta = draws.network(_WIDTHS, _EXAMPLES, "softmax", "relu")
    tau = draws.points(_WIDTHS[1], stream=2).exp()
    other = rescale(loss.layout, theta, [tau])
    outputs = loss.outputs(theta)
    gradient, seen = loss.gradient(theta)[1], loss.gradient(other)[1]
    # the gradient is a covector: it is carried over by the inverse factors, 1/tau and tau
    wanted = rescale(loss.layout, gradient, [1 / tau])
    moved = rescale(loss.layout, other + step("sgd", loss, other, rate), [1 / tau])
    rates = rescale(loss.layout, torch.ones_like(theta), [tau**-2])
    return {
        "relu_output": worst(loss.outputs(other) - outputs, outputs),
        "relu_gradient": worst(seen - wanted, wanted),
        "relu_step": worst(moved - (theta - rate * rates * gradient), theta),
    }


def path_products(draws: Draws) -> Tensor:
    """Return by how much paths, their divergence and the path norm change under rescaling."""
    layout = Layout((3, 4, 2))
    theta, elsewhere = (draws.points(layout.parameters, stream=stream) for stream in (3, 4))
    tau = draws.points(4, stream=5).exp()
    pairs = [(one, rescale(layout, one, [tau])) for one in (theta, elsewhere)]
    (old, new), (far, far_new) = [tuple(_paths(layout, one) for one in pair) for pair in pairs]
    divergence, changed = ((old - far) ** 2).sum(1), ((new - far_new) ** 2).sum(1)
    norms = [path_norm(layout, one) for one in pairs[0]]
    parts = [
        worst(new - old, old),
        (changed / divergence - 1).abs(),
        (norms[1] / norms[0] - 1).abs(),
    ]
    return torch.stack(parts).amax(0)


def _paths(layout: Layout, theta: Tensor) -> Tensor:
    """Return the value of every path from an input or a bias to an output, (E, paths)."""
    (first, bias), (second, last) = layout.views(theta)
    entering = torch.cat([first, bias[:, None]], 1)  # a bias is an edge from a unit that is on
    through = entering[:, :, :, None] * second[:, None]
    return torch.cat([through.flatten(1), last], 1)


def teleported(draws: Draws, rate: float = 0.1) -> dict[str, Tensor]:
    """Return errors of outputs, and of gradients and steps, of a teleported tanh network."""
    layout = Layout((4, 5, 6, 3))
    theta, inputs = draws.points(layout.parameters, stream=6), draws.points(20, 4, stream=7)
    taus = _taus(draws, layout)
    factors = _factors(layout, theta, taus)

    def loss(weights: Tensor, taus: list[Tensor]) -> Tensor:
        return (_forward(layout, weights, inputs, taus) ** 2).sum() / 2

    ones = [torch.ones_like(tau) for tau in taus]
    old, new = (_forward(layout, *pair, taus=t) for pair, t in
                (((theta, inputs), ones), ((theta * factors, inputs), taus)))  # fmt: skip
    gradient, seen = _gradient(loss, theta, ones), _gradient(loss, theta * factors, taus)
    wanted = gradient / factors
    step_back = (theta * factors - rate * seen) / factors
    plain = theta - rate * gradient / factors**2
    step_error = worst(step_back - plain, rate * gradient)
    return {
        "teleport_output": worst(new - old, old),
        "teleport_gradient": torch.maximum(worst(seen - wanted, wanted), step_error),
    }


def _gradient(
    loss: Callable[[Tensor, list[Tensor]], Tensor], theta: Tensor, taus: list[Tensor]
) -> Tensor:
    # torch.func.grad would do, and load seconds' worth of modules for it
    leaf = theta.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, taus), leaf)[0]


def _taus(draws: Draws, layout: Layout) -> list[Tensor]:
    """Return one scale a unit, layer after layer, 1 at inputs and outputs."""
    widths = layout.widths
    hidden = [draws.points(w, stream=8 + k).div(2).exp() for k, w in enumerate(widths[1:-1])]
    ends = [torch.ones(draws.members, w, dtype=torch.float64, device=draws.device)
            for w in (widths[0], widths[-1])]  # fmt: skip
    return [ends[0], *hidden, ends[1]]


def _factors(layout: Layout, theta: Tensor, taus: list[Tensor]) -> Tensor:
    """Return tau_j / tau_i of every weight from i to j, tau_j of every bias, (E, P)."""
    factors = torch.ones_like(theta)
    for (weight, bias), below, above in zip(layout.views(factors), taus, taus[1:], strict=False):
        weight.mul_(above[:, None]).div_(below[:, :, None])
        bias.mul_(above)
    return factors


def _forward(layout: Layout, theta: Tensor, inputs: Tensor, taus: list[Tensor]) -> Tensor:
    """Return outputs of units tau tanh(x / tau), the last layer linear."""
    x, layers = inputs, layout.views(theta)
    for depth, (weight, bias) in enumerate(layers):
        x = x @ weight + bias[:, None]
        if depth < len(layers) - 1:
            tau = taus[depth + 1][:, None]
            x = tau * torch.tanh(x / tau)
    return x
