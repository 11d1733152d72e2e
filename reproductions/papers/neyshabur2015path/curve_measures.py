"""What the curves of Figures 2 and 3 say: gaps of starts, of methods, epochs to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, paired_difference, ratio
from reproductions.harness.tables import by_seed, select

METHODS = ("sgd", "adagrad", "path_sgd")
STARTS = ("balanced", "unbalanced")


def curves(table: Any, quantity: str, arm: str, start: str) -> np.ndarray:
    """Return (epochs + 1, seeds), not finite where a run diverged."""
    return by_seed(select(table, quantity=quantity, arm=arm, start=start), "step")


def area(table: Any, arm: str, start: str) -> np.ndarray:
    """Return per seed the mean over epochs of the logarithm of the training loss.

    A run that diverged counts from there on as untrained, with the loss of equal guesses of all
    classes, which is better than it was.
    """
    losses = curves(table, "train_loss", arm, start)[1:]
    if np.isfinite(losses).all():
        return np.log(losses).mean(0)
    untrained = select(table, quantity="untrained_loss").value.iloc[0]
    return np.log(np.where(np.isfinite(losses), losses, untrained)).mean(0)


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


def neighbours(arm: str) -> list[str]:
    """Return the arms of the chosen step size and of those half a decade above and below."""
    return [arm, f"{arm}_larger", f"{arm}_smaller"]


def finest(table: Any, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return areas and final test errors (seeds,) on a grid of half decades, balanced start.

    Of the step size of the paper's rule and its two neighbours each seed takes the one with the
    smallest area of the training loss, for the test error too.
    """
    areas = np.stack([area(table, one, "balanced") for one in neighbours(arm)])
    tests = [curves(table, "test_error", one, "balanced")[-1] for one in neighbours(arm)]
    best = areas.argmin(0)[None]
    return areas.min(0), np.take_along_axis(np.stack(tests), best, 0)[0]


def largest_gap(table: Any, arm: str) -> Metric:
    """Return the largest relative difference between the two starts, over epochs and seeds."""
    one, other = (curves(table, "train_loss", arm, start) for start in STARTS)
    return over_seeds((np.abs(other - one) / one).max(0), np.max)


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


def finer_test_gap(table: Any) -> Metric:
    """Return the final test error of Path-SGD minus that of SGD on the grid of half decades."""
    return paired_difference(finest(table, "path_sgd")[1], finest(table, "sgd")[1])


def plain(table: Any, data: str) -> dict[str, Metric]:
    """Measure a row of Figure 2; `data` is the experiment, such as "mnist"."""
    path = ("path_sgd", "balanced")
    found = common(table, data)
    found |= {
        f"{data}_path_minus_sgd_finer": paired_difference(
            finest(table, "path_sgd")[0], finest(table, "sgd")[0]
        ),
        f"{data}_path_minus_sgd_finer_test": finer_test_gap(table),
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
    """Count the sets on which the whole interval of the test error lies below that of SGD.

    Once at the step sizes of the paper's rule, once on the grid of half decades around them.
    """
    found = {}
    for name, gap_of in (
        ("sets_with_better_test_error", test_gap),
        ("sets_with_better_finer_test_error", finer_test_gap),
    ):
        better = [data for data, table in tables.items() if gap_of(table).high < 0]
        note = f"of {len(tables)}: {', '.join(better) or 'none'}"
        found[name] = exact(len(better))._replace(note=note)
    return found
