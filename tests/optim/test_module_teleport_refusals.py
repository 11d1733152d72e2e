"""What cannot be teleported is refused by name, and nothing has changed then."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.device import generator
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, cnn, image, mlp, outputs, randomised, relative


def network(*middle: nn.Module) -> nn.Module:
    first, last = nn.Linear(784, 6), nn.Linear(6, 4)
    return randomised(nn.Sequential(nn.Flatten(), first, *middle, last))


# ---------------------------------------------------------------- changes of basis

WRONG: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "zero": (
        lambda tau: tau.index_fill(0, torch.tensor(3), 0.0),
        "must be other than zero, got 0.0",
    ),
    "not a number": (lambda tau: tau.index_fill(0, torch.tensor(3), math.nan), "finite, got nan"),
    "infinite": (lambda tau: tau.index_fill(0, torch.tensor(3), -math.inf), "finite, got -inf"),
    "negative": (
        lambda tau: tau.index_fill(0, torch.tensor(3), -0.5),
        "must be positive, got -0.5",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_scalar_is_refused_with_the_place_of_its_unit(name: str):
    change, said = WRONG[name]
    module = randomised(cnn())
    plan, before = trace(module, image()), outputs(module, image())
    tau = change(torch.full((plan.units,), 2.0, dtype=F64))
    for refused in (plan.teleport, plan.apply, plan.undo):
        with pytest.raises(ValueError, match=rf"tau\[3\], for 0, channel 3, .*{said}"):
            refused(module, tau)
    assert torch.equal(outputs(module, image()), before)
    with pytest.raises(ValueError, match=said):
        plan.bilinear({}, torch.stack([tau, tau]), power=2)


def test_only_signs_pass_an_odd_function():
    plan = trace(network(nn.Tanh()), image())
    with pytest.raises(ValueError, match=r"for 1, channel 0, must be 1 or -1, got 0.5"):
        plan.check(torch.full((6,), 0.5))
    assert plan.check(-torch.ones(6)).dtype == F64


@pytest.mark.parametrize("shape", [(7,), (5,), (), (6, 1), (1, 1, 6)])
def test_a_change_of_basis_of_the_wrong_length_is_refused(shape: tuple[int, ...]):
    plan = trace(network(nn.ReLU()), image())
    with pytest.raises(ValueError, match=r"tau must be \(6,\), one scalar a unit"):
        plan.check(torch.ones(shape))


def test_several_changes_of_basis_cannot_be_applied_to_one_module():
    module = network(nn.ReLU())
    with pytest.raises(ValueError, match="one change of basis, got 2"):
        trace(module, image()).apply(module, torch.ones(2, 6))


def test_scalars_too_small_for_the_weights_dtype_are_refused():
    module = network(nn.ReLU()).float()
    plan = trace(module, image().float())
    with pytest.raises(ValueError, match="float32"):
        plan.apply(module, torch.full((6,), 1e-60, dtype=F64))


def test_a_range_that_touches_zero_is_refused():
    plan = trace(network(nn.ReLU()), image())
    with pytest.raises(ValueError):
        plan.draw(1.0, generator(0, 0))


# ---------------------------------------------------------------- modules


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Loops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for row in x:
            x = x + row
        return x


def test_control_flow_on_values_is_refused_with_its_module_and_line():
    with pytest.raises(
        TypeError, match=r"2 \(Branches\) cannot be traced.*if x.sum\(\) > 0"
    ) as told:
        trace(network(Branches()), image())
    assert "test_module_teleport_refusals.py" in str(told.value)
    with pytest.raises(TypeError, match=r"2 \(Loops\) cannot be traced.*for row in x"):
        trace(network(Loops()), image())


class Cumulated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1)


def test_an_unknown_operation_is_refused_by_name_or_left_alone():
    module = network(Cumulated(), nn.ReLU())
    with pytest.raises(
        TypeError, match=r"cumsum \(cumsum in 2, line \d+ of .*refusals.py\) cannot be"
    ) as told:
        trace(module, image())
    assert "Linear" in str(told.value) and "unknown='fix'" in str(told.value)
    assert trace(module, image(), unknown="fix").units == 0
    plan = trace(module, image(), unknown="fix", mode="general")
    other = plan.teleport(module, plan.draw(0.9, generator(0, 0), kind="inter"))
    assert plan.units == 6
    assert relative(outputs(other, image()), outputs(module, image())) <= 1e-13


def relu(x: Tensor) -> Tensor:
    return x.sigmoid()


torch.fx.wrap("relu")


class Impostor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


def test_a_function_that_is_called_like_one_of_torchs_is_not_taken_for_it():
    with pytest.raises(TypeError, match=r"relu .*no rule is known"):
        trace(network(Impostor()), image())


class Written(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[:, 0] = 0.0
        return x


class Squeezed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).squeeze_(1)


class Measured(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.max().item()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x[:, None])[0][:, 0]


class Indices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(1, return_indices=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x[:, None])[0][:, 0]


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "an assignment to entries": (Written, r"2 \(Written\).*x\[:, 0\] = 0.0"),
    "a shape changed in place": (Squeezed, "squeeze_ .*another shape in place"),
    "a value taken out": (Measured, "max"),
    "a recurrent layer": (Recurrent, "GRU 2.cell.*no rule is known"),
    "indices of a pooling": (Indices, "MaxPool1d 2.pool.*returns indices"),
    "a parametrised weight": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
        "ParametrizedLinear 2.*no rule is known",
    ),
    "a weight that a hook computes": (
        lambda: nn.utils.spectral_norm(nn.Linear(6, 6)),
        "Linear 2.*weight is computed from other parameters",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_what_has_no_rule_is_refused_in_both_modes(name: str, mode: str):
    make, said = REFUSED[name]
    with pytest.raises(TypeError, match=said):
        trace(network(make()), image(), mode=mode)


def test_a_module_that_the_plan_is_not_of_is_refused_whole():
    plan = trace(randomised(mlp()), image())
    other = randomised(cnn())
    before = [one.clone() for one in other.parameters()]
    with pytest.raises(ValueError, match=r"the plan is of another one"):
        plan.teleport(other, torch.ones(plan.units), inplace=True)
    wider = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 99), nn.ReLU()
    )
    with pytest.raises(ValueError, match=r"3.weight has shape \(99, 128\)"):
        plan.apply(wider.append(nn.Linear(99, 10)), torch.ones(plan.units))
    assert all(torch.equal(one, two) for one, two in zip(before, other.parameters(), strict=True))


def test_a_general_teleport_cannot_be_made_in_place_without_its_factors():
    module = network(nn.GELU())
    plan = trace(module, image(), mode="general")
    with pytest.raises(ValueError, match="only what teleport returned"):
        plan.teleport(module, torch.ones(plan.units), inplace=True)


@pytest.mark.parametrize("wrong", [{"mode": "inter"}, {"normalisation": "x"}, {"unknown": "y"}])
def test_an_unknown_way_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="is unknown; use"):
        trace(network(nn.ReLU()), image(), **wrong)
