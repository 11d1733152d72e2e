"""The Hessian's index at solutions: what Figures 4 and 5 say, and their pictures.

The published histograms sit on multiples of 1 / (2 P), P the number of parameters: they show half
the fraction of negative eigenvalues. Ours are given both ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy import stats

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, over_seeds
from reproductions.harness.tables import by_seed, select
from reproductions.papers.choromanska2015loss import published

THRESHOLD, FINE = 1e-3, 1e-4  # the paper's, and a finer one
CLAIMED = 0.01  # "of the order of 0.01 or less"
PUBLISHED_WIDTHS = (10, 25, 50, 100)
MANY = 100  # solutions whose marks would hide each other
FEW = {25: 2}  # negative eigenvalues in the first published bin, where that is no single number


def widths(table: Any) -> np.ndarray:
    """Return the widths of a table in ascending order."""
    return np.unique(table.width.to_numpy())


def parameters(table: Any, width: int) -> int:
    """Return P of a width."""
    return int(select(table, quantity="parameters", width=width).value.iloc[0])


def counts(table: Any, width: int, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the eigenvalues below -threshold, a number a solution; nan where it diverged."""
    rows = select(table, quantity="negative_eigenvalues", width=width, threshold=threshold)
    return by_seed(rows)


def gradient_norms(table: Any, width: int) -> np.ndarray:
    """Return the norm of the full gradient of every solution."""
    return by_seed(select(table, quantity="gradient_norm", width=width))


def measure(table: Any) -> dict[str, Metric]:
    """Measure the index at the paper's threshold and a finer one, and the distance to rest."""
    found: dict[str, Metric] = {}
    for width in widths(table):
        number, size = counts(table, width), parameters(table, width)
        found[f"index_mean_{width}"] = over_seeds(number / size)
        found[f"index_max_{width}"] = exact(number.max() / size)
        found[f"index_half_max_{width}"] = exact(number.max() / (2 * size))
        found[f"negative_count_{width}"] = over_seeds(number)
        found[f"strict_minima_share_{width}"] = over_seeds(_at_most(number, 0))
        found[f"index_mean_fine_{width}"] = over_seeds(counts(table, width, FINE) / size)
        found[f"gradient_norm_{width}"] = over_seeds(gradient_norms(table, width))
        if width in FEW:
            found[f"few_negatives_share_{width}"] = over_seeds(_at_most(number, FEW[width]))
    return found


def _at_most(number: np.ndarray, most: int) -> np.ndarray:
    """Return 1 where a solution has at most so many, 0 where more, nan where it diverged."""
    return np.where(np.isfinite(number), number <= most, np.nan)


def bins(width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and the published share of solutions between them, half the fraction.

    Bins of the figure that are finer than 1 / (2 P), where one negative eigenvalue more would leave
    whole bins empty, are joined into one for each number of eigenvalues.

    Returns:
        edges (n + 1,) and shares (n,).
    """
    left, right, number = published.histogram(f"fig5_index_n{width}", "count")
    share, step = number / number.sum(), 1 / (2 * size)
    if right[0] - left[0] >= step:
        return np.append(left, right[-1]), share
    eigenvalues = np.floor(right / step + 1e-6).astype(int)  # bins are (left, right]
    most = eigenvalues[number > 0].max()
    shares = np.bincount(eigenvalues, share, most + 1)[: most + 1]
    return (np.arange(most + 2) - 0.5) * step, shares


def histogram(table: Any) -> Any:
    """Draw the distribution of the index by width, on both rulers, over the published one."""
    figure, axes = _panels(table, height=4.2)
    for width, ax in axes.items():
        _panel(ax, table, width)
        ax.set_ylabel("share of solutions")
    style.legend(figure)
    return figure


def _panels(table: Any, height: float, **subplots: Any) -> tuple[Any, dict[int, Any]]:
    """Return a figure and one axis a width, two beside each other."""
    at = widths(table).tolist()
    columns = min(2, len(at))
    rows = -(-len(at) // columns)
    figure, axes = style.new_figure(
        rows, columns, width=5.1 * columns, height=height * rows, squeeze=False, **subplots
    )
    for ax in axes.flat[len(at) :]:
        ax.set_axis_off()
    return figure, dict(zip(at, axes.flat, strict=False))


def _panel(ax: Any, table: Any, width: int) -> None:
    """Draw one width: our solutions in the bins of the published figure."""
    number, size = counts(table, width), parameters(table, width)
    whole = number[np.isfinite(number)]
    edges, shares = _edges(width, size, whole)
    if shares is not None:
        ax.stairs(shares, edges, fill=True, color=style.PUBLISHED, alpha=0.45,
                  label=f"published, n = {published.PUBLISHED_RUNS}")  # fmt: skip
    _draw_ours(ax, np.histogram(whole / (2 * size), edges)[0], len(number), edges)
    runs = len(number) if shares is None else published.PUBLISHED_RUNS
    right = float(edges[-1] if shares is None else edges[1:][shares > 0].max())
    right = max(right, whole.max(initial=0) / (2 * size))
    near = right > CLAIMED / 5
    shown = max(right, CLAIMED * near)
    ax.set(ylim=(min(0.5 / runs, 0.05), 2), yscale="log")
    ax.set_xlim(edges[0], shown + 0.05 * (shown - edges[0]))
    ax.set(title=f"n1 = {width}, P = {size}", xlabel="index as published: half the fraction")
    above = ax.secondary_xaxis("top", functions=(lambda x: 2 * x, lambda x: x / 2))
    above.set_xlabel("true fraction of negative eigenvalues")
    for axis in (ax.xaxis, above.xaxis):
        axis.set_major_locator(MaxNLocator(6))
    if near:
        _draw_claim(ax)
    most = whole.max(initial=0)
    style.note(ax, f"ours: {_solutions(number)}; most negative eigenvalues: {most:.0f}")
    style.note(ax, "" if near else f"0.01 lies {CLAIMED / right:.0f} times as far right")


def _draw_ours(ax: Any, found: np.ndarray, runs: int, edges: np.ndarray) -> None:
    """Draw our shares with intervals, by Clopper and Pearson, where there is a solution."""
    look = style.look("sgd")
    share = found / runs
    ax.stairs(share, edges, color=look.colour, lw=1.7, label="ours, bars: 95 % interval")
    there = found > 0
    low = stats.beta.ppf(0.025, found[there], runs - found[there] + 1)
    high = stats.beta.ppf(0.975, found[there] + 1, np.maximum(runs - found[there], 1e-9))
    ends = np.maximum([share[there] - low, high - share[there]], 0)
    centre = (edges[1:] + edges[:-1])[there] / 2
    ax.errorbar(centre, share[there], yerr=ends, fmt="none", color=look.colour, lw=1.1, capsize=2.5)


def _draw_claim(ax: Any) -> None:
    """Draw 0.01 on either ruler."""
    style.reference(ax, CLAIMED, None, "0.01 as published", kind="derived")
    ax.axvline(CLAIMED / 2, color="black", lw=1.1, ls=(0, (1, 1.5)), label="0.01 true fraction")


def _edges(width: int, size: int, number: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return edges that hold all our solutions, halved, and the published shares, if there are."""
    most, step = int(number.max(initial=0)), 1 / (2 * size)
    if width not in PUBLISHED_WIDTHS:
        return (np.arange(most + 2) - 0.5) * step, None
    edges, shares = bins(width, size)
    wide = edges[-1] - edges[-2]
    more = max(0, int(np.ceil((most * step - edges[-1]) / wide)))
    edges = np.append(edges, edges[-1] + wide * np.arange(1, more + 1))
    return edges, np.append(shares, np.zeros(more))


def thresholds(table: Any) -> Any:
    """Draw the index against the threshold below which an eigenvalue counts as zero."""
    figure, ax = style.new_figure()
    rows = select(table, quantity="negative_eigenvalues")
    size = {width: parameters(table, width) for width in widths(table)}
    share = rows.assign(value=rows.value / rows.width.map(size), width=rows.width.astype(str))
    names = [str(width) for width in size]
    style.plot_curves(
        ax, share, x="threshold", hue="width", order=names, band="range", xscale="log",
        labels={name: f"n1 = {name}" for name in names},
    )  # fmt: skip
    ax.set_xlim(rows.threshold.min() / 1.5, rows.threshold.max() * 1.5)
    style.reference(ax, THRESHOLD, None, "the paper's threshold", kind="derived")
    style.reference(ax, None, CLAIMED, "the paper's 0.01")
    ax.set(xlabel="threshold (nat)", ylabel="eigenvalues below -threshold\n(true fraction)")
    style.legend(ax)
    return figure


def gradients(table: Any) -> Any:
    """Draw the index of every solution against the norm of its full gradient, a panel a width."""
    figure, axes = _panels(table, height=3.3, sharex=True, sharey=True)
    norms = {width: gradient_norms(table, width) for width in axes}
    right = max(np.nanmax(norm, initial=0) for norm in norms.values())
    for place, (width, ax) in enumerate(axes.items()):
        norm, number, look = norms[width], counts(table, width), style.series(place)
        many = len(norm) > MANY  # raise marks of one number evenly, never at random
        raised = 0.6 * many * ((np.arange(len(norm)) * 0.618034) % 1)
        ax.plot(norm, (number + raised) / parameters(table, width), look.marker, alpha=0.8,
                color=look.colour, ms=4 if many else 6, mec="white", mew=0.4)  # fmt: skip
        mean = norm[np.isfinite(norm)].mean() if np.isfinite(norm).any() else np.nan
        ax.set(title=f"n1 = {width}, mean norm {mean:.3g}", xlim=(0, 1.05 * right or 1))
        ax.set(
            xlabel="norm of the full gradient (nat)",
            ylabel="true fraction of\nnegative eigenvalues",
        )
        ax.tick_params(labelbottom=True, labelleft=True)
        style.note(ax, _solutions(number) + "; a critical point has norm 0"
                   + "; marks raised by up to 0.6 of an eigenvalue" * many)  # fmt: skip
    return figure


def _solutions(number: np.ndarray) -> str:
    """Say how many solutions there are, and how many of them diverged."""
    lost = int((~np.isfinite(number)).sum())
    return f"n = {len(number)} solutions" + f", {lost} diverged" * bool(lost)


def spectrum(table: Any) -> Any:
    """Draw all eigenvalues of one solution of each width, in order."""
    figure, ax = style.new_figure(height=3.9)
    for number, width in enumerate(widths(table)):
        rows = select(table, quantity="eigenvalue", width=width).sort_values("index")
        below, size = counts(table, width)[0], parameters(table, width)
        look = style.series(number)
        ax.plot(rows["index"] / (size - 1), rows.value, color=look.colour, ls=look.linestyle,
                label=f"n1 = {width}: {below:.0f} of {size} below")  # fmt: skip
    ax.set_yscale("symlog", linthresh=THRESHOLD)
    ax.axhspan(-THRESHOLD, THRESHOLD, color=style.PUBLISHED, alpha=0.25, lw=0,
               label=f"counts as zero: within {THRESHOLD:g}")  # fmt: skip
    ax.set(xlabel="rank of the eigenvalue (fraction)", ylabel="eigenvalue (nat)")
    style.note(ax, "one solution a width, the first; linear within the shaded range")
    style.legend(ax)
    return figure
