"""Paths counted one by one, and networks for them: the slow twins of the path modules."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reproductions.optim.layout import Layout

F64 = torch.float64
SHAPES = [(3, 2), (3, 4, 2), (3, 4, 5, 2), (2, 3, 5, 3, 2), (2, 2, 3, 2, 2, 2, 2)]


def case(widths: tuple[int, ...], members: int = 3) -> tuple[Layout, Tensor]:
    layout = Layout(widths)
    return layout, 2 * layout.initialise(range(members), dtype=F64)


def paths(layout: Layout) -> Iterator[list[int]]:
    """Yield every path as the columns of theta on it, those that start at a bias too."""
    layers = layout.layers

    def onward(depth: int, unit: int, walked: list[int]) -> Iterator[list[int]]:
        if depth == len(layers):
            yield walked
            return
        layer = layers[depth]
        for above in range(layer.fan_out):
            column = layer.start + above * layer.fan_in + unit
            yield from onward(depth + 1, above, [*walked, column])

    for unit in range(layout.widths[0]):
        yield from onward(0, unit, [])
    for depth, layer in enumerate(layers):
        for unit in range(layer.fan_out):
            yield from onward(depth + 1, unit, [layer.bias + unit])


def brute_norm(layout: Layout, own: Tensor, p: float) -> Tensor:
    """Return gamma_net () of one member (P,), path by path."""
    return torch.stack([own[walk].abs().pow(p).prod() for walk in paths(layout)]).sum()


def brute_scaling(layout: Layout, own: Tensor, p: float) -> Tensor:
    """Return kappa (P,) of one member, by what the definition sums over."""
    found = torch.zeros_like(own)
    for walk in paths(layout):
        for at in walk:
            found[at] += own[[other for other in walk if other != at]].abs().pow(p).prod()
    return found ** (2 / p)


def logits(layout: Layout, theta: Tensor, inputs: Tensor) -> Tensor:
    """Return (E, B, K) of a ReLU network, the plain way."""
    x, layers = inputs, layout.views(theta)
    for depth, (weight, bias) in enumerate(layers):
        x = x @ weight + bias[:, None]
        x = torch.relu(x) if depth < len(layers) - 1 else x
    return x


def gradient(layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient (E, P) of the mean cross-entropy, by autograd."""

    def loss(at: Tensor) -> Tensor:
        outputs = torch.log_softmax(logits(layout, at, inputs), 2)
        chosen = outputs.gather(2, targets[None, :, None].expand(len(at), -1, 1))
        return -chosen.mean((1, 2)).sum()

    return torch.func.grad(loss)(theta)


def data(layout: Layout, examples: int = 12) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(5)
    inputs = torch.randn(examples, layout.widths[0], generator=source, dtype=F64)
    return inputs, torch.randint(0, layout.widths[-1], (examples,), generator=source)


def factors(layout: Layout, members: int, spread: float = 1.0) -> list[Tensor]:
    """Return positive factors of hidden units, about 10."""
    source = torch.Generator().manual_seed(7)
    hidden = layout.widths[1:-1]
    drawn = [torch.randn(members, width, generator=source, dtype=F64) for width in hidden]
    return [10 * (spread * part).exp() for part in drawn]
