"""What Path-SGD costs beside SGD, and kappa beside a second network of squared weights.

A step is gradient and update of one network 784-4000-4000-10 on a minibatch of 100, float32. Three
pairs: our own descent, which never stores the gradient, with Path-SGD and with SGD; PathSGD and
torch.optim.SGD on the same module. kappa's peer is what the definition suggests and the authors'
code does: a copy of the network with squared parameters that is fed ones and differentiated by
autograd, kept from step to step so that only its values are copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.advance import descending
from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.path_optimizer import PathSGD
from reproductions.optim.path_scaling import path_rates, path_scaling
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.transform import Transform
from reproductions.problems.mlp import MLP

from .conftest import THREADS
from .recording import hold, ratio, report, side_by_side

WIDTHS, BATCH, ROUNDS = (784, 4000, 4000, 10), 100, 12
STEP_TARGETS = {"sgd": 1 / 1.5}  # Path-SGD takes at most 1.5 times as long
KAPPA_TARGETS = {"squared network": 3.0}


def data(width: int, classes: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(1, BATCH, width, generator=source)
    return inputs, torch.randint(0, classes, (1, BATCH), generator=source)


def module(layout: Layout, theta: Tensor) -> nn.Sequential:
    """Return the same network as a module."""
    parts: list[nn.Module] = []
    for weight, bias in layout.views(theta):
        linear = nn.Linear(weight.shape[1], weight.shape[2], device="meta")
        linear.weight = nn.Parameter(weight[0].mT.clone())
        linear.bias = nn.Parameter(bias[0].clone())
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def descent(layout: Layout, transform: Transform, theta: Tensor) -> Callable[[], Tensor]:
    """Return a step of our own loop."""
    own, advance = theta.clone(), descending(MLP(layout), transform)
    state = [transform.init(own)]
    inputs, targets = data(layout.widths[0], layout.widths[-1])
    alive = torch.ones(1, dtype=torch.bool)

    def step() -> Tensor:
        _, state[0], _ = advance(own, state[0], inputs, targets, alive)
        return own[0]

    return step


def stepping(
    model: nn.Module, optimizer: torch.optim.Optimizer, layout: Layout
) -> Callable[[], Any]:
    """Return a step of torch's loop."""
    inputs, targets = data(layout.widths[0], layout.widths[-1])

    def step() -> Tensor:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[0]), targets[0]).backward()
        optimizer.step()
        return (
            nn.utils.parameters_to_vector(model.parameters()) if layout.parameters < 1e4 else None
        )

    return step


def squared_network(model: nn.Module) -> Callable[[], list[Tensor]]:
    """Return what finds kappa by a second network and autograd."""
    second, width = copy.deepcopy(model), next(model.parameters()).shape[1]

    def kappa() -> list[Tensor]:
        own = list(second.parameters())
        with torch.no_grad():
            for copied, parameter in zip(own, model.parameters(), strict=True):
                torch.square(parameter, out=copied)
        outputs = second(torch.ones(1, width))
        return list(torch.autograd.grad(outputs.sum(), own))

    return kappa


def test_contenders_make_the_same_step_and_the_same_kappa():
    layout = Layout((6, 9, 7, 3))
    theta = layout.initialise([0])
    for transform, optimizer in (
        (path_sgd(layout, 0.01), lambda own: PathSGD(own, 0.01)),
        (sgd(0.01), lambda own: torch.optim.SGD(own.parameters(), 0.01)),
    ):
        model = module(layout, theta)
        ours, peer = descent(layout, transform, theta), stepping(model, optimizer(model), layout)
        for _ in range(2):
            torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=1e-6)
    wanted = torch.cat([part.flatten() for part in squared_network(module(layout, theta))()])
    torch.testing.assert_close(path_scaling(layout, theta)[0], wanted, rtol=1e-5, atol=0)


def facts() -> dict[str, Any]:
    shapes = {"widths": list(WIDTHS), "batch": BATCH, "parameters": Layout(WIDTHS).parameters}
    return {"shapes": shapes, "threads": THREADS, "versions": {}}


@pytest.mark.benchmark_run
@pytest.mark.parametrize("loop", ["descent", "torch.optim"])
def test_a_step_costs_little_more_than_one_of_sgd(benchmark: Any, loop: str):
    layout = Layout(WIDTHS)
    theta = layout.initialise([0])
    if loop == "descent":
        ours, peer = (
            descent(layout, own(1e-6), theta) for own in (lambda lr: path_sgd(layout, lr), sgd)
        )
    else:
        models = [module(layout, theta) for _ in range(2)]
        ours = stepping(models[0], PathSGD(models[0], 1e-6), layout)
        peer = stepping(models[1], torch.optim.SGD(models[1].parameters(), 1e-6), layout)
    seconds = side_by_side(benchmark, ours, {"sgd": peer}, rounds=ROUNDS)
    known = facts() | {"versions": {"sgd": "torch"}, "targets": STEP_TARGETS}
    entry = report(f"Path-SGD step, {loop}", seconds, per=1, unit="step", **known)
    benchmark.extra_info["times sgd"] = 1 / ratio(seconds, "sgd")
    hold(entry, STEP_TARGETS)


@pytest.mark.benchmark_run
def test_kappa_is_found_faster_than_by_a_second_network(benchmark: Any):
    layout = Layout(WIDTHS)
    theta = layout.initialise([0])
    peer = squared_network(module(layout, theta))
    seconds = side_by_side(
        benchmark,
        lambda: path_rates(layout.views(theta)),
        {"squared network": peer},
        rounds=ROUNDS,
    )
    known = facts() | {"versions": {"squared network": "torch"}, "targets": KAPPA_TARGETS}
    note = "ours gives kappa as outer products, which is all that a step needs"
    entry = report("path scaling kappa", seconds, per=1, unit="kappa", form=note, **known)
    hold(entry, KAPPA_TARGETS)
