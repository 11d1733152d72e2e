"""Measures of teleports that are chosen: small problems, and real images."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, paired_difference, ratio
from reproductions.harness.tables import by_seed, select

PLANES, REGRESSIONS = ("rosenbrock", "booth"), ("gd", "adagrad")
ARMS = (
    "sgd", "random", "random_rates", "symmetry_start", "symmetry_rates", "symmetry_early",
    "level_start", "level_during",
)  # fmt: skip
FITTED, HELD = "exponent_by_train_loss", "exponent_by_validation_loss"
TINY = 1e-300  # a loss of zero has no logarithm


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
        found |= {
            f"beyond_{data}_{arm}_epochs": saved(table, arm, "epochs"),
            f"beyond_{data}_{arm}_gradients": saved(table, arm, "gradients"),
            f"beyond_{data}_{arm}_seconds": saved(table, arm, "seconds"),
            f"beyond_{data}_{arm}_epochs_held": saved(table, arm, "epochs", HELD),
            f"beyond_{data}_{arm}_final": _final(table, arm),
            f"beyond_{data}_{arm}_test_error": _test_error(table, arm),
        }
    level = select(table, arm=["level_start", "level_during"], quantity="loss_rise")
    rises = level["value"][level["status"] == "ok"]
    start = chosen(table, "level_start", "log_norm_gain")[0]
    symmetry = chosen(table, "symmetry_start", "log_norm_gain")[0]
    return found | {
        f"beyond_{data}_level_excess": exact(rises.max()),
        f"beyond_{data}_level_gain": over_seeds(start),
        f"beyond_{data}_symmetry_gain": over_seeds(symmetry),
    }


def chosen(table: Any, arm: str, quantity: str, by: str = FITTED) -> np.ndarray:
    """Return a quantity (T, seeds) of an arm at its own best learning rate.

    Args:
        by: which loss the rate was chosen by, FITTED or HELD.
    """
    own = select(table, arm=arm)
    exponent = select(own, quantity=by)["value"].iloc[0]
    return by_seed(select(own, exponent=exponent, quantity=quantity), "step")


def saved(table: Any, arm: str, cost: str, by: str = FITTED) -> Metric:
    """Return an arm's cost of the loss that SGD has half-way, over SGD's own cost of it.

    Where the loss is not reached the cost of the whole run stands in, which is kinder than the
    truth; the note counts these seeds.

    Args:
        cost: "epochs", "gradients" or "seconds".
        by: which loss both rates were chosen by.
    """
    plain = chosen(table, "sgd", "train_loss", by)
    half = (len(plain) - 1) // 2
    level = plain[half]
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


def _final(table: Any, arm: str) -> Metric:
    """Return by how much the logarithm of an arm's last training loss is above SGD's."""
    last = [np.log(chosen(table, one, "train_loss")[-1]) for one in (arm, "sgd")]
    return paired_difference(*last)


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
        "beyond_group_batch_change": exact(batch.max()),
        "beyond_group_other_change": exact(others.min()),
        "beyond_group_code_change": exact(code.min()),
        "beyond_group_gain": over_seeds(by_seed(gains)),
    }


def _diagonal(table: Any) -> dict[str, Metric]:
    own = select(table, problem="diagonal")

    def values(quantity: str) -> Any:
        return select(own, quantity=quantity)["value"]

    return {
        "beyond_norm_error": exact(values("norm_error").max()),
        "beyond_diagonal_loss_change": exact(values("loss_change").max()),
        "beyond_diagonal_gain": exact(values("log_norm_gain").min()),
        "beyond_corner_share": exact(values("corner_share").min()),
        "beyond_balance_residual": exact(values("balance_residual").max()),
        "beyond_balance_gain": exact(values("balance_gain").max()),
    }
