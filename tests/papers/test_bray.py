"""The room of Bray and Dean 2007: rows, the measures taken from them, the search, the pictures."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.optim.device import generator
from reproductions.papers.bray2007gaussian import (
    count_figures,
    count_measures,
    counting,
    curve_figures,
    curve_measures,
    curves,
    found_figures,
    found_measures,
    lookup,
    searching,
)
from reproductions.problems import gaussian_points, gaussian_theory
from reproductions.problems.gaussian_field import GaussianField
from tests.rows import as_table, quiet

PLAN = searching.Plan(steps=60, reach=2.4, tolerance=1e-8, walk=30, rate=0.2)
WALKERS = {"random": 10, "descended": 6, "ascended": 6}
N, FIELDS = 6, 6


@pytest.fixture(scope="module")
def theory() -> pd.DataFrame:
    return as_table(curves.tabulate(1.0, 1.0, [0.25, 4.0], [0.5, 1.0], 401))


@pytest.fixture(scope="module")
def matrices() -> pd.DataFrame:
    return as_table(curves.of_matrices([10, 60], [-0.5, 0.0, 0.5], 40, 1, quiet))


@pytest.fixture(scope="module")
def kac_rice() -> pd.DataFrame:
    return as_table(counting.by_index(1.0, 1.0, [N, 12, 24], 4, 300, [1, 3], 24, 1, quiet))


@pytest.fixture(scope="module")
def conditionings() -> pd.DataFrame:
    return as_table(counting.by_energy(1.0, 1.0, [10, 60], 19, quiet))


@pytest.fixture(scope="module")
def search() -> pd.DataFrame:
    rows = searching.found(1.0, 1.0, [N], 40, FIELDS, WALKERS, PLAN, "cpu", 1, quiet)
    return as_table(rows)


@pytest.fixture(scope="module")
def waves() -> pd.DataFrame:
    return as_table(searching.gaussianity(1.0, 1.0, 8, [3, 12, 48], 40, 8, "cpu", 1, quiet))


# ---------------------------------------------------------------- the limit


def test_the_curve_has_its_closed_forms(theory):
    found = curve_measures.theory(theory)
    want = {
        "critical_energy_exponential": (-2.0, 1e-12),
        "critical_energy_power": (-math.sqrt(2), 1e-12),
        "index_slope_curve": (1 / math.pi, 1e-4),
        "index_symmetry_gap": (0.0, 1e-9),
        "small_index_constant": (4 * math.sqrt(2) / (3 * math.pi), 5e-4),
        "small_index_exponent": (1.5, 3e-3),
    }
    for name, (value, error) in want.items():
        assert found[name].value == pytest.approx(value, abs=error), name


def test_matrices_keep_to_the_semicircle(matrices):
    assert curve_measures.matrices(matrices)["semicircle_index_misfit"].value < 0.01


# ---------------------------------------------------------------- exact counts


def test_the_laws_are_exact_at_both_ends_and_antisymmetric(kac_rice):
    for kernel in (gaussian_theory.exponential(), gaussian_theory.power()):
        laws = lookup.laws(kac_rice, kernel.name, 12)
        mean, deviation = gaussian_points.energy_moments(gaussian_points.least(12), 12, kernel)
        assert laws.mean[:2] == pytest.approx(mean) and laws.deviation[:2] == pytest.approx(
            deviation
        )
        assert laws.mean == pytest.approx(-laws.mean[::-1], abs=1e-9)
        assert (np.diff(laws.mean) > 0).all()


def test_batches_depend_on_the_root_seed_and_on_no_other_size(kac_rice):
    one = as_table(counting.by_index(1.0, 1.0, [12], 1, 300, [], 8, 1, quiet))
    other = as_table(counting.by_index(1.0, 1.0, [12], 1, 300, [], 8, 2, quiet))
    values = [lookup.batches(t, "power", 12, "mean_energy")[:, 0] for t in (one, kac_rice, other)]
    assert values[0] == pytest.approx(values[1], abs=1e-14)
    assert not np.allclose(values[0], values[2])


def test_distances_from_the_limit_shrink_with_the_dimension(theory, kac_rice):
    found = count_measures.counts(theory, kac_rice)
    for text in ("curve_misfit_exponential", "curve_misfit_power", "log_number_misfit"):
        assert found[f"{text}_24"].value < found[f"{text}_12"].value
    assert found["curve_misfit_exponent"].value < -0.3
    assert found["spread_exponent_exponential"].value < -0.75
    assert -0.65 < found["spread_exponent_power"].value < -0.5
    assert found["minima_gap_constant"].value == pytest.approx(1.0, abs=0.05)
    assert found["spread_variance_ratio_power_24"].value == pytest.approx(1.18, abs=0.06)


def test_the_two_conditionings_are_told_apart(conditionings):
    found = count_measures.conditionings(conditionings)
    assert found["conditionings_ratio_power"].value == pytest.approx(1.5, abs=0.02)
    assert found["bare_ratio_power"].value == pytest.approx(4 / 3, abs=0.02)
    assert found["shift_at_energy_ratio_power"].value == pytest.approx(1.0, abs=0.01)
    for name in ("conditionings_ratio", "bare_ratio", "shift_at_energy_ratio"):
        assert found[f"{name}_exponential"].value == pytest.approx(1.0, abs=1e-9)


# ---------------------------------------------------------------- the search


def test_what_is_called_a_critical_point_is_one():
    kernel = gaussian_theory.exponential()
    field = GaussianField.draw(kernel, N, 200, [generator(1, seed) for seed in range(3)])
    theta = torch.randn(24, N, dtype=torch.float64, generator=generator(5))
    points = searching.search(field, theta, kernel, PLAN)
    good = points.is_critical(PLAN.tolerance)
    assert good.double().mean() > 0.5
    loss, gradient, hessian = field.part(good).curvature(points.theta[good])
    assert torch.linalg.vector_norm(gradient, dim=1).max() < 1e-8
    assert torch.allclose(torch.linalg.eigvalsh(hessian), points.eigenvalues[good], atol=1e-9)
    assert torch.allclose(loss, points.loss[good])


def test_every_search_has_a_row_and_those_that_failed_say_why(search):
    rows = search[search.quantity == "energy"]
    assert len(rows) == 2 * FIELDS * sum(WALKERS.values())
    assert set(rows.status) <= {"ok", "not at rest", "found before"}
    assert (rows.value.isna() == (rows.status != "ok")).all()
    assert (rows.status == "ok").mean() > 0.6


def test_shift_index_and_eigenvalues_of_a_point_belong_together(search):
    kernel = gaussian_theory.power()
    own = search[(search.arm == "power") & (search.status == "ok")]
    keys = ["start", "seed", "index"]
    levels = own[own.quantity == "eigenvalue"].groupby(keys).value
    table = lookup.points(search, "power", N).set_index(keys)
    negative = levels.apply(lambda one: int((one < 0).sum()))
    assert (negative.loc[table.index] == table.negative).all()
    mean = levels.mean().loc[table.index] * 2 * math.sqrt(kernel.ddf)
    assert mean.to_numpy() == pytest.approx(table["shift"].to_numpy())


def test_a_point_found_twice_counts_once():
    kernel = gaussian_theory.exponential()
    field = GaussianField.draw(kernel, N, 200, [generator(1, seed) for seed in range(2)])
    start = torch.randn(1, N, dtype=torch.float64, generator=generator(8))
    points = searching.search(field, start.repeat(4, 1), kernel, PLAN)
    reasons = searching._status(points, 2, PLAN)
    assert all(pair in (["ok", "found before"], ["not at rest"] * 2)
               for pair in (reasons[:2], reasons[2:]))  # fmt: skip
    assert "found before" in reasons


def test_a_field_is_searched_alike_whatever_fields_are_beside_it(search):
    fewer = searching.found(1.0, 1.0, [N], 40, 2, WALKERS, PLAN, "cpu", 1, quiet)
    fewer = as_table(fewer)
    keys = ["arm", "start", "seed", "index"]
    pairs = [
        t[(t.quantity == "energy") & (t.start == "random") & (t.seed < 2)].sort_values(keys).value
        for t in (fewer, search)
    ]
    assert np.array_equal(*(one.to_numpy() for one in pairs), equal_nan=True)


def test_found_energies_rise_with_the_index_about_their_exact_mean(theory, search, kac_rice):
    found = found_measures.found(theory, search, kac_rice)
    for kernel in lookup.KERNELS:
        assert abs(found[f"found_energy_misfit_{kernel}"].value) < 0.2
        assert found[f"found_correlation_{kernel}"].value > 0.8
        assert found[f"found_bias_descended_{kernel}"].value < 0
        assert found[f"found_bias_ascended_{kernel}"].value > 0
    assert found["found_spectrum_misfit"].value < 0.2


def test_residuals_are_taken_from_the_exact_mean_of_the_index(search, kac_rice):
    found = lookup.residuals(search, kac_rice, "power", N).iloc[3]
    laws = lookup.laws(kac_rice, "power", N)
    assert found.away == pytest.approx(found.energy - laws.mean[found.negative])
    assert found.units * laws.deviation[found.negative] == pytest.approx(found.away)


def test_more_waves_make_the_spectrum_that_of_random_matrices(waves):
    at, moments = found_measures.excess(waves, "power")
    assert at.tolist() == [3.0, 12.0, 48.0]
    assert (np.diff(moments.mean(axis=1)) < 0).all()
    assert found_measures.waves(waves)["waves_exponent_power"].value == pytest.approx(-0.9, abs=0.3)


# ---------------------------------------------------------------- pictures


def drawn(figure):
    figure.draw_without_rendering()
    return all(ax.has_data() and ax.get_xlabel() for ax in figure.axes)


def test_pictures_of_the_curve_are_drawn(theory, matrices, kac_rice, search):
    assert drawn(curve_figures.energy_index(theory, kac_rice, search))
    assert drawn(curve_figures.small_index(theory, kac_rice))
    assert drawn(curve_figures.shifted_spectrum(theory, matrices, kac_rice, search))


def test_pictures_of_the_counts_are_drawn(theory, kac_rice, conditionings, search):
    assert drawn(count_figures.finite_size(theory, kac_rice))
    assert drawn(count_figures.spread(theory, kac_rice, search))
    assert drawn(count_figures.log_number(theory, kac_rice))
    assert drawn(count_figures.conditionings(conditionings, search))


def test_pictures_of_the_search_are_drawn(kac_rice, search, waves):
    assert drawn(found_figures.starts(kac_rice, search))
    assert drawn(found_figures.waves(waves))
