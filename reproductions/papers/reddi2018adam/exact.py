"""Exact numbers of the room: drifts, thresholds, smallest periods, 2-cycles, as rows."""

from __future__ import annotations

import math

import numpy as np
import torch

from reproductions.harness.tables import Rows
from reproductions.optim.first_order import adam, rmsprop
from reproductions.optim.sequential import simulate
from reproductions.problems import online, thresholds
from reproductions.problems.drift import cyclic_drift, iid_drift
from reproductions.problems.thresholds import LECTURE, REDDI

UNITS = {
    "drift": "alpha per period",
    "simulated_drift": "alpha per step",
    "mean_drift": "alpha per step",
    "critical_beta2": "1",
    "safe_beta1": "1",
    "smallest_period": "steps",
    "sufficient_period": "steps",
    "failing": "1",
    "bound": "loss",
    "residual": "1",
    "amplitude": "1",
    "multiplier": "1",
    "drift_error": "alpha per period",
}
_RANDOM = ([1010.0, -10.0], [0.01, 0.99])
_NEAR_ONE = np.array([0.9993, 0.9999])  # Figure 1's random problem changes sign in here


def drifts(constants: list[float], betas_figure_1: list[float]) -> Rows:
    """Tabulate drifts and thresholds of Theorems 1, 4, 6 and of Figure 1's problem."""
    rows = Rows(UNITS)
    common = {"theorem": "drift", "share": 1.0}
    for c in constants:
        slopes = [c, -1.0, -1.0]
        beta2 = 1 / (1 + c * c)
        eps_beta2 = 2 / ((1 + c * c) * c * c)
        found = {
            "adam": cyclic_drift(slopes, 0.0, beta2),
            "amsgrad": cyclic_drift(slopes, 0.0, beta2, method="amsgrad"),
            "adagrad": cyclic_drift(slopes, method="adagrad"),
            "adam_epsilon": cyclic_drift(slopes, 0.0, eps_beta2, eps=1.0),
        }
        for arm, value in found.items():
            rows.add(arm=arm, quantity="drift", value=value, constant=c, **common)
        root = thresholds.cyclic_critical_beta2(slopes, 0.0)
        rows.add(arm="adam", quantity="critical_beta2", value=root, constant=c, **common)
    fig = {"theorem": "figure 1", "constant": 1010.0}
    for beta2 in betas_figure_1:
        periodic = cyclic_drift(REDDI, 0.9, beta2)
        rows.add(arm="adam", quantity="drift", value=periodic, share=beta2, **fig)
        rows.add(
            arm="adam",
            quantity="mean_drift",
            value=iid_drift(*_RANDOM, 0.9, beta2),
            share=beta2,
            **fig,
        )
    for order, roots in (
        ("periodic", thresholds.cyclic_critical_beta2(REDDI, 0.9)),
        ("random", thresholds.iid_critical_beta2(*_RANDOM, 0.9, _NEAR_ONE)),
    ):
        rows.add(arm=order, quantity="critical_beta2", value=roots, share=0.9, **fig)
    return rows


def bound(steps: int, alpha: float, beta2: float) -> Rows:
    """Tabulate the regret bound of Theorem 4 (beta1 = 0) on Figure 1's problem."""
    rows = Rows({"bound": "loss"})
    for step in sorted({10**4, 10**5, 10**6, 10**7, steps}):
        if step <= steps:
            value = thresholds.theorem_4_bound(step, alpha, beta2, REDDI)
            rows.add(
                arm="amsgrad",
                quantity="bound",
                value=value,
                step=step,
                order="periodic",
                alpha=alpha,
            )
    return rows


def drift_by_simulation(constants: list[float]) -> Rows:
    """Compare the closed drift with the move of a settled, free run, one period at a time."""
    rows = Rows(UNITS)
    c = np.array(constants)
    problem = online.periodic(constants, [3] * len(constants))
    problem.box = None
    beta2 = 1 / (1 + c * c)
    path = simulate(
        problem,
        rmsprop(1.0, torch.from_numpy(beta2)[:, None]),
        0.0,
        steps=604,
        record_at=[301, 601],
    )
    moved = (path.iterate[1] - path.iterate[0]).numpy() / 100
    closed = np.array(
        [cyclic_drift([k, -1.0, -1.0], 0.0, b) for k, b in zip(c, beta2, strict=True)]
    )
    rows.add(
        arm="adam", quantity="drift_error", value=np.abs(moved - closed), constant=c,
        theorem="drift", share=1.0,
    )  # fmt: skip
    return rows


def periods(betas: list[list[float]], grid: int) -> Rows:
    """Tabulate the smallest failing and the sufficient period of Theorem 2 for (beta1, beta2)."""
    rows = Rows(UNITS)
    at = {"theorem": "2 exact", "share": 1.0, "constant": 0.0}
    for beta1, beta2 in betas:
        where = {**at, "beta1": beta1, "beta2": beta2}
        smallest = thresholds.smallest_failing_period(beta1, beta2)
        sufficient = thresholds.sufficient_period(beta1, beta2)
        if smallest is not None:
            rows.add(arm="adam", quantity="smallest_period", value=smallest, **where)
        if sufficient is not None:
            rows.add(arm="adam", quantity="sufficient_period", value=sufficient, **where)
    for beta2 in 1 - np.geomspace(0.5, 0.003, grid):
        for beta1 in np.linspace(0.0, 0.98 * math.sqrt(beta2), grid):
            found = thresholds.smallest_failing_period(float(beta1), float(beta2), most=3000)
            where = {**at, "beta1": beta1, "beta2": beta2}
            rows.add(arm="grid", quantity="failing", value=float(found is not None), **where)
    return rows


def lecture(betas: list[list[float]], points: int, curve_beta1: list[float]) -> Rows:
    """Tabulate the exact drifts and thresholds of the lecture's example."""
    rows = Rows(UNITS)
    for method in ("sgd", "sign", "rms", "ideal"):
        value = iid_drift(*LECTURE, method=method)
        rows.add(arm=method, quantity="mean_drift", value=value, beta1=-1.0, beta2=-1.0)
    named = {(0.0, 0.5), (0.5, 0.2), (0.9, 0.999)} | {(b1, b2) for b1, b2 in betas}
    for beta1, beta2 in sorted(named):
        value = iid_drift(*LECTURE, beta1, beta2)
        rows.add(arm="adam", quantity="mean_drift", value=value, beta1=beta1, beta2=beta2)
    for beta1 in curve_beta1:
        for beta2 in np.linspace(0.0, 0.995, points):
            value = iid_drift(*LECTURE, beta1, float(beta2))
            rows.add(arm="curve", quantity="mean_drift", value=value, beta1=beta1, beta2=beta2)
    root = thresholds.iid_critical_beta2(*LECTURE, 0.0)
    rows.add(arm="adam", quantity="critical_beta2", value=root, beta1=0.0, beta2=-1.0)
    safe = thresholds.safe_beta1(*LECTURE)
    rows.add(arm="adam", quantity="safe_beta1", value=safe, beta1=safe, beta2=-1.0)
    return rows


def boundaries(counts: list[int], problems: list[int], levels: int) -> Rows:
    """Tabulate the exact boundaries of the two phase maps, and the drift in every cell."""
    rows = Rows(UNITS)
    for n in sorted({*(n for n in counts if n > 2), 10}):
        roots = thresholds.cyclic_critical_beta2(thresholds.periodic_slopes(float(n), n), 0.0)
        rows.add(arm="period_map", quantity="critical_beta2", value=roots, index=range(len(roots)),
                 n=n, beta1=0.0, beta2=-1.0)  # fmt: skip
    axis = (np.arange(levels) + 0.5) / levels
    for n in problems:
        values, chances = thresholds.zhang_2_5(n)
        for beta1 in [0.0, *axis]:
            roots = thresholds.iid_critical_beta2(values, chances, float(beta1))
            if roots:
                rows.add(arm="momentum_map", quantity="critical_beta2", value=roots,
                         index=range(len(roots)), n=n, beta1=beta1, beta2=-1.0)  # fmt: skip
            for beta2 in axis if beta1 else ():
                drift = iid_drift(values, chances, float(beta1), float(beta2))
                rows.add(arm="momentum_map", quantity="mean_drift", value=drift, n=n,
                         beta1=beta1, beta2=beta2)  # fmt: skip
    return rows


def two_cycles(alphas: list[float], betas: list[list[float]]) -> Rows:
    """Follow Adam for two steps from its exact 2-cycle on w^2 / 2, and report its multipliers."""
    rows = Rows(UNITS)
    for beta1, beta2 in betas:
        where = {"n": 0, "beta1": beta1, "beta2": beta2, "arm": "two_cycle"}
        multiplier = thresholds.two_cycle_multipliers(beta1, beta2)[0]
        rows.add(quantity="multiplier", value=multiplier, **where)
        for index, alpha in enumerate(alphas):
            w = thresholds.two_cycle_amplitude(alpha, beta1)
            rows.add(quantity="amplitude", value=w, index=index, alpha=alpha, **where)
            residual = _residual(alpha, beta1, beta2, w)
            rows.add(quantity="residual", value=residual, index=index, alpha=alpha, **where)
    return rows


def _residual(alpha: float, beta1: float, beta2: float, w: float) -> float:
    """Return |w_2 - w_0| / W after two of the suite's own Adam steps from the cycle."""
    transform = adam(alpha, beta1, beta2)
    theta = torch.tensor([[w]], dtype=torch.float64)
    state = transform.init(theta)
    state = state._replace(mean=-(1 - beta1) / (1 + beta1) * theta, square=theta * theta)
    for _ in range(2):
        step, state = transform.update(theta, state, theta)  # the gradient of w^2 / 2 is w
        theta = theta + step
    return abs(float(theta) - w) / w
