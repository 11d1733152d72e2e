"""Figures look the same everywhere, tell methods apart without colour, and keep their bytes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from reproductions.harness import style
from reproductions.harness.style_palette import LABELS, PUBLISHED
from reproductions.harness.style_ticks import plain_number, write_numbers_plainly

matplotlib = pytest.importorskip("matplotlib")

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


class Measured(NamedTuple):
    value: float
    low: float
    high: float
    n: int


def cielab(colour: str, matrix) -> np.ndarray:
    """Return a colour as seen, in CIELAB."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def curves(arms=("adam", "amsgrad"), seeds=6, steps=50) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"arm": arm, "seed": seed, "step": step, "value": 1 / step + rng.random() * 0.1,
         "status": "ok"}
        for arm in arms for seed in range(seeds) for step in range(1, steps + 1)
    )  # fmt: skip


def notes(ax) -> str:
    return " ".join(text.get_text().replace("\n", " ").replace("\u00a0", " ") for text in ax.texts)


def everything():
    """Return one figure with every kind of artist."""
    figure, axes = style.new_figure(2, 2)
    flat = axes.ravel()
    style.plot_curves(flat[0], curves(), xscale="log")
    style.reference(flat[0], [1, 10, 50], [1, 0.1, 0.02], method="adam", error=0.01)
    style.reference(flat[0], None, 0.2, "bound", kind="derived")
    values = np.arange(1200.0).reshape(30, 40)
    values[3, 4] = np.nan
    line = (np.linspace(0, 39, 5), np.linspace(0, 29, 5))
    style.phase_map(
        flat[1], np.arange(40), np.arange(30), values, label="x", boundaries={"exact": line}
    )
    style.forest(flat[2], {"adam": Measured(1, 0.5, 1.5, 8)}, reference=1.2, accepted=(0, 2))
    style.strip(flat[3], curves(steps=1))
    style.legend(figure)
    return figure


@pytest.mark.parametrize("vision", VISION)
def test_every_two_methods_and_the_published_grey_differ_in_colour(vision):
    seen = {name: cielab(look.colour, VISION[vision]) for name, look in style.PALETTE.items()}
    seen["published"] = cielab(PUBLISHED, VISION[vision])
    closest = min((np.linalg.norm(seen[a] - seen[b]), a, b) for a, b in combinations(seen, 2))
    assert closest[0] > 15, closest


def test_no_two_methods_share_a_marker_so_they_differ_in_grey():
    markers = [look.marker for look in style.PALETTE.values()]
    assert len(set(markers)) == len(markers)


def test_every_colour_shows_on_white():
    assert all(cielab(look.colour, np.eye(3))[0] < 76 for look in style.PALETTE.values())


def test_every_method_has_a_display_name():
    assert set(LABELS) == set(style.PALETTE)
    assert style.label("amsgrad") == "AMSGrad"
    assert style.label("width 25") == "width 25"


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="adamm"):
        style.look("adamm")


def test_series_that_are_not_methods_differ_from_each_other():
    assert len({style.series(index) for index in range(40)}) == 40


def test_importing_style_loads_no_drawing_library():
    code = "import sys, reproductions.harness.style; print('matplotlib' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "False", answer.stderr


def test_drawing_leaves_pyplot_without_figures():
    everything()
    import matplotlib.pyplot as pyplot

    assert pyplot.get_fignums() == []


def test_saved_figures_are_byte_stable_and_carry_no_dates(tmp_path):
    for folder in ("a", "b"):
        style.save(everything(), tmp_path / folder, "all", {"scale": "smoke"})
    for path in sorted((tmp_path / "a").iterdir()):
        content = path.read_bytes()
        assert content == (tmp_path / "b" / path.name).read_bytes(), path.name
        assert b"CreationDate" not in content and b"<dc:date>" not in content


def test_a_figure_saved_twice_has_the_same_bytes(tmp_path):
    figure = everything()
    first = [path.read_bytes() for path in style.save(figure, tmp_path, "all", {})]
    assert [path.read_bytes() for path in style.save(figure, tmp_path, "all", {})] == first


def test_save_leaves_five_files_and_nothing_else(tmp_path):
    paths = style.save(everything(), tmp_path, "all", {"caption": "c", "seeds": 6})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"all.{kind}" for kind in ("svg", "pdf", "png", "csv", "json")
    )
    meta = json.loads(paths[4].read_text())
    assert meta["caption"] == "c" and meta["name"] == "all" and len(meta["inches"]) == 2


def test_pdf_embeds_true_type_fonts(tmp_path):
    content = style.save(everything(), tmp_path, "all", {})[1].read_bytes()
    assert b"/Type3" not in content and b"/CIDFontType2" in content


def test_plotted_data_holds_what_is_drawn(tmp_path):
    style.save(everything(), tmp_path, "all", {})
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = {(row["panel"], row["artist"]) for row in rows}
    assert {("0", "line"), ("0", "band"), ("1", "cells"), ("1", "line"), ("2", "bar")} <= kinds
    adam = [row for row in rows if row["label"] == "Adam" and row["artist"] == "line"]
    wanted = curves().query("arm == 'adam'").groupby("step").value.mean()
    assert [float(row["y"]) for row in adam if row["panel"] == "0"] == pytest.approx(list(wanted))
    assert sum(row["artist"] == "cells" for row in rows) == 1200


def test_curves_print_n_and_say_what_the_band_is():
    _, axes = style.new_figure(1, 3, width=30)
    style.plot_curves(axes[0], curves(seeds=16))
    style.plot_curves(axes[1], curves(seeds=3))
    style.plot_curves(axes[2], curves(seeds=16), band="bootstrap", level=0.95)
    assert "n = 16 seeds; band: middle 90 % of seeds" in notes(axes[0])
    assert "n = 3 seeds; band: smallest to largest seed" in notes(axes[1])
    assert "95 % bootstrap interval of the mean" in notes(axes[2])


def test_one_seed_has_no_band():
    _, ax = style.new_figure()
    style.plot_curves(ax, curves(seeds=1))
    assert "n = 1 seed" in notes(ax) and not ax.collections


def test_diverged_members_are_counted_marked_and_left_out_of_the_mean():
    table = curves(seeds=4)
    gone = (table.arm == "adam") & (table.seed == 2) & (table.step > 20)
    table.loc[gone, ["value", "status"]] = [np.nan, "diverged: loss is nan"]
    _, ax = style.new_figure()
    lines = style.plot_curves(ax, table)
    assert lines["adam"].get_label() == "Adam (1 of 4 diverged)"
    assert lines["amsgrad"].get_label() == "AMSGrad"
    assert np.isfinite(lines["adam"].get_ydata()).all()
    assert any(line.get_marker() == "x" for line in ax.lines)


def test_dense_curves_are_thinned_evenly_on_a_logarithmic_axis():
    table = curves(arms=("adam",), seeds=1, steps=20_000)
    _, ax = style.new_figure()
    line = style.plot_curves(ax, table, xscale="log")["adam"]
    at = line.get_xdata()
    assert len(at) <= 600 and at[0] == 1 and at[-1] == 20_000
    assert np.sum(at < 200) > 100  # thinned evenly in steps it would be six
    marked = at[line.get_markevery()]
    assert len(marked) == 7 and np.ptp(np.diff(np.log(marked[1:]))) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="step"), "no column 'step'"),
        (lambda t: pd.concat([t, t]), "filter the table first"),
        (lambda t: t[t.arm == "sgd"], "no rows with arm 'adam'"),
    ],
)
def test_tables_that_cannot_be_drawn_are_refused(change, message):
    _, ax = style.new_figure()
    with pytest.raises(ValueError, match=message):
        style.plot_curves(ax, change(curves()), order=["adam"])


def test_cell_edges_lie_between_centres():
    assert style.cell_edges([0, 1, 3]) == pytest.approx([-0.5, 0.5, 2.0, 4.0])
    assert style.cell_edges([1, 10], "log") == pytest.approx([10**-0.5, 10**0.5, 10**1.5])
    with pytest.raises(ValueError, match="increasing"):
        style.cell_edges([1, 1])
    with pytest.raises(ValueError, match="positive"):
        style.cell_edges([0, 1], "log")


def test_phase_map_puts_each_value_in_the_cell_of_its_centre():
    _, ax = style.new_figure()
    mesh = style.phase_map(ax, [1, 2, 3], [10, 20], [[1, 2, 3], [4, 5, np.nan]], label="x")
    assert mesh.get_array().reshape(2, 3)[1, 0] == 4
    assert list(mesh.get_coordinates()[0, 0]) == pytest.approx([0.5, 5])
    assert "n = 6 cells, 1 without a value" in notes(ax)
    with pytest.raises(ValueError, match="shape"):
        style.phase_map(ax, [1, 2], [10, 20], [[1, 2, 3], [4, 5, 6]], label="x")


def test_references_look_the_same_and_are_grey():
    _, ax = style.new_figure()
    style.reference(ax, [1, 2], [3, 4], "a", method="adam")
    style.reference(ax, None, 2.0, "b")
    assert {line.get_color() for line in ax.lines} == {PUBLISHED}
    assert ax.lines[0].get_marker() == style.look("adam").marker
    with pytest.raises(ValueError, match="kind"):
        style.reference(ax, [1], [2], kind="guessed")


def test_forest_prints_n_and_says_where_there_is_no_value():
    _, ax = style.new_figure()
    nan = float("nan")
    metrics = {"adam": Measured(1, 0.5, 1.5, 16), "sgd": Measured(nan, nan, nan, 3)}
    style.forest(ax, metrics | {"drift": Measured(2, 2, 2, 0)}, reference=1.2)
    assert all(text in notes(ax) for text in ("n = 16", "no value", "exact", "95 % interval"))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Adam", "SGD", "drift"]


def test_strip_draws_every_seed_and_counts_the_diverged():
    table = curves(steps=1)
    table.loc[0, "value"] = np.inf
    _, ax = style.new_figure()
    style.strip(ax, table)
    drawn = sum(len(line.get_xdata()) for line in ax.lines if line.get_linestyle() == "None")
    assert drawn == 11 and "n = 6 seeds each" in notes(ax) and "1 diverged" in notes(ax)


def test_a_note_is_not_repeated_and_long_ones_are_wrapped():
    _, ax = style.new_figure(1, 1, width=3)
    for _ in range(2):
        style.note(ax, "n = 16 seeds; " * 8)
    assert len(ax.texts) == 1 and "\n" in ax.texts[0].get_text()
    assert ax.texts[0].get_text().count("n\u00a0=\u00a016") == 8  # never broken at the sign


@pytest.mark.parametrize(
    ("typeset", "plain"),
    [
        (r"$\mathdefault{10^{3}}$", "10³"),
        (r"$\mathdefault{-10^{-12}}$", "-10⁻¹²"),
        (r"$\mathdefault{6\times10^{-1}}$", "6 × 10⁻¹"),
        (r"$\mathdefault{−0.5}$", "−0.5"),
        ("", ""),
    ],
)
def test_numbers_are_written_as_text(typeset, plain):
    assert plain_number(typeset) == plain


def test_axes_say_numbers_as_text_and_nothing_else_changes(tmp_path):
    def labels(after):
        figure, ax = style.new_figure()
        ax.plot([1, 1e4], [0.3, 0.6])
        ax.set(xscale="log", yscale="log")
        if after:
            write_numbers_plainly(figure)
        figure.draw_without_rendering()
        return [
            text.get_text()
            for axis in (ax.xaxis, ax.yaxis)
            for text in axis.get_ticklabels(which="both")
        ]

    assert [plain_number(text) for text in labels(False)] == labels(True)
    assert "10²" in labels(True) and "4 × 10⁻¹" in labels(True)
