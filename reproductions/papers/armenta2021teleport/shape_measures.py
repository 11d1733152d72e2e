"""What exactness, expectations, lines between networks, traces and histograms give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, over_seeds, paired_difference
from reproductions.harness.tables import by_seed, select

SIDES = ("small", "large")
SEQUENCES = ("repeated", "compounded")  # ten teleports each
PRECISIONS = {"relative_change": "float64", "absolute_change": "float32"}
ABOVE = 1.0  # nat above the higher end: up to where the loss on a line counts as low
WIDEST = 0.9  # the range at which norms are told


def exactness(table: Any) -> dict[str, Metric]:
    """Measure the largest changes of outputs."""

    def worst(quantity: str, family: str, protocols: Sequence[str], **where: Any) -> Metric:
        own = select(table, quantity=quantity, family=family, protocol=list(protocols), **where)
        each = by_seed(own, "arm", "protocol").max(1)
        if family == "layers":
            return over_seeds(each.max(0), np.max)
        # of modules there may be one of a kind: what is counted are networks
        found = over_seeds(each.ravel(), np.max)
        said = f"largest of {each.size} networks, {len(each)} architectures"
        return found._replace(note="; ".join(filter(None, (said, found.note))))

    conjugated, every = {"arm": ["tanh", "sigmoid"]}, ("once", *SEQUENCES)
    found = {
        "exact_repeated_float64": worst("relative_change", "layers", ["repeated"]),
        "exact_compounded_float64": worst("relative_change", "layers", ["compounded"]),
        "exact_sequences_float32": worst("absolute_change", "layers", SEQUENCES),
    }
    for quantity, precision in PRECISIONS.items():
        for name, where in (("relu", {"arm": "relu"}), ("conjugated", conjugated)):
            found[f"exact_{name}_{precision}"] = worst(quantity, "layers", ["once"], **where)
        for name, family, protocols in (
            ("modules", "modules", ["once"]),
            ("module_sequences", "modules", SEQUENCES),
            ("conjugated_modules", "conjugated modules", every),
        ):
            if (table.family == family).any():
                found[f"exact_{name}_{precision}"] = worst(quantity, family, protocols)
    return found


def moments(table: Any) -> dict[str, Metric]:
    """Measure factors of squares against their expectations, norms and Hessians."""
    norms = select(table, quantity="squared_norm", sigma=WIDEST)
    found = {"moments_chi_square": over_seeds(np.square(deviations(table)).mean(0))}
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
    """Return every factor's distance from its expectation in standard errors, (factors, seeds)."""
    mean, error, expected = (
        by_seed(select(table, quantity=name), "arm", "block", "sigma")
        for name in ("factor", "factor_error", "factor_expected")
    )
    found: np.ndarray = ((mean - expected) / error).reshape(-1, mean.shape[-1])
    return found


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
    """Return traces of the Hessian, (layers, seeds), or its invariant at (networks, seeds)."""
    return by_seed(select(table, quantity=quantity, arm=arm), "index")


def traces_by_draw(table: Any, quantity: str, arm: str) -> np.ndarray:
    """Return traces of single teleports, (draws, layers, seeds)."""
    return by_seed(select(table, quantity=quantity, arm=arm), "draw", "index")


def growth(table: Any, arm: str) -> np.ndarray:
    """Return measured traces at teleports over the trace before, mean of the draws, (seeds,)."""
    measured = traces_by_draw(table, "trace_teleported", arm).sum(1).mean(0)
    found: np.ndarray = measured / traces(table, "trace", arm).sum(0)
    return found


def _traces(table: Any) -> dict[str, Metric]:
    form, rule, change = {}, [], []
    for arm in ("initial", *SIDES):
        mean, expected = (
            traces(table, name, arm).sum(0) for name in ("trace_mean", "trace_expected")
        )
        form[arm] = mean / expected - 1
        ruled, measured = (
            traces_by_draw(table, name, arm) for name in ("trace_rule", "trace_teleported")
        )
        rule.append(np.abs(measured / ruled - 1).max((0, 1)))
        kept = traces(table, "invariant", arm)
        change.append(np.abs(kept / kept[0] - 1).max(0))
    grown = {arm: growth(table, arm) for arm in form}
    sharper = {
        "trace": [traces(table, "trace", side).sum(0) for side in SIDES],
        "invariant": [traces(table, "invariant", side)[0] for side in SIDES],
    }
    logs = {name: np.log(large / small) for name, (small, large) in sharper.items()}
    return {
        "hessian_large_over_small": over_seeds(logs["trace"]),
        "hessian_invariant_large_over_small": over_seeds(logs["invariant"]),
        "hessian_trace_ratio": over_seeds((grown["small"] + grown["large"]) / 2),
        "hessian_trace_ratio_small": over_seeds(grown["small"]),
        "hessian_trace_ratio_large": over_seeds(grown["large"]),
        "hessian_trace_ratio_initial": over_seeds(grown["initial"]),
        "hessian_trace_rule_error": over_seeds(np.max(rule, axis=0), np.max),
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
