"""The graph of a module by torch.fx, or one line that says why there is none."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Sequence
from itertools import chain
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from reproductions.optim.module_guard import altered, memory_of

FOREIGN = (torch.__file__.removesuffix("__init__.py"), __file__, "<")  # lines that say nothing
# What draws numbers; in place too.
DRAWS = (
    "rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial"
    " poisson uniform exponential"
)
TAKES = "item tolist numpy __bool__ __int__ __float__ __index__ __complex__ __array__"


class Watch(TorchFunctionMode):
    """Watch what torch computes at once while a module is traced, for it becomes a constant.

    Nothing that is computed from parameters or buffers may, for it would not change with them, nor
    random numbers, for they would be drawn no more.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        own = list(chain(module.parameters(), module.buffers()))
        self._memory = {memory_of(one) for one in own}
        self._ids = {id(one) for one in own}
        self._alive: list[Tensor] = []  # so that no other tensor takes an id

    def depends(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is computed from the module's own, or is a view of one."""
        return id(tensor) in self._ids or memory_of(tensor) in self._memory

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and remember where its result comes from."""
        name, leaves = name_of(func), tree_leaves((args, kwargs))
        own = any(isinstance(one, Tensor) and self.depends(one) for one in leaves)
        if own and name in TAKES.split():
            raise TypeError(f"{name} takes values out of a parameter or buffer")
        before = torch.get_rng_state()
        result = func(*args, **(kwargs or {}))
        if any(isinstance(one, fx.Proxy) for one in (result, *leaves)):
            return result
        if name.strip("_") in DRAWS.split() or not torch.equal(before, torch.get_rng_state()):
            raise TypeError(f"{name} draws random numbers, which would be the same ever after")
        made = [one for one in tree_leaves(result) if isinstance(one, Tensor)] if own else []
        self._alive += made
        self._ids |= {id(one) for one in made}
        return result


class Recorder(fx.Tracer):
    """A tracer that remembers in which module and on which line each operation stands."""

    proxy_buffer_attributes = True  # what is computed from a buffer is no constant

    def __init__(self) -> None:
        super().__init__()
        self.failed: str | None = None

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Record an operation with the line of the module that asks for it."""
        node = super().create_node(*args, **kwargs)
        # fx's own record of it asks torch's symbolizer, whose first call imports the compiler
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(FOREIGN):
            frame = None if frame.f_code is graph_of.__code__ else frame.f_back
        if frame is not None:
            node.meta["line"] = f"line {frame.f_lineno} of {frame.f_code.co_filename}"
        return node

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Trace a module, and remember the innermost that cannot be."""
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:
                self.failed = f"{self.path_of_module(m)} ({type(m).__name__})"
            raise


def graph_of(module: nn.Module, inputs: Sequence[Any]) -> fx.GraphModule:
    """Return the operations of a forward pass in their order, with the module's own tensors.

    Arguments of forward that no example is given for keep their defaults.

    Raises:
        TypeError: where the module computes what to do from its inputs' values, draws random
            numbers or computes a constant from its parameters, or does what torch.fx cannot
            follow; it names the module and the line.
    """
    if "forward" in vars(module):
        raise TypeError(f"{type(module).__name__} cannot be traced: {altered(module)}")
    tracer, watch = Recorder(), Watch(module)
    try:
        with watch:
            graph = tracer.trace(module, _left_out(module, len(inputs)))
    except Exception as error:
        where = tracer.failed or type(module).__name__
        raise TypeError(
            f"{where} cannot be traced: {_said(error)}{_line(error)}. torch.fx follows no"
            " control flow or sizes that depend on tensors' values, and no assignment to entries"
        ) from error
    traced = fx.GraphModule(module, graph)
    registered = {name for name, _ in chain(*_named(module))}
    for node in graph.nodes:
        if node.op == "get_attr" and node.target not in registered:
            value = _at(traced, str(node.target))
            if isinstance(value, Tensor) and watch.depends(value):
                said = "is a constant that is computed from parameters or buffers"
                raise TypeError(f"{place_of(node, 'constant')} {said}, and would not change")
    return traced


def constants_of(traced: fx.GraphModule, module: nn.Module) -> dict[str, Tensor]:
    """Return tensors that tracing has made, which the module itself lacks, by name."""
    read = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    return {name: _at(traced, name) for name in read if "." not in name and name not in dir(module)}


def _at(module: nn.Module, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _named(module: nn.Module) -> tuple[Any, Any]:
    return (
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )


def _left_out(module: nn.Module, given: int) -> dict[str, Any] | None:
    parameters = list(inspect.signature(module.forward).parameters.values())
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    late = [one for one in parameters[given:] if one.kind not in kinds]
    return {one.name: one.default for one in late if one.default is not one.empty} or None


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _line(error: Exception) -> str:
    """Return the last line outside torch that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not one.filename.startswith(FOREIGN)]
    return f' (line {own[-1].lineno} of {own[-1].filename}: "{own[-1].line}")' if own else ""


def place_of(node: fx.Node, kind: str) -> str:
    """Return how a reader finds a node: its name, its operation, its module and its line.

    Args:
        kind: the name of the function or of the module's class.
    """
    stack = [name for name in node.meta.get("nn_module_stack", {}) if name != node.target]
    inside = f" in {stack[-1]}" if stack and stack[-1] else ""
    target = f"{kind} {node.target}" if node.op == "call_module" else kind
    line = node.meta.get("line", "")
    return f"{node.name} ({target}{inside}{', ' * bool(line)}{line})"


def name_of(function: Any) -> str:
    """Return a function's name."""
    return str(getattr(function, "__name__", function))


def copied(inputs: Sequence[Any]) -> list[Any]:
    """Return inputs that an operation in place may overwrite, tensors in dictionaries too."""
    return [
        tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, one)
        for one in inputs
    ]
