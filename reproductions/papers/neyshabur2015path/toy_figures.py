"""Pictures of small networks, of the two starts, and of what public codes change."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.neyshabur2015path import toy_measures
from reproductions.papers.neyshabur2015path.curve_figures import DASHES, look
from reproductions.papers.neyshabur2015path.curve_measures import STARTS, curves

LEAST = 1e-17  # where a difference of exactly 0 is drawn on an axis of logarithms
HIGHEST = 10.0  # nat, on the axis of the codes
ARMS = {
    "reference": "Path-SGD as written",
    "relu_outputs": "ReLU on the outputs (MATLAB)",
    "summed": "summed gradient, step / 100",
    "default_step": "summed, step 0.1 (MATLAB)",
    "default_step_sgd": "the same with SGD",
    "momentum": "SGD with momentum",
    "generator": "repository 2018 as published",
    "generator_mended": "repository 2018, generator mended",
    "mended": "generator and accumulation mended",
}


def chains(table: Any) -> Any:
    """Draw what one step makes of chain and fork against the rescaling of the start."""
    figure, axes = style.new_figure(1, 2, height=3.9)
    panels = {
        "product": "w1 w2 after one step (1 before)",
        "gain": "sum of outputs gained by a step",
    }
    for ax, (quantity, text) in zip(axes, panels.items(), strict=True):
        for arm in ("sgd", "path_sgd"):
            points, own = toy_measures.by_scale(table, quantity, arm), style.look(arm)
            at = sorted(points)
            ax.plot(at, [points[c] for c in at], color=own.colour, ls=own.linestyle, lw=1.8,
                    marker=own.marker, ms=7, mec="white", label=style.label(arm))  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="unit rescaled by c", ylabel=text)
    exact = np.geomspace(1, max(toy_measures.by_scale(table, "product", "sgd")), 60)
    style.reference(axes[0], exact, (exact + 1 / exact) ** 2, "(c + 1/c)^2", kind="derived")
    axes[0].set_title("chain 1-1-1")
    axes[1].set_title("fork 2-2-2")
    style.legend(figure)
    return figure


def invariance(table: Any) -> Any:
    """Draw how far the losses from the two starts are apart, step by step."""
    figure, ax = style.new_figure(height=3.9)
    arms = ["sgd", "adagrad", *(f"path_sgd_p{p}" for p in toy_measures.EXPONENTS)]
    for number, arm in enumerate(arms):
        gap = np.maximum(toy_measures.apart(table, arm), LEAST)
        own = style.look(arm) if number < 2 else style.series(number - 2)
        text = style.label(arm) if number < 2 else f"Path-SGD, p = {arm[-1]}"
        ax.fill_between(range(len(gap)), gap.min(1), gap.max(1), color=own.colour, alpha=0.15, lw=0)
        ax.plot(np.exp(np.log(gap).mean(1)), color=own.colour, ls=own.linestyle, label=text)
    ax.set(yscale="log", xlabel="step", ylabel="|loss unbalanced - loss balanced| (nat)",
           ylim=(5e-18, 10))  # fmt: skip
    style.note(ax, f"geometric mean over n = {gap.shape[1]} seeds; band: smallest to largest; float64,"
               f" differences of exactly 0 drawn at {LEAST:g}")  # fmt: skip
    style.legend(ax, loc="center right")
    return figure


def starts(table: Any) -> Any:
    """Draw the quantiles of kappa at both starts, layer by layer."""
    rows = select(table, quantity="kappa_quantile")
    figure, axes = style.new_figure(1, 3, height=3.9, sharey=True)
    for layer, ax in enumerate(axes, start=1):
        for number, start in enumerate(STARTS):
            own = select(rows, layer=layer, start=start).sort_values("index")
            at, line = np.linspace(0, 1, len(own)), style.series(number)
            ax.plot(at, own.value, color=line.colour, ls=line.linestyle, label=start)
        ax.set(title=f"layer {layer}", xlabel="quantile over weights", yscale="log")
    expected = toy_measures.expected_kappa(table)
    for ax, value in zip(axes, (expected, expected, 1.0), strict=True):
        style.reference(ax, None, value, "expected mean, balanced", kind="derived")
    axes[0].set_ylabel("kappa")
    style.note(axes[0], "seed 0; both starts are the same function with the same path norm")
    style.legend(figure)
    return figure


def figure_1a(table: Any) -> Any:
    """Draw SGD from both starts: its best step size each, and every one against the start."""
    figure, axes = style.new_figure(1, 2, height=4.0)
    rows = select(table, quantity="train_loss", arm="sgd")
    for start in STARTS:
        best = toy_measures.best_alphas(table, start)
        said = " or ".join(f"{alpha:g}" for alpha in np.unique(best))
        own = select(rows, start=start)
        own = own[own.alpha == best[own.seed]]
        style.plot_curves(
            axes[0], own, hue="start", order=[start], looks={start: look("sgd", start)},
            labels={start: f"SGD, {start} (alpha {said})"}, yscale="log",
        )  # fmt: skip
    axes[0].set(xlabel="epoch", ylabel="training cross-entropy (nat)")
    _final_by_alpha(axes[1], rows)
    style.legend(figure)
    return figure


def _final_by_alpha(ax: Any, rows: Any) -> None:
    at, lost = np.unique(rows.alpha), 0
    for start in STARTS:
        last = select(rows, start=start, step=int(rows.step.max()))
        values, own = by_seed(last, "alpha"), look("sgd", start)
        lost += int((~np.isfinite(values)).any(1).sum())
        ax.plot(at, values.mean(1), color=own.colour, ls=own.linestyle, marker=own.marker,
                mec="white")  # fmt: skip
        ax.fill_between(at, values.min(1), values.max(1), color=own.colour, alpha=0.15, lw=0)
    ax.set(
        yscale="log", xlabel="alpha of the step size 10^-alpha", ylabel="final training loss (nat)"
    )
    ax.set_xticks(at)
    style.note(ax, f"band: smallest to largest seed; {lost} of {2 * len(at)} settings left out: some seed"
               " diverged")  # fmt: skip


def divergence(table: Any) -> Any:
    """Draw how far the weights of the two Path-SGD runs are apart, for both precisions."""
    figure, axes = style.new_figure(1, 2, height=4.2)
    for number, precision in enumerate(("float32", "float64")):
        rows, own = select(table, arm="path_sgd", precision=precision), style.series(number)
        gap = by_seed(select(rows, quantity="weight_gap"), "step")
        one, other = (curves(rows, "train_loss", "path_sgd", start) for start in STARTS)
        epoch = np.unique(select(rows, quantity="weight_gap").epoch)
        rate = toy_measures.growth(table, precision).value
        text = f"{precision}: x {10**rate:.2f} an epoch from the first on"
        line = {"color": own.colour, "ls": own.linestyle, "marker": own.marker, "ms": 4}
        axes[0].plot(epoch, np.exp(np.log(gap).mean(1)), label=text, **line)
        axes[0].fill_between(epoch, gap.min(1), gap.max(1), color=own.colour, alpha=0.18, lw=0)
        axes[1].plot(epoch, np.maximum(np.abs(other / one - 1).max(1), LEAST), **line)
    axes[0].set(ylabel="|difference of weights| / |weights|")
    axes[1].set(ylabel="relative difference of training loss")
    for ax in axes:
        ax.set(yscale="log", xlabel="epoch")
    style.note(axes[0], f"geometric mean over n = {gap.shape[1]} seeds, band: smallest to largest;"
               " weights of the unbalanced run scaled back first")  # fmt: skip
    style.note(axes[1], f"largest of n = {gap.shape[1]} seeds; exactly 0 drawn at {LEAST:g}")
    style.legend(figure)
    return figure


def codes(table: Any) -> Any:
    """Draw the training loss of every arm from both starts."""
    figure, axes = style.new_figure(1, 2, height=4.6, sharey=True)
    groups = (list(ARMS)[:5], list(ARMS)[5:])
    for ax, arms, title in zip(axes, groups, ("MATLAB package", "PyTorch repository"), strict=True):
        for arm in arms:
            for start in STARTS:
                _curve(ax, table, arm, start, style.series(list(ARMS).index(arm)))
        ax.set(xlabel="epoch", yscale="log", title=title)
        ax.set_ylim(top=min(ax.get_ylim()[1], HIGHEST))
        style.note(ax, f"mean over n = {table.seed.nunique()} seeds; solid: balanced, dotted: unbalanced"
                   " start")  # fmt: skip
    axes[0].set_ylabel("training cross-entropy (nat)")
    style.legend(figure, columns=2)
    return figure


def _curve(ax: Any, table: Any, arm: str, start: str, own: style.Look) -> None:
    """Draw a mean that ends where a seed diverges; what leaves the axis is told in the legend."""
    values = curves(table, "train_loss", arm, start).mean(1)
    most = np.nanmax(np.where(np.isfinite(values), values, np.nan))
    text = ARMS[arm] + f" (up to {most:.0f} nat)" * bool(most > HIGHEST)
    ax.plot(values, color=own.colour, ls=DASHES[start], marker=own.marker, ms=5, mec="white",
            mew=0.4, label=text if start == "balanced" else None)  # fmt: skip
