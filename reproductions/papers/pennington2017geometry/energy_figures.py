"""Pictures and measures of Figure 6: energies of minimisers, index against energy."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, joint, over_seeds, trend
from reproductions.harness.tables import by_seed, select
from reproductions.papers.pennington2017geometry import paper_facts, published
from reproductions.papers.pennington2017geometry.theory_figures import levels

SMALL = 0.15  # index up to which points are held against the published curve
LEAST = 8  # runs that a rank correlation needs


def _energies(table: Any, cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Return phi, ascending, and the energies (phi, seeds) where a cut was first passed."""
    rows = select(table, arm="minimiser", quantity="energy", cut=cut)
    return np.array(levels(rows, "phi")), by_seed(rows, "phi")


def _cuts(table: Any, arm: str) -> list[float]:
    return levels(select(table, arm=arm), "cut")


def measure_minimisers(table: Any) -> dict[str, Metric]:
    """Measure energies of minimisers at the last cut, and at the first."""
    cuts = _cuts(table, "minimiser")
    phi, energy = _energies(table, cuts[0])
    loose = _energies(table, cuts[-1])[1]
    linear = by_seed(select(table, quantity="linear_energy"), "phi")
    found = {"energy_trend": trend(energy, "decreasing")}
    for at, own, early, line in zip(phi, energy, loose, linear, strict=True):
        name, law = published.examples(at), (1 - at) ** 2 / 2
        late = _note_unfinished(table, at, cuts[0])
        found[f"minimum_energy_{name}"] = _noted(over_seeds(own), late)
        found[f"half_law_ratio_{name}"] = _noted(over_seeds(own / law), late)
        found[f"linear_ratio_{name}"] = over_seeds(line / ((1 - at) / 2))
        found[f"linear_half_ratio_{name}"] = over_seeds(line / ((1 - at / 2) / 2))
        if np.isfinite(published.minimum(at)):
            ratio, late = early / published.minimum(at), _note_unfinished(table, at, cuts[-1])
            found[f"loose_energy_ratio_{name}"] = _noted(over_seeds(ratio), late)
    return found


def _noted(metric: Metric, text: str) -> Metric:
    """Add a text to the note of a metric."""
    return metric._replace(note="; ".join(one for one in (metric.note, text) if one))


def _note_unfinished(table: Any, phi: float, cut: float) -> str:
    """Say how many members had not passed the cut when their steps were spent."""
    rows = select(table, arm="minimiser", quantity="gradient_square", cut=cut, phi=phi)
    late = int((rows.value > cut).sum())
    return f"{late} of {len(rows)} still above |gradient|^2 = {cut:g}" if late else ""


def figure_6b(table: Any) -> Any:
    """Draw energies of minimisers against phi over the published dots, and the two laws."""
    figure, (left, right) = style.new_figure(1, 2, width=9.4, height=4.2)
    at = np.linspace(0, 1, 101)
    law = (1 - at) ** 2 / 2
    read_phi, read = published.minima()
    cuts, look = _cuts(table, "minimiser"), style.series(0)
    phi, energy = _energies(table, cuts[0])
    means = [over_seeds(own) for own in energy]
    bars = np.abs([[one.low - one.value for one in means], [one.high - one.value for one in means]])
    value = np.array([one.value for one in means])
    linear = by_seed(select(table, quantity="linear_energy"), "phi").mean(1)
    for ax, less in ((left, False), (right, True)):
        shift = (1 - phi) ** 2 / 2 if less else 0.0
        read_shift = (1 - read_phi) ** 2 / 2 if less else 0.0
        style.reference(ax, read_phi, read - read_shift, "published", points=True)
        ax.errorbar(phi, value - shift, bars, fmt=look.marker, color=look.colour, capsize=3,
                    mec="white", label=f"ours, |gradient|² to {cuts[0]:g}")  # fmt: skip
        style.reference(ax, at, law - law if less else law, "(1 − φ)²/2", kind="derived")
        ax.set(xlabel="φ")
    loose, mark = _energies(table, cuts[-1])[1].mean(1) - (1 - phi) ** 2 / 2, style.series(1)
    right.plot(phi, loose, ls="none", marker=mark.marker, color=mark.colour, mec="white",
               label=f"ours, |gradient|² to {cuts[-1]:g}")  # fmt: skip
    line = style.series(2)
    left.plot(phi, linear, ls="none", marker=line.marker, color=line.colour, label="linear, ours")
    left.plot(at, (1 - at / 2) / 2, color=line.colour, lw=0.9, label="(1 − φ/2)/2")
    left.plot(at, (1 - at) / 2, color=line.colour, lw=0.9, ls=(0, (1.3, 1.5)), label="(1 − φ)/2")
    left.set(ylabel="energy of minimisers", title="Energy")
    right.set(title="Energy less (1 − φ)²/2")
    style.note(left, f"mean over n = {energy.shape[1]} networks; bars: 95 % bootstrap interval")
    square = select(table, arm="minimiser", quantity="gradient_square", cut=cuts[0]).value
    late = f"{(square > cuts[0]).sum()} of {len(square)} networks had not passed {cuts[0]:g}"
    style.note(right, late)
    style.legend(figure)
    return figure


def minimiser_cuts(table: Any) -> Any:
    """Draw energy over the published one against the squared gradient norm that was passed."""
    figure, ax = style.new_figure(width=6.6, height=4.4)
    cuts = _cuts(table, "minimiser")
    known = [phi for phi in _energies(table, cuts[0])[0] if np.isfinite(published.minimum(phi))]
    for number, phi in enumerate(known):
        look, ratios = style.series(number), []
        for cut in cuts:
            at, energy = _energies(table, cut)
            ratios.append(energy[at == phi].mean() / published.minimum(phi))
        ax.plot(cuts, ratios, color=look.colour, ls=look.linestyle, marker=look.marker, mec="white",
                label=f"φ = {published.fraction(phi)}")  # fmt: skip
    ax.axhline(1.0, color=style.PUBLISHED, lw=3.2, alpha=0.8, zorder=1.5, label="published")
    ax.set(xscale="log", xlabel="|gradient|² asked for", ylabel="energy over the published")
    ax.invert_xaxis()
    n = _energies(table, cuts[0])[1].shape[1]
    style.note(ax, f"mean over n = {n} networks; first point to pass; the paper asks for 1e-6")
    style.legend(figure)
    return figure


def _points(table: Any, arm: str, cut: float, phi: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (index, energy) of the runs that passed a cut; of all on the trajectory."""
    where = {"arm": arm, "cut": cut, "phi": phi}
    index, energy, square = (
        select(table, quantity=quantity, **where).sort_values("seed").value.to_numpy()
        for quantity in ("index", "energy", "gradient_square")
    )
    keep = np.full(len(index), True) if arm == "trajectory" else square <= cut
    return index[keep], energy[keep]


def _offsets(table: Any, arm: str, cut: float, phi: float) -> np.ndarray:
    """Return energies less the published ones at the same index, for small indices."""
    index, energy = _points(table, arm, cut, phi)
    curve = published.index_curve(phi)
    assert curve is not None
    small = index <= min(SMALL, curve[0].max())
    return energy[small] - np.interp(index[small], *curve)


def _searched(table: Any) -> list[float]:
    """Return the phi of searches for which there is a published curve."""
    found = levels(select(table, arm="searched"), "phi")
    return [phi for phi in found if published.index_curve(phi) is not None]


def measure_critical_points(table: Any) -> dict[str, Metric]:
    """Measure how far points are from the published curve, searched and not."""
    cut, found = _cuts(table, "searched")[0], {}
    for phi in _searched(table):
        name = published.fraction(phi).replace("/", "_")
        for arm, own in (("searched", cut), ("trajectory", 1.0)):
            offsets, passed = _mean(_offsets(table, arm, own, phi)), _passed(table, arm, own, phi)
            found[f"curve_offset_{arm}_{name}"] = _noted(offsets, passed)
        points = np.stack(_points(table, "searched", cut, phi))
        enough = points.shape[1] >= LEAST
        correlation = joint(points, _rank_correlation) if enough else _mean(points[:, 0:0])
        found[f"index_rank_correlation_{name}"] = correlation
    return found


def _passed(table: Any, arm: str, cut: float, phi: float) -> str:
    """Say how many runs passed a cut; the mean is over those of small index."""
    if arm == "trajectory":
        return ""
    every = len(_points(table, "trajectory", 1.0, phi)[0])
    passed = len(_points(table, arm, cut, phi)[0])
    return f"{passed} of {every} runs passed |gradient|^2 = {cut:g}"


def _mean(values: np.ndarray) -> Metric:
    """Return the mean over runs, no value where there is none."""
    return over_seeds(values) if values.size else exact(np.nan)


def _rank_correlation(drawn: np.ndarray) -> np.ndarray:
    from scipy import stats

    ranks = stats.rankdata(drawn, axis=-1)
    ranks = ranks - ranks.mean(-1, keepdims=True)
    return (ranks[0] * ranks[1]).sum(-1) / np.sqrt(np.prod((ranks**2).sum(-1), axis=0))


def figure_6a(table: Any) -> Any:
    """Draw index against energy of single runs over the published dots and lines."""
    phis, cut = _searched(table), _cuts(table, "searched")[0]
    figure, axes = style.new_figure(1, len(phis), width=3.3 * len(phis), height=4.0, squeeze=False)
    for ax, phi in zip(axes[0], phis, strict=True):
        curve = published.index_curve(phi)
        assert curve is not None
        order = np.argsort(curve[0])
        style.reference(ax, curve[1][order], curve[0][order], "published, means")
        shapes = (("trajectory", 1.0, "where descents stopped"), ("searched", cut, "searched"))
        for number, (arm, own, text) in enumerate(shapes):
            look = style.series(1 - number)
            index, energy = _points(table, arm, own, phi)
            ax.plot(energy, index, ls="none", marker=look.marker, ms=4, mec="white", mew=0.3,
                    color=look.colour, alpha=0.75, label=text)  # fmt: skip
        threshold, coefficient, _ = published.lines()[published.examples(phi)]
        at = np.linspace(threshold, 0.5, 60)
        ax.plot(at, coefficient * (at - threshold) ** 1.5, color="black", lw=1.0,
                label="published, line")  # fmt: skip
        total = len(_points(table, "trajectory", 1.0, phi)[0])
        passed = len(_points(table, "searched", cut, phi)[0])
        ax.set(title=f"φ = {published.fraction(phi)}", xlabel="energy ε", ylim=(-0.01, 0.42),
               xlim=(max(0.0, curve[1][0] - 0.08), 0.62))  # fmt: skip
        style.note(ax, f"{passed} of {total} searches passed {cut:g}")
    axes[0][0].set_ylabel("index α")
    style.legend(figure)
    return figure


def search_cuts(table: Any) -> Any:
    """Draw the mean offset from the published curve against the squared gradient norm asked for."""
    figure, (left, right) = style.new_figure(1, 2, width=9.4, height=4.2)
    cuts = [*_cuts(table, "searched"), 1.0]
    for number, phi in enumerate(_searched(table)):
        look, found, share = style.series(number), [], []
        for cut in cuts:
            arm = "trajectory" if cut == 1.0 else "searched"
            found.append(_mean(_offsets(table, arm, cut, phi)))
            runs = len(_points(table, "trajectory", 1.0, phi)[0])
            share.append(len(_points(table, arm, cut, phi)[0]) / runs)
        value = np.array([one.value for one in found])
        bars = np.abs([[one.low for one in found], [one.high for one in found]] - value)
        text = f"φ = {published.fraction(phi)}"
        left.errorbar(cuts, value, bars, color=look.colour, ls=look.linestyle, marker=look.marker,
                      mec="white", capsize=3, label=text)  # fmt: skip
        right.plot(cuts, share, color=look.colour, ls=look.linestyle, marker=look.marker,
                   mec="white")  # fmt: skip
    left.axhline(0.0, color=style.PUBLISHED, lw=3.2, alpha=0.8, zorder=1.5, label="published")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="|gradient|² asked for")
        ax.set_xticks([*cuts[::2], 1.0][: len(cuts)], None)
        ax.invert_xaxis()
    left.set(
        ylabel="energy less the published at the same index", title="Distance from Figure 6(a)"
    )
    right.set(ylabel="share of runs", title="Runs that passed", ylim=(0, 1.05))
    width = select(table, arm="searched").width.iloc[0]
    style.note(left, f"width {width:g}, the paper's 16; index up to {SMALL}; bars: 95 % bootstrap "
                     "interval over runs; 1: where descents stopped, no search")  # fmt: skip
    style.legend(figure)
    return figure


def free_exponents(table: Any) -> Any:
    """Draw fits with a free exponent to the published dots; our runs do not enter."""
    figure, axes = style.new_figure(2, 3, width=9.6, height=5.6)
    for ax, (count, fit) in zip(axes.flat, paper_facts.free_fits().items(), strict=True):
        exponent, first, factor = fit
        phi = 2 * published.WIDTH / count
        curve = published.index_curve(phi)
        assert curve is not None
        small = curve[0] <= 2 * published.SMALL
        style.reference(ax, curve[1][small], curve[0][small], "published, means", points=True)
        alpha = np.linspace(0, published.SMALL, 100)
        ax.plot(first + factor * alpha ** (1 / exponent), alpha, color=style.series(0).colour,
                label="free exponent")  # fmt: skip
        threshold, coefficient, _ = published.lines()[count]
        ax.plot(threshold + (alpha / coefficient) ** (2 / 3), alpha, color="black",
                ls=(0, (4, 2)), label="exponent 3/2, as published")  # fmt: skip
        ax.set(title=f"φ = {published.fraction(phi)}: exponent {exponent:.2f}", xlabel="energy ε")
    for ax in axes[:, 0]:
        ax.set_ylabel("index α")
    style.note(axes[1][0], f"fits over indices up to {published.SMALL}")
    style.legend(figure)
    return figure
