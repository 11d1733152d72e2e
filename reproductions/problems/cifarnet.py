"""An ensemble of the small convolutional network on CIFAR-10 that is known as CIFARNET."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NORM_SIZE, NORM_ALPHA, NORM_BETA = 9, 1e-3, 0.75


class Part(NamedTuple):
    """Locate the weights or the biases of a layer: columns start to stop of theta (E, P)."""

    start: int
    stop: int
    shape: tuple[int, ...]
    fan_in: int


class CifarNet:
    """Mean cross-entropy of CIFARNET over a minibatch, for E members at once.

    Two convolutions of 64 channels and 6 x 6 kernels, each with ReLU, 2 x 2 max pooling and local
    response normalisation (pool then normalise after the first, normalise then pool after the
    second); ReLU layers of 384 and 192 units with dropout between them; a linear layer of 10.

    Source: Reddi, Kale, Kumar (2018), section 5. The paper states the sizes, the pooling, the
    normalisation and the keep probability. What it leaves open is taken from the network of that
    name in TensorFlow's model collection: stride 1 with zeros around (2 before and 3 after), the
    order of pooling and normalisation and that both stand after the second convolution too, and
    b_i = a_i / (1 + (1e-3 / 9) sum a_j^2)^0.75 over channels j from i - 4 to i + 4. Initial weights
    are ours. The members of an ensemble are the groups of grouped convolutions.

    Memory in float32: 1.04 MB a member and example is kept from the forward to the backward pass
    (133 MB a member with minibatches of 128), besides 7.2 MB of parameters a member
    (P = 1 803 594), twice that for the gradient. `evaluate` keeps nothing and works in about 0.4 MB
    a member and example of its chunk.

    Args:
        generators: where dropout draws, one a group of members (see `gradient`); CPU generators, so
            a seed drops the same units on every device. To resume a run, restore their states.
        keep: probability with which a unit is kept; 1 switches dropout off.
        side, colours, channels, kernel, hidden, outputs: other sizes, for tests.

    Raises:
        ValueError: naming a size or probability that is out of range.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator] = (),
        *,
        keep: float = 0.5,
        side: int = 32,
        colours: int = 3,
        channels: int = 64,
        kernel: int = 6,
        hidden: tuple[int, int] = (384, 192),
        outputs: int = 10,
    ) -> None:
        if not 0.0 < keep <= 1.0:
            raise ValueError(f"keep must be in (0, 1], got {keep}")
        if side < 4 or min(colours, channels, kernel, *hidden, outputs) < 1:
            raise ValueError(f"side must be at least 4 and every other size positive, side {side}")
        self.generators, self.keep = list(generators), keep
        self._image = (side, side, colours)
        self._kernel, self._channels, self._hidden = kernel, channels, hidden
        features = channels * (side // 2 // 2) ** 2
        sizes = ((colours * kernel**2, channels), (channels * kernel**2, channels))
        widths = (features, *hidden, outputs)
        self._parts = list(_locate(sizes, kernel, widths))

    @property
    def parameters(self) -> int:
        """Return P, the number of parameters of one member."""
        return self._parts[-1].stop

    def views(self, theta: Tensor) -> list[Tensor]:
        """Return weight (E, out, in, ...) and bias (E, out) of every layer, sharing memory.

        Columns are ordered as torch.nn.Sequential orders the parameters of such a network.

        Raises:
            ValueError: where theta is not (E, P).
        """
        if theta.dim() != 2 or theta.shape[1] != self.parameters:
            wanted = f"(E, {self.parameters})"
            raise ValueError(f"theta must have shape {wanted}, got {tuple(theta.shape)}")
        return [theta[:, part.start : part.stop].unflatten(1, part.shape) for part in self._parts]

    def initialise(
        self,
        seeds: Sequence[int | torch.Generator],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw theta (E, P), uniform within 1/sqrt(fan_in): torch's default for such layers.

        Numbers are drawn on the CPU in float64, each member's from its own seed, so a seed gives
        the same network in every ensemble, precision and place.

        Args:
            seeds: one a member, a number or a generator; equal ones give equal members.
        """
        drawn = {seed: self._draw(seed).to(dtype) for seed in dict.fromkeys(seeds)}
        return torch.stack([drawn[seed] for seed in seeds]).to(device)

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return every member's loss and gradient on its minibatch, with dropout.

        Args:
            theta: (E, P).
            inputs: (G, B, D) images flattened in the order row, column, colour; G divides E, and
                member e reads group e // (E / G). The members of a group drop the same units.
            targets: (G, B) class numbers.
            out: (E, P) to write the gradient into; made when None.

        Returns:
            loss (E,), with units dropped, and gradient (E, P).

        Raises:
            ValueError: where shapes do not fit together, or generators are not one a group.
        """
        self._check(theta, inputs, targets)
        grad = torch.empty_like(theta) if out is None else out
        kept = self._draw_kept(inputs, theta)
        with torch.enable_grad():
            leaves = [view.detach().requires_grad_() for view in self.views(theta)]
            loss = _cross_entropy(self._logits(leaves, inputs, kept), targets)
            slopes = torch.autograd.grad(loss.sum(), leaves)
        for place, slope in zip(self.views(grad), slopes, strict=True):
            place.copy_(slope)
        return loss.detach(), grad

    @torch.no_grad()
    def loss(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return every member's loss (E,) on its minibatch, no unit dropped; as in `gradient`."""
        self._check(theta, inputs, targets)
        return _cross_entropy(self._logits(self.views(theta), inputs, None), targets)

    @torch.no_grad()
    def evaluate(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, chunk: int = 250
    ) -> tuple[Tensor, Tensor]:
        """Return loss (E,) and error (E,), a fraction, over a data set; no unit is dropped.

        Args:
            theta: (E, P).
            inputs: (N, D).
            targets: (N,) class numbers.
            chunk: examples at a time.
        """
        loss, wrong = theta.new_zeros(2, theta.shape[0])
        for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
            self._check(theta, x[None], y[None])
            logits = self._logits(self.views(theta), x[None], None)
            loss += _cross_entropy(logits, y[None]) * len(y)
            wrong += (logits.argmax(2) != y).sum(1)
        return loss / len(targets), wrong / len(targets)

    def _logits(self, layers: Sequence[Tensor], inputs: Tensor, kept: Tensor | None) -> Tensor:
        """Return the outputs (E, B, K); kept (G, B, H) scales the first hidden layer's units."""
        members, groups, batch = len(layers[0]), *inputs.shape[:2]
        x = inputs.unflatten(2, self._image).permute(1, 0, 4, 2, 3).flatten(1, 2)
        x = F.max_pool2d(self._convolve(x, layers[0], layers[1], groups), 2)
        x = self._convolve(_normalise(x, members), layers[2], layers[3], members)
        x = F.max_pool2d(_normalise(x, members), 2)
        x = x.reshape(batch, members, -1).transpose(0, 1)
        x = _dense(x, layers[4], layers[5]).relu()
        if kept is not None:
            x = (x.unflatten(0, (groups, -1)) * kept[:, None]).flatten(0, 1)
        return _dense(_dense(x, layers[6], layers[7]).relu(), layers[8], layers[9])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
        before, after = (self._kernel - 1) // 2, self._kernel // 2
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, weight.flatten(0, 1), bias.flatten(), groups=groups).relu_()

    def _draw_kept(self, inputs: Tensor, theta: Tensor) -> Tensor | None:
        """Return 1/keep for the units that stay and 0 for those dropped, (G, B, H), or None."""
        if self.keep == 1.0:
            return None
        groups, batch = inputs.shape[:2]
        if len(self.generators) != groups:
            got = len(self.generators)
            raise ValueError(f"generators must be one a group of inputs: {groups}, got {got}")
        drawn = [torch.rand(batch, self._hidden[0], generator=one) for one in self.generators]
        return (torch.stack(drawn) < self.keep).to(theta.device, theta.dtype) / self.keep

    def _draw(self, seed: int | torch.Generator) -> Tensor:
        source = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        drawn = []
        for part in self._parts:
            uniform = torch.rand(math.prod(part.shape), generator=source, dtype=torch.float64)
            drawn.append((2.0 * uniform - 1.0) / math.sqrt(part.fan_in))
        return torch.cat(drawn)

    def _check(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> None:
        width = math.prod(self._image)
        if inputs.dim() != 3 or inputs.shape[2] != width:
            raise ValueError(f"inputs must have shape (G, B, {width}), got {tuple(inputs.shape)}")
        if targets.shape != inputs.shape[:2]:
            wanted, got = tuple(inputs.shape[:2]), tuple(targets.shape)
            raise ValueError(f"targets must have shape {wanted}, got {got}")
        if inputs.shape[0] < 1 or theta.shape[0] % inputs.shape[0]:
            raise ValueError(
                f"inputs: {inputs.shape[0]} groups do not divide {theta.shape[0]} members"
            )


def _locate(
    convolutions: tuple[tuple[int, int], ...], kernel: int, widths: tuple[int, ...]
) -> Iterator[Part]:
    """Yield weights and biases, layer after layer, of convolutions and then dense layers."""
    start = 0
    shapes = [(out, fan_in // kernel**2, kernel, kernel) for fan_in, out in convolutions]
    dense = [(out, fan_in) for fan_in, out in pairwise(widths)]
    for shape in [*shapes, *dense]:
        fan_in = math.prod(shape[1:])
        for part in (shape, shape[:1]):
            stop = start + math.prod(part)
            yield Part(start, stop, part, fan_in)
            start = stop


def _normalise(x: Tensor, members: int) -> Tensor:
    """Return local response normalisation across the channels of each member, x (B, E C, S, S).

    The sum over neighbours is a product with a band of ones: torch's own form pools in 3-d, whose
    gradient is not deterministic on a GPU.
    """
    own = x.unflatten(1, (members, -1)).flatten(3)
    channel = torch.arange(own.shape[2], device=x.device)
    band = ((channel[:, None] - channel).abs() <= NORM_SIZE // 2).to(x.dtype)
    scale = 1.0 + (NORM_ALPHA / NORM_SIZE) * (band @ own.square())
    return (own * scale.pow(-NORM_BETA)).view_as(x)


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy (E,) of logits (E, B, K) with targets (G, B)."""
    own = targets.repeat_interleave(len(logits) // len(targets), dim=0)
    chosen = logits.gather(2, own.unsqueeze(2)).squeeze(2)
    return (logits.logsumexp(2) - chosen).mean(1)
