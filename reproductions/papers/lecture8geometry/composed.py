"""An objective in other linear coordinates whose derivatives come from autograd, not from rules.

That gradients turn by A^T and matrices by A^T H A is what the room holds, so here neither is used:
the composed function f(A w~) is differentiated as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reproductions.optim.natural import fisher_matrix
from reproductions.optim.objective import Autograd, Curvature
from reproductions.problems.reparametrised import Reparametrised


class Composed(Reparametrised):
    """The objective of w~ with w = A w~, differentiated by torch.

    Args:
        inner: an objective whose loss torch can differentiate, with outputs (E, N, K) where a
            Gauss-Newton or Fisher matrix is asked for.
        matrix: A, (P, P) or (E, P, P).
        head: what distribution the outputs stand for, as `fisher_matrix` has it.
        function: outputs (E, N, K) to the loss (E,), where inner.loss cannot be differentiated.
    """

    def __init__(
        self,
        inner: Any,
        matrix: Tensor,
        head: str = "squared",
        function: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(inner, matrix)
        self.head, self.function = head, function

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at w~ (E, P)."""
        return super().loss(theta) if self.function is None else self.function(self.outputs(theta))

    def outputs(self, theta: Tensor) -> Tensor:
        """Return the outputs (E, N, K) at w~ (E, P)."""
        return self.inner.outputs(self.original(theta))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and the gradient (E, P) of the composed function."""
        leaf = theta.detach().requires_grad_()  # Autograd does the same, several times slower
        loss = self.loss(leaf)
        return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]

    def curvature(self, theta: Tensor) -> Curvature:
        """Return loss (E,), gradient (E, P) and Hessian (E, P, P) of the composed function."""
        return Autograd(self.loss).curvature(theta)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return the Fisher matrix (E, P, P) of the composed outputs.

        For the squared error, whose model has variance one, it is the Gauss-Newton matrix.
        """
        return fisher_matrix(self.outputs, theta, self.head)


def in_place(inner: Any, theta: Tensor, head: str) -> Composed:
    """Return the objective in its own coordinates, A = 1, with derivatives by torch all the same."""
    unit = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    return Composed(inner, unit, head)
