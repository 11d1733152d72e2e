"""Pictures and measures of the Hessian's parts: Figures 2 to 5."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, over_seeds, ratio
from reproductions.harness.tables import by_seed, select
from reproductions.papers.pennington2017geometry import published
from reproductions.papers.pennington2017geometry.theory_figures import (
    cumulative_at,
    density,
    density_at,
    levels,
)

SUMS = {"sum": ("H0 + H1", "H0+H1"), "rotated": ("H0 + Q H1 Qᵀ", "H0+QH1QT")}
FIGURE_3 = {
    1 / 8: ("fig3_left", 1 / 16),
    1 / 2: ("fig3_right", 1 / 4),
}  # phi = 2n/m -> panel, label
RESIDUAL = "relu_residual"
STAGES = ("start", "early", "trained")  # the stops of training, in turn
NULL = 1e-3  # eigenvalues of a trained network, up to 8, that close to zero have no sign


def _eigenvalues(table: Any, **where: Any) -> np.ndarray:
    """Return (seeds, eigenvalues) of an arm, ascending."""
    return by_seed(select(table, quantity="eigenvalue", **where), "index").T


def _two_sample(first: np.ndarray, second: np.ndarray) -> float:
    """Return Kolmogorov's distance of two samples of equal size."""
    at = np.sort(np.concatenate([first, second]))
    ranks = [np.searchsorted(np.sort(one), at, side="right") for one in (first, second)]
    return float(np.abs(ranks[0] - ranks[1]).max() / len(first))


def measure_freeness(table: Any) -> dict[str, Metric]:
    """Measure how far the spectrum is from that with a rotated part, at every stop.

    The baseline is the distance of H0 alone: a rotation of a part that hardly matters says nothing.
    """
    found: dict[str, Metric] = {}
    for stage, stop in zip(STAGES, levels(table, "stop"), strict=True):
        own, turned = (_eigenvalues(table, arm=arm, stop=stop) for arm in SUMS)
        far, alone = _distances(table, stop)
        found |= {
            f"freeness_distance_{stage}": over_seeds(far),
            f"freeness_baseline_{stage}": over_seeds(alone),
            f"freeness_over_baseline_{stage}": ratio(far, alone),
            f"freeness_index_gap_{stage}": over_seeds(_index(turned) - _index(own)),
            f"freeness_top_ratio_{stage}": over_seeds(own.max(1) / turned.max(1)),
        }
    return found


def _index(values: np.ndarray) -> np.ndarray:
    """Return the share of eigenvalues that are negative by more than what is next to null."""
    return (values < -NULL).mean(1)


def _distances(table: Any, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the rotated sum, and H0 alone, are from H0 + H1, (seeds,) each."""
    own, turned, alone = (
        _eigenvalues(table, arm=arm, stop=stop) for arm in ("sum", "rotated", "alone")
    )
    pairs = ((own, turned), (own, alone))
    far, baseline = (np.array([_two_sample(*one) for one in zip(*p, strict=True)]) for p in pairs)
    return far, baseline


def figure_2(table: Any) -> Any:
    """Draw both histograms over the published ones, and both ends of the spectrum compared."""
    read = published.points("fig2_histograms")
    figure, (*axes, last) = style.new_figure(1, 3, width=11.0, height=3.9)
    edges, stop = np.arange(-0.5, 9.3, 0.2), levels(table, "stop")[-1]
    for number, (ax, (arm, (name, curve))) in enumerate(zip(axes, SUMS.items(), strict=True)):
        values, look = _eigenvalues(table, arm=arm, stop=stop), style.series(number)
        ax.hist(values.ravel(), bins=edges, density=True, color=look.colour, alpha=0.45,
                label="ours, all networks")  # fmt: skip
        own = read[read.curve == curve]
        ends = np.append(own.left, own.right.iloc[-1])
        ax.stairs(own.density, ends, color=style.PUBLISHED, lw=2.2, label="published, one network")
        ax.set(title=name, xlabel="eigenvalue λ", xlim=(-0.6, 9.2), yscale="log", ylim=(3e-3, 3))
    axes[0].set_ylabel("density")
    energy = select(table, quantity="energy", stop=stop).value.mean()
    style.note(axes[0], f"n = {len(values)} networks, energy {energy:.3f}")
    _draw_distances(last, table)
    style.legend(figure)
    return figure


def _draw_distances(ax: Any, table: Any) -> None:
    """Draw how far the rotated sum and H0 alone are, and the indices, at every stop."""
    stops = levels(table, "stop")
    found = [_distances(table, stop) for stop in stops]
    index = [[_index(_eigenvalues(table, arm=arm, stop=stop)) for arm in SUMS] for stop in stops]
    names = ["distance:\nrotated", "distance:\nH0 alone", "index:\nH0 + H1", "index:\nrotated"]
    for number, stop in enumerate(stops):
        energy = select(table, quantity="energy", stop=stop).value.mean()
        means = [over_seeds(own) for own in (*found[number], *index[number])]
        value = np.array([one.value for one in means])
        bars = np.abs([[one.low for one in means], [one.high for one in means]] - value)
        look = style.series(number + 2)
        ax.errorbar(np.arange(4) + 0.18 * (number - 1), value, bars, fmt=look.marker, capsize=3,
                    color=look.colour, mec="white",
                    label=f"after {stop:g} steps, energy {energy:.3f}")  # fmt: skip
    ax.set(ylim=(-0.01, None), xlim=(-0.5, 3.5), title="Does the rotation change it?")
    ax.set_xticks(range(4), names, fontsize=7.5)
    style.note(ax, "distance to H0 + H1 (Kolmogorov); bars: 95 % bootstrap interval")


def measure_error_signals(table: Any) -> dict[str, Metric]:
    """Measure H1 with noise for residuals, and which phi the published theory has."""
    found = {}
    for count in levels(select(table, arm="network"), "examples"):
        where = {"arm": "network", "examples": count}
        rows = select(table, quantity="variance", **where).sort_values("seed")
        phi = 2 * rows.width.iloc[0] / count
        law = levels(select(table, arm=RESIDUAL), "energy")[0] * phi / 2
        found[f"residual_variance_ratio_{count:g}"] = over_seeds(rows.value / law)
        values = np.sort(_eigenvalues(table, **where).ravel())
        theory = cumulative_at(values, density(table, RESIDUAL, phi, 2 * law / phi))
        ranks = np.arange(len(values) + 1) / len(values)
        gap = max((ranks[1:] - theory).max(), (theory - ranks[:-1]).max())
        found[f"residual_distance_{count:g}"] = exact(gap)
    found["published_figure_3_as_labelled"] = exact(_figure_3_misfit(table, doubled=False))
    found["published_figure_3_doubled"] = exact(_figure_3_misfit(table, doubled=True))
    return found


def _figure_3_misfit(table: Any, doubled: bool) -> float:
    """Return how far the red curves are from the closed form at their labelled or doubled phi."""
    worst = 0.0
    for phi, (panel, labelled) in FIGURE_3.items():
        read = published.points(f"{panel}_theory_red")
        x, y = read.eigenvalue.to_numpy(), read.density.to_numpy()
        x, y = x[y > 0.03], y[y > 0.03]  # near an end the place is read less well than the height
        energy = levels(select(table, arm=RESIDUAL), "energy")[0]
        curve = density(table, RESIDUAL, phi if doubled else labelled, energy)
        worst = max(worst, float(np.abs(density_at(x, curve) - y).max()))
    return worst


def figure_3(table: Any) -> Any:
    """Draw the spectra of H1 and the closed form at both phi over the published curves."""
    counts = sorted(levels(select(table, arm="network"), "examples"), reverse=True)
    figure, axes = style.new_figure(1, len(counts), width=9.0, height=4.0, squeeze=False)
    for ax, count in zip(axes[0], counts, strict=True):
        rows = select(table, arm="network", examples=count, quantity="eigenvalue")
        phi = 2 * float(rows.width.iloc[0]) / count
        panel, label = FIGURE_3[phi]
        ax.hist(rows.value, bins=120, density=True, color=style.series(0).colour, alpha=0.4,
                label="ours, noise for residuals")  # fmt: skip
        read = published.points(f"{panel}_empirical_blue")
        style.reference(ax, read.eigenvalue, read.density, "published, simulated")
        red = published.points(f"{panel}_theory_red")
        ax.plot(red.eigenvalue, red.density, color="#b04a5a", lw=3.0, alpha=0.45,
                label="published, theory")  # fmt: skip
        energy = levels(select(table, arm=RESIDUAL), "energy")[0]
        for at, line, text in ((phi, "-", "2n/m"), (label, (0, (4, 2)), "n/m")):
            ax.plot(*density(table, RESIDUAL, at, energy), color="black", ls=line, lw=1.1,
                    label=f"closed form, φ = {text}")  # fmt: skip
        reach = 1.15 * float(np.abs(rows.value).max())
        ax.set(title=f"labelled φ = {published.fraction(label)}, {count:g} examples",
               xlabel="eigenvalue λ", xlim=(-reach, reach))  # fmt: skip
    axes[0][0].set_ylabel("density")
    style.note(axes[0][0], f"n = {rows.seed.nunique()} networks")
    style.legend(figure)
    return figure


def measure_jacobian(table: Any) -> dict[str, Metric]:
    """Measure null directions and the gap of H0."""
    null = select(table, quantity="null", examples=_shown(table))
    phi, gaps = _gaps(table)
    scale = _scale(phi, gaps.mean(1))
    law = (1 - np.sqrt(phi[phi < 1])) ** 2
    misfit = np.sqrt(np.mean((gaps.mean(1)[phi < 1] / scale - law) ** 2))
    read = published.points("fig5_gap")
    dots = read[read.inv_phi > 1]
    off = (dots.gap_empirical_black - dots.gap_MP_red) / published.GAP_SCALE
    return {
        "null_directions_excess": exact((null.value - null.width).max()),
        "gap_misfit": exact(misfit),
        "gap_scale": exact(scale),
        "gap_above_one": exact(gaps[phi > 1].max()),
        "published_gap_misfit": exact(np.sqrt((off**2).mean())),
    }


def _shown(table: Any) -> float:
    """Return the number of examples of which all eigenvalues are there."""
    return levels(select(table, quantity="eigenvalue"), "examples")[0]


def _gaps(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return phi, ascending, and the gaps (phi, seeds)."""
    rows = select(table, quantity="gap")
    return np.array(levels(rows, "phi")), by_seed(rows, "phi")


def _scale(phi: np.ndarray, gap: np.ndarray) -> float:
    """Return sigma of sigma (1 - sqrt(phi))^2, by least squares over phi below 1."""
    law = (1 - np.sqrt(phi[phi < 1])) ** 2
    return float(law @ gap[phi < 1] / (law @ law))


def figure_4(table: Any) -> Any:
    """Draw the eigenvalues of H0 of one network, the smallest apart, over the published ones."""
    figure, (left, right) = style.new_figure(1, 2, width=9.0, height=3.8)
    values = np.sort(select(table, quantity="eigenvalue").value.to_numpy())
    width = int(select(table, quantity="null").width.iloc[0])
    scale = measure_jacobian(table)["gap_scale"].value
    bars, rest = published.points("fig4_histogram"), values[width:]
    centres = (bars.left + bars.right).to_numpy() / 2 / published.GAP_SCALE
    step = (bars.right - bars.left).median() / published.GAP_SCALE
    edges = bars.left.iloc[0] / published.GAP_SCALE + step * np.arange(240)
    left.hist(rest / scale, bins=edges, color=style.series(0).colour, alpha=0.4, label="ours")
    style.reference(left, centres, bars["count"], "published", points=True)
    left.set(xlabel="eigenvalue over the fitted scale σ", ylabel="eigenvalues in a bin",
             title="Without the null directions", xlim=(0, 85))  # fmt: skip
    small = values[: width + 35] / scale
    right.plot(
        np.arange(len(small)) - width, small, ".", color=style.series(0).colour, label="ours"
    )
    inset = published.points("fig4_inset_smallest_eigs")
    style.reference(
        right, inset.k, inset.eigenvalue / published.GAP_SCALE, "published", points=True
    )
    right.axvline(-0.5, color="#57606a", lw=0.8)
    right.set(xlabel="rank, from the first that is not null", title="The smallest eigenvalues")
    style.note(left, f"one network, {_shown(table):g} examples, {len(values)} parameters")
    style.legend(figure)
    return figure


def figure_5(table: Any) -> Any:
    """Draw the gap in units of the fitted scale against 1/phi over the published dots."""
    figure, ax = style.new_figure(width=6.4, height=4.2)
    phi, gaps = _gaps(table)
    scale, look = _scale(phi, gaps.mean(1)), style.series(0)
    low, high = np.percentile(gaps / scale, [5, 95], axis=1)
    mean = gaps.mean(1) / scale
    ax.errorbar(1 / phi, mean, [mean - low, high - mean], fmt=look.marker, color=look.colour,
                capsize=3, mec="white", label=f"ours, σ = {scale:.4f}")  # fmt: skip
    read = published.points("fig5_gap")
    style.reference(ax, read.inv_phi, read.gap_empirical_black / published.GAP_SCALE,
                    f"published, σ = {published.GAP_SCALE}", points=True)  # fmt: skip
    at = np.linspace(1, max(1 / phi.min(), 7.6), 200)
    style.reference(ax, at, (1 - at**-0.5) ** 2, "(1 − √φ)²", kind="derived")
    ax.set(xlabel="1/φ", ylabel="gap of H0 over σ")
    style.note(ax, f"mean over n = {gaps.shape[1]} networks; bars: middle 90 % of networks")
    style.legend(ax, loc="upper left")
    return figure
