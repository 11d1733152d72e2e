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
    "validation_error": "1", "chosen_alpha": "1", "untrained_loss": "nat",
}  # fmt: skip


class Plan(NamedTuple):
    """How the methods are compared.

    Fields:
        validation: images held out while the step size is chosen, of those there are.
        selection_epochs: for how many epochs every step size is tried.
        alphas: method -> the exponents alpha of the step sizes 10^-alpha.
        keep: probability with which a hidden unit is kept in training; 1 is no dropout.
        train_examples: training images on which loss and error are evaluated.
    """

    hidden: int
    epochs: int
    batch: int
    seeds: int
    selection_epochs: int
    validation: int
    alphas: dict[str, list[int]]
    keep: float
    train_examples: int
    root_seed: int


class Group(NamedTuple):
    """What one ensemble trains: seeds 0, 1, ..., each with as many settings."""

    settings: list[list[tuple[int, float]]]  # of a seed: (number of the start, alpha), ...

    @property
    def seeds(self) -> Sequence[int]:
        """Return the seeds."""
        return range(len(self.settings))

    def members(self) -> list[tuple[int, int, float]]:
        """Return (seed, number of the start, alpha) of every member."""
        return [(seed, *one) for seed in self.seeds for one in self.settings[seed]]


def compare(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Choose the step size of each method, seed and start, then train on all images.

    Whole decades are coarse: without dropout SGD and Path-SGD are trained half a decade to either
    side of the choice too, from the balanced start, as arms of their own.
    """
    rows, done = Rows(UNITS), 0.0
    rows.add(arm="equal guesses", quantity="untrained_loss", value=np.log(data.classes))
    for method in METHODS:
        share = COSTS[method] / sum(COSTS.values())
        tell = part(progress, done, share * SELECTION_SHARE)
        chosen = _choose(rows, method, data, plan, tell)
        done += share * SELECTION_SHARE
        tell = part(progress, done, share * (1 - SELECTION_SHARE))
        _train(rows, [method] * len(STARTS), method, [[*enumerate(own)] for own in chosen], data,
               plan, tell)  # fmt: skip
        if plan.keep == 1 and method != "adagrad":
            between = [[(0, own[0] - HALF), (0, own[0] + HALF)] for own in chosen]
            arms = [f"{method}_larger", f"{method}_smaller"]
            _train(rows, arms, method, between, data, plan, lambda *_: None)
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
) -> list[list[int]]:
    """Return the alphas [seed][start], and add the validation errors that they were chosen by.

    Every seed is an unbalanced start of its own, so each gets a choice of its own there; balanced
    starts differ by chance alone and share one, by the mean over seeds. Path-SGD is tried from the
    balanced start alone: the other would give the same curves.
    """
    tried, alphas = (0,) if method == "path_sgd" else (0, 1), plan.alphas[method]
    group = Group([[(start, a) for start in tried for a in alphas]] * plan.seeds)
    fitted = _split(data, plan)
    problem = _problem(fitted, group, plan)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        _, error = problem.evaluate(seen.theta, fitted.test, fitted.test_labels)
        return {"validation_error": error}

    epochs = range(1, plan.selection_epochs + 1)
    outcome = _run(method, problem, group, fitted, epochs, plan, observe, progress)
    value = _add(rows, [method] * len(group.settings[0]), group, outcome, epochs)
    tries = value["validation_error"].reshape(len(epochs), plan.seeds, len(tried), len(alphas))
    shared = alphas[smallest_soonest(tries[:, :, 0].mean(1).T)]
    chosen = [[shared, shared] for _ in group.seeds]
    for seed in group.seeds if len(tried) > 1 else ():
        chosen[seed][1] = alphas[smallest_soonest(tries[:, seed, 1].T)]
    best = np.array(chosen)  # (S, 2)
    rows.add(arm=method, quantity="chosen_alpha", value=best, seed=np.array(group.seeds)[:, None],
             start=np.array(STARTS), alpha=best)  # fmt: skip
    return chosen


def _split(data: Images, plan: Plan) -> Images:
    """Hold out validation images at random; they stand where test images would."""
    count, held = len(data.train), plan.validation
    if not 1 <= held <= count - plan.batch:
        raise ValueError(f"validation must lie between 1 and {count - plan.batch}, got {held}")
    order = torch.randperm(count, generator=generator(plan.root_seed, 0, SPLIT))
    out, left = order.to(data.train.device).split([held, count - held])
    return data._replace(
        train=data.train[left], labels=data.labels[left],
        test=data.train[out], test_labels=data.labels[out],
    )  # fmt: skip


def _train(
    rows: Rows, arms: list[str], method: str, settings: list[list[tuple[int, float]]],
    data: Images, plan: Plan, progress: Progress,
) -> None:  # fmt: skip
    """Train with the given step sizes on all images and add what every epoch gives."""
    group = Group(settings)
    problem, some = _problem(data, group, plan), slice(plan.train_examples)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        train_loss, train_error = problem.evaluate(seen.theta, data.train[some], data.labels[some])
        test_loss, test_error = problem.evaluate(seen.theta, data.test, data.test_labels)
        return {
            "train_loss": train_loss, "train_error": train_error,
            "test_loss": test_loss, "test_error": test_error,
        }  # fmt: skip

    epochs = range(plan.epochs + 1)
    outcome = _run(method, problem, group, data, epochs, plan, observe, progress)
    _add(rows, arms, group, outcome, epochs)


def _problem(data: Images, group: Group, plan: Plan) -> MLP:
    layout = data.network(plan.hidden)
    if plan.keep == 1:
        return MLP(layout)
    # every method of a seed drops the same units at the same step, from both starts
    return DropoutMLP(
        layout, plan.keep, [generator(plan.root_seed, s, DROPOUT) for s in group.seeds]
    )


def _run(
    method: str, problem: MLP, group: Group, data: Images, epochs: range, plan: Plan,
    observe: Observe, progress: Progress,
) -> Outcome:  # fmt: skip
    """Train every member of a group, those of a seed on the same minibatches."""
    layout = data.network(plan.hidden)
    indices = minibatches(len(data.train), plan.batch, group.seeds, plan.root_seed)
    both = starts(layout, group.seeds, plan.root_seed, str(data.train.device))
    seed, start, alphas = zip(*group.members(), strict=True)
    theta, rates = both[list(seed), list(start)], [10.0**-alpha for alpha in alphas]
    return train(
        problem, transform(method, layout, rates), theta,
        Batches(data.train, data.labels, indices), steps=epochs[-1] * indices.per_epoch,
        record_at=[epoch * indices.per_epoch for epoch in epochs], observe=observe,
        progress=progress,
    )  # fmt: skip


def _add(
    rows: Rows, arms: list[str], group: Group, outcome: Outcome, epochs: range
) -> dict[str, np.ndarray]:
    """Add what was recorded, (T, E), and return it, not finite where it is no result.

    Args:
        arms: of the settings of a seed, in their order.
    """
    seed, start, alpha = (np.array(column) for column in zip(*group.members(), strict=True))
    found = {}
    for quantity, tensor in outcome.records.items():
        value = tensor.double().numpy()
        status = told(value, outcome.status_at())
        found[quantity] = np.where(status == "ok", value, np.nan)
        rows.add(
            arm=arms * len(group.seeds), quantity=quantity, value=found[quantity], seed=seed,
            step=np.array(epochs)[:, None], status=status,
            start=np.array(STARTS)[start], alpha=alpha,
        )  # fmt: skip
    return found
