"""The experiments of the lecture's room; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/lecture8geometry.yaml.
"""

from __future__ import annotations

from collections.abc import Callable

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.papers.lecture8geometry import (
    equivariance,
    gradient_course,
    landscapes,
    natural,
    regions,
    rescaled_training,
    scaling,
    units,
    well,
    windows,
)
from reproductions.papers.lecture8geometry.draws import Draws

Progress = Callable[..., None]


def identities(
    *, members: int, size: int, steps: int, device: str, root_seed: int, progress: Progress
) -> Rows:
    """Hold the lecture's identities to random problems, one residual a problem each."""
    draws, rows = Draws(members, root_seed, device), Rows({"residual": "1"})
    found = equivariance.descent(draws, size, steps)
    found["scalar"] = equivariance.scalar(draws, size, steps)
    progress(0.4, "descent in other coordinates")
    found |= equivariance.second_order(draws) | equivariance.singular(draws)
    found["proximal"] = equivariance.proximal(draws)
    progress(0.7, "second order")
    found |= units.rescaled_relu(draws) | units.teleported(draws)
    found["path_products"] = units.path_products(draws)
    for arm, residual in found.items():
        rows.add(arm=arm, quantity="residual", value=residual.cpu(), seed=range(members))
    return rows


def coordinates(*, sgd_rate: float, normalised_rate: float, newton_rate: float, steps: int) -> Rows:
    """Follow three rules in three coordinates of one bowl."""
    rates = {"sgd": sgd_rate, "normalised": normalised_rate, "newton": newton_rate}
    return landscapes.coordinate_rows(rates, steps)


def exponents(*, members: int, scales: list[float], device: str, root_seed: int) -> Rows:
    """Measure every rule's first step for coordinates of different scale."""
    return scaling.rows(Draws(members, root_seed, device), scales)


def kl(*, members: int, shrinks: list[float], device: str, root_seed: int) -> Rows:
    """Compare KL with its quadratic form, and two steps of a Bernoulli model."""
    return natural.kl_rows(Draws(members, root_seed, device), shrinks)


def nonlinear(*, rates: list[float], duration: float, drawn_rate: float) -> Rows:
    """Follow descent and natural gradient in three coordinates of a normal distribution."""
    return natural.path_rows(rates, duration, drawn_rate)


def trust_region(
    *, members: int, size: int, samples: int, radius: float, device: str, root_seed: int
) -> Rows:
    """Hold the steps of two regions to their definitions, and the expansion to its order."""
    return regions.rows(Draws(members, root_seed, device), size, samples, radius)


def convex(
    *, members: int, size: int, steps: int, rest_steps: int, device: str, root_seed: int
) -> Rows:
    """Take three facts of strong convexity along descent, and where two rules come to rest."""
    return landscapes.fact_rows(Draws(members, root_seed, device), size, steps, rest_steps)


def plateau(
    *,
    sgd_rates: list[float],
    normalised_rates: list[float],
    sign_rates: list[float],
    most_steps: int,
) -> Rows:
    """Descend from a plateau into a narrow well."""
    rates = {"sgd": sgd_rates, "normalised": normalised_rates, "sign": sign_rates}
    return well.well_rows(rates, most_steps)


def rescaling(
    *,
    data: Dataset,
    images: int,
    components: int,
    hidden: int,
    seeds: int,
    spread: float,
    steps: int,
    sgd_rate: float,
    path_rate: float,
    natural_rates: list[float],
    duration: float,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train from one function in two scalings of its units by three methods."""
    plan = rescaled_training.Plan(
        hidden, components, seeds, spread, steps, sgd_rate, path_rate, natural_rates, duration
    )
    inputs, labels = rescaled_training.whitened(data, images, components, device)
    return rescaled_training.train_rows(inputs, labels, plan, root_seed, progress)


def gradients(
    *,
    data: Dataset,
    images: int,
    width: int,
    seeds: int,
    epochs: int,
    batch: int,
    sgd_rate: float,
    adam_rate: float,
    ball_rate: float,
    records: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Take mean and mean square of the minibatches' gradients along training."""
    plan = gradient_course.Plan(
        width, seeds, epochs, batch, sgd_rate, adam_rate, ball_rate, records, root_seed
    )
    return gradient_course.course(data, images, plan, device, progress)


def averages(*, beta1: float, beta2: float, ages: int, change: int) -> Rows:
    """Read off the weights of running means and how long they remember."""
    return windows.rows({"beta1": beta1, "beta2": beta2}, ages, change)
