"""The angles of Figure 4 for VGG-16, from one backward pass for each minibatch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.papers.armenta2021teleport import angles, conv_nets
from reproductions.papers.armenta2021teleport.angles import Steps
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.papers.armenta2021teleport.local_modules import Module, Values

ARM = "vgg16"
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
TELEPORTS, VECTORS = 36, 37  # purposes in a generator's key


class Plan(NamedTuple):
    """What is teleported how often; see the room's configuration."""

    network: str
    batches: list[int]
    sources: list[str]
    sigmas: list[float]
    teleports: int
    vectors: int
    precisions: list[str]
    root_seed: int


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Measure the angles of one network in training mode, its gradients in the given precisions.

    Raises:
        ValueError: naming an unknown precision.
    """
    for precision in plan.precisions:
        if precision not in PRECISIONS:
            raise ValueError(f"precisions are {', '.join(PRECISIONS)}, got {precision!r}")
    found, own = Rows(angles.UNITS), conv_nets.build(plan.network, plan.root_seed, scheme="fan_out")
    own = own.to(data.train.device).train()
    count = sum(one.numel() for one in own.parameters())
    found.add(arm=ARM, quantity="parameters", value=count)
    module = Module(own, data.train[:2])
    taus = [
        module.draw(sigma, generator(plan.root_seed, 0, TELEPORTS), plan.teleports)
        for sigma in plan.sigmas
    ]
    for number, precision in enumerate(sorted(plan.precisions), start=1):
        own.to(PRECISIONS[precision])  # from single to double, which keeps the weights
        gradients = _gradients(found, module, data, plan, taus, precision)
        progress(0.6 * number / len(plan.precisions))
    _random(found, module, plan, taus[0], gradients)
    return found


def _gradients(
    found: Rows, module: Module, data: Images, plan: Plan, taus: list[Tensor], precision: str
) -> list[tuple[dict, Values]]:
    """Add the angles with the gradient of every minibatch; return the gradients."""
    weights = module.weights
    kept: list[tuple[dict, Values]] = []
    square = module.products(weights, weights)
    parts = {"clean": [angles.clean(tau) for tau in taus],
             "compounded": [angles.compounded(tau) for tau in taus]}  # fmt: skip
    steps = {
        protocol: Steps(*(torch.cat(part) for part in zip(*own, strict=True)))
        for protocol, own in parts.items()
    }
    length = {protocol: angles.lengths(square, own) for protocol, own in steps.items()}
    for source, images, labels in angles.batches(data, max(plan.batches), plan.root_seed, 0):
        for batch in plan.batches if source in plan.sources else []:
            x = images[:batch].to(next(iter(weights.values())))
            gradient = module.gradient(x, labels[:batch], plan.root_seed)
            product, steep = (module.products(gradient, one) for one in (weights, gradient))
            about = {"arm": ARM, "source": source, "batch": batch, "precision": precision}
            for protocol, own in steps.items():
                cos = angles.cosines(product, steep, length[protocol], own)
                angle = angles.degrees(cos).view(len(taus), -1)
                angles.add(found, angle, plan.sigmas, 0, "displacement-gradient", protocol, about)
            kept.append((about, gradient))
    return kept


def _random(
    found: Rows, module: Module, plan: Plan, tau: Tensor, gradients: list[tuple[dict, Values]]
) -> None:
    """Add angles with random vectors: one vector for several displacements, another for itself."""
    weights, cos = module.weights, dict[tuple[str, int], list[float]]()
    kept: list[list[float]] = [[] for _ in gradients]
    length = angles.lengths(module.products(weights, weights), angles.clean(tau))
    slopes = [module.products(own, own).total ** 0.5 for _, own in gradients]
    for number in range(plan.vectors):
        one, other = _pair(weights, generator(plan.root_seed, number, VECTORS))
        long, wide = (module.products(own, own).total ** 0.5 for own in (one, other))
        cos["random-random", number] = [module.products(one, other).total / (long * wide)]
        along, mine = module.products(one, weights), slice(number, None, plan.vectors)
        moved = (along(tau[mine], 1) - along.total) / (length[mine] * long)
        cos["displacement-random", number] = moved.tolist()
        for found_here, slope, (_, own) in zip(kept, slopes, gradients, strict=True):
            found_here.append(module.products(own, one).total / (long * slope))
    plain = {"arm": ARM, "source": "none", "batch": 0, "precision": gradients[0][0]["precision"]}
    for pair in ("displacement-random", "random-random"):
        found_cos = [c for (kind, _), some in cos.items() if kind == pair for c in some]
        angle = angles.degrees(torch.tensor(found_cos, dtype=torch.float64))[None]
        angles.add(found, angle, plan.sigmas[:1], 0, pair, "clean", plain)
    for cosines, (about, _) in zip(kept, gradients, strict=True):
        angle = angles.degrees(torch.tensor(cosines, dtype=torch.float64))[None]
        angles.add(found, angle, plan.sigmas[:1], 0, "gradient-random", "clean", about)


def _pair(like: Values, source: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Draw two vectors, by name, of entries uniform in [-0.5, 0.5]."""
    first, second = (
        {
            name: torch.rand(value.shape, generator=source).sub_(0.5).to(value.device)
            for name, value in like.items()
        }
        for _ in range(2)
    )
    return first, second
