"""Pictures of training after a teleport: boxes per epoch, curves, accuracy against the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import over_seeds, paired_difference
from reproductions.harness.tables import by_seed, select
from reproductions.papers.armenta2021teleport.convergence_measures import (
    CHANCE,
    DECAY,
    OPTIMISERS,
    WHEN,
    accuracies,
    arms_in,
    best,
    epoch,
    pooled,
    rates_of,
    with_controls,
)

NAMES = {"sgd": "SGD", "momentum": "momentum"}
ARMS = {
    "plain": "plain",
    "teleported": "teleported",
    "rescaled": "larger rates, no teleport",
    "equal_mean": "teleported, equal mean rates",
    "pseudo": "random displacement",
    "resampled": "weights drawn again",
}
LOOKS = {"plain": style.look("sgd"), "teleported": style.look("teleport")} | {
    arm: style.series(number)
    for number, arm in enumerate(("rescaled", "equal_mean", "pseudo", "resampled"))
}
KINDS = {
    "elu": "ELU", "leaky_relu": "leaky ReLU", "tanh": "tanh", "relu": "ReLU",
    "normal_0.02": "normal, 0.02", "normal_0.08": "normal, 0.08", "glorot_normal": "Xavier normal", "uniform": "uniform",
    "vgg16_bn": "VGG-16 with norm", "resnet18": "ResNet-18", "densenet121": "DenseNet-121",
    "tiny": "tiny",
}  # fmt: skip


def boxes(table: Any) -> Any:
    """Draw Figure 6: accuracies of all runs at three epochs, four boxes each."""
    figure, axes = style.new_figure(1, len(WHEN), height=4.2, sharey=True)
    shown = select(table, quantity="test_accuracy", of_paper=True, decay=DECAY,
                   arm=["plain", "teleported"])  # fmt: skip
    shown = shown.assign(
        value=np.where(shown.status == "ok", shown.value, CHANCE),
        group=shown.optimiser + " " + shown.arm,
    )
    order = [f"{o} {arm}" for o in OPTIMISERS for arm in ("plain", "teleported")]
    texts = {g: "\n".join([NAMES[g.split()[0]], g.split()[1]]) for g in order}
    methods = {g: "teleport" if g.endswith("teleported") else g.split()[0] for g in order}
    for ax, when in zip(axes, WHEN, strict=True):
        at = epoch(table, when)
        style.strip(ax, select(shown, step=at), "group", order=order, methods=methods,
                    labels=texts, unit="run")  # fmt: skip
        ax.set(title=f"epoch {at} of {int(table.step.max())}")
        ax.tick_params(axis="x", labelsize=7.5)
        _chance(ax)
    axes[0].set_ylabel("test accuracy (fraction)")
    style.note(axes[0], f"{shown.seed.nunique()} seeds at the rates {_listed(shown)} each")
    return figure


def _listed(table: Any) -> str:
    pooled_rates = np.unique(table.lr[table.of_paper])[::-1]
    return ", ".join(f"{lr:g}" for lr in pooled_rates)


def _chance(ax: Any) -> None:
    ax.axhline(CHANCE, color="black", lw=0.8, ls=":")


def curves(tables: Mapping[str, Any]) -> Any:
    """Draw the mean over the pooled rates against the epoch, a row a data set."""
    figure, axes = style.new_figure(len(tables), 2, height=0.9 + 3.2 * len(tables), width=9.5,
                                    sharey="row", squeeze=False)  # fmt: skip
    for row, (title, table) in zip(axes, tables.items(), strict=True):
        for ax, optimiser in zip(row, OPTIMISERS, strict=True):
            _curves(ax, select(table, optimiser=optimiser))
            ax.set(title=f"{title}, {NAMES[optimiser]}")
        row[0].set_ylabel("test accuracy (fraction)")
    style.legend(figure, columns=4)
    return figure


def _curves(ax: Any, table: Any) -> None:
    rows = select(table, quantity="test_accuracy", of_paper=True, decay=DECAY)
    rows = rows.assign(value=np.where(rows.status == "ok", rows.value, CHANCE))
    means = rows.groupby(["arm", "seed", "step"], as_index=False).value.mean()
    order = arms_in(means, list(ARMS))
    style.plot_curves(ax, means, order=order, looks=LOOKS, labels=ARMS)
    _chance(ax)
    ax.set(xlabel="epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    style.note(ax, f"each seed: mean over the rates {_listed(rows)}")


def rates(table: Any) -> Any:
    """Draw late accuracy against the learning rate, a column an optimiser, a row a decay."""
    decays = sorted(table.decay.unique(), reverse=True)
    figure, axes = style.new_figure(len(decays), 2, height=0.9 + 3.3 * len(decays), width=9.5,
                                    sharey=True, squeeze=False)  # fmt: skip
    for row, decay in zip(axes, decays, strict=True):
        for ax, optimiser in zip(row, OPTIMISERS, strict=True):
            _rates(ax, select(table, decay=decay), optimiser, decay)
        row[0].set_ylabel("test accuracy (fraction)")
    style.legend(figure, columns=4)
    return figure


def _rates(ax: Any, table: Any, optimiser: str, decay: float) -> None:
    most = len(rates_of(table, optimiser=optimiser))
    for arm in arms_in(table, list(ARMS)):
        chosen = {"arm": arm, "optimiser": optimiser, "decay": decay}
        lrs, found, own = rates_of(table, **chosen), accuracies(table, "late", **chosen), LOOKS[arm]
        ax.plot(lrs, found.mean(1), color=own.colour, ls=own.linestyle, marker=own.marker,
                mec="white", mew=0.5, label=ARMS[arm])  # fmt: skip
        ax.fill_between(lrs, found.min(1), found.max(1), color=own.colour, alpha=0.07, lw=0)
        if len(lrs) < most:  # an arm that is trained at the pooled rates alone
            continue
        rate, there = best(table, "late", **chosen)
        ax.plot(rate, there.mean(), "o", ms=13, mfc="none", mec=own.colour, mew=1.3)
    _chance(ax)
    ax.set(xscale="log", xlabel="learning rate",
           title=f"{NAMES[optimiser]}, weight decay {decay:g}")  # fmt: skip
    style.note(
        ax,
        f"epoch {epoch(table, 'late')}; mean over n = {table.seed.nunique()} seeds, band: smallest to largest; rings: "
        "best rate by validation",
    )


def gains(table: Any, column: str) -> Any:
    """Draw gains per activation (Figure 8) or initialiser (Figure 9), a panel an optimiser."""
    kinds = [kind for kind in KINDS if kind in set(table[column])]
    figure, axes = style.new_figure(1, 2, height=3.9, width=9.5, sharey=True)
    for ax, optimiser in zip(axes, OPTIMISERS, strict=True):
        for number, kind in enumerate(kinds):
            _points(ax, select(table, **{column: kind}), optimiser, number)
        ax.set_xticks(range(len(kinds)), [KINDS[kind] for kind in kinds])
        ax.set(title=NAMES[optimiser], xlim=(-0.6, len(kinds) - 0.4))
        ax.grid(False, axis="x")
        _chance(ax)
        style.note(ax, _said(table))
    axes[0].set_ylabel("test accuracy (fraction)")
    style.legend(figure, columns=2)
    return figure


def _points(ax: Any, table: Any, optimiser: str, place: float) -> None:
    """Draw each arm's seeds, early to late, with the mean."""
    for side, arm in ((-1, "plain"), (1, "teleported")):
        own = LOOKS[arm]
        for number, when in enumerate(WHEN):
            values = pooled(table, when, arm=arm, optimiser=optimiser)
            at = place + 0.23 * side + 0.11 * (number - 1)
            _bar(ax, at, values, own, ARMS[arm] if place == 0 and number == 0 else None)


def _bar(ax: Any, at: float, values: np.ndarray, own: style.Look, text: str | None) -> None:
    ax.bar(at, values.mean(), 0.09, color=own.colour, alpha=0.4, label=text)
    ax.plot(np.full(len(values), at), values, ls="none", marker=own.marker, color=own.colour,
            ms=3.5, mec="white", mew=0.4)  # fmt: skip


def _said(table: Any) -> str:
    steps = ", ".join(str(epoch(table, when)) for when in WHEN)
    return (
        f"mean over the rates {_listed(table)}; epochs {steps} from left to right; bars: mean over "
        f"n = {table.seed.nunique()} seeds, points: seeds; dotted: chance"
    )


def controls(pseudo: Any, cifar: Any) -> Any:
    """Draw Figure 10: curves, and late gains over plain with intervals."""
    table = with_controls(pseudo, cifar)
    figure, axes = style.new_figure(1, 3, height=4.4, width=11.5)
    for ax, optimiser in zip(axes[:2], OPTIMISERS, strict=True):
        _curves(ax, select(table, optimiser=optimiser))
        ax.set(title=NAMES[optimiser], ylabel="test accuracy (fraction)")
    metrics, methods = {}, {}
    for optimiser in OPTIMISERS:
        for arm in arms_in(table, list(ARMS))[1:]:
            name = f"{ARMS[arm]},\n{NAMES[optimiser]}"
            pair = [pooled(table, "late", arm=a, optimiser=optimiser) for a in (arm, "plain")]
            metrics[name] = paired_difference(*pair)
            methods[name] = "teleport" if arm == "teleported" else optimiser
    style.forest(axes[2], metrics, methods=methods)
    axes[2].axvline(0, color="black", lw=0.9)
    axes[2].set(xlabel="late accuracy minus that of plain training")
    spread = select(table, quantity="output_spread").groupby("arm").value.mean()
    said = ", ".join(f"{ARMS[arm]} {spread[arm]:.2g}" for arm in arms_in(table, list(ARMS)))
    style.note(axes[2], f"outputs' spread between images at the start: {said}")
    style.legend(figure, columns=4)
    return figure


def identity(table: Any) -> Any:
    """Draw the distance of both trajectories of the theorem, step by step."""
    figure, axes = style.new_figure(1, table.activation.nunique(), height=4.1, squeeze=False,
                                    width=9.5, sharey=True)  # fmt: skip
    labels = {
        "sgd": "rates lr/D², SGD", "momentum": "rates lr/D², momentum",
        "decay": "rates lr/D², momentum and decay", "plain": "rate lr, SGD",
    }  # fmt: skip
    looks = {"sgd": style.look("sgd"), "momentum": style.look("momentum"),
             "decay": style.series(1), "plain": style.look("teleport")}  # fmt: skip
    for ax, (activation, rows) in zip(axes[0], table.groupby("activation"), strict=True):
        shown = rows[(rows.step > 0) & (rows.value > 0)]
        style.plot_curves(ax, shown, order=list(labels), looks=looks, labels=labels, yscale="log",
                          band="range")  # fmt: skip
        largest = over_seeds(by_seed(select(rows, arm="decay"), "step").max(0), np.max).value
        ax.set(title=f"{KINDS[str(activation)]}: at most {largest:.1e} with lr/D²", xlabel="step")
    axes[0][0].set_ylabel("distance of the weights, relative")
    style.legend(figure, columns=4)
    return figure
