"""Densities, indices, thresholds and the 3/2 law of both random-matrix models, as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reproductions.harness.tables import Rows
from reproductions.problems import random_matrix as matrices
from reproductions.problems import random_matrix_threshold as thresholds

UNITS = {
    "density": "1", "index": "1", "index_by_quadrature": "1", "left_edge": "1",
    "threshold": "1", "threshold_by_edge": "1", "threshold_over_cube": "1",
    "constant": "1", "index_above": "1", "index_curve": "1",
}  # fmt: skip
WIGNER, RELU, RESIDUAL = "wishart_wigner", "relu", "relu_residual"
FIGURE_3 = {"energy": 50.0, "phis": (1 / 16, 1 / 8, 1 / 4, 1 / 2)}

Of = Callable[[float, float], matrices.Model]
MODELS: dict[str, Of] = {
    WIGNER: matrices.WishartWigner,
    RELU: matrices.ReluNetwork,
    RESIDUAL: lambda energy, phi: matrices.ReluNetwork(energy, phi, 0.0),
}
_CLOSED = {WIGNER: thresholds.wishart_wigner_threshold, RELU: thresholds.relu_threshold}
_CONSTANT = {WIGNER: thresholds.wishart_wigner_constant, RELU: thresholds.relu_constant}


def add_density(rows: Rows, arm: str, energy: float, phi: float, points: int) -> None:
    """Add a density from end to end, its points gathered at both, where it is a square root."""
    model = MODELS[arm](energy, phi)
    low, high = matrices.support(model)
    angle = np.linspace(0, np.pi, points)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    value = np.zeros(points)
    value[1:-1] = matrices.density(model, x[1:-1])
    rows.add(arm=arm, quantity="density", value=value, x=x, index=np.arange(points),
             phi=phi, energy=energy)  # fmt: skip


def add_indices(rows: Rows, phis: Sequence[float], energies: Sequence[float]) -> None:
    """Add alpha, in closed form and by quadrature, and the left edge, phi by phi."""
    for arm in (WIGNER, RELU):
        for phi in phis:
            for energy in (one for one in energies if one > 0):
                model = MODELS[arm](energy, phi)
                found = {
                    "index": matrices.index(model),
                    "index_by_quadrature": matrices.index_by_quadrature(model),
                    "left_edge": matrices.support(model)[0],
                }
                for quantity, value in found.items():
                    rows.add(arm=arm, quantity=quantity, value=value, phi=phi, energy=energy)


def add_index_curves(rows: Rows, phis: Sequence[float], highest: float, points: int) -> None:
    """Add alpha against the energy from the threshold on."""
    for arm in (WIGNER, RELU):
        for phi in phis:
            first = _CLOSED[arm](phi)
            energies = first + max(highest - first, 0.0) * np.linspace(0, 1, points) ** 2
            alpha = [matrices.index(MODELS[arm](energy, phi)) for energy in energies]
            rows.add(arm=arm, quantity="index_curve", value=alpha, phi=phi, energy=energies,
                     index=np.arange(points))  # fmt: skip


def add_thresholds(rows: Rows, phis: Sequence[float]) -> None:
    """Add eps_c as printed and as the root of the left edge, and its limit at phi = 1."""
    for arm in (WIGNER, RELU):
        for phi in phis:

            def at(energy: float, arm: str = arm, phi: float = phi) -> matrices.Model:
                return MODELS[arm](energy, phi)

            closed = _CLOSED[arm](phi)
            rows.add(arm=arm, quantity="threshold", value=closed, phi=phi)
            found = thresholds.threshold_by_edge(at)
            rows.add(arm=arm, quantity="threshold_by_edge", value=found, phi=phi)
        near = 1 - 1e-6
        limit = _CLOSED[arm](near) / (1 - near) ** 3
        rows.add(arm=arm, quantity="threshold_over_cube", value=limit, phi=near)


def add_law(rows: Rows, phis: Sequence[float], points: int) -> None:
    """Add alpha at eps_c (1 + distance), and alpha0, which alpha / distance^1.5 tends to."""
    distance = np.geomspace(1e-4, 1.0, points)
    for arm in (WIGNER, RELU):
        for phi in phis:
            energies = _CLOSED[arm](phi) * (1 + distance)
            alpha = [matrices.index(MODELS[arm](energy, phi)) for energy in energies]
            rows.add(arm=arm, quantity="index_above", value=alpha, phi=phi, distance=distance,
                     index=np.arange(points))  # fmt: skip
            rows.add(arm=arm, quantity="constant", value=_CONSTANT[arm](phi), phi=phi)
