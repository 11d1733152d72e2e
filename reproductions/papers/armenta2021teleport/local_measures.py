"""What Figures 4 and 7 give: angles of small teleports, and lengths of gradients after any."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, joint, over_seeds, ratio, slope, trend
from reproductions.harness.tables import by_seed, select

CONVOLUTIONAL = ("vgg16_bn", "resnet18", "densenet121")
FIRST_COMPOUNDED = 2  # draw from which on the authors' loop is in its stride


def offsets(table: Any, **where: Any) -> np.ndarray:
    """Return angle - 90 in degrees, (settings, teleports, networks); see `by_seed`."""
    rows = select(table, quantity="angle", **where)
    rows = rows.assign(setting=rows["source"] + rows["batch"].astype(int).astype(str))
    return by_seed(rows, "setting", "index") - 90


def ranges(table: Any) -> np.ndarray:
    """Return the ranges of teleports towards the gradient, ascending."""
    return np.unique(select(table, pair="displacement-gradient").sigma)


def published_range(table: Any) -> float:
    """Return the range at which random vectors were measured, which is the authors'."""
    return float(select(table, pair="random-random").sigma.iloc[0])


def spread(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation over teleports, averaged over settings, (networks,)."""
    found: np.ndarray = values.std(1).mean(0)
    return found


def spread_within(rows: Any) -> float:
    """Return that spread of rows of angles, averaged over networks too: what histograms print."""
    return float(rows.groupby(["seed", "source", "batch"]).value.std(ddof=0).mean())


def size(values: np.ndarray) -> np.ndarray:
    """Return the root mean square over settings and teleports, (networks,)."""
    found: np.ndarray = np.sqrt((values**2).mean((0, 1)))
    return found


def by_range(table: Any, arm: str, protocol: str, measure: Any) -> np.ndarray:
    """Return a measure of the offsets against the gradient, (ranges, networks)."""
    where = {"arm": arm, "pair": "displacement-gradient", "protocol": protocol}
    first = FIRST_COMPOUNDED if protocol == "compounded" else 0
    return np.stack([
        measure(offsets(table, sigma=sigma, **where)[:, first:]) for sigma in ranges(table)
    ])  # fmt: skip


def count(table: Any) -> float:
    """Return how many weights and thresholds the network has."""
    return float(select(table, quantity="parameters").value.iloc[0])


def angles(table: Any) -> dict[str, Metric]:
    """Measure the angles of networks with one hidden layer."""
    at, root = ranges(table), np.sqrt(count(table))
    relu = offsets(table, arm="relu", pair="displacement-gradient", protocol="clean", sigma=at[0])
    random = offsets(table, pair="random-random")
    clean, tanh = (by_range(table, arm, "clean", spread) for arm in ("relu", "tanh"))
    sizes = by_range(table, "relu", "clean", size)
    return {
        "angles_relu_mean": over_seeds(90 + relu.mean((0, 1))),
        "angles_relu_spread": over_seeds(clean[0]),
        "angles_relu_over_chance": ratio(clean[0], size(random)),
        "angles_relu_offset_over_spread": ratio(np.abs(relu.mean((0, 1))), clean[0]),
        "angles_relu_offset_over_theory": over_seeds(_over_theory(table, relu, at[0])),
        "angles_relu_exponent": slope(np.log(at), np.log(sizes)),
        "angles_random_spread": over_seeds(root * size(random)),
        "angles_displacement_random_spread": over_seeds(
            root * size(offsets(table, pair="displacement-random"))
        ),
        "angles_tanh_over_relu": ratio(tanh[0], clean[0]),
        "angles_tanh_exponent": slope(np.log(at), np.log(tanh)),
        "angles_compounded_over_clean": ratio(
            by_range(table, "relu", "compounded", spread)[0], clean[0]
        ),
    }


def expected(table: Any, quantity: str, sigma: float) -> np.ndarray:
    """Return the expected offset or spread, (settings, networks)."""
    rows = select(table, quantity=quantity, sigma=sigma)
    rows = rows.assign(setting=rows["source"] + rows["batch"].astype(int).astype(str))
    return by_seed(rows, "setting")


def _over_theory(table: Any, relu: np.ndarray, sigma: float) -> np.ndarray:
    """Return the factor (networks,) from expected to mean offsets, least squares over settings."""
    wanted = expected(table, "expected_offset", sigma)
    found: np.ndarray = (relu.mean(1) * wanted).sum(0) / (wanted**2).sum(0)
    return found


def angles_vgg(table: Any) -> dict[str, Metric]:
    """Measure the angles of VGG-16.

    There is one network and one smallest minibatch of images, so intervals are over teleports.
    """
    rows = select(table, pair="displacement-gradient", protocol="clean", precision="float32")
    sigma, chance = published_range(table), np.degrees(1) / np.sqrt(count(table))
    own = select(rows, sigma=sigma)
    own = own[own.source == "images"]
    values = own[own.batch == own.batch.min()].value.to_numpy() - 90
    return {
        "angles_vgg_over_chance": over_seeds(values / chance, np.std),
        "angles_vgg_offset": over_seeds(values),
        "angles_vgg_displacement_random": over_seeds(
            select(table, pair="displacement-random").value.to_numpy() - 90, np.std
        ),
    }


# ---------------------------------------------------------------- lengths of gradients


def means(table: Any, arm: str, quantity: str, protocol: str = "clean") -> np.ndarray:
    """Return the mean over minibatches and teleports, (ranges, networks)."""
    rows = select(table, arm=arm, quantity=quantity, protocol=protocol)
    found: np.ndarray = by_seed(rows, "sigma", "index").mean(1)
    return found


def relative(table: Any, arm: str, protocol: str = "clean") -> np.ndarray:
    """Return the mean of |dTW| / |TW| over |dW| / |W|, (ranges, networks)."""
    rows = select(table, arm=arm, protocol=protocol)
    parts = (
        by_seed(select(rows, quantity=f"{part}_square"), "sigma", "index")
        for part in ("gradient", "weight")
    )
    gradient, weight = parts
    found: np.ndarray = np.sqrt(gradient / weight).mean(1)
    return found


def over_theory(table: Any, arm: str, part: str, protocol: str = "clean") -> Metric:
    """Return mean squared length over its closed form at the largest range; part: gradient, weight."""
    return over_seeds(_over_theory_each(table, arm, part, protocol))


def _over_theory_each(table: Any, arm: str, part: str, protocol: str = "clean") -> np.ndarray:
    found, wanted = (
        means(table, arm, f"{kind}{part}_square", protocol)[-1] for kind in ("", "expected_")
    )
    over: np.ndarray = found / wanted
    return over


def law(table: Any) -> Metric:
    """Return the largest relative difference from backpropagation through teleported networks."""
    return exact(float(select(table, quantity="law_error").value.max()))


def gradients(table: Any) -> dict[str, Metric]:
    """Measure the fully connected network."""
    return _lengths(table, "mlp") | {
        "gradients_law_error": law(table),
        "gradients_over_theory_compounded": over_theory(table, "mlp", "gradient", "compounded"),
    }


def _lengths(table: Any, arm: str) -> dict[str, Metric]:
    return {
        f"gradients_published_trend_{arm}": trend(means(table, arm, "published")),
        f"gradients_boost_{arm}": over_seeds(means(table, arm, "gradient_square")[-1]),
        f"gradients_over_theory_{arm}": over_theory(table, arm, "gradient"),
        f"weights_over_theory_{arm}": over_theory(table, arm, "weight"),
        f"gradients_relative_{arm}": over_seeds(relative(table, arm)[-1]),
    }


def gradients_conv(table: Any) -> dict[str, Metric]:
    """Measure the convolutional networks that there are."""
    found = {"gradients_conv_law_error": law(table)}
    there = set(select(table, quantity="published").arm)
    for arm in CONVOLUTIONAL:
        found |= _lengths(table, arm) if arm in there else {}
    return found | (_worst(table) if there >= set(CONVOLUTIONAL) else {})


def _worst(table: Any) -> dict[str, Metric]:
    """Measure the worst of the networks at the largest range, chosen anew in every resample."""
    theory = np.stack([_over_theory_each(table, arm, "gradient") for arm in CONVOLUTIONAL])
    rise = np.stack([relative(table, arm)[-1] for arm in CONVOLUTIONAL])
    return {
        "gradients_conv_over_theory": joint(theory, farthest_from_one),
        "gradients_conv_relative": joint(rise, lambda drawn: drawn.mean(-1).min(0)),
    }


def farthest_from_one(drawn: np.ndarray) -> Any:
    """Return the mean over seeds (networks, ..., seeds) that is farthest from one, (...)."""
    mean = drawn.mean(-1)
    worst = np.abs(mean - 1).argmax(0)
    return np.take_along_axis(mean, worst[None], 0)[0]
