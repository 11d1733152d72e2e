"""Panels that several of the room's figures share."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import read_points, select
from reproductions.papers.reddi2018adam import analysis, comparison

RATES = ("adam", "amsgrad", "amsgrad_torch", "amsgrad_optax", "adagrad", "adamnc", "sgd")
FIGURE_1 = (*RATES[:-1], "sgd_small")  # SGD with 0.5/sqrt(t) only bounces: gradients reach 1010
SMALL = {
    "labels": {"sgd_small": "SGD, step 50 times smaller"},
    "looks": {"sgd_small": style.look("sgd")},
}
NO_SEEDS = "deterministic: one run, no seeds"
PAPER_NAMES = {"adam": "Adam", "amsgrad": "AMSGrad"}


def iterate(table: Any, order: str, file: str) -> Any:
    """Draw the iterates of Figure 1 in one order of the losses, over the published ones."""
    figure, ax = style.new_figure()
    rows = select(table, quantity="iterate", order=order, arm=list(FIGURE_1))
    for arm, name in PAPER_NAMES.items():
        t, theirs = analysis.published(file, name)
        shown = t <= rows.step.max()
        if shown.any():
            style.reference(ax, t[shown], theirs[shown], f"published {name}", method=arm)
    rows = rows[rows.step > 100]
    style.plot_curves(ax, rows, order=FIGURE_1[2:], xscale="log", band="none", say=False, **SMALL)
    style.plot_curves(ax, rows, order=FIGURE_1[:2], xscale="log", say=order == "random")
    style.note(ax, "" if order == "random" else NO_SEEDS)
    ax.set(xlabel="step t", ylabel="iterate  $x_t$", ylim=(-1.1, 1.1))
    style.legend(figure)
    return figure


def curves(table: Any, panels: dict[str, str | None], *, beyond: bool = False) -> Any:
    """Draw losses of each method at its best setting over the published ones.

    Args:
        panels: quantity -> file of published points, if there is one.
        beyond: show the published curves where ours have ended too, on a logarithmic axis.
    """
    figure, axes = style.new_figure(1, len(panels))
    train = comparison.final_losses(table, "train_loss")
    for ax, (quantity, file) in zip(axes, panels.items(), strict=True):
        rows = select(table, quantity=quantity)
        rates, beta2s = np.unique(rows.learning_rate), np.unique(rows.beta2)
        for arm, name in PAPER_NAMES.items():
            rate, beta2 = comparison.best(train[arm])
            own = select(rows, arm=arm, learning_rate=rates[rate], beta2=beta2s[beta2])
            text = f"{name}, {rates[rate]:g}, beta2 {beta2s[beta2]:g}"
            style.plot_curves(ax, own, order=[arm], labels={arm: text}, yscale="log")
            if file:
                x, y = _published_losses(file, name)
                shown = x <= (np.inf if beyond else rows.step.max())
                if shown.any():
                    style.reference(ax, x[shown], y[shown], f"published {name}", method=arm)
        ax.set(xlabel="iteration", ylabel=quantity.replace("_", " ") + " (nat)")
        if beyond:
            ax.set_xscale("log")
    style.legend(figure)
    return figure


def _published_losses(file: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (iteration, loss) of a published curve of Figure 2, from either kind of file."""
    points = read_points(analysis.DIGITISED / file)
    if "curve" in points:
        points = points[points.curve == name]
        return points.iteration.to_numpy(), points.loss.to_numpy()
    return points.iteration.to_numpy(), points[name].to_numpy()


def grid(table: Any) -> Any:
    """Draw the final training loss over the grid of settings, one panel a beta2."""
    rows = select(table, quantity="train_loss")
    rows = rows[rows.step == rows.step.max()]
    beta2s = np.unique(rows.beta2)
    figure, axes = style.new_figure(1, len(beta2s), sharey=True, squeeze=False)
    for ax, beta2 in zip(axes[0], beta2s, strict=True):
        own = rows[rows.beta2 == beta2].assign(step=lambda frame: frame.learning_rate)
        style.plot_curves(ax, own, order=["adam", "amsgrad"], xscale="log", yscale="log",
                          band="range")  # fmt: skip
        ax.set(xlabel="step size alpha", title=f"beta2 = {beta2:g}")
    axes[0][0].set_ylabel("final training loss (nat)")
    style.legend(figure)
    return figure


def momentum_map(later_results: Any) -> Any:
    """Draw the map over (beta1, beta2), one panel a problem."""
    final = select(later_results, arm="momentum_map", quantity="final")
    problems = np.unique(final.n)
    figure, axes = style.new_figure(1, len(problems), squeeze=False)
    for ax, n in zip(axes[0], problems, strict=True):
        own = final[final.n == n].groupby(["beta2", "beta1"]).value.mean().unstack()
        roots = select(later_results, arm="momentum_map", quantity="critical_beta2", n=n)
        upper = roots.groupby("beta1").value.max()
        lower = roots[roots.groupby("beta1").value.transform("size") == 2]
        lower = lower.groupby("beta1").value.min()
        lines = {"exact boundary": (upper.index, upper)}
        if len(lower):
            lines["its lower branch"] = (lower.index, lower)
        style.phase_map(ax, own.columns.to_numpy(), own.index.to_numpy(), own.to_numpy(),
                        label="x at the end", boundaries=lines)  # fmt: skip
        ax.set(xlabel="beta1", ylabel="beta2", title=f"n = {n:g}")
        style.note(ax, f"mean over n = {final.seed.nunique()} seeds")
    return figure


def three_periodic(theorems: Any) -> Any:
    """Draw the average regret of Theorems 1 and 6 for the smallest and the largest C."""
    rows = select(theorems, theorem="1", quantity="average_regret")
    constants = np.unique(rows.constant)
    figure, axes = style.new_figure(1, 2, sharey=True)
    for ax, constant in zip(axes, (constants[0], constants[-1]), strict=True):
        share = rows.share.min()
        own = rows[(rows.constant == constant) & (rows.share == share) & (rows.step > 9)]
        own = own[own.arm != "adam_constant"]
        labels = {"adam_epsilon": "Adam, epsilon = 1"}
        looks = {"adam_epsilon": style.series(0)}
        order = ["adam", "adam_epsilon", "amsgrad", "adagrad", "sgd"]
        style.plot_curves(ax, own, order=order, xscale="log", labels=labels, looks=looks, say=False)
        style.note(ax, NO_SEEDS)
        floor = (2 * constant - 4) / 3
        style.reference(ax, None, floor, "floor of the proof", kind="derived")
        ax.set(xlabel="step t", title=f"C = {constant:g}")
        ax.set_yscale("symlog", linthresh=0.01)
    axes[0].set_ylabel("average regret  $R_t/t$")
    style.legend(figure)
    return figure


def periods(theorems: Any) -> Any:
    """Draw the period from which Adam fails beside the period that the proof asks for."""
    figure, ax = style.new_figure()
    small = select(theorems, quantity="smallest_period").sort_values(["beta2", "beta1"])
    ample = select(theorems, quantity="sufficient_period").sort_values(["beta2", "beta1"])
    names = [f"({row.beta1:g}, {row.beta2:g})" for row in small.itertuples()]
    place = np.arange(len(names))
    ax.plot(place, small.value, "o", color=style.look("adam").colour, label="truly fails from")
    ax.plot(
        place[: len(ample)], ample.value, "s", color="black", mfc="none", label="proof asks for"
    )
    for x, row in zip(place, small.itertuples(), strict=True):
        ax.annotate(f"{row.value:g}", (x, row.value), xytext=(7, 4), textcoords="offset points")
    ax.set(xlabel="(beta1, beta2)", ylabel="period C", yscale="log", xticks=place)
    ax.set_xticklabels(names)
    style.note(ax, "exact, no seeds")
    style.legend(ax)
    return figure
