"""The training curves and their step sizes, of Neyshabur et al. 2015."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.harness.tables import Rows
from reproductions.optim.first_order import adagrad, sgd
from reproductions.optim.path_sgd import path_sgd
from reproductions.papers.neyshabur2015path import (
    curve_figures,
    curve_measures,
    networks,
    sweeps,
)
from tests.rows import as_table, quiet, synthetic_mnist

PLAN = sweeps.Plan(
    hidden=12, epochs=3, batch=50, seeds=2, selection_epochs=2, validation=50,
    alphas={"sgd": [0, 1], "adagrad": [1, 2], "path_sgd": [1, 2]}, keep=1.0, train_examples=100,
    root_seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def images() -> networks.Images:
    return networks.images(synthetic_mnist(), 250, 100, "cpu")


@pytest.fixture(scope="module")
def table(images: networks.Images) -> pd.DataFrame:
    return as_table(sweeps.compare(images, PLAN, quiet))


@pytest.fixture(scope="module")
def dropped(images: networks.Images) -> pd.DataFrame:
    return as_table(sweeps.compare(images, PLAN._replace(keep=0.5), quiet))


def curve(table: pd.DataFrame, arm: str, start: str, quantity: str = "train_loss") -> np.ndarray:
    return curve_measures.curves(table, quantity, arm, start)


def test_every_method_and_start_has_a_curve_of_all_epochs(table: pd.DataFrame):
    for arm in curve_measures.METHODS:
        for start in curve_measures.STARTS:
            assert curve(table, arm, start).shape == (4, 2)
            assert curve(table, arm, start)[0] == pytest.approx(
                curve(table, "sgd", "balanced")[0], rel=1e-4
            )


@pytest.mark.parametrize("which", ["table", "dropped"])
def test_both_starts_of_path_sgd_give_the_same_curve(which: str, request: pytest.FixtureRequest):
    pair = [curve(request.getfixturevalue(which), "path_sgd", s) for s in curve_measures.STARTS]
    assert pair[0] == pytest.approx(pair[1], rel=1e-3)
    assert (pair[0][-1] < pair[0][0]).all()


def test_dropout_changes_the_training(table: pd.DataFrame, dropped: pd.DataFrame):
    assert not np.allclose(curve(table, "sgd", "balanced"), curve(dropped, "sgd", "balanced"))


def test_the_recorded_curve_is_that_of_a_plain_loop(table: pd.DataFrame, images: networks.Images):
    """One member of the ensemble against torch's own network and loss."""
    layout = networks.network(784, PLAN.hidden, 10)
    chosen = table[(table.quantity == "chosen_alpha") & (table.arm == "path_sgd")]
    alpha = chosen[chosen.seed == 1].value.iloc[0]
    theta = networks.starts(layout, [1], PLAN.root_seed, "cpu")[:, 0].clone()
    method = path_sgd(layout, 10.0**-alpha)
    state = method.init(theta)
    batches = sweeps.minibatches(len(images.train), PLAN.batch, [1], PLAN.root_seed)
    for step in range(PLAN.epochs * batches.per_epoch):
        index = batches(step)[0]
        own = theta.clone().requires_grad_()
        loss = _loss(layout, own, images.train[index], images.labels[index])
        change, state = method.update(torch.autograd.grad(loss, own)[0], state, theta)
        theta = theta + change
    wanted = _loss(layout, theta, images.train[:100], images.labels[:100]).item()
    assert curve(table, "path_sgd", "balanced")[-1, 1] == pytest.approx(wanted, rel=1e-3)


def _loss(
    layout: networks.Layout, theta: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    (w1, b1), (w2, b2), (w3, b3) = ((w[0], b[0]) for w, b in layout.views(theta))
    hidden = torch.relu(torch.relu(x @ w1 + b1) @ w2 + b2)
    return torch.nn.functional.cross_entropy(hidden @ w3 + b3, y)


@pytest.mark.parametrize(
    ("curves", "winner"),
    [
        ([[0.3, 0.2], [0.2, 0.4]], 1),  # the same minimum, sooner
        ([[0.3, 0.1], [0.2, 0.2]], 0),
        ([[np.nan, 0.0], [0.5, 0.5]], 0),
        ([[np.inf, np.nan], [0.9, 0.8]], 1),
        ([[0.2, 0.2], [0.2, 0.2]], 0),
    ],
)
def test_the_step_size_is_the_one_that_reaches_the_smallest_error_soonest(
    curves: list[list[float]], winner: int
):
    assert sweeps.smallest_soonest(np.array(curves)) == winner


def test_the_chosen_step_size_has_the_smallest_validation_error(table: pd.DataFrame):
    errors = table[table.quantity == "validation_error"]
    assert errors.step.max() == PLAN.selection_epochs
    chosen = table[table.quantity == "chosen_alpha"].set_index(["arm", "start", "seed"]).value
    for (arm, start, seed), own in errors.groupby(["arm", "start", "seed"]):
        if start == "balanced":  # all seeds have one choice, by their mean
            own = errors[(errors.arm == arm) & (errors.start == start)]
            own = own.groupby(["alpha", "step"]).value.mean().reset_index()
        best = own[own.value == own.value.min()]
        soonest = best[best.step == best.step.min()]
        assert chosen[arm, start, seed] in soonest.alpha.tolist()
    for seed in range(PLAN.seeds):
        assert chosen["path_sgd", "unbalanced", seed] == chosen["path_sgd", "balanced", seed]


def test_every_seed_and_start_is_trained_with_its_own_choice(
    images: networks.Images, monkeypatch: pytest.MonkeyPatch
):
    chosen = [[0, 3], [1, 2]]
    monkeypatch.setattr(sweeps, "_choose", lambda *given: chosen[: given[3].seeds])
    made = as_table(sweeps.compare(images, PLAN._replace(epochs=1), quiet))
    last = made[(made.quantity == "train_loss") & (made.step == 1)].set_index(
        ["arm", "start", "seed"]
    )
    for seed, own in enumerate(chosen):
        for start, alpha in zip(curve_measures.STARTS, own, strict=True):
            assert last.alpha["sgd", start, seed] == alpha
        assert last.alpha["sgd_larger", "balanced", seed] == own[0] - 0.5
        assert last.alpha["sgd_smaller", "balanced", seed] == own[0] + 0.5
    alone = as_table(sweeps.compare(images, PLAN._replace(epochs=1, seeds=1), quiet))
    alone = alone[(alone.quantity == "train_loss") & (alone.step == 1) & (alone.arm == "sgd")]
    wanted = last.value["sgd"].unstack("seed")[0]
    for start, value in zip(alone.start, alone.value, strict=True):
        assert value == pytest.approx(wanted[start], rel=1e-5)


def test_a_seed_takes_the_best_neighbour_by_the_training_loss():
    rows = Rows(sweeps.UNITS)
    losses = {"sgd": [0.5, 0.5], "sgd_larger": [0.25, 1.0], "sgd_smaller": [1.0, 0.125]}
    errors = {"sgd": [0.1, 0.1], "sgd_larger": [0.2, 0.05], "sgd_smaller": [0.0, 0.3]}
    for quantity, given in (("train_loss", losses), ("test_error", errors)):
        for arm, values in given.items():
            rows.add(arm=arm, quantity=quantity, value=np.tile(values, (2, 1)), seed=np.arange(2),
                     step=np.arange(2)[:, None], start="balanced", alpha=1)  # fmt: skip
    area, test = curve_measures.finest(as_table(rows), "sgd")
    assert area == pytest.approx(np.log([0.25, 0.125]))
    assert test == pytest.approx([0.2, 0.3])


def test_images_held_out_are_not_trained_on(images: networks.Images):
    fitted = sweeps._split(images, PLAN)
    assert (len(fitted.train), len(fitted.test)) == (200, 50)
    both = torch.cat([fitted.train, fitted.test]).sum(1).sort().values
    torch.testing.assert_close(both, images.train.sum(1).sort().values)


def test_too_many_images_held_out_are_refused(images: networks.Images):
    with pytest.raises(ValueError, match="validation must lie between 1 and 200, got 240"):
        sweeps._split(images, PLAN._replace(validation=240))


@pytest.mark.parametrize("method", networks.METHODS)
def test_a_method_of_the_ensemble_makes_each_members_own_step(method: str):
    layout = networks.network(5, 4, 10)
    theta, grad = torch.randn(3, layout.parameters), torch.randn(3, layout.parameters)
    rates = [0.1, 0.01, 0.5]
    made = networks.transform(method, layout, rates)
    step, _ = made.update(grad, made.init(theta), theta)
    for k, rate in enumerate(rates):
        alone = {"sgd": sgd(rate), "adagrad": adagrad(rate), "path_sgd": path_sgd(layout, rate)}
        own = alone[method]
        wanted, _ = own.update(grad[[k]], own.init(theta[[k]]), theta[[k]])
        torch.testing.assert_close(step[[k]], wanted)


def test_an_unknown_method_is_refused():
    with pytest.raises(
        ValueError, match="method must be one of sgd, adagrad, path_sgd, got 'adam'"
    ):
        networks.transform("adam", networks.network(5, 4, 10), [0.1])


@pytest.mark.parametrize(("count", "tests"), [(0, 10), (10, 100000)])
def test_images_that_are_not_there_are_refused(count: int, tests: int):
    with pytest.raises(ValueError, match="images must lie between 1 and"):
        networks.images(synthetic_mnist(), count, tests, "cpu")


def test_colours_are_shrunk_plane_by_plane_and_whole_images_left_as_they_are():
    pixels = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3).astype(np.uint8)
    data = synthetic_mnist()._replace(train_images=pixels, train_labels=np.array([1, 0]))
    data = data._replace(test_images=pixels, test_labels=np.array([1, 0]))
    small = networks.images(data, 2, 2, "cpu", 2).train.reshape(2, 2, 2, 3) * 255
    assert small[1, 0, 1, 2] == pytest.approx(pixels[1, :2, 2:, 2].mean())
    whole = networks.images(data, 2, 2, "cpu", 4).train * 255
    np.testing.assert_allclose(whole.numpy(), pixels.reshape(2, -1), rtol=1e-6)


def test_epochs_to_a_loss_lie_on_the_line_of_its_logarithm():
    falling = np.array([1.0, 0.1, 0.01])
    assert curve_measures.epochs_to(falling, 0.1) == 1.0
    assert curve_measures.epochs_to(falling, 10**-1.5) == pytest.approx(1.5)
    assert curve_measures.epochs_to(falling, 2.0) == 0.0
    assert np.isnan(curve_measures.epochs_to(falling, 1e-3))
    assert np.isnan(curve_measures.epochs_to(np.array([1.0, np.nan, 0.01]), 0.1))


def made_up(sgd_test: list[float], path_test: list[float]) -> pd.DataFrame:
    """Return curves in which Path-SGD takes one epoch for what others take two for."""
    rows = Rows(sweeps.UNITS)
    shapes = {"sgd": [1, 0.5, 0.25], "adagrad": [1, 0.25, 0.0625], "path_sgd": [1, 0.25, 0.0625]}
    for arm, shape in shapes.items():
        for start in curve_measures.STARTS:
            factor = 2.0 if start == "unbalanced" and arm != "path_sgd" else 1.0
            where = {"arm": arm, "start": start, "alpha": 1, "step": np.arange(3)[:, None]}
            loss = np.array(shape)[:, None] * np.array([1.0, 1.1]) * factor
            rows.add(quantity="train_loss", value=loss, seed=np.arange(2), **where)
            test = path_test if arm == "path_sgd" else sgd_test
            if start == "balanced":
                for beside, times in (("larger", 2.0), ("smaller", 0.5 if arm == "sgd" else 1.0)):
                    other = {**where, "arm": f"{arm}_{beside}"}
                    rows.add(quantity="train_loss", value=loss * times, seed=np.arange(2), **other)
                    rows.add(quantity="test_error", value=np.tile(test, (3, 1)) - 0.1 * (times < 1),
                             seed=np.arange(2), **other)  # fmt: skip
            rows.add(quantity="test_error", value=np.tile(test, (3, 1)), seed=np.arange(2), **where)
    return as_table(rows)


def test_gaps_and_ratios_are_those_of_curves_made_up():
    found = curve_measures.plain(made_up([0.2, 0.3], [0.1, 0.25]), "mnist")
    values = {name: metric.value for name, metric in found.items()}
    assert values == pytest.approx({
        "mnist_sgd_area_gap": np.log(2), "mnist_adagrad_area_gap": np.log(2), "mnist_path_gap": 0.0,
        "mnist_path_minus_sgd_area": -1.5 * np.log(2), "mnist_path_minus_sgd_test": -0.075,
        "mnist_path_minus_sgd_finer": -0.5 * np.log(2), "mnist_path_minus_sgd_finer_test": 0.025,
        "mnist_path_minus_adagrad_area": 0.0, "mnist_epochs_ratio_sgd": 0.5,
        "mnist_epochs_ratio_adagrad": 1.0,
    }, abs=1e-12)  # fmt: skip


def test_a_set_counts_as_better_where_the_whole_interval_is():
    better, mixed = made_up([0.2, 0.3], [0.1, 0.25]), made_up([0.2, 0.3], [0.1, 0.35])
    found = curve_measures.sets_with_better_test_error({"one": better, "two": mixed})
    assert found["sets_with_better_test_error"].value == 1
    assert found["sets_with_better_finer_test_error"].value == 0


def test_a_run_that_diverged_counts_as_untrained_from_there_on(table: pd.DataFrame):
    broken = table.copy()
    bad = (broken.arm == "sgd") & (broken.start == "unbalanced") & (broken.seed == 1)
    bad &= (broken.quantity == "train_loss") & (broken.step > 1)
    broken.loc[bad, "value"], broken.loc[bad, "status"] = np.nan, "diverged: made up"
    first = curve(table, "sgd", "unbalanced")[1, 1]
    wanted = (np.log(first) + 2 * np.log(np.log(10))) / 3
    assert curve_measures.area(broken, "sgd", "unbalanced")[1] == pytest.approx(wanted)
    gap = curve_measures.plain(broken, "mnist")["mnist_sgd_area_gap"]
    assert np.isfinite(gap.value) and "1 runs diverged" in gap.note
    assert np.isnan(curve_measures.largest_gap(broken, "sgd").value)
    one, other = (curve(table, "sgd", start) for start in curve_measures.STARTS)
    assert curve_measures.largest_gap(table, "sgd").value == (np.abs(other - one) / one).max()
    assert curve_figures.row(broken).axes


def test_curves_are_drawn(table: pd.DataFrame, dropped: pd.DataFrame):
    both = {"MNIST": table, "MNIST, dropout": dropped}
    for figure in (
        curve_figures.row(table), curve_figures.selection(both),
        curve_figures.final_test(both), curve_figures.finer_grid({"MNIST": table}), curve_figures.overview(both),
    ):  # fmt: skip
        assert figure.axes
