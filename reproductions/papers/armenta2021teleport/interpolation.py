"""Figure 5: the loss on the line between two end points of training, and between their teleports."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import draw
from reproductions.optim.device import generator
from reproductions.optim.first_order import momentum
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.teleport import teleport, units
from reproductions.optim.train import Snapshot, train
from reproductions.optim.weight_decay import weight_decay
from reproductions.papers.armenta2021teleport import traces
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.problems.mlp import MLP

UNITS = {
    "train_loss": "nat", "test_loss": "nat", "train_accuracy": "1", "test_accuracy": "1",
    "curvature": "nat", "squared_distance": "1", "shared_basis_change": "nat",
    "loss_course": "nat",
}  # fmt: skip
BASIS = 61  # the purpose in a generator's key
CLASSES, LOW, HIGH = 10, -0.5, 1.5
SIDES = ("small", "large")  # batches of A and of B


class Plan(NamedTuple):
    """How end points are found and joined; see the room's configuration."""

    hidden: int
    layers: int
    epochs: int
    batches: tuple[int, int]
    lr: float
    mu: float
    weight_decay: float
    sigma: float
    draws: int
    alphas: int
    train_examples: int
    curvature_examples: int
    trace_draws: int
    measured_traces: int
    seeds: int
    root_seed: int


class Lines(NamedTuple):
    """Many lines at once, from start to end."""

    arm: str
    start: Tensor  # (E, P)
    end: Tensor  # (E, P)
    draw: np.ndarray  # (E,) number of the change of basis
    seed: np.ndarray  # (E,)


class Sets(NamedTuple):
    """What is evaluated, as rows."""

    train: Tensor  # (N, D)
    labels: Tensor
    test: Tensor
    test_labels: Tensor


def in_order(
    x: Tensor, y: Tensor, batch: int
) -> tuple[Callable[[int], tuple[Tensor, Tensor]], int]:
    """Return minibatches that never change their order, as the authors train, and their number.

    The last of an epoch is what is left over.
    """
    per_epoch = -(-len(x) // batch)

    def batches(step: int) -> tuple[Tensor, Tensor]:
        first = step % per_epoch * batch
        return x[None, first : first + batch], y[None, first : first + batch]

    return batches, per_epoch


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Train A with small batches and B with large ones, and look at the lines between."""
    found = Rows(UNITS)
    sets = Sets(data.train.flatten(1), data.labels, data.test.flatten(1), data.test_labels)
    layout = Layout((sets.train.shape[1], *[plan.hidden] * plan.layers, CLASSES))
    start = layout.initialise(range(plan.seeds), root_seed=plan.root_seed, device=sets.train.device)
    ends = [
        _trained(found, layout, start, sets, plan, side, part(progress, 0.3 * side, 0.3))
        for side in (0, 1)
    ]
    lines = joined(layout, ends[0], ends[1], plan)
    seen = sets._replace(
        train=sets.train[: plan.train_examples], labels=sets.labels[: plan.train_examples]
    )
    for number, one in enumerate(lines):
        tell = part(progress, 0.6 + 0.1 * number, 0.1)
        _curves(found, MLP(layout), one, seen, plan, tell)
    for one in lines[:2]:
        _curvatures(found, layout, one, sets, plan)
    _shared_basis(found, layout, lines, sets, plan)
    few = sets.train[: plan.curvature_examples]
    for name, theta in (("initial", start), *zip(SIDES, ends, strict=True)):
        found.extend(
            traces.rows(
                layout, name, theta, few, plan.sigma, plan.trace_draws, plan.measured_traces,
                plan.root_seed,
            )
        )  # fmt: skip
    progress(1.0, "")
    return found


def part(progress: Progress, done: float, share: float) -> Progress:
    """Return a progress that fills a share of the whole, from `done` on."""
    return lambda fraction, note="": progress(done + share * fraction, note)


def _trained(
    found: Rows, layout: Layout, start: Tensor, sets: Sets, plan: Plan, side: int,
    progress: Progress,
) -> Tensor:  # fmt: skip
    """Return where training with one batch size leads, (S, P)."""
    problem = MLP(layout)
    batches, per_epoch = in_order(sets.train, sets.labels, plan.batches[side])
    epochs = sorted({plan.epochs * k // 5 for k in range(6)})

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        return {"loss": problem.evaluate(seen.theta, sets.train, sets.labels)[0]}

    method = weight_decay(momentum(plan.lr, plan.mu), plan.weight_decay)
    outcome = train(
        problem, method, start, batches, steps=plan.epochs * per_epoch,
        record_at=[epoch * per_epoch for epoch in epochs], observe=observe, progress=progress,
        how="eager",  # numbers that hang on no compiler, which would take seconds besides
    )  # fmt: skip
    loss = outcome.records["loss"].double().numpy()
    found.add(arm=SIDES[side], quantity="loss_course", value=loss, seed=np.arange(plan.seeds),
              step=np.array(epochs)[:, None], status=_status(loss))  # fmt: skip
    return outcome.theta


def _status(value: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(value), "ok", "diverged: value is not finite")


def bases(layout: Layout, plan: Plan, side: int, seed: int) -> Tensor:
    """Draw the changes of basis (C, U) of the end point on one side."""
    source = generator(plan.root_seed, seed, BASIS, side)
    return draw((plan.draws, units(layout)), plan.sigma, source)


def joined(layout: Layout, a: Tensor, b: Tensor, plan: Plan) -> list[Lines]:
    """Return the lines A to B, T(A) to T'(B) with T and T' drawn apart, and A to its first T(A)."""
    seeds = np.arange(len(a))
    each = [torch.cat([bases(layout, plan, side, s) for s in seeds.tolist()]) for side in (0, 1)]
    repeated = [end.repeat_interleave(plan.draws, 0) for end in (a, b)]
    moved = [teleport(layout, end, tau) for end, tau in zip(repeated, each, strict=True)]
    first = slice(None, None, plan.draws)
    number, seed = np.tile(np.arange(plan.draws), len(a)), seeds.repeat(plan.draws)
    return [
        Lines("plain", a, b, np.zeros_like(seeds), seeds),
        Lines("teleported", moved[0], moved[1], number, seed),
        Lines("own", a, moved[0][first], number[first], seeds),
    ]


def _curves(
    found: Rows, problem: MLP, lines: Lines, sets: Sets, plan: Plan, progress: Progress
) -> None:
    """Add loss and accuracy along the lines."""
    alphas = np.linspace(LOW, HIGH, plan.alphas)
    seen: dict[str, list[Tensor]] = {}
    for number, alpha in enumerate(alphas.tolist()):
        theta = torch.lerp(lines.start, lines.end, alpha)
        for name, x, y in (
            ("train", sets.train, sets.labels), ("test", sets.test, sets.test_labels)
        ):  # fmt: skip
            loss, error = problem.evaluate(theta, x, y)
            seen.setdefault(f"{name}_loss", []).append(loss)
            seen.setdefault(f"{name}_accuracy", []).append(1 - error)
        progress((number + 1) / len(alphas), f"line {lines.arm}")
    for quantity, values in seen.items():
        value = torch.stack(values).double().cpu().numpy()
        found.add(arm=lines.arm, quantity=quantity, value=value, status=_status(value),
                  index=np.arange(len(alphas))[:, None], alpha=alphas[:, None], seed=lines.seed,
                  draw=lines.draw)  # fmt: skip


def _curvatures(found: Rows, layout: Layout, lines: Lines, sets: Sets, plan: Plan) -> None:
    """Add the second derivative of the training loss by alpha at both ends, kinks left out."""
    few = slice(plan.curvature_examples)
    loss = NetworkLoss(layout, sets.train[few], sets.labels[few], activations="relu")
    along = (lines.end - lines.start).double()
    for side, end in zip(SIDES, (lines.start, lines.end), strict=True):
        value = (loss.product(end.double(), along) * along).sum(1).cpu().numpy()
        found.add(arm=lines.arm, quantity="curvature", value=value, status=_status(value),
                  seed=lines.seed, draw=lines.draw, side=side)  # fmt: skip
    length = along.square().sum(1).cpu().numpy()
    found.add(arm=lines.arm, quantity="squared_distance", value=length, status=_status(length),
              seed=lines.seed, draw=lines.draw)  # fmt: skip


def _shared_basis(found: Rows, layout: Layout, lines: list[Lines], sets: Sets, plan: Plan) -> None:
    """Add how far the line from T(A) to T(B), one T for both, is from the line A to B, float64."""
    few, plain, problem = slice(plan.curvature_examples), lines[0], MLP(layout)
    x, y = sets.train[few].double(), sets.labels[few]
    tau = torch.cat([bases(layout, plan, 0, seed)[:1] for seed in range(len(plain.start))])
    ends = [end.double() for end in (plain.start, plain.end)]
    moved = [teleport(layout, end, tau) for end in ends]
    worst = torch.zeros(len(plain.start), dtype=torch.float64)
    for alpha in np.linspace(LOW, HIGH, 9).tolist():
        pair = [problem.evaluate(torch.lerp(a, b, alpha), x, y)[0] for a, b in (ends, moved)]
        worst = torch.maximum(worst, (pair[0] - pair[1]).abs().cpu())
    value = worst.numpy()
    found.add(arm="shared", quantity="shared_basis_change", value=value, status=_status(value),
              seed=plain.seed)  # fmt: skip
