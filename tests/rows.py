"""What the tests of rooms share: small synthetic data, and rows as the figures' side reads them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from reproductions.harness.dataset_synthetic import synthetic
from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows, read_table, write_table


def quiet(*_: object) -> None:
    """Take progress and say nothing."""


def synthetic_mnist(images: int | None = None) -> Dataset:
    """Return the synthetic set, or its first images of each part."""
    arrays = synthetic("synthetic_mnist")
    parts = [part[:images] for part in arrays]
    return Dataset("synthetic_mnist", *parts, arrays.digest(), "made", "none", True)


def as_table(rows: Rows) -> Any:
    """Write rows as an experiment's table and read it back."""
    with tempfile.TemporaryDirectory() as folder:
        write_table(rows, Path(folder) / "table.parquet", {})
        return read_table(Path(folder) / "table.parquet")
