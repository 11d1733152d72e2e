"""What would change silently: each is followed exactly, with less freedom, or refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reproductions.optim.device import generator
from reproductions.optim.module_teleport import trace
from tests.optim.module_zoo import F64, Between, between, outputs, relative, source

Case = tuple[Callable[[Any, Tensor], Any], dict[str, Any]]


def flat(batch: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(batch, 5, generator=source(seed), dtype=F64)


def reads_after(write: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Tensor]:
    """Return what writes somewhere and goes on with h."""
    return lambda net, h: (write(net, h), h)[1]


def parts_written(net: Any, h: Tensor) -> Tensor:
    parts = h.chunk(2, 1)
    parts[0].relu_()
    return torch.cat(parts, 1)


def gated(net: Any, h: Tensor) -> Tensor:
    gate = h.softmax(1)
    gate.mul_(net.extra(h))
    return gate


FOLLOWED: dict[str, Callable[[Any, Tensor], Any]] = {
    "an index": lambda net, h: h[:, net.index].relu(),
    "an index made in forward": lambda net, h: h[:, torch.arange(7, -1, -1)].relu(),
    "a mask": lambda net, h: h[:, net.index >= 0].relu() * 1.0,
    "counts of repeats": lambda net, h: torch.repeat_interleave(h, net.index % 2 * 2, dim=1).relu(),
    "a narrow start": lambda net, h: torch.cat([torch.narrow(h, 1, net.index[1], 4).relu()] * 2, 1),
    "whole numbers by to": lambda net, h: (h * 10).to(torch.int64).to(F64),
    "whole numbers by type": lambda net, h: (h * 10).type(torch.int64).to(F64),
    "whole numbers by type_as": lambda net, h: (h * 10).type_as(net.index).double(),
    "truth values": lambda net, h: h * h.relu().to(torch.bool).to(F64),
    "a sum of whole numbers": lambda net, h: h + h.sum(1, keepdim=True, dtype=torch.int64),
    "a sum over no dimensions": lambda net, h: h * h.sum(dim=[]),
    "a mean over no dimensions": lambda net, h: net.extra(h).relu() + torch.mean(h, dim=()),
    "a cat by axis": lambda net, h: torch.cat([h[:, :3], h[:, 3:].relu()], axis=1),
    "a mean by axis": lambda net, h: net.extra(h[:, None, :].relu().mean(axis=1)),
    "statistics beside": lambda net, h: net.norm(h) + net.norm.running_mean.sum(),
    "statistics by hand": lambda net, h: (
        ((h - net.norm.running_mean) / (net.norm.running_var + 1e-5).sqrt()).relu()
        + net.norm(net.extra(h))
    ),
    "a product in place": reads_after(lambda net, h: h.mul_(net.gain)),
    "a product with a fixed one in place": gated,
    "parts in place": parts_written,
    "an alias of a conjugated one": reads_after(lambda net, h: net.same(h).mul_(2.0)),
}


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_outputs_stay_where_features_take_unusual_ways(name: str, mode: str):
    module = between(FOLLOWED[name])
    plan = trace(module, flat(), mode=mode)
    for kind in ("intra", "inter"):
        other = plan.teleport(module, plan.draw(0.9, generator(0, 3), kind=kind))
        x = flat(4, seed=5)
        found, wanted = outputs(copy.deepcopy(other), x), outputs(copy.deepcopy(module), x)
        assert relative(found, wanted) <= 1e-11


def test_indices_leave_each_feature_a_scalar_of_its_own():
    plan = trace(between(lambda net, h: h[:, net.index].relu()), flat())
    assert plan.constraints == ("positive",) * 8


def drawn_in_forward(net: Any, h: Tensor) -> Tensor:
    return h + torch.randn(8, dtype=F64, generator=source())


def counted(net: Any, h: Tensor) -> Tensor:
    return h * sum(float(one.sum()) for one in net.extra._parameters.values())


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "an index from the inputs": (
        lambda net, h: h[:, h.to(torch.bool)[0]],
        "getitem_1 .*which entries it takes depends on inputs",
    ),
    "out=": (
        lambda net, h: torch.tanh(h, out=net.extra(h)),
        "tanh .*it writes into what out= names",
    ),
    "a penalty on all parameters": (
        lambda net, h: h + sum(one.square().sum() for one in net.parameters()),
        r"_tensor_constant0 \(constant.*computed from parameters",
    ),
    "a detached penalty": (
        lambda net, h: h + sum(one.detach().sum() for one in net.parameters()),
        "computed from parameters",
    ),
    "a number from a parameter": (counted, "takes values out of a parameter"),
    "noise": (lambda net, h: h + torch.randn(8, dtype=F64), "randn draws random numbers"),
    "noise of a generator": (drawn_in_forward, "randn draws random numbers"),
    "an assignment to a parameter": (
        reads_after(lambda net, h: net.gain.mul_(0.5)),
        "mul_.*it writes into a parameter",
    ),
    "a rule that fails": (
        lambda net, h: functional.unfold(h[:, None, :, None], 1)[:, 0],
        "unfold .*its rule fails with",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_what_a_plan_cannot_hold_is_refused_and_leaves_no_trace(name: str, mode: str):
    wiring, said = REFUSED[name]
    module = between(wiring)
    before, attributes = copy.deepcopy(module.state_dict()), set(vars(module))
    state = torch.get_rng_state()
    with pytest.raises(TypeError, match=said):
        trace(module, flat(), mode=mode)
    assert set(vars(module)) == attributes and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())


def test_a_batch_of_two_bases_is_refused_in_general_mode():
    module = between(lambda net, h: torch.cat([h, net.extra(h)]).relu())
    with pytest.raises(TypeError, match="cat .*along the batch would fix its size"):
        trace(module, flat(), mode="general")
    plan = trace(module, flat())
    other = plan.teleport(module, plan.draw(0.9, generator(0, 0)))
    assert plan.units == 8
    assert relative(outputs(other, flat(7)), outputs(module, flat(7))) <= 1e-12


def hooked(net: Between) -> None:
    net.extra.register_forward_hook(lambda layer, given, found: found + 1)


def prepared(net: Between) -> None:
    net.extra.register_forward_pre_hook(lambda layer, given: (given[0] + 1,))


def patched(net: Between) -> None:
    net.extra.forward = torch.sigmoid  # type: ignore[method-assign]


def replaced(net: Between) -> None:
    net.forward = torch.sigmoid  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (hooked, "Linear extra.*it has hooks"),
        (prepared, "Linear extra.*it has hooks"),
        (patched, "Linear extra.*its forward has been replaced"),
        (replaced, "Between cannot be traced: its forward has been replaced"),
    ],
)
def test_a_layer_that_does_more_than_its_class_is_refused(change: Callable[..., None], said: str):
    module = between(lambda net, h: net.extra(h))
    change(module)
    with pytest.raises(TypeError, match=said):
        trace(module, flat())
