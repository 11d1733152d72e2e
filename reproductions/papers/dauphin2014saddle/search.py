"""Momentum SGD of Figure 3: a random search on one start, its best setting on every start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.first_order import momentum
from reproductions.optim.minibatches import Batches, minibatches
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.train import Outcome, Snapshot, train
from reproductions.problems.mlp import MLP

Progress = Callable[..., None]
SAMPLES = 203  # the purpose of a random stream: settings of the search
LOOKS = 10  # at the error of every sample, evenly over its epochs


class Search(NamedTuple):
    """What the random search draws from."""

    samples: int
    rates: Sequence[float]  # the least and the largest learning rate, drawn evenly in its logarithm
    batches: Sequence[int]
    momenta: Sequence[float]


class Setting(NamedTuple):
    """One sample of the search."""

    learning_rate: float
    momentum: float
    batch: int


class Found(NamedTuple):
    """What a search found: every sample, its lowest training error (inf if never finite), the best."""

    settings: list[Setting]
    errors: Tensor  # (samples,)
    best: Setting


def settings(search: Search, root_seed: int) -> list[Setting]:
    """Draw the samples; more samples keep the first ones."""
    low, high = (math.log(rate) for rate in search.rates)
    drawn = []
    for sample in range(search.samples):
        source = generator(root_seed, sample, SAMPLES)
        rate = math.exp(low + (high - low) * float(torch.rand((), generator=source)))
        mass, batch = (
            options[int(torch.randint(len(options), (), generator=source))]
            for options in (search.momenta, search.batches)
        )
        drawn.append(Setting(rate, mass, batch))
    return drawn


def find(
    objective: NetworkLoss,
    activation: str,
    start: Tensor,
    search: Search,
    epochs: int,
    root_seed: int,
    progress: Progress,
) -> Found:
    """Train from one start with every sample of the search and keep the lowest training error.

    Source: Dauphin et al. 2014, appendix F.1: 80 samples of learning rate, minibatch size and
    momentum, the best kept; the ranges are not stated. An epoch is one pass over the data set here,
    and the error is looked at LOOKS times.

    Args:
        objective: over the whole data set.
        start: (1, P).
    """
    drawn = settings(search, root_seed)
    errors = torch.full((len(drawn),), math.inf, dtype=torch.float64)
    looks = sorted({math.ceil(epochs * (k + 1) / LOOKS) for k in range(LOOKS)})
    done = 0
    for batch, places in by_batch(drawn):
        own = [drawn[place] for place in places]
        seen: list[Tensor] = []

        def observe(_: int, theta: Tensor, seen: list[Tensor] = seen) -> None:
            error = objective.error(theta).double()
            seen.append(torch.where(theta.isfinite().all(1), error, math.inf))

        theta = start.expand(len(own), -1)
        run(objective, activation, theta, own, [0], epochs, 1, looks, root_seed, observe)
        errors[places] = torch.stack(seen).amin(0).cpu()
        done += len(places)
        progress(done / len(drawn), f"random search, batch {batch}")
    return Found(drawn, errors, drawn[int(errors.argmin())])


def by_batch(drawn: Sequence[Setting]) -> Iterator[tuple[int, list[int]]]:
    """Yield each batch size and the places of the settings that have it."""
    for batch in sorted({setting.batch for setting in drawn}):
        yield batch, [place for place, setting in enumerate(drawn) if setting.batch == batch]


def run(
    objective: NetworkLoss,
    activation: str,
    theta: Tensor,
    own: Sequence[Setting],
    seeds: Sequence[int],
    epochs: int,
    passes: int,
    record_at: Sequence[int],
    root_seed: int,
    observe: Callable[[int, Tensor], None],
) -> Outcome:
    """Train members of one batch size in float32.

    Args:
        theta: (E, P), the starts.
        own: the setting of each member; of one batch size.
        seeds: of the orders of the examples, one for every E / len(seeds) members.
        passes: over the data set, in an epoch.
        record_at: epochs after which to observe.
        observe: called with the epoch and theta (E, P).
    """
    inputs, labels = objective.inputs.to(torch.float32), objective.targets
    indices = minibatches(len(inputs), own[0].batch, seeds, root_seed)
    each = passes * indices.per_epoch

    def look(shot: Snapshot) -> None:
        observe(shot.step // each, shot.theta)

    rates, masses = (
        torch.tensor([[getattr(setting, name)] for setting in own], dtype=torch.float64)
        for name in ("learning_rate", "momentum")
    )
    return train(
        MLP(objective.layout, activation), momentum(rates, masses), theta.to(torch.float32),
        Batches(inputs, labels, indices), steps=epochs * each,
        record_at=[epoch * each for epoch in record_at], observe=look,
    )  # fmt: skip
