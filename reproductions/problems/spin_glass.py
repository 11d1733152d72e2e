"""Critical points of the spherical p-spin glass: how many there are at which energy, exactly.

The Hamiltonian is H(s) = N^{-(p-1)/2} sum J_{i1...ip} s_i1 ... s_ip on |s|^2 = N with independent
standard normal J; energies are u = H / N. Choromanska et al. 2015 write H for p and Lambda for N.

Source: Auffinger, Ben Arous, Cerny 2013 (theorems 2.1 to 2.8), quoted in Choromanska et al. 2015,
section 4. The second branch of Theta_{k,p} is printed there with (p-2)/(4(p-1)); continuity, and
their own Figure 2, want (p-2)/p.
"""

from __future__ import annotations

import math

import numpy as np


def threshold_energy(p: int) -> float:
    """Return E_inf = 2 sqrt((p-1)/p): critical points of any fixed index lie below -E_inf.

    Raises:
        ValueError: p below 2.
    """
    if p < 2:
        raise ValueError(f"p must be at least 2, got {p}")
    return 2 * math.sqrt((p - 1) / p)


def rate(u: np.ndarray | float, p: int) -> np.ndarray:
    """Return I_1(u), the cost per spin of moving one eigenvalue out to energy u <= -E_inf.

    I_1(u) = -(u/E_inf^2) sqrt(u^2 - E_inf^2) - log(-u + sqrt(u^2 - E_inf^2)) + log E_inf; zero
    above -E_inf.
    """
    edge = threshold_energy(p)
    u = np.minimum(np.asarray(u, dtype=float), -edge)
    root = np.sqrt(u * u - edge * edge)
    return -u / edge**2 * root - np.log(-u + root) + math.log(edge)


def complexity(u: np.ndarray | float, p: int) -> np.ndarray:
    """Return Theta_p(u): 1/N log of the mean number of critical points of energy at most u."""
    u = np.asarray(u, dtype=float)
    parabola = 0.5 * math.log(p - 1) - (p - 2) / (4 * (p - 1)) * np.minimum(u, 0.0) ** 2
    return parabola - rate(u, p)


def complexity_of_index(u: np.ndarray | float, k: int, p: int) -> np.ndarray:
    """Return Theta_{k,p}(u): the same for critical points of index k alone.

    Raises:
        ValueError: k below 0.
    """
    if k < 0:
        raise ValueError(f"k must not be negative, got {k}")
    below = np.minimum(np.asarray(u, dtype=float), -threshold_energy(p))
    parabola = 0.5 * math.log(p - 1) - (p - 2) / (4 * (p - 1)) * below**2
    return parabola - (k + 1) * rate(below, p)


def lowest_energy(k: int, p: int) -> float:
    """Return E_k > E_inf, the root of Theta_{k,p}(-E_k) = 0: no index k below -E_k.

    E_0 is the energy of the ground state. At p = 2 every E_k is E_inf. Accurate to 1e-12.
    """
    edge = threshold_energy(p)
    if p == 2:
        return edge
    from scipy.optimize import brentq

    return float(brentq(lambda e: float(complexity_of_index(-e, k, p)), edge, 2 * edge + 1,
                        xtol=1e-13))  # fmt: skip


def log_density(u: np.ndarray | float, p: int, n: int, k: int | None = None) -> np.ndarray:
    """Return log d/du exp(N Theta(u)), the curve that Choromanska et al. plot in their Figure 1.

    It is the bare exponent without prefactors; -inf where the derivative is not positive.

    Args:
        k: index; None for all critical points.
    """
    u = np.asarray(u, dtype=float)
    edge = threshold_energy(p)
    below = np.minimum(u, -edge)
    parabola = -(p - 2) / (2 * (p - 1)) * (np.minimum(u, 0.0) if k is None else below)
    pulls = 1 if k is None else k + 1  # I_1'(u) = -2 sqrt(u^2 - E_inf^2) / E_inf^2
    slope = parabola + pulls * 2 * np.sqrt(below**2 - edge**2) / edge**2
    if k is not None:
        slope = np.where(u < -edge, slope, 0.0)
    theta = complexity(u, p) if k is None else complexity_of_index(u, k, p)
    with np.errstate(divide="ignore"):
        return n * theta + np.log(n * np.maximum(slope, 0.0))


def mean_number(
    n: int,
    p: int,
    *,
    k: int | None = None,
    u: float = math.inf,
    draws: int = 4000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the mean number of critical points of energy at most u, and its standard error.

    Exact at finite N but for the average over `draws` random matrices (Kac and Rice):
    2 sqrt(2/p) (p-1)^{N/2} E[exp(-N (p-2) l_k^2 / (2p)) 1{l_k <= u sqrt(p/(2(p-1)))}] with l_k the
    k-th smallest eigenvalue of the Gaussian orthogonal ensemble of edge sqrt(2).

    Source: Auffinger, Ben Arous, Cerny 2013, Theorem 2.1; the ensemble's tridiagonal form is
    Dumitriu and Edelman 2002.

    Args:
        n: dimension N.
        k: index; None sums over all.

    Raises:
        ValueError: k outside 0 ... N - 1.
    """
    if k is not None and not 0 <= k < n:
        raise ValueError(f"k must lie between 0 and N - 1 = {n - 1}, got {k}")
    eigenvalues = _goe_eigenvalues(n, k, draws, seed)
    inside = eigenvalues <= u * math.sqrt(p / (2 * (p - 1)))
    weight = np.exp(-n * (p - 2) / (2 * p) * eigenvalues**2) * inside
    scale = 2 * math.sqrt(2 / p) * (p - 1) ** (n / 2)
    sums = scale * weight.sum(axis=1)
    return float(sums.mean()), float(sums.std(ddof=1) / math.sqrt(draws))


def _goe_eigenvalues(n: int, k: int | None, draws: int, seed: int) -> np.ndarray:
    """Return eigenvalues (draws, N), or only the k-th smallest (draws, 1)."""
    from scipy.linalg import eigh_tridiagonal

    source = np.random.default_rng(seed)
    diagonal = source.normal(size=(draws, n)) / math.sqrt(n)
    degrees = np.arange(n - 1, 0, -1)
    beside = np.sqrt(source.chisquare(degrees, size=(draws, n - 1)) / (2 * n))
    picked = {} if k is None else {"select": "i", "select_range": (k, k)}
    return np.stack(
        [
            eigh_tridiagonal(d, e, eigvals_only=True, **picked)
            for d, e in zip(diagonal, beside, strict=True)
        ]
    )
