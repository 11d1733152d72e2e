"""Say what is wrong with a claim in words its author can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproductions.harness.errors import UserError, nearest
from reproductions.harness.yaml_files import as_number

WANTED = {
    "id": "a short name, unique in the file",
    "says": "what the paper claims, in our words",
    "where": "the place in the paper",
    "read_as": "stated, tabulated, digitised or derived",
    "metric": "a metric that the room's figures.py measures",
    "unit": 'the unit, "1" for a pure number',
    "expect": "a comparison such as {op: at_most, value: 0.0}",
    "because": "why this comparison and this tolerance",
    "scales": "the scales it is judged at, such as [laptop, full]",
}


def claim_error(
    file: Path | str,
    name: str,
    problems: Sequence[Mapping[str, Any]],
    fields: Mapping[str, Any],
) -> UserError:
    """Turn pydantic's list of problems with one claim into one error.

    Args:
        file: the claims file.
        name: the claim's id, or its place in the list.
        problems: `ValidationError.errors()`.
        fields: comparison name, or "" for the claim itself -> its keys.
    """
    misspelt_first = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    said = [_say(problem, fields) for problem in misspelt_first]
    key, message = said[0]
    more = f" (and {len(said) - 1} more: {', '.join(at for at, _ in said[1:])})" if said[1:] else ""
    return UserError(message + more, file=file, key=f"claim {name}: {key}")


def _say(problem: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key at fault and what is wrong with it."""
    place = [part for part in problem["loc"] if part not in fields]
    operation = next((part for part in problem["loc"] if part in fields), "")
    key = ".".join(str(part) for part in place)
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "missing":
        return key, f"is missing: {WANTED.get(key, f'{operation} needs it')}"
    if kind == "extra_forbidden":
        return key, f"unknown key{nearest(str(place[-1]), fields[operation])}"
    if kind == "union_tag_invalid":
        tag = context.get("tag", "")
        return (
            f"{key}.op",
            f"unknown comparison {tag!r}{nearest(tag, [f for f in fields if f])}",
        )
    if kind == "union_tag_not_found":
        return f"{key}.op", f"is missing: one of {', '.join(f for f in fields if f)}"
    if kind == "literal_error":
        return key, f"{given!r} is not {context['expected']}"
    plain = str(context.get("error") or problem["msg"]).replace("Input should", "should")
    return key, _of_type(kind, given) or plain


def _of_type(kind: str, given: Any) -> str | None:
    """Explain a value of the wrong type."""
    if kind == "float_type" and isinstance(given, str):
        better = as_number(given)
        hint = f"; YAML reads {given} as text, write {better}" if better else ""
        return f"must be a number, got the text {given!r}{hint}"
    if kind == "float_type":
        return f"must be a number, got {given!r}"
    if kind == "string_type":
        return f'must be text, got {given!r}: put it in quotes ("{given}")'
    if kind == "string_pattern_mismatch":
        return f"must be letters, digits, '-', '_' and '.', got {given!r}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "list_type":
        return f"must be a list, got {given!r}: write [{given}]"
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return f"must be {WANTED['expect']}, got {given!r}"
    return None
