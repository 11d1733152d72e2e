"""Curvature of any loss: products with its Hessian, and the index of a spectrum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def hessian_vector_product(
    loss: Callable[[Tensor], Tensor], theta: Tensor, vectors: Tensor
) -> Tensor:
    """Return the products of every member's Hessian with its vectors, by differentiating twice.

    Costs a few evaluations of the loss a vector, and never forms the Hessian.

    Args:
        loss: theta (E, P) -> (E,), made of operations that torch can differentiate; the loss of a
            member depends on that member's parameters alone.
        theta: (E, P).
        vectors: (E, P), or (Q, E, P) for Q products at once.

    Returns:
        As vectors.

    Raises:
        ValueError: where the shapes do not fit.
    """
    if vectors.dim() not in (2, 3) or vectors.shape[-2:] != theta.shape:
        members, size = theta.shape
        wanted = f"({members}, {size}) or (Q, {members}, {size})"
        raise ValueError(f"vectors must have shape {wanted}, got {tuple(vectors.shape)}")
    gradient = torch.func.grad(lambda at: loss(at).sum())

    def product(vector: Tensor) -> Tensor:
        return torch.func.jvp(gradient, (theta,), (vector,))[1]

    return product(vectors) if vectors.dim() == 2 else torch.func.vmap(product)(vectors)


def normalised_index(eigenvalues: Tensor, threshold: float = 0.0) -> Tensor:
    """Return the fraction of eigenvalues (..., P) below -threshold, (...).

    Raises:
        ValueError: where the threshold is negative or an eigenvalue is not a number.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must not be negative, got {threshold!r}")
    if eigenvalues.isnan().any():
        raise ValueError("eigenvalues must be numbers, got nan")
    return (eigenvalues < -threshold).to(eigenvalues.dtype).mean(-1)
