"""Where adaptive methods turn from descent to ascent: roots of the exact drift, and the theorems.

The wrong way is +x on the problems of Reddi et al. (best point -1) and -x on the lecture's example
(best point +1); the roots are the same numbers either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reproductions.problems.drift import cyclic_drift, iid_drift

LECTURE = ([-3.0, 1.0], [1 / 3, 2 / 3])
REDDI = [1010.0] + [-10.0] * 100
_SCAN = 1 - 10.0 ** -np.linspace(0.0, 5.5, 111)  # beta2 from 0 to 1 - 3e-6

_BLOCK = 2**14  # periods tried at a time


def periodic_slopes(constant: float, period: int) -> list[float]:
    """Return one period of C x when t mod period = 1, else -x (Theorems 1 and 2)."""
    return [constant] + [-1.0] * (period - 1)


def zhang_2_5(n: int) -> tuple[list[float], list[float]]:
    """Return gradients and probabilities of problem (2.5) right of its kink."""
    a = 1 / (n - 1) ** 2
    return [1 + (n - 1) * a, -a], [1 / n, 1 - 1 / n]


def critical_beta2(
    drift: Callable[[float], float], scan: np.ndarray = _SCAN, tolerance: float = 1e-13
) -> list[float]:
    """Return every beta2 in (0, 1) at which the drift changes sign, ascending.

    Args:
        drift: beta2 -> drift.
        scan: values between which at most one change is looked for.
    """
    from scipy.optimize import brentq  # here: its import is slow, and most runs need no root

    values = [drift(float(beta2)) for beta2 in scan]
    return [
        float(brentq(drift, scan[i], scan[i + 1], xtol=tolerance, rtol=8.9e-16))
        for i in range(len(scan) - 1)
        if values[i] * values[i + 1] < 0
    ]


def cyclic_critical_beta2(slopes: list[float], beta1: float) -> list[float]:
    """Return the critical beta2 of a periodic problem (to 1e-9 and better)."""
    return critical_beta2(lambda beta2: cyclic_drift(slopes, beta1, beta2))


def iid_critical_beta2(
    values: list[float], probabilities: list[float], beta1: float, scan: np.ndarray = _SCAN[:71]
) -> list[float]:
    """Return the critical beta2 of independent draws (to 1e-7); scans up to 1 - 3e-4."""
    return critical_beta2(
        lambda beta2: iid_drift(values, probabilities, beta1, beta2), scan, tolerance=1e-10
    )


def safe_beta1(values: list[float], probabilities: list[float]) -> float:
    """Return the beta1 above which no beta2 makes the drift point the wrong way.

    At that beta1 the drift, as a function of beta2, touches zero from the right side.
    """
    from scipy.optimize import brentq, minimize_scalar

    right = -np.sign(np.dot(values, probabilities))

    def worst(beta1: float) -> float:
        found = minimize_scalar(
            lambda beta2: right * iid_drift(values, probabilities, beta1, beta2),
            bounds=(0.02, 0.6), method="bounded", options={"xatol": 1e-9},
        )  # fmt: skip
        return float(found.fun)

    return float(brentq(worst, 0.4, 0.8, xtol=1e-11))


def smallest_failing_period(
    beta1: float, beta2: float, *, order: str = "cyclic", most: int = 5000
) -> int | None:
    """Return the first C >= 3 on which Adam's drift points the wrong way, or None up to `most`.

    Args:
        order: "cyclic", C x once in C steps; "iid", C x with probability 1/C.
    """
    for period in range(3, most + 1):
        if order == "cyclic":
            drift = cyclic_drift(periodic_slopes(float(period), period), beta1, beta2)
        else:
            drift = iid_drift([float(period), -1.0], [1 / period, 1 - 1 / period], beta1, beta2)
        if drift > 0:
            return period
    return None


def sufficient_period(beta1: float, beta2: float, most: int = 1_000_000) -> int | None:
    """Return the first C that meets the sufficient conditions in the proof of Theorem 2.

    Source: Reddi et al. 2018, Appendix B. (The proof also wants C even; that is left to the
    caller.) Returns None where no C up to `most` does.
    """
    for start in range(3, most, _BLOCK):
        c = np.arange(float(start), min(start + _BLOCK, most))
        meets = np.flatnonzero(_sufficient(c, beta1, beta2))
        if meets.size:
            return int(c[meets[0]])
    return None


def _sufficient(c: np.ndarray, beta1: float, beta2: float) -> np.ndarray:
    gamma = beta1 / math.sqrt(beta2) if beta2 else 0.0
    with np.errstate(under="ignore"):
        first = (1 - beta1) * beta1 ** (c - 1) * c <= 1 - beta1 ** (c - 1)
        second = (c - 2) / 2 * math.log(beta2) + 2 * np.log(c) <= 0
        series = 1 + gamma * (1 - gamma ** (c - 1)) / (1 - gamma)
        left = 3 * (1 - beta1) / (2 * math.sqrt(1 - beta2)) * series
        third = left + beta1 ** (c / 2 - 1) / (1 - beta1) < c / 3
    return first & second & third


def theorem_4_bound(steps: int, alpha: float, beta2: float, slopes: list[float]) -> float:
    """Return the regret bound of Theorem 4 for AMSGrad with beta1 = 0 on a periodic problem.

    D^2 sqrt(T) / alpha * sqrt(vhat_T) + alpha sqrt(1 + log T) / sqrt(1 - beta2) * |g_{1:T}|.
    Source: Reddi et al. 2018, Theorem 4, with D = 2, one coordinate and beta1 = 0.
    """
    g2 = np.asarray(slopes) ** 2
    square, peak = 0.0, 0.0
    for value in np.tile(g2, max(3, math.ceil(40 / (1 - beta2) / g2.size))):
        square = beta2 * square + (1 - beta2) * value
        peak = max(peak, square)
    norm = math.sqrt(np.resize(g2, steps).sum())
    return (
        4 * math.sqrt(steps) / alpha * math.sqrt(peak)
        + alpha * math.sqrt(1 + math.log(steps)) / math.sqrt(1 - beta2) * norm
    )


def two_cycle_amplitude(
    alpha: float, beta1: float, eps: float = 0.0, curvature: float = 1.0
) -> float:
    """Return W of the cycle w = +-W of Adam on curvature w^2 / 2: alpha (1-b1)/(2 (1+b1)) - eps/c.

    Source: Bock and Weiss 2022 (existence); the closed form follows from m = -+(1-b1)/(1+b1) c W
    and v = (c W)^2. It does not depend on beta2; no cycle exists where it is not positive.
    """
    return alpha * (1 - beta1) / (2 * (1 + beta1)) - eps / curvature


def two_cycle_multipliers(beta1: float, beta2: float) -> np.ndarray:
    """Return the moduli, descending, of the eigenvalues of Adam's two-step map on its cycle.

    The map acts on (w, m, v); eps = 0, so neither alpha nor the curvature matters. Half a cycle
    composed with the reflection w, m -> -w, -m is a fixed point, whose eigenvalues are squared.
    """
    w = two_cycle_amplitude(1.0, beta1)
    m = -(1 - beta1) / (1 + beta1) * w  # before the step at w > 0
    v = w * w
    m_next = beta1 * m + (1 - beta1) * w
    root = math.sqrt(v)
    dm = np.array([1 - beta1, beta1, 0.0])
    dv = np.array([2 * (1 - beta2) * w, 0.0, beta2])
    dw = np.array([1.0, 0.0, 0.0]) - dm / root + m_next / (2 * root**3) * dv
    half = np.stack([-dw, -dm, dv])
    return np.sort(np.abs(np.linalg.eigvals(half)) ** 2)[::-1]
