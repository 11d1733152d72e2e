"""Where the searches for critical points of Figure 1 start: near runs, in the cube, near networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.second_order import descend
from reproductions.optim.train import Batches, Snapshot, minibatches, train
from reproductions.papers.dauphin2014saddle.critical_rows import Search, Starts, follow
from reproductions.papers.dauphin2014saddle.pixels import Pixels
from reproductions.problems.mlp import MLP

__all__ = ["Search", "Training", "from_runs", "from_training"]

Progress = Callable[..., None]
CLASSES = 10
JOBS, EPOCHS = 201, 202  # purposes of the random streams
FIRST = 0.2  # of the time, roughly, before the searches begin


class Training(NamedTuple):
    """How the networks are trained from which the searches on CIFAR-10 start."""

    networks: int
    epochs: list[int]  # the least and the most of each network's random number
    batch: int
    learning_rate: float


def from_runs(
    seen: Pixels,
    width: int,
    activation: str,
    runs: tuple[int, int],
    jobs: Sequence[int],
    noises: Sequence[float],
    search: Search,
    progress: Progress,
) -> Rows:
    """Search from the neighbourhood of saddle-free Newton runs and from the unit cube.

    Source: Dauphin et al. 2014, appendix C: 20 runs of saddle-free Newton, 100 searches from a
    random run at a random epoch of 0 to 20 plus uniform noise of an amplitude of 1e-1 to 1e-4, and
    100 from weights uniform in the unit cube. "Unit cube" is taken at its word, [0, 1].

    Args:
        runs: saddle-free Newton runs, and updates on all images each, one an epoch.
        jobs: searches of either kind.
        noises: amplitudes, of which every search draws one.
    """
    layout = Layout((seen.inputs.shape[1], width, CLASSES))
    objective = NetworkLoss(layout, seen.inputs, seen.labels, activations=activation)
    tell = _part(progress, 0.0, FIRST)
    walked = snapshots(objective, runs, search.root_seed, tell)
    cube = layout.initialise(
        range(jobs[1]), scheme="unit_cube", root_seed=search.root_seed, dtype=torch.float64,
        device=seen.inputs.device,
    )  # fmt: skip
    kinds = [
        near_runs(walked, jobs[0], noises, search.root_seed),
        Starts("unit_cube", cube, np.full(jobs[1], -1), np.zeros(jobs[1])),
    ]
    return follow(objective, kinds, search, _part(progress, FIRST, 1 - FIRST))


def snapshots(
    objective: NetworkLoss, runs: tuple[int, int], root_seed: int, progress: Progress
) -> Tensor:
    """Return theta (T + 1, E, P) of E saddle-free Newton runs before and after each of T updates."""
    number, updates = runs
    start = objective.layout.initialise(
        range(number), root_seed=root_seed, dtype=torch.float64, device=objective.inputs.device
    )
    kept: list[Tensor] = []

    def observe(step: int, theta: Tensor) -> None:
        kept.append(theta.clone())
        progress(step / max(updates, 1), f"saddle-free Newton, epoch {step} of {updates}")

    descend(lambda _: objective, start, "saddle_free", steps=updates, observe=observe)
    kept += kept[-1:] * (updates + 1 - len(kept))  # where every run had stopped
    return torch.stack(kept)


def near_runs(walked: Tensor, jobs: int, noises: Sequence[float], root_seed: int) -> Starts:
    """Return random places of the runs (T + 1, E, P), each plus uniform noise in [-a, a]."""
    theta, epochs, noise = [], [], []
    for job in range(jobs):
        source = generator(root_seed, job, JOBS)
        epoch, run, which = (
            int(torch.randint(count, (), generator=source))
            for count in (walked.shape[0], walked.shape[1], len(noises))
        )
        drawn = 2 * torch.rand(walked.shape[2], generator=source, dtype=torch.float64) - 1
        theta.append(walked[epoch, run] + noises[which] * drawn.to(walked.device))
        epochs.append(epoch)
        noise.append(noises[which])
    empty = walked.new_zeros(0, walked.shape[2])
    stacked = torch.stack(theta) if theta else empty
    return Starts("near_runs", stacked, np.array(epochs, int), np.array(noise, float))


def from_training(
    seen: Pixels,
    widths: Sequence[int],
    activation: str,
    training: Training,
    search: Search,
    progress: Progress,
) -> Rows:
    """Search from networks that stochastic gradient descent has trained for a random time.

    Source: Dauphin et al. 2014, appendix C: 100 networks, 10 to 300 epochs. Batch and learning
    rate are not stated.

    Args:
        widths: of the hidden layers.
    """
    layout = Layout((seen.inputs.shape[1], *widths, CLASSES))
    objective = NetworkLoss(layout, seen.inputs, seen.labels, activations=activation)
    tell = _part(progress, 0.0, FIRST)
    kinds = [trained(layout, seen, activation, training, search.root_seed, tell)]
    return follow(objective, kinds, search, _part(progress, FIRST, 1 - FIRST))


def trained(
    layout: Layout,
    seen: Pixels,
    activation: str,
    training: Training,
    root_seed: int,
    progress: Progress,
) -> Starts:
    """Train every network for its own number of epochs, drawn evenly between the two."""
    low, high = training.epochs
    members = range(training.networks)
    epochs = np.array([
        low + int(torch.randint(high - low + 1, (), generator=generator(root_seed, seed, EPOCHS)))
        for seed in members
    ])  # fmt: skip
    inputs = seen.inputs.to(torch.float32)
    indices = minibatches(len(inputs), training.batch, members, root_seed)
    start = layout.initialise(members, root_seed=root_seed, device=inputs.device)
    due = epochs * indices.per_epoch
    kept = start.double()

    def observe(now: Snapshot) -> None:
        own = torch.tensor(due == now.step, device=kept.device)
        lost = own & (now.diverged_at > 0)
        kept[own], kept[lost] = now.theta[own].double(), torch.nan

    train(
        MLP(layout, activation), sgd(training.learning_rate), start,
        Batches(inputs, seen.labels, indices), steps=int(due.max()), record_at=due.tolist(),
        observe=observe, progress=progress,
    )  # fmt: skip
    return Starts("trained", kept, epochs, np.zeros(len(epochs)))


def _part(progress: Progress, done: float, share: float) -> Progress:
    """Return a progress that fills a share of the whole, from `done` on."""
    return lambda fraction, note="": progress(done + share * fraction, note)
