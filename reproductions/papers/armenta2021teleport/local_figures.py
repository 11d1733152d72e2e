"""Pictures of Figure 4, angles of small teleports, and Figure 7, lengths of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.armenta2021teleport import local_measures as measures

PAIRS = {
    "displacement-gradient": "teleport, gradient",
    "displacement-random": "teleport, random",
    "gradient-random": "gradient, random",
    "random-random": "random, random",
}
NAMES = {
    "mlp": "fully connected", "vgg16_bn": "VGG-16 with batch norm", "resnet18": "ResNet-18",
    "densenet121": "DenseNet-121", "tiny": "a small ResNet",
}  # fmt: skip
HALF_WIDTH = 0.25  # degrees, of the published axis
RATIO = "gradient over weights"
FEW = 20  # values below which each is drawn by itself


def figure_4(table: Any) -> Any:
    """Draw the histograms of one hidden layer, and tanh as a control."""
    clean = select(table, quantity="angle", protocol="clean")
    sigma, chance = measures.published_range(table), np.degrees(1 / np.sqrt(measures.count(table)))
    clean = select(clean, sigma=sigma)
    rows = [(PAIRS[pair], select(clean, pair=pair, arm="relu")) for pair in PAIRS]
    tanh = select(clean, pair="displacement-gradient", arm="tanh")
    rows.insert(1, ("teleport, gradient (tanh)", tanh))
    figure = _histograms(rows, max(HALF_WIDTH, 3.2 * chance), chance)
    networks = int(clean.seed.max()) + 1
    style.note(
        figure.axes[-1], f"sigma = {sigma:g}; {networks} networks of {measures.count(table):,.0f} weights, all"
        " minibatches together;\nspread: sd over the teleports of a network and minibatch, mean of all;"
        " heights are relative to the highest",
    )  # fmt: skip
    return figure


def figure_4_vgg(table: Any) -> Any:
    """Draw the histograms of VGG-16, on an axis of its own scale."""
    chance = np.degrees(1 / np.sqrt(measures.count(table)))
    own = select(table, quantity="angle", protocol="clean", sigma=measures.published_range(table))
    toward = (own.pair == "displacement-gradient") & (own.precision == "float32")
    own = own[toward | (own.pair != "displacement-gradient")]
    rows = [(PAIRS[pair], select(own, pair=pair)) for pair in PAIRS]
    figure = _histograms(rows, 3.6 * chance, chance)
    style.note(
        figure.axes[-1], f"one network of {measures.count(table):,.0f} weights; spread: sd of a minibatch, mean of all;"
        f" the published axis reaches\nfrom {90 - HALF_WIDTH} to {90 + HALF_WIDTH}; fewer than {FEW} values are"
        " drawn one by one",
    )  # fmt: skip
    return figure


def _histograms(rows: list[tuple[str, Any]], half: float, chance: float) -> Any:
    """Draw a histogram of each row's angles, one below the other."""
    figure, axes = style.new_figure(
        len(rows), 1, height=1.05 * len(rows) + 0.9, width=6.2, sharex=True
    )
    edges = np.linspace(-half, half, 62)
    at = np.linspace(-half, half, 400)
    for number, (ax, (text, own)) in enumerate(zip(axes, rows, strict=True)):
        values, look = own.value.to_numpy() - 90, style.series(number)
        if len(values) < FEW:
            ax.vlines(values, 0, 1, color=look.colour, lw=1.4)
        else:
            heights = np.histogram(values, edges)[0]
            ax.stairs(heights / heights.max(), edges, fill=True, color=look.colour, alpha=0.75)
        ax.plot(at, np.exp(-0.5 * (at / chance) ** 2), color="black", ls=(0, (4, 2)), lw=1,
                label="chance: 180 / pi / sqrt(weights)")  # fmt: skip
        spread = measures.spread_within(own)
        ax.text(0.012, 0.82, f"{text}\nspread {spread:.2g}, n = {len(values)}", fontsize=8.5,
                va="top", transform=ax.transAxes)  # fmt: skip
        ax.set(yticks=[], xlim=(-half, half), ylim=(0, 1.15))
        ax.grid(False)
    axes[-1].set_xlabel("angle - 90 (degrees)")
    style.legend(figure)
    return figure


def figure_4_sigma(table: Any) -> Any:
    """Draw spread and offset of the angle to the gradient against the range."""
    figure, axes = style.new_figure(1, 2, height=4.1, sharey=True)
    at = measures.ranges(table)
    lines = {
        "ReLU": ("relu", "clean"), "ReLU, authors' loop": ("relu", "compounded"),
        "tanh": ("tanh", "clean"),
    }  # fmt: skip
    kinds = {"spread over teleports": measures.spread, "|mean offset from 90|": _offset}
    for ax, (title, measure) in zip(axes, kinds.items(), strict=True):
        for number, (text, (arm, protocol)) in enumerate(lines.items()):
            values, look = measures.by_range(table, arm, protocol, measure), style.series(number)
            ax.plot(at, values.mean(1), color=look.colour, ls=look.linestyle, marker=look.marker,
                    mec="white", label=text)  # fmt: skip
            ax.fill_between(at, values.min(1), values.max(1), color=look.colour, alpha=0.18, lw=0)
        ax.set(xscale="log", yscale="log", xlabel="range sigma", title=title)
    axes[0].set_ylabel("degrees")
    for ax, quantity in zip(axes, ("expected_spread", "expected_offset"), strict=True):
        wanted = [np.abs(measures.expected(table, quantity, sigma)).mean() for sigma in at]
        style.reference(ax, at, wanted, "ReLU, second order", kind="derived")
    chance = np.degrees(1 / np.sqrt(measures.count(table)))
    axes[0].axhline(
        chance, color=style.PUBLISHED, lw=2.5, alpha=0.8, label="two random vectors", zorder=1.5
    )
    networks = int(table.seed.max()) + 1
    style.note(
        axes[0],
        f"mean over n = {networks} networks, four minibatches each; band: smallest to largest",
    )
    style.legend(figure)
    return figure


def _offset(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.abs(values.mean(1)).mean(0)
    return found


# ---------------------------------------------------------------- Figure 7


def _panels(tables: list[Any]) -> list[tuple[str, Any]]:
    """Return the networks with their tables, in the order of the paper."""
    found = []
    for arm in NAMES:
        found += [(arm, table) for table in tables
                  if arm in set(table.arm[table.quantity == "published"])]  # fmt: skip
    return found


def _grid(count: int, height: float) -> tuple[Any, Any]:
    columns = 2
    rows = -(-count // columns)
    figure, axes = style.new_figure(rows, columns, height=height * rows + 0.5, sharex=True)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes.flat[:count]


def figure_7(tables: list[Any]) -> Any:
    """Draw the published statistic of every network, as published and with fresh draws."""
    panels = _panels(tables)
    figure, axes = _grid(len(panels), 2.9)
    for ax, (arm, table) in zip(axes, panels, strict=True):
        rows = select(table, arm=arm, quantity="published")
        for number, (protocol, text) in enumerate(
            (("clean", "every teleport from the network"), ("compounded", "authors' loop"))
        ):
            own, look = select(rows, protocol=protocol), style.series(number)
            values = by_seed(own, "sigma", "index")
            at, flat = np.unique(own.sigma), values.reshape(len(values), -1)
            shift = 0.006 * (2 * number - 1)
            ax.errorbar(at + shift, flat.mean(1), flat.std(1), color=look.colour, ls=look.linestyle,
                        marker=look.marker, ms=4, capsize=2, lw=1.3, elinewidth=0.8, label=text)  # fmt: skip
        ax.set(title=NAMES[arm], ylim=(0, None))
        style.note(ax, f"bars: sd of n = {flat.shape[1]} teleports, {values.shape[2]} networks")
    _label(axes, "| |dW|/|W| - |dTW|/|TW| |")
    style.legend(figure)
    return figure


def figure_7_signed(tables: list[Any]) -> Any:
    """Draw what the published statistic hides: gradient, weights and their ratio, with closed forms."""
    panels = _panels(tables)
    figure, axes = _grid(len(panels), 2.9)
    for ax, (arm, table) in zip(axes, panels, strict=True):
        at = np.unique(select(table, arm=arm, quantity="published").sigma)
        lines = {
            "gradient: |dTW| / |dW|": np.sqrt(measures.means(table, arm, "gradient_square")),
            "weights: |TW| / |W|": np.sqrt(measures.means(table, arm, "weight_square")),
            RATIO: measures.relative(table, arm),
        }
        for number, (text, values) in enumerate(lines.items()):
            look = style.series(number)
            line = look.linestyle if text == RATIO else "none"
            ax.plot(at, values.mean(1), color=look.colour, ls=line, marker=look.marker, ms=5.5,
                    lw=1.2, mec="white", label=text, zorder=4)  # fmt: skip
            ax.fill_between(at, values.min(1), values.max(1), color=look.colour, alpha=0.2, lw=0)
        for part in ("gradient", "weight"):
            wanted = np.sqrt(measures.means(table, arm, f"expected_{part}_square").mean(1))
            style.reference(ax, at, wanted, "closed form, root mean square", kind="derived")
        ax.axhline(1, color=style.PUBLISHED, lw=1)
        ax.set(title=NAMES[arm])
        style.note(ax, f"mean over n = {values.shape[1]} networks; band: smallest to largest")
    _label(axes, "after / before")
    style.legend(figure)
    return figure


def _label(axes: Any, text: str) -> None:
    for number, ax in enumerate(axes):
        ax.set_xlabel("range sigma")
        ax.xaxis.set_tick_params(labelbottom=True)
        if number % 2 == 0:
            ax.set_ylabel(text)
