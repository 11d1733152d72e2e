"""Networks 100-n-10 on 10x10 MNIST: the authors' schedule, its compressed form, and all the runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset, area_average
from reproductions.harness.tables import Rows
from reproductions.optim.first_order import adam, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.train import Batches, Outcome, minibatches, train
from reproductions.problems.mlp import MLP

Progress = Callable[..., None]
SIDE, CLASSES = 10, 10
AUTHORS_RATE = 0.01  # per example, at the start
UNITS = {"train_loss": "nat", "test_loss": "nat", "train_error": "1", "test_error": "1"}


class Pixels(NamedTuple):
    """MNIST at 10x10, pixel / 255, with its labels, on the device."""

    train: Tensor  # (N, 100) float32
    labels: Tensor  # (N,)
    test: Tensor  # (M, 100)
    test_labels: Tensor  # (M,)

    def first(self, images: int) -> Pixels:
        """Keep only the first training images; the test set stays whole."""
        return self._replace(train=self.train[:images], labels=self.labels[:images])


class Plan(NamedTuple):
    """How a network is trained.

    Fields:
        scheme: of the initial weights, see `optim.layout`.
        schedule: "authors" or "compressed".
        epochs: of the authors' schedule; the compressed one takes fewer for the same integral.
    """

    scheme: str
    schedule: str
    epochs: int
    batch: int
    root_seed: int


def pixels(data: Dataset, device: str) -> Pixels:
    """Shrink the images as the authors did and place them on the device."""

    def images(array: np.ndarray) -> Tensor:
        small = area_average(array, SIDE).reshape(len(array), -1) / 255
        return torch.tensor(small, dtype=torch.float32, device=device)

    def labels(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=torch.int64, device=device)

    return Pixels(
        images(data.train_images), labels(data.train_labels),
        images(data.test_images), labels(data.test_labels),
    )  # fmt: skip


def layout(width: int) -> Layout:
    """Return the layout of a network with one hidden layer."""
    return Layout((SIDE * SIDE, width, CLASSES))


def schedule(plan: Plan, per_epoch: int) -> tuple[int, Callable[[Tensor], Tensor]]:
    """Return the number of steps and the learning rate as a multiple of its start.

    The authors' is 1 / (1 + e) after e epochs (`mbhenaff/criticalpoints`, train.lua: 0.01 /
    (1 + t / 60000) at batch 1). "compressed" stays at the start for half its length, then falls
    to zero in a line, and is ln(1 + epochs) / 0.75 epochs long, which makes the integral of the
    rate the same: the gradient flow is followed for the same time.
    """
    if plan.schedule == "authors":
        return plan.epochs * per_epoch, lambda t: 1 / (1 + (t - 1) / per_epoch)
    steps = max(1, round(math.log1p(plan.epochs) / 0.75 * per_epoch))
    return steps, lambda t: torch.clamp(2 * (1 - (t - 1) / steps), max=1.0)


def solve(
    pixels: Pixels,
    width: int,
    seeds: Sequence[int],
    plan: Plan,
    progress: Progress | None = None,
    rates: Sequence[float] = (1.0,),
) -> Outcome:
    """Train one network per seed and rate, each from its own start and in its own order of images.

    Args:
        rates: multiples of the authors' learning rate; networks of one seed at several rates share
            start and order, and stand side by side: seed 0 at every rate, then seed 1.
    """
    members = [seed for seed in seeds for _ in rates]
    # a stream for each member, though several are equal: groups of few members cost more
    indices = minibatches(len(pixels.train), plan.batch, members, plan.root_seed)
    steps, course = schedule(plan, indices.per_epoch)
    theta = layout(width).initialise(
        members, scheme=plan.scheme, root_seed=plan.root_seed, device=pixels.train.device
    )
    multiple = torch.tensor(rates, dtype=torch.float64).repeat(len(seeds))[:, None]
    transform = sgd(AUTHORS_RATE * plan.batch * multiple, schedule=course)
    return train(
        MLP(layout(width)), transform, theta, Batches(pixels.train, pixels.labels, indices),
        steps=steps, progress=progress,
    )  # fmt: skip


def part(progress: Progress, done: float, share: float) -> Progress:
    """Return a progress that fills a share of the whole, from `done` on."""
    return lambda fraction, note="": progress(done + share * fraction, note)


def add_losses(
    rows: Rows, arm: str, pixels: Pixels, width: int, outcome: Outcome, seeds: Sequence[int] | np.ndarray,
    **factors: object,
) -> None:  # fmt: skip
    """Add final training and test loss and error of every member."""
    problem, found = MLP(layout(width)), {}
    for which, inputs, targets in (
        ("train", pixels.train, pixels.labels),
        ("test", pixels.test, pixels.test_labels),
    ):
        loss, error = problem.evaluate(outcome.theta, inputs, targets)
        found |= {f"{which}_loss": loss, f"{which}_error": error}
    # a frozen member's numbers may be finite by accident; they are no results
    status = outcome.status()
    lost = ~torch.stack(list(found.values())).isfinite().all(0).cpu().numpy()
    status = ["diverged: loss is not finite" if bad and said == "ok" else said
              for said, bad in zip(status, lost, strict=True)]  # fmt: skip
    whole = np.array(status) == "ok"
    for quantity, values in found.items():
        rows.add(
            arm=arm, quantity=quantity, value=np.where(whole, values.cpu().numpy(), np.nan),
            seed=np.asarray(seeds), status=status, width=width, **factors,
        )  # fmt: skip


def by_width(
    pixels: Pixels, widths: Sequence[int], seeds: int, plan: Plan, progress: Progress
) -> Rows:
    """Train `seeds` networks of every width."""
    rows, done, total = Rows(UNITS), 0.0, float(sum(widths))
    for width in widths:
        outcome = solve(pixels, width, range(seeds), plan, part(progress, done, width / total))
        add_losses(rows, "sgd", pixels, width, outcome, range(seeds))
        done += width / total
    return rows


def variants(
    pixels: Pixels,
    widths: Sequence[int],
    seeds: int,
    plans: Sequence[Plan],
    rates: Sequence[float],
    progress: Progress,
) -> Rows:
    """Train `seeds` networks of every width by every plan at every rate."""
    rows, cases = Rows(UNITS), [(width, plan) for width in widths for plan in plans]
    done, total = 0.0, float(sum(width for width, _ in cases))
    for width, plan in cases:
        share = part(progress, done, width / total)
        outcome = solve(pixels, width, range(seeds), plan, share, rates)
        add_losses(
            rows, plan.scheme, pixels, width, outcome, np.repeat(np.arange(seeds), len(rates)),
            epochs=plan.epochs, rate=np.tile(np.array(rates), seeds),
        )  # fmt: skip
        done += width / total
    return rows


def to_zero(
    pixels: Pixels,
    widths: Sequence[int],
    seeds: int,
    epochs: int,
    batch: int,
    learning_rate: float,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train by Adam with a step that falls to zero in a line, and report what is still wrong."""
    rows, done, total = Rows(UNITS), 0.0, float(sum(widths))
    for width in widths:
        indices = minibatches(len(pixels.train), batch, range(seeds), root_seed)
        steps = epochs * indices.per_epoch
        transform = adam(
            learning_rate, 0.9, 0.999, eps=1e-8, debias=True,
            schedule=lambda t, steps=steps: 1 - (t - 1) / steps,
        )  # fmt: skip
        theta = layout(width).initialise(
            range(seeds), root_seed=root_seed, device=pixels.train.device
        )
        outcome = train(
            MLP(layout(width)), transform, theta, Batches(pixels.train, pixels.labels, indices),
            steps=steps, progress=part(progress, done, width / total),
        )  # fmt: skip
        add_losses(rows, "adam", pixels, width, outcome, range(seeds), images=len(pixels.train))
        done += width / total
    return rows
