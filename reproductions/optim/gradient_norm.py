"""Minimisers of the merit J = |g|^2 / 2 of every member: its gradient is H g, one product.

Each is called with the running members' part of the objective, theta (A, P), gradient (A, P) and
which members they are (E,), and returns theta, gradient and who moved (A,).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.objective import Objective
from reproductions.optim.second_order import part

ENOUGH = 1e-4  # share of the slope by which J has to fall
HALVINGS = 40


def merit(gradient: Tensor) -> Tensor:
    """Return J = |g|^2 / 2, (A,)."""
    return gradient.square().sum(1) / 2


def backtrack(
    objective: Objective, theta: Tensor, gradient: Tensor, step: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve every member's step until its J falls by ENOUGH of what the slope promises.

    Source: Armijo 1966.

    Args:
        step: (A, P).
        slope: (A,), of J along the step; a member whose slope is not negative does not move.

    Returns:
        theta and gradient (A, P), as they were where no shortened step was accepted, and where one
        was (A,).
    """
    theta, gradient, start = theta.clone(), gradient.clone(), merit(gradient)
    accepted = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
    waiting, share = slope < 0, 1.0
    for _ in range(HALVINGS):
        if not waiting.any():
            break
        trial = theta[waiting] + share * step[waiting]
        slopes = part(objective, waiting).gradient(trial)[1]
        enough = start[waiting] + ENOUGH * share * slope[waiting]
        good = merit(slopes) <= enough  # never where it is not a number
        taken = waiting.clone()
        taken[waiting] = good
        theta[taken], gradient[taken] = trial[good], slopes[good]
        accepted |= taken
        waiting, share = waiting & ~taken, share / 2
    return theta, gradient, accepted


class GradientDescent:
    """Move by -rate H g."""

    def __init__(self, theta: Tensor, rate: float | Tensor) -> None:
        self.rate = torch.as_tensor(rate, dtype=theta.dtype, device=theta.device)
        self.rate = self.rate.expand(len(theta), 1)

    def __call__(
        self, objective: Objective, theta: Tensor, gradient: Tensor, running: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        theta = theta - self.rate[running] * objective.product(theta, gradient)
        moved = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        return theta, objective.gradient(theta)[1], moved


class _Pair(NamedTuple):
    """A move and the change of H g along it; the inverse product is 0 where there is none."""

    move: Tensor  # (E, P)
    change: Tensor  # (E, P)
    inverse: Tensor  # (E, 1), 1 / (move . change)


class QuasiNewton:
    """Move along limited-memory BFGS directions of J, with backtracking.

    A member whose line search fails forgets its pairs and tries the steepest direction; where that
    fails as well it has not moved. The first step of a member has the length that is exact in one
    dimension, 2 J / |H g|.

    Source: Nocedal 1980, algorithm 7.4 in Nocedal, Wright 2006; pairs of too little curvature,
    which a search without Wolfe's second condition allows, are skipped.
    """

    def __init__(self, theta: Tensor, memory: int) -> None:
        self.shape, self.pairs = theta.shape, deque[_Pair](maxlen=memory)
        self.scale = theta.new_zeros(len(theta), 1)  # 0 where nothing is known yet
        self.last = torch.zeros_like(theta), torch.zeros_like(theta)  # theta, H g
        self.known = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)

    def __call__(
        self, objective: Objective, theta: Tensor, gradient: Tensor, running: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        steepest = objective.product(theta, gradient)  # uphill
        self._remember(theta, steepest, running)
        step = self._direction(gradient, steepest, running)
        theta, gradient, moved = backtrack(
            objective, theta, gradient, step, (step * steepest).sum(1)
        )
        again = running.clone()
        again[running] = ~moved & (self.scale[running, 0] > 0)
        if again.any():
            self._forget(again)
            some = again[running]
            own, slopes = part(objective, some), steepest[some]
            step = self._direction(gradient[some], slopes, again)
            theta[some], gradient[some], moved[some] = backtrack(
                own, theta[some], gradient[some], step, (step * slopes).sum(1)
            )
        return theta, gradient, moved

    def _remember(self, theta: Tensor, steepest: Tensor, running: Tensor) -> None:
        """Add the pair of the last move of the members that made one."""
        made = (self.known & running)[running].unsqueeze(1)
        move, change = theta - self.last[0][running], steepest - self.last[1][running]
        product = (move * change).sum(1, keepdim=True)
        size = torch.linalg.vector_norm(move, dim=1) * torch.linalg.vector_norm(change, dim=1)
        use = made & (product > 1e-10 * size.unsqueeze(1))
        pair = _Pair(theta.new_zeros(self.shape), theta.new_zeros(self.shape), 0 * self.scale)
        pair.move[running] = torch.where(use, move, 0.0)
        pair.change[running] = torch.where(use, change, 0.0)
        pair.inverse[running] = torch.where(use, 1 / product, 0.0)
        scale = product / change.square().sum(1, keepdim=True)
        self.scale[running] = torch.where(use, scale, self.scale[running])
        self.pairs.append(pair)
        self.last[0][running], self.last[1][running] = theta, steepest
        self.known |= running

    def _direction(self, gradient: Tensor, steepest: Tensor, members: Tensor) -> Tensor:
        """Return -B H g by the two loops over the pairs, (A, P)."""
        left = steepest
        weights: list[Tensor] = []
        pairs = [_Pair(*(part[members] for part in pair)) for pair in self.pairs]
        for move, change, inverse in reversed(pairs):
            weight = inverse * (move * left).sum(1, keepdim=True)
            left, weights = left - weight * change, [*weights, weight]
        first = 2 * merit(gradient)[:, None] / steepest.square().sum(1, keepdim=True)
        scale = self.scale[members]
        found = torch.where(scale > 0, scale, first) * left
        for (move, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
            found = found + move * (weight - inverse * (change * found).sum(1, keepdim=True))
        return -found

    def _forget(self, members: Tensor) -> None:
        self.scale[members] = 0
        for pair in self.pairs:
            pair.inverse[members] = 0
