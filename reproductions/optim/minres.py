"""Solve symmetric systems of a whole ensemble by the method of minimum residuals.

The matrices may be indefinite and singular, and only products with them are asked for. The residual
r = b - A x of a member never grows, and the iteration ends in one of two ways: where |r| is small,
or where |A r| is small beside |A| |r|, so that no x could do better. The second is what a singular
system without a solution comes to, and it also keeps the nearly singular ones from large steps
along eigenvectors of next to no eigenvalue. There r itself lies in the kernel and is taken out
of x, which leaves the shortest of the solutions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.curvature import Product

POWERS = 3  # products that look for the size of A before the first step
ROUNDINGS = 10  # relative to A: a Lanczos vector that is shorter is nothing but them


class Solution(NamedTuple):
    """Where the iteration of every member ended."""

    solution: Tensor  # (E, P), x
    residual: Tensor  # (E,), |b - A x|, of a product with x itself
    iterations: Tensor  # (E,), int64
    image: Tensor  # (E, P), A x
    flat: Tensor  # (E,) bool, ended where |A r| is small, or where x would have got too long


def minres(
    product: Product, b: Tensor, *, steps: int, tolerance: float = 1e-6, flat: float = 1e-6
) -> Solution:
    """Return the x that minimise |b - A x| in the Krylov spaces of A and b, member by member.

    A member that has ended stays as it is while others go on: it enters further products as zero.
    One whose b is not finite gets x = 0; one whose product is not, the x from before it.

    Source: Paige, Saunders 1975; |A r| from its rotations as in Choi, Paige, Saunders
    2011; x - (r . x) r / |r|^2 as the last step on a singular system: Liu, Milzarek, Roosta 2023.
    Deviation: |A| is what the products have shown of it, the first POWERS of them on powers of A.

    Cost: a product and about 30 P operations an iteration, and POWERS + 1 products, one more where
    a member ended flat. Memory for 8 vectors a member.

    Args:
        product: (E, P) -> (E, P), symmetric.
        b: (E, P).
        steps: at most so many; in exact arithmetic P are enough, in floating point ill-conditioned
            systems take more.
        tolerance: a member ends where |r| is at most this share of |b|.
        flat: a member ends where |A r| is at most this share of |A| |r|, or before x gets longer
            than |b| / (share |A|). Eigenvalues below this share of the largest are so treated as
            zero, more or less. The root of the dtype's resolution is its floor, for where it is
            lower a b in the kernel is not told from roundings.

    Raises:
        ValueError: where steps or a share is negative.
    """
    if steps < 0 or not tolerance >= 0 or not flat >= 0:
        found = f"{steps}, {tolerance} and {flat}"
        raise ValueError(f"steps, tolerance and flat must not be negative, got {found}")
    run = _Run(product, b, tolerance, max(flat, torch.finfo(b.dtype).eps ** 0.5))
    for _ in range(steps):
        if not run.active.any():
            break
        run.advance()
    return run.finish()


class _Run:
    """The iteration; numbers of a member are (E, 1), and vectors that have ended are zero."""

    def __init__(self, product: Product, b: Tensor, tolerance: float, flat: float) -> None:
        self.product, self.b, self.share = product, b, flat
        self.length = _length(b)
        self.floor = tolerance * self.length
        self.active = b.isfinite().all(1, keepdim=True) & (self.length > 0)
        self.flat = torch.zeros_like(self.active)
        self.iterations = self.flat.long()
        self.x, zero = torch.zeros_like(b), torch.zeros_like(self.length)
        self.vectors = self.x, _unit(b)  # of Lanczos
        self.search = self.x, self.x  # directions
        self.beta, self.left = zero, torch.where(self.active, self.length, 0)  # left: |r|
        self.cosine, self.sine = zero - 1, zero
        self.delta, self.epsilon = zero, zero  # of the next column of R, before its rotation
        # Without it a b that lies in the kernel but for a trace would first pass for an eigenvector.
        self.size = size_of(product, b)

    def advance(self) -> None:
        """Make one iteration of all active members."""
        before, vector = self.vectors
        image = self.product(vector)
        alpha = (vector * image).sum(1, keepdim=True)
        image = image - alpha * vector - self.beta * before
        beta = _length(image)
        column = torch.cat([alpha, beta, self.beta], 1)
        self.active = self.active & column.isfinite().all(1, keepdim=True)
        self.size = torch.where(self.active, self.size.maximum(_length(column)), self.size)
        self._rotate(alpha, beta)
        self.active = self.active & (self.left > self.floor)
        self.active = self.active & (beta > ROUNDINGS * torch.finfo(beta.dtype).eps * self.size)
        following = torch.where(self.active, image / beta, 0)
        self.vectors, self.beta = (torch.where(self.active, vector, 0), following), beta

    def _rotate(self, alpha: Tensor, beta: Tensor) -> None:
        """Take in a column (beta_k, alpha, beta) of the tridiagonal matrix, and move x by it."""
        delta = self.cosine * self.delta + self.sine * alpha
        gamma = self.sine * self.delta - self.cosine * alpha
        ahead = -self.cosine * beta  # the next column's delta
        flat = torch.hypot(gamma, ahead) <= self.share * self.size  # |A r| / |r|, before the move
        self._end_flat(flat)
        pivot = torch.hypot(gamma, beta)
        older, old = self.search
        new = (self.vectors[1] - delta * old - self.epsilon * older) / pivot
        new = torch.where(self.active, new, 0)  # from here on zero where a member ended before
        self.search = torch.where(self.active, old, 0), new
        self.epsilon, self.delta = self.sine * beta, ahead
        self.cosine, self.sine = gamma / pivot, beta / pivot
        self._move(new)

    def _move(self, direction: Tensor) -> None:
        x = self.x + torch.where(self.active, self.cosine * self.left, 0) * direction
        self._end_flat(_length(x) * self.size * self.share > self.length)
        self.x = torch.where(self.active, x, self.x)
        self.left = torch.where(self.active, self.sine * self.left, self.left)
        self.iterations = self.iterations + self.active

    def _end_flat(self, flat: Tensor) -> None:
        self.flat = self.flat | (self.active & flat)
        self.active = self.active & ~flat

    def finish(self) -> Solution:
        """Measure what is left, and take it out of the x of flat members where that is harmless."""
        x, image = self.x, self.product(self.x)
        if self.flat.any():
            residual = self.b - image
            share = (residual * x).sum(1, keepdim=True) / residual.square().sum(1, keepdim=True)
            shorter = x - torch.where(self.flat, share * residual, 0)
            reached = self.product(shorter)
            good = self.flat & (_length(self.b - reached) <= (1 + self.share) * _length(residual))
            x, image = torch.where(good, shorter, x), torch.where(good, reached, image)
        residual = _length(self.b - image)[:, 0]
        return Solution(x, residual, self.iterations[:, 0], image, self.flat[:, 0])


def _length(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


def size_of(product: Product, start: Tensor) -> Tensor:
    """Return a lower bound (E, 1) of |A|, from products with powers of A; 0 where it finds none.

    Args:
        product: (E, P) -> (E, P), symmetric.
        start: (E, P); a member's is best not in the kernel.
    """
    size, unit = torch.zeros_like(start[:, :1]), _unit(start)
    for _ in range(POWERS):
        image = product(unit)
        length = _length(image)
        size = torch.where(length.isfinite(), size.maximum(length), size)
        unit = _unit(image)
    return size


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors of length one, zero where that is not to be had."""
    length = _length(vectors)
    return torch.where(length.isfinite() & (length > 0), vectors / length, 0)
