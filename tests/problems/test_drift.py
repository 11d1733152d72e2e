"""Exact drifts and thresholds against golden numbers and against slow twins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reproductions.problems import thresholds
from reproductions.problems.drift import cyclic_drift, iid_drift
from reproductions.problems.thresholds import LECTURE, REDDI, periodic_slopes

RANDOM = ([1010.0, -10.0], [0.01, 0.99])


def played(slopes: list[float], beta1: float, beta2: float, eps: float = 0.0) -> float:
    """Return the move in one period after many: the slow twin."""
    m = v = 0.0
    moves = []
    for g in slopes * 400:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        moves.append(-m / (v + eps) ** 0.5)
    return sum(moves[-len(slopes) :])


@pytest.mark.parametrize("beta1", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("beta2", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_cyclic_drift_is_the_move_of_a_settled_run(beta1: float, beta2: float, eps: float):
    slopes = [4.0, -1.0, -1.0, -2.0]
    assert cyclic_drift(slopes, beta1, beta2, eps=eps) == pytest.approx(
        played(slopes, beta1, beta2, eps), abs=1e-11
    )


@pytest.mark.parametrize(
    ("constant", "adam", "amsgrad", "adagrad", "root"),
    [
        (2.5, 0.681328, -0.212472, -0.301511, 0.6291880587),
        (3.0, 0.680950, -0.349062, -0.522233, 0.4723131401),
        (4.0, 0.686855, -0.514336, -0.816497, 0.3170144624),
        (10.0, 0.702674, -0.803949, -1.371989, 0.0983472903),
    ],
)
def test_drifts_of_theorem_1(constant, adam, amsgrad, adagrad, root):
    slopes, beta2 = [constant, -1.0, -1.0], 1 / (1 + constant**2)
    assert cyclic_drift(slopes, 0.0, beta2) == pytest.approx(adam, abs=1e-6)
    assert cyclic_drift(slopes, 0.0, beta2, method="amsgrad") == pytest.approx(amsgrad, abs=1e-6)
    assert cyclic_drift(slopes, method="adagrad") == pytest.approx(adagrad, abs=1e-6)
    assert thresholds.cyclic_critical_beta2(slopes, 0.0) == pytest.approx([root], abs=1e-9)


@pytest.mark.parametrize(
    ("beta1", "beta2", "online", "random"),
    [
        (0.0, 0.9, 44.25629, 0.56388345),
        (0.0, 0.99, 2.27978549, 0.06111214),
        (0.0, 0.9999, -0.07403615, -0.00148070),
        (0.9, 0.99, 1.90085475, 0.05913896),
        (0.9, 0.999, 0.10502190, 0.00297105),
    ],
)
def test_drifts_of_figure_1(beta1, beta2, online, random):
    assert cyclic_drift(REDDI, beta1, beta2) == pytest.approx(online, abs=1e-5)
    assert iid_drift(*RANDOM, beta1, beta2) == pytest.approx(random, abs=1e-8)


def enumerated(values, chances, beta1: float, beta2: float, length: int) -> float:
    """Return E[m/sqrt(v)] over all pasts of a length, weights renormalised: the slow twin."""
    total = 0.0
    b1, b2 = (beta ** np.arange(length) for beta in (beta1, beta2))
    b1, b2 = (1 - beta1) * b1, (1 - beta2) * b2 / (1 - beta2**length)
    for picks in itertools.product(range(len(values)), repeat=length):
        g = np.array([values[k] for k in picks])
        chance = np.prod([chances[k] for k in picks])
        total += chance * (b1 @ g) / np.sqrt(b2 @ g**2)
    return -total


def test_quadrature_agrees_with_enumeration():
    slow = enumerated(*LECTURE, 0.2, 0.15, 13)
    assert iid_drift(*LECTURE, 0.2, 0.15) == pytest.approx(slow, abs=1e-8)


@pytest.mark.parametrize(
    ("beta1", "beta2", "drift"),
    [
        (0.0, 0.1, -0.263105), (0.0, 0.5, -0.073307), (0.0, 0.9, 0.1252987854),
        (0.5, 0.0, -0.037037), (0.5, 0.2, -0.046233), (0.9, 0.5, 0.141543),
        (0.9, 0.99, 0.1697587264), (0.9, 0.999, 0.1736101101),
    ],
)  # fmt: skip
def test_drifts_of_the_lecture(beta1, beta2, drift):
    assert iid_drift(*LECTURE, beta1, beta2) == pytest.approx(drift, abs=6e-7)


def test_simple_methods_on_the_lecture():
    drifts = [iid_drift(*LECTURE, method=name) for name in ("sgd", "sign", "ideal", "rms")]
    assert drifts == pytest.approx([1 / 3, -1 / 3, 1.0, 0.1740776560], abs=1e-10)


def test_thresholds_of_the_lecture():
    root = thresholds.iid_critical_beta2(*LECTURE, 0.0)
    assert root == pytest.approx([0.6517363688], abs=1e-7)
    assert thresholds.safe_beta1(*LECTURE) == pytest.approx(0.6030330725, abs=1e-7)
    assert abs(iid_drift(*LECTURE, 9 / 16, 0.0)) < 1e-9


def test_thresholds_of_figure_1():
    cyclic = thresholds.cyclic_critical_beta2(REDDI, 0.9)
    assert cyclic == pytest.approx([0.9995158880], abs=1e-9)
    near = np.array([0.9993, 0.9999])
    random = thresholds.iid_critical_beta2(*RANDOM, 0.9, near)
    assert random == pytest.approx([0.9995986], abs=1e-7)


@pytest.mark.parametrize(
    ("beta1", "beta2", "smallest", "sufficient"),
    [(0.0, 0.9, 7, 204), (0.0, 0.99, 21, 3217), (0.9, 0.99, 30, 3217), (0.9, 0.999, 74, 42622)],
)
def test_periods_of_theorem_2(beta1, beta2, smallest, sufficient):
    assert thresholds.smallest_failing_period(beta1, beta2) == smallest
    assert thresholds.sufficient_period(beta1, beta2) == sufficient


def test_periods_of_random_order():
    assert thresholds.smallest_failing_period(0.9, 0.95, order="iid") == 8
    assert thresholds.smallest_failing_period(0.9, 0.99, order="iid") == 16


@pytest.mark.parametrize(
    ("period", "root"), [(3, 0.4723131401), (10, 0.9554430721), (32, 0.9959379729)]
)
def test_boundary_of_the_period_map(period, root):
    found = thresholds.cyclic_critical_beta2(periodic_slopes(float(period), period), 0.0)
    assert found[-1] == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize(
    ("beta1", "roots"), [(0.0, [0.710072]), (0.3, [0.01055, 0.698909]), (0.7, [])]
)
def test_boundary_of_the_momentum_map(beta1, roots):
    scan = thresholds._SCAN[:31]
    found = thresholds.iid_critical_beta2(*thresholds.zhang_2_5(10), beta1, scan)
    assert found == pytest.approx(roots, abs=5e-6)


def test_theorem_4_bound():
    assert thresholds.theorem_4_bound(10**6, 0.5, 0.99, REDDI) == pytest.approx(2.959e6, rel=1e-3)


def test_two_cycle_of_adam():
    assert thresholds.two_cycle_amplitude(1e-3, 0.9, 1e-8) == pytest.approx(2.63057895e-5, rel=1e-8)
    for betas, modulus in (((0.9, 0.999), 1.1013), ((0.9, 0.5), 2.533), ((0.2, 0.5), 0.9367)):
        assert thresholds.two_cycle_multipliers(*betas)[0] == pytest.approx(modulus, abs=5e-4)


def test_unusable_input_is_named():
    with pytest.raises(ValueError, match="method"):
        cyclic_drift([1.0, -1.0], method="adamw")
    with pytest.raises(ValueError, match="method"):
        iid_drift(*LECTURE, method="adamw")
    with pytest.raises(ValueError, match="values"):
        iid_drift([0.0, 1.0], [0.5, 0.5])
