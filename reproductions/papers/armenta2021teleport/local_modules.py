"""Sums over all entries of a module's weights or gradient, for many changes of basis at once.

Entries that share a factor are added up first, in float64: the taps of a kernel, and the pixels of
a channel that a flattened layer reads. What is left of VGG-16 is a seventh of its weights.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from reproductions.optim.change_of_basis import Moments, draw
from reproductions.optim.module_teleport import Plan, trace
from reproductions.optim.module_walk import Rule

Values = Mapping[str, Tensor]
AT_ONCE = 512  # changes of basis
CHUNK = {"cpu": 1 << 17, "cuda": 1 << 25}  # entries in float64 at a time


class Module:
    """A traced module whose channels all have a factor of their own, before normalisations too.

    Activations and sums are conjugated, as in the authors' code; so the law of gradients holds
    exactly, in training mode too.

    Args:
        network: traced in the mode it is in.
        example: an input.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.network = network
        self.plan = trace(network, example, mode="general")
        self.runs = {rule.name: _run(rule.into) for rule in self.plan.rules}
        rules = tuple(self._compacted(rule) for rule in self.plan.rules)
        self.compact: Plan = dataclasses.replace(self.plan, rules=rules)

    def on(self, network: nn.Module) -> Module:
        """Return the same for another network of the same layers, without tracing it."""
        found = copy.copy(self)
        found.network = network
        return found

    def _compacted(self, rule: Rule) -> Rule:
        run = self.runs[rule.name]
        into = rule.into[:, ::run] if run > 1 else rule.into
        # as many dimensions on both sides, of size one where a factor is shared
        return rule._replace(into=into.reshape((1,) * (rule.out.ndim - into.ndim) + into.shape))

    @property
    def weights(self) -> dict[str, Tensor]:
        """Return the parameters by name."""
        return {name: one.detach() for name, one in self.network.named_parameters()}

    @property
    def statistics(self) -> float:
        """Return the sum of squares of running means and variances."""
        buffers = (one for one in self.network.buffers() if one.is_floating_point())
        return float(sum(one.double().square().sum().item() for one in buffers))

    def gradient(self, images: Tensor, labels: Tensor, seed: int = 0) -> dict[str, Tensor]:
        """Return the gradient of the mean cross-entropy by name; the seed is of dropped units."""
        self.network.zero_grad(set_to_none=True)
        # the 10 bits of a TF32 product would show in angles; cuDNN itself stays on
        cudnn = torch.backends.cudnn
        exact = cudnn.flags(enabled=True, deterministic=cudnn.deterministic, allow_tf32=False)
        with exact, torch.random.fork_rng([images.device] if images.is_cuda else []):
            torch.manual_seed(seed)
            nn.functional.cross_entropy(self.network(images), labels).backward()
        found = {name: one.grad for name, one in self.network.named_parameters()}
        self.network.zero_grad(set_to_none=True)
        return {name: one for name, one in found.items() if one is not None}

    def draw(self, sigma: float, source: torch.Generator, count: int) -> Tensor:
        """Draw changes of basis (count, U), uniform on [1 - sigma, 1 + sigma]."""
        return draw((count, self.plan.units), sigma, source)

    def products(self, one: Values, other: Values) -> Sums:
        """Return what sums products of entries times powers of their factors."""
        return self.pairs((one, other), ((0, 1),))[0]

    def pairs(self, vectors: Sequence[Values], numbers: Sequence[tuple[int, int]]) -> list[Sums]:
        """Return what sums the products of each pair of vectors, from one pass over all vectors.

        Args:
            vectors: with the names of the first.
            numbers: of the two vectors of each pair.
        """
        blocks: list[dict[str, Tensor]] = [{} for _ in numbers]
        for name in vectors[0]:
            found = self._blocks(name, [vector[name] for vector in vectors], numbers)
            for own, block in zip(blocks, found, strict=True):
                own[name] = block
        return [Sums(self, own) for own in blocks]

    def _blocks(
        self, name: str, values: list[Tensor], numbers: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Add up the products of the entries that share a factor, a few rows at a time."""
        run, found = self.runs.get(name, 1), list[Tensor]()
        for start, wide in _chunks(values):
            parts = [_added_up(wide[one] * wide[other], run) for one, other in numbers]
            found = found or [part.new_empty(len(values[0]), *part.shape[1:]) for part in parts]
            for own, part in zip(found, parts, strict=True):
                own[start : start + len(part)] = part
        return found


def inner(one: Values, others: Sequence[Values]) -> list[float]:
    """Return the inner products of one vector with others, float64."""
    found = [0.0] * len(others)
    for name in one:
        for _, (own, *wide) in _chunks([vector[name] for vector in (one, *others)]):
            parts = [own.flatten().dot(other.flatten()).item() for other in wide]
            found = [total + part for total, part in zip(found, parts, strict=True)]
    return found


def _chunks(values: list[Tensor]) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield the first row of every few rows, and these in float64."""
    rows = max(1, CHUNK[values[0].device.type] * len(values[0]) // values[0].numel())
    for number, parts in enumerate(zip(*(value.split(rows) for value in values), strict=True)):
        yield number * rows, [part.double() for part in parts]


class Sums:
    """Sum products of entries of a module, which blocks hold, times powers of their factors."""

    def __init__(self, module: Module, blocks: dict[str, Tensor]) -> None:
        self._plan = module.compact
        self._ruled = {name: block for name, block in blocks.items() if name in module.runs}
        self._totals = {name: block.sum().item() for name, block in blocks.items()}
        self._still = sum(self._totals[name] for name in set(blocks) - set(self._ruled))
        sides = {rule.name: (_free(rule.out), _free(rule.into)) for rule in self._plan.rules}
        self._sides = {name: sides.get(name, (False, False)) for name in blocks}

    def __call__(self, tau: Tensor, power: int) -> Tensor:
        """Return the sums (T,), float64, for changes of basis (T, U)."""
        # a power of tau is a change of basis too, and far smaller than the factors it makes
        parts = (tau**power).split(AT_ONCE)
        found = [self._plan.bilinear(self._ruled, part, power=1) for part in parts]
        return torch.cat(found) + self._still

    @property
    def total(self) -> float:
        """Return the sum without factors."""
        return sum(self._totals.values())

    def expected(self, out: float, into: float) -> float:
        """Return the mean where outputs contribute a factor of this mean, and inputs of that.

        Independent factors on both sides of every parameter are taken for granted.
        """
        return sum(
            total * (out if self._sides[name][0] else 1.0) * (into if self._sides[name][1] else 1.0)
            for name, total in self._totals.items()
        )


def swapped(factor: Moments) -> Moments:
    """Return what inverse factors do to squares."""
    return Moments(factor.inverse_square, factor.square)


def _added_up(product: Tensor, run: int) -> Tensor:
    if product.ndim > 2:
        return product.sum(tuple(range(2, product.ndim)), keepdim=True)
    return product.view(len(product), -1, run).sum(2) if run > 1 else product


def _free(numbers: Tensor) -> bool:
    free = numbers > 0
    if free.any() and not free.all():
        raise ValueError("some channels on this side have a factor and some have none")
    return bool(free.all())


def _run(into: Tensor) -> int:
    """Return how many columns in a row share their factor, all along (1, columns)."""
    if into.ndim != 2 or into.numel() == 1:
        return 1
    run = into.numel() // into.unique().numel()
    if into.numel() % run or run == into.numel():
        return 1
    rows = into.view(-1, run)
    return run if bool((rows == rows[:, :1]).all()) else 1
