"""What the small networks, the two starts and the public codes give."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, paired_difference
from reproductions.harness.tables import by_seed, select
from reproductions.papers.neyshabur2015path.curve_measures import STARTS, curves

EXPONENTS = (1, 2, 3)


def toys(table: Any) -> dict[str, Metric]:
    """Measure chain, fork and the small network."""
    return _steps(table) | _invariance(table)


def by_scale(table: Any, quantity: str, arm: str) -> dict[float, float]:
    """Return scale -> value of one step on the chain ("product") or the fork ("gain")."""
    rows = select(table, quantity=quantity, arm=arm)
    return dict(zip(rows.scale, rows.value, strict=True))


def _steps(table: Any) -> dict[str, Metric]:
    path, sgd = (by_scale(table, "product", arm) for arm in ("path_sgd", "sgd"))
    found = {"chain_path_product_error": exact(max(abs(v / 4 - 1) for v in path.values()))}
    if 100.0 in sgd:
        found["chain_sgd_product_100"] = exact(sgd[100.0])
    low, high = sorted(scale for scale in sgd if scale > 1)[-2:]
    exponent = np.log(sgd[high] / sgd[low]) / np.log(high / low)
    found["chain_sgd_exponent"] = exact(float(exponent))
    for arm, name in (("sgd", "sgd"), ("path_sgd", "path")):
        gains = [v for scale, v in by_scale(table, "gain", arm).items() if scale <= 100]
        found[f"fork_{name}_gain_ratio"] = exact(max(gains) / min(gains))
    return found


def apart(table: Any, arm: str) -> np.ndarray:
    """Return the absolute difference of the losses from the two starts, (steps + 1, seeds)."""
    one, other = (curves(table, "train_loss", arm, start) for start in STARTS)
    return np.abs(other - one)


def _invariance(table: Any) -> dict[str, Metric]:
    found = {
        f"invariance_path_sgd_p{p}": over_seeds(apart(table, f"path_sgd_p{p}").max(0), np.max)
        for p in EXPONENTS
    }
    for arm in ("sgd", "adagrad"):
        found[f"invariance_{arm}"] = over_seeds(apart(table, arm).max(0))
    rows = select(table, quantity="path_norm")
    swept = {start: by_seed(select(rows, start=start)) for start in STARTS}
    listed = by_seed(select(table, quantity="path_norm_enumerated", start="balanced"))
    for name, one, other in (
        ("path_norm_enumeration_error", swept["balanced"], listed),
        ("path_norm_rescaling_error", swept["unbalanced"], swept["balanced"]),
    ):
        found[name] = exact(float(np.abs(one / other - 1).max()))
    return found


def starts(table: Any) -> dict[str, Metric]:
    """Measure what both starts are."""

    def given(quantity: str, **where: Any) -> np.ndarray:
        return by_seed(select(table, quantity=quantity, **where))

    hidden = np.mean([given("kappa_mean", start="balanced", layer=k) for k in (1, 2)], axis=0)
    return {
        "start_output_difference": over_seeds(given("output_difference"), np.max),
        "start_units_rescaled": over_seeds(given("units_rescaled")),
        "start_kappa_hidden": over_seeds(hidden),
        "start_kappa_output": over_seeds(given("kappa_mean", start="balanced", layer=3)),
        "start_path_norm": over_seeds(given("path_norm", start="balanced")),
    }


def expected_kappa(table: Any) -> float:
    """Return outputs / hidden units of the network that was described."""
    return float(select(table, quantity="expected_kappa").value.iloc[0])


def sgd_areas(table: Any, start: str) -> np.ndarray:
    """Return the areas (alphas, seeds) of SGD from a start, infinite where it diverged."""
    rows = select(table, arm="sgd", quantity="train_loss", start=start)
    losses = by_seed(rows, "alpha", "step")[:, 1:]
    with np.errstate(invalid="ignore"):
        areas = np.log(losses).mean(1)
    return np.where(np.isfinite(areas), areas, np.inf)


def best_alphas(table: Any, start: str) -> np.ndarray:
    """Return for each seed the exponent of SGD's step size that has the smallest area."""
    alphas = np.unique(select(table, arm="sgd", quantity="train_loss").alpha)
    return alphas[sgd_areas(table, start).argmin(0)]


def figure_1a(table: Any) -> dict[str, Metric]:
    """Measure Figure 1 a, and how rounding parts the curves of Path-SGD."""
    best = {start: sgd_areas(table, start).min(0) for start in STARTS}
    found = {"balance_sgd_area_gap": paired_difference(best["unbalanced"], best["balanced"])}
    digits = {}
    for precision in ("float32", "float64"):
        rows = select(table, arm="path_sgd", precision=precision)
        one, other = (curves(rows, "train_loss", "path_sgd", start) for start in STARTS)
        found[f"balance_path_gap_{precision}"] = over_seeds(
            (np.abs(other - one) / one).max(0), np.max
        )
        digits[precision] = np.log10(by_seed(select(rows, quantity="weight_gap"), "step")[-1])
    found["balance_gap_digits"] = paired_difference(digits["float32"], digits["float64"])
    found["balance_gap_growth"] = growth(table, "float32")
    found["balance_gap_growth_float64"] = growth(table, "float64")
    return found


def growth(table: Any, precision: str) -> Metric:
    """Return decades an epoch by which the weights of the two starts part, after the first."""
    rows = select(table, arm="path_sgd", precision=precision, quantity="weight_gap")
    gap, epoch = np.log10(by_seed(rows, "step")), np.unique(rows.epoch)
    late = epoch >= 1
    if late.sum() < 2:
        late = epoch > 0
    centred = epoch[late] - epoch[late].mean()
    return over_seeds(centred @ gap[late] / (centred @ centred))


def codes(table: Any) -> dict[str, Metric]:
    """Measure what each change of the public codes does."""

    def last(arm: str) -> np.ndarray:
        return curves(table, "train_loss", arm, "balanced")[-1]

    reference = np.log(last("reference"))
    found = {
        f"codes_{arm}_log_ratio": paired_difference(np.log(last(arm)), reference)
        for arm in ("relu_outputs", "default_step", "default_step_sgd", "momentum", "mended")
    }
    accumulated = np.log(last("generator_mended")) - np.log(last("mended"))
    summed = np.abs(last("summed") / last("reference") - 1)
    difference = {
        arm: select(table, arm=arm, quantity="weight_difference").value.max()
        for arm in ("generator", "mended")
    }
    steps = [
        by_seed(select(table, arm="mended", quantity="step_ratio", start=start)) for start in STARTS
    ]
    away = np.abs(np.log(steps[1] / steps[0]))
    return found | {
        "codes_accumulation_log_ratio": over_seeds(accumulated),
        "codes_sum_difference": over_seeds(summed, np.max),
        "codes_generator_minus_momentum": exact(float(difference["generator"])),
        "codes_mended_step_ratio": over_seeds(np.exp(away), _geometric_mean),
    }


def _geometric_mean(values: np.ndarray, axis: int = -1) -> Any:
    return np.exp(np.log(values).mean(axis=axis))
