"""Many random teleports of one network beside a loop over them.

The network is 3072-5x500-10 with 2.5 million parameters, float32; 1000 teleports of it are 10 GB.
Peers are what one would write without the suite: its nn.Linear layers, weights multiplied layer by
layer and copied back, for every change of basis. What is wanted of the teleports decides what can
be gained. Where it is the weights themselves, both sides write them all, and memory is the bound:
ours fills one buffer, as many members at a time as stay in cache, beside which a plain copy into it
is timed too. Where it is their norm, as for every figure on gradients, sums over squares are bilinear in factors, and
no teleport need be made.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.layout import Layout
from reproductions.optim.teleport import norms, random_basis, teleport

from .conftest import THREADS
from .recording import hold, report, side_by_side

WIDTHS, SIGMA, TELEPORTS, CHUNK = (3072, *[500] * 5, 10), 0.9, 1000, 2
MADE_ROUNDS, NORM_ROUNDS = 5, 2  # a round of the norms' peer makes all teleports
MADE = 100  # teleports in a round where all weights are written
MADE_TARGETS = {"loop": 1.5}
NORM_TARGETS = {"loop": 10.0}


def module(layout: Layout, theta: Tensor) -> list[nn.Linear]:
    """Return the layers of the same network."""
    layers = []
    for weight, bias in layout.views(theta):
        linear = nn.Linear(weight.shape[1], weight.shape[2], device="meta")
        linear.weight = nn.Parameter(weight[0].mT.clone())
        linear.bias = nn.Parameter(bias[0].clone())
        layers.append(linear)
    return layers


class Loop:
    """Teleport the layers of a module for one change of basis after the other."""

    def __init__(self, layout: Layout, theta: Tensor) -> None:
        self.hidden = list(layout.widths[1:-1])
        self.ends = [torch.ones(layout.widths[end]) for end in (0, -1)]
        self.layers = module(layout, theta)
        self.start = [(own.weight.clone(), own.bias.clone()) for own in self.layers]

    @torch.no_grad()
    def teleport(self, tau: Tensor) -> None:
        units = [self.ends[0], *tau.split(self.hidden), self.ends[1]]
        for depth, (layer, (weight, bias)) in enumerate(zip(self.layers, self.start, strict=True)):
            below, above = units[depth], units[depth + 1]
            layer.weight.copy_(weight * above[:, None] / below)
            layer.bias.copy_(bias * above)

    def all(self, tau: Tensor) -> None:
        for own in tau:
            self.teleport(own)

    @torch.no_grad()
    def norms(self, tau: Tensor) -> Tensor:
        found = []
        for own in tau:
            self.teleport(own)
            parts = [p.square().sum() for layer in self.layers for p in layer.parameters()]
            found.append(torch.stack(parts).sum())
        return torch.stack(found)


def in_chunks(layout: Layout, theta: Tensor, tau: Tensor, place: Tensor) -> None:
    """Write every teleport, a chunk of members at a time into the same buffer."""
    for own in tau.split(len(place)):
        teleport(layout, theta, own, out=place[: len(own)])


def copies(theta: Tensor, count: int, place: Tensor) -> None:
    """Write the network as it is as often."""
    for _ in range(count // len(place)):
        place.copy_(theta)


def test_contenders_make_the_same_teleports_and_the_same_norms():
    layout = Layout((6, 9, 7, 3))
    theta, tau = layout.initialise([0]), random_basis(layout, range(4), SIGMA)
    loop, place = Loop(layout, theta), torch.empty(4, layout.parameters)
    in_chunks(layout, theta, tau, place)
    for own, moved in zip(tau, place, strict=True):
        loop.teleport(own.float())
        made = nn.utils.parameters_to_vector(p for layer in loop.layers for p in layer.parameters())
        torch.testing.assert_close(moved, made.detach(), rtol=1e-5, atol=0)
    wanted = loop.norms(tau.float()).double()
    torch.testing.assert_close(norms(layout, theta[0] ** 2, tau), wanted, rtol=1e-5, atol=0)


def facts(count: int) -> dict[str, Any]:
    shapes = {"widths": list(WIDTHS), "parameters": Layout(WIDTHS).parameters, "teleports": count}
    return {"shapes": shapes, "threads": THREADS}


@pytest.mark.benchmark_run
def test_teleports_are_written_about_as_fast_as_copies(benchmark: Any):
    layout = Layout(WIDTHS)
    theta, tau = layout.initialise([0]), random_basis(layout, range(MADE), SIGMA)
    loop, place = Loop(layout, theta), torch.empty(CHUNK, layout.parameters)
    low = tau.float()
    peers = {"loop": lambda: loop.all(low), "plain copy": lambda: copies(theta, MADE, place)}
    ours = lambda: in_chunks(layout, theta, tau, place)  # noqa: E731
    seconds = side_by_side(benchmark, ours, peers, rounds=MADE_ROUNDS)
    entry = report(
        "teleports, all weights", seconds, per=MADE, unit="teleport",
        versions={"loop": "torch", "plain copy": "torch"}, targets=MADE_TARGETS,
        form=f"ours writes {CHUNK} at a time into one buffer; the copy goes there too", **facts(MADE),
    )  # fmt: skip
    hold(entry, MADE_TARGETS)


@pytest.mark.benchmark_run
def test_norms_of_a_thousand_teleports_need_none_of_them(benchmark: Any):
    layout = Layout(WIDTHS)
    theta, tau = layout.initialise([0]), random_basis(layout, range(TELEPORTS), SIGMA)
    loop, low, squares = Loop(layout, theta), tau.float(), theta[0].square()
    seconds = side_by_side(
        benchmark, lambda: norms(layout, squares, tau), {"loop": lambda: loop.norms(low)},
        rounds=NORM_ROUNDS,
    )  # fmt: skip
    entry = report(
        "squared norms of teleports", seconds, per=TELEPORTS, unit="teleport",
        versions={"loop": "torch"}, targets=NORM_TARGETS,
        form="ours are sums over factors in float64, no teleport is made", **facts(TELEPORTS),
    )  # fmt: skip
    hold(entry, NORM_TARGETS)
