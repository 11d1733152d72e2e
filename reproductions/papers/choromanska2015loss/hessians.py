"""Eigenvalues of the exact Hessian at trained networks, and how near those are to critical points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.network_hessian import network_curvature
from reproductions.optim.train import Outcome
from reproductions.papers.choromanska2015loss import training

Progress = Callable[..., None]
GROUP_BYTES = 128 << 20  # of Hessians at a time
WHOLE_SPECTRUM = 3000  # parameters up to which every eigenvalue of the first solution is kept
THINNED = 1000  # eigenvalues kept of a longer one, evenly by rank
TRAINING = 0.25  # of a width's time, roughly
SOLUTION = "solution"
UNITS = {
    "negative_eigenvalues": "1", "gradient_norm": "nat", "train_loss": "nat",
    "smallest_eigenvalue": "nat", "largest_eigenvalue": "nat", "eigenvalue": "nat",
    "parameters": "1",
}  # fmt: skip


class Solution(NamedTuple):
    """What is known of the training loss around one trained network."""

    loss: float
    gradient_norm: float
    eigenvalues: np.ndarray  # (P,) ascending


def indices(
    pixels: training.Pixels,
    widths: list[int],
    seeds: list[int],
    thresholds: list[float],
    plan: training.Plan,
    progress: Progress,
) -> Rows:
    """Train networks of every width and count the eigenvalues of their Hessians below -threshold.

    The Hessian is that of the mean training loss over all images, in float64.

    Args:
        seeds: solutions of each width.

    Raises:
        ValueError: where seeds and widths differ in number.
    """
    if len(seeds) != len(widths):
        raise ValueError(f"seeds must be one number a width ({len(widths)}), got {len(seeds)}")
    rows, done = Rows(UNITS), 0.0
    work = [number * width**2 for width, number in zip(widths, seeds, strict=True)]
    for width, number, own in zip(widths, seeds, work, strict=True):
        share = own / sum(work)
        tell = training.part(progress, done, TRAINING * share)
        outcome = training.solve(pixels, width, range(number), plan, tell)
        tell = training.part(progress, done + TRAINING * share, (1 - TRAINING) * share)
        add_solutions(rows, pixels, width, outcome, thresholds, tell)
        done += share
    return rows


def add_solutions(
    rows: Rows,
    pixels: training.Pixels,
    width: int,
    outcome: Outcome,
    thresholds: Sequence[float],
    progress: Progress,
) -> None:
    """Add what is known of every trained network; one that diverged is a row with its status."""
    size = training.layout(width).parameters
    nothing = Solution(np.nan, np.nan, np.full(size, np.nan))
    status = np.array(outcome.status(), dtype=object)
    whole = np.flatnonzero(status == "ok")
    found = [nothing] * len(status)
    theta = outcome.theta[torch.as_tensor(whole, device=outcome.theta.device)].double()
    for done, (seed, one) in enumerate(zip(whole, solutions(pixels, width, theta), strict=True), 1):
        found[seed] = one
        progress(done / len(whole), f"Hessian {done} of {len(whole)}, {width} hidden units")
        if not np.isfinite(one.eigenvalues).all():
            status[seed] = "diverged: the Hessian is not finite"
    said = [str(word) for word in status]
    _add(rows, width, found, said, thresholds)
    _add_spectrum(rows, width, found[0].eigenvalues, said[0])


def solutions(pixels: training.Pixels, width: int, theta: Tensor) -> Iterator[Solution]:
    """Yield loss, gradient norm and eigenvalues at theta (E, P), a group of Hessians at a time."""
    layout = training.layout(width)
    group = max(1, GROUP_BYTES // (layout.parameters**2 * theta.element_size()))
    for some in theta.split(group) if len(theta) else ():
        found = network_curvature(layout, some, pixels.train, pixels.labels, activations="relu")
        norms = torch.linalg.vector_norm(found.gradient, dim=1)
        for loss, norm, hessian in zip(found.loss, norms, found.hessian, strict=True):
            yield Solution(float(loss), float(norm), _eigenvalues(hessian))


def _eigenvalues(hessian: Tensor) -> np.ndarray:
    if not bool(hessian.isfinite().all()):
        return np.full(len(hessian), np.nan)
    return torch.linalg.eigvalsh(hessian).cpu().numpy()


def _add(
    rows: Rows,
    width: int,
    found: Sequence[Solution],
    status: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    seed = np.arange(len(found))
    eigenvalues = np.stack([one.eigenvalues for one in found])
    below = eigenvalues[:, :, None] < -np.asarray(thresholds)
    counts = np.where(np.isnan(eigenvalues[:, :1]), np.nan, below.sum(1))
    rows.add(
        arm=SOLUTION, quantity="negative_eigenvalues", value=counts, seed=seed[:, None],
        status=np.array(status)[:, None], width=width, threshold=np.asarray(thresholds),
    )  # fmt: skip
    numbers = {
        "train_loss": [one.loss for one in found],
        "gradient_norm": [one.gradient_norm for one in found],
        "smallest_eigenvalue": eigenvalues[:, 0],
        "largest_eigenvalue": eigenvalues[:, -1],
    }
    for quantity, values in numbers.items():
        rows.add(
            arm=SOLUTION, quantity=quantity, value=values, seed=seed, status=status, width=width
        )
    rows.add(arm=SOLUTION, quantity="parameters", value=eigenvalues.shape[1], width=width)


def _add_spectrum(rows: Rows, width: int, eigenvalues: np.ndarray, status: str) -> None:
    """Add the eigenvalues of the first solution in order; `index` is the rank from the smallest."""
    size = len(eigenvalues)
    count = size if size <= WHOLE_SPECTRUM else THINNED
    rank = np.linspace(0, size - 1, count).round().astype(int)
    rows.add(
        arm=SOLUTION, quantity="eigenvalue", value=eigenvalues[rank], index=rank, status=status,
        width=width,
    )  # fmt: skip
