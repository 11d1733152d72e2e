"""Angles between the displacement of a small teleportation, the gradient and random vectors.

A teleport by factors D displaces weights w by (D - 1) w. Its inner products and its length are sums
over weights of w g, w^2 and g^2 times powers of D, so that no teleport is made; everything is in
float64, for at sigma 0.001 all but the seventh digit of those sums cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import norms, random_basis, scaling
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.problems.mlp import MLP

CLASSES = 10
UNITS = {
    "angle": "degree", "parameters": "1", "expected_offset": "degree", "expected_spread": "degree"
}  # fmt: skip
BATCHES, VECTORS, RANDOM_DATA = 31, 32, 33  # purposes in a generator's key
APART = 1_000_000  # between the seeds of the teleports of one network and of the next
KURTOSIS = 0.8  # variance of x^2 over (mean of x^2)^2, x uniform around 0

Sums = Callable[
    [Tensor, int], Tensor
]  # changes of basis (T, U), power -> entries times factors^power


class Plan(NamedTuple):
    """What is teleported how often; see the room's configuration."""

    hidden: int
    batches: list[int]
    sigmas: list[float]
    teleports: int
    networks: int
    root_seed: int


class Steps(NamedTuple):
    """What a loop of teleports applies to the weights, and where it takes the gradient.

    Fields:
        factors: (T, U), from the weights to the teleported ones.
        before: (T, U), from the weights to where the gradient is taken, or (1, U) for all.
    """

    factors: Tensor
    before: Tensor


def clean(tau: Tensor) -> Steps:
    """Return the steps of teleports that each start from the weights, as does the gradient."""
    return Steps(tau, torch.ones_like(tau[:1]))


def compounded(tau: Tensor) -> Steps:
    """Return the steps of the authors' loop, with tau (T, U) in the order of the draws.

    It puts the weights back but not the change of basis, which the next teleport undoes first: from
    the second draw on factors are tau_new / tau_old. The gradient is that at the previous point.
    """
    factors = torch.cat([tau[:1], tau[1:] / tau[:-1]])
    return Steps(factors, torch.cat([torch.ones_like(tau[:1]), factors[:-1]]))


def joined(protocol: Callable[[Tensor], Steps], taus: list[Tensor]) -> Steps:
    """Return the steps of several loops, one after the other."""
    factors, before = zip(*(protocol(tau) for tau in taus), strict=True)
    one = all(len(part) == 1 for part in before)  # then it is the same for all loops
    return Steps(torch.cat(factors), before[0] if one else torch.cat(before))


def cosines(product: Sums, steep: Sums, length: Tensor, steps: Steps) -> Tensor:
    """Return the cosine (T,) between displacement and gradient.

    The gradient where it is taken is that at the weights over the factors that led there, which
    holds for positively homogeneous activations; where it is taken at the weights they may be any.

    Args:
        product: sums over weight times gradient.
        steep: over the squares of the gradient.
        length: of the displacements, (T,).
    """
    inner = product(steps.factors / steps.before, 1) - product(steps.before, -1)
    return inner / (steep(steps.before, -2).sqrt() * length)


def lengths(square: Sums, steps: Steps) -> Tensor:
    """Return the lengths (T,) of the displacements, from sums over the squares of weights."""
    moved, here = steps.factors, torch.ones_like(steps.factors[:1])
    return (square(moved, 2) - 2 * square(moved, 1) + square(here, 1)).sqrt()


def degrees(cosine: Tensor) -> Tensor:
    """Return angles in degrees, on the CPU."""
    return torch.rad2deg(cosine.acos()).cpu()


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Measure the angles of networks with one hidden layer."""
    found, layout = Rows(UNITS), Layout((data.train[0].numel(), plan.hidden, CLASSES))
    found.add(arm="relu", quantity="parameters", value=layout.parameters)
    for seed in range(plan.networks):
        _network(found, layout, data, plan, seed)
        progress((seed + 1) / plan.networks)
    return found


def _network(found: Rows, layout: Layout, data: Images, plan: Plan, seed: int) -> None:
    """Add the angles of one network: with every gradient, and with random vectors."""
    device = data.train.device
    theta = layout.initialise(
        [seed], root_seed=plan.root_seed, dtype=torch.float64, device=device
    )[0]  # fmt: skip
    taus = []
    for number, sigma in enumerate(plan.sigmas):  # no two ranges share a draw
        first = seed * APART + number * plan.teleports
        seeds = range(first, first + plan.teleports)
        taus.append(random_basis(layout, seeds, sigma, root_seed=plan.root_seed).to(device))

    def sums(vector: Tensor) -> Sums:
        return lambda tau, power: norms(layout, vector, tau, power=power)

    given = list(_gradients(layout, theta, data, plan, seed))
    for protocol, steps in (("clean", clean), ("compounded", compounded)):
        made = joined(steps, taus)
        length = lengths(sums(theta.square()), made)
        for about, gradient in given:
            if protocol == "clean" or about["arm"] == "relu":
                cos = cosines(sums(theta * gradient), sums(gradient.square()), length, made)
                angle = degrees(cos).view(len(taus), -1)
                add(found, angle, plan.sigmas, seed, "displacement-gradient", protocol, about)
    _expect(found, layout, theta, given, plan.sigmas, seed)
    _random(found, layout, theta, given, taus[0], plan, seed)


def add(
    found: Rows,
    angle: Tensor,
    sigmas: list[float],
    seed: int,
    pair: str,
    protocol: str,
    about: dict,
) -> None:
    """Add angles (S, T), one row for each sigma."""
    for sigma, own in zip(sigmas, angle, strict=True):
        found.add(quantity="angle", value=own, seed=seed, index=range(len(own)), pair=pair,
                  protocol=protocol, sigma=sigma, **about)  # fmt: skip


def _gradients(
    layout: Layout, theta: Tensor, data: Images, plan: Plan, seed: int
) -> Iterator[tuple[dict, Tensor]]:
    """Yield what a gradient is of, and the gradient (P,)."""
    for source, images, labels in batches(data, max(plan.batches), plan.root_seed, seed):
        for batch in plan.batches:
            x, y = images[:batch].flatten(1).double(), labels[:batch]
            for activation in ("relu", "tanh"):
                gradient = MLP(layout, activation).gradient(theta[None], x[None], y[None])[1][0]
                yield {"arm": activation, "source": source, "batch": batch}, gradient


def batches(
    data: Images, size: int, root_seed: int, seed: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield a minibatch of the data set and one of random pixels and labels, with their names."""
    chosen = torch.randperm(len(data.train), generator=generator(root_seed, seed, BATCHES))[:size]
    chosen = chosen.to(data.train.device)
    yield "images", data.train[chosen], data.labels[chosen]
    source = generator(root_seed, seed, RANDOM_DATA)
    pixels = torch.rand((size, *data.train.shape[1:]), generator=source)
    labels = torch.randint(CLASSES, (size,), generator=source)
    yield "random", pixels.to(data.train.device), labels.to(data.train.device)


def _expect(
    found: Rows, layout: Layout, theta: Tensor, given: list, sigmas: list[float], seed: int
) -> None:
    """Add mean and spread of the angle of ReLU networks with one hidden layer, to leading order.

    A factor 1 + d of a unit gives displacement times gradient d^2 c, with c the sum of weight times
    gradient over what leaves the unit, which is that over what enters it.
    """
    (into, bias), (out, _) = ((w[0], b[0]) for w, b in layout.views(theta[None]))
    reach = (into.square().sum() + bias.square().sum() + out.square().sum()).sqrt()
    for about, gradient in given:
        if about["arm"] == "relu":
            units = (out * layout.views(gradient[None])[1][0][0]).sum(1)
            scale = torch.rad2deg(1 / (reach * gradient.norm())).item() / math.sqrt(3)
            for sigma in sigmas:
                own = {"seed": seed, "sigma": sigma, "protocol": "clean", **about}
                offset = -sigma * scale * units.sum().item()
                spread = sigma * scale * math.sqrt(KURTOSIS) * units.norm().item()
                found.add(quantity="expected_offset", value=offset, **own)
                found.add(quantity="expected_spread", value=spread, **own)


def _random(
    found: Rows, layout: Layout, theta: Tensor, given: list, tau: Tensor, plan: Plan, seed: int
) -> None:
    """Add angles with random vectors, a pair of them for each teleport, at the smallest range."""
    source, cos = generator(plan.root_seed, seed, VECTORS), {}
    gradients = torch.stack([gradient for _, gradient in given])
    gradients /= gradients.norm(dim=1, keepdim=True)
    for number in range(plan.teleports):
        one, other = (unit_vector(len(theta), source, theta) for _ in range(2))
        moved = (scaling(layout, tau[number][None])[0] - 1) * theta
        cos[number] = torch.stack([moved @ one / moved.norm(), one @ other, *(gradients @ one)])
    angle = degrees(torch.stack(list(cos.values()), 1))
    plain = {"arm": "relu", "source": "none", "batch": 0}
    sigma = plan.sigmas[:1]
    add(found, angle[:1], sigma, seed, "displacement-random", "clean", plain)
    add(found, angle[1:2], sigma, seed, "random-random", "clean", plain)
    for own, (about, _) in zip(angle[2:], given, strict=True):
        add(found, own[None], sigma, seed, "gradient-random", "clean", about)


def unit_vector(count: int, source: torch.Generator, like: Tensor) -> Tensor:
    """Draw a vector of numbers uniform in [-0.5, 0.5] and return it at length 1."""
    vector = (torch.rand(count, generator=source) - 0.5).to(like)
    return vector / vector.norm()
