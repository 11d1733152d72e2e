"""Teleports that are chosen, on real images: what they save, and what they cost.

A seed's networks share start and minibatches, whatever the arm and the learning rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.train import Batches, Snapshot, minibatches, train
from reproductions.papers.armenta2021teleport import beyond_arms as arms
from reproductions.papers.armenta2021teleport.beyond_arms import Plan
from reproductions.papers.armenta2021teleport.beyond_timing import Prices, prices
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.problems.mlp import MLP

SPLIT = 44  # the purpose in a generator's key: which images are held out
COSTS = {"level_during": 4.0}  # roughly, against plain training
UNITS = {
    "train_loss": "nat", "validation_loss": "nat", "test_error": "1", "gradients": "1",
    "seconds": "s", "price": "s", "log_norm_gain": "nat", "log_weight_gain": "nat", "loss_rise": "1",
    "exponent_by_train_loss": "1", "exponent_by_validation_loss": "1",
}  # fmt: skip


def compare(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Train every arm at every learning rate.

    An arm's best rate has the least training loss, for that is what is compared; the best on images
    held out is there besides. Seconds are what the prices, each a median, come to.
    """
    rows, fitted, held = Rows(UNITS), *_split(data, plan)
    paid = prices(fitted, plan)
    for kind, seconds in paid.repeats.items():
        rows.add(arm=kind, quantity="price", value=seconds, index=np.arange(len(seconds)))
    total, done = sum(COSTS.get(arm, 1.0) for arm in arms.ARMS), 0.0
    for arm in arms.ARMS:
        progress(done / total, arm)
        _Arm(arm, plan, fitted, held, rows, paid).run()
        done += COSTS.get(arm, 1.0)
    return rows


def _split(data: Images, plan: Plan) -> tuple[Images, Images]:
    """Return the images to fit and those held out; both with the test images."""
    count, held = len(data.train), plan.validation
    if not 1 <= held <= count - plan.batch:
        raise ValueError(f"validation must lie between 1 and {count - plan.batch}, got {held}")
    order = torch.randperm(count, generator=generator(plan.root_seed, 0, SPLIT))
    flat, test = data.train.flatten(1), data.test.flatten(1)
    out, left = order.to(flat.device).split([held, count - held])
    parts = [Images(flat[at], data.labels[at], test, data.test_labels) for at in (left, out)]
    return parts[0], parts[1]


class _Arm:
    """One arm's networks: seed after seed, each with every learning rate."""

    def __init__(
        self, arm: str, plan: Plan, fitted: Images, held: Images, rows: Rows, paid: Prices
    ) -> None:
        self.arm, self.plan, self.fitted, self.held, self.rows = arm, plan, fitted, held, rows
        self.prices, (self.layout, self.loss) = paid, arms.network(fitted, plan)
        self.problem = MLP(self.layout)
        self.share = len(self.loss.inputs) / len(fitted.train)  # of a gradient of all images
        self.seed = np.repeat(np.arange(plan.seeds), len(plan.exponents))
        self.exponent = np.tile(np.array(plan.exponents), plan.seeds)
        device = fitted.train.device
        self.lost = torch.zeros(len(self.seed), dtype=torch.int64)  # update that was not finite
        self.cost = torch.zeros(len(self.seed), dtype=torch.float64, device=device)
        self.courses: dict[str, list[np.ndarray]] = {"train_loss": [], "validation_loss": []}
        self.factors: Tensor | None = None  # (E, P) of the learning rates
        self.seconds = torch.zeros_like(self.cost)

    def run(self) -> None:
        """Train and teleport, and add the rows."""
        plan, device = self.plan, self.fitted.train.device
        theta = self.layout.initialise(range(plan.seeds), root_seed=plan.root_seed, device=device)
        # At the start the networks of a seed are one: it is teleported once, for each to use.
        if self.arm == "random" or self.arm.endswith("start"):
            theta = self._teleported(theta, 0)
        if self.arm.endswith("rates"):
            factors = arms.layer_rates(self.arm, self.layout, self.loss, theta, plan=plan)
            self._pay(arms.gradients(self.arm, theta))
            self.factors = factors.repeat_interleave(len(plan.exponents), 0)
        theta = theta.repeat_interleave(len(plan.exponents), 0)
        moments = {"symmetry_early": plan.early_epochs, "level_during": plan.level_epochs}
        inside = moments.get(self.arm, [])
        self._observe(theta, 0)
        for first, last in _spans(inside, plan.epochs):
            if first in inside:
                theta = self._teleported(theta, first)
            theta = self._trained(theta, first, last)
        error = self.problem.evaluate(theta, self.fitted.test, self.fitted.test_labels)[1]
        self._add("test_error", error, plan.epochs)
        self._choose()

    def _trained(self, theta: Tensor, first: int, last: int) -> Tensor:
        """Train from one epoch to another, all on the minibatches of their seed."""
        plan = self.plan
        count = len(self.fitted.train)
        indices = minibatches(count, plan.batch, range(plan.seeds), plan.root_seed)
        each, batches = indices.per_epoch, Batches(self.fitted.train, self.fitted.labels, indices)
        rates = torch.tensor(10.0**-self.exponent, device=theta.device)[:, None]

        def observe(seen: Snapshot) -> None:
            self.cost += 1.0
            self.seconds += each * self.prices.step
            fresh = (self.lost == 0) & (seen.diverged_at.cpu() > 0)
            self.lost = torch.where(fresh, first * each + seen.diverged_at.cpu(), self.lost)
            self._observe(seen.theta, first + seen.step // each)

        outcome = train(
            self.problem, arms.scaled_sgd(rates, self.factors), theta,
            lambda step: batches(first * each + step), steps=(last - first) * each,
            observe=observe, how="eager",
            record_at=[epoch * each for epoch in range(1, last - first + 1)],
        )  # fmt: skip
        return outcome.theta

    def _teleported(self, theta: Tensor, epoch: int) -> Tensor:
        """Return the networks after a teleport, and add what it did and cost."""
        moved, cost = arms.moved(self.arm, self.layout, self.loss, theta, plan=self.plan)
        repeats = len(self.seed) // len(theta)
        self._pay(cost)
        before, after = self.loss.gradient(theta), self.loss.gradient(moved)
        gain = torch.linalg.vector_norm(after[1], dim=1).log()
        gain -= torch.linalg.vector_norm(before[1], dim=1).log()
        grown = torch.linalg.vector_norm(moved, dim=1).log()
        grown -= torch.linalg.vector_norm(theta, dim=1).log()
        rise = (after[0] - before[0]) / before[0]
        for name, value in (
            ("log_norm_gain", gain), ("log_weight_gain", grown), ("loss_rise", rise),
        ):  # fmt: skip
            self._add(name, value.repeat_interleave(repeats), epoch)
        return moved

    def _observe(self, theta: Tensor, epoch: int) -> None:
        some = slice(self.plan.train_examples)
        fitted, held = self.fitted, self.held
        train_loss, _ = self.problem.evaluate(theta, fitted.train[some], fitted.labels[some])
        held_loss, _ = self.problem.evaluate(theta, held.train, held.labels)
        for name, value in (("train_loss", train_loss), ("validation_loss", held_loss)):
            self.courses[name].append(self._add(name, value, epoch))
        self._add("gradients", self.cost, epoch)
        self._add("seconds", self.seconds, epoch)

    def _pay(self, cost: Tensor) -> None:
        """Count a teleport that took so many gradients, (E,) or one network a seed."""
        each = cost.repeat_interleave(len(self.seed) // len(cost))
        self.cost += each * self.share
        self.seconds += self.prices.teleport(self.arm, each)

    def _add(self, quantity: str, values: Tensor, epoch: int) -> np.ndarray:
        """Add a value of every network, and return them, not finite where training was lost."""
        numbers = values.double().cpu().numpy().copy()  # costs go on growing in place
        words = [
            f"diverged: loss is not finite at step {at}" if at else "ok"
            for at in self.lost.tolist()
        ]
        status = np.where(np.isfinite(numbers), words, f"diverged: {quantity} is not finite")
        self.rows.add(
            arm=self.arm, quantity=quantity, value=numbers, seed=self.seed, step=epoch,
            status=status, exponent=self.exponent,
        )  # fmt: skip
        return np.where(status == "ok", numbers, np.inf)

    def _choose(self) -> None:
        """Add the exponents whose losses have the least mean logarithm over epochs and seeds."""
        plan = self.plan
        for quantity, course in self.courses.items():
            with np.errstate(divide="ignore"):
                areas = np.log(np.stack(course)).mean(0)
            means = areas.reshape(plan.seeds, len(plan.exponents)).mean(0)
            chosen = plan.exponents[int(means.argmin())]
            self.rows.add(
                arm=self.arm, quantity=f"exponent_by_{quantity}", value=chosen,
                seed=np.arange(plan.seeds), exponent=chosen,
            )  # fmt: skip


def _spans(inside: Sequence[int], epochs: int) -> list[tuple[int, int]]:
    """Return the spans of epochs between teleports."""
    ends = sorted({0, epochs, *inside})
    if ends[0] < 0 or ends[-1] > epochs:
        raise ValueError(
            f"epochs of teleports must lie within the epochs, 0 to {epochs}, got {inside}"
        )
    return list(itertools.pairwise(ends))
