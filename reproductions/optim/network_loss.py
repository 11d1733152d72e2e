"""The loss of fully connected networks over a data set that all members share, as an objective.

Gradients, products with the Hessian and the Hessian itself are written by hand; see the modules
network_passes, network_products and network_hessian.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import curvature_of, gauss_newton_of
from reproductions.optim.network_parts import Network
from reproductions.optim.network_passes import (
    Layers,
    Pass,
    add_gradient,
    both_ways,
    chunks,
    flatten,
    forward,
    layers_of,
    zeros_like,
)
from reproductions.optim.network_products import Bends, Linearised
from reproductions.optim.objective import Curvature

KEPT_BYTES = {"cpu": 1 << 30, "cuda": 16 << 30}  # of passes kept for products at the same theta


class NetworkLoss:
    """A loss of E networks over one data set, with its gradient and curvature: an `Objective`.

    Everything is computed in the dtype of theta and on its device, where the data must be too.
    Making one costs nothing: a minibatch is `loss.on(inputs[rows], targets[rows])`.

    Args:
        layout: the widths and where each weight sits.
        inputs: (N, D), the same for every member, of any dtype.
        targets: (N,) class numbers for "softmax", else (N, K) numbers.
        activations: one name for all hidden layers or one each: "tanh", "relu", "sigmoid",
            "linear".
        head: "softmax", cross-entropy in nat, mean over examples; "squared", half the squared
            error summed over outputs, mean over examples; "bernoulli", cross-entropy in nat of
            logistic outputs with targets in [0, 1], summed over outputs, mean over examples.

    Raises:
        ValueError: naming an unknown activation or head, or data that do not fit.
    """

    def __init__(
        self,
        layout: Layout,
        inputs: Tensor,
        targets: Tensor,
        *,
        activations: str | Sequence[str] = "tanh",
        head: str = "softmax",
    ) -> None:
        self.layout, self.inputs, self.targets = layout, inputs, targets
        self._network = Network.of(layout, activations, head)
        self._network.check(inputs, targets)
        self._names = activations, head
        self._last: tuple[Tensor, Linearised] | None = None

    def on(self, inputs: Tensor, targets: Tensor) -> NetworkLoss:
        """Return the same loss over other examples."""
        activations, head = self._names
        return NetworkLoss(self.layout, inputs, targets, activations=activations, head=head)

    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (E,) at theta (E, P)."""
        total = theta.new_zeros(len(theta))
        for logits, targets in self._logits(theta):
            total += self._network.head.say(logits, targets)[0]
        return total / len(self.inputs)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (E,) and its gradient (E, P)."""
        layers = layers_of(self.layout, theta)
        loss, sums = theta.new_zeros(len(theta)), zeros_like(layers)
        for one in self._passes(theta, layers):
            loss += one.loss
            add_gradient(sums, one)
        return loss / len(self.inputs), flatten(sums)

    def linearise(self, theta: Tensor) -> Linearised:
        """Return the products at theta, a callable that does not follow later changes of it.

        It keeps the passes over the data set where they fit KEPT_BYTES, and goes through them
        again at every product where they do not.
        """
        theta = theta.detach().clone()
        widths = self.layout.widths
        numbers = len(self.inputs) * len(theta) * (4 * sum(widths[1:-1]) + 2 * widths[-1])
        passes = _Passes(self, theta)
        fits = numbers * theta.element_size() <= KEPT_BYTES[theta.device.type]
        return Linearised(self._network, theta, list(passes) if fits else passes)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, P) or (Q, E, P), as vectors.

        What one call learns about theta serves the next call at equal numbers.
        """
        return self._at(theta)(vectors)

    def gauss_newton_product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Gauss-Newton matrices' products with vectors (E, P) or (Q, E, P)."""
        return self._at(theta).gauss_newton(vectors)

    def curvature(self, theta: Tensor) -> Curvature:
        """Return loss (E,), gradient (E, P) and dense Hessian (E, P, P)."""
        return curvature_of(self._network, theta, self.inputs, self.targets)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        """Return the dense Gauss-Newton matrix (E, P, P), exactly symmetric."""
        return gauss_newton_of(self._network, theta, self.inputs, self.targets)

    def outputs(self, theta: Tensor) -> Tensor:
        """Return the logits (E, N, K)."""
        return torch.cat([logits for logits, _ in self._logits(theta)], 2).mT.contiguous()

    def error(self, theta: Tensor) -> Tensor:
        """Return the fraction of examples (E,) whose largest logit is not the target's.

        Raises:
            ValueError: where targets are not class numbers.
        """
        if not self._network.head.classes:
            raise ValueError(f"error needs class numbers, and the head is {self._names[1]!r}")
        wrong = theta.new_zeros(len(theta))
        for logits, targets in self._logits(theta):
            wrong += (logits.argmax(1) != targets).sum(1)
        return wrong / len(self.inputs)

    def squared_error(self, theta: Tensor) -> Tensor:
        """Return the squared error (E,), summed over outputs, mean over examples.

        Of the logits for "squared", of the logistic outputs for "bernoulli".

        Raises:
            ValueError: where targets are class numbers.
        """
        if self._network.head.classes:
            raise ValueError("squared_error needs targets (N, K), and the head is 'softmax'")
        total = theta.new_zeros(len(theta))
        for logits, targets in self._logits(theta):
            said = self._network.head.say(logits, targets)[1]
            total += (said - targets.t()).square_().sum((1, 2))
        return total / len(self.inputs)

    def _at(self, theta: Tensor) -> Linearised:
        # By value: a comparison costs next to nothing, and no change of theta goes unseen.
        known = self._last
        if known is None or not _same(known[0], theta):
            self._last = theta.detach().clone(), self.linearise(theta)
        assert self._last is not None
        return self._last[1]

    def _logits(self, theta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        layers = layers_of(self.layout, theta)
        for x, y in chunks(self._network, theta, self.inputs, self.targets):
            yield forward(self._network, layers, x)[1], y

    def _passes(self, theta: Tensor, layers: Layers) -> Iterator[Pass]:
        for x, y in chunks(self._network, theta, self.inputs, self.targets):
            yield both_ways(self._network, layers, x, y, len(self.inputs))


class _Passes:
    """The passes of a loss at one theta, made again whenever they are gone through."""

    def __init__(self, loss: NetworkLoss, theta: Tensor) -> None:
        self._loss, self._theta = loss, theta

    def __iter__(self) -> Iterator[tuple[Pass, Bends]]:
        layers = layers_of(self._loss.layout, self._theta)
        for one in self._loss._passes(self._theta, layers):
            yield one, one.bends(self._loss._network)


def _same(one: Tensor, two: Tensor) -> bool:
    alike = one.dtype == two.dtype and one.device == two.device
    return alike and torch.equal(one, two)
