"""Pictures of the search: what the starts leave in the energies, and how Gaussian the fields are."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import over_seeds
from reproductions.papers.bray2007gaussian import found_measures
from reproductions.papers.bray2007gaussian.lookup import (
    ASCENDED,
    DESCENDED,
    FORMULA,
    KERNELS,
    RANDOM,
    residuals,
    sizes,
)

_FEWEST = 5  # points of an index, to draw their mean
# 3/2 E[s^4] / E[s^2]^2 for the scales s of the waves
_EXCESS = {"exponential": 1.5, "power": 9.0}


def starts(kac_rice: Any, search: Any) -> Any:
    """Draw the energy found minus its exact mean, by index and start, and the share found."""
    n = found_measures.main_size(search)
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.0, width_ratios=(1.0, 1.0, 0.8))
    for ax, kernel in zip(axes[:2], KERNELS, strict=True):
        away = residuals(search, kac_rice, kernel, n)
        for number, start in enumerate((RANDOM, DESCENDED, ASCENDED)):
            look, by_k = style.series(number), away[away.start == start].groupby("negative").away
            keep = by_k.size() >= _FEWEST
            mean, error = by_k.mean()[keep], 2 * (by_k.std() / np.sqrt(by_k.size()))[keep]
            ax.errorbar(mean.index + 0.15 * (number - 1), mean, error, color=look.colour,
                        ls="none", marker=look.marker, ms=4.5, capsize=2, lw=1.1,
                        label=f"start {start}")  # fmt: skip
        ax.axhline(0.0, color="black", lw=1.0, ls=(0, (4, 2)))
        ax.set(title=f"f = {FORMULA[kernel]}", xlabel="negative eigenvalues k", ylim=(-0.6, 0.6))
    axes[0].set_ylabel("energy found − exact mean")
    style.note(axes[0], f"N = {n}; indices with {_FEWEST} points or more; bars: 2 standard errors")
    _draw_shares(axes[2], search)
    style.legend(figure)
    return figure


def _draw_shares(ax: Any, search: Any) -> None:
    """Draw the share of searches that ended at a new critical point."""
    for number, kernel in enumerate(KERNELS):
        look = style.series(3 + number)
        at = sizes(search)
        metrics = [over_seeds(found_measures.shares(search, kernel, n)[RANDOM]) for n in at]
        values = np.array([one.value for one in metrics])
        reach = np.array([[one.value - one.low, one.high - one.value] for one in metrics]).T
        ax.errorbar(at, values, np.abs(reach), color=look.colour, ls=look.linestyle, capsize=3,
                    marker=look.marker, label=f"{FORMULA[kernel]}, start random")  # fmt: skip
    ax.set(title="Searches that end", xlabel="dimensions N", ylabel="share", ylim=(0, 1.02))
    ax.set_xticks(at)
    style.note(ax, "95 % intervals over fields")


def waves(table: Any) -> Any:
    """Draw the excess of the fourth moment of the Hessian's spectrum against the waves."""
    figure, ax = style.new_figure(height=4.2)
    for number, kernel in enumerate(KERNELS):
        at, moments = found_measures.excess(table, kernel)
        look = style.series(number)
        error = 2 * moments.std(axis=1, ddof=1) / np.sqrt(moments.shape[1])
        mean = moments.mean(axis=1)
        keep = mean > error
        ax.errorbar(at[keep], mean[keep], error[keep], color=look.colour, ls=look.linestyle,
                    marker=look.marker, capsize=3, label=f"f = {FORMULA[kernel]}")  # fmt: skip
        style.reference(ax, at, _EXCESS[kernel] / at, "leading order, 3/2 E[s⁴]/E[s²]² N/K"
                        if number == 0 else "_unsaid", kind="derived")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="waves per dimension K/N",
           ylabel="fourth moment − that of matrices")  # fmt: skip
    ax.set_xticks(at, [f"{one:g}" for one in at])
    ax.minorticks_off()
    style.note(ax, f"N = {int(table.dimensions.iloc[0])}, {moments.shape[1]} fields; bars: 2 standard"
               " errors; values within their error of zero are left out")  # fmt: skip
    style.legend(ax)
    return figure
