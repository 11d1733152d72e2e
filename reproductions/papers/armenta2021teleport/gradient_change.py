"""How much longer or shorter gradient and weights are after a teleport, for many at once.

The gradient at a teleported network is the gradient over the factors of its weights, so its squared
length, like that of the weights, is a sum over squares times factors: one backward pass serves every
change of basis, and the mean over all of them has a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import Moments, moments
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import norms, random_basis, teleport, units
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.problems.mlp import MLP

CLASSES = 10
UNITS = dict.fromkeys(
    ("published", "gradient_square", "weight_square", "expected_gradient_square",
     "expected_weight_square", "law_error"), "1",
)  # fmt: skip
BATCHES, TELEPORTS = 34, 35  # purposes in a generator's key
PROTOCOLS = ("clean", "compounded")


class Plan(NamedTuple):
    """What is teleported how often; see the room's configuration."""

    sigmas: list[float]
    batches: int
    batch: int
    teleports: int
    root_seed: int


class Squares(NamedTuple):
    """Squares of all weights of a network, or of all entries of its gradient.

    Fields:
        total: their sum.
        moved: changes of basis (T, U) -> the sums (T,) after these teleports.
        expected: what independent factors do to squares -> the sum's mean.
    """

    total: float
    moved: Callable[[Tensor], Tensor]
    expected: Callable[[Moments], float]


class Subject(NamedTuple):
    """A network whose gradient changes.

    Fields:
        name: of the network, the arm of its rows.
        weights: their squares.
        statistics: sum of squares of running statistics, which the authors count as weights.
        gradient: images and labels -> the squares of the gradient of the mean cross-entropy.
        draw: range, generator, count -> changes of basis (T, U).
    """

    name: str
    weights: Squares
    statistics: float
    gradient: Callable[[Tensor, Tensor], Squares]
    draw: Callable[[float, torch.Generator, int], Tensor]


def mlp(layout: Layout, theta: Tensor) -> Subject:
    """Return a fully connected ReLU network as a subject, theta (P,)."""
    problem, square = MLP(layout), theta.double().square()

    def gradient(images: Tensor, labels: Tensor) -> Squares:
        x = images.flatten(1).to(theta)
        found = problem.gradient(theta[None], x[None], labels[None])[1][0]
        return layered(layout, found.double().square(), -2)

    def draw(sigma: float, source: torch.Generator, count: int) -> Tensor:
        unit = torch.rand(count, units(layout), generator=source, dtype=torch.float64)
        return (1 + (2 * unit - 1) * sigma).to(theta.device)

    return Subject("mlp", layered(layout, square, 2), 0.0, gradient, draw)


def layered(layout: Layout, square: Tensor, power: int) -> Squares:
    """Return squares (P,) of weights (power 2) or of a gradient (power -2) of a layered network."""

    parts = [(w.sum().item(), b.sum().item()) for w, b in layout.views(square[None])]

    def expected(factor: Moments) -> float:
        above, below = factor if power > 0 else factor[::-1]
        total, last = 0.0, len(parts) - 1
        for depth, (weight, bias) in enumerate(parts):
            out = 1.0 if depth == last else above
            total += out * (bias + (below if depth else 1.0) * weight)
        return total

    return Squares(
        square.sum().item(), lambda tau: norms(layout, square, tau, power=power), expected
    )


def fully_connected(
    data: Images, hidden: list[int], seeds: int, plan: Plan, progress: Progress
) -> Rows:
    """Measure networks of the given hidden widths."""
    found, layout = Rows(UNITS), Layout((data.train[0].numel(), *hidden, CLASSES))
    for seed in range(seeds):
        theta = layout.initialise([seed], root_seed=plan.root_seed, device=data.train.device)[0]
        measure(found, mlp(layout, theta), data, plan, seed)
        if seed == 0:
            _law(found, layout, theta, data, plan)
        progress((seed + 1) / seeds)
    return found


def measure(found: Rows, subject: Subject, data: Images, plan: Plan, seed: int) -> None:
    """Add what teleports of one network change, by the clean and by the authors' protocol."""
    count = plan.batches * plan.teleports
    draws = _draws(subject, plan, seed, count)
    weights = subject.weights.moved(draws.flatten(0, 2)).view(draws.shape[:3])
    for place, images, labels in minibatches(data, plan, seed):
        own = slice(place * plan.teleports, (place + 1) * plan.teleports)
        squares = subject.gradient(images, labels)
        gradients = squares.moved(draws[:, :, own].flatten(0, 2)).view(*draws.shape[:2], -1)
        before = (squares.total / (subject.weights.total + subject.statistics)) ** 0.5
        after = (gradients / (weights[:, :, own] + subject.statistics)).sqrt()
        values = {
            "published": (after - before).abs(),
            "gradient_square": gradients / squares.total,
            "weight_square": weights[:, :, own] / subject.weights.total,
        }
        about: dict[str, Any] = {"arm": subject.name, "seed": seed, "batch": place,
                 "sigma": np.array(plan.sigmas)[:, None]}  # fmt: skip
        for number, protocol in enumerate(PROTOCOLS):
            for quantity, value in values.items():
                found.add(quantity=quantity, value=value[number].cpu(), protocol=protocol,
                          index=range(count)[own], **about)  # fmt: skip
            for quantity, part in (("gradient", squares), ("weight", subject.weights)):
                means = [part.expected(factors(protocol, sigma)) for sigma in plan.sigmas]
                found.add(quantity=f"expected_{quantity}_square", protocol=protocol, index=place,
                          value=np.array(means)[:, None] / part.total, **about)  # fmt: skip


def factors(protocol: str, sigma: float) -> Moments:
    """Return what the factors of a protocol do to squares.

    In the authors' loop a factor is a ratio of two draws: it and its inverse have mean square A B.
    """
    one = moments(sigma)
    return one if protocol == "clean" else Moments(*2 * (one.square * one.inverse_square,))


def _draws(subject: Subject, plan: Plan, seed: int, count: int) -> Tensor:
    """Return the factors (2, S, T, U) of both protocols; no two of the S ranges share a draw.

    The authors' loop puts back weights but not the change of basis, which the next teleport first
    undoes: its factors are tau_new / tau_old. One more draw than teleports makes all of them so.
    """
    taus = torch.stack([
        subject.draw(sigma, generator(plan.root_seed, seed, TELEPORTS, number), count + 1)
        for number, sigma in enumerate(plan.sigmas)
    ])  # fmt: skip
    return torch.stack([taus[:, 1:], taus[:, 1:] / taus[:, :-1]])


def minibatches(data: Images, plan: Plan, seed: int) -> list[tuple[int, Tensor, Tensor]]:
    """Return number, images and labels of the minibatches of one network, none drawn twice."""
    order = torch.randperm(len(data.train), generator=generator(plan.root_seed, seed, BATCHES))
    parts = order[: plan.batches * plan.batch].to(data.train.device).split(plan.batch)
    return [(number, data.train[own], data.labels[own]) for number, own in enumerate(parts)]


def _law(found: Rows, layout: Layout, theta: Tensor, data: Images, plan: Plan) -> None:
    """Add how far the closed form is from backpropagation through teleported networks, float64."""
    theta, (_, images, labels) = theta.double(), minibatches(data, plan, 0)[0]
    subject = mlp(layout, theta)
    squares = subject.gradient(images, labels)
    for number, sigma in enumerate((plan.sigmas[0], plan.sigmas[-1])):
        tau = random_basis(layout, [number], sigma, root_seed=plan.root_seed).to(theta.device)
        there = mlp(layout, teleport(layout, theta[None], tau)[0]).gradient(images, labels)
        error = abs(squares.moved(tau).item() / there.total - 1)
        found.add(arm="mlp", quantity="law_error", value=error, sigma=sigma, protocol="clean",
                  batch=0)  # fmt: skip
