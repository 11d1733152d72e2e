"""Quadratic bowls of each member's own, and a well in a plateau, which is not convex."""

from __future__ import annotations

import torch
from torch import Tensor


class Bowl:
    """The function x^T Q x / 2 of each member, with its derivatives.

    As half the squared length of Q^(1/2) x it is its own Gauss-Newton problem.

    Args:
        matrix: Q (E, P, P), symmetric.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def loss(self, theta: Tensor) -> Tensor:
        """Return the value (E,) at theta (E, P)."""
        return (theta * self._times(theta)).sum(1) / 2

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value (E,) and the gradient Q x (E, P)."""
        gradient = self._times(theta)
        return (theta * gradient).sum(1) / 2, gradient

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return Q times vectors (E, P) or (Q, E, P), as vectors."""
        return self._times(vectors)

    def curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value (E,), gradient (E, P) and the Hessian Q (E, P, P)."""
        return *self.gradient(theta), self.matrix.expand(len(theta), -1, -1)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return Q (E, P, P)."""
        return self.matrix.expand(len(theta), -1, -1)

    def _times(self, vectors: Tensor) -> Tensor:
        return (self.matrix @ vectors[..., None])[..., 0]


def random_bowls(sources: list[torch.Generator], curvatures: Tensor) -> Tensor:
    """Return matrices Q (E, P, P) of given eigenvalues, each in a random frame of its own.

    Args:
        sources: one generator a member.
        curvatures: (P,), positive for a bowl.
    """
    frames = [_frame(source, len(curvatures)) for source in sources]
    frame = torch.stack(frames).to(curvatures)
    matrix = frame @ torch.diag(curvatures) @ frame.mT
    return (matrix + matrix.mT) / 2


def _frame(source: torch.Generator, size: int) -> Tensor:
    drawn = torch.randn(size, size, dtype=torch.float64, generator=source)
    return torch.linalg.qr(drawn).Q


# The well: its centre along x, and its widths along x and across.
CENTRE, WIDTHS = 8.0, (2.0, 0.4)


class Well:
    """The function -exp(-(x - 8)^2 / (2 2^2) - y^2 / (2 0.4^2)) of (x, y), theta (E, 2).

    A narrow well in a plateau. At the bottom the curvatures are 1/4 along x and 25/4 across, so
    descent bears rates below 0.32; at (0, 1) the gradient is below 0.0001, and a step at such a
    rate moves by less than 0.00004.
    """

    def loss(self, theta: Tensor) -> Tensor:
        """Return the value (E,) at theta (E, 2)."""
        x, y = theta.unbind(1)
        return -torch.exp(-(((x - CENTRE) / WIDTHS[0]) ** 2) / 2 - (y / WIDTHS[1]) ** 2 / 2)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value (E,) and the gradient (E, 2)."""
        value, (x, y) = self.loss(theta), theta.unbind(1)
        along = torch.stack([(x - CENTRE) / WIDTHS[0] ** 2, y / WIDTHS[1] ** 2], 1)
        return value, -value[:, None] * along
