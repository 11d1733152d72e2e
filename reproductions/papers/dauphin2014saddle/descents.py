"""Figure 3: small networks trained by momentum SGD and by exact second-order methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.second_order import descend
from reproductions.papers.dauphin2014saddle import search as searching
from reproductions.papers.dauphin2014saddle.descent_rows import (
    UNITS,
    Record,
    Size,
    Watch,
    gradients_per_epoch,
    marks,
    statuses,
)
from reproductions.papers.dauphin2014saddle.pixels import Pixels
from reproductions.papers.dauphin2014saddle.search import Found, Search

__all__ = ["Plan", "Search", "compare"]

Progress = Callable[..., None]
CLASSES = 10
SECOND_ORDER, ABLATIONS = ("damped_newton", "saddle_free"), ("gauss_newton", "newton")


class Plan(NamedTuple):
    """How the networks are trained.

    Fields:
        updates_per_epoch: of the second-order methods.
        passes: of momentum SGD over the data set, in an epoch; above 1 where the set is a part of
            the paper's and as many images as there are to make an epoch.
        search: what momentum SGD's settings are drawn from.
    """

    activation: str
    scheme: str
    epochs: int
    updates_per_epoch: int
    passes: int
    dampings: Sequence[float]
    ablations: bool
    search: Search
    root_seed: int


class Looks:
    """What is seen of a run at every epoch.

    Args:
        keep: epochs whose parameters are kept for their curvature.
    """

    def __init__(self, objective: NetworkLoss, device: torch.device, keep: Sequence[int]) -> None:
        self._objective, self._keep, self._watch = objective, set(keep), Watch(device)
        self.loss: list[Tensor] = []
        self.error: list[Tensor] = []
        self.seconds: list[float] = []
        self.kept: dict[int, Tensor] = {}

    def __call__(self, epoch: int, theta: Tensor) -> None:
        """Look at theta (E, P) after an epoch."""
        self.seconds.append(self._watch.stop())
        theta = theta.double()
        self.loss.append(self._objective.loss(theta))
        self.error.append(self._objective.error(theta))
        if epoch in self._keep:
            self.kept[epoch] = theta.clone()
        self._watch.go()

    def add(self, record: Record, per_epoch: float, *, norms: bool) -> None:
        """Add the rows; where every member stopped early, the last look stands for the rest."""
        epochs = np.arange(len(self.loss))
        record.add("train_loss", epochs, torch.stack(self.loss))
        record.add("train_error", epochs, torch.stack(self.error))
        record.add_curvature(self.kept, norms=norms)
        record.add_cost(per_epoch, self.seconds)


def compare(
    seen: Pixels, widths: Sequence[int], seeds: Sequence[int], plan: Plan, progress: Progress
) -> Rows:
    """Train every method from the same starts, width by width.

    The reviewers' ablations are made at the largest width.

    Args:
        seeds: starts of each width.
    """
    rows, jobs = Rows(UNITS), []
    for width, count in zip(widths, seeds, strict=True):
        size = _size(seen, width, count, plan)
        more = ABLATIONS if plan.ablations and width == max(widths) else ()
        jobs += [(size, method) for method in ("momentum", *SECOND_ORDER, *more)]
    for place, (size, method) in enumerate(jobs):
        add = by_momentum if method == "momentum" else by_curvature
        what = f"width {size.width}, {method}"
        add(rows, size, method, plan, _part(progress, place / len(jobs), 1 / len(jobs), what))
    return rows


def _size(seen: Pixels, width: int, count: int, plan: Plan) -> Size:
    layout = Layout((seen.inputs.shape[1], width, CLASSES))
    theta = layout.initialise(
        range(count), scheme=plan.scheme, root_seed=plan.root_seed, dtype=torch.float64,
        device=seen.inputs.device,
    )  # fmt: skip
    objective = NetworkLoss(layout, seen.inputs, seen.labels, activations=plan.activation)
    return Size(width, objective, theta)


def by_curvature(rows: Rows, size: Size, method: str, plan: Plan, progress: Progress) -> None:
    """Descend by a second-order method and add its rows.

    Source: Dauphin et al. 2014, section 7.1 and appendix F.1: exact directions, the damping searched
    at every update. How many images an update sees is not stated; here the k-th of
    `updates_per_epoch` updates of an epoch sees the k-th of as many equal parts of the set.
    """
    each, epochs = plan.updates_per_epoch, plan.epochs
    parts, updates = _parts(size.objective, each), each * epochs
    whole = each == 1 and method != "gauss_newton"  # each update then decomposes what is wanted
    looks = Looks(size.objective, size.theta.device, [epochs] if whole else marks(epochs))

    def observe(step: int, theta: Tensor) -> None:
        if step % each == 0:
            looks(step // each, theta)
            progress(step / updates)

    found = descend(
        lambda step: parts[step % each], size.theta, method, steps=updates,
        dampings=plan.dampings, observe=observe,
    )  # fmt: skip
    for epoch in range(len(looks.loss), epochs + 1):  # where every member had stopped
        looks(epoch, found.theta)
    record = Record(rows, method, size, statuses(epochs, each, found.stopped, updates))
    looks.add(
        record, gradients_per_epoch(method, size.theta.shape[1], len(plan.dampings)), norms=False
    )
    before, after = np.arange(epochs), np.arange(1, epochs + 1)
    record.add("gradient_norm", before, found.gradient_norm[::each])
    record.add("damping", after, found.damping[each - 1 :: each])
    if whole:
        record.add("least_eigenvalue", before, found.least_eigenvalue)


def _parts(objective: NetworkLoss, count: int) -> list[NetworkLoss]:
    """Cut the data set into equal parts, in its own order; a remainder is left out."""
    if count == 1:
        return [objective]
    most = len(objective.inputs) // count
    pairs = zip(objective.inputs.split(most), objective.targets.split(most), strict=True)
    return [objective.on(inputs, labels) for inputs, labels in list(pairs)[:count]]


def by_momentum(rows: Rows, size: Size, method: str, plan: Plan, progress: Progress) -> None:
    """Search the settings of momentum SGD on the first start, and run the best on every start."""
    found = searching.find(
        size.objective, plan.activation, size.theta[:1], plan.search, plan.epochs, plan.root_seed,
        progress,
    )  # fmt: skip
    _add_search(rows, size, found)
    members = range(len(size.theta))
    looks = Looks(size.objective, size.theta.device, marks(plan.epochs))
    outcome = searching.run(
        size.objective, plan.activation, size.theta, [found.best] * len(members), members,
        plan.epochs, plan.passes, range(plan.epochs + 1), plan.root_seed, looks,
    )  # fmt: skip
    per_epoch = plan.passes * (len(size.objective.inputs) // found.best.batch)
    failed = statuses(plan.epochs, per_epoch, outcome.diverged_at, 0)
    spent = plan.passes * gradients_per_epoch(method, 0, 0)
    looks.add(Record(rows, method, size, failed), spent, norms=True)


def _add_search(rows: Rows, size: Size, found: Found) -> None:
    """Add the lowest error of every sample of the search, with its setting."""
    errors = found.errors.numpy()
    status = np.where(np.isfinite(errors), "ok", "diverged: no finite error")
    values = {"search_error": errors}
    for name in found.best._fields:
        values[name] = np.array([getattr(setting, name) for setting in found.settings], float)
    for quantity, numbers in values.items():
        state = status if quantity == "search_error" else "ok"
        rows.add(
            arm="search", quantity=quantity, value=numbers, index=np.arange(len(errors)),
            status=state, width=size.width,
        )  # fmt: skip


def _part(progress: Progress, done: float, share: float, what: str) -> Progress:
    """Return a progress that fills a share of the whole, from `done` on, and says what goes on."""

    def tell(fraction: float, note: str = "") -> None:
        progress(done + share * fraction, f"{what}{', ' * bool(note)}{note}")

    return tell
