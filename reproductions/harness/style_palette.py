"""One look per method in the whole report: a colour, a line style and a marker.

The colours were searched for by machine so that any two, and each and the grey of published values,
keep apart for readers with each kind of colour blindness; printed in grey, the marker (never shared
by two methods) and the line style still tell methods apart. To add a method, add one line here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Dashes = str | tuple[float, tuple[float, ...]]

SOLID: Dashes = "-"
DASHED: Dashes = (0.0, (5.0, 2.0))
DASHDOT: Dashes = (0.0, (6.0, 1.8, 1.4, 1.8))
DOTTED: Dashes = (0.0, (1.3, 1.5))
LONG: Dashes = (0.0, (10.0, 2.5))
TWO_DOTS: Dashes = (0.0, (6.0, 1.6, 1.2, 1.6, 1.2, 1.6))


class Look(NamedTuple):
    """How one method is drawn, everywhere."""

    colour: str
    linestyle: Dashes
    marker: str


PALETTE: dict[str, Look] = {
    "sgd": Look("#1a1a1a", SOLID, "X"),
    "momentum": Look("#784b68", DASHED, "<"),
    "adagrad": Look("#00ba42", LONG, "P"),
    "rmsprop": Look("#9294ff", DASHDOT, ">"),
    "adam": Look("#d6410b", SOLID, "o"),
    "amsgrad": Look("#0067b1", DASHED, "s"),
    "amsgrad_torch": Look("#4400ff", DASHDOT, "D"),
    "amsgrad_optax": Look("#860080", DOTTED, "^"),
    "adamnc": Look("#000b86", TWO_DOTS, "v"),
    "sign": Look("#dc9780", DOTTED, "h"),
    "normalised": Look("#ff00db", LONG, "p"),
    "newton": Look("#3f0040", DASHED, "*"),
    "damped_newton": Look("#8dc609", DASHDOT, r"$\spadesuit$"),
    "gauss_newton": Look("#f578c9", LONG, r"$\clubsuit$"),
    "saddle_free": Look("#b938fc", SOLID, "d"),
    "path_sgd": Look("#495433", DASHDOT, "H"),
    "teleport": Look("#690d00", TWO_DOTS, "8"),
}

LABELS: dict[str, str] = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "amsgrad_torch": "AMSGrad (torch's order)",
    "amsgrad_optax": "AMSGrad (optax's order)",
    "adamnc": "AdamNC",
    "sign": "Sign descent",
    "normalised": "Normalised descent",
    "newton": "Newton",
    "damped_newton": "Damped Newton",
    "gauss_newton": "Gauss-Newton",
    "saddle_free": "Saddle-free Newton",
    "path_sgd": "Path-SGD",
    "teleport": "Teleportation",
}

INK, MUTED, PUBLISHED = "#1f2328", "#57606a", "#8c8c8c"
_SERIES_COLOURS = ("#08306b", "#8a5a00", "#4a9b7f", "#c2569b", "#5b5b5b", "#8fb8de", "#e0a94a")
_SERIES_LINES = (SOLID, DASHED, DASHDOT, DOTTED, LONG, TWO_DOTS)
_SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")


def label(method: str) -> str:
    """Return a method's display name; any other name is returned as it is."""
    return LABELS.get(method, method)


def look(method: str) -> Look:
    """Return a method's look.

    Raises:
        ValueError: the method has no line in PALETTE.
    """
    if method not in PALETTE:
        raise ValueError(f"method {method!r} has no look (known: {', '.join(PALETTE)})")
    return PALETTE[method]


def series(index: int) -> Look:
    """Return a look for the index-th of several curves that are not methods (widths, rates)."""
    return Look(
        _SERIES_COLOURS[index % len(_SERIES_COLOURS)],
        _SERIES_LINES[index % len(_SERIES_LINES)],
        _SERIES_MARKERS[index % len(_SERIES_MARKERS)],
    )


def looks_for(names: Iterable[str]) -> dict[str, Look]:
    """Give each name its look: methods their own, everything else by order."""
    others = 0
    looks = {}
    for name in names:
        if name in PALETTE:
            looks[name] = PALETTE[name]
        else:
            looks[name] = series(others)
            others += 1
    return looks
