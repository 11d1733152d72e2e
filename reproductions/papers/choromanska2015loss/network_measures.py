"""What the networks' losses say: width, spread, correlation, scaling, start and zero error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, joint, over_seeds, trend
from reproductions.harness.tables import by_seed, select
from reproductions.papers.choromanska2015loss import published

_BETAS = np.linspace(-3.0, -0.05, 296)  # searched for the scaling; 0.01 apart


def widths(table: Any) -> np.ndarray:
    """Return the widths of a table in ascending order."""
    return np.unique(table.width.to_numpy())


def losses(table: Any, quantity: str) -> np.ndarray:
    """Return (widths, seeds)."""
    return by_seed(select(table, quantity=quantity), "width")


def networks(table: Any) -> dict[str, Metric]:
    """Measure Figures 3 right, 7, 9, 10 and Table 1."""
    train, test = losses(table, "train_loss"), losses(table, "test_loss")
    found: dict[str, Metric] = {}
    for number, width in enumerate(widths(table)):
        found[f"test_mean_{width}"] = over_seeds(test[number])
        found[f"train_mean_{width}"] = over_seeds(train[number])
        found[f"test_variance_{width}"] = over_seeds(test[number], variance)
        found[f"correlation_{width}"] = joint(np.stack([train[number], test[number]]), correlation)
    found["test_mean_trend"] = trend(test, "decreasing")
    found["test_variance_trend"] = _falls(test, lambda drawn: np.log(variance(drawn)))
    found["test_relative_spread_trend"] = _falls(test, relative_spread)
    found |= _correlations(train, test)
    found |= _worst_z(widths(table), train, test)
    return found | scaling(widths(table), test)


def variance(values: np.ndarray, axis: int = -1) -> Any:
    """Return the unbiased variance along an axis."""
    return np.var(values, axis=axis, ddof=1)


def relative_spread(values: np.ndarray, axis: int = -1) -> Any:
    """Return standard deviation over mean along an axis."""
    return np.sqrt(variance(values, axis)) / values.mean(axis=axis)


def correlation(pair: np.ndarray) -> Any:
    """Return Pearson's correlation of (2, ..., seeds) along the last axis."""
    first, second = pair - pair.mean(axis=-1, keepdims=True)
    size = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return (first * second).sum(axis=-1) / size


def _falls(values: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> Metric:
    """Return the largest change of a statistic from one width to the next."""
    found = joint(values, lambda drawn: np.diff(statistic(drawn), axis=0).max(axis=0))
    return found._replace(direction="decreasing")


def _correlations(train: np.ndarray, test: np.ndarray) -> dict[str, Metric]:
    """Measure how the correlation changes with width; both losses of a seed stay together."""
    levels, both = len(train), np.concatenate([train, test])

    def by_width(drawn: np.ndarray) -> np.ndarray:
        return correlation(np.stack([drawn[:levels], drawn[levels:]]))

    fall = joint(both, lambda drawn: by_width(drawn)[-1] - by_width(drawn)[0])
    return {
        "correlation_trend": _falls(both, by_width),
        "correlation_fall": fall._replace(direction="decreasing"),
    }


def _worst_z(at: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, Metric]:
    """Hold Fisher's z of every correlation against Table 1, in standard errors of both."""
    found = []
    for number, width in enumerate(at):
        if width in published.TABLE_1:
            runs = len(published.losses(int(width))[0])
            own = correlation(np.stack([train[number], test[number]]))
            error = np.sqrt(1 / (train.shape[1] - 3) + 1 / (runs - 3))
            found.append(abs(np.arctanh(own) - np.arctanh(published.TABLE_1[width])) / error)
    return {"correlation_worst_z": exact(max(found))} if found else {}


def fit_scaling(at: np.ndarray, means: np.ndarray) -> tuple[Any, Any, Any]:
    """Fit log mean = c + alpha n^beta by least squares; beta to 0.01, the rest in closed form.

    Args:
        at: widths (levels,).
        means: mean losses (levels, ...).

    Returns:
        c, alpha and beta, each (...).
    """
    log = np.log(means)
    powers = at[:, None] ** _BETAS[None, :]
    centred = powers - powers.mean(axis=0)
    slope = np.tensordot(centred.T, log, axes=1) / (centred**2).sum(axis=0).reshape(
        -1, *[1] * (log.ndim - 1)
    )
    left = ((log - log.mean(axis=0)) ** 2).sum(axis=0)
    gained = slope**2 * (centred**2).sum(axis=0).reshape(-1, *[1] * (log.ndim - 1))
    best = np.argmin(left - gained, axis=0)
    alpha = np.take_along_axis(slope, best[None], axis=0)[0]
    constant = log.mean(axis=0) - alpha * powers.mean(axis=0)[best]
    return constant, alpha, _BETAS[best]


def scaling(at: np.ndarray, test: np.ndarray) -> dict[str, Metric]:
    """Refit the published scaling exp(alpha n^beta), on ours and on the published means."""
    known = np.isin(at, published.WIDTHS)
    if known.sum() < 4:
        return {}
    at, test = at[known].astype(float), test[known]
    theirs = np.array([published.losses(int(width))[1].mean() for width in at])
    beta = fit_scaling(at, theirs)[2]

    def fitted(which: int) -> Metric:
        return joint(test, lambda drawn: fit_scaling(at, drawn.mean(axis=-1))[which])

    ours = fitted(2)
    shifted = (ours.value - beta, ours.low - beta, ours.high - beta)
    return {
        "scaling_alpha": fitted(1),
        "scaling_beta": ours,
        "scaling_beta_difference": Metric(*shifted, *ours[3:]),
    }


def at_best_rate(table: Any, scheme: str, width: int, epochs: int) -> tuple[float, np.ndarray]:
    """Return the learning rate of least mean training loss and its test losses, (seeds,).

    A rate at which any member diverged never wins while another is whole.
    """
    rows = select(table, arm=scheme, width=width, epochs=epochs)
    train = by_seed(select(rows, quantity="train_loss"), "rate")
    test = by_seed(select(rows, quantity="test_loss"), "rate")
    mean = np.where(np.isfinite(train).all(-1), train.mean(-1), np.inf)
    best = int(np.argmin(mean))
    return float(np.unique(rows.rate)[best]), test[best]


def initialisation(table: Any) -> dict[str, Metric]:
    """Measure what start and length do to the test loss, against the published mean."""
    found: dict[str, Metric] = {}
    short, long = np.unique(table.epochs)[[0, -1]]
    for width in widths(table):
        own = at_best_rate(table, "uniform", width, short)[1]
        longer = at_best_rate(table, "uniform", width, long)[1]
        found[f"epochs_ratio_{width}"] = joint(
            np.stack([longer, own]), lambda drawn: drawn[0].mean(-1) / drawn[1].mean(-1)
        )
        if width in published.WIDTHS:
            theirs = published.losses(int(width))[1].mean()
            found[f"code_ratio_{width}"] = over_seeds(own / theirs)
            for scheme in ("unit_cube", "symmetric_cube"):
                cube = at_best_rate(table, scheme, width, long)[1]
                found[f"{scheme}_ratio_{width}"] = over_seeds(cube / theirs)
    return found


def zero_error(table: Any) -> dict[str, Metric]:
    """Measure the training error of the widest network and its fall down to zero."""
    error = losses(table, "train_error")
    first = smallest_width_without_error(table)
    upto = len(error) if first is None else int(np.searchsorted(widths(table), first)) + 1
    return {
        "train_error_widest": over_seeds(error[-1]),
        "train_error_trend": trend(error[: max(upto, 2)], "decreasing"),
    }


def smallest_width_without_error(table: Any, share: float = 1.0) -> int | None:
    """Return the smallest width at which at least a share of the runs has no training error."""
    error = losses(table, "train_error")
    done = np.mean(error == 0, axis=1) >= share
    return int(widths(table)[np.argmax(done)]) if done.any() else None
