"""Training, measures and pictures of the networks of Choromanska et al. 2015."""

from __future__ import annotations

import math

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.papers.choromanska2015loss import (
    network_figures,
    network_measures,
    published,
    training,
)
from tests.rows import as_table, quiet, synthetic_mnist

PLAN = training.Plan("uniform", "compressed", 1, 20, root_seed=3)


@pytest.fixture(scope="module")
def pixels() -> training.Pixels:
    return training.pixels(synthetic_mnist(), "cpu").first(200)


def test_pixels_are_ten_by_ten_and_between_zero_and_one(pixels):
    assert pixels.train.shape == (200, 100) and pixels.labels.shape == (200,)
    assert pixels.test.shape[1] == 100 and len(pixels.test) == len(pixels.test_labels) > 200
    assert pixels.train.min() >= 0 and 0.1 < pixels.train.max() <= 1


def test_the_authors_schedule_is_that_of_their_code_at_batch_one():
    plan = PLAN._replace(schedule="authors", epochs=100, batch=1)
    steps, course = training.schedule(plan, 60_000)
    assert steps == 6_000_000
    at = torch.tensor([1.0, 60_001.0, 6_000_001.0], dtype=torch.float64)
    rates = training.AUTHORS_RATE * plan.batch * course(at)
    assert rates.tolist() == pytest.approx([0.01, 0.005, 0.01 / 101], rel=1e-12)


@pytest.mark.parametrize("epochs", [1, 10, 100, 200])
def test_both_schedules_have_the_same_integral(epochs):
    totals = {}
    for name in ("authors", "compressed"):
        steps, course = training.schedule(PLAN._replace(schedule=name, epochs=epochs), 1000)
        totals[name] = float(course(torch.arange(1, steps + 1, dtype=torch.float64)).sum()) / 1000
    assert totals["authors"] == pytest.approx(math.log1p(epochs), rel=1e-3)
    assert totals["compressed"] == pytest.approx(totals["authors"], rel=2e-3)


def test_a_seed_gives_the_same_network_in_every_ensemble(pixels):
    several = training.solve(pixels, 4, [0, 1, 2], PLAN).theta
    alone = training.solve(pixels, 4, [1], PLAN).theta
    torch.testing.assert_close(several[1:2], alone)
    assert not torch.allclose(several[0], several[1])


def test_rates_side_by_side_are_the_runs_at_each_rate(pixels):
    both = training.solve(pixels, 4, [0, 1], PLAN, rates=(1.0, 0.1)).theta
    torch.testing.assert_close(both[0::2], training.solve(pixels, 4, [0, 1], PLAN).theta)
    slow = training.solve(pixels, 4, [0, 1], PLAN, rates=(0.1,)).theta
    torch.testing.assert_close(both[1::2], slow)
    assert not torch.allclose(both[0], both[1])


def test_training_lowers_the_loss_and_reports_it_as_the_problem_does(pixels):
    rows = training.by_width(pixels, [4, 8], 3, PLAN._replace(epochs=20), quiet)
    table = as_table(rows)
    assert set(table.width) == {4, 8} and len(table) == 2 * 3 * len(training.UNITS)
    outcome = training.solve(pixels, 8, range(3), PLAN._replace(epochs=20))
    logits = torch.nn.Linear(100, 8), torch.nn.Linear(8, 10)
    model = torch.nn.Sequential(logits[0], torch.nn.ReLU(), logits[1])
    torch.nn.utils.vector_to_parameters(outcome.theta[2], model.parameters())
    wanted = torch.nn.functional.cross_entropy(model(pixels.test), pixels.test_labels)
    own = table[(table.width == 8) & (table.seed == 2) & (table.quantity == "test_loss")]
    assert own.value.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert own.value.item() < math.log(10)


def test_a_run_that_diverges_is_a_row_that_says_so(pixels):
    plan = PLAN._replace(scheme="symmetric_cube", epochs=5)
    table = as_table(training.variants(pixels, [4], 2, [plan], [1e38, 0.1], quiet))
    assert (table[table.rate == 1e38].status != "ok").all()
    assert (table[table.rate == 0.1].status == "ok").all()
    assert (np.isfinite(table.value) == (table.status == "ok")).all()


def test_zero_error_counts_wrong_images(pixels):
    table = as_table(training.to_zero(pixels.first(20), [2, 32], 2, 60, 10, 0.01, 0, quiet))
    widest = table[(table.width == 32) & (table.quantity == "train_error")]
    assert (widest.value == 0).all()
    assert network_measures.smallest_width_without_error(table) == 32
    assert network_measures.zero_error(table)["train_error_widest"].value == 0


def ours_as_published(width: int, runs: int = 64) -> tuple[np.ndarray, np.ndarray]:
    train, test = published.losses(width)
    return train[:runs], test[:runs]


def published_table(widths: tuple[int, ...] = (25, 50, 100, 250), runs: int = 800) -> pd.DataFrame:
    """Return a table as if our runs were the published ones."""
    parts = []
    for width in widths:
        pairs = zip(("train_loss", "test_loss"), ours_as_published(width, runs), strict=True)
        for quantity, values in pairs:
            columns = {"quantity": quantity, "width": width, "value": values, "status": "ok"}
            parts.append(pd.DataFrame({"seed": np.arange(len(values)), "arm": "sgd", **columns}))
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {"file": "test", "units": {}}
    return table


def test_the_published_runs_measure_as_published():
    found = network_measures.networks(published_table())
    assert found["test_mean_25"].value == pytest.approx(0.1306, abs=4e-4)
    assert found["test_variance_100"].value == pytest.approx(2.888e-6, rel=0.1)
    assert found["correlation_50"].value == pytest.approx(0.6861, abs=0.04)
    assert found["correlation_worst_z"].value < 2.6
    for trend in ("mean", "variance", "relative_spread"):
        assert found[f"test_{trend}_trend"].high < 0, trend
    assert found["correlation_trend"].direction == found["correlation_fall"].direction
    assert found["correlation_fall"].high < 0
    assert abs(found["scaling_beta_difference"].value) < 0.03


def test_the_correlation_is_pearsons():
    pair = np.random.default_rng(0).normal(size=(2, 5, 30))
    wanted = [np.corrcoef(pair[0, k], pair[1, k])[0, 1] for k in range(5)]
    assert network_measures.correlation(pair) == pytest.approx(wanted, rel=1e-12)


def test_the_scaling_is_recovered_from_losses_that_obey_it():
    at = np.array([25.0, 50.0, 100.0, 250.0])
    means = np.stack([0.07 * np.exp(13.0 * at**-1.1), 0.05 * np.exp(6.0 * at**-0.7)], axis=1)
    constant, alpha, beta = network_measures.fit_scaling(at, means)
    assert np.exp(constant) == pytest.approx([0.07, 0.05], rel=1e-6)
    assert alpha == pytest.approx([13.0, 6.0], rel=1e-6)
    assert beta == pytest.approx([-1.1, -0.7], abs=1e-9)


def test_the_scaling_agrees_with_a_general_least_squares_fit():
    from scipy.optimize import curve_fit

    at = np.array([25.0, 50.0, 100.0, 250.0, 500.0])
    means = np.array([published.losses(int(width))[1].mean() for width in at])
    fit, _ = curve_fit(lambda n, c, a, b: c + a * n**b, at, np.log(means), p0=(-2.6, 8, -0.8))
    constant, alpha, beta = network_measures.fit_scaling(at, means)
    assert (constant, beta) == pytest.approx(fit[[0, 2]], abs=0.01)
    assert alpha == pytest.approx(fit[1], rel=0.03)


def test_the_best_rate_is_never_one_at_which_a_run_diverged():
    rows = []
    for rate, values in ((1.0, [0.1, np.nan]), (0.1, [0.3, 0.4])):
        for quantity in ("train_loss", "test_loss"):
            for seed, value in enumerate(values):
                status = "ok" if np.isfinite(value) else "diverged: at once"
                rows.append(("unit_cube", quantity, seed, value, status, 25, 100, rate))
    names = ("arm", "quantity", "seed", "value", "status", "width", "epochs", "rate")
    table = pd.DataFrame(rows, columns=list(names))
    rate, test = network_measures.at_best_rate(table, "unit_cube", 25, 100)
    assert rate == 0.1 and test.tolist() == [0.3, 0.4]


@pytest.mark.parametrize("draw", ["histograms", "scatter", "width", "correlation", "scaling"])
@pytest.mark.parametrize("runs", [8, 40])
def test_every_picture_of_the_networks_is_drawn(draw, runs):
    figure = getattr(network_figures, draw)(published_table(runs=runs))
    assert all(ax.has_data() or not ax.axison for ax in figure.axes)


def with_a_loss(table: pd.DataFrame, seed: int = 3) -> pd.DataFrame:
    """Return a table in which one run of the first width diverged."""
    lost = (table.seed == seed) & (table.width == table.width.min())
    gone = table.assign(
        value=table.value.where(~lost), status=table.status.where(~lost, "diverged: at step 9")
    )
    gone.attrs = table.attrs
    return gone


@pytest.mark.parametrize("draw", ["histograms", "scatter", "width", "correlation", "scaling"])
def test_a_run_that_diverged_is_told_of_and_spoils_no_picture(draw):
    figure = getattr(network_figures, draw)(with_a_loss(published_table(runs=40)))
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    if draw in ("histograms", "scatter"):
        assert any("1 diverged" in text for text in texts)


def test_a_run_that_diverged_leaves_its_widths_numbers_unknown():
    found = network_measures.networks(with_a_loss(published_table(runs=40)))
    assert np.isnan(found["test_mean_25"].value) and "1 of 40" in found["test_mean_25"].note
    assert np.isfinite(found["test_mean_50"].value)


def test_starts_and_zero_error_are_drawn_with_runs_that_diverged(pixels):
    plans = [PLAN._replace(scheme=scheme) for scheme in ("uniform", "unit_cube", "symmetric_cube")]
    table = as_table(training.variants(pixels, [4], 2, plans, [0.1], quiet))
    gone = table.arm == "unit_cube"  # every run of a start
    table["value"], table["status"] = table.value.where(~gone), table.status.where(~gone, "lost: x")
    figure = network_figures.initialisation(table)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert any("2 diverged" in text for text in texts)
    errors = as_table(training.to_zero(pixels.first(20), [2, 4], 3, 2, 10, 0.01, 0, quiet))
    network_figures.zero_error(with_a_loss(errors, seed=0)).draw_without_rendering()
