"""Pictures of exactness, expectations, lines between networks, traces and histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.armenta2021teleport import shape_measures as measures

TOLERANCES = {"relative_change": 1e-13, "absolute_change": 1e-5}
PRECISIONS = {
    "relative_change": "float64: change over the largest output",
    "absolute_change": "float32: change of an output",
}
LEAST = 1e-17  # where a change of exactly 0 is drawn
LOSS, ACCURACY = "#08306b", "#a50f15"  # blue and red, as published
HIGHEST = 15.0  # nat, on the published axis
PANELS = {"plain": "A to B", "teleported": "T(A) to T'(B)"}
ARMS = {"plain": "A to B", "own": "A to T(A)", "teleported": "T(A) to T'(B)"}
NETS = {"initial": "initialisation", "small": "A, small batches", "large": "B, large batches"}
MEASURED = "at T(W), mean of draws"


def exactness(table: Any) -> Any:
    """Draw the change of outputs, network by network, beside the tolerances."""
    names = list(dict.fromkeys(table.arm))
    figure, axes = style.new_figure(1, 2, height=1.9 + 0.3 * len(names), sharey=True)
    texts = {"once": "one teleport", "repeated": "each of 10, undone between",
             "compounded": "each of 10 on top"}  # fmt: skip
    for ax, (quantity, text) in zip(axes, PRECISIONS.items(), strict=True):
        for number, protocol in enumerate(texts):
            own, rows = style.series(number), select(table, quantity=quantity, protocol=protocol)
            places = [names.index(arm) + 0.2 * (number - 1) for arm in rows.arm]
            ax.plot(np.maximum(rows.value, LEAST), places, ls="none", marker=own.marker, ms=4.5,
                    color=own.colour, mec="white", mew=0.4, label=texts[protocol])  # fmt: skip
        style.reference(ax, TOLERANCES[quantity], None, "tolerance", kind="derived")
        ax.set(xscale="log", xlabel=text, ylim=(len(names) - 0.5, -0.5))
    axes[0].set_yticks(range(len(names)), names)
    style.note(axes[0], "a point a network and seed: the largest change over inputs and outputs,"
               " and over the teleports of a sequence; exactly 0 drawn at 1e-17")  # fmt: skip
    style.legend(figure)
    return figure


def moments(table: Any) -> Any:
    """Draw mean factors of squared weights and gradients over their closed forms."""
    figure, axes = style.new_figure(1, 2, height=4.3, sharey=True)
    at = np.unique(select(table, quantity="factor").sigma)
    for ax, arm in zip(axes, ("weights", "gradient"), strict=True):
        for number, block in enumerate(measures.blocks(table)):
            own, values = style.series(number), measures.factors(table, arm, block)
            shifted = at + 0.012 * (number - 1.5)
            ax.plot(*measures.closed_form(at, values["expected"]), color=own.colour, lw=1.1,
                    ls=own.linestyle)  # fmt: skip
            ax.errorbar(shifted, values["mean"], yerr=3 * values["error"], color=own.colour, ls="none",
                        marker=own.marker, ms=6, mec="white", mew=0.5, capsize=2.5, label=block)  # fmt: skip
        ax.set(xlabel="range sigma of the change of basis", yscale="log", title=f"squared {arm}",
               xticks=at, yticks=[1, 2, 3, 5, 7], yticklabels=["1", "2", "3", "5", "7"])  # fmt: skip
        ax.minorticks_off()
    axes[0].set_ylabel("mean factor")
    seeds = table.seed.nunique()
    style.note(axes[0], f"points: Monte Carlo, n = {seeds} networks, bars: three standard errors;"
               " lines: closed forms A, A B and B")  # fmt: skip
    style.legend(figure)
    return figure


def figure_5(table: Any) -> Any:
    """Draw the two panels of Figure 5."""
    figure, axes = style.new_figure(1, 2, width=9.5, height=4.4, sharey=True)
    at = measures.alphas(table)
    for number, (ax, (arm, title)) in enumerate(zip(axes, PANELS.items(), strict=True)):
        right = ax.twinx()
        for name, line in (("train", "-"), ("test", "--")):
            for target, quantity, colour in ((ax, "loss", LOSS), (right, "accuracy", ACCURACY)):
                values = measures.curves(table, f"{name}_{quantity}", arm)
                # one line a seed first, for draws of one pair are no runs of their own
                each = values.mean(0)
                low, middle, high = np.percentile(each, [10, 50, 90], axis=1)
                target.plot(at, middle, color=colour, ls=line, label=f"{quantity}, {name}")
                if name == "train":
                    target.fill_between(at, low, high, color=colour, alpha=0.13, lw=0)
        ax.set(ylim=(0, HIGHEST), xlabel="alpha", title=title)
        right.set(ylim=(0, 1))
        right.grid(False)
        right.tick_params(axis="y", colors=ACCURACY, labelright=number == 1, right=number == 1)
        ax.tick_params(axis="y", colors=LOSS, left=number == 0)
        if number:
            right.set_ylabel("accuracy", color=ACCURACY)
        for end in (0, 1):
            ax.axvline(end, color=style.PUBLISHED, lw=0.8, zorder=1)
        said = "" if len(values) == 1 else f", each the mean of {len(values)} draws"
        style.note(ax, f"median and middle 0.8 of n = {each.shape[1]} seeds{said}; A at 0, B at 1")
    axes[0].set_ylabel("cross-entropy (nat)", color=LOSS)
    style.legend(figure, columns=4)
    return figure


def figure_5_barrier(table: Any) -> Any:
    """Draw barriers and curvatures pair by pair."""
    figure, axes = style.new_figure(1, 3, height=4.0)
    heights = {ARMS[arm]: measures.barriers(table, arm).mean(0) for arm in ARMS}
    _pairs(axes[0], heights)
    axes[0].set(ylabel="barrier of the training loss (nat)")
    for ax, unit in zip(axes[1:], (False, True), strict=True):
        columns = {}
        for side in measures.SIDES:
            for arm, title in PANELS.items():
                bent = measures.curvatures(table, arm, side)
                bent = bent / measures.distances(table, arm) if unit else bent
                columns[f"{title}\nat {'A' if side == 'small' else 'B'}"] = bent.mean(0)
        _pairs(ax, columns, step=2)
        lowest = min(values.min() for values in columns.values())
        ax.set(yscale="log" if lowest > 0 else "symlog")
        per = " over length²" if unit else ""
        ax.set_ylabel(f"curvature by alpha{per} (nat)")
    style.note(
        axes[0], f"a line a seed, n = {table.seed.nunique()}; draws of the change of basis averaged"
    )
    style.note(axes[1], "second derivative at the ends, kinks of the ReLU left out")
    style.note(axes[2], "the same, per unit of distance between the ends squared")
    return figure


def _pairs(ax: Any, columns: dict[str, np.ndarray], step: int | None = None) -> None:
    """Draw columns of values, those of one seed joined within groups of `step` columns."""
    names, values = list(columns), np.array(list(columns.values()))
    step = step or len(names)
    for first in range(0, len(names), step):
        for seed in range(values.shape[1]):
            span = range(first, first + step)
            ax.plot(
                span, values[first : first + step, seed], color=style.PUBLISHED, lw=0.9, zorder=2
            )
    for place in range(len(names)):
        own = style.series(place % step)
        ax.plot([place] * values.shape[1], values[place], ls="none", marker=own.marker,
                color=own.colour, ms=5, mec="white", mew=0.5, zorder=3)  # fmt: skip
    ax.set_xticks(range(len(names)), names, fontsize=7.5)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.grid(False, axis="x")


def hessian_trace(table: Any) -> Any:
    """Draw the trace of the Hessian layer by layer before and after a teleport."""
    figure, axes = style.new_figure(1, 3, height=4.0, sharey=True)
    for ax, (arm, title) in zip(axes, NETS.items(), strict=True):
        found = {
            "before": measures.traces(table, "trace", arm),
            MEASURED: measures.traces_by_draw(table, "trace_teleported", arm).mean(0),
        }
        expected = measures.traces(table, "trace_expected", arm)
        layers = np.arange(1, len(expected) + 1)
        for number, (text, values) in enumerate(found.items()):
            own = style.series(number)
            ends = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            ax.errorbar(layers + 0.1 * number, values.mean(1), yerr=ends, color=own.colour,
                        marker=own.marker, ms=6, mec="white", ls=own.linestyle, capsize=2, label=text)  # fmt: skip
        style.reference(ax, layers + 0.2, expected.mean(1), "closed form", kind="derived",
                        points=True)  # fmt: skip
        ratio = measures.growth(table, arm).mean()
        ax.set(yscale="log", xlabel="layer", title=title, xticks=layers)
        style.note(ax, f"whole trace, measured: times {ratio:.2f}")
    axes[0].set_ylabel("trace of the Hessian (nat)")
    style.note(axes[0], f"n = {table.seed.nunique()} seeds; bars: smallest to largest")
    style.legend(figure)
    return figure


def figure_11(table: Any) -> Any:
    """Draw densities of weights, as published and on an axis of logarithms."""
    figure, axes = style.new_figure(1, 2, height=4.0)
    for number, arm in enumerate(("default", "teleported", "same histogram")):
        density = by_seed(select(table, quantity="density", arm=arm), "index").mean(1)
        edges, own = np.linspace(-0.9, 0.9, len(density) + 1), style.series(number)
        middle = (edges[1:] + edges[:-1]) / 2
        for ax in axes:
            shown = np.where(density > 0, density, np.nan) if ax is axes[1] else density
            ax.plot(middle, shown, color=own.colour, ls=own.linestyle, lw=1.5, label=arm)
    axes[0].set(
        xlim=(-0.25, 0.25), ylim=(0, 30), xlabel="weight", ylabel="density", title="as published"
    )
    axes[1].set(xlim=(-0.9, 0.9), yscale="log", xlabel="weight", title="whole range")
    sizes = select(table, quantity="largest")
    largest = {arm: by_seed(select(sizes, arm=arm)).max() for arm in ("default", "teleported")}
    style.note(axes[0], f"n = {table.seed.nunique()} networks pooled; bins of 0.001")
    style.note(
        axes[1],
        f"largest weight: {largest['default']:.4f} before, {largest['teleported']:.2f} after",
    )
    style.legend(figure)
    return figure
