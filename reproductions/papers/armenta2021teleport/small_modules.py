"""Small modules of our own, one for each kind of layer and connection that is teleported."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 10


def perceptron() -> nn.Module:
    """Return a network of fully connected layers."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(32), nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
        nn.Linear(64, CLASSES),
    )  # fmt: skip


def convolutional() -> nn.Module:
    """Return convolutions with pooling of both kinds and two fully connected layers."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(8), nn.Flatten(),
        nn.Linear(32 * 8 * 8, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, CLASSES),
    )  # fmt: skip


def normalised() -> nn.Module:
    """Return grouped and depthwise convolutions with batch normalisation, and a transposed one."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, CLASSES),
    )  # fmt: skip


class Residual(nn.Module):
    """Two residual blocks, one of which changes the number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.first = self._branch(16, 16, 1)
        self.second = self._branch(16, 32, 2)
        self.skip = nn.Conv2d(16, 32, 1, stride=2)
        self.head = nn.Linear(32, CLASSES)

    @staticmethod
    def _branch(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs),
            nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 10) of images (B, 3, S, S)."""
        x = self.stem(x)
        x = torch.relu(x + self.first(x))
        x = torch.relu(self.skip(x) + self.second(x))
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """Three layers that each see all before them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, 8, 3, padding=1))
            for n in (8, 16, 24)
        )
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 10) of images (B, 3, S, S)."""
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(torch.relu(x).mean((2, 3)))


SMALL: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "normalised": normalised,
    "residual": Residual,
    "dense": Dense,
}
