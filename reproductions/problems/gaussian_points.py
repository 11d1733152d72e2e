"""Critical points of Gaussian fields at finite N, exactly: Kac and Rice through one larger matrix.

The mean number of critical points of index k weighs a Hessian M + mu by |det(M + mu)|. A matrix of
the Gaussian orthogonal ensemble of size N + 1 has just that factor between one eigenvalue l and the
N others, so in units where its density is exp(-tr M^2 / 2)

    E[|det(M + mu)|; index k]  ~  exp(l^2 / 2) rho_k(l),    mu = -l sqrt(2 f'' / N),

with rho_k the density of the eigenvalue that has k below it. With the Gaussian weight exp(-l^2) of
mu itself, the shift at critical points of index k is that eigenvalue, tilted by exp(-l^2 / 2), and
the Hessian's eigenvalues are the differences of the others from it. No determinant is sampled.

Source: Kac and Rice; the step to N + 1 is that of Fyodorov 2004 and of Auffinger, Ben Arous and
Cerny 2013 for spin glasses, done here for fields.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from reproductions.problems import goe
from reproductions.problems.gaussian_theory import Kernel

Array = np.ndarray
_PANEL, _NODES, _PANELS = 4.0, 12, 40  # widths of the edge in a panel, its nodes, at most so many


class ByIndex(NamedTuple):
    """What critical points of each index are like, in units of the semicircle's radius."""

    mean: Array  # (K,) of the shift x = mu / (2 sqrt f'')
    deviation: Array  # (K,) its standard deviation
    log_number: Array  # (K,) of critical points, in a box of unit sides, for f'' = -f' = 1
    effective: Array  # (K,) share of the draws that carries the weight; 1 for a quadrature


def log_scale(n: int) -> float:
    """Return the log of what turns E[exp(-l_k^2 / 2)] into a number of critical points.

    Per unit volume and for f'' = -f' = 1; each kernel adds N/2 ln(f''/|f'|).
    """
    return n / 2 * -math.log(math.pi * n) + 0.5 * math.log(2 / math.pi) + math.lgamma((n + 1) / 2)


def spectra(n: int, draws: int, seed: int | list[int]) -> Array:
    """Return spectra (2 draws, N + 1), ascending, of matrices M and of the same matrices as -M."""
    drawn = goe.sample_least(n + 1, n, draws, seed)
    return np.concatenate([drawn, -drawn[:, ::-1]])


def sampled(n: int, draws: int, seed: int | list[int]) -> ByIndex:
    """Return the laws of every index 0 ... N from random matrices and their mirror images.

    In the bulk nearly all draws count alike; towards the edge few carry the weight, which
    `effective` tells, and `least` is the way there.
    """
    return of_spectra(spectra(n, draws, seed), n)


def of_spectra(drawn: Array, n: int) -> ByIndex:
    """Return the laws of every index from spectra (draws, N + 1), ascending."""
    logs = -0.5 * drawn**2
    most = logs.max(axis=0)
    weights = np.exp(logs - most)
    total = weights.sum(axis=0)
    x = -drawn / math.sqrt(2 * n)
    mean = (weights * x).sum(axis=0) / total
    variance = (weights * (x - mean) ** 2).sum(axis=0) / total
    effective = total**2 / (weights**2).sum(axis=0) / len(drawn)
    number = log_scale(n) + most + np.log(total / len(drawn))
    return ByIndex(mean, np.sqrt(variance), number, effective)


def hessian_density(drawn: Array, n: int, k: int, edges: Array) -> Array:
    """Return the density of the Hessian's eigenvalues at critical points of index k.

    They are the differences of the others from the k-th eigenvalue, in radii of the semicircle.

    Args:
        drawn: spectra (draws, N + 1), ascending.
        edges: (bins + 1,).

    Returns:
        (bins,), the mean over each bin.
    """
    own = drawn[:, k]
    weights = np.exp((own**2).min() / 2 - own**2 / 2)
    others = (np.delete(drawn, k, axis=1) - own[:, None]) / math.sqrt(2 * n)
    counts, _ = np.histogram(others, edges, weights=np.repeat(weights[:, None], n, axis=1))
    return counts / (weights.sum() * n * np.diff(edges))


def least(n: int) -> ByIndex:
    """Return the laws of index 0 and 1 by quadrature, to about 1e-8; see `goe.least_two`."""
    edge, width = goe.edge(n + 1)
    found: list[tuple[Array, Array]] = []
    total, low = np.zeros(2), -edge - 2 * _PANEL * width
    for _ in range(_PANELS):
        at, weights = goe.nodes(low, low + _PANEL * width, _NODES)
        tilt = np.exp((edge**2 - at**2) / 2)
        found.append((at, weights * tilt * np.stack(goe.least_two(at, n + 1))))
        part = found[-1][1].sum(axis=1)
        total, low = total + part, low + _PANEL * width
        if low > -edge and (part < 1e-12 * total).all():
            break
    levels, weights = np.concatenate([a for a, _ in found]), np.hstack([w for _, w in found])
    x = -levels / math.sqrt(2 * n)
    mean = weights @ x / total
    variance = (weights * (x - mean[:, None]) ** 2).sum(axis=1) / total
    return ByIndex(mean, np.sqrt(variance), log_scale(n) - edge**2 / 2 + np.log(total), np.ones(2))


def energy_moments(laws: ByIndex, n: int, kernel: Kernel) -> tuple[Array, Array]:
    """Return mean and standard deviation of the energy of critical points of each index.

    The energy is eps_c x plus an independent Gaussian of variance D / (N f'').
    """
    eps = kernel.critical_energy
    variance = (eps * laws.deviation) ** 2 + kernel.residual_variance / n
    return eps * laws.mean, np.sqrt(variance)


def log_numbers(laws: ByIndex, n: int, kernel: Kernel) -> Array:
    """Return the log of the mean number of critical points of each index in a box of unit sides."""
    return laws.log_number + n / 2 * math.log(kernel.ddf / -kernel.df)


def at_energy(eps: Array, n: int, kernel: Kernel) -> tuple[Array, Array]:
    """Return mean and standard deviation of the shift mu of critical points of an energy.

    The law of mu is rho(l) exp(l^2/2 - N q/(2D)), q the quadratic form of energy and shift and rho
    the density of all eigenvalues of size N + 1; by quadrature. Where D = 0 the shift is f' eps/f.

    Args:
        eps: (points,) energies.
    """
    k, gap = kernel, kernel.discriminant
    eps = np.asarray(eps, dtype=float)
    if gap <= 0:
        return k.df * eps / k.f, np.zeros_like(eps)
    edge, width = goe.edge(n + 1)
    levels, weights = goe.nodes(-edge - 14 * width, edge + 14 * width, 2 * goe.enough_nodes(n + 1))
    weights = weights * np.maximum(goe.eigenvalue_density(levels, n + 1), 0.0)
    mu = -levels * math.sqrt(2 * k.ddf / n)
    form = k.ddf * eps[:, None] ** 2 - 2 * k.df * eps[:, None] * mu + k.f * mu**2
    logs = levels**2 / 2 - n * form / (2 * gap)
    chances = weights * np.exp(logs - logs.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    mean = chances @ mu
    return mean, np.sqrt((chances * (mu - mean[:, None]) ** 2).sum(axis=1))
