"""Exact second-order descent: the damping search against brute force, and whole descents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim import second_order as module
from reproductions.optim.eigensteps import METHODS, damped_newton_step, saddle_free_step
from reproductions.optim.objective import Autograd, Curvature
from reproductions.optim.second_order import DAMPINGS, descend, update
from reproductions.problems.saddles import Quadratic, classical, monkey

F64 = torch.float64
STEPS = {"damped_newton": damped_newton_step, "saddle_free": saddle_free_step}


def bowl(theta: Tensor) -> Tensor:
    """Return a function with minima, saddles and quartic walls, bounded below."""
    x, y, z = theta.unbind(1)
    return (theta**4 / 4 - theta**2 / 2).sum(1) + 0.3 * x * y - 0.2 * y * z + torch.sin(3 * x * z)


class Wavy(Autograd):
    """A bowl that has a Gauss-Newton matrix, and knows parts of itself."""

    def __init__(self) -> None:
        super().__init__(bowl)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        return torch.diag_embed(1 + theta**2)


def starts(members: int = 5) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randn(members, 3, generator=source, dtype=F64)


@pytest.mark.parametrize("method", STEPS)
def test_the_damping_is_the_one_that_lowers_the_loss_most(method: str):
    objective, theta = Wavy(), starts(8)
    found = update(objective, theta, method)
    chosen = set()
    for member in range(len(theta)):
        own = theta[member : member + 1]
        tried = {
            damping: objective.loss(own + STEPS[method](objective.curvature(own), damping)).item()
            for damping in DAMPINGS
        }
        best = min(tried, key=tried.__getitem__)
        assert found.damping[member].item() == best
        assert found.loss_after[member].item() == pytest.approx(tried[best], rel=1e-12)
        chosen.add(best)
    assert len(chosen) > 1  # else the search would have been idle
    torch.testing.assert_close(objective.loss(found.theta), found.loss_after)


def test_an_update_reports_where_it_started():
    objective, theta = Wavy(), starts()
    found, before = update(objective, theta), objective.curvature(theta)
    torch.testing.assert_close(found.loss, before.loss)
    torch.testing.assert_close(found.gradient_norm, before.gradient.norm(dim=1))
    torch.testing.assert_close(found.eigenvalues, torch.linalg.eigvalsh(before.hessian))


def test_gauss_newton_divides_by_the_matrix_of_the_objective():
    objective, theta = Wavy(), starts()
    found = update(objective, theta, "gauss_newton", dampings=(0.5,))
    wanted = theta - objective.gradient(theta)[1] / (1.5 + theta**2)
    torch.testing.assert_close(found.theta, wanted)
    with pytest.raises(ValueError, match=r"the objective has no gauss_newton\(theta\)"):
        update(Autograd(bowl), theta, "gauss_newton")


def test_where_no_damping_helps_the_best_is_taken_or_none():
    """Newton's step goes up to the saddle of -y^2; so does every damping below its curvature."""
    theta, objective = torch.tensor([[0.0, 1.0], [1.0, 0.1]], dtype=F64), Autograd(classical)
    best = update(objective, theta, "damped_newton", dampings=DAMPINGS[1:])
    assert (best.loss_after > best.loss).tolist() == [True, False]
    assert best.damping[0] == 0.1  # the least bad
    torch.testing.assert_close(best.theta[0].tolist(), [0.0, 0.1 / (0.1 - 2)])
    stay = update(objective, theta, "damped_newton", dampings=DAMPINGS[1:], on_failure="stay")
    assert torch.equal(stay.theta[0], theta[0]) and stay.loss_after[0] == stay.loss[0]
    assert stay.damping[0].isnan() and not stay.damping[1].isnan()
    assert torch.equal(stay.theta[1], best.theta[1])


@pytest.mark.parametrize("beyond", [torch.nan, torch.inf, -torch.inf])
def test_a_member_whose_candidates_all_have_no_finite_loss_stays(beyond: float):
    def function(theta: Tensor) -> Tensor:
        x, y = theta.unbind(1)
        return torch.where(x > 0, x + torch.log(x.abs()) + y**2, beyond)

    theta = torch.tensor([[0.1, 1.0], [0.1, 0.0]], dtype=F64)  # steps lead below 0
    found = update(Autograd(function), theta, "saddle_free", dampings=(1e-3, 1e-5))
    assert torch.equal(found.theta, theta) and found.damping.isnan().all()
    assert torch.equal(found.loss_after, found.loss)


@pytest.mark.parametrize("method", METHODS)
def test_members_do_not_know_of_each_other(method: str):
    theta, order = starts(), torch.tensor([3, 1, 4, 0, 2])
    whole = descend(lambda _: Wavy(), theta, method, steps=4)
    permuted = descend(lambda _: Wavy(), theta[order], method, steps=4)
    torch.testing.assert_close(permuted.theta, whole.theta[order])
    assert torch.equal(permuted.damping, whole.damping[:, order])
    alone = descend(lambda _: Wavy(), theta[2:3], method, steps=4)
    torch.testing.assert_close(alone.theta, whole.theta[2:3])


@pytest.mark.parametrize("method", METHODS)
def test_a_point_at_rest_stays(method: str):
    minima = descend(lambda _: Wavy(), starts(), "saddle_free", steps=30)
    found = descend(lambda _: Wavy(), minima.theta, method, steps=1)
    torch.testing.assert_close(found.theta, minima.theta, rtol=0, atol=1e-7)


def test_saddle_free_newton_ends_in_minima_and_newton_at_saddles_too():
    free = descend(lambda _: Wavy(), starts(20), "saddle_free", steps=40)
    newton = descend(lambda _: Wavy(), starts(20), "newton", steps=40)
    assert free.gradient_norm[-1].max() < 1e-8 and (free.negative[-1] == 0).all()
    assert newton.gradient_norm[-1].median() < 1e-8 and (newton.negative[-1] > 0).any()


def test_a_descent_is_a_chain_of_updates():
    theta, seen = starts(), []
    objectives = [Wavy(), Autograd(lambda at: bowl(at) + at[:, 0]), Wavy()]
    found = descend(
        objectives.__getitem__, theta, steps=3, observe=lambda step, at: seen.append((step, at + 0))
    )
    at = theta
    for step, objective in enumerate(objectives):
        assert seen[step][0] == step and torch.equal(seen[step][1], at)
        one = update(objective, at)
        for name in ("loss", "loss_after", "damping", "gradient_norm"):
            assert torch.equal(getattr(found, name)[step], getattr(one, name))
        assert torch.equal(found.least_eigenvalue[step], one.eigenvalues[:, 0])
        assert torch.equal(found.negative[step], (one.eigenvalues < 0).sum(1))
        at = one.theta
    assert torch.equal(found.theta, at) and torch.equal(seen[3][1], at)
    assert (found.stopped == 3).all()


def test_the_start_is_left_alone():
    theta = starts()
    before = theta.clone()
    descend(lambda _: Wavy(), theta, steps=2)
    assert torch.equal(theta, before)


def test_a_member_that_is_not_finite_stops_and_spoils_no_other():
    theta = starts()
    wanted = descend(lambda _: Wavy(), theta[[0, 2, 3, 4]], steps=3)
    theta[1] = torch.nan
    found = descend(lambda _: Wavy(), theta, steps=3)
    assert found.stopped.tolist() == [3, 0, 3, 3, 3]
    assert found.loss[:, 1].isnan().all() and (found.negative[:, 1] == -1).all()
    assert torch.equal(found.theta[[0, 2, 3, 4]], wanted.theta)
    assert torch.equal(found.negative[:, [0, 2, 3, 4]], wanted.negative)


def test_a_hessian_that_is_not_finite_stops_its_member_where_it_is():
    class Broken(Wavy):
        def curvature(self, theta: Tensor) -> Curvature:
            found = super().curvature(theta)
            found.hessian[theta[:, 0] == theta[:, 0].max()] = torch.nan
            return found

    theta = starts()
    worst = int(theta[:, 0].argmax())
    found = descend(lambda step: Broken() if step == 0 else Wavy(), theta, steps=2)
    assert found.stopped.tolist() == [0 if member == worst else 2 for member in range(5)]
    assert torch.equal(found.theta[worst], theta[worst])
    assert found.loss[0, worst].isfinite() and found.loss[1, worst].isnan()


def test_when_all_members_have_stopped_the_descent_ends():
    asked = []

    def objective_at(step: int) -> Wavy:
        asked.append(step)
        return Wavy()

    found = descend(objective_at, torch.full((2, 3), torch.nan, dtype=F64), steps=9)
    assert asked == [0] and (found.stopped == 0).all()


def test_members_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    curvatures = torch.tensor([[1.0, -2.0], [3.0, -0.1], [0.5, 0.2]], dtype=F64)
    objective, theta = Quadratic(curvatures), torch.ones(3, 2, dtype=F64)
    together = update(objective, theta), update(Wavy(), starts())
    monkeypatch.setitem(module.GROUP_BYTES, "cpu", 1)
    for one, other in zip(together, (update(objective, theta), update(Wavy(), starts())), strict=1):
        for part, whole in zip(other, one, strict=True):
            torch.testing.assert_close(part, whole, rtol=1e-13, atol=1e-13)


def test_methods_are_a_table_that_can_grow(monkeypatch: pytest.MonkeyPatch):
    flat = module.Method(lambda values, damping: 1 + 0 * values + 0 * damping, damped=False)
    monkeypatch.setitem(METHODS, "unit_descent", flat)
    theta = starts()
    found = update(Wavy(), theta, "unit_descent")
    torch.testing.assert_close(found.theta, theta - Wavy().gradient(theta)[1])


def test_everything_is_computed_in_the_dtype_of_theta():
    found = descend(lambda _: Wavy(), starts().float(), steps=2)
    assert found.theta.dtype == found.loss.dtype == found.damping.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_descent_is_the_same_on_a_gpu():
    found = descend(lambda _: Wavy(), starts().cuda(), steps=3)
    torch.testing.assert_close(found.theta.cpu(), descend(lambda _: Wavy(), starts(), steps=3)[0])


def test_misuse_is_named():
    theta, objective = starts(), Autograd(monkey)
    with pytest.raises(ValueError, match=r"method must be one of newton, .*, got 'sfn'"):
        update(objective, theta, "sfn")
    with pytest.raises(ValueError, match="on_failure must be best or stay, got 'go'"):
        update(objective, theta, on_failure="go")
    for dampings in [(), (-1.0,), (torch.nan,)]:
        with pytest.raises(ValueError, match="dampings must be one or more numbers not below 0"):
            descend(lambda _: objective, theta, steps=1, dampings=dampings)
