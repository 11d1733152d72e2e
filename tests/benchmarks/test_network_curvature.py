"""Products with the Hessian, and the Hessian, of networks: by hand against differentiating twice.

The peer differentiates the gradient once more, as users of torch do: afresh at every product, or
through the graph of one gradient, kept for all products at the same parameters. By hand the passes
at the parameters are kept, so it is the second that is the like. Where the products of matrices are
all the work, as in the autoencoder, both do as many and little can be won over it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import network_curvature
from reproductions.optim.network_loss import NetworkLoss

from .conftest import THREADS
from .recording import hold, report, side_by_side

ROUNDS, FEW = 30, 5
AFRESH, KEPT, FUNC = "double backward", "kept graph", "torch.func"
PLAIN: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


class Product(NamedTuple):
    """A network, its data, and how much faster than each peer a product is to be."""

    name: str
    widths: tuple[int, ...]
    activations: list[str]
    head: str
    examples: int
    targets: dict[str, float]


PRODUCTS = [
    Product(
        "Hessian-vector product 100-50-10",
        (100, 50, 10),
        ["tanh"],
        "softmax",
        10_000,
        {AFRESH: 2.0, KEPT: 1.3},
    ),
    Product(
        "Hessian-vector product of a deep autoencoder",
        (784, 1000, 500, 250, 30, 250, 500, 1000, 784),
        ["sigmoid"] * 3 + ["linear"] + ["sigmoid"] * 3,
        "bernoulli",
        200,
        {AFRESH: 1.3},
    ),
]


def contenders(of: Product) -> dict[str, Callable[[], Tensor]]:
    """Return what makes the same product (1, P) each, float32, one vector."""
    layout, source = Layout(of.widths), torch.Generator().manual_seed(0)
    inputs = torch.rand(of.examples, of.widths[0], generator=source)
    labels = torch.randint(0, of.widths[-1], (of.examples,), generator=source)
    targets = labels if of.head == "softmax" else inputs
    theta, vector = layout.initialise([0]), torch.randn(1, layout.parameters, generator=source)
    ours = NetworkLoss(layout, inputs, targets, activations=of.activations, head=of.head)
    model = nn.Sequential()
    for made, (ins, outs) in enumerate(zip(of.widths, of.widths[1:], strict=False)):
        model.append(nn.Linear(ins, outs))
        if made < len(of.activations):
            model.append(PLAIN[of.activations[made]]())
    nn.utils.vector_to_parameters(theta[0], model.parameters())
    weights = list(model.parameters())
    moves = [part.view_as(w) for part, w in zip(_split(vector, weights), weights, strict=True)]

    def slopes() -> tuple[Tensor, ...]:
        logits = model(inputs)
        if of.head == "softmax":
            loss = nn.functional.cross_entropy(logits, targets)
        else:
            total = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
            loss = total / len(inputs)
        return torch.autograd.grad(loss, weights, create_graph=True)

    def afresh() -> Tensor:
        along = sum((own * move).sum() for own, move in zip(slopes(), moves, strict=True))
        return _flat(torch.autograd.grad(along, weights))

    graph = slopes()

    def kept() -> Tensor:
        return _flat(torch.autograd.grad(graph, weights, moves, retain_graph=True))

    product = ours.linearise(theta)
    return {"ours": lambda: product(vector), AFRESH: afresh, KEPT: kept}


def _split(vector: Tensor, like: list[nn.Parameter]) -> tuple[Tensor, ...]:
    return vector[0].split([weight.numel() for weight in like])


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])[None]


@pytest.mark.parametrize("of", PRODUCTS, ids=lambda of: of.name)
def test_all_products_are_the_same(of: Product):
    ours, *others = (run() for run in contenders(of._replace(examples=20)).values())
    for other in others:
        assert (ours - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.benchmark_run
@pytest.mark.parametrize("of", PRODUCTS, ids=lambda of: of.name)
def test_products_by_hand_are_faster(benchmark: Any, of: Product):
    peers = contenders(of)
    seconds = side_by_side(benchmark, peers.pop("ours"), peers, rounds=ROUNDS)
    entry = report(
        of.name,
        seconds,
        per=1,
        unit="product",
        versions={AFRESH: "torch", KEPT: "torch"},
        shapes={"examples": of.examples, "widths": list(of.widths)},
        threads=THREADS,
        targets=of.targets,
    )
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, of.targets)


DENSE = Layout((100, 5, 10))
MEMBERS, EXAMPLES, SLICE = 16, 2_000, 500  # the peer has a slice: its time grows with the examples
TARGET = 5.0


def dense(members: int, examples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta (E, P), inputs of which none is zero, and targets."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(examples, DENSE.widths[0], generator=source, dtype=torch.float64)
    targets = torch.randint(0, DENSE.widths[-1], (examples,), generator=source)
    return DENSE.initialise(range(members), dtype=torch.float64), inputs, targets


def functional_hessian(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return torch.func's Hessians, member after member."""

    def loss(own: Tensor) -> Tensor:
        (first, bias), (second, last) = DENSE.views(own[None])
        logits = torch.tanh(inputs @ first[0] + bias[0]) @ second[0] + last[0]
        return nn.functional.cross_entropy(logits, targets)

    hessian = torch.func.hessian(loss)
    return torch.stack([hessian(own) for own in theta])


def test_all_hessians_are_the_same():
    of = dense(2, 50)
    assert (network_curvature(DENSE, *of).hessian - functional_hessian(*of)).abs().max() < 1e-12


@pytest.mark.benchmark_run
def test_the_hessians_of_an_ensemble_from_structure_are_faster(benchmark: Any):
    whole, some = dense(MEMBERS, EXAMPLES), dense(1, SLICE)
    seconds = side_by_side(
        benchmark,
        lambda: network_curvature(DENSE, *whole),
        {FUNC: lambda: functional_hessian(*some)},
        rounds=FEW,
    )
    factor = MEMBERS * EXAMPLES / SLICE
    seconds[FUNC] = [spent * factor for spent in seconds[FUNC]]
    entry = report(
        "dense Hessians of an ensemble 100-5-10",
        seconds,
        per=MEMBERS,
        unit="Hessian",
        versions={FUNC: "torch"},
        shapes={"members": MEMBERS, "examples": EXAMPLES, "widths": list(DENSE.widths)},
        threads=THREADS,
        targets={FUNC: TARGET},
        extrapolated_from={FUNC: f"one member, {SLICE} examples"},
        inputs="uniform random numbers, none zero",
    )
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, {FUNC: TARGET})
