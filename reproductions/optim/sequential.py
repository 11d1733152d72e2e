"""Run transforms for millions of steps on problems of one variable, members as lanes.

A step is a handful of operations on a few numbers, so an eager loop spends its time on launching
them. `native` compiles the loop from the very function that the eager run calls; where there is no
compiler, or a transform does more than arithmetic, the run is eager and gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from reproductions.optim import native
from reproductions.optim.transform import Transform
from reproductions.problems.online import OnlineProblem

_SLOPES = 2**21  # slopes made at a time, lanes times steps: 16 MiB
_LONGEST = 4096  # steps whose terms are summed before they join the total


class Trajectory(NamedTuple):
    """What was recorded: R recorded steps of E lanes."""

    steps: Tensor  # (R,) int64, t counted from 1
    iterate: Tensor  # (R, E) x_t before step t
    regret: Tensor  # (R, E) sum over i <= t of f_i(x_i) - f_i(x*)
    expected_regret: Tensor  # (R, E) the same with the mean slope in place of a_i
    total: Tensor  # (R, E) sum over i <= t of x_i; differences give window means
    growths: Tensor  # (R, E) steps up to t on which the effective learning rate grew
    clear_growths: Tensor  # (R, E) the same, by more than a part in 1e9
    misses: Tensor  # (R, E) periods up to t that did not begin at exactly x_1


class _Sums(NamedTuple):
    regret: Tensor
    expected_regret: Tensor
    total: Tensor
    growths: Tensor
    clear_growths: Tensor
    misses: Tensor


class _Play(NamedTuple):
    """Everything a step reads and writes, each (E, 1) but for the state's own shapes."""

    x: Tensor
    rate: Tensor  # effective learning rate of the previous step
    phase: Tensor  # steps since the period began
    sums: _Sums
    state: Any
    x1: Tensor
    best: Tensor  # shape(x*)
    mean_slope: Tensor
    period: Tensor


def simulate(
    problem: OnlineProblem,
    transform: Transform,
    x1: float | Tensor,
    *,
    steps: int,
    record_at: Sequence[int],
    backend: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> Trajectory:
    """Run E lanes for `steps` steps of x <- clip(x + step), in float64 on the CPU.

    Args:
        problem: slopes, shape, box and comparator of the lanes.
        transform: hyperparameters are numbers or (E, 1).
        x1: start, a number or (E,).
        record_at: steps at which to record.
        backend: "native", "eager", or "auto": native where it can be had.

    Raises:
        ValueError: recorded steps outside 1 ... steps, or an unknown backend.
        RuntimeError: "native" was asked for and there is no compiler.
    """
    marks = sorted({int(step) for step in record_at})
    if not marks or marks[0] < 1 or marks[-1] > steps:
        raise ValueError(f"record_at must name steps from 1 to {steps}, got {marks[:1]}")
    play = _start(problem, transform, x1)
    advance = _advance_with(transform, problem, play, backend)
    recorded, done = [], 0
    for mark in marks:
        before = _run(advance, problem, play, done, mark - 1)
        play = _run(advance, problem, before, mark - 1, mark)
        recorded.append((before.x, *play.sums))
        done = mark
        if progress is not None:
            progress(mark / marks[-1])
    columns = (torch.cat(column, dim=1).T for column in zip(*recorded, strict=True))
    return Trajectory(torch.tensor(marks), *columns)


def step_of(transform: Transform, problem: OnlineProblem) -> Callable[[Tensor, _Play], _Play]:
    """Return the function that plays one step, the source of both backends."""
    box, kinked = problem.box, problem.kinked

    def step(slope: Tensor, play: _Play) -> _Play:
        x = play.x
        excess = shape(x, kinked) - play.best
        grad = slope * torch.where(x >= -1, torch.ones_like(x), x + 2) if kinked else slope
        move, state = transform.update(grad, play.state, x)
        rate = transform.rate(state) + torch.zeros_like(x)
        terms = _Sums(
            slope * excess,
            play.mean_slope * excess,
            x,
            (rate > play.rate).to(x.dtype),
            (rate > play.rate * (1 + 1e-9)).to(x.dtype),
            ((play.phase == 0) & (x != play.x1)).to(x.dtype),
        )
        sums = _Sums(*(total + term for total, term in zip(play.sums, terms, strict=True)))
        moved = x + move
        phase = torch.where(play.phase + 1 == play.period, torch.zeros_like(x), play.phase + 1)
        x = torch.clamp(moved, *box) if box else moved
        return play._replace(x=x, rate=rate, phase=phase, sums=sums, state=state)

    return step


def shape(x: Tensor, kinked: bool) -> Tensor:
    """Return what a slope of 1 pays at x (problems.online.OnlineProblem.kinked)."""
    return torch.where(x >= -1, x, (x + 2) ** 2 / 2 - 1.5) if kinked else x


def _start(problem: OnlineProblem, transform: Transform, x1: float | Tensor) -> _Play:
    def lane(values: float | Tensor) -> Tensor:
        column = torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1)
        return column.expand(problem.lanes, 1).clone()

    x = lane(x1)
    best = shape(lane(problem.optimum), problem.kinked)
    return _Play(
        x, torch.full_like(x, torch.inf), torch.zeros_like(x), _zero_sums(x), transform.init(x),
        x.clone(), best, lane(problem.mean_slope), lane(problem.period),
    )  # fmt: skip


def _zero_sums(x: Tensor) -> _Sums:
    return _Sums(*(torch.zeros_like(x) for _ in _Sums._fields))


Advance = Callable[[Tensor, _Play], _Play]


def _run(advance: Advance, problem: OnlineProblem, play: _Play, done: int, until: int) -> _Play:
    """Play steps done + 1 ... until; each block's terms are summed apart, then join the totals."""
    longest = max(1, min(_LONGEST, _SLOPES // problem.lanes))
    while done < until:
        count = min(longest, until - done)
        totals = play.sums
        play = advance(problem.slopes(done + 1, count), play._replace(sums=_zero_sums(play.x)))
        sums = _Sums(*(total + part for total, part in zip(totals, play.sums, strict=True)))
        play, done = play._replace(sums=sums), done + count
    return play


def _advance_with(
    transform: Transform, problem: OnlineProblem, play: _Play, backend: str
) -> Advance:
    if backend not in ("auto", "native", "eager"):
        raise ValueError(f"backend must be auto, native or eager, got {backend!r}")
    step = step_of(transform, problem)
    if backend == "native" or (backend == "auto" and native.compiler()):
        try:
            return _native(step, play)
        except native.NotTranslatable:
            if backend == "native":
                raise
    return lambda slopes, play: _eager(step, slopes, play)


def _eager(step: Callable[[Tensor, _Play], _Play], slopes: Tensor, play: _Play) -> _Play:
    for slope in slopes[..., None].unbind(0):
        play = step(slope, play)
    return play


def _native(step: Callable[[Tensor, _Play], _Play], example: _Play) -> Advance:
    """Compile the step; leaves of the play become rows of one (N, E) buffer."""
    flat, tree = pytree.tree_flatten(example)
    live = [k for k, leaf in enumerate(flat) if leaf.numel()]  # unused state has no elements

    def on_leaves(slope: Tensor, *leaves: Tensor) -> list[Tensor]:
        filled = list(flat)
        for k, leaf in zip(live, leaves, strict=True):
            filled[k] = leaf
        played, _ = pytree.tree_flatten(step(slope, pytree.tree_unflatten(filled, tree)))
        return [played[k] for k in live]

    leaves = [flat[k] for k in live]
    run = native.build(native.translate(on_leaves, example.x.clone(), leaves))
    lanes = example.x.shape[0]

    def advance(slopes: Tensor, play: _Play) -> _Play:
        now, _ = pytree.tree_flatten(play)
        buffer = torch.stack([now[k].expand(lanes, 1)[:, 0] for k in live])
        run(slopes.contiguous(), buffer)
        for row, k in zip(buffer, live, strict=True):
            now[k] = row[0].clone() if now[k].dim() == 0 else row[:, None]
        return pytree.tree_unflatten(now, tree)

    return advance
