"""Critical points of isotropic Gaussian fields in many dimensions: the laws of large N.

The field has <phi(x) phi(y)> = N f(|x - y|^2 / 2N) with f'(0) < 0 < f''(0); f, f' and f'' below are
the values at 0, the energy is eps = phi / N. At a point the Hessian is M + mu, M from the Gaussian
orthogonal ensemble with variance f''/N off the diagonal (its semicircle ends at 2 sqrt f''), and
(eps, mu) is Gaussian with covariance [[f, f'], [f', f'']] / N, both independent of the gradient.
x = mu / (2 sqrt f'') tells the shift in radii of the semicircle.

Two conditionings give two lines, equal only where D = f f'' - f'^2 = 0: the mean energy at fixed
index (or shift), and the dominant shift at fixed energy.

Source: the model of Bray and Dean 2007, PRL 98, 150201; the formulas are derived here from its
covariances, as the letter's text was not at hand.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Array = np.ndarray
SMALL_INDEX = 4 * math.sqrt(2) / (3 * math.pi)  # alpha = SMALL_INDEX (1 - eps/eps_c)^(3/2)
_HALVINGS = 60


class Kernel(NamedTuple):
    """A covariance function by its value and derivatives at zero, all for unit L."""

    name: str
    parameter: float
    f: float
    df: float
    ddf: float

    @property
    def discriminant(self) -> float:
        """Return D = f f'' - f'^2, 0 where the energy fixes the shift."""
        return self.f * self.ddf - self.df**2

    @property
    def critical_energy(self) -> float:
        """Return eps_c = 2 f' / sqrt f'' < 0, the energy of vanishing index."""
        return 2 * self.df / math.sqrt(self.ddf)

    @property
    def energy_per_shift(self) -> float:
        """Return f'/f'': the mean energy at fixed shift, per unit of shift."""
        return self.df / self.ddf

    @property
    def residual_variance(self) -> float:
        """Return N times the variance of the energy at fixed shift, D / f''."""
        return self.discriminant / self.ddf


def exponential(a: float = 1.0) -> Kernel:
    """Return f(u) = exp(-a u), the squared exponential kernel: D = 0.

    Raises:
        ValueError: a not positive.
    """
    _positive("a", a)
    return Kernel("exponential", a, 1.0, -a, a * a)


def power(g: float = 1.0) -> Kernel:
    """Return f(u) = (1 + u)^(-g): D = g.

    Raises:
        ValueError: g not positive.
    """
    _positive("g", g)
    return Kernel("power", g, 1.0, -g, g * (g + 1))


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def index_of_shift(x: Array | float) -> Array:
    """Return the share of a semicircle of radius 1 about x that lies below 0.

    alpha = (arccos x - x sqrt(1 - x^2)) / pi within |x| <= 1, else 0 or 1.
    """
    x = np.clip(np.asarray(x, dtype=float), -1.0, 1.0)
    return (np.arccos(x) - x * np.sqrt(1 - x * x)) / math.pi


def shift_of_index(alpha: Array | float) -> Array:
    """Return the x with that index: the inverse of `index_of_shift`, by bisection to 1e-15.

    Raises:
        ValueError: an index outside [0, 1].
    """
    alpha = np.asarray(alpha, dtype=float)
    if ((alpha < 0) | (alpha > 1)).any():
        raise ValueError("indices lie between 0 and 1")
    low, high = np.full_like(alpha, -1.0), np.full_like(alpha, 1.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = index_of_shift(middle) > alpha  # the index falls with x
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def energy_of_index(alpha: Array | float, kernel: Kernel) -> Array:
    """Return the dominant energy at fixed index, eps = eps_c x(alpha)."""
    return kernel.critical_energy * shift_of_index(alpha)


def index_of_energy(eps: Array | float, kernel: Kernel) -> Array:
    """Return the index whose dominant energy is eps: the same curve read the other way.

    It is not the dominant index at that energy unless D = 0; see `shift_at_energy`.
    """
    return index_of_shift(np.asarray(eps, dtype=float) / kernel.critical_energy)


def shift_at_energy(eps: Array | float, kernel: Kernel) -> Array:
    """Return the dominant shift mu at fixed energy, 2 f' f'' eps / (f f'' + f'^2).

    The number of critical points weighs the shift; without it the mean is f' eps / f. Holds while
    |mu| <= 2 sqrt f''.
    """
    k = kernel
    return 2 * k.df * k.ddf * np.asarray(eps, dtype=float) / (k.f * k.ddf + k.df**2)


def log_number(x: Array | float, kernel: Kernel) -> Array:
    """Return the log number per dimension of critical points at shift x, in a box of unit sides.

    Sigma = 1/2 ln(f'' / (2 pi e |f'|)) - x^2 at the dominant energy; a box of sides L adds ln L.
    """
    top = 0.5 * math.log(kernel.ddf / (2 * math.pi * math.e * -kernel.df))
    return top - np.asarray(x, dtype=float) ** 2


def log_number_at(eps: Array | float, mu: Array | float, kernel: Kernel) -> Array:
    """Return the exponent of both energy and shift, whose maxima give the laws above; D > 0.

    Raises:
        ValueError: where D is 0 and energy and shift are one number.
    """
    k, gap = kernel, kernel.discriminant
    if not gap > 0:
        raise ValueError("energy and shift are the same number where D = 0")
    eps, mu = np.asarray(eps, dtype=float), np.asarray(mu, dtype=float)
    square = k.ddf * eps**2 - 2 * k.df * eps * mu + k.f * mu**2
    return log_number(0.0, k) + mu**2 / (4 * k.ddf) - square / (2 * gap)
