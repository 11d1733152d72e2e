"""What the published figures of Pennington and Bahri 2017 say, from the digitised points alone."""

from __future__ import annotations

import numpy as np
import pytest

from reproductions.papers.pennington2017geometry import paper_facts, published
from reproductions.problems.random_matrix import ReluNetwork, WishartWigner, density

PANELS = [("left", 1 / 16, 256), ("right", 1 / 4, 64)]


@pytest.mark.parametrize("panel, label, examples", PANELS)
def test_figure_3_is_labelled_with_n_over_m(panel, label, examples):
    assert label == published.WIDTH / examples
    red = published.points(f"fig3_{panel}_theory_red")
    red = red[red.density > 0.03]
    misfits = [
        np.abs(density(ReluNetwork(50.0, phi, 0.0), red.eigenvalue) - red.density).max()
        for phi in (label, 2 * label)
    ]
    assert misfits[0] > 0.03
    assert misfits[1] < 5e-4


@pytest.mark.parametrize("panel, label, examples", PANELS)
def test_the_simulated_curves_of_figure_3_have_the_variance_of_2n_over_m(panel, label, examples):
    blue = published.points(f"fig3_{panel}_empirical_blue")
    y, x = blue.density.clip(lower=0), blue.eigenvalue
    variance = np.trapezoid(y * x**2, x) / np.trapezoid(y, x)
    assert variance == pytest.approx(50.0 * 2 * label / 2, rel=0.03)


def test_figure_1_is_the_cubic():
    for (phi, energy), own in published.points("fig1_spectral_densities").groupby(["phi", "eps"]):
        inner = own.iloc[3:-3]
        ours = density(WishartWigner(energy, phi), inner["lambda"])
        assert np.abs(ours - inner.rho_plot).max() < 3e-3


def test_figure_6b_draws_mean_energies_of_minima_and_not_the_fitted_thresholds():
    found = paper_facts.measure()
    assert found["published_6b_minus_minima"].value < 5e-5
    assert found["published_6b_minus_line"].value == pytest.approx(0.0131, abs=1e-4)


def test_lines_have_the_exponent_three_halves_and_the_dots_do_not_fix_it():
    found = paper_facts.measure()
    assert found["published_line_exponent"].value == pytest.approx(1.5, abs=1e-3)
    exponents = {count: fit[0] for count, fit in paper_facts.free_fits().items()}
    assert exponents[48] < 1.0 < 1.6 < exponents[256]
    assert found["published_exponent_error"].value == pytest.approx(0.58, abs=0.01)


def test_the_fit_finds_the_exponent_of_exact_points(monkeypatch):
    alpha = np.arange(155) / 512
    curve = alpha, 0.3 + (alpha / 4.0) ** (1 / 1.3)
    monkeypatch.setattr(published, "index_curve", lambda phi: curve)
    exponent, threshold, _ = paper_facts._free_fit(96)
    assert (exponent, threshold) == pytest.approx((1.3, 0.3), abs=1e-4)


def test_the_index_of_every_dot_is_a_multiple_of_one_over_the_parameters():
    points = published.points("fig6a_points")
    assert len(points) == 921
    assert points.alpha.to_numpy() * 2 * published.WIDTH**2 == pytest.approx(points.k, abs=1e-3)


def test_the_gap_of_figure_5_is_the_marchenko_pastur_gap_of_one_scale():
    points = published.points("fig5_gap")
    inside = points.inv_phi > 1
    law = published.GAP_SCALE * (1 - points.inv_phi**-0.5) ** 2
    assert np.abs(law - points.gap_MP_red)[inside].max() < 1e-5


def test_phis_are_named_as_the_paper_writes_them():
    assert [published.fraction(32 / m) for m in (39, 48, 80, 512)] == [
        "32/39",
        "2/3",
        "2/5",
        "1/16",
    ]
    assert published.examples(1 / 4) == 128
    assert published.minimum(1 / 2) == pytest.approx(0.13158)
    assert np.isnan(published.minimum(0.9)) and published.index_curve(0.9) is None
