"""One exact saddle-free Newton update of 16 networks 100-5-10, a minibatch of 1,000, float64.

An update is loss, gradient and Hessian (565 parameters), its eigendecomposition, and the damping of
six that lowers the loss most. The peer is what torch offers: one network written as a function,
differentiated twice by torch.func, `torch.linalg.eigh`, six losses, one member after the other. Our
own updates, one member at a time, tell how much of the ratio is the Hessian and how much batching:
the decompositions, most of what is left, go one after the other in both.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.second_order import DAMPINGS, update

from .conftest import THREADS
from .recording import hold, report, side_by_side

LAYOUT = Layout((100, 5, 10))
MEMBERS, EXAMPLES, ROUNDS = 16, 1_000, 5
ROWS = 32  # of the Hessian at a time, the peer's fastest of those tried; so is its composition
F64 = torch.float64
TARGETS = {"torch.func loop": 4.0, "own loop": 0.8}


def case(members: int, examples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta (E, P), inputs and targets."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(examples, LAYOUT.widths[0], generator=source, dtype=F64)
    targets = torch.randint(0, LAYOUT.widths[-1], (examples,), generator=source)
    return LAYOUT.initialise(range(members), dtype=F64), inputs, targets


def ours(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return theta after one update of all members."""
    return update(NetworkLoss(LAYOUT, inputs, targets), theta).theta


def own_loop(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the same, a member at a time."""
    return torch.cat([ours(one, inputs, targets) for one in theta.split(1)])


def func_loop(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the same from torch.func, a member at a time.

    jacrev of grad; torch.func.hessian itself, jacfwd of jacrev, takes about twice as long.
    """

    def loss(own: Tensor) -> Tensor:
        (first, bias), (second, last) = LAYOUT.views(own[None])
        logits = torch.tanh(inputs @ first[0] + bias[0]) @ second[0] + last[0]
        return nn.functional.cross_entropy(logits, targets)

    slope = torch.func.grad(loss)
    curvature = torch.func.jacrev(slope, chunk_size=ROWS)

    def step(own: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(curvature(own))
        coefficients = vectors.T @ slope(own)
        tried = [own - vectors @ (coefficients / (values.abs() + d)) for d in DAMPINGS]
        return min(tried, key=lambda one: loss(one).item())

    return torch.stack([step(own) for own in theta])


def test_contenders_make_the_same_update():
    of = case(3, 200)
    wanted = func_loop(*of)
    for one in (ours, own_loop):
        assert (one(*of) - wanted).abs().max() < 1e-8 * wanted.abs().max()


@pytest.mark.benchmark_run
def test_batched_saddle_free_newton_is_faster_than_a_loop(benchmark: Any):
    of = case(MEMBERS, EXAMPLES)
    seconds = side_by_side(
        benchmark,
        lambda: ours(*of),
        {"torch.func loop": lambda: func_loop(*of), "own loop": lambda: own_loop(*of)},
        rounds=ROUNDS,
    )
    entry = report(
        "exact saddle-free Newton 100-5-10",
        seconds,
        per=MEMBERS,
        unit="member update",
        versions=dict.fromkeys(TARGETS, "torch"),
        shapes={
            "members": MEMBERS,
            "examples": EXAMPLES,
            "widths": list(LAYOUT.widths),
            "parameters": LAYOUT.parameters,
        },
        threads=THREADS,
        targets=TARGETS,
        inputs="uniform random numbers, none zero",
    )
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, TARGETS)
