"""Rows of Figure 3: what a method did at one width, its curvature and what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.second_order import groups

UNITS = {
    "train_loss": "nat",
    "train_error": "1",
    "gradient_norm": "nat",
    "least_eigenvalue": "nat",
    "damping": "nat",
    "gradients": "1",
    "seconds": "s",
    "search_error": "1",
    "learning_rate": "1",
    "momentum": "1",
    "batch": "1",
}
# In gradients of the whole set, by passes over a layer: a gradient is a forward pass and two
# backward, a loss the forward pass alone, and a product with the Hessian the same again along a
# direction.
LOSS, PRODUCT = 1 / 3, 2
MARKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # epochs whose curvature is taken for its own sake


class Size(NamedTuple):
    """The networks of one width: their loss over all images, and where they start."""

    width: int
    objective: NetworkLoss
    theta: Tensor  # (E, P) float64


class Record:
    """Add the rows of one method at one width.

    Args:
        failed: (epochs + 1, E) text, "ok" or what became of each member by each epoch.
    """

    def __init__(self, rows: Rows, method: str, size: Size, failed: np.ndarray) -> None:
        self._rows, self._method, self._size, self._failed = rows, method, size, failed

    def add(self, quantity: str, epochs: Any, values: Tensor) -> None:
        """Add one quantity, (T, E) or (T, 1) for all members, at T epochs."""
        epochs = np.asarray(epochs)
        status = self._failed[epochs]
        numbers = np.broadcast_to(values.double().cpu().numpy(), status.shape)
        status = np.where(np.isfinite(numbers) | (status != "ok"), status, f"{quantity} not finite")
        self._rows.add(
            arm=self._method, quantity=quantity, value=numbers, seed=np.arange(status.shape[1]),
            step=epochs[:, None], status=status, width=self._size.width,
        )  # fmt: skip

    def add_curvature(self, kept: Mapping[int, Tensor], *, norms: bool) -> None:
        """Add the most negative eigenvalue at the kept epochs, and the gradient norm if wanted."""
        epochs = sorted(kept)
        found = [curvature(self._size.objective, kept[epoch].double()) for epoch in epochs]
        self.add("least_eigenvalue", epochs, torch.stack([least for least, _ in found]))
        if norms:
            self.add("gradient_norm", epochs, torch.stack([norm for _, norm in found]))

    def add_cost(self, per_epoch: float, seconds: list[float]) -> None:
        """Add what one member has spent by every epoch: gradients, and its share of the seconds."""
        epochs = np.arange(len(self._failed))
        self.add("gradients", epochs, torch.tensor(epochs * per_epoch)[:, None])
        spent = torch.tensor(seconds, dtype=torch.float64)[:, None] / len(self._size.theta)
        self.add("seconds", epochs, spent)


def statuses(epochs: int, per_epoch: int, stopped: Tensor, never: int) -> np.ndarray:
    """Return (epochs + 1, E) text: what has become of each member by the end of each epoch.

    Args:
        stopped: (E,), the number of updates after which a member's loss, gradient or Hessian was
            not finite; `never` where they always were.
    """
    updates = np.arange(epochs + 1)[:, None] * per_epoch
    at = stopped.cpu().numpy()
    words = np.array([f"diverged: not finite after {count} updates" for count in at.tolist()])
    return np.where((at != never) & (updates >= at), words, "ok")


def marks(epochs: int) -> list[int]:
    """Return the marked epochs of a run, its end among them."""
    return sorted({epoch for epoch in MARKS if epoch < epochs} | {epochs})


def curvature(objective: NetworkLoss, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least eigenvalue of the Hessian and the gradient norm, (E,) each, by all of it.

    A few steps of Lanczos would not do: at the end the least eigenvalue is a hundred thousand times
    smaller than the largest.
    """
    least, norm = torch.full((2, len(theta)), torch.nan, dtype=theta.dtype, device=theta.device)
    for members in groups(theta):
        _, gradient, hessian = objective.curvature(theta[members])
        finite = hessian.isfinite().flatten(1).all(1)
        hessian[~finite] = 0
        values = torch.linalg.eigvalsh(hessian)[:, 0]
        least[members] = torch.where(finite, values, torch.nan)
        norm[members] = torch.linalg.vector_norm(gradient, dim=1)
    return least, norm


def gradients_per_epoch(method: str, parameters: int, dampings: int) -> float:
    """Return what an epoch costs, in gradients of the whole set, however it is cut into updates.

    The dense matrix counts as one product for each parameter, as it would cost without the
    structure that makes it cheaper here. The eigendecomposition, which no gradient measures, does
    not count; the seconds hold it.
    """
    if method == "momentum":
        return 1.0
    tried = 1 if method == "newton" else dampings
    return 1 + PRODUCT * parameters + LOSS * tried


class Watch:
    """Add up the seconds of a computation, but not those of looking at it."""

    def __init__(self, device: torch.device) -> None:
        self._cuda, self._seconds = device.type == "cuda", 0.0
        self._since = self._now()

    def stop(self) -> float:
        """Return the seconds so far, and stand still until `go`."""
        self._seconds += self._now() - self._since
        return self._seconds

    def go(self) -> None:
        """Run on."""
        self._since = self._now()

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
