"""Deep autoencoders: momentum, then Krylov saddle-free Newton beside momentum that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.curvature import extreme_eigenvalues
from reproductions.optim.device import generator
from reproductions.optim.krylov import krylov_step
from reproductions.optim.layout import INITIALISATION, Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.papers.dauphin2014saddle.momentum_runs import Place, Plan, Runs
from reproductions.papers.dauphin2014saddle.pixels import Pixels

Progress = Callable[..., None]
UNITS = {
    "squared_error": "1", "loss": "nat", "gradient_norm": "nat", "least_eigenvalue": "nat",
    "eigenvalue_bound": "nat",
}  # fmt: skip
INCOMING = 15  # weights of a unit that are not zero at the start
SLICES, PROBE = 11, 12  # purposes in a generator's key: order of images, start of Lanczos
LONGER = "momentum_longer"  # the arm that goes on for as long as saddle-free Newton computes
POINTS = 30  # epochs recorded before the runs part, at most


class Stages(NamedTuple):
    """How long the parts of a run last, in epochs.

    Fields:
        epochs: of momentum, before the ways part.
        lowered_for: the last of these, in which the mass is lowered.
        last: of each way after that.
        marks: at which gradient and curvature are measured, beside the ends.
        equal_cost: whether momentum also goes on until it has cost as much as saddle-free Newton.
    """

    epochs: int
    lowered_for: int
    last: int
    marks: Sequence[int]
    equal_cost: bool


class Krylov(NamedTuple):
    """How saddle-free Newton goes on; see `optim.krylov`.

    Fields:
        images: of an update, which takes the next slice of a fixed order of them.
        updates: of an epoch.
    """

    vectors: int
    inner_steps: int
    images: int
    dampings: Sequence[float]
    updates: int

    def passes(self, images: int) -> float:
        """Return the cost of an epoch in gradients of all images.

        A product with the Hessian counts as two gradients, a loss as a third of one.
        """
        losses = self.inner_steps * len(self.dampings)
        gradients = self.inner_steps + 2 * self.vectors + losses / 3
        return self.updates * gradients * self.images / images


class Standings:
    """Write down where runs stand.

    Args:
        loss: over all images.
        sample: the images at which curvature is measured.
        products: Hessian-vector products spent on an eigenvalue.
    """

    def __init__(
        self, loss: NetworkLoss, sample: int, products: int, seeds: Sequence[int], root_seed: int
    ) -> None:
        self.rows, self._seeds = Rows(UNITS), np.array(seeds)
        self._loss, self._root_seed, self._products = loss, root_seed, products
        self._sample = loss.on(loss.inputs[:sample], loss.inputs[:sample])

    def errors(self, arm: str, place: Place, passes: float) -> None:
        """Add squared error and loss over all images."""
        found = {
            "squared_error": self._loss.squared_error(place.theta),
            "loss": self._loss.loss(place.theta),
        }
        self._add(arm, place, found, passes)

    def curvature(self, arm: str, place: Place, passes: float) -> None:
        """Add the gradient's norm over all images, the least eigenvalue over the sample."""
        theta, source = place.theta.double(), generator(self._root_seed, 0, PROBE)
        ends = extreme_eigenvalues(
            self._sample.linearise(theta), theta, min(self._products, theta.shape[1]), source
        )
        found = {
            "gradient_norm": torch.linalg.vector_norm(self._loss.gradient(theta)[1], dim=1),
            "least_eigenvalue": ends.smallest,
            "eigenvalue_bound": ends.smallest_bound,
        }
        self._add(arm, place, found, passes)

    def _add(self, arm: str, place: Place, found: dict[str, Tensor], passes: float) -> None:
        for quantity, numbers in found.items():
            value = numbers.double().cpu().numpy()
            status = [
                _status(int(step), bool(np.isfinite(one)))
                for step, one in zip(place.lost, value, strict=True)
            ]
            value = np.where(np.array(status) == "ok", value, np.nan)
            self.rows.add(
                arm=arm, quantity=quantity, value=value, seed=self._seeds, step=place.epoch,
                status=status, passes=passes,
            )  # fmt: skip


def _status(lost: int, finite: bool) -> str:
    if lost:
        return f"diverged: loss is not finite at step {lost}"
    return "ok" if finite else "diverged: not finite"


def compare(
    pixels: Pixels,
    hidden: Sequence[int],
    seeds: int,
    stages: Stages,
    plan: Plan,
    krylov: Krylov,
    products: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train from every seed, then go on from the same state in both ways (Figure 4 a, b).

    Args:
        hidden: widths of the encoder, the code last; the decoder mirrors it.
    """
    images = pixels.inputs.to(torch.float32)
    loss, members = reconstruction(images, hidden), list(range(1, seeds + 1))
    standings = Standings(loss, krylov.images, products, members, root_seed)
    runs = Runs(loss, plan, members, root_seed)
    walk = Walk(runs, standings, stages)
    theta = sparse(loss.layout, members, root_seed).to(images)
    place = Place(0, theta, None, torch.zeros(seeds, dtype=torch.int64))
    place = walk.go(place, stages.epochs, part(progress, 0.0, 0.3))
    walk.go(place, stages.last, part(progress, 0.3, 0.35))
    _saddle_free(loss, place, krylov, stages, standings, root_seed, part(progress, 0.35, 0.6))
    if stages.equal_cost:
        longer = max(stages.last, round(stages.last * krylov.passes(len(images))))
        walk.go(place, longer, part(progress, 0.6, 1.0), LONGER)
    return standings.rows


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a progress that fills the whole from `start` to `stop`."""
    return lambda fraction, note="": progress(start + (stop - start) * fraction, note)


def reconstruction(images: Tensor, hidden: Sequence[int]) -> NetworkLoss:
    """Return the cross-entropy of an autoencoder's logistic outputs, summed over pixels.

    Source: the authors' training script. The code layer is linear, all other units are logistic.
    """
    widths = (images.shape[1], *hidden, *hidden[-2::-1], images.shape[1])
    activations = ["sigmoid"] * (len(widths) - 2)
    activations[len(hidden) - 1] = "linear"
    return NetworkLoss(Layout(widths), images, images, activations=activations, head="bernoulli")


def sparse(layout: Layout, seeds: Sequence[int], root_seed: int) -> Tensor:
    """Draw theta (E, P) float64: a unit has INCOMING standard normal weights, all else is zero.

    Source: Dauphin et al. 2014, appendix F.2, which follows Sutskever et al. 2013. A unit with
    fewer inputs has a weight for each.
    """
    theta = torch.zeros(len(seeds), layout.parameters, dtype=torch.float64)
    for member, seed in enumerate(seeds):
        source = generator(root_seed, seed, INITIALISATION)
        for weight, _ in layout.views(theta[member : member + 1]):
            fan_in, fan_out = weight.shape[1:]
            count = min(INCOMING, fan_in)
            for unit in range(fan_out):
                chosen = torch.randperm(fan_in, generator=source)[:count]
                weight[0, chosen, unit] = torch.randn(count, generator=source, dtype=theta.dtype)
    return theta


class Walk:
    """Go on with momentum, and write down where it stands.

    Errors at some epochs; for the plain runs also curvature, at the marks and the ends.
    """

    def __init__(self, runs: Runs, standings: Standings, stages: Stages) -> None:
        self._runs, self._standings, self._stages = runs, standings, stages

    def go(self, place: Place, epochs: int, progress: Progress, arm: str = "momentum") -> Place:
        """Train on; after the ways have parted, with the mass lowered in the last epochs.

        However long it goes on, these are as many as saddle-free Newton has.
        """
        first, last, stages = place.epoch, place.epoch + epochs, self._stages
        lowered = last - (stages.last if first else stages.lowered_for)
        marks = {mark for mark in stages.marks if first < mark <= last}
        marks |= {mark for mark in (lowered, last) if mark > first}

        def observe(now: Place) -> None:
            self._standings.errors(arm, now, now.epoch)
            if now.epoch in marks and arm == "momentum":
                self._standings.curvature(arm, now, now.epoch)

        at = sorted(marks | recorded(first, last))
        return self._runs.go(place, epochs, lowered, observe, at, progress)


def recorded(first: int, last: int) -> set[int]:
    """Return epochs after the first: about POINTS of them, evenly in their logarithm."""
    spaced = np.geomspace(max(first, 1), last, POINTS).round().astype(int).tolist()
    return {epoch for epoch in spaced if epoch > first} | ({0} if first == 0 else set())


def _saddle_free(
    loss: NetworkLoss, place: Place, krylov: Krylov, stages: Stages, standings: Standings,
    root_seed: int, progress: Progress,
) -> None:  # fmt: skip
    """Go on with saddle-free Newton, and write down errors at every epoch, curvature at the end."""
    images, start = loss.inputs, place.epoch
    order = torch.randperm(len(images), generator=generator(root_seed, 0, SLICES))
    order, cost, before = order.to(images.device), krylov.passes(len(images)), None
    standings.errors("saddle_free", place, start)
    for epoch in range(stages.last):
        for update in range(krylov.updates):
            first = (epoch * krylov.updates + update) * krylov.images
            own = images[order.roll(-first)[: krylov.images]]
            step = krylov_step(
                loss.on(own, own), place.theta, before, vectors=krylov.vectors,
                inner_steps=krylov.inner_steps, dampings=krylov.dampings,
            )  # fmt: skip
            place, before = place._replace(theta=step.theta), step.update
        place = place._replace(epoch=start + epoch + 1)
        standings.errors("saddle_free", place, start + (epoch + 1) * cost)
        progress((epoch + 1) / stages.last, f"saddle-free epoch {epoch + 1} of {stages.last}")
    standings.curvature("saddle_free", place, start + stages.last * cost)
