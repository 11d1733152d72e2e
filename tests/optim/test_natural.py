"""Fisher matrices against sums over outcomes, and natural gradient steps across coordinates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim.eigensteps import decompose
from reproductions.optim.natural import (
    HEADS,
    divergence,
    fisher_matrix,
    jacobian,
    natural_gradient_step,
)
from reproductions.optim.network_hessian import network_gauss_newton
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.second_order import update
from tests.networks import F64, Case, case, loss_of_logits, plain_logits, plain_loss

WIDTHS = (3, 4, 3)


def model(head: str) -> tuple[Case, Tensor]:
    of = case(WIDTHS, "tanh", head, members=2, examples=6)
    return of, of.theta


def outcomes(head: str, outputs: int) -> list[Tensor]:
    """Return every target that the model can say, or for Gaussian outputs a quadrature of them."""
    if head == "softmax":
        return [torch.tensor(k) for k in range(outputs)]
    signs = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * outputs)
    return list(signs)


def chance(head: str, logits: Tensor, target: Tensor) -> Tensor:
    """Return p(target) () under logits (K,)."""
    if head == "softmax":
        return torch.softmax(logits, 0)[target]
    yes = logits.sigmoid()
    return torch.where(target > 0, yes, 1 - yes).prod()


@pytest.mark.parametrize("head", ["softmax", "bernoulli"])
def test_it_is_the_covariance_of_the_score_over_all_outcomes(head: str):
    of, theta = model(head)
    found, logits = (
        fisher_matrix(lambda at: plain_logits(of, at), theta, head),
        plain_logits(of, theta),
    )
    for member in range(len(theta)):
        wanted, mean = torch.zeros(theta.shape[1], theta.shape[1], dtype=F64), 0.0
        for n in range(len(of.inputs)):
            for target in outcomes(head, WIDTHS[-1]):
                one = of._replace(inputs=of.inputs[n : n + 1], targets=target[None])
                score = torch.func.grad(lambda at, one=one: plain_loss(one, at[None])[0])(
                    theta[member]
                )
                weight = chance(head, logits[member, n], target)
                wanted += weight * torch.outer(score, score) / len(of.inputs)
                mean = mean + weight * score
        torch.testing.assert_close(found[member], wanted, rtol=1e-10, atol=1e-13)
        assert mean.abs().max() < 1e-12  # the score has mean zero


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_it_is_the_gauss_newton_matrix_of_layered_networks(head: str, activation: str):
    of = case(WIDTHS, activation, head)
    found = fisher_matrix(lambda at: plain_logits(of, at), of.theta, head)
    wanted = network_gauss_newton(of.layout, of.theta, of.inputs, of.targets, **of.names())
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)
    assert torch.equal(found, found.mT) and torch.linalg.eigvalsh(found).min() > -1e-13


def test_gaussian_outputs_have_the_product_of_the_derivatives():
    of, theta = model("squared")
    slopes = torch.func.jacrev(lambda own: plain_logits(of, own[None])[0])(theta[1])
    torch.testing.assert_close(jacobian(lambda at: plain_logits(of, at), theta)[1], slopes)
    flat = slopes.reshape(-1, theta.shape[1])
    found = fisher_matrix(lambda at: plain_logits(of, at), theta, "squared")[1]
    torch.testing.assert_close(found, flat.T @ flat / len(of.inputs), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("head", HEADS)
def test_divergence_is_zero_at_home_and_its_second_order_is_the_fisher_matrix(head: str):
    """KL(h d) / (h^2 d'Fd / 2) - 1 falls in proportion to h."""
    of, theta = model(head)
    before, matrix = (
        plain_logits(of, theta),
        fisher_matrix(lambda at: plain_logits(of, at), theta, head),
    )
    assert divergence(before, before, head).abs().max() < 1e-15
    along = torch.randn(theta.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    quadratic = torch.einsum("ep,epq,eq->e", along, matrix, along) / 2
    off = []
    for h in (1e-2, 1e-3):
        kl = divergence(before, plain_logits(of, theta + h * along), head)
        assert (kl > 0).all()
        off.append(kl / (h**2 * quadratic) - 1)
    assert (off[0].abs() < 0.5).all() and (off[1].abs() < 5e-3).all()
    torch.testing.assert_close(off[0] / off[1], torch.full((2,), 10.0, dtype=F64), rtol=0.2, atol=0)


@pytest.mark.parametrize("head", ["softmax", "bernoulli"])
def test_divergence_is_the_sum_over_all_outcomes(head: str):
    source = torch.Generator().manual_seed(2)
    one, two = torch.randn(2, 1, 5, 3, generator=source, dtype=F64)
    wanted = torch.zeros((), dtype=F64)
    for n in range(5):
        for target in outcomes(head, 3):
            p, q = chance(head, one[0, n], target), chance(head, two[0, n], target)
            wanted += p * (p / q).log() / 5
    torch.testing.assert_close(divergence(one, two, head)[0], wanted, rtol=1e-12, atol=0)


def test_steps_do_not_depend_on_linear_coordinates():
    """theta = A at: the step at takes is A^-1 times that of theta, where F is regular."""
    of = case((3, 2, 1), "tanh", "squared", members=2, examples=30)
    source = torch.Generator().manual_seed(4)
    size = of.theta.shape[1]
    change = torch.eye(size, dtype=F64) + 0.3 * torch.randn(size, size, generator=source, dtype=F64)

    def step(turn: Tensor) -> Tensor:
        at = torch.linalg.solve(turn, of.theta.mT).mT
        logits = lambda own: plain_logits(of, own @ turn.mT)  # noqa: E731
        grad = torch.func.grad(lambda own: loss_of_logits(of, logits(own)).sum())(at)
        return natural_gradient_step(fisher_matrix(logits, at, "squared"), grad, 0.5) @ turn.mT

    torch.testing.assert_close(step(change), step(torch.eye(size, dtype=F64)), rtol=1e-6, atol=1e-8)


def test_a_singular_matrix_of_softmax_regression_moves_the_function_alike():
    """Adding a number to all logits changes nothing: F has rank D (K - 1) of D K."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, generator=source, dtype=F64)
    targets = torch.randint(0, 4, (40,), generator=source)
    theta = torch.randn(1, 12, generator=source, dtype=F64)

    def logits(at: Tensor) -> Tensor:
        return inputs @ at.view(-1, 3, 4)

    def loss(at: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(at)[0], targets)

    matrix, grad = fisher_matrix(logits, theta), torch.func.grad(loss)(theta)
    values = decompose(matrix, grad).values[0]
    assert (values < 1e-12 * values.max()).sum() == 3
    step = natural_gradient_step(matrix, grad)
    torch.testing.assert_close(matrix[0] @ step[0], -grad[0], rtol=1e-9, atol=1e-11)
    assert step.view(3, 4).sum(1).abs().max() < 1e-9  # nothing along what does not matter
    assert loss(theta + 0.05 * step) < loss(theta)


def test_bernoulli_steps_in_logit_and_in_probability_agree_to_first_order():
    """At logit 0.7, target 1, rate 1: both move p by 1 - p = 0.33181223."""
    z = torch.tensor([[0.7]], dtype=F64)
    p = z.sigmoid()
    matrix = fisher_matrix(lambda at: at[:, :, None], z, "bernoulli")
    by_logit = natural_gradient_step(matrix, p - 1) * p * (1 - p)
    by_chance = natural_gradient_step((1 / (p * (1 - p)))[:, None], -1 / p)
    assert by_logit.item() == pytest.approx(0.33181223, abs=1e-8)
    torch.testing.assert_close(by_logit, by_chance, rtol=1e-14, atol=0)


def test_it_is_a_method_of_exact_descent():
    of = case(WIDTHS, "tanh", "softmax")
    objective = NetworkLoss(of.layout, of.inputs, of.targets, **of.names())
    found = update(objective, of.theta, "natural_gradient")
    matrix, (_, grad) = objective.gauss_newton(of.theta), objective.gradient(of.theta)
    torch.testing.assert_close(found.theta, of.theta + natural_gradient_step(matrix, grad))
    assert (found.damping == 0).all()


def test_rates_may_differ_between_members_and_a_decomposition_serves_all():
    of, theta = model("softmax")
    matrix = fisher_matrix(lambda at: plain_logits(of, at), theta)
    grad, lr = torch.ones_like(theta), torch.tensor([[0.5], [2.0]], dtype=F64)
    one = natural_gradient_step(matrix, grad)
    spectrum = decompose(matrix, grad)
    torch.testing.assert_close(natural_gradient_step(spectrum, grad, lr), lr * one)


def test_misuse_is_named():
    z = torch.zeros(1, 2, 3)
    wanted = "head must be one of softmax, squared, bernoulli, got 'hinge'"
    with pytest.raises(ValueError, match=wanted):
        divergence(z, z, "hinge")
    with pytest.raises(ValueError, match=wanted):
        fisher_matrix(lambda at: at[:, :, None], torch.zeros(1, 2), "hinge")
    assert math.isclose(divergence(z, z + 1, "squared").item(), 1.5)
