"""What the theory's table says: Figures 1 and 2 against the published curves, and exact counts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from reproductions.harness.statistics import Metric, exact
from reproductions.harness.tables import select
from reproductions.papers.choromanska2015loss import published

ALL = -1  # the index column of what counts all critical points
COUNTED = ("mean_minima", "mean_saddles_1")
BELOW = ("minima_below_barrier", "saddles_1_below_barrier")
_QUADRATURE = 1e-6  # bound on the relative error of the exact mean numbers
_DRAWN = 0.01  # error of Lambda u in the published low-index curves: their grid and two decimals


class Panel(NamedTuple):
    """One panel of the published Figure 1: its points, their factor and what the axis shows."""

    points: str
    power: int
    low: float
    high: float
    title: str


FIGURE_1 = (
    Panel("fig1_panel1_all", 151, -320.0, 40.0, "All critical points"),
    Panel("fig1_panel2_lowindex", 8, -1659.0, -1631.0, "By index k"),
    Panel("fig1_panel3_lowindex_zoom", 7, -1650.3, -1637.7, "By index k, low in the band"),
    Panel(
        "fig1_panel4_lowindex_zoom_at_barrier", 8, -1635.1, -1632.4, "By index k, at the barrier"
    ),
)


def orders(table: Any) -> tuple[int, int]:
    """Return p and the number of spins of the curves."""
    one = select(table, quantity="log_density").iloc[0]
    return int(one.p), int(one.spins)


def as_published(table: Any) -> bool:
    """Say whether the curves are those of the published p = 3 and Lambda = 1000."""
    return orders(table) == (3, 1000)


def indices(table: Any) -> list[int]:
    """Return every index that has a curve of its own."""
    return [int(k) for k in np.unique(select(table, quantity="log_density").k) if k != ALL]


def sizes(table: Any) -> list[int]:
    """Return the numbers of spins at which critical points are counted."""
    return [int(n) for n in np.unique(select(table, quantity="log_mean_total").spins)]


def curve(table: Any, quantity: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (u, value) of one index, or of all."""
    rows = select(table, quantity=quantity, k=k).sort_values("u")
    return rows.u.to_numpy(), rows.value.to_numpy()


def one(table: Any, quantity: str, **where: Any) -> float:
    """Return the only value of a quantity at a place."""
    (value,) = select(table, quantity=quantity, **where).value
    return float(value)


def band(table: Any) -> tuple[float, float]:
    """Return E_0 and E_inf of the curves' p."""
    p, _ = orders(table)
    return one(table, "lowest_energy", p=p, k=0), one(table, "threshold_energy", p=p)


def density(table: Any, k: int, x: np.ndarray) -> np.ndarray:
    """Return d/du exp(Lambda Theta_k) at x = Lambda u; zero above the barrier."""
    u, logs = curve(table, "log_density", k)
    at = np.asarray(x, dtype=float) / orders(table)[1]
    return np.where(at <= u[-1], np.exp(np.interp(at, u, logs)), 0.0)


def plateau() -> float:
    """Return the level that the published curves of Figure 2, right, keep above the barrier."""
    points = published.points("fig2_right_Theta_k")
    return float(points.y[points.x > -1.632].median())


def printed_branch(p: int) -> float:
    """Return Theta_k above the barrier as it is printed."""
    return 0.5 * math.log(p - 1) - (p - 2) / (4 * (p - 1))


def measure(table: Any) -> dict[str, Metric]:
    """Measure Figures 1 and 2 and the exact mean numbers."""
    found = _thresholds(table) | _counts(table)
    if orders(table)[0] > 2:  # two spins have no band, and as many critical points as eigenvectors
        found |= _curves(table)
    return found | (_against_published(table) if as_published(table) else {})


def _thresholds(table: Any) -> dict[str, Metric]:
    found = {}
    for p in np.unique(select(table, quantity="threshold_energy").p):
        barrier = one(table, "threshold_energy", p=p)
        lowest = [one(table, "lowest_energy", p=p, k=k) for k in (0, 1)]
        found[f"threshold_energy_{p}"] = exact(barrier)
        found[f"ground_state_{p}"] = exact(lowest[0], 1e-12)
        found[f"lowest_energy_1_{p}"] = exact(lowest[1], 1e-12)
        found[f"band_width_{p}"] = exact(lowest[0] - barrier, 1e-12)
        at_barrier = one(table, "complexity_at_threshold", p=p, k=0)
        found[f"complexity_at_threshold_{p}"] = exact(at_barrier)
    return found


def _counts(table: Any) -> dict[str, Metric]:
    found, worst = {}, 0.0
    for n in sizes(table):
        for name, text in zip(COUNTED, (f"minima_mean_{n}", f"saddles_mean_{n}"), strict=True):
            value = one(table, name, arm="exact", spins=n)
            found[text] = exact(value, error=_QUADRATURE * value)
            drawn = one(table, name, arm="sampled", spins=n)
            error = one(table, f"{name}_error", arm="sampled", spins=n)
            worst = max(worst, abs(drawn - value) / max(error, _QUADRATURE * value))
        share = one(table, BELOW[0], spins=n) / one(table, COUNTED[0], arm="exact", spins=n)
        found[f"minima_share_below_barrier_{n}"] = exact(share, error=2 * _QUADRATURE * share)
        mean = one(table, "minima_energy", spins=n)
        found[f"minima_energy_{n}"] = exact(mean, error=_QUADRATURE * abs(mean))
        if len(theirs := _large(table, n)):
            gap = float(theirs.iloc[0]) - one(table, "log_mean_total", spins=n)
            found[f"total_prefactor_gap_{n}"] = exact(gap, error=_QUADRATURE)
    return found | {"sampled_counts_worst_z": exact(worst)}


def _large(table: Any, n: int) -> Any:
    """Return the log of all critical points by Theorem 11.1; none where p is 2."""
    return table.value[(table.quantity == "asymptotic_log_total") & (table.spins == n)]


def _curves(table: Any) -> dict[str, Metric]:
    """Measure where the curve of all critical points peaks and how high, and the band."""
    u, logs = curve(table, "log_density", ALL)
    top = int(np.clip(np.argmax(logs), 1, len(u) - 2))
    three = slice(top - 1, top + 2)
    a, b, c = np.polyfit(u[three] - u[top], logs[three], 2)  # the peak lies between grid points
    ground, barrier = band(table)
    (at, minima), (_, saddles) = (curve(table, "complexity", k) for k in (0, 1))
    inside = (at > -ground) & (at < -barrier - 1e-9)
    p, spins = orders(table)
    at_barrier = one(table, "complexity_at_threshold", p=p, k=0)
    return {
        "figure_1_total_peak": exact(spins * (u[top] - b / (2 * a))),
        "figure_1_total_height": exact((c - b * b / (4 * a)) / math.log(10)),
        "minima_outnumber_saddles": exact((minima - saddles)[inside].min()),
        "theta_all_at_minus_1": exact(np.interp(-1.0, *curve(table, "complexity", ALL))),
        "misprint_jump": exact(printed_branch(p) - at_barrier),
    }


def _against_published(table: Any) -> dict[str, Metric]:
    level, at_barrier = plateau(), one(table, "complexity_at_threshold", p=3, k=0)
    right = published.points("fig2_right_Theta_k")
    sides = [complexity_misfit(table, k, right[right.curve_k == k]) for k in indices(table)]
    left = complexity_misfit(table, ALL, published.points("fig2_left_Theta"))
    return {
        "figure_1_misfit": exact(density_misfit(table, FIGURE_1[1])),
        "figure_2_misfit": exact(left),
        "figure_2_misfit_k": exact(max(sides)),
        "misprint_plateau_misfit": exact(abs(level - printed_branch(3))),
        "continuous_plateau_misfit": exact(abs(level - at_barrier)),
    }


def complexity_misfit(table: Any, k: int, points: Any) -> float:
    """Return the largest difference of published points from our Theta."""
    return float(np.abs(np.interp(points.x, *curve(table, "complexity", k)) - points.y).max())


def density_misfit(table: Any, panel: Panel, error: float = _DRAWN) -> float:
    """Return the largest distance of the published low-index curves from ours, over the peak.

    A published point is held to the range of our curve within the reading error of its x; without
    that no point of the drop at the barrier could be compared.
    """
    points = published.points(panel.points)
    worst, peak = 0.0, float(points.y.max())
    for k in indices(table):
        own = points[points.curve_k == k]
        near = own.x.to_numpy()[:, None] + error * np.linspace(-1.0, 1.0, 21)
        ours = density(table, k, near) / 10.0**panel.power
        y = own.y.to_numpy()
        away = np.maximum(ours.min(axis=1) - y, y - ours.max(axis=1))
        worst = max(worst, float(away.max()) / peak)
    return worst
