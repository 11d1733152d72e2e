"""Simulated annealing of small networks, over real weights and over three values, and SGD beside it.

Annealing follows the authors' code (`MichaelMathieu/simaneal`), its three slips left out: the minus
sign before the temperature, the change of a discrete weight divided by the grid's step, and the
last examples that its test loop drops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.annealing import (
    Annealed,
    Propose,
    anneal,
    gaussian,
    legal_flips,
    legal_start,
    power_cooling,
)
from reproductions.optim.first_order import sgd
from reproductions.optim.train import Batches, Outcome, minibatches, train
from reproductions.papers.choromanska2015loss.training import (
    UNITS,
    Pixels,
    Progress,
    add_losses,
    layout,
    part,
)
from reproductions.problems.mlp import MLP
from reproductions.problems.unitwise import Unitwise
from reproductions.problems.whole_set import WholeSet

LEVELS = (-1.0, 0.0, 1.0)  # "3 values evenly spaced in [-1, 1]"
STAY = 1 / 16  # steps that ternary chains stay at a unit, per weight: long visits cool worse
MARKS = 20  # records along a chain
UNITS_HERE = UNITS | {"best_train_loss": "nat", "acceptance": "1"}


class Cooling(NamedTuple):
    """How chains are annealed: T(i) = temperature / (1 + i^power), i = 0 ... steps - 1."""

    chains: int
    steps: int
    temperature: float
    power: float


class Descent(NamedTuple):
    """The SGD beside annealing: `seeds` networks at a constant `rate` on the mean loss.

    The start is the paper's unit cube, which leaves no hidden unit dead: the published spread of
    narrow networks is that of this start, not of torch's default.
    """

    seeds: int
    epochs: int
    batch: int
    rate: float
    scheme: str


# The authors' reference, in their script but commented out: 0.01 on the summed loss of 16 images.
REFERENCE = Descent(seeds=32, epochs=15, batch=16, rate=0.16, scheme="uniform")


def compare(
    pixels: Pixels,
    widths: Sequence[int],
    cooling: Cooling,
    spread: float,
    descent: Descent,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Anneal networks of every width from the authors' start, and train others by SGD.

    Args:
        spread: standard deviation of what a proposal adds to every weight; a tenth of it after a
            third of the steps.
    """
    rows, done = Rows(UNITS_HERE), 0.0
    costs = [width + 6 for width in widths]  # the softmax costs about as much as six units
    for width, cost in zip(widths, costs, strict=True):
        share = cost / sum(costs)
        _annealed(
            rows, pixels, width, cooling, spread, root_seed, part(progress, done, 0.7 * share)
        )
        _descended(rows, pixels, width, descent, root_seed,
                   part(progress, done + 0.7 * share, 0.3 * share))  # fmt: skip
        done += share
    return rows


def ternary(
    pixels: Pixels, width: int, cooling: Cooling, flips: int, root_seed: int, progress: Progress
) -> Rows:
    """Anneal weights that are -1, 0 or 1, biases too, and train free weights by SGD.

    The paper names neither the width nor what its accuracy is lost against. The baseline is ours:
    SGD by the authors' reference on the same images.

    Args:
        flips: weights that a proposal redraws at first; falls to 1 in a line over a third of the
            steps, where the authors go to a tenth at once.
    """
    rows, seeds = Rows(UNITS_HERE), range(cooling.chains)
    energy = Unitwise(layout(width), pixels.train, pixels.labels, LEVELS)
    start = legal_start(LEVELS, layout(width).parameters, seeds, root_seed)
    found = _anneal(
        energy, start.to(pixels.train.device),
        legal_flips(LEVELS, falling(flips, cooling.steps), energy.groups, STAY),
        cooling, root_seed, part(progress, 0.0, 0.8),
    )  # fmt: skip
    _add(rows, "ternary", pixels, width, found, cooling)
    _descended(rows, pixels, width, REFERENCE, root_seed, part(progress, 0.8, 0.2))
    return rows


def falling(first: int, steps: int) -> Callable[[int], int]:
    """Return a number that falls in a line from `first` to 1 over a third of the steps."""
    return lambda step: max(1, round(first + (1 - first) * 3 * step / max(steps, 1)))


def _annealed(
    rows: Rows, pixels: Pixels, width: int, cooling: Cooling, spread: float, root_seed: int,
    progress: Progress,
) -> None:  # fmt: skip
    """Anneal real weights and add what is found."""
    seeds, late = range(cooling.chains), cooling.steps / 3
    start = layout(width).initialise(seeds, root_seed=root_seed, device=pixels.train.device)
    propose = gaussian(lambda step: spread if step < late else spread / 10)
    energy = WholeSet(layout(width), pixels.train, pixels.labels)
    found = _anneal(energy, start, propose, cooling, root_seed, progress)
    _add(rows, "annealing", pixels, width, found, cooling)


def _anneal(
    energy: WholeSet | Unitwise, start: Tensor, propose: Propose, cooling: Cooling, root_seed: int,
    progress: Progress,
) -> Annealed:  # fmt: skip
    marks = {round(mark * cooling.steps / MARKS) for mark in range(MARKS + 1)}
    return anneal(
        energy, start, propose, steps=cooling.steps,
        temperature=power_cooling(cooling.temperature, cooling.power),
        seeds=range(cooling.chains), root_seed=root_seed, record_at=sorted(marks),
        progress=progress,
    )  # fmt: skip


def _add(
    rows: Rows, arm: str, pixels: Pixels, width: int, found: Annealed, cooling: Cooling
) -> None:
    """Add the best states' losses and errors, the way there, and how much was accepted."""
    seeds = np.arange(cooling.chains)
    never = torch.zeros(cooling.chains, dtype=torch.int64)
    add_losses(rows, arm, pixels, width, Outcome(found.best, [], {}, never), seeds)
    rows.add(arm=arm, quantity="acceptance", value=found.acceptance.cpu(), seed=seeds, width=width)
    course = found.best_course.numpy()
    status = np.where(np.isfinite(course), "ok", "diverged: loss is not finite")
    rows.add(
        arm=arm, quantity="best_train_loss", value=course, seed=seeds,
        step=np.array(found.steps)[:, None], status=status, width=width,
    )  # fmt: skip


def _descended(
    rows: Rows, pixels: Pixels, width: int, descent: Descent, root_seed: int, progress: Progress
) -> None:
    """Train by plain SGD and add what is found."""
    seeds = range(descent.seeds)
    indices = minibatches(len(pixels.train), descent.batch, seeds, root_seed)
    theta = layout(width).initialise(
        seeds, scheme=descent.scheme, root_seed=root_seed, device=pixels.train.device
    )
    outcome = train(
        MLP(layout(width)), sgd(descent.rate), theta, Batches(pixels.train, pixels.labels, indices),
        steps=descent.epochs * indices.per_epoch, progress=progress,
    )  # fmt: skip
    add_losses(rows, "sgd", pixels, width, outcome, seeds)
