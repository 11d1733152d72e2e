"""Figure 2: Adam and AMSGrad over a grid of step size, beta2 and seed, trained as one ensemble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import adam, amsgrad, by_member
from reproductions.optim.layout import Layout
from reproductions.optim.train import Batches, Outcome, Snapshot, minibatches, train
from reproductions.problems.cifarnet import CifarNet
from reproductions.problems.mlp import MLP

Progress = Callable[..., None]
METHODS = ("adam", "amsgrad")
_DROPOUT = 3  # the purpose in a generator's key
UNITS = {"train_loss": "nat", "test_loss": "nat", "test_error": "1", "batch_loss": "nat"}


class Grid(NamedTuple):
    """What is compared: every method at every (learning rate, beta2), with every seed."""

    learning_rates: list[float]
    beta1: float
    beta2s: list[float]
    eps: float
    seeds: int
    schedule: Callable[[Tensor], Tensor] | None

    def settings(self) -> list[tuple[float, float]]:
        """Return every (learning rate, beta2)."""
        return [(lr, beta2) for lr in self.learning_rates for beta2 in self.beta2s]

    def groups(self) -> list[tuple[str, int]]:
        """Return (method, seed) of each group of members; a group shares its minibatches."""
        return [(method, seed) for method in METHODS for seed in range(self.seeds)]

    def transform(self) -> Any:
        """Return one transform for all members: both methods, every setting."""
        column = np.array(self.settings() * self.seeds)
        lr, beta2 = (torch.from_numpy(column[:, [k]]) for k in (0, 1))
        count = len(column)
        made = [adam(lr, self.beta1, beta2, eps=self.eps, schedule=self.schedule)]
        made.append(amsgrad(lr, self.beta1, beta2, eps=self.eps, schedule=self.schedule))
        return by_member([(slice(0, count), made[0]), (slice(count, 2 * count), made[1])])


class Plan(NamedTuple):
    """How long and on what to train."""

    steps: int
    batch: int
    evaluate_every: int
    train_examples: int
    device: str
    root_seed: int


class _Data(NamedTuple):
    train: Tensor  # (N, D)
    labels: Tensor  # (N,)
    test: Tensor
    test_labels: Tensor


def compare_mlp(
    hidden: list[int], data: Dataset, grid: Grid, plan: Plan, progress: Progress
) -> Rows:
    """Train a fully connected ReLU network; `hidden` may be empty (logistic regression)."""
    tensors = _tensors(data, plan.device)
    layout = Layout((tensors.train.shape[1], *hidden, 10))
    seeds = [seed for _, seed in grid.groups() for _ in grid.settings()]
    theta = layout.initialise(seeds, root_seed=plan.root_seed, device=plan.device)
    return _compare(MLP(layout), theta, tensors, grid, plan, progress)


def compare_cifarnet(data: Dataset, grid: Grid, plan: Plan, progress: Progress) -> Rows:
    """Train the paper's CIFARNET; both methods drop the same units at the same step."""
    sources = [generator(plan.root_seed, seed, _DROPOUT) for _, seed in grid.groups()]
    problem = CifarNet(sources)
    seeds = [plan.root_seed * 1000 + seed for _, seed in grid.groups() for _ in grid.settings()]
    theta = problem.initialise(seeds, device=plan.device)
    return _compare(problem, theta, _tensors(data, plan.device), grid, plan, progress)


def _tensors(data: Dataset, device: str) -> _Data:
    def images(array: np.ndarray) -> Tensor:
        flat = torch.tensor(array).reshape(len(array), -1)
        return (flat.to(torch.float32) / 255).to(device)

    def labels(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(device)

    return _Data(
        images(data.train_images), labels(data.train_labels),
        images(data.test_images), labels(data.test_labels),
    )  # fmt: skip


def _compare(
    problem: Any, theta: Tensor, data: _Data, grid: Grid, plan: Plan, progress: Progress
) -> Rows:
    seeds = [seed for _, seed in grid.groups()]
    indices = minibatches(len(data.train), plan.batch, seeds, plan.root_seed)
    some = min(plan.train_examples, len(data.train))

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        train_loss, _ = problem.evaluate(seen.theta, data.train[:some], data.labels[:some])
        test_loss, test_error = problem.evaluate(seen.theta, data.test, data.test_labels)
        return {
            "train_loss": train_loss, "test_loss": test_loss, "test_error": test_error,
            "batch_loss": seen.loss,
        }  # fmt: skip

    marks = sorted({*range(plan.evaluate_every, plan.steps + 1, plan.evaluate_every), plan.steps})
    outcome = train(
        problem, grid.transform(), theta, Batches(data.train, data.labels, indices),
        steps=plan.steps, record_at=marks, observe=observe, progress=progress,
    )  # fmt: skip
    return _rows(outcome, grid)


def _rows(outcome: Outcome, grid: Grid) -> Rows:
    """Return rows of every member; one that diverged keeps its place and says when."""
    members = [(*group, *setting) for group in grid.groups() for setting in grid.settings()]
    arm, seed, lr, beta2 = (np.array(column) for column in zip(*members, strict=True))
    step = np.array(outcome.steps)[:, None]
    status = np.array(outcome.status_at())
    rows = Rows(UNITS)
    for quantity, values in outcome.records.items():
        finite = np.isfinite(values.numpy())
        said = np.where(finite | (status != "ok"), status, "diverged: value is not finite")
        rows.add(
            arm=arm, quantity=quantity, value=values.numpy(), seed=seed, step=step, status=said,
            learning_rate=lr, beta2=beta2,
        )  # fmt: skip
    return rows
