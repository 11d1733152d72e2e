"""What the table of the spin glass says: energies reached, their spread, the barrier, distinct minima.

Whatever is judged rests on `many_tensors`: a number a tensor, and a bootstrap over tensors. The
published histogram of a size is taken for that of one tensor and held against the spread between
tensors, with the noise of its 1000 starts instead of that of our few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from reproductions.harness.statistics import LEVEL, Metric, exact, joint, over_seeds
from reproductions.harness.tables import by_seed, select
from reproductions.papers.choromanska2015loss import published

ONE, MANY, COUNTED = "one_tensor", "many_tensors", "enumeration"
FIGURE_3 = "fig3_left_spinglass"
PUBLISHED_SIZES = (25, 50, 100, 250, 500)
BARRIER = -2 * math.sqrt(2 / 3)  # -E_inf at p = 3
GROUND = -1.656998  # -E_0
UPHILL = -1e-3  # an eigenvalue of the Hessian below it is no rounding: not a minimum
STILL = 2e-4  # |tangent gradient| / sqrt N at rest, as in descents.py
_RESAMPLES = 2000
_FEWEST = 8  # tensors from which their spread is told
_DROWNED = 0.8  # share of the raw variance between tensors that noise may have


class Sample(NamedTuple):
    """One number a tensor, and the variance that its few starts give it."""

    values: np.ndarray  # (tensors,)
    noise: np.ndarray  # (tensors,)


def sizes(table: Any) -> list[int]:
    """Return the numbers of spins, ascending."""
    return np.unique(select(table, arm=MANY)["size"]).astype(int).tolist()


def energies(table: Any, arm: str, size: int) -> np.ndarray:
    """Return the energies per spin (tensors, starts) reached."""
    return by_seed(select(table, arm=arm, quantity="energy", size=size), "tensor")


def mean(starts: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis."""
    return starts.mean(axis=-1)


def deviation(starts: np.ndarray) -> np.ndarray:
    """Return the standard deviation over the last axis."""
    return starts.std(axis=-1, ddof=1)


def sample(table: Any, size: int, statistic: Callable[[np.ndarray], np.ndarray]) -> Sample:
    """Return a statistic over the starts of each tensor, with its jackknife variance."""
    starts = energies(table, MANY, size)
    count = starts.shape[1]
    without = [statistic(np.delete(starts, gone, axis=1)) for gone in range(count)]
    return Sample(statistic(starts), np.var(without, axis=0) * (count - 1))


def between(levels: np.ndarray) -> np.ndarray:
    """Return the variance between tensors, the noise of their starts taken out.

    Args:
        levels: (2, ..., tensors), values above and their noise below.
    """
    raw = levels[0].var(axis=-1, ddof=1)
    return np.maximum(raw - levels[1].mean(axis=-1), 0.0)


def distance(ours: Sample, theirs: float, their_noise: float) -> Metric:
    """Return (theirs - mean over tensors) / standard deviation of a tensor as theirs.

    Its variance is that between tensors and `their_noise`. Not told of few tensors, nor where the
    noise of few starts drowns the variance between tensors.
    """
    tensors, raw = len(ours.values), ours.values.var(ddof=min(1, len(ours.values) - 1))
    note = f"only {tensors} tensors: their spread is unknown" if tensors < _FEWEST else ""
    if not note and ours.noise.mean() > _DROWNED * raw:
        note = "too few starts a tensor to tell tensors apart"
    if note:
        return Metric(math.nan, math.nan, math.nan, tensors, "sample", note)

    def statistic(levels: np.ndarray) -> np.ndarray:
        off = theirs - levels[0].mean(axis=-1)
        return off / np.sqrt(between(levels) + their_noise)

    return joint(np.stack(ours), statistic)


def falling(groups: Sequence[np.ndarray]) -> Metric:
    """Return the change of the means, from one size to the next, that speaks most against a fall.

    Sizes have tensors of their own, so each is resampled by itself; percentile interval.
    """
    rng = np.random.default_rng(2015)

    def worst(means: Sequence[Any]) -> Any:
        return np.max(np.diff(np.stack(means), axis=0), axis=0)

    drawn = [group[rng.integers(0, len(group), (_RESAMPLES, len(group)))] for group in groups]
    found = worst([group.mean(axis=1) for group in drawn])
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    fewest = min(map(len, groups))
    return Metric(
        float(worst([group.mean() for group in groups])), float(low), float(high), fewest,
        "sample", f"fewest tensors of a size: {fewest}", "decreasing",
    )  # fmt: skip


def measure(table: Any) -> dict[str, Metric]:
    """Return everything that is measured on the spin glass."""
    found: dict[str, Metric] = {}
    for size in sizes(table):
        found |= _of_size(table, size)
    at = sizes(table)
    if len(at) > 1:
        for name, statistic in (("mean", mean), ("sd", deviation)):
            groups = [statistic(energies(table, MANY, size)) for size in at]
            found[f"glass_{name}_trend"] = falling(groups)
    ends = select(table, arm=ONE, quantity="distinct_energies")
    for size, count in zip(ends["size"], ends["value"], strict=True):
        found[f"glass_distinct_{int(size)}"] = exact(count)
    for size, counts in minima(table).items():
        found[f"glass_minima_{size}"] = over_seeds(counts[max(counts)])
    return found | {"glass_not_minima_share": over_seeds(saddles(table))}


def _of_size(table: Any, size: int) -> dict[str, Metric]:
    means, deviations = sample(table, size, mean), sample(table, size, deviation)
    below = (energies(table, MANY, size) < BARRIER).mean(axis=1)
    found = {
        f"glass_mean_{size}": over_seeds(means.values),
        f"glass_sd_{size}": over_seeds(deviations.values),
        f"glass_gap_{size}": over_seeds(means.values - BARRIER),
        f"glass_share_below_barrier_{size}": over_seeds(below),
    }
    if size in PUBLISHED_SIZES:
        centre, spread = published.moments(FIGURE_3, str(size))
        of_mean = spread**2 / published.PUBLISHED_RUNS
        found[f"glass_published_mean_z_{size}"] = distance(means, centre, of_mean)
        found[f"glass_published_sd_z_{size}"] = distance(deviations, spread, of_mean / 2)
    return found


def minima(table: Any) -> dict[int, dict[int, np.ndarray]]:
    """Return size -> starts -> distinct minima found on each tensor (tensors,)."""
    rows: Any = select(table, arm=COUNTED, quantity="distinct_minima")
    return {
        int(size): {
            int(starts): own.sort_values("tensor").value.to_numpy()
            for starts, own in of_size.groupby("starts")
        }
        for size, of_size in rows.groupby("size")
    }


def saddles(table: Any) -> np.ndarray:
    """Return, for every tensor, the share of its checked end points that are no minima."""
    rows = select(table, arm=MANY, quantity="smallest_eigenvalue")
    shares = (rows.value < UPHILL).groupby([rows["size"], rows["tensor"]]).mean()
    return shares.to_numpy()


def restless(table: Any, arm: str, size: int) -> float:
    """Return the share of runs that did not come to rest in the steps they had."""
    rows = select(table, arm=arm, quantity="gradient_norm", size=size)
    return float((rows.value > STILL).mean())
