"""Pictures of the networks' losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, joint, over_seeds
from reproductions.papers.choromanska2015loss import network_measures, paper_facts, published


def _density(ax: Any, values: np.ndarray, look: Any, text: str) -> None:
    """Draw a histogram of ours as a filled density; runs that diverged are told in its label."""
    lost, values = int((~np.isfinite(values)).sum()), values[np.isfinite(values)]
    if not len(values):
        return
    text += f" ({lost} diverged)" * bool(lost)
    bins = np.histogram_bin_edges(values, bins=max(8, round(1.5 * np.sqrt(len(values)))))
    ax.hist(values, bins=bins, density=True, histtype="stepfilled", alpha=0.35, color=look.colour)
    ax.hist(values, bins=bins, density=True, histtype="step", color=look.colour, lw=1.4,
            ls=look.linestyle, label=text)  # fmt: skip


def histograms(table: Any) -> Any:
    """Draw the distribution of the test loss by width, as it is and scaled as published."""
    figure, axes = style.new_figure(2, 1, height=6.4)
    test = network_measures.losses(table, "test_loss")
    for ax, scaled in zip(axes, (False, True), strict=True):
        for number, width in enumerate(network_measures.widths(table)):
            factor = paper_facts.scaling_factor(width) if scaled else 1.0
            _density(ax, test[number] * factor, style.series(number), f"n1 = {width}")
            if width in published.WIDTHS:
                theirs = published.losses(int(width))[1] * factor
                counts, edges = np.histogram(theirs, bins=40, density=True)
                ax.stairs(counts, edges, color=style.series(number).colour, lw=0.9, alpha=0.9,
                          label="published" if number == 0 else None)  # fmt: skip
    axes[0].set(xlabel="test loss (nat)", ylabel="density")
    axes[1].set(xlabel="test loss / exp(alpha n1^beta) (nat)", ylabel="density")
    style.note(axes[0], f"filled: ours, n = {test.shape[1]} starts a width; thin lines: published")
    style.note(
        axes[1],
        "both divided by exp({:.3f} n1^{:.3f}), recovered from the paper".format(
            *published.SCALING
        ),
    )
    style.legend(figure)
    return figure


def scatter(table: Any) -> Any:
    """Draw test against training loss of every network, one panel a width."""
    at = network_measures.widths(table)
    columns = min(3, len(at))
    rows = -(-len(at) // columns)
    figure, axes = style.new_figure(rows, columns, squeeze=False, width=9.6)
    train, test = (network_measures.losses(table, f"{which}_loss") for which in ("train", "test"))
    for number, (ax, width) in enumerate(zip(axes.flat, at, strict=False)):
        look = style.series(number)
        pair = np.stack([train[number], test[number]])
        whole = np.isfinite(pair).all(axis=0)
        text = f"n1 = {width}, r = {network_measures.correlation(pair[:, whole]):.2f}"
        if width in published.WIDTHS:
            theirs = published.losses(int(width))
            ax.plot(*theirs, ".", ms=2, color=style.PUBLISHED, zorder=1, rasterized=True)
            text += f" (published {np.corrcoef(*theirs)[0, 1]:.2f})"
        ax.plot(*pair, look.marker, ms=4, color=look.colour, mec="white", mew=0.4)
        ax.set_title(text, fontsize=9)
        ax.set_xlabel("training loss (nat)")
        lost = int((~whole).sum())
        note = f"n = {len(whole)}" + f", {lost} diverged" * bool(lost)
        style.note(ax, f"{note}; grey: published networks")
    for ax in axes.flat[len(at) :]:
        ax.set_axis_off()
    for row in axes:
        row[0].set_ylabel("test loss (nat)")
    return figure


def _against_width(
    ax: Any, at: np.ndarray, metrics: list[Metric], published_values: dict[int, float]
) -> None:
    """Draw a number with its interval against the width, over published points."""
    value, low, high = (
        np.array([getattr(m, part) for m in metrics]) for part in ("value", "low", "high")
    )
    if published_values:
        style.reference(ax, list(published_values), list(published_values.values()), "published",
                        points=True)  # fmt: skip
    ends = np.maximum([value - low, high - value], 0)
    look = style.look("sgd")
    ax.errorbar(at, value, yerr=ends, color=look.colour, marker=look.marker, capsize=3, lw=1.4,
                label="ours")  # fmt: skip
    ax.set(xscale="log", xlabel="hidden units n1")
    ax.set_xticks(at, [str(width) for width in at])
    ax.minorticks_off()
    style.note(ax, f"n = {metrics[0].n} starts a width; bars: 95 % interval")


def width(table: Any) -> Any:
    """Draw mean, variance and relative spread of the test loss against the width."""
    at, test = network_measures.widths(table), network_measures.losses(table, "test_loss")
    theirs = published.points("fig10_mean_variance").set_index("n1")
    theirs = theirs[theirs.index.isin(_within(at))]
    mean, variance = theirs.test_loss_mean, theirs.test_loss_variance
    figure, axes = style.new_figure(1, 3, height=3.7)
    panels = {
        "mean test loss (nat)": (np.mean, mean),
        "variance (nat²)": (network_measures.variance, variance),
        "standard deviation / mean": (network_measures.relative_spread, variance**0.5 / mean),
    }
    for ax, (text, (statistic, known)) in zip(axes, panels.items(), strict=True):
        points = known.to_dict()
        _against_width(ax, at, [over_seeds(values, statistic) for values in test], points)
        ax.set(ylabel=text, yscale="log")
    style.legend(figure)
    return figure


def _within(at: np.ndarray) -> list[int]:
    """Return the published widths in the range of ours, none where none is common."""
    common = set(at) & set(published.WIDTHS)
    return [w for w in published.WIDTHS if common and at.min() <= w <= at.max()]


def correlation(table: Any) -> Any:
    """Draw the correlation of training and test loss against the width."""
    at = network_measures.widths(table)
    pairs = [network_measures.losses(table, f"{which}_loss") for which in ("train", "test")]
    found = [
        joint(np.stack(pair), network_measures.correlation) for pair in zip(*pairs, strict=True)
    ]
    figure, ax = style.new_figure()
    _against_width(ax, at, found, {w: r for w, r in published.TABLE_1.items() if w in _within(at)})
    ax.set(ylabel="correlation of training and test loss", ylim=(min(0, ax.get_ylim()[0]), 1))
    style.legend(ax)
    return figure


def scaling(table: Any) -> Any:
    """Draw log mean test loss against the width with fits of c + alpha n^beta."""
    at = network_measures.widths(table)
    mean = np.nanmean(network_measures.losses(table, "test_loss"), axis=1)
    figure, ax = style.new_figure()
    fine = np.geomspace(at.min(), at.max(), 200)
    for text, values, look in _fits(at, mean):
        constant, alpha, beta = network_measures.fit_scaling(at.astype(float), values)
        ax.plot(at, values, look.marker, color=look.colour, mec="white")
        ax.plot(fine, np.exp(constant + alpha * fine**beta), color=look.colour, ls=look.linestyle,
                label=f"{text}: C exp({alpha:.2f} n^{beta:.2f})")  # fmt: skip
    alpha, beta = published.SCALING
    anchor = mean[-1] * np.exp(-alpha * float(at[-1]) ** beta)
    style.reference(ax, fine, anchor * np.exp(alpha * fine**beta),
                    f"published scaling exp({alpha:g} n^{beta:g}) through our widest")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="hidden units n1", ylabel="mean test loss (nat)")
    ax.set_xticks(at, [str(w) for w in at])
    ax.minorticks_off()
    style.note(
        ax, "three parameters on as few as four means of runs that did not diverge; beta to 0.01"
    )
    style.legend(ax)
    return figure


def _fits(at: np.ndarray, mean: np.ndarray) -> list[tuple[str, np.ndarray, Any]]:
    fits = [("ours", mean, style.look("sgd"))]
    if set(at) <= set(published.WIDTHS):
        theirs = np.array([published.losses(int(w))[1].mean() for w in at])
        fits.append(("published means", theirs, style.series(1)))
    return fits


def initialisation(table: Any) -> Any:
    """Draw the test loss by start and length at the best learning rate, one panel a width."""
    at = network_measures.widths(table)
    figure, axes = style.new_figure(1, len(at), squeeze=False)
    schemes, lengths = list(dict.fromkeys(table.arm)), np.unique(table.epochs)[[0, -1]]
    for ax, width in zip(axes[0], at, strict=True):
        for number, scheme in enumerate(schemes):
            for which, epochs in enumerate(lengths):
                rate, test = network_measures.at_best_rate(table, scheme, width, epochs)
                label = f"{epochs} epochs" if number == 0 else None
                _runs(ax, number + 0.3 * which - 0.15, test, which, rate, label)
        if width in published.WIDTHS:
            theirs = published.losses(int(width))[1]
            style.reference(ax, None, theirs.mean(), "published mean", error=2 * theirs.std())
        ax.set_xticks(range(len(schemes)), [scheme.replace("_", "\n") for scheme in schemes])
        ax.set(title=f"n1 = {width}", yscale="log")
        style.note(ax, f"n = {table.seed.nunique()} starts, at the best of the learning rates, told "
                   "as a multiple (x) of the authors'; band: two published standard deviations")  # fmt: skip
    axes[0][0].set_ylabel("test loss (nat)")
    style.legend(figure)
    return figure


def _runs(
    ax: Any, place: float, test: np.ndarray, which: int, rate: float, label: str | None
) -> None:
    """Draw the runs of one start and length, with the rate above them and what diverged."""
    look, whole = style.series(which), test[np.isfinite(test)]
    shift = np.linspace(-0.08, 0.08, len(test))[np.isfinite(test)]
    ax.plot(place + shift, whole, look.marker, ms=4, color=look.colour, mec="white", mew=0.4,
            label=label)  # fmt: skip
    lost = len(test) - len(whole)
    text = f"x{rate:g}" + f"\n{lost} diverged" * bool(lost)
    at = (place, whole.max()) if len(whole) else (place, 1.0)
    frame = "data" if len(whole) else ("data", "axes fraction")
    ax.annotate(text, at, xycoords=frame, xytext=(0, 4), textcoords="offset points", ha="center",
                va="bottom" if len(whole) else "top", fontsize=7)  # fmt: skip


def zero_error(table: Any) -> Any:
    """Draw training and test error against the width."""
    at = network_measures.widths(table)
    figure, ax = style.new_figure(height=3.9)
    for number, which in enumerate(("train", "test")):
        error, look = network_measures.losses(table, f"{which}_error"), style.series(number)
        low, high, mean = (of(error, axis=1) for of in (np.nanmin, np.nanmax, np.nanmean))
        ax.fill_between(at, low, high, color=look.colour, alpha=0.2, lw=0)
        ax.plot(at, mean, color=look.colour, marker=look.marker, ls=look.linestyle,
                label="training error" if which == "train" else "test error")  # fmt: skip
    images = int(table.images.iloc[0])
    ax.set_yscale("symlog", linthresh=1 / images, linscale=0.5)
    ax.set(xscale="log", xlabel="hidden units n1", ylabel="error (fraction)", ylim=(0, None))
    ax.set_xticks(at, [str(w) for w in at])
    ax.minorticks_off()
    first = network_measures.smallest_width_without_error(table)
    said = (
        "no width without error" if first is None else f"no error in any run from n1 = {first} on"
    )
    if first is not None:
        style.reference(ax, first, None, said, kind="derived")
    lost = int((~np.isfinite(error)).sum())
    note = f"{images} training images, n = {error.shape[1]} starts" + f", {lost} diverged" * bool(
        lost
    )
    style.note(ax, f"{note}, band: smallest to largest; {said}")
    style.legend(ax)
    return figure
