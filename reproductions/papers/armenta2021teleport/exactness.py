"""How exactly the function stays, for fully connected networks and for modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import random_basis, teleport
from reproductions.papers.armenta2021teleport import module_exactness
from reproductions.papers.armenta2021teleport.images import Progress
from reproductions.papers.armenta2021teleport.moments import outputs

UNITS = {"relative_change": "1", "absolute_change": "1"}
EXAMPLES = 51  # in a generator's key
NETWORKS = {"relu": "intra", "tanh": "inter", "sigmoid": "inter"}
PROTOCOLS = ("once", "repeated", "compounded")
PRECISIONS = {"relative_change": torch.float64, "absolute_change": torch.float32}


class Plan(NamedTuple):
    """What is teleported; see the room's configuration."""

    widths: tuple[int, ...]
    sigma: float
    teleports: int
    examples: int
    seeds: int
    device: str
    root_seed: int


def rows(plan: Plan, modules: module_exactness.Plan, progress: Progress) -> Rows:
    """Teleport fully connected networks, then modules."""
    found = Rows(UNITS)
    fully_connected(found, plan)
    module_exactness.rows(found, modules, progress)
    return found


def fully_connected(found: Rows, plan: Plan) -> None:
    """Teleport ensembles once, again and again, and on top of each other."""
    layout, seeds = Layout(plan.widths), range(plan.seeds)
    source = generator(plan.root_seed, 0, EXAMPLES)
    x = torch.rand(plan.examples, plan.widths[0], generator=source, dtype=torch.float64)
    for activation, kind in NETWORKS.items():
        bases = _bases(layout, seeds, plan, kind)
        for quantity, dtype in PRECISIONS.items():
            start = layout.initialise(
                seeds, root_seed=plan.root_seed, dtype=dtype, device=plan.device
            )
            inputs = x.to(start)
            before = outputs(layout, start, inputs, activation)
            for protocol in PROTOCOLS:
                worst = torch.zeros(plan.seeds, dtype=torch.float64)
                for theta, tau in sequence(layout, start, bases, protocol):
                    # a ReLU network with positive factors stays an ordinary one
                    basis = None if kind == "intra" else tau
                    after = outputs(layout, theta, inputs, activation, basis)
                    worst = torch.maximum(worst, change(before, after, quantity).cpu())
                found.add(arm=activation, quantity=quantity, value=worst, seed=seeds,
                          protocol=protocol, family="layers")  # fmt: skip


def _bases(layout: Layout, seeds: Sequence[int], plan: Plan, kind: str) -> list[Tensor]:
    return [
        random_basis(layout, seeds, plan.sigma, kind=kind, root_seed=plan.root_seed + number)
        for number in range(plan.teleports)
    ]


def sequence(
    layout: Layout, theta: Tensor, bases: Sequence[Tensor], protocol: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the weights (E, P) and their whole change of basis (E, U), teleport by teleport.

    Source: multiple-teleport test of the authors' code: "repeated" undoes a teleport before the
    next, by the same roundings, "compounded" adds it to those before.

    Raises:
        ValueError: naming an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    whole = torch.ones_like(bases[0])
    for tau in bases[:1] if protocol == "once" else bases:
        theta = teleport(layout, theta, tau)
        whole = whole * tau if protocol == "compounded" else tau
        yield theta, whole
        if protocol == "repeated":
            theta = teleport(layout, theta, 1 / tau)


def change(before: Tensor, after: Tensor, quantity: str) -> Tensor:
    """Return the largest change of the outputs (E, N, K) of every member, (E,), float64.

    Relative to the largest output for "relative_change".
    """
    gap = (after.double() - before.double()).abs().amax((1, 2))
    return gap / before.double().abs().amax((1, 2)) if quantity == "relative_change" else gap
