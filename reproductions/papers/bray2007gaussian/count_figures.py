"""Pictures of exact numbers at finite N: convergence, spread, log numbers, both conditionings."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.papers.bray2007gaussian import count_measures, found_measures
from reproductions.papers.bray2007gaussian.lookup import (
    FORMULA,
    KERNELS,
    RANDOM,
    batches,
    curve,
    laws,
    least,
    points,
    residuals,
    share,
    sizes,
)

_LINES = {
    "shift_on_index_curve": "energy at fixed index, read backwards",
    "dominant_shift": "dominant shift at fixed energy",
    "bare_shift": "mean shift without the weight",
}


def finite_size(theory: Any, kac_rice: Any) -> Any:
    """Draw how the mean energy at fixed index and that of minima tend to their limits."""
    figure, axes = style.new_figure(1, 2, width=9.4, height=4.0)
    n = np.array(sizes(kac_rice), dtype=float)
    off = count_measures.quarter(theory, kac_rice, "exponential")
    look, spread = style.series(0), 2 * off.std(axis=1, ddof=1) / np.sqrt(off.shape[1])
    axes[0].errorbar(n, off.mean(axis=1), spread, color=look.colour, marker=look.marker, capsize=2,
                     label="exact mean minus curve, index ¼")  # fmt: skip
    x = curve(theory, "exponential")
    level = abs(float(np.interp(0.25, *x))) / 2
    style.reference(axes[0], n, level * np.log(n) / (n * (1 - level**2)),
                    "|ε| log N / (2N(1 − x²))", kind="derived")  # fmt: skip
    axes[0].set(title="Energy at fixed index", ylabel="distance from the curve")
    look = style.series(1)
    axes[1].plot(n, count_measures.gaps(theory, kac_rice), color=look.colour, marker=look.marker,
                 label="1 − ε/ε_c of minima, exact")  # fmt: skip
    style.reference(axes[1], n, np.sqrt(2 / n), "√(2/N)", kind="derived")
    free = 0.5 * 1.2065 * n ** (-2 / 3)
    axes[1].plot(n, free, color=style.PUBLISHED, ls=":", lw=1.6, label="free edge, 0.603 N^(−2/3)")
    axes[1].set(title="Energy of minima", ylabel="1 − ε/ε_c")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="dimensions N")
    style.note(axes[0], f"f = exp(−u); bars: 2 standard errors of {off.shape[1]} batches")
    style.note(axes[1], "the same for every kernel; quadrature, no sampling")
    style.legend(figure)
    return figure


def spread(theory: Any, kac_rice: Any, search: Any) -> Any:
    """Draw the standard deviation of the energy at fixed index against N, and its share found."""
    figure, axes = style.new_figure(1, 2, width=9.6, height=4.2)
    n = np.array(sizes(kac_rice), dtype=float)
    for number, kernel in enumerate(KERNELS):
        look = style.series(number)
        exact = count_measures.deviations(kac_rice, kernel).mean(axis=1)
        axes[0].plot(n, exact, color=look.colour, ls=look.linestyle, marker=look.marker,
                     label=f"{FORMULA[kernel]}, exact at index ½")  # fmt: skip
        _draw_found(axes, search, kac_rice, kernel, number)
    limits = count_measures.residual(kac_rice, "power")
    style.reference(axes[0], n, limits, "√(D/(N f″)), and √(log N)/N", kind="derived")
    style.reference(axes[0], n, np.sqrt(np.log(n)) / n, "_unsaid", kind="derived")
    axes[0].set(xscale="log", yscale="log", xlabel="dimensions N", title="Spread at fixed index",
                ylabel="standard deviation of ε")  # fmt: skip
    axes[1].set(
        title=f"By index, N = {found_measures.main_size(search)}",
        xlabel="index",
        ylabel="standard deviation of ε",
    )
    axes[1].set_ylim(0, 1.15 * axes[1].get_ylim()[1])  # fmt: skip
    style.note(axes[0], "found: root mean square about the exact mean, 95 % interval over fields")
    style.note(axes[1], "marks: points found from random starts, indices with 8 points or more")
    style.legend(figure)
    return figure


def _draw_found(axes: Any, search: Any, kac_rice: Any, kernel: str, number: int) -> None:
    """Draw what the points found from random starts spread by."""
    look = style.series(number)
    for n in sizes(search):
        away = residuals(search, kac_rice, kernel, n)
        away = away[away.start == RANDOM]
        metric = found_measures.rms(found_measures.per_field(away, "away", _square))
        error = [[metric.value - metric.low], [metric.high - metric.value]]
        axes[0].errorbar(n, metric.value, np.abs(error), color=look.colour, marker=look.marker,
                         mfc="white", ms=7, capsize=3, ls="none", zorder=4,
                         label=f"{FORMULA[kernel]}, found")  # fmt: skip
    n = found_measures.main_size(search)
    own = laws(kac_rice, kernel, n)
    axes[1].plot(own.share, own.deviation, color=look.colour, ls=look.linestyle)
    away = residuals(search, kac_rice, kernel, n)
    by_k = away[away.start == RANDOM].groupby("negative").away
    values = by_k.apply(lambda one: np.sqrt((one**2).mean()))[by_k.size() >= 8]
    axes[1].plot(share(n)[values.index], values, color=look.colour, marker=look.marker,
                 mfc="white", ms=6, ls="none")  # fmt: skip


def _square(one: np.ndarray) -> float:
    return float((one**2).mean())


def log_number(theory: Any, kac_rice: Any) -> Any:
    """Draw the log number of critical points by index at finite N over the limit's parabola."""
    figure, axes = style.new_figure(1, 2, width=9.4, height=4.2)
    for number, n in enumerate(sizes(kac_rice)):
        look = style.series(number)
        value = batches(kac_rice, "exponential", n, "log_number").mean(axis=1) / n
        ends = least(kac_rice, "exponential", n, "log_number") / n
        value[:2], value[-2:] = ends, ends[::-1]
        axes[0].plot(share(n), value, color=look.colour, ls=look.linestyle, lw=1.2,
                     marker=look.marker if n <= 20 else None, ms=3, label=f"exact, N = {n}")  # fmt: skip
    at, limit = curve(theory, "exponential", "log_number")
    style.reference(axes[0], at, limit, "constant − x²", kind="derived")
    axes[0].set(title="Critical points of each index", xlabel="index",
                ylabel="log number per dimension, unit box")  # fmt: skip
    n = np.array(sizes(kac_rice), dtype=float)
    look = style.series(0)
    axes[1].plot(n, count_measures.drops(kac_rice) / n, color=look.colour, marker=look.marker,
                 label="log(minima / index ½) / N")  # fmt: skip
    style.reference(axes[1], None, -1.0, "limit −1", kind="derived")
    axes[1].plot(n, -1 + 4 * np.sqrt(2) / 3 / np.sqrt(n), color=style.PUBLISHED, ls=":",
                 label="−1 + (4√2/3)/√N")  # fmt: skip
    axes[1].set(xscale="log", xlabel="dimensions N", title="How much rarer minima are",
                ylabel="log ratio per dimension", ylim=(-1.1, 0.0))  # fmt: skip
    style.note(axes[0], "f = exp(−u); k = 0, 1, N − 1 and N by quadrature, the others sampled")
    style.legend(figure)
    return figure


def conditionings(table: Any, search: Any) -> Any:
    """Draw shift and index against energy, one panel a kernel: the two regressions kept apart."""
    figure, axes = style.new_figure(1, 2, width=9.6, height=4.4)
    n, own = found_measures.main_size(search), sizes(table)[0]
    for ax, kernel in zip(axes, KERNELS, strict=True):
        found = points(search, kernel, n)
        found = found[found.start == RANDOM]
        ax.plot(found.energy, found["shift"], ls="none", marker="o", ms=2.2, mew=0, alpha=0.4,
                color=style.series(4).colour, label=f"points found, N = {n}")  # fmt: skip
        for number, (quantity, text) in enumerate(_LINES.items()):
            look = style.series((0, 1, 3)[number])
            ax.plot(*count_measures.line(table, kernel, quantity), color=look.colour,
                    ls=look.linestyle, lw=1.6, label=text)  # fmt: skip
        energy, mean = count_measures.line(table, kernel, "mean_shift", own)
        ax.plot(energy[::2], mean[::2], ls="none", marker="s", ms=5, mfc="white", color="black",
                label=f"exact mean at fixed energy, N = {own}")  # fmt: skip
        ax.set(title=f"f = {FORMULA[kernel]}", xlabel="energy per dimension ε")
        _draw_means(ax, found)
    axes[0].set_ylabel("shift of the Hessian's spectrum μ")
    style.note(axes[0], "D = 0: energy and shift are one number, all lines are one")
    style.note(axes[1], "D = 1; diamonds: mean energy of found points by shift, crosses: mean shift"
               " by energy")  # fmt: skip
    style.legend(figure)
    return figure


def _draw_means(ax: Any, found: Any) -> None:
    """Draw both regressions of the found points, in bins of at least 8."""
    for given, told, marker, flip in (
        ("shift", "energy", "D", True), ("energy", "shift", "X", False)
    ):  # fmt: skip
        edges = np.linspace(found[given].quantile(0.01), found[given].quantile(0.99), 9)
        bins = found.groupby(np.digitize(found[given], edges))
        means = bins[[given, told]].mean()[bins.size() >= 8]
        pair = (means[told], means[given]) if flip else (means[given], means[told])
        ax.plot(*pair, ls="none", marker=marker, ms=6, mfc="white" if flip else "black",
                mec="black", mew=1.0, zorder=5)  # fmt: skip
