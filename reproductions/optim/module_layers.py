"""What a change of basis does to the parameters of layers, and which features are new there."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from torch import Tensor, nn

from reproductions.optim.module_steps import Operand, Step
from reproductions.optim.module_units import compress
from reproductions.optim.module_walk import NONE, Rule, Walk


class Layer(NamedTuple):
    """Parameters of a layer, by name, whether it is a module or a function."""

    place: str
    weight: Operand
    bias: Operand | None


def linear(walk: Walk, step: Step) -> Tensor:
    """Number the outputs of W x + b: W'[b, a] = tau_b W[b, a] / tau_a, b' = tau_b b.

    Source: Armenta et al. 2023.
    """
    layer = layer_of(walk, step)
    if layer is None:
        return walk.fixed(step)
    weight = layer.weight.value
    into = features(walk, step, -1)
    out = walk.units.fresh(weight.shape[:1], layer.place)
    lay_down(walk, step, layer, out[:, None], into[None, :], out)
    return placed(out, -1, step.result.ndim)


def convolution(walk: Walk, step: Step) -> Tensor:
    """Number the output channels of a convolution, whose taps all change alike.

    Source: Armenta et al. 2023; groups are ours: an input of group g only meets outputs of g.
    """
    layer = layer_of(walk, step)
    if layer is None:
        return walk.fixed(step)
    weight, spatial = layer.weight.value, layer.weight.value.ndim - 2
    into = features(walk, step, -1 - spatial)
    out = walk.units.fresh(weight.shape[:1], layer.place)
    groups = len(into) // weight.shape[1]
    entries = into.reshape(groups, -1).repeat_interleave(len(out) // groups, dim=0)
    taps = (1,) * spatial
    lay_down(
        walk,
        step,
        layer,
        out.reshape(-1, 1, *taps),
        compress(entries).reshape(*compress(entries).shape, *taps),
        out,
    )
    return placed(out, -1 - spatial, step.result.ndim)


def transposed(walk: Walk, step: Step) -> Tensor:
    """Number the output channels of a transposed convolution, whose weight is (in, out, taps)."""
    layer = layer_of(walk, step)
    if layer is None:
        return walk.fixed(step)
    weight, spatial = layer.weight.value, layer.weight.value.ndim - 2
    into = features(walk, step, -1 - spatial)
    channels = step.result.shape[-1 - spatial]
    out = walk.units.fresh((channels,), layer.place)
    groups = channels // weight.shape[1]
    entries = compress(out.reshape(groups, -1).repeat_interleave(len(into) // groups, dim=0))
    taps = (1,) * spatial
    lay_down(
        walk,
        step,
        layer,
        entries.reshape(*entries.shape, *taps),
        into.reshape(-1, 1, *taps),
        out,
    )
    return placed(out, -1 - spatial, step.result.ndim)


def embedding(walk: Walk, step: Step) -> Tensor:
    """Number the features of an embedding, whose rows all change alike."""
    layer = layer_of(walk, step)
    if layer is None or _max_norm(walk, step) is not None:
        return walk.fixed(step)
    out = walk.units.fresh(layer.weight.value.shape[1:], layer.place)
    lay_down(walk, step, layer, out[None, :], NONE, out)
    return placed(out, -1, step.result.ndim)


def _max_norm(walk: Walk, step: Step) -> Any:
    """Return the norm to which an embedding cuts its rows, which it writes into the weight."""
    if step.node.op == "call_module":
        return walk.module.get_submodule(str(step.node.target)).max_norm
    return step.argument(3, "max_norm")


def batch_norm(walk: Walk, step: Step) -> Tensor:
    """Number the channels behind a BatchNorm module.

    In eval mode the running mean and variance change with the channels in front, mu' = tau_in mu
    and v' = tau_in^2 v, and the scale by what eps leaves over, so that outputs are exact:

        gamma' = (tau_out / tau_in) sqrt((tau_in^2 v + eps) / (v + eps)) gamma,  beta' = tau_out beta

    In training mode eps spoils any tau_in, so tau_in is one (or divided out, in general mode).
    Source: Armenta et al. 2023 give gamma' = tau_out gamma and divide tau_in out in the forward
    pass; the exact form in eval mode is ours.
    """
    module: Any = walk.module.get_submodule(str(step.node.target))
    layer, operand = layer_of(walk, step), step.input()
    absorbs = walk.absorb and not walk.general and not module.training
    if layer is None or not absorbs or module.running_var is None:
        return normalisation(walk, step)
    into = features(walk, step, 1)
    out = walk.units.fresh(into.shape, layer.place)
    prefix = str(step.node.target)
    walk.change(
        step,
        Rule(f"{prefix}.weight", out, into, variance=f"{prefix}.running_var", eps=module.eps),
        Rule(f"{prefix}.bias", out),
        Rule(f"{prefix}.running_mean", into),
        Rule(f"{prefix}.running_var", into, power=2),
    )
    return placed(out, 1, operand.value.ndim)


def normalisation(walk: Walk, step: Step) -> Tensor:
    """Number the features behind a normalisation that meets its input in its own basis."""
    layer, operand = layer_of(walk, step), step.input()
    walk.plain(step, operand)
    if layer is None:
        return NONE.reshape((1,) * operand.value.ndim)
    out = walk.units.fresh(layer.weight.value.shape, layer.place)
    lay_down(walk, step, layer, out, NONE, out)
    ndim = operand.value.ndim
    if re.match("(layer|rms)_?norm", step.name.lower()):
        return out.reshape((1,) * (ndim - out.ndim) + tuple(out.shape))
    unbatched = step.name.startswith("Instance") and str(ndim - 1) in step.name
    return placed(out, 0 if unbatched else 1, ndim)


# ---------------------------------------------------------------- what they share


def layer_of(walk: Walk, step: Step) -> Layer | None:
    """Return the parameters that a layer multiplies and adds, None where it has no weight.

    A weight that forward computes is no parameter; such a layer keeps its bases.
    """
    if step.node.op == "call_module":
        return _layer_of_module(walk, step)
    found = dict(zip(("weight", "bias"), POSITIONS.get(step.name, (1, 2)), strict=True))
    weight, bias = (step.argument(at, name) for name, at in found.items())
    if not isinstance(weight, Operand) or weight.parameter is None:
        return None
    if isinstance(bias, Operand) and bias.parameter is None:
        return None
    return Layer(weight.parameter.rpartition(".")[0] or weight.parameter, weight, bias)


# Where functions take weight and bias; embedding swaps its input and its weight in the module only.
POSITIONS = {
    "batch_norm": (3, 4),
    "instance_norm": (3, 4),
    "layer_norm": (2, 3),
    "group_norm": (2, 3),
    "rms_norm": (2, 9),
    "embedding": (1, 9),
}


def _layer_of_module(walk: Walk, step: Step) -> Layer | None:
    prefix = str(step.node.target)
    module: nn.Module = walk.module.get_submodule(prefix)
    for name in ("weight", "bias"):
        if name not in module._parameters and hasattr(module, name):
            raise walk.refusal(step, f"its {name} is computed from other parameters")
    own = {
        name: Operand(step.node, value, NONE, f"{prefix}.{name}")
        for name, value in module._parameters.items()
        if value is not None
    }
    weight = own.get("weight")
    return None if weight is None else Layer(prefix, weight, own.get("bias"))


def lay_down(
    walk: Walk, step: Step, layer: Layer, out: Tensor, into: Tensor, features: Tensor
) -> None:
    """Let the weight change by (out, into), and the bias by the features."""
    for operand, numbers, below in ((layer.weight, out, into), (layer.bias, features, NONE)):
        if operand is not None and operand.parameter is not None:
            walk.change(step, Rule(operand.parameter, numbers, below))


def features(walk: Walk, step: Step, dim: int) -> Tensor:
    """Return the numbers of a layer's input features, one a feature along dim."""
    operand = step.input() if step.node.op == "call_module" else step.argument(0, "input")
    dim = dim % operand.value.ndim
    others = [at for at in range(operand.value.ndim) if at != dim]
    numbers = walk.constant(step, operand, others).flatten()
    return numbers.expand(operand.value.shape[dim])


def placed(numbers: Tensor, dim: int, ndim: int) -> Tensor:
    """Return numbers along one of ndim dimensions."""
    shape = [1] * ndim
    shape[dim] = -1
    return numbers.reshape(shape)
