"""Modules that are teleported as they are, and their outputs before and after."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from reproductions.harness.datasets import import_torchvision
from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.module_teleport import trace
from reproductions.papers.armenta2021teleport.images import Progress
from reproductions.papers.armenta2021teleport.small_modules import SMALL

EXAMPLES, BASIS = 52, 53  # purposes in a generator's key
PRECISIONS = {"relative_change": torch.float64, "absolute_change": torch.float32}
# googlenet's auxiliary outputs stand in training mode only, and its own way to draw is slow
OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False}}


class Plan(NamedTuple):
    """Which modules are teleported; see the room's configuration."""

    names: Sequence[str]
    side: int
    images: int
    sigma: float
    seeds: int
    device: str
    root_seed: int


def rows(found: Rows, plan: Plan, progress: Progress) -> None:
    """Teleport every module once, in both precisions, and add how far its outputs move."""
    for number, name in enumerate(plan.names):
        for seed in range(plan.seeds):
            for quantity, value in changes(name, seed, plan).items():
                found.add(arm=name, quantity=quantity, value=value, seed=seed, protocol="module")
        progress((number + 1) / len(plan.names), name)


def build(name: str, seed: int) -> nn.Module:
    """Return a module with random weights: one of SMALL, else torchvision's of that name.

    Raises:
        ValueError: naming one that neither knows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in SMALL:
            return SMALL[name]()
        models = import_torchvision().models
        if name not in models.list_models():
            known = ", ".join(SMALL)
            raise ValueError(f"modules: {name!r} is neither one of {known} nor torchvision's")
        made: nn.Module = models.get_model(
            name, weights=None, num_classes=10, **OPTIONS.get(name, {})
        )
        return made


def changes(name: str, seed: int, plan: Plan) -> dict[str, float]:
    """Return how far the outputs of a module move, relative in float64 and absolute in float32.

    Statistics of batch normalisation are first those of a batch of images, not 0 and 1.
    """
    source = generator(plan.root_seed, seed, EXAMPLES)
    shape = (plan.images, 3, plan.side, plan.side)
    x = torch.rand(shape, generator=source, dtype=torch.float64).to(plan.device)
    module = build(name, seed).to(plan.device, torch.float64)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        module.train()(x)  # dropout draws, and leaves nothing behind
        teleports = trace(module.eval(), x[:1])
        tau = teleports.draw(plan.sigma, generator(plan.root_seed, seed, BASIS))
        found = {}
        for quantity, dtype in PRECISIONS.items():
            own = copy.deepcopy(module).to(dtype)
            before = own(x.to(dtype)).double()
            gap = teleports.teleport(own, tau, inplace=True)(x.to(dtype)).double() - before
            scale = before.abs().max() if quantity == "relative_change" else 1.0
            found[quantity] = float(gap.abs().max() / scale)
    return found
