"""The numbers of the lecture's room, from its tables."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from reproductions.harness.statistics import (
    Metric,
    exact,
    over_seeds,
    paired_difference,
    slope,
)
from reproductions.harness.tables import by_seed, select

FIRST_ORDER = ("sgd", "normalised", "sign", "inverse_norm")
SECOND_ORDER = ("newton", "gauss_newton", "natural")


def arms(table: Any) -> list[str]:
    """Return the arms of a table in the order of its rows."""
    return list(dict.fromkeys(table["arm"]))


def identities(table: Any) -> dict[str, Metric]:
    """Return the worst residual over the random problems, and the least of what must differ."""
    differ = ("without_transpose", "natural_raw", "inverse_norm")
    found = {}
    for arm in arms(table):
        values = select(table, arm=arm)["value"]
        found[f"residual_{arm}"] = exact(values.min() if arm in differ else values.max())
    return found


def exponents(table: Any) -> dict[str, Metric]:
    """Fit the exponent of s of every rule's step."""
    found = {f"exponent_{arm}": exponent(select(table, arm=arm), "s") for arm in arms(table)}
    for arm, power in {"normalised": 1, "inverse_norm": 0}.items():
        found[f"step_ratio_{arm}"] = exact(ratio_error(select(table, arm=arm), power))
    return found


def ratio_error(part: Any, power: int) -> float:
    """Return the largest deviation from 1 of s^power times a step over the same at s = 1."""
    s, sizes = np.unique(part["s"]), by_seed(part, "s")
    scaled = s[:, None] ** power * sizes
    return float(np.abs(scaled / scaled[np.argmin(np.abs(s - 1))] - 1).max())


def exponent(part: Any, of: str) -> Metric:
    """Return the log-log slope of |value| against a factor, over seeds."""
    return slope(np.log(np.unique(part[of])), np.log(np.abs(by_seed(part, of))))


def coordinates(table: Any) -> dict[str, Metric]:
    """Return how far apart the paths of each rule come, over the distance of start and minimum."""
    return {
        f"trajectory_gap_{arm}": exact(path_gap(select(table, arm=arm)))
        for arm in arms(table)
        if arm != "contours"
    }


def path_gap(part: Any) -> float:
    """Return the largest distance of two charts' paths at one step, relative to the start's."""
    paths = {chart: points(part, chart) for chart in dict.fromkeys(part["chart"])}
    apart = [
        np.linalg.norm(paths[one] - paths[two], axis=1).max() for one, two in combinations(paths, 2)
    ]
    return float(max(apart) / np.linalg.norm(next(iter(paths.values()))[0]))


def points(part: Any, chart: str) -> np.ndarray:
    """Return the points (steps, 2) of one chart's path."""
    own = select(part, chart=chart)
    columns = [select(own, quantity=axis).sort_values("step")["value"] for axis in ("x", "y")]
    return np.column_stack(columns)


def kl(table: Any) -> dict[str, Metric]:
    """Return the order of KL's excess over its quadratic form, and the Bernoulli model's residual."""
    excess = select(table, quantity="kl_excess")
    moves = [select(table, quantity="bernoulli_move", arm=arm)["value"].item()
             for arm in ("logit", "probability")]  # fmt: skip
    logit = select(table, quantity="bernoulli_move", arm="logit")["logit"].item()
    known = 1 / (1 + float(np.exp(logit)))  # y - p for y = 1, 0.33181223 at logit 0.7
    return {
        "kl_ratio_order": exponent(excess, "shrink"),
        "residual_bernoulli": exact(max(abs(move - known) for move in moves)),
    }


def nonlinear(table: Any) -> dict[str, Metric]:
    """Return the order in the step size of the gap between charts, at the finest steps."""
    found = {}
    for arm in ("sgd", "natural"):
        part = select(table, arm=arm, quantity="gap").sort_values("rate")
        rates, gaps = part["rate"].to_numpy(), part["value"].to_numpy()
        found[f"nonlinear_order_{arm}"] = exact(
            float(np.log(gaps[1] / gaps[0]) / np.log(rates[1] / rates[0]))
        )
    return found


def trust_region(table: Any) -> dict[str, Metric]:
    """Return residuals of the steps, the least margin of rivals, and the orders of remainders."""
    found = {
        f"residual_{region}": exact(select(table, arm=region, quantity="residual")["value"].max())
        for region in ("ball", "box")
    }
    found["trust_region_margin"] = exact(select(table, quantity="margin")["value"].min())
    for arm in ("half", "slide"):
        part = select(table, arm=arm, quantity="remainder")
        found[f"expansion_order_{arm}"] = exponent(part, "shrink")
    return found


def convex(table: Any) -> dict[str, Metric]:
    """Return the least slack of every fact, and the largest of those that should be tight."""
    slack = select(table, quantity="slack")
    found = {
        f"slack_{fact}": exact(select(slack, arm=fact)["value"].min())
        for fact in ("polyak", "distance", "inner")
    }
    tight = select(slack, arm=["polyak", "distance"], start="lowest")
    rest = select(table, quantity="rest")
    return found | {
        "slack_lowest": exact(tight["value"].abs().max()),
        "rest_sgd": exact(select(rest, arm="sgd")["value"].max()),
        "rest_inverse_norm": exact(select(rest, arm="inverse_norm")["value"].min()),
    }


def plateau(table: Any) -> dict[str, Metric]:
    """Return the least |g| over mu times the distance on the way, and the ratio of step counts."""
    size = select(table, arm="normalised", quantity="gradient_per_distance")["value"]
    mu = select(table, quantity="least_curvature")["value"].item()
    steps, arrived = {}, {}
    for arm in ("sgd", "normalised"):
        row = select(table, arm=arm, quantity="steps")
        steps[arm], arrived[arm] = row["value"].item(), bool(row["arrived"].item())
    ratio = exact(steps["sgd"] / steps["normalised"])
    if not arrived["sgd"]:
        ratio = ratio._replace(note="descent had not arrived: at least this")
    return {"plateau_gradient_share": exact(size.min() / mu), "plateau_step_ratio": ratio}


def rescaling(table: Any) -> dict[str, Metric]:
    """Return the gaps between loss curves of the two starts, and the natural gradient's order."""
    found = {
        f"rescale_gap_{arm}": over_seeds(curve_gap(select(table, arm=arm, quantity="loss")))
        for arm in ("sgd", "path_sgd", "natural")
    }
    gaps = select(table, arm="natural", quantity="gap")
    return found | {"rescale_order_natural": exponent(gaps, "rate")}


def curve_gap(part: Any) -> np.ndarray:
    """Return the largest |log loss - log loss| (seeds,) between balanced and unbalanced starts."""
    one, two = (by_seed(select(part, start=s), "step") for s in ("balanced", "unbalanced"))
    return np.abs(np.log(one) - np.log(two)).max(axis=0)


def gradients(table: Any) -> dict[str, Metric]:
    """Return ratios of mean to root mean square of the minibatches' gradients under SGD."""
    own = select(table, arm="sgd")
    whole = by_seed(select(own, quantity="norm_ratio"), "step")
    middle = by_seed(select(own, quantity="coordinate_median"), "step")
    excess = select(table, quantity="bound_excess")["value"].max()
    ball = by_seed(select(table, arm="averaged_ball", quantity="loss"), "step")
    return {
        "gradient_bound_excess": exact(excess),
        "gradient_ratio_last": over_seeds(whole[-1]),
        "gradient_ratio_change": paired_difference(whole[-1], whole[0]),
        "gradient_coordinate_median_last": over_seeds(middle[-1]),
        "averaged_ball_loss": over_seeds(ball[-1] / ball[0]),
    }


def averages(table: Any) -> dict[str, Metric]:
    """Return the equivalent sample sizes, the weights inside the windows, and the flat memory."""
    found = {}
    for arm in ("beta1", "beta2"):
        found[f"window_nominal_{arm}"] = exact(_one(table, arm, "nominal_window"))
        found[f"window_sample_{arm}"] = exact(_one(table, arm, "equivalent_sample_size"))
        found[f"window_weight_{arm}"] = exact(_one(table, arm, "window_weight"))
    flat, moving = (_one(table, arm, "memory") for arm in ("flat", "beta2"))
    return found | {"window_flat_memory": exact(flat / moving)}


def _one(table: Any, arm: str, quantity: str) -> float:
    return float(select(table, arm=arm, quantity=quantity)["value"].item())
