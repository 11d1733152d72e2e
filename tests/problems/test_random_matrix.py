"""Random-matrix models of a Hessian: closed forms against quadrature, polynomials and draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reproductions.problems import random_matrix_draws as draws
from reproductions.problems import random_matrix_threshold as thresholds
from reproductions.problems.random_matrix import (
    ReluNetwork,
    WishartWigner,
    cumulative,
    density,
    index,
    index_by_quadrature,
    stieltjes,
    support,
)

PHIS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
MODELS = {
    "wishart_wigner": (
        WishartWigner,
        thresholds.wishart_wigner_threshold,
        thresholds.wishart_wigner_constant,
    ),
    "relu": (ReluNetwork, thresholds.relu_threshold, thresholds.relu_constant),
}
GOLDEN = [  # phi, energy, index and left edge of the first model, of the second
    (0.25, 0.1, 0.0540, -0.2257, 0.0, 0.2023),
    (0.25, 0.5, 0.2253, -1.1939, 0.0, 0.0436),
    (0.25, 1.0, 0.2926, -1.9759, 0.0206, -0.1157),
    (0.5, 0.1, 0.1136, -0.3877, 0.0030, -0.0177),
    (0.5, 0.5, 0.2489, -1.3215, 0.0775, -0.3066),
    (0.5, 1.0, 0.3047, -2.0833, 0.1245, -0.5729),
]
each_model = pytest.mark.parametrize("name", MODELS)


@pytest.mark.parametrize("row", GOLDEN)
def test_indices_and_edges_are_the_golden_ones(row):
    phi, energy, *wanted = row
    found = []
    for kind in (WishartWigner, ReluNetwork):
        found += [index(kind(energy, phi)), support(kind(energy, phi))[0]]
    assert found == pytest.approx(wanted, abs=6e-5)


@each_model
@pytest.mark.parametrize("phi", [*PHIS, 1.2, 1.7])
@pytest.mark.parametrize("energy", [0.01, 0.3, 5.0])
def test_the_index_in_closed_form_is_the_mass_below_zero(name, phi, energy):
    model = MODELS[name][0](energy, phi)
    assert index(model) == pytest.approx(index_by_quadrature(model), abs=1e-6)


@each_model
def test_the_transform_solves_the_published_polynomial(name):
    phi, energy = 0.3, 0.4
    x = np.linspace(-0.5, 2.0, 7)
    g = stieltjes(MODELS[name][0](energy, phi), x)
    if name == "wishart_wigner":  # the cubic of section 4
        left = 2 * energy * phi * g**3 - (2 * energy + x * phi) * g**2 + (x + phi - 1) * g - 1
    else:  # x = 1/G + R(G), multiplied out: a quartic
        a = 2 - energy * phi**2 * g**2
        left = (1 - x * g) * (1 - phi * g) * a + g * a + energy * phi * g**2 * (1 - phi * g)
    assert np.abs(left).max() < 1e-11


def test_without_energy_the_density_is_marchenko_and_pasturs():
    phi = 0.4
    low, high = (1 - phi**0.5) ** 2, (1 + phi**0.5) ** 2
    x = np.linspace(low + 0.01, high - 0.01, 30)
    wanted = np.sqrt((high - x) * (x - low)) / (2 * np.pi * phi * x)
    for kind in (WishartWigner, ReluNetwork):
        assert support(kind(0.0, phi)) == pytest.approx((low, high), abs=1e-12)
        assert density(kind(0.0, phi), x) == pytest.approx(wanted, abs=1e-10)


def test_a_small_phi_leaves_a_shifted_semicircle():
    energy, model = 0.2, WishartWigner(0.2, 1e-9)
    x = np.linspace(-0.2, 2.2, 20)
    radius = 2 * (2 * energy) ** 0.5
    wanted = np.sqrt(np.maximum(radius**2 - (x - 1) ** 2, 0)) / (2 * np.pi * 2 * energy)
    assert density(model, x) == pytest.approx(wanted, abs=1e-6)


@each_model
def test_the_density_is_one_mass_and_its_distribution_is_its_integral(name):
    model = MODELS[name][0](0.7, 0.6)
    low, high = support(model)
    t = (np.arange(4000) + 0.5) * np.pi / 4000
    x = (low + high) / 2 - (high - low) / 2 * np.cos(t)
    mass = density(model, x) * (high - low) / 2 * np.sin(t) * np.pi / 4000
    assert mass.sum() == pytest.approx(1.0, abs=1e-6)
    at = x[[400, 1700, 3300]]
    wanted = [mass[x < one].sum() for one in at]
    assert cumulative(model, at) == pytest.approx(wanted, abs=1e-3)
    assert cumulative(model, [low - 1, high + 1]) == pytest.approx([0, 1])


@each_model
@pytest.mark.parametrize("phi", PHIS)
def test_thresholds_are_where_the_left_edge_is_zero(name, phi):
    kind, closed, _ = MODELS[name]
    found = thresholds.threshold_by_edge(lambda energy: kind(energy, phi))
    assert closed(phi) == pytest.approx(found, abs=1e-8)
    assert index(kind(0.99 * found, phi)) == 0.0 < index(kind(1.01 * found, phi))


@pytest.mark.parametrize("phi", PHIS)
def test_thresholds_are_the_printed_formulas(phi):
    printed = (1 - 20 * phi - 8 * phi**2 + (1 + 8 * phi) ** 1.5) / 16
    assert thresholds.wishart_wigner_threshold(phi) == pytest.approx(printed, abs=1e-14)
    chi = 1 + 16 * phi - 8 * phi**2
    printed = (27 - 18 * chi - chi**2 + 8 * chi**1.5) / (32 * phi * (1 - phi) ** 3)
    assert thresholds.relu_threshold(phi) == pytest.approx(printed, abs=1e-11)  # it cancels
    found = thresholds.relu_threshold(phi, 3.0)
    assert found == pytest.approx(9 * thresholds.relu_threshold(phi), rel=1e-12)


def test_thresholds_vanish_as_cubes_and_stay_zero():
    left = 1e-7
    ratio = thresholds.wishart_wigner_threshold(1 - left) / left**3
    assert ratio == pytest.approx(2 / 27, rel=1e-6)
    assert thresholds.relu_threshold(1 - left) / left**3 == pytest.approx(8 / 27, rel=1e-6)
    for phi in (1.0, 1.5):
        assert thresholds.wishart_wigner_threshold(phi) == thresholds.relu_threshold(phi) == 0.0
        assert thresholds.threshold_by_edge(lambda e, p=phi: WishartWigner(e, p)) == 0.0


@each_model
@pytest.mark.parametrize("phi", [0.1, 0.5, 0.75])
def test_just_above_the_threshold_the_index_is_alpha0_times_the_power_three_halves(name, phi):
    kind, closed, constant = MODELS[name]
    ratios = [
        index(kind(closed(phi) * (1 + one), phi)) / (constant(phi) * one**1.5)
        for one in (1e-3, 1e-2)
    ]
    assert ratios[0] == pytest.approx(1.0, abs=2e-3)
    assert abs(ratios[1] - 1) > 5 * abs(ratios[0] - 1)  # it is a limit


def test_constants_of_the_first_model_are_the_derived_ones():
    found = [thresholds.wishart_wigner_constant(phi) for phi in (0.1, 0.25, 0.5, 0.75)]
    assert found == pytest.approx([0.12975, 0.07483, 0.03350, 0.01268], abs=6e-6)


@pytest.mark.parametrize("kind", [WishartWigner, ReluNetwork])
def test_impossible_parameters_are_refused(kind):
    with pytest.raises(ValueError, match="energy"):
        kind(-0.1, 0.5)
    with pytest.raises(ValueError, match="phi"):
        kind(0.1, 0.0)
    with pytest.raises(ValueError, match="above 0 and below 1"):
        thresholds.relu_constant(1.0)


def source(seed=3):
    return torch.Generator().manual_seed(seed)


def test_drawn_wishart_and_wigner_matrices_have_their_moments():
    w = draws.wishart(200, 0.5, 4, source())
    assert w.diagonal(dim1=1, dim2=2).mean() == pytest.approx(1.0, abs=0.02)
    assert (w**2).sum((1, 2)).mean() / 200 == pytest.approx(1.5, abs=0.03)  # 1 + phi
    g = draws.wigner(200, 0.3, 4, source())
    assert torch.equal(g, g.mT)
    assert (g**2).sum((1, 2)).mean() / 200 == pytest.approx(0.6, abs=0.02)  # 2 eps


@pytest.mark.parametrize("energy, phi", [(0.5, 0.5), (1.0, 0.25)])
def test_drawn_spectra_follow_the_models(energy, phi):
    for kind, residual in (
        (WishartWigner, draws.wigner(288, energy, 3, source())),
        (ReluNetwork, draws.relu_residual_part(12, energy, phi, 3, source())),
    ):
        matrix = draws.wishart(288, phi, 3, source(5)) + residual
        values = torch.linalg.eigvalsh(matrix).flatten().sort().values.numpy()
        ranks = (np.arange(values.size) + 0.5) / values.size
        assert np.abs(cumulative(kind(energy, phi), values) - ranks).max() < 0.02


def test_drawn_residual_parts_are_blocks_without_a_diagonal():
    h = draws.relu_residual_part(4, 0.5, 0.5, 2, source()).view(2, 4, 8, 4, 8)
    assert torch.equal(h, h.permute(0, 3, 4, 1, 2))
    blocks = h.diagonal(dim1=1, dim2=3)
    assert blocks[:, :4, :4].abs().max() == blocks[:, 4:, 4:].abs().max() == 0
    assert (h != 0).sum() == 2 * 4 * 2 * 16


def test_rotation_keeps_eigenvalues_and_loses_the_blocks():
    h = draws.relu_residual_part(3, 0.5, 0.5, 2, source())
    turned = draws.rotate(h, source(9))
    torch.testing.assert_close(torch.linalg.eigvalsh(turned), torch.linalg.eigvalsh(h))
    assert (turned.abs() > 1e-12).all()


def test_beyond_phi_2_the_second_model_has_an_atom_at_zero():
    matrix = draws.wishart(200, 2.5, 2, source()) + draws.relu_residual_part(
        10, 1.0, 2.5, 2, source()
    )
    values = torch.linalg.eigvalsh(matrix)
    assert (values.abs() < 1e-10).double().mean() == pytest.approx(ReluNetwork(1.0, 2.5).atom())
    assert (values < -1e-10).double().mean() == pytest.approx(
        index(ReluNetwork(1.0, 2.5)), abs=0.01
    )


def test_sizes_that_are_no_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="whole number"):
        draws.wishart(10, 0.3, 1, source())
    with pytest.raises(ValueError, match="whole number"):
        draws.relu_residual_part(5, 0.5, 0.3, 1, source())
