"""What Figure 1 of Dauphin et al. 2014 measures: on fabricated searches, and as published."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from reproductions.harness.tables import Rows
from reproductions.optim.layout import Layout
from reproductions.papers.dauphin2014saddle import (
    critical_figures,
    critical_measures,
    critical_rows,
    critical_table,
    published,
)
from tests.rows import as_table


def fabricated(critical_points: int = 10, failed: int = 0) -> Any:
    """Return searches whose critical ends have error 0.1 k and 10 k of 1000 eigenvalues negative."""
    rows, total = Rows(critical_rows.UNITS), critical_points + 4 + failed
    number = np.arange(total)
    status = np.where(number < total - failed, "ok", "diverged: loss is not finite")
    known = np.where(number < critical_points, number, 20 - 2 * number)
    for where in ("start", "end"):
        common = {"arm": "trained", "seed": number, "where": where, "status": status,
                  "epochs": 1, "noise": 0.0,
                  "ending": np.where(status == "ok", "converged", "not finite")}  # fmt: skip
        there = {
            "train_error": 0.05 + 0.01 * number, "critical": number < critical_points,
            "relative_residual": np.where(number % 2, 0.95, 0.1), "gradient_norm": 1e-7,
            "train_loss": 1.0, "step_length": 1.0, "moves": 3.0,
            "smallest_eigenvalue": -0.1 - 0.01 * known, "largest_eigenvalue": 1.0,
            "near_zero_eigenvalues": 900.0, "kernel_eigenvalues": 3.0,
        }  # fmt: skip
        for quantity, values in there.items():
            value = np.where(status == "ok", values, np.nan)
            rows.add(quantity=quantity, value=value, **common)
        for threshold, share in ((0.0, 10), (1e-6, 8), (1e-3, 5)):
            value = np.where(status == "ok", share * np.maximum(known + 1, 1), np.nan)
            rows.add(quantity="negative_eigenvalues", value=value, threshold=threshold, **common)
    rows.add(arm="all", quantity="parameters", value=1000)
    for level, seed in zip(critical_rows.LEVELS, (0, 1, 2), strict=True):
        rows.add(arm="trained", seed=seed, quantity="eigenvalue", value=np.linspace(-0.1, 1, 1000),
                 index=np.arange(1000), where="end", level=level)  # fmt: skip
    return as_table(rows)


def test_only_critical_points_enter_their_metrics():
    found = critical_measures.measure(fabricated(), "cifar")
    assert found["critical_spearman_cifar"].value == pytest.approx(1)
    assert found["critical_spearman_cifar"].n == 10
    assert found["ends_spearman_cifar"].n == found["control_spearman_cifar"].n == 14
    assert found["ends_spearman_cifar"].value < 0.9
    assert found["critical_shift_cifar"].value == pytest.approx(-1)
    assert found["critical_shift_cifar"].direction == "decreasing"
    assert found["critical_threshold_ratio_cifar"].value == pytest.approx(8 / 5)
    assert found["critical_reached_cifar"].value == pytest.approx(10 / 14)
    assert found["critical_drawn_cifar"].value == pytest.approx(10 / 14)
    assert found["kernel_reached_cifar"].value == pytest.approx(2 / 14)


def test_critical_points_above_the_errors_drawn_do_not_count_as_drawn():
    made = fabricated()
    far = made.assign(value=made.value.where(made.quantity != "train_error", made.value + 0.14))
    found = critical_measures.measure(far, "mnist")  # drawn up to 0.28228, here from 0.19 on
    assert found["critical_drawn_mnist"].value == pytest.approx(10 / 14)
    further = made.assign(value=made.value.where(made.quantity != "train_error", made.value + 0.2))
    found = critical_measures.measure(further, "mnist")
    assert found["critical_drawn_mnist"].value == pytest.approx(4 / 14)


def test_failed_searches_are_told_and_count_as_not_reached():
    found = critical_measures.measure(fabricated(failed=6), "cifar")
    assert found["critical_reached_cifar"].value == pytest.approx(10 / 20)
    assert "6 of 20 points diverged" in found["ends_spearman_cifar"].note


def test_too_few_critical_points_give_no_number_but_a_reason():
    metric = critical_measures.measure(fabricated(critical_points=3), "cifar")
    assert math.isnan(metric["critical_spearman_cifar"].value)
    assert metric["critical_spearman_cifar"].note == "3 points, and 8 is the least"


def test_critical_points_of_one_error_have_no_rank_correlation_but_a_reason():
    made = fabricated()
    same = made.assign(value=made.value.where(made.quantity != "train_error", 0.9))
    metric = critical_measures.measure(same, "cifar")["critical_spearman_cifar"]
    assert math.isnan(metric.value) and metric.note == "the statistic is nan"


def test_the_least_error_is_that_of_critical_points_alone():
    found = critical_measures.measure(fabricated(), "cifar")["critical_least_error_cifar"]
    assert found.value == pytest.approx(0.05) and found.note == "the least of 10 critical points"
    none = critical_measures.measure(fabricated(critical_points=0), "cifar")
    assert math.isnan(none["critical_least_error_cifar"].value)


def test_rank_correlation_is_scipys():
    draw = np.random.default_rng(0)
    pair = draw.integers(0, 6, (2, 3, 40))
    wanted = [stats.spearmanr(pair[0, k], pair[1, k])[0] for k in range(3)]
    assert critical_measures.spearman(pair) == pytest.approx(np.array(wanted), abs=1e-12)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.2, 3.0), (-0.01, 0.5)])
def test_share_of_a_semicircle_is_its_integral(low, high):
    radius = (high - low) / 2

    def density(x: float) -> float:
        away = (x - (low + high) / 2) / radius
        return 2 / (math.pi * radius) * math.sqrt(max(0.0, 1 - away**2))

    wanted = integrate.quad(density, max(low, -0.0125), 0.0125)[0]
    assert critical_measures.semicircle_share(low, high, 0.0125) == pytest.approx(wanted, abs=1e-7)
    assert critical_measures.semicircle_share(low, high, 10) == pytest.approx(1)


# ---------------------------------------------------------------- what the published figure says


@pytest.mark.parametrize(
    ("data", "points", "distinct", "rank", "lowest"),
    [("mnist", 176, 88, 0.991, 57 / 5560), ("cifar", 86, 86, 0.893, 552 / 9085)],
)
def test_published_points(data, points, distinct, rank, lowest):
    found = critical_measures.published_facts(data)
    assert found[f"published_points_{data}"].value == points
    assert found[f"published_distinct_{data}"].value == distinct
    assert found[f"published_spearman_{data}"].value == pytest.approx(rank, abs=5e-4)
    assert found[f"published_lowest_index_{data}"].value == pytest.approx(lowest, abs=1e-8)


@pytest.mark.parametrize(
    ("data", "widths"), [("mnist", (100, 50, 10)), ("cifar", (300, 25, 25, 25, 10))]
)
def test_published_indices_are_fractions_of_one_networks_parameters(data, widths):
    found = published.points(published.POINTS[data])
    eigenvalues = found["index"] * Layout(widths).parameters
    assert eigenvalues.to_numpy() == pytest.approx(found.negative_eigenvalues, abs=1e-3)
    images = found.train_error * 50_000
    assert images.to_numpy() == pytest.approx(images.round(), abs=1e-6)
    assert critical_figures.PARAMETERS[data] == Layout(widths).parameters


def test_every_published_point_on_mnist_is_drawn_twice():
    found = published.points(published.POINTS["mnist"])
    assert set(found.groupby(["negative_eigenvalues", "train_error"]).size()) == {2}


def test_published_spectra_of_mnist_hold_eighty_times_a_semicircles_mode():
    for _, bins in critical_table.published_spectra("mnist"):
        mode = bins[(bins.left <= 0) & (bins.right > 0)].iloc[0]
        share = mode.density * (mode.right - mode.left)
        assert 0.85 < share < 1
        circle = critical_measures.semicircle_share(bins.left.min(), bins.right.max(), 0.0125)
        assert share / circle > 80
