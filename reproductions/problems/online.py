"""Online problems of one real variable: at step t = 1, 2, ... the player pays a_t shape(x_t).

The slopes a_t repeat with a period or are drawn independently. Many lanes (one per ensemble member)
run side by side, each with its own slopes, so that a map over (C, beta2) is one ensemble.

Source: Reddi, Kale, Kumar 2018, sections 3 and 5; Shi, Li, Hong, Sun 2021, problem (1); Zhang, Chen,
Shi, Sun, Luo 2022, problems (2.3) and (2.5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK = 8192  # draws are made in chunks of this many steps, each from its own generator
_NO_PERIOD = 2.0**53


class Cyclic(NamedTuple):
    """Slopes that repeat: pattern (E, longest period), period (E,) int64; t = 1 is entry 0."""

    pattern: Tensor
    period: Tensor


class Drawn(NamedTuple):
    """Independent slopes: values (E, V), cumulative (E, V - 1), and the draws each lane follows.

    Lanes with the same seed see the same uniform numbers u_t; a lane's slope is values[j] where j
    counts its cumulative probabilities that u_t has reached.
    """

    values: Tensor
    cumulative: Tensor
    seeds: tuple[int, ...]


@dataclass
class OnlineProblem:
    """Bundle E lanes of slopes with what regret is counted against.

    Args:
        parts: slopes of consecutive lanes.
        optimum: best fixed point x* of each lane, (E,).
        mean_slope: mean of a_t of each lane, (E,).
        box: interval that x is clipped to after each step, or None.
        kinked: shape(x) is x, or where kinked x for x >= -1 and (x + 2)^2 / 2 - 3/2 below.
    """

    parts: Sequence[Cyclic | Drawn]
    optimum: Tensor
    mean_slope: Tensor
    box: tuple[float, float] | None = (-1.0, 1.0)
    kinked: bool = False
    _drawn: dict = field(default_factory=dict, repr=False)

    @property
    def lanes(self) -> int:
        """Return E."""
        return self.optimum.numel()

    @property
    def period(self) -> Tensor:
        """Return each lane's period (E,) as float64; beyond any run where there is none."""
        return torch.cat(
            [
                part.period.double()
                if isinstance(part, Cyclic)
                else torch.full((len(part.seeds),), _NO_PERIOD, dtype=torch.float64)
                for part in self.parts
            ]
        )

    def slopes(self, start: int, count: int) -> Tensor:
        """Return a_t for t = start ... start + count - 1, shape (count, E) float64.

        The numbers depend on t and the lane alone, not on where blocks begin or on E.
        """
        return torch.cat([self._block(part, start, count) for part in self.parts], dim=1)

    def _block(self, part: Cyclic | Drawn, start: int, count: int) -> Tensor:
        if isinstance(part, Cyclic):
            steps = torch.arange(start - 1, start - 1 + count)
            return part.pattern.T.gather(0, steps[:, None] % part.period[None, :])
        seeds = sorted(set(part.seeds))
        draws = torch.stack([self._uniform(seed, start, count) for seed in seeds], dim=1)
        own = draws[:, [seeds.index(seed) for seed in part.seeds]]
        slopes = part.values[:, 0].expand(count, -1)
        for j in range(part.cumulative.shape[1]):
            slopes = torch.where(own >= part.cumulative[:, j], part.values[:, j + 1], slopes)
        return slopes

    def _uniform(self, seed: int, start: int, count: int) -> Tensor:
        first, last = (start - 1) // _CHUNK, (start + count - 2) // _CHUNK
        chunks = [self._chunk(seed, number) for number in range(first, last + 1)]
        offset = start - 1 - first * _CHUNK
        return torch.cat(chunks)[offset : offset + count]

    def _chunk(self, seed: int, number: int) -> Tensor:
        """Return one chunk of a seed's uniform numbers; only the newest of a seed is kept."""
        kept = self._drawn.get(seed)
        if kept is None or kept[0] != number:
            digest = hashlib.sha256(f"online {seed} {number}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            kept = number, torch.rand(_CHUNK, generator=generator, dtype=torch.float64)
            self._drawn[seed] = kept
        return kept[1]


def cyclic(patterns: Sequence[Sequence[float]], optimum: float = -1.0) -> OnlineProblem:
    """Make one lane per pattern of slopes, each repeated for ever."""
    longest = max(len(pattern) for pattern in patterns)
    table = torch.zeros(len(patterns), longest, dtype=torch.float64)
    for row, pattern in zip(table, patterns, strict=True):
        row[: len(pattern)] = torch.tensor(pattern, dtype=torch.float64)
    period = torch.tensor([len(pattern) for pattern in patterns])
    mean = table.sum(dim=1) / period
    return OnlineProblem([Cyclic(table, period)], torch.full_like(mean, optimum), mean)


def drawn(
    values: Sequence[Sequence[float]],
    probabilities: Sequence[Sequence[float]],
    seeds: Sequence[int],
    optimum: float = -1.0,
) -> OnlineProblem:
    """Make one lane per row of slope values, drawn independently with the row's probabilities.

    Raises:
        ValueError: probabilities that do not sum to 1, or are negative.
    """
    table = torch.tensor(values, dtype=torch.float64)
    chances = torch.tensor(probabilities, dtype=torch.float64)
    if (chances < 0).any() or not torch.allclose(chances.sum(1), torch.ones(len(chances)).double()):
        raise ValueError("probabilities must not be negative and must sum to 1 in each lane")
    part = Drawn(table, chances.cumsum(1)[:, :-1], tuple(seeds))
    mean = (table * chances).sum(1)
    return OnlineProblem([part], torch.full_like(mean, optimum), mean)


def concatenate(problems: Sequence[OnlineProblem]) -> OnlineProblem:
    """Run the lanes of several problems as one ensemble; box and shape must agree.

    Raises:
        ValueError: problems with another box or shape than the first.
    """
    first = problems[0]
    if any((made.box, made.kinked) != (first.box, first.kinked) for made in problems):
        raise ValueError("problems of one ensemble must have the same box and shape")
    return OnlineProblem(
        [part for made in problems for part in made.parts],
        torch.cat([made.optimum for made in problems]),
        torch.cat([made.mean_slope for made in problems]),
        first.box,
        first.kinked,
    )


def periodic(constants: Sequence[float], periods: Sequence[int]) -> OnlineProblem:
    """Pay C x when t mod period = 1, else -x, on [-1, 1] (Theorems 1 and 2)."""
    pairs = zip(constants, periods, strict=True)
    return cyclic([[constant] + [-1.0] * (period - 1) for constant, period in pairs])


def reddi_online(lanes: int = 1) -> OnlineProblem:
    """Pay 1010 x when t mod 101 = 1, else -10 x, on [-1, 1] (Figure 1 left and centre)."""
    return cyclic([[1010.0] + [-10.0] * 100] * lanes)


def reddi_stochastic(seeds: Sequence[int]) -> OnlineProblem:
    """Pay 1010 x with probability 0.01, else -10 x, on [-1, 1] (Figure 1 right)."""
    return drawn([[1010.0, -10.0]] * len(seeds), [[0.01, 0.99]] * len(seeds), seeds)


def theorem_3(constant: float, delta: float, seeds: Sequence[int]) -> OnlineProblem:
    """Pay C x with probability (1 + delta)/(C + 1), else -x: the mean slope is delta (Theorem 3)."""
    chance = (1 + delta) / (constant + 1)
    return drawn([[constant, -1.0]] * len(seeds), [[chance, 1 - chance]] * len(seeds), seeds)


def lecture(seeds: Sequence[int]) -> OnlineProblem:
    """Draw one of -3x, x, x + 1 at each step; the mean slope is -1/3, so descent is towards +x."""
    return drawn([[-3.0, 1.0]] * len(seeds), [[1 / 3, 2 / 3]] * len(seeds), seeds, optimum=1.0)


def zhang_2_5(n: int, seeds: Sequence[int]) -> OnlineProblem:
    """Draw one of n functions: slope 1 + (n-1) a once, -a else, a = 1/(n-1)^2; no box, x* = -2.

    Source: Zhang et al. 2022 (journal version), problem (2.5).
    """
    a = 1 / (n - 1) ** 2
    values, chances = [[1 + (n - 1) * a, -a]] * len(seeds), [[1 / n, 1 - 1 / n]] * len(seeds)
    problem = drawn(values, chances, seeds, optimum=-2.0)
    problem.box, problem.kinked = None, True
    return problem
