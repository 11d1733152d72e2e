"""The columns of the tidy schema and their way into Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("arm", "seed", "step", "quantity", "index", "value", "status")
OK = "ok"
_ARROW = {"i": "int64", "u": "int64", "f": "double", "b": "bool", "O": "string"}


def whole(name: str, numbers: Any) -> np.ndarray:
    """Return whole numbers as int64; anything else is an error that names the column."""
    array = np.asarray(numbers)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, got {array.dtype}")
    return array.astype(np.int64)


def spread(quantity: str, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Broadcast columns to one shape and flatten them."""
    try:
        arrays = np.broadcast_arrays(*columns.values())
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in columns.items())
        raise ValueError(f"{quantity}: these shapes do not broadcast: {shapes}") from None
    return {name: array.ravel() for name, array in zip(columns, arrays, strict=True)}


def refuse_unexplained(part: dict[str, np.ndarray]) -> None:
    """Raise when a value is not finite although its status says ok."""
    bad = np.flatnonzero(~np.isfinite(part["value"]))
    bad = bad[part["status"][bad] == OK]
    if bad.size:
        one = {name: array[bad[0]] for name, array in part.items()}
        raise ValueError(
            f"{bad.size} value(s) of {one['quantity']} are not finite although their status is ok,"
            f" first: arm {one['arm']}, seed {one['seed']}, step {one['step']}: {one['value']};"
            " give such rows a status that says what happened"
        )


def text(name: str, words: Any) -> np.ndarray:
    """Return text as objects, so that many rows share one string."""
    array = np.asarray(words)
    if array.dtype.kind != "U":
        raise ValueError(f"{name} must be text, got {array.dtype}")
    return array.astype(object)


def factor(name: str, levels: Any) -> np.ndarray:
    """Return a factor's levels: numbers, truth values or text."""
    array = np.asarray(levels)
    if array.dtype.kind == "U":
        return text(name, array)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"factor {name} must be numbers, truth values or text: {array.dtype}")
    return array


def to_arrow(parts: Sequence[dict[str, np.ndarray]]) -> pa.Table:
    """Join parts into one Arrow table; a factor that a part does not have is null there.

    Args:
        parts: columns by name, flat arrays of one length in each part.
    """
    import pyarrow as pa

    factors = sorted({name for part in parts for name in part} - set(COLUMNS))
    return pa.table({name: _column(name, parts) for name in (*COLUMNS, *factors)})


def _column(name: str, parts: Sequence[dict[str, np.ndarray]]) -> pa.ChunkedArray:
    """Join one column over all parts, with null where a part has no such factor."""
    import pyarrow as pa

    kinds = {_ARROW[part[name].dtype.kind] for part in parts if name in part}
    if len(kinds) > 1 and kinds != {"int64", "double"}:
        raise ValueError(f"factor {name!r} is {' and '.join(sorted(kinds))}: give it one type")
    kind = pa.type_for_alias("double" if "double" in kinds else kinds.pop())
    chunks = [
        pa.array(part[name], type=kind) if name in part else pa.nulls(part["value"].size, kind)
        for part in parts
    ]
    return pa.chunked_array(chunks, type=kind)
