"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.choromanska2015loss import (
    annealing_figures,
    glass_figures,
    index_figures,
    network_figures,
    network_measures,
    paper_facts,
    theory_figures,
)


def measure_theory(theory: Any) -> dict[str, Metric]:
    """Measure Figures 1 and 2 and the exact mean numbers."""
    return theory_figures.measure(theory)


def measure_spin_glass(spin_glass: Any) -> dict[str, Metric]:
    """Measure Figure 3, left."""
    return glass_figures.measure(spin_glass)


def measure_networks(networks: Any) -> dict[str, Metric]:
    """Measure Figures 3 right, 7, 9, 10 and Table 1."""
    return network_measures.networks(networks)


def measure_what_the_paper_draws(networks: Any) -> dict[str, Metric]:
    """Measure what the published figures say against the text; our networks do not enter."""
    return paper_facts.measure()


def measure_initialisation(initialisation: Any) -> dict[str, Metric]:
    """Measure what start and length do."""
    return network_measures.initialisation(initialisation)


def measure_zero_error(zero_error: Any) -> dict[str, Metric]:
    """Measure the lecture's exhibit."""
    return network_measures.zero_error(zero_error)


def measure_index(index: Any) -> dict[str, Metric]:
    """Measure Figures 4 and 5."""
    return index_figures.measure(index)


def measure_annealing(annealing: Any) -> dict[str, Metric]:
    """Measure Figure 6."""
    return annealing_figures.measure(annealing)


def measure_redundancy(redundancy: Any) -> dict[str, Metric]:
    """Measure the accuracy lost by three-valued weights."""
    return annealing_figures.measure_redundancy(redundancy)


def draw_figure_1(theory: Any) -> Any:
    """Figure 1. The theory of critical points of the 3-spin glass with 1000 spins: derivative of
    exp(Lambda Theta) for all critical points and for each index k, whole and near the barrier.
    Grey: the published curves. No simulation enters.
    """
    return theory_figures.figure_1(theory)


def draw_figure_2(theory: Any) -> Any:
    """Figure 2. Complexity of all critical points and of those of index k against the energy per spin,
    with the ground state -E_0 and the barrier -E_inf. Grey: the published curves.
    """
    return theory_figures.figure_2(theory)


def draw_finite_counts(theory: Any) -> Any:
    """Exact mean numbers of minima, saddles of index 1 and all critical points of one coupling tensor
    against the number of spins, by the Kac-Rice formula, over all energies and below the barrier,
    beside what the bare exponent gives; and the mean energy of the minima with its spread.
    """
    return theory_figures.finite_counts(theory)


def draw_histograms(spin_glass: Any) -> Any:
    """Figure 3, left. Energies per spin that gradient descent reaches on the spherical 3-spin glass: every
    start on one coupling tensor, as published, and many tensors. Outline: the published histograms.
    """
    return glass_figures.histograms(spin_glass)


def draw_moments(spin_glass: Any) -> Any:
    """Figure 3, left, as mean and spread against Lambda. The published points are single tensors: the band
    shows how far tensors differ from each other.
    """
    return glass_figures.moments(spin_glass)


def draw_relaxation(spin_glass: Any) -> Any:
    """How far the descents have come: mean energy above the barrier against the step."""
    return glass_figures.relaxation(spin_glass)


def draw_network_histograms(networks: Any) -> Any:
    """Figure 3, right. Test loss of trained networks by width, unscaled and divided by the published
    exp(alpha n1^beta). Thin lines: the published networks, recovered one by one from Figure 7.
    """
    return network_figures.histograms(networks)


def draw_scatter(networks: Any) -> Any:
    """Figure 7 and Table 1. Test against training loss of every network, one panel a width. Grey: every
    published network.
    """
    return network_figures.scatter(networks)


def draw_width(networks: Any) -> Any:
    """Figures 9 and 10. Mean and variance of the test loss over starts against the width, and the standard
    deviation relative to the mean, which no scaling by width can change.
    """
    return network_figures.width(networks)


def draw_correlation(networks: Any) -> Any:
    """Table 1. Pearson's correlation of training and test loss over starts against the width, with
    bootstrap intervals over starts.
    """
    return network_figures.correlation(networks)


def draw_scaling(networks: Any) -> Any:
    """The scaling of Figure 3, right. Fits of C exp(alpha n1^beta) to our mean test losses and to the
    published ones, and the scaling that the published figure really uses.
    """
    return network_figures.scaling(networks)


def draw_initialisation(initialisation: Any) -> Any:
    """Where text and code of the paper differ: initial weights within 1/sqrt(fan-in), in [-1, 1] or in the
    unit cube [0, 1]; 100 or 200 epochs of the authors' schedule.
    """
    return network_figures.initialisation(initialisation)


def draw_zero_error(zero_error: Any) -> Any:
    """The lecture's exhibit. Training and test error against the width, until no training image is wrong."""
    return network_figures.zero_error(zero_error)


def draw_index(index: Any) -> Any:
    """Figures 4 and 5. Share of solutions by normalised index of the Hessian, under both conventions: the
    true fraction of negative eigenvalues, and half of it, which is what the published figure plots.
    """
    return index_figures.histogram(index)


def draw_index_thresholds(index: Any) -> Any:
    """The index against the threshold below which an eigenvalue counts as zero; the paper's is 0.001."""
    return index_figures.thresholds(index)


def draw_index_gradients(index: Any) -> Any:
    """How near the solutions are to critical points: index against the norm of the full gradient."""
    return index_figures.gradients(index)


def draw_spectrum(index: Any) -> Any:
    """All eigenvalues of the Hessian of one solution for each width, in order."""
    return index_figures.spectrum(index)


def draw_annealing(annealing: Any) -> Any:
    """Figure 6. Test loss of SGD and of simulated annealing on 6000 images by width, over the published
    histograms.
    """
    return annealing_figures.comparison(annealing)


def draw_annealing_courses(annealing: Any) -> Any:
    """Whether the chains have converged: least training loss so far against the step, and SGD's level."""
    return annealing_figures.courses(annealing)


def draw_redundancy(redundancy: Any) -> Any:
    """Section 5.1. Test error of networks whose weights are limited to -1, 0 and 1, found by annealing,
    beside SGD with free weights; shaded: what the paper allows.
    """
    return annealing_figures.redundancy(redundancy)
