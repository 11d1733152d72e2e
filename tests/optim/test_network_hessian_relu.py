"""One hidden ReLU layer, where kinks and dead units are: against torch.func, differences, curvlinops."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import network_curvature
from reproductions.optim.objective import Curvature
from reproductions.problems.mlp import MLP

F64 = torch.float64
relu_curvature = partial(network_curvature, activations="relu")
SHAPES = [(6, 5, 4), (3, 1, 2), (1, 4, 3), (7, 9, 2)]


def case(
    widths: tuple[int, ...], members: int = 3, examples: int = 40, zeros: float = 0.5
) -> tuple[Layout, Tensor, Tensor, Tensor]:
    """Return a layout, theta, inputs of which a share is zero, and targets."""
    layout, source = Layout(widths), torch.Generator().manual_seed(sum(widths))
    inputs = torch.randn(examples, widths[0], generator=source, dtype=F64)
    inputs *= torch.rand(examples, widths[0], generator=source) >= zeros
    targets = torch.randint(0, widths[-1], (examples,), generator=source)
    return layout, 2 * layout.initialise(range(members), dtype=F64), inputs, targets


def member_loss(layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss () of one member, theta (P,), the plain way."""
    (weight, bias), (last, offset) = layout.views(theta[None])
    logits = torch.relu(inputs @ weight[0] + bias[0]) @ last[0] + offset[0]
    return nn.functional.cross_entropy(logits, targets)


def slow(layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Curvature:
    """Differentiate each member's loss twice by torch.func."""

    def loss(own: Tensor) -> Tensor:
        return member_loss(layout, own, inputs, targets)

    twins = [loss, torch.func.grad(loss), torch.func.hessian(loss)]
    return Curvature(*(torch.stack([twin(own) for own in theta]) for twin in twins))


def off(found: Curvature, wanted: Curvature) -> float:
    return max(float((one - two).abs().max()) for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.95])
def test_loss_gradient_and_hessian_are_those_of_torch_func(widths: tuple[int, ...], zeros: float):
    of = case(widths, zeros=zeros)
    assert off(relu_curvature(*of), slow(*of)) < 1e-12


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 3), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_the_hessian_is_right_at_any_size(widths: tuple[int, ...], members: int, examples: int):
    of = case(widths, members, examples)
    assert off(relu_curvature(*of), slow(*of)) < 1e-12


def test_loss_and_gradient_are_those_of_the_problem():
    layout, theta, inputs, targets = case((6, 5, 4))
    found = relu_curvature(layout, theta, inputs, targets)
    loss, gradient = MLP(layout).gradient(theta, inputs[None], targets[None])
    torch.testing.assert_close((found.loss, found.gradient), (loss, gradient))


def test_the_hessian_is_the_slope_of_the_gradient():
    layout, theta, inputs, targets = case((6, 5, 4), members=2)
    step, problem = 1e-6, MLP(layout)

    def gradient(at: Tensor) -> Tensor:
        return problem.gradient(at, inputs[None], targets[None])[1]

    moves = step * torch.eye(layout.parameters, dtype=F64)
    columns = [(gradient(theta + move) - gradient(theta - move)) / (2 * step) for move in moves]
    wanted = torch.stack(columns, 2)
    assert (relu_curvature(layout, theta, inputs, targets).hessian - wanted).abs().max() < 1e-8


def test_the_hessian_is_that_of_curvlinops():
    from curvlinops import HessianLinearOperator  # loads for seconds

    layout, theta, inputs, targets = case((6, 5, 4), members=1)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).to(F64)
    nn.utils.vector_to_parameters(theta[0], model.parameters())
    parameters = list(model.parameters())
    data = [(inputs[:15], targets[:15]), (inputs[15:], targets[15:])]
    operator = HessianLinearOperator(model, nn.CrossEntropyLoss(), parameters, data)
    wanted = operator @ torch.eye(layout.parameters, dtype=F64)
    found = relu_curvature(layout, theta, inputs, targets).hessian[0]
    assert (found - wanted.detach()).abs().max() < 1e-12


def test_rescaling_a_unit_changes_no_loss_so_its_direction_is_known():
    """L(s w, v / s) = L(w, v) for a unit's weights in and out; differentiated twice, at s = 1."""
    layout, theta, inputs, targets = case((12, 20, 7), examples=300)
    found = relu_curvature(layout, theta, inputs, targets)
    for unit in range(20):
        mark = torch.zeros_like(theta)
        (weight, bias), (last, _) = layout.views(mark)
        weight[:, :, unit], bias[:, unit], last[:, unit, :] = 1, 1, -1
        product = (found.hessian @ (mark * theta).unsqueeze(2)).squeeze(2)
        assert (product + mark * found.gradient).abs().max() < 1e-13


def test_permuting_members_permutes_their_hessians():
    layout, theta, inputs, targets = case((6, 5, 4))
    order = torch.tensor([2, 0, 1])
    found = relu_curvature(layout, theta[order], inputs, targets)
    wanted = relu_curvature(layout, theta, inputs, targets)
    assert off(found, Curvature(*(part[order] for part in wanted))) == 0


def test_an_input_that_is_always_zero_has_no_curvature():
    layout, theta, inputs, targets = case((6, 5, 4))
    inputs[:, [0, 3]] = 0
    of = layout, theta, inputs, targets
    found = relu_curvature(*of)
    assert off(found, slow(*of)) < 1e-12
    dark = torch.zeros(1, layout.parameters, dtype=F64)
    layout.views(dark)[0][0][:, [0, 3]] = 1
    assert (found.hessian[:, dark[0] > 0] == 0).all()
    assert (found.gradient[:, dark[0] > 0] == 0).all()


def test_a_dead_unit_has_curvature_only_in_what_it_never_passes_on():
    layout, theta, inputs, targets = case((6, 5, 4))
    layout.views(theta)[0][1][:, 2] = -1e3
    of = layout, theta, inputs, targets
    found = relu_curvature(*of)
    assert off(found, slow(*of)) < 1e-12
    own = torch.zeros(1, layout.parameters, dtype=F64)
    (weight, bias), (last, _) = layout.views(own)
    weight[:, :, 2] = bias[:, 2] = last[:, 2] = 1
    assert (found.hessian[:, own[0] > 0] == 0).all()


def test_at_a_kink_the_slope_is_zero_as_torch_has_it():
    layout, theta, inputs, targets = case((6, 5, 4))
    inputs = inputs.round()
    theta = (4 * theta).round() / 4
    hidden = inputs @ layout.views(theta)[0][0] + layout.views(theta)[0][1][:, None]
    assert (hidden == 0).any()
    of = layout, theta, inputs, targets
    assert off(relu_curvature(*of), slow(*of)) < 1e-12


def test_a_class_that_no_example_has_and_one_example_alone_are_fine():
    layout, theta, inputs, _ = case((6, 5, 4), examples=1)
    of = layout, theta, inputs, torch.tensor([2])
    assert off(relu_curvature(*of), slow(*of)) < 1e-12
