"""Say verdicts, numbers, expectations and costs in words that a reader understands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

VERDICTS = ("reproduced", "refuted", "inconclusive", "not tested")
SYMBOLS = {"reproduced": "✓", "refuted": "✗", "inconclusive": "?", "not tested": "–"}
MEANINGS = {
    "reproduced": "the whole interval lies in the accepted range",
    "refuted": "the whole interval lies outside the accepted range",
    "inconclusive": "the interval straddles a limit; the reason says what would decide",
    "not tested": "not judged at this scale, or not measured; the reason says why",
}
READ_AS = {
    "stated": "stated in the text",
    "tabulated": "from a table",
    "digitised": "read off a figure",
    "derived": "derived from the formulas",
}
NOTHING = "—"


def number(value: Any, width: float | None = None) -> str:
    """Write a number with as many digits as its interval's width supports (four if unknown)."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e7:
        return f"{value:.0f}"
    digits = 4
    if width and value:
        gap = math.log10(abs(value)) - math.log10(width)
        digits = min(max(math.floor(gap) + 3, 3), 12)
    if 1e-4 <= abs(value) < 1e7:
        places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def interval_width(bounds: Sequence[float] | None) -> float | None:
    """Return the width of an interval, None where it has none."""
    if not bounds or None in bounds:
        return None
    return abs(bounds[1] - bounds[0]) or None


def measured(value: Any, bounds: Sequence[float] | None) -> str:
    """Write a measured number; one that is known exactly keeps ten digits."""
    return number(value, interval_width(bounds) or _finer(value))


def interval(bounds: Sequence[float] | None) -> str:
    """Write an interval; an empty text for one without width."""
    width = interval_width(bounds)
    if width is None or bounds is None:
        return ""
    return f"[{number(bounds[0], width)}, {number(bounds[1], width)}]"


def unit(text: Any) -> str:
    """Return a unit to put behind a number; a pure number has none."""
    return "" if text in (None, "", "1", 1) else f" {text}"


def expected(expect: Any, units: Any = None) -> str:
    """Say what a claim expects, from its comparison."""
    if not isinstance(expect, Mapping):
        return NOTHING if expect is None else str(expect)
    op, tail = expect.get("op"), unit(units)
    value = expect.get("value")
    value = f"{value:.12g}" if isinstance(value, int | float) else NOTHING
    if op == "approx":
        if expect.get("abs") is not None:
            return f"{value} ± {number(expect['abs'])}{tail}"
        return f"{value}{tail} within {number(100 * float(expect.get('rel') or 0))} %"
    if op == "between":
        return f"between {number(expect.get('low'))} and {number(expect.get('high'))}{tail}"
    words = {"at_least": "at least", "at_most": "at most", "equals": "exactly"}
    if op in words:
        return f"{words[str(op)]} {value}{tail}"
    if op in ("increasing", "decreasing"):
        return str(op)
    return ", ".join(f"{key} {item}" for key, item in expect.items())


def _finer(value: Any) -> float | None:
    """Return a width that keeps ten digits of a value known exactly."""
    return abs(value) * 1.5e-7 if isinstance(value, int | float) and value else None


def sample(count: Any) -> str:
    """Say on how many seeds a number rests."""
    return "exact" if count in (None, 0) else f"n = {count}"


def duration(seconds: Any) -> str:
    """Write seconds for people."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return NOTHING
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def seeds(value: Any) -> str:
    """Say which or how many seeds."""
    if value is None or value == []:
        return "none (no randomness)"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {seeds(item)}" for key, item in sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} ({value[0]} to {value[-1]})" if len(value) > 1 else str(value[0])
    return str(value)


def dataset(value: Any) -> str:
    """Say which data; a set made by machine is said to be synthetic."""
    if value in (None, "", {}, [], "none"):
        return "none (no data set)"
    if isinstance(value, str):
        return value if "synthetic" not in value or " " in value else f"{value} (synthetic)"
    if isinstance(value, Mapping) and "name" in value:
        name = dataset(str(value["name"]))
        return f"{name} (synthetic)" if value.get("synthetic") and not is_synthetic(name) else name
    if isinstance(value, Mapping):
        return _each(value[key] for key in sorted(value))
    return _each(value) if isinstance(value, Sequence) else str(value)


def _each(values: Any) -> str:
    """Name every different data set once."""
    known = sorted({dataset(item) for item in values if item not in (None, "", {}, [])})
    return ", ".join(known) or dataset(None)


def digest(text: Any) -> str:
    """Shorten long hexadecimal digests to what tells them apart."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1", str(text or NOTHING))


def is_synthetic(text: str) -> bool:
    """Say whether a description of data admits that it is synthetic."""
    return "synthetic" in text.lower()


def count_verdicts(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the entries of each verdict, in the order of VERDICTS."""
    return {name: sum(entry.get("verdict") == name for entry in entries) for name in VERDICTS}
