"""The density of a Hessian's eigenvalues by stochastic Lanczos quadrature, without the Hessian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.curvature import Product, lanczos, random_direction, ritz


class Quadrature(NamedTuple):
    """A spectrum as weighted nodes, of R probes; every probe's weights sum to 1.

    The mean over probes is the estimate. `Quadrature(nodes[:n], weights[:n])` is that of n probes,
    and the spread over single probes tells the sampling error.
    """

    nodes: Tensor  # (R, E, Q)
    weights: Tensor  # (R, E, Q)

    def density(self, grid: Tensor, width: float) -> Tensor:
        """Return the density (E, G) on the grid (G,): each node a Gaussian of that width.

        Raises:
            ValueError: where the width is not positive.
        """
        if not width > 0:
            raise ValueError(f"width must be positive, got {width!r}")
        probes, members, _ = self.nodes.shape
        total = self.nodes.new_zeros(members, len(grid))
        for nodes, weights in zip(self.nodes, self.weights, strict=True):
            away = (grid.to(nodes) - nodes.unsqueeze(-1)) / width
            total += torch.einsum("eq,eqg->eg", weights, (-away.square() / 2).exp())
        return total / (probes * width * math.sqrt(2 * math.pi))

    def mass_below(self, threshold: float | Sequence[float] | Tensor) -> Tensor:
        """Return the fraction of eigenvalues below a threshold, (E,), or below T of them, (E, T).

        A node stands for the eigenvalues around it, so the answer is as sharp as nodes are dense:
        between two thresholds with many nodes between them it is good, beside a lone node it is
        off by up to that node's weight. In a peak at zero "below zero" is of the second kind.
        """
        levels = torch.as_tensor(threshold, dtype=self.nodes.dtype, device=self.nodes.device)
        below = self.nodes.unsqueeze(-1) < levels.reshape(-1)
        mass = (below * self.weights.unsqueeze(-1)).sum(-2).mean(0)
        return mass if levels.dim() else mass.squeeze(-1)

    def moment(self, order: int) -> Tensor:
        """Return the mean (E,) of the eigenvalues' powers, right in expectation below order 2 Q."""
        return (self.weights * self.nodes**order).sum(-1).mean(0)


def spectral_density(
    product: Product,
    like: Tensor,
    *,
    probes: int,
    steps: int,
    source: torch.Generator,
    reorthogonalise: bool = True,
    at_once: int | None = None,
) -> Quadrature:
    """Return the spectrum of every member as the nodes and weights of Lanczos quadratures.

    Source: Ubaru, Chen and Saad 2017, Algorithm 1, with probes uniform on the sphere, for which
    tr f(H) / P is the exact expectation. For nodes and weights see `ritz`.

    Cost: R Q products, R of them at a time, and R Q E P numbers of memory, less with `at_once`.

    Args:
        product: vectors (R, E, P) -> their products with the Hessian, of the same shape.
        like: any tensor (E, P) that says members, size, dtype and device.
        probes: R, random directions, the same for all members. The error falls with sqrt(R P).
        steps: Q, nodes a probe; about the range of eigenvalues over the width to be resolved.
        source: draws the probes, one after the other: more probes keep the first ones.
        reorthogonalise: see `lanczos`. Without it weight moves to copies of converged nodes, which
            hardly changes a density.
        at_once: probes that go together; all of them by default.

    Raises:
        ValueError: where a count is not positive.
    """
    if probes < 1 or (at_once is not None and at_once < 1):
        raise ValueError(f"probes and at_once must be at least 1, got {probes} and {at_once}")
    members, size = like.shape
    drawn = torch.stack([random_direction(size, source) for _ in range(probes)]).to(like)
    starts = drawn.unsqueeze(1).expand(probes, members, size).split(at_once or probes)
    runs = [lanczos(product, start, steps, reorthogonalise=reorthogonalise) for start in starts]
    parts = [ritz(run)[:2] for run in runs]
    return Quadrature(*(torch.cat(kind) for kind in zip(*parts, strict=True)))
