"""What a step of SGD and a teleport cost in seconds: medians, for counts to be multiplied by.

Arms are trained one after another, so seconds taken there would tell how busy the machine was then.
Here all kinds of work take turns, and a slow moment falls on one repeat of each.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.optim.train import Batches, minibatches, train
from reproductions.papers.armenta2021teleport import beyond_arms as arms
from reproductions.papers.armenta2021teleport.beyond_arms import Plan
from reproductions.papers.armenta2021teleport.images import Images
from reproductions.problems.mlp import MLP

REPEATS = 5
STEPS = 10  # of SGD in one repeat


class Prices(NamedTuple):
    """Seconds of one network, of as many as there are seeds computed together.

    Fields:
        repeats: of each kind of work; "step" is one minibatch's, "gradient" and "product" (with the
            Hessian) are on the images of a teleport, the others whole teleports at the start.
        level_cost: gradients that one level-set teleport took.
    """

    repeats: dict[str, np.ndarray]
    level_cost: float

    @property
    def step(self) -> float:
        """The median of a step of SGD."""
        return float(np.median(self.repeats["step"]))

    def teleport(self, arm: str, cost: Tensor) -> Tensor:
        """Return the seconds of an arm's teleports, (E,), that took so many gradients."""
        kind = arm.split("_")[0]
        median = float(np.median(self.repeats[kind]))
        return cost * (median / self.level_cost) if kind == "level" else 0 * cost + median


def prices(fitted: Images, plan: Plan) -> Prices:
    """Time every kind of work in turn, after one round that does not count."""
    layout, loss = arms.network(fitted, plan)
    device = fitted.train.device
    theta = layout.initialise(range(plan.seeds), root_seed=plan.root_seed, device=device)
    gradient = loss.gradient(theta)[1]
    works: dict[str, Callable[[], Any]] = {
        "step": functools.partial(_steps, MLP(layout), theta, fitted, plan),
        "gradient": lambda: loss.gradient(theta),
        "product": lambda: loss.product(theta, gradient),
    }
    for kind in ("random", "symmetry", "level"):
        works[kind] = functools.partial(arms.moved, kind, layout, loss, theta, plan=plan)
    level_cost = float(works["level"]()[1].mean())
    taken = [[_seconds(work, device) for work in works.values()] for _ in range(REPEATS + 1)]
    each = np.array(taken[1:]).T / plan.seeds
    each[0] /= STEPS
    return Prices(dict(zip(works, each, strict=True)), level_cost)


def _steps(problem: MLP, theta: Tensor, fitted: Images, plan: Plan) -> None:
    indices = minibatches(len(fitted.train), plan.batch, range(plan.seeds), plan.root_seed)
    rates = torch.full((plan.seeds, 1), 10.0 ** -max(plan.exponents), device=theta.device)
    train(
        problem, arms.scaled_sgd(rates, None), theta,
        Batches(fitted.train, fitted.labels, indices), steps=STEPS, how="eager",
    )  # fmt: skip


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    since = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - since


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
