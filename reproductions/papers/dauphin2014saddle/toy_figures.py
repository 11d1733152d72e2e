"""Figure 2 and the steps it takes to leave a saddle: measures and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact
from reproductions.harness.tables import select

METHODS = ("sgd", "newton", "damped_newton", "saddle_free")
LABELS = {
    "sgd": "gradient descent",
    "newton": "Newton",
    "damped_newton": "damped Newton",
    "saddle_free": "saddle-free Newton",
}
CURVATURES = np.array([10.0, -2.0])  # of 5 x^2 - y^2
SEEN = {"classical": (-0.25, 1.15), "monkey": (-0.6, 1.5)}  # in both directions
DRAWN = {"classical": "5 x² - y²", "monkey": "x³ - 3 x y²"}


def path(table: Any, surface: str, method: str) -> np.ndarray:
    """Return where a method was after each step, (steps + 1, 2); nan where it had diverged."""
    axes = []
    for quantity in ("x", "y"):
        rows = select(table, quantity=quantity, surface=surface, arm=method).sort_values("step")
        axes.append(np.where(rows.status == "ok", rows.value, np.nan))
    return np.stack(axes, 1)


def settings(table: Any) -> tuple[float, float]:
    """Return the learning rate of gradient descent and the damping of damped Newton."""
    first = select(table, quantity="x").iloc[0]
    return float(first.learning_rate), float(first.damping)


def measure(table: Any) -> dict[str, Metric]:
    """Hold every path against the recurrence that its method obeys there."""
    rate, damping = settings(table)
    factors = {
        "gradient_descent": ("sgd", 1 - rate * CURVATURES),
        "damped_newton": ("damped_newton", damping / (CURVATURES + damping)),
        "saddle_free": ("saddle_free", 1 - np.sign(CURVATURES)),
    }
    found = {
        f"toy_{name}_error": exact(recurrence_error(path(table, "classical", method), factor))
        for name, (method, factor) in factors.items()
    }
    found["toy_newton_distance"] = exact(radii(path(table, "classical", "newton"))[1])
    halves = radii(path(table, "monkey", "newton"))
    ratios = halves[1:] / halves[:-1]
    found["monkey_newton_ratio"] = exact(ratios[np.argmax(np.abs(ratios - 0.5))])
    found["monkey_saddle_free_error"] = exact(monkey_error(path(table, "monkey", "saddle_free")))
    return found | measure_escapes(table)


def recurrence_error(points: np.ndarray, factor: np.ndarray) -> float:
    """Return how far points (T, 2) are at most from start times factor^t.

    Relative to the point that the recurrence gives, or to the start where that is larger.
    """
    exactly = points[0] * factor ** np.arange(len(points))[:, None]
    scale = np.maximum(np.abs(exactly).max(axis=1), np.abs(points[0]).max())
    return float((np.abs(points - exactly).max(axis=1) / scale).max())


def radii(points: np.ndarray) -> np.ndarray:
    """Return the distances (T,) of points (T, 2) from the saddle."""
    return np.hypot(points[:, 0], points[:, 1])


def monkey_error(points: np.ndarray) -> float:
    """Return the largest relative error of a saddle-free path (T, 2) on the monkey saddle.

    From each point to the next, the step's length is half the distance r and the new squared
    distance r^2 (5/4 - cos 3 phi).
    """
    r, phi = radii(points), np.arctan2(points[:, 1], points[:, 0])
    length = np.hypot(*np.diff(points, axis=0).T) / r[:-1]
    squared = (r[1:] / r[:-1]) ** 2 / (1.25 - np.cos(3 * phi[:-1]))
    return float(max(np.abs(2 * length - 1).max(), np.abs(squared - 1).max()))


def grid(table: Any, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts (S,), curvatures (C,) and steps to leave (S, C), nan where it never left."""
    rows = select(table, quantity="escape_steps", arm=method)
    wide = rows.assign(value=np.where(rows.status == "ok", rows.value, np.nan))
    wide = wide.pivot(index="start", columns="curvature", values="value")
    return wide.index.to_numpy(), wide.columns.to_numpy(), wide.to_numpy()


def radius(table: Any) -> float:
    """Return the distance at which a method counts as having left."""
    return float(select(table, quantity="escape_steps").radius.iloc[0])


def measure_escapes(table: Any) -> dict[str, Metric]:
    """Measure how the steps to leave depend on the curvature."""
    found = {}
    for method, name in (("sgd", "descent"), ("damped_newton", "damped_newton")):
        _, curvatures, steps = grid(table, method)
        slopes = np.polyfit(np.log(curvatures), np.log(steps.T), 1)[0]
        worst = slopes[np.argmax(np.abs(slopes + 1))] if np.isfinite(slopes).all() else np.nan
        found[f"escape_{name}_slope"] = exact(worst)
    starts, _, steps = grid(table, "saddle_free")
    least = np.ceil(np.log2(radius(table) / starts))
    excess = steps - least[:, None]
    found["escape_saddle_free_excess"] = exact(excess.flat[np.argmax(np.abs(excess))])
    return found


def height(surface: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the value of a surface."""
    return 5 * x**2 - y**2 if surface == "classical" else x**3 - 3 * x * y**2


def paths(table: Any) -> Any:
    """Draw all paths over contours, one panel a surface."""
    figure, axes = style.new_figure(1, 2, width=9.2, height=5.2)
    rate, damping = settings(table)
    for ax, surface in zip(axes, SEEN, strict=True):
        low, high = SEEN[surface]
        x, y = np.meshgrid(*[np.linspace(low, high, 161)] * 2)
        values = np.cbrt(height(surface, x, y))  # so that levels lie close at the saddle
        ax.contour(x, y, values, levels=15, cmap="Greys", vmin=-3, vmax=4, linewidths=0.7)
        for method in METHODS:
            _draw_path(ax, path(table, surface, method), method, low, high)
        start = path(table, surface, "newton")[0]
        ax.annotate("start", start, xytext=(6, -10), textcoords="offset points", fontsize=8)
        ax.plot(0, 0, "+", color="black", ms=9, zorder=4)
        ax.set(title=DRAWN[surface], xlim=(low, high), ylim=(low, high), xlabel="x", ylabel="y")
        ax.set_aspect("equal")
        ax.grid(False)
    style.note(axes[0], f"learning rate {rate:g}, damping {damping:g}; +: the saddle")
    style.note(axes[1], "contours: equal steps of the value's cube root")
    style.legend(figure)
    return figure


def _draw_path(ax: Any, points: np.ndarray, method: str, low: float, high: float) -> None:
    """Draw a path up to the first point outside the panel, that point left to clipping."""
    with np.errstate(invalid="ignore"):
        inside = ((points >= low) & (points <= high)).all(axis=1)
    last = len(points) if inside.all() else int(np.argmin(inside)) + 1
    own = style.look(method)
    ax.plot(*points[:last].T, color=own.colour, ls=own.linestyle, marker=own.marker, ms=5, mec="white",
            mew=0.5, label=LABELS[method], zorder=3)  # fmt: skip


def escapes(table: Any) -> Any:
    """Draw the steps to leave against the curvature, one panel a start, with the recurrences."""
    rate, damping = settings(table)
    starts, curvatures, _ = grid(table, "sgd")
    shown = starts[[0, -1]] if len(starts) > 1 else starts
    figure, axes = style.new_figure(
        1, len(shown), squeeze=False, width=9.2, height=4.1, sharey=True
    )
    fine = np.geomspace(curvatures.min(), curvatures.max(), 100)
    for ax, start in zip(axes[0], shown, strict=True):
        ratio = np.log(radius(table) / start)
        exactly = (
            ratio / np.log1p(rate * fine),
            ratio / np.log(damping / np.abs(damping - fine)),
            np.full_like(fine, ratio / np.log(2)),
        )
        for number, line in enumerate(exactly):
            style.reference(ax, fine, line, "exact" if number == 0 else "_", kind="derived")
        _draw_escapes(ax, table, start)
        ax.set(xscale="log", yscale="log", title=f"start at {start:g}",
               xlabel="curvature of the falling direction")  # fmt: skip
    axes[0][0].set_ylabel(f"steps until |y| is {radius(table):g}")
    style.note(axes[0][0], f"learning rate {rate:g}, damping {damping:g}; a step is counted whole")
    style.legend(figure)
    return figure


def _draw_escapes(ax: Any, table: Any, start: float) -> None:
    """Draw the steps of every method from one start, and say who never left."""
    for method in METHODS:
        starts, curvatures, steps = grid(table, method)
        own, row = style.look(method), steps[np.argmin(np.abs(starts - start))]
        if np.isfinite(row).any():
            ax.plot(curvatures, row, ls="none", marker=own.marker, color=own.colour, ms=7, mec="white", mew=0.6,
                    label=LABELS[method], zorder=4)  # fmt: skip
        else:
            style.note(ax, f"{LABELS[method]} never left: it goes to the saddle")
