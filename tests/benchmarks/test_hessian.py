"""The dense Hessian of one network 100-25-10 over 60,000 images, float64.

The images are uniform random numbers of MNIST's shape: none is zero, so nothing can be left out, as
on real images about half the work is.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import network_curvature

from .conftest import THREADS
from .recording import hold, report, side_by_side

LAYOUT = Layout((100, 25, 10))
IMAGES, SLICE = 60_000, 2_000  # the peer's time grows with the images: it has a slice of them
EXAMPLES, ROWS = 1_000, 32  # at a time, the peer's fastest of those tried; so is its composition
ROUNDS = 5
TARGET = 2.0
PEER = "torch.func"


def case(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta (1, P), inputs and targets."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(images, LAYOUT.widths[0], generator=source, dtype=torch.float64)
    targets = torch.randint(0, LAYOUT.widths[-1], (images,), generator=source)
    return LAYOUT.initialise([0], dtype=torch.float64), inputs, targets


def by_structure(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    return network_curvature(LAYOUT, theta, inputs, targets, activations="relu").hessian


def twice_reverse(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Sum torch.func's Hessian over chunks of examples, some rows at a time.

    jacrev of grad; torch.func.hessian itself, jacfwd of jacrev, takes no chunk of rows and several
    times as long.
    """

    def loss(own: Tensor, x: Tensor, y: Tensor) -> Tensor:
        (first, bias), (second, last) = LAYOUT.views(own[None])
        logits = torch.relu(x @ first[0] + bias[0]) @ second[0] + last[0]
        return torch.nn.functional.cross_entropy(logits, y, reduction="sum")

    hessian = torch.func.jacrev(torch.func.grad(loss), chunk_size=ROWS)
    total = torch.zeros(LAYOUT.parameters, LAYOUT.parameters, dtype=theta.dtype)
    for x, y in zip(inputs.split(EXAMPLES), targets.split(EXAMPLES), strict=True):
        total += hessian(theta[0], x, y)
    return total / len(inputs)


def test_both_hessians_are_the_same():
    of = case(50)
    assert (by_structure(*of)[0] - twice_reverse(*of)).abs().max() < 1e-10


@pytest.mark.benchmark_run
def test_the_hessian_from_structure_is_faster(benchmark: Any):
    whole, some = case(IMAGES), case(SLICE)
    seconds = side_by_side(
        benchmark,
        lambda: by_structure(*whole),
        {PEER: lambda: twice_reverse(*some)},
        rounds=ROUNDS,
    )
    seconds[PEER] = [spent * IMAGES / SLICE for spent in seconds[PEER]]
    entry = report(
        "dense Hessian 100-25-10",
        seconds,
        per=1,
        unit="Hessian",
        versions={PEER: "torch"},
        shapes={"images": IMAGES, "widths": list(LAYOUT.widths), "parameters": LAYOUT.parameters},
        threads=THREADS,
        targets={PEER: TARGET},
        extrapolated_from={PEER: f"{SLICE} images"},
        inputs="uniform random numbers, none zero",
    )
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, {PEER: TARGET})
