"""Gradient descent and its successors in other linear coordinates, w = A w~, as residuals."""

from __future__ import annotations

import torch
from torch import Tensor

from reproductions.optim.natural import fisher_matrix, natural_gradient_step
from reproductions.papers.lecture8geometry.composed import Composed, in_place
from reproductions.papers.lecture8geometry.draws import Draws
from reproductions.papers.lecture8geometry.rules import path, step, worst
from reproductions.problems.quadratics import Bowl, random_bowls

_BOWLS = 14  # the purpose in a generator's key
EXAMPLES = 60
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the coordinates, on whose paths descent is held
# Small enough that curvature is well conditioned: residuals then are roundings and nothing else.
MODELS = {
    "newton": ((5, 1), "bernoulli"),
    "newton_saddle": ((4, 1, 2), "squared"),  # its Hessian has eigenvalues of both signs
    "gauss_newton": ((4, 1, 2), "squared"),
    "natural": ((4, 2), "bernoulli"),
    "inverse_norm": ((4, 1, 2), "squared"),
}


def bowls(draws: Draws, size: int) -> tuple[Bowl, Tensor]:
    """Return random bowls of curvatures 0.1 to 1 and starts (E, P) in them."""
    curvatures = torch.logspace(-1, 0, size, dtype=torch.float64)
    matrix = random_bowls(draws.sources(_BOWLS), curvatures).to(draws.device)
    return Bowl(matrix), draws.points(size)


def descent(draws: Draws, size: int, steps: int) -> dict[str, Tensor]:
    """Return how far descent in other coordinates is from the preconditioned one, and pairing."""
    bowl, start = bowls(draws, size)
    matrix = draws.coordinates(size)
    other = Composed(bowl, matrix)
    rate = 1 / float(torch.linalg.matrix_norm(matrix, 2).amax()) ** 2
    ahead = path("sgd", other, other.coordinates(start), rate, steps)
    back = torch.stack([other.original(one) for one in ahead])
    found = {}
    for name, metric in {
        "linear": matrix @ matrix.mT,
        "without_transpose": matrix @ matrix,
    }.items():
        wanted = _preconditioned(bowl, start, metric, rate, steps)
        found[name] = worst((back - wanted).transpose(0, 1), start)
    (_, own), (_, seen) = bowl.gradient(start), other.gradient(ahead[0])
    pairing = (own * start).sum(1) - (seen * ahead[0]).sum(1)
    found["pairing"] = worst(pairing[:, None], (own * start).sum(1, keepdim=True))
    return found


def _preconditioned(bowl: Bowl, start: Tensor, metric: Tensor, rate: float, steps: int) -> Tensor:
    """Return the points of w - rate M grad f, the obvious loop; the slide's slip is M = A A."""
    points = [start]
    for _ in range(steps):
        gradient = bowl.gradient(points[-1])[1]
        points.append(points[-1] - rate * (metric @ gradient[..., None])[..., 0])
    return torch.stack(points)


def scalar(draws: Draws, size: int, steps: int) -> Tensor:
    """Return how far descent in w~ = w/s with rate r/s^2 is from descent with r, for the worst s."""
    bowl, start = bowls(draws, size)
    unit = torch.eye(size, dtype=start.dtype, device=start.device)
    wanted, found = path("sgd", bowl, start, 1.0, steps), []
    for s in SCALES:
        ahead = s * path("sgd", Composed(bowl, s * unit), start / s, s**-2, steps)
        found.append(worst((ahead - wanted).transpose(0, 1), start))
    return torch.stack(found).amax(0)


def second_order(draws: Draws) -> dict[str, Tensor]:
    """Return by how much one step differs between coordinates, relative to the step."""
    found = {}
    for name, (widths, head) in MODELS.items():
        loss, theta = draws.network(widths, EXAMPLES, head)
        rule = name.removesuffix("_saddle")
        other = Composed(loss, draws.coordinates(theta.shape[1]), head)
        own = in_place(loss, theta, head) if rule == "natural" else loss
        wanted = step(rule, own, theta, 1.0)
        seen = other.original(step(rule, other, other.coordinates(theta), 1.0))
        found[name] = worst(seen - wanted, wanted)
    return found


def singular(draws: Draws) -> dict[str, Tensor]:
    """Return how natural steps differ where the Fisher matrix has no inverse.

    Softmax regression is blind to a constant that is added to all classes: of (D + 1) K
    parameters D + 1 are redundant. The difference d is measured in the parameters and as the
    distribution sees it, F d: that vanishes exactly where d^T F d does, whose root would turn
    roundings of 1e-16 into 1e-8.
    """
    loss, theta = draws.network((4, 3), EXAMPLES, "softmax")

    def entropy(outputs: Tensor) -> Tensor:
        logs = torch.log_softmax(outputs, 2)
        return -logs[:, torch.arange(EXAMPLES, device=logs.device), loss.targets].mean(1)

    other = Composed(loss, draws.coordinates(theta.shape[1]), "softmax", entropy)
    at = other.coordinates(theta)
    fisher = fisher_matrix(loss.outputs, theta)
    # the cut lies far above the zeros, which rounding leaves at 1e-16, and below all else
    wanted = natural_gradient_step(fisher, loss.gradient(theta)[1], cut=1e-10)
    moved = natural_gradient_step(other.gauss_newton(at), other.gradient(at)[1], cut=1e-10)
    seen = other.original(moved)
    difference = seen - wanted
    seen_by_fisher = [(fisher @ one[..., None])[..., 0] for one in (difference, wanted)]
    return {
        "natural_raw": worst(difference, wanted),
        "natural_seminorm": worst(*seen_by_fisher),
    }


def proximal(draws: Draws, alpha: float = 0.7) -> Tensor:
    """Return what is left of the gradient of <g, d> + d^T F d / (2 alpha) at the natural step."""
    loss, theta = draws.network(MODELS["natural"][0], EXAMPLES, "bernoulli")
    gradient, fisher = loss.gradient(theta)[1], fisher_matrix(loss.outputs, theta, "bernoulli")
    moved = natural_gradient_step(fisher, gradient, alpha)
    return worst(gradient + (fisher @ moved[..., None])[..., 0] / alpha, gradient)
