"""SGD after a teleport against SGD in the original basis with rates of its own for every weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import momentum, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.preconditioned import preconditioned
from reproductions.optim.teleport import random_basis, scaling, teleport
from reproductions.optim.transform import Transform
from reproductions.optim.weight_decay import weight_decay
from reproductions.papers.armenta2021teleport.images import Progress
from reproductions.problems.conjugated_mlp import ConjugatedMLP

EXAMPLES = 63  # the purpose in a generator's key: inputs and labels of the identity
UNITS = {"distance": "1"}
LR, MU, DECAY = 0.02, 0.9, 0.01


class Plan(NamedTuple):
    """How long the identity is followed, on which networks (float64, random data)."""

    widths: tuple[int, ...]
    steps: int
    batch: int
    seeds: int
    sigma: float
    activations: list[str]
    root_seed: int


METHODS: dict[str, Transform] = {
    "sgd": sgd(LR),
    "momentum": momentum(LR, MU),
    "decay": weight_decay(momentum(LR, MU), DECAY),
}


def rows(plan: Plan, progress: Progress) -> Rows:
    """Return the distance of both trajectories in the original basis, |T^-1 V - W| / |W|.

    Arms: `sgd`, `momentum` and `decay` (with momentum) hold the teleported network against rates
    lr / D^2; `plain` holds it against SGD with the rate lr.
    """
    found, layout = Rows(UNITS), Layout(plan.widths)
    for number, activation in enumerate(plan.activations):
        progress(number / len(plan.activations), activation)
        for arm in (*METHODS, "plain"):
            values = _follow(layout, plan, activation, arm)
            found.add(
                arm=arm, quantity="distance", value=values, seed=torch.arange(plan.seeds).numpy(),
                step=torch.arange(plan.steps + 1)[:, None].numpy(), activation=activation,
            )  # fmt: skip
    return found


def _follow(layout: Layout, plan: Plan, activation: str, arm: str) -> Tensor:
    """Return distances (T + 1, E)."""
    seeds = range(plan.seeds)
    tau = random_basis(layout, seeds, plan.sigma, kind="inter", root_seed=plan.root_seed)
    theta = layout.initialise(seeds, scheme="he", root_seed=plan.root_seed, dtype=torch.float64)
    method, factor = METHODS.get(arm, METHODS["sgd"]), scaling(layout, tau)
    other = method if arm == "plain" else preconditioned(method, factor**-2)
    moved = _Walk(layout, tau, activation, method, teleport(layout, theta, tau))
    still = _Walk(layout, torch.ones_like(tau), activation, other, theta)
    distances = [_distance(moved.theta / factor, still.theta)]
    for step in range(plan.steps):
        inputs, targets = _examples(layout, plan, step)
        moved.go(inputs, targets)
        still.go(inputs, targets)
        distances.append(_distance(moved.theta / factor, still.theta))
    return torch.stack(distances)


class _Walk:
    """Hold a network on its way."""

    def __init__(
        self, layout: Layout, tau: Tensor, activation: str, method: Transform, theta: Tensor
    ) -> None:
        self._problem, self._method = ConjugatedMLP(layout, tau, activation), method
        self.theta, self._state = theta, method.init(theta)

    def go(self, inputs: Tensor, targets: Tensor) -> None:
        _, grad = self._problem.gradient(self.theta, inputs, targets)
        step, self._state = self._method.update(grad, self._state, self.theta)
        self.theta = self.theta + step


def _examples(layout: Layout, plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    source = generator(plan.root_seed, step, EXAMPLES)
    shape = (1, plan.batch, layout.widths[0])
    inputs = torch.randn(shape, generator=source, dtype=torch.float64)
    return inputs, torch.randint(layout.widths[-1], shape[:2], generator=source)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).norm(dim=1) / other.norm(dim=1)
