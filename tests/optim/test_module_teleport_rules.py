"""Every operation by itself: exact in both modes, with the freedom that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reproductions.optim.device import generator
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, outputs, randomised, relative, source

EXACT = 1e-13


class Net(nn.Module):
    """A convolution 3 -> 6, something, and a linear layer that takes whatever comes."""

    def __init__(self, act: Callable[[Tensor], Tensor], **named: Any) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 6, 3), nn.LazyLinear(4)
        self.act = act
        for name, value in named.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        found = self.act(self.conv(x))
        return self.last(found.flatten(1))


def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=source(2), dtype=F64)


def made(act: Any) -> nn.Module:
    net = Net(act)
    net.double()(images())
    return randomised(net)


def counted(plan: Any) -> dict[str, int]:
    return {kind: plan.constraints.count(kind) for kind in sorted(set(plan.constraints))}


# the six channels of the convolution, behind which stands ...
FREEDOM: dict[str, tuple[Callable[[], Any], dict[str, int]]] = {
    "identity": (nn.Identity, {"free": 6}),
    "ReLU": (nn.ReLU, {"positive": 6}),
    "ReLU in place": (lambda: nn.ReLU(inplace=True), {"positive": 6}),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), {"positive": 6}),
    "PReLU": (lambda: nn.PReLU(6), {"positive": 6}),
    "F.relu": (lambda: functional.relu, {"positive": 6}),
    "torch.relu_": (lambda: torch.relu_, {"positive": 6}),
    "x.relu()": (lambda: lambda x: x.relu(), {"positive": 6}),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), {"positive": 6}),
    "F.max_pool2d": (lambda: lambda x: functional.max_pool2d(x, 2), {"positive": 6}),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), {"positive": 6}),
    "tanh": (nn.Tanh, {"sign": 6}),
    "tanh behind ReLU": (lambda: nn.Sequential(nn.ReLU(), nn.Tanh()), {}),
    "Hardtanh": (nn.Hardtanh, {"sign": 6}),
    "skew Hardtanh": (lambda: nn.Hardtanh(-1.0, 2.0), {}),
    "Softsign": (nn.Softsign, {"sign": 6}),
    "erf": (lambda: torch.erf, {"sign": 6}),
    "sigmoid": (nn.Sigmoid, {}),
    "ReLU6": (nn.ReLU6, {}),
    "ELU": (nn.ELU, {}),
    "GELU": (nn.GELU, {}),
    "SiLU": (nn.SiLU, {}),
    "Hardswish": (nn.Hardswish, {}),
    "Hardsigmoid": (nn.Hardsigmoid, {}),
    "softplus": (lambda: functional.softplus, {}),
    "softmax": (lambda: lambda x: x.softmax(1), {}),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), {"free": 6}),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), {"free": 6}),
    "mean over space": (lambda: lambda x: x.mean([2, 3]), {"free": 6}),
    "mean, kept": (lambda: lambda x: x.mean(dim=(2, 3), keepdim=True), {"free": 6}),
    "mean over channels": (lambda: lambda x: x.mean(1), {"free": 1}),
    "Dropout": (nn.Dropout, {"free": 6}),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), {"free": 6}),
    "F.interpolate": (lambda: lambda x: functional.interpolate(x, scale_factor=2), {"free": 6}),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(6), {"free": 12}),
    "BatchNorm2d, not affine": (lambda: nn.BatchNorm2d(6, affine=False), {}),
    "BatchNorm2d of the batch": (lambda: nn.BatchNorm2d(6, track_running_stats=False), {"free": 6}),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(6, affine=True), {"free": 6}),
    "GroupNorm": (lambda: nn.GroupNorm(3, 6), {"free": 6}),
    "LayerNorm": (lambda: nn.LayerNorm([6, 6, 6]), {"free": 216}),
    "LayerNorm behind": (lambda: _channels_last(nn.LayerNorm(6)), {"free": 6}),
    "Conv2d": (lambda: nn.Conv2d(6, 4, 3), {"free": 10}),
    "grouped Conv2d": (lambda: nn.Conv2d(6, 9, 3, groups=3), {"free": 15}),
    "depthwise Conv2d": (lambda: nn.Conv2d(6, 12, 3, groups=6, bias=False), {"free": 18}),
    "circular Conv2d": (
        lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"),
        {"free": 10},
    ),
    "Conv3d": (
        lambda: nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Conv3d(6, 4, (1, 3, 3))),
        {"free": 10},
    ),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), {"free": 10}),
    "grouped ConvTranspose2d": (lambda: nn.ConvTranspose2d(6, 4, 3, groups=2), {"free": 10}),
    "Conv1d": (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 4, 3)), {"free": 10}),
    "grouped Conv1d": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 4, 3, groups=2)),
        {"free": 10},
    ),
    "ConvTranspose1d": (
        lambda: nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(6, 4, 3)),
        {"free": 10},
    ),
    "BatchNorm1d": (lambda: nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(6)), {"free": 12}),
    "Linear over rows": (lambda: nn.Linear(6, 5), {"free": 1 + 5}),
    "Linear over flat": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 5), nn.ReLU()),
        {"free": 6, "positive": 5},
    ),
    "view": (lambda: lambda x: x.view(x.size(0), -1), {"free": 6}),
    "permute": (lambda: lambda x: x.permute(0, 2, 3, 1).contiguous(), {"free": 6}),
    "shuffled": (lambda: nn.ChannelShuffle(2), {"free": 6}),
    "PixelShuffle": (
        lambda: nn.Sequential(nn.Conv2d(6, 8, 1), nn.PixelShuffle(2), nn.ReLU()),
        {"free": 6, "positive": 8},
    ),
    "padded by zeros": (lambda: nn.ZeroPad2d(2), {"free": 6}),
    "padded by copies": (
        lambda: lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
        {"free": 6},
    ),
    "padded by ones": (lambda: lambda x: functional.pad(x, (1, 1), value=1.0), {}),
    "twice": (lambda: lambda x: 2 * x / 3, {"free": 6}),
    "sum with itself": (lambda: lambda x: x + x, {"free": 6}),
    "plus one": (lambda: lambda x: x + 1, {}),
    "gated by itself": (lambda: lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), {}),
    "squared": (lambda: lambda x: x * x, {}),
    "divided by its norm": (lambda: lambda x: x / x.norm(), {}),
    "neighbours summed": (lambda: lambda x: x[:, :3] + x[:, 3:], {"free": 3}),
    "rows summed": (lambda: lambda x: x[..., 1:] - x[..., :-1], {"free": 6}),
    "stacked": (
        lambda: lambda x: torch.stack((x[:, 0], x[:, 2]), 1).tanh(),
        {"free": 4, "sign": 2},
    ),
    "matrix product": (lambda: lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2), {}),
}


def _channels_last(module: nn.Module) -> Callable[[Tensor], Tensor]:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = module

        def forward(self, x: Tensor) -> Tensor:
            return self.own(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return Last()


@pytest.mark.parametrize("name", FREEDOM)
def test_an_operation_leaves_the_freedom_it_should_and_outputs_as_they_are(name: str):
    act, freedom = FREEDOM[name]
    module = made(act())
    plan = trace(module, images())
    assert counted(plan) == freedom
    before = outputs(module, images())
    for kind in ("intra", "inter"):
        other = plan.teleport(module, plan.draw(0.9, generator(0, 0), kind=kind))
        assert relative(outputs(other, images()), before) <= EXACT


@pytest.mark.parametrize("name", FREEDOM)
@pytest.mark.parametrize("training", [False, True])
def test_an_operation_can_be_conjugated_by_any_scalars(name: str, training: bool):
    act, _ = FREEDOM[name]
    module = made(act())
    if not isinstance(module.act, nn.Dropout):  # its mask is drawn anew
        module.train(training)
    plan = trace(module, images(), mode="general")
    assert set(plan.constraints) == {"free"}
    assert len(plan.constraints) >= 6
    other = plan.teleport(module, plan.draw(0.9, generator(0, 0), kind="inter"))
    assert other.training == module.training
    assert relative(outputs(other, images()), outputs(module, images())) <= EXACT
    assert not torch.equal(other.conv.weight, module.conv.weight)
