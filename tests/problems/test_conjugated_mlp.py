"""The gradient under conjugated activations against autograd, and the function it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from reproductions.optim.layout import Layout
from reproductions.optim.teleport import conjugated, random_basis, teleport, teleport_gradient
from reproductions.problems.conjugated_mlp import ACTIVATIONS, ConjugatedMLP
from reproductions.problems.mlp import MLP

F64 = torch.float64
LAYOUT = Layout((6, 5, 7, 4))
NAMES = sorted(ACTIVATIONS)


def case(members: int = 4, groups: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    inputs = torch.randn(groups, 9, 6, generator=source, dtype=F64)
    targets = torch.randint(4, (groups, 9), generator=source)
    theta = LAYOUT.initialise(range(members), scheme="he", dtype=F64)
    return theta, inputs, targets, random_basis(LAYOUT, range(members), 0.9, kind="inter")


def plain_loss(theta: Tensor, inputs: Tensor, targets: Tensor, tau: Tensor, name: str) -> Tensor:
    """Return losses (E,) the plain way."""
    layers, factors = LAYOUT.views(theta), tau.split([5, 7], 1)
    values = inputs.repeat_interleave(len(theta) // len(inputs), 0)
    for (weight, bias), own in zip(layers[:-1], factors, strict=True):
        values = conjugated(name, values @ weight + bias[:, None], own)
    logits = values @ layers[-1][0] + layers[-1][1][:, None]
    wanted = targets.repeat_interleave(len(theta) // len(targets), 0)
    return cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_loss_and_gradient_are_those_of_autograd(name: str, groups: int, chunk: int | None):
    theta, inputs, targets, tau = case(groups=groups)
    own = theta.clone().requires_grad_()
    wanted = plain_loss(own, inputs, targets, tau, name)
    (slope,) = torch.autograd.grad(wanted.sum(), own)
    problem = ConjugatedMLP(LAYOUT, tau, name, members_at_once=chunk)
    loss, grad = problem.gradient(theta, inputs, targets)
    assert (loss - wanted.detach()).abs().max() < 1e-13
    assert (grad - slope).abs().max() < 1e-13
    assert (problem.loss(theta, inputs, targets) - wanted.detach()).abs().max() < 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_a_teleported_network_is_the_same_function_with_its_gradient_over_tau(name: str):
    theta, inputs, targets, tau = case()
    plain = ConjugatedMLP(LAYOUT, torch.ones_like(tau), name)
    moved = ConjugatedMLP(LAYOUT, tau, name)
    loss, grad = plain.gradient(theta, inputs, targets)
    again, other = moved.gradient(teleport(LAYOUT, theta, tau), inputs, targets)
    assert (loss - again).abs().max() < 1e-13
    wanted = teleport_gradient(LAYOUT, grad, tau)
    assert ((other - wanted).norm() / wanted.norm()) < 1e-13


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_a_basis_of_ones_is_the_plain_network(name: str):
    theta, inputs, targets, tau = case()
    ones = ConjugatedMLP(LAYOUT, torch.ones_like(tau), name)
    assert all(
        map(
            torch.equal,
            ones.gradient(theta, inputs, targets),
            MLP(LAYOUT, name).gradient(theta, inputs, targets),
        )
    )


def test_descent_and_evaluation_go_the_same_way():
    theta, inputs, targets, tau = case(groups=1)
    problem, moved = ConjugatedMLP(LAYOUT, tau, "elu"), theta.clone()
    loss, grad = problem.gradient(theta, inputs, targets)
    problem.descend(moved, inputs, targets, 0.1)
    assert (moved - (theta - 0.1 * grad)).abs().max() < 1e-14
    seen, error = problem.evaluate(theta, inputs[0], targets[0], chunk=4)
    assert (seen - loss).abs().max() < 1e-13
    assert ((error >= 0) & (error <= 1)).all()


def test_for_relu_the_sign_of_a_factor_is_all_that_matters():
    theta, inputs, targets, tau = case()
    both = [ConjugatedMLP(LAYOUT, own, "relu") for own in (tau, 3 * tau)]
    one, other = (problem.gradient(theta, inputs, targets) for problem in both)
    assert all(map(torch.equal, one, other))
    flipped = ConjugatedMLP(LAYOUT, -tau, "relu").gradient(theta, inputs, targets)
    assert not torch.equal(one[0], flipped[0])


def test_misuse_is_named():
    theta, inputs, targets, tau = case()
    with pytest.raises(ValueError, match="activation must be one of .*elu, got 'swish'"):
        ConjugatedMLP(LAYOUT, tau, "swish")
    with pytest.raises(ValueError, match=r"tau must have shape \(E, 12\)"):
        ConjugatedMLP(LAYOUT, tau[:, :-1])
    with pytest.raises(ValueError, match="not zero"):
        ConjugatedMLP(LAYOUT, torch.zeros_like(tau))
    with pytest.raises(ValueError, match="tau is of 4 members, theta of 2"):
        ConjugatedMLP(LAYOUT, tau).gradient(theta[:2], inputs, targets)
