"""Networks wired at random: whatever is traced is exact, in both modes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from reproductions.optim.device import generator
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, outputs, randomised, relative, source

CHANNELS, STEPS = 4, 10
LAYERS = {
    "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1, groups=CHANNELS),
    "transposed": lambda: nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, padding=1, groups=2),
    "batch": lambda: nn.BatchNorm2d(CHANNELS),
    "group": lambda: nn.GroupNorm(2, CHANNELS),
    "join": lambda: nn.Conv2d(2 * CHANNELS, CHANNELS, 1),
    "relu_": lambda: nn.ReLU(inplace=True),
    "silu_": lambda: nn.SiLU(inplace=True),
    "prelu": lambda: nn.PReLU(CHANNELS),
    "pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average": lambda: nn.AvgPool2d(3, 1, 1),
    "shuffle": lambda: nn.ChannelShuffle(2),
    "scale": lambda: Scale(),
}
OPERATIONS = {
    "relu": torch.relu,
    "tanh": lambda x: x.tanh(),
    "sigmoid": torch.sigmoid,
    "half": lambda x: x * 0.5,
    "swap": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "flip": lambda x: x.flip(1),
    "turn": lambda x: x.transpose(2, 3),
    "pad": lambda x: functional.pad(x, (1, 0, 0, 1))[:, :, 1:, 1:],
}
PAIRS = {
    "add": lambda x, y: x + y,
    "add_": lambda x, y: (x + 0).add_(y),
    "sub": torch.sub,
    "gate": lambda x, y: x * torch.sigmoid(y.mean((2, 3), keepdim=True)),
    "product": lambda x, y: x * y.tanh(),
    "stack": lambda x, y: torch.stack((x, y)).mean(0),
}
KINDS = st.sampled_from([*LAYERS, *OPERATIONS, *PAIRS])
PROGRAMS = st.lists(
    st.tuples(KINDS, st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=STEPS
)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(CHANNELS, 1, 1))
        self.beta = nn.Parameter(torch.ones(CHANNELS, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x + self.beta


class Program(nn.Module):
    """Run operations on one or two of the latest results."""

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.first, self.last = nn.Conv2d(2, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 3, 1)
        made = {str(at): LAYERS[name]() for at, (name, *_) in enumerate(steps) if name in LAYERS}
        self.layers = nn.ModuleDict(made)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.first(x)]
        for at, (name, one, two) in enumerate(self.steps):
            first, second = found[-1 - one % len(found)], found[-1 - two % len(found)]
            if name == "join":
                found.append(self.layers[str(at)](torch.cat([first, second], 1)))
            elif name in LAYERS:
                found.append(self.layers[str(at)](first))
            else:
                found.append(
                    OPERATIONS[name](first) if name in OPERATIONS else PAIRS[name](first, second)
                )
        return self.last(found[-1]).mean((2, 3))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(PROGRAMS, st.sampled_from(["intra", "general"]), st.sampled_from(["absorb", "fix"]))
def test_a_network_wired_at_random_keeps_its_outputs(
    steps: list[tuple[str, int, int]], mode: str, normalisation: str
):
    module = randomised(Program(steps))
    x = torch.randn(2, 2, 6, 6, generator=source(1), dtype=F64)
    plan = trace(module, x, mode=mode, normalisation=normalisation)
    tau = plan.draw(0.5, generator(0, 0), kind="inter")
    other = plan.teleport(module, tau)
    assert relative(outputs(other, x), outputs(module, x)) <= 1e-12
    back = plan.undo(other, tau)
    own = dict(module.named_parameters())
    for name, value in back.named_parameters():
        torch.testing.assert_close(value, own[name], rtol=1e-13, atol=1e-300)
