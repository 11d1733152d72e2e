"""Pictures and measures of the random-matrix models: Figure 1, indices, thresholds, the 3/2 law."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, over_seeds
from reproductions.harness.tables import select
from reproductions.papers.pennington2017geometry import published

WIGNER, RELU = "wishart_wigner", "relu"
NAMES = {WIGNER: "Wishart + Wigner", RELU: "ReLU network"}
NEAR = 1e-3  # distance from the threshold up to which the local exponent is taken
_EDGE = 0.02  # part of a curve at either end that is not held against the published one


def levels(rows: Any, column: str) -> list[float]:
    """Return the levels of a factor, ascending."""
    return sorted(rows[column].dropna().unique().tolist())


def density(table: Any, arm: str, phi: float, energy: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, density) of a model, from end to end."""
    rows = select(table, quantity="density", arm=arm, phi=phi, energy=energy).sort_values("x")
    rows = rows.drop_duplicates("x")
    return rows.x.to_numpy(), rows.value.to_numpy()


def density_at(x: np.ndarray, curve: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Interpolate a density whose points gather at its ends, 0 outside.

    In the angle of which x is the cosine the square roots at the ends are straight.
    """
    at, value = curve
    middle, half = (at[0] + at[-1]) / 2, (at[-1] - at[0]) / 2
    angles = np.arccos(np.clip((middle - np.array([*at, *x])) / half, -1, 1))
    inside = (x > at[0]) & (x < at[-1])
    return np.where(inside, np.interp(angles[len(at) :], angles[: len(at)], value), 0.0)


def cumulative_at(x: np.ndarray, curve: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Integrate a density up to x by the trapezium rule on its own points."""
    at, value = curve
    mass = np.append(0.0, np.cumsum(np.diff(at) * (value[1:] + value[:-1]) / 2))
    return np.interp(x, at, mass / mass[-1])


def measure(table: Any) -> dict[str, Metric]:
    """Measure thresholds, indices, the law and the distance from Figure 1."""
    found = {"figure_1_misfit": exact(_figure_1_misfit(table))}
    for arm in NAMES:
        closed = select(table, quantity="threshold", arm=arm).sort_values("phi").value.to_numpy()
        by_edge = select(table, quantity="threshold_by_edge", arm=arm).sort_values("phi").value
        found[f"threshold_error_{arm}"] = exact(np.abs(closed - by_edge.to_numpy()).max())
        limit = select(table, quantity="threshold_over_cube", arm=arm).value
        found[f"threshold_over_cube_{arm}"] = exact(limit.iloc[0])
        for row in select(table, quantity="index", arm=arm).itertuples():
            where = f"{row.phi:g}_{row.energy:g}".replace(".", "p")
            found[f"index_{arm}_{where}"] = exact(float(row.value))
    exponents = np.concatenate([_exponents(table, arm)[1] for arm in NAMES])
    found["law_exponent"] = exact(exponents[np.abs(exponents - 1.5).argmax()])
    found["law_excess_half"] = exact(_excess(table, WIGNER, 0.5).min())
    found["law_excess_tenth"] = exact(_excess(table, WIGNER, 0.1).max())
    return found


def _figure_1_misfit(table: Any) -> float:
    worst = 0.0
    for (phi, energy), own in published.points("fig1_spectral_densities").groupby(["phi", "eps"]):
        x = own["lambda"].to_numpy()
        margin = _EDGE * np.ptp(x)
        inner = (x > x.min() + margin) & (x < x.max() - margin)
        ours = density_at(x[inner], density(table, WIGNER, phi, energy))
        worst = max(worst, float(np.abs(ours - own.rho_plot.to_numpy()[inner]).max()))
    return worst


def _law(table: Any, arm: str, phi: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return distances from the threshold, the index there, and alpha0."""
    rows = select(table, quantity="index_above", arm=arm, phi=phi).sort_values("distance")
    constant = select(table, quantity="constant", arm=arm, phi=phi).value.iloc[0]
    return rows.distance.to_numpy(), rows.value.to_numpy(), float(constant)


def _law_phis(table: Any, arm: str) -> list[float]:
    return levels(select(table, quantity="constant", arm=arm), "phi")


def _exponents(table: Any, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return distances below NEAR and the local exponents there, of every phi."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for phi in _law_phis(table, arm):
        distance, alpha, _ = _law(table, arm, phi)
        middle = np.sqrt(distance[1:] * distance[:-1])
        slope = np.diff(np.log(alpha)) / np.diff(np.log(distance))
        found.append((middle[middle < NEAR], slope[middle < NEAR]))
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])


def _excess(table: Any, arm: str, at: float) -> np.ndarray:
    """Return by how much the law is above the index at a distance, relative, for every phi."""
    found = []
    for phi in _law_phis(table, arm):
        distance, alpha, constant = _law(table, arm, phi)
        ratio = constant * distance**1.5 / alpha
        found.append(np.interp(np.log(at), np.log(distance), ratio) - 1)
    return np.array(found)


def figure_1(table: Any) -> Any:
    """Draw the densities over the published ones."""
    read = published.points("fig1_spectral_densities")
    phis = levels(select(table, quantity="density", arm=WIGNER), "phi")
    figure, axes = style.new_figure(1, len(phis), width=10.5, height=3.6, squeeze=False)
    for ax, phi in zip(axes[0], phis, strict=True):
        rows = select(table, quantity="density", arm=WIGNER, phi=phi)
        for number, energy in enumerate(levels(rows, "energy")):
            look = style.series(number)
            x, y = density(table, WIGNER, phi, energy)
            ax.plot(x, y, color=look.colour, ls=look.linestyle, lw=1.5, label=f"ε = {energy:g}")
            own = read[(read.phi == phi) & (read.eps == energy)]
            if len(own):
                style.reference(ax, own["lambda"], own.rho_plot, "published")
        ax.axvline(0, color="#57606a", lw=0.8, zorder=1.2)
        ax.set(title=f"φ = {published.fraction(phi)}", xlabel="eigenvalue λ")
    axes[0][0].set_ylabel("density")
    style.note(axes[0][0], "exact, no simulation")
    style.legend(figure)
    return figure


def index_curves(table: Any) -> Any:
    """Draw the index against the energy for both models."""
    figure, axes = style.new_figure(1, 2, width=9.0, height=3.8, sharey=True)
    for ax, (arm, name) in zip(axes, NAMES.items(), strict=True):
        rows = select(table, quantity="index_curve", arm=arm)
        for number, phi in enumerate(levels(rows, "phi")):
            own, look = rows[rows.phi == phi].sort_values("energy"), style.series(number)
            text = f"φ = {published.fraction(phi)}"
            ax.plot(own.energy, own.value, color=look.colour, ls=look.linestyle, label=text)
            marked = select(table, quantity="index_by_quadrature", arm=arm, phi=phi)
            ax.plot(marked.energy, marked.value, ls="none", marker=look.marker, ms=6,
                    color=look.colour, mec="white", label=f"{text}, by quadrature")  # fmt: skip
        ax.set(title=name, xlabel="energy ε")
    axes[0].set_ylabel("index α")
    style.note(axes[0], "exact, no simulation; curves begin at the threshold")
    style.legend(figure)
    return figure


def thresholds(table: Any) -> Any:
    """Draw both thresholds against phi, and how far the edge search is from the formula."""
    figure, (left, right) = style.new_figure(1, 2, width=9.0, height=3.8)
    for number, (arm, name) in enumerate(NAMES.items()):
        look = style.series(number)
        closed = select(table, quantity="threshold", arm=arm).sort_values("phi")
        found = select(table, quantity="threshold_by_edge", arm=arm).sort_values("phi")
        left.plot(closed.phi, closed.value, color=look.colour, ls=look.linestyle, label=name)
        left.plot(found.phi, found.value, ls="none", marker=look.marker, color=look.colour,
                  mec="white", label=f"{name}, by the edge")  # fmt: skip
        gap = np.abs(closed.value.to_numpy() - found.value.to_numpy())
        right.plot(closed.phi, np.maximum(gap, 1e-18), marker=look.marker, color=look.colour,
                   ls=look.linestyle)  # fmt: skip
    left.set(yscale="log", xlabel="φ", ylabel="threshold εc", title="Threshold")
    right.axhline(1e-8, color="#57606a", lw=0.8)
    right.set(yscale="log", xlabel="φ", ylabel="difference", title="Formula against edge search")
    style.note(right, "exact, no simulation; line: what is asked for, 1e-8")
    style.legend(figure)
    return figure


def three_halves(table: Any) -> Any:
    """Draw index over law against the distance from the threshold."""
    figure, axes = style.new_figure(1, 2, width=9.0, height=3.8, sharey=True)
    for ax, (arm, name) in zip(axes, NAMES.items(), strict=True):
        for number, phi in enumerate(_law_phis(table, arm)):
            distance, alpha, constant = _law(table, arm, phi)
            look = style.series(number)
            ax.plot(distance, alpha / (constant * distance**1.5), color=look.colour,
                    ls=look.linestyle, label=f"φ = {published.fraction(phi)}")  # fmt: skip
        ax.axhspan(0.9, 1.1, color="#57606a", alpha=0.12, lw=0, label="within a tenth")
        ax.set(xscale="log", title=name, xlabel="distance (ε − εc) / εc")
    axes[0].set_ylabel("index over the 3/2 law")
    style.note(axes[0], "exact, no simulation; the law with its exact constant")
    style.legend(figure)
    return figure


def measure_spectra(table: Any) -> dict[str, Metric]:
    """Measure the distance of drawn spectra from the models."""
    found = {}
    for arm in NAMES:
        rows = select(table, quantity="distance", arm=arm)
        means = rows.groupby(["phi", "energy"]).value.mean()
        phi, energy = means.idxmax()
        worst = select(rows, phi=phi, energy=energy).sort_values("seed").value
        found[f"spectrum_distance_{arm}"] = over_seeds(worst)
    return found


def spectra(table: Any) -> Any:
    """Draw histograms of drawn eigenvalues and the densities of the models."""
    rows = select(table, quantity="distance")
    pairs = [(phi, energy) for phi in levels(rows, "phi") for energy in levels(rows, "energy")]
    figure, axes = style.new_figure(2, len(pairs), width=10.5, height=5.0, squeeze=False)
    for line, (arm, name) in zip(axes, NAMES.items(), strict=True):
        for ax, (phi, energy) in zip(line, pairs, strict=True):
            where = {"arm": arm, "phi": phi, "energy": energy}
            values = select(table, quantity="eigenvalue", **where).value
            ax.hist(values, bins=30, density=True, color=style.series(0).colour, alpha=0.35,
                    label="one drawn matrix")  # fmt: skip
            ax.plot(*density(table, arm, phi, energy), color="black", lw=1.3, label="closed form")
            ax.axvline(0, color="#57606a", lw=0.8)
            ax.set_title(f"φ = {published.fraction(phi)}, ε = {energy:g}", fontsize=9)
        line[0].set_ylabel(f"{name}\ndensity")
    for ax in axes[1]:
        ax.set_xlabel("eigenvalue λ")
    seeds = rows.seed.nunique()
    size = len(select(table, quantity="eigenvalue", arm=WIGNER, phi=pairs[0][0],
                      energy=pairs[0][1]))  # fmt: skip
    style.note(axes[1][0], f"{size} eigenvalues; {seeds} matrices are measured")
    style.legend(figure)
    return figure
