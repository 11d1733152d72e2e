"""Pictures of Figure 1: index against error, spectra, thresholds, residuals and the control."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.papers.dauphin2014saddle import critical_table as places_of
from reproductions.papers.dauphin2014saddle.critical_measures import spearman

PARAMETERS = {"mnist": 5560, "cifar": 9085}
LEVELS = ("low", "middle", "high")
LOOKS = {kind: style.series(place) for place, kind in enumerate(places_of.KINDS)}
LINEAR_BELOW = 1e-3  # training error
SMALLEST_SHOWN = 1e-12  # nat: gradient norms below are drawn there


def scatter(table: Any, data: str) -> Any:
    """Draw index against error where the searches end, over the published points."""
    figure, ax = style.new_figure(height=4.3)
    end = places_of.places(table, "end")
    _published(ax, data)
    _points(ax, end, places_of.index_name(places_of.fine(table)))
    _axes(ax, data)
    _say(ax, table, data)
    style.note(ax, f"eigenvalues below -{places_of.fine(table):g} nat count; {_lost(end)}")
    style.legend(ax)
    return figure


def control(table: Any, data: str) -> Any:
    """Draw the same where the searches start, beside where they end."""
    figure, axes = style.new_figure(1, 2, width=9.4, height=4.4, sharex=True, sharey=True)
    column = places_of.index_name(places_of.fine(table))
    for ax, where in zip(axes, ("start", "end"), strict=True):
        found = places_of.places(table, where)
        _published(ax, data)
        _points(ax, found, column)
        _axes(ax, data)
        ax.set_title(f"where searches {where}: rank correlation {_rank(found, column)}")
        style.note(ax, _lost(found))
        style.note(ax, _by_arm(found, column))
    _say(axes[0], table, data)
    style.legend(figure)
    return figure


def thresholds(table: Any, data: str) -> Any:
    """Draw index against error at every threshold, a panel each."""
    levels = places_of.thresholds(table)
    columns = min(2, len(levels))
    rows = -(-len(levels) // columns)
    figure, axes = style.new_figure(
        rows, columns, width=4.7 * columns, height=3.3 * rows, squeeze=False, sharex=True,
        sharey=True,
    )  # fmt: skip
    end = places_of.places(table, "end")
    for ax, level in zip(axes.flat, levels, strict=False):
        column = places_of.index_name(level)
        _points(ax, end, column)
        _axes(ax, data)
        ax.tick_params(labelbottom=True, labelleft=True)
        said = f"below -{level:g} nat" if level else "below zero"
        ax.set_title(f"{said}: rank correlation {_rank(end, column)}")
        style.note(ax, f"mean index {end[column].mean():.3g}")
    for ax in axes.flat[len(levels) :]:
        ax.set_axis_off()
    kernel = int(end.kernel_eigenvalues.min()) if end.kernel_eigenvalues.notna().any() else 0
    style.note(
        axes[0, 0],
        f"at least {kernel} of {places_of.parameters(table)} eigenvalues are zero but for rounding",
    )
    style.legend(figure)
    return figure


def residuals(table: Any) -> Any:
    """Draw the gradient norm and the relative residual at both ends of the searches."""
    figure, ax = style.new_figure(height=4.4)
    for where, filled in (("start", False), ("end", True)):
        found = places_of.places(table, where)
        for place, (arm, own) in enumerate(found.groupby("arm")):
            look = style.series(place)
            norm = np.maximum(own.gradient_norm, SMALLEST_SHOWN)
            ax.plot(norm, own.relative_residual, look.marker, color=look.colour, ms=5.5, alpha=0.8,
                    mfc=look.colour if filled else "none", mec="white" if filled else look.colour,
                    mew=0.5 if filled else 0.9,
                    label=f"{where}, {places_of.ARMS.get(str(arm), arm)}")  # fmt: skip
    style.reference(ax, None, places_of.FLAT, "gradient in the kernel above", kind="derived")
    ax.axvline(1.0, alpha=0)  # an axis of logarithms needs a number where every search failed
    ax.set_xscale("log")
    ax.set(xlabel="gradient norm (nat)", ylabel="relative residual $|Hp + g| / |g|$")
    ax.set_ylim(-0.04, 1.06)
    end = places_of.places(table, "end")
    style.note(ax, f"{_counts(end)}; {_lost(end)}")
    style.note(ax, "a critical point also has a Newton step of at most 0.1")
    style.legend(figure)
    return figure


def spectra(table: Any, data: str) -> Any:
    """Draw three densities of eigenvalues, one a panel, beside the published ones."""
    figure, axes = style.new_figure(1, 3, width=10.5, height=3.9, sharex=True, sharey=True)
    theirs = places_of.published_spectra(data)
    left = min(float(bins.left.min()) for _, bins in theirs)
    right = max(float(bins.right.max()) for _, bins in theirs)
    for ax, level, (error, bins) in zip(axes, LEVELS, theirs, strict=True):
        _stairs(ax, bins)
        width = float((bins.right - bins.left).min())  # the published bins, where not joined
        edges = np.arange(np.floor(2 * left / width), np.ceil(right / width) + 1) * width
        title = _own_spectrum(ax, table, level, edges)
        ax.axvline(0, color="black", lw=0.8)
        ax.set(title=title, xlabel="eigenvalue (nat)", yscale="log")
        style.note(ax, f"published: error {error:.4f}")
    axes[0].set_ylabel("density (1/nat)")
    axes[0].set_xlim(2 * left - 0.02 * right, 1.02 * right)
    style.note(axes[0], _sizes(table, data))
    style.legend(figure)
    return figure


def _stairs(ax: Any, bins: Any) -> None:
    """Draw published bins, which may have gaps."""
    ordered = bins.sort_values("left")
    ax.bar(ordered.left, ordered.density, ordered.right - ordered.left, align="edge",
           color=style.PUBLISHED, alpha=0.45, lw=0, label="published")  # fmt: skip


def _own_spectrum(ax: Any, table: Any, level: str, edges: np.ndarray) -> str:
    """Draw our spectrum of a level, and return what the panel is called."""
    rows = table[table.quantity == "eigenvalue"]
    rows = rows[rows.level == level] if len(rows) else rows
    if not len(rows):
        return f"{level} error: no spectrum"
    values = rows.value.to_numpy()
    density = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
    look = style.series(0)
    ax.stairs(density, edges, color=look.colour, lw=1.4, label="ours")
    outside = int(((values < edges[0]) | (values > edges[-1])).sum())
    end = places_of.places(table, "end")
    own = end[(end.arm == rows.arm.iloc[0]) & (end.seed == rows.seed.iloc[0])].iloc[0]
    style.note(ax, f"ours: {own.kind}, {outside} of {len(values)} eigenvalues outside")
    style.note(ax, f"from {own.smallest_eigenvalue:.3g} to {own.largest_eigenvalue:.3g} nat")
    return f"{level}: error {own.train_error:.3f}"


def _published(ax: Any, data: str) -> None:
    points = places_of.published_points(data)
    ax.plot(points["index"], points.train_error, "o", color=style.PUBLISHED, ms=4.5, alpha=0.55,
            mew=0, zorder=1.5, label=f"published, n = {len(points)}")  # fmt: skip


def _points(ax: Any, found: Any, column: str) -> None:
    """Draw the places of every kind in its look; a kind without a place is in the legend too."""
    for kind, look in LOOKS.items():
        own = found[found.kind == kind]
        ax.plot(own[column], own.train_error, look.marker, color=look.colour, ms=5.5, alpha=0.85,
                mec="white", mew=0.5, zorder=2.5, label=f"ours, {kind}")  # fmt: skip


def _axes(ax: Any, data: str) -> None:
    """Name the axes; MNIST's errors span three decades, and may be zero."""
    ax.set(xlabel="index: fraction of negative eigenvalues", ylabel="training error (fraction)")
    ax.set_xlim(left=0)
    if data == "mnist":
        least = min(float(line.get_ydata().min(initial=1)) for line in ax.lines)
        ax.set_yscale("symlog", linthresh=LINEAR_BELOW)
        ax.set_ylim(0 if least < LINEAR_BELOW else 10 ** np.floor(np.log10(least)), 1.3)


def _say(ax: Any, table: Any, data: str) -> None:
    style.note(ax, _sizes(table, data))
    style.note(ax, f"ends by kind: {_counts(places_of.places(table, 'end'))}")


def _sizes(table: Any, data: str) -> str:
    own = places_of.parameters(table)
    same = own == PARAMETERS[data]
    return f"ours: {own} parameters" + ("" if same else f", published: {PARAMETERS[data]}")


def _counts(found: Any) -> str:
    number = {kind: int((found.kind == kind).sum()) for kind in places_of.KINDS}
    return ", ".join(f"{kind}: {count}" for kind, count in number.items())


def _lost(found: Any) -> str:
    lost = int(found.train_error.isna().sum())
    return f"n = {len(found)} searches" + f", {lost} diverged" * bool(lost)


def _by_arm(found: Any, column: str) -> str:
    """Say the rank correlation of every kind of start, where there are several."""
    arms = list(found.groupby("arm"))
    said = [f"{places_of.ARMS.get(str(arm), arm)}: {_rank(own, column)}" for arm, own in arms]
    return ", ".join(said) if len(arms) > 1 else ""


def _rank(found: Any, column: str) -> str:
    whole = found[np.isfinite(found.train_error)]
    if len(whole) < 3:
        return "unknown"
    return f"{float(spearman(whole[[column, 'train_error']].to_numpy().T)):.2f}"
