"""Images of a data set as inputs of networks, normalised as the authors' loaders do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset, area_average

Progress = Callable[..., None]

# The authors' constants for colour images, per channel; grey ones are pixel / 255 as they are.
MEAN, SPREAD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Images(NamedTuple):
    """Normalised images with their labels, on the device, float32."""

    train: Tensor  # (N, C, S, S); flatten(1) makes rows, channel after channel
    labels: Tensor  # (N,)
    test: Tensor  # (M, C, S, S)
    test_labels: Tensor  # (M,)


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
    return Images(
        _pixels(chosen.train_images, side).to(device),
        torch.tensor(chosen.train_labels, device=device),
        _pixels(chosen.test_images, side).to(device),
        torch.tensor(chosen.test_labels, device=device),
    )


def _pixels(array: np.ndarray, side: int | None) -> Tensor:
    small = array if side in (None, array.shape[1]) else area_average(array, side)
    planes = small.reshape(*small.shape[:3], -1)  # a grey image has one
    pixels = torch.tensor(planes).permute(0, 3, 1, 2).to(torch.float32) / 255
    if array.ndim == 3:
        return pixels
    mean, spread = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, SPREAD))
    return (pixels - mean) / spread
