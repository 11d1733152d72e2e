"""An objective in other coordinates: the same function, and the derivatives that a method is shown.

With w = A w~ the function f~(w~) = f(A w~) has the gradient A^T grad f and the matrices A^T H A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Reparametrised:
    """The objective of w~ with w = A w~, of every member.

    Args:
        inner: an objective of w (E, P): loss and gradient, and whichever of curvature and
            gauss_newton is asked for.
        matrix: A, (P, P) for all members or (E, P, P), invertible.

    Raises:
        ValueError: where the matrix is not square.
    """

    def __init__(self, inner: Any, matrix: Tensor) -> None:
        if matrix.dim() not in (2, 3) or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(f"matrix must be (P, P) or (E, P, P), got {tuple(matrix.shape)}")
        self.inner, self.matrix = inner, matrix

    def original(self, theta: Tensor) -> Tensor:
        """Return w = A w~ (E, P)."""
        return (self.matrix @ theta[..., None])[..., 0]

    def coordinates(self, point: Tensor) -> Tensor:
        """Return w~ = A^-1 w (E, P)."""
        return torch.linalg.solve(self.matrix.expand(len(point), -1, -1), point)

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at w~ (E, P)."""
        return self.inner.loss(self.original(theta))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient A^T grad f (E, P)."""
        loss, gradient = self.inner.gradient(self.original(theta))
        return loss, self._covector(gradient)

    def curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss (E,), gradient (E, P) and Hessian A^T H A (E, P, P)."""
        loss, gradient, hessian = self.inner.curvature(self.original(theta))
        return loss, self._covector(gradient), self._form(hessian)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return the Gauss-Newton matrix A^T G A (E, P, P)."""
        return self._form(self.inner.gauss_newton(self.original(theta)))

    def _covector(self, gradient: Tensor) -> Tensor:
        return (self.matrix.mT @ gradient[..., None])[..., 0]

    def _form(self, matrix: Tensor) -> Tensor:
        form = self.matrix.mT @ matrix @ self.matrix
        return (form + form.mT) / 2


class Charted:
    """The objective of w~ with w = chart(w~), a map of each member alone that need not be linear.

    Matrices of second order are carried over as forms of the tangent space, J^T G J with the
    Jacobian J of the chart: that is exact for a Fisher matrix, and no Hessian.

    Args:
        inner: an objective of w (E, P) with gradient and gauss_newton.
        chart: w~ (E, P) to w (E, P).
        jacobian: w~ (E, P) to the derivatives of w by w~ (E, P, P).
    """

    def __init__(
        self,
        inner: Any,
        chart: Callable[[Tensor], Tensor],
        jacobian: Callable[[Tensor], Tensor],
    ) -> None:
        self.inner, self.original, self.jacobian = inner, chart, jacobian

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at w~ (E, P)."""
        return self.inner.loss(self.original(theta))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient J^T grad f (E, P)."""
        loss, gradient = self.inner.gradient(self.original(theta))
        return loss, (self.jacobian(theta).mT @ gradient[..., None])[..., 0]

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return J^T G J (E, P, P)."""
        jacobian = self.jacobian(theta)
        form = jacobian.mT @ self.inner.gauss_newton(self.original(theta)) @ jacobian
        return (form + form.mT) / 2
