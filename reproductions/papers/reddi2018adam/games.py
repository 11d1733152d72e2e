"""The games of the room: transforms on one-dimensional losses, played and written as rows."""

from __future__ import annotations

import numpy as np
import torch

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
)
from reproductions.optim.sequential import Trajectory, simulate
from reproductions.problems import online

UNITS = {
    "iterate": "1",
    "average_regret": "loss per step",
    "expected_average_regret": "loss per step",
    "total": "1",
    "growths": "steps",
    "clear_growths": "steps",
    "misses": "periods",
}


def methods(
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


def marks(steps: int, records: int, multiple: int = 1) -> list[int]:
    """Return recorded steps: evenly spaced, three quarters of the run, and powers of ten."""
    even = np.linspace(steps / records, steps, records).astype(int) // multiple * multiple
    tens = [10**k for k in range(1, 9) if 10**k <= steps]
    early = np.geomspace(1, steps, 40).astype(int)
    chosen = {*even.tolist(), *tens, *early.tolist(), steps * 3 // 4, steps}
    return sorted(step for step in chosen if step >= 1)


def add(rows: Rows, arm: str, path: Trajectory, *, seed: int | np.ndarray, **factors) -> None:
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


def theorem_1(
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
        add(rows, arm, path, seed=0, theorem="1", constant=c, share=np.array([p[1] for p in pairs]))


def theorem_2_and_3(
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
    add(rows, "adam", path, seed=0, theorem="2", **sizes)
    lanes = online.theorem_3(constant, delta, streams)
    for arm, made in (("adam", adam), ("amsgrad", amsgrad)):
        transform = made(0.5, 0.9, 0.99, schedule=inverse_sqrt)
        path = simulate(lanes, transform, 0.0, steps=steps, record_at=marks)
        seed = np.arange(len(streams))
        add(rows, arm, path, seed=seed, theorem="3", constant=constant, share=1.0)


def period_map(rows: Rows, steps: int, periods: list[int], levels: int) -> None:
    """Run RMSProp with 1/sqrt(t) on every (C, beta2) as lanes (Shi et al. 2021, Figure 1)."""
    beta2 = 1 - 10.0 ** (-np.arange(1, levels + 1) / 10)
    period, beta2 = (grid.ravel() for grid in np.meshgrid(periods, beta2))
    problem = online.periodic(period.astype(float).tolist(), period.tolist())
    transform = rmsprop(1.0, torch.from_numpy(beta2)[:, None], schedule=inverse_sqrt)
    marks = [steps * 3 // 4, steps]
    path = simulate(problem, transform, 0.0, steps=steps, record_at=marks)
    mean = ((path.total[1] - path.total[0]) / (marks[1] - marks[0])).numpy()
    rows.add(arm="period_map", quantity="window_mean", value=mean, n=period, beta1=0.0, beta2=beta2)


def momentum_map(
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
