"""Pictures of teleports that are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import select
from reproductions.papers.armenta2021teleport.beyond_measures import ARMS, FITTED, area, chosen

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
    """Draw the training loss against epochs, gradients and seconds, and its mean against SGD's."""
    figure, axes = style.new_figure(2, 2, width=11.0, height=8.2)
    shown = _at_best(table)
    epoch = float(chosen(table, "sgd", "seconds")[1].mean())
    for ax, (cost, text) in zip(
        axes.flat,
        {
            "step": "epoch", "gradients": "gradients of all images, teleports included",
            "seconds": "seconds, in those of an epoch of SGD",
        }.items(),
        strict=False,
    ):  # fmt: skip
        spent = shown if cost == "step" else _against(shown, table, cost)
        if cost == "seconds":
            spent = spent.assign(spent=spent["spent"] / epoch)
        if cost != "step":  # a logarithm alone would leave out the start of SGD, which cost nothing
            ax.set_xscale("symlog", linthresh=1)
        style.plot_curves(
            ax, spent, x="step" if cost == "step" else "spent", order=ARMS, looks=LOOKS,
            labels=NAMES, yscale=_scale(shown), say=cost == "step", band="bootstrap",
        )  # fmt: skip
        ax.set(xlabel=text, ylabel="training loss (nat)", title=title if cost == "step" else "")
    style.note(axes[0, 1], "linear up to 1, logarithmic beyond")
    style.note(axes[1, 0], "linear up to 1, logarithmic beyond; medians of repeats times counts")
    style.note(axes[1, 0], f"an epoch of SGD: {1e3 * epoch:.2g} ms a network on the machine used")
    _gaps(axes[1, 1], table)
    style.legend(figure)
    return figure


def _gaps(ax: Any, table: Any) -> None:
    """Draw by how much each arm's mean logarithm of the loss is above SGD's, seed by seed."""
    plain = _mean_log(table, "sgd")
    for row, arm in enumerate(ARMS[1:]):
        found, colour = area(table, arm), LOOKS[arm].colour
        seeds = _mean_log(table, arm) - plain
        ax.plot(seeds, np.full(len(seeds), row), "o", color=colour, ms=4, alpha=0.35, mew=0)
        ends = np.maximum([[found.value - found.low], [found.high - found.value]], 0)
        ax.errorbar(
            [found.value], [row], xerr=ends, color=colour, marker=LOOKS[arm].marker, capsize=3,
            mec="white", ms=7,
        )  # fmt: skip
    ax.axvline(0, color=LOOKS["sgd"].colour, lw=1)
    ax.set_yticks(range(len(ARMS) - 1), [NAMES[arm] for arm in ARMS[1:]], fontsize=8)
    ax.set_ylim(len(ARMS) - 1.5, -0.5)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("mean log loss over epochs, less SGD's (nat)")
    style.note(ax, f"bars: 95 % interval over n = {len(plain)} seeds; dots: seeds")


def _mean_log(table: Any, arm: str) -> np.ndarray:
    return np.log(chosen(table, arm, "train_loss")).mean(0)


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
            band="bootstrap",
        )  # fmt: skip
        style.note(ax, "learning rates at which a seed diverged are left out")
        tried = np.unique(own["rate"])
        ax.set_xticks(tried, [f"{rate:.2g}" for rate in tried])
        ax.set_xticks([], minor=True)
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
    return shown.merge(spent.rename(columns={"value": "spent"}), on=keys)


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
