"""What the curves of Figures 2 and 3 say: gaps of starts, of methods, epochs to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, paired_difference, ratio
from reproductions.harness.tables import by_seed, select

UNTRAINED = float(np.log(10))  # nat: the loss of ten equal guesses
METHODS = ("sgd", "adagrad", "path_sgd")
STARTS = ("balanced", "unbalanced")


def curves(table: Any, quantity: str, arm: str, start: str) -> np.ndarray:
    """Return (epochs + 1, seeds), not finite where a run diverged."""
    return by_seed(select(table, quantity=quantity, arm=arm, start=start), "step")


def area(table: Any, arm: str, start: str) -> np.ndarray:
    """Return per seed the mean over epochs of the logarithm of the training loss.

    A run that diverged counts from there on as untrained, which is better than it was.
    """
    losses = curves(table, "train_loss", arm, start)[1:]
    return np.log(np.where(np.isfinite(losses), losses, UNTRAINED)).mean(0)


def diverged(table: Any, arm: str, start: str) -> int:
    """Return how many seeds diverged."""
    return int((~np.isfinite(curves(table, "train_loss", arm, start))).any(0).sum())


def area_gap(table: Any, one: tuple[str, str], other: tuple[str, str]) -> Metric:
    """Return the area of one (method, start) minus that of the other."""
    gap = paired_difference(area(table, *one), area(table, *other))
    lost = diverged(table, *one) + diverged(table, *other)
    said = [gap.note] * bool(gap.note) + [f"{lost} runs diverged and count as untrained"] * bool(
        lost
    )
    return gap._replace(note="; ".join(said))


def finest_area(table: Any, arm: str) -> np.ndarray:
    """Return the areas from the balanced start at the best of three step sizes half decades apart.

    They are the one of the paper's rule and its two neighbours; best is the smallest mean.
    """
    rows = select(table, quantity="train_loss", start="balanced", arm=f"{arm}_between")
    found = [area(table, arm, "balanced")]
    for alpha in np.unique(rows.alpha):
        found.append(area(select(rows, alpha=alpha), f"{arm}_between", "balanced"))
    return min(found, key=np.mean)


def largest_gap(table: Any, arm: str) -> Metric:
    """Return the mean over seeds of the largest relative difference between the two starts."""
    one, other = (curves(table, "train_loss", arm, start) for start in STARTS)
    return over_seeds((np.abs(other - one) / one).max(0))


def epochs_to(curve: np.ndarray, target: float) -> float:
    """Return when a curve (T,) first is at the target, on a line of the logarithm between epochs.

    Returns:
        nan where it never is, or is not finite before.
    """
    below = np.flatnonzero(curve <= target)
    if not below.size or not np.isfinite(curve[: below[0] + 1]).all():
        return float("nan")
    at = int(below[0])
    if at == 0:
        return 0.0
    before, after = np.log(curve[at - 1 : at + 1])
    return float(at - 1 + (before - np.log(target)) / (before - after))


def epochs_ratio(table: Any, other: str) -> Metric:
    """Return mean epochs of Path-SGD over those of the other method to the loss both reach.

    Both start balanced; the loss, of each seed, is the larger of the two final ones.
    """
    pair = [curves(table, "train_loss", arm, "balanced") for arm in ("path_sgd", other)]
    target = np.maximum(pair[0][-1], pair[1][-1])
    times = [
        [epochs_to(curve, goal) for curve, goal in zip(of.T, target, strict=True)] for of in pair
    ]
    return ratio(*times)


def test_gap(table: Any, other: str = "sgd") -> Metric:
    """Return the final test error of Path-SGD minus another's, both from the balanced start."""
    ours, theirs = (curves(table, "test_error", a, "balanced")[-1] for a in ("path_sgd", other))
    return paired_difference(ours, theirs)


def plain(table: Any, data: str) -> dict[str, Metric]:
    """Measure a row of Figure 2; `data` is "mnist" or "cifar"."""
    path = ("path_sgd", "balanced")
    found = common(table, data)
    found |= {
        f"{data}_path_minus_sgd_finer": paired_difference(
            finest_area(table, "path_sgd"), finest_area(table, "sgd")
        ),
        f"{data}_path_minus_adagrad_area": area_gap(table, path, ("adagrad", "balanced")),
        f"{data}_epochs_ratio_sgd": epochs_ratio(table, "sgd"),
        f"{data}_epochs_ratio_adagrad": epochs_ratio(table, "adagrad"),
    }
    return found


def common(table: Any, data: str) -> dict[str, Metric]:
    """Measure what Figures 2 and 3 have in common."""
    starts = {
        f"{data}_{arm}_area_gap": area_gap(table, (arm, "unbalanced"), (arm, "balanced"))
        for arm in ("sgd", "adagrad")
    }
    return starts | {
        f"{data}_path_gap": largest_gap(table, "path_sgd"),
        f"{data}_path_minus_sgd_area": area_gap(
            table, ("path_sgd", "balanced"), ("sgd", "balanced")
        ),
        f"{data}_path_minus_sgd_test": test_gap(table),
    }


def sets_with_better_test_error(tables: Mapping[str, Any]) -> dict[str, Metric]:
    """Count the sets on which the whole interval of the test error lies below that of SGD."""
    gaps = {name: test_gap(table) for name, table in tables.items()}
    better = [name for name, gap in gaps.items() if gap.high < 0]
    note = f"of {len(gaps)}: {', '.join(better) or 'none'}"
    return {"sets_with_better_test_error": exact(len(better))._replace(note=note)}
