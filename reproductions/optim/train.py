"""The one training loop: minibatches in, records out, for a whole ensemble at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from reproductions.optim.advance import Advance, Problem, choose
from reproductions.optim.checkpoint import Checkpoint, fingerprint
from reproductions.optim.minibatches import Batches, Minibatches, minibatches
from reproductions.optim.transform import Transform

__all__ = [
    "Batches",
    "Checkpoint",
    "Minibatches",
    "Outcome",
    "Snapshot",
    "minibatches",
    "train",
]

PATIENCE = 0.2  # seconds between two words to `progress`


class Snapshot(NamedTuple):
    """What `observe` is shown after `step` updates."""

    step: int
    theta: Tensor  # (E, P); do not modify
    loss: Tensor  # (E,) minibatch loss, mean of the steps since the last record; nan at step 0
    diverged_at: Tensor  # (E,) int64, as in Outcome


Observe = Callable[[Snapshot], Mapping[str, Tensor] | None]


class Outcome(NamedTuple):
    """What a training run leaves."""

    theta: Tensor  # (E, P)
    steps: list[int]  # the T recorded steps
    records: dict[str, Tensor]  # name -> (T, ...) of what `observe` returned, on the CPU
    diverged_at: Tensor  # (E,) step whose loss was not finite, where the member froze; 0 for never

    def status(self) -> list[str]:
        """Return "ok" or "diverged: ..." for every member."""
        return [_status(int(step)) for step in self.diverged_at]

    def status_at(self) -> list[list[str]]:
        """Return the status every member had at every recorded step, T lists of E."""
        frozen = [int(step) for step in self.diverged_at]
        return [[_status(at if at <= step else 0) for at in frozen] for step in self.steps]


def _status(diverged_at: int) -> str:
    return f"diverged: loss is not finite at step {diverged_at}" if diverged_at else "ok"


@dataclass
class _Run:
    theta: Tensor
    state: Any
    step: int
    diverged_at: Tensor
    loss_sum: Tensor  # (E,) float64 since the last record
    loss_count: int
    steps: list[int]
    records: dict[str, list[Tensor]]


def train(
    problem: Problem,
    transform: Transform,
    theta: Tensor,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    *,
    steps: int,
    record_at: Sequence[int] = (),
    observe: Observe | None = None,
    progress: Callable[[float, str], None] | None = None,
    checkpoint: Checkpoint | None = None,
    how: str = "auto",
) -> Outcome:
    """Train the ensemble, freezing and reporting a member at the step whose loss is not finite.

    Args:
        theta: (E, P) start; not modified.
        batches: step 0, 1, ... -> inputs (G, B, D), targets (G, B).
        record_at: numbers of updates after which to observe; 0 is the start.
        observe: returns named tensors of fixed shape, or None.
        progress: called with the fraction done and a note, a few times a second.
        checkpoint: from which an interrupted run resumes to the same result, records included.
        how: see `advance.choose`.

    Raises:
        ValueError: where record_at leaves 0 ... steps, or the checkpoint is of another run.
    """
    marks, run, tell = marks_within(record_at, steps), _start(transform, theta), Teller(progress)
    origin = _resume(run, checkpoint) if checkpoint else ""
    advance = choose(problem, transform, run.theta, steps, how)
    _record(run, marks, observe)
    while run.step < steps:
        _move(run, advance, *batches(run.step))
        _record(run, marks, observe)
        if checkpoint:
            _keep(run, steps, checkpoint, origin)
        tell(run.step, steps)
    records = {name: torch.stack(values) for name, values in run.records.items()}
    return Outcome(run.theta, run.steps, records, run.diverged_at.cpu())


class Teller:
    """Pass on progress, but not at every step."""

    def __init__(self, progress: Callable[[float, str], None] | None) -> None:
        self._progress, self._told = progress, 0.0

    def __call__(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if self._progress and (now - self._told > PATIENCE or step == steps):
            self._progress(step / steps, f"step {step} of {steps}")
            self._told = now


def marks_within(record_at: Sequence[int], steps: int) -> frozenset[int]:
    """Return the steps to record at as a set, or refuse one outside 0 ... steps."""
    marks = frozenset(int(step) for step in record_at)
    if marks and not 0 <= min(marks) <= max(marks) <= steps:
        raise ValueError(f"record_at must lie between 0 and steps = {steps}, got {sorted(marks)}")
    return marks


def _start(transform: Transform, theta: Tensor) -> _Run:
    members, device = theta.shape[0], theta.device
    never = torch.zeros(members, dtype=torch.int64, device=device)
    loss = torch.zeros(members, dtype=torch.float64, device=device)
    own = theta.detach().clone(memory_format=torch.contiguous_format)
    return _Run(own, transform.init(own), 0, never, loss, 0, [], {})


def _move(run: _Run, advance: Advance, inputs: Tensor, targets: Tensor) -> None:
    alive = run.diverged_at == 0
    loss, run.state, still = advance(run.theta, run.state, inputs, targets, alive)
    run.step += 1
    run.diverged_at.masked_fill_(alive & ~still, run.step)
    run.loss_sum += loss
    run.loss_count += 1


def _record(run: _Run, marks: frozenset[int], observe: Observe | None) -> None:
    if run.step not in marks or observe is None or run.step in run.steps[-1:]:
        return
    loss = run.loss_sum / run.loss_count if run.loss_count else run.loss_sum + torch.nan
    seen = observe(Snapshot(run.step, run.theta, loss, run.diverged_at)) or {}
    for name, value in seen.items():
        run.records.setdefault(name, []).append(value.detach().cpu().clone())
    run.steps.append(run.step)
    run.loss_sum, run.loss_count = torch.zeros_like(run.loss_sum), 0


def _keep(run: _Run, steps: int, checkpoint: Checkpoint, origin: str) -> None:
    """Save the run if it is time to, and drop the file when the run is complete."""
    if run.step == steps:
        checkpoint.remove()
    elif checkpoint.due():
        tensors = {"theta": run.theta, "diverged_at": run.diverged_at, "loss_sum": run.loss_sum}
        tensors |= {f"state.{k}": leaf for k, leaf in enumerate(pytree.tree_leaves(run.state))}
        tensors |= {f"record.{name}": torch.stack(kept) for name, kept in run.records.items()}
        facts = {"step": run.step, "loss_count": run.loss_count, "steps": run.steps}
        checkpoint.save(tensors, facts | {"origin": origin})


def _resume(run: _Run, checkpoint: Checkpoint) -> str:
    """Put a fresh run where the checkpoint left off, if there is one; return what marks the run."""
    leaves, tree = pytree.tree_flatten(run.state)
    origin = f"{fingerprint(run.theta, *leaves)} {tree} {checkpoint.key}"
    saved = checkpoint.load()
    if saved is None:
        return origin
    tensors, facts = saved
    if facts["origin"] != origin:
        raise ValueError(f"checkpoint {checkpoint.path} is of another run; delete it to start anew")
    placed = {name: tensor.to(run.theta.device) for name, tensor in tensors.items()}
    run.theta, run.diverged_at = placed["theta"], placed["diverged_at"]
    run.loss_sum, run.loss_count = placed["loss_sum"], facts["loss_count"]
    run.state = pytree.tree_unflatten([placed[f"state.{k}"] for k in range(len(leaves))], tree)
    run.step, run.steps = facts["step"], facts["steps"]
    prefix = "record."
    run.records = {
        name.removeprefix(prefix): list(tensor)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    return origin
