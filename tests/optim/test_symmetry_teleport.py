"""Symmetry teleports: the closed form, its convexity, both ends of it, and the linear group."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim import batch_symmetry
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.symmetry_teleport import ascend, balance
from reproductions.optim.teleport import norms, teleport

F64 = torch.float64
LAYOUT = Layout((6, 5, 4, 3))
BOUND = 3.0


def problem(seed: int = 0) -> NetworkLoss:
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(25, 6, generator=source, dtype=F64)
    return NetworkLoss(
        LAYOUT, inputs, torch.randint(3, (25,), generator=source), activations="relu"
    )


@pytest.fixture
def theta() -> Tensor:
    return LAYOUT.initialise(range(4), dtype=F64)


@pytest.fixture
def gradient(theta: Tensor) -> Tensor:
    return problem().gradient(theta)[1]


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_the_norm_is_that_of_a_fresh_backward_pass_and_the_loss_stays(
    theta: Tensor, gradient: Tensor, steps: int
):
    found = ascend(LAYOUT, gradient, BOUND, steps=steps, rate=0.13)
    before = problem().loss(theta)
    loss, moved = problem().gradient(teleport(LAYOUT, theta, found.tau))
    torch.testing.assert_close(found.squared_norm, moved.square().sum(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss, before, rtol=1e-13, atol=0)
    for member in range(4):
        closed = norms(LAYOUT, gradient[member].square(), found.tau[member : member + 1], power=-2)
        torch.testing.assert_close(closed[0], found.squared_norm[member], rtol=1e-12, atol=0)


def test_the_slope_is_that_of_automatic_differentiation(gradient: Tensor):
    found = ascend(LAYOUT, gradient, BOUND, steps=3, rate=0.2)
    logs = found.tau.log().requires_grad_()
    one, three = logs.new_zeros(4, 6), logs.new_zeros(4, 3)
    split = [one, *logs.split([5, 4], 1), three]
    layers = LAYOUT.views(gradient.square())
    total = torch.zeros(4, dtype=F64)
    for (weight, bias), below, above in zip(layers, split, split[1:], strict=False):
        total = total + (weight * (2 * below[:, :, None] - 2 * above[:, None]).exp()).sum((1, 2))
        total = total + (bias * (-2 * above).exp()).sum(1)
    slope = torch.autograd.grad(total.log().sum(), logs)[0]
    torch.testing.assert_close(found.slope, slope, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found.squared_norm, total.detach(), rtol=1e-12, atol=0)


def test_the_norm_is_convex_in_the_logarithms_of_the_factors(gradient: Tensor):
    source = torch.Generator().manual_seed(3)
    one, two = torch.randn(2, 50, 9, generator=source, dtype=F64)
    at = [
        norms(LAYOUT, gradient[0].square(), s.exp(), power=-2) for s in (one, two, (one + two) / 2)
    ]
    assert (at[2] < (at[0] + at[1]) / 2).all()
    assert (at[2].log() < (at[0].log() + at[1].log()) / 2 + 1e-12).all()


@pytest.mark.parametrize("rate", [0.05, 0.4, 10.0])
def test_no_step_lowers_the_norm_and_the_end_is_a_corner(gradient: Tensor, rate: float):
    last = gradient.square().sum(1)
    for steps in range(1, 30):
        found = ascend(LAYOUT, gradient, BOUND, steps=steps, rate=rate)
        assert (found.squared_norm >= last * (1 - 1e-12)).all()
        last = found.squared_norm
    sizes = found.tau.log().abs()[found.slope != 0]
    assert torch.allclose(sizes, torch.full_like(sizes, math.log(BOUND)))
    outwards = found.tau.log().sign() == found.slope.sign()
    assert outwards[found.slope != 0].all()  # no corner beside it along one unit is higher


def test_without_a_bound_the_norm_grows_without_end(gradient: Tensor):
    grown = [ascend(LAYOUT, gradient, bound, rate=20.0).squared_norm for bound in (10.0, 1e3)]
    assert (grown[1] > 1e3 * grown[0]).all()


def test_a_cap_is_kept(gradient: Tensor):
    first = gradient.square().sum(1)
    cap = 1.5 * float(first.max())
    found = ascend(LAYOUT, gradient, BOUND, rate=0.02, steps=60, cap=cap)
    assert (found.squared_norm <= cap).all()
    assert (found.squared_norm >= first).all()
    assert (found.squared_norm > 1.2 * first).any()


def test_balance_finds_the_unique_minimum(theta: Tensor, gradient: Tensor):
    found = balance(LAYOUT, gradient)
    _, moved = problem().gradient(teleport(LAYOUT, theta, found.tau))
    torch.testing.assert_close(found.squared_norm, moved.square().sum(1), rtol=1e-12, atol=0)
    assert found.slope.abs().max() < 1e-12
    source = torch.Generator().manual_seed(1)
    others = found.tau[:1] * (0.3 * torch.randn(200, 9, generator=source, dtype=F64)).exp()
    around = norms(LAYOUT, gradient[0].square(), others, power=-2)
    assert (around > found.squared_norm[0]).all()
    # the same network from another member of its class
    tau = (0.5 * torch.randn(4, 9, generator=source, dtype=F64)).exp()
    elsewhere = problem().gradient(teleport(LAYOUT, theta, tau))[1]
    again = balance(LAYOUT, elsewhere)
    torch.testing.assert_close(again.squared_norm, found.squared_norm, rtol=1e-10, atol=0)
    live = ascend(LAYOUT, gradient, BOUND).slope != 0  # the others have no least factor
    torch.testing.assert_close((tau * again.tau)[live], found.tau[live], rtol=1e-6, atol=1e-8)


def test_a_unit_without_gradient_and_a_member_that_is_lost_stay(gradient: Tensor):
    weight, bias = LAYOUT.views(gradient)[1]
    weight[0, :, 2], bias[0, 2] = 0.0, 0.0  # nothing enters unit 2 of the second layer
    LAYOUT.views(gradient)[2][0][0, 2] = 0.0
    gradient[1, 0] = torch.nan
    for found in (ascend(LAYOUT, gradient, BOUND, rate=0.4), balance(LAYOUT, gradient)):
        assert found.tau[0, 5 + 2] == 1
        assert (found.tau[1] == 1).all()
        assert found.tau.isfinite().all()
        assert (found.tau[2:] != 1).any()


@pytest.mark.parametrize(("bound", "steps", "rate"), [(1.0, 1, 0.1), (2.0, 0, 0.1), (2.0, 1, 0.0)])
def test_misuse_is_named(gradient: Tensor, bound: float, steps: int, rate: float):
    with pytest.raises(ValueError, match="bound must be finite and above 1, rate and steps"):
        ascend(LAYOUT, gradient, bound, steps=steps, rate=rate)


def regression() -> tuple[list[Tensor], Tensor, Tensor]:
    source = torch.Generator().manual_seed(5)

    def rand(*shape: int) -> Tensor:
        return torch.rand(3, *shape, generator=source, dtype=F64)

    return [rand(6, 5) - 0.3, rand(7, 6) - 0.3, rand(8, 7) - 0.3], rand(5, 4), rand(8, 4)


def squared(targets: Tensor):
    return lambda weights, x: (
        (batch_symmetry.outputs(weights, x) - targets).square().sum((1, 2)) / 2
    )


def test_the_group_keeps_the_outputs_on_its_batch_alone():
    weights, inputs, _ = regression()
    source = torch.Generator().manual_seed(6)
    elements = [0.1 * torch.randn(3, width, width, generator=source, dtype=F64) for width in (6, 7)]
    moved = batch_symmetry.act(weights, inputs, elements)
    before, after = (batch_symmetry.outputs(one, inputs) for one in (weights, moved))
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-10)
    others = inputs.flip(1)
    other = [batch_symmetry.outputs(one, others) for one in (weights, moved)]
    assert (other[1] - other[0]).abs().amax() > 1e-3
    code = batch_symmetry.act(weights, inputs, elements, exact=False)
    assert (batch_symmetry.outputs(code, inputs) - before).abs().amax() > 1e-3


def test_the_unit_element_projects_onto_the_batch():
    weights, inputs, _ = regression()
    moved = batch_symmetry.act(weights, inputs, [weights[0].new_zeros(3, h, h) for h in (6, 7)])
    onto = inputs @ torch.linalg.pinv(inputs)
    torch.testing.assert_close(moved[0], weights[0] @ onto)
    assert not torch.allclose(moved[0], weights[0])
    torch.testing.assert_close(moved[2], weights[2])
    again = batch_symmetry.act(moved, inputs, [weights[0].new_zeros(3, h, h) for h in (6, 7)])
    for one, two in zip(again, moved, strict=True):
        torch.testing.assert_close(one, two)


def test_one_layer_acted_on_is_the_formula():
    (first, second, _), inputs, _ = regression()
    element = 0.1 * torch.eye(6, dtype=F64).expand(3, 6, 6) + 0.05
    got = batch_symmetry.act([first, second], inputs, [element])
    for member in range(3):
        g = torch.matrix_exp(element[member])
        hidden = torch.nn.functional.leaky_relu(first[member] @ inputs[member], 0.1)
        wanted = torch.nn.functional.leaky_relu(g @ hidden, 10.0)
        torch.testing.assert_close(got[0][member] @ inputs[member], wanted)
        torch.testing.assert_close(got[1][member] @ g, second[member])


def test_ascent_along_the_group_raises_the_gradient_and_keeps_the_loss():
    weights, inputs, targets = regression()
    loss = squared(targets)
    weights = batch_symmetry.act(weights, inputs, [weights[0].new_zeros(3, h, h) for h in (6, 7)])
    first = batch_symmetry.squared_norm(loss, weights, inputs)
    moved = batch_symmetry.ascend(loss, weights, inputs, steps=4, rate=1e-5, growth=2.0)
    after = batch_symmetry.squared_norm(loss, moved, inputs)
    assert (after > first).all()
    assert (after <= 4 * first).all()
    torch.testing.assert_close(loss(moved, inputs), loss(weights, inputs), rtol=1e-9, atol=0)
    wild = batch_symmetry.ascend(loss, weights, inputs, steps=3, rate=1e3, growth=2.0)
    assert all(weight.isfinite().all() for weight in wild)
    assert (batch_symmetry.squared_norm(loss, wild, inputs) <= 4 * first * (1 + 1e-12)).all()
