"""Measures of teleports that are chosen: small problems, and real images."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import (
    Metric,
    exact,
    joint,
    over_seeds,
    paired_difference,
    ratio,
)
from reproductions.harness.tables import by_seed, select

PLANES, REGRESSIONS = ("rosenbrock", "booth"), ("gd", "adagrad")
ARMS = (
    "sgd", "random", "random_rates", "symmetry_start", "symmetry_rates", "symmetry_early",
    "level_start", "level_during",
)  # fmt: skip
FITTED, HELD = "exponent_by_train_loss", "exponent_by_validation_loss"
TINY = 1e-300  # a loss of zero has no logarithm
LOST = 10.0  # nat: stands for the logarithm of a loss that is not finite; no such rate is chosen
MOMENTS = {"_early": 0.2, "": 0.5, "_late": 0.8}  # of the epochs: SGD's loss then is to be reached


def small(table: Any) -> dict[str, Metric]:
    """Measure what teleports do on functions of the plane and on a small network."""
    found = {f"beyond_{name}_log_ratio": _log_ratio(table, name, "code") for name in PLANES}
    found |= {f"beyond_{name}_log_ratio": _log_ratio(table, name, "exact") for name in REGRESSIONS}
    steepest = {
        f"beyond_{name}_steepest_log_ratio": _log_ratio(table, name, "steepest") for name in PLANES
    }
    return found | steepest | _group(table) | _diagonal(table)


def images(table: Any, data: str) -> dict[str, Metric]:
    """Measure what the arms save on one data set, "mnist" or "cifar", and what it costs."""
    found: dict[str, Metric] = {}
    for arm in ARMS[1:]:
        name = f"beyond_{data}_{arm}"
        for moment, share in MOMENTS.items():
            found[f"{name}_epochs{moment}"] = saved(table, arm, "epochs", share)
        found |= {
            f"{name}_gradients": saved(table, arm, "gradients"),
            f"{name}_area": area(table, arm),
            f"{name}_final": final(table, arm),
            f"{name}_seconds": saved(table, arm, "seconds"),
            f"{name}_epochs_held": saved(table, arm, "epochs", by=HELD),
            f"{name}_test_error": _test_error(table, arm),
        }
    level = select(table, arm="level_during", quantity="loss_rise")
    once = chosen(table, "level_start", "loss_rise")[0]  # the same at every learning rate
    rises = np.concatenate([once, level["value"][level["status"] == "ok"]])
    return found | {
        f"beyond_{data}_symmetry_over_rates_area": area(table, "symmetry_start", "symmetry_rates"),
        f"beyond_{data}_symmetry_over_rates_final": final(
            table, "symmetry_start", "symmetry_rates"
        ),
        f"beyond_{data}_level_excess": _largest(rises, "teleports"),
        f"beyond_{data}_level_gain": over_seeds(chosen(table, "level_start", "log_norm_gain")[0]),
        f"beyond_{data}_symmetry_gain": over_seeds(
            chosen(table, "symmetry_start", "log_norm_gain")[0]
        ),
    }


def area(table: Any, arm: str, other: str = "sgd") -> Metric:
    """Return by how much the mean over epochs of the logarithm of the loss is above another's.

    Each arm is at the learning rate at which its own mean is least, in every resample anew.
    """
    return _gap([_areas(table, one) for one in (arm, other)] * 2)


def final(table: Any, arm: str, other: str = "sgd") -> Metric:
    """Return by how much the logarithm of the last loss is above another's, at the same rates."""
    both = [_logs(table, one)[:, -1] for one in (arm, other)]
    return _gap([_areas(table, one) for one in (arm, other)] + both)


def _gap(parts: list[np.ndarray]) -> Metric:
    """Return the difference of what two arms have at the rates of their least scores.

    Args:
        parts: scores of one and of the other, then what they have, (rates, seeds) each.
    """

    def statistic(drawn: np.ndarray) -> Any:
        scores, others, own, theirs = np.split(drawn.mean(-1), 4)
        return _picked(own, scores) - _picked(theirs, others)

    return joint(np.concatenate(parts), statistic)


def _picked(values: np.ndarray, scores: np.ndarray) -> Any:
    return np.take_along_axis(values, scores.argmin(0)[None], 0)[0]


def _areas(table: Any, arm: str) -> np.ndarray:
    return _logs(table, arm).mean(1)


def _logs(table: Any, arm: str) -> np.ndarray:
    """Return the logarithm of an arm's training loss, (rates, T, seeds)."""
    own = select(table, arm=arm, quantity="train_loss")
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(by_seed(own, "exponent", "step"))
    return np.where(np.isfinite(logs), logs, LOST)


def chosen(table: Any, arm: str, quantity: str, by: str = FITTED) -> np.ndarray:
    """Return a quantity (T, seeds) of an arm at its own best learning rate.

    Args:
        by: which loss the rate was chosen by, FITTED or HELD.
    """
    own = select(table, arm=arm)
    exponent = select(own, quantity=by)["value"].iloc[0]
    return by_seed(select(own, exponent=exponent, quantity=quantity), "step")


def saved(table: Any, arm: str, cost: str, share: float = 0.5, by: str = FITTED) -> Metric:
    """Return an arm's cost of the loss that SGD has after a share of its epochs, over SGD's own.

    Where the loss is not reached the cost of the whole run stands in, which is kinder than the
    truth; the note counts these seeds.

    Args:
        cost: "epochs", "gradients" or "seconds".
        by: which loss both rates were chosen by.
    """
    plain = chosen(table, "sgd", "train_loss", by)
    level = plain[round(share * (len(plain) - 1))]
    loss = chosen(table, arm, "train_loss", by)
    ours, missed = _reached(loss, _cost(table, arm, cost, by), level)
    theirs, _ = _reached(plain, _cost(table, "sgd", cost, by), level)
    found = ratio(ours, theirs)
    late = f"{missed} of {len(level)} seeds never reach it" if missed else ""
    return found._replace(note="; ".join(filter(None, (found.note, late))))


def _cost(table: Any, arm: str, cost: str, by: str) -> np.ndarray:
    if cost != "epochs":
        return chosen(table, arm, cost, by)
    loss = chosen(table, arm, "train_loss", by)
    return np.broadcast_to(np.arange(len(loss), dtype=float)[:, None], loss.shape)


def _reached(loss: np.ndarray, cost: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the cost (seeds,) at which the loss first is at its level, and how many never are.

    Between two epochs the logarithm of the loss is taken to fall evenly.
    """
    found, missed = cost[-1].copy(), 0
    for seed, (own, spent, wanted) in enumerate(zip(loss.T, cost.T, level, strict=True)):
        with np.errstate(invalid="ignore"):
            there = np.flatnonzero(own <= wanted)
        if not there.size:
            missed += 1
            continue
        at = there[0]
        found[seed] = spent[at]
        if at:
            before, after = np.log(own[at - 1 : at + 1])
            share = (before - np.log(wanted)) / (before - after)
            found[seed] = spent[at - 1] + share * (spent[at] - spent[at - 1])
    return found, missed


def _test_error(table: Any, arm: str) -> Metric:
    """Return by how much an arm's test error is above SGD's, each at its rate by images held out."""
    return paired_difference(*(chosen(table, one, "test_error", HELD)[0] for one in (arm, "sgd")))


def _log_ratio(table: Any, problem: str, arm: str) -> Metric:
    own = select(table, problem=problem, quantity="loss")
    last = select(own, step=int(own["step"].max()))
    ends = [np.log(np.maximum(by_seed(select(last, arm=one)), TINY)) for one in (arm, "plain")]
    return paired_difference(*ends)


def _group(table: Any) -> dict[str, Metric]:
    """Measure what the linear group does to the loss of its batch and of others."""
    exact_ones = select(table, problem=list(REGRESSIONS), arm="exact")
    code = select(table, problem="gd", arm="code", quantity="loss_change")["value"]
    batch = select(exact_ones, quantity="loss_change")["value"]
    others = select(exact_ones, quantity="other_loss_change")["value"]
    gains = select(exact_ones, problem="gd", quantity="log_norm_gain")
    return {
        "beyond_group_batch_change": _largest(batch, "networks"),
        "beyond_group_other_change": _least(others, "networks"),
        "beyond_group_code_change": _least(code, "networks"),
        "beyond_group_gain": over_seeds(by_seed(gains)),
    }


def _diagonal(table: Any) -> dict[str, Metric]:
    own = select(table, problem="diagonal")

    def values(quantity: str) -> Any:
        return select(own, quantity=quantity)["value"]

    return {
        "beyond_norm_error": _largest(values("norm_error"), "networks"),
        "beyond_diagonal_loss_change": _largest(values("loss_change"), "networks"),
        "beyond_diagonal_gain": _least(values("log_norm_gain"), "networks"),
        "beyond_corner_share": _least(values("corner_share"), "networks"),
        "beyond_balance_residual": _largest(values("balance_residual"), "networks"),
        "beyond_balance_gain": _largest(values("balance_gain"), "networks"),
    }


def _largest(values: Any, what: str) -> Metric:
    """Return the largest of several values, saying of how many; no interval holds it."""
    return exact(values.max())._replace(n=len(values), note=f"largest of {len(values)} {what}")


def _least(values: Any, what: str) -> Metric:
    return exact(values.min())._replace(n=len(values), note=f"least of {len(values)} {what}")
