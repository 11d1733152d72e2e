"""Small networks with known answers: a chain, a fork, and what stays when units are rescaled.

The weights drawn in Figure 1 b, c of the paper were not seen. These stand in for them: the same
kind of network, inputs of 1, no thresholds, step 1 and gradients of -1 at the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import adagrad, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_norm
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.rescaling import rescale, unbalancing_factors
from reproductions.optim.transform import Transform
from reproductions.problems.mlp import MLP

UNITS = {
    "product": "1", "gain": "1", "train_loss": "nat", "path_norm": "1", "path_norm_enumerated": "1"
}  # fmt: skip
CHAIN, FORK, SMALL = Layout((1, 1, 1)), Layout((2, 2, 2)), Layout((3, 4, 5, 2))
EXAMPLES, EXAMPLES_PURPOSE = 40, 6
EXPONENTS = (1, 2, 3)


def rows(scales: Sequence[float], steps: int, seeds: int, root_seed: int) -> Rows:
    """Make one step of SGD and Path-SGD on chain and fork, and many on a small network."""
    found = Rows(UNITS)
    for scale in scales:
        _one_step(found, CHAIN, [[scale]], scale, "product")
        _one_step(found, FORK, [[scale, 1 / scale]], scale, "gain")
    _courses(found, steps, seeds, root_seed)
    return found


def _one_step(
    found: Rows, layout: Layout, factors: list[list[float]], scale: float, quantity: str
) -> None:
    """Add the outputs' sum after one step ("product"), or what the step added to it ("gain")."""
    theta = torch.zeros(1, layout.parameters, dtype=torch.float64)
    for weight, _ in layout.views(theta):
        weight.fill_(1.0)
    theta = rescale(layout, theta, [torch.tensor(row, dtype=torch.float64) for row in factors])
    for arm, method in (("sgd", sgd(1.0)), ("path_sgd", path_sgd(layout, 1.0))):
        step, _ = method.update(_slope(layout, theta), method.init(theta), theta)
        before, after = (_outputs(layout, at).sum().item() for at in (theta, theta + step))
        value = after if quantity == "product" else after - before
        found.add(arm=arm, quantity=quantity, value=value, scale=scale)


def _outputs(layout: Layout, theta: Tensor) -> Tensor:
    """Return the outputs (K,) of a ReLU network at inputs of 1."""
    unit = theta.new_ones(layout.widths[0])
    for depth, (weight, bias) in enumerate(layout.views(theta)):
        unit = unit @ weight[0] + bias[0]
        unit = torch.relu(unit) if depth < len(layout.layers) - 1 else unit
    return unit


def _slope(layout: Layout, theta: Tensor) -> Tensor:
    """Return the gradient of minus the sum of the outputs; thresholds are held at 0."""
    at = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(-_outputs(layout, at).sum(), at)
    for _, bias in layout.views(slope):
        bias.zero_()
    return slope


def _courses(found: Rows, steps: int, seeds: int, root_seed: int) -> None:
    """Add the losses of every method from two rescaled starts, and the path norms of the starts."""
    one = SMALL.initialise(range(seeds), root_seed=root_seed, dtype=torch.float64)
    factors = unbalancing_factors(SMALL, range(seeds), draws=2, scale=3.0, root_seed=root_seed)
    pair = {"balanced": one, "unbalanced": rescale(SMALL, one, factors)}
    for start, theta in pair.items():
        enumerated = [enumerated_norm(SMALL, member) for member in theta]
        given = {"path_norm": path_norm(SMALL, theta), "path_norm_enumerated": enumerated}
        for quantity, value in given.items():
            found.add(arm="start", quantity=quantity, value=np.asarray(value), start=start,
                      seed=np.arange(seeds))  # fmt: skip
        for arm, method in _methods().items():
            losses = _course(method, theta, steps, seeds, root_seed)
            found.add(arm=arm, quantity="train_loss", value=losses, start=start,
                      seed=np.arange(seeds), step=np.arange(steps + 1)[:, None])  # fmt: skip


def _methods() -> dict[str, Transform]:
    paths = {f"path_sgd_p{p}": path_sgd(SMALL, 0.05, p) for p in EXPONENTS}
    return {"sgd": sgd(0.05), "adagrad": adagrad(0.02), **paths}


def _course(method: Transform, start: Tensor, steps: int, seeds: int, root_seed: int) -> np.ndarray:
    """Return the loss (steps + 1, S) on made-up examples, all of them in every step."""
    sources = [generator(root_seed, seed, EXAMPLES_PURPOSE) for seed in range(seeds)]
    x = torch.stack([torch.randn(EXAMPLES, 3, generator=s, dtype=torch.float64) for s in sources])
    y = (x.prod(2) > 0).long()
    problem, theta, state, losses = MLP(SMALL), start.clone(), method.init(start), []
    for _ in range(steps):
        loss, grad = problem.gradient(theta, x, y)
        losses.append(loss)
        step, state = method.update(grad, state, theta)
        theta += step
    losses.append(problem.loss(theta, x, y))
    return torch.stack(losses).numpy()


def enumerated_norm(layout: Layout, theta: Tensor) -> float:
    """Return the sum of squared products of one member (P,), path by path; exponential."""
    layers = [(weight[0], bias[0]) for weight, bias in layout.views(theta[None])]
    return float(sum(value**2 for value in _paths(layers)))


def _paths(layers: list[tuple[Tensor, Tensor]]) -> Iterator[float]:
    """Yield the product of every path to an output, from an input or from a threshold."""
    for depth, (weight, bias) in enumerate(layers):
        sources = [(1.0, unit) for unit in range(len(weight))] if depth == 0 else []
        for value, unit in sources:
            yield from _onward(layers, depth, value, unit)
        for unit, threshold in enumerate(bias.tolist()):
            yield from _onward(layers, depth + 1, threshold, unit)


def _onward(
    layers: list[tuple[Tensor, Tensor]], depth: int, value: float, unit: int
) -> Iterator[float]:
    """Yield the products of all paths that go on from a unit with a product so far."""
    if depth == len(layers):
        yield value
        return
    for above, weight in enumerate(layers[depth][0][unit].tolist()):
        yield from _onward(layers, depth + 1, value * weight, above)
