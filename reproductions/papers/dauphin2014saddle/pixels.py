"""Images shrunk as the paper's were, with their labels, on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.harness.datasets import Dataset, area_average


class Pixels(NamedTuple):
    """A training set."""

    inputs: Tensor  # (N, D) float64 in [0, 1]
    labels: Tensor  # (N,) int64


def pixels(data: Dataset, side: int, images: int, device: str) -> Pixels:
    """Return the first images of the training set at side x side, channel after channel.

    Source: Dauphin et al. 2014, section 7; the filter is not stated. Areas are averaged, as the
    image package of the authors' time did.

    Raises:
        ValueError: where the set has fewer images.
    """
    if not 1 <= images <= len(data.train_images):
        raise ValueError(f"images must lie in 1 to {len(data.train_images)}, got {images}")
    chosen = data.train_images[:images]
    small = area_average(chosen, side) / 255
    inputs = torch.from_numpy(small.reshape(images, side * side, -1)).mT.reshape(images, -1)
    labels = torch.tensor(data.train_labels[:images], dtype=torch.int64)
    return Pixels(inputs.to(device), labels.to(device))
