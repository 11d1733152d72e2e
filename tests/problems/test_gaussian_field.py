"""Gaussian fields: waves and their covariance, the objective, the limit's laws, exact counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reproductions.optim.device import generator
from reproductions.optim.objective import Autograd
from reproductions.problems import gaussian_points as exact
from reproductions.problems import gaussian_theory as theory
from reproductions.problems.gaussian_field import GaussianField, draw_waves

KERNELS = [theory.exponential(), theory.exponential(2.5), theory.power(), theory.power(1.5)]
TWO = [theory.exponential(), theory.power()]
names = [f"{one.name}-{one.parameter}" for one in KERNELS]
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=names)
each_of_two = pytest.mark.parametrize("kernel", TWO, ids=["exponential", "power"])


def value(kernel, u):
    """Return f(u)."""
    if kernel.name == "exponential":
        return np.exp(-kernel.parameter * u)
    return (1 + u) ** -kernel.parameter


def fields(kernel, n=5, waves=40, count=3):
    return GaussianField.draw(kernel, n, waves, [generator(3, seed) for seed in range(count)])


def places(members, n, seed=9):
    return torch.randn(members, n, dtype=torch.float64, generator=generator(seed))


# ---------------------------------------------------------------- the field as an objective


@each_of_two
def test_loss_gradient_products_and_hessian_are_those_of_automatic_differentiation(kernel):
    field = fields(kernel)
    theta = places(12, 5)
    oracle = Autograd(field.loss)
    want = oracle.curvature(theta)
    got = field.curvature(theta)
    for one, other in zip(got, want, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    assert torch.equal(got.hessian, got.hessian.transpose(1, 2))
    for one, other in zip(field.gradient(theta), want[:2], strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    vectors = places(2 * 12, 5, seed=4).view(2, 12, 5)
    assert torch.allclose(field.product(theta, vectors), oracle.product(theta, vectors), atol=1e-12)
    assert torch.allclose(field.product(theta, vectors[1]), field.product(theta, vectors)[1])


def test_a_member_is_the_sum_of_its_own_fields_waves():
    field, theta = fields(TWO[0]), places(6, 5)
    for member in range(6):
        own = member // 2
        waves = field.frequencies[own] @ theta[member] + field.phases[own]
        assert field.loss(theta)[member].item() == pytest.approx(
            math.sqrt(2 * 5 / 40) * waves.cos().sum().item()
        )


def test_part_takes_members_with_their_fields_and_any_number_of_each():
    field, theta = fields(TWO[1]), places(12, 5)
    keep = torch.tensor([1, 0, 1, 1] + [0] * 4 + [0, 1, 0, 0], dtype=torch.bool)
    whole, part = field.curvature(theta), field.part(keep).curvature(theta[keep])
    for one, other in zip(part, whole, strict=True):
        assert torch.allclose(one, other[keep], atol=1e-13)
    again = torch.tensor([False, True, True, False])
    part = field.part(keep).part(again)
    assert torch.allclose(part.loss(theta[keep][again]), field.loss(theta)[keep][again])


def test_products_of_waves_are_the_same_kept_or_made_each_time(monkeypatch):
    theta = places(12, 5)
    kept = fields(TWO[1])
    kept.curvature(theta)
    again = kept.curvature(theta).hessian
    monkeypatch.setattr("reproductions.problems.gaussian_field.KEPT_BYTES", 0)
    assert torch.equal(fields(TWO[1]).curvature(theta).hessian, again)


def test_a_field_does_not_depend_on_those_drawn_beside_it():
    few, many = fields(TWO[1], count=2), fields(TWO[1], count=4)
    assert torch.equal(few.frequencies, many.frequencies[:2])
    assert torch.equal(few.phases, many.phases[:2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: fields(TWO[0]).loss(places(7, 5)),
        lambda: fields(TWO[0]).loss(places(6, 4)),
        lambda: GaussianField(torch.zeros(2, 3, 4), torch.zeros(2, 4)),
        lambda: draw_waves(TWO[0], 0, 3, generator(1)),
        lambda: draw_waves(theory.power(0.3), 2, 3, generator(1)),
        lambda: theory.exponential(0.0),
        lambda: theory.power(-1.0),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError):
        call()


# ---------------------------------------------------------------- covariance


@each_kernel
def test_waves_have_the_covariance_that_is_asked_for(kernel):
    n, many = 4, 400_000
    frequencies, _ = draw_waves(kernel, n, many, generator(5))
    apart = torch.zeros(6, n, dtype=torch.float64)
    apart[:, 1] = torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    u = (apart.square().sum(1) / (2 * n)).numpy()
    # over the phases <cos(w.x + b) cos(w.y + b)> is cos(w.(x - y)) / 2
    cosines = (frequencies @ apart.T).cos()
    error = 5 * (cosines.std(0) / math.sqrt(many)).numpy() + 1e-12
    assert (np.abs(cosines.mean(0).numpy() - value(kernel, u)) < error).all()


@each_kernel
def test_kernels_hold_their_own_derivatives(kernel):
    h = 1e-4
    left, middle, right = (value(kernel, u) for u in (-h, 0.0, h))
    assert kernel.f == pytest.approx(middle)
    assert kernel.df == pytest.approx((right - left) / (2 * h), rel=1e-6)
    assert kernel.ddf == pytest.approx((right - 2 * middle + left) / h**2, rel=1e-5)
    assert kernel.discriminant == pytest.approx(kernel.f * kernel.ddf - kernel.df**2)


@each_of_two
def test_energy_gradient_and_hessian_at_a_point_covary_as_stated(kernel):
    n = 3
    field = fields(kernel, n=n, waves=50, count=3000)
    energy, gradient, hessian = field.curvature(torch.zeros(3000, n, dtype=torch.float64))
    flat = torch.stack(
        [energy, gradient[:, 0], hessian[:, 0, 0], hessian[:, 1, 1], hessian[:, 0, 1]]
    )
    got = (flat @ flat.T / 3000).numpy()
    f, df, ddf = kernel.f, kernel.df, kernel.ddf
    want = np.array(
        [
            [n * f, 0, df, df, 0],
            [0, -df, 0, 0, 0],
            [df, 0, 3 * ddf / n, ddf / n, 0],
            [df, 0, ddf / n, 3 * ddf / n, 0],
            [0, 0, 0, 0, ddf / n],
        ]
    )
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert (np.abs(got - want) < 0.2 * size).all()


# ---------------------------------------------------------------- the laws of large N


def test_the_index_of_a_shift_is_the_share_of_the_semicircle_below_zero():
    grid = np.linspace(-1, 1, 20001)
    density = 2 / np.pi * np.sqrt(1 - grid**2)
    for x, known in ((0.0, 0.5), (0.25, 0.3425), (0.5, 0.1955), (0.75, 0.0721), (0.9, 0.01869)):
        assert theory.index_of_shift(x) == pytest.approx(known, abs=5e-5)
        below = np.trapezoid(np.where(grid + x < 0, density, 0.0), grid)
        assert theory.index_of_shift(x) == pytest.approx(below, abs=1e-4)
    assert theory.index_of_shift(np.array([-3.0, 3.0])).tolist() == [1.0, 0.0]


def test_the_shift_of_an_index_inverts_it():
    x = np.linspace(-0.999, 0.999, 101)
    assert theory.shift_of_index(theory.index_of_shift(x)) == pytest.approx(x, abs=1e-11)
    assert theory.shift_of_index(np.array([0.0, 1.0])) == pytest.approx([1.0, -1.0], abs=1e-9)
    with pytest.raises(ValueError):
        theory.shift_of_index(1.5)


def test_critical_energies_have_their_closed_forms():
    assert theory.exponential(3.7).critical_energy == pytest.approx(-2.0)
    for g in (0.5, 1.0, 4.0):
        assert theory.power(g).critical_energy == pytest.approx(-2 * math.sqrt(g / (g + 1)))
        assert theory.power(g).residual_variance == pytest.approx(1 / (g + 1))


@each_of_two
def test_index_and_energy_curves_invert_each_other_and_small_indices_follow_their_law(kernel):
    index = np.linspace(0.01, 0.99, 33)
    eps = theory.energy_of_index(index, kernel)
    assert theory.index_of_energy(eps, kernel) == pytest.approx(index, abs=1e-12)
    assert theory.index_of_energy(-eps, kernel) == pytest.approx(1 - index, abs=1e-12)
    near = 1e-4
    small = theory.index_of_energy(kernel.critical_energy * (1 - near), kernel)
    assert small == pytest.approx(theory.SMALL_INDEX * near**1.5, rel=1e-4)
    assert pytest.approx(0.6002, abs=1e-4) == theory.SMALL_INDEX


def test_both_conditionings_maximise_one_exponent():
    kernel, grid = theory.power(1.0), np.linspace(-2.5, 2.5, 50001)
    for mu in (-1.0, 0.7):
        best = grid[np.argmax(theory.log_number_at(grid, mu, kernel))]
        assert best == pytest.approx(kernel.energy_per_shift * mu, abs=1e-4)
        x = mu / (2 * math.sqrt(kernel.ddf))
        top = theory.log_number_at(best, mu, kernel)
        assert top == pytest.approx(float(theory.log_number(x, kernel)), abs=1e-8)
    for eps in (-0.8, 0.3):
        best = grid[np.argmax(theory.log_number_at(eps, grid, kernel))]
        assert best == pytest.approx(float(theory.shift_at_energy(eps, kernel)), abs=1e-4)
        assert abs(best - kernel.df * eps) > 0.05  # not the mean without the weight
        assert abs(best - eps / kernel.energy_per_shift) > 0.05  # nor the other line
    with pytest.raises(ValueError):
        theory.log_number_at(0.1, 0.1, theory.exponential())


# ---------------------------------------------------------------- exact counts


def brute(kernel, n, draws, seed):
    """Weigh Hessians M + mu by |det|: number, mean and deviation of mu for every index."""
    source = np.random.default_rng(seed)
    square = source.normal(size=(draws, n, n)) * math.sqrt(kernel.ddf / n)
    hessian = (square + square.transpose(0, 2, 1)) / math.sqrt(2)
    mu = source.normal(size=draws) * math.sqrt(kernel.ddf / n)
    levels = np.linalg.eigvalsh(hessian) + mu[:, None]
    weight = np.abs(levels.prod(axis=1)) * (2 * math.pi * -kernel.df) ** (-n / 2)
    index, found = (levels < 0).sum(axis=1), []
    for k in range(n + 1):
        own, at = weight[index == k], mu[index == k]
        mean = (own @ at) / own.sum()
        found.append((own.sum() / draws, mean, math.sqrt(own @ (at - mean) ** 2 / own.sum())))
    return np.array(found).T


@each_of_two
def test_the_larger_matrix_counts_what_weighing_by_the_determinant_counts(kernel):
    n, radius = 4, 2 * math.sqrt(kernel.ddf)
    number, mean, deviation = brute(kernel, n, 200_000, 1)
    laws = exact.sampled(n, 20_000, 2)
    assert np.exp(exact.log_numbers(laws, n, kernel)) == pytest.approx(number, rel=0.04)
    assert laws.mean * radius == pytest.approx(mean, abs=0.02 * radius)
    assert laws.deviation * radius == pytest.approx(deviation, rel=0.05)


def test_quadrature_and_samples_agree_for_index_0_and_1():
    for n in (2, 3, 6):
        ends, laws = exact.least(n), exact.sampled(n, 15_000, n)
        assert laws.mean[:2] == pytest.approx(ends.mean, abs=0.01)
        assert laws.deviation[:2] == pytest.approx(ends.deviation, rel=0.05)
        assert laws.log_number[:2] == pytest.approx(ends.log_number, abs=0.05)


def test_in_one_dimension_the_number_is_that_of_rice():
    for kernel in KERNELS:
        # stationary points per unit length: sqrt(Var phi'' / Var phi') / pi, half of them minima
        rice = math.sqrt(3 * kernel.ddf / -kernel.df) / math.pi
        numbers = np.exp(exact.log_numbers(exact.least(1), 1, kernel))
        assert numbers == pytest.approx([rice / 2, rice / 2], rel=1e-7)


def test_the_mean_numbers_of_a_field_are_found_on_a_line():
    field = fields(TWO[0], n=1, waves=300, count=40)
    x = torch.linspace(0, 60, 6001, dtype=torch.float64).repeat(40)[:, None]
    signs = field.gradient(x)[1].view(40, -1).sign()
    turns = (signs[:, 1:] != signs[:, :-1]).sum().item() / (40 * 60)
    assert turns == pytest.approx(math.sqrt(3) / math.pi, rel=0.05)


def test_opposite_indices_mirror_each_other():
    laws = exact.sampled(7, 50, 3)
    assert laws.mean == pytest.approx(-laws.mean[::-1])
    assert laws.log_number == pytest.approx(laws.log_number[::-1])


def test_the_hessian_at_fixed_index_has_that_many_negative_eigenvalues_and_a_gap_at_zero():
    n, k = 6, 2
    edges = np.linspace(-3, 3, 121)
    density = exact.hessian_density(exact.spectra(n, 4000, 1), n, k, edges)
    width = edges[1] - edges[0]
    assert density.sum() * width == pytest.approx(1.0)
    assert density[:60].sum() * width == pytest.approx(k / n)
    assert density[59:61].mean() < 0.3 * density[50:70].max()


def test_at_fixed_energy_the_mean_shift_is_that_of_weighing_by_the_determinant():
    kernel, n, eps = theory.power(), 3, -0.4
    source = np.random.default_rng(4)
    square = source.normal(size=(300_000, n, n)) * math.sqrt(kernel.ddf / n)
    levels = np.linalg.eigvalsh((square + square.transpose(0, 2, 1)) / math.sqrt(2))
    # given the energy, mu is normal about f' eps / f with variance D / (N f)
    spread = math.sqrt(kernel.discriminant / (n * kernel.f))
    mu = kernel.df * eps / kernel.f + spread * source.normal(size=len(levels))
    weight = np.abs((levels + mu[:, None]).prod(axis=1))
    mean = (weight @ mu) / weight.sum()
    got, deviation = exact.at_energy(np.array([eps]), n, kernel)
    assert got[0] == pytest.approx(mean, abs=0.01)
    assert deviation[0] == pytest.approx(
        math.sqrt(weight @ (mu - mean) ** 2 / weight.sum()), rel=0.02
    )


def test_energy_and_shift_are_one_number_where_the_discriminant_is_zero():
    got, deviation = exact.at_energy(np.array([-1.0, 0.5]), 10, theory.exponential(2.0))
    assert got.tolist() == [2.0, -1.0] and not deviation.any()


def test_at_fixed_energy_the_shift_tends_to_its_formula():
    kernel, eps = theory.power(), np.array([-0.7])
    want = theory.shift_at_energy(eps, kernel)
    gaps = [abs(float(exact.at_energy(eps, n, kernel)[0][0] / want[0]) - 1) for n in (10, 40, 160)]
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


@each_of_two
def test_mean_and_spread_of_the_energy_follow_from_those_of_the_shift(kernel):
    laws = exact.sampled(8, 200, 1)
    mean, deviation = exact.energy_moments(laws, 8, kernel)
    mu = 2 * math.sqrt(kernel.ddf) * laws.mean
    assert mean == pytest.approx(kernel.df / kernel.ddf * mu)
    rest = deviation**2 - (kernel.critical_energy * laws.deviation) ** 2
    assert rest == pytest.approx(np.full(9, kernel.discriminant / (8 * kernel.ddf)), abs=1e-12)


def test_minima_lie_above_the_critical_energy_by_the_root_of_2_over_n():
    sizes = np.array([20.0, 40.0, 80.0])
    gap = np.array([1 - exact.least(int(n)).mean[0] for n in sizes]) * np.sqrt(sizes / 2)
    assert np.polyfit(sizes ** (-1 / 3), gap, 1)[1] == pytest.approx(1.0, abs=0.02)
