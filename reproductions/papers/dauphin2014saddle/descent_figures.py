"""Pictures of Figure 3, the reviewers' ablations and what the methods cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import select
from reproductions.papers.dauphin2014saddle import published
from reproductions.papers.dauphin2014saddle.descent_measures import (
    METHODS,
    lowest,
    methods,
    spent_in_search,
    widths,
)

TITLES = {"mnist": "MNIST", "cifar": "CIFAR-10"}
MINIMUM_SCALES = {"mnist": "log", "cifar": "linear"}  # of errors, as the paper draws them
LARGEST = 50  # hidden units of the published curves
FLOOR = 1e-7  # eigenvalues closer to zero are drawn here


def minimum(table: Any, data: str) -> Any:
    """Draw the lowest training error by hidden units."""
    import pandas as pd

    figure, ax = style.new_figure()
    rows = [
        {"arm": method, "width": width, "seed": seed, "value": value}
        for width in widths(table)
        for method in METHODS
        for seed, value in enumerate(lowest(table, width, method))
    ]
    frame, scale = pd.DataFrame(rows), MINIMUM_SCALES[data]
    style.plot_curves(ax, frame, x="width", order=METHODS, yscale=scale, say=False)
    counts = ", ".join(str(len(lowest(table, width, METHODS[0]))) for width in widths(table))
    style.note(ax, f"mean over n = {counts} starts (by size); band: smallest to largest")
    for method in METHODS:
        points = published.curve(published.MINIMUM, data, method)
        name = f"published, {style.label(method)}"
        style.reference(ax, points.units, points.train_error, name, method=method)
    ax.set(xlabel="hidden units", ylabel="lowest training error", title=TITLES[data])
    ax.set_xticks(sorted({5, 25, 50} | set(widths(table))))
    _finish(figure, ax)
    return figure


def curves(table: Any, data: str) -> Any:
    """Draw the training error by epoch at the largest size."""
    figure, ax = style.new_figure()
    large = widths(table)[-1]
    shown = select(table, width=large, quantity="train_error")
    style.plot_curves(ax, shown, order=METHODS, yscale="log")
    for method in METHODS:
        points = published.curve(published.CURVES, data, method)
        name = f"published, {style.label(method)}"
        style.reference(ax, points.epoch + 1, points.train_error, name, method=method)
    style.note(ax, f"published: {LARGEST} units, error after each epoch")
    ax.set(xlabel="epoch", ylabel="training error", title=f"{TITLES[data]}, {large} hidden units")
    _finish(figure, ax)
    return figure


def curvature(table: Any, data: str) -> Any:
    """Draw the most negative eigenvalue of the Hessian by epoch at the largest size."""
    figure, ax = style.new_figure()
    large = widths(table)[-1]
    shown = select(table, width=large, quantity="least_eigenvalue", arm=list(METHODS))
    shown = shown.assign(value=np.maximum(-shown["value"], FLOOR))
    style.plot_curves(ax, shown, order=METHODS, yscale="log")
    for method in METHODS:
        points = published.curve(published.MOST_NEGATIVE, data, method)
        name = f"published, {style.label(method)}"
        style.reference(ax, points.epoch, points.value, name, method=method)
    style.note(ax, f"published: {LARGEST} units; below {FLOOR:g} drawn there")
    ax.set(xlabel="epoch", ylabel="|most negative eigenvalue| (nat)")
    ax.set_title(f"{TITLES[data]}, {large} hidden units")
    _finish(figure, ax)
    return figure


def ablations(table: Any) -> Any:
    """Draw the training error and the damping of every second-order method."""
    figure, axes = style.new_figure(1, 2, height=3.9)
    large = widths(table)[-1]
    order = [method for method in methods(table, large) if method != "momentum"]
    shown = select(table, width=large, quantity="train_error", arm=order)
    style.plot_curves(axes[0], shown, order=order, yscale="log")
    axes[0].set(xlabel="epoch", ylabel="training error", title=f"{large} hidden units")
    damped = [method for method in order if method != "newton"]
    shown = select(table, width=large, quantity="damping", arm=damped)
    shown = shown.assign(value=np.log10(shown["value"].where(shown["value"] > 0)))
    style.plot_curves(axes[1], shown, order=damped)
    axes[1].set(xlabel="epoch", ylabel="log10 of the damping (nat)", title="Damping that was best")
    style.legend(figure)
    return figure


def costs(table: Any) -> Any:
    """Draw the training error against gradient evaluations and against seconds."""
    figure, axes = style.new_figure(1, 2, height=3.9, sharey=True)
    large = widths(table)[-1]
    for ax, quantity, text in (
        (axes[0], "gradients", "gradients of the whole set"),
        (axes[1], "seconds", "seconds a network"),
    ):
        style.plot_curves(
            ax, _against(table, large, quantity), x="spent", order=METHODS, xscale="log",
            yscale="log",
        )  # fmt: skip
        ax.set(xlabel=text, title=f"{large} hidden units")
    passes = spent_in_search(table, large)
    style.reference(axes[0], passes, None, "momentum's whole search", kind="derived")
    axes[0].set_ylabel("training error")
    style.legend(figure)
    return figure


def _against(table: Any, width: int, quantity: str) -> Any:
    """Return training errors with what had been spent by then, from the first epoch on."""
    own = select(table, width=width, arm=list(METHODS))
    error, spent = (select(own, quantity=name) for name in ("train_error", quantity))
    keys = ["arm", "seed", "step"]
    together = error.merge(spent[[*keys, "value"]].rename(columns={"value": "spent"}), on=keys)
    return together[together["step"] > 0]


def _finish(figure: Any, ax: Any) -> None:
    """Put the legend of six curves below the picture."""
    style.legend(figure, columns=2)
