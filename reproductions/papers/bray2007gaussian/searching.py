"""Search critical points in sampled fields, and measure how Gaussian fields of few waves are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import OK, Rows
from reproductions.optim.critical_points import CriticalPoints, newton_search
from reproductions.optim.device import generator, resolve
from reproductions.papers.bray2007gaussian.curves import kernels
from reproductions.problems import goe
from reproductions.problems.gaussian_field import GaussianField
from reproductions.problems.gaussian_theory import Kernel

Progress = Callable[..., None]
UNITS = {
    "energy": "1",
    "negative": "1",
    "shift": "1",
    "gradient_norm": "1",
    "eigenvalue": "1",
}
WAVE_UNITS = {"fourth_moment": "1"}
STARTS = {"random": 0.0, "descended": 1.0, "ascended": -1.0}  # times the gradient, downhill
_FIELD, _PLACE, _TIME = 0, 1, 2  # what a stream of random numbers is for
_SAME = 1e-3  # distance below which two points of a field are one


class Plan(NamedTuple):
    """How to search: everything in units of the kernel's length, sqrt(|f'| / f'').

    Fields:
        steps: Newton steps.
        reach: longest step.
        tolerance: gradient norm at which a search has ended.
        walk, rate: most steps of the gradient before the search, and their size.
    """

    steps: int
    reach: float
    tolerance: float
    walk: int
    rate: float


def found(
    a: float,
    g: float,
    sizes: list[int],
    waves: int,
    fields: int,
    walkers: dict[str, int],
    plan: Plan,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Search critical points of both kernels from starts at random and from moved ones.

    Args:
        sizes: N.
        waves: per dimension, of each field.
        fields: of each size; the seeds of the table.
        walkers: start -> number of searches in a field.
    """
    rows, on = Rows(UNITS), resolve(device)
    cases = [(n, kernel) for n in sizes for kernel in kernels(a, g)]
    for done, (n, kernel) in enumerate(cases):
        streams = [generator(root_seed, field, n, _FIELD) for field in range(fields)]
        objective = GaussianField.draw(kernel, n, waves * n, streams).to(on)
        for start, count in walkers.items():
            theta = _starts(kernel, n, fields, count, start, root_seed).to(on)
            if start != "random":
                times = _times(n, fields, count, start, plan.walk, root_seed).to(on)
                theta = _walk(objective, theta, STARTS[start], times, kernel, plan)
            points = search(objective, theta, kernel, plan)
            _add(rows, points, n, fields, kernel, start, plan)
        progress((done + 1) / len(cases), f"{kernel.name} kernel, N = {n}")
    return rows


def _starts(kernel: Kernel, n: int, fields: int, count: int, start: str, root_seed: int) -> Tensor:
    """Return points (fields count, N), far apart on the scale of the field, each drawn by itself."""
    drawn = [
        torch.randn(n, dtype=torch.float64, generator=stream)
        for stream in _streams(root_seed, fields, n, _PLACE, start)
        for _ in range(count)
    ]
    return torch.stack(drawn) * (math.sqrt(n) * _length(kernel))


def _times(n: int, fields: int, count: int, start: str, most: int, root_seed: int) -> Tensor:
    """Return how many steps of the gradient every start takes, (fields count, 1)."""
    drawn = [
        torch.randint(1, most + 1, (1,), generator=stream)
        for stream in _streams(root_seed, fields, n, _TIME, start)
        for _ in range(count)
    ]
    return torch.stack(drawn)


def _streams(
    root_seed: int, fields: int, n: int, purpose: int, start: str
) -> list[torch.Generator]:
    number = list(STARTS).index(start)
    return [generator(root_seed, field, n, purpose, number) for field in range(fields)]


def _length(kernel: Kernel) -> float:
    return math.sqrt(-kernel.df / kernel.ddf)


def _walk(
    objective: GaussianField, theta: Tensor, sign: float, times: Tensor, kernel: Kernel, plan: Plan
) -> Tensor:
    """Follow the gradient down or up, each start for its own number of steps."""
    for step in range(plan.walk):
        gradient = objective.gradient(theta)[1]
        theta = theta - sign * plan.rate / math.sqrt(kernel.ddf) * gradient * (step < times)
    return theta


def search(objective: GaussianField, theta: Tensor, kernel: Kernel, plan: Plan) -> CriticalPoints:
    """Take Newton steps of bounded length, then judge where they led.

    Bounded, a step may go uphill in the gradient norm: it leaves the places where a search that
    lowers the norm at every step comes to rest without a critical point.
    """
    theta, reach = theta.clone(), plan.reach * _length(kernel)
    running = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
    for _ in range(plan.steps):
        if not running.any():
            break
        _, gradient, hessian = objective.part(running).curvature(theta[running])
        step = -torch.linalg.solve(hessian, gradient)
        length = torch.linalg.vector_norm(step, dim=1, keepdim=True)
        theta[running] += step * torch.clamp(reach / length, max=1.0)
        still = torch.linalg.vector_norm(gradient, dim=1) > plan.tolerance
        running[running.clone()] = still
    return newton_search(objective, theta, steps=2, tolerance=plan.tolerance)


def _add(
    rows: Rows, points: CriticalPoints, n: int, fields: int, kernel: Kernel, start: str, plan: Plan
) -> None:
    status = np.array(_status(points, fields, plan))
    good = status == OK
    levels = points.eigenvalues.cpu().numpy()
    values = {
        "energy": points.loss.cpu().numpy() / n,
        "negative": (levels < 0).sum(axis=1),
        "shift": levels.mean(axis=1),
        "gradient_norm": points.gradient_norm.cpu().numpy(),
    }
    count = len(good) // fields
    where = {"arm": kernel.name, "dimensions": n, "start": start}
    seed, index = np.divmod(np.arange(len(good)), count)
    for quantity, value in values.items():
        rows.add(quantity=quantity, value=np.where(good, value, np.nan), seed=seed, index=index,
                 status=status, **where)  # fmt: skip
    radius = 2 * math.sqrt(kernel.ddf)
    rows.add(quantity="eigenvalue", value=levels[good] / radius, seed=seed[good][:, None],
             index=index[good][:, None], level=np.arange(n), **where)  # fmt: skip


def _status(points: CriticalPoints, fields: int, plan: Plan) -> list[str]:
    """Return "ok" for critical points that none before in their field equals, else the reason."""
    good = points.is_critical(plan.tolerance)
    reasons = []
    for theta, critical in zip(points.theta.chunk(fields), good.chunk(fields), strict=True):
        near = torch.cdist(theta, theta) < _SAME
        before = torch.tril(near, diagonal=-1) & critical
        again = before.any(dim=1)
        for one, twice in zip(critical.tolist(), again.tolist(), strict=True):
            reasons.append("found before" if one and twice else OK if one else "not at rest")
    return reasons


def gaussianity(
    a: float,
    g: float,
    n: int,
    waves: list[int],
    fields: int,
    points: int,
    device: str,
    root_seed: int,
    progress: Progress,
) -> Rows:
    """Measure the fourth moment of the Hessian's spectrum at random points, against the waves.

    Of the traceless Hessian A, N tr A^4 / (tr A^2)^2: 2 for a semicircle, more where few matrices
    of rank one make it up. Random matrices of that size give the value of infinitely many waves.

    Args:
        waves: per dimension.
        points: in each field; their mean is the field's value.
    """
    rows, on = Rows(WAVE_UNITS), resolve(device)
    for done, kernel in enumerate(kernels(a, g)):
        for many in waves:
            streams = [generator(root_seed, field, n, _FIELD) for field in range(fields)]
            objective = GaussianField.draw(kernel, n, many * n, streams).to(on)
            theta = _starts(kernel, n, fields, points, "random", root_seed).to(on)
            levels = torch.linalg.eigvalsh(objective.curvature(theta)[2]).cpu().numpy()
            value = _fourth(levels).reshape(fields, points).mean(axis=1)
            rows.add(arm=kernel.name, quantity="fourth_moment", value=value, waves=many,
                     seed=np.arange(fields), dimensions=n)  # fmt: skip
        progress((done + 1) / 2, f"{kernel.name} kernel")
    levels = goe.sample_least(n, n - 1, fields * points, [root_seed, n, _PLACE])
    value = _fourth(levels).reshape(fields, points).mean(axis=1)
    rows.add(arm="matrix", quantity="fourth_moment", value=value, waves=0, dimensions=n,
             seed=np.arange(fields))  # fmt: skip
    return rows


def _fourth(levels: np.ndarray) -> np.ndarray:
    centred = levels - levels.mean(axis=1, keepdims=True)
    return (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2
