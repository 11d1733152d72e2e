"""The two starts: what they have in common, Figure 1 a, and how fast rounding parts Path-SGD."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_norm, path_scaling
from reproductions.optim.rescaling import rescale
from reproductions.optim.train import Batches, Outcome, Snapshot, minibatches, train
from reproductions.papers.neyshabur2015path.networks import (
    STARTS,
    Images,
    Progress,
    factors,
    part,
    starts,
    told,
    transform,
)
from reproductions.problems.mlp import MLP

UNITS = {
    "train_loss": "nat", "weight_gap": "1", "output_difference": "1", "units_rescaled": "1",
    "path_norm": "1", "kappa_mean": "1", "kappa_quantile": "1", "expected_kappa": "1",
}  # fmt: skip
QUANTILES = np.linspace(0, 1, 41)
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
MARKS_PER_EPOCH = 2


class Plan(NamedTuple):
    """How the starts are held against each other; see the room's configuration."""

    hidden: int
    epochs: int
    batch: int
    seeds: int
    sgd_alphas: list[int]
    path_alpha: int
    root_seed: int


def rows(data: Images, plan: Plan, progress: Progress) -> Rows:
    """Describe both starts, then train SGD and Path-SGD from them."""
    found, layout = Rows(UNITS), data.network(plan.hidden)
    _describe(found, data, layout, plan)
    _sgd(found, data, layout, plan, part(progress, 0.05, 0.45))
    for number, precision in enumerate(PRECISIONS):
        _path(found, data, layout, plan, precision, part(progress, 0.5 + 0.25 * number, 0.25))
    return found


def _describe(found: Rows, data: Images, layout: Layout, plan: Plan) -> None:
    """Add what both starts are: the same function, path norm and kappa layer by layer."""
    seeds = np.arange(plan.seeds)
    both = starts(layout, range(plan.seeds), plan.root_seed, str(data.train.device))
    outputs = [_outputs(layout, both[:, k], data.test[:1000]) for k in (0, 1)]
    size = outputs[0].square().mean((1, 2)).sqrt()
    gap = (outputs[1] - outputs[0]).abs().amax((1, 2)) / size
    found.add(arm="start", quantity="output_difference", value=gap.cpu(), seed=seeds)
    drawn = torch.cat(factors(layout, range(plan.seeds), plan.root_seed), 1)
    found.add(
        arm="start", quantity="units_rescaled", value=(drawn != 1).double().mean(1), seed=seeds
    )
    found.add(arm="start", quantity="expected_kappa", value=data.classes / plan.hidden)
    for number, start in enumerate(STARTS):
        norm = path_norm(layout, both[:, number]) / data.classes
        found.add(arm="start", quantity="path_norm", value=norm.cpu(), seed=seeds, start=start)
        kappas = layout.views(path_scaling(layout, both[:, number]))
        for layer, (kappa, _) in enumerate(kappas, start=1):
            scale = data.classes / plan.hidden if layer < len(kappas) else 1.0
            given = (kappa.mean((1, 2)) / scale).cpu()
            found.add(arm="start", quantity="kappa_mean", value=given, seed=seeds, start=start,
                      layer=layer)  # fmt: skip
            spread = np.quantile(kappa[0].cpu().numpy(), QUANTILES)
            found.add(arm="start", quantity="kappa_quantile", value=spread, start=start,
                      layer=layer, index=np.arange(len(QUANTILES)))  # fmt: skip


def _outputs(layout: Layout, theta: Tensor, x: Tensor) -> Tensor:
    """Return the outputs (S, N, K)."""
    hidden = x.expand(len(theta), -1, -1)
    for depth, (weight, bias) in enumerate(layout.views(theta)):
        hidden = torch.baddbmm(bias[:, None], hidden, weight)
        hidden = torch.relu(hidden) if depth < len(layout.layers) - 1 else hidden
    return hidden


def _sgd(found: Rows, data: Images, layout: Layout, plan: Plan, progress: Progress) -> None:
    """Train SGD from both starts with every step size (Figure 1 a)."""
    members = [
        (seed, start, alpha)
        for seed in range(plan.seeds)
        for start in range(2)
        for alpha in plan.sgd_alphas
    ]
    seed, start, alpha = (np.array(column) for column in zip(*members, strict=True))
    both = starts(layout, range(plan.seeds), plan.root_seed, str(data.train.device))
    indices = minibatches(len(data.train), plan.batch, range(plan.seeds), plan.root_seed)
    marks = [epoch * indices.per_epoch for epoch in range(plan.epochs + 1)]
    problem = MLP(layout)

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        return {"train_loss": problem.evaluate(seen.theta, data.train, data.labels)[0]}

    outcome = train(
        problem, transform("sgd", layout, [10.0**-a for a in alpha.tolist()]),
        both[seed, start], Batches(data.train, data.labels, indices), steps=marks[-1],
        record_at=marks, observe=observe, progress=progress,
    )  # fmt: skip
    value = outcome.records["train_loss"].double().numpy()
    found.add(
        arm="sgd", quantity="train_loss", value=value, seed=seed,
        step=np.arange(plan.epochs + 1)[:, None], status=told(value, outcome.status_at()),
        start=np.array(STARTS)[start], alpha=alpha,
    )  # fmt: skip


def _path(
    found: Rows, data: Images, layout: Layout, plan: Plan, precision: str, progress: Progress
) -> None:
    """Train Path-SGD from both starts and record how far apart the two are."""
    dtype, seeds = PRECISIONS[precision], range(plan.seeds)
    both = starts(layout, seeds, plan.root_seed, str(data.train.device), dtype)
    back = [1 / own for own in factors(layout, seeds, plan.root_seed)]
    problem, pixels = MLP(layout), data.train.to(dtype)
    indices = minibatches(len(pixels), plan.batch, seeds, plan.root_seed)
    steps = plan.epochs * indices.per_epoch
    marks = sorted({round(k * steps / (plan.epochs * MARKS_PER_EPOCH)) for k in
                    range(plan.epochs * MARKS_PER_EPOCH + 1)} | {1, 2, 3, 5, 8} & set(range(steps)))  # fmt: skip

    def observe(seen: Snapshot) -> dict[str, Tensor]:
        loss, _ = problem.evaluate(seen.theta, pixels, data.labels)
        pair = seen.theta.double().unflatten(0, (-1, 2))
        apart = rescale(layout, pair[:, 1], back) - pair[:, 0]
        gap = apart.norm(dim=1) / pair[:, 0].norm(dim=1)
        return {"train_loss": loss, "weight_gap": gap}

    rates = [10.0**-plan.path_alpha] * (2 * plan.seeds)
    outcome = train(
        problem, transform("path_sgd", layout, rates), both.flatten(0, 1),
        Batches(pixels, data.labels, indices), steps=steps, record_at=marks, observe=observe,
        progress=progress,
    )  # fmt: skip
    _add_path(found, outcome, plan, precision, indices.per_epoch)


def _add_path(found: Rows, outcome: Outcome, plan: Plan, precision: str, per_epoch: int) -> None:
    step, seeds = np.array(outcome.steps), np.arange(plan.seeds)
    status = np.array(outcome.status_at())
    loss = outcome.records["train_loss"].double().numpy()
    gap = outcome.records["weight_gap"].double().numpy()
    common = {"arm": "path_sgd", "precision": precision, "alpha": plan.path_alpha}
    said = told(loss, status)
    for number, start in enumerate(STARTS):
        found.add(
            quantity="train_loss", value=loss[:, number::2], seed=seeds, step=step[:, None],
            status=said[:, number::2], start=start, epoch=step[:, None] / per_epoch, **common,
        )  # fmt: skip
    found.add(
        quantity="weight_gap", value=gap, seed=seeds, step=step[:, None],
        status=told(gap, status[:, ::2]), epoch=step[:, None] / per_epoch, **common,
    )  # fmt: skip
