"""The mean of the minibatches' gradients against their root mean square, along training."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.optim.adaptive import adam
from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.train import Batches, Snapshot, minibatches, train
from reproductions.optim.transform import Transform
from reproductions.optim.trust_region import averaged_ball
from reproductions.problems.mlp import MLP

Progress = Callable[..., None]
UNITS = {"loss": "nat", "norm_ratio": "1", "coordinate_median": "1", "bound_excess": "1",
         "density": "1", "minibatches": "1"}  # fmt: skip
_SEED_OF_PARTITION = 1 << 20  # beyond every member's seed: the minibatches of the measurement
_TOGETHER = 25  # minibatches whose gradients are held at once
BINS = 40  # of |E g| / sqrt(E g^2) in [0, 1]


class Plan(NamedTuple):
    """The network and its training."""

    width: int
    seeds: int
    epochs: int
    batch: int
    sgd_rate: float
    adam_rate: float
    ball_rate: float
    records: int
    root_seed: int


class Moments(NamedTuple):
    """Moments over the minibatches of one pass through the data, of every member."""

    mean: Tensor  # (E, P), E g: the gradient of the whole loss
    square: Tensor  # (E, P), E g^2
    loss: Tensor  # (E,)


def course(data: Dataset, images: int, plan: Plan, device: str, progress: Progress) -> Rows:
    """Train by SGD, by Adam and by the ball's step for the mean gradient, and take the moments."""
    pixels = np.asarray(data.train_images[:images]).reshape(images, -1)
    inputs = torch.tensor(pixels, dtype=torch.float32, device=device) / 255
    labels = torch.tensor(data.train_labels[:images], dtype=torch.int64, device=device)
    rows = Rows(UNITS)
    rows.add(arm="data", quantity="minibatches", value=images // plan.batch)
    methods = {
        "sgd": sgd(plan.sgd_rate),
        "adam": adam(plan.adam_rate, 0.9, 0.999, eps=1e-8, debias=True),
        "averaged_ball": averaged_ball(plan.ball_rate, 0.9),
    }
    for place, (name, transform) in enumerate(methods.items()):

        def told(fraction: float, note: str = "", place: int = place) -> None:
            progress((place + fraction) / len(methods), note)

        _one(rows, name, transform, inputs, labels, plan, told)
    return rows


def _one(
    rows: Rows,
    name: str,
    transform: Transform,
    inputs: Tensor,
    labels: Tensor,
    plan: Plan,
    progress: Progress,
) -> None:
    """Train one method and add what its records hold."""
    layout, seeds = Layout((inputs.shape[1], plan.width, 10)), range(plan.seeds)
    problem = MLP(layout)
    indices = minibatches(len(inputs), plan.batch, seeds, plan.root_seed)
    steps = plan.epochs * indices.per_epoch
    marks = record_steps(steps, plan.records)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        found = moments(problem, seen.theta, inputs, labels, plan.batch, plan.root_seed)
        return {"loss": found.loss, **statistics(found)}

    theta = layout.initialise(seeds, root_seed=plan.root_seed, device=inputs.device)
    outcome = train(
        problem, transform, theta, Batches(inputs, labels, indices),
        steps=steps, record_at=marks, observe=observe, progress=progress,
    )  # fmt: skip
    for quantity, values in outcome.records.items():
        _add(rows, name, quantity, values.to(torch.float64).numpy(), marks, plan)


def _add(
    rows: Rows, name: str, quantity: str, values: np.ndarray, marks: list[int], plan: Plan
) -> None:
    """Add records (T, E) or, of a histogram, (T, E, bins); only the first and last of those."""
    at, seeds = np.array(marks), np.arange(plan.seeds)
    if values.ndim == 2:
        rows.add(arm=name, quantity=quantity, value=values, step=at[:, None], seed=seeds)
        return
    kept = sorted({0, len(marks) // 2, len(marks) - 1})
    rows.add(arm=name, quantity=quantity, value=values[kept], step=at[kept][:, None, None],
             seed=seeds[:, None], index=np.arange(values.shape[2]))  # fmt: skip


def record_steps(steps: int, records: int) -> list[int]:
    """Return 0 and steps 1 ... `steps` that are even in the logarithm."""
    ahead = np.geomspace(1, steps, records - 1).round().astype(int)
    return sorted({0, *ahead.tolist()})


def moments(
    problem: MLP, theta: Tensor, inputs: Tensor, labels: Tensor, batch: int, root_seed: int
) -> Moments:
    """Take the moments over one partition of the data into minibatches.

    Every example stands in one minibatch, so the mean is the full gradient exactly, without the
    floor 1/sqrt(number of minibatches) that independent draws leave; examples over are left out.
    """
    order = minibatches(len(inputs), batch, [_SEED_OF_PARTITION], root_seed)
    count = order.per_epoch
    mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
    loss = theta.new_zeros(len(theta))
    for first in range(0, count, _TOGETHER):
        chosen = torch.cat([order(k) for k in range(first, min(first + _TOGETHER, count))])
        chosen = chosen.to(inputs.device)
        for member in range(len(theta)):
            many = theta[member].expand(len(chosen), -1).contiguous()
            value, gradient = problem.gradient(many, inputs[chosen], labels[chosen])
            loss[member] += value.sum() / count
            mean[member] += gradient.sum(0) / count
            square[member] += (gradient**2).sum(0) / count
    return Moments(mean, square, loss)


def statistics(found: Moments) -> dict[str, Tensor]:
    """Return ratios of mean to root mean square: of the whole vector, and by coordinate.

    Coordinates that no minibatch has a gradient in (idle pixels, dead units) say nothing and are
    left out of the median and of the histogram.
    """
    root, size = found.square.sqrt(), found.mean.abs()
    ratio = torch.where(root > 0, size / root, torch.nan)
    whole = torch.linalg.vector_norm(found.mean, dim=1) / found.square.sum(1).sqrt()
    return {
        "norm_ratio": whole,
        "coordinate_median": ratio.nanmedian(1).values,
        "bound_excess": torch.where(root > 0, ratio - 1, -1.0).amax(1),
        "density": torch.stack([_density(one[one.isfinite()]) for one in ratio]),
    }


def _density(ratios: Tensor) -> Tensor:
    places = (ratios * BINS).long().clamp(0, BINS - 1)
    return torch.bincount(places, minlength=BINS) / max(1, len(ratios))
