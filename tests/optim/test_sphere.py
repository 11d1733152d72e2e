"""Steps along a sphere: they stay on it, and are the plain formula of projection and return."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim import first_order as fo
from reproductions.optim.advance import choose
from reproductions.optim.sphere import on_sphere
from reproductions.optim.train import train
from reproductions.problems.spin_glass_descent import SpinGlass, draw_couplings, random_starts

F64 = torch.float64
E, P, RADIUS = 5, 6, 2.5
INNER = {
    "sgd": lambda: fo.sgd(0.1),
    "sgd 1/sqrt t": lambda: fo.sgd(0.1, schedule=fo.inverse_sqrt),
    "sgd by member": lambda: fo.sgd(torch.linspace(0.1, 0.5, E, dtype=F64)[:, None]),
    "heavy ball": lambda: fo.momentum(0.1, 0.9),
    "adam": lambda: fo.adam(0.1),
}
every_inner = pytest.mark.parametrize("name", INNER)


def start(members: int = E, dtype: torch.dtype = F64) -> Tensor:
    theta = torch.randn(members, P, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return theta * (RADIUS / theta.norm(dim=1, keepdim=True))


def gradients(steps: int = 30) -> Tensor:
    return torch.randn(steps, E, P, dtype=F64, generator=torch.Generator().manual_seed(2))


def trajectory(transform: fo.Transform, theta: Tensor, grads: Tensor) -> Tensor:
    state, path = transform.init(theta), []
    for grad in grads:
        step, state = transform.update(grad, state, theta)
        theta = theta + step
        path.append(theta)
    return torch.stack(path)


@every_inner
def test_the_path_stays_on_the_sphere(name: str):
    path = trajectory(on_sphere(INNER[name](), RADIUS), start(), gradients())
    assert (path.norm(dim=2) / RADIUS - 1).abs().max() < 1e-15 * 8


def test_in_single_precision_it_does_not_drift_off():
    path = trajectory(on_sphere(fo.sgd(0.1), RADIUS), start().float(), gradients(3000).float())
    assert (path.norm(dim=2) / RADIUS - 1).abs().max() < 1e-6


def test_steps_of_sgd_are_the_plain_formula():
    theta, grads, rate = start(), gradients(), 0.1
    path = trajectory(on_sphere(fo.sgd(rate), RADIUS), theta, grads)
    for seen, grad in zip(path, grads, strict=True):
        tangent = grad - theta * (grad * theta).sum(1, keepdim=True) / RADIUS**2
        theta = theta - rate * tangent
        theta = theta * RADIUS / theta.norm(dim=1, keepdim=True)
        torch.testing.assert_close(seen, theta, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["sgd", "heavy ball"])
def test_turning_the_problem_turns_the_path(name: str):
    turn = torch.linalg.qr(torch.randn(P, P, dtype=F64)).Q
    path = trajectory(on_sphere(INNER[name](), RADIUS), start(), gradients())
    turned = trajectory(on_sphere(INNER[name](), RADIUS), start() @ turn, gradients() @ turn)
    torch.testing.assert_close(turned, path @ turn, rtol=1e-11, atol=1e-12)


@every_inner
def test_a_gradient_without_a_tangent_part_moves_nothing(name: str):
    theta = start()
    scales = torch.tensor([0.0, 1.0, -3.0], dtype=F64)
    if name == "adam":  # it answers to the sign of what rounding leaves
        scales = scales[:1]
    path = trajectory(on_sphere(INNER[name](), RADIUS), theta, scales[:, None, None] * theta)
    torch.testing.assert_close(path, theta.expand_as(path), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in INNER if name != "sgd by member"])
def test_permuting_members_permutes_their_paths(name: str):
    order = torch.tensor([3, 0, 4, 2, 1])
    path = trajectory(on_sphere(INNER[name](), RADIUS), start(), gradients())
    other = trajectory(on_sphere(INNER[name](), RADIUS), start()[order], gradients()[:, order])
    assert torch.equal(path[:, order], other)


@every_inner
def test_update_modifies_nothing_it_is_given(name: str):
    transform, theta, grad = on_sphere(INNER[name](), RADIUS), start(), gradients(1)[0]
    state, before = transform.init(theta), (theta.clone(), grad.clone())
    transform.update(grad, state, theta)
    assert torch.equal(theta, before[0]) and torch.equal(grad, before[1])
    assert torch.broadcast_shapes(transform.rate(state).shape, theta.shape) == theta.shape


class _Descends:
    """A problem that could add a multiple of its gradient to theta by itself."""

    def gradient(self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None):
        raise NotImplementedError

    def descend(self, *_: object) -> Tensor:
        raise AssertionError("the step on a sphere is no multiple of the gradient")


def test_no_shortcut_past_the_sphere_is_offered_or_taken():
    transform = on_sphere(fo.sgd(0.1), RADIUS)
    assert transform.factor is None
    choose(_Descends(), transform, start(), 10, "auto")
    with pytest.raises(ValueError, match="a multiple of the gradient"):
        choose(_Descends(), transform, start(), 10, "descending")


def test_the_training_loop_descends_a_spin_glass_on_its_sphere():
    n, starts = 12, 40
    source = torch.Generator().manual_seed(5)
    problem = SpinGlass.of([draw_couplings(n, source)], F64)
    theta = random_starts(n, starts, source).double()
    theta *= math.sqrt(n) / theta.norm(dim=1, keepdim=True)
    nothing, seen = theta.new_zeros(1, 1), []
    outcome = train(
        problem, on_sphere(fo.sgd(0.1), math.sqrt(n)), theta, lambda _: (nothing, nothing),
        steps=400, record_at=range(401),
        observe=lambda now: seen.append(problem.at_rest(now.theta)[0]),
    )  # fmt: skip
    energies = torch.stack(seen)
    assert (energies.diff(dim=0) < 1e-12).all()
    assert (outcome.theta.norm(dim=1) / math.sqrt(n) - 1).abs().max() < 1e-14
    assert problem.at_rest(outcome.theta)[1].median() < 1e-6


def test_misuse_is_named():
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="radius must be"):
            on_sphere(fo.sgd(0.1), radius)
    with pytest.raises(ValueError, match="theta must have length 1, got 2.5"):
        on_sphere(fo.sgd(0.1), 1.0).init(start())
