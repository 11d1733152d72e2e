"""Leave a module and torch's generators as they are while it is traced and run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put back attributes, parameters, buffers and generators, whatever ran inside.

    A forward pass may write into them: an Embedding with max_norm into its weight, a moving
    average into its buffer, torch.fx into the attributes of what it traces.
    """
    children = [one for one in module.modules() if not isinstance(one, torch.jit.ScriptModule)]
    own = [dict(vars(one)) for one in children]
    held = [(dict(one._parameters), dict(one._buffers)) for one in children]
    tensors = [one for one in _tensors(module) if not one.is_inference()]
    kept = [(one, one._version, one.detach().clone()) for one in tensors]
    devices = sorted({one.device.index for one in tensors if one.is_cuda})
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False):
            yield
    finally:
        for child, attributes, (parameters, buffers) in zip(children, own, held, strict=True):
            vars(child).clear()
            vars(child).update(attributes)
            child._parameters.clear()
            child._parameters.update(parameters)
            child._buffers.clear()
            child._buffers.update(buffers)
        with torch.no_grad():
            for tensor, version, before in kept:
                if tensor._version != version:
                    tensor.copy_(before)


def altered(module: nn.Module) -> str | None:
    """Return why a module may do more than its class does, None where it does not."""
    if "forward" in vars(module):
        return "its forward has been replaced"
    if module._forward_hooks or module._forward_pre_hooks:
        return "it has hooks, which may change what passes"
    return None


# ---------------------------------------------------------------- memory


def memory_of(tensor: Tensor) -> int:
    """Return what tells one storage from another."""
    return int(tensor.untyped_storage()._cdata)


def memories(result: Any) -> set[int]:
    """Return the storages of the tensors in a result."""
    return {memory_of(one) for one in tree_leaves(result) if isinstance(one, Tensor)}


def check_writable(changing: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Refuse tensors that cannot be changed one by one, before any is.

    Args:
        changing: tensors to change, by name.
        tensors: all of the module.

    Raises:
        ValueError: naming a tensor whose entries share memory among themselves or with another
            tensor of the module, or that was made in inference mode.
    """
    for name, one in changing.items():
        if any(size > 1 and step == 0 for size, step in zip(one.shape, one.stride(), strict=True)):
            raise ValueError(f"{name} is an expanded view: its entries cannot change one by one")
        if one.is_inference() and not torch.is_inference_mode_enabled():
            raise ValueError(f"{name} was made in inference mode and cannot be changed outside it")
    ids = {id(one) for one in changing.values()}
    unique = {id(one): (name, one) for name, one in tensors.items() if one.numel()}
    spans = sorted((*_span(one), name, id(one) in ids) for name, one in unique.values())
    end, other, moved = -1, "", False
    for start, stop, name, moves in spans:
        if 0 < start < end and (moves or moved):
            raise ValueError(f"{name} and {other} share memory: in place, both would change twice")
        if stop > end:
            end, other, moved = stop, name, moves


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses between which the entries of a tensor lie."""
    reach = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
