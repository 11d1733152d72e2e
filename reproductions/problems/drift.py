"""Exact stationary drift of adaptive methods on linear losses, in units of the step size.

On losses a_t x with slopes that repeat or are drawn independently, m_t and v_t forget their start
and x moves by a fixed amount per period (or, on average, per step) times alpha. Its sign decides
where the method ends. Positive is +x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def cyclic_drift(
    slopes: Sequence[float], beta1: float = 0.0, beta2: float = 0.0, *,
    method: str = "adam", eps: float = 0.0,
) -> float:  # fmt: skip
    """Return the move per period, in units of alpha, once m and v have settled.

    -sum_k m_k / sqrt(v_k + eps) with m_k, v_k the periodic solutions of the running means
    (geometric sums over the period).
    Source: Reddi et al. 2018, proofs of Theorems 1, 2 and 6, with the sums carried out exactly.

    Args:
        slopes: one period of gradients.
        method: "sgd", "sign", "adam" (RMSProp with beta1 = 0), "amsgrad", "adagrad" (and AdamNC).
        eps: added under the root.

    Raises:
        ValueError: an unknown method.
    """
    g = np.asarray(slopes, dtype=float)
    if method == "sgd":
        return float(-g.sum())
    if method == "sign":
        return float(-np.sign(g).sum())
    mean, square = _settled(g, beta1), _settled(g * g, beta2)
    if method == "amsgrad":
        square = np.full_like(g, square.max())
    elif method == "adagrad":
        square = np.full_like(g, (g * g).mean())
    elif method != "adam":
        raise ValueError(f"method must be sgd, sign, adam, amsgrad or adagrad, got {method!r}")
    return float(-(mean / np.sqrt(square + eps)).sum())


def _settled(values: np.ndarray, beta: float) -> np.ndarray:
    """Return the periodic solution of y_k = beta y_{k-1} + (1 - beta) values_k."""
    n = values.size
    weights = (1 - beta) / (1 - beta**n) * beta ** np.arange(n)
    last = float(weights @ values[::-1])
    settled = np.empty(n)
    for k, value in enumerate(values):
        last = beta * last + (1 - beta) * value
        settled[k] = last
    return settled


def iid_drift(
    values: Sequence[float],
    probabilities: Sequence[float],
    beta1: float = 0.0,
    beta2: float = 0.0,
    *,
    method: str = "adam",
) -> float:
    """Return the mean move per step, in units of alpha, for independent gradients.

    1/sqrt(v) = (2/sqrt(pi)) int_0^inf exp(-u^2 v) du turns E[m/sqrt(v)] into a one-dimensional
    integral of products over the past, taken by the trapezoid rule in log u (absolute error below
    1e-9 for the problems here; a test compares it with enumeration and simulation).

    Args:
        values, probabilities: the distribution of one gradient; no value is 0.
        method: "sgd", "sign", "rms" (g over sqrt(E g^2), also Adagrad's limit), "ideal" (E g over
            its size) or "adam" (RMSProp with beta1 = 0).

    Raises:
        ValueError: an unknown method, or a gradient of 0.
    """
    g, p = np.asarray(values, dtype=float), np.asarray(probabilities, dtype=float)
    if (g == 0).any():
        raise ValueError("values must not contain 0: v could vanish")
    simple = {
        "sgd": lambda: p @ g,
        "sign": lambda: p @ np.sign(g),
        "rms": lambda: (p @ g) / math.sqrt(p @ g**2),
        "ideal": lambda: np.sign(p @ g),
        "adam": lambda: _mean_quotient(g, p, beta1, beta2),
    }
    if method not in simple:
        raise ValueError(f"method must be one of {', '.join(simple)}, got {method!r}")
    return float(-simple[method]())


def _mean_quotient(g: np.ndarray, p: np.ndarray, beta1: float, beta2: float) -> float:
    """Return E[m / sqrt(v)] in the stationary state."""
    size = np.abs(g)
    s, log_product = _log_product(g, p, beta2)
    u2, step = np.exp(2 * s), s[1] - s[0]
    terms = 1 if beta1 == 0 else max(1, math.ceil(-36 / math.log(beta1)))
    weight, total = 1.0, np.zeros_like(u2)
    for k in range(terms):
        w = (1 - beta2) * beta2**k
        if w * u2[-1] * size.max() ** 2 < 1e-16:  # from here on the ratio is the plain mean
            total += weight / (1 - beta1) * (p @ g)
            break
        total += weight * _tilted_mean(g, p, w * u2)
        weight *= beta1
    integrand = total * np.exp(log_product + s)
    return 2 / math.sqrt(math.pi) * (1 - beta1) * step * float(integrand.sum())


def _tilted_mean(g: np.ndarray, p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return E[g exp(-x g^2)] / E[exp(-x g^2)] for each x, without underflow."""
    g2 = g * g - (g * g).min()
    weights = p * np.exp(-x[:, None] * g2)
    return (weights @ g) / weights.sum(axis=1)


def _log_product(g: np.ndarray, p: np.ndarray, beta2: float) -> tuple[np.ndarray, np.ndarray]:
    """Return log u on an even grid, and there log prod_j E[exp(-u^2 w_j g^2)].

    With w_j = (1 - beta2) beta2^j the logarithm S(x) of the product, x = u^2 w_0, obeys
    S(x) = f(x) + S(beta2 x). On a grid of log x whose spacing divides -log(beta2) that is a
    running sum, so the cost does not grow with the length of the memory times the grid.
    """
    least, excess = (g * g).min(), g * g - (g * g).min()
    memory = -math.log(beta2) if beta2 > 0 else math.inf
    parts = math.ceil(memory / 0.1) if beta2 > 0 else 1
    spacing = memory / parts if beta2 > 0 else 0.1
    low, high = 2 * math.log(1e-15 / np.abs(g).max()), 2 * math.log(7.0 / np.abs(g).min())
    count = parts * math.ceil((high - low) / spacing / parts)
    log_x = high + math.log1p(-beta2) - spacing * np.arange(count - 1, -1, -1.0)
    x = np.exp(log_x)
    f = np.log(sum(chance * np.exp(-x * more) for chance, more in zip(p, excess, strict=True)))
    if beta2 > 0:
        f[:parts] -= x[:parts] * beta2 / (1 - beta2) * (p @ excess)  # all earlier terms, tiny
        f = f.reshape(-1, parts).cumsum(axis=0).reshape(-1)
    stride = max(1, int(0.1 / spacing))
    kept = slice(count - 1 - (count - 1) // stride * stride, None, stride)
    log_u2 = log_x[kept] - math.log1p(-beta2)
    return log_u2 / 2, f[kept] - np.exp(log_u2) * least  # the weights w_j sum to 1
