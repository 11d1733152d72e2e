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
from reproductions.papers.armenta2021teleport.local_modules import Module, Values, inner

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


class Moves(NamedTuple):
    """Displacements of one protocol, range after range.

    Fields:
        sigmas: these ranges, (S,).
        steps: what makes the displacements.
        lengths: theirs, (T,), equally many of each range.
    """

    sigmas: list[float]
    steps: Steps
    lengths: Tensor


class Slope(NamedTuple):
    """A gradient: what it is of, itself, and its length."""

    about: dict[str, object]
    values: Values
    length: float


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
        module.draw(sigma, generator(plan.root_seed, 0, TELEPORTS, number), plan.teleports)
        for number, sigma in enumerate(plan.sigmas)  # no two ranges share a draw
    ]
    moves = _moves(module, taus, plan.sigmas)
    for number, precision in enumerate(sorted(plan.precisions), start=1):
        own.to(PRECISIONS[precision])  # from single to double, which keeps the weights
        gradients = _gradients(found, module, data, plan, moves, precision)
        progress(0.6 * number / len(plan.precisions))
    lengths = moves["clean"].lengths[: plan.teleports]
    _random(found, module, plan, taus[0], lengths, gradients)
    return found


def _moves(module: Module, taus: list[Tensor], sigmas: list[float]) -> dict[str, Moves]:
    """Return the displacements of both protocols, of the authors' loop at their range alone."""
    square = module.products(module.weights, module.weights)
    made = {
        "clean": (sigmas, angles.joined(angles.clean, taus)),
        "compounded": (sigmas[:1], angles.compounded(taus[0])),
    }
    return {
        protocol: Moves(ranges, own, angles.lengths(square, own))
        for protocol, (ranges, own) in made.items()
    }


def _gradients(
    found: Rows,
    module: Module,
    data: Images,
    plan: Plan,
    moves: dict[str, Moves],
    precision: str,
) -> list[Slope]:
    """Add the angles with the gradient of every minibatch; return the gradients."""
    weights, kept = module.weights, list[Slope]()
    for source, images, labels in angles.batches(data, max(plan.batches), plan.root_seed, 0):
        for batch in plan.batches if source in plan.sources else []:
            x = images[:batch].to(next(iter(weights.values())))
            gradient = module.gradient(x, labels[:batch], plan.root_seed)
            product, steep = module.pairs((gradient, weights), ((0, 1), (0, 0)))
            about = {"arm": ARM, "source": source, "batch": batch, "precision": precision}
            for protocol, (sigmas, steps, lengths) in moves.items():
                angle = angles.degrees(angles.cosines(product, steep, lengths, steps))
                angles.add(found, angle.view(len(sigmas), -1), sigmas, 0,
                           "displacement-gradient", protocol, about)  # fmt: skip
            kept.append(Slope(about, gradient, steep.total**0.5))
    return kept


def _random(
    found: Rows, module: Module, plan: Plan, tau: Tensor, lengths: Tensor, gradients: list[Slope]
) -> None:
    """Add angles with random vectors: each with several displacements, and with the one before.

    Two pairs that share a vector have uncorrelated cosines, so half the draws do.
    """
    weights, kept = module.weights, [list[float]() for _ in gradients]
    cos: dict[str, list[float]] = {"displacement-random": [], "random-random": []}
    one, before = (
        {k: torch.empty_like(own, dtype=torch.float32) for k, own in weights.items()}
        for _ in range(2)
    )
    _draw(before, generator(plan.root_seed, 0, VECTORS))
    width = inner(before, [before])[0] ** 0.5
    for number in range(plan.vectors):
        _draw(one, generator(plan.root_seed, number + 1, VECTORS))
        others = [one, before, *(slope.values for slope in gradients)]
        square, beside, *steep = inner(one, others)
        long, mine = square**0.5, slice(number, None, plan.vectors)
        cos["random-random"].append(beside / (long * width))
        along = module.products(one, weights)
        moved = (along(tau[mine], 1) - along.total) / (lengths[mine] * long)
        cos["displacement-random"] += moved.tolist()
        for own, slope, product in zip(kept, gradients, steep, strict=True):
            own.append(product / (long * slope.length))
        one, before, width = before, one, long
    precision = gradients[0].about["precision"]
    plain = {"arm": ARM, "source": "none", "batch": 0, "precision": precision}
    for pair, values in cos.items():
        _add(found, values, plan, pair, plain)
    for values, slope in zip(kept, gradients, strict=True):
        _add(found, values, plan, "gradient-random", slope.about)


def _add(found: Rows, cosines: list[float], plan: Plan, pair: str, about: dict) -> None:
    angle = angles.degrees(torch.tensor(cosines, dtype=torch.float64))[None]
    angles.add(found, angle, plan.sigmas[:1], 0, pair, "clean", about)


def _draw(vector: dict[str, Tensor], source: torch.Generator) -> None:
    """Fill a vector with numbers uniform in [-0.5, 0.5], the same on every device."""
    for value in vector.values():
        here = value if value.is_cpu else torch.empty(value.shape)
        value.copy_(here.uniform_(-0.5, 0.5, generator=source))
