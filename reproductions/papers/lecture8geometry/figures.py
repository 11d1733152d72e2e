"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.lecture8geometry import (
    law_figures,
    measures,
    path_figures,
    training_figures,
)


def measure_identities(identities: Any) -> dict[str, Metric]:
    """Measure the residuals of the identities."""
    return measures.identities(identities)


def measure_exponents(exponents: Any) -> dict[str, Metric]:
    """Measure the exponents of the scale of coordinates."""
    return measures.exponents(exponents)


def measure_coordinates(coordinates: Any) -> dict[str, Metric]:
    """Measure how far paths in three coordinates come apart."""
    return measures.coordinates(coordinates)


def measure_kl(kl: Any) -> dict[str, Metric]:
    """Measure the order of KL's expansion."""
    return measures.kl(kl)


def measure_nonlinear(nonlinear: Any) -> dict[str, Metric]:
    """Measure how gaps between nonlinear coordinates shrink with the step."""
    return measures.nonlinear(nonlinear)


def measure_trust_region(trust_region: Any) -> dict[str, Metric]:
    """Measure the steps of ball and box, and the expansion's orders."""
    return measures.trust_region(trust_region)


def measure_convex(convex: Any) -> dict[str, Metric]:
    """Measure the slack of the facts of strong convexity, and where two rules rest."""
    return measures.convex(convex)


def measure_plateau(plateau: Any) -> dict[str, Metric]:
    """Measure the way from the plateau into the well."""
    return measures.plateau(plateau)


def measure_rescaling(rescaling: Any) -> dict[str, Metric]:
    """Measure the gaps between the loss curves of two scalings."""
    return measures.rescaling(rescaling)


def measure_gradients(gradients: Any) -> dict[str, Metric]:
    """Measure the mean gradient against its root mean square."""
    return measures.gradients(gradients)


def measure_averages(averages: Any) -> dict[str, Metric]:
    """Measure the windows of running means."""
    return measures.averages(averages)


def draw_coordinates(coordinates: Any) -> Any:
    """One bowl, one start, three coordinate systems. Gradient descent and steps of fixed length take another
    path in each; Newton's path (a quarter of its step) is one and the same.
    """
    return path_figures.coordinates(coordinates)


def draw_residuals(identities: Any) -> Any:
    """Every identity's residual on random problems, largest of all, on a logarithmic axis. The dashed line
    is the rounding of float64; to the right stand the three that the lecture says, or misprints, to differ.
    """
    return law_figures.residuals(identities)


def draw_exponents(exponents: Any) -> Any:
    """The first step of every rule, seen in w, when it is taken in the coordinates w~ = s w. Numbers are
    fitted exponents of s: only flat lines do not depend on the unit in which a weight is measured.
    """
    return law_figures.exponents(exponents)


def draw_kl(kl: Any) -> Any:
    """KL divergence of a change h d of softmax regression over its quadratic form 1/2 h^2 d^T F d: what it
    exceeds one by falls in proportion to h.
    """
    return law_figures.kl(kl)


def draw_nonlinear(nonlinear: Any) -> Any:
    """Fitting a normal distribution in three coordinates: gradient descent follows three different flows,
    the natural gradient one, up to its step size. Right: the largest gap against the step.
    """
    return path_figures.nonlinear(nonlinear)


def draw_trust_region(trust_region: Any) -> Any:
    """Steps to the rim of an l2 ball and to the corner of a box for three radii, over the level sets of a
    bowl; dashed: the direction of minus the gradient.
    """
    return path_figures.trust_region(trust_region)


def draw_expansion(trust_region: Any) -> Any:
    """What the second-order expansion of a small network's loss leaves, with the factor 1/2 and without it,
    as on the slide: third order against second.
    """
    return law_figures.expansion(trust_region)


def draw_convex_facts(convex: Any) -> Any:
    """Three facts of strong convexity along gradient descent: larger over smaller side, never below one.
    Paths that start on the eigenvector of the least curvature stay at one in the first two. Right: what is
    left late in a path by steps J/|J|², whatever their rate, and by descent.
    """
    return path_figures.convex_facts(convex)


def draw_plateau(plateau: Any) -> Any:
    """From a plateau into a narrow well, every rule at the rate of its grid that is soonest in the well for
    good. Descent hardly moves for long; steps of fixed length, in a ball or a box, walk in at once.
    """
    return path_figures.plateau(plateau)


def draw_rescale(rescaling: Any) -> Any:
    """Training loss from one function in two scalings of its ReLU units: gradient descent, Path-SGD and the
    natural gradient. Right: the natural gradient's gap against its step.
    """
    return training_figures.rescale(rescaling)


def draw_gradient_course(gradients: Any) -> Any:
    """Mean gradient over the root mean square of the minibatches' gradients along training, for the whole
    vector and for the median coordinate, with the training loss. The third method steps a fixed length along a
    running mean of gradients.
    """
    return training_figures.gradient_course(gradients)


def draw_gradient_histogram(gradients: Any) -> Any:
    """Distribution over coordinates of |E g| / sqrt(E g^2) at the start, half way and at the end of training
    by SGD. Only near one do single gradients agree.
    """
    return training_figures.gradient_histogram(gradients)


def draw_windows(averages: Any) -> Any:
    """Left: weight of a batch in a running mean by its age, with the lecture's windows of 20 and 2000.
    Right: how long an old level is remembered, by running means and by AdaGrad's flat one.
    """
    return training_figures.windows(averages)
