"""Images, the two starts of the same function, and one method for many members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset, area_average
from reproductions.optim.first_order import adagrad, by_member, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.rescaling import rescale, unbalancing_factors
from reproductions.optim.transform import Transform

Progress = Callable[..., None]
METHODS = ("sgd", "adagrad", "path_sgd")
STARTS = ("balanced", "unbalanced")


class Images(NamedTuple):
    """A set of images, pixel / 255 in float32, with its labels, on the device."""

    train: Tensor  # (N, D)
    labels: Tensor  # (N,)
    test: Tensor  # (M, D)
    test_labels: Tensor  # (M,)
    classes: int

    def network(self, hidden: int) -> Layout:
        """Return the layout of a network for these images with two hidden layers of one width."""
        return network(self.train.shape[1], hidden, self.classes)


def images(
    data: Dataset, count: int, test_count: int, device: str, side: int | None = None
) -> Images:
    """Place the first images of a set on the device.

    Args:
        side: pixels along each side, by area averaging; as they are when None.

    Raises:
        ValueError: where the set has fewer images or pixels.
    """
    chosen = data.first(count, test_count)

    def pixels(array: np.ndarray) -> Tensor:
        small = array if side in (None, array.shape[1]) else area_average(array, side)
        return (torch.tensor(small).reshape(len(array), -1).to(torch.float32) / 255).to(device)

    return Images(
        pixels(chosen.train_images), torch.tensor(chosen.train_labels, device=device),
        pixels(chosen.test_images), torch.tensor(chosen.test_labels, device=device),
        data.classes,
    )  # fmt: skip


def network(inputs: int, hidden: int, classes: int) -> Layout:
    """Return the layout of a network with two hidden layers of the same width."""
    return Layout((inputs, hidden, hidden, classes))


def factors(layout: Layout, seeds: Sequence[int], root_seed: int) -> list[Tensor]:
    """Draw what unbalances a start: a quarter as many draws as there are units, in each layer."""
    draws = [width // 4 for width in layout.widths[1:-1]]
    return unbalancing_factors(layout, seeds, draws=draws, root_seed=root_seed)


def starts(
    layout: Layout, seeds: Sequence[int], root_seed: int, device: str,
    dtype: torch.dtype = torch.float32,
) -> Tensor:  # fmt: skip
    """Return theta (S, 2, P): for each seed the balanced start, then the unbalanced one.

    Source: Neyshabur et al. 2015, experiments: weights normal with standard deviation
    1/sqrt(fan-in), no thresholds; then rescaled by 10 c, c log-normal, at 2000 of 8000 hidden
    units, drawn with replacement. Rescaled in float64.
    """
    balanced = layout.initialise(seeds, scheme="balanced", root_seed=root_seed, dtype=torch.float64)
    unbalanced = rescale(layout, balanced, factors(layout, seeds, root_seed))
    return torch.stack([balanced, unbalanced], 1).to(device, dtype)


def transform(method: str, layout: Layout, rates: Sequence[float]) -> Transform:
    """Return a method with a step size for every member.

    AdaGrad takes members one by one: what a step writes in between then stays in cache, which on
    a CPU halves its time. The other two never store a step.

    Raises:
        ValueError: naming an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    column = torch.tensor(rates, dtype=torch.float64)[:, None]
    if method == "adagrad":
        return by_member([(slice(k, k + 1), adagrad(rate)) for k, rate in enumerate(rates)])
    return sgd(column) if method == "sgd" else path_sgd(layout, column)


def part(progress: Progress, done: float, share: float) -> Progress:
    """Return a progress that fills a share of the whole, from `done` on."""
    return lambda fraction, note="": progress(done + share * fraction, note)


def told(values: np.ndarray, status: Sequence[Sequence[str]] | np.ndarray) -> np.ndarray:
    """Return the status of recorded values (T, ...): a number that is not finite is no result."""
    given = np.array(status)
    given = given.reshape(given.shape + (1,) * (values.ndim - given.ndim))
    finite = np.isfinite(values)
    return np.where(finite | (given != "ok"), given, "diverged: value is not finite")
