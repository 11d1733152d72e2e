"""Figures of training: two scalings of one network, gradient statistics, running means."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.lecture8geometry import law_figures, measures

_METHODS = ("sgd", "path_sgd", "natural")


def rescale(table: Any) -> Any:
    """Draw loss curves of both starts by method, and the natural gradient's gap."""
    figure, axes = style.new_figure(1, 4, width=11.0, height=4.0)
    for ax, method in zip(axes, _METHODS, strict=False):
        part = select(table, arm=method, quantity="loss")
        for place, start in enumerate(("balanced", "unbalanced")):
            own = select(part, start=start)
            values, look = by_seed(own, "step"), style.series(place)
            ax.plot(np.unique(own["step"]), values, color=look.colour, ls=look.linestyle,
                    lw=2.8 - 1.4 * place)  # fmt: skip
            ax.plot([], [], color=look.colour, ls=look.linestyle, lw=2, label=f"{start} units")
        gap = np.median(measures.curve_gap(part))
        ax.set(yscale="log", xlabel="step", title=law_figures.name(method).capitalize())
        ax.set_title(style.label(method) if method == "path_sgd" else ax.get_title(loc="left"))
        style.note(ax, f"median gap of log loss: {gap:.1g}")
    axes[0].set_ylabel("training loss (nat)")
    limits = [ax.get_ylim() for ax in axes[:3]]
    for ax in axes[:3]:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        _plain_ticks(ax, [0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5])
    _natural_gap(axes[3], select(table, arm="natural", quantity="gap"))
    style.legend(figure)
    return figure


def _natural_gap(ax: Any, part: Any) -> None:
    """Draw the gap of the natural gradient's curves against its step size."""
    rates, gaps = np.unique(part["rate"]), by_seed(part, "rate")
    own = law_figures.look("natural")
    ax.plot(rates, gaps, color=own.colour, lw=1.0, alpha=0.6)
    ax.plot(rates, np.median(gaps, axis=1), color=own.colour, marker=own.marker, ms=8, lw=2,
            label="natural gradient: median")  # fmt: skip
    line = np.median(gaps[0]) * rates / rates[0]
    style.reference(ax, rates, line, "proportional to the step", kind="derived")
    ax.set(xscale="log", yscale="log", xlabel="step size", ylabel="gap of log loss", title="Gap")
    ax.set_xticks(rates, [f"{one:g}" for one in rates])
    ax.minorticks_off()
    style.note(ax, f"n = {gaps.shape[1]} seeds")


def gradient_course(table: Any) -> Any:
    """Draw the ratios along training by method, and the losses."""
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.2)
    for ax, (quantity, title) in zip(axes, {
        "norm_ratio": "|E g| / √(E |g|²)", "coordinate_median": "Median over coordinates",
        "loss": "Training loss",
    }.items(), strict=True):  # fmt: skip
        part = select(table, quantity=quantity)
        part = part.assign(step=part["step"] + 1)  # so that the start has a place on the axis
        style.plot_curves(
            ax, part, order=["sgd", "adam", "averaged_ball"], band="range", xscale="log",
            looks={"averaged_ball": style.look("normalised")},
            labels={"averaged_ball": "fixed length along the mean"}, say=ax is axes[0],
        )  # fmt: skip
        ax.set(xlabel="step + 1", title=title)
    for ax in axes[:2]:
        ax.set_ylim(0, 1)
        style.reference(ax, None, 0.5, "a half", kind="derived")
    axes[0].set_ylabel("mean over root mean square")
    axes[2].set(yscale="log", ylabel="nat")
    _plain_ticks(axes[2], [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
    style.legend(figure)
    return figure


def _plain_ticks(ax: Any, ticks: list[float]) -> None:
    """Put ticks at round numbers of a logarithmic axis that spans less than a few decades."""
    low, high = ax.get_ylim()
    within = [tick for tick in ticks if low <= tick <= high]
    if len(within) < 2:
        return
    ax.set_yticks(within, [f"{tick:g}" for tick in within])
    ax.set_yticks([], minor=True)
    ax.set_ylim(low, high)


def gradient_histogram(table: Any) -> Any:
    """Draw the distribution over coordinates at three times."""
    figure, ax = style.new_figure(width=6.6, height=4.3)
    part = select(table, arm="sgd", quantity="density")
    steps = np.unique(part["step"])
    for place, step in enumerate(steps):
        density = by_seed(select(part, step=step), "index")
        bins, own = density.shape[0], style.series(place)
        edges = np.linspace(0, 1, bins + 1)
        ax.stairs(density.mean(axis=1) * bins, edges, color=own.colour, ls=own.linestyle, lw=2,
                  label=f"step {step}")  # fmt: skip
        ax.fill_between(edges, *(np.append(f(density, axis=1), f(density[-1])) * bins
                                 for f in (np.min, np.max)),
                        step="post", color=own.colour, alpha=0.15, lw=0)  # fmt: skip
    ax.set(xlabel="|E g| / √(E g²) of a coordinate", ylabel="density over coordinates", xlim=(0, 1))
    style.note(
        ax, f"mean over n = {density.shape[1]} seeds, band: range; idle coordinates left out"
    )
    count = int(select(table, quantity="minibatches")["value"].item())
    text = f"1/√{count}: a gradient in one minibatch of {count}"
    style.reference(ax, 1 / np.sqrt(count), None, text, kind="derived")
    style.legend(ax)
    return figure


def windows(table: Any) -> Any:
    """Draw weights by age with the lecture's windows, and the memory of an old level."""
    figure, (left, right) = style.new_figure(1, 2, width=10.0, height=4.6)
    for place, arm in enumerate(("beta1", "beta2", "flat")):
        own, text = style.series(place), _remembered(table, arm)
        level = select(table, arm=arm, quantity="level").sort_values("step")
        right.plot(level["step"] + 1, level["value"], color=own.colour, ls=own.linestyle, lw=2.2,
                   label=text)  # fmt: skip
        if arm != "flat":
            weight = select(table, arm=arm, quantity="weight")
            left.plot(
                weight["step"] + 1, weight["value"], color=own.colour, ls=own.linestyle, lw=2.2
            )
            window = select(table, arm=arm, quantity="window_weight")["window"].item()
            left.axvline(window, color=own.colour, ls=own.linestyle, lw=1.2)
            left.annotate(f"{window:.0f}", (window, 0.2), xytext=(5, 0), color=own.colour,
                          textcoords="offset points", fontsize=10)  # fmt: skip
    style.reference(right, None, 0.1, "a tenth left", kind="derived")
    left.set(xscale="log", yscale="log", xlabel="age of the batch + 1", ylabel="its weight in the mean",
             title="Weights, and the windows 2/(1 − β)", ylim=(1e-5, 0.4))  # fmt: skip
    right.set(xscale="log", xlabel="steps since the change + 1", ylabel="what is left of the old level",
              title="After 2000 steps of an old level")  # fmt: skip
    style.legend(figure, columns=2)
    return figure


def _remembered(table: Any, arm: str) -> str:
    """Return what a mean is called, with its window and how long it remembers."""
    memory = int(select(table, arm=arm, quantity="memory")["value"].item())
    if arm == "flat":
        return f"flat mean (AdaGrad): a tenth left after {memory} steps"
    row = select(table, arm=arm, quantity="window_weight")
    beta, window, share = row["beta"].item(), row["window"].item(), row["value"].item()
    name = {"beta1": "β₁", "beta2": "β₂"}[arm]
    return f"{name} = {beta:g}: {share:.3f} of the weight in {window:.0f} steps, a tenth left after {memory}"
