"""Draws of the random-matrix models of a Hessian, batched: what the closed forms are held against."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wishart(size: int, phi: float, draws: int, generator: torch.Generator) -> Tensor:
    """Return J J^T / K (draws, P, P) with J (P, K) standard normal and K = P / phi columns.

    Source: Pennington and Bahri 2017, section 3: R(G) = 1 / (1 - phi G).

    Raises:
        ValueError: where P / phi is no whole number.
    """
    columns = round(size / phi)
    if not math.isclose(columns * phi, size):
        raise ValueError(f"P / phi must be a whole number, got {size} / {phi}")
    j = torch.randn(draws, size, columns, generator=generator, dtype=torch.float64)
    return j @ j.transpose(1, 2) / columns


def wigner(size: int, energy: float, draws: int, generator: torch.Generator) -> Tensor:
    """Return symmetric Gaussian matrices (draws, P, P) whose semicircle has variance 2 eps.

    Source: Pennington and Bahri 2017, section 4: R(G) = 2 eps G.
    """
    a = torch.randn(draws, size, size, generator=generator, dtype=torch.float64)
    return (a + a.transpose(1, 2)) * math.sqrt(energy / size)


def relu_residual_part(
    width: int, energy: float, phi: float, draws: int, generator: torch.Generator
) -> Tensor:
    """Return H1 (draws, P, P) of a square ReLU network, P = 2 n^2, in the limit model.

    Parameters of different hidden units do not meet. Within one, first-layer weight b and
    second-layer weight k meet in sum of e_k x_b / m over the half of the examples that are active,
    here m / 2 of them; e has variance 2 eps, x is standard normal, m = 2 n / phi.

    Source: Pennington and Bahri 2017, section 5: R(G) = eps phi G / (2 - eps phi^2 G^2).

    Raises:
        ValueError: where n / phi is no whole number.
    """
    active = round(width / phi)
    if not math.isclose(active * phi, width):
        raise ValueError(f"n / phi must be a whole number, got {width} / {phi}")
    shape = (draws, width, width, active)
    residuals, inputs = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    block = residuals @ inputs.transpose(2, 3) * (math.sqrt(2 * energy) / (2 * active))
    hessian = block.new_zeros(draws, width, 2, width, width, 2, width)
    for unit in range(width):
        hessian[:, unit, 0, :, unit, 1] = block[:, unit].transpose(1, 2)
        hessian[:, unit, 1, :, unit, 0] = block[:, unit]
    return hessian.view(draws, 2 * width**2, 2 * width**2)


def rotate(matrices: Tensor, generator: torch.Generator) -> Tensor:
    """Return Q A Q^T with one Haar-distributed orthogonal Q per matrix (draws, P, P).

    Source: Pennington and Bahri 2017, Figure 2; Q from the QR of a Gaussian matrix, signs fixed.
    """
    a = torch.randn(matrices.shape, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(a)
    q = q * r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
    return q @ matrices.to(q) @ q.transpose(1, 2)
