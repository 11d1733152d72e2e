"""Figures 2 and 3: the step size by the paper's rule, then SGD, AdaGrad and Path-SGD per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.train import Batches, Observe, Outcome, Snapshot, minibatches, train
from reproductions.papers.neyshabur2015path.networks import (
    METHODS,
    STARTS,
    Images,
    Progress,
    network,
    part,
    starts,
    told,
    transform,
)
from reproductions.problems.dropout_mlp import DropoutMLP
from reproductions.problems.mlp import MLP

DROPOUT, SPLIT = 3, 5  # purposes in a generator's key
SELECTION_SHARE = 0.4  # of the time, roughly
COSTS = {"sgd": 1.0, "adagrad": 2.7, "path_sgd": 1.6}
HALF = 0.5  # decades: how far a finer grid looks to either side of the chosen step size
UNITS = {
    "train_loss": "nat", "train_error": "1", "test_loss": "nat", "test_error": "1",
    "validation_error": "1", "chosen_alpha": "1",
}  # fmt: skip


class Plan(NamedTuple):
    """How the methods are compared.

    Fields:
        validation: images held out while the step size is chosen, of those there are.
        alphas: method -> the exponents alpha of the step sizes 10^-alpha.
        keep: probability with which a hidden unit is kept in training; 1 is no dropout.
        train_examples: training images on which loss and error are evaluated.
    """

    hidden: int
    epochs: int
    batch: int
    seeds: int
    selection_seeds: int
    validation: int
    alphas: dict[str, list[int]]
    keep: float
    train_examples: int
    root_seed: int


class Group(NamedTuple):
    """What one ensemble trains: for every seed, every (start, alpha)."""

    seeds: Sequence[int]
    settings: list[tuple[int, float]]  # number of the start, alpha

    def members(self) -> list[tuple[int, int, float]]:
        """Return (seed, number of the start, alpha) of every member."""
        return [(seed, *setting) for seed in self.seeds for setting in self.settings]


def compare(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Choose the step size of each method and start, then train on all images, epoch by epoch.

    Whole decades are coarse: without dropout SGD and Path-SGD are trained half a decade to either
    side of the choice too, from the balanced start, as arms of their own.
    """
    rows, done = Rows(UNITS), 0.0
    for method in METHODS:
        share = COSTS[method] / sum(COSTS.values())
        tell = part(progress, done, share * SELECTION_SHARE)
        chosen = _choose(rows, method, data, plan, tell)
        done += share * SELECTION_SHARE
        tell = part(progress, done, share * (1 - SELECTION_SHARE))
        _train(rows, method, method, list(chosen.items()), data, plan, tell)
        if plan.keep == 1 and method != "adagrad":
            between = [(0, chosen[0] - HALF), (0, chosen[0] + HALF)]
            _train(rows, f"{method}_between", method, between, data, plan, lambda *_: None)
        done += share * (1 - SELECTION_SHARE)
    return rows


def smallest_soonest(curves: np.ndarray) -> int:
    """Return which curve (A, T) reaches the smallest of all values, the soonest of several.

    A value that is not finite counts as worse than any.

    Source: Neyshabur et al. 2015, experiments, as they are told of: the step size that reaches the
    minimum validation error soonest.
    """
    values = np.where(np.isfinite(curves), curves, np.inf)
    when = np.where(values == values.min(), np.arange(values.shape[1]), values.shape[1])
    return int(when.min(axis=1).argmin())


def _choose(
    rows: Rows, method: str, data: Images, plan: Plan, progress: Progress
) -> dict[int, int]:
    """Return start -> alpha, and add the validation errors that it was chosen by.

    Path-SGD is tried from the balanced start alone: the other would give the same curves.
    """
    tried, alphas = (0,) if method == "path_sgd" else (0, 1), plan.alphas[method]
    group = Group(range(plan.selection_seeds), [(start, a) for start in tried for a in alphas])
    fitted = _split(data, plan)
    problem = _problem(fitted, group, plan)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        _, error = problem.evaluate(seen.theta, fitted.test, fitted.test_labels)
        return {"validation_error": error}

    outcome = _run(
        method, problem, group, fitted, plan, range(1, plan.epochs + 1), observe, progress
    )
    value = _add(rows, method, group, outcome, range(1, plan.epochs + 1))["validation_error"]
    means = value.reshape(plan.epochs, plan.selection_seeds, len(tried), len(alphas)).mean(1)
    found = [alphas[smallest_soonest(means[:, k].T)] for k in range(len(tried))]
    chosen = {number: found[min(number, len(tried) - 1)] for number in range(len(STARTS))}
    for number, best in chosen.items():
        rows.add(arm=method, quantity="chosen_alpha", value=best, start=STARTS[number], alpha=best)
    return chosen


def _split(data: Images, plan: Plan) -> Images:
    """Hold out validation images at random; they stand where test images would."""
    count, held = len(data.train), plan.validation
    if not 1 <= held <= count - plan.batch:
        raise ValueError(f"validation must lie between 1 and {count - plan.batch}, got {held}")
    order = torch.randperm(count, generator=generator(plan.root_seed, 0, SPLIT))
    out, left = order.to(data.train.device).split([held, count - held])
    return Images(data.train[left], data.labels[left], data.train[out], data.labels[out])


def _train(
    rows: Rows, arm: str, method: str, settings: list[tuple[int, float]], data: Images, plan: Plan,
    progress: Progress,
) -> None:  # fmt: skip
    """Train with the given step sizes on all images and add what every epoch gives."""
    group = Group(range(plan.seeds), settings)
    problem, some = _problem(data, group, plan), slice(plan.train_examples)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        train_loss, train_error = problem.evaluate(seen.theta, data.train[some], data.labels[some])
        test_loss, test_error = problem.evaluate(seen.theta, data.test, data.test_labels)
        return {
            "train_loss": train_loss, "train_error": train_error,
            "test_loss": test_loss, "test_error": test_error,
        }  # fmt: skip

    epochs = range(plan.epochs + 1)
    outcome = _run(method, problem, group, data, plan, epochs, observe, progress)
    _add(rows, arm, group, outcome, epochs)


def _problem(data: Images, group: Group, plan: Plan) -> MLP:
    layout = network(data.train.shape[1], plan.hidden)
    if plan.keep == 1:
        return MLP(layout)
    # every method of a seed drops the same units at the same step, from both starts
    return DropoutMLP(
        layout, plan.keep, [generator(plan.root_seed, s, DROPOUT) for s in group.seeds]
    )


def _run(
    method: str, problem: MLP, group: Group, data: Images, plan: Plan, epochs: range,
    observe: Observe, progress: Progress,
) -> Outcome:  # fmt: skip
    """Train every member of a group, those of a seed on the same minibatches."""
    layout = network(data.train.shape[1], plan.hidden)
    indices = minibatches(len(data.train), plan.batch, group.seeds, plan.root_seed)
    both = starts(layout, group.seeds, plan.root_seed, str(data.train.device))
    theta = both[:, [start for start, _ in group.settings]].flatten(0, 1)
    rates = [10.0**-alpha for _, _, alpha in group.members()]
    return train(
        problem, transform(method, layout, rates), theta,
        Batches(data.train, data.labels, indices), steps=plan.epochs * indices.per_epoch,
        record_at=[epoch * indices.per_epoch for epoch in epochs], observe=observe,
        progress=progress,
    )  # fmt: skip


def _add(
    rows: Rows, arm: str, group: Group, outcome: Outcome, epochs: range
) -> dict[str, np.ndarray]:
    """Add what was recorded, (T, E), and return it, not finite where it is no result."""
    seed, start, alpha = (np.array(column) for column in zip(*group.members(), strict=True))
    found = {}
    for quantity, tensor in outcome.records.items():
        value = tensor.double().numpy()
        status = told(value, outcome.status_at())
        found[quantity] = np.where(status == "ok", value, np.nan)
        rows.add(
            arm=arm, quantity=quantity, value=found[quantity], seed=seed,
            step=np.array(epochs)[:, None], status=status,
            start=np.array(STARTS)[start], alpha=alpha,
        )  # fmt: skip
    return found
