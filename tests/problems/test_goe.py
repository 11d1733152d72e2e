"""The exact laws of eigenvalues against sum rules, closed forms and sampled matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reproductions.problems import goe

SIZES = [2, 3, 4, 5, 10, 11, 50, 51]


def whole(n):
    """Return nodes and weights over all of the spectrum."""
    end, width = goe.edge(n)
    return goe.nodes(-end - 14 * width, end + 14 * width, goe.enough_nodes(n))


def test_oscillators_are_orthonormal_and_their_integrals_are_integrals():
    x, weights = goe.nodes(-14.0, 14.0, 200)
    phi, _, total = goe.oscillators(x, 30)
    assert (phi * weights) @ phi.T == pytest.approx(np.eye(30), abs=1e-12)
    assert phi @ weights == pytest.approx(total, abs=1e-12)
    part, part_weights = goe.nodes(-14.0, 1.3, 120)
    wanted = goe.oscillators(part, 30)[0] @ part_weights
    assert goe.oscillators(np.array([1.3]), 30)[1][:, 0] == pytest.approx(wanted, abs=1e-12)


def test_oscillators_do_not_underflow_far_out():
    x = np.array([-48.0, 44.0, 48.0])
    phi, below, total = goe.oscillators(x, 1000)
    assert np.exp(-0.5 * 48.0**2) == 0.0
    assert abs(phi[999, 1]) > 0.05  # inside sqrt(2 * 1000) = 44.7
    assert phi[999, 0] == -phi[999, 2] != 0.0  # odd
    assert below[998, 2] == pytest.approx(total[998], rel=1e-9)


@pytest.mark.parametrize("n", [*SIZES, 400])
def test_density_counts_the_eigenvalues_and_their_squares(n):
    x, weights = whole(n)
    density = goe.eigenvalue_density(x, n)
    assert density @ weights == pytest.approx(n, rel=1e-8)
    assert (density * x**2) @ weights == pytest.approx(n * (n + 1) / 2, rel=1e-8)
    assert density.min() > -1e-12


@pytest.mark.parametrize("n", SIZES)
def test_laws_of_the_least_two_are_probabilities(n):
    x, weights = whole(n)
    least, second = goe.least_two(x, n)
    assert least @ weights == pytest.approx(1.0, abs=1e-7)
    assert second @ weights == pytest.approx(1.0, abs=1e-7)
    assert least.min() > -1e-8 and second.min() > -1e-8


def test_of_two_eigenvalues_the_laws_are_known():
    x, weights = whole(2)
    least, second = goe.least_two(x, 2)
    assert (least * x) @ weights == pytest.approx(-math.sqrt(math.pi) / 2, abs=1e-9)
    assert least + second == pytest.approx(goe.eigenvalue_density(x, 2), abs=1e-9)
    assert second == pytest.approx(goe.least_two(-x, 2)[0], abs=1e-9)


def test_of_three_eigenvalues_the_middle_one_is_even():
    x = np.linspace(0.1, 3.0, 7)
    assert goe.least_two(x, 3)[1] == pytest.approx(goe.least_two(-x, 3)[1], abs=1e-9)


def test_at_the_lower_edge_the_least_two_are_all_there_is():
    x = np.linspace(-8.5, -7.5, 5)
    found = sum(goe.least_two(x, 20))
    assert found == pytest.approx(goe.eigenvalue_density(x, 20), rel=1e-6)


@pytest.mark.parametrize("n", [4, 25, 26])
def test_moments_are_those_of_sampled_matrices(n):
    x, weights = whole(n)
    drawn = goe.sample_least(n, 1, 4000, 5)
    assert (np.diff(drawn, axis=1) > 0).all()
    for law, values in zip(goe.least_two(x, n), drawn.T, strict=True):
        for power in (1, 2, 3):
            mean, error = (values**power).mean(), (values**power).std() / math.sqrt(4000)
            assert abs((law * x**power) @ weights - mean) < 4 * error


def test_sampled_matrices_are_those_of_the_ensemble():
    drawn = goe.sample_least(6, 5, 4000, 0)
    assert drawn.shape == (4000, 6)
    squares = (drawn**2).sum(axis=1)  # tr M^2, of mean N (N + 1) / 2
    assert abs(squares.mean() - 21) < 4 * squares.std() / math.sqrt(4000)


def test_one_eigenvalue_has_no_second():
    with pytest.raises(ValueError, match="no two eigenvalues for N = 1"):
        goe.least_two(np.zeros(1), 1)
