"""Plain networks, differentiated by torch: the twins of those whose derivatives are by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from reproductions.optim.layout import Layout

F64 = torch.float64
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


class Case(NamedTuple):
    """A network, parameters (E, P) and a data set."""

    layout: Layout
    activations: list[str]
    head: str
    theta: Tensor
    inputs: Tensor
    targets: Tensor

    def names(self) -> dict[str, str | list[str]]:
        return {"activations": self.activations, "head": self.head}


def case(
    widths: tuple[int, ...],
    activations: str | Sequence[str] = "tanh",
    head: str = "softmax",
    *,
    members: int = 3,
    examples: int = 40,
    zeros: float = 0.0,
) -> Case:
    """Draw a case; a share of the inputs is zero."""
    layout, source = Layout(widths), torch.Generator().manual_seed(sum(widths))
    inputs = torch.randn(examples, widths[0], generator=source, dtype=F64)
    inputs *= torch.rand(examples, widths[0], generator=source) >= zeros
    if head == "softmax":
        targets = torch.randint(0, widths[-1], (examples,), generator=source)
    else:
        targets = torch.rand(examples, widths[-1], generator=source, dtype=F64)
    hidden = len(widths) - 2
    names = [activations] * hidden if isinstance(activations, str) else list(activations)
    theta = 2 * layout.initialise(range(members), dtype=F64)
    return Case(layout, names, head, theta, inputs, targets)


def plain_logits(of: Case, theta: Tensor) -> Tensor:
    """Return (E, N, K)."""
    x, layers = of.inputs, of.layout.views(theta)
    for name, (weight, bias) in zip([*of.activations, "linear"], layers, strict=True):
        x = PLAIN[name](x @ weight + bias[:, None])
    return x


def plain_loss(of: Case, theta: Tensor) -> Tensor:
    """Return the loss (E,), written as the formula reads."""
    return loss_of_logits(of, plain_logits(of, theta))


def loss_of_logits(of: Case, logits: Tensor) -> Tensor:
    """Return the loss (E,) of logits (E, N, K)."""
    targets = of.targets
    if of.head == "softmax":
        index = targets[None, :, None].expand(len(logits), -1, 1)
        return -torch.log_softmax(logits, 2).gather(2, index).mean((1, 2))
    if of.head == "squared":
        return (logits - targets).square().sum(2).mean(1) / 2
    losses = functional.binary_cross_entropy_with_logits(
        logits, targets.expand_as(logits), reduction="none"
    )
    return losses.sum(2).mean(1)
