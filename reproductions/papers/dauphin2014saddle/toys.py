"""Gradient descent and Newton's methods on two saddles, and how long each takes to leave one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.first_order import sgd
from reproductions.optim.objective import Curvature, Objective
from reproductions.optim.second_order import descend
from reproductions.optim.train import Snapshot, train
from reproductions.problems.saddles import Quadratic, monkey

UNITS = {"x": "1", "y": "1", "escape_steps": "1"}
STARTS = {"classical": (1.0, 0.05), "monkey": (0.9, 0.35)}
RISING = 10.0  # curvature across the falling direction, as on the classical saddle
METHODS = ("sgd", "newton", "damped_newton", "saddle_free")
BLOCK, MOST = 500, 100_000  # steps at a time, and at most, until a method has left

Observe = Callable[[int, Tensor], None]


class Bowl(Quadratic):
    """A quadratic function that is an `Objective`, the classical saddle among others."""

    def curvature(self, theta: Tensor) -> Curvature:
        """Return value, gradient and Hessian."""
        return Curvature(*super().curvature(theta))

    def part(self, members: Tensor) -> Bowl:
        """Return the functions of some members, by number or by mask (E,)."""
        return Bowl(self.curvatures[members])


class Monkey:
    """The monkey saddle x^3 - 3 x y^2 with its derivatives: an `Objective`."""

    def loss(self, theta: Tensor) -> Tensor:
        """Return the value (E,) at theta (E, 2)."""
        return monkey(theta)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value (E,) and the gradient (E, 2)."""
        x, y = theta.unbind(1)
        return self.loss(theta), torch.stack([3 * (x**2 - y**2), -6 * x * y], 1)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessians' products with vectors (E, 2) or (Q, E, 2), as vectors."""
        return torch.einsum("eij,...ej->...ei", self.curvature(theta).hessian, vectors)

    def curvature(self, theta: Tensor) -> Curvature:
        """Return value, gradient and Hessian."""
        x, y = 6 * theta.unbind(1)[0], 6 * theta.unbind(1)[1]
        hessian = torch.stack([torch.stack([x, -y], 1), torch.stack([-y, -x], 1)], 1)
        return Curvature(*self.gradient(theta), hessian)


class Surface:
    """An objective as the training loop asks for one; it has no examples."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def gradient(
        self, theta: Tensor, inputs: Tensor, targets: Tensor, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return value (E,) and gradient (E, P); inputs and targets are of no use."""
        return self._objective.gradient(theta)


def follow(
    objective: Objective, theta: Tensor, method: str, steps: int, rate: float, damping: float,
    observe: Observe,
) -> Tensor:  # fmt: skip
    """Make steps of a method and return theta (E, P).

    Args:
        rate: of gradient descent.
        damping: of damped Newton; saddle-free Newton has none here.
        observe: called with the number of steps made and theta, at the start and after each.
    """
    if method != "sgd":
        dampings = [damping if method == "damped_newton" else 0.0]
        return descend(
            lambda _: objective, theta, method, steps=steps, dampings=dampings, observe=observe
        ).theta
    nothing = torch.empty(0)

    def seen(shot: Snapshot) -> None:
        lost = shot.diverged_at[:, None] > 0  # such a member stands still, which says nothing
        observe(shot.step, shot.theta.masked_fill(lost, torch.nan))

    return train(
        Surface(objective), sgd(rate), theta, lambda _: (nothing, nothing), steps=steps,
        record_at=range(steps + 1), observe=seen, how="eager",
    ).theta  # fmt: skip


def surfaces() -> dict[str, Objective]:
    """Return 5 x^2 - y^2 and the monkey saddle."""
    return {
        "classical": Bowl(torch.tensor([[10.0, -2.0]], dtype=torch.float64)),
        "monkey": Monkey(),
    }


def trajectories(steps: int, rate: float, damping: float) -> Rows:
    """Follow every method from one start on each surface of Figure 2."""
    rows = Rows(UNITS)
    for surface, objective in surfaces().items():
        start = torch.tensor([STARTS[surface]], dtype=torch.float64)
        for method in METHODS:
            path: list[Tensor] = []

            def keep(step: int, theta: Tensor, path: list[Tensor] = path) -> None:
                path.append(theta[0].clone())

            follow(objective, start, method, steps, rate, damping, keep)
            for quantity, value in zip("xy", torch.stack(path).T.numpy(), strict=True):
                status = np.where(np.isfinite(value), "ok", "diverged: not finite")
                rows.add(
                    arm=method, quantity=quantity, value=value, step=np.arange(len(value)),
                    status=status.tolist(), surface=surface, learning_rate=rate, damping=damping,
                )  # fmt: skip
    return rows


def escapes(
    starts: Sequence[float], curvatures: Sequence[float], rate: float, damping: float, radius: float
) -> Rows:
    """Count the steps until |y| reaches the radius, over a grid of starts and curvatures.

    All of the grid is one ensemble on RISING x^2 / 2 - curvature y^2 / 2.
    """
    axes = (torch.tensor(axis, dtype=torch.float64) for axis in (starts, curvatures))
    grid = torch.cartesian_prod(*axes)
    start, falling = grid.unbind(1)
    objective = Bowl(torch.stack([torch.full_like(falling, RISING), -falling], 1))
    theta = torch.stack([torch.full_like(start, radius), start], 1)
    rows = Rows(UNITS)
    for method in METHODS:
        taken = leaving(objective, theta, method, rate, damping, radius)
        rows.add(
            arm=method, quantity="escape_steps", value=np.where(taken < 0, np.nan, taken),
            status=["ok" if steps >= 0 else "never left the saddle" for steps in taken],
            start=start.numpy(), curvature=falling.numpy(), learning_rate=rate, damping=damping,
            radius=radius,
        )  # fmt: skip
    return rows


def leaving(
    objective: Bowl, theta: Tensor, method: str, rate: float, damping: float, radius: float
) -> np.ndarray:
    """Return the first step (E,) after which |y| is the radius or more; -1 where there is none.

    At every step y changes by one and the same factor, so who has come nearer never leaves.
    """
    taken, made = torch.full((len(theta),), -1), 0
    members = torch.arange(len(theta))
    while len(members) and made < MOST:
        found = torch.full((len(members),), -1)

        def see(step: int, theta: Tensor, found: Tensor = found) -> None:
            found[(found < 0) & (theta[:, 1].abs() >= radius)] = step

        before = theta[:, 1].abs()
        theta = follow(objective, theta, method, BLOCK, rate, damping, see)
        taken[members] = torch.where(found >= 0, found + made, -1)
        made += BLOCK
        stay = (found < 0) & (theta[:, 1].abs() > before)
        theta, members, objective = theta[stay], members[stay], objective.part(stay)
    return taken.numpy()
