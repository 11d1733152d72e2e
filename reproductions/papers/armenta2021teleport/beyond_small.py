"""Symmetry teleports that can be followed by eye: functions of the plane, a small network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim import batch_symmetry
from reproductions.optim.device import generator
from reproductions.optim.first_order import adagrad, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.symmetry_teleport import ascend, balance
from reproductions.optim.teleport import teleport
from reproductions.optim.transform import Transform

ANGLES, NETWORKS, DIAGONAL = 41, 42, 43  # purposes in a generator's key
SEARCHED = 3600  # angles of the steepest teleport
ASCENTS = 9  # steps of the code's ascent that count: it returns the place before the last of ten
WIDTHS, EXAMPLES = (5, 6, 7, 8), 4
UNITS = {
    "loss": "1", "log_norm_gain": "nat", "loss_change": "1", "other_loss_change": "1",
    "norm_error": "1", "corner_share": "1", "balance_residual": "1", "balance_gain": "nat",
}  # fmt: skip


class Plane(NamedTuple):
    """A function u^2 + v^2 of the plane, and how it is descended and teleported.

    Fields:
        forward: (x, y) -> (u, v); rotating (u, v) keeps the function.
        back: (u, v) -> (x, y).
        slopes: (x, y) -> (du/dx, du/dy, dv/dx, dv/dy), tensors or numbers.
        teleports: at the start of these steps.
        rate: of the code's ascent over the angle.
        every: so many steps the loss is kept.
    """

    start: tuple[float, float]
    forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    back: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    slopes: Callable[[Tensor, Tensor], tuple[Tensor | float, ...]]
    alpha: float
    steps: int
    teleports: Sequence[int]
    rate: float
    every: int


# Zhao et al. 2022, settings of their code.
PLANES = {
    "rosenbrock": Plane(
        (-1.0, -1.0), lambda x, y: (10 * (x * x - y), x - 1),
        lambda u, v: (v + 1, (v + 1) ** 2 - u / 10), lambda x, y: (20 * x, -10.0, 1.0, 0.0),
        1e-3, 1000, range(99, 1000, 100), 1e-1, 10,
    ),
    "booth": Plane(
        (5.0, -5.0), lambda x, y: (x + 2 * y - 7, 2 * x + y - 5),
        lambda u, v: ((2 * v - u) / 3 + 1, (2 * u - v) / 3 + 3), lambda x, y: (1.0, 2.0, 2.0, 1.0),
        0.08, 10, (4,), 1e-3, 1,
    ),
}  # fmt: skip
# method -> (transform, steps of ascent, their rate)
REGRESSIONS: dict[str, tuple[Transform, int, float]] = {
    "gd": (sgd(1e-4), 8, 1e-7),
    "adagrad": (adagrad(0.1, eps=1e-10), 2, 1e-5),
}
LENGTH, MOMENT = 300, 5  # steps of a regression, and before which it is teleported


def rows(seeds: int, growth: float, bound: float, device: str, root_seed: int) -> Rows:
    """Return the courses of every problem with and without teleports, and the identities.

    Args:
        growth: by how much a teleport of the small network may raise its gradient norm.
        bound: of the factors of the identities' networks.
    """
    table = Rows(UNITS)
    for name, plane in PLANES.items():
        for arm in ("plain", "code", "steepest"):
            losses = descend(plane, arm, seeds, device, root_seed)
            _add_course(table, name, arm, losses, plane.every)
    for name in REGRESSIONS:
        for arm in ("plain", "code", "exact"):
            losses = regress(table, name, arm, seeds, growth, device, root_seed)
            _add_course(table, name, arm, losses)
    _identities(table, seeds, bound, device, root_seed)
    return table


def descend(plane: Plane, arm: str, seeds: int, device: str, root_seed: int) -> Tensor:
    """Return the losses (T, seeds) of gradient descent; seeds differ by random angles."""
    drawn = [
        torch.rand(len(plane.teleports), generator=generator(root_seed, seed, ANGLES),
                   dtype=torch.float64)
        for seed in range(seeds)
    ]  # fmt: skip
    angles = (torch.stack(drawn) * math.pi).to(device)  # (E, teleports)
    here = torch.tensor(plane.start, dtype=torch.float64, device=device).expand(seeds, 2)
    losses = []
    for step in range(plane.steps + 1):
        if arm != "plain" and step in plane.teleports:
            angle = angles[:, list(plane.teleports).index(step)]
            here = _rotated(plane, here, _ascended(plane, here, angle, arm))
        loss, slope = _value(plane, here)
        losses.append(loss)
        here = here - plane.alpha * slope
    return torch.stack(losses[:: plane.every])


def _value(plane: Plane, here: Tensor) -> tuple[Tensor, Tensor]:
    """Return the function at points (..., 2) and its slope."""
    x, y = here.unbind(-1)
    u, v = plane.forward(x, y)
    ux, uy, vx, vy = plane.slopes(x, y)
    return u * u + v * v, 2 * torch.stack([u * ux + v * vx, u * uy + v * vy], -1)


def _rotated(plane: Plane, here: Tensor, angle: Tensor) -> Tensor:
    u, v = plane.forward(*here.unbind(-1))
    turned = angle.cos() * u - angle.sin() * v, angle.sin() * u + angle.cos() * v
    return torch.stack(plane.back(*turned), -1)


def _ascended(plane: Plane, here: Tensor, angle: Tensor, arm: str) -> Tensor:
    """Return the angles (E,) by the code's ascent from random ones, or the steepest of a circle."""

    def squared(angle: Tensor) -> Tensor:
        return _value(plane, _rotated(plane, here, angle))[1].square().sum(-1)

    if arm == "steepest":
        circle = torch.arange(SEARCHED, dtype=torch.float64, device=here.device)
        tried = circle * (2 * math.pi / SEARCHED)
        return tried[squared(tried[:, None]).argmax(0)]
    for _ in range(ASCENTS):
        own = angle.requires_grad_()
        slope = torch.autograd.grad(squared(own).sum(), own)[0]
        angle = own.detach() + plane.rate * slope
    return angle


def regress(
    table: Rows, name: str, arm: str, seeds: int, growth: float, device: str, root_seed: int
) -> Tensor:
    """Return the losses (LENGTH + 1, seeds) of one method on the small network.

    What the teleport does to the loss of its batch, to that of other examples and to the gradient
    norm goes into the table.
    """
    weights, inputs, targets, others, other_targets = _problem(seeds, device, root_seed)
    transform, ascents, rate = REGRESSIONS[name]
    loss = _squared_error(targets)
    states = [transform.init(weight.flatten(1)) for weight in weights]
    losses = []
    for step in range(LENGTH + 1):
        if arm != "plain" and step == MOMENT:
            before = weights
            weights = batch_symmetry.ascend(
                loss, before, inputs, steps=ascents, rate=rate, exact=arm == "exact",
                growth=growth if arm == "exact" else math.inf,
            )  # fmt: skip
            _add_teleport(table, name, arm, before, weights, loss, inputs, "loss_change")
            _add_teleport(table, name, arm, before, weights, _squared_error(other_targets), others,
                          "other_loss_change")  # fmt: skip
        own = [weight.detach().requires_grad_() for weight in weights]
        value = loss(own, inputs)
        losses.append(value.detach())
        gradients = torch.autograd.grad(value.sum(), own)
        for place, (weight, gradient) in enumerate(zip(own, gradients, strict=True)):
            flat, state = weight.detach().flatten(1), states[place]
            change, states[place] = transform.update(gradient.flatten(1), state, flat)
            weights = [*weights[:place], (flat + change).view_as(weight), *weights[place + 1 :]]
    return torch.stack(losses)


class _Problem(NamedTuple):
    weights: list[Tensor]  # of each layer (E, fan_out, fan_in)
    inputs: Tensor  # (E, D, B)
    targets: Tensor  # (E, K, B)
    others: Tensor  # (E, D, B), examples that no teleport knows
    other_targets: Tensor  # (E, K, B)


def _problem(seeds: int, device: str, root_seed: int) -> _Problem:
    """Draw weights, a batch and another one, all uniform in [0, 1] as the authors' code has it."""
    pairs = list(zip(WIDTHS[1:], WIDTHS, strict=False))
    batch = [(WIDTHS[0], EXAMPLES), (WIDTHS[-1], EXAMPLES)]
    shapes = [*pairs, *batch, *batch]
    sources = [generator(root_seed, seed, NETWORKS) for seed in range(seeds)]
    drawn = [
        torch.stack(
            [torch.rand(shape, generator=source, dtype=torch.float64) for source in sources]
        )
        for shape in shapes
    ]
    placed = [part.to(device) for part in drawn]
    return _Problem(placed[: len(pairs)], *placed[len(pairs) :])


def _squared_error(targets: Tensor) -> Callable[[Sequence[Tensor], Tensor], Tensor]:
    def loss(weights: Sequence[Tensor], inputs: Tensor) -> Tensor:
        return (batch_symmetry.outputs(weights, inputs) - targets).square().sum((1, 2)) / 2

    return loss


def _add_teleport(
    table: Rows, name: str, arm: str, before: Sequence[Tensor], after: Sequence[Tensor],
    loss: Callable[[Sequence[Tensor], Tensor], Tensor], inputs: Tensor, quantity: str,
) -> None:  # fmt: skip
    change = loss(after, inputs) / loss(before, inputs) - 1
    _add(table, name, arm, quantity, change.abs())
    if quantity == "loss_change":
        norms = [batch_symmetry.squared_norm(loss, one, inputs) for one in (before, after)]
        _add(table, name, arm, "log_norm_gain", (norms[1] / norms[0]).log() / 2)


def _identities(table: Rows, seeds: int, bound: float, device: str, root_seed: int) -> None:
    """Add what ascent and balance do to small ReLU networks, each checked by a backward pass."""
    layout = Layout((8, 7, 6, 5))
    theta = layout.initialise(range(seeds), root_seed=root_seed, dtype=torch.float64, device=device)
    source = generator(root_seed, 0, DIAGONAL)
    inputs = torch.randn(40, 8, generator=source, dtype=torch.float64).to(device)
    classes = torch.randint(5, (40,), generator=source).to(device)
    problem = NetworkLoss(layout, inputs, classes, activations="relu")
    loss, gradient = problem.gradient(theta)
    steep = ascend(layout, gradient, bound)
    moved_loss, moved = problem.gradient(teleport(layout, theta, steep.tau))
    fresh = moved.square().sum(1)
    live = steep.slope != 0
    at_bound = (steep.tau.log().abs() - math.log(bound)).abs() < 1e-9
    _add(table, "diagonal", "symmetry", "norm_error", (steep.squared_norm / fresh - 1).abs())
    _add(table, "diagonal", "symmetry", "loss_change", (moved_loss / loss - 1).abs())
    gain = (fresh / gradient.square().sum(1)).log() / 2
    _add(table, "diagonal", "symmetry", "log_norm_gain", gain)
    share = (at_bound & live).sum(1) / live.sum(1)
    _add(table, "diagonal", "symmetry", "corner_share", share)
    _, least = problem.gradient(teleport(layout, theta, balance(layout, gradient).tau))
    flows = ascend(layout, least, bound, steps=1, cap=0.0)  # stays: its slope is that of `least`
    _add(table, "diagonal", "balanced", "balance_residual", flows.slope.abs().amax(1) / 2)
    lowered = (least.square().sum(1) / gradient.square().sum(1)).log() / 2
    _add(table, "diagonal", "balanced", "balance_gain", lowered)


def _add(table: Rows, problem: str, arm: str, quantity: str, values: Tensor) -> None:
    numbers = values.detach().double().cpu().numpy()
    status = np.where(np.isfinite(numbers), "ok", f"{quantity} not finite")
    table.add(arm=arm, quantity=quantity, value=numbers, seed=np.arange(len(numbers)),
              status=status, problem=problem)  # fmt: skip


def _add_course(table: Rows, problem: str, arm: str, losses: Tensor, every: int = 1) -> None:
    numbers = losses.cpu().numpy()
    fine = np.logical_and.accumulate(np.isfinite(numbers), axis=0)
    table.add(
        arm=arm, quantity="loss", value=numbers, seed=np.arange(numbers.shape[1]),
        step=every * np.arange(len(numbers))[:, None], problem=problem,
        status=np.where(fine, "ok", "diverged: loss not finite"),
    )  # fmt: skip
