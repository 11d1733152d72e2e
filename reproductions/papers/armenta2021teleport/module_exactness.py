"""Modules that are teleported as they are, and their outputs before and after."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reproductions.harness.datasets import import_torchvision
from reproductions.harness.tables import Rows
from reproductions.optim import module_teleport
from reproductions.optim.device import generator
from reproductions.papers.armenta2021teleport.images import Progress
from reproductions.papers.armenta2021teleport.small_modules import SMALL

EXAMPLES, BASIS = 52, 53  # purposes in a generator's key
PRECISIONS = {"relative_change": torch.float64, "absolute_change": torch.float32}
SEQUENCES = ("repeated", "compounded")  # the first teleport of either is "once"
FAMILIES = {"intra": "modules", "general": "conjugated modules"}
# by mode, the kind of draw: in general mode factors may have either sign
KINDS = {"intra": "intra", "general": "inter"}
# googlenet's auxiliary outputs stand in training mode only, and its own way to draw is slow
OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False}}


class Plan(NamedTuple):
    """Which modules are teleported; see the room's configuration."""

    names: Sequence[str]
    conjugated: Sequence[str]
    side: int
    images: int
    sigma: float
    teleports: int
    seeds: int
    device: str
    root_seed: int


def rows(found: Rows, plan: Plan, progress: Progress) -> None:
    """Teleport every module in both precisions, and add how far its outputs move."""
    every = [(name, "intra") for name in plan.names]
    every += [(name, "general") for name in plan.conjugated]
    for number, (name, mode) in enumerate(every):
        for seed in range(plan.seeds):
            for (quantity, protocol), value in changes(name, seed, plan, mode).items():
                found.add(arm=name + ", conjugated" * (mode == "general"), quantity=quantity,
                          value=value, seed=seed, protocol=protocol, family=FAMILIES[mode])  # fmt: skip
        progress((number + 1) / len(every), name)


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


def changes(name: str, seed: int, plan: Plan, mode: str = "intra") -> dict[tuple[str, str], float]:
    """Return how far the outputs of a module move, relative in float64 and absolute in float32.

    Statistics of batch normalisation are first those of a batch of images, not 0 and 1.

    Returns:
        By quantity and protocol, the largest over all teleports of the protocol.
    """
    source = generator(plan.root_seed, seed, EXAMPLES)
    shape = (plan.images, 3, plan.side, plan.side)
    x = torch.rand(shape, generator=source, dtype=torch.float64).to(plan.device)
    module = build(name, seed).to(plan.device, torch.float64)
    found = {}
    with torch.no_grad(), torch.random.fork_rng(devices=[]), full_precision():
        module.train()(x)  # dropout draws, and leaves nothing behind
        teleports = module_teleport.trace(module.eval(), x[:1], mode=mode)
        bases = [
            teleports.draw(plan.sigma, generator(plan.root_seed, seed, BASIS, number), KINDS[mode])
            for number in range(plan.teleports)
        ]
        for quantity, dtype in PRECISIONS.items():
            own, inputs = copy.deepcopy(module).to(dtype), x.to(dtype)
            before = own(inputs).double()
            scale = before.abs().max() if quantity == "relative_change" else 1.0
            for protocol in SEQUENCES:
                gaps = torch.stack(
                    [
                        (moved(inputs).double() - before).abs().max() / scale
                        for moved in sequence(teleports, own, bases, protocol)
                    ]
                )
                found[quantity, "once"] = float(gaps[0])
                found[quantity, protocol] = float(gaps.max())
    return found


def sequence(
    teleports: module_teleport.Plan, module: nn.Module, bases: Sequence[Tensor], protocol: str
) -> Iterator[nn.Module]:
    """Yield a module teleport by teleport; the next one changes it in place.

    Source: multiple-teleport test of the authors' code; see `exactness.sequence`.
    """
    for number, tau in enumerate(bases):
        module = teleports.teleport(module, tau, inplace=number > 0)
        yield module
        if protocol == "repeated":
            teleports.undo(module, tau, inplace=True)


def full_precision() -> AbstractContextManager[None]:
    """Return a context in which float32 convolutions of a GPU are not rounded to TF32."""
    # flags() sets all that it knows, and would switch cuDNN off unless told
    quiet: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    )
    return quiet
