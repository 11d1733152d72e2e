"""Networks with one hidden layer and no biases, each with its own data: loss and exact derivatives.

With inputs X (D, N), a = W1 X, h = f(a), residuals e = W2 h - Y (K, N):

    loss = |e|^2 / (2 N),  theta = [W1 (H, D) by rows, W2 (K, H) by rows],  P = H (D + K)

and the Hessian is H0 + H1, the Gauss-Newton part and what the residuals add, where W1_ib and W2_kj
stand for the parameters and sums run over the examples:

    H0: (W1_ib, W1_jc)  f'_i x_b f'_j x_c (W2^T W2)_ij / N     H1: (i = j) x_b x_c f''_i (W2^T e)_i / N
        (W1_ib, W2_kj)  f'_i x_b W2_ki h_j / N                     (i = j) f'_i x_b e_k / N
        (W2_kj, W2_lm)  (k = l) h_j h_m / N                        0

Each is a product of two things of size (number of parameters of a layer) x N, or a block of one.

Source: Pennington and Bahri 2017, section 2: the energy per output is eps = loss / K.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor


class Curvature(NamedTuple):
    """A loss and its derivatives, of every member."""

    loss: Tensor  # (E,)
    gradient: Tensor  # (E, P)
    hessian: Tensor  # (E, P, P), exactly symmetric


class Parts(NamedTuple):
    """The two parts of the Hessian, of every member."""

    gauss_newton: Tensor  # (E, P, P): H0, positive semidefinite
    residual: Tensor  # (E, P, P): H1, linear in the residuals


class _Pass(NamedTuple):
    """What a forward pass leaves behind, of every member."""

    first: Tensor  # (E, H, D) W1
    second: Tensor  # (E, K, H) W2
    hidden: Tensor  # (E, H, N) f
    slope: Tensor  # (E, H, N) f'
    bend: Tensor  # (E, H, N) f''
    residual: Tensor  # (E, K, N) e
    back: Tensor  # (E, H, N) W2^T e


def _tanh(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = a.tanh()
    slope = 1 - h * h
    return h, slope, -2 * h * slope


def _relu(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return a.relu(), (a > 0).to(a.dtype), torch.zeros_like(a)


def _linear(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return a, torch.ones_like(a), torch.zeros_like(a)


ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "tanh": _tanh,
    "relu": _relu,
    "linear": _linear,
}


class TwoLayer:
    """The squared loss of an ensemble of two-layer networks, every member on its own data.

    Args:
        inputs: X (E, D, N).
        targets: Y (E, K, N).
        width: hidden units H.
        activation: "tanh", "relu" (slope 0 at a kink, whose own curvature does not count) or
            "linear".

    Raises:
        ValueError: shapes that do not fit, a width below 1, or an activation nobody knows.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, width: int, activation: str) -> None:
        if inputs.ndim != 3 or targets.ndim != 3 or inputs.shape[::2] != targets.shape[::2]:
            shapes = f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
            raise ValueError(f"inputs and targets must be (E, D, N) and (E, K, N), got {shapes}")
        if width < 1 or activation not in ACTIVATIONS:
            raise ValueError(f"no {activation!r} network of {width} hidden units")
        self.inputs, self.targets, self.width = inputs, targets, width
        self.activation = activation
        self.split = width * inputs.shape[1]
        self.parameters = self.split + width * targets.shape[1]

    def part(self, which: Tensor) -> TwoLayer:
        """Return the objective of some members alone."""
        return TwoLayer(self.inputs[which], self.targets[which], self.width, self.activation)

    def energy(self, theta: Tensor) -> Tensor:
        """Return eps = loss / K (E,), half the mean squared residual."""
        return self.loss(theta) / self.targets.shape[1]

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at theta (E, P)."""
        first, second = self._weights(theta)
        hidden = ACTIVATIONS[self.activation](first @ self.inputs)[0]
        return self._loss(torch.baddbmm(self.targets, second, hidden, beta=-1))

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, P)."""
        at = self._forward(theta)
        return self._loss(at.residual), self._gradient(at)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors."""
        at = self._forward(theta)
        if vectors.ndim == 2:
            return self._product(at, vectors)
        return torch.stack([self._product(at, vector) for vector in vectors])

    def gradient_and_product(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, its gradient g and H g, the gradient of |g|^2 / 2, from one pass."""
        at = self._forward(theta)
        gradient = self._gradient(at)
        return self._loss(at.residual), gradient, self._product(at, gradient)

    def curvature(self, theta: Tensor) -> Curvature:
        """Return loss, gradient and dense Hessian."""
        at = self._forward(theta)
        parts = self._parts(at)
        hessian = parts.gauss_newton.add_(parts.residual)
        hessian = (hessian + hessian.mT).mul_(0.5)  # products are symmetric to rounding only
        return Curvature(self._loss(at.residual), self._gradient(at), hessian)

    def parts(self, theta: Tensor, residual: Tensor | None = None) -> Parts:
        """Return H0 and H1.

        Args:
            residual: (E, K, N) to take in place of the network's own in H1.
        """
        at = self._forward(theta)
        if residual is not None:
            at = at._replace(residual=residual, back=at.second.transpose(1, 2) @ residual)
        return self._parts(at)

    def _weights(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        members, outputs = len(theta), self.targets.shape[1]
        first = theta[:, : self.split].reshape(members, self.width, -1)
        return first, theta[:, self.split :].reshape(members, outputs, self.width)

    def _loss(self, residual: Tensor) -> Tensor:
        return residual.square().sum((1, 2)) / (2 * residual.shape[2])

    def _forward(self, theta: Tensor) -> _Pass:
        first, second = self._weights(theta)
        hidden, slope, bend = ACTIVATIONS[self.activation](first @ self.inputs)
        residual = torch.baddbmm(self.targets, second, hidden, beta=-1)
        back = second.transpose(1, 2) @ residual
        return _Pass(first, second, hidden, slope, bend, residual, back)

    def _join(self, first: Tensor, second: Tensor) -> Tensor:
        """Return both layers' sums over examples as one vector of means (E, P)."""
        return torch.cat([first.flatten(1), second.flatten(1)], 1).div_(self.inputs.shape[2])

    def _gradient(self, at: _Pass) -> Tensor:
        first = (at.back * at.slope) @ self.inputs.transpose(1, 2)
        return self._join(first, at.residual @ at.hidden.transpose(1, 2))

    def _product(self, at: _Pass, vector: Tensor) -> Tensor:
        first, second = self._weights(vector)
        into = first @ self.inputs  # how a moves
        hidden = at.slope * into
        residual = torch.baddbmm(at.second @ hidden, second, at.hidden)
        back = torch.baddbmm(at.second.transpose(1, 2) @ residual, second.mT, at.residual)
        delta = torch.addcmul(back * at.slope, at.back * at.bend, into)
        outer = torch.baddbmm(at.residual @ hidden.mT, residual, at.hidden.mT)
        return self._join(delta @ self.inputs.mT, outer)

    def _parts(self, at: _Pass) -> Parts:
        members, count = len(at.first), self.inputs.shape[2]
        shape = members, self.parameters, self.parameters
        found = Parts(at.first.new_zeros(shape), at.first.new_zeros(shape))
        moved = at.slope.unsqueeze(2) * self.inputs.unsqueeze(1) / sqrt(count)  # (E, H, D, N)
        self._write_gauss_newton(found.gauss_newton, at, moved.flatten(1, 2))
        self._write_residual(found.residual, at, moved)
        return found

    def _write_gauss_newton(self, hessian: Tensor, at: _Pass, moved: Tensor) -> None:
        (members, units, _), count = at.first.shape, self.inputs.shape[2]
        gram = (moved @ moved.mT).view(members, units, -1, units, moved.shape[1] // units)
        gram *= (at.second.mT @ at.second)[:, :, None, :, None]
        hessian[:, : self.split, : self.split] = gram.flatten(3, 4).flatten(1, 2)
        hidden = at.hidden / sqrt(count)
        cross = (moved @ hidden.mT).view(members, units, -1, 1, units)
        cross = cross * at.second.mT[:, :, None, :, None]
        self._write_cross(hessian, cross)
        square = hidden @ hidden.mT
        for start in range(self.split, self.parameters, units):
            hessian[:, start : start + units, start : start + units] = square

    def _write_residual(self, hessian: Tensor, at: _Pass, moved: Tensor) -> None:
        (members, units, inputs), outputs = at.first.shape, at.residual.shape[1]
        count = self.inputs.shape[2]
        if self.activation == "tanh":
            weighted = (at.bend * at.back).unsqueeze(2) * self.inputs.unsqueeze(1)
            own = (weighted.flatten(1, 2) @ self.inputs.mT).view(members, units, inputs, inputs)
            for unit in range(units):
                place = slice(unit * inputs, (unit + 1) * inputs)
                hessian[:, place, place] = own[:, unit] / count
        kinks = (moved.flatten(1, 2) @ at.residual.mT).view(members, units, inputs, outputs)
        cross = hessian.new_zeros(members, units, inputs, outputs, units)
        cross.diagonal(0, 1, 4).copy_((kinks / sqrt(count)).permute(0, 2, 3, 1))
        self._write_cross(hessian, cross)

    def _write_cross(self, hessian: Tensor, cross: Tensor) -> None:
        """Put (E, H, D, K, H) where the first layer's parameters meet the second's."""
        block = cross.flatten(3, 4).flatten(1, 2)
        hessian[:, : self.split, self.split :] = block
        hessian[:, self.split :, : self.split] = block.mT
