"""What training after a teleport gains: at the authors' rates, at the best rate, over controls."""

from __future__ import annotations

from collections.abc import Sequence
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

CHANCE = 0.1  # accuracy of a run that diverged
WHEN = {"early": 0.3, "mid": 0.6, "late": 0.95}  # of the epochs: the authors' 30, 60 and 95 of 100
OPTIMISERS = ("sgd", "momentum")
DECAY = 0.01


def epoch(table: Any, when: str) -> int:
    """Return the epoch that stands for early, mid or late."""
    return round(WHEN[when] * int(table.step.max()))


def accuracies(
    table: Any, quantity: str = "test_accuracy", *, decay: float = DECAY, **equal: Any
) -> np.ndarray:
    """Return (epochs + 1, rates, seeds) of one arm and optimiser; diverged runs are at chance."""
    rows = select(table, quantity=quantity, decay=decay, **equal)
    return np.nan_to_num(by_seed(rows, "step", "lr"), nan=CHANCE)


def pooled(table: Any, when: str, **equal: Any) -> np.ndarray:
    """Return (seeds,), the mean over the authors' rates at an epoch."""
    return accuracies(select(table, of_paper=True), **equal)[epoch(table, when)].mean(0)


def best(table: Any, when: str, **equal: Any) -> tuple[float, np.ndarray]:
    """Return the best rate by the validation accuracy of all seeds, and test accuracies there."""
    at = epoch(table, when)
    place = accuracies(table, "validation_accuracy", **equal)[at].mean(1).argmax()
    return float(np.unique(table.lr)[place]), accuracies(table, **equal)[at, place]


def gain(table: Any, optimiser: str, when: str, arm: str = "teleported", over: str = "plain",
         **equal: Any) -> Metric:  # fmt: skip
    """Return the pooled accuracy of one arm minus that of another."""
    pair = [pooled(table, when, arm=one, optimiser=optimiser, **equal) for one in (arm, over)]
    return _with_diverged(paired_difference(*pair), table, optimiser)


def both(table: Any, arm: str, over: str) -> Metric:
    """Return the late pooled accuracy of one arm minus another's, mean of both optimisers."""
    pair = [
        np.mean([pooled(table, "late", arm=one, optimiser=o) for o in OPTIMISERS], 0)
        for one in (arm, over)
    ]
    return paired_difference(*pair)


def best_gain(table: Any, optimiser: str, decay: float = DECAY) -> Metric:
    """Return the late accuracy of the teleported arm minus the plain one's, each at its best."""
    found = [
        best(table, "late", arm=arm, optimiser=optimiser, decay=decay)
        for arm in ("teleported", "plain")
    ]
    metric = paired_difference(found[0][1], found[1][1])
    said = f"rates {found[0][0]:g} teleported, {found[1][0]:g} plain"
    return metric._replace(note="; ".join(filter(None, (said, metric.note))))


def best_over(table: Any, over: str) -> Metric:
    """Return late accuracies of the teleported arm minus another's, each at its best rate.

    The mean of both optimisers.
    """
    pair = [
        np.mean([best(table, "late", arm=arm, optimiser=o)[1] for o in OPTIMISERS], 0)
        for arm in ("teleported", over)
    ]
    return paired_difference(*pair)


def rate_shift(table: Any, optimiser: str) -> Metric:
    """Return by how many decades the best rate of the teleported arm is above the plain one's."""
    rates = [
        best(table, "late", arm=arm, optimiser=optimiser)[0] for arm in ("teleported", "plain")
    ]
    note = f"{rates[0]:g} teleported, {rates[1]:g} plain, chosen once for all seeds"
    return exact(float(np.log10(rates[0] / rates[1])))._replace(note=note)


def least_gain(table: Any, optimiser: str) -> Metric:
    """Return the least late gain of the teleport over all learning rates, the authors' and ours."""
    at = epoch(table, "late")
    ours, theirs = (
        accuracies(table, arm=arm, optimiser=optimiser)[at] for arm in ("teleported", "plain")
    )
    gains, rates = ours - theirs, np.unique(table.lr)
    metric = joint(gains, lambda drawn: drawn.mean(-1).min(0))
    said = ", ".join(f"{g:.3f} at {lr:g}" for g, lr in zip(gains.mean(1), rates, strict=True))
    return metric._replace(note="; ".join(filter(None, (said, metric.note))))


def _with_diverged(metric: Metric, table: Any, optimiser: str) -> Metric:
    lost = diverged(select(table, of_paper=True, optimiser=optimiser))
    said = f"{lost} runs diverged and count as chance" if lost else ""
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
    found |= {f"{data}_{o}_best_gain": best_gain(table, o) for o in OPTIMISERS}
    found |= {f"{data}_{o}_rate_shift": rate_shift(table, o) for o in OPTIMISERS}
    found |= {f"{data}_{o}_least_gain": least_gain(table, o) for o in OPTIMISERS}
    found |= {
        f"{data}_over_rescaled": both(table, "teleported", "rescaled"),
        f"{data}_best_over_rescaled": best_over(table, "rescaled"),
        f"{data}_equal_mean_gain": both(table, "equal_mean", "plain"),
    }
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


def controls(table: Any) -> dict[str, Metric]:
    """Measure Figure 10, and the control of equal distribution."""
    found = {"pseudo_resampled_behind": both(table, "teleported", "resampled")}
    spreads = [
        select(table, quantity="output_spread", arm=arm).groupby("seed").value.mean().to_numpy()
        for arm in ("pseudo", "plain")
    ]
    found["pseudo_output_spread_ratio"] = ratio(*spreads)
    for o in OPTIMISERS:
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
        note = "; ".join(filter(None, (said, metric.note)))
        found[f"{name}_{o}_smallest_gain"] = metric._replace(note=note)
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
