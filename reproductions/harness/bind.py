"""Hold a value from YAML against an annotation and convert it to that type."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reproductions.harness.errors import UserError
from reproductions.harness.yaml_files import as_number

Convert = Callable[[Any, str], Any]


def bind(
    value: Any,
    annotation: ast.expr | str | None,
    file: Path | str,
    key: str,
    source: Path | str | None = None,
) -> Any:
    """Return a value as its annotation's type.

    Whole numbers become float and lists tuple where the annotation says so; nothing else is
    converted, and true is no number.

    Args:
        annotation: int, float, str, bool, list[...], tuple[...], dict[str, ...], Literal[...],
            or X | None.
        file: the file of the value, for messages.
        key: its key there.
        source: the file of the annotation, for messages.

    Raises:
        UserError: the value is of another type, or the annotation is not one of these.
    """
    node = ast.parse(annotation, mode="eval").body if isinstance(annotation, str) else annotation
    try:
        return _convert(value, node, key)
    except _Mismatch as error:
        raise UserError(error.message, file=file, key=error.key) from None
    except _Unknown as error:
        known = "int, float, str, bool, list[], tuple[], dict[str, ], Literal[], X | None"
        message = f"the annotation {error} is not one of: {known}"
        raise UserError(message, file=source or file, key=key.rpartition(".")[2]) from None


class _Mismatch(Exception):
    def __init__(self, message: str, key: str):
        self.message, self.key = message, key


class _Unknown(Exception):
    pass


def _convert(value: Any, node: ast.expr | None, key: str) -> Any:
    """Convert by the annotation's form: a name, a generic, or a union."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Name) and node.id in _SCALARS:
        return _SCALARS[node.id](value, key)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(value, _members(node), key)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        name = node.value.id
        if name == "tuple":
            return _tuple(value, inner, key)
        if name in ("list", "Sequence") and len(inner) == 1:
            return [_convert(item, inner[0], f"{key}[{i}]") for i, item in _items(value, key)]
        if name == "dict" and len(inner) == 2:
            return _dict(value, inner, key)
        if name == "Literal":
            return _literal(value, inner, key)
    raise _Unknown("is missing" if node is None else repr(ast.unparse(node)))


def _members(node: ast.expr) -> list[ast.expr]:
    """Return the members of A | B | C."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    return [node]


def _union(value: Any, members: list[ast.expr], key: str) -> Any:
    """Try the members in order; the first one's complaint is told."""
    nothing = [node for node in members if isinstance(node, ast.Constant) and node.value is None]
    if value is None and nothing:
        return None
    failures = []
    for node in members:
        if node not in nothing:
            try:
                return _convert(value, node, key)
            except _Mismatch as failure:
                failures.append(failure)
    raise failures[0] if failures else _Unknown("'None'")


def _items(value: Any, key: str) -> list[tuple[int, Any]]:
    if not isinstance(value, list):
        raise _Mismatch(f"must be a list, got {value!r}", key)
    return list(enumerate(value))


def _tuple(value: Any, inner: list[ast.expr], key: str) -> tuple:
    """Convert to tuple[T, ...] or to a tuple of fixed length."""
    items = _items(value, key)
    if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
        return tuple(_convert(item, inner[0], f"{key}[{i}]") for i, item in items)
    if len(items) != len(inner):
        raise _Mismatch(f"must be a list of {len(inner)}, got {value!r}", key)
    return tuple(
        _convert(item, node, f"{key}[{i}]") for (i, item), node in zip(items, inner, strict=True)
    )


def _dict(value: Any, inner: list[ast.expr], key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Mismatch(f"must be keys and values, got {value!r}", key)
    return {_text(k, key): _convert(item, inner[1], f"{key}.{k}") for k, item in value.items()}


def _literal(value: Any, inner: list[ast.expr], key: str) -> Any:
    choices = [node.value for node in inner if isinstance(node, ast.Constant)]
    if value not in choices or type(value) is not type(choices[choices.index(value)]):
        raise _Mismatch(f"must be one of {', '.join(map(repr, choices))}, got {value!r}", key)
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _Mismatch(f"must be text, got {value!r} (put it in quotes)", key)
    return value


def _flag(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise _Mismatch(f"must be true or false, got {value!r}", key)
    return value


def _whole(value: Any, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _Mismatch(f"must be a whole number, got {value!r}{_advice(value)}", key)


def _number(value: Any, key: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond all floats
            number = math.inf
        if math.isfinite(number):
            return number
        raise _Mismatch(f"must be a finite number, got {value!r}", key)
    raise _Mismatch(f"must be a number, got {value!r}{_advice(value)}", key)


def _advice(value: Any) -> str:
    """Say how to write text that was meant as a number."""
    number = as_number(value) if isinstance(value, str) else None
    return f", which YAML reads as text: write {number}" if number else ""


_SCALARS: dict[str, Convert] = {"int": _whole, "float": _number, "str": _text, "bool": _flag}
