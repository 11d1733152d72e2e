"""The Hessian from structure against torch.func, differences of the gradient, and curvlinops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reproductions.optim import relu_hessian as module
from reproductions.optim.layout import Layout
from reproductions.optim.relu_hessian import Curvature, relu_curvature, relu_hessian
from reproductions.problems.mlp import MLP

F64 = torch.float64
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
    assert torch.equal(relu_hessian(*of), relu_curvature(*of).hessian)


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
    assert (relu_hessian(layout, theta, inputs, targets) - wanted).abs().max() < 1e-8


def test_the_hessian_is_that_of_curvlinops():
    from curvlinops import HessianLinearOperator  # loads for seconds

    layout, theta, inputs, targets = case((6, 5, 4), members=1)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).to(F64)
    nn.utils.vector_to_parameters(theta[0], model.parameters())
    parameters = list(model.parameters())
    data = [(inputs[:15], targets[:15]), (inputs[15:], targets[15:])]
    operator = HessianLinearOperator(model, nn.CrossEntropyLoss(), parameters, data)
    wanted = operator @ torch.eye(layout.parameters, dtype=F64)
    found = relu_hessian(layout, theta, inputs, targets)[0]
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


def test_the_hessian_is_exactly_symmetric():
    hessian = relu_hessian(*case((6, 5, 4)))
    assert torch.equal(hessian, hessian.mT)


@pytest.mark.parametrize("chunk", [1, 7, 39, 40, 1000])
def test_the_size_of_a_chunk_changes_nothing(chunk: int):
    of = case((6, 5, 4))
    assert off(relu_curvature(*of, chunk=chunk), relu_curvature(*of)) < 1e-14


def test_members_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    of = case((6, 5, 4), members=5)
    together = relu_curvature(*of)
    layout, theta, *data = of
    assert (
        off(relu_curvature(layout, theta[3:4], *data), Curvature(*(p[3:4] for p in together))) == 0
    )
    monkeypatch.setitem(module.SUMS_BYTES, "cpu", 1)
    assert off(relu_curvature(*of), together) == 0


def test_permuting_members_permutes_their_hessians():
    layout, theta, inputs, targets = case((6, 5, 4))
    order = torch.tensor([2, 0, 1])
    found = relu_curvature(layout, theta[order], inputs, targets)
    wanted = relu_curvature(layout, theta, inputs, targets)
    assert off(found, Curvature(*(part[order] for part in wanted))) == 0


def test_the_order_of_the_examples_changes_nothing():
    layout, theta, inputs, targets = case((6, 5, 4))
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1))
    shuffled = relu_curvature(layout, theta, inputs[order], targets[order], chunk=9)
    assert off(shuffled, relu_curvature(layout, theta, inputs, targets)) < 1e-14


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


def test_large_logits_do_not_overflow():
    layout, theta, inputs, targets = case((6, 5, 4))
    assert all(
        part.isfinite().all() for part in relu_curvature(layout, 1e3 * theta, inputs, targets)
    )


def test_a_member_that_is_not_finite_spoils_no_other():
    layout, theta, inputs, targets = case((6, 5, 4))
    wanted = relu_curvature(layout, theta, inputs, targets)
    theta[1] = torch.nan
    found = relu_curvature(layout, theta, inputs, targets)
    assert not found.hessian[1].isfinite().any()
    others = [0, 2]
    assert off(Curvature(*(p[others] for p in found)), Curvature(*(p[others] for p in wanted))) == 0


def test_everything_is_computed_in_the_dtype_of_theta():
    layout, theta, inputs, targets = case((6, 5, 4))
    found = relu_curvature(layout, theta.float(), inputs.float(), targets)
    assert {part.dtype for part in found} == {torch.float32}
    wanted = slow(layout, theta, inputs, targets)
    assert off(Curvature(*(part.to(F64) for part in found)), wanted) < 1e-5
    mixed = relu_curvature(layout, theta, inputs.float(), targets)
    exact = relu_curvature(layout, theta, inputs.float().to(F64), targets)
    assert off(mixed, exact) == 0


def test_arguments_are_left_alone():
    layout, theta, inputs, targets = case((6, 5, 4))
    before = theta.clone(), inputs.clone(), targets.clone()
    relu_curvature(layout, theta, inputs, targets)
    assert all(map(torch.equal, (theta, inputs, targets), before))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_hessian_is_the_same_on_a_gpu():
    layout, *tensors = case((6, 5, 4))
    found = relu_curvature(layout, *(tensor.cuda() for tensor in tensors))
    moved = Curvature(*(part.cpu() for part in found))
    assert off(moved, relu_curvature(layout, *tensors)) < 1e-13


def test_misuse_is_named():
    layout, theta, inputs, targets = case((6, 5, 4))
    for widths in [(6, 4), (6, 5, 5, 4)]:
        deep = Layout(widths)
        with pytest.raises(ValueError, match=r"widths must be \(inputs, hidden, outputs\), got"):
            relu_hessian(deep, deep.initialise([0]), inputs, targets)
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(40, 5\)"):
        relu_hessian(layout, theta, inputs[:, :5], targets)
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(0, 6\)"):
        relu_hessian(layout, theta, inputs[:0], targets[:0])
    with pytest.raises(ValueError, match=r"targets must have shape \(40,\), got \(39,\)"):
        relu_hessian(layout, theta, inputs, targets[:39])
    with pytest.raises(ValueError, match="theta must have shape"):
        relu_hessian(layout, theta[:, :-1], inputs, targets)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        relu_hessian(layout, theta, inputs, targets, chunk=0)
