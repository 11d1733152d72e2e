"""The theory's table and identities (Choromanska et al. 2015; Auffinger, Ben Arous, Cerny 2013)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reproductions.problems import spin_glass as sg

# p: E_inf, E_0 ... E_5, Theta_k at -E_inf, Theta(0)
TABLE = {
    3: (1.632993, [1.656998, 1.652873, 1.650253, 1.648399, 1.646999, 1.645893], 0.013240, 0.346574),
    4: (1.732051, [1.794085, 1.783300, 1.776478, 1.771662, 1.768032, 1.765171], 0.049306, 0.549306),
    6: (1.825742, [1.958666, 1.935112, 1.920310, 1.909908, 1.902091, 1.895945], 0.138052, 0.804719),
    8: (1.870829, [2.061504, 2.027242, 2.005817, 1.990810, 1.979559, 1.970729], 0.222955, 0.972955),
}


@pytest.mark.parametrize("p", TABLE)
def test_thresholds_and_complexities_are_those_of_the_table(p):
    edge, lowest, at_edge, at_zero = TABLE[p]
    assert sg.threshold_energy(p) == pytest.approx(edge, abs=1e-6)
    assert [sg.lowest_energy(k, p) for k in range(6)] == pytest.approx(lowest, abs=1e-6)
    assert sg.complexity_of_index(-edge, 3, p) == pytest.approx(at_edge, abs=1e-6)
    assert sg.complexity(0.0, p) == sg.complexity(1.0, p) == pytest.approx(at_zero, abs=1e-6)


@pytest.mark.parametrize(("u", "wanted"), [(-1.5, 0.065324), (-1.0, 0.221574), (-0.5, 0.315324)])
def test_complexity_of_three_spins(u, wanted):
    assert sg.complexity(u, 3) == pytest.approx(wanted, abs=1e-6)


def test_complexity_of_each_index_of_three_spins():
    found = [[float(sg.complexity_of_index(u, k, 3)) for k in range(4)] for u in (-1.65, -1.64)]
    assert found[0] == pytest.approx([0.004254, 0.002247, 0.000240, -0.001768], abs=1e-6)
    assert found[1] == pytest.approx([0.009843, 0.009313, 0.008783, 0.008252], abs=1e-6)


def test_two_spins_have_no_band():
    assert sg.lowest_energy(0, 2) == sg.lowest_energy(4, 2) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("p", range(3, 11))
def test_ground_state_is_that_of_one_step_replica_symmetry_breaking(p):
    from scipy.optimize import brentq

    z = brentq(lambda z: (1 + z) * math.log(1 + z) / z**2 - 1 / z - 1 / p, 1e-6, 1e3)
    assert sg.lowest_energy(0, p) == pytest.approx((p + z) / math.sqrt(p * (1 + z)), abs=1e-6)


@pytest.mark.parametrize("p", [3, 4, 8])
@pytest.mark.parametrize("k", [None, 0, 2])
def test_branches_join_and_the_density_is_the_slope(p, k):
    edge = sg.threshold_energy(p)

    def theta(u):
        return sg.complexity(u, p) if k is None else sg.complexity_of_index(u, k, p)

    assert theta(-edge - 1e-9) == pytest.approx(theta(-edge + 1e-9), abs=1e-7)
    u, h, n = -edge * 1.01, 1e-6, 7
    slope = (math.exp(n * theta(u + h)) - math.exp(n * theta(u - h))) / (2 * h)
    assert math.exp(sg.log_density(u, p, n, k)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("p", [2, 3, 4, 5])
def test_on_the_circle_the_count_is_that_of_kac_and_rice_in_one_dimension(p):
    mean, error = sg.mean_number(2, p, draws=20_000)
    assert abs(mean - 2 * math.sqrt(3 * p - 2)) < 4 * error + 1e-12


def test_two_spins_have_the_eigenvectors_as_critical_points():
    mean, error = sg.mean_number(10, 2, draws=10)
    assert mean == pytest.approx(20.0, rel=1e-12) and error < 1e-12


def test_indices_sum_to_the_total():
    total, spread = sg.mean_number(4, 3, draws=20_000)
    each = [sg.mean_number(4, 3, k=k, draws=20_000) for k in range(4)]
    assert sum(mean for mean, _ in each) == pytest.approx(total, rel=1e-9)
    assert abs(total - 18.79) < 4 * spread + 0.02


@pytest.mark.parametrize(("n", "wanted"), [(10, 6.07), (25, 13.9)])
def test_mean_number_of_minima(n, wanted):
    mean, error = sg.mean_number(n, 3, k=0, draws=20_000)
    assert abs(mean - wanted) < 4 * error + 0.01 * wanted


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="p must be at least 2, got 1"):
        sg.threshold_energy(1)
    with pytest.raises(ValueError, match="k must lie between 0 and N - 1 = 3, got 4"):
        sg.mean_number(4, 3, k=4)
    assert np.isneginf(sg.log_density(-1.0, 3, 10, k=0))
