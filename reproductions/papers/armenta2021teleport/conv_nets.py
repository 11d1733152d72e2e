"""VGG-16, ResNet-18 and DenseNet-121 as torch modules, with the ImageNet stems the authors keep.

Source: Simonyan & Zisserman 2015, He et al. 2016 and Huang et al. 2017, in the form that torchvision
gives them, with ten outputs. Every activation is a module of its own, none works in place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
RESNET18 = (64, 128, 256, 512)
DENSENET121 = (6, 12, 24, 16)
GROWTH, BOTTLENECK = 32, 4


def convolution(fan_in: int, fan_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without a threshold that keeps the side of an image at stride 1."""
    return nn.Conv2d(fan_in, fan_out, size, stride, size // 2, bias=False)


def stem(channels: int) -> list[nn.Module]:
    """Return the first layers of a network for large images."""
    return [
        convolution(3, channels, 7, 2), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip


def head(channels: int, classes: int) -> list[nn.Module]:
    """Return what averages over an image and classifies it."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def vgg16(
    classes: int = 10,
    *,
    norm: bool = False,
    plan: tuple[int, ...] = VGG16,
    hidden: int = 4096,
    side: int = 7,
) -> nn.Sequential:
    """Return VGG-16, with batch norm after every convolution if `norm`.

    Args:
        plan: channels of the convolutions, 0 for pooling.
        hidden: units in each of the two layers before the last, dropped with probability 1/2.
        side: pixels that averaging leaves on each side.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width in plan:
        if width == 0:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        norms = [nn.BatchNorm2d(width)] if norm else []
        layers += [nn.Conv2d(channels, width, 3, padding=1), *norms, nn.ReLU()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
    for fan_in in (channels * side**2, hidden):
        layers += [nn.Linear(fan_in, hidden), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def vgg16_bn(classes: int = 10) -> nn.Sequential:
    """Return VGG-16 with batch norm."""
    return vgg16(classes, norm=True)


class Residual(nn.Module):
    """Two convolutions added to what they start from."""

    def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(fan_in, fan_out, 3, stride), nn.BatchNorm2d(fan_out), nn.ReLU(),
            convolution(fan_out, fan_out, 3), nn.BatchNorm2d(fan_out),
        )  # fmt: skip
        other = stride != 1 or fan_in != fan_out
        self.skip = (
            nn.Sequential(convolution(fan_in, fan_out, 1, stride), nn.BatchNorm2d(fan_out))
            if other
            else nn.Sequential()
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        found: Tensor = self.relu(self.body(x) + self.skip(x))
        return found


def resnet18(classes: int = 10, *, widths: tuple[int, ...] = RESNET18) -> nn.Sequential:
    """Return ResNet-18; `widths` are the channels of its groups of two blocks."""
    layers, channels = stem(widths[0]), widths[0]
    for group, width in enumerate(widths):
        layers.append(Residual(channels, width, 1 if group == 0 else 2))
        layers.append(Residual(width, width, 1))
        channels = width
    return nn.Sequential(*layers, *head(channels, classes))


class Dense(nn.Module):
    """Two convolutions of whatever came before, laid beside it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, inner, 1),
            nn.BatchNorm2d(inner), nn.ReLU(), convolution(inner, growth, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return input and new channels."""
        return torch.cat([x, self.body(x)], 1)


def densenet121(
    classes: int = 10, *, blocks: tuple[int, ...] = DENSENET121, growth: int = GROWTH
) -> nn.Sequential:
    """Return DenseNet-121; `blocks` are the numbers of layers between transitions."""
    channels = 2 * growth
    layers = stem(channels)
    for number, block in enumerate(blocks):
        for _ in range(block):
            layers.append(Dense(channels, growth))
            channels += growth
        layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU())
        if number < len(blocks) - 1:
            layers += [convolution(channels, channels // 2, 1), nn.AvgPool2d(2, 2)]
            channels //= 2
    return nn.Sequential(*layers, *head(channels, classes))


def tiny(classes: int = 10) -> nn.Sequential:
    """Return a network of a few channels with what the large ones have: norm, sum, pooling."""
    return resnet18(classes, widths=(4, 6))


NETWORKS: dict[str, Callable[[int], nn.Sequential]] = {
    "vgg16": vgg16, "vgg16_bn": vgg16_bn, "resnet18": resnet18, "densenet121": densenet121,
    "tiny": tiny,
}  # fmt: skip


def build(name: str, seed: int, classes: int = 10, *, scheme: str = "default") -> nn.Sequential:
    """Return a network with initial weights that depend on the seed alone.

    Args:
        name: one of NETWORKS.
        seed: of torch's generator while the weights are drawn, which is put back afterwards.
        scheme: "default", torch's own; "fan_out", convolutions uniform with variance 2 / fan_out
            and thresholds 0 (He et al. 2015), as the authors' VGG.

    Raises:
        ValueError: naming a network or a scheme that is not known.
    """
    if name not in NETWORKS or scheme not in ("default", "fan_out"):
        raise ValueError(f"networks are {', '.join(NETWORKS)}, got {name!r} with {scheme!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name](classes)
        for layer in network.modules():
            if scheme == "fan_out" and isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network
