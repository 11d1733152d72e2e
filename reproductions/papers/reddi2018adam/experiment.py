"""The experiments of Reddi, Kale and Kumar 2018; each returns rows for its table.

One function an experiment; its keyword arguments are the keys of configs/reddi2018adam.yaml.
"""

from __future__ import annotations

import numpy as np
import torch

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.optim.first_order import (
    Transform,
    adagrad,
    adam,
    adamnc,
    amsgrad,
    inverse_sqrt,
    rmsprop,
    sgd,
    sign,
)
from reproductions.optim.sequential import Trajectory, simulate
from reproductions.papers.reddi2018adam import exact, training
from reproductions.problems import online

Progress = training.Progress

_UNITS = {
    "iterate": "1",
    "average_regret": "loss per step",
    "expected_average_regret": "loss per step",
    "total": "1",
    "growths": "steps",
    "clear_growths": "steps",
    "misses": "periods",
}


def figure_1(
    *,
    steps: int,
    alpha: float,
    beta1: float,
    beta2: float,
    start: float,
    seeds: int,
    alpha_grid: list[float],
    records: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Run seven methods on the problem of Figure 1: one periodic lane, `seeds` random ones."""
    streams = [root_seed * 1000 + seed for seed in range(seeds)]
    problem = online.concatenate([online.reddi_online(), online.reddi_stochastic(streams)])
    methods = {
        **_methods(alpha, beta1, beta2),
        "sgd_small": sgd(0.02 * alpha, schedule=inverse_sqrt),
    }
    rows, marks = Rows({**_UNITS, "bound": "loss"}), _marks(steps, records)
    for number, (arm, transform) in enumerate(methods.items()):
        path = simulate(problem, transform, start, steps=steps, record_at=marks)
        orders = np.array(["periodic"] + ["random"] * seeds)
        _add(rows, arm, path, seed=np.array([0, *range(seeds)]), order=orders, alpha=alpha)
        progress((number + 1) / (len(methods) + 2), arm)
    bare = amsgrad(alpha, 0.0, beta2, schedule=inverse_sqrt)
    path = simulate(online.reddi_online(), bare, start, steps=steps, record_at=marks)
    _add(rows, "amsgrad_beta1_0", path, seed=0, order="periodic", alpha=alpha)
    rows.extend(exact.bound(steps, alpha, beta2))
    grid = torch.tensor(alpha_grid, dtype=torch.float64)[:, None]
    for arm, transform in _methods(grid, beta1, beta2).items():
        if arm in ("adam", "amsgrad"):
            lanes = online.reddi_online(len(alpha_grid))
            path = simulate(lanes, transform, start, steps=steps, record_at=marks)
            _add(rows, f"{arm}_grid", path, seed=0, order="periodic", alpha=np.array(alpha_grid))
    return rows


def effective_rate(
    *, steps: int, learning_rate: float, beta1: float, beta2: float, progress: Progress
) -> Rows:
    """Count the steps on which the effective learning rate of each method grows."""
    methods = _methods(learning_rate, beta1, beta2, schedule=None)
    rows, marks = Rows(_UNITS), _marks(steps, 50, multiple=101)
    for number, (arm, transform) in enumerate(methods.items()):
        path = simulate(online.reddi_online(), transform, 0.0, steps=steps, record_at=marks)
        _add(rows, arm, path, seed=0)
        progress((number + 1) / len(methods), arm)
    return rows


def theorems(
    *,
    steps: int,
    constants: list[float],
    step_sizes: list[float],
    betas: list[list[float]],
    betas_figure_1: list[float],
    beta_grid: int,
    period_gap: list[int],
    stochastic_constant: float,
    stochastic_delta: float,
    seeds: int,
    records: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Play the counterexamples of Theorems 1, 2, 3 and 6 and tabulate their exact drifts."""
    rows = Rows({**_UNITS, **exact.UNITS})
    marks = _marks(steps, records)
    _theorem_1(rows, steps, constants, step_sizes, marks)
    progress(0.3, "Theorems 1 and 6")
    _theorem_2_and_3(
        rows, steps, period_gap, stochastic_constant, stochastic_delta,
        [root_seed * 1000 + seed for seed in range(seeds)], marks,
    )  # fmt: skip
    progress(0.6, "Theorems 2 and 3")
    rows.extend(exact.drifts(constants, betas_figure_1))
    rows.extend(exact.drift_by_simulation(constants))
    rows.extend(exact.periods(betas, beta_grid))
    progress(1.0, "exact drifts")
    return rows


def _theorem_1(
    rows: Rows, steps: int, constants: list[float], step_sizes: list[float], marks: list[int]
) -> None:
    """Run every (C, alpha) of Theorems 1 and 6 as lanes, from x_1 = 1."""
    pairs = [(c, a) for c in constants for a in step_sizes]
    c = np.array([pair[0] for pair in pairs])
    problem = online.periodic(list(c), [3] * len(pairs))

    def column(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)[:, None]

    beta2 = 1 / (1 + c * c)
    # the proof asks for alpha < sqrt(1 - beta2); step_sizes are shares of that limit
    alpha = column(np.array([pair[1] for pair in pairs]) * np.sqrt(1 - beta2))
    beta2_6 = 2 / ((1 + c * c) * c * c)
    alpha_6 = column(np.array([pair[1] for pair in pairs]) * np.sqrt(1 - beta2_6))
    methods = {
        "adam": rmsprop(alpha, column(beta2), schedule=inverse_sqrt),
        "adam_constant": rmsprop(alpha, column(beta2)),
        "adam_epsilon": rmsprop(
            alpha_6, column(beta2_6), eps=1.0, eps_inside=True, schedule=inverse_sqrt
        ),
        "amsgrad": amsgrad(alpha, 0.0, column(beta2), schedule=inverse_sqrt),
        "adagrad": adagrad(alpha),
        "sgd": sgd(alpha / column(c), schedule=inverse_sqrt),
    }
    for arm, transform in methods.items():
        path = simulate(problem, transform, 1.0, steps=steps, record_at=marks)
        _add(
            rows, arm, path, seed=0, theorem="1", constant=c, share=np.array([p[1] for p in pairs])
        )


def _theorem_2_and_3(
    rows: Rows,
    steps: int,
    period_gap: list[int],
    constant: float,
    delta: float,
    streams: list[int],
    marks: list[int],
) -> None:
    """Run Adam (0.9, 0.99) on either side of the smallest period, and on random draws."""
    lanes = online.periodic([float(period) for period in period_gap], period_gap)
    # near the threshold the drift is tiny: a large constant step settles within the run
    path = simulate(lanes, adam(0.05, 0.9, 0.99), 0.0, steps=steps, record_at=marks)
    sizes = {"constant": np.array(period_gap, float), "share": 1.0}
    _add(rows, "adam", path, seed=0, theorem="2", **sizes)
    lanes = online.theorem_3(constant, delta, streams)
    for arm, made in (("adam", adam), ("amsgrad", amsgrad)):
        transform = made(0.5, 0.9, 0.99, schedule=inverse_sqrt)
        path = simulate(lanes, transform, 0.0, steps=steps, record_at=marks)
        seed = np.arange(len(streams))
        _add(rows, arm, path, seed=seed, theorem="3", constant=constant, share=1.0)


def lecture(
    *,
    betas: list[list[float]],
    curve_points: int,
    curve_beta1: list[float],
    lanes: int,
    steps: int,
    burn_in: int,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Compute the drift of every method on f = (-3x) + (x) + (x+1), exactly and by simulation."""
    rows = exact.lecture(betas, curve_points, curve_beta1)
    progress(0.2, "exact drifts")
    problem = online.lecture([root_seed * 1000 + lane for lane in range(lanes)])
    problem.box = None  # the drift is that of the free walk
    methods: dict[str, Transform] = {"sgd": sgd(1.0), "sign": sign(1.0)}
    for beta1, beta2 in betas:
        methods[f"adam {beta1:g} {beta2:g}"] = adam(1.0, beta1, beta2)
    for number, (arm, transform) in enumerate(methods.items()):
        path = simulate(problem, transform, 0.0, steps=steps, record_at=[burn_in, steps])
        drift = ((path.iterate[1] - path.iterate[0]) / (steps - burn_in)).numpy()
        beta1, beta2 = map(float, arm.split()[1:]) if " " in arm else (-1.0, -1.0)
        rows.add(
            arm=arm.split()[0], quantity="simulated_drift", value=drift, seed=np.arange(lanes),
            beta1=beta1, beta2=beta2,
        )  # fmt: skip
        progress(0.2 + 0.8 * (number + 1) / len(methods), arm)
    return rows


def later_results(
    *,
    map_steps: int,
    periods: list[int],
    beta2_levels: int,
    momentum_steps: int,
    momentum_problems: list[int],
    momentum_levels: int,
    momentum_alpha: float,
    momentum_seeds: int,
    cycle_alphas: list[float],
    cycle_betas: list[list[float]],
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Map where Adam fails over (C, beta2) and (beta1, beta2), and follow its 2-cycles."""
    rows = Rows({"final": "1", "window_mean": "1", **exact.UNITS})
    _period_map(rows, map_steps, periods, beta2_levels)
    progress(0.5, "map over C and beta2")
    streams = [root_seed * 1000 + seed for seed in range(momentum_seeds)]
    for n in momentum_problems:
        _momentum_map(rows, n, momentum_steps, momentum_levels, momentum_alpha, streams)
    progress(0.9, "map over beta1 and beta2")
    rows.extend(exact.boundaries(periods, momentum_problems, momentum_levels))
    rows.extend(exact.two_cycles(cycle_alphas, cycle_betas))
    progress(1.0, "boundaries and 2-cycles")
    return rows


def _period_map(rows: Rows, steps: int, periods: list[int], levels: int) -> None:
    """Run RMSProp with 1/sqrt(t) on every (C, beta2) as lanes (Shi et al. 2021, Figure 1)."""
    beta2 = 1 - 10.0 ** (-np.arange(1, levels + 1) / 10)
    period, beta2 = (grid.ravel() for grid in np.meshgrid(periods, beta2))
    problem = online.periodic(period.astype(float).tolist(), period.tolist())
    transform = rmsprop(1.0, torch.from_numpy(beta2)[:, None], schedule=inverse_sqrt)
    marks = [steps * 3 // 4, steps]
    path = simulate(problem, transform, 0.0, steps=steps, record_at=marks)
    mean = ((path.total[1] - path.total[0]) / (marks[1] - marks[0])).numpy()
    rows.add(arm="period_map", quantity="window_mean", value=mean, n=period, beta1=0.0, beta2=beta2)


def _momentum_map(
    rows: Rows, n: int, steps: int, levels: int, alpha: float, streams: list[int]
) -> None:
    """Run Adam on problem (2.5) on every (beta1, beta2) as lanes (Zhang et al. 2022)."""
    axis = (np.arange(levels) + 0.5) / levels
    beta1, beta2 = (grid.ravel() for grid in np.meshgrid(axis, axis))
    for number, stream in enumerate(streams):
        problem = online.zhang_2_5(n, [stream] * beta1.size)
        b1, b2 = (torch.from_numpy(values)[:, None] for values in (beta1, beta2))
        transform = adam(alpha, b1, b2, schedule=inverse_sqrt)
        path = simulate(problem, transform, 0.0, steps=steps, record_at=[steps])
        rows.add(
            arm="momentum_map", quantity="final", value=path.iterate[-1].numpy(), seed=number,
            n=n, beta1=beta1, beta2=beta2,
        )  # fmt: skip


def logistic(
    *,
    data: Dataset,
    steps: int,
    batch: int,
    learning_rates: list[float],
    beta1: float,
    beta2s: list[float],
    eps: float,
    seeds: int,
    evaluate_every: int,
    train_examples: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train logistic regression with alpha/sqrt(t) over the whole grid (Figure 2, top left)."""
    grid = training.Grid(learning_rates, beta1, beta2s, eps, seeds, inverse_sqrt)
    plan = training.Plan(steps, batch, evaluate_every, train_examples, device, root_seed)
    return training.compare_mlp([], data, grid, plan, progress)


def network(
    *,
    data: Dataset,
    steps: int,
    batch: int,
    hidden: int,
    learning_rates: list[float],
    beta1: float,
    beta2s: list[float],
    eps: float,
    seeds: int,
    evaluate_every: int,
    train_examples: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train the network with one hidden layer, constant step, over the grid (Figure 2, top right)."""
    grid = training.Grid(learning_rates, beta1, beta2s, eps, seeds, None)
    plan = training.Plan(steps, batch, evaluate_every, train_examples, device, root_seed)
    return training.compare_mlp([hidden], data, grid, plan, progress)


def cifarnet(
    *,
    data: Dataset,
    steps: int,
    batch: int,
    learning_rates: list[float],
    beta1: float,
    beta2s: list[float],
    eps: float,
    seeds: int,
    evaluate_every: int,
    train_examples: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Train CIFARNET, constant step, over the grid (Figure 2, bottom)."""
    grid = training.Grid(learning_rates, beta1, beta2s, eps, seeds, None)
    plan = training.Plan(steps, batch, evaluate_every, train_examples, device, root_seed)
    return training.compare_cifarnet(data, grid, plan, progress)


def _methods(
    alpha: float | torch.Tensor, beta1: float, beta2: float, schedule=inverse_sqrt
) -> dict[str, Transform]:
    """Return the arms of Figure 1; AMSGrad in the orders of the paper, torch and optax."""
    return {
        "adam": adam(alpha, beta1, beta2, schedule=schedule),
        "amsgrad": amsgrad(alpha, beta1, beta2, schedule=schedule),
        "amsgrad_torch": amsgrad(alpha, beta1, beta2, order="torch", schedule=schedule),
        "amsgrad_optax": amsgrad(alpha, beta1, beta2, order="optax", schedule=schedule),
        "sgd": sgd(alpha, schedule=schedule),
        "adagrad": adagrad(alpha),
        "adamnc": adamnc(alpha, beta1, schedule=inverse_sqrt),
    }


def _marks(steps: int, records: int, multiple: int = 1) -> list[int]:
    """Return recorded steps: evenly spaced, three quarters of the run, and powers of ten."""
    even = np.linspace(steps / records, steps, records).astype(int) // multiple * multiple
    tens = [10**k for k in range(1, 9) if 10**k <= steps]
    early = np.geomspace(1, steps, 40).astype(int)
    chosen = {*even.tolist(), *tens, *early.tolist(), steps * 3 // 4, steps}
    return sorted(step for step in chosen if step >= 1)


def _add(rows: Rows, arm: str, path: Trajectory, *, seed: int | np.ndarray, **factors) -> None:
    """Add what a trajectory recorded; lanes lie along the last axis."""
    step = path.steps.numpy()[:, None]
    per_step = {"average_regret": path.regret, "expected_average_regret": path.expected_regret}
    for quantity, sums in per_step.items():
        rows.add(
            arm=arm, quantity=quantity, value=sums.numpy() / step, seed=seed, step=step, **factors
        )
    for quantity in ("iterate", "total", "growths", "clear_growths", "misses"):
        value = getattr(path, quantity).numpy()
        rows.add(arm=arm, quantity=quantity, value=value, seed=seed, step=step, **factors)
