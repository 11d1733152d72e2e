"""Path-SGD: its formula, its invariance, the chain of known answers, and units without paths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.first_order import inverse_sqrt, sgd
from reproductions.optim.layout import Layout
from reproductions.optim.path_scaling import path_rates, path_scaling
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.rescaling import rescale
from reproductions.optim.train import Batches, minibatches, train
from reproductions.optim.transform import Transform
from reproductions.problems.mlp import MLP
from tests.paths import F64, SHAPES, case, data, factors, gradient, logits

LAYOUT = Layout((3, 4, 5, 2))


def descend(layout: Layout, transform: Transform, theta: Tensor, steps: int) -> Tensor:
    inputs, targets = data(layout)
    state = transform.init(theta)
    for _ in range(steps):
        step, state = transform.update(gradient(layout, theta, inputs, targets), state, theta)
        theta = theta + step
    return theta


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0])
@pytest.mark.parametrize("widths", SHAPES)
def test_the_step_is_the_gradient_over_kappa(widths: tuple[int, ...], p: float):
    layout, theta = case(widths)
    lr = torch.tensor([[0.1], [0.2], [0.3]], dtype=F64)
    transform, grad = path_sgd(layout, lr, p, schedule=inverse_sqrt), torch.randn_like(theta)
    state = transform.init(theta)
    for t in (1, 2):
        step, state = transform.update(grad, state, theta)
        kappa, alpha = path_scaling(layout, theta, p), lr / t**0.5
        torch.testing.assert_close(step, -alpha * grad / kappa, rtol=1e-12, atol=0)
        torch.testing.assert_close(transform.rate(state), alpha / kappa, rtol=1e-12, atol=0)
        theta = theta + step


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0])
def test_a_step_commutes_with_rescaling(p: float):
    layout, theta = case(LAYOUT.widths)
    by, transform = factors(layout, len(theta)), path_sgd(layout, 0.05, p)
    after = rescale(layout, descend(layout, transform, theta, 1), by)
    torch.testing.assert_close(
        descend(layout, transform, rescale(layout, theta, by), 1), after, rtol=1e-10, atol=1e-12
    )


def test_both_starts_give_one_trajectory_under_path_sgd_and_two_under_sgd():
    layout, theta = case(LAYOUT.widths)
    inputs, _ = data(layout)
    moved = rescale(layout, theta, factors(layout, len(theta)))
    ends = {}
    for name, transform in {"path": path_sgd(layout, 0.05), "sgd": sgd(0.05)}.items():
        pair = [descend(layout, transform, at, 50) for at in (theta, moved)]
        one, two = (logits(layout, at, inputs) for at in pair)
        ends[name] = (one - two).abs().max().item()
    assert ends["path"] < 1e-9 and not ends["sgd"] < 1e-2


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1e4])
def test_the_chain_of_two_weights_makes_the_known_step(scale: float):
    """x = 1, product 1, slope -1 at the output, step 1: Path-SGD doubles both weights."""
    layout, theta = Layout((1, 1, 1)), torch.zeros(1, 4, dtype=F64)
    theta[0, 0], theta[0, 2] = scale, 1 / scale
    grad = torch.zeros_like(theta)
    grad[0, 0], grad[0, 2] = -theta[0, 2], -theta[0, 0]
    ends = {}
    for name, transform in {"path": path_sgd(layout, 1.0), "sgd": sgd(1.0)}.items():
        step, _ = transform.update(grad, transform.init(theta), theta)
        ends[name] = (theta + step)[0, [0, 2]]
    torch.testing.assert_close(ends["path"], 2 * theta[0, [0, 2]], rtol=1e-13, atol=0)
    assert ends["path"].prod().item() == pytest.approx(4)
    assert ends["sgd"].prod().item() == pytest.approx((scale + 1 / scale) ** 2)


def test_what_leads_nowhere_is_not_moved_and_its_gradient_is_zero():
    layout, theta = case(LAYOUT.widths)
    (first, bias), (second, _), _ = layout.views(theta)
    second[:, 1] = 0  # unit 1 of the first hidden layer leads nowhere
    first[:, :, 2] = bias[:, 2:3] = 0  # nothing arrives at unit 2
    inputs, targets = data(layout)
    grad, transform = gradient(layout, theta, inputs, targets), path_sgd(layout, 0.1)
    kappa = path_scaling(layout, theta)
    step, state = transform.update(grad, transform.init(theta), theta)
    assert (kappa == 0).any() and (grad[kappa == 0] == 0).all() and (step[kappa == 0] == 0).all()
    assert step.isfinite().all() and (transform.rate(state)[kappa == 0] == 0).all()
    wanted = -0.1 * grad[kappa != 0] / kappa[kappa != 0]
    torch.testing.assert_close(step[kappa != 0], wanted, rtol=1e-12, atol=0)
    assert (layout.views(step)[1][0][:, 1] != 0).any()  # a unit with an active input finds a way


def test_a_zero_gradient_moves_nothing():
    layout, theta = case(LAYOUT.widths)
    for at in (theta, torch.zeros_like(theta)):
        step, _ = path_sgd(layout, 0.1).update(
            torch.zeros_like(at), path_sgd(layout, 0.1).init(at), at
        )
        assert (step == 0).all()


def test_members_do_not_know_of_each_other_and_one_that_is_not_finite_spoils_no_other():
    layout, theta = case(LAYOUT.widths)
    transform, grad = path_sgd(layout, 0.1), torch.randn_like(theta)
    step, _ = transform.update(grad, transform.init(theta), theta)
    order = [2, 0, 1]
    turned, _ = transform.update(grad[order], transform.init(theta), theta[order])
    torch.testing.assert_close(turned, step[order], rtol=1e-13, atol=0)
    theta[1, 7] = torch.nan
    spoiled, _ = transform.update(grad, transform.init(theta), theta)
    assert torch.equal(spoiled[[0, 2]], step[[0, 2]])


def test_the_state_keeps_numbers_of_units_and_none_of_weights():
    layout, theta = case((30, 40, 50, 10))
    transform = path_sgd(layout, 0.1)
    _, state = transform.update(torch.randn_like(theta), transform.init(theta), theta)
    kept = sum(part.numel() for part in state)
    assert kept == len(theta) * (30 + 40 + 50 + 40 + 50 + 10) + 2 < theta.numel() / 10


def trained(how: str = "eager", theta: Tensor | None = None) -> tuple[Tensor, list[str]]:
    start = LAYOUT.initialise([0, 1], dtype=F64) if theta is None else theta
    inputs, targets = data(LAYOUT, 40)
    batches = Batches(inputs, targets, minibatches(40, 8, [0, 1], root_seed=0))
    found = train(MLP(LAYOUT), path_sgd(LAYOUT, 0.05), start, batches, steps=12, how=how)
    return found.theta, found.status()


def test_training_lowers_the_loss():
    inputs, targets = data(LAYOUT, 40)
    start = LAYOUT.initialise([0, 1], dtype=F64)
    theta, status = trained()
    before, after = (MLP(LAYOUT).loss(at, inputs[None], targets[None]) for at in (start, theta))
    assert (after < before).all() and status == ["ok", "ok"]


def test_a_descent_that_stores_no_gradient_is_the_same():
    ends = [trained(how)[0] for how in ("descending", "eager", "auto")]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-14)
    assert torch.equal(ends[0], ends[2])
    start = LAYOUT.initialise([0, 1], dtype=F64)
    start[1, 4] = torch.nan
    for name in ("eager", "descending"):
        frozen, status = trained(name, theta=start)
        torch.testing.assert_close(frozen[0], trained(name)[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(frozen[1], start[1], rtol=0, atol=0, equal_nan=True)
        assert status == ["ok", "diverged: loss is not finite at step 1"]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("at_once", [1, 3, None])
def test_a_problem_descends_by_an_outer_product_of_rates(groups: int, at_once: int | None):
    layout, theta = case(LAYOUT.widths, members=4)
    source = torch.Generator().manual_seed(1)
    inputs = torch.randn(groups, 6, 3, generator=source, dtype=F64)
    targets = torch.randint(0, 2, (groups, 6), generator=source)
    problem, kept = MLP(layout, members_at_once=at_once), theta.clone()
    loss, grad = problem.gradient(theta, inputs, targets)
    rates = path_rates(layout.views(theta))
    assert torch.equal(problem.descend(theta, inputs, targets, rates), loss)
    torch.testing.assert_close(theta, kept - grad / path_scaling(layout, kept), rtol=1e-12, atol=0)
    again = problem.gradient(kept, inputs, targets)[1]
    torch.testing.assert_close(again, grad, rtol=1e-13, atol=0)  # the rates were of that descent


@pytest.mark.parametrize("p", [0.0, -1.0, float("nan")])
def test_misuse_is_named(p: float):
    with pytest.raises(ValueError, match="p must be positive and finite, got"):
        path_sgd(LAYOUT, 0.1, p)
    with pytest.raises(ValueError, match="lr must be finite and not negative, got -1"):
        path_sgd(LAYOUT, -1.0)
    with pytest.raises(ValueError, match="theta must have shape"):
        path_sgd(LAYOUT, 0.1).update(
            torch.zeros(1, 3), path_sgd(LAYOUT, 0.1).init(torch.zeros(1, 3)), torch.zeros(1, 3)
        )
