"""The theory's table and identities (Choromanska et al. 2015; Auffinger, Ben Arous, Cerny 2013)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from reproductions.problems import goe
from reproductions.problems import spin_glass as sg

# p: E_inf, E_0 ... E_5, Theta_k at -E_inf, Theta(0)
TABLE = {
    2: (1.414214, [1.414214] * 6, 0.0, 0.0),
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


# p: E_10, E_25, E_100
FAR = {3: [1.642568, 1.638949, 1.635603]}


@pytest.mark.parametrize("p", FAR)
def test_lowest_energies_of_high_index_are_those_of_the_table(p):
    assert [sg.lowest_energy(k, p) for k in (10, 25, 100)] == pytest.approx(FAR[p], abs=1e-6)


@pytest.mark.parametrize("p", range(2, 9))
def test_lowest_energies_descend_to_the_barrier(p):
    energies = [sg.lowest_energy(k, p) for k in (0, 1, 2, 5, 10, 100)]
    edge = sg.threshold_energy(p)
    assert all(edge <= later for later in energies)
    assert p == 2 or all(later < earlier for earlier, later in pairwise(energies))
    for k, energy in enumerate(energies[:3]):
        assert sg.complexity_of_index(-energy, k, p) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("p", range(2, 9))
def test_complexity_at_the_barrier_is_that_of_every_index(p):
    edge = sg.threshold_energy(p)
    wanted = 0.5 * math.log(p - 1) - (p - 2) / p
    assert sg.complexity(-edge, p) == pytest.approx(wanted, abs=1e-12)
    for k in range(6):
        assert sg.complexity_of_index(-edge, k, p) == pytest.approx(wanted, abs=1e-12)
        assert sg.complexity_of_index(-0.3 * edge, k, p) == pytest.approx(wanted, abs=1e-12)


def test_slope_of_the_complexity_at_the_ground_state():
    h, ground = 1e-6, sg.lowest_energy(0, 3)
    rise = sg.complexity(-ground + h, 3) - sg.complexity(-ground - h, 3)
    assert rise / (2 * h) == pytest.approx(0.62502, abs=1e-5)


def test_two_spins_have_finite_exponents_everywhere():
    u = np.linspace(-3.0, 1.0, 41)
    for k in (None, 0, 3):
        theta = sg.complexity(u, 2) if k is None else sg.complexity_of_index(u, k, 2)
        assert np.isfinite(theta).all() and theta.max() == pytest.approx(0.0, abs=1e-15)
        logs = sg.log_density(u, 2, 10, k)
        assert np.isfinite(logs[u < -1.42]).all() and np.isneginf(logs[u > -1.41]).all()


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


# ---------------------------------------------------------------- exact numbers at finite N


def count(n, p, **which):
    """Return an exact mean number."""
    return math.exp(sg.log_mean_number(n, p, **which))


@pytest.mark.parametrize("p", range(2, 9))
def test_on_the_circle_the_count_is_that_of_kac_and_rice_in_one_dimension(p):
    wanted = 2 * math.sqrt(3 * p - 2)
    assert count(2, p) == pytest.approx(wanted, rel=1e-7)
    for k in (0, 1):  # maxima and minima alternate
        assert count(2, p, k=k) == pytest.approx(wanted / 2, rel=1e-7)
    mean, error = sg.mean_number(2, p, draws=4000)
    assert abs(mean - wanted) < 4 * error + 1e-12


def test_two_spins_have_the_eigenvectors_as_critical_points():
    assert count(10, 2) == pytest.approx(20.0, rel=1e-9)
    assert count(10, 2, k=0) == pytest.approx(2.0, rel=1e-9)
    assert count(11, 2, k=1) == pytest.approx(2.0, rel=1e-9)
    mean, error = sg.mean_number(10, 2, draws=10)
    assert mean == pytest.approx(20.0, rel=1e-12) and error < 1e-12


def test_indices_sum_to_the_total():
    each = [sg.mean_number(4, 3, k=k, draws=6000) for k in range(4)]
    total, spread = sg.mean_number(4, 3, draws=6000)
    assert sum(mean for mean, _ in each) == pytest.approx(total, rel=1e-9)
    exactly = count(4, 3)
    assert exactly == pytest.approx(18.79, abs=0.01) and abs(total - exactly) < 4 * spread
    inner = count(3, 3, k=1)  # and the number of minima is that of maxima
    assert 2 * count(3, 3, k=0) + inner == pytest.approx(count(3, 3), rel=1e-7)


@pytest.mark.parametrize("n", [3, 10, 25, 60])
@pytest.mark.parametrize("p", [3, 4, 6])
@pytest.mark.parametrize("u", [math.inf, -1.3])
def test_exact_numbers_are_those_of_sampled_matrices(n, p, u):
    for k in (0, 1):
        mean, error = sg.mean_number(n, p, k=k, u=u, draws=1500, seed=1)
        assert abs(mean - count(n, p, k=k, u=u)) < 4 * error + 1e-12, (k, mean, error)


# independent estimates: N, minima, their relative error, index 1, all, energy of minima, its spread
KNOWN = [
    (10, 6.07, 0.003, 16.4, 286.9, -1.225, 0.198),
    (25, 13.9, 0.008, 64.8, 8.9e4, -1.386, 0.106),
    (50, 39.6, 0.012, 288, 7.42e8, -1.461, 0.062),
    (100, 192, 0.026, 2.5e3, 3.56e16, -1.515, 0.037),
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"N{known[0]}")
def test_mean_numbers_and_energies_of_three_spins(known):
    n, minima, error, saddles, total, energy, spread = known
    assert count(n, 3, k=0) == pytest.approx(minima, rel=3 * error)
    assert count(n, 3, k=1) == pytest.approx(saddles, rel=max(3 * error, 0.01))
    assert count(n, 3) == pytest.approx(total, rel=0.01)
    mean, sd = sg.mean_energy(n, 3)
    assert mean == pytest.approx(energy, abs=0.004) and sd == pytest.approx(spread, rel=0.05)


def test_energy_is_that_of_the_cumulative_counts():
    grid = np.linspace(-2.2, 0.3, 51)
    share = np.array([count(12, 3, k=0, u=u) for u in grid]) / count(12, 3, k=0)
    mean = grid[-1] - np.trapezoid(share, grid)  # by parts
    assert sg.mean_energy(12, 3)[0] == pytest.approx(mean, abs=1e-4)
    assert (np.diff(share) > -1e-12).all() and share[-1] == pytest.approx(1.0, abs=1e-3)
    assert sg.mean_energy(12, 3, k=None)[0] == pytest.approx(0.0, abs=1e-9)  # p odd: H(-s) = -H(s)


def test_no_critical_points_far_below_the_ground_state():
    logs = [sg.log_mean_number(20, 3, k=0, u=u) for u in (-2.0, -3.0, -5.0)]
    assert logs[0] > logs[1] > logs[2] and logs[1] < -30


# N = 1000, p = 3: log of the mean number of energy at most u
THOUSAND = {
    -1.660: -5.45, -1.65: 0.89, -1.645: 3.89, -1.64: 6.76, -1.62: 16.83, -1.5: 64.91,
    -1.0: 222.27, -0.5: 316.88, 0.0: 350.494, math.inf: 351.187,
}  # fmt: skip


def test_a_thousand_spins_have_the_known_numbers():
    found = {u: sg.log_mean_number(1000, 3, u=u) for u in THOUSAND}
    assert found == pytest.approx(THOUSAND, abs=0.006)
    assert sg.log_mean_number(1000, 3, u=-sg.threshold_energy(3)) == pytest.approx(10.56, abs=0.01)


def test_prefactors_approach_the_exact_numbers():
    wanted = {-1.65: 0.96, -1.64: 6.91, -1.0: 222.27, 1.0: 351.188}
    found = {u: sg.asymptotic_log_number(u, 3, 1000) for u in wanted}
    assert found == pytest.approx(wanted, abs=0.006)
    edge = sg.threshold_energy(3)
    for u, close in ((-1.64, 0.2), (-edge, 0.3), (-1.0, 0.01), (-0.5, 0.02), (1.0, 0.002)):
        upto = u if u < 0 else math.inf
        gaps = [
            abs(sg.asymptotic_log_number(u, 3, n) - sg.log_mean_number(n, 3, u=upto))
            for n in (250, 1000)
        ]
        assert gaps[1] < close and gaps[1] < gaps[0], u


def test_the_printed_prefactor_at_the_barrier_misses_a_term():
    from scipy.special import airy

    ai, slope = airy(0.0)[:2]
    n, end, width = 20_000, *goe.edge(20_000)
    x, weights = goe.nodes(-end - 14 * width, -end, 60)
    chance = weights @ (goe.eigenvalue_density(x, n) * np.exp((end**2 - x**2) / 6))
    exactly = math.log(2 * math.sqrt(2 / 3) * chance)  # over exp(N Theta(-E_inf))
    assert exactly + n * float(sg.complexity(-sg.threshold_energy(3), 3)) == pytest.approx(
        261.302, abs=0.001
    )
    printed = math.log(2 * ai * math.sqrt(6) / 3 * n ** (-1 / 3))
    right = math.log(2 * math.sqrt(6) * (ai / 3 + slope**2) * n ** (-1 / 3))
    barrier = -sg.threshold_energy(3)
    assert sg.asymptotic_log_number(barrier, 3, n) == pytest.approx(
        n * float(sg.complexity(barrier, 3)) + right, abs=1e-9
    )
    assert math.exp(right - printed) == pytest.approx(1.566, abs=0.001)
    assert abs(exactly - right) < 0.12 < 0.3 < exactly - printed


@pytest.mark.parametrize("p", [4, 8])
def test_prefactors_of_other_orders(p):
    for u in (-0.6, 1.0):
        exactly = sg.log_mean_number(400, p, u=u if u < 0 else math.inf)
        assert sg.asymptotic_log_number(u, p, 400) == pytest.approx(exactly, abs=0.03)


def test_below_the_barrier_minima_outnumber_saddles_and_above_it_not():
    edge = sg.threshold_energy(3)
    for n in (25, 100):
        assert count(n, 3, k=0, u=-edge) > 50 * count(n, 3, k=1, u=-edge)
        assert count(n, 3, k=0) < count(n, 3, k=1)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="p must be at least 2, got 1"):
        sg.threshold_energy(1)
    with pytest.raises(ValueError, match="k must lie between 0 and N - 1 = 3, got 4"):
        sg.mean_number(4, 3, k=4)
    with pytest.raises(ValueError, match="k must be 0, 1 or None"):
        sg.log_mean_number(4, 3, k=2)
    with pytest.raises(ValueError, match="N must be at least 2, got 1"):
        sg.mean_energy(1, 3)
    with pytest.raises(ValueError, match="p must be at least 2, got 1"):
        sg.log_mean_number(4, 1)
    with pytest.raises(ValueError, match="p of at least 3, got 2"):
        sg.asymptotic_log_number(-1.0, 2, 10)
    assert np.isneginf(sg.log_density(-1.0, 3, 10, k=0))
