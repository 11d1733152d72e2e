"""What the tables of the room say, as metrics: the numbers the claims are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reproductions.harness.statistics import Metric, exact, over_seeds
from reproductions.harness.tables import by_seed, read_points, select

DIGITISED = Path(__file__).parent / "digitised"
FLOOR = 20 / 101  # average regret of resting at x = +1 on Figure 1's periodic problem


def published(name: str, curve: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (t, value) of a published curve of Figure 1."""
    points = read_points(DIGITISED / f"{name}.csv")
    points = points[points.curve == curve]
    return points.iloc[:, 1].to_numpy(), points.iloc[:, 2].to_numpy()


def curve(table: Any, arm: str, quantity: str, **where: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (step, value) of one lane."""
    rows = select(table, arm=arm, quantity=quantity, **where).sort_values("step")
    return rows.step.to_numpy(), rows.value.to_numpy()


def at(table: Any, arm: str, quantity: str, step: int | None = None, **where: Any) -> float:
    """Return the value of one lane at a step, the last unless given."""
    steps, values = curve(table, arm, quantity, **where)
    if step is None:
        return float(values[-1])
    return float(values[np.flatnonzero(steps == step)[0]])


def last_quarter(table: Any, arm: str, **where: Any) -> np.ndarray:
    """Return the mean of x over the last quarter of the run, one number a seed."""
    rows = select(table, arm=arm, quantity="total", **where)
    end = rows.step.max()
    sums = by_seed(rows[rows.step.isin([end * 3 // 4, end])], "step")
    return (sums[1] - sums[0]) / (end - end * 3 // 4)


def figure_1(table: Any) -> dict[str, Metric]:
    """Measure Figure 1: where the methods end, and how their regret falls."""
    table, random = (select(table, order=order) for order in ("periodic", "random"))
    found = _reference_run(table)
    for arm in ("adam", "amsgrad"):
        values = last_quarter(random, arm)
        found[f"stochastic_{arm}_last_quarter_iterate"] = over_seeds(values)
        found[f"online_{arm}_iterate"] = exact(at(table, arm, "iterate"))
    regret = select(random, arm="adam", quantity="expected_average_regret")
    ends = by_seed(regret[regret.step == regret.step.max()])
    found["stochastic_adam_expected_average_regret"] = over_seeds(ends)
    found["online_adam_average_regret"] = exact(at(table, "adam", "average_regret"))
    steps, regret = curve(table, "amsgrad", "average_regret")
    late = steps >= steps[-1] / 10
    slope = np.polyfit(np.log(steps[late]), np.log(regret[late]), 1)[0]
    found["online_amsgrad_regret_exponent"] = exact(slope)
    if steps[-1] >= 10**6:
        found |= _against_published(table)
    return found


def _reference_run(table: Any) -> dict[str, Metric]:
    """Read the reference run at powers of ten, as far as it went."""
    found = {}
    for arm in ("adam", "amsgrad", "adagrad"):
        steps, _ = curve(table, arm, "iterate")
        for power in (4, 5, 6, 7):
            if steps[-1] >= 10**power:
                for quantity in ("iterate", "average_regret"):
                    value = at(table, arm, quantity, 10**power)
                    found[f"reference_{arm}_{quantity}_1e{power}"] = exact(value)
    return found


def _against_published(table: Any) -> dict[str, Metric]:
    """Hold the published regret against ours: the step size it implies, and the ratio."""
    implied = {arm: implied_alpha(table, arm) for arm in ("adam", "amsgrad")}
    found = {"implied_alpha_amsgrad": exact(implied["amsgrad"])}
    found["implied_alpha_gap"] = exact(abs(implied["adam"] - implied["amsgrad"]))
    for arm, floor, name in (
        ("adam", FLOOR, "published_adam_excess_ratio"), ("amsgrad", 0.0, "published_amsgrad_ratio")
    ):  # fmt: skip
        steps, ours = curve(table, arm, "average_regret")
        t, theirs = published("fig1_left_avg_regret", {"adam": "Adam", "amsgrad": "AMSGrad"}[arm])
        last = min(steps[-1], t[-1])
        ratio = (np.interp(last, t, theirs) - floor) / (np.interp(last, steps, ours) - floor)
        found[name] = exact(ratio)
    bound = select(table, arm="amsgrad", quantity="bound")
    steps, average = curve(table, "amsgrad_beta1_0", "average_regret")
    ratios = [
        row.value / (np.interp(row.step, steps, average) * row.step) for row in bound.itertuples()
    ]
    found["theorem_4_bound_ratio"] = exact(min(ratios))
    return found


def alpha_misfit(table: Any, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (alpha, root mean square difference to the published regret) over the grid."""
    rows = select(table, arm=f"{arm}_grid", quantity="average_regret")
    t, theirs = published("fig1_left_avg_regret", {"adam": "Adam", "amsgrad": "AMSGrad"}[arm])
    alphas, misfits = np.unique(rows.alpha), []
    for alpha in alphas:
        own = rows[rows.alpha == alpha].sort_values("step")
        use = (t >= 2e5) & (t <= own.step.max())
        ours = np.interp(t[use], own.step, own.value)
        misfits.append(np.sqrt(np.mean((ours - theirs[use]) ** 2)) if use.any() else np.nan)
    return alphas, np.array(misfits)


def implied_alpha(table: Any, arm: str) -> float:
    """Return the step size at which our regret fits the published curve best.

    The squared misfit is close to a parabola in alpha; its vertex through the best three grid
    points is the estimate.
    """
    alphas, misfit = alpha_misfit(table, arm)
    best = int(np.clip(np.argmin(misfit), 1, len(alphas) - 2))
    a, b, _ = np.polyfit(alphas[best - 1 : best + 2], misfit[best - 1 : best + 2] ** 2, 2)
    return float(-b / (2 * a))


def theorems(table: Any) -> dict[str, Metric]:
    """Measure the counterexamples of the theorems."""
    one = select(table, theorem="1")
    end = one[one.step == one.step.max()]

    def worst(arm: str, quantity: str, rows: Any = end) -> float:
        return float(select(rows, arm=arm, quantity=quantity).value.max())

    regret = select(end, arm="adam", quantity="average_regret")
    margin = (regret.value - (2 * regret.constant - 4) / 3).min()
    found = {
        "theorem_1_pin_violations": exact(worst("adam", "misses")),
        "theorem_1_pin_violations_constant": exact(worst("adam_constant", "misses")),
        "theorem_1_regret_margin": exact(margin),
        "theorem_1_amsgrad_iterate": exact(worst("amsgrad", "iterate")),
        "theorem_6_iterate": exact(_period_starts(one)),
    }
    two = select(table, theorem="2", quantity="iterate")
    two = two[two.step == two.step.max()].sort_values("constant").value.to_numpy()
    found["theorem_2_end_gap"] = exact(two[-1] - two[0])
    three = last_quarter(select(table, theorem="3"), "adam")
    found["theorem_3_last_quarter_iterate"] = over_seeds(three)
    return found | _exact_theorems(table)


def _period_starts(one: Any) -> float:
    """Return the smallest x_{3t+1} of Theorem 6 among the recorded steps of the last half."""
    rows = select(one, arm="adam_epsilon", quantity="iterate")
    starts = rows[(rows.step % 3 == 1) & (rows.step >= rows.step.max() / 2)]
    return float(starts.value.min())


def _exact_theorems(table: Any) -> dict[str, Metric]:
    def value(quantity: str, **where: Any) -> float:
        return float(select(table, quantity=quantity, **where).value.iloc[0])

    default = {"beta1": 0.9, "beta2": 0.999}
    return {
        "drift_simulation_error": exact(select(table, quantity="drift_error").value.max()),
        "critical_beta2_cyclic_3": exact(value("critical_beta2", constant=3.0)),
        "critical_beta2_1010_cyclic": exact(value("critical_beta2", arm="periodic")),
        "critical_beta2_1010_iid": exact(value("critical_beta2", arm="random")),
        "theorem_2_failing_share": exact(select(table, quantity="failing").value.mean()),
        "smallest_period_default": exact(value("smallest_period", **default)),
        "sufficient_period_default": exact(value("sufficient_period", **default)),
        "theorem_6_drift_7": exact(value("drift", arm="adam_epsilon", constant=7.0)),
    }


def lecture(table: Any) -> dict[str, Metric]:
    """Measure the lecture's example."""
    drift = select(table, quantity="mean_drift")

    def adam(beta1: float, beta2: float) -> Metric:
        return exact(select(drift, arm="adam", beta1=beta1, beta2=beta2).value.iloc[0])

    return {
        "lecture_drift_sign": exact(select(drift, arm="sign").value.iloc[0]),
        "lecture_drift_rmsprop_05": adam(0.0, 0.5),
        "lecture_drift_adam_05_02": adam(0.5, 0.2),
        "lecture_drift_adam_default": adam(0.9, 0.999),
        "lecture_critical_beta2": exact(select(table, quantity="critical_beta2").value.iloc[0]),
        "lecture_safe_beta1": exact(select(table, quantity="safe_beta1").value.iloc[0]),
        "lecture_largest_z": exact(np.abs(simulated_drifts(table)["z"]).max()),
    }


def simulated_drifts(table: Any) -> Any:
    """Return simulated and exact drift of every method with the standard error and z."""
    keys = ["arm", "beta1", "beta2"]
    runs = select(table, quantity="simulated_drift").groupby(keys).value.agg(["mean", "sem"])
    closed = select(table, quantity="mean_drift", arm=["adam", "sgd", "sign"])
    both = runs.join(closed.groupby(keys).value.first().rename("exact")).reset_index()
    return both.assign(z=(both["mean"] - both["exact"]) / both["sem"])


def effective_rate(table: Any) -> dict[str, Metric]:
    """Measure on how many steps the effective learning rate grows, and the optax slowdown."""
    safe = max(at(table, arm, "growths") for arm in ("sgd", "adagrad", "amsgrad"))
    steps, paper = curve(table, "amsgrad", "iterate")
    _, optax = curve(table, "amsgrad_optax", "iterate")
    late = np.flatnonzero(steps % 101 == 0)  # whole periods apart, x moves evenly
    first = late[np.searchsorted(steps[late], steps[-1] // 2)]
    slowdown = (paper[-1] - paper[first]) / (optax[-1] - optax[first])
    return {
        "growths_safe": exact(safe),
        "growths_adam": exact(at(table, "adam", "growths")),
        "growths_amsgrad_torch": exact(at(table, "amsgrad_torch", "clear_growths")),
        "optax_slowdown": exact(slowdown),
    }


def later_results(table: Any) -> dict[str, Metric]:
    """Measure the phase maps of later papers and the 2-cycles."""
    roots = select(table, quantity="critical_beta2")
    ten = select(roots, arm="period_map", n=10).value.iloc[0]
    zhang = select(roots, arm="momentum_map", n=10, beta1=0.0).value.iloc[0]
    cycles = select(table, quantity="multiplier", beta1=0.9, beta2=0.999)
    return {
        "shi_critical_beta2_10": exact(ten),
        "shi_map_agreement": exact(period_map(table)["agrees"].mean()),
        "zhang_critical_beta2": exact(zhang),
        "zhang_map_agreement": over_seeds(momentum_agreement(table)),
        "two_cycle_residual": exact(select(table, quantity="residual").value.max()),
        "two_cycle_multiplier_default": exact(cycles.value.iloc[0]),
    }


def period_map(table: Any) -> Any:
    """Return the cells of the map over (C, beta2) that the exact drift can decide."""
    cells = select(table, arm="period_map", quantity="window_mean").copy()
    roots = select(table, arm="period_map", quantity="critical_beta2")
    cells = cells[cells.n > 2].merge(
        roots[["n", "value"]].rename(columns={"value": "root"}), on="n"
    )
    clear = (cells.beta2 - cells.root).abs() >= 0.3 * (1 - cells.root)
    cells = cells[clear]
    return cells.assign(agrees=(cells.value > 0) == (cells.beta2 < cells.root))


def momentum_agreement(table: Any) -> np.ndarray:
    """Return, a seed, the share of cells of the first momentum map on the side of the drift.

    The drift of a cell must stand out: its expected move over the run, relative to the cell of
    largest drift, above a twentieth.
    """
    final = select(table, arm="momentum_map", quantity="final")
    n = final.n.min()
    final = final[final.n == n]
    drift = select(table, arm="momentum_map", quantity="mean_drift", n=n)
    cells = final.merge(
        drift[["beta1", "beta2", "value"]], on=["beta1", "beta2"], suffixes=("", "_d")
    )
    cells = cells[cells.value_d.abs() > 0.05 * cells.value_d.abs().max()]
    cells = cells.assign(agrees=(cells.value > -1) == (cells.value_d > 0))
    return cells.groupby("seed").agrees.mean().to_numpy()
