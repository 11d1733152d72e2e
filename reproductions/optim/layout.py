"""Where each weight of a layered network sits in the flat theta (E, P)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.device import generator

INITIALISATION = 1  # the purpose in a generator's key: initial weights


class Layer(NamedTuple):
    """Locate one layer: weights from `start`, biases from `bias` up to `stop`."""

    start: int
    bias: int
    stop: int
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Layout:
    """Map the layers of a network of the given widths (inputs, hidden..., outputs) to columns.

    Columns are ordered as torch.nn.Sequential of Linear layers orders its parameters: weight
    (fan_out, fan_in), then bias, layer after layer. With the inputs of a unit adjacent, the
    gradient of a layer is the product that runs fastest.

    Raises:
        ValueError: where widths are fewer than two or not positive.
    """

    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or any(width < 1 for width in self.widths):
            raise ValueError(f"widths must be two or more positive numbers, got {self.widths}")

    @cached_property
    def layers(self) -> list[Layer]:
        """Return the location of every layer, first to last."""
        layers, start = [], 0
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            bias = start + fan_in * fan_out
            layers.append(Layer(start, bias, bias + fan_out, fan_in, fan_out))
            start = bias + fan_out
        return layers

    @property
    def parameters(self) -> int:
        """Return P, the number of parameters of one member."""
        return self.layers[-1].stop

    def views(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per layer (W (E, fan_in, fan_out), b (E, fan_out)), views that share memory.

        Raises:
            ValueError: where theta is not (E, P).
        """
        if theta.dim() != 2 or theta.shape[1] != self.parameters:
            raise ValueError(
                f"theta must have shape (E, {self.parameters}), got {tuple(theta.shape)}"
            )
        return [(_weight(theta, layer), theta[:, layer.bias : layer.stop]) for layer in self.layers]

    def initialise(
        self,
        seeds: Sequence[int],
        *,
        scheme: str = "uniform",
        root_seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Draw theta (E, P), each member from the generator of its own seed.

        Numbers are drawn on the CPU in float64, so a seed gives the same network in every
        ensemble, precision and place.

        Args:
            seeds: one per member; equal seeds give equal members.
            scheme: "uniform" within 1/sqrt(fan_in), biases too (torch.nn.Linear's default);
                "balanced" normal of variance 1/fan_in, "he" of 2/fan_in, "glorot" uniform within
                sqrt(6/(fan_in + fan_out)), "glorot_normal" normal of variance
                2/(fan_in + fan_out), "normal_0.02" and "normal_0.08" of that standard deviation,
                all with zero biases; "unit_cube" within [0, 1] and "symmetric_cube" within
                [-1, 1], biases too; "zeros".

        Raises:
            ValueError: where the scheme is unknown.
        """
        if scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
        drawn = {
            seed: self._draw(scheme, generator(root_seed, seed, INITIALISATION))
            for seed in dict.fromkeys(seeds)
        }
        return torch.stack([drawn[seed].to(dtype) for seed in seeds]).to(device)

    def _draw(self, scheme: str, source: torch.Generator) -> Tensor:
        return torch.cat([part for layer in self.layers for part in SCHEMES[scheme](layer, source)])


def _weight(theta: Tensor, layer: Layer) -> Tensor:
    stored = theta[:, layer.start : layer.bias].view(-1, layer.fan_out, layer.fan_in)
    return stored.transpose(1, 2)


def _within(bound: float, count: int, source: torch.Generator) -> Tensor:
    return (2 * torch.rand(count, generator=source, dtype=torch.float64) - 1) * bound


def _uniform(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    bound = 1 / math.sqrt(layer.fan_in)
    yield _within(bound, layer.fan_in * layer.fan_out, source)
    yield _within(bound, layer.fan_out, source)


def _he(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    spread = math.sqrt(2 / layer.fan_in)
    count = layer.fan_in * layer.fan_out
    yield torch.randn(count, generator=source, dtype=torch.float64) * spread
    yield torch.zeros(layer.fan_out, dtype=torch.float64)


def _balanced(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    # Neyshabur et al. 2015: normal with variance 1 / fan_in, no thresholds.
    count = layer.fan_in * layer.fan_out
    yield torch.randn(count, generator=source, dtype=torch.float64) / math.sqrt(layer.fan_in)
    yield torch.zeros(layer.fan_out, dtype=torch.float64)


def _glorot(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    bound = math.sqrt(6 / (layer.fan_in + layer.fan_out))
    yield _within(bound, layer.fan_in * layer.fan_out, source)
    yield torch.zeros(layer.fan_out, dtype=torch.float64)


def _glorot_normal(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    return _normal(math.sqrt(2 / (layer.fan_in + layer.fan_out)), layer, source)


def _normal(spread: float, layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    count = layer.fan_in * layer.fan_out
    yield torch.randn(count, generator=source, dtype=torch.float64) * spread
    yield torch.zeros(layer.fan_out, dtype=torch.float64)


def _unit_cube(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    yield torch.rand(layer.stop - layer.start, generator=source, dtype=torch.float64)


def _symmetric_cube(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    yield _within(1.0, layer.stop - layer.start, source)


def _zeros(layer: Layer, source: torch.Generator) -> Iterator[Tensor]:
    yield torch.zeros(layer.stop - layer.start, dtype=torch.float64)


SCHEMES: dict[str, Callable[[Layer, torch.Generator], Iterator[Tensor]]] = {
    "uniform": _uniform,
    "he": _he,
    "balanced": _balanced,
    "glorot": _glorot,
    "glorot_normal": _glorot_normal,
    "normal_0.02": partial(_normal, 0.02),
    "normal_0.08": partial(_normal, 0.08),
    "unit_cube": _unit_cube,
    "symmetric_cube": _symmetric_cube,
    "zeros": _zeros,
}
