"""Figures of paths over level sets, and of what holds along them."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.lecture8geometry import law_figures, measures

_CHARTS = {
    "original": "original", "stretched": "stretched", "sheared": "sheared",
    "deviation": "(µ, σ)", "logarithm": "(µ, log σ)", "precision": "(µ/σ², 1/σ²)",
}  # fmt: skip
_INK = "#1f2328"


def level_sets(ax: Any, table: Any, levels: Any = 12) -> None:
    """Draw the level sets of the function that a table holds on a grid."""
    part = select(table, quantity="level").sort_values("index")
    x, y = np.unique(part["x"]), np.unique(part["y"])
    z = part["value"].to_numpy().reshape(len(x), len(y)).T
    ax.contour(
        x, y, z, levels=levels, colors="#b8c1cb", linewidths=0.9, linestyles="solid", zorder=1
    )
    ax.grid(False)


def coordinates(table: Any) -> Any:
    """Draw three rules' paths, one panel a rule."""
    rules = ("sgd", "normalised", "newton")
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.3, sharex=True, sharey=True)
    for ax, rule in zip(axes, rules, strict=True):
        level_sets(ax, table, np.array([0.03, 0.15, 0.4, 0.8, 1.4, 2.2, 3.2, 4.5, 6.0]))
        part = select(table, arm=rule)
        for place, chart in enumerate(dict.fromkeys(part["chart"])):
            _path(ax, measures.points(part, chart), place, _CHARTS[chart])
        ax.set(title=law_figures.name(rule).capitalize(), xlabel="w₁",
               xlim=(-2.1, 0.8), ylim=(-0.8, 1.4))  # fmt: skip
        gap = measures.path_gap(part)
        style.note(ax, f"largest gap {gap:.2g} of start to minimum")
    axes[0].set_ylabel("w₂")
    style.legend(figure)
    return figure


def _path(ax: Any, points: np.ndarray, place: int, text: str) -> None:
    """Draw one path with its steps; later ones thinner, so that equal paths show as one."""
    own = style.series(place)
    ax.plot(*points.T, color=own.colour, ls=own.linestyle, marker=own.marker, ms=6.5 - 1.5 * place,
            lw=3.4 - 1.1 * place, mec="white", mew=0.4, label=text, zorder=2 + 0.1 * place)  # fmt: skip
    ax.plot(*points[0], marker="o", ms=9, mfc="none", mec=_INK, mew=1.4, zorder=3)


def nonlinear(table: Any) -> Any:
    """Draw descent and natural gradient in three charts, and the gap against the step."""
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.3)
    for ax, rule in zip(axes, ("sgd", "natural"), strict=False):
        level_sets(ax, table, np.array([0.16, 0.2, 0.3, 0.45, 0.65, 0.9, 1.2, 1.7, 2.6, 4.0]))
        part = select(table, arm=rule, quantity=["x", "y"])
        for place, chart in enumerate(dict.fromkeys(part["chart"])):
            _path(ax, measures.points(part, chart), place, _CHARTS[chart])
        ax.set(title=law_figures.name(rule).capitalize(), xlabel="µ", ylabel="σ")
        style.note(ax, f"{len(measures.points(part, 'deviation')) - 1} steps each")
    for rule in ("sgd", "natural"):
        part, own = (
            select(table, arm=rule, quantity="gap").sort_values("rate"),
            law_figures.look(rule),
        )
        axes[2].plot(part["rate"], part["value"], color=own.colour, ls=own.linestyle, lw=2,
                     marker=own.marker, ms=8, label=law_figures.name(rule))  # fmt: skip
    at = part["rate"].to_numpy()
    line = part["value"].iloc[0] * at / at[0]
    style.reference(axes[2], at, line, "proportional to the step", kind="derived")
    axes[2].set(xscale="log", yscale="log", xlabel="step size", ylabel="largest gap between charts")
    axes[2].set_title("Gap")
    axes[2].set_xticks(at, [f"{one:g}" for one in at])
    axes[2].minorticks_off()
    style.legend(figure)
    return figure


def trust_region(table: Any) -> Any:
    """Draw balls and boxes of three radii with the steps to their rims."""
    figure, axes = style.new_figure(1, 2, width=9.4, height=4.9, sharex=True, sharey=True)
    titles = {"ball": "ℓ₂ ball: −ε J/|J|", "box": "Box: −ε sign J"}
    for ax, (region, title) in zip(axes, titles.items(), strict=True):
        level_sets(ax, table, 14)
        x, y, radii = _ends(table, region)
        for k, radius in enumerate(radii[1:], 1):
            ax.add_patch(_rim(region, (x[0], y[0]), radius))
            ax.annotate("", (x[k], y[k]), (x[0], y[0]), zorder=3,
                        arrowprops={"arrowstyle": "-|>", "lw": 2.0, "color": "#08306b"})  # fmt: skip
            ax.plot(x[k], y[k], "o", color="#08306b", ms=6, zorder=4,
                    label="step for three radii ε" if k == 1 and region == "ball" else None)  # fmt: skip
        ball = _ends(table, "ball")
        toward = np.array([ball[0][-1] - x[0], ball[1][-1] - y[0]])
        ax.plot(*(np.array([x[0], y[0]])[:, None] + toward[:, None] * [0, 1.5]), color="#c2569b", lw=1.6,
                ls=(0, (5, 2)), label="direction of −J", zorder=1.8)  # fmt: skip
        ax.plot(x[0], y[0], "o", ms=9, mfc="white", mec=_INK, mew=1.5, zorder=4)
        ax.set(title=title, xlabel="x₁", xlim=(-3, 0.4), ylim=(-0.1, 2.8), aspect="equal")
    axes[0].set_ylabel("x₂")
    style.legend(figure)
    return figure


def _ends(table: Any, region: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    part = select(table, arm=region)
    x, y = (select(part, quantity=axis).sort_values("step") for axis in ("x", "y"))
    return x["value"].to_numpy(), y["value"].to_numpy(), x["radius"].to_numpy()


def _rim(region: str, centre: tuple[float, float], radius: float) -> Any:
    from matplotlib.patches import Circle, Rectangle

    drawn: dict[str, Any] = {
        "facecolor": "#08306b",
        "alpha": 0.09,
        "edgecolor": "#08306b",
        "lw": 1.2,
        "zorder": 1.5,
    }
    if region == "ball":
        return Circle(centre, radius, **drawn)
    return Rectangle((centre[0] - radius, centre[1] - radius), 2 * radius, 2 * radius, **drawn)


def convex_facts(table: Any) -> Any:
    """Draw larger over smaller side of the facts along descent, one panel a fact, and the rests."""
    figure, (*axes, last) = style.new_figure(1, 4, width=13.0, height=3.9)
    titles = {
        "polyak": "|g|² over 2µ (f − f*)",
        "distance": "|g| over µ |x − x*|",
        "inner": "⟨g, x − x*⟩ over its bound",
    }
    for ax, (fact, title) in zip(axes, titles.items(), strict=True):
        for place, (start, text) in enumerate(
            {"random": "random start", "lowest": "start on the lowest eigenvector"}.items()
        ):
            part = select(table, quantity="ratio", arm=fact, start=start)
            values, own = by_seed(part, "step"), style.series(place)
            ax.plot(np.unique(part["step"]), values, color=own.colour, lw=1.2, ls=own.linestyle,
                    alpha=0.8)  # fmt: skip
            ax.plot([], [], color=own.colour, lw=1.8, ls=own.linestyle, label=text)
        style.reference(ax, None, 1.0, "the bound", kind="derived")
        ax.set(yscale="log", xlabel="step", title=title)
        ax.sharey(axes[0])
    axes[0].set_ylabel("larger side over smaller")
    _rests(last, select(table, quantity="rest"))
    style.note(axes[0], f"n = {values.shape[1]} bowls; condition number 30")
    style.legend(figure)
    return figure


def _rests(ax: Any, part: Any) -> None:
    """Draw what is left of the excess by steps J/|J|^2 against their rate, and by descent."""
    own, other = law_figures.look("inverse_norm"), law_figures.look("sgd")
    steps = select(part, arm="inverse_norm")
    rates, left = np.unique(steps["rate"]), by_seed(steps, "rate")
    ax.fill_between(rates, left.min(axis=1), left.max(axis=1), color=own.colour, alpha=0.18, lw=0)
    ax.plot(rates, np.median(left, axis=1), color=own.colour, ls=own.linestyle, lw=2, ms=7,
            marker=own.marker, label="steps J / |J|²")  # fmt: skip
    descent = select(part, arm="sgd")["value"]
    ax.axhspan(descent.min(), descent.max(), color=other.colour, alpha=0.25, lw=0)
    ax.axhline(descent.median(), color=other.colour, ls=other.linestyle, lw=2, label="descent, 1/L")
    ax.set(xscale="log", yscale="log", xlabel="rate of J / |J|², in f(start) − f*",
           ylabel="largest late (f − f*) / start's", title="Rest: J/|J|² and descent")  # fmt: skip


def plateau(table: Any) -> Any:
    """Draw the paths over the well, and the loss against the step."""
    figure, (left, right) = style.new_figure(1, 2, width=10.5, height=4.2, width_ratios=[1.5, 1])
    level_sets(left, table, np.array([-0.9, -0.6, -0.3, -0.1, -0.01, -1e-3, -1e-4, -1e-5]))
    for rule in ("sgd", "normalised", "sign"):
        own = style.look(rule)
        x, y, loss = (
            select(table, arm=rule, quantity=q).sort_values("step") for q in ("x", "y", "loss")
        )
        arrived = bool(x["arrived"].iloc[0])
        count = int(select(table, arm=rule, quantity="steps")["value"].item())
        text = f"{law_figures.name(rule)}, rate {x['rate'].iloc[0]:g}: " + (
            f"{count} steps" if arrived else f"not there after {count} steps"
        )
        left.plot(x["value"], y["value"], color=own.colour, ls=own.linestyle, lw=2, marker=own.marker,
                  ms=6, markevery=max(1, len(x) // 8), label=text)  # fmt: skip
        right.plot(loss["step"] + 1, -loss["value"], color=own.colour, ls=own.linestyle, lw=2,
                   marker=own.marker, ms=6, markevery=max(1, len(loss) // 6))  # fmt: skip
    start = x["value"].iloc[0], y["value"].iloc[0]
    left.plot(*start, "o", ms=10, mfc="none", mec=_INK, mew=1.4)
    left.annotate("start", start, xytext=(8, 8), textcoords="offset points", fontsize=9)
    left.set(xlabel="x", ylabel="y", title="Level sets of the well")
    right.set(
        xscale="log", yscale="log", xlabel="step + 1", ylabel="depth −f", title="Depth reached"
    )
    style.note(right, "until nine tenths of the depth for good; one start, no noise")
    style.legend(figure)
    return figure
