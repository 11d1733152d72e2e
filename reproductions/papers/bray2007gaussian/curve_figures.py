"""Pictures of the curve of energy against index, of its lower end and of the Hessian's spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.bray2007gaussian import curve_measures, found_measures
from reproductions.papers.bray2007gaussian.lookup import (
    FORMULA,
    KERNELS,
    RANDOM,
    critical,
    curve,
    laws,
    points,
    share,
    sizes,
)

_LIMIT = "N infinite"
_JITTER = 0.35  # of the distance of two indices, so that points of one index can be told apart


def energy_index(theory: Any, kac_rice: Any, search: Any) -> Any:
    """Draw points found in fields over the exact means and the curve, one panel a kernel."""
    n = found_measures.main_size(search)
    figure, axes = style.new_figure(1, 2, width=9.6, height=4.4, sharex=True)
    for ax, kernel in zip(axes, KERNELS, strict=True):
        counts = _scatter(ax, points(search, kernel, n), n)
        exact, look = laws(kac_rice, kernel, n), style.series(1)
        ax.fill_between(exact.share, exact.mean - exact.deviation, exact.mean + exact.deviation,
                        color=look.colour, alpha=0.22, lw=0, zorder=2.5,
                        label=f"± exact standard deviation, N = {n}")  # fmt: skip
        ax.plot(exact.share, exact.mean, color=look.colour, marker=look.marker, ms=3.5, lw=1.2,
                zorder=3, label=f"exact mean, N = {n}")  # fmt: skip
        style.reference(ax, *curve(theory, kernel), _LIMIT, kind="derived")
        ax.set(title=f"f = {FORMULA[kernel]}", xlabel="index, (k + ½)/(N + 1)")
        style.note(ax, "points found: " + ", ".join(f"{m} {start}" for start, m in counts.items()))
    axes[0].set_ylabel("energy per dimension")
    style.note(
        axes[0], "starts moved along the gradient leave a trace: see the figure of the starts"
    )
    style.legend(figure)
    return figure


def _scatter(ax: Any, found: Any, n: int) -> dict[str, int]:
    """Draw the points by start and return how many each has."""
    counts = {}
    for number, (start, own) in enumerate(sorted(found.groupby("start"), key=_random_last)):
        look = style.series((0, 3, 2)[number])
        shake = (np.random.default_rng(number).random(len(own)) - 0.5) * _JITTER / (n + 1)
        ax.plot(share(n)[own.negative] + shake, own.energy, ls="none", marker=look.marker, ms=2.6,
                color=look.colour, alpha=0.45, mew=0, label=f"start {start}")  # fmt: skip
        counts[str(start)] = len(own)
    return counts


def _random_last(pair: tuple[Any, Any]) -> bool:
    return pair[0] == RANDOM


def small_index(theory: Any, kac_rice: Any) -> Any:
    """Draw index against distance from eps_c, with the law of small indices and finite N."""
    figure, axes = style.new_figure(1, 2, width=9.6, height=4.2)
    distance, index = curve_measures.near(theory, "exponential")
    ax = axes[0]
    ax.plot(distance, index, color=style.series(0).colour, label="curve, N infinite")
    law = 4 * np.sqrt(2) / (3 * np.pi) * distance**1.5
    style.reference(ax, distance, law, "0.6002 (1 − ε/ε_c)^1.5", kind="derived")
    for number, n in enumerate(sizes(kac_rice)):
        own, look = laws(kac_rice, "exponential", n), style.series(number + 1)
        gap = 1 - own.mean / critical(theory, "exponential")
        keep = own.share < 0.5
        ax.plot(gap[keep], own.share[keep], color=look.colour, ls="none", marker=look.marker, ms=4,
                label=f"exact mean, N = {n}")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="1 − ε/ε_c", ylabel="index", title="Small indices",
           ylim=(1e-5, 0.7), xlim=(1e-3, 1.2))  # fmt: skip
    axes[1].plot(distance, index / law, color=style.series(0).colour)
    axes[1].axhline(1.0, color="black", lw=1.0, ls=(0, (4, 2)))
    axes[1].set(xscale="log", xlabel="1 − ε/ε_c", ylabel="index over its law", xlim=(1e-4, 1.0),
                title="How far the law of small indices reaches")  # fmt: skip
    style.note(ax, "every kernel has this curve in units of its ε_c; minima (lowest marks) come"
               " down as √(2/N)")  # fmt: skip
    style.legend(figure)
    return figure


def shifted_spectrum(theory: Any, matrices: Any, kac_rice: Any, search: Any) -> Any:
    """Draw Hessian spectra by energy over shifted semicircles, and the index of matrices."""
    n = found_measures.main_size(search)
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.0, width_ratios=(1.0, 1.0, 0.8))
    _draw_bands(axes[0], theory, search, n)
    _draw_exact(axes[1], kac_rice)
    _draw_matrices(axes[2], matrices)
    style.legend(figure)
    return figure


def _draw_bands(ax: Any, theory: Any, search: Any, n: int) -> None:
    """Draw the spectra of found points, each band about its mean energy."""
    end, bins = critical(theory, "exponential"), np.linspace(-2.2, 2.2, 45)
    for number, band in enumerate(found_measures.BANDS):
        levels = found_measures.centred(search, theory, "exponential", n, band)
        if not len(levels):
            continue
        shift, look = levels.energy.mean() / end, style.series((0, 1, 2)[number])
        density, _ = np.histogram(levels.level + shift, bins, density=True)
        ax.stairs(density, bins, color=look.colour, lw=1.2, fill=True, alpha=0.3)
        label = f"ε from {band[0]:g} to {band[1]:g}"
        ax.stairs(density, bins, color=look.colour, lw=1.2, label=label)
        _semicircle(ax, shift)
    ax.axvline(0.0, color=style.PUBLISHED, lw=0.8)
    ax.set(title=f"Found in fields, N = {n}", ylabel="density", ylim=(0, 0.8),
           xlabel="eigenvalue − own shift + mean shift")  # fmt: skip
    style.note(ax, "f = exp(−u); in radii 2√f″; each point's shift is its ε/ε_c")


def _semicircle(ax: Any, shift: float) -> None:
    x = np.linspace(-1, 1, 201)
    style.reference(ax, x + shift, 2 / np.pi * np.sqrt(1 - x * x), "shifted semicircle",
                    kind="derived")  # fmt: skip


def _draw_exact(ax: Any, kac_rice: Any) -> None:
    """Draw the exact spectra at fixed index, where no eigenvalue comes near zero."""
    rows = select(kac_rice, quantity="hessian_density")
    n = int(rows.dimensions.iloc[0])
    for number, k in enumerate(np.unique(rows["index"])):
        own, look = select(rows, index=int(k)), style.series((0, 1, 2)[number % 3])
        level, density = np.unique(own.level), by_seed(own, "level").mean(axis=1)
        ax.plot(level, density, color=look.colour, ls=look.linestyle, lw=1.3, label=f"k = {k}")
    ax.axvline(0.0, color=style.PUBLISHED, lw=0.8)
    ax.set(title=f"Exact at fixed index, N = {n}", xlabel="eigenvalue", ylabel="density",
           ylim=(0, 0.8))  # fmt: skip
    style.note(ax, "by Kac and Rice: the weight |det H| opens a gap at zero")


def _draw_matrices(ax: Any, matrices: Any) -> None:
    """Draw by how much the mean index of shifted matrices is off the semicircle's."""
    for number, n in enumerate(sizes(matrices)):
        at, off = curve_measures.deviations(matrices, n)
        look = style.series(number + 3)
        error = 2 * off.std(axis=1, ddof=1) / np.sqrt(off.shape[1])
        ax.errorbar(at, off.mean(axis=1), error, color=look.colour, ls=look.linestyle, capsize=2,
                    marker=look.marker, ms=4, lw=1.1, label=f"matrices, N = {n}")  # fmt: skip
    ax.axhline(0.0, color="black", lw=1.0, ls=(0, (4, 2)))
    ax.set(title="Index off the semicircle's", xlabel="shift, in radii", ylabel="difference")
    style.note(ax, f"{off.shape[1]} matrices a size; bars: 2 standard errors")
