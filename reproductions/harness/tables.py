"""The wall between computing and judging: one tidy table per experiment, in one parquet file.

A row is one number: what was measured (`quantity`, with its unit), for whom (`arm`, `seed` and the
factor columns), when (`step`), which of several (`index`), and whether the number can be trusted
(`status`). Units, provenance and the version of this schema ride inside the file. Building and
writing need numpy and pyarrow; pandas is imported only by those who read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reproductions.harness.columns import (
    COLUMNS,
    OK,
    factor,
    refuse_unexplained,
    spread,
    text,
    to_arrow,
    whole,
)
from reproductions.harness.errors import UserError, nearest
from reproductions.harness.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
_COUNTS = ("seed", "step", "index")
_KEY = b"reproductions"


class Rows:
    """Collect the rows of one experiment.

    Args:
        units: quantity -> unit ("1" for a pure number); only declared quantities may be added.
    """

    def __init__(self, units: Mapping[str, str]):
        self.units = dict(units)
        self.parts: list[dict[str, np.ndarray]] = []

    def __len__(self) -> int:
        return sum(part["value"].size for part in self.parts)

    def add(
        self,
        *,
        arm: str | Sequence[str],
        quantity: str,
        value: Any,
        seed: Any = 0,
        step: Any = 0,
        index: Any = 0,
        status: str | Sequence[str] = OK,
        **factors: Any,
    ) -> None:
        """Add one row, or as many as the arguments broadcast to.

        Args:
            arm: what is compared: a method or a variant of it; a sequence broadcasts like numpy.
            quantity: a name declared in `units`.
            value: the numbers; any shape, all other arguments broadcast against it.
            seed, step, index: whole numbers; `index` tells apart members of one vector.
            status: "ok", or the reason why a value is not a result ("diverged: ...").
            factors: further columns (numbers or text), such as lr= or width=.

        Raises:
            ValueError: undeclared quantity, a non-finite value that claims to be ok, a seed, step
                or index that is not whole, or shapes that do not broadcast.
        """
        if quantity not in self.units:
            raise ValueError(f"quantity {quantity!r} has no unit{nearest(quantity, self.units)}")
        columns = {"arm": text("arm", arm), "quantity": text("quantity", quantity)}
        columns["value"] = np.asarray(value, dtype=np.float64)
        columns["status"] = text("status", status)
        for name, numbers in zip(_COUNTS, (seed, step, index), strict=True):
            columns[name] = whole(name, numbers)
        columns.update({name: factor(name, levels) for name, levels in factors.items()})
        part = spread(quantity, columns)
        refuse_unexplained(part)
        if part["value"].size:
            self.parts.append(part)

    def extend(self, other: Rows) -> None:
        """Append the rows of another collection; a quantity keeps one unit."""
        for quantity, unit in other.units.items():
            if self.units.setdefault(quantity, unit) != unit:
                raise ValueError(f"{quantity} is in {self.units[quantity]!r} and in {unit!r}")
        self.parts.extend(other.parts)


def nothing(reason: str) -> Rows:
    """Return the rows of an experiment without data: one, of no value, whose status is the reason."""
    rows = Rows({"measured": "1"})
    rows.add(arm="none", quantity="measured", value=np.nan, status=reason)
    return rows


def unavailable(data: Mapping[str, Any] | None) -> str | None:
    """Return why provenance's data set was not there when the table was made; None if it was."""
    missing = data and data.get("missing")
    return f"data not available: {data['name']}: {missing}" if data and missing else None


def write_table(rows: Rows, path: Path | str, provenance: dict) -> None:
    """Write rows, their units and their provenance as one parquet file, atomically."""
    import pyarrow.parquet as pq

    if not len(rows):
        raise ValueError(f"{Path(path).stem}: the experiment returned no rows")
    about = {"schema": SCHEMA_VERSION, "units": rows.units, "provenance": provenance}
    header = json.dumps(about, ensure_ascii=False, allow_nan=False)
    table = to_arrow(rows.parts).replace_schema_metadata({_KEY: header.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table; `attrs` holds its `file` and `units`.

    Raises:
        UserError: the file is absent, cut short or damaged, empty, of another schema version, or
            lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = _about(path)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise UserError(f"the table has no column {missing[0]!r}; {_REMAKE}", file=path)
    if not table.num_rows:
        raise UserError(f"the table is empty; {_REMAKE}", file=path)
    frame = table.to_pandas()
    frame.attrs = {"file": str(path), "units": about["units"]}
    return frame


def read_provenance(path: Path | str) -> dict:
    """Read how a table came about, without reading the table."""
    return _about(path)["provenance"]


_REMAKE = "delete the file and run its experiment again"


def _damaged(path: Path | str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"cut short or damaged ({reason}); {_REMAKE}", file=path)


def _about(path: Path | str) -> dict:
    """Read and check what a table says about itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise UserError("there is no such table; run its experiment first", file=path)
    try:
        metadata = pq.read_metadata(path).metadata or {}
        about = json.loads(metadata.get(_KEY, b"null"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(about, dict):
        raise UserError(f"not a table of this suite; {_REMAKE}", file=path)
    if about.get("schema") != SCHEMA_VERSION:
        raise UserError(
            f"written with schema version {about.get('schema')}, this is version"
            f" {SCHEMA_VERSION}; {_REMAKE}",
            file=path,
        )
    return about


def read_points(path: Path | str) -> pd.DataFrame:
    """Read points digitised from a paper's figure: CSV below '#' lines that say how.

    The '#' lines are kept in `attrs["notes"]`.
    """
    import pandas as pd

    try:
        text = Path(path).read_text(encoding="utf-8")
        points = pd.read_csv(path, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise UserError("there is no such file of digitised points", file=path) from None
    except (OSError, ValueError) as error:
        raise UserError(f"not readable as digitised points: {error}", file=path) from error
    if points.empty:
        raise UserError("holds no points", file=path)
    gaps = points.columns[points.isna().any()]
    if len(gaps):
        raise UserError("has a point without a value", file=path, key=str(gaps[0]))
    notes = [line.lstrip("# ").rstrip() for line in text.splitlines() if line.startswith("#")]
    points.attrs = {"file": str(path), "notes": notes}
    return points


def select(table: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    """Return the rows whose columns have the given values, all of them.

    Args:
        equal: column=value, or column=[values] for any of several; numbers match to 1e-9.

    Raises:
        UserError: no such column, or no row has that value; says which there are.
    """
    keep = np.ones(len(table), dtype=bool)
    for column, wanted in equal.items():
        if column not in table:
            known = nearest(column, table.columns)
            raise UserError(f"no such column{known}", file=table.attrs.get("file"), key=column)
        keep_before, keep = keep, keep & _matches(table[column], wanted)
        if not keep.any():
            there = table[column][keep_before].drop_duplicates().head(12).tolist()
            raise UserError(
                f"no rows with {_said(equal, column)}; there {column} is {_shown(there)}",
                file=table.attrs.get("file"),
                key=column,
            )
    return table[keep]


def _matches(column: pd.Series, wanted: Any) -> np.ndarray:
    several = [wanted] if isinstance(wanted, str) or not np.ndim(wanted) else list(wanted)
    values = column.to_numpy()
    if values.dtype.kind == "f":
        return np.isclose(values[:, None], np.asarray(several, float), rtol=1e-9, atol=0).any(1)
    return column.isin(several).to_numpy()


def _said(equal: Mapping[str, Any], last: str) -> str:
    names = list(equal)
    return ", ".join(f"{name}={equal[name]!r}" for name in names[: names.index(last) + 1])


def _shown(values: Sequence[Any]) -> str:
    return ", ".join(map(repr, values)) + (", ..." if len(values) == 12 else "")


def by_seed(table: pd.DataFrame, *levels: str) -> np.ndarray:
    """Arrange values by level and seed for the statistics.

    Each axis is in ascending order, as `np.unique(table[level])`; seeds come last.

    Args:
        table: rows of one quantity, one row for each combination of levels and seed.
        levels: columns that become the leading axes, such as "step" or "lr".

    Returns:
        Array (*levels, seeds); not finite where the row's status is not ok.

    Raises:
        ValueError: two rows, or none, for a combination.
    """
    axes = [*levels, "seed"]
    pairs = [np.unique(table[name].to_numpy(), return_inverse=True) for name in axes]
    shape = tuple(names.size for names, _ in pairs)
    flat = np.ravel_multi_index([codes for _, codes in pairs], shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape)))
    if (counts != 1).any():
        cell = np.unravel_index(int(np.argmax(counts != 1)), shape)
        where = ", ".join(
            f"{name}={names[at]}" for name, (names, _), at in zip(axes, pairs, cell, strict=True)
        )
        raise ValueError(f"{counts[counts != 1][0]} rows instead of one for {where}")
    values = np.where(table["status"] == OK, table["value"].to_numpy(), np.nan)
    result = np.empty(counts.size)
    result[flat] = values
    return result.reshape(shape)
