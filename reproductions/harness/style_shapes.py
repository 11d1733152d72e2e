"""Pictures other than curves: phase maps, intervals against a reference, spreads over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reproductions.harness.style_palette import INK, MUTED, PUBLISHED, Look, label, looks_for
from reproductions.harness.style_theme import note

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

_RASTER_CELLS = 400  # a mesh of more cells is stored as pixels, which keeps SVG small

_BOUNDARY_LINES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def cell_edges(centres: Any, scale: str = "linear") -> np.ndarray:
    """Return the N+1 edges of cells whose N centres are given (midpoints; geometric on log).

    Raises:
        ValueError: centres that do not increase, or are not positive on a log axis.
    """
    centres = np.asarray(centres, float)
    if centres.ndim != 1 or centres.size == 0 or np.any(np.diff(centres) <= 0):
        raise ValueError("cell centres must be a strictly increasing vector")
    if scale == "log":
        if centres[0] <= 0:
            raise ValueError("cell centres must be positive on a log axis")
        return np.exp(cell_edges(np.log(centres)))
    if centres.size == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def phase_map(
    ax: Axes,
    x: Any,
    y: Any,
    values: Any,
    *,
    label: str,
    boundaries: Mapping[str, tuple[Any, Any]] | None = None,
    limits: tuple[float, float] | None = None,
    xscale: str = "linear",
    yscale: str = "linear",
    cmap: str = "cividis",
    colorbar: bool = True,
) -> QuadMesh:
    """Draw simulated cells as colours and exact boundaries as lines through them.

    Args:
        x (nx,), y (ny,): centres of the cells, increasing.
        values (ny, nx): one number a cell; a cell that is nan is hatched and counted.
        label: what the colour means, with its unit.
        boundaries: legend entry -> (x, y) of a line; dashes differ from line to line.
        limits: values of the two ends of the colour scale.
    """
    cells = np.ma.masked_invalid(np.asarray(values, float))
    ax.set(xscale=xscale, yscale=yscale)
    edges = cell_edges(x, xscale), cell_edges(y, yscale)
    if cells.shape != (len(edges[1]) - 1, len(edges[0]) - 1):
        raise ValueError(f"values have shape {cells.shape}, want (len(y), len(x))")
    mesh = _draw_cells(ax, edges, cells, cmap, limits or (None, None))
    mesh.set_label(f"_{label}")
    if colorbar:
        ax.figure.colorbar(mesh, ax=ax, label=label, pad=0.02)
    _draw_boundaries(ax, boundaries or {})
    ax.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])
    empty = int(np.ma.count_masked(cells))
    note(ax, f"n = {cells.size} cells" + (f", {empty} without a value (hatched)" if empty else ""))
    return mesh


def _draw_cells(ax: Axes, edges: Any, cells: Any, cmap: str, limits: Any) -> QuadMesh:
    """Draw the cells over a hatched ground that shows where there is no value."""
    ax.set_facecolor("#f3f3f3")
    ax.patch.set_hatch("////")
    ax.patch.set_edgecolor("#b0b0b0")
    ax.grid(False)
    mesh = ax.pcolormesh(*edges, cells, cmap=cmap, vmin=limits[0], vmax=limits[1], shading="flat")
    mesh.set_rasterized(cells.size > _RASTER_CELLS)
    return mesh


def _draw_boundaries(ax: Axes, boundaries: Mapping[str, tuple[Any, Any]]) -> None:
    """Draw white lines with a dark halo: they show on every colour and in grey."""
    from matplotlib.patheffects import Normal, Stroke

    for position, (name, (x, y)) in enumerate(boundaries.items()):
        line = ax.plot(x, y, color="white", lw=1.4, label=name, zorder=4)[0]
        line.set_linestyle(_BOUNDARY_LINES[position % len(_BOUNDARY_LINES)])
        line.set_path_effects([Stroke(linewidth=3.0, foreground="black"), Normal()])
    if boundaries:
        frame = ax.legend(loc="best", facecolor="#6e7781", labelcolor="white", framealpha=0.9)
        frame.set_zorder(5)


def forest(
    ax: Axes,
    metrics: Mapping[str, Any],
    *,
    reference: float | Mapping[str, float] | None = None,
    accepted: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    methods: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    reference_label: str = "published",
    level: float = 0.95,
) -> None:
    """Draw measured intervals one below the other against the value each is held to.

    Args:
        metrics: name -> anything with value, low, high and n, drawn from top to bottom.
        reference: the value to compare with, one for all or one by name.
        accepted: the range that counts as agreement, shaded; one for all or one by name.
        methods: name -> the method whose look it takes; a name that is a method needs none.
        labels: name -> text beside the axis.
        level: what the intervals cover, for the note.
    """
    names = list(metrics)
    who = {name: (methods or {}).get(name, name) for name in names}
    looks = looks_for(who.values())
    for row, name in enumerate(names):
        entry = reference_label if row == 0 else None
        _draw_target(ax, row, _of(accepted, name), _of(reference, name), entry)
        _draw_interval(ax, row, metrics[name], looks[who[name]])
    ax.set_yticks(range(len(names)), [(labels or {}).get(name, label(name)) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(False, axis="y")
    shade = "; shaded: accepted range" if accepted is not None else ""
    note(ax, f"bars: {100 * level:g} % interval, n beside each{shade}")


def _of(given: Any, name: str) -> Any:
    """Return what is given for a name: one thing for all, or one by name."""
    return given.get(name) if isinstance(given, Mapping) else given


def _draw_target(ax: Axes, row: int, accepted: Any, target: Any, entry: str | None) -> None:
    """Draw what one interval is held to."""
    ends = [row - 0.38, row + 0.38]
    if accepted is not None:
        ax.fill_betweenx(ends, *accepted, color="#cfe8d5", lw=0, zorder=1)
    if target is not None:
        ax.plot([target] * 2, ends, color=PUBLISHED, lw=3.2, alpha=0.8, label=entry, zorder=1.5)


def _draw_interval(ax: Axes, row: int, metric: Any, look: Look) -> None:
    """Draw one value with its interval and print n at the right edge."""
    finite = bool(np.isfinite([metric.value, metric.low, metric.high]).all())
    if finite:
        style: dict[str, Any] = {
            "color": look.colour,
            "marker": look.marker,
            "lw": 1.8,
            "ms": 6,
            "mew": 0.6,
        }
        ends = np.maximum([[metric.value - metric.low], [metric.high - metric.value]], 0)
        ax.errorbar([metric.value], [row], xerr=ends, capsize=3, mec="white", zorder=3, **style)
    text = (f"n = {metric.n}" if metric.n else "exact") if finite else "no value"
    ax.annotate(
        text,
        xy=(1, row),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=MUTED,
        annotation_clip=False,
    )


def strip(
    ax: Axes,
    table: pd.DataFrame,
    x: str = "arm",
    y: str = "value",
    *,
    order: Sequence[str] | None = None,
    methods: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    unit: str = "seed",
) -> None:
    """Draw every member as a point and, from five members on, a box of quartiles behind them.

    Args:
        table: tidy rows, one per (x, unit); filter by quantity and step first.
        order: which groups, left to right; sorted by name unless given.
        methods, labels: group -> the method whose look it takes, and its text.
    """
    missing = [name for name in (x, y) if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r} (it has: {', '.join(map(str, table))})"
        )
    names = list(order) if order is not None else sorted(map(str, table[x].unique()))
    looks = looks_for([(methods or {}).get(name, name) for name in names])
    sizes, lost = [], 0
    for place, name in enumerate(names):
        values = table.loc[table[x].astype(str) == name, y].to_numpy(float)
        good = values[np.isfinite(values)]
        sizes.append(len(values))
        lost += len(values) - len(good)
        _draw_group(ax, place, good, looks[(methods or {}).get(name, name)], label(name))
    ax.set_xticks(range(len(names)), [(labels or {}).get(name, label(name)) for name in names])
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.grid(False, axis="x")
    if sizes:
        number = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        boxes = "; box: quartiles, line: median" if max(sizes) >= 5 else "; line: median"
        note(ax, f"n = {number} {unit}s each" + boxes + f"; {lost} diverged" * bool(lost))


def _draw_group(ax: Axes, place: int, values: np.ndarray, look: Look, name: str) -> None:
    """Draw the points of one group, spread evenly (never at random), and their box."""
    if values.size == 0:
        return
    if values.size >= 5:
        ax.boxplot([values], positions=[place], widths=0.55, showfliers=False, patch_artist=True,
                   boxprops={"facecolor": look.colour, "alpha": 0.22, "edgecolor": look.colour},
                   medianprops={"color": INK}, whiskerprops={"color": look.colour},
                   capprops={"color": look.colour}, manage_ticks=False)  # fmt: skip
    else:
        ax.plot([place - 0.27, place + 0.27], [np.median(values)] * 2, color=INK, lw=1.3)
    spread = 0.18 * ((np.arange(values.size) * 0.618034) % 1.0 - 0.5) * 2
    ax.plot(place + spread, values, linestyle="none", marker=look.marker, color=look.colour,
            ms=4.5, mec="white", mew=0.5, zorder=3, label=f"_{name}")  # fmt: skip
