"""What the paper's own figures say against its text, as numbers for the claims."""

from __future__ import annotations

from functools import cache

import numpy as np

from reproductions.harness.statistics import Metric, exact
from reproductions.papers.pennington2017geometry import published


def measure() -> dict[str, Metric]:
    """Measure what the digitised Figure 6 contains; no run of ours enters."""
    phi, energy = published.minima()
    exponents = [one[0] for one in free_fits().values()]
    line = [one[2] for one in published.lines().values()]
    return {
        "published_6b_minus_line": exact(_farthest_from_6b("line")),
        "published_6b_minus_minima": exact(_farthest_from_6b("minima")),
        "published_line_exponent": exact(max(line, key=lambda one: abs(one - 1.5))),
        "published_exponent_error": exact(max(abs(one - 1.5) for one in exponents)),
        "published_half_law_misfit": exact(np.abs(energy - (1 - phi) ** 2 / 2).max()),
    }


def _farthest_from_6b(what: str) -> float:
    """Return how far a dot of Figure 6(b) is from the line's threshold, or from index 0 of 6(a)."""
    worst = 0.0
    for count in published.FITTED:
        phi = 2 * published.WIDTH / count
        curve = published.index_curve(phi)
        assert curve is not None
        other = published.lines()[count][0] if what == "line" else curve[1][0]
        worst = max(worst, abs(published.minimum(phi) - other))
    return worst


@cache
def free_fits() -> dict[int, tuple[float, float, float]]:
    """Return examples -> (exponent, threshold, factor) that fit the dots of small index best.

    The scatter is in the energy, so eps = threshold + factor alpha^(1/exponent) is fitted by least
    squares over the dots of index up to SMALL: linear but for the exponent, which is searched.
    """
    return {count: _free_fit(count) for count in published.FITTED}


def _free_fit(count: int) -> tuple[float, float, float]:
    from scipy.optimize import minimize_scalar

    curve = published.index_curve(2 * published.WIDTH / count)
    assert curve is not None
    small = curve[0] <= published.SMALL
    alpha, energy = curve[0][small], curve[1][small]

    def linear(exponent: float) -> tuple[np.ndarray, float]:
        design = np.stack([np.ones_like(alpha), alpha ** (1 / exponent)], axis=1)
        found, *_ = np.linalg.lstsq(design, energy)
        return found, float(((design @ found - energy) ** 2).sum())

    best = minimize_scalar(lambda one: linear(one)[1], bounds=(0.2, 8.0), method="bounded")
    threshold, factor = linear(best.x)[0]
    return float(best.x), float(threshold), float(factor)
