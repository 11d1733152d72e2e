"""Two random-matrix models of a network's Hessian at given energy: density, edges, index.

A Hessian is taken as H0 + H1, freely independent: H0 a Wishart matrix (the Gauss-Newton part), H1 what
the residuals add. Each is known by its R transform, and

    z(G) = 1/G + R(G)

is the inverse of G(z) = integral of rho(x) / (z - x) dx. Everything follows from z(G): the density is
-Im G / pi, the support ends where z'(G) = 0, and the mass below x has an antiderivative, because
integral G dz = G z - log G - integral R dG.

Source: Pennington and Bahri 2017, sections 3 and 4 (Wishart + Wigner) and 5 and 6 (one hidden ReLU
layer). The antiderivative and the constant of the 3/2 law are ours, held to quadrature in the tests.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_HALVINGS = 90  # of an interval of doubles: more than enough to reach rounding
_DESCENT = 80  # steps from far above the real axis down to it
_NEWTON = 5  # corrections a step


class Model(Protocol):
    """A sum of free matrices, known by its R transform."""

    energy: float
    phi: float

    def r(self, g: Any) -> Any:
        """Return R(G)."""
        ...

    def slope(self, g: Any) -> Any:
        """Return R'(G)."""
        ...

    def integral(self, g: Complex) -> Complex:
        """Return the integral of R from 0 to G, continuous in the lower half plane."""
        ...

    def ends(self) -> tuple[float, float]:
        """Return the real interval around 0 in which R has no pole."""
        ...

    def atom(self) -> float:
        """Return the mass at exactly 0."""
        ...

    def bend(self, g: float) -> float:
        """Return z''(G) at a real G."""
        ...

    def edge_shift(self, g: float) -> float:
        """Return -dR/d eps at a real G: how fast an edge falls as the energy rises."""
        ...


class WishartWigner:
    """Wishart plus Wigner: R(G) = 1 / (1 - phi G) + 2 eps G.

    Source: Pennington and Bahri 2017, section 4 (sigma of H0 is 1, of H1 is sqrt(2 eps)).

    Args:
        energy: eps, half the mean squared residual of an output; not negative.
        phi: parameters over residuals, 2n/m for a square network.

    Raises:
        ValueError: negative energy, or phi not positive.
    """

    def __init__(self, energy: float, phi: float) -> None:
        _check(energy, phi)
        self.energy, self.phi = energy, phi

    def r(self, g: Any) -> Any:
        """Return R(G)."""
        return 1 / (1 - self.phi * g) + 2 * self.energy * g

    def slope(self, g: Any) -> Any:
        """Return R'(G)."""
        return self.phi / (1 - self.phi * g) ** 2 + 2 * self.energy

    def integral(self, g: Complex) -> Complex:
        """Return the integral of R from 0 to G, continuous in the lower half plane."""
        return -np.log(1 - self.phi * g) / self.phi + self.energy * g**2

    def ends(self) -> tuple[float, float]:
        """Return the real interval around 0 in which R has no pole."""
        return -np.inf, 1 / self.phi

    def atom(self) -> float:
        """Return the mass at exactly 0: a semicircle leaves none."""
        return 0.0 if self.energy > 0 else max(0.0, 1 - 1 / self.phi)

    def bend(self, g: float) -> float:
        """Return z''(G) at a real G."""
        return 2 / g**3 + 2 * self.phi**2 / (1 - self.phi * g) ** 3

    def edge_shift(self, g: float) -> float:
        """Return -dR/d eps at a real G: how fast an edge falls."""
        return -2 * g


class ReluNetwork:
    """One hidden ReLU layer: R(G) = s / (1 - s phi G) + eps phi G / (2 - eps phi^2 G^2).

    Source: Pennington and Bahri 2017, section 6 (R of H1, then the improved R of H).

    Args:
        energy, phi: as for `WishartWigner`.
        scale: s, the mean eigenvalue of H0; 0 leaves H1 alone.

    Raises:
        ValueError: negative energy or scale, or phi not positive.
    """

    def __init__(self, energy: float, phi: float, scale: float = 1.0) -> None:
        _check(energy, phi)
        if scale < 0:
            raise ValueError(f"scale must not be negative, got {scale}")
        self.energy, self.phi, self.scale = energy, phi, scale
        self._a = phi * np.sqrt(energy)

    def r(self, g: Any) -> Any:
        """Return R(G)."""
        own = self.energy * self.phi * g / (2 - (self._a * g) ** 2)
        return self.scale / (1 - self.scale * self.phi * g) + own

    def slope(self, g: Any) -> Any:
        """Return R'(G)."""
        square = (self._a * g) ** 2
        own = self.energy * self.phi * (2 + square) / (2 - square) ** 2
        return self.scale**2 * self.phi / (1 - self.scale * self.phi * g) ** 2 + own

    def integral(self, g: Complex) -> Complex:
        """Return the integral of R from 0 to G, continuous in the lower half plane."""
        two, at = np.sqrt(2), self._a * g
        own = np.log((two - at) / two) + np.log((two + at) / two)
        return -(np.log(1 - self.scale * self.phi * g) + own / 2) / self.phi

    def ends(self) -> tuple[float, float]:
        """Return the real interval around 0 in which R has no pole."""
        pole = np.sqrt(2) / self._a if self._a > 0 else np.inf
        wishart = 1 / (self.scale * self.phi) if self.scale > 0 else np.inf
        return -pole, min(pole, wishart)

    def atom(self) -> float:
        """Return the mass at exactly 0: each part has at most the rank P / phi."""
        parts = (self.energy > 0) + (self.scale > 0)
        return max(0.0, 1 - parts / self.phi)

    def bend(self, g: float) -> float:
        """Return z''(G) at a real G."""
        square, s = (self._a * g) ** 2, self.scale
        own = 2 * self.energy * self.phi * self._a**2 * g * (6 + square) / (2 - square) ** 3
        return 2 / g**3 + 2 * s**3 * self.phi**2 / (1 - s * self.phi * g) ** 3 + own

    def edge_shift(self, g: float) -> float:
        """Return -dR/d eps at a real G: how fast an edge falls."""
        return -2 * self.phi * g / (2 - (self._a * g) ** 2) ** 2


def _check(energy: float, phi: float) -> None:
    if not energy >= 0:
        raise ValueError(f"energy must not be negative, got {energy}")
    if not phi > 0:
        raise ValueError(f"phi must be positive, got {phi}")


def stieltjes(model: Model, x: ArrayLike) -> Complex:
    """Return G(x + i0), with Im G <= 0.

    G is followed from far above the real axis, where it is 1/z, down to it: in the upper half plane
    it has no branch point, so that the right root of the cubic or quartic is never in doubt.

    Args:
        x: real places, any shape; the support's ends themselves are reached to about 1e-6 only.
    """
    at = np.asarray(x, dtype=np.float64)
    far = 1e3 * max(1.0, np.abs(at).max(initial=0), *map(abs, support(model)))
    heights = np.append(np.geomspace(far, 1e-9, _DESCENT), 0.0)
    g = 1 / (at + 1j * heights[0])
    for height in heights:
        z = at + 1j * height
        for _ in range(_NEWTON):
            step = (1 / g + model.r(g) - z) / (model.slope(g) - 1 / g**2)
            g = g - step
    return np.where(g.imag > 0, g.conj(), g)


def density(model: Model, x: ArrayLike) -> Array:
    """Return the eigenvalues' density at x; it integrates to 1 where no atom sits at 0."""
    return -stieltjes(model, x).imag / np.pi


def support(model: Model) -> tuple[float, float]:
    """Return the smallest and the largest point of the support, to rounding.

    At an end z'(G) = 0, that is G^2 R'(G) = 1, and the left side grows from 0 on either side of 0.
    """
    left, right = (edge_transform(model, sign) for sign in (-1, 1))
    return float(1 / left + model.r(left)), float(1 / right + model.r(right))


def edge_transform(model: Model, sign: int) -> float:
    """Return the real G at which the support ends, on the left (sign -1) or on the right (1)."""
    low, high = 0.0, abs(model.ends()[sign > 0])
    if not np.isfinite(high):
        high = 1.0
        while _growth(model, sign * high) < 1 and high < 1e150:
            high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _growth(model, sign * middle) >= 1 else (middle, high)
    return sign * (low + high) / 2


def _growth(model: Model, g: float) -> float:
    return float(g**2 * model.slope(g))


def index(model: Model) -> float:
    """Return alpha, the fraction of eigenvalues below 0, in closed form but for G(0).

    alpha = 1 + Im[log G + integral R dG] / pi at G = G(0 + i0), where log has its cut above; an
    atom at 0 counts half in that and is taken off.

    Source: the antiderivative of the module's docstring; 0 where the support is not negative.
    """
    if support(model)[0] >= 0:
        return 0.0
    g = stieltjes(model, 0.0)
    return float(1 + (np.log(g) + model.integral(g)).imag / np.pi - model.atom() / 2)


def index_by_quadrature(model: Model, nodes: int = 400) -> float:
    """Return alpha by Gauss-Legendre quadrature of the density: the slow twin of `index`."""
    low = support(model)[0]
    if low >= 0:
        return 0.0
    t, weights = np.polynomial.legendre.leggauss(nodes)
    t, weights = (t + 1) / 2, weights / 2
    x = low * (1 - t**2)  # a square root at the edge becomes smooth in t
    return float((density(model, x) * weights * 2 * t).sum() * -low)


def cumulative(model: Model, x: ArrayLike) -> Array:
    """Return the mass below x, by the antiderivative of G."""
    at = np.asarray(x, dtype=np.float64)
    low, high = support(model)
    g = stieltjes(model, at)
    inside = 1 + (np.log(g) + model.integral(g) - g * at).imag / np.pi
    return np.where(at <= low, 0.0, np.where(at >= high, 1.0, inside))
