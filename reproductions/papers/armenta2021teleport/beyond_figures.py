"""Pictures of teleports that are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import select
from reproductions.papers.armenta2021teleport.beyond_measures import ARMS, FITTED

LOOKS = {
    "sgd": style.look("sgd"),
    "random": style.look("teleport"),
    **{arm: style.series(place) for place, arm in enumerate(ARMS[2:])},
}
NAMES = {
    "sgd": "SGD",
    "random": "random, at the start",
    "random_rates": "SGD, layers' mean rates of random",
    "symmetry_start": "symmetry, at the start",
    "symmetry_rates": "SGD, layers' mean rates of symmetry",
    "symmetry_early": "symmetry, early epochs",
    "level_start": "level set, at the start",
    "level_during": "level set, during training",
}
SMALL = {
    "plain": "no teleport",
    "code": "teleport, as the code has it",
    "steepest": "teleport to the steepest point",
    "exact": "teleport, exact on its batch",
}
SMALL_LOOKS = {
    "plain": style.look("sgd"), "code": style.series(1), "steepest": style.look("teleport"),
    "exact": style.series(2),
}  # fmt: skip
FLOOR, CEILING = 1e-12, 1e4  # losses beyond are drawn here


def small(table: Any) -> Any:
    """Draw the loss against the step on each small problem."""
    figure, axes = style.new_figure(2, 2, height=6.6)
    for ax, (problem, title) in zip(
        axes.flat,
        {
            "rosenbrock": "Rosenbrock", "booth": "Booth",
            "gd": "Leaky-ReLU network, gradient descent", "adagrad": "The same, AdaGrad",
        }.items(),
        strict=True,
    ):  # fmt: skip
        own = select(table, problem=problem, quantity="loss")
        own = own.assign(value=own["value"].clip(FLOOR, CEILING))
        order = [arm for arm in SMALL if (own["arm"] == arm).any()]
        style.plot_curves(
            ax, _medians(own), order=order, looks=SMALL_LOOKS, labels=SMALL, yscale="log",
            band="none", say=False,
        )  # fmt: skip
        for arm in order:
            _band(ax, own[own["arm"] == arm], SMALL_LOOKS[arm].colour)
        style.note(ax, f"median of n = {own['seed'].nunique()} seeds; band: middle 90 %")
        ax.set(xlabel="step", ylabel="loss", title=title)
    style.legend(figure)
    return figure


def curves(table: Any, title: str) -> Any:
    """Draw the training loss against epochs, gradients and seconds, each arm at its best rate."""
    figure, axes = style.new_figure(1, 3, height=4.6, sharey=True)
    shown = _at_best(table)
    scale = _scale(shown)
    for ax, (cost, text) in zip(
        axes,
        {
            "step": "epoch", "gradients": "gradients of all images, teleports included",
            "seconds": "seconds a network",
        }.items(),
        strict=True,
    ):  # fmt: skip
        spent = shown if cost == "step" else _against(shown, table, cost)
        style.plot_curves(
            ax, spent, x="step" if cost == "step" else "spent", order=ARMS, looks=LOOKS,
            labels=NAMES, yscale=scale, xscale="linear" if cost == "step" else "log",
            say=cost == "step", band="none",
        )  # fmt: skip
        ax.set(xlabel=text, title=title if cost == "step" else "")
    style.note(axes[2], "seconds differ from machine to machine")
    axes[0].set_ylabel("training loss (nat)")
    style.legend(figure)
    return figure


def rates(tables: dict[str, Any]) -> Any:
    """Draw the final training loss of every arm against the learning rate."""
    figure, axes = style.new_figure(1, len(tables), width=10.0, height=4.6, squeeze=False)
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        own = select(table, quantity="train_loss")
        own = own[own["step"] == own["step"].max()]
        lost = own[own["status"] != "ok"][["arm", "exponent"]].drop_duplicates()
        own = own.merge(lost.assign(lost=True), how="left", on=["arm", "exponent"])
        own = own[own["lost"].isna()].assign(rate=lambda rows: 10.0 ** -rows["exponent"])
        style.plot_curves(
            ax, own, x="rate", order=ARMS, looks=LOOKS, labels=NAMES, xscale="log", yscale=_scale(own),
            band="none",
        )  # fmt: skip
        style.note(ax, "learning rates at which a seed diverged are left out")
        ax.set(xlabel="learning rate", ylabel="final training loss (nat)", title=title)
    style.legend(figure)
    return figure


def _scale(losses: Any) -> str:
    """Return a scale on which the axis has numbers enough."""
    values = losses["value"][losses["status"] == "ok"]
    return "log" if values.max() > 5 * values.min() else "linear"


def _at_best(table: Any) -> Any:
    best = select(table, quantity=FITTED).groupby("arm")["value"].first()
    loss = select(table, quantity="train_loss")
    return loss[np.isclose(loss["exponent"], loss["arm"].map(best))]


def _against(shown: Any, table: Any, cost: str) -> Any:
    """Return losses with the mean over seeds of what had been spent by then."""
    keys = ["arm", "exponent", "step"]
    spent = select(table, quantity=cost).groupby(keys, as_index=False)["value"].mean()
    together = shown.merge(spent.rename(columns={"value": "spent"}), on=keys)
    return together[together["spent"] > 0]


def _medians(own: Any) -> Any:
    """Return the median over seeds of every arm and step; a run that failed counts as highest."""
    values = own.assign(value=own["value"].where(own["status"] == "ok", CEILING))
    middle = values.groupby(["arm", "step"], as_index=False)["value"].median()
    return middle.assign(seed=0, status="ok")


def _band(ax: Any, own: Any, colour: str) -> None:
    values = own.assign(value=own["value"].where(own["status"] == "ok", CEILING))
    wide = values.pivot(index="step", columns="seed", values="value").sort_index()
    low, high = np.percentile(wide.to_numpy(), [5, 95], axis=1)
    ax.fill_between(wide.index, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
