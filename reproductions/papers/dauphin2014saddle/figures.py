"""What the room measures, and its figures; each function's arguments are the tables it needs."""

from __future__ import annotations

from typing import Any

from reproductions.harness.statistics import Metric
from reproductions.papers.dauphin2014saddle import (
    autoencoder_figures,
    critical_figures,
    critical_measures,
    descent_figures,
    descent_measures,
    toy_figures,
)


def measure_toys(toy_saddles: Any) -> dict[str, Metric]:
    """Measure Figure 2."""
    return toy_figures.measure(toy_saddles)


def measure_critical_mnist(critical_mnist: Any) -> dict[str, Metric]:
    """Measure Figure 1 (a) and (b)."""
    return critical_measures.measure(critical_mnist, "mnist")


def measure_critical_cifar(critical_cifar: Any) -> dict[str, Metric]:
    """Measure Figure 1 (c) and (d)."""
    return critical_measures.measure(critical_cifar, "cifar")


def measure_descent_mnist(descent_mnist: Any) -> dict[str, Metric]:
    """Measure Figure 3 (a) to (c)."""
    return descent_measures.measure(descent_mnist, "mnist")


def measure_descent_cifar(descent_cifar: Any) -> dict[str, Metric]:
    """Measure Figure 3 (d) to (f)."""
    return descent_measures.measure(descent_cifar, "cifar")


def measure_autoencoder(autoencoder: Any) -> dict[str, Metric]:
    """Measure Figure 4 (a) and (b)."""
    return autoencoder_figures.measure(autoencoder)


def draw_toys(toy_saddles: Any) -> Any:
    """Figure 2. Paths of gradient descent, Newton, damped Newton and saddle-free Newton on 5 x^2 - y^2
    and on the monkey saddle x^3 - 3 x y^2, over the contours.
    """
    return toy_figures.paths(toy_saddles)


def draw_escapes(toy_saddles: Any) -> Any:
    """Steps until a method has left a saddle, against the curvature of the falling direction and
    the distance at the start. Lines: the exact recurrences.
    """
    return toy_figures.escapes(toy_saddles)


def draw_critical_mnist(critical_mnist: Any) -> Any:
    """Figure 1 (a). Index against training error at the ends of the searches on MNIST, those that are
    critical points apart from those that are not. Grey: the published points, each once; the paper's
    drawing has every one of them twice.
    """
    return critical_figures.scatter(critical_mnist, "mnist")


def draw_critical_cifar(critical_cifar: Any) -> Any:
    """Figure 1 (c). Index against training error at the ends of the searches on CIFAR-10, networks of
    three hidden layers. Grey: the published points.
    """
    return critical_figures.scatter(critical_cifar, "cifar")


def draw_spectra_mnist(critical_mnist: Any) -> Any:
    """Figure 1 (b). Density of the eigenvalues of the Hessian at three levels of error on MNIST, beside
    the published densities.
    """
    return critical_figures.spectra(critical_mnist, "mnist")


def draw_spectra_cifar(critical_cifar: Any) -> Any:
    """Figure 1 (d). Density of the eigenvalues of the Hessian at three levels of error on CIFAR-10,
    beside the published densities.
    """
    return critical_figures.spectra(critical_cifar, "cifar")


def draw_thresholds_mnist(critical_mnist: Any) -> Any:
    """Index against error on MNIST when eigenvalues count as negative below several thresholds."""
    return critical_figures.thresholds(critical_mnist, "mnist")


def draw_thresholds_cifar(critical_cifar: Any) -> Any:
    """Index against error on CIFAR-10 when eigenvalues count as negative below several thresholds."""
    return critical_figures.thresholds(critical_cifar, "cifar")


def draw_residuals_mnist(critical_mnist: Any) -> Any:
    """Gradient norm and relative residual of the Newton equation at the ends of the searches on MNIST: a
    residual near 1 is a gradient in the kernel of the Hessian, and no critical point.
    """
    return critical_figures.residuals(critical_mnist)


def draw_residuals_cifar(critical_cifar: Any) -> Any:
    """Gradient norm and relative residual of the Newton equation on CIFAR-10."""
    return critical_figures.residuals(critical_cifar)


def draw_control_mnist(critical_mnist: Any) -> Any:
    """Control on MNIST: index against error where the searches start, which is no critical point."""
    return critical_figures.control(critical_mnist, "mnist")


def draw_control_cifar(critical_cifar: Any) -> Any:
    """Control on CIFAR-10: index against error where the searches start."""
    return critical_figures.control(critical_cifar, "cifar")


def draw_minimum_mnist(descent_mnist: Any) -> Any:
    """Figure 3 (a). Lowest training error by hidden units on MNIST. Grey: as published."""
    return descent_figures.minimum(descent_mnist, "mnist")


def draw_minimum_cifar(descent_cifar: Any) -> Any:
    """Figure 3 (d). Lowest training error by hidden units on CIFAR-10. Grey: as published."""
    return descent_figures.minimum(descent_cifar, "cifar")


def draw_curves_mnist(descent_mnist: Any) -> Any:
    """Figure 3 (b). Training error by epoch at the largest size on MNIST. Grey: as published, 50 hidden
    units on 10x10 images; the first published error is that after the first epoch.
    """
    return descent_figures.curves(descent_mnist, "mnist")


def draw_curves_cifar(descent_cifar: Any) -> Any:
    """Figure 3 (e). Training error by epoch at the largest size on CIFAR-10. Grey: as published, 50 hidden
    units on 10x10 images; the first published error is that after the first epoch.
    """
    return descent_figures.curves(descent_cifar, "cifar")


def draw_curvature_mnist(descent_mnist: Any) -> Any:
    """Figure 3 (c). Absolute value of the most negative eigenvalue of the Hessian by epoch on MNIST, at the
    largest size. Grey: as published, 50 hidden units on 10x10 images.
    """
    return descent_figures.curvature(descent_mnist, "mnist")


def draw_curvature_cifar(descent_cifar: Any) -> Any:
    """Figure 3 (f). Absolute value of the most negative eigenvalue of the Hessian by epoch on CIFAR-10, at the
    largest size. Grey: as published, 50 hidden units on 10x10 images.
    """
    return descent_figures.curvature(descent_cifar, "cifar")


def draw_ablations_mnist(descent_mnist: Any) -> Any:
    """The reviewers' ablation on MNIST: the absolute Hessian against the Gauss-Newton matrix, the damped
    and the plain Hessian, from the same starts; beside it the damping that each update chose.
    """
    return descent_figures.ablations(descent_mnist)


def draw_ablations_cifar(descent_cifar: Any) -> Any:
    """The reviewers' ablation on CIFAR-10, from the same starts as the methods of Figure 3."""
    return descent_figures.ablations(descent_cifar)


def draw_costs_mnist(descent_mnist: Any) -> Any:
    """Training error on MNIST against gradients of the whole set, a Hessian counted as two for each
    parameter, and against seconds, which differ from run to run. Dashed: what momentum's search cost.
    """
    return descent_figures.costs(descent_mnist)


def draw_costs_cifar(descent_cifar: Any) -> Any:
    """Training error on CIFAR-10 against gradients of the whole set and against seconds, which differ from
    run to run.
    """
    return descent_figures.costs(descent_cifar)


def draw_autoencoder(autoencoder: Any) -> Any:
    """Figure 4 (a). Squared error per image of the deep autoencoder: momentum, then Krylov saddle-free
    Newton beside momentum that goes on; right, by what either costs. Grey: as published.
    """
    return autoencoder_figures.learning(autoencoder)


def draw_autoencoder_curvature(autoencoder: Any) -> Any:
    """Figure 4 (b). Most negative eigenvalue and gradient norm while the autoencoder trains. Grey: as
    published.
    """
    return autoencoder_figures.curvature(autoencoder)
