"""The laptop training of choromanska2015loss against a torch.optim loop over its members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.train import Batches, minibatches, train
from reproductions.problems.mlp import MLP

from .conftest import THREADS
from .recording import hold, report, side_by_side

WIDTHS, MEMBERS, BATCH, IMAGES, RATE = (25, 50, 100, 250), 64, 100, 60_000, 1.0
STEPS = 4  # of each ensemble in a round; the loop makes one step of each member
FULL_STEPS = 4243  # of the laptop run, for every width
TARGET = 3.0


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and labels of MNIST's shape at 10x10; speed does not depend on their values."""
    source = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 100, generator=source)
    return images, torch.randint(0, 10, (IMAGES,), generator=source)


def start(width: int) -> torch.Tensor:
    return Layout((100, width, 10)).initialise(range(MEMBERS))


def ours(width: int, steps: int) -> Callable[[], torch.Tensor]:
    """Train as the room does: the one loop, every member in its own order of images."""
    batches = Batches(*data(), minibatches(IMAGES, BATCH, range(MEMBERS)))
    batches(0)  # the shuffles of an epoch, which the loop below is not charged for either
    problem, theta = MLP(Layout((100, width, 10))), start(width)
    return lambda: train(problem, sgd(RATE), theta, batches, steps=steps).theta


def loop(width: int, steps: int) -> Callable[[], torch.Tensor]:
    """Step one torch.nn.Sequential after the other by torch.optim.SGD; they are made beforehand."""
    images, labels = data()
    indices = minibatches(IMAGES, BATCH, range(MEMBERS))
    chosen = [indices(step) for step in range(steps)]
    models = []
    for theta in start(width):
        layers = torch.nn.Linear(100, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
        model = torch.nn.Sequential(*layers)
        torch.nn.utils.vector_to_parameters(theta.clone(), model.parameters())
        models.append((model, torch.optim.SGD(model.parameters(), lr=RATE)))

    def run() -> torch.Tensor:
        for member, (model, optimizer) in enumerate(models):
            for step in range(steps):
                own = chosen[step][member]
                optimizer.zero_grad()
                logits = model(images[own])
                torch.nn.functional.cross_entropy(logits, labels[own]).backward()
                optimizer.step()
        flat = torch.nn.utils.parameters_to_vector
        return torch.stack([flat(model.parameters()).detach() for model, _ in models])

    return run


@pytest.mark.parametrize("width", WIDTHS)
def test_both_train_the_same_networks(width: int):
    torch.testing.assert_close(ours(width, 2)(), loop(width, 2)(), rtol=1e-4, atol=1e-5)


@pytest.mark.benchmark_run
def test_the_rooms_training_is_faster_than_a_loop(benchmark: Any):
    mine, theirs = [ours(width, STEPS) for width in WIDTHS], [loop(width, 1) for width in WIDTHS]

    def run(all_widths: list[Callable[[], torch.Tensor]]) -> None:
        for one in all_widths:
            one()

    seconds = side_by_side(benchmark, lambda: run(mine), {"torch.optim loop": lambda: run(theirs)})
    seconds["ours"] = [second / STEPS for second in seconds["ours"]]
    entry = report(
        "laptop training of choromanska2015loss",
        seconds,
        per=1,
        unit="step of all members of all widths",
        versions={"torch.optim loop": "torch"},
        shapes={"members": MEMBERS, "batch": BATCH, "widths": list(WIDTHS), "images": IMAGES},
        threads=THREADS,
        targets={"torch.optim loop": TARGET},
        extrapolated=f"from {STEPS} steps (ours) and 1 (loop) of the {FULL_STEPS} of every width",
    )
    hold(entry, {"torch.optim loop": TARGET})
