"""Random fields made of waves, as an objective: value, gradient, Hessian and products, in closed form.

phi(x) = sqrt(2N/K) sum_k cos(w_k . x + b_k), b uniform on the circle and w drawn from the spectrum
of the covariance: then <phi(x) phi(y)> = N f(|x - y|^2 / 2N). For f(u) = exp(-a u) each w is normal
with variance a/N per component. f(u) = (1 + u)^(-g) is the mean of exp(-s u) over s of the Gamma
law of shape g, so there each wave draws its own s, and w is normal with variance s/N.

Given K waves the field is Gaussian only up to corrections of order 1/K at a point (the kurtosis of
phi is 3 - 3/(2K)) and N/K in the spectrum of the Hessian, which is a sum of K matrices of rank one.

Source: Rahimi and Recht 2007 for the waves; the covariance is that of Bray and Dean 2007.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.problems.gaussian_theory import Kernel

KEPT_BYTES = 2**28  # of products of two components of all waves; beyond, they are made each time


class Derivatives(NamedTuple):
    """A field and its derivatives, of every member."""

    loss: Tensor  # (E,)
    gradient: Tensor  # (E, P)
    hessian: Tensor  # (E, P, P), exactly symmetric


def draw_waves(
    kernel: Kernel, n: int, waves: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return frequencies (K, N) and phases (K,) of one field, float64 on the CPU.

    Args:
        kernel: exponential, or power with 2g a whole number: half the sum of 2g squared normal
            numbers then has the Gamma law of shape g.
        n: dimensions N.
        waves: K.

    Raises:
        ValueError: n or waves below 1, or a kernel that cannot be drawn.
    """
    if n < 1 or waves < 1:
        raise ValueError(f"n and waves must be at least 1, got {n} and {waves}")
    scale = _scales(kernel, waves, generator)
    normal = torch.randn(waves, n, dtype=torch.float64, generator=generator)
    phases = 2 * math.pi * torch.rand(waves, dtype=torch.float64, generator=generator)
    return normal * (scale / n).sqrt(), phases


def _scales(kernel: Kernel, waves: int, generator: torch.Generator) -> Tensor:
    """Return s of every wave, (K, 1)."""
    if kernel.name == "exponential":
        return torch.full((waves, 1), kernel.parameter, dtype=torch.float64)
    twice = 2 * kernel.parameter
    if kernel.name != "power" or twice != round(twice):
        raise ValueError(f"only exponential, and power with whole 2g, can be drawn, got {kernel}")
    normal = torch.randn(waves, int(twice), dtype=torch.float64, generator=generator)
    return normal.square().sum(dim=1, keepdim=True) / 2


class GaussianField:
    """F fields of one size, each with some members; the members of a field follow each other.

    The loss is phi; the energy per dimension is phi / N.

    Args:
        frequencies: (F, K, N).
        phases: (F, K).
        counts: members of each field; by default every field has the same number.
    """

    def __init__(
        self, frequencies: Tensor, phases: Tensor, counts: Sequence[int] | None = None
    ) -> None:
        if frequencies.dim() != 3 or frequencies.shape[:2] != phases.shape:
            shapes = f"{tuple(frequencies.shape)} and {tuple(phases.shape)}"
            raise ValueError(f"wanted frequencies (F, K, N) and phases (F, K), got {shapes}")
        self.frequencies, self.phases, self.counts = frequencies, phases, counts
        self.fields, self.waves, self.dimensions = frequencies.shape
        self._scale = math.sqrt(2 * self.dimensions / self.waves)
        self._pairs: list[Tensor] = []

    @classmethod
    def draw(
        cls, kernel: Kernel, n: int, waves: int, generators: Sequence[torch.Generator]
    ) -> GaussianField:
        """Return one field a generator: a field is the same whatever others are drawn beside it."""
        drawn = [draw_waves(kernel, n, waves, generator) for generator in generators]
        return cls(torch.stack([w for w, _ in drawn]), torch.stack([b for _, b in drawn]))

    def to(self, device: torch.device | str) -> GaussianField:
        """Return the same fields on a device."""
        return GaussianField(self.frequencies.to(device), self.phases.to(device), self.counts)

    def part(self, members: Tensor) -> GaussianField:
        """Return the objective of some members (E,) bool."""
        counts = [int(own.sum()) for own in members.split(self._members(len(members)))]
        found = GaussianField(self.frequencies, self.phases, counts)
        found._pairs = self._pairs
        return found

    def loss(self, theta: Tensor) -> Tensor:
        """Return phi (E,) at theta (E, N)."""
        found = [cosines.sum(1) for _, cosines, _ in self._waves(theta, sines=False)]
        return self._scale * torch.cat(found)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return phi (E,) and its gradient (E, N), -c sum sin(w.x + b) w with c = sqrt(2N/K)."""
        found = [(cosines.sum(1), sines @ own) for own, cosines, sines in self._waves(theta)]
        loss, gradient = (torch.cat(parts) for parts in zip(*found, strict=True))
        return self._scale * loss, -self._scale * gradient

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, N) or (Q, E, N), as vectors.

        H v = -c sum cos(w.x + b) (w.v) w.
        """
        parts = vectors.split(self._members(len(theta)), dim=-2)
        found = [
            (cosines * (part @ own.T)) @ own
            for (own, cosines, _), part in zip(self._waves(theta, sines=False), parts, strict=True)
        ]
        return -self._scale * torch.cat(found, dim=-2)

    def curvature(self, theta: Tensor) -> Derivatives:
        """Return phi, gradient and Hessian, -c sum cos(w.x + b) w w^T.

        The products of two components of w are shared by a field's members, whose Hessians are
        then one matrix product.
        """
        row, column = torch.triu_indices(self.dimensions, self.dimensions, device=theta.device)
        packed, found = [], []
        for field, (own, cosines, sines) in enumerate(self._waves(theta)):
            packed.append(cosines @ self._products(field).T)
            found.append((cosines.sum(1), sines @ own))
        loss, gradient = (torch.cat(parts) for parts in zip(*found, strict=True))
        hessian = theta.new_empty(len(theta), self.dimensions, self.dimensions)
        upper = -self._scale * torch.cat(packed)
        hessian[:, row, column] = upper
        hessian[:, column, row] = upper
        return Derivatives(self._scale * loss, -self._scale * gradient, hessian)

    def _products(self, field: int) -> Tensor:
        """Return w_i w_j, i <= j, of every wave of a field, (N (N + 1) / 2, K)."""
        if len(self._pairs) > field:
            return self._pairs[field]
        own = self.frequencies[field].T.contiguous()
        found = torch.cat([own[first] * own[first:] for first in range(self.dimensions)])
        if self.fields * found.numel() * found.element_size() <= KEPT_BYTES:
            self._pairs.append(found)
        return found

    def _members(self, count: int) -> list[int]:
        """Return how many members each field has of so many in all."""
        share = [count // self.fields] * self.fields if self.counts is None else list(self.counts)
        if sum(share) != count:
            wanted = f"a multiple of {self.fields}" if self.counts is None else f"{sum(share)}"
            raise ValueError(f"wanted {wanted} members, got {count}")
        return share

    def _waves(self, theta: Tensor, sines: bool = True) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield, of every field, w (K, N) and cos and sin of w.x + b (members, K)."""
        if theta.dim() != 2 or theta.shape[1] != self.dimensions:
            wanted = f"(members, {self.dimensions})"
            raise ValueError(f"theta must have shape {wanted}, got {tuple(theta.shape)}")
        parts = theta.split(self._members(len(theta)))
        for own, phase, part in zip(self.frequencies, self.phases, parts, strict=True):
            angles = torch.addmm(phase, part, own.T)
            yield own, angles.cos(), angles.sin_() if sines else angles
