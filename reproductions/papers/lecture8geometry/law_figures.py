"""Figures of laws: residuals, exponents, orders."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness import style
from reproductions.harness.tables import by_seed, select
from reproductions.papers.lecture8geometry import measures

_LOOKS = {"inverse_norm": 1, "gauss_newton": 2, "natural": 3}
_NAMES = {
    "sgd": "gradient descent", "normalised": "ℓ₂ ball", "sign": "box (sign)",
    "inverse_norm": "J / |J|²", "newton": "Newton", "gauss_newton": "Gauss-Newton",
    "natural": "natural gradient",
}  # fmt: skip
_RESIDUALS = {
    "linear": "descent in w̃ = descent by A Aᵀ",
    "pairing": "⟨gradient, point⟩",
    "scalar": "w = s w̃: rate times s²",
    "newton": "Newton under A",
    "newton_saddle": "the same, not convex",
    "gauss_newton": "Gauss-Newton under A",
    "natural": "natural gradient under A",
    "natural_seminorm": "the same, F singular, seen by F",
    "proximal": "proximal problem",
    "relu_output": "ReLU: outputs",
    "relu_gradient": "ReLU: gradients",
    "relu_step": "ReLU: one step",
    "path_products": "ReLU: paths",
    "teleport_output": "teleportation: outputs",
    "teleport_gradient": "teleportation: gradients",
    "without_transpose": "slip: A instead of Aᵀ",
    "natural_raw": "F singular, raw parameters",
    "inverse_norm": "J / |J|² under A",
}
_ROUNDING = float(np.finfo(float).eps)
_LEAST, _MOST = 1e-17, 30.0  # where an exact zero and a path that runs away are drawn


def look(rule: str) -> style.Look:
    """Return a rule's look: a method's own, or one of the series."""
    return style.series(_LOOKS[rule]) if rule in _LOOKS else style.look(rule)


def name(rule: str) -> str:
    """Return what a rule is called in figures."""
    return _NAMES.get(rule, style.label(rule))


def residuals(table: Any) -> Any:
    """Draw every residual with the spread over problems, identities above what must differ."""
    figure, ax = style.new_figure(width=7.4, height=5.4)
    for row, arm in enumerate(_RESIDUALS):
        values = np.clip(select(table, arm=arm)["value"].to_numpy(), _LEAST, _MOST)
        differs = arm in ("without_transpose", "natural_raw", "inverse_norm")
        own = style.series(3 if differs else 0)
        ax.plot(values, np.full(len(values), row), ls="none", marker="o", ms=4, alpha=0.5,
                color=own.colour, mec="none")  # fmt: skip
        worst = values.min() if differs else values.max()
        ax.plot(worst, row, marker="D" if differs else "s", ms=8, color=own.colour, mec="white",
                ls="none", label=_entry(row, differs))  # fmt: skip
    style.reference(ax, _ROUNDING, None, "one rounding of float64", kind="derived")
    ax.set_yticks(range(len(_RESIDUALS)), list(_RESIDUALS.values()))
    ax.set(xscale="log", xlabel="relative residual", xlim=(_LEAST / 3, 100))
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    problems = table["seed"].nunique()
    style.note(
        ax, f"dots: {problems} random problems each; drawn between {_LEAST:.0e} and {_MOST:.0f}"
    )
    style.legend(figure)
    return figure


def _entry(row: int, differs: bool) -> str | None:
    """Return the legend's entry of the first row of each kind."""
    first = list(_RESIDUALS).index("without_transpose")
    if row == (first if differs else 0):
        return "must differ: smallest" if differs else "identity: largest"
    return None


def exponents(table: Any) -> Any:
    """Draw step lengths against s, each over its own at s = 1."""
    figure, ax = style.new_figure(width=7.2, height=4.6)
    rules = [rule for rule in _NAMES if rule in set(table["arm"])]
    for place, rule in enumerate(rules):
        part = select(table, arm=rule)
        s, sizes = np.unique(part["s"]), by_seed(part, "s").mean(axis=1)
        own = look(rule)
        slope = measures.exponent(part, "s").value
        every = _spaced(rules, place, slope)
        ax.plot(s, sizes / sizes[np.argmin(np.abs(s - 1))], color=own.colour, ls=own.linestyle,
                marker=own.marker, ms=8, markevery=every, mec="white", mew=0.6, lw=2,
                label=f"{name(rule)}: exponent {round(slope, 2) + 0.0:.2f}")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="scale s of the coordinates w̃ = s w",
           ylabel="length of the step in w (1 at s = 1)")  # fmt: skip
    style.note(ax, f"mean over n = {table['seed'].nunique()} random networks; exponents fitted")
    style.legend(ax, loc="lower left")
    return figure


def _spaced(rules: list[str], place: int, slope: float) -> Any:
    """Return where markers go, so that lines on top of each other show in turn."""
    if slope < -1.5:
        return 1
    return ((place - 1) % 2, 2) if slope < -0.5 else ((len(rules) - 1 - place) % 4, 4)


def kl(table: Any) -> Any:
    """Draw the excess of KL over its quadratic form against h."""
    figure, ax = style.new_figure(width=6.2, height=4.2)
    part = select(table, quantity="kl_excess")
    h, excess = np.unique(part["shrink"]), np.abs(by_seed(part, "shrink"))
    ax.plot(h, excess, color="#9aa7b5", lw=0.9, zorder=1.8)
    ax.plot([], [], color="#9aa7b5", lw=0.9, label="each random model")
    own = style.series(0)
    middle = np.median(excess, axis=1)
    ax.plot(h, middle, color=own.colour, marker=own.marker, ms=8, lw=2, label="median")
    style.reference(ax, h, middle[-1] * h / h[-1], "proportional to h", kind="derived")
    ax.set(xscale="log", yscale="log", xlabel="size h of the change",
           ylabel="| KL / (½ h² dᵀF d) − 1 |")  # fmt: skip
    slope = measures.exponent(part, "shrink")
    style.note(ax, f"n = {excess.shape[1]} models; fitted order {slope.value:.3f}")
    style.legend(ax, loc="upper left")
    return figure


def expansion(table: Any) -> Any:
    """Draw the remainders of the two expansions against h."""
    figure, ax = style.new_figure(width=6.2, height=4.2)
    texts = {"slide": "f + J dx + dxᵀH dx, as on the slide", "half": "f + J dx + ½ dxᵀH dx"}
    for place, (arm, text) in enumerate(texts.items()):
        part = select(table, arm=arm, quantity="remainder")
        h, left = np.unique(part["shrink"]), np.median(by_seed(part, "shrink"), axis=1)
        order, own = measures.exponent(part, "shrink").value, style.series(place)
        ax.plot(h, left, color=own.colour, ls=own.linestyle, marker=own.marker, ms=8, lw=2,
                label=f"{text}: order {order:.2f}")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="size h of dx", ylabel="|f(x + dx) − expansion|")
    ax.set_xticks(h, [f"{one:g}" for one in h])
    ax.minorticks_off()
    style.note(ax, f"median of n = {part['seed'].nunique()} random networks")
    style.legend(ax, loc="upper left")
    return figure
