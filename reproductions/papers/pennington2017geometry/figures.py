"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.pennington2017geometry import (
    energy_figures,
    hessian_figures,
    paper_facts,
    theory_figures,
)


def measure_theory(theory: Any) -> dict[str, Metric]:
    """Measure thresholds, indices, the 3/2 law and Figure 1."""
    return theory_figures.measure(theory)


def measure_monte_carlo(monte_carlo: Any) -> dict[str, Metric]:
    """Measure drawn spectra against the models."""
    return theory_figures.measure_spectra(monte_carlo)


def measure_freeness(freeness: Any) -> dict[str, Metric]:
    """Measure Figure 2."""
    return hessian_figures.measure_freeness(freeness)


def measure_error_signals(error_signals: Any) -> dict[str, Metric]:
    """Measure Figure 3."""
    return hessian_figures.measure_error_signals(error_signals)


def measure_jacobian(jacobian: Any) -> dict[str, Metric]:
    """Measure Figures 4 and 5."""
    return hessian_figures.measure_jacobian(jacobian)


def measure_minimisers(minimisers: Any) -> dict[str, Metric]:
    """Measure Figure 6(b)."""
    return energy_figures.measure_minimisers(minimisers)


def measure_critical_points(critical_points: Any) -> dict[str, Metric]:
    """Measure Figure 6(a)."""
    return energy_figures.measure_critical_points(critical_points)


def measure_what_the_paper_draws(theory: Any) -> dict[str, Metric]:
    """Measure what the published Figure 6 says against its caption; our runs do not enter."""
    return paper_facts.measure()


def draw_figure_1(theory: Any) -> Any:
    """Figure 1. Density of the Wishart + Wigner model for three phi and four energies; negative
    eigenvalues appear as the energy grows. Grey: the published curves. No simulation enters.
    """
    return theory_figures.figure_1(theory)


def draw_index_curves(theory: Any) -> Any:
    """Fraction of negative eigenvalues against the energy for both models, in closed form; marks: the
    same by quadrature of the density.
    """
    return theory_figures.index_curves(theory)


def draw_thresholds(theory: Any) -> Any:
    """Energy from which there are negative eigenvalues, by the printed formulas and by a search for the
    energy at which the left edge of the spectrum is zero.
    """
    return theory_figures.thresholds(theory)


def draw_three_halves(theory: Any) -> Any:
    """How far the 3/2 law reaches: the exact index over the law with its exact constant, against the
    distance from the threshold.
    """
    return theory_figures.three_halves(theory)


def draw_spectra(monte_carlo: Any) -> Any:
    """Eigenvalues of drawn matrices of both models and the closed form of their density."""
    return theory_figures.spectra(monte_carlo)


def draw_figure_2(freeness: Any) -> Any:
    """Figure 2. Spectrum of the Hessian of trained ReLU autoencoders, and of the sum in which one part
    is rotated at random. Grey: the published histograms, of one network. Right: how far the rotated
    sum is, against leaving the part out, and the share of negative eigenvalues, at two energies.
    """
    return hessian_figures.figure_2(freeness)


def draw_figure_3(error_signals: Any) -> Any:
    """Figure 3. Spectrum of H1 with Gaussian noise in place of the residuals; the closed form at twice
    the labelled phi is the published theory, the one at the labelled phi is not.
    """
    return hessian_figures.figure_3(error_signals)


def draw_figure_4(jacobian: Any) -> Any:
    """Figure 4. Eigenvalues of H0 of one network at its random start, and the smallest of them behind the
    null directions. Grey: published, in units of its own fitted scale.
    """
    return hessian_figures.figure_4(jacobian)


def draw_figure_5(jacobian: Any) -> Any:
    """Figure 5. Gap of H0 behind its null directions against 1/phi, each in units of its one fitted
    scale. Grey: the published dots.
    """
    return hessian_figures.figure_5(jacobian)


def draw_figure_6a(critical_points: Any) -> Any:
    """Figure 6(a). Index against energy of single runs: where descents were stopped at random, and where
    searches for critical points from there ended. Grey: published means over about 200 runs.
    """
    return energy_figures.figure_6a(critical_points)


def draw_search_cuts(critical_points: Any) -> Any:
    """Distance from the published curve of Figure 6(a) against how small a gradient is asked for: points
    that were not searched lie near it, those of small gradient below it.
    """
    return energy_figures.search_cuts(critical_points)


def draw_figure_6b(minimisers: Any) -> Any:
    """Figure 6(b). Mean energy of minimisers of tanh networks on random data against phi, and of linear
    ones. Grey: the published dots.
    """
    return energy_figures.figure_6b(minimisers)


def draw_minimiser_cuts(minimisers: Any) -> Any:
    """Energy on the way to the minimisers over the published energy, at the first point of each descent
    whose squared gradient norm is below the number on the axis.
    """
    return energy_figures.minimiser_cuts(minimisers)


def draw_free_exponents(theory: Any) -> Any:
    """Figure 6(a) again. Published means with fits whose exponent is free: their exponents differ from
    3/2 and from each other; our runs do not enter.
    """
    return energy_figures.free_exponents(theory)
