"""The two parts of a ReLU network's Hessian on random data: Figures 3, 4 and 5."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.papers.pennington2017geometry.teachers import network
from reproductions.papers.pennington2017geometry.theory_rows import RESIDUAL, add_density

UNITS = {"eigenvalue": "1", "variance": "1", "density": "1", "gap": "1", "null": "1"}
RESIDUALS = 21  # purpose of a generator
ZERO = 1e-10  # of the largest eigenvalue
Progress = Callable[..., None]


def error_signals(
    width: int, examples: Sequence[int], energy: float, seeds: int, device: str, root_seed: int,
    progress: Progress,
) -> Rows:  # fmt: skip
    """Replace the residuals by noise of variance 2 eps and take the spectrum of H1 (Figure 3).

    The closed form is added at 2n/m, the paper's definition of phi, and at n/m.
    """
    rows, seed = Rows(UNITS), np.arange(seeds)
    for done, count in enumerate(examples):
        net, theta = network(width, count, range(seeds), root_seed, device, "relu")
        noise = [_noise(net.targets.shape[1:], root_seed, one, count) for one in range(seeds)]
        residual = torch.stack(noise).to(theta.device) * (2 * energy) ** 0.5
        values = torch.linalg.eigvalsh(net.parts(theta, residual).residual).cpu().numpy()
        where = {"examples": count, "width": width}
        rows.add(arm="network", quantity="eigenvalue", value=values, seed=seed[:, None],
                 index=np.arange(values.shape[1]), **where)  # fmt: skip
        rows.add(arm="network", quantity="variance", value=(values**2).mean(1), seed=seed, **where)
        for phi in (width / count, 2 * width / count):
            add_density(rows, RESIDUAL, energy, phi, 240)
        progress((done + 1) / len(examples), f"{count} examples")
    return rows


def _noise(shape: torch.Size, root_seed: int, seed: int, count: int) -> torch.Tensor:
    source = generator(root_seed, seed, count, RESIDUALS)
    return torch.randn(shape, generator=source, dtype=torch.float64)


def jacobian(
    width: int, examples: Sequence[int], shown: int, seeds: int, device: str, root_seed: int,
    progress: Progress,
) -> Rows:  # fmt: skip
    """Take the spectrum of H0 of networks at their random start (Figures 4 and 5).

    A hidden unit's scale can move from its incoming to its outgoing weights, so that H0 has `width`
    null directions at least; the gap is the smallest eigenvalue beyond these.

    Args:
        shown: number of examples at which every eigenvalue of the first network is kept.
    """
    rows, seed = Rows(UNITS), np.arange(seeds)
    for done, count in enumerate(dict.fromkeys((*examples, shown))):
        net, theta = network(width, count, range(seeds), root_seed, device, "relu")
        values = torch.linalg.eigvalsh(net.parts(theta).gauss_newton).cpu().numpy()
        where = {"examples": count, "width": width, "phi": 2 * width / count}
        null = (values < ZERO * values[:, -1:]).sum(1)
        rows.add(arm="network", quantity="gap", value=np.abs(values[:, width]), seed=seed, **where)
        rows.add(arm="network", quantity="null", value=null, seed=seed, **where)
        if count == shown:
            rows.add(arm="network", quantity="eigenvalue", value=values[0],
                     index=np.arange(values.shape[1]), **where)  # fmt: skip
        progress((done + 1) / (len(examples) + 1), f"{count} examples")
    return rows
