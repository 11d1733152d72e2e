"""Figure 4 (a) and (b): measures and pictures of the deep autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, over_seeds, ratio
from reproductions.harness.tables import by_seed, select
from reproductions.papers.dauphin2014saddle import published

LONGER = "momentum_longer"
LABELS = {
    "momentum": "momentum",
    "saddle_free": "saddle-free Newton (Krylov)",
    LONGER: "momentum for as long as that computes",
}
LOOKS = {"momentum": style.look("momentum"), "saddle_free": style.look("saddle_free"),
         LONGER: style.series(2)}  # fmt: skip


def measure(table: Any) -> dict[str, Metric]:
    """Measure both panels, and what the published points say of themselves."""
    ends = {arm: at(table, "squared_error", arm, -1) for arm in arms(table)}
    found = {f"autoencoder_{arm}_error": over_seeds(end) for arm, end in ends.items()}
    found["autoencoder_start_error"] = over_seeds(at(table, "squared_error", "saddle_free", 0))
    found["autoencoder_ratio"] = ratio(ends["saddle_free"], ends["momentum"])
    if LONGER in ends:
        found["autoencoder_equal_cost_ratio"] = ratio(ends["saddle_free"], ends[LONGER])
    first, last = (
        negative_part(at(table, "least_eigenvalue", "momentum", place)) for place in (0, -1)
    )
    found["autoencoder_curvature_fall"] = ratio(last, first)
    for arm in ("momentum", "saddle_free"):
        found[f"autoencoder_gradient_norm_{arm}"] = over_seeds(at(table, "gradient_norm", arm, -1))
    return found | measure_published()


def measure_published() -> dict[str, Metric]:
    """Measure the published points alone."""
    norms = select(published.points(published.AUTOENCODER_CURVATURE), quantity="gradient_norm")
    _, error = published_parting()
    return {
        "published_branch_start": exact(error),
        "published_final_gradient_norm": exact(norms.sort_values("epoch").value.iloc[-1]),
    }


def published_parting() -> tuple[int, float]:
    """Return epoch and squared error of the last point that both published curves share."""
    theirs = published.points(published.AUTOENCODER)
    momentum, newton = (select(theirs, method=name) for name in ("momentum", "saddle_free"))
    shared = newton.merge(momentum, on=["epoch", "squared_error"]).sort_values("epoch").iloc[-1]
    return int(shared.epoch), float(shared.squared_error)


def arms(table: Any) -> list[str]:
    """Return the arms there are, in the order of LABELS."""
    return [arm for arm in LABELS if (table.arm == arm).any()]


def at(table: Any, quantity: str, arm: str, place: int) -> np.ndarray:
    """Return a quantity of every seed (seeds,) at the place-th epoch that it was recorded at."""
    return by_seed(select(table, quantity=quantity, arm=arm), "step")[place]


def negative_part(values: np.ndarray) -> np.ndarray:
    """Return how far below zero values are, 0 where they are not."""
    return np.where(np.isnan(values), np.nan, np.maximum(-values, 0.0))


def stretch(table: Any) -> tuple[int, int]:
    """Return the epochs at which the ways part and end."""
    steps = select(table, quantity="squared_error", arm="saddle_free").step
    return int(steps.min()), int(steps.max())


def learning(table: Any) -> Any:
    """Draw the squared error by epoch, its last stretch by epoch, and by cost."""
    figure, axes = style.new_figure(1, 3, width=10.5, height=4.3)
    first, last = stretch(table)
    errors = select(table, quantity="squared_error")
    _whole(axes[0], errors, first, last)
    _last_stretch(axes[1], errors, first, last)
    _by_cost(axes[2], errors, first)
    axes[0].set_ylabel("squared error per image")
    style.legend(figure)
    return figure


def _whole(ax: Any, errors: Any, first: int, last: int) -> None:
    """Draw the whole course."""
    theirs = published.points(published.AUTOENCODER)
    for method in ("momentum", "saddle_free"):
        own = select(theirs, method=method)
        style.reference(ax, own.epoch, own.squared_error, f"published, {LABELS[method]}",
                        method=method)  # fmt: skip
    shown = errors[(errors.step > 0) & (errors.arm != LONGER)]
    style.plot_curves(ax, shown, order=["momentum", "saddle_free"], looks=LOOKS, labels=LABELS,
                      xscale="log", yscale="log")  # fmt: skip
    ax.set(xlabel="epoch")
    style.note(ax, f"ours: the ways part at epoch {first} and end at {last}")


def _last_stretch(ax: Any, errors: Any, first: int, last: int) -> None:
    """Draw both ways from where they part, ours and the published beside each other."""
    theirs = published.points(published.AUTOENCODER)
    start, _ = published_parting()
    length = int(select(theirs, method="saddle_free").epoch.max()) - start
    for method in ("momentum", "saddle_free"):
        own = select(theirs, method=method)
        own = own[own.epoch >= start]
        style.reference(ax, (own.epoch - start) / length, own.squared_error,
                        f"published, {LABELS[method]}", method=method)  # fmt: skip
    shown = errors[(errors.step >= first) & (errors.arm != LONGER)]
    shown = shown.assign(part=(shown.step - first) / (last - first))
    style.plot_curves(ax, shown, "part", order=["momentum", "saddle_free"], looks=LOOKS,
                      labels=LABELS, yscale="linear")  # fmt: skip
    ax.set(xlabel="part of the last stretch", title="from where they part")
    style.note(ax, f"its length: ours {last - first} epochs, published {length}")


def _by_cost(ax: Any, errors: Any, first: int) -> None:
    """Draw what each way costs from where they part."""
    shown = errors[errors.step >= first]
    shown = shown.assign(cost=shown.passes - first)
    shown = shown[shown.cost > 0]
    style.plot_curves(ax, shown, "cost", order=arms(shown), looks=LOOKS, labels=LABELS,
                      xscale="log", yscale="linear")  # fmt: skip
    ax.set(xlabel="gradients of all images", title="by what it costs")
    style.note(ax, "counted from where they part; a product with the Hessian as two gradients")
    if LONGER in arms(shown):
        style.note(ax, "the longer run raises the mass of momentum again, until the last epochs")


def curvature(table: Any) -> Any:
    """Draw the most negative eigenvalue and the gradient's norm by epoch."""
    figure, axes = style.new_figure(1, 2, width=9.6, height=4.1)
    panels = {
        "most_negative": ("least_eigenvalue", "|most negative eigenvalue| (nat)"),
        "gradient_norm": ("gradient_norm", "gradient norm (nat)"),
    }
    theirs = published.points(published.AUTOENCODER_CURVATURE)
    for ax, (name, (quantity, text)) in zip(axes, panels.items(), strict=True):
        own = select(theirs, quantity=name)
        style.reference(ax, own.epoch, own.value, "published")
        rows = select(table, quantity=quantity)
        rows = rows[rows.arm.isin(["momentum", "saddle_free"])]
        if name == "most_negative":
            rows = rows[~(rows.value >= 0)]
            rows = rows.assign(value=-rows.value)
        style.plot_curves(ax, rows, order=arms(rows), looks=LOOKS, labels=LABELS,
                          xscale="log", yscale="log")  # fmt: skip
        ax.set(xlabel="epoch", ylabel=text)
    bound = select(table, quantity="eigenvalue_bound", arm="momentum")
    worst = float(np.nanmax(bound.value)) if np.isfinite(bound.value).any() else np.nan
    style.note(axes[0], f"by Lanczos: never too large, and within {worst:.2g} of an eigenvalue; "
               "not drawn where it found none below zero")  # fmt: skip
    style.legend(figure)
    return figure
