"""The room's theory table: what is measured from it is what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest

from reproductions.papers.pennington2017geometry import theory_figures, theory_rows
from reproductions.papers.pennington2017geometry.experiment import theory
from reproductions.problems.random_matrix import WishartWigner, density
from tests.rows import as_table, quiet


@pytest.fixture(scope="module")
def table():
    return as_table(
        theory(
            phis=[0.25, 0.5, 0.75], energies=[0.0, 0.1, 0.5, 1.0], index_energies=[0.1, 1.0],
            threshold_phis=[0.1, 0.9], density_points=300, curve_points=20, highest_energy=1.0,
            progress=quiet,
        )
    )  # fmt: skip


def test_every_measure_of_the_theory_is_what_the_formulas_say(table):
    found = {name: metric.value for name, metric in theory_figures.measure(table).items()}
    assert found["threshold_error_wishart_wigner"] < 1e-12 > found["threshold_error_relu"]
    assert found["threshold_over_cube_relu"] == pytest.approx(8 / 27, rel=1e-5)
    assert found["index_wishart_wigner_0p25_0p1"] == pytest.approx(0.0540, abs=5e-5)
    assert found["index_relu_0p5_1"] == pytest.approx(0.1245, abs=5e-5)
    assert found["law_exponent"] == pytest.approx(1.5, abs=2e-3)
    assert 0.06 < found["law_excess_tenth"] < 0.1
    assert 0.3 < found["law_excess_half"] < 0.5
    assert found["figure_1_misfit"] < 3e-3


def test_interpolated_densities_are_the_densities(table):
    curve = theory_figures.density(table, theory_rows.WIGNER, 0.5, 0.1)
    x = np.linspace(-0.38, 3.0, 40)
    wanted = density(WishartWigner(0.1, 0.5), x)
    assert theory_figures.density_at(x, curve) == pytest.approx(wanted, abs=1e-4)
    assert theory_figures.density_at(np.array([-1.0, 9.0]), curve).tolist() == [0, 0]


def test_figure_1_would_not_fit_another_model(table):
    swapped = table.copy()
    swapped.attrs = table.attrs
    names = {theory_rows.WIGNER: theory_rows.RELU, theory_rows.RELU: theory_rows.WIGNER}
    swapped["arm"] = swapped["arm"].replace(names)
    assert theory_figures._figure_1_misfit(swapped) > 0.1
