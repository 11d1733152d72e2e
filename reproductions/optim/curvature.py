"""Curvature of any loss: products with its Hessian, the Lanczos process, and the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Product: TypeAlias = Callable[[Tensor], Tensor]
"""vectors -> H vectors, of the same shape; the place where H is taken is already in it."""

BREAKDOWN = 100  # roundings: a new vector shorter than so many, relative to H, is nothing but those


class Lanczos(NamedTuple):
    """What Q steps of the Lanczos process found; rows from `valid` on are zero."""

    basis: Tensor  # (..., Q, P), orthonormal rows V
    diagonal: Tensor  # (..., Q), of T = V H V^T
    off_diagonal: Tensor  # (..., Q - 1)
    residual: Tensor  # (...), ||H v_Q - T v_Q||, what another step would start with; 0 if closed
    following: Tensor  # (..., P), the vector of another step; zero where the space is closed
    valid: Tensor  # (...), how many vectors there are: fewer than Q where the space is closed
    products: Tensor | None  # (..., Q, P), H V^T row by row, if kept


class Ritz(NamedTuple):
    """Eigenvalues of T, ascending, with the parts of its eigenvectors that error bounds need.

    Where fewer than Q vectors are valid, the first diagonal entry, of weight zero, fills up.
    """

    values: Tensor  # (..., Q)
    weights: Tensor  # (..., Q), squares of the first components: they sum to 1
    bounds: Tensor  # (..., Q), an eigenvalue of H lies within this distance of the value


class Extremes(NamedTuple):
    """The ends of a spectrum; each value is at most as extreme as the eigenvalue it stands for."""

    smallest: Tensor  # (E,)
    largest: Tensor  # (E,)
    smallest_bound: Tensor  # (E,), an eigenvalue lies within this distance
    largest_bound: Tensor  # (E,)


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


def normalised_index(
    eigenvalues: Tensor, threshold: float | Sequence[float] | Tensor = 0.0
) -> Tensor:
    """Return the fraction of eigenvalues below -threshold.

    Args:
        eigenvalues: (..., P).
        threshold: a number, or T of them.

    Returns:
        (...), or (..., T) for T thresholds.

    Raises:
        ValueError: where a threshold is negative or an eigenvalue is not a number.
    """
    levels = torch.as_tensor(threshold, dtype=eigenvalues.dtype, device=eigenvalues.device)
    if levels.dim() > 1 or not (levels >= 0).all():
        raise ValueError(f"threshold must not be negative, got {threshold!r}")
    if eigenvalues.isnan().any():
        raise ValueError("eigenvalues must be numbers, got nan")
    below = eigenvalues.unsqueeze(-1) < -levels.reshape(-1)
    fractions = below.to(eigenvalues.dtype).mean(-2)
    return fractions if levels.dim() else fractions.squeeze(-1)


def lanczos(
    product: Product,
    start: Tensor,
    steps: int,
    *,
    reorthogonalise: bool = True,
    keep_products: bool = False,
) -> Lanczos:
    """Return an orthonormal basis of span(s, H s, H^2 s, ...) in which H is tridiagonal.

    All members, and all probes, go together: one product a step. A member whose space closes
    (the gradient of a quadratic with few distinct eigenvalues, say) stops there while the others
    go on. One whose product is not finite has no valid vector.

    Args:
        product: (..., P) -> (..., P), symmetric.
        start: (..., P), usually (E, P), or (R, E, P) for R probes of every member; of any length.
        steps: Q, at least 1; more than P are never valid.
        reorthogonalise: against all vectors before, twice. Without it directions that have
            converged come back by rounding, and come again as copies of their eigenvalues. Costs
            4 Q^2 P multiplications beside the Q products.
        keep_products: keep H V^T, as much memory again as the basis.

    Raises:
        ValueError: where steps is not positive.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    found = _empty(start, steps, keep_products)
    return _filled(found, product, start, reorthogonalise)


def _filled(found: Lanczos, product: Product, start: Tensor, reorthogonalise: bool) -> Lanczos:
    """Run the process, one step for each vector that there is room for."""
    steps = found.diagonal.shape[-1]
    length, beta = start.norm(dim=-1), torch.zeros_like(start[..., 0])
    scale, before, alive = beta, torch.zeros_like(start), (length > 0) & length.isfinite()
    finite, vector = torch.ones_like(alive), _divided(start, length, alive)
    for step in range(steps):
        image = product(vector)
        alpha = (vector * image).sum(-1)
        finite = finite & alpha.isfinite()
        alive = alive & finite
        rest = image - alpha.unsqueeze(-1) * vector - beta.unsqueeze(-1) * before
        _keep(found, step, vector, alpha, image, alive)
        if reorthogonalise:
            rest = orthogonalised(rest, found.basis[..., : step + 1, :])
        beta = rest.norm(dim=-1)
        scale = torch.maximum(scale, torch.maximum(alpha.abs(), beta))
        alive = alive & (beta > BREAKDOWN * torch.finfo(start.dtype).eps * scale)
        beta = torch.where(alive, beta, 0)
        before, vector = vector, _divided(rest, beta, alive)
        if step < steps - 1:
            found.off_diagonal[..., step] = beta
        if not alive.any():
            break
    _forget(found, ~finite)
    return found._replace(residual=beta, following=vector)


def orthogonalised(vectors: Tensor, basis: Tensor) -> Tensor:
    """Return vectors (..., P) without their parts along the orthonormal rows of basis (..., Q, P).

    The parts are taken away twice: what once leaves behind by rounding is then gone as well.
    """
    for _ in range(2):
        parts = basis @ vectors.unsqueeze(-1)
        vectors = vectors - (parts.mT @ basis).squeeze(-2)
    return vectors


def ritz(found: Lanczos) -> Ritz:
    """Return the eigenvalues of the tridiagonal matrix T and how close H has some to each.

    Source: Golub and Welsch 1969 for the weights: they make the values a quadrature of the
    spectrum as the start vector sees it, exact for polynomials of degree 2 Q - 1. The bound is
    ||H y - value y|| of the Ritz vector y, the residual times y's last component.
    """
    places = torch.arange(found.diagonal.shape[-1], device=found.diagonal.device)
    inside = places < found.valid.unsqueeze(-1)
    diagonal = torch.where(inside, found.diagonal, found.diagonal[..., :1])
    side = torch.diag_embed(found.off_diagonal, 1)
    values, vectors = torch.linalg.eigh(torch.diag_embed(diagonal) + side + side.mT)
    bounds = found.residual.unsqueeze(-1) * vectors[..., -1, :].abs()
    unknown = (found.valid == 0).unsqueeze(-1)  # the start was zero, or something not finite
    parts = (values, vectors[..., 0, :].square(), bounds)
    return Ritz(*(part.masked_fill(unknown, torch.nan) for part in parts))


def extreme_eigenvalues(
    product: Product, like: Tensor, steps: int, source: torch.Generator
) -> Extremes:
    """Return the smallest and the largest eigenvalue of every member, by Lanczos.

    The values are Rayleigh quotients, so the true ends lie at them or outside. Some eigenvalue lies
    within the bound; that it is the last one is certain only for a start with a part along its
    eigenvector, which a random start has.

    Args:
        product: (E, P) -> (E, P), symmetric.
        like: any tensor (E, P) that says size, dtype and device.
        steps: products to spend; as a rule 20 to 60 give the ends to many digits.
        source: draws the start, the same for all members.
    """
    start = random_direction(like.shape[-1], source).to(like).expand_as(like)
    values, _, bounds = ritz(lanczos(product, start, steps))
    return Extremes(values[..., 0], values[..., -1], bounds[..., 0], bounds[..., -1])


def random_direction(size: int, source: torch.Generator) -> Tensor:
    """Return (P,): uniform on the sphere, float64, drawn on the CPU whatever the device."""
    drawn = torch.randn(size, generator=source, dtype=torch.float64)
    return drawn / drawn.norm()


def _empty(start: Tensor, steps: int, keep_products: bool) -> Lanczos:
    *members, size = start.shape
    none = start.new_zeros(members)
    return Lanczos(
        basis=start.new_zeros(*members, steps, size),
        diagonal=start.new_zeros(*members, steps),
        off_diagonal=start.new_zeros(*members, steps - 1),
        residual=none,
        following=torch.zeros_like(start),
        valid=none.to(torch.int64),
        products=start.new_zeros(*members, steps, size) if keep_products else None,
    )


def _keep(
    found: Lanczos, step: int, vector: Tensor, alpha: Tensor, image: Tensor, alive: Tensor
) -> None:
    """Write the vector of a step, its diagonal entry and its product, where there are such."""
    there = alive.unsqueeze(-1)
    found.basis[..., step, :] = torch.where(there, vector, 0)
    found.diagonal[..., step] = torch.where(alive, alpha, 0)
    found.valid.add_(alive)
    if found.products is not None:
        found.products[..., step, :] = torch.where(there, image, 0)


def _forget(found: Lanczos, members: Tensor) -> None:
    for part in (found.basis, found.diagonal, found.off_diagonal, found.valid, found.products):
        if part is not None:
            part[members] = 0


def _divided(vectors: Tensor, lengths: Tensor, alive: Tensor) -> Tensor:
    """Return vectors (..., P) over lengths (...), zero where nothing is alive."""
    there = alive.unsqueeze(-1)
    return torch.where(there, vectors / torch.where(there, lengths.unsqueeze(-1), 1), 0)
