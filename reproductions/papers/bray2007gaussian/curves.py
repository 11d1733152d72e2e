"""What the theory says for infinitely many dimensions, and random matrices beside it, as rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reproductions.harness.tables import Rows
from reproductions.problems import gaussian_theory, goe
from reproductions.problems.gaussian_theory import Kernel

Progress = Callable[..., None]
CURVE_UNITS = {"critical_energy": "1", "discriminant": "1", "energy": "1", "log_number": "log"}
MATRIX_UNITS = {"index": "1"}


def kernels(a: float, g: float) -> list[Kernel]:
    """Return the two kernels that every experiment compares: D = 0, and D = g."""
    return [gaussian_theory.exponential(a), gaussian_theory.power(g)]


def tabulate(a: float, g: float, scales: list[float], exponents: list[float], points: int) -> Rows:
    """Tabulate energy and log number against the index, and eps_c and D of several kernels.

    Args:
        scales, exponents: further a and g that get no curve.
        points: of a curve, closer towards both ends.
    """
    rows = Rows(CURVE_UNITS)
    x = np.sin(math.pi / 2 * np.linspace(-1, 1, points))
    index = gaussian_theory.index_of_shift(x)
    for kernel in kernels(a, g):
        energy = gaussian_theory.energy_of_index(index, kernel)
        rows.add(arm=kernel.name, quantity="energy", value=energy, share=index)
        number = gaussian_theory.log_number(gaussian_theory.shift_of_index(index), kernel)
        rows.add(arm=kernel.name, quantity="log_number", value=number, share=index)
    more = [gaussian_theory.exponential(one) for one in scales]
    more += [gaussian_theory.power(one) for one in exponents]
    for kernel in more:
        where = {"arm": kernel.name, "parameter": kernel.parameter}
        rows.add(quantity="critical_energy", value=kernel.critical_energy, **where)
        rows.add(quantity="discriminant", value=kernel.discriminant, **where)
    return rows


def of_matrices(
    sizes: list[int], shifts: list[float], draws: int, root_seed: int, progress: Progress
) -> Rows:
    """Count the eigenvalues of random matrices below zero after a shift, beside the semicircle.

    Args:
        shifts: in radii of the semicircle.
    """
    rows = Rows(MATRIX_UNITS)
    at = np.asarray(shifts)
    rows.add(arm="semicircle", quantity="index", value=gaussian_theory.index_of_shift(at), shift=at)
    for number, n in enumerate(sizes):
        levels = goe.sample_least(n, n - 1, draws, [root_seed, n]) / math.sqrt(2 * n)
        index = (levels[:, :, None] + at < 0).mean(axis=1)
        rows.add(arm="matrix", quantity="index", value=index, seed=np.arange(draws)[:, None],
                 shift=at, dimensions=n)  # fmt: skip
        progress((number + 1) / len(sizes), f"matrices of size {n}")
    return rows
