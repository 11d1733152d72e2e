"""Random problems of the room: every member's from the generator of its own seed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss

CONDITION = 20.0  # of the changes of coordinates
_POINTS, _MATRICES, _DATA = 11, 12, 13  # purposes in a generator's key


class Draws:
    """Draw for members 0 ... E - 1 in float64.

    Args:
        members: E.
        root_seed: of the whole study.
        device: where the numbers go.
    """

    def __init__(self, members: int, root_seed: int, device: str) -> None:
        self.members, self.root_seed, self.device = members, root_seed, device

    def points(self, *shape: int, stream: int = 0) -> Tensor:
        """Return standard normal numbers (E, *shape); equal streams give equal numbers."""
        return self._each(
            lambda source: torch.randn(*shape, dtype=torch.float64, generator=source),
            _POINTS + 100 * stream,
        )

    def coordinates(self, size: int) -> Tensor:
        """Return matrices A (E, size, size) of condition number CONDITION, in random frames."""
        values = torch.logspace(0, 1, size, base=CONDITION, dtype=torch.float64) / CONDITION**0.5

        def draw(source: torch.Generator) -> Tensor:
            left, right = torch.randn(2, size, size, dtype=torch.float64, generator=source)
            return torch.linalg.qr(left).Q @ torch.diag(values) @ torch.linalg.qr(right).Q

        return self._each(draw, _MATRICES)

    def sources(self, stream: int) -> list[torch.Generator]:
        """Return a fresh generator for each member."""
        return [generator(self.root_seed, seed, stream) for seed in range(self.members)]

    def network(
        self, widths: tuple[int, ...], examples: int, head: str, activation: str = "tanh"
    ) -> tuple[NetworkLoss, Tensor]:
        """Return a loss over random examples that all members share, and weights theta (E, P)."""
        layout, source = Layout(widths), generator(self.root_seed, 0, _DATA)
        inputs = torch.randn(examples, widths[0], dtype=torch.float64, generator=source)
        targets = _targets(head, examples, widths[-1], source)
        where = self.device
        loss = NetworkLoss(
            layout, inputs.to(where), targets.to(where), activations=activation, head=head
        )
        return loss, self.points(layout.parameters, stream=1)

    def _each(self, draw: Callable[[torch.Generator], Tensor], stream: int) -> Tensor:
        return torch.stack([draw(source) for source in self.sources(stream)]).to(self.device)


def _targets(head: str, examples: int, outputs: int, source: torch.Generator) -> Tensor:
    if head == "softmax":
        return torch.randint(outputs, (examples,), generator=source)
    numbers = torch.rand(examples, outputs, dtype=torch.float64, generator=source)
    return numbers if head == "squared" else (numbers > 0.5).to(torch.float64)
