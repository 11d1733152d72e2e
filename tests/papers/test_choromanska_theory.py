"""The room's theory: rows, the measures taken from them, and the pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reproductions.harness.tables import Rows, select
from reproductions.papers.choromanska2015loss import (
    critical_counts,
    theory_figures,
    theory_measures,
)
from reproductions.problems import spin_glass
from tests.rows import as_table

INDICES = list(range(6))


def made(*, p=3, spins=1000, points=400, sizes=(10, 25), draws=300, orders=(2, 3, 4)):
    """Return the theory's table, written and read."""
    told = []
    rows = critical_counts.curves(p, spins, INDICES, points)
    rows.extend(critical_counts.thresholds(list(orders), INDICES))
    rows.extend(critical_counts.finite(p, list(sizes), draws, 7, lambda *what: told.append(what)))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1][0] == pytest.approx(1.0)
    return as_table(rows)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return made()


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return made(points=60, sizes=[10])


@pytest.fixture(scope="module")
def found(table):
    return theory_figures.measure(table)


# ---------------------------------------------------------------- rows


def test_every_row_is_finite_and_has_a_place_of_its_own(table, smoke):
    for one in (table, smoke):
        assert np.isfinite(one.value).all() and (one.status == "ok").all()
        assert not one.drop(columns=["value", "status"]).duplicated().any()
        assert set(one.quantity) <= set(one.attrs["units"])


def test_curves_hold_the_closed_forms(table):
    for k in (critical_counts.ALL, *INDICES):
        rows = select(table, quantity="complexity", k=k)
        index = None if k < 0 else k
        theta = (
            spin_glass.complexity(rows.u, 3)
            if index is None
            else spin_glass.complexity_of_index(rows.u, k, 3)
        )
        assert rows.value.to_numpy() == pytest.approx(theta)
        logs = select(table, quantity="log_density", k=k)
        wanted = spin_glass.log_density(logs.u, 3, 1000, index)
        assert logs.value.to_numpy() == pytest.approx(wanted)
        assert set(logs.arm) == set(rows.arm) == {"all" if index is None else f"index_{k}"}


def test_grids_reach_as_far_as_the_published_figures(table):
    left, right = (select(table, quantity="complexity", k=k).u for k in (-1, 2))
    assert (left.min(), left.max(), right.min(), right.max()) == (-1.8, 0.2, -1.68, -1.62)
    barrier = -spin_glass.threshold_energy(3)
    for grid in (left, right):
        assert (grid == barrier).sum() == 1  # the kink is a point of the grid
    low = select(table, quantity="log_density", k=0).u
    assert low.min() < -1.658 and 0 < barrier - low.max() < 1e-12
    assert select(table, quantity="log_density", k=-1).u.max() < 0


def test_thresholds_are_those_of_the_module(table):
    for p in (2, 3, 4):
        assert theory_measures.one(table, "threshold_energy", p=p) == spin_glass.threshold_energy(p)
        at_zero = theory_measures.one(table, "complexity_at_zero", p=p)
        assert at_zero == pytest.approx(0.5 * math.log(p - 1))
        for k in INDICES:
            lowest = theory_measures.one(table, "lowest_energy", p=p, k=k)
            assert lowest == spin_glass.lowest_energy(k, p)


def test_samples_depend_on_the_root_seed_and_on_nothing_else():
    def sampled(sizes, seed):
        rows: Rows = critical_counts.finite(3, sizes, 20, seed, lambda *_: None)
        return [
            float(part["value"][0])
            for part in rows.parts
            if part["arm"][0] == "sampled" and part["spins"][0] == 12
        ]

    assert sampled([12], 1) == sampled([8, 12], 1) != sampled([12], 2)
    assert len(sampled([12], 1)) == 4


def test_two_spins_have_rows_and_measures(tmp_path):
    table = made(p=2, spins=50, points=40, sizes=[4], draws=20)
    found = theory_figures.measure(table)
    assert found["minima_mean_4"].value == pytest.approx(2.0)
    assert found["band_width_2"].value == 0.0
    assert "minima_outnumber_saddles" not in found


# ---------------------------------------------------------------- measures

WANTED = {
    "threshold_energy_3": (1.632993, 1e-6),
    "ground_state_3": (1.656998, 1e-6),
    "lowest_energy_1_3": (1.652873, 1e-6),
    "complexity_at_threshold_3": (0.013240, 1e-6),
    "band_width_3": (0.024005, 1e-6),
    "theta_all_at_minus_1": (0.221574, 1e-6),
    "figure_1_total_peak": (-math.sqrt(4000), 0.02),
    "figure_1_total_height": (151.49682, 2e-5),
    "misprint_jump": (5 / 24, 1e-12),
    "misprint_plateau_misfit": (5 / 24, 2.1e-5),
    "minima_mean_10": (6.0804, 1e-3),
    "minima_mean_25": (14.097, 1e-3),
    "saddles_mean_10": (16.366, 1e-3),
    "minima_energy_25": (-1.3851, 1e-4),
    "total_prefactor_gap_25": (0.0427, 1e-4),
    "minima_share_below_barrier_25": (0.01242, 1e-5),
}


@pytest.mark.parametrize("name", WANTED)
def test_measures_are_the_known_numbers(found, name):
    value, tolerance = WANTED[name]
    assert found[name].value == pytest.approx(value, abs=tolerance)
    assert found[name].kind == "exact" and found[name].low <= value + tolerance


def test_published_figures_are_those_of_the_formulas(found):
    assert found["figure_1_misfit"].value < 1e-3
    assert found["figure_2_misfit"].value < 4e-4
    assert found["figure_2_misfit_k"].value < 4e-5
    assert found["continuous_plateau_misfit"].value < 2.1e-5
    assert found["minima_outnumber_saddles"].value > 0
    assert found["sampled_counts_worst_z"].value < 4


def test_a_wrong_curve_would_be_seen(table):
    """Every misfit grows where the exponent is off by a thousandth, or the index by one."""
    wrong = table.copy()
    wrong.attrs = table.attrs
    of_index = (wrong.quantity == "log_density") & (wrong.k >= 0)
    wrong.loc[of_index, "value"] += 0.02
    wrong.loc[wrong.quantity == "complexity", "value"] += 1e-3
    found = theory_figures.measure(wrong)
    assert found["figure_1_misfit"].value > 0.01
    assert found["figure_2_misfit"].value > 6e-4
    assert found["figure_2_misfit_k"].value > 5e-5
    shifted = table[table.k != 0].assign(k=lambda rows: np.where(rows.k > 0, rows.k - 1, rows.k))
    shifted.attrs = table.attrs
    zoomed = theory_measures.FIGURE_1[1:]
    assert all(theory_measures.density_misfit(table, panel) < 2e-3 for panel in zoomed)
    assert all(theory_measures.density_misfit(shifted, panel) > 0.02 for panel in zoomed)


def test_smoke_size_measures_the_same_but_for_its_coarse_grid(found, smoke):
    coarse = theory_figures.measure(smoke)
    assert coarse["figure_1_misfit"].value < 0.01
    for name in ("ground_state_3", "minima_mean_10", "misprint_plateau_misfit"):
        assert coarse[name].value == pytest.approx(found[name].value, abs=1e-12)
    assert coarse["figure_1_total_peak"].value == pytest.approx(-63.25, abs=0.5)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", ["table", "smoke"])
@pytest.mark.parametrize("name", ["figure_1", "figure_2", "finite_counts"])
def test_figures_are_drawn(request, size, name):
    figure = getattr(theory_figures, name)(request.getfixturevalue(size))
    figure.draw_without_rendering()
    assert all(ax.lines and ax.get_xlabel() and ax.get_title(loc="left") for ax in figure.axes)
    assert figure.legends


def test_published_points_lie_on_the_drawn_curves(table):
    figure = theory_figures.figure_2(table)
    for ax in figure.axes:
        marks = [line for line in ax.lines if "published" in str(line.get_label())]
        curves = [line for line in ax.lines if str(line.get_label()).startswith(("k =", "all"))]
        assert 1 <= len(marks) == len(curves)
        for mark, curve in zip(marks, curves, strict=True):
            x, y = (np.asarray(one, dtype=float) for one in mark.get_data())
            assert 5 <= len(x) <= 50
            assert np.interp(x, *curve.get_data()) == pytest.approx(y, abs=6e-4)


def test_other_orders_are_drawn_without_the_published_points(tmp_path):
    table = made(p=4, spins=200, points=80, sizes=[6], draws=20)
    assert "figure_1_misfit" not in theory_figures.measure(table)
    for name in ("figure_1", "figure_2", "finite_counts"):
        figure = getattr(theory_figures, name)(table)
        figure.draw_without_rendering()
        labels = {str(line.get_label()) for ax in figure.axes for line in ax.lines}
        assert not any("published" in label for label in labels)


def test_thinned_points_are_even_along_the_curve():
    x = np.linspace(0.0, 1.0, 1000)
    y = x**8
    keep = theory_figures.thin(x, y, 20)
    assert 15 <= len(keep) <= 20 and (np.diff(keep) > 0).all()
    assert len(theory_figures.thin(x[:5], y[:5], 20)) == 5
    assert not set(keep) & set(theory_figures.thin(x, y, 20, shift=0.5))
