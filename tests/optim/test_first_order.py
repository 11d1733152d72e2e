"""What holds for every transform, and what torch, optax and the paper each compute."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils import _pytree as pytree

from reproductions.optim import first_order as fo

F64 = torch.float64
E, P = 5, 4

TRANSFORMS: dict[str, Callable[[fo.Hyper], fo.Transform]] = {
    "sgd": fo.sgd,
    "sgd 1/sqrt t": lambda lr: fo.sgd(lr, schedule=fo.inverse_sqrt),
    "heavy ball": lambda lr: fo.momentum(lr, 0.9),
    "nesterov": lambda lr: fo.momentum(lr, 0.9, nesterov=True),
    "adagrad": fo.adagrad,
    "adagrad eps": lambda lr: fo.adagrad(lr, eps=1e-10),
    "rmsprop": lambda lr: fo.rmsprop(lr, 0.99),
    "rmsprop eps": lambda lr: fo.rmsprop(lr, 0.99, eps=1e-8),
    "adam": fo.adam,
    "adam eps inside": lambda lr: fo.adam(lr, eps=1e-8, eps_inside=True),
    "adam torch": lambda lr: fo.adam(lr, eps=1e-8, debias=True),
    "amsgrad": lambda lr: fo.amsgrad(lr, schedule=fo.inverse_sqrt),
    "amsgrad torch": lambda lr: fo.amsgrad(lr, eps=1e-8, order="torch"),
    "amsgrad optax": lambda lr: fo.amsgrad(lr, eps=1e-8, order="optax"),
    "adamnc": fo.adamnc,
    "adamnc 1/sqrt t": lambda lr: fo.adamnc(lr, schedule=fo.inverse_sqrt),
    "sign": fo.sign,
    "normalised": fo.normalised,
    "by member": lambda lr: fo.by_member(
        [(slice(0, 2), fo.adam(_part(lr, 0, 2))), (slice(2, E), fo.sgd(_part(lr, 2, E)))]
    ),
}
every_transform = pytest.mark.parametrize("name", TRANSFORMS)
every_uniform = pytest.mark.parametrize("name", [n for n in TRANSFORMS if n != "by member"])


def _part(lr: fo.Hyper, start: int, stop: int) -> fo.Hyper:
    return lr[start:stop] if isinstance(lr, Tensor) and lr.dim() else lr


def gradients(steps: int, members: int = E, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    scales = torch.logspace(-3, 2, P, dtype=F64)
    return torch.randn(steps, members, P, generator=source, dtype=F64) * scales


def trajectory(transform: fo.Transform, theta: Tensor, grads: Tensor) -> Tensor:
    state, path = transform.init(theta), []
    for grad in grads:
        step, state = transform.update(grad, state, theta)
        theta = theta + step
        path.append(theta)
    return torch.stack(path)


@every_transform
def test_zero_gradient_at_rest_leaves_theta_where_it_is(name: str):
    theta = torch.randn(E, P, dtype=F64)
    path = trajectory(TRANSFORMS[name](0.1), theta, torch.zeros(5, E, P, dtype=F64))
    assert torch.equal(path, theta.expand_as(path))


@every_uniform
def test_permuting_members_permutes_their_trajectories(name: str):
    theta, grads = torch.randn(E, P, dtype=F64), gradients(20)
    lr = torch.rand(E, 1, dtype=F64)
    order = torch.tensor([3, 0, 4, 2, 1])
    path = trajectory(TRANSFORMS[name](lr), theta, grads)
    other = trajectory(TRANSFORMS[name](lr[order]), theta[order], grads[:, order])
    assert torch.equal(path[:, order], other)


@every_uniform
def test_a_member_is_the_same_in_every_ensemble(name: str):
    theta, grads = torch.randn(E, P, dtype=F64), gradients(20)
    together = trajectory(TRANSFORMS[name](0.1), theta, grads)
    alone = trajectory(TRANSFORMS[name](0.1), theta[2:3], grads[:, 2:3])
    torch.testing.assert_close(together[:, 2:3], alone, rtol=1e-15, atol=0)


@every_transform
def test_update_modifies_nothing_it_is_given(name: str):
    transform, theta, grads = TRANSFORMS[name](0.1), torch.randn(E, P, dtype=F64), gradients(2)
    state = transform.update(grads[0], transform.init(theta), theta)[1]
    given_in = [theta, grads[1], *pytree.tree_leaves(state)]
    before = [tensor.clone() for tensor in given_in]
    transform.update(grads[1], state, theta)
    assert all(map(torch.equal, given_in, before))


@every_transform
def test_a_state_is_tensors_alone_of_unchanging_shape(name: str):
    transform, theta, grads = TRANSFORMS[name](0.1), torch.randn(E, P, dtype=F64), gradients(1)
    fresh = transform.init(theta)
    moved = transform.update(grads[0], fresh, theta)[1]
    assert pytree.tree_structure(fresh) == pytree.tree_structure(moved)
    pairs = zip(pytree.tree_leaves(fresh), pytree.tree_leaves(moved), strict=True)
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


@every_transform
def test_unrolled_steps_are_one_graph_without_a_break(name: str):
    transform, theta, grads = TRANSFORMS[name](0.1), torch.randn(E, P, dtype=F64), gradients(3)

    def unrolled(theta: Tensor, grads: Tensor) -> Tensor:
        return trajectory(transform, theta, grads)[-1]

    torch.compiler.reset()
    compiled = torch.compile(unrolled, backend="eager", fullgraph=True)
    assert torch.equal(compiled(theta, grads), unrolled(theta, grads))


@every_transform
def test_a_learning_rate_per_member_is_an_ensemble_of_runs(name: str):
    theta, grads = torch.randn(E, P, dtype=F64), gradients(10)
    rates = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=F64)
    together = trajectory(TRANSFORMS[name](rates[:, None]), theta, grads)
    for member, rate in enumerate(rates.tolist()):
        alone = trajectory(TRANSFORMS[name](rate), theta, grads)
        torch.testing.assert_close(together[:, member], alone[:, member], rtol=1e-15, atol=0)


@every_transform
def test_the_rate_broadcasts_to_theta(name: str):
    transform, theta = TRANSFORMS[name](0.1), torch.randn(E, P, dtype=F64)
    state = transform.update(gradients(1)[0], transform.init(theta), theta)[1]
    assert torch.broadcast_shapes(transform.rate(state).shape, theta.shape) == theta.shape


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, torch.tensor([[0.1], [-1.0]])])
@every_transform
def test_an_unusable_learning_rate_is_named(name: str, lr: fo.Hyper):
    with pytest.raises(ValueError, match="lr must be finite and not negative"):
        TRANSFORMS[name](lr)


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan, torch.tensor([[0.5], [1.5]])])
def test_a_decay_outside_zero_to_one_is_named(bad: fo.Hyper):
    for build, named in [
        (lambda: fo.adam(0.1, bad), "beta1"),
        (lambda: fo.adam(0.1, 0.9, bad), "beta2"),
        (lambda: fo.amsgrad(0.1, bad), "beta1"),
        (lambda: fo.adamnc(0.1, bad), "beta1"),
        (lambda: fo.rmsprop(0.1, bad), "beta2"),
        (lambda: fo.momentum(0.1, bad), "mu"),
    ]:
        with pytest.raises(ValueError, match=named):
            build()


def test_other_misuse_is_named():
    with pytest.raises(ValueError, match="eps"):
        fo.adam(0.1, eps=-1.0)
    with pytest.raises(ValueError, match="order must be one of paper, torch, optax"):
        fo.amsgrad(0.1, order="keras")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"lr must be a number or \(2, 1\)"):
        fo.sgd(torch.ones(3, 1)).init(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="without gap or overlap"):
        fo.by_member([(slice(0, 2), fo.sgd(0.1)), (slice(3, 5), fo.sgd(0.1))])
    with pytest.raises(ValueError, match="describe 2 members, theta has 3"):
        fo.by_member([(slice(0, 2), fo.sgd(0.1))]).init(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="low must not exceed high"):
        fo.project_box(torch.zeros(1, 1), 1.0, -1.0)


def test_parts_of_an_ensemble_move_as_they_would_alone():
    theta, grads = torch.randn(E, P, dtype=F64), gradients(20)
    parts = [(slice(0, 1), fo.sgd(0.1)), (slice(1, 4), fo.amsgrad(0.2)), (slice(4, E), fo.sign(1))]
    path = trajectory(fo.by_member(parts), theta, grads)
    for span, transform in parts:
        assert torch.equal(path[:, span], trajectory(transform, theta[span], grads[:, span]))


def test_a_multiple_of_the_gradient_is_the_step_where_a_factor_is_offered():
    lr = torch.rand(E, 1, dtype=F64)
    halves = [(slice(0, 2), fo.sgd(0.1)), (slice(2, E), fo.sgd(lr[2:], schedule=fo.inverse_sqrt))]
    for transform in (fo.sgd(lr, schedule=fo.inverse_sqrt), fo.by_member(halves)):
        theta, grad = torch.randn(E, P, dtype=F64), gradients(1)[0]
        assert transform.factor is not None
        factor, _ = transform.factor(transform.init(theta))
        step, _ = transform.update(grad, transform.init(theta), theta)
        assert torch.equal(factor * grad, step)
    assert fo.adam(0.1).factor is None
    assert fo.by_member([(slice(0, 1), fo.sgd(0.1)), (slice(1, 2), fo.adam(0.1))]).factor is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6), st.floats(-5, 5), st.floats(0, 5))
@settings(max_examples=50, deadline=None)
def test_projection_is_in_place_idempotent_and_the_nearest_point(
    values: list[float], low: float, width: float
):
    theta = torch.tensor([values], dtype=F64)
    wanted = torch.tensor([[min(max(v, low), low + width) for v in values]], dtype=F64)
    assert fo.project_box(theta, low, low + width) is theta
    assert torch.equal(theta, wanted)
    assert torch.equal(fo.project_box(theta.clone(), low, low + width), theta)


# --- against torch.optim ---------------------------------------------------------------------

IN_TORCH = {
    "sgd": (fo.sgd(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "heavy ball": (fo.momentum(0.1, 0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "nesterov": (
        fo.momentum(0.1, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "adagrad": (fo.adagrad(0.1, eps=1e-10), lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "rmsprop": (
        fo.rmsprop(0.01, 0.99, eps=1e-8),
        lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.99),
    ),
    "adam": (fo.adam(0.01, eps=1e-8, debias=True), lambda p: torch.optim.Adam(p, lr=0.01)),
    "amsgrad": (
        fo.amsgrad(0.01, eps=1e-8, order="torch"),
        lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    ),
}


def torch_trajectory(make: Callable, theta: Tensor, grads: Tensor) -> Tensor:
    parameter = torch.nn.Parameter(theta.clone())
    optimizer, path = make([parameter]), []
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
        path.append(parameter.detach().clone())
    return torch.stack(path)


@pytest.mark.parametrize("name", IN_TORCH)
def test_trajectories_are_those_of_torch_optim(name: str):
    ours, theirs = IN_TORCH[name]
    theta, grads = torch.randn(E, P, dtype=F64), gradients(400)
    path, wanted = trajectory(ours, theta, grads), torch_trajectory(theirs, theta, grads)
    scale = wanted.abs().clamp(min=1)
    assert ((path - wanted).abs() / scale).max() < 1e-12


# --- what the paper computes, by plain loops --------------------------------------------------


def paper_loop(method: str, grads: list[float], beta1: float, beta2: float) -> list[float]:
    """Return the steps of Algorithms 1 to 3 with alpha_t = 0.5 / sqrt t, one number at a time."""
    m = v = peak = total = 0.0
    steps = []
    for t, g in enumerate(grads, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        peak, total = max(peak, v), total + g * g
        alpha = 0.5 / math.sqrt(t)
        size = {"adam": v, "rmsprop": v, "amsgrad": peak, "adamnc": total / t, "adagrad": total / t}
        steps.append(
            -alpha * (g if method in ("adagrad", "rmsprop") else m) / math.sqrt(size[method])
        )
    return steps


@pytest.mark.parametrize("method", ["adam", "rmsprop", "amsgrad", "adamnc", "adagrad"])
def test_the_default_forms_are_the_paper_s(method: str):
    schedule, grads = fo.inverse_sqrt, gradients(200, members=1)[:, :, :1]
    transform = {
        "adam": fo.adam(0.5, 0.9, 0.99, schedule=schedule),
        "rmsprop": fo.rmsprop(0.5, 0.99, schedule=schedule),
        "amsgrad": fo.amsgrad(0.5, 0.9, 0.99, schedule=schedule),
        "adamnc": fo.adamnc(0.5, 0.9, schedule=schedule),
        "adagrad": fo.adagrad(0.5),
    }[method]
    theta = torch.zeros(1, 1, dtype=F64)
    path = trajectory(transform, theta, grads).flatten()
    wanted = torch.tensor(paper_loop(method, grads.flatten().tolist(), 0.9, 0.99), dtype=F64)
    torch.testing.assert_close(path, wanted.cumsum(0), rtol=1e-12, atol=1e-12)


def test_eps_inside_the_root_is_the_paper_s_equation_3():
    theta, grad = torch.zeros(1, 1, dtype=F64), torch.full((1, 1), 2.0, dtype=F64)
    transform = fo.adam(0.1, 0.5, 0.75, eps=3.0, eps_inside=True)
    step, _ = transform.update(grad, transform.init(theta), theta)
    assert step.item() == pytest.approx(-0.1 * 1.0 / math.sqrt(0.25 * 4 + 3.0), rel=1e-15)


def test_the_first_adam_step_without_correction_has_the_known_size():
    theta, grad = torch.zeros(1, 1, dtype=F64), torch.full((1, 1), 7.0, dtype=F64)
    for beta2, size in [(0.99, 1.0), (0.999, math.sqrt(10))]:
        transform = fo.adam(1.0, 0.9, beta2)
        step, _ = transform.update(grad, transform.init(theta), theta)
        assert step.item() == pytest.approx(-size, rel=1e-12)


def test_adamnc_without_momentum_is_adagrad():
    theta, grads = torch.randn(E, P, dtype=F64), gradients(50)
    nc = trajectory(fo.adamnc(0.1, 0.0, schedule=fo.inverse_sqrt), theta, grads)
    assert torch.equal(nc, trajectory(fo.adagrad(0.1), theta, grads))


def test_sign_and_normalised_steps_have_the_length_of_the_learning_rate():
    theta, grads = torch.zeros(E, P, dtype=F64), gradients(1)
    assert torch.equal(trajectory(fo.sign(0.25), theta, grads)[0], -0.25 * grads[0].sign())
    moved = trajectory(fo.normalised(0.25), theta, grads)[0]
    torch.testing.assert_close(moved.norm(dim=1), torch.full((E,), 0.25, dtype=F64))
    assert ((moved * grads[0]).sum(1) < 0).all()
