"""Numbers of features through changes of shape: they take the same way as the values do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from reproductions.optim.module_steps import Operand, Step, unnumbered
from reproductions.optim.module_units import FREE, compress
from reproductions.optim.module_walk import Walk

MOVED = ("input", "tensors", "x")  # names under which operations take what they move


def reshaped(walk: Walk, step: Step) -> Any:
    """Return numbers that have gone through the operation itself, in place of the values."""
    if step.overwritten is not None:
        raise walk.refusal(step, "it gives a tensor another shape in place")
    if not any(one.numbers.any() for one in step.operands()):
        return unnumbered(step.result)

    moving = len(step.args) if step.name == "namedtuple" else 1
    named = {key: one for key, one in step.kwargs.items() if key in MOVED}
    args, kwargs = tree_map(_laid_out, (step.args[:moving], named))
    rest = {key: one for key, one in step.kwargs.items() if key not in named}
    others, rest = tree_map(partial(_chosen, walk, step), (step.args[moving:], rest))
    args, kwargs = (*args, *others), kwargs | rest
    target = step.node.target
    if step.node.op == "call_method":
        moved = getattr(args[0], str(target))(*args[1:], **kwargs)
    elif step.node.op == "call_module":
        moved = walk.module.get_submodule(str(target))(*args, **kwargs)
    else:
        moved = target(*args, **kwargs)  # type: ignore[operator]
    return tree_map(lambda one: compress(one) if isinstance(one, Tensor) else None, moved)


def _laid_out(one: Any) -> Any:
    if not isinstance(one, Operand):
        return one
    return one.numbers.expand(one.value.shape).clone(memory_format=torch.contiguous_format)


def _chosen(walk: Walk, step: Step, one: Any) -> Any:
    """Return the value of a tensor that says which entries go where, or gives its shape."""
    if not isinstance(one, Operand):
        return one
    if one.node in walk.varying and not step.name.endswith("_as"):
        raise walk.refusal(step, "which entries it takes depends on inputs or parameters")
    return one.value.cpu()


def concatenated(walk: Walk, step: Step) -> Tensor:
    """Return the numbers of all parts, one after the other.

    Source: Armenta et al. 2023.
    """
    parts: Sequence[Operand] = step.argument(0, "tensors")
    dim = step.argument(1, "dim", 0) % step.result.ndim
    parts = [one for one in parts if one.value.ndim == step.result.ndim]  # torch skips empty ones
    whole = [one.numbers.expand(*_sizes(one, dim)) for one in parts]
    common = torch.broadcast_shapes(*(_but(one, dim) for one in whole))
    spread = [one.expand(*common[:dim], one.shape[dim], *common[dim + 1 :]) for one in whole]
    joined = compress(torch.cat(spread, dim))
    if walk.general and dim == 0 and joined.ndim > 1 and len(joined) > 1:
        raise walk.refusal(
            step, "factors along the batch would fix its size; mode='intra' ties them"
        )
    return joined


def _sizes(operand: Operand, dim: int) -> list[int]:
    sizes = [-1] * operand.value.ndim
    sizes[dim] = operand.value.shape[dim]
    return sizes


def _but(numbers: Tensor, dim: int) -> tuple[int, ...]:
    shape = list(numbers.shape)
    shape[dim] = 1
    return tuple(shape)


def zero_padded(walk: Walk, step: Step) -> Tensor:
    """Return the numbers and new ones for channels of zeros, whose basis is of no matter.

    Other paddings copy entries of a channel, or bring in a constant that is not zero.
    """
    operand = step.input()
    padding, zero = _padding(walk, step)
    if zero is None:
        return walk.fixed(step)
    own = operand.numbers
    changed = [-1 - at for at in range(len(padding) // 2) if any(padding[2 * at : 2 * at + 2])]
    if not zero:
        return walk.through(step, operand, FREE, changed)
    pads = [size if own.shape[-1 - at // 2] > 1 else 0 for at, size in enumerate(padding)]
    padded = functional.pad(own, pads, value=-1)
    holes = padded < 0
    padded[holes] = walk.units.fresh((int(holes.sum()),), step.node.name)
    return padded


def _padding(walk: Walk, step: Step) -> tuple[Sequence[int], bool | None]:
    """Return the padding, and whether it is of zeros; None for another constant."""
    if step.node.op == "call_module":
        return walk.module.get_submodule(str(step.node.target)).padding, True  # type: ignore[return-value]
    if step.argument(2, "mode", "constant") != "constant":
        return step.argument(1, "pad"), False
    return step.argument(1, "pad"), True if not step.argument(3, "value") else None
