"""Annealing beside SGD: what Figure 6 and the test of redundancy measure, and their pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, over_seeds, trend
from reproductions.harness.tables import by_seed, select
from reproductions.papers.choromanska2015loss import published

ACCEPTED = 0.025  # accuracy that three-valued weights may lose
ANNEALING, TERNARY = "annealing", "ternary"
NAMES = {"sgd": "SGD", ANNEALING: "annealing", TERNARY: "weights -1, 0, 1"}
THEIR_STEPS = 70_000
THEIRS = {"sgd": "SGD_nh", ANNEALING: "SA_nh"}


def measure(table: Any) -> dict[str, Metric]:
    """Measure Figure 6: mean test losses of both, their gap, and both over the published means."""
    found: dict[str, Metric] = {}
    for width in widths(table):
        ours = {arm: ends(table, arm, "test_loss", width) for arm in (ANNEALING, "sgd")}
        found[f"annealing_gap_{width}"] = difference(ours[ANNEALING], ours["sgd"])
        for arm, values in ours.items():
            found[f"{arm}_test_loss_{width}"] = over_seeds(values)
            theirs = moments(arm, width)
            if theirs is not None:
                found[f"{arm}_published_ratio_{width}"] = over_seeds(values / theirs[0])
    rows = select(table, arm="sgd", quantity="test_loss")
    if rows.width.nunique() > 1:
        found["sgd_loss_trend"] = trend(by_seed(rows, "width"), "decreasing")
    return found


def measure_redundancy(table: Any) -> dict[str, Metric]:
    """Measure what limiting weights to three values costs."""
    ternary, sgd = (ends(table, arm, "test_error") for arm in (TERNARY, "sgd"))
    return {
        "ternary_accuracy_lost": difference(ternary, sgd),
        "ternary_test_error": over_seeds(ternary),
        "sgd_test_error_small": over_seeds(sgd),
    }


def widths(table: Any) -> list[int]:
    """Return the hidden widths of a table, ascending."""
    return [int(width) for width in np.unique(table.width)]


def ends(table: Any, arm: str, quantity: str, width: int | None = None) -> np.ndarray:
    """Return a final quantity of every run of an arm, (seeds,)."""
    where = {} if width is None else {"width": width}
    return by_seed(select(table, arm=arm, quantity=quantity, **where))


def moments(arm: str, width: int) -> tuple[float, float] | None:
    """Return mean and standard deviation of a published histogram; None where there is none."""
    column = f"{THEIRS[arm]}={width}"
    if column not in published.points("fig6_SGD_vs_SA"):
        return None
    return published.moments("fig6_SGD_vs_SA", column)


def difference(a: np.ndarray, b: np.ndarray) -> Metric:
    """Return mean(a) - mean(b) of independent samples.

    The distances of the interval's ends are those of both bootstrap intervals, added in quadrature
    (Zou and Donner 2008: recovery of variance estimates), so that samples may differ in size.
    """
    one, other = over_seeds(a), over_seeds(b)
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    notes = dict.fromkeys(note for note in (one.note, other.note) if note)
    return Metric(value, low, high, min(one.n, other.n), "sample", "; ".join(notes))


def comparison(table: Any) -> Any:
    """Draw the test losses of both methods by width, ours and the published ones."""
    at = widths(table)
    columns = min(len(at), 2 if len(at) in (2, 4) else 3)
    figure, axes = style.new_figure(
        -(-len(at) // columns), columns, squeeze=False, sharey=True, width=3.4 * columns + 0.6
    )
    for ax, width in zip(axes.flat, at, strict=False):
        _distributions(ax, table, width)
    for ax in axes.flat[len(at) :]:
        ax.set_axis_off()
    style.legend(figure)
    return figure


def _distributions(ax: Any, table: Any, width: int) -> None:
    """Draw four distributions one below the other: published and ours, of either method."""
    sizes = []
    for row, arm in enumerate(("sgd", ANNEALING)):
        values = ends(table, arm, "test_loss", width)
        values = values[np.isfinite(values)]
        sizes.append(f"{len(values)} {NAMES[arm]}")
        if moments(arm, width) is not None:
            _published_row(ax, arm, width, row)
        _own_row(ax, values, _look(arm), row + 0.5, f"{NAMES[arm]}, ours")
    ax.set(title=f"{width} hidden units", xlabel="test loss (nat)", ylim=(1.85, -0.45))
    ax.set_yticks([0, 0.5, 1, 1.5], ["SGD\npublished", "ours", "annealing\npublished", "ours"])
    ax.grid(False, axis="y")
    style.note(ax, f"n = {' and '.join(sizes)} runs of ours")
    style.note(
        ax, f"annealing: {_steps(table)} steps of ours, {THEIR_STEPS} in the authors' script"
    )


def _published_row(ax: Any, arm: str, width: int, row: float) -> None:
    """Draw a published histogram as an area standing on its row."""
    left, right, counts = published.histogram("fig6_SGD_vs_SA", f"{THEIRS[arm]}={width}")
    used = np.flatnonzero(counts)
    span = slice(used[0], used[-1] + 1)
    edges = np.append(left[span], right[span][-1])
    ax.stairs(row + 0.2 - 0.45 * counts[span] / counts.max(), edges, baseline=row + 0.2, fill=True,
              color=style.PUBLISHED, alpha=0.6, label="published, 1000 runs")  # fmt: skip


def _own_row(ax: Any, values: np.ndarray, look: Any, row: float, label: str) -> None:
    """Draw every run of ours as a point, and their mean as an upright."""
    shift = 0.3 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
    ax.plot(values, row + shift, look.marker, color=look.colour, ms=4, mec="white", mew=0.4,
            alpha=0.8, label=label)  # fmt: skip
    if len(values):
        ax.plot([values.mean()] * 2, [row - 0.22, row + 0.22], color=look.colour, lw=1.8)


def _steps(table: Any) -> int:
    """Return how many steps the chains took."""
    return int(select(table, quantity="best_train_loss").step.max())


def _look(arm: str) -> Any:
    return style.look("sgd") if arm == "sgd" else style.series(0)


def courses(table: Any) -> Any:
    """Draw the best training loss of the chains against the step, over what SGD reaches."""
    at = widths(table)
    rows = select(table, arm=ANNEALING, quantity="best_train_loss")
    rows = rows.assign(width=rows.width.map(lambda width: f"n = {int(width)}"))
    names = [f"n = {width}" for width in at]
    looks = {name: style.series(number) for number, name in enumerate(names)}
    figure, ax = style.new_figure()
    style.plot_curves(ax, rows, hue="width", order=names, looks=looks, yscale="log")
    last = rows.step.max()
    for width, name in zip(at, names, strict=True):
        level = float(np.mean(ends(table, "sgd", "train_loss", width)))
        ax.plot([0, last], [level] * 2, color=looks[name].colour, lw=0.9, ls=(0, (1, 2)))
        ax.annotate(f"SGD, {name}", (last, level), xytext=(4, 0), textcoords="offset points",
                    va="center", fontsize=8, color=looks[name].colour)  # fmt: skip
    ax.set(xlabel="step of annealing", ylabel="lowest training loss so far (nat)")
    _plain_ticks(ax)
    style.note(ax, "dotted: mean training loss of SGD at its end")
    style.legend(ax, loc="lower left")
    return figure


def redundancy(table: Any) -> Any:
    """Draw the test error of three-valued weights beside SGD's, and how the chains got there."""
    figure, (ax, course) = style.new_figure(1, 2, width=9.2, height=3.8)
    errors = select(table, arm=["sgd", TERNARY], quantity="test_error")
    base = float(np.mean(ends(table, "sgd", "test_error")))
    ax.axhspan(base, base + ACCEPTED, color="#cfe8d5", lw=0, zorder=0.5)
    style.strip(ax, errors, order=["sgd", TERNARY], labels=NAMES)
    ax.set(ylabel="test error", ylim=(0, None))
    style.note(ax, f"shaded: up to {ACCEPTED:g} above the mean of SGD")
    _ternary_course(course, table)
    return figure


def _ternary_course(ax: Any, table: Any) -> None:
    """Draw the best training loss of the ternary chains."""
    rows = select(table, arm=TERNARY, quantity="best_train_loss")
    style.plot_curves(ax, rows, order=[TERNARY], looks={TERNARY: style.series(0)}, labels=NAMES,
                      yscale="log")  # fmt: skip
    level = float(np.mean(ends(table, "sgd", "train_loss")))
    look = style.look("sgd")
    ax.axhline(level, color=look.colour, lw=1.2, ls=(0, (1, 2)), label="SGD, real weights, its end")
    ax.set(xlabel="step of annealing", ylabel="lowest training loss so far (nat)")
    _plain_ticks(ax)
    style.legend(ax)


def _plain_ticks(ax: Any) -> None:
    """Label a logarithmic axis of losses by a few plain numbers."""
    low, high = ax.get_ylim()
    ticks = [base * 10.0**power for power in range(-3, 3) for base in (1, 2, 5)]
    ax.set_yticks([tick for tick in ticks if low <= tick <= high])
    ax.set_yticks([], minor=True)
    ax.yaxis.set_major_formatter("{x:g}")
