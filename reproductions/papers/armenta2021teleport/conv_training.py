"""Figure 6 on convolutional networks: training with and without one teleport, a run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ReduceLROnPlateau

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.minibatches import minibatches
from reproductions.optim.module_teleport import conjugate
from reproductions.optim.transform import check_hyper
from reproductions.papers.armenta2021teleport import conv_nets
from reproductions.papers.armenta2021teleport.convergence import split
from reproductions.papers.armenta2021teleport.images import Images, Progress

BASIS = 64  # the purpose in a generator's key: the change of basis of a network
MASKS = 65  # and what dropout leaves out
CHUNK = 1000  # images evaluated at a time
UNITS = {"test_accuracy": "1", "validation_accuracy": "1", "train_loss": "nat"}
ARMS = ("plain", "teleported")


class Plan(NamedTuple):
    """How the networks are trained; fields as of `convergence.Plan`."""

    networks: list[str]
    epochs: int
    batch: int
    seeds: int
    validation: int
    rates: list[float]
    decay: float
    momentum: float
    sigma: float
    patience: int
    root_seed: int


class Run(NamedTuple):
    """One run."""

    network: str
    seed: int
    arm: str
    optimiser: str
    lr: float


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Train every network with both optimisers, plain and teleported, and add each epoch's numbers.

    Arms of a seed see the same minibatches and lose the same units to dropout, in whatever order
    they are trained.

    Raises:
        ValueError: where a rate is negative or a network unknown.
    """
    check_hyper(learning_rates=torch.tensor(plan.rates))
    found, parts = Rows(UNITS), split(data, plan.validation, plan.root_seed)
    runs = [
        Run(*one)
        for one in product(plan.networks, range(plan.seeds), ARMS, ("sgd", "momentum"),
                           plan.rates)
    ]  # fmt: skip
    for number, run in enumerate(runs):
        progress(number / len(runs), f"{run.network}, {run.arm}, {run.optimiser}")
        drawn = generator(plan.root_seed, run.seed, MASKS)
        used = [data.train.device] if data.train.is_cuda else []
        with torch.random.fork_rng(devices=used):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=drawn)))
            _train(found, run, plan, *parts)
    return found


def network(name: str, seed: int, like: Tensor) -> nn.Sequential:
    """Return a network in training mode; ResNet-18 with the stem for small images.

    Source: the authors' code: 3x3 at stride 1 in place of 7x7 at stride 2, the max-pooling stays.
    """
    made = conv_nets.build(name, seed)
    if name == "resnet18":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            made[0] = conv_nets.convolution(3, made[0].out_channels, 3)
    return made.to(like.device).train()


def teleported(
    module: nn.Module, example: Tensor, sigma: float, source: torch.Generator
) -> nn.Module:
    """Return the module after one inter-landscape teleport, its operations conjugated."""
    general, plan = conjugate(module, example)
    plan.apply(general, plan.draw(sigma, source, kind="inter"))
    return general


def _train(rows: Rows, run: Run, plan: Plan, fitted: Images, held: Images) -> None:
    module = network(run.network, plan.root_seed + run.seed, fitted.train)
    if run.arm == "teleported":
        source = generator(plan.root_seed, run.seed, BASIS)
        module = teleported(module, fitted.train[:2], plan.sigma, source)
    optimizer = torch.optim.SGD(
        module.parameters(), lr=run.lr, weight_decay=plan.decay,
        momentum=plan.momentum if run.optimiser == "momentum" else 0.0,
    )  # fmt: skip
    falling = ReduceLROnPlateau(optimizer, mode="max", patience=plan.patience)
    indices = minibatches(len(fitted.train), plan.batch, [run.seed], plan.root_seed)
    losses: list[Tensor] = []
    for epoch in range(plan.epochs + 1):
        accuracy = {
            "test_accuracy": _accuracy(module, held.test, held.test_labels),
            "validation_accuracy": _accuracy(module, held.train, held.labels),
        }
        loss = float(torch.stack(losses).mean()) if losses else None
        _add(rows, run, plan, epoch, accuracy, loss)
        if epoch == plan.epochs:
            return
        if epoch:
            falling.step(accuracy["validation_accuracy"])
        steps = range(epoch * indices.per_epoch, (epoch + 1) * indices.per_epoch)
        losses = list(_steps(module, optimizer, fitted, (indices(step)[0] for step in steps)))


def _steps(
    module: nn.Module, optimizer: torch.optim.Optimizer, data: Images, batches: Iterator[Tensor]
) -> Iterator[Tensor]:
    module.train()
    for chosen in batches:
        own = chosen.to(data.train.device)
        optimizer.zero_grad()
        loss = cross_entropy(module(data.train[own]), data.labels[own])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.detach()


@torch.no_grad()
def _accuracy(module: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    module.eval()
    parts = zip(inputs.split(CHUNK), labels.split(CHUNK), strict=True)
    return float(sum((module(x).argmax(1) == y).sum() for x, y in parts)) / len(labels)


def _add(
    rows: Rows, run: Run, plan: Plan, epoch: int, accuracy: dict[str, float], loss: float | None
) -> None:
    values = accuracy if loss is None else {**accuracy, "train_loss": loss}
    finite = loss is None or torch.tensor(loss).isfinite()
    for quantity, value in values.items():
        rows.add(
            arm=run.arm, quantity=quantity, value=value, seed=run.seed, step=epoch,
            status="ok" if finite else "diverged: loss is not finite",
            optimiser=run.optimiser, lr=run.lr, decay=plan.decay, network=run.network,
            activation="relu", initialiser="uniform", of_paper=True,
        )  # fmt: skip
