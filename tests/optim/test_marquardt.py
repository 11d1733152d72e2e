"""Levenberg-Marquardt searches: they end where they should, and members do not mix."""

from __future__ import annotations

import pytest
import torch

from reproductions.optim import second_order
from reproductions.optim.critical_points import assess
from reproductions.optim.marquardt import marquardt_search, minimise
from reproductions.optim.objective import Autograd
from reproductions.problems.two_layer import TwoLayer

F64 = torch.float64


def small(members=4, width=3, examples=9, seeds=None):
    """Return networks with data of their own, and starts."""
    found = []
    for seed in seeds or range(members):
        source = torch.Generator().manual_seed(seed)
        data = torch.randn(2, width, examples, generator=source, dtype=F64)
        found.append((*data, torch.randn(2 * width**2, generator=source, dtype=F64) / width**0.5))
    inputs, targets, theta = (torch.stack(part) for part in zip(*found, strict=True))
    return TwoLayer(inputs, targets, width, "tanh"), theta


def wells(theta):
    """Return sum (x^2 - 1)^2 / 4, which has 3^P critical points, at -1, 0 and 1 on every axis."""
    return ((theta**2 - 1) ** 2).sum(1) / 4


def test_a_search_finds_the_critical_point_of_any_index_nearby():
    theta = torch.tensor([[0.9, -1.1, 1.2], [0.1, -0.9, 1.1], [0.2, -0.1, 0.1]], dtype=F64)
    found = marquardt_search(Autograd(wells), theta, tolerance=1e-10)
    wanted = torch.tensor([[1.0, -1, 1], [0, -1, 1], [0, 0, 0]], dtype=F64)
    torch.testing.assert_close(found.theta, wanted, atol=1e-9, rtol=0)
    assert (found.eigenvalues < 0).sum(1).tolist() == [0, 1, 3]
    assert found.is_critical(1e-8).all() and set(found.status) == {"converged"}


def test_the_loss_is_lowered_to_a_minimum_from_beside_a_saddle():
    theta = torch.tensor([[0.1, -0.1]], dtype=F64)
    found, _ = minimise(Autograd(wells), theta, "loss", steps=100, tolerance=1e-10)
    torch.testing.assert_close(found, torch.tensor([[1.0, -1.0]], dtype=F64), atol=1e-9, rtol=0)


def test_a_place_where_the_gradient_is_in_the_kernel_is_not_called_critical():
    def bent(theta):  # no critical point: |g| is least at x = 0, where H g = 0
        return (theta[:, 0] ** 3 / 3 + 0.01 * theta[:, 0]) + theta[:, 1] ** 2 / 2

    found = marquardt_search(Autograd(bent), torch.tensor([[0.5, 0.5]], dtype=F64), steps=200)
    assert found.relative_residual[0] > 0.9 and not found.is_critical(1.0)[0]


def test_members_that_are_not_finite_leave_the_others_alone():
    theta = torch.tensor([[0.9, -1.1], [torch.nan, 0.0]], dtype=F64)
    found, made = minimise(Autograd(wells), theta, "gradient", steps=50, tolerance=1e-8)
    assert (found[0].abs() - 1).abs().max() < 1e-7 and made.tolist()[1] == 0


def test_misuse_is_named():
    with pytest.raises(ValueError, match="merit must be one of loss, gradient, got 'norm'"):
        minimise(Autograd(wells), torch.zeros(1, 2), "norm", steps=1, tolerance=1.0)


@pytest.mark.parametrize("merit", ["loss", "gradient"])
def test_searches_end_where_the_gradient_vanishes(merit):
    net, theta = small(examples=30)
    found, made = minimise(net, theta, merit, steps=200, tolerance=1e-4)
    square = net.gradient(found)[1].square().sum(1)
    assert (square <= 1e-8).sum() >= 2  # tanh may send a weight to infinity
    assert (made > 0).all()
    before = net.loss(theta) if merit == "loss" else net.gradient(theta)[1].square().sum(1)
    after = net.loss(found) if merit == "loss" else square
    assert (after < before).all()


def test_a_gradient_search_goes_to_a_saddle_where_a_descent_goes_past():
    net, _ = small()
    near = 1e-3 * torch.ones(4, net.parameters, dtype=F64)  # the origin is a saddle
    saddle, made = minimise(net, near, "gradient", steps=60, tolerance=1e-10)
    assert (made > 0).all()
    assert saddle.abs().max() < 1e-6
    assert (assess(net, saddle).eigenvalues[:, 0] < -1e-3).all()
    lower = minimise(net, near, "loss", steps=300, tolerance=1e-5)[0]
    assert (net.loss(lower) < 0.9 * net.loss(saddle)).all()


def test_a_member_is_searched_alike_alone_and_in_the_ensemble():
    together = minimise(*small(), "gradient", steps=8, tolerance=1e-6)[0]
    alone = minimise(*small(seeds=[2]), "gradient", steps=8, tolerance=1e-6)[0]
    torch.testing.assert_close(alone[0], together[2], rtol=1e-6, atol=1e-8)


def test_groups_change_nothing(monkeypatch):
    whole = minimise(*small(), "loss", steps=5, tolerance=0.0)
    monkeypatch.setitem(second_order.GROUP_BYTES, "cpu", 1)
    single = minimise(*small(), "loss", steps=5, tolerance=0.0)
    for one, other in zip(whole, single, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
