"""What a transform is, and what all transforms share: hyperparameters, schedules, the box."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

Hyper: TypeAlias = float | Tensor
Schedule: TypeAlias = Callable[[Tensor], Tensor]


class Transform(NamedTuple):
    """Hold an optimizer as pure functions of tensors.

    A state is a NamedTuple of tensors (nested tuples allowed) and carries the hyperparameters it
    was made with, so `update` reads no number from outside: a compiled block of updates serves
    every learning rate.
    """

    init: Callable[[Tensor], Any]
    """init(theta (E, P)) -> state."""
    update: Callable[[Tensor, Any, Tensor], tuple[Tensor, Any]]
    """update(grad (E, P), state, theta (E, P)) -> (step (E, P), state)."""
    rate: Callable[[Any], Tensor]
    """rate(state) -> alpha_t / sqrt(V_t) of the last update, broadcastable to (E, P).

    It never grows exactly when the paper's Gamma_t is never negative.
    """
    factor: Callable[[Any], tuple[Tensor, Any]] | None = None
    """factor(state) -> (c, state) where step = c grad, c a number or (E, 1); None elsewhere.

    A problem that can add c times its gradient to theta need not store the gradient.
    """
    rates: Callable[[Any, Tensor], tuple[Sequence[tuple[Tensor, Tensor]], Any]] | None = None
    """rates(state, theta) -> (per layer (r (E, fan_in), s (E, fan_out)), state), all finite, where
    the step of a weight from u to v is r_u s_v times its gradient, of the bias of v s_v times.

    It serves the same end; None elsewhere.
    """


def inverse_sqrt(t: Tensor) -> Tensor:
    """Return the schedule 1/sqrt(t) of the theorems; t counts from 1."""
    return 1.0 / torch.sqrt(t)


def scaled(lr: Tensor, schedule: Schedule | None, t: Tensor) -> Tensor:
    """Return alpha_t = lr schedule(t), in the shape of lr."""
    return lr if schedule is None else lr * schedule(t)


def running_mean(mean: Tensor, beta: Tensor, new: Tensor) -> Tensor:
    """Return beta mean + (1 - beta) new, the weights taken in float64."""
    return beta.to(new.dtype) * mean + (1 - beta).to(new.dtype) * new


def safe_quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with 0/0 = 0: a zero gradient at rest must not move anything."""
    quotient = numerator / denominator
    return torch.where(numerator == 0, torch.zeros_like(quotient), quotient)


def check_hyper(**values: Hyper) -> None:
    """Reject numbers no method can use: `beta...` and `mu` outside [0, 1), others outside [0, inf).

    Raises:
        ValueError: naming the argument and the first value at fault.
    """
    for name, value in values.items():
        bounded = name.startswith("beta") or name == "mu"
        upper = 1.0 if bounded else math.inf
        for number in torch.as_tensor(value, dtype=torch.float64).reshape(-1).tolist():
            if not 0.0 <= number < upper:
                wanted = "in [0, 1)" if bounded else "finite and not negative"
                raise ValueError(f"{name} must be {wanted}, got {number!r}")


def as_hyper(theta: Tensor, **values: Hyper) -> tuple[Tensor, ...]:
    """Place hyperparameters beside theta, in float64 so that 1 - beta^t loses nothing.

    Raises:
        ValueError: where a tensor has neither one value nor one per member, (E, 1).
    """
    tensors = []
    for name, value in values.items():
        tensor = torch.as_tensor(value, dtype=torch.float64, device=theta.device)
        if tensor.dim() > 0 and tuple(tensor.shape) not in {(1, 1), (theta.shape[0], 1)}:
            shape = tuple(tensor.shape)
            raise ValueError(f"{name} must be a number or ({theta.shape[0]}, 1), got shape {shape}")
        tensors.append(tensor)
    return tuple(tensors)


def start_clock(theta: Tensor) -> Tensor:
    """Return the step counter t = 0, a tensor: compiled code must not depend on its value."""
    return torch.zeros((), dtype=torch.float64, device=theta.device)


class MemberStates(NamedTuple):
    """Hold one state per part of the ensemble."""

    parts: tuple[Any, ...]


def by_member(parts: Sequence[tuple[slice, Transform]]) -> Transform:
    """Give different members different transforms, so that a whole grid is one ensemble.

    Args:
        parts: (members, transform) in order; the slices, with explicit ends, follow each other
            from member 0 on. Hyperparameters of a part have shape (members of the part, 1).

    Raises:
        ValueError: where the slices leave a gap, overlap or have a stride.
    """
    spans, transforms = _spans([members for members, _ in parts]), [made for _, made in parts]
    sizes, factors = [s.stop - s.start for s in spans], [made.factor for made in transforms]

    def init(theta: Tensor) -> MemberStates:
        if theta.shape[0] != spans[-1].stop:
            raise ValueError(f"parts describe {spans[-1].stop} members, theta has {theta.shape[0]}")
        pairs = zip(spans, transforms, strict=True)
        return MemberStates(tuple(made.init(theta[span]) for span, made in pairs))

    def update(grad: Tensor, state: MemberStates, theta: Tensor) -> tuple[Tensor, MemberStates]:
        moved = [
            made.update(grad[span], part, theta[span])
            for span, made, part in zip(spans, transforms, state.parts, strict=True)
        ]
        return torch.cat([step for step, _ in moved]), MemberStates(tuple(new for _, new in moved))

    def rate(state: MemberStates) -> Tensor:
        rates = [made.rate(part) for made, part in zip(transforms, state.parts, strict=True)]
        width = max(part.shape[-1] if part.dim() else 1 for part in rates)
        return torch.cat(
            [part.expand(size, width) for part, size in zip(rates, sizes, strict=True)]
        )

    def factor(state: MemberStates) -> tuple[Tensor, MemberStates]:
        pairs = zip(factors, state.parts, strict=True)
        taken = [of(part) for of, part in pairs if of is not None]
        columns = [value.expand(size, 1) for (value, _), size in zip(taken, sizes, strict=True)]
        return torch.cat(columns), MemberStates(tuple(new for _, new in taken))

    return Transform(init, update, rate, factor if None not in factors else None)


def _spans(slices: Sequence[slice]) -> list[slice]:
    end, spans = 0, []
    for part in slices:
        start = part.start or 0
        if part.stop is None or start != end or part.stop <= start or part.step not in (None, 1):
            raise ValueError(f"parts must follow each other without gap or overlap, got {part}")
        spans.append(slice(start, part.stop))
        end = part.stop
    if not spans:
        raise ValueError("parts must name at least one transform")
    return spans


def project_box(theta: Tensor, low: float, high: float) -> Tensor:
    """Clip theta onto [low, high] in place and return it.

    Source: Reddi et al. 2018, section 2; for a diagonal weighting the projection is a plain clip.

    Raises:
        ValueError: where low exceeds high or either is not a number.
    """
    if not low <= high:
        raise ValueError(f"low must not exceed high, got low={low!r} and high={high!r}")
    return theta.clamp_(low, high)
