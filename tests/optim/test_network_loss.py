"""Losses, gradients and products by hand against those of torch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim import network_loss, network_passes, network_products
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.network_parts import ACTIVATIONS, HEADS
from reproductions.optim.objective import Autograd, Objective
from reproductions.problems.mlp import MLP
from tests.networks import F64, PLAIN, Case, case, loss_of_logits, plain_logits, plain_loss

CASES = [
    ((6, 4), []),
    ((6, 5, 4), ["tanh"]),
    ((6, 5, 4), ["relu"]),
    ((6, 5, 3, 4), ["sigmoid", "relu"]),
    ((4, 5, 3, 4, 3), ["tanh", "linear", "sigmoid"]),
    ((3, 2, 2, 2, 2, 2), ["tanh"] * 4),
]
EVERY = [(*shape, head) for shape in CASES for head in HEADS]


def ours(of: Case) -> NetworkLoss:
    return NetworkLoss(of.layout, of.inputs, of.targets, activations=of.activations, head=of.head)


def twin(of: Case) -> Autograd:
    return Autograd(lambda theta: plain_loss(of, theta))


def directions(theta: Tensor, count: int) -> Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randn(count, *theta.shape, generator=source, dtype=theta.dtype)


def off(one: Tensor, two: Tensor) -> float:
    assert one.shape == two.shape
    return float((one - two).abs().max())


@pytest.mark.parametrize(("widths", "activations", "head"), EVERY)
def test_loss_and_gradient_are_those_of_torch(
    widths: tuple[int, ...], activations: list[str], head: str
):
    of = case(widths, activations, head)
    loss, gradient = ours(of).gradient(of.theta)
    wanted = twin(of).gradient(of.theta)
    assert off(loss, wanted[0]) < 1e-14 and off(ours(of).loss(of.theta), wanted[0]) < 1e-14
    assert off(gradient, wanted[1]) < 1e-14


@pytest.mark.parametrize(("widths", "activations", "head"), EVERY)
def test_products_are_those_of_torch(widths: tuple[int, ...], activations: list[str], head: str):
    of = case(widths, activations, head)
    vectors = directions(of.theta, 4)
    wanted = twin(of).product(of.theta, vectors)
    assert off(ours(of).product(of.theta, vectors), wanted) < 1e-13
    assert off(ours(of).product(of.theta, vectors[0]), wanted[0]) < 1e-13


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(HEADS)),
    st.integers(1, 3),
    st.integers(1, 6),
)
@settings(max_examples=25, deadline=None)
def test_products_are_right_at_any_size(
    widths: list[int], activation: str, head: str, members: int, examples: int
):
    of = case(tuple(widths), activation, head, members=members, examples=examples)
    vectors = directions(of.theta, 2)
    assert off(ours(of).product(of.theta, vectors), twin(of).product(of.theta, vectors)) < 1e-12


@pytest.mark.parametrize("head", sorted(HEADS))
def test_gauss_newton_products_are_those_of_the_linearised_network(head: str):
    """J' H J v: the Hessian's product, were the outputs linear in the parameters."""
    of = case((4, 5, 3, 4), ["tanh", "sigmoid"], head)
    vectors = directions(of.theta, 1)[0]
    moved = torch.func.jvp(lambda at: plain_logits(of, at), (of.theta,), (vectors,))[1]
    logits, pull = torch.func.vjp(lambda at: plain_logits(of, at), of.theta)
    slope = torch.func.grad(lambda at: loss_of_logits(of, at).sum())
    wanted = pull(torch.func.jvp(slope, (logits,), (moved,))[1])[0]
    assert off(ours(of).gauss_newton_product(of.theta, vectors), wanted) < 1e-14
    both = torch.stack([vectors, 2 * vectors])
    assert off(ours(of).gauss_newton_product(of.theta, both)[1], 2 * wanted) < 1e-14


def test_loss_and_gradient_are_those_of_the_training_problem():
    of = case((6, 5, 3, 4), "tanh")
    wanted = MLP(of.layout, "tanh").gradient(of.theta, of.inputs[None], of.targets[None])
    loss, gradient = ours(of).gradient(of.theta)
    assert off(loss, wanted[0]) < 1e-14 and off(gradient, wanted[1]) < 1e-14


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_slopes_and_bends_are_the_derivatives_of_the_activation(name: str):
    z = torch.linspace(-3, 3, 20, dtype=F64)
    activation = ACTIVATIONS[name]
    x = activation.apply(z.clone())
    assert torch.equal(x, PLAIN[name](z))
    first = torch.func.vmap(torch.func.grad(PLAIN[name]))
    second = torch.func.vmap(torch.func.grad(torch.func.grad(PLAIN[name])))
    assert off(activation.slope(x), first(z)) < 1e-15
    bend = torch.zeros_like(x) if activation.bend is None else activation.bend(x)
    assert off(bend * activation.slope(x), second(z)) < 1e-14


def test_known_losses_of_a_network_of_zeros():
    for head, wanted in (("softmax", math.log(4)), ("bernoulli", 4 * math.log(2))):
        of = case((6, 5, 4), "sigmoid", head)
        assert off(ours(of).loss(0 * of.theta), torch.full((3,), wanted, dtype=F64)) < 1e-14


def test_outputs_error_and_squared_error_are_what_they_say():
    of = case((6, 5, 4), "tanh")
    logits = plain_logits(of, of.theta)
    assert off(ours(of).outputs(of.theta), logits) < 1e-14
    wrong = (logits.argmax(2) != of.targets).to(F64).mean(1)
    assert torch.equal(ours(of).error(of.theta), wrong)
    for head in ("squared", "bernoulli"):
        of = case((6, 5, 4), "tanh", head)
        logits = plain_logits(of, of.theta)
        said = logits if head == "squared" else logits.sigmoid()
        wanted = (said - of.targets).square().sum(2).mean(1)
        assert off(ours(of).squared_error(of.theta), wanted) < 1e-14
    halved = ours(case((6, 5, 4), "tanh", "squared"))
    assert off(halved.squared_error(of.theta) / 2, halved.loss(of.theta)) < 1e-14


def test_a_minibatch_is_the_loss_over_its_examples():
    of = case((6, 5, 4))
    whole, halves = ours(of), [slice(0, 20), slice(20, 40)]
    parts = [whole.on(of.inputs[half], of.targets[half]) for half in halves]
    mean = sum(part.gradient(of.theta)[1] for part in parts) / 2
    assert off(whole.gradient(of.theta)[1], mean) < 1e-15


def test_products_follow_theta_however_it_changes():
    of = case((6, 5, 4))
    loss, theta, vector = ours(of), of.theta.clone(), directions(of.theta, 1)[0]
    first = loss.product(theta, vector)
    linear = loss.linearise(theta)
    theta += 0.5
    assert torch.equal(loss.product(theta, vector), ours(of).product(theta, vector))
    theta.data -= 1.0  # which torch does not count as a change
    assert torch.equal(loss.product(theta, vector), ours(of).product(theta, vector))
    assert torch.equal(linear(vector), first)
    assert (
        off(loss.product(theta.float(), vector.float()).to(F64), loss.product(theta, vector)) < 1e-5
    )


def test_a_known_theta_is_not_gone_through_again(monkeypatch: pytest.MonkeyPatch):
    of, calls = case((6, 5, 4)), []
    monkeypatch.setattr(
        network_loss, "both_ways", lambda *a: calls.append(1) or network_passes.both_ways(*a)
    )
    loss, vectors = ours(of), directions(of.theta, 2)
    loss.product(of.theta, vectors[0])
    assert len(calls) == 1
    loss.product(of.theta.clone(), vectors)
    loss.gauss_newton_product(of.theta, vectors)
    assert len(calls) == 1


def test_chunks_and_what_is_kept_change_nothing(monkeypatch: pytest.MonkeyPatch):
    of = case((6, 5, 3, 4), examples=50)
    vectors = directions(of.theta, 5)
    wanted = ours(of).gradient(of.theta)[1], ours(of).product(of.theta, vectors)
    monkeypatch.setattr(network_passes, "LEAST_CHUNK", 7)
    monkeypatch.setitem(network_passes.CHUNK_BYTES, "cpu", 1)
    monkeypatch.setitem(network_loss.KEPT_BYTES, "cpu", 1)
    monkeypatch.setitem(network_products.DIRECTIONS_BYTES, "cpu", 2 * 8 * 3 * 6 * 7)
    assert off(ours(of).gradient(of.theta)[1], wanted[0]) < 1e-15
    assert off(ours(of).product(of.theta, vectors), wanted[1]) < 1e-14


def test_a_member_does_not_depend_on_the_others_even_if_they_are_lost():
    of = case((6, 5, 4))
    vectors = directions(of.theta, 2)
    alone = ours(of).product(of.theta[2:], vectors[:, 2:]), ours(of).gradient(of.theta[2:])[1]
    of.theta[1] = torch.nan
    loss, gradient = ours(of).gradient(of.theta)
    assert loss.isnan().tolist() == [False, True, False]
    assert off(gradient[2:], alone[1]) < 1e-15
    product = ours(of).product(of.theta, vectors)
    assert product[:, 1].isnan().all() and off(product[:, 2:], alone[0]) < 1e-14


def test_float32_parameters_give_float32_and_data_are_taken_as_they_are():
    of = case((6, 5, 4))
    mixed = ours(of._replace(inputs=of.inputs.float()))
    loss, gradient = mixed.gradient(of.theta.float())
    assert loss.dtype == gradient.dtype == torch.float32
    assert off(gradient.to(F64), twin(of).gradient(of.theta)[1]) < 1e-6
    product = mixed.product(of.theta.float(), directions(of.theta, 1)[0].float())
    assert product.dtype == torch.float32


def test_large_logits_do_not_overflow():
    for head in HEADS:
        of = case((6, 5, 4), "relu", head)
        loss, gradient = ours(of).gradient(1e3 * of.theta)
        assert loss.isfinite().all() and gradient.isfinite().all()


def test_arguments_are_left_alone():
    for head in HEADS:
        of = case((6, 5, 4), "linear", head)
        vectors = directions(of.theta, 2)
        kept = [tensor.clone() for tensor in (*of[3:], vectors)]
        loss: Objective = ours(of)
        loss.loss(of.theta)
        loss.gradient(of.theta)
        loss.product(of.theta, vectors)
        loss.curvature(of.theta)
        assert all(map(torch.equal, (*of[3:], vectors), kept))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_products_are_the_same_on_a_gpu():
    of = case((6, 5, 3, 4))
    vectors = directions(of.theta, 3)
    there = ours(of._replace(inputs=of.inputs.cuda(), targets=of.targets.cuda()))
    found = there.product(of.theta.cuda(), vectors.cuda()).cpu()
    assert off(found, ours(of).product(of.theta, vectors)) < 1e-13


def test_misuse_is_named():
    layout, names, head, theta, inputs, targets = case((6, 5, 5, 4))
    with pytest.raises(ValueError, match="activation must be one of .*got 'swish'"):
        NetworkLoss(layout, inputs, targets, activations="swish")
    with pytest.raises(ValueError, match="activations must be one name or 2, got 1"):
        NetworkLoss(layout, inputs, targets, activations=["tanh"])
    with pytest.raises(ValueError, match="head must be one of .*got 'hinge'"):
        NetworkLoss(layout, inputs, targets, head="hinge")
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(40, 5\)"):
        NetworkLoss(layout, inputs[:, :5], targets)
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(0, 6\)"):
        NetworkLoss(layout, inputs[:0], targets[:0])
    with pytest.raises(ValueError, match=r"targets must have shape \(40,\), got \(39,\)"):
        NetworkLoss(layout, inputs, targets[:39])
    with pytest.raises(ValueError, match=r"targets must have shape \(40, 4\), got \(40,\)"):
        NetworkLoss(layout, inputs, targets, head="squared")
    loss = NetworkLoss(layout, inputs, targets, activations=names, head=head)
    with pytest.raises(ValueError, match="theta must have shape"):
        loss.gradient(theta[:, 1:])
    with pytest.raises(ValueError, match=r"vectors must have shape \(3, \d+\) or \(Q, 3, \d+\)"):
        loss.product(theta, theta[:1])
    with pytest.raises(ValueError, match="squared_error needs targets"):
        loss.squared_error(theta)
    wide = NetworkLoss(layout, inputs, torch.zeros(40, 4, dtype=F64), head="bernoulli")
    with pytest.raises(ValueError, match="error needs class numbers, and the head is 'bernoulli'"):
        wide.error(theta)
