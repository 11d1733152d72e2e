"""Teleports that are chosen: small problems, real images, and what is measured of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.harness.tables import Rows, select
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.teleport import random_basis, scaling, teleport
from reproductions.papers.armenta2021teleport import (
    beyond,
    beyond_arms,
    beyond_figures,
    beyond_measures,
    beyond_small,
    beyond_timing,
)
from reproductions.papers.armenta2021teleport.images import images
from reproductions.problems.mlp import MLP
from tests.rows import as_table, quiet, synthetic_mnist

PLAN = beyond_arms.Plan(
    hidden=10, depth=2, epochs=4, batch=40, seeds=2, exponents=[0.5, 1.0], validation=60,
    sigma=0.9, bound=2.0, ascent_steps=7, ascent_rate=0.1, cap=100.0, early_epochs=[1],
    level_epochs=[1, 3], teleport_examples=100, level_steps=3, level_rate=0.1,
    level_tolerance=1e-3, train_examples=100, root_seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return as_table(beyond_small.rows(3, 3.0, 3.0, "cpu", 0))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    held = images(synthetic_mnist(), 260, 50, "cpu", 8)
    return as_table(beyond.compare(held, PLAN, quiet))


def losses(table: Any, problem: str, arm: str) -> np.ndarray:
    own = select(table, problem=problem, arm=arm, quantity="loss")
    return own.pivot(index="step", columns="seed", values="value").to_numpy()


@pytest.mark.parametrize("name", ["rosenbrock", "booth"])
def test_the_plane_is_the_published_function_and_a_rotation_keeps_it(name: str):
    plane = beyond_small.PLANES[name]
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = points.unbind(1)
    wanted = {
        "rosenbrock": 100 * (y - x * x) ** 2 + (1 - x) ** 2,
        "booth": (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    }[name]
    value, slope = beyond_small._value(plane, points)
    torch.testing.assert_close(value, wanted)
    own = points.clone().requires_grad_()
    again = torch.autograd.grad(beyond_small._value(plane, own)[0].sum(), own)[0]
    torch.testing.assert_close(slope, again)
    turned = beyond_small._rotated(plane, points, torch.full((20,), 0.7, dtype=torch.float64))
    torch.testing.assert_close(beyond_small._value(plane, turned)[0], value)


def test_descent_without_a_teleport_is_a_plain_loop(small: pd.DataFrame):
    x, y = 5.0, -5.0
    for step in range(11):
        u, v = x + 2 * y - 7, 2 * x + y - 5
        assert losses(small, "booth", "plain")[step, 0] == pytest.approx(u * u + v * v, rel=1e-12)
        x, y = x - 0.08 * (2 * u + 4 * v), y - 0.08 * (4 * u + 2 * v)


def test_a_teleport_keeps_the_loss_and_the_steepest_falls_most_at_once(small: pd.DataFrame):
    plain, steepest = (losses(small, "booth", arm) for arm in ("plain", "steepest"))
    np.testing.assert_allclose(plain[:5], steepest[:5], rtol=1e-12)
    assert (steepest[5] < plain[5]).all()
    at = {arm: losses(small, "gd", arm)[beyond_small.MOMENT] for arm in ("plain", "exact", "code")}
    np.testing.assert_allclose(at["exact"], at["plain"], rtol=1e-9)
    assert (np.abs(at["code"] / at["plain"] - 1) > 1e-3).all()


def test_small_measures_say_what_the_rows_say(small: pd.DataFrame):
    found = beyond_measures.small(small)
    ends = [losses(small, "booth", arm)[-1] for arm in ("code", "plain")]
    assert found["beyond_booth_log_ratio"].value == pytest.approx(np.log(ends[0] / ends[1]).mean())
    assert found["beyond_norm_error"].value < 1e-12
    assert found["beyond_corner_share"].value == 1
    assert found["beyond_balance_residual"].value < 1e-9
    assert found["beyond_balance_gain"].value < 0 < found["beyond_diagonal_gain"].value
    assert found["beyond_group_batch_change"].value < 1e-8
    assert found["beyond_group_other_change"].value > 0


def test_every_arm_has_its_curves_and_its_costs(table: pd.DataFrame):
    for arm in beyond_arms.ARMS:
        assert beyond_measures.chosen(table, arm, "train_loss").shape == (5, 2)
        cost = beyond_measures.chosen(table, arm, "gradients")[:, 0]
        at_start = arm in ("symmetry_start", "symmetry_rates", "level_start")
        assert (cost[0] > 0) == at_start
        assert (np.diff(cost) >= 1 - 1e-12).all()
    start = beyond_measures.chosen(table, "symmetry_start", "gradients")[:, 0]
    np.testing.assert_allclose(start, np.arange(5) + 100 / 200)
    plain = [beyond_measures.chosen(table, "sgd", "train_loss")[0]]
    plain += [
        beyond_measures.chosen(table, arm, "train_loss")[0] for arm in ("random", "symmetry_start")
    ]
    np.testing.assert_allclose(plain[1], plain[0], rtol=1e-5)
    np.testing.assert_allclose(plain[2], plain[0], rtol=1e-5)


def test_seconds_are_counts_times_medians(table: pd.DataFrame):
    each = select(table, quantity="price").groupby("arm")["value"]
    assert (each.count() == beyond_timing.REPEATS).all()
    price, steps = each.median(), 200 // PLAN.batch
    epochs = np.arange(PLAN.epochs + 1)
    for arm, teleports in {
        "sgd": 0 * epochs, "random": price["random"] + 0 * epochs,
        "symmetry_rates": price["symmetry"] + 0 * epochs,
        "symmetry_early": price["symmetry"] * (epochs > 1),  # before epoch 1, so not at 0 or 1
    }.items():  # fmt: skip
        got = beyond_measures.chosen(table, arm, "seconds")[:, 0]
        np.testing.assert_allclose(got, epochs * steps * price["step"] + teleports)
    start = beyond_measures.chosen(table, "level_start", "seconds")[0]
    assert start.mean() == pytest.approx(price["level"])


def test_teleports_that_took_more_gradients_take_longer():
    prices = beyond_timing.Prices(
        {"step": np.array([1.0, 9.0, 2.0]), "symmetry": np.array([3.0]), "level": np.array([8.0])},
        level_cost=4.0,
    )
    cost = torch.tensor([4.0, 6.0])
    assert prices.step == 2
    assert prices.teleport("level_during", cost).tolist() == [8, 12]
    assert prices.teleport("symmetry_rates", cost).tolist() == [3, 3]


def test_teleports_do_what_they_are_for(table: pd.DataFrame):
    for arm in ("symmetry_start", "symmetry_early", "level_start", "level_during"):
        assert (select(table, arm=arm, quantity="log_norm_gain")["value"] > 0).all()
    assert (select(table, quantity="loss_rise")["value"] <= PLAN.level_tolerance + 1e-6).all()
    moments = select(table, arm="level_during", quantity="loss_rise")["step"]
    assert sorted(set(moments)) == PLAN.level_epochs


def test_a_teleported_network_trains_as_the_original_at_rates_over_squared_factors():
    """What the module says of the arms: SGD after a teleport is SGD at rates lr / D^2 before it."""
    layout = Layout((6, 5, 4, 3))
    theta = layout.initialise([0, 1], dtype=torch.float64)
    tau = random_basis(layout, [0, 1], 0.9)
    source = torch.Generator().manual_seed(1)
    inputs = torch.randn(1, 30, 6, generator=source, dtype=torch.float64)
    labels = torch.randint(3, (1, 30), generator=source)
    problem, moved = MLP(layout), teleport(layout, theta, tau)
    factors = scaling(layout, 1 / tau).square()
    rates = torch.full((2, 1), 0.1, dtype=torch.float64)
    plain, scaled = beyond_arms.scaled_sgd(rates, None), beyond_arms.scaled_sgd(rates, factors)
    one, two = plain.init(moved), scaled.init(theta)
    for _ in range(5):
        step, one = plain.update(problem.gradient(moved, inputs, labels)[1], one, moved)
        moved = moved + step
        step, two = scaled.update(problem.gradient(theta, inputs, labels)[1], two, theta)
        theta = theta + step
    torch.testing.assert_close(moved, teleport(layout, theta, tau), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("arm", ["random_rates", "symmetry_rates"])
def test_layer_rates_are_the_layers_means(arm: str):
    layout = Layout((6, 5, 4, 3))
    theta = layout.initialise([0, 1], dtype=torch.float64)
    inputs = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = NetworkLoss(layout, inputs, torch.arange(30) % 3, activations="relu")
    got = beyond_arms.layer_rates(arm, layout, loss, theta, plan=PLAN)
    squares = scaling(layout, 1 / beyond_arms._basis(arm, layout, loss, theta, PLAN)).square()
    for (weight, bias), (one, two) in zip(layout.views(got), layout.views(squares), strict=True):
        assert (weight.flatten(1) == weight[:, :1, 0]).all()
        torch.testing.assert_close(weight[:, 0, 0], one.mean((1, 2)))
        torch.testing.assert_close(bias[:, 0], two.mean(1))
    assert (got != 1).any()


def test_the_learning_rate_has_the_least_mean_logarithm_of_its_loss(table: pd.DataFrame):
    for by, quantity in (
        (beyond_measures.FITTED, "train_loss"), (beyond_measures.HELD, "validation_loss"),
    ):  # fmt: skip
        for arm in beyond_arms.ARMS:
            own = select(table, arm=arm, quantity=quantity)
            areas = np.log(own["value"]).groupby(own["exponent"]).mean()
            chosen = select(table, arm=arm, quantity=by)["value"].unique().tolist()
            assert chosen == [areas.idxmin()]


def made(curves: dict[str, list[list[float]]], gradients: dict[str, list[float]]) -> pd.DataFrame:
    """Return a table of given training losses, seed after seed, and costs."""
    rows = Rows(beyond.UNITS)
    for arm, losses in curves.items():
        values, seeds = np.array(losses).T, np.arange(len(losses))
        steps = np.arange(len(values))[:, None]
        status = np.where(np.isfinite(values), "ok", "diverged")
        rows.add(arm=arm, quantity="train_loss", value=values, seed=seeds, step=steps,
                 status=status, exponent=1.0)  # fmt: skip
        rows.add(arm=arm, quantity="gradients", value=np.array(gradients[arm])[:, None],
                 seed=seeds, step=steps, exponent=1.0)  # fmt: skip
        for name in (beyond_measures.FITTED, beyond_measures.HELD):
            rows.add(arm=arm, quantity=name, value=1.0, seed=seeds, exponent=1.0)
    return as_table(rows)


def test_saved_epochs_and_gradients_are_those_to_the_loss_half_way():
    fall = [math.exp(-k) for k in range(5)]
    fast = [math.exp(-2 * k) for k in range(5)]
    never = [1.0] * 5
    lost = [1.0, math.nan, math.nan, math.nan, math.nan]
    costs = [float(k) for k in range(5)]
    table = made(
        {"sgd": [fall, fall], "random": [fast, fast], "level_start": [fast, never],
         "level_during": [lost, lost]},
        {"sgd": costs, "random": [3 + k for k in costs], "level_start": costs,
         "level_during": costs},
    )  # fmt: skip
    assert beyond_measures.saved(table, "random", "epochs").value == pytest.approx(0.5)
    assert beyond_measures.saved(table, "random", "gradients").value == pytest.approx(2.0)
    late = beyond_measures.saved(table, "level_start", "epochs")
    assert late.value == pytest.approx((0.5 + 2) / 2)
    assert "1 of 2 seeds never reach it" in late.note
    assert beyond_measures.saved(table, "level_during", "epochs").value == pytest.approx(2.0)
    early = beyond_measures.saved(table, "random", "epochs", share=0.25)
    assert early.value == pytest.approx(0.5)


def test_area_and_final_loss_are_at_each_arms_own_best_rate():
    fall = [[0.0, -1.0, -2.0], [0.0, -1.5, -3.0]]  # logarithms, seed after seed
    worse, better = [[0.0, 1.0, -9.0]] * 2, [[0.0, -2.0, -2.5], [0.0, -3.0, -3.5]]
    rows = Rows(beyond.UNITS)
    for arm, exponent, logs in (
        ("sgd", 1.0, fall), ("sgd", 0.5, worse), ("random", 1.0, [[0.0, 3.0, math.nan]] * 2),
        ("random", 2.0, better),
    ):  # fmt: skip
        values = np.exp(np.array(logs).T)
        rows.add(arm=arm, quantity="train_loss", value=values, seed=[0, 1], exponent=exponent,
                 step=np.arange(3)[:, None],
                 status=np.where(np.isfinite(values), "ok", "diverged"))  # fmt: skip
    # Of SGD the second rate has the least mean, (0 + 1 - 9) / 3, though it rises at first.
    found = beyond_measures.area(as_table(rows), "random")
    assert found.value == pytest.approx((-4.5 - 6.5) / 6 + 8 / 3)
    last = beyond_measures.final(as_table(rows), "random")
    assert last.value == pytest.approx(-3.0 + 9.0)


def test_extremes_say_of_how_many_they_are(small: pd.DataFrame):
    found = beyond_measures.small(small)
    assert found["beyond_norm_error"].note == "largest of 3 networks"
    assert found["beyond_group_other_change"].note == "least of 6 networks"
    assert found["beyond_norm_error"].n == 3


def test_all_metrics_are_there_and_figures_are_drawn(table: pd.DataFrame, small: pd.DataFrame):
    found = beyond_measures.images(table, "mnist")
    assert np.isfinite([metric.value for metric in found.values()]).all()
    assert found["beyond_mnist_level_excess"].value <= 1.1e-3
    assert len(beyond_figures.curves(table, "MNIST").axes) == 4
    assert len(beyond_figures.rates({"one": table, "two": table}).axes) == 2
    assert len(beyond_figures.small(small).axes) == 4


def test_misuse_is_named():
    held = images(synthetic_mnist(), 100, 10, "cpu", 8)
    with pytest.raises(ValueError, match="validation must lie between 1 and 60, got 90"):
        beyond.compare(held, PLAN._replace(validation=90), quiet)
    with pytest.raises(ValueError, match="epochs of teleports must lie within the epochs, 0 to 4"):
        beyond._spans([5], 4)
