"""One operation of a traced module, with its operands and the numbers of their features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from reproductions.optim.module_trace import name_of

KNOWN = {"torch", "_operator", "operator", "torchvision", "builtins", "math"}
SYNONYMS = {
    "iadd": "add",
    "isub": "sub",
    "subtract": "sub",
    "imul": "mul",
    "multiply": "mul",
    "truediv": "div",
    "itruediv": "div",
    "divide": "div",
    "concat": "cat",
    "concatenate": "cat",
    "negative": "neg",
}
# What draws numbers or counts batches while it trains: its result has the shape of its input.
SILENT = (
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout stochastic_depth"
    " Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout"
    " batch_norm instance_norm BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm"
    " InstanceNorm1d InstanceNorm2d InstanceNorm3d"
)
SIZES = "size dim ndimension numel getattr is_floating_point _assert len"


class Refused(TypeError):
    """Said of an operation that cannot be teleported."""


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor that goes into an operation.

    Fields:
        node: that it comes from.
        numbers: of its features: as many dimensions as value, size 1 where they are constant.
        parameter: its name, where forward takes it from the module itself.
        whole: whether the node is this tensor, and not several.
    """

    node: fx.Node
    value: Tensor
    numbers: Tensor
    parameter: str | None = None
    whole: bool = True


@dataclass(eq=False)
class Step:
    """One operation, as its rule sees it.

    Fields:
        name: of the function, method or class of module, without the underscore of in-place forms.
        args, kwargs: with an Operand for every tensor.
        taken: names of parameters whose change the rule has laid down.
        overwritten: the operand that the operation writes into.
        tied: whether numbers are tied and constrained, for the operation is not conjugated.
    """

    node: fx.Node
    name: str
    args: Any
    kwargs: Any
    result: Any = None
    taken: set[str] = field(default_factory=set)
    overwritten: Operand | None = None
    tied: bool = True

    def operands(self) -> list[Operand]:
        """Return the tensors among the arguments, nested ones too, in their order."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [one for one in leaves if isinstance(one, Operand)]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument that is given by its position or its name.

        A dimension goes by NumPy's name too.
        """
        if position < len(self.args):
            return self.args[position]
        if name == "dim" and "axis" in self.kwargs:
            return self.kwargs["axis"]
        return self.kwargs.get(name, default)

    def input(self) -> Operand:
        """Return the first operand."""
        return self.operands()[0]


def canonical(node: fx.Node, module: nn.Module) -> str:
    """Return the name under which rules know an operation."""
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__name__
    if _holds(node.target):
        return "namedtuple"
    name = node.target if isinstance(node.target, str) else name_of(node.target)
    name = name.strip("_") if name != "_assert" else name
    return SYNONYMS.get(name, name)


def _holds(target: Any) -> bool:
    """Tell whether what is called only holds its arguments together."""
    return isinstance(target, type) and issubclass(target, tuple)


def is_known(node: fx.Node, module: nn.Module) -> bool:
    """Tell whether an operation is torch's own, and not one of the same name."""
    if node.op == "call_module":
        kind = type(module.get_submodule(str(node.target)))
        return kind.__module__.split(".")[0] == "torch"
    if node.op == "call_method" or _holds(node.target):
        return True
    home = getattr(node.target, "__module__", None)
    return home is None or home.split(".")[0] in KNOWN


def unnumbered(result: Any) -> Any:
    """Return the numbers of tensors that keep their basis, and None for what is no tensor."""
    if not has_tensors(result):
        return None

    def none(one: Any) -> Tensor | None:
        return torch.zeros((1,) * one.ndim, dtype=torch.int64) if isinstance(one, Tensor) else None

    return tree_map(none, result)


def has_tensors(result: Any) -> bool:
    """Tell whether there is a tensor in a result."""
    return any(isinstance(one, Tensor) for one in tree_leaves(result))
