"""Curves over steps: a mean and a band over seeds for each method.

Rows whose status is not "ok" and values that are not finite stay out of the mean; their members
are counted in the legend, and each one's last good point carries a cross. Long curves are thinned
evenly along the axis as it is scaled, and markers sit evenly on it, away from their neighbours'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reproductions.harness.style_palette import Look, label, looks_for
from reproductions.harness.style_theme import note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

BANDS = ("percentile", "range", "bootstrap", "none")
_RESAMPLES = 500
_MOST_POINTS = 600  # of one curve
_MARKERS = 7  # of one curve
_FEW = 5  # fewer members than this have no percentiles worth the name


def plot_curves(
    ax: Axes,
    table: pd.DataFrame,
    x: str = "step",
    y: str = "value",
    *,
    hue: str = "arm",
    unit: str = "seed",
    order: Sequence[str] | None = None,
    looks: Mapping[str, Look] | None = None,
    labels: Mapping[str, str] | None = None,
    band: str = "percentile",
    level: float = 0.9,
    xscale: str | None = None,
    yscale: str | None = None,
    say: bool = True,
) -> dict[str, Line2D]:
    """Draw one mean curve per `hue` with its band over `unit`; return hue -> line.

    Args:
        table: tidy rows, one per (hue, unit, x), else ValueError; filter by quantity first.
        order: which hues, in this order; all, sorted by name, unless given.
        looks, labels: override the palette's look and display name of a hue.
        band: "percentile" (middle `level`; the range below five), "range", "bootstrap", "none".
        xscale, yscale: "linear" or "log"; set them here, not later: thinning depends on them.
        say: print n and the meaning of the band under the axis.
    """
    _check(table, (x, y, hue), band)
    ax.set(**{key: scale for key, scale in (("xscale", xscale), ("yscale", yscale)) if scale})
    names = list(order) if order is not None else sorted(map(str, table[hue].unique()))
    chosen = {**looks_for(names), **(looks or {})}
    members = {name: _members(table, x, y, hue, unit, name) for name in names}
    if say:
        note(ax, _describe({found[1].shape[1] for found in members.values()}, unit, band, level))
    lines = {}
    for place, name in enumerate(names):
        text, shift = (labels or {}).get(name, label(name)), place / len(names)
        lines[name] = _draw(ax, members[name], chosen[name], text, shift, band, level)
    return lines


def _draw(
    ax: Axes,
    members: tuple[np.ndarray, np.ndarray, int],
    look: Look,
    text: str,
    shift: float,
    band: str,
    level: float,
) -> Line2D:
    """Draw the curve of one hue, its band and the ends of its failed members."""
    at, values, failed = members
    if failed:
        text += f" ({failed} of {values.shape[1]} diverged)"
    keep = _thin(at, _MOST_POINTS, ax.get_xscale())
    at, values = at[keep], values[keep]
    marked = _thin(at, _MARKERS, ax.get_xscale(), shift).tolist()
    line = ax.plot(at, _mean(values), label=text, markevery=marked, **_line_style(look))[0]
    _draw_band(ax, at, values, look.colour, band, level)
    _cross(ax, at, values, look.colour)
    return line


def _check(table: pd.DataFrame, columns: Sequence[str], band: str) -> None:
    """Refuse a table without the columns, or a band nobody knows."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r} (it has: {', '.join(map(str, table))})"
        )
    if band not in BANDS:
        raise ValueError(f"band must be one of {', '.join(BANDS)}, got {band!r}")


def _members(
    table: pd.DataFrame, x: str, y: str, hue: str, unit: str, name: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return x (N,), values (N, members) with nan where unusable, and how many members failed."""
    rows = table[table[hue].astype(str) == name]
    if rows.empty:
        raise ValueError(f"the table has no rows with {hue} {name!r}")
    if unit not in rows.columns:
        rows = rows.assign(**{unit: 0})
    if rows.duplicated([unit, x]).any():
        raise ValueError(f"{name}: several rows for one {unit} and {x}; filter the table first")
    usable = np.isfinite(rows[y].to_numpy(float))
    if "status" in rows.columns:
        usable &= (rows["status"] == "ok").to_numpy()
    failed = int(rows.loc[~usable, unit].nunique())
    wide = rows.assign(**{y: np.where(usable, rows[y], np.nan)})
    wide = wide.pivot(index=x, columns=unit, values=y).sort_index()
    return wide.index.to_numpy(float), wide.to_numpy(float), failed


def _thin(at: np.ndarray, most: int, scale: str, shift: float | None = None) -> np.ndarray:
    """Return indices of at most about `most` points, even along the axis.

    Args:
        shift: fraction of a gap to start after (markers of neighbours then do not sit on each
            other); None keeps both ends.
    """
    if len(at) <= most:
        return np.arange(len(at))
    place = np.log(np.maximum(at, at[at > 0].min())) if scale == "log" else at
    steps = np.linspace(0, 1, most) if shift is None else (np.arange(most) + shift + 0.1) / most
    wanted = place[0] + (place[-1] - place[0]) * steps
    return np.unique(np.clip(np.searchsorted(place, wanted), 0, len(at) - 1))


def _line_style(look: Look) -> dict[str, Any]:
    """Return the arguments of a line in a method's look."""
    return {
        "color": look.colour,
        "linestyle": look.linestyle,
        "marker": look.marker,
        "markersize": 7.0 if look.marker in "XP*" else 5.5,  # the thin shapes look smaller
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "zorder": 2.5,
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Average over members, nan where no member is usable."""
    count = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw_band(
    ax: Axes, at: np.ndarray, values: np.ndarray, colour: str, band: str, level: float
) -> None:
    """Shade the spread over members."""
    alive = np.isfinite(values).any(axis=1)
    if band == "none" or values.shape[1] < 2 or not alive.any():
        return
    at, values = at[alive], values[alive]
    tails = [50 * (1 - level), 50 * (1 + level)]
    if band == "bootstrap":
        rng = np.random.default_rng(0)  # the same picture at every drawing
        picks = rng.integers(0, values.shape[1], (_RESAMPLES, values.shape[1]))
        values = np.stack([_mean(values[:, pick]) for pick in picks], axis=1)
    elif band == "range" or values.shape[1] < _FEW:
        tails = [0, 100]
    low, high = np.nanpercentile(values, tails, axis=1)
    ax.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)


def _cross(ax: Axes, at: np.ndarray, values: np.ndarray, colour: str) -> None:
    """Mark the last usable point of each member that ends before the others."""
    for member in values.T:
        good = np.flatnonzero(np.isfinite(member))
        if good.size and good[-1] < len(at) - 1:
            ax.plot(at[good[-1]], member[good[-1]], "x", color=colour, ms=7, mew=1.8, zorder=4)


def _describe(counts: set[int], unit: str, band: str, level: float) -> str:
    """Say what n is and what the band means."""
    sizes = sorted(counts)
    if sizes in ([], [1]):
        return f"n = 1 {unit}" if sizes else ""
    number = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    text = f"mean over n = {number} {unit}s"
    if band == "none":
        return text
    if band == "range" or (band == "percentile" and sizes[-1] < _FEW):
        return f"{text}; band: smallest to largest {unit}"
    if band == "bootstrap":
        return f"{text}; band: {100 * level:g} % bootstrap interval of the mean"
    return f"{text}; band: middle {100 * level:g} % of {unit}s"
