"""Numbers with intervals: what a room measures and a claim is judged by.

Intervals over seeds are bootstrap intervals (scipy): BCa, or percentile where BCa is degenerate,
which the metric's note then states. The random numbers are fixed, so the same table always gives
the same interval. A bootstrap over few seeds is too narrow: for the mean of a normal sample the
nominal 95% cover about 47% at n = 2, 77% at 3, 84% at 5, 87% at 8 and 93% at 16; below 8 seeds the
note says so.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
_FEW = 8
_MANY = 1_000_000
_RNG_SEED = 2018


class Metric(NamedTuple):
    """A measured number and the interval it is known to.

    Fields:
        value: the number; nan where it could not be measured.
        low, high: its interval; nan where it is unknown.
        n: seeds it rests on; 0 for an exact number, which rests on none.
        kind: "exact" or "sample".
        note: what a reader must know about it, or "".
        direction: "increasing" or "decreasing" for a trend, else "".
    """

    value: float
    low: float
    high: float
    n: int
    kind: str
    note: str = ""
    direction: str = ""


def exact(value: float, error: float = 0.0) -> Metric:
    """Return a number that no seed changes, known to an error bound.

    Args:
        value: the number.
        error: bound on its absolute error, such as a quadrature's.
    """
    value, error = float(value), float(error)
    if not (math.isfinite(error) and error >= 0):
        raise ValueError(f"error must be finite and not negative, got {error}")
    if not math.isfinite(value):
        return Metric(math.nan, math.nan, math.nan, 0, "exact", f"the value is {value}")
    return Metric(value, value - error, value + error, 0, "exact")


def over_seeds(
    values: Any,
    statistic: Callable[..., Any] = np.mean,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Metric:
    """Return a statistic over seeds with its bootstrap interval.

    Members that are not finite are never dropped: the metric is then nan and its note says how
    many they are. One seed gives a value without an interval; equal seeds an interval of no width.

    Args:
        values: one number per seed, shape (seeds,).
        statistic: reduces an array to a number; along `axis` if it takes one, which is faster.
        level: confidence level.
        resamples: bootstrap samples.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must have shape (seeds,), got {array.shape}")
    reduce = _along_axis(statistic)
    return _bootstrap(array[None], lambda drawn: reduce(drawn[0]), level, resamples)


def paired_difference(a: Any, b: Any) -> Metric:
    """Return mean(a - b) over seeds that both have in the same order, shape (seeds,) each."""
    first, second = _pair(a, b)
    return over_seeds(first - second)


def ratio(a: Any, b: Any) -> Metric:
    """Return mean(a) / mean(b) over seeds that both have in the same order, (seeds,) each."""
    return _bootstrap(
        np.stack(_pair(a, b)),
        lambda drawn: drawn[0].mean(axis=-1) / drawn[1].mean(axis=-1),
    )


def slope(x: Any, values: Any) -> Metric:
    """Return the least-squares slope of values against x.

    Args:
        x: levels, shape (levels,); give logarithms of both for an exponent.
        values: shape (levels, seeds).
    """
    at, table = np.asarray(x, dtype=np.float64), _by_level(values)
    if at.shape != table.shape[:1] or np.ptp(at) == 0:
        raise ValueError(f"x must be {table.shape[0]} levels, not all equal, got {at}")
    centred = at - at.mean()
    return over_seeds(centred @ table / (centred @ centred))


def trend(values: Any, direction: str = "increasing") -> Metric:
    """Return the adjacent change that speaks most against a monotone trend of the means.

    The smallest change for "increasing" (all increase if it is above 0), the largest for
    "decreasing" (all decrease if it is below 0).

    Args:
        values: shape (levels, seeds).
        direction: what the claim says.
    """
    worst = {"increasing": np.min, "decreasing": np.max}
    if direction not in worst:
        raise ValueError(f"direction must be increasing or decreasing, got {direction!r}")

    def statistic(drawn: np.ndarray) -> Any:
        return worst[direction](np.diff(drawn.mean(axis=-1), axis=0), axis=0)

    return _bootstrap(_by_level(values), statistic)._replace(direction=direction)


def joint(values: Any, statistic: Callable[[np.ndarray], Any]) -> Metric:
    """Return a statistic of several levels at once, such as a correlation, over whole seeds.

    Args:
        values: shape (levels, seeds); a resample takes the same seeds at every level.
        statistic: takes (levels, ..., seeds) and returns (...), reducing the last axis too.
    """
    return _bootstrap(_by_level(values), statistic)


def required_n(metric: Metric, boundary: float) -> int | None:
    """Return the seeds it would take until the interval no longer reaches the boundary.

    The side of the interval towards the boundary is taken to shrink as 1/sqrt(n).

    Returns:
        None where no number can be said: exact metric, unknown interval, or a value so close to
        the boundary that a million seeds would not do.
    """
    above = boundary > metric.value
    side = metric.high - metric.value if above else metric.value - metric.low
    distance = abs(boundary - metric.value)
    if metric.kind == "exact" or not math.isfinite(side):
        return None
    if distance * math.sqrt(_MANY) <= max(side, 0.0) * math.sqrt(metric.n):
        return None
    return max(metric.n + 1, math.ceil(metric.n * (max(side, 0.0) / distance) ** 2))


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"a and b must be the same seeds, got {first.shape} and {second.shape}")
    return first, second


def _by_level(values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < 2:
        raise ValueError(f"values must have shape (levels >= 2, seeds), got {array.shape}")
    return array


def _along_axis(statistic: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    """Return the statistic along the last axis, whether or not it takes an axis."""
    try:
        vectorised = "axis" in inspect.signature(statistic).parameters
    except ValueError:  # some builtins have no signature
        vectorised = False
    if vectorised:
        return lambda array: statistic(array, axis=-1)
    return lambda array: np.apply_along_axis(statistic, -1, array)


def _bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], Any],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Metric:
    """Bootstrap whole seeds: the levels of one seed stay together.

    Args:
        values: shape (levels, seeds).
        statistic: takes (levels, ..., seeds), returns (...).
    """
    n = values.shape[1]
    if n == 0:
        raise ValueError("there are no seeds to take a statistic over")
    bad = int((~np.isfinite(values)).any(axis=0).sum())
    if bad:
        note = f"{bad} of {n} seeds have no finite value"
        return Metric(math.nan, math.nan, math.nan, n, "sample", note)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(values))
        if not math.isfinite(value):
            return Metric(math.nan, math.nan, math.nan, n, "sample", f"the statistic is {value}")
        if n == 1:
            note = "one seed: its interval is unknown"
            return Metric(value, math.nan, math.nan, 1, "sample", note)
        if not np.ptp(values, axis=1).any():
            return Metric(value, value, value, n, "sample", f"all {n} seeds gave the same")
        low, high, note = _interval(values, statistic, level, resamples)
    return Metric(value, low, high, n, "sample", note)


def _interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], Any],
    level: float,
    resamples: int,
) -> tuple[float, float, str]:
    """Return the interval and a note on what is unusual about it."""
    from scipy import stats

    n = values.shape[1]
    value = statistic(values)

    def of_seeds(picked: np.ndarray, axis: int = -1) -> Any:
        # scipy always asks for the last axis; BCa counts ties with the value, which the order of
        # a sum must not break
        found = statistic(values[:, picked])
        return np.where(np.abs(found - value) <= 1e-10 * np.ptp(found), value, found)

    def between(method: str) -> tuple[float, float]:
        found = stats.bootstrap(
            (np.arange(n),), of_seeds, n_resamples=resamples, confidence_level=level,
            method=method, vectorized=True, rng=np.random.default_rng(_RNG_SEED),
        )  # fmt: skip
        return float(found.confidence_interval.low), float(found.confidence_interval.high)

    notes = [f"only {n} seeds: the bootstrap interval is too narrow"] if n < _FEW else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate BCa shows as nan, which is handled here
        low, high = between("BCa")
        if not (math.isfinite(low) and math.isfinite(high)):
            notes.append("percentile interval: BCa is degenerate here")
            low, high = between("percentile")
    if not (math.isfinite(low) and math.isfinite(high)):
        return math.nan, math.nan, "the bootstrap has no finite interval"
    return low, high, "; ".join(notes)
