"""The diagonal of the Hessian of ReLU networks, without the Hessian.

The output of a ReLU network is linear in any single weight up to its kinks, so the second derivative
of the loss by that weight is the Gauss-Newton one: under cross-entropy nowhere negative, and the
same whatever the labels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import draw, moments
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import layer_norms, teleport, units

UNITS = {
    "trace": "nat", "trace_teleported": "nat", "trace_rule": "nat", "trace_mean": "nat",
    "trace_expected": "nat", "invariant": "nat",
}  # fmt: skip
BASIS = 71  # the purpose in a generator's key


def rows(
    layout: Layout, arm: str, theta: Tensor, inputs: Tensor, sigma: float, draws: int,
    measured: int, root_seed: int,
) -> Rows:  # fmt: skip
    """Return the trace layer by layer, at the networks and at their teleports.

    "trace_teleported" is measured at the weights of the first teleports, "trace_rule" is what the
    Hessian's rule makes of the trace before, for the same ones, "trace_mean" the rule's mean over
    all draws and "trace_expected" its closed form. Beside them stands a sharpness that no teleport
    changes, the sum of squared weights times the diagonal, at the network and its teleports.

    Args:
        draws, measured: changes of basis in all, and those whose Hessian is measured.
    """
    found, factors = Rows(UNITS), expected(len(layout.layers), sigma)
    for seed, own in enumerate(theta.double()):
        tau = draw((draws, units(layout)), sigma, generator(root_seed, seed, BASIS))
        moved = teleport(layout, own.expand(measured, -1), tau[:measured])
        every = torch.cat([own[None], moved])
        diagonals = hessian_diagonal(layout, every, inputs)
        before = layer_norms(layout, diagonals[0], torch.ones_like(tau[:1]))[0].cpu()
        ruled = layer_norms(layout, diagonals[0], tau, power=-2).cpu()
        for quantity, parts in (
            ("trace", before), ("trace_mean", ruled.mean(0)), ("trace_expected", before * factors)
        ):  # fmt: skip
            _add(found, arm, quantity, parts.sum(1), seed)
        after = torch.stack(
            [diagonals[1:, one.start : one.stop].sum(1) for one in layout.layers], 1
        ).cpu()
        for number in range(measured):
            _add(found, arm, "trace_teleported", after[number], seed, number)
            _add(found, arm, "trace_rule", ruled[number].sum(1), seed, number)
        _add(found, arm, "invariant", (every.square() * diagonals).sum(1).cpu(), seed)
    return found


def _add(found: Rows, arm: str, quantity: str, value: Tensor, seed: int, number: int = 0) -> None:
    status = np.where(value.isfinite().numpy(), "ok", "diverged: value is not finite")
    found.add(arm=arm, quantity=quantity, value=value, status=status, seed=seed,
              index=np.arange(len(value)), draw=number)  # fmt: skip


def expected(layers: int, sigma: float) -> Tensor:
    """Return what squared gradients are multiplied by in expectation, (L, 2), by layer and kind.

    Source: derived; B for the first weights and hidden thresholds, A B for hidden weights, A for
    the last weights, 1 for the thresholds of the outputs.
    """
    square, inverse = moments(sigma)
    weights = [inverse, *[square * inverse] * (layers - 2), square] if layers > 1 else [1.0]
    return torch.tensor([weights, [*[inverse] * (layers - 1), 1.0]], dtype=torch.float64).T


def hessian_diagonal(layout: Layout, theta: Tensor, inputs: Tensor, chunk: int = 500) -> Tensor:
    """Return the Hessian's diagonal (E, P) of the mean softmax cross-entropy.

    Source: derived. With p the softmax of an example, diag(p) - p p' is the sum over classes c of
    p_c (e_c - p)(e_c - p)'; each term is carried back like a gradient, and squared.

    Args:
        theta: (E, P).
        inputs: (N, D), shared by all members.
        chunk: examples at a time.
    """
    total = torch.zeros_like(theta)
    for x in inputs.split(chunk):
        _accumulate(layout, theta, x.to(theta), total)
    return total / len(inputs)


def _accumulate(layout: Layout, theta: Tensor, x: Tensor, total: Tensor) -> None:
    layers = layout.views(theta)
    reached = [x.expand(len(theta), -1, -1)]  # inputs of every layer, last the logits
    for depth, (weight, bias) in enumerate(layers):
        z = torch.baddbmm(bias[:, None], reached[-1], weight)
        reached.append(torch.relu_(z) if depth < len(layers) - 1 else z)
    squares = [torch.zeros_like(of) for of in reached[1:]]
    chances = torch.softmax(reached[-1], 2)
    for one in range(chances.shape[2]):
        delta = -chances
        delta[..., one] += 1
        delta *= chances[..., one : one + 1].sqrt()
        for depth in reversed(range(len(layers))):
            squares[depth] += delta.square()
            if depth > 0:
                delta = (delta @ layers[depth][0].mT) * (reached[depth] > 0)
    for (weight, bias), below, square in zip(layout.views(total), reached, squares, strict=False):
        weight += below.square().mT @ square
        bias += square.sum(1)
