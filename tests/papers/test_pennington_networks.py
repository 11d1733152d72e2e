"""The network experiments of the room, small: searches, minimisers, spectra and what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reproductions.harness.dataset_synthetic import synthetic
from reproductions.harness.datasets import Dataset
from reproductions.optim.device import generator
from reproductions.optim.first_order import adam
from reproductions.papers.pennington2017geometry import (
    energy_figures,
    free_sums,
    hessian_figures,
    hessian_parts,
    teachers,
    theory_figures,
)
from tests.rows import as_table, quiet

F64 = torch.float64


def small(members=4, width=3, examples=9, seeds=None):
    return teachers.network(width, examples, seeds or range(members), 2018, "cpu")


def test_descents_stop_below_their_random_share_of_the_loss():
    net, theta = small(members=6)
    seeds = range(6)
    stopped = teachers._stop_at_random(net, theta, 0.05, 3000, seeds, 2018, 9)
    shares = torch.stack(
        [
            torch.rand((), generator=generator(2018, seed, 9, teachers.TARGET), dtype=F64)
            for seed in seeds
        ]
    )
    goal = shares * net.loss(theta)
    there = net.loss(stopped) <= goal
    assert there.sum() >= 2
    assert (net.loss(stopped)[there] > 0.8 * goal[there]).all()  # and not far below
    late = teachers._stop_at_random(net, theta, 0.05, 0, seeds, 2018, 9)
    assert torch.equal(late, theta)


def test_linear_networks_leave_what_a_regression_leaves():
    net, _ = small(members=200, width=4, examples=16)
    energy = teachers._linear_energy(net).mean()
    assert energy == pytest.approx((1 - 4 / 16) / 2, abs=0.01)


@pytest.fixture(scope="module")
def minimisers():
    rows = teachers.minimisers(4, [16, 32], 8, 0.05, 300, 80, [1e-3, 1e-8], "cpu", 2018, quiet)
    return as_table(rows)


def test_minimisers_lie_below_linear_networks_and_rise_with_the_examples(minimisers):
    found = energy_figures.measure_minimisers(minimisers)
    assert found["energy_trend"].value < 0
    assert found["linear_half_ratio_64"].value == pytest.approx(1.0, abs=0.1)
    assert found["minimum_energy_64"].value < 0.25 < found["minimum_energy_128"].value + 0.05
    assert found["loose_energy_ratio_64"].value * 0.13158 >= found["minimum_energy_64"].value


def test_searches_are_measured_against_the_published_curve():
    rows = teachers.critical_points(4, [32], 24, 0.1, 200, 60, [1e-3, 1e-5], "cpu", 2018, quiet)
    table = as_table(rows)
    found = energy_figures.measure_critical_points(table)
    assert set(found) == {
        "curve_offset_searched_1_4", "curve_offset_trajectory_1_4", "index_rank_correlation_1_4"
    }  # fmt: skip
    assert abs(found["curve_offset_trajectory_1_4"].value) < 0.1
    negative = table[table.quantity == "negative"].value
    assert (negative == negative.round()).all() and negative.max() <= 32


def test_noise_for_residuals_gives_the_variance_of_the_closed_form():
    rows = hessian_parts.error_signals(8, [64], 50.0, 12, "cpu", 2018, quiet)
    table = as_table(rows)
    variance = table[table.quantity == "variance"].value.mean()
    assert variance == pytest.approx(50.0 * (16 / 64) / 2, rel=0.1)
    curve = theory_figures.density(table, "relu_residual", 0.25, 50.0)
    assert theory_figures.cumulative_at(np.array([0.0]), curve) == pytest.approx(0.5, abs=1e-6)


def test_the_positive_part_has_a_null_direction_a_hidden_unit_and_a_gap():
    table = as_table(hessian_parts.jacobian(6, [6, 60], 90, 3, "cpu", 2018, quiet))
    found = hessian_figures.measure_jacobian(table)
    assert found["null_directions_excess"].value == 0
    assert found["gap_above_one"].value < 1e-10 < found["gap_scale"].value


def test_drawn_spectra_are_near_the_models():
    rows = free_sums.monte_carlo(8, [0.5], [0.5], 2, 2018, quiet)
    found = theory_figures.measure_spectra(as_table(rows))
    assert 0 < found["spectrum_distance_relu"].value < 0.05
    assert 0 < found["spectrum_distance_wishart_wigner"].value < 0.03


def test_kolmogorovs_distance_counts_both_sides_of_a_step():
    values = np.array([0.1, 0.2, 0.9])
    assert free_sums.kolmogorov(values, values) == pytest.approx(2 / 3 - 0.2)


def test_whitened_images_have_unit_covariance():
    arrays = synthetic("synthetic_cifar10")
    x = free_sums.whitened(arrays.train_images, 150, 4)
    assert x.shape == (16, 150)
    torch.testing.assert_close(x @ x.mT / 150, torch.eye(16, dtype=F64), atol=1e-9, rtol=0)
    assert x.mean(1).abs().max() < 1e-12


def test_a_rotated_part_moves_the_spectrum_less_than_leaving_it_out_before_training():
    arrays = synthetic("synthetic_cifar10")
    data = Dataset("synthetic_cifar10", *arrays, arrays.digest(), "made", "none", True)
    rows = free_sums.freeness(data, 60, 4, 10, 2, [0, 20, 300], 0.02, "cpu", 2018, quiet)
    found = hessian_figures.measure_freeness(as_table(rows))
    assert 0 < found["freeness_distance_trained"].value < 0.2
    assert found["freeness_over_baseline_start"].value < 0.5
    assert found["freeness_baseline_start"].value > 2 * found["freeness_baseline_trained"].value


def test_drawn_matrices_of_different_pairs_and_models_are_unrelated():
    table = as_table(free_sums.monte_carlo(4, [0.5], [0.5, 0.50001], 1, 2018, quiet))
    for _, own in table[table.quantity == "eigenvalue"].groupby("arm"):
        first, second = own.groupby("energy").value
        assert np.abs(first[1].to_numpy() - second[1].to_numpy()).max() > 1e-2


def test_a_descent_hands_over_its_first_point_below_each_cut():
    net, theta = small(members=5)
    cuts = [1e-1, 1e-3, 1e-12]
    last, first, passed = teachers._descend(net, theta, 0.02, 200, cuts)
    assert first.shape == (3, 5, theta.shape[1]) and passed[0].all() and not passed[2].any()
    for number, cut in enumerate(cuts[:2]):
        square = net.gradient(first[number])[1].square().sum(1)
        assert (square[passed[number]] <= cut).all()
    at, method, wanted = theta, adam(0.02, debias=True, eps=1e-8), {}
    state = method.init(at)
    for step in range(200):  # one member at a time, one cut
        gradient = net.gradient(at)[1]
        for member in range(5):
            if member not in wanted and gradient[member].square().sum() <= cuts[1]:
                wanted[member] = at[member]
        change, state = method.update(gradient, state, at)
        at = at + change * (1 - step / 200)
    torch.testing.assert_close(last, at)
    assert sorted(wanted) == passed[1].nonzero().flatten().tolist()
    for member, point in wanted.items():
        torch.testing.assert_close(first[1, member], point)
