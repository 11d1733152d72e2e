"""The same change of gradients for convolutional networks in training mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import Moments
from reproductions.optim.device import generator
from reproductions.papers.armenta2021teleport import conv_nets
from reproductions.papers.armenta2021teleport.gradient_change import (
    TELEPORTS,
    UNITS,
    Plan,
    Squares,
    Subject,
    measure,
    minibatches,
)
from reproductions.papers.armenta2021teleport.images import Images, Progress
from reproductions.papers.armenta2021teleport.local_modules import Module, Sums, swapped

LAW = "tiny"  # the network on which the law is checked by backpropagation


def convolutional(
    data: Images, networks: list[str], seeds: list[int], plan: Plan, progress: Progress
) -> Rows:
    """Measure networks of these names, each for as many initial weights as seeds says.

    Raises:
        ValueError: where there are not as many seeds as networks.
    """
    if len(networks) != len(seeds):
        raise ValueError(f"seeds must be as many as networks, {len(networks)}, got {seeds}")
    found, done = Rows(UNITS), 0
    for name, count in zip(networks, seeds, strict=True):
        module = None
        for seed in range(count):
            own = network(name, seed, plan.root_seed, data.train)
            # traced once: bases hang together by the layers, not by the weights
            module = module.on(own) if module else Module(own, data.train[:2])
            measure(found, subject(name, module), data, plan, seed)
            done += 1
            progress(done / sum(seeds))
    _law(found, data, plan)
    return found


def network(name: str, seed: int, root_seed: int, like: Tensor) -> nn.Sequential:
    """Return a network with torch's own initial weights, in training mode, where `like` is."""
    key = int(torch.randint(2**31, (1,), generator=generator(root_seed, seed)).item())
    return conv_nets.build(name, key).to(like.device).train()


def subject(name: str, module: Module) -> Subject:
    """Return a module as a subject; its running statistics count as they are at the start."""

    def gradient(images: Tensor, labels: Tensor) -> Squares:
        found = module.gradient(images, labels)
        return _squares(module.products(found, found), -2)

    weights = module.weights
    own_squares = _squares(module.products(weights, weights), 2)
    return Subject(name, own_squares, module.statistics, gradient, module.draw)


def _squares(sums: Sums, power: int) -> Squares:
    def expected(factor: Moments) -> float:
        return sums.expected(*(factor if power > 0 else swapped(factor)))

    return Squares(sums.total, lambda tau: sums(tau, power), expected)


def _law(found: Rows, data: Images, plan: Plan) -> None:
    """Add how far the closed form is from backpropagation through a teleported module, float64."""
    own = network(LAW, 0, plan.root_seed, data.train).double()
    module = Module(own, data.train[:2].double())
    _, images, labels = minibatches(data, plan, 0)[0]
    before = module.gradient(images.double(), labels)
    sums = module.products(before, before)
    for number, sigma in enumerate((plan.sigmas[0], plan.sigmas[-1])):
        tau = module.draw(sigma, generator(plan.root_seed, 0, TELEPORTS, number), 1)
        moved = module.plan.teleport(own, tau[0]).train()
        nn.functional.cross_entropy(moved(images.double()), labels).backward()
        there = sum(one.grad.square().sum().item() for one in moved.parameters()
                    if one.grad is not None)  # fmt: skip
        found.add(arm=LAW, quantity="law_error", value=abs(sums(tau, -2).item() / there - 1),
                  sigma=sigma, protocol="clean", batch=0)  # fmt: skip
