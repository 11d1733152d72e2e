"""Gradient descent on the spherical 3-spin glass: energies reached, one coupling tensor and many.

The published starts of one size seem to share one tensor (at 25 spins they fill 17 bins); the paper
does not say. So both are made: `one_tensor`, and `many_tensors`, which shows how much a tensor
decides. `enumeration` counts the minima of small tensors against the exact mean.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import sgd
from reproductions.optim.sphere import on_sphere
from reproductions.optim.train import Snapshot, train
from reproductions.problems.spin_glass_descent import (
    SpinGlass,
    distinct,
    draw_couplings,
    random_starts,
)

Progress = Callable[..., None]
COUPLINGS, STARTS = 101, 102  # purposes of the random streams
ONE, MANY, COUNTED = "one_tensor", "many_tensors", "enumeration"
ARMS = {ONE: 0, MANY: 1, COUNTED: 2}  # part of a stream's key: no arm shares a tensor
SEGMENT = 100  # steps after which members at rest stay behind
AT_REST = 1e-4  # |tangent gradient| / sqrt N; rounding of float32 leaves 1e-6
STILL = 2 * AT_REST  # what rested in float32 must count as resting in float64
CURVE_POINTS = 20
EXACT_UP_TO = 100  # spins: end points in float64, eigenvalues of the Hessian
CHECKED = 50  # end points of a size whose Hessian is looked at; one a tensor where they are more
ENUMERATED = 10  # spins
# A step of 0.2 is unstable where the Hessian exceeds 10, at energies below -1.7 per spin: some
# minima of the smallest tensors lie there, and every minimum is to be found.
GENTLE = 0.1
TOGETHER = {"cpu": 2**25, "cuda": 2**33}  # bytes of folded couplings at a time
UNITS = {
    "energy": "1", "gradient_norm": "1", "smallest_eigenvalue": "1", "relaxing_energy": "1",
    "distinct_minima": "1", "distinct_energies": "1",
}  # fmt: skip


class Plan(NamedTuple):
    """How a point descends: a fixed step along the gradient of H, on a device, in float32."""

    rate: float
    steps: int
    device: str
    root_seed: int


class Ends(NamedTuple):
    """Where the starts of some tensors ended."""

    theta: Tensor  # (E, N)
    energy: Tensor  # (E,)
    gradient_norm: Tensor  # (E,)
    curve: np.ndarray  # (T, E) energies at the recorded steps


class Batch(NamedTuple):
    """Tensors that descend together."""

    arm: str
    size: int
    numbers: range  # of the tensors
    starts: int
    checked: int  # end points of a tensor whose Hessian is looked at

    def problem(self, plan: Plan, dtype: torch.dtype = torch.float32) -> SpinGlass:
        """Draw the tensors, each from a stream of its own, and fold them on the device."""
        key = (plan.root_seed, COUPLINGS, ARMS[self.arm], self.size)
        drawn = (draw_couplings(self.size, generator(*key, number)) for number in self.numbers)
        return SpinGlass.of((one.to(plan.device) for one in drawn), dtype)

    def theta(self, plan: Plan) -> Tensor:
        """Draw the starts (E, N), those of each tensor from a stream of its own."""
        key = (plan.root_seed, STARTS, ARMS[self.arm], self.size)
        sources = [generator(*key, number) for number in self.numbers]
        drawn = [random_starts(self.size, self.starts, source) for source in sources]
        return torch.cat(drawn).to(plan.device)

    @property
    def work(self) -> float:
        """Weigh the batch for the progress bar."""
        return float(self.size) ** 3 * len(self.numbers) * self.starts


def rows(
    sizes: Sequence[int],
    one_tensor_starts: int,
    tensors: Sequence[int],
    starts: int,
    plan: Plan,
    enumeration: tuple[int, int],
    progress: Progress,
) -> Rows:
    """Descend from random starts at every size and count minima at 10 spins.

    Args:
        sizes: numbers of spins.
        one_tensor_starts: starts on the one tensor of each size.
        tensors: how many tensors each size has in the other variant.
        starts: starts on each of those.
        enumeration: tensors of 10 spins, and starts on each, whose minima are counted.

    Raises:
        ValueError: where tensors are not one number a size.
    """
    if len(tensors) != len(sizes):
        raise ValueError(f"tensors must be one number a size: {len(sizes)}, got {len(tensors)}")
    batches: list[Batch] = []
    for size, count in zip(sizes, tensors, strict=True):
        batches += _batches(ONE, size, 1, one_tensor_starts, plan)
        batches += _batches(MANY, size, count, starts, plan)
    batches += _batches(COUNTED, ENUMERATED, *enumeration, plan)
    made, done, total = Rows(UNITS), 0.0, sum(batch.work for batch in batches)
    for batch in batches:
        share = batch.work / total
        tell = _within(progress, done, share, f"{batch.arm}, {batch.size} spins")
        (_count if batch.arm == COUNTED else _measure)(made, batch, plan, tell)
        done += share
    return made


def _within(progress: Progress, done: float, share: float, note: str) -> Callable[[float], None]:
    return lambda fraction: progress(done + share * fraction, note)


def _batches(arm: str, size: int, tensors: int, starts: int, plan: Plan) -> Iterator[Batch]:
    """Yield the tensors of a size in handfuls whose couplings stay close to the processor."""
    bytes_each = 4 * size * size * (size // 2 + 1)
    kind = torch.device(plan.device).type
    at_once = max(1, TOGETHER.get(kind, TOGETHER["cpu"]) // bytes_each)
    checked = min(starts, max(1, CHECKED // max(tensors, 1)))
    for first in range(0, tensors, at_once):
        numbers = range(first, min(first + at_once, tensors))
        yield Batch(arm, size, numbers, starts, checked)


def curve_steps(steps: int) -> list[int]:
    """Return about 20 steps, evenly in the logarithm, at which the mean energy is recorded."""
    return np.unique(np.geomspace(1, steps, CURVE_POINTS).round().astype(int)).tolist()


def descend(
    problem: SpinGlass, theta: Tensor, plan: Plan, tell: Callable[[float], None] | None = None
) -> Ends:
    """Follow every start for plan.steps steps, or until it rests.

    In segments of 100 steps, which start where the last one ended, for all steps are alike. Between
    them tensors whose members all rest leave; of the others as many members go on as the tensor
    with the most restless ones needs, the steepest first.
    """
    marks = curve_steps(plan.steps)
    curve = np.full((len(marks), len(theta)), math.nan, dtype=np.float32)
    theta, unused = theta.clone(), theta.new_zeros(1, 1)
    going = torch.arange(len(theta), device=theta.device).view(problem.tensors, -1)
    transform, moving = on_sphere(sgd(plan.rate), math.sqrt(problem.spins)), problem
    for first in range(0, plan.steps, SEGMENT):
        length, members = min(SEGMENT, plan.steps - first), going.flatten()
        outcome = train(
            moving, transform, theta[members], lambda _: (unused, unused), steps=length,
            record_at=[mark - first for mark in marks if first < mark <= first + length],
            observe=_energy_on(moving),
        )  # fmt: skip
        theta[members], where = outcome.theta, members.cpu().numpy()
        energy, slope = moving.at_rest(outcome.theta)
        for step, then in zip(outcome.steps, outcome.records.get("energy", ()), strict=True):
            curve[marks.index(first + step), where] = then
        curve[bisect_right(marks, first + length) :, where] = energy.cpu()
        if tell:
            tell((first + length) / plan.steps)
        moving, going = _restless(moving, going, slope.view_as(going))
        if not going.numel():
            break
    return Ends(theta, *problem.at_rest(theta), curve)


def _energy_on(problem: SpinGlass) -> Callable[[Snapshot], dict[str, Tensor]]:
    return lambda seen: {"energy": problem.gradient(seen.theta)[0]}


def _restless(moving: SpinGlass, going: Tensor, slope: Tensor) -> tuple[SpinGlass, Tensor]:
    """Return the tensors and the members (G, starts) that go on, equally many of each tensor."""
    restless = (slope > AT_REST).sum(1)
    left = restless > 0
    if not left.all():
        moving, going, slope = moving.part(left), going[left], slope[left]
    kept = int(restless.max()) if len(restless) else 0
    return moving, going.gather(1, slope.argsort(dim=1, descending=True, stable=True)[:, :kept])


def _measure(made: Rows, batch: Batch, plan: Plan, tell: Callable[[float], None]) -> None:
    """Add where the starts of a batch end, their mean energies on the way, and what is there."""
    ends = descend(batch.problem(plan), batch.theta(plan), plan, tell)
    exact = batch.problem(plan, torch.float64) if batch.size <= EXACT_UP_TO else None
    if exact:
        ends = _exactly(exact, ends)
    numbers, shape = np.asarray(batch.numbers), (len(batch.numbers), batch.starts)
    for quantity, value in (("energy", ends.energy), ("gradient_norm", ends.gradient_norm)):
        found = value.cpu().numpy().reshape(shape)
        made.add(
            arm=batch.arm, quantity=quantity, value=found, status=_status(found), step=plan.steps,
            seed=np.arange(batch.starts), size=batch.size, tensor=numbers[:, None],
        )  # fmt: skip
    means = ends.curve.reshape(-1, *shape).mean(2, dtype=np.float64)
    made.add(
        arm=batch.arm, quantity="relaxing_energy", value=means, status=_status(means),
        step=np.array(curve_steps(plan.steps))[:, None], size=batch.size, tensor=numbers,
    )  # fmt: skip
    if batch.arm == ONE:
        made.add(
            arm=ONE, quantity="distinct_energies", step=plan.steps,
            value=distinct(ends.theta[ends.gradient_norm < STILL]),
            size=batch.size, tensor=0, starts=batch.starts,
        )  # fmt: skip
    elif exact:
        _check_minima(made, batch, exact, ends.theta)


def _status(values: np.ndarray) -> list:
    return np.where(np.isfinite(values), "ok", "diverged: energy is not finite").tolist()


def _exactly(problem: SpinGlass, ends: Ends) -> Ends:
    """Return energies and gradients of the end points in float64, put on the sphere to rounding."""
    theta = ends.theta.double()
    length = torch.linalg.vector_norm(theta, dim=1, keepdim=True)
    theta *= math.sqrt(problem.spins) / length
    return Ends(theta, *problem.at_rest(theta), ends.curve)


def _check_minima(made: Rows, batch: Batch, problem: SpinGlass, theta: Tensor) -> None:
    """Add the smallest eigenvalue of the Hessian at the first end points of every tensor."""
    some = theta.view(problem.tensors, batch.starts, -1)[:, : batch.checked]
    lowest = problem.hessian_eigenvalues(some.flatten(0, 1))[:, 0].view(some.shape[:2])
    made.add(
        arm=batch.arm, quantity="smallest_eigenvalue", value=lowest.cpu().numpy(),
        seed=np.arange(batch.checked), size=batch.size,
        tensor=np.asarray(batch.numbers)[:, None],
    )  # fmt: skip


def _count(made: Rows, batch: Batch, plan: Plan, tell: Callable[[float], None]) -> None:
    """Add how many minima the starts on every tensor found: a quarter of them, half, and all."""
    gentle = min(plan.rate, GENTLE)
    plan = plan._replace(rate=gentle, steps=math.ceil(plan.steps * plan.rate / gentle))
    ends = descend(batch.problem(plan), batch.theta(plan), plan, tell)
    theta = ends.theta.view(len(batch.numbers), batch.starts, -1)
    rests = (ends.gradient_norm < STILL).view(theta.shape[:2])
    for starts in sorted({max(1, batch.starts // part) for part in (4, 2, 1)}):
        found = [
            distinct(points[:starts][still[:starts]])
            for points, still in zip(theta, rests, strict=True)
        ]
        made.add(
            arm=batch.arm, quantity="distinct_minima", value=found, step=plan.steps,
            size=batch.size, tensor=np.asarray(batch.numbers), starts=starts,
        )  # fmt: skip
