"""Saddle-free Newton in a Krylov subspace: no dense Hessian, products with it only.

Dauphin et al. 2014, Algorithms 1 and 2. Deviations: the paper names no re-orthogonalisation,
without which its basis loses its independence; the previous update is made orthogonal to the basis,
and where it is missing or spanned already the next Lanczos vector takes its place; a step that
lowers no loss is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from reproductions.optim.curvature import Product, lanczos, orthogonalised
from reproductions.optim.second_order import DAMPINGS

SPANNED = 1e-6  # a direction that leaves so little outside the basis brings nothing new
PlaceProduct: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""theta (E, P), vectors (E, P) -> the products of a symmetric matrix at theta, (E, P)."""


class MatrixFree(Protocol):
    """What a Krylov step asks of a loss: an Objective without its dense Hessian."""

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at theta (E, P)."""
        ...

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, P)."""
        ...

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P)."""
        ...


class Step(NamedTuple):
    """What one step did; a member whom no trial helped stays where it was."""

    theta: Tensor  # (E, P), after the step
    update: Tensor  # (E, P), theta after less theta before; the next step's `previous`
    loss: Tensor  # (E,), after the step
    dampings: Tensor  # (M, E), chosen at each inner step; nan where no damping helped
    eigenvalues: Tensor  # (E, Q), of H in the subspace, ascending; nan beyond the subspace
    gradient_norm: Tensor  # (E,), before the step

    @property
    def improved(self) -> Tensor:
        """Return which members moved at all, (E,)."""
        return ~self.dampings.isnan().all(0)


class _Model(NamedTuple):
    """The loss in the subspace: a basis and the matrix that stands for the curvature there."""

    basis: Tensor  # (E, Q, P), orthonormal or zero rows V
    eigenvalues: Tensor  # (E, Q), of V H V^T
    vectors: Tensor  # (E, Q, Q), its eigenvectors in columns
    magnitudes: Tensor  # (E, Q), |eigenvalues| or the eigenvalues; what is damped and inverted

    def direction(self, gradient: Tensor, damping: float) -> Tensor:
        """Return -V^T (|V H V^T| + damping)^-1 V gradient, (E, P)."""
        along = (self.basis @ gradient.unsqueeze(-1)).mT @ self.vectors
        inverse = along / (self.magnitudes + damping).unsqueeze(-2)
        return -(inverse @ self.vectors.mT @ self.basis).squeeze(-2)


def krylov_step(
    objective: MatrixFree,
    theta: Tensor,
    previous: Tensor | None = None,
    *,
    vectors: int,
    inner_steps: int = 1,
    dampings: Sequence[float] = DAMPINGS,
    reorthogonalise: bool = True,
    absolute: bool = True,
    product: PlaceProduct | None = None,
) -> Step:
    """Take one step of saddle-free Newton in the subspace of the gradient and of earlier motion.

    Source: Dauphin et al. 2014, Algorithms 1 and 2, appendix F.1 (dampings); deviations: see the
    module. The basis starts with the gradient, follows the Lanczos recurrence and ends with the
    previous update; the curvature there is kept for all inner steps.

    Cost: Q products, M gradients, M losses for each damping; 4 Q E P numbers of memory at most.

    Args:
        theta: (E, P).
        previous: (E, P), the last step's `update`; None or zero at the start.
        vectors: Q, the size of the subspace. From P on the step is that of the exact method.
        inner_steps: M, moves in the subspace, each from the gradient where it starts.
        dampings: tried at each inner step; each member takes the one that lowers its loss most.
        reorthogonalise: see `lanczos`.
        absolute: take absolute values of eigenvalues; False gives damped Newton in the subspace.
        product: another matrix than the Hessian, such as Gauss and Newton's.

    Raises:
        ValueError: where a count is not positive, or there is no damping or a negative one.
    """
    _check(vectors, inner_steps, dampings)
    loss, gradient = objective.gradient(theta)
    here = partial(product or objective.product, theta)
    basis, images = _subspace(here, gradient, previous, vectors, reorthogonalise)
    model = _model(basis, images, absolute)
    moved, after, taken = _descend(objective, model, theta, loss, gradient, inner_steps, dampings)
    return Step(moved, moved - theta, after, taken, model.eigenvalues, gradient.norm(dim=1))


def _subspace(
    product: Product,
    gradient: Tensor,
    previous: Tensor | None,
    vectors: int,
    reorthogonalise: bool,
) -> tuple[Tensor, Tensor]:
    """Return the basis V and H V^T, both (E, Q, P)."""
    size = gradient.shape[1]
    steps = max(1, min(vectors, size) - 1)
    found = lanczos(product, gradient, steps, reorthogonalise=reorthogonalise, keep_products=True)
    assert found.products is not None
    if min(vectors, size) == 1:
        return found.basis, found.products
    last = _last(found.basis, found.following, previous)
    image = product(last)
    finite = image.isfinite().all(1, keepdim=True)
    pairs = [(found.basis, last), (found.products, image)]
    basis, images = (
        torch.cat([rows, torch.where(finite, row, 0).unsqueeze(1)], 1) for rows, row in pairs
    )
    return basis, images


def _last(basis: Tensor, following: Tensor, previous: Tensor | None) -> Tensor:
    """Return the last basis vector (E, P): the previous update, else the next of Lanczos'."""
    if previous is None:
        return following
    outside = orthogonalised(previous, basis)
    length = outside.norm(dim=1, keepdim=True)
    new = length > SPANNED * previous.norm(dim=1, keepdim=True)
    return torch.where(new, outside / torch.where(new, length, 1), following)


def _model(basis: Tensor, images: Tensor, absolute: bool) -> _Model:
    """Diagonalise V H V^T, with places of the basis that hold no vector kept apart from it.

    Such a place gets a diagonal entry above all eigenvalues, so that it comes last.
    """
    matrix = basis @ images.mT
    matrix = (matrix + matrix.mT) / 2
    empty = basis.square().sum(-1) < 0.5  # a row is of length one or zero
    above = 1 + matrix.square().sum((1, 2)).sqrt()
    matrix = matrix + torch.diag_embed(empty * above.unsqueeze(1))
    values, vectors = torch.linalg.eigh(matrix)
    count = (~empty).sum(1, keepdim=True)
    beyond = torch.arange(values.shape[1], device=values.device) >= count
    found = values.masked_fill(beyond, torch.nan)
    return _Model(basis, found, vectors, values.abs() if absolute else values)


def _descend(
    objective: MatrixFree,
    model: _Model,
    theta: Tensor,
    loss: Tensor,
    gradient: Tensor,
    inner_steps: int,
    dampings: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta and loss after the inner steps, and the dampings (M, E) of each."""
    chosen = []
    for inner in range(inner_steps):
        if inner:
            gradient = objective.gradient(theta)[1]
        theta, loss, damping = _best(objective, model, theta, loss, gradient, dampings)
        chosen.append(damping)
    return theta, loss, torch.stack(chosen)


def _best(
    objective: MatrixFree,
    model: _Model,
    theta: Tensor,
    loss: Tensor,
    gradient: Tensor,
    dampings: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta, loss and damping (E,) of each member's best trial, or of staying (nan)."""
    best, least, taken = theta, loss, torch.full_like(loss, torch.nan)
    for damping in dampings:
        trial = theta + model.direction(gradient, damping)
        reached = objective.loss(trial)
        better = reached < least
        best = torch.where(better.unsqueeze(1), trial, best)
        least = torch.where(better, reached, least)
        taken = torch.where(better, damping, taken)
    return best, least, taken


def _check(vectors: int, inner_steps: int, dampings: Sequence[float]) -> None:
    if vectors < 1 or inner_steps < 1:
        raise ValueError(
            f"vectors and inner_steps must be at least 1, got {vectors} and {inner_steps}"
        )
    if not dampings or not all(damping >= 0 for damping in dampings):
        raise ValueError(f"dampings must be one or more numbers from 0 on, got {dampings!r}")
