"""What Figure 1 says, measured: at critical points, at all ends of searches, and at their starts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from reproductions.harness.statistics import Metric, exact, joint, over_seeds
from reproductions.papers.dauphin2014saddle import critical_table as places_of
from reproductions.papers.dauphin2014saddle import published

NEAR = 0.0125  # nat, as the experiment counts "near zero"
FEW = 8  # points below which no rank correlation is given
BANDS = {
    "mnist": {"low": (0.003, 0.007), "middle": (0.06, 0.10)},
    "cifar": {"low": (0.43, 0.46)},
}  # of the training error, where the published index is quoted


def measure(table: Any, data: str) -> dict[str, Metric]:
    """Measure Figure 1 on one data set.

    "critical" metrics rest on ends that are critical points alone, "ends" on all ends, as a reader
    without a criterion would draw them, "control" on the places where the searches start.

    Args:
        data: "mnist" or "cifar", which names the metrics.
    """
    start, end = places_of.places(table, "start"), places_of.places(table, "end")
    index = places_of.index_name(places_of.fine(table))
    good = end[end.kind == places_of.CRITICAL]
    found = published_facts(data)
    found[f"critical_reached_{data}"] = over_seeds(_or_failed(end, end.critical))
    flat = end.kind == places_of.KERNEL
    drawn = end.critical.to_numpy(dtype=bool) & (end.train_error <= highest_drawn(data))
    found[f"critical_drawn_{data}"] = over_seeds(_or_failed(end, drawn))
    found[f"kernel_reached_{data}"] = over_seeds(_or_failed(end, flat))
    for name, points in (("critical", good), ("ends", end), ("control", start)):
        found[f"{name}_spearman_{data}"] = rank_correlation(points, index, "train_error")
        shift = rank_correlation(points, "smallest_eigenvalue", "train_error")
        found[f"{name}_shift_{data}"] = shift._replace(direction="decreasing")
        found[f"{name}_threshold_ratio_{data}"] = threshold_ratio(points, table)
    zero = places_of.index_name(places_of.thresholds(table)[0])
    found[f"ends_spearman_zero_{data}"] = rank_correlation(end, zero, "train_error")
    found[f"critical_least_error_{data}"] = least_error(good, "critical points")
    found |= _near_zero(table, end, data)
    if data == "mnist":
        cube = end[end.arm == "unit_cube"]
        found["cube_least_error_mnist"] = least_error(cube, "searches from the unit cube")
        near = end[end.arm == "near_runs"]
        found["near_runs_spearman_mnist"] = rank_correlation(near, index, "train_error")
    for name, band in BANDS[data].items():
        found[f"critical_index_{data}_{name}"] = mean_within(good, index, band)
    return found


def published_facts(data: str) -> dict[str, Metric]:
    """Measure what the published points say by themselves."""
    every = published.points(published.POINTS[data])
    each = every.drop_duplicates()
    return {
        f"published_spearman_{data}": exact(spearman(each[["index", "train_error"]].to_numpy().T)),
        f"published_points_{data}": exact(len(every)),
        f"published_distinct_{data}": exact(len(each)),
        f"published_lowest_index_{data}": exact(each["index"].min()),
    }


def highest_drawn(data: str) -> float:
    """Return the highest training error among the published points."""
    return float(published.points(published.POINTS[data])["train_error"].max())


def spearman(pair: np.ndarray) -> Any:
    """Return the rank correlation of (2, ..., points) along the last axis, ties at mean rank.

    Where one of the two does not vary it is nan.
    """
    first, second = stats.rankdata(pair, axis=-1)
    first, second = (one - one.mean(axis=-1, keepdims=True) for one in (first, second))
    size = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=-1) / size


def rank_correlation(points: Any, one: str, other: str) -> Metric:
    """Return the rank correlation of two columns; points that failed are no points and are told."""
    whole = points[np.isfinite(points.train_error)]
    if len(whole) < FEW:
        return _none(len(whole), f"{len(whole)} points, and {FEW} is the least")
    return _telling(joint(whole[[one, other]].to_numpy().T, spearman), points, whole)


def threshold_ratio(points: Any, table: Any) -> Metric:
    """Return the mean index at the finest threshold above zero over that at the coarsest."""
    low, high = places_of.fine(table), places_of.thresholds(table)[-1]
    names = [places_of.index_name(low), places_of.index_name(high)]
    whole = points[np.isfinite(points.train_error)]
    if len(whole) < FEW:
        return _none(len(whole), f"{len(whole)} points, and {FEW} is the least")
    pair = whole[names].to_numpy().T
    if not pair[1].any():
        return _none(len(whole), f"no eigenvalue lies below -{high:g}")
    return _telling(joint(pair, lambda both: both[0].mean(-1) / both[1].mean(-1)), points, whole)


def mean_within(points: Any, column: str, band: tuple[float, float]) -> Metric:
    """Return the mean of a column over points whose training error lies within a band."""
    inside = points[(points.train_error >= band[0]) & (points.train_error <= band[1])]
    if not len(inside):
        return _none(0, f"no critical point has an error of {band[0]:g} to {band[1]:g}")
    return over_seeds(inside[column])


def semicircle_share(low: Any, high: Any, near: float) -> Any:
    """Return the mass within `near` of zero of a semicircle from low to high."""
    centre, radius = (low + high) / 2, (high - low) / 2
    ends = [np.clip((at - centre) / radius, -1, 1) for at in (-near, near)]
    below = [0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi for x in ends]
    return below[1] - below[0]


def _near_zero(table: Any, end: Any, data: str) -> dict[str, Metric]:
    """Measure the mode at zero of the three spectra kept, by itself and beside a semicircle's."""
    names = [f"critical_share_near_zero_{data}", f"critical_mode_excess_{data}"]
    kept = table[table.quantity == "eigenvalue"][["arm", "seed"]].drop_duplicates()
    if not len(kept):
        return dict.fromkeys(names, _none(0, "no search has an end with a spectrum"))
    shown = kept.merge(end, on=["arm", "seed"])
    share = shown.near_zero_eigenvalues / places_of.parameters(table)
    circle = semicircle_share(shown.smallest_eigenvalue, shown.largest_eigenvalue, NEAR)
    other = int((shown.kind != places_of.CRITICAL).sum())
    note = f"{other} of the {len(shown)} spectra are of no critical point" if other else ""
    values = share.min(), (share / circle).min()
    return {
        name: exact(value)._replace(note=note) for name, value in zip(names, values, strict=True)
    }


def least_error(points: Any, what: str) -> Metric:
    """Return the lowest training error of some points; of those that failed there is none."""
    error = points.train_error
    if not error.notna().any():
        return _none(0, f"there are no {what} with an error")
    return exact(error.min())._replace(note=f"the least of {len(error)} {what}")


def _or_failed(end: Any, happened: Any) -> np.ndarray:
    """Return 1 where a search did, 0 where not; a search that failed did not."""
    return np.where(np.isfinite(end.train_error), happened, 0.0).astype(float)


def _telling(metric: Metric, points: Any, whole: Any) -> Metric:
    lost = len(points) - len(whole)
    said = f"{lost} of {len(points)} points diverged and are left out" if lost else ""
    return metric._replace(note="; ".join(filter(None, (metric.note, said))))


def _none(points: int, why: str) -> Metric:
    return Metric(math.nan, math.nan, math.nan, points, "sample", why)
