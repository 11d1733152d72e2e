"""Figure 11: how the weights of a network are distributed, before and after a teleport."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import random_basis, teleport

UNITS = {
    "density": "1", "largest": "1", "median": "1", "quantile_999": "1", "beyond_start": "1",
    "control_distance": "1",
}  # fmt: skip
RESAMPLING = 41  # the purpose in a generator's key
EDGES = np.linspace(-0.9, 0.9, 1801)
LAYER_BINS = 1000  # of the authors' control


def rows(widths: tuple[int, ...], sigma: float, seeds: int, device: str, root_seed: int) -> Rows:
    """Add the histograms and what they are told by, of three arms."""
    found, layout = Rows(UNITS), Layout(widths)
    for seed in range(seeds):
        start = layout.initialise([seed], root_seed=root_seed, device=device)
        tau = random_basis(layout, [seed], sigma, root_seed=root_seed)
        moved = teleport(layout, start, tau)
        control = resampled(layout, moved, generator(root_seed, seed, RESAMPLING))
        bound = float(weights(layout, start)[0].abs().max())
        for arm, theta in (("default", start), ("teleported", moved), ("same histogram", control)):
            _add(found, arm, weights(layout, theta)[0], bound, seed)
        gap = _distance(weights(layout, moved)[0], weights(layout, control)[0])
        found.add(arm="same histogram", quantity="control_distance", value=gap, seed=seed)
    return found


def weights(layout: Layout, theta: Tensor) -> Tensor:
    """Return all weights (E, ...) without thresholds."""
    return torch.cat([weight.flatten(1) for weight, _ in layout.views(theta)], 1)


def resampled(layout: Layout, theta: Tensor, source: torch.Generator) -> Tensor:
    """Draw weights and thresholds of every layer anew from the histogram of its weights.

    Source: the authors' code, which draws from 1000 bins of a layer's weights; uniform within a
    bin here. Thresholds are left as they are.
    """
    drawn = theta.clone()
    for weight, _ in layout.views(drawn):
        values = weight.flatten().double().cpu()
        low, high = values.min(), values.max()
        counts = torch.histc(values, LAYER_BINS, float(low), float(high))
        ends = counts.cumsum(0) / counts.sum()
        chosen, within = torch.rand(2, len(values), generator=source, dtype=torch.float64)
        where = torch.searchsorted(ends, chosen)
        fresh = low + (where.clamp(max=LAYER_BINS - 1) + within) * (high - low) / LAYER_BINS
        weight.copy_(fresh.view(weight.shape))
    return drawn


def _add(found: Rows, arm: str, values: Tensor, bound: float, seed: int) -> None:
    sizes = values.abs().double().cpu().numpy()
    density, _ = np.histogram(values.double().cpu().numpy(), EDGES, density=True)
    found.add(arm=arm, quantity="density", value=density, seed=seed, index=np.arange(len(density)))
    for quantity, value in (
        ("largest", sizes.max()),
        ("median", np.median(sizes)),
        ("quantile_999", np.quantile(sizes, 0.999)),
        ("beyond_start", (sizes > bound).mean()),
    ):
        found.add(arm=arm, quantity=quantity, value=value, seed=seed)


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two distribution functions, at 20,000 places."""
    reach = float(max(one.abs().max(), other.abs().max()))
    counts = [torch.histc(own.double().cpu(), 20_000, -reach, reach) for own in (one, other)]
    gap = (counts[0] / counts[0].sum() - counts[1] / counts[1].sum()).cumsum(0)
    return float(gap.abs().max())
