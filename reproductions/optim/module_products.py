"""Sums and products: where bases meet, and where a parameter acts without a layer around it."""

from __future__ import annotations

from torch import Tensor

from reproductions.optim.module_steps import Operand, Step
from reproductions.optim.module_units import FREE, ONE
from reproductions.optim.module_walk import Conjugation, Rule, Walk


def added(walk: Walk, step: Step) -> Tensor:
    """Tie the bases of two summands; in general mode the sum takes that of the first.

    Source: Armenta et al. 2023 for the first argument's basis; tied bases leave a plain addition.
    """
    first, second = _both(step)
    if not isinstance(first, Operand) or not isinstance(second, Operand):
        return walk.through(step, step.input(), FREE if 0 in (first, second) else ONE)
    if second.parameter is not None and first.parameter is None:
        return _shifted(walk, step, first, second)
    if first.parameter is not None and second.parameter is None:
        return _shifted(walk, step, second, first)
    if step.tied:
        walk.units.tie(first.numbers, second.numbers)
    elif first.numbers.equal(second.numbers):
        return first.numbers
    elif not (first.whole and second.whole):
        return walk.fixed(step)
    else:
        walk.conjugations[step.node, second.node] = Conjugation(first.numbers, second.numbers)
    return _spread(first.numbers, step)


def _shifted(walk: Walk, step: Step, operand: Operand, shift: Operand) -> Tensor:
    """Let a parameter that is added have the basis of what it is added to."""
    numbers = walk.constant(step, operand, _repeated(shift, operand))
    walk.change(step, Rule(str(shift.parameter), _aligned(numbers, shift)))
    return _spread(numbers, step)


def multiplied(walk: Walk, step: Step) -> Tensor:
    """Give a product the basis of one factor; the other, smaller one keeps its own.

    Where that one is a parameter, its entries are weights: features are new behind it.
    """
    first, second = _both(step)
    if not isinstance(first, Operand) or not isinstance(second, Operand):
        return walk.through(step, step.input(), FREE)
    if first.node is second.node:
        return walk.fixed(step)
    large, small = _ordered(walk, first, second)
    weighs = small.parameter is not None and large.parameter is None
    if weighs and small.value.numel() > 1:
        return _scaled(walk, step, large, small)
    walk.plain(step, small)
    return _spread(large.numbers, step)


def _ordered(walk: Walk, first: Operand, second: Operand) -> tuple[Operand, Operand]:
    """Return two factors, the one first whose basis the product takes."""
    if first.parameter is not None or second.parameter is not None:
        return (second, first) if first.parameter is not None else (first, second)
    if walk.units.fixed(first.numbers) or walk.units.fixed(second.numbers):
        return (second, first) if walk.units.fixed(first.numbers) else (first, second)
    return (second, first) if second.value.numel() > first.value.numel() else (first, second)


def _scaled(walk: Walk, step: Step, operand: Operand, scale: Operand) -> Tensor:
    numbers = walk.constant(step, operand, _repeated(scale, operand))
    out = walk.units.fresh(scale.value.shape, str(scale.parameter))
    walk.change(step, Rule(str(scale.parameter), out, _aligned(numbers, scale)))
    return out.reshape((1,) * (step.result.ndim - out.ndim) + tuple(out.shape))


def divided(walk: Walk, step: Step) -> Tensor:
    """Give a quotient the basis of its numerator; the denominator keeps its own."""
    first, second = _both(step)
    if step.kwargs.get("rounding_mode") is not None:
        return walk.fixed(step)
    if not isinstance(first, Operand):
        return walk.through(step, step.input(), ONE)
    if not isinstance(second, Operand):
        return walk.through(step, first, FREE)
    if first.node is second.node:
        return walk.fixed(step)
    walk.plain(step, second)
    return _spread(first.numbers, step)


# ---------------------------------------------------------------- what they share


def _both(step: Step) -> tuple[object, object]:
    return step.argument(0, "input"), step.argument(1, "other")


def _spread(numbers: Tensor, step: Step) -> Tensor:
    """Return numbers with the dimensions of the result."""
    return numbers.reshape((1,) * (step.result.ndim - numbers.ndim) + tuple(numbers.shape))


def _repeated(parameter: Operand, operand: Operand) -> list[int]:
    """Return the dimensions of an operand, from the last, along which a parameter is broadcast."""
    shape, count = parameter.value.shape, operand.value.ndim
    return [-1 - at for at in range(count) if at >= len(shape) or shape[-1 - at] == 1]


def _aligned(numbers: Tensor, parameter: Operand) -> Tensor:
    """Return numbers with the dimensions of a parameter, along the others of which they are one."""
    extra = numbers.ndim - parameter.value.ndim
    return numbers.reshape(numbers.shape[extra:]) if extra > 0 else numbers
