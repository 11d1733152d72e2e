"""Critical points of the spherical p-spin glass: how many there are at which energy, exactly.

The Hamiltonian is H(s) = N^{-(p-1)/2} sum J_{i1...ip} s_i1 ... s_ip on |s|^2 = N with independent
standard normal J; energies are u = H / N. Choromanska et al. 2015 write H for p and Lambda for N.

Source: Auffinger, Ben Arous, Cerny 2013 (theorems 2.1 to 2.8), quoted in Choromanska et al. 2015,
section 4. The second branch of Theta_{k,p} is printed there with (p-2)/(4(p-1)); continuity, and
their own Figure 2, want (p-2)/p.

Exponents are in closed form; mean numbers at finite N are exact (Kac and Rice) for all critical
points together and for index 0 and 1, sampled with a standard error for any index, and asymptotic
with the prefactors of Theorem 11.1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from reproductions.problems import goe

# Ai'(0)^2 + Ai(0)/3
_EDGE_DENSITY = (3 ** (-1 / 3) / math.gamma(1 / 3)) ** 2 + 3 ** (-5 / 3) / math.gamma(2 / 3)
_WIDTHS = 5.0  # of the spectrum's edge, one panel of a quadrature
_NODES = 12  # in a panel
_DONE = 1e-14  # share of the sum below which the panels end


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


def log_mean_number(n: int, p: int, *, k: int | None = None, u: float = math.inf) -> float:
    """Return the log of the mean number of critical points of energy at most u, exactly at finite N.

    2 sqrt(2/p) (p-1)^{N/2} E[exp(-N (p-2) l_k^2 / (2p)) 1{l_k <= u sqrt(p/(2(p-1)))}] with l_k the
    k-th smallest eigenvalue of the Gaussian orthogonal ensemble of edge sqrt(2) (Kac and Rice), by
    quadrature over the eigenvalue's law; accurate to about 1e-8, -inf where nothing is left.

    Source: Auffinger, Ben Arous, Cerny 2013, Theorem 2.1. Cost: see `goe.least_two`.

    Args:
        n: dimension N.
        k: index 0 or 1; None sums over all.

    Raises:
        ValueError: N below 2, p below 2 or another index.
    """
    return float(_log_total(_critical_points(n, p, k, u)[1]))


def mean_energy(n: int, p: int, *, k: int | None = 0) -> tuple[float, float]:
    """Return mean and standard deviation of the energy u of critical points, exactly at finite N.

    The mean is annealed: every critical point of every coupling tensor counts alike.

    Args:
        k: index 0 or 1; None takes all.
    """
    energies, log_weights = _critical_points(n, p, k, math.inf)
    weights = np.exp(log_weights - _log_total(log_weights))
    mean = float(weights @ energies)
    return mean, math.sqrt(float(weights @ (energies - mean) ** 2))


def _log_total(logs: np.ndarray) -> float:
    most = logs.max(initial=-math.inf)
    return float(most + np.log(np.exp(logs - most).sum())) if math.isfinite(most) else -math.inf


def _critical_points(n: int, p: int, k: int | None, u: float) -> tuple[np.ndarray, np.ndarray]:
    """Return energies and the log of the mean number of critical points that each stands for."""
    if k not in (None, 0, 1):
        raise ValueError(f"k must be 0, 1 or None (all), got {k}; sample other indices")
    if n < 2:
        raise ValueError(f"N must be at least 2, got {n}")
    per_energy = threshold_energy(p) / math.sqrt(2 * n)  # energy of an eigenvalue 1
    last = u / per_energy
    if k is None:
        at, weights = _whole_spectrum(n, last)
    else:
        at, both = _least(n, p, last)
        weights = both[k]
    scale = math.log(2 * math.sqrt(2 / p)) + n / 2 * math.log(p - 1)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(weights, 0.0))
    return at * per_energy, scale + logs - (p - 2) / (2 * p) * at**2


def _whole_spectrum(n: int, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues up to the last and how many there are of each on average."""
    end, width = goe.edge(n)
    most = end + 14 * width
    low = min(-most, last - most)
    at, weights = goe.nodes(low, min(last, most), goe.enough_nodes(n))
    return at, weights * goe.eigenvalue_density(at, n)


@lru_cache(maxsize=16)
def _least(n: int, p: int, last: float) -> tuple[np.ndarray, np.ndarray]:
    """Return values up to the last of the two smallest eigenvalues and the chances of each, (2, ...).

    Panels go up from below the edge until the tilted laws add nothing more.
    """
    end, width = goe.edge(n)
    low = min(-end, last) - 2 * _WIDTHS * width
    found, done = [], False
    total = np.zeros(2)
    while low < last and not done:
        high = min(low + _WIDTHS * width, last)
        at, weights = goe.nodes(low, high, _NODES)
        chances = weights * np.stack(goe.least_two(at, n))
        found.append((at, chances))
        part = chances @ np.exp(-(p - 2) / (2 * p) * (at**2 - end**2))
        total += part
        done = low > -end and bool((part < _DONE * total).all())
        low = high
    return np.concatenate([one for one, _ in found]), np.hstack([two for _, two in found])


def mean_number(
    n: int,
    p: int,
    *,
    k: int | None = None,
    u: float = math.inf,
    draws: int = 4000,
    seed: int | list[int] = 0,
) -> tuple[float, float]:
    """Return a sampled mean number of critical points of energy at most u, and its standard error.

    The formula of `log_mean_number` averaged over `draws` random matrices; any index. The average
    rests on ever fewer of them as N grows: for k = 0, p = 3 and 2000 draws the standard error is
    6 % of the mean at N = 100 and 12 % at 250, and beyond that it is itself unreliable.

    Args:
        n: dimension N.
        k: index; None sums over all.

    Raises:
        ValueError: k outside 0 ... N - 1.
        OverflowError: (p-1)^{N/2} exceeds double precision.
    """
    if k is not None and not 0 <= k < n:
        raise ValueError(f"k must lie between 0 and N - 1 = {n - 1}, got {k}")
    eigenvalues = goe.sample_least(n, n - 1 if k is None else k, draws, seed)
    picked = eigenvalues if k is None else eigenvalues[:, k:]
    weight = np.exp(-(p - 2) / (2 * p) * picked**2)
    weight *= picked * threshold_energy(p) / math.sqrt(2 * n) <= u
    sums = 2 * math.sqrt(2 / p) * (p - 1) ** (n / 2) * weight.sum(axis=1)
    return float(sums.mean()), float(sums.std(ddof=1) / math.sqrt(draws))


def asymptotic_log_number(u: float, p: int, n: int) -> float:
    """Return the log of the mean number of critical points of energy at most u for large N.

    exp(N Theta_p(u)) with the prefactors; below -E_inf it is also that of the minima alone.

    Source: Auffinger, Ben Arous, Cerny 2013, Theorem 2.17, quoted as Theorems 11.1 and 11.2 by
    Choromanska et al. 2015. The branches do not join, and each needs N large beside its distance
    from the next. At u = -E_inf both print Ai(0)/3 alone where the density of eigenvalues at the
    edge, Ai'(0)^2 + Ai(0)/3, belongs: too few by 1.566, as the exact numbers show up to N = 10^5.

    Raises:
        ValueError: p below 3, where the prefactors have no limit.
    """
    if p < 3:
        raise ValueError(f"the prefactors need p of at least 3, got {p}")
    barrier = threshold_energy(p)
    if u < -barrier:
        prefactor = _outside(u, p) / math.sqrt(n)
    elif u == -barrier:
        prefactor = 2 * math.sqrt(2 * p) / (p - 2) * _EDGE_DENSITY * n ** (-1 / 3)
    elif u < 0:
        prefactor = 2 * math.sqrt(2 * p * (barrier**2 - u**2)) / ((2 - p) * math.pi * u)
    else:
        prefactor = 4 * math.sqrt(2 * n / (math.pi * (p - 2)))
    return n * float(complexity(u, p)) + math.log(prefactor)


def _outside(u: float, p: int) -> float:
    """Return the prefactor below -E_inf, without its 1/sqrt(N)."""
    v = -u * math.sqrt(p / (2 * (p - 1)))
    root = math.sqrt(v * v - 2)
    ratio = abs((v - math.sqrt(2)) / (v + math.sqrt(2))) ** 0.25
    cost = v * root / 2 - math.log((v + root) / math.sqrt(2))  # I_1 in v, and its slope is root
    slope = (p - 2) / p * v + root
    top = (ratio + 1 / ratio) * math.exp(cost - v * root / 2)
    return top / (math.sqrt(2 * p * math.pi) * slope)
