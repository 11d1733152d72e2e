"""Modules to teleport: the authors' toy networks, torchvision's, and how they are compared."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.harness.dataset_torchvision import import_torchvision

F64 = torch.float64


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and running statistic a value that hides nothing, in eval mode.

    Weights of layers keep variances about as they pass; a block of normal numbers is repeated in
    the largest ones.
    """
    module = module.to(F64).eval()
    noise = torch.randn(1 << 18, generator=source(seed), dtype=F64)
    with torch.no_grad():
        for at, own in enumerate(module.parameters()):
            fan = own[0].numel() if own.ndim > 1 else 1
            values = noise.roll(at).repeat(-(-own.numel() // len(noise)))[: own.numel()]
            own.copy_(values.reshape(own.shape) * math.sqrt(2 / fan) * (1 if own.ndim > 1 else 0.1))
        for child in module.modules():
            if hasattr(child, "weight") and getattr(child.weight, "ndim", 0) == 1:
                child.weight.abs_().add_(0.5)
            if getattr(child, "running_var", None) is not None:
                child.running_mean.copy_(noise[: len(child.running_mean)] * 0.1)
                child.running_var.copy_(noise[: len(child.running_var)].abs() + 0.5)
    return module


@torch.no_grad()
def outputs(module: nn.Module, *inputs: Tensor) -> Tensor:
    found = module(*inputs)
    return (found if isinstance(found, Tensor) else found[0]).clone()


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def largest(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference of outputs that are scaled to a largest entry of one."""
    return float((found - wanted).abs().max() / wanted.abs().max())


# ---------------------------------------------------------------- torchvision


def from_torchvision(name: str, *, narrow: bool = True) -> nn.Module:
    """Return a torchvision model with ten outputs and random weights, float64 and in eval mode.

    Args:
        narrow: whether the two layers of 4096 units in VGG have 64 instead, for time's sake.
    """
    models = import_torchvision().models
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    # torchvision's RegNet computes its widths with tensors
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        module = getattr(models, name)(weights=None, num_classes=10, **extra)
        if name.startswith("vgg") and narrow:
            module.classifier[0], module.classifier[3] = nn.Linear(25088, 64), nn.Linear(64, 64)
            module.classifier[6] = nn.Linear(64, 10)
    return randomised(module.to_empty(device="cpu"))


# ---------------------------------------------------------------- the authors' toy networks


def image(batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 1, 28, 28, generator=source(seed), dtype=F64)


def mlp() -> nn.Module:
    hidden = (nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 36, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def tanh_sigmoid_mlp() -> nn.Module:
    hidden = (nn.Linear(784, 128), nn.Tanh(), nn.Linear(128, 128), nn.Sigmoid())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))


def tanh_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64, 10)
    )


def pooled_sigmoid() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.MaxPool2d(2),
        nn.Sigmoid(),
        nn.Conv2d(6, 8, 3),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 25, 10),
    )


def convolution_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 10),
    )


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=3),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 361, 10),
    )


def mlp_batch_norm() -> nn.Module:
    hidden = (nn.Linear(784, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    return nn.Sequential(nn.Flatten(), *hidden, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


class Wired(nn.Module):
    """Four convolutions and a linear layer, and a function that says how they hang together."""

    def __init__(self, wiring: Callable[[Wired, Tensor], Tensor], *channels: int) -> None:
        super().__init__()
        first, second, third, fourth, last = channels
        self.a = nn.Conv2d(1, first, 3, padding=1)
        self.b = nn.Conv2d(first, second, 3, padding=1)
        self.c = nn.Conv2d(second, third, 3, padding=1)
        self.d = nn.Conv2d(third, fourth, 3, padding=1)
        self.fc = nn.Linear(last * 49, 10)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        found = self.wiring(self, functional.avg_pool2d(x, 2))
        return self.fc(functional.max_pool2d(found, 2).flatten(1))


def identity_skips(net: Wired, x: Tensor) -> Tensor:
    a = functional.relu(net.a(x))
    b = functional.relu(net.b(a)) + a
    c = functional.relu(net.c(b)) + b
    return functional.relu(net.d(c))


def two_sums_of_one_source(net: Wired, x: Tensor) -> Tensor:
    a = net.a(x)
    b = net.b(a)
    b += a
    return net.d(net.c(b) + a)


def sum_without_a_layer_behind(net: Wired, x: Tensor) -> Tensor:
    return functional.relu(net.b(functional.relu(net.a(x))) + x)


def skip_over_a_convolution(net: Wired, x: Tensor) -> Tensor:
    a = functional.relu(net.a(x))
    skipped = net.d(a)
    return skipped + net.c(functional.relu(net.b(a)))


def nested_skips(net: Wired, x: Tensor) -> Tensor:
    a = net.a(x)
    inner = torch.add(net.b(torch.relu(a)), a)
    return net.d(inner + net.c(torch.relu(inner))) + a


RESIDUAL: dict[str, Callable[[], nn.Module]] = {
    "identity skips": lambda: Wired(identity_skips, 4, 4, 4, 6, 6),
    "two sums of one source": lambda: Wired(two_sums_of_one_source, 4, 4, 4, 6, 6),
    "skip over a convolution": lambda: Wired(skip_over_a_convolution, 4, 3, 4, 4, 4),
    "nested skips": lambda: Wired(nested_skips, 4, 4, 4, 4, 4),
}


def densely(net: Wired, x: Tensor) -> Tensor:
    a = torch.relu(net.a(x))
    b = torch.relu(net.b(a))
    return torch.cat([a, b], dim=1)


def split_and_joined(net: Wired, x: Tensor) -> Tensor:
    a = torch.relu(net.a(x))
    low, high = a.chunk(2, dim=1)
    return torch.cat([net.b(a), low, high], 1)


def the_other_order(net: Wired, x: Tensor) -> Tensor:
    a = torch.relu(net.a(x))
    b = torch.relu(net.b(a))
    return torch.cat([b, a], dim=1)


def joined_twice(net: Wired, x: Tensor) -> Tensor:
    a = torch.relu(net.a(x))
    both = torch.cat((a, torch.relu(net.b(a))), 1)
    return torch.cat((both, net.c(both)), 1)


def joined_inputs(net: Wired, x: Tensor) -> Tensor:
    return torch.cat([x, torch.relu(net.b(net.a(x)))], 1)


DENSE: dict[str, Callable[[], nn.Module]] = {
    "one after the other": lambda: Wired(densely, 4, 3, 2, 2, 7),
    "split and joined": lambda: Wired(split_and_joined, 4, 3, 2, 2, 7),
    "the other order": lambda: Wired(the_other_order, 4, 3, 2, 2, 7),
    "joined twice": lambda: _wider(Wired(joined_twice, 4, 3, 2, 2, 9)),
    "joined with the inputs": lambda: Wired(joined_inputs, 4, 3, 2, 2, 4),
}


def _wider(net: Wired) -> Wired:
    net.c = nn.Conv2d(7, 2, 3, padding=1)
    return net


LAYERED: dict[str, Callable[[], nn.Module]] = {
    "MLP": mlp,
    "CNN": cnn,
    "tanh and sigmoid": tanh_sigmoid_mlp,
    "convolution and tanh": tanh_cnn,
    "pooling and sigmoid": pooled_sigmoid,
    "convolution and BatchNorm": convolution_batch_norm,
    "transposed convolution": transposed,
    "MLP and BatchNorm": mlp_batch_norm,
}
TOYS = LAYERED | RESIDUAL | DENSE


class Between(nn.Module):
    """A linear layer, a function of the network and the features behind it, and another layer."""

    def __init__(self, wiring: Callable[[Between, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.extra, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.norm, self.same = nn.BatchNorm1d(8), nn.AlphaDropout()
        self.gain = nn.Parameter(torch.ones(8))
        self.register_buffer("index", torch.tensor([3, 1, 0, 2, 7, 6, 5, 4]))
        self.register_buffer("average", torch.zeros(8))
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.wiring(self, self.first(x)))


def between(wiring: Callable[[Between, Tensor], Tensor], seed: int = 0) -> Between:
    module = Between(wiring)
    randomised(module, seed)
    return module
