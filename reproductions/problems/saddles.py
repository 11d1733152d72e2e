"""Landscapes of one or two variables with a saddle, a plateau or a gutter, as plain functions.

Each maps theta (E, P) to values (E,), in operations that torch can differentiate twice. Where a
function has several saddles of interest, all are at the origin.

Source: Dauphin et al. 2014, figure 2 (`classical`, `monkey`) and appendix A, figure 5 (the others).
The paper names the formulas of figure 2; of figure 5 it shows surfaces, and the simplest polynomials
of that shape stand here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def classical(theta: Tensor) -> Tensor:
    """Return 5 x^2 - y^2: a saddle whose curvatures 10 and -2 differ."""
    x, y = theta.unbind(1)
    return 5 * x**2 - y**2


def monkey(theta: Tensor) -> Tensor:
    """Return x^3 - 3 x y^2: three ways down and three up from a point without curvature.

    Its Hessian 6 [[x, -y], [-y, -x]] has the eigenvalues +-6 r with r = |theta|.
    """
    x, y = theta.unbind(1)
    return x**3 - 3 * x * y**2


def min_max(theta: Tensor) -> Tensor:
    """Return x^2 - y^2: a least value along x and a greatest along y."""
    x, y = theta.unbind(1)
    return x**2 - y**2


def gutter(theta: Tensor) -> Tensor:
    """Return (x^2 + y^2 - 1)^2: its minima form the unit circle, flat along itself."""
    x, y = theta.unbind(1)
    return (x**2 + y**2 - 1) ** 2


def inflection(theta: Tensor) -> Tensor:
    """Return x^3 of one variable: at rest in 0, and no extremum there."""
    return theta[:, 0] ** 3


class Quadratic:
    """The function sum_i a_i theta_i^2 / 2 with curvatures of each member's own, and derivatives.

    Has what a second-order optimizer asks of a loss, so a grid of curvatures is one ensemble.

    Args:
        curvatures: a (E, P).
    """

    def __init__(self, curvatures: Tensor) -> None:
        self.curvatures = curvatures

    def loss(self, theta: Tensor) -> Tensor:
        """Return the value (E,) at theta (E, P)."""
        return (self.curvatures * theta**2).sum(1) / 2

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value (E,) and the gradient (E, P)."""
        return self.loss(theta), self.curvatures * theta

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors."""
        return self.curvatures * vectors

    def curvature(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value (E,), gradient (E, P) and Hessian (E, P, P)."""
        return *self.gradient(theta), torch.diag_embed(self.curvatures)

    def part(self, members: Tensor) -> Quadratic:
        """Return the functions of some members, by number or by mask (E,)."""
        return Quadratic(self.curvatures[members])
