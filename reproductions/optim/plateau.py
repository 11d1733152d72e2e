"""A learning rate that falls where a score stops growing, for every member by itself."""

from __future__ import annotations

import torch
from torch import Tensor


class Plateau:
    """Divide a member's rate by ten after more than `patience` scores without a new best.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau with mode="max" and its defaults: a score
    counts as new best above (1 + threshold) times the last one. Its smallest change of a rate,
    1e-8, is left out.

    An instance is a schedule for the transforms: called with the step it returns what multiplies
    the rates, (E, 1).

    Args:
        members: E.
        patience: scores without a new best that are put up with.
        factor: what multiplies the rate each time.
        threshold: relative, by which a new best must exceed the last.

    Raises:
        ValueError: where patience is negative.
    """

    def __init__(
        self,
        members: int,
        *,
        patience: int = 10,
        factor: float = 0.1,
        threshold: float = 1e-4,
        device: torch.device | str = "cpu",
    ) -> None:
        if patience < 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        self._patience, self._factor, self._threshold = patience, factor, threshold
        self.multiplier = torch.ones(members, 1, dtype=torch.float64, device=device)
        self._best = torch.full((members,), -torch.inf, dtype=torch.float64, device=device)
        self._waited = torch.zeros(members, dtype=torch.int64, device=device)

    def see(self, scores: Tensor) -> None:
        """Take the next score (E,) of every member; one that is not a number is no best."""
        own = scores.to(self._best)
        better = own > self._best * (1 + self._threshold)
        self._best = torch.where(better, own, self._best)
        self._waited = torch.where(better, 0, self._waited + 1)
        worn = self._waited > self._patience
        self._waited[worn] = 0
        self.multiplier[worn] *= self._factor

    def __call__(self, step: Tensor) -> Tensor:
        """Return what multiplies the rates now, (E, 1), whatever the step."""
        return self.multiplier.clone()
