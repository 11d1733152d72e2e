"""The general linear group acting on a network whose outputs on one batch it keeps.

Between two layers without thresholds V, then U, with inputs X (D, B) of independent columns and an
invertible activation rho, g in GL(H) acts as

    V -> rho^-1(g rho(V X)) X^+        U -> U g^-1

which leaves U rho(V X) alone for this X, and for no other in general. The unit element is no
exception: it takes from V what no input of the batch can see. Acting on one hidden layer
after the other, each with the batch that enters it then, keeps the loss of the batch.

Source: Zhao et al. 2022, equation (8). The authors' code takes I + T for g and I - T for its
inverse, and for the second hidden layer the batch from before the first action: the loss then
changes. Both are here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LEAK = 0.1
HALVINGS = 10
Weights = list[Tensor]  # of each layer (E, fan_out, fan_in)


def leaky(values: Tensor) -> Tensor:
    """Return the leaky ReLU with slope LEAK below zero."""
    return torch.where(values > 0, values, LEAK * values)


def leaky_inverse(values: Tensor) -> Tensor:
    """Return what leaky ReLU sends to the values."""
    return torch.where(values > 0, values, values / LEAK)


def outputs(weights: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Return the outputs (E, K, B) of networks without thresholds on inputs (E, D, B)."""
    for weight in weights[:-1]:
        inputs = leaky(weight @ inputs)
    return weights[-1] @ inputs


def act(
    weights: Sequence[Tensor], inputs: Tensor, elements: Sequence[Tensor], *, exact: bool = True
) -> Weights:
    """Return the networks after a group element of every hidden layer has acted on them.

    Args:
        weights: of each layer (E, fan_out, fan_in).
        inputs: (E, D, B), of independent columns, as those that enter every hidden layer.
        elements: T of each hidden layer (E, H, H), in the Lie algebra.
        exact: with g = exp(T) and the batch that really enters; else as the authors' code does.
    """
    moved, entering = list(weights), inputs
    for depth, element in enumerate(elements):
        weight, one = moved[depth], torch.eye(element.shape[1]).to(element)
        group = torch.matrix_exp(element) if exact else one + element
        inverse = torch.matrix_exp(-element) if exact else one - element
        values = leaky_inverse(group @ leaky(weight @ entering))
        # What is not finite ends that member; the decomposition refuses it for all of them.
        moved[depth] = values @ torch.linalg.pinv(entering.nan_to_num(0.0, 0.0, 0.0))
        moved[depth + 1] = moved[depth + 1] @ inverse
        entering = leaky((moved if exact else weights)[depth] @ entering)
    return moved


def ascend(
    loss: Callable[[Sequence[Tensor], Tensor], Tensor],
    weights: Sequence[Tensor],
    inputs: Tensor,
    *,
    steps: int,
    rate: float,
    exact: bool = True,
    growth: float = math.inf,
) -> Weights:
    """Raise the squared gradient norm on a batch along the group, by gradient ascent from T = 0.

    Args:
        loss: weights and inputs -> (E,).
        rate: times the slope of the squared gradient norm is the T that acts.
        growth: by how much the gradient norm may grow in all; a step that leads past it, or to
            what is not finite, is halved for that member, and after HALVINGS not taken. Where
            growth is infinite every step is taken as it is.
    """
    current = [weight.detach() for weight in weights]
    most = growth**2 * squared_norm(loss, current, inputs)
    for _ in range(steps):
        step = [rate * slope for slope in _slopes(loss, current, inputs)]
        if math.isinf(growth):
            current = act(current, inputs, step, exact=exact)
            continue
        left = torch.ones_like(most, dtype=torch.bool)
        for halved in range(HALVINGS + 1):
            tried = act(current, inputs, [part / 2**halved for part in step], exact=exact)
            fine = left & (squared_norm(loss, tried, inputs) <= most)  # false where not a number
            pairs = zip(tried, current, strict=True)
            current = [torch.where(fine[:, None, None], new, old) for new, old in pairs]
            left = left & ~fine
    return current


def squared_norm(
    loss: Callable[[Sequence[Tensor], Tensor], Tensor], weights: Sequence[Tensor], inputs: Tensor
) -> Tensor:
    """Return the squared norm of the gradient by all weights, (E,)."""
    own = [weight.detach().requires_grad_() for weight in weights]
    gradients = torch.autograd.grad(loss(own, inputs).sum(), own)
    return torch.stack([part.square().sum((1, 2)) for part in gradients]).sum(0)


def _slopes(
    loss: Callable[[Sequence[Tensor], Tensor], Tensor],
    weights: Sequence[Tensor],
    inputs: Tensor,
) -> tuple[Tensor, ...]:
    """Return the slope of the squared gradient norm by every T at 0, (E, H, H) each.

    Both ways of acting have this slope: the code differs in what it then does with it.
    """
    elements = [
        weight.new_zeros(len(weight), weight.shape[1], weight.shape[1], requires_grad=True)
        for weight in weights[:-1]
    ]
    moved = act(weights, inputs, elements)
    gradients = torch.autograd.grad(loss(moved, inputs).sum(), moved, create_graph=True)
    squared = torch.stack([part.square().sum() for part in gradients]).sum()
    return torch.autograd.grad(squared, elements)
