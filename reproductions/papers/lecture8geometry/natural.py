"""The natural gradient: KL and its quadratic form, and paths in coordinates that are not linear."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reproductions.harness.tables import Rows
from reproductions.optim.natural import divergence, fisher_matrix
from reproductions.optim.objective import Autograd
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import path, step
from reproductions.problems.gaussian_fit import CHARTS, GaussianFit
from reproductions.problems.reparametrised import Charted

KL_UNITS = {"kl_excess": "1", "bernoulli_move": "1"}
PATH_UNITS = {"x": "1", "y": "1", "gap": "1", "level": "nat"}
METHODS = ("sgd", "natural")
LOGIT = 0.7  # of the Bernoulli model, whose two steps are sigmoid(-0.7)
_START, _DATA = (0.0, 2.0), (1.5, 0.7)  # (mu, sigma)
_GRID = (81, 61)


def kl_rows(draws: Draws, shrinks: Sequence[float]) -> Rows:
    """Return KL(h d) over its quadratic form, minus one, and the Bernoulli model's two steps."""
    rows = Rows(KL_UNITS)
    loss, theta = draws.network((4, 3), 60, "softmax")
    direction = draws.points(theta.shape[1], stream=30)
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    fisher = fisher_matrix(loss.outputs, theta)
    form = (direction * (fisher @ direction[..., None])[..., 0]).sum(1)
    before = loss.outputs(theta)
    for place, h in enumerate(shrinks):
        change = divergence(before, loss.outputs(theta + h * direction))
        rows.add(arm="softmax", quantity="kl_excess", value=(change / (h**2 * form / 2) - 1).cpu(),
                 seed=range(draws.members), index=place, shrink=h)  # fmt: skip
    for arm, move in bernoulli_moves().items():
        rows.add(arm=arm, quantity="bernoulli_move", value=move, logit=LOGIT)
    return rows


class _Logit:
    """The loss -log sigmoid(z) of one success, with its Fisher matrix, all by torch from z."""

    gradient = staticmethod(Autograd(lambda z: softplus(-z)[:, 0]).gradient)

    def gauss_newton(self, theta: Tensor) -> Tensor:
        return fisher_matrix(lambda z: z[..., None], theta, "bernoulli")


class _Probability:
    """The loss -log p of one success, with its Fisher matrix 1 / (p (1 - p)), by hand from p."""

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return -theta.log()[:, 0], -1 / theta

    def gauss_newton(self, theta: Tensor) -> Tensor:
        return (1 / (theta * (1 - theta)))[..., None]


def bernoulli_moves(logit: float = LOGIT, alpha: float = 1.0) -> dict[str, float]:
    """Return dp to first order of one natural step from the logit and from p, for y = 1."""
    theta = torch.tensor([[logit]], dtype=torch.float64)
    moved = step("natural", _Logit(), theta, alpha)
    return {
        "logit": float(torch.func.jvp(torch.sigmoid, (theta,), (moved,))[1]),
        "probability": float(step("natural", _Probability(), torch.sigmoid(theta), alpha)),
    }


def path_rows(rates: Sequence[float], duration: float, drawn_rate: float) -> Rows:
    """Follow descent and natural gradient in three coordinates of a normal distribution.

    Args:
        rates: step sizes; every path takes duration / rate steps, so all follow one flow.
        drawn_rate: the one whose points are kept for the figure.
    """
    rows, fit = Rows(PATH_UNITS), GaussianFit(*_DATA)
    for name in METHODS:
        for place, rate in enumerate(rates):
            paths = _paths(fit, name, rate, duration)
            gap = _largest_gap(list(paths.values()))
            rows.add(arm=name, quantity="gap", value=gap, index=place, rate=rate)
            if rate == drawn_rate:
                for chart, points in paths.items():
                    for axis, quantity in enumerate(("x", "y")):
                        rows.add(arm=name, quantity=quantity, value=points[:, axis],
                                 step=range(len(points)), chart=chart)  # fmt: skip
    _contours(rows, fit)
    return rows


def _paths(fit: GaussianFit, name: str, rate: float, duration: float) -> dict[str, Tensor]:
    """Return the points (steps + 1, 2) in (mu, sigma) of a method in every chart."""
    start = torch.tensor([_START], dtype=torch.float64)
    found = {}
    for chart, own in CHARTS.items():
        objective = Charted(fit, own.original, own.jacobian)
        ahead = path(name, objective, own.coordinates(start), rate, round(duration / rate))
        found[chart] = own.original(ahead[:, 0])
    return found


def _largest_gap(paths: list[Tensor]) -> float:
    pairs = [(one, two) for k, one in enumerate(paths) for two in paths[:k]]
    return max(float(torch.linalg.vector_norm(one - two, dim=1).max()) for one, two in pairs)


def _contours(rows: Rows, fit: GaussianFit) -> None:
    mu, sigma = torch.linspace(-0.6, 2.4, _GRID[0]), torch.linspace(0.4, 2.4, _GRID[1])
    grid = torch.cartesian_prod(mu, sigma).to(torch.float64)
    rows.add(arm="contours", quantity="level", value=fit.loss(grid), index=range(len(grid)),
             x=grid[:, 0], y=grid[:, 1])  # fmt: skip
