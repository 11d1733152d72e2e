"""Toy saddles: every method's recurrence is known, so trajectories are exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim.eigensteps import damped_newton_step, newton_step, saddle_free_step
from reproductions.optim.objective import Autograd
from reproductions.optim.second_order import descend
from reproductions.problems import saddles

F64 = torch.float64
CLASSICAL, MONKEY = Autograd(saddles.classical), Autograd(saddles.monkey)
EXACT = {"rtol": 1e-14, "atol": 1e-14}


@pytest.fixture
def starts() -> Tensor:
    """Return points (12, 2) all around the saddle."""
    turns = torch.linspace(0, 1, 13, dtype=F64)[:-1] + 0.013
    radii = torch.linspace(0.2, 1.5, 12, dtype=F64)
    return (
        torch.stack([torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)], 1)
        * (radii[:, None])
    )


def moved(theta: Tensor, x: float, y: float) -> Tensor:
    return theta * torch.tensor([x, y], dtype=F64)


def test_gradient_descent_on_the_classical_saddle(starts: Tensor):
    rate = 0.03
    step = -rate * CLASSICAL.gradient(starts)[1]
    wanted = moved(starts, 1 - 10 * rate, 1 + 2 * rate)
    torch.testing.assert_close(starts + step, wanted, **EXACT)


def test_newton_goes_to_the_classical_saddle_at_once(starts: Tensor):
    assert (starts + newton_step(CLASSICAL.curvature(starts))).abs().max() < 1e-15


def test_saddle_free_newton_doubles_the_escape_from_the_classical_saddle(starts: Tensor):
    step = saddle_free_step(CLASSICAL.curvature(starts))
    torch.testing.assert_close(starts + step, moved(starts, 0, 2), **EXACT)


@pytest.mark.parametrize("damping", [0.1, 1.0, 1.9, 2.1, 5.0])
def test_damped_newton_descends_from_the_classical_saddle_only_above_its_curvature(
    starts: Tensor, damping: float
):
    found = starts + damped_newton_step(CLASSICAL.curvature(starts), damping)
    wanted = moved(starts, damping / (10 + damping), damping / (damping - 2))
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-14)
    outward = found[:, 1] * starts[:, 1] > 0
    assert bool(outward.all()) == (damping > 2) and bool(outward.any()) == (damping > 2)


def test_newton_halves_the_way_to_the_monkey_saddle_from_anywhere(starts: Tensor):
    step = newton_step(MONKEY.curvature(starts))
    torch.testing.assert_close(starts + step, starts / 2, **EXACT)


def test_the_monkey_saddle_has_the_curvatures_six_r(starts: Tensor):
    radius = torch.linalg.vector_norm(starts, dim=1)
    found = MONKEY.curvature(starts)
    values = torch.linalg.eigvalsh(found.hessian)
    torch.testing.assert_close(values, 6 * torch.stack([-radius, radius], 1), **EXACT)
    norm = torch.linalg.vector_norm(found.gradient, dim=1)
    torch.testing.assert_close(norm, 3 * radius**2, **EXACT)


def test_saddle_free_newton_on_the_monkey_saddle(starts: Tensor):
    radius = torch.linalg.vector_norm(starts, dim=1)
    angle = torch.atan2(starts[:, 1], starts[:, 0])
    step = saddle_free_step(MONKEY.curvature(starts))
    wanted = -MONKEY.gradient(starts)[1] / (6 * radius[:, None])
    torch.testing.assert_close(step, wanted, **EXACT)
    torch.testing.assert_close(torch.linalg.vector_norm(step, dim=1), radius / 2, **EXACT)
    after = (starts + step).square().sum(1)
    torch.testing.assert_close(after, radius**2 * (1.25 - torch.cos(3 * angle)), **EXACT)


@pytest.mark.parametrize(("turn", "factor"), [(1 / 6, 1.5), (1 / 2, 1.5), (0.0, 0.5), (1 / 3, 0.5)])
def test_along_the_rays_of_the_monkey_saddle_the_radius_grows_or_halves(turn: float, factor: float):
    angle = torch.tensor(2 * math.pi * turn, dtype=F64)
    theta = 0.3 * torch.stack([angle.cos(), angle.sin()])[None]
    for _ in range(3):
        step = saddle_free_step(MONKEY.curvature(theta))
        torch.testing.assert_close(theta + step, factor * theta, rtol=1e-13, atol=1e-14)
        theta = theta + step


def test_gradient_descent_near_the_monkey_saddle_moves_with_the_square_of_the_radius():
    theta = torch.tensor([[1e-3, 0.0]], dtype=F64)
    assert torch.linalg.vector_norm(MONKEY.gradient(theta)[1]).item() == pytest.approx(3e-6)


@pytest.mark.parametrize("start", [1e-3, 1e-6])
def test_escape_times_are_those_of_the_recurrences(start: float):
    """Saddle-free Newton doubles y at each step; gradient descent multiplies it by 1 + 2 rate."""
    theta, radius, rate = torch.tensor([[0.0, start]], dtype=F64), 1.0, 0.05
    steps = math.ceil(math.log2(radius / start))
    track: list[float] = []
    descend(
        lambda _: CLASSICAL,
        theta,
        steps=steps,
        dampings=(0.0,),
        observe=lambda _, at: track.append(at[0, 1].item()),
    )
    assert next(step for step, y in enumerate(track) if y >= radius) == steps
    taken = 0
    while theta[0, 1] < radius:
        theta, taken = theta - rate * CLASSICAL.gradient(theta)[1], taken + 1
    assert taken == math.ceil(math.log(radius / start) / math.log(1 + 2 * rate))


def test_newton_and_saddle_free_newton_part_at_the_gutter():
    gutter = Autograd(saddles.gutter)
    inside = torch.tensor([[0.1, 0.05], [-0.2, 0.1]], dtype=F64)
    ends = {
        method: descend(lambda _: gutter, inside, method, steps=30).theta
        for method in ("newton", "saddle_free")
    }
    assert torch.linalg.vector_norm(ends["newton"], dim=1).max() < 1e-12
    found = torch.linalg.vector_norm(ends["saddle_free"], dim=1)
    torch.testing.assert_close(found, torch.ones(2, dtype=F64))


@pytest.mark.parametrize(
    ("function", "size", "values"),
    [
        (saddles.classical, 2, [-2.0, 10.0]),
        (saddles.monkey, 2, [0.0, 0.0]),
        (saddles.min_max, 2, [-2.0, 2.0]),
        (saddles.gutter, 2, [-4.0, -4.0]),
        (saddles.inflection, 1, [0.0]),
    ],
)
def test_every_landscape_is_at_rest_in_the_origin(function, size: int, values: list[float]):
    found = Autograd(function).curvature(torch.zeros(1, size, dtype=F64))
    assert (found.gradient == 0).all()
    assert torch.linalg.eigvalsh(found.hessian)[0].tolist() == pytest.approx(values)


def test_the_gutter_is_flat_along_its_circle(starts: Tensor):
    ring = starts / torch.linalg.vector_norm(starts, dim=1, keepdim=True)
    found = Autograd(saddles.gutter).curvature(ring)
    assert found.loss.abs().max() < 1e-15 and found.gradient.abs().max() < 1e-14
    wanted = torch.tensor([0.0, 8.0], dtype=F64).expand(12, 2)
    torch.testing.assert_close(torch.linalg.eigvalsh(found.hessian), wanted, rtol=0, atol=1e-13)


def test_quadratics_have_the_derivatives_of_their_loss(starts: Tensor):
    curvatures = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    found, wanted = saddles.Quadratic(curvatures), Autograd(saddles.Quadratic(curvatures).loss)
    for own, twin in zip(found.curvature(starts), wanted.curvature(starts), strict=True):
        torch.testing.assert_close(own, twin)
    vectors = torch.stack([starts, starts.flip(0)])
    torch.testing.assert_close(found.product(starts, vectors), wanted.product(starts, vectors))
    some = torch.arange(12) % 3 == 0
    assert torch.equal(found.part(some).loss(starts[some]), found.loss(starts)[some])


def test_a_grid_of_quadratic_saddles_escapes_as_one_ensemble():
    """However flat the descent is, saddle-free Newton doubles along it."""
    curvatures = torch.tensor([[a, -b] for a in (1.0, 10.0) for b in (1e-4, 1.0)], dtype=F64)
    theta = torch.tensor([[1.0, 1e-3]], dtype=F64).repeat(4, 1)
    found = descend(lambda _: saddles.Quadratic(curvatures), theta, steps=10, dampings=(0.0,))
    wanted = torch.tensor([0.0, 1e-3 * 2**10], dtype=F64).expand(4, 2)
    torch.testing.assert_close(found.theta, wanted, **EXACT)
    assert (found.negative == 1).all()
    torch.testing.assert_close(found.least_eigenvalue, curvatures[:, 1].expand(10, 4))
