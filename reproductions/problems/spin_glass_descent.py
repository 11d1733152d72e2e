"""The spherical 3-spin glass as an objective: energy, gradient and Hessian of many starts at once.

H(s) = N^{-1} sum_{ijk} J_ijk s_i s_j s_k on the sphere |s|^2 = N, all N^3 couplings independent and
standard normal. Energies are told per spin, u = H / N, and derivatives are those of H itself, by s:
the scale in which a step of 0.2 is the authors' and the Hessian on the sphere has the spectrum
[-3 u - 2 sqrt 6, -3 u + 2 sqrt 6], which is [0, 9.8] at the threshold u = -1.633.

The gradient is quadratic in s, so J is symmetrised over its six permutations and folded over the
pairs s_j s_k once: one matrix product, a sixth of the work of three contractions with J. Pairs are
listed by distance, (j, j + d mod N) for d = 0 ... N/2: all products of one distance are then one
multiplication of two contiguous blocks.

Source: Choromanska et al. 2015, section 5.1; the code its authors cite divides the projected
gradient by nothing else (`leventsagun/3-spin-glass-landscape`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

P = 3  # spins in a term
SLAB = 16  # rows symmetrised at a time: 64 bytes, one cache line, of J's last axis
PAIR_BYTES = {"cpu": 2**21, "cuda": 2**31}  # of pair products at a time: what a core caches
FEWEST = 32  # starts at a time nevertheless: fewer would read the couplings too often


def draw_couplings(n: int, generator: torch.Generator) -> Tensor:
    """Return J (N, N, N), float32 on the CPU: the same numbers wherever they are used.

    Raises:
        ValueError: n below 2.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    return torch.randn(n, n, n, generator=generator)


def fold(couplings: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return the coefficients (M, N) of the gradient in the pair products, M = N (N//2 + 1).

    grad_i = sum_{d, j} folded[d N + j, i] s_j s_{j+d}, with the couplings symmetrised. Made slab by
    slab: beside the result it takes SLAB N^2 numbers.

    Args:
        couplings: (N, N, N), not symmetric.
        dtype: of the result and of the sums; that of the couplings when None.
    """
    n, dtype = len(couplings), dtype or couplings.dtype
    first = torch.arange(n, device=couplings.device)
    distance = torch.arange(n // 2 + 1, device=couplings.device)[:, None]
    pairs = (first * n + (first + distance) % n).flatten()
    # each pair stands for (j, k) and (k, j), but d = 0 for one, and d = N/2 is listed twice
    twice = torch.where((distance == 0) | (2 * distance == n), 1.0, 2.0).to(dtype) / (2 * n)
    folded = torch.empty(len(pairs), n, dtype=dtype, device=couplings.device)
    for start in range(0, n, SLAB):
        rows = slice(start, start + SLAB)
        slab = couplings[rows].to(dtype)
        slab = slab + couplings[:, rows].transpose(0, 1) + couplings[:, :, rows].permute(2, 0, 1)
        slab = (slab + slab.transpose(1, 2)).flatten(1).index_select(1, pairs)
        folded[:, rows] = slab.T * twice.expand(-1, n).reshape(-1, 1)
    return folded


def random_starts(n: int, starts: int, generator: torch.Generator) -> Tensor:
    """Return points (starts, N) uniform on the sphere of radius sqrt N, float32 on the CPU.

    The first s of them are the same however many are asked for: each is drawn by itself.
    """
    points = torch.stack([torch.randn(n, generator=generator) for _ in range(starts)])
    return points * (math.sqrt(n) / torch.linalg.vector_norm(points, dim=1, keepdim=True))


def distinct(theta: Tensor, overlap: float = 0.999) -> int:
    """Count distinct points among theta (E, N): one is new if its overlap with all before is less.

    The overlap of two points is s . t / N, 1 where they agree.
    """
    found = 0
    while len(theta):
        same = theta @ theta[0] > overlap * (theta[0] @ theta[0])
        same[0] = True
        theta, found = theta[~same], found + 1
    return found


class SpinGlass:
    """The energy of G coupling tensors of one size; member e lives on tensor e // (E / G).

    Args:
        folded: (G, M, N) as `fold` makes them.
        pair_bytes: of pair products to hold at a time; by default what suits the device.
    """

    def __init__(self, folded: Tensor, pair_bytes: int | None = None) -> None:
        if folded.dim() != 3 or folded.shape[1] != _pairs(folded.shape[2]):
            shape = tuple(folded.shape)
            raise ValueError(f"folded must have shape (G, N (N//2 + 1), N), got {shape}")
        self.folded = folded
        self.tensors, self.spins = folded.shape[0], folded.shape[2]
        self._pair_bytes = pair_bytes or PAIR_BYTES.get(folded.device.type, PAIR_BYTES["cpu"])
        self._buffers: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(cls, couplings: Iterable[Tensor], dtype: torch.dtype | None = None) -> SpinGlass:
        """Return the objective of some tensors J (N, N, N)."""
        return cls(torch.stack([fold(one, dtype) for one in couplings]))

    def part(self, tensors: Tensor) -> SpinGlass:
        """Return the objective of some of the tensors, by number or by mask (G,), copied."""
        return SpinGlass(self.folded[tensors], self._pair_bytes)

    def gradient(
        self,
        theta: Tensor,
        inputs: Tensor | None = None,
        targets: Tensor | None = None,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return every member's energy per spin and the gradient of its H.

        Args:
            theta: (E, N) points; G divides E.
            inputs, targets: not used; the training loop hands over minibatches.
            out: (E, N), contiguous, to write the gradient into; made when None.

        Returns:
            energy (E,), u = H / N, and gradient (E, N), not projected on the sphere.

        Raises:
            ValueError: where theta does not fit the tensors.
        """
        spins = self._by_tensor(theta)
        grad = torch.empty_like(theta) if out is None else out
        places = grad.view(spins.shape)
        for tensors, starts in self._chunks(spins.shape[1]):
            pairs = self._pair_products(spins[tensors, starts])
            torch.bmm(pairs.transpose(1, 2), self.folded[tensors], out=places[tensors, starts])
        return (theta * grad).sum(1) / (P * self.spins), grad

    def at_rest(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energy per spin (E,) and the length of the gradient along the sphere.

        The length (E,) is that of the tangent gradient over sqrt N; a critical point has 0.
        """
        energy, grad = self.gradient(theta)
        grad -= theta * ((theta * grad).sum(1, keepdim=True) / self.spins)
        return energy, torch.linalg.vector_norm(grad, dim=1) / math.sqrt(self.spins)

    def hessian_eigenvalues(self, theta: Tensor) -> Tensor:
        """Return the eigenvalues (E, N - 1), ascending, of the Hessian along the sphere.

        On the tangent space it is the Hessian of H minus 3 u: moving along the sphere turns the
        point, and the gradient has the radial part s . grad / N = 3 u. The gradient is quadratic,
        so its central differences are the Hessian, without error but rounding.

        Cost: 2 N gradients a point. Accurate to 1e-12 in float64.
        """
        self._by_tensor(theta)
        unit = torch.eye(self.spins, dtype=theta.dtype, device=theta.device)
        ahead, behind = (
            self.gradient((theta[:, None] + way * unit).flatten(0, 1))[1] for way in (1, -1)
        )
        hessian = (ahead - behind).view(-1, self.spins, self.spins) / 2
        tangent = torch.linalg.qr(theta[:, :, None], mode="complete").Q[:, :, 1:]
        energy = self.gradient(theta)[0]
        along = tangent.transpose(1, 2) @ hessian @ tangent
        return torch.linalg.eigvalsh(along) - P * energy[:, None]

    def _by_tensor(self, theta: Tensor) -> Tensor:
        """Return theta as (G, starts, N)."""
        if theta.dim() != 2 or theta.shape[1] != self.spins or theta.shape[0] % self.tensors:
            wanted, got = f"(a multiple of {self.tensors}, {self.spins})", tuple(theta.shape)
            raise ValueError(f"theta must have shape {wanted}, got {got}")
        return theta.view(self.tensors, -1, self.spins)

    def _chunks(self, starts: int) -> Iterator[tuple[slice, slice]]:
        """Yield (tensors, starts): several tensors whole, or parts of one."""
        one = _pairs(self.spins) * self.folded.element_size()
        at_once = max(FEWEST, self._pair_bytes // one)
        whole, part = max(1, at_once // starts), math.ceil(starts / math.ceil(starts / at_once))
        for tensor in range(0, self.tensors, whole):
            for start in range(0, starts, part):
                yield slice(tensor, tensor + whole), slice(start, start + part)

    def _pair_products(self, spins: Tensor) -> Tensor:
        """Return s_j s_{j+d} as (G', M, starts) of spins (G', starts, N)."""
        tensors, starts, n = spins.shape
        reach = n // 2
        if (tensors, starts) not in self._buffers:
            self._buffers[tensors, starts] = (
                spins.new_empty(tensors, n + reach, starts),
                spins.new_empty(tensors, reach + 1, n, starts),
            )
        around, products = self._buffers[tensors, starts]
        around[:, :n] = spins.transpose(1, 2)
        around[:, n:] = around[:, :reach]
        shifted = around.as_strided(products.shape, (around.stride(0), starts, starts, 1))
        torch.mul(shifted, around[:, None, :n], out=products)
        return products.flatten(1, 2)


def _pairs(n: int) -> int:
    return n * (n // 2 + 1)
