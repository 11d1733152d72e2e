"""Classical momentum whose mass rises by epoch and falls at the end, in runs that can be taken up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reproductions.optim.first_order import momentum
from reproductions.optim.minibatches import Batches, minibatches
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.train import Snapshot, train
from reproductions.optim.transform import Transform

Progress = Callable[..., None]
LOWERED = 0.9  # the mass at the end


class Plan(NamedTuple):
    """How momentum trains.

    Fields:
        batch: examples of an update.
        highest: what the mass may not exceed.
    """

    batch: int
    learning_rate: float
    highest: float


class Place(NamedTuple):
    """Where a run stands."""

    epoch: int
    theta: Tensor  # (E, P)
    state: Any  # of the optimizer; None at the start
    lost: Tensor  # (E,) int64, the update whose loss was not finite; 0 for never


Observe = Callable[[Place], None]


class Runs:
    """Momentum runs of an ensemble over one data set, every member's minibatches its own.

    Args:
        loss: over all examples.
        seeds: one per member.
    """

    def __init__(self, loss: NetworkLoss, plan: Plan, seeds: Sequence[int], root_seed: int) -> None:
        indices = minibatches(len(loss.inputs), plan.batch, seeds, root_seed)
        self.per_epoch, self._loss, self._plan = indices.per_epoch, loss, plan
        labels = torch.zeros(len(loss.inputs), device=loss.inputs.device)
        self._batches = Batches(loss.inputs, labels, indices)

    def go(
        self,
        place: Place,
        epochs: int,
        lowered: int,
        observe: Observe,
        at: Sequence[int],
        progress: Progress,
    ) -> Place:
        """Train on for some epochs.

        Args:
            lowered: the epoch, counted from the very start, from which the mass is LOWERED.
            at: epochs, counted likewise, after which to observe.
        """
        kept: list[Any] = [place.state] if place.state is not None else []
        mass, done = course(self._plan.highest, lowered, self.per_epoch), place.epoch
        base = momentum(self._plan.learning_rate, 0.0)

        def seen(shot: Snapshot) -> None:
            observe(self._place(place, shot.step, shot.theta, kept, shot.diverged_at))

        outcome = train(
            Minibatches(self._loss), scheduled(base, mass, kept), place.theta,
            lambda step: self._batches(done * self.per_epoch + step),
            steps=epochs * self.per_epoch,
            record_at=[(epoch - done) * self.per_epoch for epoch in at],
            observe=seen, progress=progress, how="eager",
        )  # fmt: skip
        last = epochs * self.per_epoch
        return self._place(place, last, outcome.theta, kept, outcome.diverged_at)

    def _place(
        self, start: Place, step: int, theta: Tensor, kept: list[Any], diverged_at: Tensor
    ) -> Place:
        now = start.epoch * self.per_epoch + diverged_at.cpu()
        fresh = (start.lost == 0) & (diverged_at.cpu() > 0)
        state = kept[-1] if kept else None
        lost = torch.where(fresh, now, start.lost)
        return Place(start.epoch + step // self.per_epoch, theta, state, lost)


class Minibatches:
    """The loss of every member on the examples handed to it, as the training loop asks for it."""

    def __init__(self, loss: NetworkLoss) -> None:
        self._loss = loss

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return loss (E,) and gradient (E, P) on inputs (E, B, D), which are their own targets."""
        parts = [
            self._loss.on(own, own).gradient(one)
            for one, own in zip(theta.split(1), inputs, strict=True)
        ]
        losses, gradients = (torch.cat(part) for part in zip(*parts, strict=True))
        return losses, gradients


def course(highest: float, lowered: int, per_epoch: int) -> Callable[[Tensor], Tensor]:
    """Return the mass by the number of updates made.

    Source: Dauphin et al. 2014, appendix F.2, which follows Sutskever et al. 2013: in epoch e, from
    0, it is 1 - 2^(-1 - log2(e + 1)), at most `highest`, and LOWERED at the end.
    """

    def at(updates: Tensor) -> Tensor:
        epoch = torch.floor(updates / per_epoch)
        rising = torch.clamp(1 - 0.5 / (epoch + 1), max=highest)
        return torch.where(epoch < lowered, rising, torch.clamp(rising, max=LOWERED))

    return at


def scheduled(transform: Transform, mass: Callable[[Tensor], Tensor], kept: list[Any]) -> Transform:
    """Return momentum whose mass follows its clock.

    Args:
        kept: the state to start from, or nothing; afterwards the state at the end.
    """

    def init(theta: Tensor) -> Any:
        return kept[-1] if kept else transform.init(theta)

    def update(grad: Tensor, state: Any, theta: Tensor) -> tuple[Tensor, Any]:
        step, state = transform.update(grad, state._replace(mu=mass(state.t)), theta)
        kept[:] = [state]
        return step, state

    return Transform(init, update, transform.rate)
