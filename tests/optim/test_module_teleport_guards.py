"""What is traced stays as it was, and nothing is written or recovered that would be wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.device import generator
from reproductions.optim.module_plan import Plan
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, Between, between, outputs, randomised, relative, source


def flat(batch: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(batch, 5, generator=source(seed), dtype=F64)


def drawn(plan: Plan, seed: int = 0, kind: str = "intra") -> Tensor:
    return plan.draw(0.9, generator(seed, 3), kind=kind)


def relu(net: Any, h: Tensor) -> Tensor:
    return h.relu()


def normalised(net: Any, h: Tensor) -> Tensor:
    return net.norm(h).relu()


# ---------------------------------------------------------------- tracing


def with_a_constant(net: Any, h: Tensor) -> Tensor:
    return h * torch.tensor([2.0], dtype=F64)


def with_an_average(net: Any, h: Tensor) -> Tensor:
    net.average.mul_(0.9).add_(h.mean(0) * 0.1)
    return h - net.average


class Cut(nn.Module):
    """An embedding that cuts its rows to a norm, in its own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.last = nn.Embedding(11, 5, max_norm=0.5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rows(x.abs().to(torch.int64)).relu())


class Randomised(nn.Module):
    """A leaky ReLU of random slopes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(5, 8), nn.RReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x)))


UNTOUCHED: dict[str, Callable[[], nn.Module]] = {
    "a constant": lambda: between(with_a_constant),
    "a moving average": lambda: between(with_an_average),
    "a cut embedding": lambda: randomised(Cut()),
    "random slopes": lambda: randomised(Randomised()).train(),
}


@pytest.mark.parametrize("name", UNTOUCHED)
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_tracing_leaves_the_module_and_the_generator_as_they_were(name: str, mode: str):
    module = UNTOUCHED[name]()
    before, attributes = copy.deepcopy(module.state_dict()), set(vars(module))
    state = torch.get_rng_state()
    plan = trace(module, flat(), mode=mode)
    assert torch.equal(state, torch.get_rng_state())
    assert set(vars(module)) == attributes
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())
    other = plan.teleport(module, drawn(plan))
    runs = []
    for one in (other, module):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            runs.append(outputs(copy.deepcopy(one), flat()))
    assert relative(*runs) <= 1e-12


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.last(self.first(x["a"].mul_(2.0)).relu())


def test_examples_in_dictionaries_are_not_overwritten():
    given = {"a": flat()}
    trace(randomised(Named()), given)
    assert torch.equal(given["a"], flat())


def test_tracing_works_in_inference_mode_and_leaves_a_graph_of_gradients():
    module = between(relu)
    loss = module(flat()).sum()
    with torch.inference_mode():
        plan = trace(module, flat())
    loss.backward()
    assert plan.constraints == ("positive",) * 8


# ---------------------------------------------------------------- writing


def sharing(net: Between) -> None:
    net.last.weight = nn.Parameter(net.extra.weight.data[:3])


def expanded(net: Between) -> None:
    net.extra.bias = nn.Parameter(torch.ones(1, dtype=F64).expand(8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (sharing, "last.weight and extra.weight share memory|extra.weight and last.weight share"),
        (expanded, "extra.bias is an expanded view"),
    ],
)
def test_tensors_that_cannot_change_one_by_one_are_refused_whole(
    change: Callable[[Between], None], said: str
):
    module = between(lambda net, h: net.extra(h.relu()).relu())
    change(module)
    plan = trace(module, flat())
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=said):
        plan.apply(module, drawn(plan))
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())
    other = plan.teleport(module, drawn(plan))  # a copy shares nothing
    assert relative(outputs(other, flat()), outputs(module, flat())) <= 1e-12


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e20),
        (torch.float32, 1e-25),
        (torch.float16, 300.0),
        (torch.float16, 1e-4),
        (torch.bfloat16, 1e20),
    ],
)
def test_factors_beyond_a_dtype_are_refused_before_anything_is_written(
    dtype: torch.dtype, scale: float
):
    module = between(normalised).to(dtype)
    plan = trace(between(normalised), flat())
    before = copy.deepcopy(module.state_dict())
    tau = torch.ones(plan.units, dtype=F64).index_fill(0, torch.tensor(0), scale)
    with pytest.raises(ValueError, match="too large or too small for torch"):
        plan.apply(module, tau)
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())


def test_ratios_beyond_a_dtype_are_refused():
    module = between(lambda net, h: net.extra(h.relu()).relu()).float()
    plan = trace(module, flat().float())
    tau = torch.full((16,), 1e-30, dtype=F64)
    tau[8:] = 1e30
    with pytest.raises(ValueError, match="a factor of extra.weight is too large or too small"):
        plan.apply(module, tau)


class Twice(nn.Module):
    """Two normalisations of the same running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.one, self.two = nn.BatchNorm1d(8), nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.two(self.b(self.one(self.a(x)).relu())))


def test_shared_running_statistics_change_once():
    module = randomised(Twice())
    module.two.running_var, module.two.running_mean = (
        module.one.running_var,
        module.one.running_mean,
    )
    plan = trace(module, flat())
    other = plan.teleport(module, drawn(plan))
    assert plan.units == 24
    assert relative(outputs(other, flat()), outputs(module, flat())) <= 1e-13
    torch.testing.assert_close(plan.recover(module, other), drawn(plan), rtol=1e-12, atol=0)
    factor = plan.factors(drawn(plan), module)["two.weight"]
    torch.testing.assert_close(module.two.weight * factor, other.two.weight, rtol=1e-13, atol=0)


def test_complex_scalars_are_refused():
    plan = trace(between(relu), flat())
    with pytest.raises(ValueError, match="tau must be real, got torch.complex64"):
        plan.check(torch.full((plan.units,), 1 + 1j))


# ---------------------------------------------------------------- recovering


@pytest.mark.parametrize("name", ["first.weight", "first.bias", "last.weight", "last.bias"])
def test_a_weight_that_is_not_a_number_is_not_recovered_from(name: str):
    module = between(relu)
    plan = trace(module, flat())
    other = plan.teleport(module, drawn(plan))
    with torch.no_grad():
        other.get_parameter(name).view(-1)[2] = torch.nan
    with pytest.raises(ValueError, match=f"{name} differs by nan"):
        plan.recover(module, other)


@pytest.mark.parametrize("normalisation", ["absorb", "fix"])
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_buffers_that_the_outputs_depend_on_are_compared(normalisation: str, mode: str):
    module = between(lambda net, h: net.norm(h)[:, net.index].relu())
    plan = trace(module, flat(), normalisation=normalisation, mode=mode)
    module = plan.teleport(module, torch.ones(plan.units))
    for name in ("norm.running_mean", "index"):
        other = plan.teleport(module, drawn(plan))
        other.get_buffer(name).add_(1)
        with pytest.raises(ValueError, match=f"{name} differs by"):
            plan.recover(module, other)
    other = plan.teleport(module, drawn(plan))
    other.norm.num_batches_tracked.add_(1)  # nothing depends on it
    torch.testing.assert_close(plan.recover(module, other), drawn(plan), rtol=1e-11, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_strangers_of_low_precision_are_told_apart(dtype: torch.dtype):
    first, second = between(relu).to(dtype), between(relu, seed=1).to(dtype)
    plan = trace(between(relu), flat())
    with torch.no_grad():
        for one in (first, second):
            one.first.weight.abs_()
    with pytest.raises(ValueError, match="differs by .* 0.05 is allowed"):
        plan.recover(first, second)
    tau = plan.draw(0.5, generator(0, 0))
    found = plan.recover(first, plan.teleport(first, tau))
    torch.testing.assert_close(found, tau, rtol=0.02, atol=0)


def test_whole_numbers_among_the_parameters_are_compared_exactly():
    module = between(relu)
    module.register_parameter("n", nn.Parameter(torch.ones(3, dtype=torch.int64), False))
    plan = trace(module, flat())
    torch.testing.assert_close(
        plan.recover(module, plan.teleport(module, drawn(plan))), drawn(plan), rtol=1e-12, atol=0
    )


def test_signs_are_recovered_as_signs():
    for seed in range(10):
        module = between(lambda net, h: net.extra(h.relu()).tanh(), seed)
        plan = trace(module, flat())
        tau = drawn(plan, seed, kind="inter")
        found = plan.recover(module, plan.teleport(module, tau))
        assert set(found[8:].tolist()) <= {1.0, -1.0} and torch.equal(found[8:], tau[8:])


def test_a_plan_without_units_can_be_used_like_any_other():
    module = between(lambda net, h: torch.cumsum(h, 1))
    plan = trace(module, flat(), unknown="fix")
    tau = drawn(plan)
    assert plan.units == 0 and plan.factors(tau) == {}
    assert plan.recover(module, plan.undo(plan.teleport(module, tau), tau)).shape == (0,)
    weight = module.first.weight.detach()
    squared = plan.bilinear({"first.weight": weight**2}, tau, power=2)
    assert float(squared) == pytest.approx(float(weight.square().sum()))
