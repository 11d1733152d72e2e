"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.bray2007gaussian import (
    count_figures,
    count_measures,
    curve_figures,
    curve_measures,
    found_figures,
    found_measures,
)


def measure_theory(theory: Any) -> dict[str, Metric]:
    """Measure the limit's curve."""
    return curve_measures.theory(theory)


def measure_matrices(matrices: Any) -> dict[str, Metric]:
    """Measure the index of shifted random matrices."""
    return curve_measures.matrices(matrices)


def measure_counts(theory: Any, kac_rice: Any) -> dict[str, Metric]:
    """Measure energies, spreads and numbers at finite N."""
    return count_measures.counts(theory, kac_rice)


def measure_conditionings(conditionings: Any) -> dict[str, Metric]:
    """Measure the two regressions of shift and energy."""
    return count_measures.conditionings(conditionings)


def measure_found(theory: Any, search: Any, kac_rice: Any) -> dict[str, Metric]:
    """Measure the critical points of sampled fields."""
    return found_measures.found(theory, search, kac_rice)


def measure_waves(waves: Any) -> dict[str, Metric]:
    """Measure how Gaussian the sampled fields are."""
    return found_measures.waves(waves)


def draw_energy_index(theory: Any, kac_rice: Any, search: Any) -> Any:
    """Energy of critical points against their index, for a kernel that ties them (left) and one that
    leaves the energy free (right): points found in sampled fields, exact mean and spread at that N,
    and the curve of infinitely many dimensions.
    """
    return curve_figures.energy_index(theory, kac_rice, search)


def draw_small_index(theory: Any, kac_rice: Any) -> Any:
    """The law of small indices, 4 sqrt2/(3 pi) (1 - eps/eps_c)^(3/2), against the whole curve, with the
    exact mean energies at finite N, and how far the law reaches.
    """
    return curve_figures.small_index(theory, kac_rice)


def draw_shifted_spectrum(theory: Any, matrices: Any, kac_rice: Any, search: Any) -> Any:
    """Spectra of the Hessian at critical points: in three bands of energy over shifted semicircles,
    exactly at fixed index, and the index of shifted random matrices against the semicircle's.
    """
    return curve_figures.shifted_spectrum(theory, matrices, kac_rice, search)


def draw_finite_size(theory: Any, kac_rice: Any) -> Any:
    """How finite N differs from the limit: mean energy at index 1/4, and that of minima, whose distance
    falls as sqrt(2/N) and not as the free edge of the spectrum.
    """
    return count_figures.finite_size(theory, kac_rice)


def draw_spread(theory: Any, kac_rice: Any, search: Any) -> Any:
    """Standard deviation of the energy at fixed index against N and against the index: O(1/N) for the
    squared exponential kernel, O(1/sqrt N) for the other.
    """
    return count_figures.spread(theory, kac_rice, search)


def draw_log_number(theory: Any, kac_rice: Any) -> Any:
    """Log number of critical points per dimension against their index, exactly at finite N, over the
    limit's parabola in the shift; and how much rarer minima are than points of index 1/2.
    """
    return count_figures.log_number(theory, kac_rice)


def draw_conditionings(conditionings: Any, search: Any) -> Any:
    """Shift of the Hessian's spectrum against the energy: the mean energy at fixed shift, the dominant
    shift at fixed energy and the mean shift without the weight of the determinant are one line where
    D = 0 and three where not.
    """
    return count_figures.conditionings(conditionings, search)


def draw_starts(kac_rice: Any, search: Any) -> Any:
    """What the starts of a search leave in the result: energy found minus its exact mean at that index,
    from places at random and after going down or up the gradient; and the share of searches that end
    at a critical point.
    """
    return found_figures.starts(kac_rice, search)


def draw_waves(waves: Any) -> Any:
    """How Gaussian fields of finitely many waves are: excess of the fourth moment of the Hessian's
    spectrum over that of random matrices of the same size, against waves per dimension.
    """
    return found_figures.waves(waves)
