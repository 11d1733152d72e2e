"""The two saddles of Figure 2 of Dauphin et al. 2014, and how long each method takes to leave one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reproductions.optim.objective import Autograd
from reproductions.papers.dauphin2014saddle import toy_figures, toys
from reproductions.problems.saddles import classical, monkey
from tests.rows import as_table

RATE, DAMPING = 0.05, 3.0
STARTS, CURVATURES, RADIUS = [0.1, 1e-3], [1.0, 0.2], 1.0


@pytest.fixture(scope="module")
def table():
    rows = toys.trajectories(12, RATE, DAMPING)
    rows.extend(toys.escapes(STARTS, CURVATURES, RATE, DAMPING, RADIUS))
    return as_table(rows)


@pytest.mark.parametrize(("surface", "function"), [("classical", classical), ("monkey", monkey)])
def test_derivatives_written_by_hand_are_those_of_the_surface(surface, function):
    objective, oracle = toys.surfaces()[surface], Autograd(function)
    theta = torch.tensor([[0.7, -0.4]], dtype=torch.float64)
    for ours, theirs in zip(objective.curvature(theta), oracle.curvature(theta), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    vectors = torch.tensor([[[0.3, 1.0]], [[-2.0, 0.5]]], dtype=torch.float64)
    torch.testing.assert_close(
        objective.product(theta, vectors), oracle.product(theta, vectors), rtol=1e-12, atol=1e-12
    )


def test_paths_are_those_of_the_formulas_worked_out_by_hand(table):
    x, y = toys.STARTS["classical"]
    assert toy_figures.path(table, "classical", "sgd")[2] == pytest.approx(
        [x * 0.5**2, y * 1.1**2], rel=1e-14
    )
    assert toy_figures.path(table, "classical", "damped_newton")[2] == pytest.approx(
        [x * (3 / 13) ** 2, y * 3**2], rel=1e-14
    )
    assert toy_figures.path(table, "classical", "saddle_free")[3] == pytest.approx([0, 8 * y])
    assert toy_figures.path(table, "classical", "newton")[1:] == pytest.approx(0)
    newton = toy_figures.path(table, "monkey", "newton")
    np.testing.assert_allclose(newton, newton[0] / 2.0 ** np.arange(13)[:, None], rtol=1e-12)


def test_a_saddle_free_step_on_the_monkey_saddle_is_the_gradient_over_six_r(table):
    points = toy_figures.path(table, "monkey", "saddle_free")
    x, y = points[:-1].T
    gradient = np.stack([3 * (x**2 - y**2), -6 * x * y], 1)
    wanted = points[:-1] - gradient / (6 * np.hypot(x, y)[:, None])
    np.testing.assert_allclose(points[1:], wanted, rtol=1e-12)


def test_everything_measured_is_as_claimed(table):
    found = {name: metric.value for name, metric in toy_figures.measure(table).items()}
    for name in ("gradient_descent", "damped_newton", "saddle_free"):
        assert found[f"toy_{name}_error"] <= 1e-13
    assert found["toy_newton_distance"] == 0
    assert found["monkey_newton_ratio"] == pytest.approx(0.5, abs=1e-13)
    assert found["monkey_saddle_free_error"] <= 1e-13
    assert found["escape_saddle_free_excess"] == 0
    assert found["escape_descent_slope"] == pytest.approx(-1, abs=0.05)


def test_errors_are_seen_where_a_path_leaves_its_recurrence():
    points = np.array([1.0, 0.1]) * np.array([0.5, 1.1]) ** np.arange(5)[:, None]
    factor = np.array([0.5, 1.1])
    assert toy_figures.recurrence_error(points, factor) < 1e-15
    points[3, 0] += 1e-6
    assert toy_figures.recurrence_error(points, factor) == pytest.approx(1e-6)
    bent = np.array([[1.0, 0.2], [0.6, 0.5]])
    assert toy_figures.monkey_error(bent) > 1e-3


def test_steps_to_leave_are_the_least_whole_numbers_that_the_recurrences_allow(table):
    growth = {
        "sgd": lambda c: 1 + RATE * c,
        "damped_newton": lambda c: DAMPING / (DAMPING - c),
        "saddle_free": lambda c: 2.0,
    }
    for method, factor in growth.items():
        starts, curvatures, steps = toy_figures.grid(table, method)
        assert starts.tolist() == sorted(STARTS) and curvatures.tolist() == sorted(CURVATURES)
        wanted = [[math.ceil(math.log(RADIUS / s) / math.log(factor(c))) for c in curvatures]
                  for s in starts]  # fmt: skip
        assert steps.tolist() == wanted, method


def test_newton_never_leaves_and_is_kept_as_such(table):
    rows = table[(table.quantity == "escape_steps") & (table.arm == "newton")]
    assert len(rows) == 4 and set(rows.status) == {"never left the saddle"}
    assert np.isnan(toy_figures.grid(table, "newton")[2]).all()


def test_a_damping_below_half_the_curvature_keeps_damped_newton_at_the_saddle():
    objective = toys.Bowl(torch.tensor([[10.0, -2.0]], dtype=torch.float64))
    theta = torch.tensor([[1.0, 0.1]], dtype=torch.float64)
    for damping, leaves in ((0.9, False), (1.1, True), (3.0, True)):
        taken = toys.leaving(objective, theta, "damped_newton", RATE, damping, RADIUS)
        assert (taken[0] > 0) == leaves, damping


def test_a_member_leaves_after_as_many_steps_alone_as_in_a_grid():
    objective = toys.Bowl(torch.tensor([[10.0, -0.5]], dtype=torch.float64))
    theta = torch.tensor([[1.0, 1e-12]], dtype=torch.float64)
    alone = toys.leaving(objective, theta, "sgd", RATE, DAMPING, RADIUS)
    assert alone[0] == math.ceil(math.log(1e12) / math.log(1.025)) > 2 * toys.BLOCK


def test_gradient_descent_on_the_monkey_saddle_may_diverge_and_is_drawn_all_the_same():
    table = as_table(toys.trajectories(40, 0.4, DAMPING))
    path = toy_figures.path(table, "monkey", "sgd")
    assert np.isnan(path[-1]).all() and np.isfinite(path[0]).all()
    status = table[(table.surface == "monkey") & (table.arm == "sgd")].status
    assert status.iloc[-1].startswith("diverged")
    assert toy_figures.paths(table).axes


@pytest.mark.parametrize("draw", [toy_figures.paths, toy_figures.escapes])
def test_figures_name_every_method(draw, table):
    figure = draw(table)
    said = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    notes = " ".join(ax._house_note.get_text() for ax in figure.axes)
    for name in toy_figures.LABELS.values():
        assert name in said or f"{name} never left" in notes
