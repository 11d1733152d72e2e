"""Second-order steps of whole ensembles, from one eigendecomposition a member.

With H = Q diag(v) Q^T and c = Q^T g every method divides c by something made of v and a damping d:

    newton            v        goes to where the model of second order is at rest, a saddle too
    damped_newton     v + d    descends along every eigenvector only if d > -min v
    saddle_free       |v| + d  descends along every eigenvector, at Newton's length
    gauss_newton      v + d    with v >= 0 of the Gauss-Newton matrix in place of the Hessian
    natural_gradient  v        of the Fisher matrix, which for the losses of `natural` is the same

so one decomposition serves all dampings. Use float64: in float32 the eigenvalues are good to about
1e-6 of the largest, which is as large as the smallest dampings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.objective import Curvature


class Spectrum(NamedTuple):
    """A symmetric matrix of every member, decomposed, and the gradient in its eigenvectors."""

    values: Tensor  # (E, P), ascending
    vectors: Tensor  # (E, P, P), in columns
    coefficients: Tensor  # (E, P)


class Method(NamedTuple):
    """What a step divides the gradient by.

    Fields:
        divisor: eigenvalues and damping, which broadcast, -> what divides each coefficient.
        matrix: whose eigenvalues, "hessian" or the name of a method theta -> (E, P, P) of the
            objective.
        damped: whether the divisor depends on the damping.
    """

    divisor: Callable[[Tensor, Tensor], Tensor]
    matrix: str = "hessian"
    damped: bool = True


METHODS = {
    "newton": Method(lambda values, damping: values + 0 * damping, damped=False),
    "damped_newton": Method(lambda values, damping: values + damping),
    "saddle_free": Method(lambda values, damping: values.abs() + damping),
    "gauss_newton": Method(lambda values, damping: values + damping, "gauss_newton"),
    "natural_gradient": Method(
        lambda values, damping: values + 0 * damping, "gauss_newton", damped=False
    ),
}


def decompose(matrix: Tensor, gradient: Tensor) -> Spectrum:
    """Return the eigendecomposition of every member's matrix, nan where that has none.

    Costs about 10 P^3 operations a member, one LAPACK or cuSOLVER call after the other.

    Args:
        matrix: (E, P, P), symmetric; only the lower triangle is read.
        gradient: (E, P).
    """
    finite = matrix.isfinite().flatten(1).all(1)
    if not finite.all():
        unit = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        matrix = torch.where(finite[:, None, None], matrix, unit)
    values, vectors = _eigh(matrix)
    values = torch.where(finite[:, None], values, torch.nan)
    return Spectrum(values, vectors, torch.einsum("epq,ep->eq", vectors, gradient))


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:  # one member has not converged: it must not take the others
        if len(matrix) == 1:
            return torch.full_like(matrix[:, 0], torch.nan), torch.full_like(matrix, torch.nan)
        parts = [_eigh(one) for one in matrix.split(1)]
        values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return values, vectors


def directions(
    spectrum: Spectrum, method: Method, dampings: Tensor, cut: float | None = None
) -> Tensor:
    """Return the steps (C, E, P) of a method with C dampings, -(what the method divides by)^-1 g.

    Undamped, the inverse is a pseudo-inverse: there is no step along an eigenvector whose divisor
    is at most `cut` times the member's largest |eigenvalue|. Damped, only a zero stands for none.

    Args:
        dampings: (C,) or (C, E), not negative, in the unit of the eigenvalues.
        cut: P times the resolution of the dtype when None.
    """
    values, vectors, coefficients = spectrum
    cut = values.shape[1] * torch.finfo(values.dtype).eps if cut is None else cut
    damping = dampings.to(values).reshape(len(dampings), -1, 1)
    divisor = method.divisor(values, damping)
    floor = torch.where(damping > 0, 0.0, cut * values.abs().amax(1, keepdim=True))
    scaled = torch.where(divisor.abs() <= floor, 0.0, coefficients / divisor)
    return -torch.einsum("epq,ceq->cep", vectors, scaled)


def newton_step(of: Curvature | Spectrum, cut: float | None = None) -> Tensor:
    """Return Newton's steps (E, P), -H^+ g, with the pseudo-inverse of `directions`."""
    return _step(of, METHODS["newton"], 0.0, cut)


def damped_newton_step(of: Curvature | Spectrum, damping: float | Tensor) -> Tensor:
    """Return damped Newton steps (E, P), -(H + d I)^-1 g.

    Args:
        of: the curvature, or its decomposition where several dampings are wanted.
        damping: d, a float or (E, 1).
    """
    return _step(of, METHODS["damped_newton"], damping)


def saddle_free_step(of: Curvature | Spectrum, damping: float | Tensor = 0.0) -> Tensor:
    """Return saddle-free Newton steps (E, P), -(|H| + d I)^-1 g.

    Source: Dauphin et al. 2014, section 6: |H| has the eigenvectors of H and the absolute values of
    its eigenvalues. Undamped where the damping is 0, with the pseudo-inverse of `directions`.

    Args:
        of: the curvature, or its decomposition where several dampings are wanted.
        damping: d, a float or (E, 1).
    """
    return _step(of, METHODS["saddle_free"], damping)


def _step(
    of: Curvature | Spectrum, method: Method, damping: float | Tensor, cut: float | None = None
) -> Tensor:
    # told apart by what they hold, for a problem may hand over its curvature as a plain tuple
    spectrum = of if isinstance(of, Spectrum) else decompose(of[2], of[1])
    dampings = torch.as_tensor(damping, dtype=spectrum.values.dtype).reshape(1, -1)
    return directions(spectrum, method, dampings.to(spectrum.values.device), cut)[0]
