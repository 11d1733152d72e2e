"""Pictures of the training curves, of the step sizes they were made with, and of the test error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.neyshabur2015path.curve_measures import (
    METHODS,
    STARTS,
    area,
    neighbours,
    test_gap,
)

PANELS = {
    "train_loss": "training cross-entropy (nat)",
    "train_error": "training 0/1 error (fraction)",
    "test_error": "test 0/1 error (fraction)",
}
HIGHEST_ERROR = 0.95  # where a choice without a mean is marked
DASHES = {"balanced": "-", "unbalanced": (0.0, (2.2, 1.3))}


def look(arm: str, start: str) -> style.Look:
    """Return the colour and marker of a method with the line of a start."""
    return style.look(arm)._replace(linestyle=DASHES[start])


def named(table: Any) -> tuple[Any, dict[str, style.Look], dict[str, str]]:
    """Return the table with a column `curve`, and the looks and labels of its curves."""
    looks = {f"{arm} {start}": look(arm, start) for arm in METHODS for start in STARTS}
    labels = {
        f"{arm} {start}": f"{style.label(arm)}, {start}" for arm in METHODS for start in STARTS
    }
    return table.assign(curve=table.arm + " " + table.start.fillna("")), looks, labels


def row(table: Any) -> Any:
    """Draw the three panels of a row of Figure 2 or 3."""
    figure, axes = style.new_figure(1, 3, height=4.1)
    marked, looks, labels = named(table)
    for ax, (quantity, text) in zip(axes, PANELS.items(), strict=True):
        rows = select(marked, quantity=quantity)
        lines = style.plot_curves(ax, rows, hue="curve", order=list(looks), looks=looks,
                                  labels=labels, yscale="log")  # fmt: skip
        lines["path_sgd balanced"].set(linewidth=4.5, alpha=0.5)  # under the other of the pair
        ax.set(xlabel="epoch", ylabel=text)
        _floor(ax, rows)
    style.legend(figure, columns=3)
    return figure


def _floor(ax: Any, rows: Any) -> None:
    """Let the axis end at the smallest drawn mean: an error of no image has no logarithm."""
    means = rows[rows.status == "ok"].groupby(["curve", "step"]).value.mean()
    positive = means[means > 0]
    if len(positive):
        ax.set_ylim(bottom=0.85 * float(positive.min()), top=1.15 * float(positive.max()))


def selection(tables: Mapping[str, Any]) -> Any:
    """Draw the smallest validation error against the step size, one panel a table."""
    lines = -(-len(tables) // 4)  # of four panels at most
    figure, axes = style.new_figure(
        lines, -(-len(tables) // lines), squeeze=False, height=0.2 + 3.7 * lines, sharey=True
    )
    for ax in axes.flat[len(tables) :]:
        ax.remove()
    for ax, (title, table) in zip(axes.flat, tables.items(), strict=False):
        errors = select(table, quantity="validation_error")
        for arm in METHODS:
            for start in STARTS[: 1 if arm == "path_sgd" else 2]:
                _tried(ax, select(errors, arm=arm, start=start), table, arm, start)
        ax.set(title=title, xlabel="alpha of the step size 10^-alpha")
        ax.set_xticks(sorted(errors.alpha.unique()))
        style.note(
            ax,
            "smallest over epochs, mean over seeds; missing: a seed diverged; rings: chosen",
        )
    for ax in axes[:, 0]:
        ax.set_ylabel("validation error (fraction)")
    style.legend(figure, columns=5)
    return figure


def _tried(ax: Any, rows: Any, table: Any, arm: str, start: str) -> None:
    found = by_seed(rows, "alpha", "step").min(1).mean(1)  # nan where a seed diverged
    at, chosen = np.unique(rows.alpha), select(table, quantity="chosen_alpha", arm=arm, start=start)
    own = look(arm, start)
    ax.plot(at, found, color=own.colour, ls=own.linestyle, marker=own.marker,
            mec="white", mew=0.5, label=f"{style.label(arm)}, {start}")  # fmt: skip
    # a choice of which another seed diverged has no mean: it is marked at the top of the axis
    for alpha, times in chosen.value.value_counts().items():
        height = found[at.tolist().index(alpha)]
        ax.plot(alpha, height if np.isfinite(height) else HIGHEST_ERROR, "o", ms=7 + 2 * times,
                mfc="none", mec=own.colour, mew=1.3)  # fmt: skip


def finer_grid(tables: Mapping[str, Any]) -> Any:
    """Draw the log-loss area at the chosen step size and half a decade to either side."""
    figure, axes = style.new_figure(1, len(tables), squeeze=False, height=3.7)
    gap = "\n" if len(tables) > 3 else " "
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        for arm in ("sgd", "path_sgd"):
            areas = [area(table, one, "balanced") for one in neighbours(arm)]
            _areas(ax, dict(zip((0.0, 0.5, -0.5), areas, strict=True)), arm)
        ax.set(
            title=title, xlabel=f"decades from the{gap}step size of the rule", xticks=[-0.5, 0, 0.5]
        )
        count = table.seed.nunique()
        style.note(
            ax, f"mean over n = {count} seeds, bars: smallest to largest; ring: the rule's choice"
        )
    axes[0][0].set_ylabel("mean log training loss (nat)")
    style.legend(figure)
    return figure


def _areas(ax: Any, found: Mapping[float, np.ndarray], arm: str) -> None:
    at, own = sorted(found), style.look(arm)
    mean = np.array([found[alpha].mean() for alpha in at])
    ends = [[abs(of(found[a]) - found[a].mean()) for a in at] for of in (np.min, np.max)]
    ax.errorbar(at, mean, yerr=ends, color=own.colour, ls=own.linestyle, marker=own.marker, ms=7,
                mec="white", mew=0.5, capsize=3, label=style.label(arm))  # fmt: skip
    ax.plot(0, mean[at.index(0)], "o", ms=14, mfc="none", mec=own.colour, mew=1.3)


def final_test(tables: Mapping[str, Any]) -> Any:
    """Draw the final test error of Path-SGD minus those of SGD and AdaGrad, with intervals."""
    figure, ax = style.new_figure(height=1.6 + 0.42 * 2 * len(tables))
    metrics = {
        f"{title}, minus {style.label(other)}": test_gap(table, other)
        for title, table in tables.items()
        for other in ("sgd", "adagrad")
    }
    methods = {name: "sgd" if name.endswith("SGD") else "adagrad" for name in metrics}
    style.forest(ax, metrics, methods=methods)
    ax.axvline(0, color="black", lw=0.9)
    ax.set(xlabel="final test error, Path-SGD minus the other (fraction)")
    return figure


def overview(tables: Mapping[str, Any]) -> Any:
    """Draw the gap of the areas between starts, for every method and table."""
    many = len(tables) > 4
    figure, ax = style.new_figure(height=3.6, width=10.0 if many else None)
    width = 0.26
    for number, arm in enumerate(METHODS):
        gaps = [
            area(table, arm, "unbalanced") - area(table, arm, "balanced")
            for table in tables.values()
        ]
        at = np.arange(len(tables)) + (number - 1) * width
        own = style.look(arm)
        ax.bar(at, [g.mean() for g in gaps], width * 0.9, color=own.colour, alpha=0.55,
               label=style.label(arm))  # fmt: skip
        for place, values in zip(at, gaps, strict=True):
            ax.plot(np.full(len(values), place), values, own.marker, color=own.colour, ms=4,
                    mec="white", mew=0.4)  # fmt: skip
    ax.axhline(0, color="black", lw=0.8)
    titles = [title.replace(", ", "\n" if many else ", ") for title in tables]
    ax.set_xticks(range(len(tables)), titles)
    ax.set_ylabel("log-loss area, unbalanced\nminus balanced (nat)")
    ax.grid(False, axis="x")
    style.note(
        ax,
        "points: seeds; bars: their mean; 0.69 is twice the loss throughout; a run that diverged counts as untrained from there on",
    )
    style.legend(ax)
    return figure
