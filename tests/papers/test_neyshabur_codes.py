"""What public codes of Path-SGD do, of Neyshabur et al. 2015."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from reproductions.optim.first_order import momentum
from reproductions.optim.path_scaling import path_scaling
from reproductions.papers.neyshabur2015path import codes, networks, toy_figures, toy_measures
from reproductions.problems.mlp import MLP
from tests.rows import as_table, quiet, synthetic_mnist

PLAN = codes.Plan(hidden=10, epochs=2, batch=50, seeds=2, alpha=1, root_seed=1)
LAYOUT = networks.network(6, 5, 10)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return as_table(codes.rows(networks.images(synthetic_mnist(), 200, 50, "cpu"), PLAN, quiet))


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    theta = torch.randn(2, LAYOUT.parameters, dtype=torch.float64)
    return theta, torch.randn(2, 7, 6, dtype=torch.float64), torch.randint(10, (2, 7))


def test_the_summed_gradient_is_the_mean_times_the_batch():
    theta, x, y = example()
    one, other = (of(LAYOUT).gradient(theta, x, y) for of in (codes.SummedMLP, MLP))
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], 7 * other[1])
    moved = theta.clone()
    codes.SummedMLP(LAYOUT).descend(moved, x, y, 0.1)
    torch.testing.assert_close(moved, theta - 0.7 * other[1])


def test_clipped_outputs_pass_the_gradient_as_if_they_were_not():
    theta, x, y = example()
    loss, grad = codes.ClippedMLP(LAYOUT).gradient(theta, x, y)
    own = theta.clone().requires_grad_()
    for member in range(2):
        hidden = x[member]
        for depth, (weight, bias) in enumerate(LAYOUT.views(own)):
            hidden = hidden @ weight[member] + bias[member]
            hidden = torch.relu(hidden) if depth < 2 else hidden
        # forward the clipped scores, backward the plain ones
        clipped = hidden + (torch.relu(hidden) - hidden).detach()
        wanted = torch.nn.functional.cross_entropy(clipped, y[member])
        (slope,) = torch.autograd.grad(wanted, own)
        torch.testing.assert_close(loss[member], wanted.detach())
        torch.testing.assert_close(grad[member], slope[member])


def test_the_repository_makes_the_steps_of_sgd_with_momentum():
    theta, x, y = example()
    methods = [codes.repository(LAYOUT, codes.as_published), momentum(0.01, 0.9)]
    paths = []
    for method in methods:
        at, state = theta.clone(), method.init(theta)
        for _ in range(5):
            step, state = method.update(MLP(LAYOUT).gradient(at, x, y)[1], state, at)
            at = at + step
        paths.append(at)
    assert torch.equal(*paths)


def test_the_mended_repository_rescales_by_kappa_with_one_ratio():
    theta, x, y = example()
    _, grad = MLP(LAYOUT).gradient(theta, x, y)
    method = codes.repository(LAYOUT, range)
    step, state = method.update(grad, method.init(theta), theta)
    kappa = path_scaling(LAYOUT, theta)
    torch.testing.assert_close(step, -0.01 * grad / kappa * state.ratio)
    parts = torch.split(grad, [30, 5, 25, 5, 50, 10], dim=1)
    size = sum(part.norm(dim=1) for part in parts)
    wanted = (size / (grad / kappa).square().sum(1)).sqrt()
    torch.testing.assert_close(state.ratio[:, 0], wanted)
    _, later = method.update(2 * grad, state, theta)
    assert torch.equal(later.ratio, state.ratio)


def test_kappa_adds_up_where_gradients_of_the_copy_are_kept():
    theta, x, y = example()
    _, grad = MLP(LAYOUT).gradient(theta, x, y)
    method = codes.repository(LAYOUT, range, accumulate=True)
    first, state = method.update(grad, method.init(theta), theta)
    mended = codes.repository(LAYOUT, range)
    torch.testing.assert_close(first, mended.update(grad, mended.init(theta), theta)[0])
    at = 1.1 * theta
    second, _ = method.update(grad, state, at)
    kappa = path_scaling(LAYOUT, theta) + path_scaling(LAYOUT, at)
    torch.testing.assert_close(second, 0.9 * first - 0.01 * grad / kappa * state.ratio)


def test_measures_of_the_codes_say_the_same(table: pd.DataFrame):
    found = toy_measures.codes(table)
    assert found["codes_generator_minus_momentum"].value == 0
    assert found["codes_sum_difference"].value < 1e-4
    assert found["codes_mended_step_ratio"].value > 1
    mended = table[(table.arm == "mended") & (table.quantity == "weight_difference")]
    assert (mended.value > 0).all()


def test_codes_are_drawn(table: pd.DataFrame):
    assert len(toy_figures.codes(table).axes) == 2
