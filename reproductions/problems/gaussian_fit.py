"""The fit of a normal distribution by maximum likelihood, in several coordinates.

The smallest problem whose Fisher matrix changes from point to point: its two parameters are mean
and standard deviation, and each chart below gives both from other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class GaussianFit:
    """Mean negative log-likelihood, in nat, of (mu, sigma) on data of given mean and spread.

    Args:
        mean, deviation: of the data; the least loss is there.
    """

    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation

    def loss(self, theta: Tensor) -> Tensor:
        """Return log sigma + ((mu - mean)^2 + deviation^2) / (2 sigma^2), without the constant."""
        mu, sigma = theta.unbind(1)
        return sigma.log() + self._squares(mu) / (2 * sigma**2)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, 2)."""
        mu, sigma = theta.unbind(1)
        along = (mu - self.mean) / sigma**2
        across = 1 / sigma - self._squares(mu) / sigma**3
        return self.loss(theta), torch.stack([along, across], 1)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return the Fisher matrix diag(1, 2) / sigma^2 (E, 2, 2)."""
        sigma = theta[:, 1:]
        return torch.diag_embed(torch.cat([1 / sigma**2, 2 / sigma**2], 1))

    def _squares(self, mu: Tensor) -> Tensor:
        return (mu - self.mean) ** 2 + self.deviation**2


class Chart(NamedTuple):
    """Coordinates theta (E, 2) of (mu, sigma), there and back, and the Jacobian of the way there."""

    original: Callable[[Tensor], Tensor]
    coordinates: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]


def _deviation_jacobian(theta: Tensor) -> Tensor:
    return torch.eye(2, dtype=theta.dtype, device=theta.device).expand(len(theta), 2, 2)


def _from_log(theta: Tensor) -> Tensor:
    return torch.stack([theta[:, 0], theta[:, 1].exp()], 1)


def _to_log(point: Tensor) -> Tensor:
    return torch.stack([point[:, 0], point[:, 1].log()], 1)


def _log_jacobian(theta: Tensor) -> Tensor:
    sigma = theta[:, 1].exp()
    return torch.diag_embed(torch.stack([torch.ones_like(sigma), sigma], 1))


def _from_precision(theta: Tensor) -> Tensor:
    sigma = theta[:, 1].rsqrt()
    return torch.stack([theta[:, 0] * sigma**2, sigma], 1)


def _to_precision(point: Tensor) -> Tensor:
    precision = point[:, 1] ** -2
    return torch.stack([point[:, 0] * precision, precision], 1)


def _precision_jacobian(theta: Tensor) -> Tensor:
    first, precision = theta.unbind(1)
    mu = torch.stack([1 / precision, -first / precision**2], 1)
    sigma = torch.stack([torch.zeros_like(precision), -(precision**-1.5) / 2], 1)
    return torch.stack([mu, sigma], 1)


# (mu, sigma), (mu, log sigma) and (mu / sigma^2, 1 / sigma^2)
CHARTS = {
    "deviation": Chart(lambda theta: theta, lambda point: point, _deviation_jacobian),
    "logarithm": Chart(_from_log, _to_log, _log_jacobian),
    "precision": Chart(_from_precision, _to_precision, _precision_jacobian),
}
