"""Numbers of critical points of the spherical spin glass, as rows: exponents, thresholds, exact counts.

Every row names p (the paper's H) and the index `k`, -1 where it is that of all critical points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reproductions.harness.tables import Rows
from reproductions.problems import spin_glass

UNITS = {
    "complexity": "1",
    "log_density": "log",
    "threshold_energy": "1",
    "lowest_energy": "1",
    "complexity_at_threshold": "1",
    "complexity_at_zero": "1",
    "mean_minima": "1",
    "mean_minima_error": "1",
    "mean_saddles_1": "1",
    "mean_saddles_1_error": "1",
    "minima_below_barrier": "1",
    "saddles_1_below_barrier": "1",
    "log_mean_total": "log",
    "minima_energy": "1",
    "minima_energy_sd": "1",
    "barrier_exponent": "log",
    "total_exponent": "log",
    "asymptotic_log_total": "log",
}
ALL = -1
_COUNTS = {"mean_minima": 0, "mean_saddles_1": 1}
_BELOW = {"minima_below_barrier": 0, "saddles_1_below_barrier": 1}

Progress = Callable[..., None]


def curves(p: int, spins: int, indices: list[int], curve_points: int) -> Rows:
    """Tabulate Figure 2's complexities and Figure 1's log d/du exp(N Theta), per energy and index.

    Above the barrier the density of one index is zero, that of all is from energy zero on: those
    points have no logarithm and no row.

    Args:
        spins: N in the densities of Figure 1.
        curve_points: energies of each curve; those of one index gather towards the barrier, where
            its density rises like a square root.
    """
    rows = Rows(UNITS)
    barrier, ground = spin_glass.threshold_energy(p), spin_glass.lowest_energy(0, p)
    near = (round(-ground - 0.023, 2), round(0.013 - barrier, 2))  # Figure 2, right
    wide = (round(-ground - 0.143, 1), 0.2)  # Figure 2, left
    for k in (ALL, *indices):
        arm, index = ("all", None) if k == ALL else (f"index_{k}", k)
        grid = np.linspace(*(wide if k == ALL else near), curve_points)
        at = np.union1d(grid, [-barrier, -1.0] if k == ALL else [-barrier])
        theta = _complexity(at, index, p)
        rows.add(arm=arm, quantity="complexity", value=theta, u=at, k=k, p=p)
        at = _towards_zero(curve_points) if k == ALL else _towards(-barrier, ground, curve_points)
        density = spin_glass.log_density(at, p, spins, index)
        there = np.isfinite(density)
        rows.add(arm=arm, quantity="log_density", value=density[there], u=at[there], k=k, p=p,
                 spins=spins)  # fmt: skip
    return rows


def _complexity(at: np.ndarray, index: int | None, p: int) -> np.ndarray:
    if index is None:
        return spin_glass.complexity(at, p)
    return spin_glass.complexity_of_index(at, index, p)


def _towards_zero(count: int) -> np.ndarray:
    """Return the energies of Figure 1's first panel."""
    return np.linspace(-0.6, 0.0, count)


def _towards(barrier: float, ground: float, count: int) -> np.ndarray:
    """Return energies from below the ground state to the last below the barrier, ever closer."""
    last, low = np.nextafter(barrier, -np.inf), -ground - 0.003
    return last - (last - low) * np.linspace(1.0, 0.0, count) ** 2


def thresholds(orders: list[int], indices: list[int]) -> Rows:
    """Tabulate E_inf, E_k and the complexities at the barrier and at energy zero, for every p."""
    rows = Rows(UNITS)
    for p in orders:
        barrier = spin_glass.threshold_energy(p)
        rows.add(arm="all", quantity="threshold_energy", value=barrier, k=ALL, p=p)
        at_zero = spin_glass.complexity(0.0, p)
        rows.add(arm="all", quantity="complexity_at_zero", value=at_zero, k=ALL, p=p)
        for k in indices:
            arm, lowest = f"index_{k}", spin_glass.lowest_energy(k, p)
            rows.add(arm=arm, quantity="lowest_energy", value=lowest, k=k, p=p)
            at_barrier = spin_glass.complexity_of_index(-barrier, k, p)
            rows.add(arm=arm, quantity="complexity_at_threshold", value=at_barrier, k=k, p=p)
    return rows


def finite(p: int, sizes: list[int], draws: int, root_seed: int, progress: Progress) -> Rows:
    """Tabulate mean numbers of critical points of one coupling tensor at finite size.

    Arms: "exact" (quadrature), "sampled" (`draws` random matrices, with standard errors),
    "exponent" (exp(N Theta) at the barrier and in all, without a prefactor) and "asymptotic" (with
    the prefactor of Theorem 11.1; none is known at p = 2).
    """
    rows = Rows(UNITS)
    for number, n in enumerate(sizes):
        where = {"k": ALL, "p": p, "spins": n}
        _exact(rows, where, n, p)
        for quantity, k in _COUNTS.items():
            seed = [root_seed, n]
            mean, error = spin_glass.mean_number(n, p, k=k, draws=draws, seed=seed)
            where["k"] = k
            rows.add(arm="sampled", quantity=quantity, value=mean, **where)
            rows.add(arm="sampled", quantity=f"{quantity}_error", value=error, **where)
        _large(rows, {**where, "k": ALL}, n, p)
        progress(0.3 + 0.7 * (number + 1) / len(sizes), f"counts at N = {n}")
    return rows


def _exact(rows: Rows, where: dict[str, int], n: int, p: int) -> None:
    total = spin_glass.log_mean_number(n, p)
    rows.add(arm="exact", quantity="log_mean_total", value=total, **where)
    barrier = spin_glass.threshold_energy(p)
    for counts, u in ((_COUNTS, np.inf), (_BELOW, -barrier)):
        for quantity, k in counts.items():
            value = np.exp(spin_glass.log_mean_number(n, p, k=k, u=u))
            rows.add(arm="exact", quantity=quantity, value=value, **{**where, "k": k})
    mean, spread = spin_glass.mean_energy(n, p)
    rows.add(arm="exact", quantity="minima_energy", value=mean, **{**where, "k": 0})
    rows.add(arm="exact", quantity="minima_energy_sd", value=spread, **{**where, "k": 0})


def _large(rows: Rows, where: dict[str, int], n: int, p: int) -> None:
    """Add what large N would say."""
    barrier = spin_glass.threshold_energy(p)
    exponents = {
        "barrier_exponent": spin_glass.complexity_of_index(-barrier, 0, p),
        "total_exponent": spin_glass.complexity(0.0, p),
    }
    for quantity, theta in exponents.items():
        rows.add(arm="exponent", quantity=quantity, value=n * float(theta), **where)
    if p > 2:
        value = spin_glass.asymptotic_log_number(0.0, p, n)
        rows.add(arm="asymptotic", quantity="asymptotic_log_total", value=value, **where)
