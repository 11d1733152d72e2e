"""Numbers on axes as plain text: typesetting each as mathematics costs seconds a room."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogFormatterMathtext, ScalarFormatter

_POWER = re.compile(r"\$\\mathdefault\{(?:(.+?)\\times)?(-?)(\d+)\^\{([-\d]+)\}\}\$")
_NUMBER = re.compile(r"\$\\mathdefault\{([-−\d.]+)\}\$")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class PlainNumbers(Formatter):
    """Say what matplotlib's own formatter says, without its mathematics."""

    def __init__(self, formatter: LogFormatterMathtext | ScalarFormatter) -> None:
        self._formatter = formatter

    def set_locs(self, locs: list[float]) -> None:
        """Pass on where the ticks are; which of them get a label depends on it."""
        self._formatter.set_locs(locs)

    def get_offset(self) -> str:
        """Return the factor of all labels, which stands once beside the axis."""
        return self._formatter.get_offset()

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain_number(self._formatter(x, pos))


def plain_number(text: str) -> str:
    """Turn matplotlib's mathematics of a number, such as 6 times 10^{-1}, into plain text."""
    if number := _NUMBER.fullmatch(text):
        return number[1]
    found = _POWER.fullmatch(text)
    if not found:
        return text
    factor, sign, base, power = found.groups()
    return f"{factor + ' × ' if factor else ''}{sign}{base}{power.translate(_RAISED)}"


def write_numbers_plainly(figure: Figure) -> None:
    """Replace matplotlib's own formatters on every axis of a figure."""
    known = (LogFormatterMathtext, ScalarFormatter)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(major := axis.get_major_formatter(), known):
                axis.set_major_formatter(PlainNumbers(major))
            if isinstance(minor := axis.get_minor_formatter(), known):
                axis.set_minor_formatter(PlainNumbers(minor))
