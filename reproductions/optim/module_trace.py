"""The graph of a module by torch.fx, or one line that says why there is none."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

FOREIGN = (torch.__file__.removesuffix("__init__.py"), __file__, "<")  # lines that say nothing


class Recorder(fx.Tracer):
    """A tracer that remembers in which module and on which line each operation stands."""

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


def graph_of(module: nn.Module, inputs: Sequence[Any]) -> fx.Graph:
    """Return the operations of a forward pass in their order.

    Arguments of forward that no example is given for keep their defaults.

    Raises:
        TypeError: where the module computes what to do from its inputs' values, or does what
            torch.fx cannot follow; it names the module and the line.
    """
    tracer = Recorder()
    try:
        return tracer.trace(module, _left_out(module, len(inputs)))
    except Exception as error:
        where = tracer.failed or type(module).__name__
        raise TypeError(
            f"{where} cannot be traced: {_said(error)}{_line(error)}. torch.fx follows no"
            " control flow or sizes that depend on tensors' values, and no assignment to entries"
        ) from error


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
    """Return inputs that an operation in place may overwrite."""
    return [one.detach().clone() if isinstance(one, Tensor) else one for one in inputs]
