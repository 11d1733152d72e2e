"""The rule of every operation that is followed, by the operation's name."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reproductions.optim.module_layers import (
    batch_norm,
    convolution,
    embedding,
    linear,
    normalisation,
    transposed,
)
from reproductions.optim.module_products import added, divided, multiplied
from reproductions.optim.module_shapes import concatenated, reshaped, zero_padded
from reproductions.optim.module_steps import Step
from reproductions.optim.module_units import FREE, ONE, POSITIVE, SIGN
from reproductions.optim.module_walk import Ruling, Walk

# f(tau x) = tau f(x) for every tau, for tau > 0, for tau = 1 and -1, for tau = 1 alone
ELEMENTWISE = {
    FREE: "Identity Dropout Dropout1d Dropout2d Dropout3d dropout dropout1d dropout2d dropout3d"
    " stochastic_depth neg contiguous clone detach to float double half bfloat16 cpu cuda type"
    " type_as",
    POSITIVE: "ReLU LeakyReLU PReLU RReLU relu leaky_relu prelu rrelu abs",
    SIGN: "Tanh Softsign Tanhshrink Softshrink Hardshrink tanh softsign tanhshrink softshrink"
    " hardshrink sin sinh arctan atan asinh arcsinh erf sign",
    ONE: "ReLU6 ELU SELU CELU GELU SiLU Mish Sigmoid LogSigmoid Hardsigmoid Hardswish Softplus"
    " Threshold AlphaDropout FeatureAlphaDropout relu6 elu selu celu gelu silu mish sigmoid"
    " logsigmoid hardsigmoid hardswish softplus threshold alpha_dropout exp expm1 log log1p sqrt"
    " rsqrt square pow cos cosh reciprocal",
}
POOLS = {
    FREE: "AvgPool AdaptiveAvgPool avg_pool adaptive_avg_pool",
    POSITIVE: "MaxPool AdaptiveMaxPool max_pool adaptive_max_pool",
}
NORMALISATIONS = (
    "InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm GroupNorm RMSNorm batch_norm"
    " instance_norm layer_norm group_norm rms_norm"
)
# what mixes features otherwise than by a parameter
PLAIN = (
    "Softmax LogSoftmax Softmin Softmax2d GLU LocalResponseNorm softmax log_softmax softmin glu"
    " local_response_norm normalize matmul bmm einsum baddbmm scaled_dot_product_attention"
    " MultiheadAttention cosine_similarity pairwise_distance cdist var std norm logsumexp"
    " cross_entropy mse_loss nll_loss"
)
SHAPES = (
    "Flatten Unflatten PixelShuffle PixelUnshuffle ChannelShuffle view reshape view_as reshape_as"
    " flatten unflatten ravel squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis"
    " t T mT chunk split tensor_split unbind select narrow getitem getattr expand expand_as repeat"
    " tile roll flip stack pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle"
    " repeat_interleave unfold namedtuple"
)


def elementwise(flag: int, walk: Walk, step: Step) -> Tensor:
    """Keep numbers through a function of single entries."""
    for other in step.operands()[1:]:
        walk.plain(step, other)
    return walk.through(step, step.input(), flag)


def clamped(walk: Walk, step: Step) -> Tensor:
    """Keep numbers through a clipping from below at zero, which is a ReLU, or another one."""
    low, high = step.argument(1, "min"), step.argument(2, "max")
    relu = isinstance(low, int | float) and low == 0 and high is None
    return elementwise(POSITIVE if relu else ONE, walk, step)


def hard_tanh(walk: Walk, step: Step) -> Tensor:
    """Keep numbers through a clipping, which is odd where its bounds are."""
    if step.node.op == "call_module":
        module: Any = walk.module.get_submodule(str(step.node.target))
        low, high = module.min_val, module.max_val
    else:
        low, high = step.argument(1, "min_val", -1.0), step.argument(2, "max_val", 1.0)
    return walk.through(step, step.input(), SIGN if low == -high else ONE)


def pool(flag: int, walk: Walk, step: Step) -> Tensor:
    """Keep numbers of channels through a pooling over their positions."""
    if not isinstance(step.result, Tensor):
        raise walk.refusal(step, "it returns indices beside the largest values")
    dims = int(re.findall(r"(\d)d", step.name)[0])
    return walk.through(step, step.input(), flag, range(-dims, 0))


def resized(walk: Walk, step: Step) -> Tensor:
    """Keep numbers of channels through an interpolation over their positions."""
    return walk.through(step, step.input(), FREE, range(2 - step.input().value.ndim, 0))


def averaged(walk: Walk, step: Step) -> Tensor:
    """Keep numbers through a sum or mean over dimensions."""
    operand, dim = step.input(), step.argument(1, "dim")
    dims = [dim] if isinstance(dim, int) else dim or range(operand.value.ndim)  # () is all
    numbers = walk.constant(step, operand, tuple(dims))
    if step.result.ndim == operand.value.ndim:
        return numbers
    return torch.amax(numbers, dim=tuple(dims))


def table() -> dict[str, Ruling]:
    """Return the rules by name: of modules' classes, functions and methods."""
    rules: dict[str, Ruling] = {}
    for flag, names in ELEMENTWISE.items():
        rules |= dict.fromkeys(names.split(), partial(elementwise, flag))
    for flag, names in POOLS.items():
        sized = (f"{name}{dim}d" for name in names.split() for dim in (1, 2, 3))
        rules |= dict.fromkeys(sized, partial(pool, flag))
    for dim in (1, 2, 3):
        rules |= {f"Conv{dim}d": convolution, f"conv{dim}d": convolution}
        rules |= {f"ConvTranspose{dim}d": transposed, f"conv_transpose{dim}d": transposed}
        rules |= {f"BatchNorm{dim}d": batch_norm}
    rules |= dict.fromkeys(NORMALISATIONS.split(), normalisation)
    rules |= dict.fromkeys(PLAIN.split(), Walk.fixed)
    rules |= dict.fromkeys(SHAPES.split(), reshaped)
    rules |= dict.fromkeys(("Upsample", "interpolate", "upsample"), resized)
    rules |= dict.fromkeys(("mean", "sum"), averaged)
    rules |= dict.fromkeys(("Hardtanh", "hardtanh"), hard_tanh)
    rules |= dict.fromkeys(("ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "pad"), zero_padded)
    rules |= {"Linear": linear, "linear": linear, "Embedding": embedding, "embedding": embedding}
    rules |= {"add": added, "sub": added, "mul": multiplied, "div": divided, "cat": concatenated}
    rules |= dict.fromkeys(("clamp", "clip", "clamp_min"), clamped)
    return rules | {"SyncBatchNorm": batch_norm}
