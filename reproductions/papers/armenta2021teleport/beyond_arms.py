"""The arms of the comparison on real images: what each does to a network, or to the rates of SGD.

Teleporting a ReLU network by positive factors D of its weights and training by SGD is SGD at rates
lr / D^2 from the start as it was; the arms `..._rates` keep of these rates only each layer's mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reproductions.optim import level_set
from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.symmetry_teleport import ascend
from reproductions.optim.teleport import random_basis, scaling, teleport
from reproductions.optim.transform import Transform
from reproductions.papers.armenta2021teleport.images import Images

ARMS = (
    "sgd", "random", "random_rates", "symmetry_start", "symmetry_rates", "symmetry_early",
    "level_start", "level_during",
)  # fmt: skip


class Plan(NamedTuple):
    """How the arms are trained and teleported.

    Fields:
        hidden: units in each of `depth` layers.
        exponents: of the learning rates 10^-exponent.
        validation: images held out, by which a learning rate is chosen for the test error.
        sigma: of the random teleport.
        bound: of the factors of a symmetry teleport.
        cap: of the squared gradient norm, past which no symmetry teleport leads.
        early_epochs, level_epochs: epochs done before each teleport of `symmetry_early` and of
            `level_during`.
        teleport_examples: training images on which the gradient of a teleport is taken.
        train_examples: training images on which the loss is evaluated.
    """

    hidden: int
    depth: int
    epochs: int
    batch: int
    seeds: int
    exponents: list[float]
    validation: int
    sigma: float
    bound: float
    ascent_steps: int
    ascent_rate: float
    cap: float
    early_epochs: list[int]
    level_epochs: list[int]
    teleport_examples: int
    level_steps: int
    level_rate: float
    level_tolerance: float
    train_examples: int
    root_seed: int


def network(fitted: Images, plan: Plan) -> tuple[Layout, NetworkLoss]:
    """Return the layout, and the loss on the images on which gradients of teleports are taken."""
    layout = Layout((fitted.train.shape[1], *[plan.hidden] * plan.depth, 10))
    some = slice(plan.teleport_examples)
    return layout, NetworkLoss(layout, fitted.train[some], fitted.labels[some], activations="relu")


def moved(
    arm: str, layout: Layout, loss: NetworkLoss, theta: Tensor, *, plan: Plan
) -> tuple[Tensor, Tensor]:
    """Return the teleported networks and the gradients that it took, (E,).

    Args:
        loss: over the images on which the gradient of a teleport is taken.
        theta: (E, P); of "random" one network a seed.
    """
    if arm.startswith("level"):
        there = level_set.teleport(
            loss, theta, steps=plan.level_steps, rate=plan.level_rate,
            tolerance=plan.level_tolerance,
        )  # fmt: skip
        return there.theta, there.cost
    return teleport(layout, theta, _basis(arm, layout, loss, theta, plan)), gradients(arm, theta)


def gradients(arm: str, theta: Tensor) -> Tensor:
    """Return how many gradients a random or a symmetry teleport, or its rates, take, (E,)."""
    count = 0.0 if arm.startswith("random") else 1.0
    return torch.full((len(theta),), count, dtype=torch.float64, device=theta.device)


def layer_rates(
    arm: str, layout: Layout, loss: NetworkLoss, theta: Tensor, *, plan: Plan
) -> Tensor:
    """Return the mean over each layer's weights, and thresholds, of 1 / D^2, (E, P)."""
    squares = scaling(layout, 1 / _basis(arm, layout, loss, theta, plan)).square().to(theta)
    for weight, bias in layout.views(squares):
        weight.copy_(weight.mean((1, 2), keepdim=True).expand_as(weight))
        bias.copy_(bias.mean(1, keepdim=True).expand_as(bias))
    return squares


def scaled_sgd(rates: Tensor, factors: Tensor | None) -> Transform:
    """Return SGD at rates (E, 1), times factors (E, P) where there are any."""
    plain = sgd(rates)
    if factors is None:
        return plain

    def update(gradient: Tensor, state: Any, theta: Tensor) -> tuple[Tensor, Any]:
        return plain.update(gradient * factors, state, theta)

    return Transform(plain.init, update, plain.rate)


def _basis(arm: str, layout: Layout, loss: NetworkLoss, theta: Tensor, plan: Plan) -> Tensor:
    if arm.startswith("random"):
        seeds = range(plan.seeds)
        return random_basis(layout, seeds, plan.sigma, root_seed=plan.root_seed).to(theta.device)
    return ascend(
        layout, loss.gradient(theta)[1], plan.bound, steps=plan.ascent_steps,
        rate=plan.ascent_rate, cap=plan.cap,
    ).tau  # fmt: skip
