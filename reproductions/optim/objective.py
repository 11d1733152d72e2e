"""What second-order methods ask of a loss, and the plain way to give it: by differentiating."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from reproductions.optim.curvature import hessian_vector_product


class Curvature(NamedTuple):
    """A loss and its derivatives, of every member."""

    loss: Tensor  # (E,)
    gradient: Tensor  # (E, P)
    hessian: Tensor  # (E, P, P), exactly symmetric


class Objective(Protocol):
    """A loss over an ensemble; a member's depends on that member's parameters alone."""

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at theta (E, P)."""
        ...

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, P)."""
        ...

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors."""
        ...

    def curvature(self, theta: Tensor) -> Curvature:
        """Return loss, gradient and dense Hessian."""
        ...


class Autograd:
    """An objective made of any loss that torch can differentiate twice: the oracle of faster ones.

    Args:
        function: theta (E, P) -> (E,).
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at theta (E, P)."""
        return self._function(theta)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, P)."""

        def total(at: Tensor) -> tuple[Tensor, Tensor]:
            loss = self._function(at)
            return loss.sum(), loss

        gradient, loss = torch.func.grad(total, has_aux=True)(theta)
        return loss, gradient

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors."""
        return hessian_vector_product(self._function, theta, vectors)

    def curvature(self, theta: Tensor) -> Curvature:
        """Return loss, gradient and dense Hessian: one product for each of P unit vectors."""
        loss, gradient = self.gradient(theta)
        units = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
        columns = self.product(theta, units[:, None].expand(-1, *theta.shape))
        hessian = columns.transpose(0, 1)
        return Curvature(loss, gradient, (hessian + hessian.transpose(1, 2)) / 2)
