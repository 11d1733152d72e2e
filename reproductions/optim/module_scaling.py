"""Scale the tensors of a module by a change of basis, and sum over all its entries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reproductions.optim.module_walk import Rule

CHUNK = 1 << 18  # entries that stay in cache between two products

Lookup = Callable[[str], Tensor]


class Shared(NamedTuple):
    """Scalars (..., U + 1) and their inverses, the fixed one first."""

    scalars: Tensor
    inverses: Tensor


def shared(tau: Tensor) -> Shared:
    """Return scalars and inverses of tau (..., U)."""
    scalars = torch.cat([tau.new_ones(*tau.shape[:-1], 1), tau], dim=-1)
    return Shared(scalars, scalars.reciprocal())


def scale(rule: Rule, tensor: Tensor, tau: Shared, correction: Tensor | None) -> None:
    """Multiply a tensor in place by its factors, in one pass over its memory.

    Args:
        tau: of the tensor's dtype and device.
        correction: from `correction_of`, for a scale behind a running variance.
    """
    out, into = tau.scalars[rule.out], tau.inverses[rule.into]
    if rule.power != 1:
        out, into = out**rule.power, into**rule.power
    if correction is not None:
        into = into * correction.to(into)
    entries = math.prod(rule.shape)
    if entries < tensor.numel() or min(out.numel(), into.numel()) == 1 or entries <= CHUNK:
        tensor.mul_(out * into)
    else:
        _by_rows(tensor, out, into)


def _by_rows(tensor: Tensor, out: Tensor, into: Tensor) -> None:
    """Multiply a few rows after the other, without an array of factors as large as the tensor."""
    rows = max(1, CHUNK * len(tensor) // tensor.numel())
    for start in range(0, len(tensor), rows):
        part = tensor[start : start + rows]
        for one in (out, into):
            part.mul_(one[start : start + rows] if len(one) > 1 else one)


def correction_of(rule: Rule, tau: Shared, lookup: Lookup) -> Tensor | None:
    """Return what eps leaves over behind a running variance v, None for other tensors.

    sqrt((tau_in^2 v + eps) / (v + eps)), float64, shape (..., channels).
    """
    if rule.variance is None:
        return None
    variance = lookup(rule.variance).detach().to(tau.scalars.device, torch.float64)
    into = tau.scalars[..., rule.into].to(torch.float64)
    return ((into.square() * variance + rule.eps) / (variance + rule.eps)).sqrt()


def factors(rule: Rule, tau: Shared, correction: Tensor | None) -> Tensor:
    """Return the factors of a tensor for every tau, (..., shape that broadcasts to the tensor)."""
    found = (tau.scalars[..., rule.out] * tau.inverses[..., rule.into]) ** rule.power
    return found if correction is None else found * correction


def check_range(
    rules: Sequence[Rule],
    tensors: Sequence[Tensor],
    tau: Shared,
    corrections: Sequence[Tensor | None],
) -> None:
    """Refuse factors that have no normal number in the dtype of their tensor.

    Raises:
        ValueError: naming the tensor.
    """
    size = tau.scalars.abs()
    span = size.max() / size.min()  # one is among them: no factor, with its correction, is beyond
    reach = torch.stack([span**3, span**-3])
    doubtful = {one for one in {tensor.dtype for tensor in tensors} if not _fits(reach, one)}
    for rule, tensor, correction in zip(rules, tensors, corrections, strict=True):
        if tensor.dtype in doubtful:
            found = _extremes(rule, tau, correction)
            if not _fits(found, tensor.dtype):
                said = f"too large or too small for {tensor.dtype}"
                raise ValueError(f"a factor of {rule.name} is {said}")


def _extremes(rule: Rule, tau: Shared, correction: Tensor | None) -> Tensor:
    """Return the sizes of all factors, or the smallest and the largest."""
    if rule.power != 1 or correction is not None or not _is_outer(rule.out, rule.into):
        return factors(rule, tau, correction).abs()
    out, into = tau.scalars[rule.out].abs(), tau.inverses[rule.into].abs()
    return torch.stack([out.min() * into.min(), out.max() * into.max()])


def _fits(sizes: Tensor, dtype: torch.dtype) -> bool:
    own, limits = sizes.to(dtype), torch.finfo(dtype)
    return bool((own.isfinite() & (own >= limits.tiny)).all())


def summed(
    rule: Rule, values: Tensor, tau: Shared, correction: Tensor | None, power: int
) -> Tensor:
    """Return the sum of values times factors^power for every tau, (T,).

    Values are first summed over what shares a factor, such as the taps of a kernel. Where rows
    change by out and columns by into, two products of matrices do the rest.
    """
    shape = rule.shape
    block = values.sum_to_size((1,) * (values.ndim - len(shape)) + shape).reshape(shape)
    if rule.power == 1 and correction is None and _is_outer(rule.out, rule.into):
        out, into = tau.scalars[:, rule.out.flatten()], tau.inverses[:, rule.into.flatten()]
        matrix = block.reshape(rule.out.numel(), rule.into.numel())
        return ((out**power @ matrix) * into**power).sum(1)
    found = factors(rule, tau, correction) ** power
    return (found * block).reshape(len(found), -1).sum(1)


def _is_outer(out: Tensor, into: Tensor) -> bool:
    """Tell whether factors are an outer product, rows by out and columns by into."""
    return out.ndim > 1 and len(out) == out.numel() and into.shape[1] == into.numel()


def in_dtypes(
    tau: Shared, tensors: Sequence[Tensor]
) -> dict[tuple[torch.dtype, torch.device], Shared]:
    """Return tau as each dtype and device among the tensors wants it.

    Raises:
        ValueError: where a scalar or its inverse has no value in a dtype.
    """
    found = {}
    for dtype, device in {(one.dtype, one.device) for one in tensors}:
        own = Shared(*(one.to(device=device, dtype=dtype) for one in tau))
        tiny = torch.finfo(dtype).tiny
        fits = ((one.isfinite() & (one.abs() >= tiny)).all() for one in own)
        if not bool(torch.stack(list(fits)).all()):
            raise ValueError(f"a scalar of tau is too large or too small for {dtype}")
        found[dtype, device] = own
    return found


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by all their names."""
    named = dict(module.named_parameters(remove_duplicate=False))
    return named | dict(module.named_buffers(remove_duplicate=False))


def named_by(rule: Rule, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the tensor of a rule.

    Raises:
        ValueError: where there is none, or one of another shape.
    """
    tensor, shape = tensors.get(rule.name), rule.shape
    if tensor is None:
        raise ValueError(f"the module has no {rule.name}: the plan is of another one")
    pairs = zip(reversed(shape), reversed(tensor.shape), strict=False)
    if len(shape) > tensor.ndim or any(own not in (1, size) for own, size in pairs):
        raise ValueError(f"{rule.name} has shape {tuple(tensor.shape)}: the plan is of another one")
    return tensor
