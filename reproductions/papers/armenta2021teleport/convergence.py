"""Figures 6, 8, 9 and 10: training after one teleport at the start, and after its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.plateau import Plateau
from reproductions.optim.teleport import conjugated
from reproductions.optim.train import Batches, Observe, Outcome, Snapshot, minibatches, train
from reproductions.optim.transform import Transform, check_hyper
from reproductions.papers.armenta2021teleport.convergence_starts import Start, starts
from reproductions.papers.armenta2021teleport.convergence_update import Part, in_place
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.papers.armenta2021teleport.images import images as place
from reproductions.problems.conjugated_mlp import ConjugatedMLP

__all__ = ["Plan", "compare", "output_spread", "place", "settings", "split"]

CLASSES = 10
SPLIT = 62  # the purpose in a generator's key: which images are held out
ABLATED = ("plain", "teleported")  # arms that are trained without weight decay too
NARROW = ("equal_mean",)  # arms that are trained at `rates` alone
UNITS = {
    "test_accuracy": "1", "validation_accuracy": "1", "train_loss": "nat", "cuts": "1",
    "output_spread": "1",
}  # fmt: skip

SPREAD_IMAGES = 100


class Plan(NamedTuple):
    """How the arms are compared.

    Fields:
        hidden, depth: units a layer, hidden layers.
        validation: images held out; the rate falls, and the best one is chosen, by them.
        rates: those that are pooled, the authors' at full scale.
        wider_rates, wider_momentum_rates: ours, of SGD and of SGD with momentum.
        decays: of weights, the first for all arms, others for ABLATED alone.
        momentum: mu of the second optimiser; the first has none.
        patience: the rate falls by ten after more epochs than this without a new best validation
            accuracy; from epochs - 1 on it never does.
        shown: epochs at which accuracies are taken; all where empty.
    """

    hidden: int
    depth: int
    epochs: int
    batch: int
    seeds: int
    validation: int
    arms: list[str]
    rates: list[float]
    wider_rates: list[float]
    wider_momentum_rates: list[float]
    decays: list[float]
    momentum: float
    sigma: float
    patience: int
    shown: list[int]
    root_seed: int

    @property
    def falls(self) -> bool:
        """Return whether any rate can fall."""
        return self.patience < self.epochs - 1

    def taken(self) -> dict[str, list[int]]:
        """Return the epochs at which each quantity is taken."""
        shown = sorted(set(self.shown)) or list(range(self.epochs + 1))
        seen = list(range(self.epochs + 1)) if self.falls else sorted({0, *shown, self.epochs})
        return {
            "test_accuracy": shown, "validation_accuracy": shown, "train_loss": seen[1:],
            "cuts": [self.epochs], "output_spread": [0],
        }  # fmt: skip


class Setting(NamedTuple):
    """What one member of a seed is."""

    arm: str
    optimiser: str
    lr: float
    decay: float


def compare(
    data: Images, plan: Plan, activations: Sequence[str], initialisers: Sequence[str],
    progress: Progress,
) -> Rows:  # fmt: skip
    """Train every arm from every initialiser with every activation and add each epoch's numbers."""
    check_hyper(
        learning_rates=torch.tensor(plan.rates),
        wider_learning_rates=torch.tensor(plan.wider_rates + plan.wider_momentum_rates),
    )
    rows, cases = Rows(UNITS), list(product(activations, initialisers))
    for number, (activation, scheme) in enumerate(cases):
        done, share = number / len(cases), 1 / len(cases)

        def tell(fraction: float, note: str = "", done: float = done, share: float = share) -> None:
            progress(done + share * fraction, note)

        _add(rows, plan, activation, scheme, _train(data, plan, activation, scheme, tell))
    return rows


def settings(plan: Plan) -> list[Setting]:
    """Return the members of a seed; those of an arm stand together."""
    wider, found = {"sgd": plan.wider_rates, "momentum": plan.wider_momentum_rates}, []
    for number, decay in enumerate(plan.decays):
        for arm in (one for one in plan.arms if number == 0 or one in ABLATED):
            for optimiser, more in wider.items():
                rates = sorted({*plan.rates, *([] if arm in NARROW else more)})
                found += [Setting(arm, optimiser, lr, decay) for lr in rates]
    return found


def _train(data: Images, plan: Plan, activation: str, scheme: str, progress: Progress) -> Outcome:
    """Train all members of all seeds, those of a seed on the same minibatches."""
    fitted, held = split(data, plan.validation, plan.root_seed)
    layout = Layout((data.train[0].numel(), *[plan.hidden] * plan.depth, CLASSES))
    seeds, each = range(plan.seeds), settings(plan)
    begun = starts(layout, plan.arms, seeds, scheme, plan.sigma, plan.root_seed)
    whole = [begun[one.arm] for _ in seeds for one in each]
    numbers = [seed for seed in seeds for _ in each]
    pairs = list(zip(whole, numbers, strict=True))
    theta = torch.stack([start.theta[seed].to(data.train) for start, seed in pairs])
    tau = torch.stack([start.tau[seed] for start, seed in pairs])
    problem = ConjugatedMLP(layout, tau, activation)
    falling = Plateau(len(theta), patience=plan.patience, device=data.train.device)
    indices = minibatches(len(fitted.train), plan.batch, seeds, plan.root_seed)
    spread = partial(output_spread, layout, tau=tau, activation=activation)
    observe = _observer(problem, data, held, plan, falling, indices.per_epoch, spread)
    seen = {epoch for epochs in plan.taken().values() for epoch in epochs}
    return train(
        problem, _transform(begun, each, plan, falling), theta,
        Batches(fitted.train.flatten(1), fitted.labels, indices),
        steps=plan.epochs * indices.per_epoch,
        record_at=[epoch * indices.per_epoch for epoch in seen],
        observe=observe, progress=progress, how="eager",
    )  # fmt: skip


def _observer(
    problem: ConjugatedMLP, data: Images, held: Images, plan: Plan, falling: Plateau, steps: int,
    spread: Callable[[Tensor, Tensor], Tensor],
) -> Observe:  # fmt: skip
    """Return what takes each quantity at its epochs of so many steps, and lets the rates fall."""
    taken = plan.taken()
    tests, helds = ((one.flatten(1), labels) for one, labels in
                    ((data.test, data.test_labels), (held.train, held.labels)))  # fmt: skip

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        epoch, found = seen.step // steps, {}
        if epoch in taken["validation_accuracy"] or plan.falls:
            found["validation_accuracy"] = 1 - problem.evaluate(seen.theta, *helds)[1]
        if plan.falls and epoch:
            falling.see(found["validation_accuracy"])
        if epoch in taken["test_accuracy"]:
            found["test_accuracy"] = 1 - problem.evaluate(seen.theta, *tests)[1]
        if epoch == 0:
            some = held.train[:SPREAD_IMAGES].flatten(1)
            found["output_spread"] = spread(seen.theta, some)
        found |= {"train_loss": seen.loss, "cuts": -falling.multiplier[:, 0].log10()}
        return {name: value for name, value in found.items() if epoch in taken[name]}

    return observe


def output_spread(
    layout: Layout, theta: Tensor, inputs: Tensor, tau: Tensor, activation: str
) -> Tensor:
    """Return (E,) how far outputs are from their mean over inputs (N, D), root mean square."""
    layers, values = layout.views(theta), inputs.expand(len(theta), -1, -1)
    factors = tau.to(theta).split(list(layout.widths[1:-1]), 1)
    for (weight, bias), own in zip(layers[:-1], factors, strict=True):
        values = conjugated(activation, values @ weight + bias[:, None], own)
    outputs = values @ layers[-1][0]
    return (outputs - outputs.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()


def _transform(
    begun: dict[str, Start], each: list[Setting], plan: Plan, falling: Plateau
) -> Transform:
    """Return the update of all members, piece by piece: what a step writes then stays in cache."""
    parts, first = [], 0
    for seed in range(plan.seeds):
        for (arm, optimiser), own in _runs(each):
            span = slice(first, first + len(own))
            first = span.stop
            lr, decay = (
                torch.tensor(column, dtype=torch.float64)[:, None]
                for column in zip(*((one.lr, one.decay) for one in own), strict=True)
            )
            mu, scale = plan.momentum * (optimiser == "momentum"), begun[arm].scale
            parts.append(Part(span, lr, mu, decay, None if scale is None else scale[seed][None]))
    return in_place(parts, falling)


def _runs(each: list[Setting]) -> Iterator[tuple[tuple[str, str], list[Setting]]]:
    """Yield neighbours of the same arm and optimiser."""
    for key, own in groupby(each, lambda one: (one.arm, one.optimiser)):
        yield key, list(own)


def split(data: Images, held: int, root_seed: int) -> tuple[Images, Images]:
    """Return the images to fit and those held out, drawn at random."""
    count = len(data.train)
    if not 1 <= held < count:
        raise ValueError(f"validation must lie between 1 and {count - 1}, got {held}")
    order = torch.randperm(count, generator=generator(root_seed, 0, SPLIT)).to(data.train.device)
    out, left = order.split([held, count - held])
    fitted, kept = (
        data._replace(train=data.train[chosen], labels=data.labels[chosen])
        for chosen in (left, out)
    )
    return fitted, kept


def _add(rows: Rows, plan: Plan, activation: str, scheme: str, outcome: Outcome) -> None:
    """Add what was recorded, (T, E)."""
    each = settings(plan)
    arm, optimiser, lr, decay = (
        np.array(column * plan.seeds) for column in map(list, zip(*each, strict=True))
    )
    seed = np.repeat(np.arange(plan.seeds), len(each))
    taken, reasons = plan.taken(), outcome.status_at()
    order = sorted({epoch for epochs in taken.values() for epoch in epochs})
    for quantity, tensor in outcome.records.items():
        epochs, value = taken[quantity], tensor.double().numpy()
        status = np.array([reasons[order.index(epoch)] for epoch in epochs])
        status = np.where((status == "ok") & ~np.isfinite(value), "diverged: not finite", status)
        rows.add(
            arm=arm, quantity=quantity, value=value, seed=seed, step=np.array(epochs)[:, None],
            status=status, optimiser=optimiser, lr=lr, decay=decay, activation=activation,
            initialiser=scheme, of_paper=np.isin(lr, plan.rates),
        )  # fmt: skip
