"""What a random change of basis does in expectation, and to the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import draw, moments
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import conjugated, layer_norms, random_basis, teleport, units
from reproductions.optim.teleport import scaling as factor_of
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.problems.mlp import MLP

UNITS = {
    "factor": "1", "factor_error": "1", "factor_expected": "1", "squared_norm": "1",
    "hessian_error": "1",
}  # fmt: skip
BASIS, SMALL_DATA = 31, 32  # purposes in a generator's key
CLASSES = 10
BLOCKS = ("first weights", "hidden weights", "last weights", "hidden thresholds")
SMALL = Layout((5, 7, 6, 4))
HESSIANS = {"relu": "intra", "tanh": "inter", "sigmoid": "inter"}


class Plan(NamedTuple):
    """What is averaged; see the room's configuration."""

    hidden: int
    layers: int
    batch: int
    sigmas: Sequence[float]
    draws: int
    seeds: int
    root_seed: int


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Average squared weights and gradients over changes of basis, and teleport Hessians."""
    found = Rows(UNITS)
    x, y = data.train.flatten(1)[: plan.batch], data.labels[: plan.batch]
    layout = Layout((x.shape[1], *[plan.hidden] * plan.layers, CLASSES))
    for seed in range(plan.seeds):
        theta = layout.initialise(
            [seed], root_seed=plan.root_seed, dtype=torch.float64, device=x.device
        )
        _, slope = MLP(layout).gradient(theta, x[None].to(theta), y[None])
        for number, sigma in enumerate(plan.sigmas):
            source = generator(plan.root_seed, seed, BASIS, number)
            tau = draw((plan.draws, units(layout)), sigma, source)
            for arm, own, power in (("weights", theta, 2), ("gradient", slope, -2)):
                _average(found, layout, own[0].square(), tau, power, arm, sigma, seed)
            progress((seed + (number + 1) / len(plan.sigmas)) / plan.seeds, f"seed {seed}")
    _hessians(found, plan)
    return found


def by_block(parts: Tensor) -> Tensor:
    """Sum the parts (T, L, 2) of layers over BLOCKS, (T, 4); the output's thresholds stay out."""
    weights, thresholds = parts.unbind(2)
    return torch.stack(
        [weights[:, 0], weights[:, 1:-1].sum(1), weights[:, -1], thresholds[:, :-1].sum(1)], 1
    )


def expected(sigma: float, power: int) -> list[float]:
    """Return what squares of BLOCKS are multiplied by in expectation.

    Source: derived; A = E[tau^2] and B = E[1 / tau^2], which change places in the gradient.
    """
    outputs, inputs = moments(sigma) if power == 2 else moments(sigma)[::-1]
    return [outputs, outputs * inputs, inputs, outputs]


def _average(
    found: Rows, layout: Layout, squares: Tensor, tau: Tensor, power: int, arm: str, sigma: float,
    seed: int,
) -> None:  # fmt: skip
    """Add the mean factor of every block with its standard error, and the mean squared norm."""
    parts = layer_norms(layout, squares, tau, power=power)
    still = layer_norms(layout, squares, torch.ones_like(tau[:1]))
    ratio = (by_block(parts) / by_block(still)).cpu()
    error = ratio.std(0) / len(tau) ** 0.5
    for quantity, value in (
        ("factor", ratio.mean(0)),
        ("factor_error", error),
        ("factor_expected", expected(sigma, power)),
    ):
        found.add(arm=arm, quantity=quantity, value=np.asarray(value), seed=seed, sigma=sigma,
                  block=BLOCKS)  # fmt: skip
    norms = float(still.sum()), float(parts.sum((1, 2)).mean())
    found.add(arm=arm, quantity="squared_norm", value=norms, seed=seed, sigma=sigma,
              block=("initial", "teleported"))  # fmt: skip


def _hessians(found: Rows, plan: Plan) -> None:
    """Add how far the Hessian of small teleported networks is from the rule."""
    theta = SMALL.initialise(range(plan.seeds), root_seed=plan.root_seed, dtype=torch.float64)
    for activation, kind in HESSIANS.items():
        tau = random_basis(SMALL, range(plan.seeds), 0.9, kind=kind, root_seed=plan.root_seed)
        for seed in range(plan.seeds):
            source = generator(plan.root_seed, seed, SMALL_DATA)
            x = torch.randn(20, SMALL.widths[0], generator=source, dtype=torch.float64)
            y = torch.randint(0, SMALL.widths[-1], (20,), generator=source)
            error = hessian_error(activation, theta[seed : seed + 1], tau[seed : seed + 1], x, y)
            found.add(arm=activation, quantity="hessian_error", value=error, seed=seed)


def hessian_error(activation: str, theta: Tensor, tau: Tensor, x: Tensor, y: Tensor) -> float:
    """Return how far H' is from H over both factors, relative to its largest entry."""
    by = factor_of(SMALL, tau)[0]
    # torch.func.hessian gives the same and loads torch's compiler first
    plain = _hessian(_loss(activation, None, x, y), theta[0])
    moved = _hessian(_loss(activation, tau, x, y), teleport(SMALL, theta, tau)[0])
    wanted = plain / by[:, None] / by
    return float((moved - wanted).abs().max() / wanted.abs().max())


def _hessian(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    found: Tensor = torch.autograd.functional.hessian(loss, theta)
    return found


def _loss(activation: str, tau: Tensor | None, x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    def loss(own: Tensor) -> Tensor:
        logits = outputs(SMALL, own[None], x, activation, tau)[0]
        return torch.nn.functional.cross_entropy(logits, y)

    return loss


def outputs(
    layout: Layout, theta: Tensor, x: Tensor, activation: str, tau: Tensor | None = None
) -> Tensor:
    """Return the outputs (E, N, K) of inputs (N, D), activations conjugated by tau (E, U) if any."""
    *hidden, (last, threshold) = layout.views(theta)
    factors = units_of(layout, theta, tau)
    reached = x.expand(len(theta), -1, -1)
    for (weight, bias), factor in zip(hidden, factors, strict=True):
        reached = conjugated(activation, torch.baddbmm(bias[:, None], reached, weight), factor)
    return torch.baddbmm(threshold[:, None], reached, last)


def units_of(layout: Layout, theta: Tensor, tau: Tensor | None) -> list[Tensor]:
    """Return the factors (E, H) of every hidden layer, ones where there is no tau."""
    each = theta.new_ones(len(theta), units(layout)) if tau is None else tau.to(theta)
    return list(each.split(list(layout.widths[1:-1]), 1))
