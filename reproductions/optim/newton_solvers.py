"""Three ways to -H^+ g, the step of Newton's method on the gradient, for every member.

    decomposition  about 10 P^3   exact: no step along eigenvalues of at most cut * max |v|
    factorisation  8/3 P^3        v / (v^2 + d^2) in place of 1 / v, with d = cut * max |v|
    minres         2 P^2 or a     as near as the residual asked for; no dense matrix unless wanted
                   product an
                   iteration

The factorisation is made of matrix products, which makes it the quicker of the two that need the
dense matrix; the decomposition alone shows eigenvalues. Minimum residuals pay where few iterations
do: for a small residual on the Hessian of a network near a degenerate point they can need more
than P, but a residual of a tenth is enough for a step, and leaves the steps along next to no
curvature out, which are long and lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from reproductions.optim.curvature import Product
from reproductions.optim.eigensteps import METHODS, Spectrum, decompose, directions
from reproductions.optim.minres import minres, size_of
from reproductions.optim.objective import Objective

TOGETHER = 1 << 24  # entries of the complex matrices that are factored at a time


class NewtonStep(NamedTuple):
    """A step and where it leads; where the curvature is not finite one of them is not, either."""

    step: Tensor  # (E, P), p
    slope: Tensor  # (E,), g . H p, of |g|^2 / 2 along p


Solver: TypeAlias = Callable[[Objective, Tensor, Tensor, float], NewtonStep]
"""objective, theta (E, P), gradient (E, P) there, cut -> steps."""


def solver_of(name: str, *, steps: int, tolerance: float, dense: bool) -> Solver:
    """Return a solver by its name.

    Args:
        name: "decomposition", "factorisation" or "minres".
        steps, tolerance, dense: of `by_minres`.

    Raises:
        ValueError: on an unknown name.
    """
    solvers: dict[str, Solver] = {
        "decomposition": by_decomposition,
        "factorisation": by_factorisation,
        "minres": partial(by_minres, steps=steps, tolerance=tolerance, dense=dense),
    }
    if name not in solvers:
        raise ValueError(f"solver must be one of {', '.join(solvers)}, got {name!r}")
    return solvers[name]


def by_decomposition(
    objective: Objective, theta: Tensor, gradient: Tensor, cut: float
) -> NewtonStep:
    """Return the step that a decomposition gives.

    Args:
        gradient: (E, P), at theta (E, P).
        cut: eigenvalues of at most so much of a member's largest |eigenvalue| count as zero.
    """
    spectrum = decompose(objective.curvature(theta)[2], gradient)
    step = directions(spectrum, METHODS["newton"], theta.new_zeros(1), cut)[0]
    return NewtonStep(step, -(spectrum.coefficients**2 * ~in_kernel(spectrum, cut)).sum(1))


def in_kernel(spectrum: Spectrum, cut: float) -> Tensor:
    """Tell (E, P) which eigenvalues are at most `cut` of the member's largest."""
    size = spectrum.values.abs()
    return size <= cut * size.amax(1, keepdim=True)


def by_factorisation(
    objective: Objective, theta: Tensor, gradient: Tensor, cut: float
) -> NewtonStep:
    """Return -H (H^2 + d^2 I)^-1 g, the real part of -(H + i d I)^-1 g, by one LU a member.

    Source: Tikhonov's pseudo-inverse; the shift along the imaginary axis keeps the condition of
    the system at 1 / cut where H^2 + d^2 I has its square.

    Args:
        gradient: (E, P), at theta (E, P).
        cut: d as a share of the largest |eigenvalue|, as well as powers of H show that.
    """
    hessian = objective.curvature(theta)[2]
    longest = torch.linalg.vector_norm(hessian, dim=1).argmax(1)
    start = hessian[torch.arange(len(hessian), device=hessian.device), longest]
    shift = cut * size_of(matmul(hessian), start)
    usable = (hessian.isfinite().flatten(1).all(1) & (shift[:, 0] > 0)).unsqueeze(1)
    together = max(1, TOGETHER // hessian[0].numel())
    parts = zip(*(one.split(together) for one in (hessian, gradient, shift, usable)), strict=True)
    step = torch.cat([_shifted(*part) for part in parts])
    return NewtonStep(step, (gradient * matmul(hessian)(step)).sum(1))


def _shifted(hessian: Tensor, gradient: Tensor, shift: Tensor, usable: Tensor) -> Tensor:
    matrix = torch.complex(torch.where(usable.unsqueeze(2), hessian, 0), torch.zeros_like(hessian))
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal += torch.complex(torch.zeros_like(shift), torch.where(usable, shift, 1))
    return -torch.linalg.solve_ex(matrix, gradient.to(matrix.dtype))[0].real


def by_minres(
    objective: Objective,
    theta: Tensor,
    gradient: Tensor,
    cut: float,
    *,
    steps: int,
    tolerance: float,
    dense: bool,
) -> NewtonStep:
    """Return the step that minimum residuals give, Newton-MR.

    Source: Roosta, Liu, Xu, Mahoney 2018.

    Args:
        gradient: (E, P), at theta (E, P).
        cut: `flat` of `minres`.
        steps, tolerance: of `minres`.
        dense: take the products with the dense Hessian rather than from the objective.
    """
    hessian = objective.curvature(theta)[2] if dense else None
    product = partial(objective.product, theta) if hessian is None else matmul(hessian)
    found = minres(product, -gradient, steps=steps, tolerance=tolerance, flat=cut)
    return NewtonStep(found.solution, (gradient * found.image).sum(1))


def matmul(matrix: Tensor) -> Product:
    """Return the products of matrices (E, P, P) with vectors (E, P)."""
    return lambda vectors: (matrix @ vectors.unsqueeze(2)).squeeze(2)
