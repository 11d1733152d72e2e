"""What public codes of the method do differently, each change as an arm of its own.

The MATLAB package of 2015 puts the ReLU on the output layer too and sums gradients over the
minibatch where the text has no such scale; its step size is fixed at 0.1. The PyTorch repository
of 2018 (bneyshabur/path-sgd) rescales gradients in a loop over a generator that is used up, and
reads kappa from gradients that it never sets back to zero, so that they add up over the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.first_order import momentum
from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_scaling
from reproductions.optim.train import Batches, Outcome, Snapshot, minibatches, train
from reproductions.optim.transform import Transform
from reproductions.papers.neyshabur2015path.networks import (
    STARTS,
    Images,
    Progress,
    part,
    starts,
    told,
    transform,
)
from reproductions.problems.mlp import MLP

UNITS = {"train_loss": "nat", "weight_difference": "1", "step_ratio": "1"}
PACKAGE_STEP = 0.1  # of the MATLAB package
REPOSITORY_STEP, REPOSITORY_MOMENTUM = 0.01, 0.9


class Plan(NamedTuple):
    """How every arm is trained; `alpha` is Path-SGD's, fixed in the configuration."""

    hidden: int
    epochs: int
    batch: int
    seeds: int
    alpha: int
    root_seed: int


class SummedMLP(MLP):
    """The gradient of the sum over a minibatch, not of the mean."""

    def _delta(
        self, logits: Tensor, targets: Tensor, scale: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        return super()._delta(logits, targets, scale * targets.shape[1])


class ClippedMLP(MLP):
    """The ReLU on the outputs too; the gradient passes it as if it were not there."""

    def _forward(self, layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
        outputs = super()._forward(layers, x)
        torch.relu_(outputs[-1])
        return outputs


class RepositoryState(NamedTuple):
    t: Tensor  # ()
    ratio: Tensor  # (E, 1), fixed at the first step
    kappa: Tensor  # (E, P), the sum over steps where they add up
    inner: Any  # of SGD with momentum


def repository(
    layout: Layout, names: Callable[[int], Iterable[int]], lr: float = REPOSITORY_STEP,
    *, accumulate: bool = False,
) -> Transform:  # fmt: skip
    """Return the update of the PyTorch repository: rescaled gradients, then SGD with momentum.

    At the first step the ratio sqrt(sum |g| / sum |g / kappa|^2) over parameters is fixed; then,
    at every step, gradients become g / kappa times the ratio.

    Args:
        names: made once with the number of parameter tensors; what it returns is looped over both
            times. An iterator, as in the repository, is used up by the first loop; a range is not.
        accumulate: kappa is the sum of those of all steps, as in the repository.
    """
    inner, spans = momentum(lr, REPOSITORY_MOMENTUM), list(_spans(layout))
    parameters: list[Iterable[int]] = []

    def init(theta: Tensor) -> RepositoryState:
        parameters[:] = [names(len(spans))]
        ratio = theta.new_ones(len(theta), 1)
        return RepositoryState(
            theta.new_zeros(()), ratio, torch.zeros_like(theta), inner.init(theta)
        )

    def update(
        grad: Tensor, state: RepositoryState, theta: Tensor
    ) -> tuple[Tensor, RepositoryState]:
        kappa, scaled, ratio = path_scaling(layout, theta), grad.clone(), state.ratio
        kappa = kappa + state.kappa if accumulate else kappa
        if state.t == 0:
            ratio = _first_ratio(grad, kappa, [spans[number] for number in parameters[0]])
        for number in parameters[0]:
            own = spans[number]
            scaled[:, own] = grad[:, own] / kappa[:, own] * ratio
        step, moved = inner.update(scaled, state.inner, theta)
        return step, RepositoryState(state.t + 1, ratio, kappa, moved)

    return Transform(init, update, lambda state: inner.rate(state.inner))


def _first_ratio(grad: Tensor, kappa: Tensor, spans: Iterable[slice]) -> Tensor:
    """Return sqrt(sum |g| / sum |g / kappa|^2) over parameters, (E, 1)."""
    size = path_size = grad.new_zeros(len(grad), 1)
    for own in spans:
        size = size + grad[:, own].norm(dim=1, keepdim=True)
        path_size = path_size + (grad[:, own] / kappa[:, own]).square().sum(1, True)
    return (size / path_size).sqrt()


def as_published(count: int) -> Iterator[int]:
    """Return parameters as the repository keeps them: a generator."""
    return (number for number in range(count))


def _spans(layout: Layout) -> Iterator[slice]:
    for layer in layout.layers:
        yield slice(layer.start, layer.bias)
        yield slice(layer.bias, layer.stop)


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Train every arm from both starts."""
    found, layout = Rows(UNITS), data.network(plan.hidden)
    both = starts(layout, range(plan.seeds), plan.root_seed, str(data.train.device))
    theta, rate = both.flatten(0, 1), 10.0**-plan.alpha
    plain, clipped, summed = MLP(layout), ClippedMLP(layout), SummedMLP(layout)

    def same(method: str, size: float) -> Transform:
        return transform(method, layout, [size] * len(theta))

    arms: dict[str, tuple[MLP, Transform]] = {
        "reference": (plain, same("path_sgd", rate)),
        "relu_outputs": (clipped, same("path_sgd", rate)),
        "summed": (summed, same("path_sgd", rate / plan.batch)),
        "default_step": (summed, same("path_sgd", PACKAGE_STEP)),
        "default_step_sgd": (summed, same("sgd", PACKAGE_STEP)),
        "momentum": (plain, momentum(REPOSITORY_STEP, REPOSITORY_MOMENTUM)),
        "generator": (plain, repository(layout, as_published, accumulate=True)),
        "generator_mended": (plain, repository(layout, range, accumulate=True)),
        "mended": (plain, repository(layout, range)),
    }
    outcomes = {}
    for number, (arm, (problem, method)) in enumerate(arms.items()):
        tell = part(progress, number / len(arms), 1 / len(arms))
        outcomes[arm] = _run(problem, method, theta, data, plan, tell)
        _add(found, arm, outcomes[arm], plan)
    _compare(found, outcomes, plan)
    _ratios(found, plain, layout, theta, data, plan)
    return found


def _run(
    problem: MLP, method: Transform, theta: Tensor, data: Images, plan: Plan, progress: Progress
) -> Outcome:
    indices = minibatches(len(data.train), plan.batch, range(plan.seeds), plan.root_seed)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        return {"train_loss": problem.evaluate(seen.theta, data.train, data.labels)[0]}

    marks = [epoch * indices.per_epoch for epoch in range(plan.epochs + 1)]
    return train(
        problem, method, theta, Batches(data.train, data.labels, indices), steps=marks[-1],
        record_at=marks, observe=observe, progress=progress, how="eager",
    )  # fmt: skip


def _add(found: Rows, arm: str, outcome: Outcome, plan: Plan) -> None:
    value = outcome.records["train_loss"].double().numpy()
    found.add(
        arm=arm, quantity="train_loss", value=value, seed=np.repeat(np.arange(plan.seeds), 2),
        step=np.arange(plan.epochs + 1)[:, None], status=told(value, outcome.status_at()),
        start=np.array(STARTS * plan.seeds),
    )  # fmt: skip


def _compare(found: Rows, outcomes: dict[str, Outcome], plan: Plan) -> None:
    """Add the largest difference of a weight between SGD with momentum and the repository's."""
    for arm in ("generator", "mended"):
        gap = (outcomes[arm].theta - outcomes["momentum"].theta).abs().amax(1).double().cpu()
        whole = gap.isfinite().numpy()
        found.add(
            arm=arm, quantity="weight_difference", value=gap.numpy(),
            seed=np.repeat(np.arange(plan.seeds), 2), start=np.array(STARTS * plan.seeds),
            status=np.where(whole, "ok", "diverged: a weight is not finite"),
        )  # fmt: skip


def _ratios(
    found: Rows, problem: MLP, layout: Layout, theta: Tensor, data: Images, plan: Plan
) -> None:
    """Add the ratio that the mended repository fixes at its first step."""
    indices = minibatches(len(data.train), plan.batch, range(plan.seeds), plan.root_seed)
    _, grad = problem.gradient(theta, *Batches(data.train, data.labels, indices)(0))
    method = repository(layout, range)
    _, state = method.update(grad, method.init(theta), theta)
    found.add(
        arm="mended", quantity="step_ratio", value=state.ratio[:, 0].double().cpu(),
        seed=np.repeat(np.arange(plan.seeds), 2), start=np.array(STARTS * plan.seeds),
    )  # fmt: skip
