"""Loss curves from one function in two scalings of its ReLU units, on whitened digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.eigensteps import METHODS, decompose, directions
from reproductions.optim.first_order import sgd
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.rescaling import rescale

Progress = Callable[..., None]
UNITS = {"loss": "nat", "output_change": "1", "gap": "1"}
STARTS = ("balanced", "unbalanced")
CUT = (
    1e-11  # of the largest eigenvalue: below it a direction of the Fisher matrix is its null space
)
REACH = 1.0  # the largest g^T F^-1 g that a full natural step may have
_TAUS = 16  # the purpose in a generator's key


class Plan(NamedTuple):
    """What is trained: the network, how far units are rescaled, and for how long.

    Fields:
        spread: standard deviation of log tau.
        duration: of the natural gradient's flow; it takes duration / rate steps.
    """

    hidden: int
    components: int
    seeds: int
    spread: float
    steps: int
    sgd_rate: float
    path_rate: float
    natural_rates: list[float]
    duration: float


def whitened(data: Dataset, images: int, components: int, device: str) -> tuple[Tensor, Tensor]:
    """Return the first images in their leading principal components, of variance 1, in float64.

    Few inputs, none of them idle, keep the Fisher matrix away from singular beyond what ReLU and
    softmax make so.
    """
    pixels = np.asarray(data.train_images[:images], dtype=np.float64).reshape(images, -1)
    centred = pixels - pixels.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / images)
    leading = centred @ vectors[:, -components:] / np.sqrt(values[-components:])
    signs = np.sign(vectors[:, -components:].sum(0))  # an eigenvector's sign is the library's whim
    labels = torch.tensor(data.train_labels[:images], dtype=torch.int64, device=device)
    return torch.tensor(leading * signs, device=device), labels


def train_rows(
    inputs: Tensor, labels: Tensor, plan: Plan, root_seed: int, progress: Progress
) -> Rows:
    """Train both starts of every seed by every method."""
    layout = Layout((inputs.shape[1], plan.hidden, 10))
    loss = NetworkLoss(layout, inputs, labels, activations="relu", head="softmax")
    theta = _starts(layout, plan, root_seed, inputs.device)
    rows = Rows(UNITS)
    outputs = loss.outputs(theta).unflatten(0, (2, -1))
    change = (outputs[1] - outputs[0]).flatten(1).abs().amax(1) / outputs[0].abs().amax((1, 2))
    rows.add(arm="unbalanced", quantity="output_change", value=change.cpu(), seed=range(plan.seeds))
    for (
        name,
        transform,
    ) in (("sgd", sgd(plan.sgd_rate)), ("path_sgd", path_sgd(layout, plan.path_rate))):
        curves = _descend(loss, transform, theta, plan.steps)
        _add(rows, name, curves, plan, range(plan.steps + 1))
    progress(0.2, "first-order methods")
    for place, rate in enumerate(plan.natural_rates):
        steps = round(plan.duration / rate)
        curves = _natural(loss, theta, rate, steps)
        rows.add(
            arm="natural",
            quantity="gap",
            value=_gap(curves),
            seed=range(plan.seeds),
            index=place,
            rate=rate,
        )
        if place == len(plan.natural_rates) - 1:
            _add(rows, "natural", curves, plan, range(steps + 1))
        progress(
            0.2 + 0.8 * (place + 1) / len(plan.natural_rates), f"natural gradient, rate {rate}"
        )
    return rows


def _starts(layout: Layout, plan: Plan, root_seed: int, device: Any) -> Tensor:
    """Return theta (2 E, P): every seed's own start, then the same functions rescaled."""
    seeds = range(plan.seeds)
    theta = layout.initialise(seeds, scheme="he", root_seed=root_seed, dtype=torch.float64)
    drawn = [
        torch.randn(plan.hidden, dtype=torch.float64, generator=generator(root_seed, seed, _TAUS))
        for seed in seeds
    ]
    tau = (plan.spread * torch.stack(drawn)).exp()
    return torch.cat([theta, rescale(layout, theta, [tau])]).to(device)


def _descend(loss: NetworkLoss, transform: Any, theta: Tensor, steps: int) -> Tensor:
    """Return the losses (steps + 1, 2, E) of full-batch steps."""
    state, curves = transform.init(theta), []
    for _ in range(steps):
        value, gradient = loss.gradient(theta)
        curves.append(value)
        move, state = transform.update(gradient, state, theta)
        theta = theta + move
    return torch.stack([*curves, loss.loss(theta)]).unflatten(1, (2, -1)).cpu()


def _natural(loss: NetworkLoss, theta: Tensor, rate: float, steps: int) -> Tensor:
    """Return the losses (steps + 1, 2, E) of natural steps by the pseudo-inverse.

    Where F is nearly singular a step is as long as a ball of KL allows: 1/2 d^T F d is kept below
    rate^2 REACH / 2.
    """
    curves, zero = [], theta.new_zeros(1)
    for _ in range(steps):
        value, gradient = loss.gradient(theta)
        curves.append(value)
        spectrum = decompose(loss.gauss_newton(theta), gradient)
        step = directions(spectrum, METHODS["natural_gradient"], zero, cut=CUT)[0]
        # g^T F^-1 g is a number that no coordinates change, so the limit is equivariant as well
        reach = -(step * gradient).sum(1, keepdim=True)
        theta = theta + rate * step * (REACH / reach).sqrt().clamp(max=1.0)
    return torch.stack([*curves, loss.loss(theta)]).unflatten(1, (2, -1)).cpu()


def _gap(curves: Tensor) -> Tensor:
    """Return the largest |log loss - log loss| (E,) between the starts."""
    return (curves[:, 1].log() - curves[:, 0].log()).abs().amax(0)


def _add(rows: Rows, name: str, curves: Tensor, plan: Plan, steps: Sequence[int]) -> None:
    seeds = list(range(plan.seeds))
    for place, start in enumerate(STARTS):
        value = curves[:, place].numpy()
        bad = ~np.isfinite(value)
        status = np.where(bad, "diverged: loss is not finite", "ok")
        rows.add(arm=name, quantity="loss", value=np.where(bad, np.nan, value), status=status.tolist(),
                 step=np.array(steps)[:, None], seed=seeds, start=start)  # fmt: skip
