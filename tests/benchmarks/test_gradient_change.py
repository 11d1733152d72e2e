"""What the change of a gradient by many teleports costs, beside a loop that differentiates each.

The protocol of the paper's figure 7 at 15 ranges: ours is one backward pass, and the lengths of
gradient and weights after all teleports from sums over squares. The peer teleports the network,
runs forward and backward and takes both norms, once for each teleport. Float32, two networks: the
fully connected one (5 layers of 500) with 10 teleports for each range, ResNet-18 with one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import norms, teleport
from reproductions.papers.armenta2021teleport import conv_nets
from reproductions.papers.armenta2021teleport.gradient_change import mlp
from reproductions.papers.armenta2021teleport.gradient_conv import subject
from reproductions.papers.armenta2021teleport.local_modules import Module
from reproductions.problems.mlp import MLP

from .conftest import THREADS
from .recording import hold, report, side_by_side

WIDTHS, BATCH, RANGES, ROUNDS = (3072, 500, 500, 500, 500, 500, 10), 32, 15, 3
TARGETS = {"loop": 10.0}
Contender = Callable[[], Tensor]  # -> squared lengths of gradient and weights, (2, T)


def data() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=source)
    return images, torch.randint(0, 10, (BATCH,), generator=source)


def sigmas() -> list[float]:
    return torch.linspace(0.01, 0.9, RANGES).tolist()


def layered(layout: Layout, teleports: int) -> tuple[Contender, Contender]:
    """Return ours and the loop on a fully connected network."""
    theta, (images, labels) = layout.initialise([0])[0], data()
    images = images.flatten(1)[:, : layout.widths[0]]
    own = mlp(layout, theta)
    tau = torch.cat([own.draw(sigma, generator(0, 1), teleports) for sigma in sigmas()])
    problem = MLP(layout)

    def ours() -> Tensor:
        gradient = problem.gradient(theta[None], images[None], labels[None])[1][0]
        return torch.stack([
            norms(layout, gradient.double().square(), tau, power=-2),
            norms(layout, theta.double().square(), tau, power=2),
        ])  # fmt: skip

    def loop() -> Tensor:
        found = []
        for one in tau:
            there = teleport(layout, theta[None], one[None])
            gradient = problem.gradient(there, images[None], labels[None])[1]
            found.append(torch.stack([gradient.square().sum(), there.square().sum()]))
        return torch.stack(found, 1).double()

    return ours, loop


def convolutional(name: str, teleports: int) -> tuple[Contender, Contender]:
    """Return ours and the loop on a network of modules in training mode."""
    images, labels = data()
    own = conv_nets.build(name, 0).train()
    module = Module(own, images[:2])
    moved = subject(name, module)
    tau = torch.cat([module.draw(sigma, generator(0, 1), teleports) for sigma in sigmas()])

    def ours() -> Tensor:
        return torch.stack([moved.gradient(images, labels).moved(tau), moved.weights.moved(tau)])

    def loop() -> Tensor:
        there, found = module.plan.teleport(own, torch.ones(module.plan.units)), []
        before = torch.ones(module.plan.units, dtype=torch.float64)
        for one in tau:
            module.plan.apply(there, one / before)
            before = one
            there.zero_grad()
            nn.functional.cross_entropy(there(images), labels).backward()
            pairs = [(p.grad, p) for p in there.parameters() if p.grad is not None]
            sums = [
                sum(x.detach().square().sum() for x in part) for part in zip(*pairs, strict=True)
            ]
            found.append(torch.stack(sums))
        return torch.stack(found, 1).double()

    return ours, loop


@pytest.mark.parametrize("which", ["layered", "convolutional"])
def test_contenders_find_the_same_lengths(which: str):
    made = layered(Layout((12, 9, 8, 10)), 2) if which == "layered" else convolutional("tiny", 1)
    found, wanted = (contender() for contender in made)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0)


@pytest.mark.benchmark_run
@pytest.mark.parametrize("which", ["MLP 5x500", "ResNet-18"])
def test_lengths_of_many_teleported_gradients_need_one_backward_pass(benchmark: Any, which: str):
    teleports = 10 if which == "MLP 5x500" else 1
    ours, peer = (
        layered(Layout(WIDTHS), teleports)
        if which == "MLP 5x500"
        else convolutional("resnet18", teleports)
    )
    seconds = side_by_side(benchmark, ours, {"loop": peer}, rounds=ROUNDS)
    shapes = {"batch": BATCH, "teleports": RANGES * teleports}
    known = {
        "shapes": shapes,
        "threads": THREADS,
        "versions": {"loop": "torch"},
        "targets": TARGETS,
    }
    name = f"gradients after {RANGES * teleports} teleports, {which}"
    entry = report(name, seconds, per=RANGES * teleports, unit="teleport", **known)
    hold(entry, TARGETS)
