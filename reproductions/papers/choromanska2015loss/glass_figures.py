"""Pictures of the spin glass: Figure 3 left in both readings, moments by size, the way down."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import over_seeds
from reproductions.harness.tables import select
from reproductions.papers.choromanska2015loss import glass_measures as glass
from reproductions.papers.choromanska2015loss import published
from reproductions.papers.choromanska2015loss.glass_measures import measure

__all__ = ["histograms", "measure", "moments", "relaxation"]

_BIN = 0.006  # four bins of the published figure
_BESIDE = 1.05  # points of one size stand beside each other
_TITLES = {glass.ONE: "One coupling tensor", glass.MANY: "Many coupling tensors"}
_BARRIER, _GROUND = r"barrier $-E_\infty$", r"ground state $-E_0$"


def histograms(table: Any) -> Any:
    """Draw the energies reached, one row a size, one column a reading of the experiment."""
    at = glass.sizes(table)
    figure, axes = style.new_figure(
        len(at), 2, width=8.4, height=1.2 + 1.45 * len(at), sharex=True, squeeze=False
    )
    for column, arm in enumerate(_TITLES):
        axes[0][column].set_title(_TITLES[arm])
        axes[-1][column].set_xlabel("energy per spin")
        for number, size in enumerate(at):
            ax = axes[number][column]
            _density(ax, glass.energies(table, arm, size), style.series(number))
            _published(ax, size)
            style.reference(ax, glass.BARRIER, None, _BARRIER, kind="derived")
            ax.axvline(glass.GROUND, color="black", lw=1.1, ls=":", label=_GROUND)
    for row, size in zip(axes, at, strict=True):
        row[0].set_ylabel(f"$\\Lambda$ = {size}\ndensity")
    style.note(axes[-1][0], "bins of 0.006; both lines are those of infinitely many spins")
    style.legend(figure)
    return figure


def _density(ax: Any, starts: np.ndarray, look: Any) -> None:
    """Draw ours, filled, and say how many they are."""
    density, edges = _binned(starts.ravel())
    ax.stairs(density, edges, fill=True, color=look.colour, alpha=0.45, label="_ours")
    ax.stairs(density, edges, color=look.colour, lw=1.0)
    tensors, each = starts.shape
    text = f"{each} starts" if tensors == 1 else f"{tensors} tensors × {each} starts"
    outside = int((~np.isfinite(starts)).sum())
    text += f", {outside} diverged" if outside else ""
    ax.text(0.99, 0.95, text, transform=ax.transAxes, ha="right", va="top", fontsize=8)


def _binned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the density of finite values in bins whose edges are multiples of the width."""
    values = values[np.isfinite(values)]
    first, last = np.floor(values.min() / _BIN), np.floor(values.max() / _BIN) + 1
    return np.histogram(values, bins=np.arange(first, last + 1) * _BIN, density=True)


def _published(ax: Any, size: int) -> None:
    """Draw the published histogram of a size, if there is one, in our bins."""
    if size not in glass.PUBLISHED_SIZES:
        return
    left, right, counts = published.histogram(glass.FIGURE_3, str(size))
    density, edges = _binned(np.repeat((left + right) / 2, counts))
    ax.stairs(density, edges, color=style.PUBLISHED, lw=1.6, label="published, 1000 runs", zorder=3)


def moments(table: Any) -> Any:
    """Draw mean and spread of the energies against the size, ours and published."""
    at = glass.sizes(table)
    figure, axes = style.new_figure(1, 2, width=9.0, height=3.9)
    panels = ((glass.mean, "mean energy per spin"), (glass.deviation, "standard deviation"))
    for number, (ax, (statistic, text)) in enumerate(zip(axes, panels, strict=True)):
        look = style.series(0)
        samples = [glass.sample(table, size, statistic) for size in at]
        metrics = [over_seeds(sample.values) for sample in samples]
        values = np.array([metric.value for metric in metrics])
        reach = np.array([[m.value - m.low, m.high - m.value] for m in metrics]).T
        variances = [float(glass.between(np.stack(sample))) for sample in samples]
        around = 2 * np.sqrt(variances)
        ax.fill_between(at, values - around, values + around, color=look.colour, alpha=0.15, lw=0,
                        label="± 2 standard deviations between tensors")  # fmt: skip
        ax.errorbar(at, values, yerr=np.abs(reach), color=look.colour, ls=look.linestyle, capsize=3,
                    marker=look.marker, label="many tensors, mean and 95 % interval")  # fmt: skip
        single = [float(statistic(glass.energies(table, glass.ONE, size))[0]) for size in at]
        other = style.series(3)
        ax.plot(np.divide(at, _BESIDE), single, color=other.colour, ls="none",
                marker=other.marker, ms=6, label="one tensor")  # fmt: skip
        known = [size for size in at if size in glass.PUBLISHED_SIZES]
        if known:
            theirs = [published.moments(glass.FIGURE_3, str(size))[number] for size in known]
            beside = np.multiply(known, _BESIDE)
            style.reference(ax, beside, theirs, "published (one tensor, it seems)", points=True)
        ax.set(xscale="log", xlabel=r"spins $\Lambda$", ylabel=text)
        ax.set_xticks(at, [str(size) for size in at])
        ax.minorticks_off()
    style.reference(axes[0], None, glass.BARRIER, _BARRIER, kind="derived")
    axes[1].set_ylim(bottom=0)
    style.note(axes[0], "tensors a size: " + ", ".join(
        str(len(glass.energies(table, glass.MANY, size))) for size in at))  # fmt: skip
    style.note(axes[1], "within one tensor, over its starts")
    style.note(axes[1], "band: the noise of few starts taken out")
    style.legend(figure)
    return figure


def relaxation(table: Any) -> Any:
    """Draw the mean energy above the barrier against the step, one curve a size."""
    figure, ax = style.new_figure(height=4.2)
    rows = select(table, arm=glass.MANY, quantity="relaxing_energy")
    moving = []
    for number, size in enumerate(glass.sizes(table)):
        look = style.series(number)
        above = select(rows, size=size).groupby("step").value.mean() - glass.BARRIER
        ax.plot(above.index, above, color=look.colour, ls=look.linestyle, marker=look.marker, ms=4,
                label=rf"$\Lambda$ = {size}")  # fmt: skip
        moving.append(f"{size}: {glass.restless(table, glass.MANY, size):.1%}")
    steps = above.index[above.index >= min(10, above.index[-1])].to_numpy()
    guide = above.loc[steps[0]] * (steps / steps[0]) ** (-2 / 3)
    style.reference(ax, steps, guide, "slope −2/3, for comparison", kind="derived")
    ax.set(xscale="log", yscale="log", xlabel="step",
           ylabel=r"mean energy per spin $+\,E_\infty$")  # fmt: skip
    style.note(ax, "mean over all starts of all tensors; a size levels off where its starts rest")
    style.note(ax, "runs not at rest at the end, Λ = " + ", ".join(moving))
    style.legend(ax)
    return figure
