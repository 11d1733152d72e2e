"""Spectra of sums: drawn matrices against the models, and a trained network against rotation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.first_order import adam
from reproductions.papers.pennington2017geometry import theory_rows
from reproductions.problems import random_matrix as matrices
from reproductions.problems import random_matrix_draws as draws
from reproductions.problems.two_layer import TwoLayer

UNITS = {
    "eigenvalue": "1", "distance": "1", "index": "1", "index_in_theory": "1", "density": "1",
    "energy": "1", "gradient_square": "1", "largest": "1",
}  # fmt: skip
MATRICES, WEIGHTS, ROTATION = 1, 2, 3  # purposes of generators

Progress = Callable[..., None]


def monte_carlo(
    width: int, phis: Sequence[float], energies: Sequence[float], seeds: int, root_seed: int,
    progress: Progress,
) -> Rows:  # fmt: skip
    """Draw matrices of both models and hold their eigenvalues against the closed forms.

    `distance` is Kolmogorov's, between the eigenvalues of one matrix and the model.
    """
    rows = Rows(UNITS)
    pairs = [(phi, energy) for phi in phis for energy in energies]
    for done, (phi, energy) in enumerate(pairs):
        for number, arm in enumerate((theory_rows.WIGNER, theory_rows.RELU)):
            model = theory_rows.MODELS[arm](energy, phi)
            where = {"arm": arm, "phi": phi, "energy": energy}
            keys = [(root_seed, seed, done, number) for seed in range(seeds)]
            values = np.stack([_draw(arm, width, phi, energy, key) for key in keys])
            for seed, own in enumerate(values):
                gap = kolmogorov(own, matrices.cumulative(model, own))
                rows.add(quantity="distance", value=gap, seed=seed, **where)
                rows.add(quantity="index", value=(own < 0).mean(), seed=seed, **where)
            rows.add(quantity="index_in_theory", value=matrices.index(model), **where)
            rows.add(quantity="eigenvalue", value=values[0], index=np.arange(values.shape[1]),
                     **where)  # fmt: skip
            theory_rows.add_density(rows, arm, energy, phi, 120)
        progress((done + 1) / len(pairs), f"phi = {phi:g}, energy {energy:g}")
    return rows


def _draw(arm: str, width: int, phi: float, energy: float, key: tuple[int, ...]) -> np.ndarray:
    """Return the eigenvalues of one draw."""
    source, size = generator(*key, MATRICES), 2 * width**2
    matrix = draws.wishart(size, phi, 1, source)
    if arm == theory_rows.WIGNER:
        matrix += draws.wigner(size, energy, 1, source)
    else:
        matrix += draws.relu_residual_part(width, energy, phi, 1, source)
    return torch.linalg.eigvalsh(matrix)[0].numpy()


def kolmogorov(values: np.ndarray, cumulative: np.ndarray) -> float:
    """Return the largest distance of the values' distribution, ascending, from a continuous one."""
    ranks = np.arange(len(values) + 1) / len(values)
    return float(max((ranks[1:] - cumulative).max(), (cumulative - ranks[:-1]).max()))


def whitened(images: np.ndarray, count: int, side: int) -> Tensor:
    """Return the first images, grey, shrunk by averaging blocks, whitened; (side^2, count)."""
    grey = images[:count].astype(np.float64)
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    block = grey.shape[1] // side
    small = grey.reshape(count, side, block, side, block).mean((2, 4)).reshape(count, -1)
    centred = small - small.mean(0)
    u, _, vt = np.linalg.svd(centred, full_matrices=False)
    return torch.from_numpy(np.ascontiguousarray((u @ vt).T * np.sqrt(count)))


def freeness(
    data: Dataset, images: int, side: int, hidden: int, seeds: int, stops: Sequence[int],
    rate: float, device: str, root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Train ReLU autoencoders and compare H0 + H1 with H0 + Q H1 Q^T, Q a random rotation.

    Each stop is a training of its own from the same start, its rate falling to zero at the stop.
    Arm "alone" is H0 without H1: what the rotated sum has to beat.
    """
    x = whitened(data.train_images, images, side).to(device).expand(seeds, -1, -1)
    net = TwoLayer(x, x, hidden, "relu")
    start = torch.stack(
        [_start(net, generator(root_seed, seed, WEIGHTS)) for seed in range(seeds)]
    ).to(device)
    rows = Rows(UNITS)
    for stop in stops:
        _add_sums(rows, net, _train(net, start, stop, rate, progress), stop, root_seed)
    return rows


def _add_sums(rows: Rows, net: TwoLayer, theta: Tensor, stop: int, root_seed: int) -> None:
    """Add the spectra of H0 + H1, of H0 + Q H1 Q^T and of H0 alone at the members' points."""
    energy = net.energy(theta)
    square = net.gradient(theta)[1].square().sum(1)
    seed = np.arange(len(theta))
    for quantity, numbers in (("energy", energy), ("gradient_square", square)):
        rows.add(arm="network", quantity=quantity, value=numbers.cpu().numpy(), seed=seed,
                 stop=stop)  # fmt: skip
    parts = net.parts(theta)
    turned = [
        draws.rotate(parts.residual[one : one + 1].cpu(), generator(root_seed, one, ROTATION))
        for one in range(len(theta))
    ]
    sums = {
        "sum": parts.gauss_newton + parts.residual,
        "rotated": parts.gauss_newton + torch.cat(turned).to(theta.device),
        "alone": parts.gauss_newton,
    }
    found = {arm: torch.linalg.eigvalsh(matrix).cpu().numpy() for arm, matrix in sums.items()}
    for arm, values in found.items():
        rows.add(arm=arm, quantity="eigenvalue", value=values, seed=seed[:, None],
                 index=np.arange(values.shape[1]), stop=stop)  # fmt: skip
        rows.add(arm=arm, quantity="largest", value=values[:, -1], seed=seed, stop=stop)
        rows.add(arm=arm, quantity="index", value=(values < 0).mean(1), seed=seed, stop=stop)


def _start(net: TwoLayer, source: torch.Generator) -> Tensor:
    draw = torch.randn(net.parameters, generator=source, dtype=torch.float64)
    draw[: net.split] /= net.inputs.shape[1] ** 0.5
    draw[net.split :] /= net.width**0.5
    return draw


def _train(net: TwoLayer, theta: Tensor, steps: int, rate: float, progress: Progress) -> Tensor:
    """Descend with Adam, its rate falling to zero in a line."""
    method = adam(rate)
    state = method.init(theta)
    for step in range(steps):
        change, state = method.update(net.gradient(theta)[1], state, theta)
        theta = theta + change * (1 - step / steps)
        if step % 200 == 0:
            progress(step / steps, f"step {step} of {steps}")
    return theta
