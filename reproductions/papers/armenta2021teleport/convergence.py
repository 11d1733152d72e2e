"""Figures 6, 8, 9 and 10: training after one teleport at the start, and after its controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import by_member, momentum
from reproductions.optim.layout import Layout
from reproductions.optim.plateau import Plateau
from reproductions.optim.preconditioned import preconditioned
from reproductions.optim.teleport import conjugated
from reproductions.optim.train import Batches, Outcome, Snapshot, minibatches, train
from reproductions.optim.transform import Schedule, Transform, check_hyper
from reproductions.optim.weight_decay import weight_decay
from reproductions.papers.armenta2021teleport.convergence_starts import Start, starts
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.papers.armenta2021teleport.images import images as place
from reproductions.problems.conjugated_mlp import ConjugatedMLP

__all__ = ["Plan", "compare", "output_spread", "place", "settings", "split"]

CLASSES = 10
SPLIT = 62  # the purpose in a generator's key: which images are held out
ABLATED = ("plain", "teleported")  # arms that are trained without weight decay too
UNITS = {
    "test_accuracy": "1", "validation_accuracy": "1", "train_loss": "nat", "cuts": "1",
    "output_spread": "1",
}  # fmt: skip

# the epochs of a quantity that not all have
SHOWN = {"train_loss": slice(1, None), "cuts": slice(-1, None), "output_spread": slice(1)}
SPREAD_IMAGES = 100


class Plan(NamedTuple):
    """How the arms are compared.

    Fields:
        hidden, depth: units a layer, hidden layers.
        validation: images held out; the rate falls, and the best one is chosen, by them.
        rates: the authors'; `wider_rates` are ours.
        decays: of weights, the first for all arms, others for ABLATED alone.
        momentum: mu of the second optimiser; the first has none.
        patience: epochs without a new best validation accuracy before the rate falls by ten.
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
    decays: list[float]
    momentum: float
    sigma: float
    patience: int
    root_seed: int


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
        wider_learning_rates=torch.tensor(plan.wider_rates),
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
    rates = sorted({*plan.rates, *plan.wider_rates})
    found = []
    for number, decay in enumerate(plan.decays):
        arms = [arm for arm in plan.arms if number == 0 or arm in ABLATED]
        found += [Setting(*one, decay) for one in product(arms, ("sgd", "momentum"), rates)]
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

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        _, wrong = problem.evaluate(seen.theta, data.test.flatten(1), data.test_labels)
        _, missed = problem.evaluate(seen.theta, held.train.flatten(1), held.labels)
        if seen.step:
            falling.see(1 - missed)
        found = {"test_accuracy": 1 - wrong, "validation_accuracy": 1 - missed,
                 "train_loss": seen.loss, "cuts": -falling.multiplier[:, 0].log10()}  # fmt: skip
        if seen.step == 0:
            some = held.train[:SPREAD_IMAGES].flatten(1)
            found["output_spread"] = output_spread(layout, seen.theta, tau, some, activation)
        return found

    return train(
        problem, _transform(begun, each, plan, falling), theta,
        Batches(fitted.train.flatten(1), fitted.labels, indices),
        steps=plan.epochs * indices.per_epoch,
        record_at=[epoch * indices.per_epoch for epoch in range(plan.epochs + 1)],
        observe=observe, progress=progress, how="eager",
    )  # fmt: skip


def output_spread(
    layout: Layout, theta: Tensor, tau: Tensor, inputs: Tensor, activation: str
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
    """Return the update of all members, arm by arm: what a step writes then stays in cache."""
    parts, first = [], 0
    for seed in range(plan.seeds):
        for arm, own in _runs(each):
            span = slice(first, first + len(own))
            first = span.stop
            lr, mu, decay = (
                torch.tensor(column, dtype=torch.float64)[:, None]
                for column in zip(
                    *((one.lr, plan.momentum * (one.optimiser == "momentum"), one.decay)
                      for one in own), strict=True
                )
            )  # fmt: skip
            made = weight_decay(momentum(lr, mu, schedule=_part(falling, span)), decay)
            scale = begun[arm].scale
            parts.append((span, made if scale is None else preconditioned(made, scale[seed][None])))
    return by_member(parts)


def _runs(each: list[Setting]) -> Iterator[tuple[str, list[Setting]]]:
    """Yield neighbours of the same arm."""
    start = 0
    for stop in range(1, len(each) + 1):
        if stop == len(each) or each[stop].arm != each[start].arm:
            yield each[start].arm, each[start:stop]
            start = stop


def _part(falling: Plateau, span: slice) -> Schedule:
    return lambda t: falling(t)[span]


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
    epochs = np.arange(plan.epochs + 1)[:, None]
    for quantity, tensor in outcome.records.items():
        kept = SHOWN.get(quantity, slice(None))
        value = tensor.double().numpy()[kept]
        status = np.array(outcome.status_at())[kept]
        status = np.where((status == "ok") & ~np.isfinite(value), "diverged: not finite", status)
        rows.add(
            arm=arm, quantity=quantity, value=value, seed=seed, step=epochs[kept], status=status,
            optimiser=optimiser, lr=lr, decay=decay, activation=activation, initialiser=scheme,
            of_paper=np.isin(lr, plan.rates),
        )  # fmt: skip
