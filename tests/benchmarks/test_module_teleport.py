"""What a teleport of ResNet-50 costs beside a forward pass of one image.

Traced once; float32, eval mode, in place. Every second teleport is by the inverse of the last, so
that weights stay where they are. The second peer is what the definition suggests: the factors of
a weight as an array of its size, a new weight from them, and both copied.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.harness.dataset_torchvision import import_torchvision
from reproductions.optim.device import generator
from reproductions.optim.module_plan import Plan
from reproductions.optim.module_scaling import named_by, tensors_of
from reproductions.optim.module_teleport import trace

from .conftest import THREADS
from .recording import hold, ratio, report, side_by_side

ROUNDS = 12
TARGETS = {"forward pass": 1.0}  # a teleport takes at most as long


def resnet50() -> nn.Module:
    return import_torchvision().models.resnet50(weights=None).eval()


def images() -> Tensor:
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def teleporting(plan: Plan, module: nn.Module) -> Callable[[], None]:
    """Return what teleports a module to and fro."""
    tau = plan.draw(0.5, generator(0, 0))
    turns = cycle([tau, tau.reciprocal()])
    return lambda: plan.apply(module, next(turns))


def plainly(plan: Plan, module: nn.Module) -> Callable[[], None]:
    """Return what does the same by factors of full size."""
    tau = plan.draw(0.5, generator(0, 0))
    turns, named = cycle([tau, tau.reciprocal()]), tensors_of(module)

    @torch.no_grad()
    def teleport() -> None:
        factors = plan.factors(next(turns), module)
        for rule in plan.rules:
            tensor = named_by(rule, named)
            factor = factors[rule.name].to(tensor.dtype).expand(tensor.shape).contiguous()
            tensor.copy_(tensor * factor)

    return teleport


@torch.no_grad()
def test_contenders_make_the_same_teleport():
    module, other = resnet50(), resnet50()
    other.load_state_dict(module.state_dict())
    plan = trace(module, images())
    teleporting(plan, module)()
    plainly(plan, other)()
    for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.benchmark_run
def test_a_teleport_takes_no_longer_than_a_forward_pass(benchmark: Any):
    module, example = resnet50(), images()
    plan = trace(module, example)

    @torch.no_grad()
    def forward() -> Tensor:
        return module(example)

    peers: dict[str, Callable[[], object]] = {
        "forward pass": forward,
        "full factors": plainly(plan, module),
    }
    seconds = side_by_side(benchmark, teleporting(plan, module), peers, rounds=ROUNDS)
    shapes = {"image": [1, 3, 224, 224], "units": plan.units, "tensors": len(plan.rules)}
    versions = {"forward pass": "torchvision", "full factors": "torch"}
    entry = report(
        "teleport of ResNet-50",
        seconds,
        per=1,
        unit="teleport",
        versions=versions,
        shapes=shapes,
        threads=THREADS,
        targets=TARGETS,
    )
    benchmark.extra_info["forward passes"] = 1 / ratio(seconds, "forward pass")
    hold(entry, TARGETS)
