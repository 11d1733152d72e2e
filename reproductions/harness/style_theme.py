"""The theme, empty figures, notes on them and the one look of reference values."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reproductions.harness.style_palette import INK, MUTED, PUBLISHED, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 5.9, 3.6  # inches of a figure of one panel
NOTE_SIZE = 8.0  # points

_READING_ERROR: dict[str, Any] = {"color": PUBLISHED, "alpha": 0.2, "lw": 0, "zorder": 1.4}

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # travels with matplotlib: same glyphs on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.edgecolor": "#6e7781",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-4, 5),
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "#d0d7de",
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.7,
    "lines.markersize": 5.0,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
}


def apply_theme() -> None:
    """Set the house theme for every figure drawn from here on."""
    import seaborn

    seaborn.set_theme(context="paper", style="whitegrid", rc=_RC)


def new_figure(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Make an empty themed figure that pyplot does not know of.

    Args:
        nrows, ncols: panels.
        width, height: inches of the whole figure; by default they grow with the panels.
        subplots: passed on to Figure.subplots (sharex=, sharey=, squeeze=, width_ratios= ...).

    Returns:
        The figure, and one Axes or an array of them as Figure.subplots returns it.
    """
    from matplotlib.figure import Figure

    apply_theme()
    width = width or (PANEL_WIDTH if ncols == 1 else min(3.5 * ncols, 10.5))
    height = height or (PANEL_HEIGHT if nrows == 1 else 3.1 * nrows)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(nrows, ncols, **subplots)


def note(ax: Axes, text: str) -> None:
    """Print a small line under an axis: n, the interval, what a band means.

    Called again, it adds a line; a line already there is not repeated.
    """
    kept: list[str] = getattr(ax, "_house_notes", [])
    if not text or text in kept:
        return
    kept = [*kept, text]
    ax._house_notes = kept  # type: ignore[attr-defined]
    figure = ax.get_figure(root=True)
    assert figure is not None
    beside = 0.9  # inches that the axis' own label and numbers take
    inches = figure.get_size_inches()[0] / _columns(ax) - beside
    letters = max(24, int(inches * 72 / (0.55 * NOTE_SIZE)))
    whole = [line.replace(" = ", "\u00a0=\u00a0") for line in kept]  # never broken at the sign
    lines = "\n".join(textwrap.fill(line, letters) for line in whole)
    existing = getattr(ax, "_house_note", None)
    if existing is not None:
        existing.set_text(lines)
        return
    ax._house_note = ax.annotate(  # type: ignore[attr-defined]
        lines,
        xy=(0.0, 0.0),
        xycoords=("axes fraction", ax.xaxis.label),
        xytext=(0.0, -3.0),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=NOTE_SIZE,
        color=MUTED,
        annotation_clip=False,
    )


def _columns(ax: Axes) -> int:
    """Count the panels beside each other in the figure of an axis."""
    place = ax.get_subplotspec()
    return place.get_gridspec().ncols if place is not None else 1


def reference(
    ax: Axes,
    x: Any,
    y: Any,
    label: str = "published",
    *,
    method: str | None = None,
    kind: str = "published",
    error: float | None = None,
    points: bool = False,
) -> None:
    """Overlay values that are not ours, in the one look they have everywhere.

    Args:
        x, y: the curve; x None draws a level at the number y, y None an upright at the number x.
        label: the legend's entry.
        method: whose curve it is; its marker, hollow and grey, tells published curves apart.
        kind: "published" (read off the paper: broad and grey) or "derived" (exact, by theory:
            thin, black, dashed).
        error: reading error in units of y, drawn as a pale band.
        points: draw separate points instead of a line.
    """
    if kind not in ("published", "derived"):
        raise ValueError(f"kind must be 'published' or 'derived', got {kind!r}")
    style = _reference_style(kind)
    if x is None or y is None:
        (ax.axhline if x is None else ax.axvline)(
            float(y if x is None else x), label=label, **style
        )
    else:
        x, y = np.asarray(x, float), np.asarray(y, float)
        style |= _reference_marks(style["color"], method, points, len(x))
        ax.plot(x, y, label=label, **style)
    if error and x is None:
        ax.axhspan(y - error, y + error, **_READING_ERROR)
    elif error and y is not None:
        ax.fill_between(x, y - error, y + error, **_READING_ERROR)


def _reference_marks(colour: str, method: str | None, points: bool, n: int) -> dict[str, Any]:
    """Return hollow markers for a method's curve, or for separate points."""
    if method is None and not points:
        return {}
    marks: dict[str, Any] = {"marker": look(method).marker if method is not None else "o"}
    marks |= {"markersize": 5.5, "markerfacecolor": "white", "markeredgewidth": 1.2}
    marks |= {"markeredgecolor": colour, "markevery": None if points else max(1, n // 8)}
    return marks | ({"linestyle": "none"} if points else {})


def _reference_style(kind: str) -> dict[str, Any]:
    """Return the line of published or derived values."""
    if kind == "derived":
        return {"color": "black", "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 3.5}
    return {"color": PUBLISHED, "linewidth": 3.2, "linestyle": "-", "alpha": 0.8, "zorder": 1.5}


def legend(target: Axes | Figure, *, columns: int | None = None, **options: Any) -> None:
    """Draw a legend: inside one axis, or once below a whole figure with each entry once."""
    from matplotlib.figure import Figure

    if not isinstance(target, Figure):
        handles, _ = target.get_legend_handles_labels()
        if handles:
            target.legend(ncols=columns or 1, **options)
        return
    entries: dict[str, Any] = {}
    for ax in target.axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if entries:
        labels: Sequence[str] = list(entries)
        room = target.get_size_inches()[0] / (0.7 + 0.068 * max(map(len, labels)))
        columns = columns or min(len(labels), max(1, int(room)))
        target.legend(
            list(entries.values()), labels, loc="outside lower center", ncols=columns, **options
        )
