"""Metropolis annealing of an ensemble of chains: proposals, cooling, the loop.

Each chain draws from generators of its own seed, so it is the same in every ensemble.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from reproductions.optim.chain_draws import Draws
from reproductions.optim.device import generator
from reproductions.optim.train import Teller, marks_within

Energy = Callable[[Tensor], Tensor]  # theta (E, P) -> (E,)
Progress = Callable[[float, str], None]
START = 6  # the purpose in a generator's key: where a chain starts


class Flips(NamedTuple):
    """A proposal that changes few weights, all of one group of columns of theta."""

    group: int
    place: Tensor  # (E, k) within the group, distinct in a row
    columns: Tensor  # (E, k) of theta
    value: Tensor  # (E, k) what they become


Propose = Callable[[Tensor, Draws, int], Tensor | Flips]  # theta, draws, step -> what to try


@runtime_checkable
class Incremental(Protocol):
    """An energy that remembers the state, and so needs to see only what changes."""

    def start(self, theta: Tensor) -> Tensor:
        """Take theta (E, P) as the state, and return its energy (E,)."""

    def look(self, group: int, place: Tensor, value: Tensor) -> Tensor:
        """Return the energy (E,) of the state with places (E, k) of a group set to values (E, k)."""

    def keep(self, accepted: Tensor) -> None:
        """Make what was last looked at the state of the chains in the mask (E,)."""


class Annealed(NamedTuple):
    """What annealing leaves."""

    best: Tensor  # (E, P) of the least energy ever held
    best_energy: Tensor  # (E,)
    theta: Tensor  # (E, P) at the end
    energy: Tensor  # (E,)
    acceptance: Tensor  # (E,) share of the proposals accepted
    steps: list[int]  # the T recorded steps
    best_course: Tensor  # (T, E) least energy so far, on the CPU
    course: Tensor  # (T, E) energy held


def anneal(
    energy: Energy | Incremental,
    theta: Tensor,
    propose: Propose,
    *,
    steps: int,
    temperature: Callable[[int], float],
    seeds: Sequence[int],
    root_seed: int = 0,
    record_at: Sequence[int] = (),
    progress: Progress | None = None,
) -> Annealed:
    """Walk every chain by Metropolis' rule while it cools; keep the best state it held.

    A proposal that is not higher is accepted, one higher by dE with probability exp(-dE / T), one
    that is not finite never. Source: Metropolis et al. 1953; Kirkpatrick, Gelatt, Vecchi 1983.

    Args:
        energy: of whole states, or one that is told what changes, for proposals that are `Flips`.
        theta: (E, P) start; not modified.
        propose: a symmetric proposal, such as `gaussian` or `legal_flips`.
        temperature: of step i = 0, 1, ..., in units of the energy; 0 never goes uphill.
        seeds: one per chain; equal seeds draw equal numbers.
        record_at, progress: as of `train`.

    Raises:
        ValueError: a negative temperature, which accepts every uphill proposal (the authors' batch
            script asks for one, by a stray minus), seeds not one a chain, or marks outside the run.
    """
    marks = marks_within(record_at, steps)
    if len(seeds) != len(theta):
        raise ValueError(f"seeds must be one per chain, {len(theta)}, got {len(seeds)}")
    chains, tell = _Chains(energy, theta.detach().clone()), Teller(progress)
    draws = Draws(seeds, root_seed, theta.device)
    chains.record(0, marks)
    for step in range(steps):
        chains.move(propose(chains.theta, draws, step), _checked(temperature(step), step), draws)
        chains.record(step + 1, marks)
        tell(step + 1, steps)
    return chains.outcome(steps)


class _Chains:
    """The state of all chains and the best they held."""

    def __init__(self, energy: Energy | Incremental, theta: Tensor) -> None:
        self.theta = theta
        self._told = energy if isinstance(energy, Incremental) else None
        self._whole = _refuse if isinstance(energy, Incremental) else energy
        self.energy = (self._told.start(theta) if self._told else self._whole(theta)).double()
        self.best, self.best_energy = theta.clone(), self.energy.clone()
        self.accepted = torch.zeros_like(self.energy)
        self.steps: list[int] = []
        self.records: list[tuple[Tensor, Tensor]] = []

    def move(self, proposal: Tensor | Flips, temperature: float, draws: Draws) -> None:
        """Try one proposal in every chain."""
        energy = self._look(proposal).double()
        # a uniform number is below exp(-rise / T) when an exponential one is above rise / T
        accept = energy <= torch.add(self.energy, draws.exponential(), alpha=temperature)
        self._take(proposal, accept)
        self.energy = torch.where(accept, energy, self.energy)
        self.accepted += accept
        better = (self.energy < self.best_energy).nonzero()[:, 0]
        if len(better):
            self.best[better] = self.theta[better]
            self.best_energy[better] = self.energy[better]

    def _look(self, proposal: Tensor | Flips) -> Tensor:
        """Return the energy (E,) of what is proposed."""
        if isinstance(proposal, Tensor):
            return self._whole(proposal)
        if self._told:
            return self._told.look(proposal.group, proposal.place, proposal.value)
        return self._whole(self.theta.scatter(1, proposal.columns, proposal.value))

    def _take(self, proposal: Tensor | Flips, accept: Tensor) -> None:
        """Move the chains that accept."""
        if isinstance(proposal, Tensor):
            self.theta = torch.where(accept[:, None], proposal, self.theta)
            return
        if self._told:
            self._told.keep(accept)
        before = self.theta.gather(1, proposal.columns)
        value = torch.where(accept[:, None], proposal.value, before)
        self.theta.scatter_(1, proposal.columns, value)

    def record(self, step: int, marks: frozenset[int]) -> None:
        """Record energies if it is time to."""
        if step in marks:
            self.steps.append(step)
            self.records.append((self.best_energy.cpu().clone(), self.energy.cpu()))

    def outcome(self, steps: int) -> Annealed:
        """Return what the chains leave after so many steps."""
        nothing = torch.empty(0, len(self.theta), dtype=torch.float64)
        courses = [
            torch.stack([pair[which] for pair in self.records]) if self.records else nothing
            for which in (0, 1)
        ]
        return Annealed(
            self.best, self.best_energy, self.theta, self.energy, self.accepted / max(steps, 1),
            self.steps, *courses,
        )  # fmt: skip


def _refuse(theta: Tensor) -> Tensor:
    raise ValueError("an energy that is told what changes needs proposals that say so")


def _checked(temperature: float, step: int) -> float:
    if not temperature >= 0:
        raise ValueError(
            f"temperature must not be negative, got {temperature} at step {step}:"
            " every uphill proposal would be accepted"
        )
    return temperature


def power_cooling(temperature: float, power: float) -> Callable[[int], float]:
    """Return the cooling T(i) = temperature / (1 + i^power), i = 0, 1, ...

    Source: the authors' annealing code, `teta` and `tgamma`.
    """
    return lambda step: temperature / (1 + step**power)


def gaussian(spread: Callable[[int], float]) -> Propose:
    """Return the proposal that adds a normal number to every weight.

    Args:
        spread: standard deviation at step 0, 1, ...
    """

    def propose(theta: Tensor, draws: Draws, step: int) -> Tensor:
        return torch.add(theta, draws.normal(theta.shape[1]).to(theta.dtype), alpha=spread(step))

    return propose


def legal_flips(
    levels: Sequence[float],
    count: Callable[[int], int],
    groups: Sequence[Tensor] | None = None,
    stay: float = 1.0,
) -> Propose:
    """Return the proposal that redraws a few weights among the legal values they do not have.

    Which weights does not depend on the state, and each other legal value is as likely, so the
    proposal is symmetric. The authors' code means to move along the legal grid but divides the
    change by the grid's step, where it should multiply: nearly every change then ends at the first
    or the last value. Nothing is rounded here.

    Args:
        levels: two legal values or more, ascending.
        count: weights redrawn at step 0, 1, ...; fewer where a group is smaller.
        groups: columns of theta (M,), visited one group after the other. By default there is one
            group of all.
        stay: steps of a visit per column of the group; a visit is one step at least.

    Raises:
        ValueError: where levels are fewer than two or do not ascend.
    """
    legal = _ascending(levels)
    kept: dict[tuple[torch.device, torch.dtype], Tensor] = {}
    visits = [max(1, round(stay * len(group))) for group in groups or ()]
    ends = list(accumulate(visits)) or [1]

    def propose(theta: Tensor, draws: Draws, step: int) -> Flips:
        values = kept.setdefault((theta.device, theta.dtype), legal.to(theta))
        group = bisect_right(ends, step % ends[-1])
        among = theta.shape[1] if groups is None else len(groups[group])
        place = draws.distinct(among, min(count(step), among))
        columns = place if groups is None else groups[group].take(place)
        present = torch.bucketize(theta.gather(1, columns), values)
        shift = draws.below(len(legal) - 1, place.shape[1]) + 1
        return Flips(group, place, columns, values.take((present + shift) % len(legal)))

    return propose


def legal_start(
    levels: Sequence[float], parameters: int, seeds: Sequence[int], root_seed: int = 0
) -> Tensor:
    """Return theta (E, P) of legal values, each as likely, every chain by its own seed."""
    legal = _ascending(levels)
    drawn = [
        torch.randint(len(legal), (parameters,), generator=generator(root_seed, seed, START))
        for seed in seeds
    ]
    return legal.float()[torch.stack(drawn)]


def _ascending(levels: Sequence[float]) -> Tensor:
    legal = torch.tensor(levels, dtype=torch.float64)
    if len(legal) < 2 or not (legal.diff() > 0).all():
        raise ValueError(f"levels must be two or more, ascending, got {list(levels)}")
    return legal
