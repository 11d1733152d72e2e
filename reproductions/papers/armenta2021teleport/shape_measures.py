"""What exactness, expectations, lines between minima, traces and histograms give."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds, paired_difference
from reproductions.harness.tables import by_seed, select

SIDES = ("small", "large")
MODULES = "module"  # the protocol of modules, each teleported once
ABOVE = 1.0  # nat above the higher end: up to where the loss on a line counts as low
WIDEST = 0.9  # the range at which norms are told


def exactness(table: Any) -> dict[str, Metric]:
    """Measure the largest changes of outputs."""

    def worst(quantity: str, **where: Any) -> Metric:
        values = by_seed(select(table, quantity=quantity, **where), "arm")
        return over_seeds(values.max(0), np.max)

    conjugated = ["tanh", "sigmoid"]
    found = {
        "exact_relu_float64": worst("relative_change", arm="relu", protocol="once"),
        "exact_relu_float32": worst("absolute_change", arm="relu", protocol="once"),
        "exact_conjugated_float64": worst("relative_change", arm=conjugated, protocol="once"),
        "exact_repeated_float64": worst("relative_change", protocol="repeated"),
        "exact_compounded_float64": worst("relative_change", protocol="compounded"),
    }
    if (table.protocol == MODULES).any():
        found["exact_modules_float64"] = worst("relative_change", protocol=MODULES)
        found["exact_modules_float32"] = worst("absolute_change", protocol=MODULES)
    return found


def moments(table: Any) -> dict[str, Metric]:
    """Measure factors of squares against their expectations, norms and Hessians."""
    z = deviations(table)
    norms = select(table, quantity="squared_norm", sigma=WIDEST)
    found = {"moments_beyond_three_errors": exact(float((np.abs(z) > 3).mean()))}
    for name, block in (("initial", "initial"), ("teleported", "teleported")):
        values = {
            arm: by_seed(select(norms, arm=arm, block=block)) for arm in ("weights", "gradient")
        }
        found[f"moments_norm_{name}"] = over_seeds(values["weights"])
        found[f"moments_slope_{name}"] = over_seeds(values["gradient"])
    errors = by_seed(select(table, quantity="hessian_error"), "arm")
    found["hessian_conjugation_error"] = over_seeds(errors.max(0), np.max)
    return found


def factors(table: Any, arm: str, block: str) -> dict[str, np.ndarray]:
    """Return the mean factor, its standard error and its expectation, by sigma ascending."""
    own = select(table, arm=arm, block=block)
    mean, error, expected = (
        by_seed(select(own, quantity=name), "sigma")
        for name in ("factor", "factor_error", "factor_expected")
    )
    # seeds are draws of their own: their errors add up as squares
    pooled = np.sqrt((error**2).sum(1)) / error.shape[1]
    return {"mean": mean.mean(1), "error": pooled, "expected": expected.mean(1)}


def closed_form(sigmas: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth curve of A, B or A B, whichever passes through what is expected."""
    fine = np.linspace(0, sigmas.max(), 200)

    def forms(sigma: np.ndarray) -> list[np.ndarray]:
        square, inverse = 1 + sigma**2 / 3, 1 / (1 - sigma**2)
        return [square, inverse, square * inverse]

    gaps = [np.abs(form - expected).max() for form in forms(sigmas)]
    return fine, forms(fine)[int(np.argmin(gaps))]


def blocks(table: Any) -> list[str]:
    """Return the names of the blocks that have factors, in the order of the table."""
    return list(dict.fromkeys(select(table, quantity="factor").block))


def deviations(table: Any) -> np.ndarray:
    """Return every factor's distance from its expectation in standard errors."""
    cells = [
        factors(table, arm, block) for arm in ("weights", "gradient") for block in blocks(table)
    ]
    return np.concatenate([(one["mean"] - one["expected"]) / one["error"] for one in cells])


def alphas(table: Any) -> np.ndarray:
    """Return where along the lines the loss was evaluated."""
    return np.unique(select(table, quantity="train_loss").alpha)


def curves(table: Any, quantity: str, arm: str) -> np.ndarray:
    """Return values along the lines of an arm, (draws, alphas, seeds)."""
    return by_seed(select(table, quantity=quantity, arm=arm), "draw", "index")


def barriers(table: Any, arm: str) -> np.ndarray:
    """Return how far the training loss rises above the straight line of its ends, (draws, seeds)."""
    at, loss = alphas(table), curves(table, "train_loss", arm)
    inside = (at >= -1e-9) & (at <= 1 + 1e-9)
    first, last = (loss[:, np.argmin(np.abs(at - end))] for end in (0, 1))
    straight = first[:, None] + (last - first)[:, None] * at[None, :, None]
    found: np.ndarray = (loss - straight)[:, inside].max(1)
    return found


def widths(table: Any, arm: str) -> np.ndarray:
    """Return the stretch of alpha on which the training loss is low, (draws, seeds)."""
    at, loss = alphas(table), curves(table, "train_loss", arm)
    ends = np.stack([loss[:, np.argmin(np.abs(at - end))] for end in (0, 1)]).max(0)
    low = loss <= ends[:, None] + ABOVE
    found: np.ndarray = low.mean(1) * (at[-1] - at[0])
    return found


def interpolation(table: Any) -> dict[str, Metric]:
    """Measure the lines; draws of a pair are averaged, so that seeds are what is counted."""

    def gain(values: dict[str, np.ndarray]) -> Metric:
        return paired_difference(values["teleported"].mean(0), values["plain"].mean(0))

    arms, found = ("plain", "teleported"), {}
    longer = {arm: np.log(distances(table, arm)) for arm in arms}
    unit = []
    for side in SIDES:
        with np.errstate(invalid="ignore"):  # not every curvature need be positive
            bent = {arm: np.log(curvatures(table, arm, side)) for arm in arms}
        found[f"interpolation_curvature_gain_{side}"] = gain(bent)
        unit.append({arm: bent[arm] - longer[arm] for arm in arms})
        found[f"interpolation_unit_gain_{side}"] = gain(unit[-1])
    both = {arm: (unit[0][arm] + unit[1][arm]) / 2 for arm in arms}
    found["interpolation_unit_curvature_gain"] = gain(both)
    found["interpolation_length_gain"] = gain(longer)
    found["interpolation_barrier_gain"] = gain({arm: barriers(table, arm) for arm in arms})
    found["interpolation_own_barrier"] = over_seeds(barriers(table, "own").mean(0))
    found["interpolation_width_change"] = gain({arm: widths(table, arm) for arm in arms})
    shared = by_seed(select(table, quantity="shared_basis_change"))
    found["interpolation_shared_basis_change"] = over_seeds(shared, np.max)
    return found | _traces(table)


def curvatures(table: Any, arm: str, side: str) -> np.ndarray:
    """Return the second derivative by alpha at an end, (draws, seeds)."""
    return by_seed(select(table, quantity="curvature", arm=arm, side=side), "draw")


def distances(table: Any, arm: str) -> np.ndarray:
    """Return the squared length of the lines, (draws, seeds)."""
    return by_seed(select(table, quantity="squared_distance", arm=arm), "draw")


def traces(table: Any, quantity: str, arm: str) -> np.ndarray:
    """Return traces of the Hessian, (layers, seeds)."""
    return by_seed(select(table, quantity=quantity, arm=arm), "index")


def _traces(table: Any) -> dict[str, Metric]:
    grown, form = {}, {}
    for arm in ("initial", *SIDES):
        before, after, expected = (
            traces(table, name, arm).sum(0)
            for name in ("trace", "trace_teleported", "trace_expected")
        )
        grown[arm], form[arm] = after / before, after / expected - 1
    change = [
        np.abs(np.diff(traces(table, "invariant", arm), axis=0)[0])
        / traces(table, "invariant", arm)[0]
        for arm in grown
    ]
    sharper = {
        name: np.log(traces(table, name, "large").sum(0) / traces(table, name, "small").sum(0))
        for name in ("trace", "invariant")
    }
    return {
        "hessian_large_over_small": over_seeds(sharper["trace"]),
        "hessian_invariant_large_over_small": over_seeds(sharper["invariant"]),
        "hessian_trace_ratio": over_seeds((grown["small"] + grown["large"]) / 2),
        "hessian_trace_ratio_initial": over_seeds(grown["initial"]),
        "hessian_trace_form_error": over_seeds((form["small"] + form["large"]) / 2),
        "hessian_invariant_change": over_seeds(np.max(change, axis=0), np.max),
    }


def histograms(table: Any) -> dict[str, Metric]:
    """Measure tails, bulk, reach and the control."""

    def of(quantity: str, arm: str) -> np.ndarray:
        return by_seed(select(table, quantity=quantity, arm=arm))

    return {
        "histogram_tail_ratio": over_seeds(
            of("quantile_999", "teleported") / of("quantile_999", "default")
        ),
        "histogram_bulk_ratio": over_seeds(of("median", "teleported") / of("median", "default")),
        "histogram_largest": over_seeds(of("largest", "teleported")),
        "histogram_beyond_start": over_seeds(of("beyond_start", "teleported")),
        "histogram_control_distance": over_seeds(of("control_distance", "same histogram"), np.max),
    }
