"""Search critical points from given places, and record what is at both ends of every search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.critical_points import CriticalPoints, assess, newton_search
from reproductions.optim.marquardt import marquardt_search
from reproductions.optim.network_loss import NetworkLoss

Progress = Callable[..., None]
GROUP, GROUP_BYTES = 8, 256 << 20  # searches that go together, and the bytes of their Hessians
NEAR = 0.0125  # nat: about the width of MNIST's published bins at the mode, on either side of zero
ROUNDING = 1e-12  # of the largest |eigenvalue|: smaller ones are zero but for rounding
SPECTRUM = 1000  # eigenvalues kept of a longer spectrum, evenly by rank
LEVELS = ("low", "middle", "high")
UNITS = {
    "train_loss": "nat", "train_error": "1", "gradient_norm": "nat", "relative_residual": "1",
    "step_length": "1", "critical": "1", "moves": "1", "smallest_eigenvalue": "nat",
    "largest_eigenvalue": "nat", "negative_eigenvalues": "1", "near_zero_eigenvalues": "1",
    "kernel_eigenvalues": "1", "eigenvalue": "nat", "parameters": "1",
}  # fmt: skip


class Search(NamedTuple):
    """How critical points are searched.

    Fields:
        steps: at most.
        method: "marquardt", see `marquardt_search`, or a solver of `newton_search`.
        tolerance: gradient norm (nat) at which a search stops, and above which no point counts.
        thresholds: |eigenvalue| (nat) below which it counts as zero in an index.
        root_seed: of everything that is drawn.
    """

    steps: int
    method: str
    tolerance: float
    thresholds: list[float]
    root_seed: int


class Starts(NamedTuple):
    """Places of one kind from which searches start; one whose training diverged is nan."""

    arm: str
    theta: Tensor  # (E, P) float64
    epochs: np.ndarray  # (E,) trained before; -1 where that has no meaning
    noise: np.ndarray  # (E,) amplitude of the noise added; 0 where none was


class Places(NamedTuple):
    """What is at E places, in numbers of numpy."""

    points: CriticalPoints
    error: np.ndarray  # (E,)
    critical: np.ndarray  # (E,) bool

    def numbers(self) -> dict[str, np.ndarray]:
        """Return the quantities of which a place has one."""
        at, values = self.points, self.eigenvalues
        size = np.abs(values)
        return {
            "train_loss": _numpy(at.loss), "train_error": self.error, "critical": self.critical,
            "gradient_norm": _numpy(at.gradient_norm), "moves": _numpy(at.steps),
            "relative_residual": _numpy(at.relative_residual),
            "step_length": _numpy(at.step_length),
            "smallest_eigenvalue": values[:, 0], "largest_eigenvalue": values[:, -1],
            "near_zero_eigenvalues": (size <= NEAR).sum(1),
            "kernel_eigenvalues": (size <= ROUNDING * size.max(1, keepdims=True)).sum(1),
        }  # fmt: skip

    @property
    def eigenvalues(self) -> np.ndarray:
        """Return the eigenvalues (E, P), ascending."""
        return _numpy(self.points.eigenvalues)

    @property
    def finite(self) -> np.ndarray:
        """Tell (E,) where everything is a number."""
        return np.array([status != "not finite" for status in self.points.status])


def follow(
    objective: NetworkLoss, kinds: Sequence[Starts], search: Search, progress: Progress
) -> Rows:
    """Search from every start, and return what is there and where the searches end.

    Rows have the factors `where` ("start" or "end"), `epochs` and `noise`; `seed` is the number of
    the search within its arm. The spectra kept are those of the critical points of the lowest, the
    median and the highest error, or of all ends where critical points have fewer than three errors.
    """
    rows, ends, done = Rows(UNITS), [], 0
    total = sum(len(kind.theta) for kind in kinds)
    for kind in kinds:
        both: list[tuple[Places, Places]] = []
        for theta in _groups(kind.theta):
            both.append(_search(objective, theta, search))
            done += len(theta)
            progress(done / total, f"search {done} of {total}")
        for where, parts in zip(("start", "end"), zip(*both, strict=True), strict=True):
            places = _joined(parts)
            _add(rows, kind, where, places, search.thresholds)
            if where == "end":
                ends.append((kind.arm, places))
    rows.add(arm="all", quantity="parameters", value=objective.layout.parameters)
    _add_spectra(rows, ends)
    return rows


def _groups(theta: Tensor) -> Iterator[Tensor]:
    together = GROUP_BYTES // (theta.shape[1] ** 2 * theta.element_size())
    yield from theta.split(max(1, min(GROUP, together))) if len(theta) else ()


def _search(objective: NetworkLoss, theta: Tensor, search: Search) -> tuple[Places, Places]:
    length = {"steps": search.steps, "tolerance": search.tolerance}
    if search.method == "marquardt":
        end = marquardt_search(objective, theta, **length)
    else:
        end = newton_search(objective, theta, solver=search.method, **length)
    found = []
    for points in (assess(objective, theta), end):
        critical = _numpy(points.is_critical(search.tolerance))
        found.append(Places(points, _numpy(objective.error(points.theta)), critical))
    return found[0], found[1]


def _joined(parts: Sequence[Places]) -> Places:
    columns = zip(*(part.points for part in parts), strict=True)
    joined: list[Any] = [
        torch.cat(column) if isinstance(column[0], Tensor) else sum(column, ())
        for column in columns
    ]
    error, critical = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    return Places(CriticalPoints(*joined), error, critical)


def _add(rows: Rows, kind: Starts, where: str, places: Places, thresholds: Sequence[float]) -> None:
    finite = places.finite
    common: dict[str, Any] = {
        "arm": kind.arm, "seed": np.arange(len(finite)), "where": where, "epochs": kind.epochs,
        "noise": kind.noise, "ending": np.array(places.points.status),
        "status": np.where(finite, "ok", "diverged: loss or curvature is not finite"),
    }  # fmt: skip
    for quantity, values in places.numbers().items():
        rows.add(quantity=quantity, value=np.where(finite, values, np.nan), **common)
    for threshold in thresholds:
        below = (places.eigenvalues < -threshold).sum(1)
        rows.add(
            quantity="negative_eigenvalues", value=np.where(finite, below, np.nan),
            threshold=threshold, **common,
        )  # fmt: skip


def _add_spectra(rows: Rows, ends: Sequence[tuple[str, Places]]) -> None:
    """Add three spectra; `index` is the rank from the smallest eigenvalue."""
    arm = np.concatenate([[name] * len(places.error) for name, places in ends])
    seed = np.concatenate([np.arange(len(places.error)) for _, places in ends])
    error, critical, finite, values = (
        np.concatenate([getattr(places, name) for _, places in ends])
        for name in ("error", "critical", "finite", "eigenvalues")
    )
    enough = len(np.unique(error[critical])) >= len(LEVELS)
    chosen = np.flatnonzero(critical if enough else finite)
    if not len(chosen):
        return
    chosen = chosen[np.argsort(error[chosen], kind="stable")]
    for level, place in zip(LEVELS, (0, len(chosen) // 2, len(chosen) - 1), strict=True):
        one, size = chosen[place], values.shape[1]
        rank = np.linspace(0, size - 1, min(size, SPECTRUM)).round().astype(int)
        rows.add(
            arm=str(arm[one]), seed=int(seed[one]), quantity="eigenvalue", index=rank,
            value=values[one, rank], where="end", level=level,
        )  # fmt: skip


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
