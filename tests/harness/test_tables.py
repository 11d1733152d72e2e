"""The table is the wall: what goes in comes out, and a damaged file is said to be damaged."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reproductions.harness.errors import UserError
from reproductions.harness.tables import (
    COLUMNS,
    Rows,
    by_seed,
    nothing,
    read_points,
    read_provenance,
    read_table,
    select,
    unavailable,
    write_table,
)


def grid() -> Rows:
    rows = Rows({"loss": "nat", "x": "1"})
    values = np.arange(24.0).reshape(3, 4, 2)
    rows.add(
        arm=["adam", "amsgrad"],
        quantity="loss",
        value=values,
        seed=[[3], [1], [2], [0]],
        step=np.arange(3)[:, None, None] * 10,
        lr=[0.1, 0.01],
    )
    return rows


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "online.parquet"
    write_table(grid(), target, {"commit": "abc"})
    return target


def rewritten(path, change) -> None:
    """Replace a table by a changed one, metadata kept."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def test_rows_come_back_as_they_went_in(path):
    table = read_table(path)
    assert list(table.columns) == [*COLUMNS, "lr"]
    assert len(table) == len(grid()) == 24
    one = table[(table.arm == "amsgrad") & (table.seed == 1) & (table.step == 20)]
    assert one.value.item() == 19.0  # values[2, 1, 1]
    assert one.lr.item() == 0.01
    assert table.attrs == {"file": str(path), "units": {"loss": "nat", "x": "1"}}


def test_provenance_rides_inside_the_file(path):
    assert read_provenance(path) == {"commit": "abc"}


def test_the_same_rows_give_the_same_bytes(path, tmp_path):
    write_table(grid(), tmp_path / "again.parquet", {"commit": "abc"})
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_a_factor_is_null_where_a_row_has_none(tmp_path):
    rows = Rows({"x": "1"})
    rows.add(arm="a", quantity="x", value=1.0, lr=1, mode="fast", ours=True)
    rows.add(arm="b", quantity="x", value=[2, 3], lr=0.5)
    write_table(rows, tmp_path / "t.parquet", {})
    table = read_table(tmp_path / "t.parquet")
    assert table.lr.tolist() == [1.0, 0.5, 0.5]
    assert table["mode"].isna().tolist() == [False, True, True]
    assert table["ours"].tolist() == [True, None, None]


def test_extend_joins_rows_and_units():
    first, second = Rows({"x": "1"}), Rows({"y": "s"})
    first.add(arm="a", quantity="x", value=1)
    second.add(arm="a", quantity="y", value=[2, 3])
    first.extend(second)
    assert len(first) == 3 and first.units == {"x": "1", "y": "s"}


def test_a_quantity_keeps_one_unit():
    with pytest.raises(ValueError, match="x is in 's' and in 'ms'"):
        Rows({"x": "s"}).extend(Rows({"x": "ms"}))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"quantity": "los", "value": 1}, "'los' has no unit .did you mean 'loss'"),
        ({"quantity": "loss", "value": np.nan}, "not finite although their status is ok"),
        ({"quantity": "loss", "value": [1, np.inf], "seed": [4, 5]}, "arm a, seed 5, step 0: inf"),
        ({"quantity": "loss", "value": 1, "seed": 0.5}, "seed must be whole numbers"),
        ({"quantity": "loss", "value": [1, 2], "step": [1, 2, 3]}, r"step \(3,\)"),
        ({"quantity": "loss", "value": 1, "lr": None}, "factor lr must be numbers"),
        ({"quantity": "loss", "value": 1, "status": 1}, "status must be text"),
    ],
)
def test_a_row_that_cannot_be_is_refused(row, message):
    rows = Rows({"loss": "nat"})
    with pytest.raises(ValueError, match=message):
        rows.add(arm="a", **row)
    assert len(rows) == 0


def test_a_factor_has_one_type(tmp_path):
    rows = Rows({"x": "1"})
    rows.add(arm="a", quantity="x", value=1, lr=0.1)
    rows.add(arm="a", quantity="x", value=1, lr="small")
    with pytest.raises(ValueError, match="'lr' is double and string"):
        write_table(rows, tmp_path / "t.parquet", {})
    assert not list(tmp_path.iterdir())


def test_a_diverged_member_is_a_row_with_a_reason(tmp_path):
    rows = Rows({"x": "1"})
    rows.add(arm="a", quantity="x", value=[1, np.nan], seed=[0, 1], status=["ok", "diverged"])
    write_table(rows, tmp_path / "t.parquet", {})
    table = read_table(tmp_path / "t.parquet")
    assert table.status.tolist() == ["ok", "diverged"]
    assert np.isnan(by_seed(table)[1])


def test_a_table_without_data_holds_the_reason_alone(tmp_path):
    reason = unavailable({"name": "svhn", "missing": "no host answers"})
    assert reason == "data not available: svhn: no host answers"
    write_table(nothing(reason), tmp_path / "empty.parquet", {})
    table = read_table(tmp_path / "empty.parquet")
    assert table.status.tolist() == [reason] and table.value.isna().all()


@pytest.mark.parametrize("data", [None, {}, {"name": "mnist"}, {"name": "mnist", "missing": None}])
def test_data_that_are_there_are_not_missed(data):
    assert unavailable(data) is None


def test_an_experiment_without_rows_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="online: the experiment returned no rows"):
        write_table(Rows({}), tmp_path / "online.parquet", {})


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -300])
def test_a_table_cut_short_is_an_error_that_names_it(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_table, read_provenance):
        with pytest.raises(UserError, match="online.parquet: cut short or damaged"):
            read(path)


def test_a_flipped_bit_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[60] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UserError, match="online.parquet: cut short or damaged"):
        read_table(path)


def test_a_missing_column_is_named(path):
    rewritten(path, lambda table: table.drop_columns(["step"]))
    with pytest.raises(UserError, match="online.parquet: the table has no column 'step'"):
        read_table(path)


def test_an_empty_table_is_an_error(path):
    rewritten(path, lambda table: table.slice(0, 0))
    with pytest.raises(UserError, match="online.parquet: the table is empty"):
        read_table(path)


def test_another_schema_version_is_an_error(path, monkeypatch):
    monkeypatch.setattr("reproductions.harness.tables.SCHEMA_VERSION", 2)
    with pytest.raises(UserError, match="schema version 1, this is version 2"):
        read_table(path)


def test_a_foreign_parquet_is_an_error(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(UserError, match="foreign.parquet: not a table of this suite"):
        read_table(tmp_path / "foreign.parquet")


def test_an_absent_table_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no such table"):
        read_table(tmp_path / "none.parquet")


def test_building_rows_imports_neither_pandas_nor_pyarrow():
    code = (
        "import sys; from reproductions.harness.tables import Rows\n"
        "rows = Rows({'x': '1'}); rows.add(arm='a', quantity='x', value=[1, 2], seed=[0, 1])\n"
        "assert not {'pandas', 'pyarrow', 'torch', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_select_takes_values_and_lists(path):
    table = read_table(path)
    assert len(select(table, arm="adam", step=[0, 20])) == 8
    assert len(select(table, lr=0.1 * (1 + 1e-12))) == 12
    assert select(table, arm="adam").attrs == table.attrs


def test_select_says_what_is_there(path):
    table = read_table(path)
    with pytest.raises(UserError, match=r"arm='adam', step=5; there step is 0, 10, 20"):
        select(table, arm="adam", step=5)
    with pytest.raises(UserError, match="online.parquet: stpe: no such column .*'step'"):
        select(table, stpe=5)


def test_by_seed_sorts_levels_and_seeds(path):
    table = select(read_table(path), quantity="loss", arm="adam")
    expected = np.arange(24.0).reshape(3, 4, 2)[:, [3, 1, 2, 0], 0]
    np.testing.assert_array_equal(by_seed(table, "step"), expected)
    np.testing.assert_array_equal(by_seed(select(table, step=10)), expected[1])


def test_by_seed_takes_several_levels(path):
    assert by_seed(read_table(path), "arm", "step").shape == (2, 3, 4)


def test_by_seed_refuses_a_gap_and_a_second_row(path):
    table = select(read_table(path), arm="adam")
    with pytest.raises(ValueError, match="0 rows instead of one for step=0, seed=3"):
        by_seed(table.iloc[1:], "step")
    with pytest.raises(ValueError, match="3 rows instead of one for seed=0"):
        by_seed(table)


@given(st.permutations(range(24)))
def test_by_seed_does_not_depend_on_the_order_of_rows(order):
    rows = grid().parts[0]
    table = pd.DataFrame({name: rows[name] for name in rows})
    shuffled = table.iloc[list(order)]
    np.testing.assert_array_equal(by_seed(shuffled, "arm", "step"), by_seed(table, "arm", "step"))


def test_digitised_points_keep_their_notes(tmp_path):
    file = tmp_path / "fig1.csv"
    file.write_text("# Figure 1, left\n# error up to 1 px\ncurve,t,y\nAdam,1,0.5\nAdam,2,0.25\n")
    points = read_points(file)
    assert points.y.tolist() == [0.5, 0.25]
    assert points.attrs["notes"] == ["Figure 1, left", "error up to 1 px"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as digitised points"),
        ("# only notes\n", "not readable as digitised points"),
        ("t,y\n", "holds no points"),
        ("t,y\n1,\n", "y: has a point without a value"),
        ("t,y\n1,2\n1,2,3,4\n", "not readable as digitised points"),
    ],
)
def test_unusable_points_are_an_error_that_names_the_file(tmp_path, text, message):
    (tmp_path / "fig1.csv").write_text(text)
    with pytest.raises(UserError, match=f"fig1.csv: {message}"):
        read_points(tmp_path / "fig1.csv")


def test_absent_points_are_an_error(tmp_path):
    with pytest.raises(UserError, match="no such file of digitised points"):
        read_points(tmp_path / "fig1.csv")
