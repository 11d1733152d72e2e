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
    adam,
    amsgrad,
    inverse_sqrt,
    sgd,
    sign,
)
from reproductions.optim.sequential import simulate
from reproductions.papers.reddi2018adam import exact, games, training
from reproductions.problems import online

Progress = training.Progress


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
        **games.methods(alpha, beta1, beta2),
        "sgd_small": sgd(0.02 * alpha, schedule=inverse_sqrt),
    }
    rows, marks = Rows({**games.UNITS, "bound": "loss"}), games.marks(steps, records)
    for number, (arm, transform) in enumerate(methods.items()):
        path = simulate(problem, transform, start, steps=steps, record_at=marks)
        orders = np.array(["periodic"] + ["random"] * seeds)
        games.add(rows, arm, path, seed=np.array([0, *range(seeds)]), order=orders, alpha=alpha)
        progress((number + 1) / (len(methods) + 2), arm)
    bare = amsgrad(alpha, 0.0, beta2, schedule=inverse_sqrt)
    path = simulate(online.reddi_online(), bare, start, steps=steps, record_at=marks)
    games.add(rows, "amsgrad_beta1_0", path, seed=0, order="periodic", alpha=alpha)
    rows.extend(exact.bound(steps, alpha, beta2))
    grid = torch.tensor(alpha_grid, dtype=torch.float64)[:, None]
    for arm, transform in games.methods(grid, beta1, beta2).items():
        if arm in ("adam", "amsgrad"):
            lanes = online.reddi_online(len(alpha_grid))
            path = simulate(lanes, transform, start, steps=steps, record_at=marks)
            games.add(
                rows, f"{arm}_grid", path, seed=0, order="periodic", alpha=np.array(alpha_grid)
            )
    return rows


def effective_rate(
    *, steps: int, learning_rate: float, beta1: float, beta2: float, progress: Progress
) -> Rows:
    """Count the steps on which the effective learning rate of each method grows."""
    methods = games.methods(learning_rate, beta1, beta2, schedule=None)
    rows, marks = Rows(games.UNITS), games.marks(steps, 50, multiple=101)
    for number, (arm, transform) in enumerate(methods.items()):
        path = simulate(online.reddi_online(), transform, 0.0, steps=steps, record_at=marks)
        games.add(rows, arm, path, seed=0)
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
    rows = Rows({**games.UNITS, **exact.UNITS})
    marks = games.marks(steps, records)
    games.theorem_1(rows, steps, constants, step_sizes, marks)
    progress(0.3, "Theorems 1 and 6")
    games.theorem_2_and_3(
        rows, steps, period_gap, stochastic_constant, stochastic_delta,
        [root_seed * 1000 + seed for seed in range(seeds)], marks,
    )  # fmt: skip
    progress(0.6, "Theorems 2 and 3")
    rows.extend(exact.drifts(constants, betas_figure_1))
    rows.extend(exact.drift_by_simulation(constants))
    rows.extend(exact.periods(betas, beta_grid))
    progress(1.0, "exact drifts")
    return rows


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
    games.period_map(rows, map_steps, periods, beta2_levels)
    progress(0.5, "map over C and beta2")
    streams = [root_seed * 1000 + seed for seed in range(momentum_seeds)]
    for n in momentum_problems:
        games.momentum_map(rows, n, momentum_steps, momentum_levels, momentum_alpha, streams)
    progress(0.9, "map over beta1 and beta2")
    rows.extend(exact.boundaries(periods, momentum_problems, momentum_levels))
    rows.extend(exact.two_cycles(cycle_alphas, cycle_betas))
    progress(1.0, "boundaries and 2-cycles")
    return rows


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
