"""What training after a teleport gains: at the authors' rates, at the best rate, over controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reproductions.harness.statistics import (
    Metric,
    joint,
    over_seeds,
    paired_difference,
    ratio,
)
from reproductions.harness.tables import by_seed, select

CHANCE = 0.1  # accuracy of a run that diverged
WHEN = {"early": 0.3, "mid": 0.6, "late": 0.95}  # of the epochs: the authors' 30, 60 and 95 of 100
OPTIMISERS = ("sgd", "momentum")
DECAY = 0.01


def epoch(table: Any, when: str) -> int:
    """Return the epoch that stands for early, mid or late."""
    return round(WHEN[when] * int(table.step.max()))


def accuracies(
    table: Any, when: str, quantity: str = "test_accuracy", *, decay: float = DECAY, **equal: Any
) -> np.ndarray:
    """Return (rates, seeds) of one arm and optimiser at an epoch; diverged runs are at chance."""
    rows = select(table, quantity=quantity, decay=decay, step=epoch(table, when), **equal)
    return np.nan_to_num(by_seed(rows, "lr"), nan=CHANCE)


def rates_of(table: Any, **equal: Any) -> np.ndarray:
    """Return the learning rates that an arm has, ascending."""
    return np.unique(select(table, quantity="test_accuracy", **equal).lr)


def pooled(table: Any, when: str, **equal: Any) -> np.ndarray:
    """Return (seeds,), the mean over the authors' rates (at laptop scale ten times those)."""
    return accuracies(select(table, of_paper=True), when, **equal).mean(0)


def best(table: Any, when: str, **equal: Any) -> tuple[float, np.ndarray]:
    """Return the best rate by the validation accuracy of all seeds, and test accuracies there."""
    place = accuracies(table, when, "validation_accuracy", **equal).mean(1).argmax()
    return float(rates_of(table, **equal)[place]), accuracies(table, when, **equal)[place]


def gain(table: Any, optimiser: str, when: str, arm: str = "teleported", over: str = "plain",
         decay: float = DECAY) -> Metric:  # fmt: skip
    """Return the pooled accuracy of one arm minus that of another."""
    own = select(table, arm=[arm, over], optimiser=optimiser, decay=decay)
    pair = [pooled(own, when, arm=one, decay=decay) for one in (arm, over)]
    lost = diverged(select(own, of_paper=True))
    said = f"{lost} runs of both arms diverged and count as chance" if lost else ""
    return _noted(paired_difference(*pair), said)


def best_gain(table: Any, optimiser: str, decay: float = DECAY, over: str = "plain") -> Metric:
    """Return the late accuracy of the teleported arm minus another's, each at its best rate.

    The rates are chosen by the mean validation accuracy of all seeds, anew in every resample.
    """
    levels, rates = _both_arms(table, optimiser, decay, over)

    def statistic(drawn: np.ndarray) -> np.ndarray:
        ours, theirs = (at[1] for at in _at_best(drawn, rates))
        return ours - theirs

    return _noted(joint(levels, statistic), _chosen(levels, rates, over))


def rate_shift(table: Any, optimiser: str, decay: float = DECAY) -> Metric:
    """Return by how many decades the best rate of the teleported arm is above the plain one's."""
    levels, rates = _both_arms(table, optimiser, decay, "plain")

    def statistic(drawn: np.ndarray) -> np.ndarray:
        ours, theirs = (np.log10(at[0]) for at in _at_best(drawn, rates))
        return ours - theirs

    return _noted(joint(levels, statistic), _chosen(levels, rates, "plain"))


def _both_arms(
    table: Any, optimiser: str, decay: float, over: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return (4 rates, seeds), validation and test of the teleported arm and another, and rates."""
    equal = {"optimiser": optimiser, "decay": decay}
    parts = [
        accuracies(table, "late", quantity, arm=arm, **equal)
        for arm in ("teleported", over)
        for quantity in ("validation_accuracy", "test_accuracy")
    ]
    return np.concatenate(parts), rates_of(table, arm=over, **equal)


def _at_best(drawn: np.ndarray, rates: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for both arms the best rate by validation and the test accuracy there, each (...)."""
    means = drawn.mean(-1).reshape(2, 2, len(rates), *drawn.shape[1:-1])
    found = []
    for held, test in means:
        place = held.argmax(0)
        found.append((rates[place], np.take_along_axis(test, place[None], 0)[0]))
    return found


def _chosen(levels: np.ndarray, rates: np.ndarray, over: str) -> str:
    ours, theirs = (float(at[0]) for at in _at_best(levels, rates))
    return f"rates {ours:g} teleported, {theirs:g} {over}, chosen anew in every resample"


def least_gain(table: Any, optimiser: str) -> Metric:
    """Return the least late gain of the teleport over all learning rates, the authors' and ours."""
    ours, theirs = (
        accuracies(table, "late", arm=arm, optimiser=optimiser) for arm in ("teleported", "plain")
    )
    gains, rates = ours - theirs, rates_of(table, arm="plain", optimiser=optimiser)
    metric = joint(gains, lambda drawn: drawn.mean(-1).min(0))
    said = ", ".join(f"{g:.3f} at {lr:g}" for g, lr in zip(gains.mean(1), rates, strict=True))
    return _noted(metric, said)


def _noted(metric: Metric, said: str) -> Metric:
    return metric._replace(note="; ".join(filter(None, (said, metric.note))))


def diverged(table: Any) -> int:
    """Return how many runs ended without a finite loss."""
    last = select(table, quantity="test_accuracy", step=int(table.step.max()))
    return int((last.status != "ok").sum())


def data_set(table: Any, data: str) -> dict[str, Metric]:
    """Measure Figure 6 on a data set, "cifar" or "mnist"."""
    found = {
        f"{data}_{optimiser}_gain_{when}": gain(table, optimiser, when)
        for optimiser in OPTIMISERS
        for when in WHEN
    }
    for o in OPTIMISERS:
        found[f"{data}_{o}_best_gain"] = best_gain(table, o)
        found[f"{data}_{o}_rate_shift"] = rate_shift(table, o)
        found[f"{data}_{o}_least_gain"] = least_gain(table, o)
        found[f"{data}_{o}_over_rescaled"] = gain(table, o, "late", over="rescaled")
        found[f"{data}_{o}_best_over_rescaled"] = best_gain(table, o, over="rescaled")
        found[f"{data}_{o}_equal_mean_gain"] = gain(table, o, "late", "equal_mean")
    if 0.0 in table.decay.unique():
        for o in OPTIMISERS:
            found[f"{data}_{o}_best_gain_undecayed"] = best_gain(table, o, 0.0)
            found[f"{data}_{o}_gain_undecayed"] = gain(table, o, "late", decay=0.0)
    return found


def identity(table: Any) -> dict[str, Metric]:
    """Measure how far both trajectories of the theorem are apart."""

    def distances(arm: str) -> np.ndarray:
        return by_seed(select(table, arm=arm), "activation", "step")

    found = {
        f"identity_{arm}": over_seeds(distances(arm).max((0, 1)), np.max)
        for arm in ("sgd", "momentum", "decay")
    }
    return found | {"identity_plain_distance": over_seeds(distances("plain")[:, -1].min(0), np.min)}


def with_controls(pseudo: Any, cifar: Any) -> Any:
    """Return the new arms of Figure 10 beside the plain and the teleported one of Figure 6.

    Raises:
        ValueError: where seeds, epochs or rates differ.
    """
    known = select(cifar, arm=["plain", "teleported"], of_paper=True, decay=DECAY)
    found = [(set(one.seed), int(one.step.max()), set(one.lr)) for one in (pseudo, known)]
    if found[0] != found[1]:
        raise ValueError(f"seeds, epochs and rates must be those of Figure 6, got {found}")
    return pd.concat([known, pseudo], ignore_index=True)


def controls(pseudo: Any, cifar: Any) -> dict[str, Metric]:
    """Measure Figure 10, and the control of equal distribution."""
    table = with_controls(pseudo, cifar)
    spreads = [
        select(table, quantity="output_spread", arm=arm).groupby("seed").value.mean().to_numpy()
        for arm in ("pseudo", "plain")
    ]
    found = {"pseudo_output_spread_ratio": ratio(*spreads)}
    for o in OPTIMISERS:
        found[f"pseudo_{o}_resampled_behind"] = gain(table, o, "late", over="resampled")
        found[f"pseudo_{o}_teleported_minus_pseudo"] = gain(table, o, "late", over="pseudo")
        found[f"pseudo_{o}_minus_plain"] = gain(table, o, "late", "pseudo")
    return found


def smallest_gains(table: Any, column: str, name: str) -> dict[str, Metric]:
    """Measure the smallest gain over activations (Figure 8) or initialisers (Figure 9)."""
    kinds = sorted(table[column].unique())
    found = {}
    for o in OPTIMISERS:
        gains = [_gains(select(table, **{column: kind}), o) for kind in kinds]
        if len(kinds) == 1:
            metric = over_seeds(gains[0])
        else:
            metric = joint(np.stack(gains), lambda drawn: drawn.mean(-1).min(0))
        said = ", ".join(f"{k} {g.mean():.3f}" for k, g in zip(kinds, gains, strict=True))
        found[f"{name}_{o}_smallest_gain"] = _noted(metric, said)
    return found


def _gains(table: Any, optimiser: str) -> np.ndarray:
    ours, theirs = (
        pooled(table, "late", arm=arm, optimiser=optimiser) for arm in ("teleported", "plain")
    )
    return ours - theirs


def arms_in(table: Any, known: Sequence[str]) -> list[str]:
    """Return which of the known arms a table has, in their order."""
    there = set(table.arm.unique())
    return [arm for arm in known if arm in there]
