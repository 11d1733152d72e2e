"""torchvision's networks as they are: teleports change weights by a lot and outputs by rounding.

Random weights and running statistics, inputs of 1 x 3 x 32 x 32, ten outputs; float32 outputs are
compared after scaling their largest entry to one. For time's sake VGG has two layers of 64 units in
place of 4096, networks of SIBLINGS are left out, those of REPEATED alone are teleported 10 + 10
times, and those of CONJUGATED alone conjugated. REPRODUCTIONS_WIDE_TESTS=1 does all of it for all.
"""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.device import generator
from reproductions.optim.module_plan import Plan
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, from_torchvision, largest, outputs, relative, source

WIDE = os.environ.get("REPRODUCTIONS_WIDE_TESTS") == "1"
SIGMA, EXACT, SINGLE = 0.9, 1e-13, 1e-5
SIBLINGS = ("vgg11_bn", "vgg16", "resnet34", "mobilenet_v3_large", "regnet_x_400mf")
CONJUGATED = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x1_0")
REPEATED = ("resnet18", "mobilenet_v3_small")
# how many scalars there are, by what each may be
UNITS = {
    "vgg11": {"positive": 2752 + 128},
    "vgg16": {"positive": 4224 + 128},
    "vgg11_bn": {"free": 2752, "positive": 2752 + 128},
    "vgg16_bn": {"free": 4224, "positive": 4224 + 128},
    "resnet18": {"free": 4800, "positive": 2880},
    "resnet34": {"free": 8512, "positive": 4736},
    "resnet50": {"free": 26560, "positive": 11456},
    "densenet121": {"free": 10240, "positive": 41824},
    "mobilenet_v2": {"free": 17768},
    "mobilenet_v3_small": {"free": 6280, "positive": 928},
    "mobilenet_v3_large": {"free": 12616, "positive": 1936},
    "googlenet": {"free": 7280, "positive": 7280},
    "efficientnet_b0": {"free": 21792},
    "convnext_tiny": {"free": 14688},
    "regnet_x_400mf": {"free": 18928, "positive": 12848},
    "regnet_y_400mf": {"free": 13576, "positive": 10288},
    "shufflenet_v2_x1_0": {"free": 10550, "positive": 5630},
}


def images() -> Tensor:
    return torch.randn(1, 3, 32, 32, generator=source(1), dtype=F64)


def changed(plan: Plan, before: nn.Module, after: nn.Module) -> bool:
    named = dict(after.named_parameters())
    return all(
        not torch.equal(value, named[name])
        for name, value in before.named_parameters()
        if name in plan.aliases
    )


def journey(plan: Plan, seed: int) -> list[Tensor]:
    """Return ten changes of basis that each replace the last, and ten that come on top of it."""
    drawn = [plan.draw(SIGMA, generator(seed, at)) for at in range(20)]
    replaced = [drawn[0], *(new / old for old, new in pairwise(drawn[:10]))]
    return [*replaced, *drawn[10:]]


@pytest.mark.parametrize("name", [name for name in UNITS if WIDE or name not in SIBLINGS])
def test_outputs_of_a_torchvision_network_stay_and_its_weights_do_not(name: str):
    module, example = from_torchvision(name, narrow=not WIDE), images()
    plan = trace(module, example)
    if not (WIDE and name.startswith("vgg")):
        counts = {kind: plan.constraints.count(kind) for kind in set(plan.constraints)}
        assert counts == UNITS[name]
    for dtype in (F64, torch.float32):
        module, example = module.to(dtype), example.to(dtype)
        before = outputs(module, example)
        other = plan.teleport(module, plan.draw(SIGMA, generator(0, 0)))
        assert changed(plan, module, other)
        _close(outputs(other, example), before)
        if WIDE or name in REPEATED:
            for tau in journey(plan, 1):
                plan.apply(other, tau)
            _close(outputs(other, example), before)


def _close(found: Tensor, wanted: Tensor) -> None:
    if found.dtype == F64:
        assert relative(found, wanted) <= EXACT
    assert largest(found, wanted) <= SINGLE


@torch.no_grad()
def test_auxiliary_heads_are_in_the_plan_of_a_network_traced_while_training():
    module = from_torchvision("googlenet").train()
    for child in module.modules():
        child.train(not isinstance(child, nn.Dropout))  # whose masks are drawn anew
    example = torch.randn(2, 3, 64, 64, generator=source(1), dtype=F64)
    plan = trace(module, example)
    other = plan.teleport(module, plan.draw(SIGMA, generator(0, 0)))
    found, wanted = other(example), module(example)
    assert len(found) == 3
    for one, two in zip(found, wanted, strict=True):
        assert relative(one, two) <= EXACT
    assert not torch.equal(module.aux1.conv.conv.weight, other.aux1.conv.conv.weight)


@pytest.mark.parametrize("name", UNITS if WIDE else CONJUGATED)
def test_conjugated_torchvision_networks_stay_exact_with_signs(name: str):
    module, example = from_torchvision(name), images()
    plan = trace(module, example, mode="general")
    assert set(plan.constraints) == {"free"}
    tau = plan.draw(SIGMA, generator(0, 0), kind="inter")
    other = plan.teleport(module, tau)
    assert (tau < 0).any()
    assert type(module)._get_name(other) == type(module).__name__
    assert relative(outputs(other, example), outputs(module, example)) <= EXACT
    assert changed(plan, module, other)
