"""The natural gradient of small models: exact Fisher matrices, divergences and steps.

A model is a function from theta (E, P) to logits (E, N, K), and its head says what distribution of
targets the logits stand for:

    softmax     one of K classes with probabilities softmax(z)
    squared     K numbers, Gaussian with mean z and variance 1
    bernoulli   K times yes or no, with probabilities 1 / (1 + exp(-z))

All three are exponential families in their natural parameter, so the Hessian of -log p(y | z) by z
does not depend on y: with J the derivatives of the logits, the Fisher matrix E[J' H J] is the
Gauss-Newton matrix of the loss, which `network_hessian.network_gauss_newton` gives for layered
networks without differentiating.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reproductions.optim.eigensteps import METHODS, Spectrum, decompose, directions

Logits = Callable[[Tensor], Tensor]  # theta (E, P) -> (E, N, K), each member from its own row
HEADS = ("softmax", "squared", "bernoulli")


def fisher_matrix(logits: Logits, theta: Tensor, head: str = "softmax") -> Tensor:
    """Return the Fisher matrix (E, P, P) of the model, mean over its N inputs, exactly symmetric.

    Source: Amari 1998. The expectation over targets is the model's own, taken exactly; the
    empirical Fisher matrix, with the targets of a data set, is another.

    Cost: a forward derivative of all logits for each of P parameters, and (E, N, K, P) numbers.

    Args:
        logits: differentiable by torch.
        theta: (E, P).
        head: one of HEADS.

    Raises:
        ValueError: on an unknown head.
    """
    outputs, slopes = logits(_known(theta, head)), jacobian(logits, theta)
    curved = _curve(outputs, slopes, head)
    members, size = theta.shape
    left, right = (part.reshape(members, -1, size) for part in (slopes, curved))
    matrix = left.mT @ right / outputs.shape[1]
    return (matrix + matrix.mT) / 2


def jacobian(logits: Logits, theta: Tensor) -> Tensor:
    """Return the derivatives of the logits, (E, N, K, P): one forward derivative a parameter."""

    def along(direction: Tensor) -> Tensor:
        return torch.func.jvp(logits, (theta,), (direction.expand_as(theta).contiguous(),))[1]

    units = torch.eye(theta.shape[1], dtype=theta.dtype, device=theta.device)
    return torch.stack([along(unit) for unit in units], 3)


def divergence(before: Tensor, after: Tensor, head: str = "softmax") -> Tensor:
    """Return KL(p_before || p_after) in nat, mean over inputs, (E,), from logits (E, N, K).

    Raises:
        ValueError: on an unknown head.
    """
    _known(before, head)
    if head == "squared":
        return (before - after).square().sum(2).mean(1) / 2
    if head == "bernoulli":
        moved = before.sigmoid() * (before - after)
        return (softplus(after) - softplus(before) + moved).sum(2).mean(1)
    logs, others = torch.log_softmax(before, 2), torch.log_softmax(after, 2)
    return (logs.exp() * (logs - others)).sum(2).mean(1)


def natural_gradient_step(
    of: Tensor | Spectrum, gradient: Tensor, lr: float | Tensor = 1.0, cut: float | None = None
) -> Tensor:
    """Return natural gradient steps (E, P), -lr F^+ g.

    It is where <g, d> + d' F d / (2 lr) is least, the proximal problem with the second order of the
    divergence. Along eigenvectors of F with values up to `cut` times the largest there is no step:
    the model does not depend on them, and with a loss of its own likelihood nor does the gradient.

    Args:
        of: the Fisher matrix (E, P, P), or its decomposition.
        gradient: (E, P).
        lr: a number or (E, 1).
        cut: P times the resolution of the dtype when None.
    """
    spectrum = of if isinstance(of, Spectrum) else decompose(of, gradient)
    undamped = gradient.new_zeros(1)
    return lr * directions(spectrum, METHODS["natural_gradient"], undamped, cut)[0]


def _curve(outputs: Tensor, slopes: Tensor, head: str) -> Tensor:
    """Return the Hessian by the logits times J, (E, N, K, P)."""
    if head == "squared":
        return slopes
    if head == "bernoulli":
        chance = outputs.sigmoid()
        return slopes * (chance * (1 - chance)).unsqueeze(3)
    chance = torch.softmax(outputs, 2).unsqueeze(3)
    moved = chance * slopes
    return moved - chance * moved.sum(2, keepdim=True)


def _known(tensor: Tensor, head: str) -> Tensor:
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    return tensor
