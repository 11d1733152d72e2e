"""The energy from which a random-matrix Hessian has negative eigenvalues, and the law just above it.

Source: Pennington and Bahri 2017: the thresholds are printed in sections 4 and 6; the constant of the
3/2 law, which the paper leaves as alpha0(phi), is ours: the density at an edge x_c is
sqrt(2 (x - x_c) / |z''|) / pi, and by the envelope theorem x_c moves with -2 |G_c| per unit of energy
(Wishart + Wigner), so that

    alpha = alpha0 ((eps - eps_c) / eps_c)^(3/2),  alpha0 = 2/(3 pi) sqrt(2/|z''|) (s eps_c)^(3/2)

with s = -d x_c / d eps at the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from reproductions.problems.random_matrix import (
    Model,
    ReluNetwork,
    WishartWigner,
    edge_transform,
    support,
)

EXPONENT = 1.5
_HALVINGS = 60


def wishart_wigner_threshold(phi: float) -> float:
    """Return eps_c = (1 - 20 phi - 8 phi^2 + u^3) / 16 with u^2 = 1 + 8 phi; 0 from phi = 1 on.

    Source: Pennington and Bahri 2017, section 4. It is (3 - u)^3 (1 + u) / 128, and written as
    4 (1 - phi)^3 (1 + u) / (3 + u)^3 nothing cancels near phi = 1.
    """
    u = math.sqrt(1 + 8 * phi)
    return 4 * max(1 - phi, 0.0) ** 3 * (1 + u) / (3 + u) ** 3


def relu_threshold(phi: float, scale: float = 1.0) -> float:
    """Return eps_c = s^2 (27 - 18 c - c^2 + 8 c^(3/2)) / (32 phi (1 - phi)^3), 0 from phi = 1 on.

    Here c = 1 + 16 phi - 8 phi^2. Source: Pennington and Bahri 2017, section 6. With u = sqrt(c) the
    sum is (3 - u)^3 (1 + u), the same quartic as in the other model's, and the threshold
    16 s^2 (1 - phi)^3 (1 + u) / (phi (3 + u)^3).
    """
    left = max(1 - phi, 0.0)
    u = math.sqrt(9 - 8 * left**2)
    return 16 * scale**2 * left**3 * (1 + u) / (phi * (3 + u) ** 3)


def threshold_by_edge(model_at: Callable[[float], Model]) -> float:
    """Return the energy at which the left edge of the support is 0, by bisection.

    Args:
        model_at: energy -> model; the edge falls with the energy.
    """
    low, high = 0.0, 1.0
    if support(model_at(0.0))[0] <= 0:
        return 0.0
    while support(model_at(high))[0] > 0:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if support(model_at(middle))[0] > 0 else (low, middle)
    return (low + high) / 2


def wishart_wigner_constant(phi: float) -> float:
    """Return alpha0(phi) of the 3/2 law of the Wishart + Wigner model, for phi below 1.

    Raises:
        ValueError: phi not in (0, 1).
    """
    return _constant(WishartWigner(_inside(phi, wishart_wigner_threshold), phi))


def relu_constant(phi: float) -> float:
    """Return alpha0(phi) of the 3/2 law of the ReLU model, for phi below 1.

    Raises:
        ValueError: phi not in (0, 1).
    """
    return _constant(ReluNetwork(_inside(phi, relu_threshold), phi))


def _inside(phi: float, threshold: Callable[[float], float]) -> float:
    if not 0 < phi < 1:
        raise ValueError(f"phi must be above 0 and below 1, got {phi}")
    return threshold(phi)


def _constant(model: Model) -> float:
    """Return alpha0 of a model at its threshold."""
    g = edge_transform(model, -1)
    moved = model.energy * model.edge_shift(g)
    return 2 / (3 * math.pi) * math.sqrt(2 / abs(model.bend(g))) * moved**EXPONENT
