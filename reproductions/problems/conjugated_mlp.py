"""The ensemble of multilayer perceptrons whose activations are conjugated by a change of basis."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reproductions.problems.mlp import ACTIVATIONS as PLAIN
from reproductions.problems.mlp import MLP, Activation, Layers

SLOPE = 0.01  # of leaky ReLU below zero, torch's


def _leaky_relu_(values: Tensor) -> Tensor:
    return torch.nn.functional.leaky_relu_(values, SLOPE)


def _leaky_relu_pull_back(delta: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu_backward.grad_input(
        delta, output, SLOPE, True, grad_input=delta
    )


def _elu_pull_back(delta: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.elu_backward.grad_input(delta, 1, 1, 1, True, output, grad_input=delta)


ACTIVATIONS = PLAIN | {
    "leaky_relu": Activation(_leaky_relu_, _leaky_relu_pull_back),
    "elu": Activation(torch.nn.functional.elu_, _elu_pull_back),
}
HOMOGENEOUS = ("relu", "leaky_relu")  # rho(c z) = c rho(z) for c > 0: the sign of tau is all


class ConjugatedMLP(MLP):
    """Mean cross-entropy of networks with activations tau rho(z / tau), tau of every hidden unit.

    Source: Armenta et al. 2023. With theta teleported by tau this is the function of the plain
    network; members whose tau are one are plain networks.

    Args:
        layout: the widths and where each weight sits.
        tau: (E, U) factors of all hidden units, first layer to last.
        activation: "relu", "leaky_relu", "elu" or "tanh".
        members_at_once: as of `MLP`.

    Raises:
        ValueError: naming an unknown activation, or where tau has another shape, is zero or not
            finite.
    """

    def __init__(
        self,
        layout: Layers,
        tau: Tensor,
        activation: str = "relu",
        *,
        members_at_once: int | None = None,
    ) -> None:
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation must be one of {known}, got {activation!r}")
        hidden = layout.widths[1:-1]
        if tau.dim() != 2 or tau.shape[1] != sum(hidden):
            raise ValueError(f"tau must have shape (E, {sum(hidden)}), got {tuple(tau.shape)}")
        if not (tau.isfinite() & (tau != 0)).all():
            raise ValueError("tau must be finite and not zero")
        super().__init__(layout, "relu", members_at_once=members_at_once)
        self._activation = ACTIVATIONS[activation]
        own = tau.to(torch.float64)
        self._tau = own.sign() if activation in HOMOGENEOUS else own.clone()
        self._hidden = list(hidden)
        self._placed: tuple[Tensor, ...] = ()  # per hidden layer (E, 1, H)
        self._inverse: tuple[Tensor, ...] = ()
        self._members = slice(0)

    def _place(self, theta: Tensor) -> None:
        """Put the factors beside theta, in its precision."""
        if len(theta) != len(self._tau):
            raise ValueError(f"tau is of {len(self._tau)} members, theta of {len(theta)}")
        placed = [(part.dtype, part.device) for part in self._placed[:1]]
        if placed == [(theta.dtype, theta.device)]:
            return
        tau = self._tau[:, None]
        self._placed = tuple(part.to(theta).contiguous() for part in tau.split(self._hidden, 2))
        self._inverse = tuple(
            part.to(theta).contiguous() for part in (1 / tau).split(self._hidden, 2)
        )

    def _chunks(
        self, theta: Tensor, inputs: Tensor, targets: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        self._place(theta)
        for members, x, y in super()._chunks(theta, inputs, targets):
            self._members = members
            yield members, x, y

    def _activate(self, depth: int, values: Tensor) -> Tensor:
        values.mul_(self._inverse[depth][self._members])
        return super()._activate(depth, values).mul_(self._placed[depth][self._members])

    def _pull_back(self, depth: int, delta: Tensor, output: Tensor) -> Tensor:
        # the derivative at z is that of rho at z / tau, which rho's own output gives
        own = self._buffer(("rho",), output.shape, output)
        torch.mul(output, self._inverse[depth][self._members], out=own)
        return super()._pull_back(depth, delta, own)
