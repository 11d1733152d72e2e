"""Three ways to make the same step of training, from memory-saving to plain.

The transform is the one source of the formula. `descending` never stores the gradient, where the
step is a multiple of it; `compiled` fuses the update into one pass over memory; `eager` is the
reference.
"""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from reproductions.optim.transform import Transform

# Numbers updated over a whole run from which compiling the update (seconds) pays.
WORTH_COMPILING = 1e9


class Problem(Protocol):
    """What `train` needs of an objective; `problems.mlp.MLP` is one."""

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...


# (theta (E, P), state, inputs, targets, alive (E,)) -> (loss (E,), state, alive), moving theta.
Advance = Callable[[Tensor, Any, Tensor, Tensor, Tensor], tuple[Tensor, Any, Tensor]]


def choose(problem: Problem, transform: Transform, theta: Tensor, steps: int, how: str) -> Advance:
    """Return the way called how: "eager", "compiled", "descending", or "auto" for the fastest.

    Raises:
        ValueError: where how is unknown, or "descending" is asked of what cannot.
    """
    if how not in ("auto", "eager", "compiled", "descending"):
        raise ValueError(f"how must be auto, eager, compiled or descending, got {how!r}")
    outer = transform.factor is not None or transform.rates is not None
    can_descend = outer and hasattr(problem, "descend")
    if how == "descending" and not can_descend:
        raise ValueError("how='descending' needs a step that is a multiple of the gradient")
    if how == "descending" or (how == "auto" and can_descend):
        return descending(problem, transform)
    pays = theta.numel() * steps >= WORTH_COMPILING and can_compile(theta.device)
    return stepping(problem, transform, compiled=how == "compiled" or (how == "auto" and pays))


def can_compile(device: torch.device) -> bool:
    """Tell whether torch.compile finds the compiler it needs for the device."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def descending(problem: Any, transform: Transform) -> Advance:
    """Add a multiple of the gradient to theta layer by layer, as it is made.

    Where the multiple is an outer product of what inputs and outputs of a layer have, it scales the
    two factors that the gradient is a product of.
    """

    def advance(
        theta: Tensor, state: Any, inputs: Tensor, targets: Tensor, alive: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        # A member whose loss is not finite now is left alone by the problem, later by the zero.
        if transform.rates is not None:
            rates, state = transform.rates(state, theta)
            alpha: Tensor | list[tuple[Tensor, Tensor]]
            alpha = [(one, torch.where(alive[:, None], -two, 0)) for one, two in rates]
        else:
            assert transform.factor is not None
            factor, state = transform.factor(state)
            alpha = torch.where(alive[:, None], -factor.to(theta.dtype), 0)
        loss = problem.descend(theta, inputs, targets, alpha)
        return loss, state, alive & loss.isfinite()

    return advance


def stepping(problem: Problem, transform: Transform, *, compiled: bool) -> Advance:
    """Make the gradient in one buffer, then the step of the transform."""
    buffers: list[Tensor] = []
    apply = _compiled(transform) if compiled else _eager(transform)

    def advance(
        theta: Tensor, state: Any, inputs: Tensor, targets: Tensor, alive: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        if not buffers:
            buffers.append(torch.empty_like(theta))
        loss, grad = problem.gradient(theta, inputs, targets, out=buffers[0])
        alive = alive & loss.isfinite()
        return loss, apply(theta, grad, state, alive), alive

    return advance


Apply = Callable[[Tensor, Tensor, Any, Tensor], Any]


def _eager(transform: Transform) -> Apply:
    def apply(theta: Tensor, grad: Tensor, state: Any, alive: Tensor) -> Any:
        step, state = transform.update(grad, state, theta)
        theta.add_(step if alive.all() else torch.where(alive[:, None], step, 0))
        return state

    return apply


def _compiled(transform: Transform) -> Apply:
    """Update theta and what of the state has its size in place, in one fused pass over memory."""

    def apply(theta: Tensor, grad: Tensor, state: Any, alive: Tensor) -> Any:
        step, new = transform.update(grad, state, theta)
        theta.add_(torch.where(alive[:, None], step, 0))
        pairs = zip(pytree.tree_leaves(state), pytree.tree_leaves(new), strict=True)
        # Small leaves are handed back instead: compiled code drops an in-place change of a ().
        kept = [old.copy_(fresh) if old.shape == theta.shape else fresh for old, fresh in pairs]
        return pytree.tree_unflatten(kept, pytree.tree_structure(new))

    fused = torch.compile(apply, dynamic=True)
    working = [fused]

    def guarded(theta: Tensor, grad: Tensor, state: Any, alive: Tensor) -> Any:
        if working:
            try:
                return working[0](theta, grad, state, alive)
            except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
                working.clear()
                reason = str(error).strip().split("\n")[0]
                warnings.warn(f"update not compiled, so slower: {reason}", stacklevel=2)
        return _eager(transform)(theta, grad, state, alive)

    return guarded
