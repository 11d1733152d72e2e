"""An ensemble of multilayer perceptrons under cross-entropy, its gradient written by hand.

Everything writes into buffers that live from step to step: no autograd graph, no allocation in
the loop. On a CPU members are worked through in chunks, so that what one pass leaves in cache the
next still finds there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeGuard

import torch
from torch import Tensor

Store = Callable[[Tensor, Tensor], Tensor]  # how a layer's gradient reaches its place
Rates = Sequence[tuple[Tensor, Tensor]]  # of a layer's inputs (E, fan_in), outputs (E, fan_out)


class Layers(Protocol):
    """Say where weights sit in theta (E, P); `optim.layout.Layout` does."""

    @property
    def widths(self) -> tuple[int, ...]: ...

    @property
    def parameters(self) -> int: ...

    def views(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]: ...


class Activation(NamedTuple):
    """Hold an activation and its derivative's product with an upstream gradient, both in place."""

    apply: Callable[[Tensor], Tensor]
    pull_back: Callable[[Tensor, Tensor], Tensor]


def _relu_pull_back(delta: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=delta)


def _tanh_pull_back(delta: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward.grad_input(delta, output, grad_input=delta)


ACTIVATIONS = {
    "relu": Activation(torch.relu_, _relu_pull_back),
    "tanh": Activation(torch.tanh_, _tanh_pull_back),
}

# Members worked through at a time on a CPU: this many, or more where all fits in the cache.
CHUNK_MEMBERS = 32
CHUNK_BYTES = 16 << 20


class MLP:
    """Mean cross-entropy of softmax outputs over a minibatch, for E members at once.

    Args:
        layout: the widths and where each weight sits.
        activation: "relu" or "tanh", of every hidden layer.
        members_at_once: members per chunk; by default as many as stay in cache on a CPU, and all
            on a GPU. The result does not depend on it beyond rounding.

    Raises:
        ValueError: naming an unknown activation or a chunk below one.
    """

    def __init__(
        self, layout: Layers, activation: str = "relu", *, members_at_once: int | None = None
    ) -> None:
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation must be one of {known}, got {activation!r}")
        if members_at_once is not None and members_at_once < 1:
            raise ValueError(f"members_at_once must be at least 1, got {members_at_once}")
        self.layout = layout
        self._activation = ACTIVATIONS[activation]
        self._members_at_once = members_at_once
        self._buffers: dict[tuple[object, ...], Tensor] = {}
        self._rates: Rates = ()  # of a descent

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return every member's loss and gradient on its minibatch.

        Args:
            theta: (E, P).
            inputs: (G, B, D); G divides E, and member e reads group e // (E / G): G = E gives
                each its own minibatch, G = 1 one to all.
            targets: (G, B) class numbers.
            out: (E, P) to write the gradient into; made when None.

        Returns:
            loss (E,) and gradient (E, P).

        Raises:
            ValueError: where shapes do not fit together.
        """
        grad = torch.empty_like(theta) if out is None else out
        return self._accumulate(theta, inputs, targets, 1.0, grad, Tensor.copy_), grad

    def descend(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, alpha: float | Tensor | Rates
    ) -> Tensor:
        """Move theta by -alpha times its gradient in place, and return the loss before, (E,).

        The plain gradient step without ever storing the gradient: alpha, a number or (E, 1),
        multiplies the gradient of the outputs, in which the rest is linear. As finite rates of
        every layer, alpha is for a weight the product of its input's and its output's, for a bias
        its output's. A member whose loss is not finite stays where it is.

        Raises:
            ValueError: where shapes do not fit together.
        """
        self._rates = alpha if isinstance(alpha, Sequence) else ()
        scale = -1.0 if isinstance(alpha, Sequence) else -alpha
        return self._accumulate(theta, inputs, targets, scale, theta, Tensor.add_)

    def loss(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return every member's loss (E,) on its minibatch; arguments as in `gradient`."""
        loss = theta.new_empty(theta.shape[0])
        for members, x, y in self._chunks(theta, inputs, targets):
            logits = self._forward(self.layout.views(theta[members]), x)[-1]
            loss[members] = _cross_entropy(logits, y)
        return loss

    def evaluate(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, chunk: int = 1000
    ) -> tuple[Tensor, Tensor]:
        """Return loss (E,) and error (E,), a fraction, over a data set all members share.

        Args:
            theta: (E, P).
            inputs: (N, D).
            targets: (N,) class numbers.
            chunk: examples at a time.
        """
        loss, wrong = theta.new_zeros(2, theta.shape[0])
        for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
            for members, own_x, own_y in self._chunks(theta, x[None], y[None]):
                logits = self._forward(self.layout.views(theta[members]), own_x)[-1]
                wrong[members] += (logits.argmax(2) != own_y).sum(1)
                loss[members] += _cross_entropy(logits, own_y) * len(y)
        return loss / len(targets), wrong / len(targets)

    def _accumulate(
        self,
        theta: Tensor,
        inputs: Tensor,
        targets: Tensor,
        scale: float | Tensor,
        out: Tensor,
        store: Store,
    ) -> Tensor:
        parts = []
        for members, x, y in self._chunks(theta, inputs, targets):
            layers = self.layout.views(_rows(theta, members))
            places = layers if out is theta else self.layout.views(_rows(out, members))
            outputs = self._forward(layers, x)
            own = _rows(scale.expand(len(theta), 1), members) if _is_tensor(scale) else scale
            loss, delta = self._delta(outputs.pop(), y, own)
            # A sum that is not finite means a term that is not, and costs one look at the device.
            if store is Tensor.add_ and not math.isfinite(loss.sum().item()):
                lost = ~loss.isfinite()
                delta = _without(lost, delta)
                outputs = [_without(lost, output) for output in outputs]
                layers = [(_without(lost, weight), bias) for weight, bias in layers]
            rates = [(_rows(one, members), _rows(two, members)) for one, two in self._rates]
            self._backward(layers, outputs, delta, places, store, rates)
            parts.append(loss)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _forward(self, layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[Tensor]:
        """Return the inputs of every layer and, last, the logits (C, B, K)."""
        outputs = [x]
        for depth, (weight, bias) in enumerate(layers):
            shape = (weight.shape[0], x.shape[1], weight.shape[2])
            out = self._buffer(("output", depth), shape, weight)
            torch.baddbmm(bias.unsqueeze(1), outputs[-1], weight, out=out)
            outputs.append(self._activate(depth, out) if depth < len(layers) - 1 else out)
        return outputs

    def _delta(
        self, logits: Tensor, targets: Tensor, scale: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss (C,) and scale, a number or (C, 1), times the gradient by logits.

        The gradient is (C, K, B). Examples stand last: a softmax over few classes then runs
        across many at once.
        """
        members, batch, classes = logits.shape
        delta = self._buffer(("logits",), (members, classes, batch), logits)
        delta.copy_(logits.transpose(1, 2))
        index = targets.unsqueeze(1)
        torch.log_softmax(delta, 1, out=delta)
        loss = delta.gather(1, index).sum((1, 2)).div_(-batch)
        delta.exp_().scatter_add_(1, index, delta.new_full((), -1.0).expand(index.shape))
        factor = scale / batch
        return loss, delta.mul_(factor.unsqueeze(2) if _is_tensor(factor) else factor)

    def _activate(self, depth: int, values: Tensor) -> Tensor:
        """Apply the activation of hidden layer `depth` in place; with `_pull_back` what may differ."""
        return self._activation.apply(values)

    def _pull_back(self, depth: int, delta: Tensor, output: Tensor) -> Tensor:
        return self._activation.pull_back(delta, output)

    def _backward(
        self, layers: list[tuple[Tensor, Tensor]], inputs: list[Tensor], delta: Tensor,
        places: list[tuple[Tensor, Tensor]], store: Store, rates: Rates,
    ) -> None:  # fmt: skip
        """Carry delta (C, fan_out, B) from the last layer down, storing every layer's gradient."""
        for depth in reversed(range(len(layers))):
            x, below = inputs[depth], delta
            if depth > 0:  # before the weights may change under `descend`
                below = self._buffer(("delta", depth), x.shape, x)
                torch.bmm(delta.transpose(1, 2), layers[depth][0].transpose(1, 2), out=below)
                below = self._pull_back(depth - 1, below, x).transpose(1, 2)
            if rates and store is Tensor.add_:
                x, delta = x * rates[depth][0].unsqueeze(1), delta * rates[depth][1].unsqueeze(2)
            weight, bias = places[depth]
            store(bias, delta.sum(2))
            self._store_product(weight.transpose(1, 2), delta, x, store)
            delta = below

    def _store_product(self, place: Tensor, delta: Tensor, x: Tensor, store: Store) -> None:
        """Store delta (C, fan_out, B) times x (C, B, fan_in) in place, a view of theta's kind."""
        if place.is_cuda or torch.get_num_threads() == 1:
            torch.baddbmm(place, delta, x, beta=float(store is Tensor.add_), out=place)
            return
        # A strided result makes the CPU's product loop over members, and threads meet after
        # each: with more than one it is quicker to fill a contiguous scratch and copy.
        scratch = self._buffer(("product",), (*delta.shape[:2], x.shape[2]), x)
        store(place, torch.bmm(delta, x, out=scratch))

    def _buffer(self, name: tuple[object, ...], shape: tuple[int, ...], like: Tensor) -> Tensor:
        key = (*name, tuple(shape), like.dtype, like.device)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return self._buffers[key]

    def _chunks(
        self, theta: Tensor, inputs: Tensor, targets: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield (members, inputs (C, B, D), targets (C, B)); a shared group is not copied."""
        members, groups, batch = theta.shape[0], *self._check(theta, inputs, targets)
        per_group = members // groups
        reach = members if groups in (1, members) else per_group
        size = min(self._members_at_once or self._fitting(theta, batch), reach)
        for first in range(0, members, reach):
            for start in range(first, first + reach, size):
                span = slice(start, min(start + size, first + reach))
                group = (
                    span if groups == members else slice(start // per_group, start // per_group + 1)
                )
                count = span.stop - span.start
                x, y = _rows(inputs, group), _rows(targets, group)
                yield span, x.expand(count, -1, -1), y.expand(count, -1)

    def _fitting(self, theta: Tensor, batch: int) -> int:
        if theta.device.type != "cpu":
            return theta.shape[0]
        numbers = 2 * self.layout.parameters + batch * sum(self.layout.widths)
        return max(CHUNK_MEMBERS, CHUNK_BYTES // (numbers * theta.element_size()))

    def _check(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> tuple[int, int]:
        width = self.layout.widths[0]
        if inputs.dim() != 3 or inputs.shape[2] != width:
            raise ValueError(f"inputs must have shape (G, B, {width}), got {tuple(inputs.shape)}")
        if targets.shape != inputs.shape[:2]:
            wanted, got = tuple(inputs.shape[:2]), tuple(targets.shape)
            raise ValueError(f"targets must have shape {wanted}, got {got}")
        if inputs.shape[0] < 1 or theta.shape[0] % inputs.shape[0]:
            raise ValueError(
                f"inputs: {inputs.shape[0]} groups do not divide {theta.shape[0]} members"
            )
        return inputs.shape[0], inputs.shape[1]


def _is_tensor(value: float | Tensor) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor)


def _rows(tensor: Tensor, span: slice) -> Tensor:
    # Slicing all rows costs as much as a small kernel, several times a step.
    return tensor if span.stop - span.start == tensor.shape[0] else tensor[span]


def _without(lost: Tensor, tensor: Tensor) -> Tensor:
    """Zero what the gradient of lost members (C,) is made of; zeroing delta alone gives 0 inf."""
    return tensor.masked_fill(lost[:, None, None], 0.0)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    chosen = logits.gather(2, targets.unsqueeze(2)).squeeze(2)
    return (logits.logsumexp(2) - chosen).mean(1)
