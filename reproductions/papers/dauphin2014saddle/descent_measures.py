"""Measures of Figure 3, and of what its published curves say by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, ratio, trend
from reproductions.harness.tables import by_seed, select
from reproductions.papers.dauphin2014saddle import published

SECOND_ORDER = ("damped_newton", "saddle_free")
METHODS = ("momentum", *SECOND_ORDER)
ABLATIONS = ("gauss_newton", "newton")
LAST = 10  # epochs over which a published curve is asked whether it still falls
START = 0


def measure(table: Any, data: str) -> dict[str, Metric]:
    """Return what Figure 3 shows of one data set, "mnist" or "cifar"."""
    small, large = widths(table)[0], widths(table)[-1]
    found = _errors(table, data) | _published(data)
    free = lowest(table, large, "saddle_free")
    momentum = lowest(table, large, "momentum")
    found |= {
        f"descent_ratio_{data}_smallest": ratio(
            lowest(table, small, "saddle_free"), lowest(table, small, "momentum")
        ),
        f"descent_ratio_{data}_largest": ratio(free, momentum),
        f"descent_newton_ratio_{data}_largest": ratio(free, lowest(table, large, "damped_newton")),
        f"descent_growth_{data}": _growth(table, small, large),
        f"descent_start_curvature_{data}": over_seeds(
            negative_curvature(table, large, "damped_newton", START)
        ),
        f"equal_gradients_{data}": _at_equal_gradients(table, large),
        f"equal_seconds_{data}": _at_equal_seconds(table, large),
    }
    for other in ("momentum", "damped_newton"):
        found[f"descent_curvature_{data}_{other}"] = ratio(
            negative_curvature(table, large, "saddle_free"), negative_curvature(table, large, other)
        )
    return found | _ablations(table, data, large)


def widths(table: Any) -> list[int]:
    """Return the hidden units, ascending."""
    return sorted(int(width) for width in table["width"].unique())


def methods(table: Any, width: int) -> list[str]:
    """Return the methods that were run at a width, in the order of the paper."""
    there = set(table["arm"][table["width"] == width])
    return [method for method in (*METHODS, *ABLATIONS) if method in there]


def course(table: Any, width: int, method: str, quantity: str) -> np.ndarray:
    """Return a quantity (epochs, seeds) at the epochs it was taken, nan where a member failed."""
    return by_seed(select(table, width=width, arm=method, quantity=quantity), "step")


def lowest(table: Any, width: int, method: str) -> np.ndarray:
    """Return the lowest training error of every start, (seeds,).

    A member that failed keeps the lowest error it had before, and has none (nan) without any.
    """
    return _least(course(table, width, method, "train_error"))


def _least(values: np.ndarray) -> np.ndarray:
    """Return the least finite value of each column, nan where there is none."""
    least = np.where(np.isfinite(values), values, np.inf).min(axis=0)
    return np.where(np.isfinite(least), least, np.nan)


def negative_curvature(table: Any, width: int, method: str, epoch: int | None = None) -> np.ndarray:
    """Return minus the most negative eigenvalue of every start, or 0 where none is negative.

    Args:
        epoch: the last one when None.
    """
    own = select(table, width=width, arm=method, quantity="least_eigenvalue")
    at = select(own, step=int(own["step"].max()) if epoch is None else epoch)
    return np.maximum(-by_seed(at), 0.0)


def _errors(table: Any, data: str) -> dict[str, Metric]:
    return {
        f"descent_error_{data}_{method}_{width}": over_seeds(lowest(table, width, method))
        for width in widths(table)
        for method in METHODS
    }


def _growth(table: Any, small: int, large: int) -> Metric:
    """Return by how much the logarithm of the error's ratio to momentum's changes with size.

    The starts of two widths are paired by their seed; those that only one width has stay out.
    """
    logs = [
        np.log(lowest(table, width, "saddle_free") / lowest(table, width, "momentum"))
        for width in (small, large)
    ]
    both = min(map(len, logs))
    return trend(np.stack([one[:both] for one in logs]), "decreasing")


def _ablations(table: Any, data: str, large: int) -> dict[str, Metric]:
    there, free = methods(table, large), lowest(table, large, "saddle_free")
    found = {}
    if "gauss_newton" in there:
        other = lowest(table, large, "gauss_newton")
        found[f"ablation_gauss_newton_{data}"] = ratio(free, other)
    if "newton" in there:
        found[f"ablation_newton_{data}"] = ratio(lowest(table, large, "newton"), free)
    return found


def _at_equal_gradients(table: Any, width: int) -> Metric:
    """Return saddle-free Newton's error over momentum's at the gradients momentum spent in all.

    Its random search counts; the note says how many updates of saddle-free Newton that pays for.
    """
    allowed = spent_in_all(table, width, "momentum") + spent_in_search(table, width)
    return _at_equal(table, width, "gradients", allowed)


def _at_equal_seconds(table: Any, width: int) -> Metric:
    """Return the same at the seconds that momentum's own run took, its search not counted."""
    return _at_equal(table, width, "seconds", spent_in_all(table, width, "momentum", "seconds"))


def _at_equal(table: Any, width: int, cost: str, allowed: float) -> Metric:
    error = course(table, width, "saddle_free", "train_error")
    within = course(table, width, "saddle_free", cost) <= allowed
    found = ratio(_least(np.where(within, error, np.nan)), lowest(table, width, "momentum"))
    epochs = int(within.all(axis=1).sum()) - 1
    return found._replace(note="; ".join(filter(None, (found.note, f"{epochs} epochs paid for"))))


def spent_in_all(table: Any, width: int, method: str, cost: str = "gradients") -> float:
    """Return what a method had spent at the end: gradients of the whole set, or seconds."""
    return float(select(table, width=width, arm=method, quantity=cost)["value"].max())


def spent_in_search(table: Any, width: int) -> float:
    """Return the gradients of the random search, of which an epoch is one pass."""
    samples = select(table, width=width, quantity="search_error")["index"].nunique()
    return float(samples * int(table["step"].max()))


def _published(data: str) -> dict[str, Metric]:
    """Return what the published curves say: whether they still fall, and where they start."""
    found = {}
    for method in ("momentum", "damped_newton"):
        error = published.curve(published.CURVES, data, method).sort_values("epoch")
        error = error.set_index("epoch")["train_error"]
        then = error[error.index <= error.index.max() - LAST].iloc[-1]
        found[f"published_fall_{data}_{method}"] = exact((then - error.iloc[-1]) / then)
    starts = [_published_start(data, method) for method in METHODS]
    found[f"published_start_{data}"] = exact(max(starts) / min(starts))
    return found


def _published_start(data: str, method: str) -> float:
    points = published.curve(published.MOST_NEGATIVE, data, method).sort_values("epoch")
    return float(points["value"].iloc[0])
