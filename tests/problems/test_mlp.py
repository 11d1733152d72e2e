"""The hand-written gradient against autograd and torch.func, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.problems.mlp import MLP

F64 = torch.float64
SHAPES = [(6, 4), (6, 5, 4), (6, 5, 7, 4), (3, 2, 2, 2, 2)]


def network(layout: Layout, theta: Tensor, inputs: Tensor, activation: str) -> Tensor:
    """Return logits (E, B, K) the plain way."""
    layers = layout.views(theta)
    for weight, bias in layers[:-1]:
        inputs = getattr(torch, activation)(inputs @ weight + bias[:, None])
    return inputs @ layers[-1][0] + layers[-1][1][:, None]


def autograd(
    layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor, activation: str
) -> tuple[Tensor, Tensor]:
    members = theta.shape[0] // inputs.shape[0]
    theta = theta.clone().requires_grad_()
    own, wanted = inputs.repeat_interleave(members, 0), targets.repeat_interleave(members, 0)
    logits = network(layout, theta, own, activation).transpose(1, 2)
    loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").mean(1)
    loss.sum().backward()
    assert theta.grad is not None
    return loss.detach(), theta.grad


def case(
    widths: tuple[int, ...], members: int, groups: int, batch: int = 9
) -> tuple[Layout, Tensor, Tensor, Tensor]:
    layout, source = Layout(widths), torch.Generator().manual_seed(members * 31 + groups)
    inputs = torch.randn(groups, batch, widths[0], generator=source, dtype=F64)
    targets = torch.randint(0, widths[-1], (groups, batch), generator=source)
    return layout, layout.initialise(range(members), dtype=F64), inputs, targets


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize(("members", "groups"), [(4, 4), (4, 1), (4, 2), (1, 1), (5, 5)])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_gradient_and_loss_are_those_of_autograd(
    activation: str, widths: tuple[int, ...], members: int, groups: int, chunk: int | None
):
    layout, theta, inputs, targets = case(widths, members, groups)
    problem = MLP(layout, activation, members_at_once=chunk)
    loss, grad = problem.gradient(theta, inputs, targets)
    wanted_loss, wanted = autograd(layout, theta, inputs, targets, activation)
    assert (grad - wanted).abs().max() < 1e-12
    assert (loss - wanted_loss).abs().max() < 1e-12
    assert (problem.loss(theta, inputs, targets) - wanted_loss).abs().max() < 1e-12


def test_gradient_is_that_of_torch_func():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)

    def loss(own: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(network(layout, own[None], x[None], "relu")[0], y)

    wanted = torch.func.vmap(torch.func.grad(loss))(theta, inputs, targets)
    assert (MLP(layout).gradient(theta, inputs, targets)[1] - wanted).abs().max() < 1e-12


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
    st.integers(1, 4),
    st.integers(1, 5),
)
@settings(max_examples=30, deadline=None)
def test_gradient_is_right_at_any_size(widths: tuple[int, ...], members: int, batch: int):
    layout, theta, inputs, targets = case(widths, members, members, batch)
    wanted = autograd(layout, theta, inputs, targets, "tanh")[1]
    assert (MLP(layout, "tanh").gradient(theta, inputs, targets)[1] - wanted).abs().max() < 1e-12


def test_a_buffer_given_is_filled_and_used_again():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)
    problem, out = MLP(layout), torch.full((4, layout.parameters), math.nan, dtype=F64)
    _, grad = problem.gradient(theta, inputs, targets, out=out)
    assert grad is out
    first = grad.clone()
    problem.gradient(theta + 1, inputs, targets, out=out)
    problem.gradient(theta, inputs, targets, out=out)
    assert torch.equal(out, first)


def test_gradients_handed_out_are_not_overwritten_by_the_next():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)
    problem = MLP(layout)
    loss, grad = problem.gradient(theta, inputs, targets)
    kept = loss.clone(), grad.clone()
    problem.gradient(theta + 1, inputs, targets)
    assert torch.equal(loss, kept[0])
    assert torch.equal(grad, kept[1])


def test_arguments_are_left_alone():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 2)
    before = theta.clone(), inputs.clone(), targets.clone()
    MLP(layout).gradient(theta, inputs, targets)
    assert all(map(torch.equal, (theta, inputs, targets), before))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_descending_is_a_step_against_the_gradient(groups: int, chunk: int | None):
    layout, theta, inputs, targets = case((6, 5, 7, 4), 4, groups)
    problem, alpha = MLP(layout, members_at_once=chunk), torch.rand(4, 1, dtype=F64)
    loss, grad = problem.gradient(theta, inputs, targets)
    moved = theta.clone()
    assert torch.equal(problem.descend(moved, inputs, targets, alpha), loss)
    assert (moved - (theta - alpha * grad)).abs().max() < 1e-14
    moved = theta.clone()
    problem.descend(moved, inputs, targets, 0.5)
    assert (moved - (theta - 0.5 * grad)).abs().max() < 1e-14


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e200])
def test_descending_moves_no_member_whose_loss_is_not_finite(poison: float):
    layout, theta, inputs, targets = case((6, 5, 5, 4), 4, 4)
    theta[2] = poison * theta[2].sign()
    start, problem = theta.clone(), MLP(layout)
    loss = problem.descend(theta, inputs, targets, 0.1)
    assert not loss[2].isfinite()
    assert torch.equal(theta[2].nan_to_num(), start[2].nan_to_num())
    others = [0, 1, 3]
    _, grad = problem.gradient(start[others], inputs[others], targets[others])
    assert (theta[others] - (start[others] - 0.1 * grad)).abs().max() < 1e-14


def test_a_member_is_the_same_in_every_ensemble():
    layout, theta, inputs, targets = case((20, 15, 4), 6, 6, 30)
    loss, grad = MLP(layout).gradient(theta, inputs, targets)
    alone = MLP(layout).gradient(theta[3:4], inputs[3:4], targets[3:4])
    torch.testing.assert_close(alone, (loss[3:4], grad[3:4]), rtol=1e-13, atol=1e-15)


def test_permuting_members_permutes_gradients():
    layout, theta, inputs, targets = case((6, 5, 4), 5, 5)
    order = torch.tensor([4, 2, 0, 1, 3])
    grad = MLP(layout).gradient(theta, inputs, targets)[1]
    other = MLP(layout).gradient(theta[order], inputs[order], targets[order])[1]
    torch.testing.assert_close(grad[order], other, rtol=1e-14, atol=1e-16)


def test_inputs_may_be_strided_views():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)
    wide = torch.randn(4, 9, 12, dtype=F64)
    wide[:, :, ::2] = inputs
    wanted = MLP(layout).gradient(theta, inputs, targets)[1]
    torch.testing.assert_close(MLP(layout).gradient(theta, wide[:, :, ::2], targets)[1], wanted)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_evaluation_is_the_mean_over_the_data_set(chunk: int):
    layout, theta, inputs, targets = case((6, 5, 4), 3, 1, 50)
    loss, error = MLP(layout).evaluate(theta, inputs[0], targets[0], chunk=chunk)
    logits = network(layout, theta, inputs.expand(3, -1, -1), "relu")
    wanted = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), targets.expand(3, -1), reduction="none"
    )
    assert (loss - wanted.mean(1)).abs().max() < 1e-12
    wrong = (logits.argmax(2) != targets).to(F64).mean(1)
    torch.testing.assert_close(error, wrong, rtol=0, atol=1e-15)


def test_large_logits_do_not_overflow():
    layout, theta, inputs, targets = case((6, 4), 2, 2)
    loss, grad = MLP(layout).gradient(theta * 1e5, inputs, targets)
    assert loss.isfinite().all()
    assert grad.isfinite().all()


def test_a_gradient_step_lowers_the_loss_in_float32():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)
    problem, theta, inputs = MLP(layout), theta.float(), inputs.float()
    before = problem.descend(theta, inputs, targets, 0.1)
    assert (problem.loss(theta, inputs, targets) < before).all()


def test_misuse_is_named():
    layout, theta, inputs, targets = case((6, 5, 4), 4, 4)
    with pytest.raises(ValueError, match="activation must be one of relu, tanh, got 'swish'"):
        MLP(layout, "swish")
    with pytest.raises(ValueError, match="members_at_once"):
        MLP(layout, members_at_once=0)
    problem = MLP(layout)
    with pytest.raises(ValueError, match=r"inputs must have shape \(G, B, 6\)"):
        problem.gradient(theta, inputs[..., :5], targets)
    with pytest.raises(ValueError, match=r"targets must have shape \(4, 9\)"):
        problem.gradient(theta, inputs, targets[:, :5])
    with pytest.raises(ValueError, match="3 groups do not divide 4 members"):
        problem.gradient(theta, inputs[:3], targets[:3])
    with pytest.raises(ValueError, match="theta must have shape"):
        problem.gradient(theta[:, :-1], inputs, targets)
