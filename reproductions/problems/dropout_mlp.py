"""The ensemble of multilayer perceptrons with dropout of hidden units while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reproductions.problems.mlp import MLP, Layers, Store


class DropoutMLP(MLP):
    """Mean cross-entropy of ReLU networks whose hidden units are dropped at random in training.

    A unit that is kept counts 1 / keep times, so that `loss` and `evaluate` use the network as it
    is. Inputs are never dropped.

    Args:
        layout: the widths and where each weight sits.
        keep: probability with which a hidden unit is kept.
        generators: where masks are drawn, CPU generators; group g of members uses number g modulo
            their count, so several methods of one seed drop the same units at the same step.
        members_at_once: as of `MLP`.

    Raises:
        ValueError: where keep is not in (0, 1], or there is no generator.
    """

    def __init__(
        self,
        layout: Layers,
        keep: float,
        generators: Sequence[torch.Generator],
        *,
        members_at_once: int | None = None,
    ) -> None:
        if not 0.0 < keep <= 1.0:
            raise ValueError(f"keep must be in (0, 1], got {keep}")
        if not generators:
            raise ValueError("generators must name at least one")
        super().__init__(layout, "relu", members_at_once=members_at_once)
        self.keep, self.generators = keep, list(generators)
        self._masks: list[Tensor] = []  # per hidden layer (G, B, H), 0 or 1 / keep; while training
        self._groups = self._per_group = 1
        self._members = slice(0)

    def _accumulate(
        self,
        theta: Tensor,
        inputs: Tensor,
        targets: Tensor,
        scale: float | Tensor,
        out: Tensor,
        store: Store,
    ) -> Tensor:
        self._groups = inputs.shape[0]
        self._per_group = max(1, len(theta) // self._groups)
        self._masks = self._draw(inputs.shape[1], theta)
        try:
            return super()._accumulate(theta, inputs, targets, scale, out, store)
        finally:
            self._masks = []

    def _draw(self, batch: int, theta: Tensor) -> list[Tensor]:
        """Draw masks (G, B, H) of every hidden layer, one a generator, on the CPU."""
        repeats = -(-self._groups // len(self.generators))
        masks = []
        for width in self.layout.widths[1:-1]:
            drawn = [torch.rand(batch, width, generator=own) for own in self.generators]
            kept = (torch.stack(drawn) < self.keep).to(theta.device, theta.dtype).div_(self.keep)
            masks.append(kept.repeat(repeats, 1, 1)[: self._groups])
        return masks

    def _chunks(
        self, theta: Tensor, inputs: Tensor, targets: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for members, x, y in super()._chunks(theta, inputs, targets):
            self._members = members
            yield members, x, y

    def _activate(self, depth: int, values: Tensor) -> Tensor:
        active = super()._activate(depth, values)
        return active.mul_(self._own(self._masks[depth])) if self._masks else active

    def _pull_back(self, depth: int, delta: Tensor, output: Tensor) -> Tensor:
        # what was dropped has an output of zero, so the plain derivative drops it again
        below = super()._pull_back(depth, delta, output)
        return below.mul_(1 / self.keep) if self._masks else below

    def _own(self, mask: Tensor) -> Tensor:
        """Return the masks of the members that are being worked through, (C, B, H) or (1, B, H)."""
        first, last = self._members.start, self._members.stop - 1
        if self._groups == 1 or first // self._per_group == last // self._per_group:
            group = first // self._per_group if self._groups > 1 else 0
            return mask[group : group + 1]
        return mask[first : last + 1]  # a group for every member
