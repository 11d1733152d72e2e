"""Dropout in the ensemble of perceptrons, against autograd with the same masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.problems.dropout_mlp import DropoutMLP
from reproductions.problems.mlp import MLP

LAYOUT, KEEP, BATCH = Layout((6, 8, 7, 3)), 0.6, 9


def sources(count: int) -> list[torch.Generator]:
    return [generator(1, seed, 3) for seed in range(count)]


def masks(count: int) -> list[list[Tensor]]:
    """Return per hidden layer the masks that the generators draw first."""
    own = sources(count)
    return [
        [(torch.rand(BATCH, width, generator=source) < KEEP).double() / KEEP for source in own]
        for width in LAYOUT.widths[1:-1]
    ]


def by_autograd(theta: Tensor, x: Tensor, y: Tensor, drop: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of one member (P,)."""
    own = theta.clone().requires_grad_()
    hidden = x
    for depth, (weight, bias) in enumerate(LAYOUT.views(own[None])):
        hidden = hidden @ weight[0] + bias[0]
        if depth < len(drop):
            hidden = torch.relu(hidden) * drop[depth]
    loss = torch.nn.functional.cross_entropy(hidden, y)
    return loss.detach(), torch.autograd.grad(loss, own)[0]


def example(members: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    source = generator(7)
    theta = torch.randn(members, LAYOUT.parameters, generator=source, dtype=torch.float64)
    x = torch.randn(groups, BATCH, 6, generator=source, dtype=torch.float64)
    return theta, x, torch.randint(3, (groups, BATCH), generator=source)


@pytest.mark.parametrize(
    ("members", "groups", "drawn", "chunk"),
    [(4, 4, 2, None), (4, 4, 2, 3), (6, 2, 2, 2), (6, 2, 1, None), (3, 1, 1, 2)],
)
def test_the_gradient_is_autograds_with_the_same_units_dropped(
    members: int, groups: int, drawn: int, chunk: int | None
):
    theta, x, y = example(members, groups)
    problem = DropoutMLP(LAYOUT, KEEP, sources(drawn), members_at_once=chunk)
    loss, grad = problem.gradient(theta, x, y)
    kept = masks(drawn)
    for member in range(members):
        group = member // (members // groups)
        own = [layer[group % drawn] for layer in kept]
        wanted = by_autograd(theta[member], x[group], y[group], own)
        torch.testing.assert_close(loss[member], wanted[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad[member], wanted[1], rtol=1e-11, atol=1e-12)


def test_descending_makes_the_step_of_the_gradient():
    theta, x, y = example(4, 2)
    _, grad = DropoutMLP(LAYOUT, KEEP, sources(2)).gradient(theta, x, y)
    moved = theta.clone()
    DropoutMLP(LAYOUT, KEEP, sources(2)).descend(moved, x, y, 0.1)
    torch.testing.assert_close(moved, theta - 0.1 * grad, rtol=1e-12, atol=1e-12)


def test_no_unit_is_dropped_in_evaluation():
    theta, x, y = example(4, 1)
    problem = DropoutMLP(LAYOUT, KEEP, sources(1))
    problem.gradient(theta, x, y)  # leaves no mask behind
    for ours, plain in zip(
        problem.evaluate(theta, x[0], y[0]), MLP(LAYOUT).evaluate(theta, x[0], y[0]), strict=True
    ):
        assert torch.equal(ours, plain)


def test_keeping_every_unit_is_no_dropout():
    theta, x, y = example(4, 2)
    ours = DropoutMLP(LAYOUT, 1.0, sources(2)).gradient(theta, x, y)[1]
    torch.testing.assert_close(ours, MLP(LAYOUT).gradient(theta, x, y)[1])


def test_the_expected_output_of_a_layer_is_kept():
    theta, _, _ = example(1, 1)
    problem = DropoutMLP(LAYOUT, KEEP, sources(1))
    drawn = torch.stack([problem._draw(BATCH, theta)[0] for _ in range(400)])
    assert drawn.mean().item() == pytest.approx(1.0, abs=0.02)
    assert set(drawn.unique().tolist()) == {0.0, 1 / KEEP}


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1])
def test_a_probability_out_of_range_is_refused(keep: float):
    with pytest.raises(ValueError, match=r"keep must be in \(0, 1\]"):
        DropoutMLP(LAYOUT, keep, sources(1))


def test_no_generator_is_refused():
    with pytest.raises(ValueError, match="generators must name at least one"):
        DropoutMLP(LAYOUT, 0.5, [])
