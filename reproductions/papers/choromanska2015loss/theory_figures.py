"""Pictures of the theory: Figures 1 and 2, and exact numbers of critical points at finite size."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.papers.choromanska2015loss import published
from reproductions.papers.choromanska2015loss.theory_measures import (
    ALL,
    BELOW,
    COUNTED,
    FIGURE_1,
    Panel,
    as_published,
    band,
    curve,
    indices,
    measure,
    one,
    orders,
    sizes,
)

__all__ = ["figure_1", "figure_2", "finite_counts", "measure"]

_MARKS = 48  # published points drawn in a panel
_PUBLISHED, _UNSAID = "published", "_published"  # the legend says it once
_ALL_LOOK = 6
_EXACT = "exact, no simulation"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def thin(x: np.ndarray, y: np.ndarray, count: int, shift: float = 0.0) -> np.ndarray:
    """Return indices of about `count` points, even along the drawn curve.

    Args:
        shift: part of a gap to start after, so that marks of several curves stand apart.
    """
    if len(x) <= count:
        return np.arange(len(x))
    steps = np.hypot(np.diff(x) / np.ptp(x), np.diff(y) / max(np.ptp(y), 1e-300))
    along = np.append(0.0, np.cumsum(steps))
    wanted = along[-1] * (np.arange(count) + shift) / count
    return np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))


def _mark_published(ax: Any, name: str, label: str) -> None:
    """Draw published points, thinned, as far as the axis shows them."""
    low, high = ax.get_xlim()
    points = published.points(name)
    curves = list(points[(points.x >= low) & (points.x <= high)].groupby("curve_k"))
    for number, (_, own) in enumerate(curves):
        x, y = own.x.to_numpy(), own.y.to_numpy()
        keep = thin(x, y, _MARKS // len(curves), number / len(curves))
        style.reference(ax, x[keep], y[keep], label, points=True)


def _mark_levels(ax: Any, table: Any, factor: float, name: str) -> None:
    """Draw the ground state and the barrier, as far as the axis shows them."""
    low, high = ax.get_xlim()
    texts = (f"ground state, −{name}E₀", f"barrier, −{name}E∞")
    for energy, text, line in zip(band(table), texts, ((0, (1, 1.5)), (0, (5, 2))), strict=True):
        if low <= -energy * factor <= high:
            ax.axvline(-energy * factor, color="black", lw=1.0, ls=line, zorder=1.4, label=text)


def _plot(ax: Any, k: int, x: np.ndarray, y: np.ndarray) -> None:
    look = style.series(_ALL_LOOK if k == ALL else k)
    text = "all critical points" if k == ALL else f"k = {k}"
    ax.plot(x, y, color=look.colour, ls=look.linestyle, lw=1.5, label=text)


def figure_1(table: Any) -> Any:
    """Draw d/du exp(Lambda Theta), of all and by index, over the published curves.

    Without the two enlargements where p or Lambda is not the published one.
    """
    panels = FIGURE_1 if as_published(table) else FIGURE_1[:2]
    rows = len(panels) // 2
    figure, axes = style.new_figure(rows, 2, width=9.6, height=3.5 * rows, squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        _draw_density(ax, table, panel, [ALL] if panel is FIGURE_1[0] else indices(table))
        if as_published(table):
            ax.set_xlim(panel.low, panel.high)
            _fit_height(ax)
            _mark_published(ax, panel.points, _PUBLISHED if panel is panels[-1] else _UNSAID)
        _mark_levels(ax, table, orders(table)[1], "Λ")
    style.note(axes[-1][0], f"{_EXACT}; no prefactor, as published")
    style.legend(figure)
    return figure


def _draw_density(ax: Any, table: Any, panel: Panel, which: list[int]) -> None:
    """Draw the curves of one panel, down to zero and on, in units of a power of ten."""
    _, spins = orders(table)
    curves = {k: curve(table, "log_density", k) for k in which}
    most = max(logs.max() for _, logs in curves.values())
    power = panel.power if as_published(table) else int(most // np.log(10.0))
    for k, (u, logs) in curves.items():
        end = 0.0 if k == ALL else u[-1]  # there the curve is down at zero
        x = np.append(u, [end, end + 0.06]) * spins
        y = np.exp(logs - power * np.log(10.0))
        _plot(ax, k, x, np.append(y, [0.0, 0.0]))
    raised = str(power).translate(_RAISED)
    ax.set(xlabel="energy Λu", ylabel=f"d exp(ΛΘ) / du   (10{raised})", title=panel.title)


def _fit_height(ax: Any) -> None:
    """Fit the height of an axis to what lies inside its width."""
    low, high = ax.get_xlim()
    top = 0.0
    for line in ax.lines:
        x, y = line.get_data()
        inside = np.interp(np.linspace(low, high, 400), x, y)
        top = max(top, float(inside.max()))
    ax.set_ylim(-0.03 * top, 1.06 * top)


def figure_2(table: Any) -> Any:
    """Draw the complexity of all critical points and by index, over the published curves."""
    figure, (left, right) = style.new_figure(1, 2, width=9.6, height=4.2)
    _plot(left, ALL, *curve(table, "complexity", ALL))
    for k in indices(table):
        _plot(right, k, *curve(table, "complexity", k))
    names = ("fig2_left_Theta", "fig2_right_Theta_k")
    texts = ("Θ(u), all critical points", "Θₖ(u), by index k")
    for ax, name, text in zip((left, right), names, texts, strict=True):
        ax.margins(x=0)
        ax.axhline(0.0, color="#57606a", lw=0.8, zorder=1.2)
        ax.set(xlabel="energy per spin u", title=text)
        if as_published(table):
            _mark_published(ax, name, _PUBLISHED if ax is right else _UNSAID)
        _mark_levels(ax, table, 1.0, "")
    left.set_ylabel("complexity")
    style.note(left, f"{_EXACT}; below zero: none on average")
    style.legend(figure)
    return figure


def finite_counts(table: Any) -> Any:
    """Draw exact mean numbers of critical points, and the energy of minima, against the spins."""
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.5)
    at = np.array(sizes(table))
    _draw_low_index(axes[0], table, at)
    _draw_total(axes[1], table, at)
    _draw_energy(axes[2], table, at)
    for ax in axes:
        ax.set(xscale="log", xlabel="spins Λ")
        ax.set_xticks(at, [str(n) for n in at])
        ax.minorticks_off()
        ax.margins(x=0.08)
    style.legend(figure)
    return figure


def _at_sizes(table: Any, quantity: str, arm: str) -> np.ndarray:
    return np.array([one(table, quantity, arm=arm, spins=n) for n in sizes(table)])


def _draw_low_index(ax: Any, table: Any, at: np.ndarray) -> None:
    """Draw minima and saddles of index 1, exact and sampled."""
    for number, (name, text) in enumerate(zip(COUNTED, ("minima", "index 1"), strict=True)):
        look = style.series(number)
        ax.plot(at, _at_sizes(table, name, "exact"), color=look.colour, ls=look.linestyle,
                marker=look.marker, ms=4, label=f"{text}, exact")  # fmt: skip
        mean, error = (_at_sizes(table, name + end, "sampled") for end in ("", "_error"))
        ax.errorbar(at, mean, 2 * error, fmt="none", ecolor=look.colour, capsize=5, elinewidth=1.2,
                    label=f"{text}, sampled")  # fmt: skip
        below = _at_sizes(table, BELOW[number], "exact")
        ax.plot(at, below, color=look.colour, ls=look.linestyle, lw=1.0, marker=look.marker, ms=4,
                mfc="white", label=f"{text}, below the barrier")  # fmt: skip
    exponent = np.exp(_at_sizes(table, "barrier_exponent", "exponent"))
    style.reference(ax, at, exponent, "bare exponent", kind="derived")
    ax.set(yscale="log", title="Low index", ylabel="mean number, one tensor")
    style.note(ax, "bars: two standard errors; exponent: at the barrier, the same for every index")


def _draw_total(ax: Any, table: Any, at: np.ndarray) -> None:
    """Draw all critical points in powers of ten."""
    ten, look = np.log(10.0), style.series(_ALL_LOOK)
    ax.plot(at, _at_sizes(table, "log_mean_total", "exact") / ten, color=look.colour,
            ls=look.linestyle, marker=look.marker, ms=4, label="all, exact")  # fmt: skip
    exponent = _at_sizes(table, "total_exponent", "exponent")
    style.reference(ax, at, exponent / ten, "bare exponent", kind="derived")
    ax.set(title="All critical points", ylabel="log10 of the mean number")


def _draw_energy(ax: Any, table: Any, at: np.ndarray) -> None:
    """Draw mean and spread of the energy of minima, each counted alike."""
    mean, spread = (
        _at_sizes(table, name, "exact") for name in ("minima_energy", "minima_energy_sd")
    )
    look = style.series(0)
    ax.errorbar(at, mean, spread, color=look.colour, marker=look.marker, ms=4, capsize=3)
    ground, barrier = band(table)
    for energy, text, line, side in (
        (barrier, "−E∞", (5, 2), "bottom"), (ground, "−E₀", (1, 1.5), "top")
    ):  # fmt: skip
        ax.axhline(-energy, color="black", lw=1.0, ls=(0, line), zorder=1.4)
        ax.annotate(text, (1.0, -energy), xycoords=("axes fraction", "data"), fontsize=8,
                    xytext=(3, 0), textcoords="offset points", va=side)  # fmt: skip
    ax.set(title="Energy of the minima", ylabel="energy per spin")
    style.note(ax, "mean and standard deviation over all minima of all tensors, exact")
