"""The 3-spin glass as an objective: against plain sums over the tensor as it was drawn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.problems.spin_glass_descent import (
    SLAB,
    SpinGlass,
    distinct,
    draw_couplings,
    fold,
    random_starts,
)

F64 = torch.float64
N, G, S = 7, 2, 3


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensors(n: int = N, count: int = G) -> list[Tensor]:
    return [draw_couplings(n, source(seed)).to(F64) for seed in range(count)]


def points(n: int = N, count: int = G * S, seed: int = 9) -> Tensor:
    theta = random_starts(n, count, source(seed)).to(F64)
    return theta * (math.sqrt(n) / theta.norm(dim=1, keepdim=True))


def energy(couplings: Tensor, s: Tensor) -> Tensor:
    """Return H / N of one point, by the definition."""
    return torch.einsum("ijk,i,j,k->", couplings, s, s, s) / len(s) ** 2


def slow_gradient(couplings: Tensor, s: Tensor) -> Tensor:
    """Return the gradient of H at one point: every index of the raw tensor left open in turn."""
    open_ones = ("ijk,j,k->i", "ijk,i,k->j", "ijk,i,j->k")
    return sum(torch.einsum(sums, couplings, s, s) for sums in open_ones) / len(s)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, SLAB + 3])
def test_energy_and_gradient_are_the_plain_sums(n: int):
    couplings, theta = tensors(n), points(n)
    value, grad = SpinGlass.of(couplings).gradient(theta)
    for member, s in enumerate(theta):
        own = couplings[member // S]
        torch.testing.assert_close(value[member], energy(own, s), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(grad[member], slow_gradient(own, s), rtol=1e-12, atol=1e-13)


def test_single_precision_is_accurate_to_a_millionth():
    couplings, theta = tensors(40), points(40)
    value, grad = SpinGlass.of(couplings).gradient(theta)
    single = SpinGlass.of(couplings, torch.float32)
    low_value, low_grad = single.gradient(theta.float())
    assert (low_value - value).abs().max() < 1e-6
    assert (low_grad - grad).abs().max() < 1e-5


def test_chunks_of_pairs_change_nothing():
    couplings, theta = tensors(6, 3), points(6, 3 * 70)
    whole = SpinGlass.of(couplings).gradient(theta)
    folded = torch.stack([fold(one) for one in couplings])
    parts = SpinGlass(folded, pair_bytes=1).gradient(theta, out=torch.empty_like(theta))
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-14)


def test_a_member_is_the_same_in_every_ensemble():
    couplings, theta = tensors(), points()
    together = SpinGlass.of(couplings).gradient(theta)[1]
    alone = SpinGlass.of(couplings[1:]).gradient(theta[S + 1 : S + 2])[1]
    torch.testing.assert_close(together[S + 1 : S + 2], alone, rtol=1e-14, atol=1e-14)
    last = SpinGlass.of(couplings).part(torch.tensor([False, True])).gradient(theta[S:])[1]
    torch.testing.assert_close(together[S:], last, rtol=1e-14, atol=1e-14)


def test_the_gradient_is_the_slope_of_the_energy():
    (couplings,), (s,) = tensors(count=1), points(count=1)
    grad, h = SpinGlass.of([couplings]).gradient(s[None])[1][0], 1e-5
    for axis in torch.eye(N, dtype=F64):
        slope = (energy(couplings, s + h * axis) - energy(couplings, s - h * axis)) / (2 * h)
        assert N * slope == pytest.approx(float(grad @ axis), rel=1e-7, abs=1e-8)


def curvature(couplings: Tensor, s: Tensor, way: Tensor) -> float:
    """Return the second derivative of H along a great circle, per square of the length moved."""
    h = 1e-3

    def at(t: float) -> Tensor:
        angle = t / math.sqrt(N)
        return N * energy(couplings, s * math.cos(angle) + way * math.sqrt(N) * math.sin(angle))

    # fourth order: the third harmonic of the circle would show in the second
    near, far = at(h) + at(-h), at(2 * h) + at(-2 * h)
    return float((16 * near - far - 30 * at(0.0)) / (12 * h * h))


def test_the_hessian_is_the_curvature_along_great_circles():
    (couplings,), (s,) = tensors(count=1), points(count=1)
    tangent = torch.linalg.qr(s[:, None], mode="complete").Q[:, 1:].T
    plain = torch.empty(N - 1, N - 1, dtype=F64)
    for i in range(N - 1):
        for j in range(N - 1):
            both = curvature(couplings, s, (tangent[i] + tangent[j]) / math.sqrt(2))
            ends = curvature(couplings, s, tangent[i]) + curvature(couplings, s, tangent[j])
            plain[i, j] = both - ends / 2 if i != j else ends / 2
    found = SpinGlass.of([couplings]).hessian_eigenvalues(s[None])[0]
    torch.testing.assert_close(found, torch.linalg.eigvalsh(plain), rtol=0, atol=1e-6)


def test_the_hessian_of_members_is_that_of_each_alone():
    couplings, theta = tensors(), points()
    together = SpinGlass.of(couplings).hessian_eigenvalues(theta)
    alone = SpinGlass.of(couplings[1:]).hessian_eigenvalues(theta[S:])
    torch.testing.assert_close(together[S:], alone, rtol=0, atol=1e-12)


def test_the_spectrum_is_the_semicircle_around_three_times_the_energy():
    theta, problem = points(60, 20), SpinGlass.of(tensors(60, 1))
    shifted = problem.hessian_eigenvalues(theta) + 3 * problem.gradient(theta)[0][:, None]
    edge = 2 * math.sqrt(6)
    assert shifted.mean().abs() < 0.05
    assert shifted.square().mean().sqrt() == pytest.approx(edge / 2, rel=0.03)
    assert shifted.max() == pytest.approx(edge, rel=0.1)


def test_the_slope_at_rest_is_zero_at_a_pole():
    one = torch.zeros(N, N, N, dtype=F64)
    one[0, 0, 0] = -1.0
    pole = math.sqrt(N) * torch.eye(N, dtype=F64)[:1]
    value, slope = SpinGlass.of([one]).at_rest(pole)
    assert value.item() == pytest.approx(-(N**-0.5)) and slope.item() < 1e-14
    elsewhere = SpinGlass.of([one]).at_rest(points(count=1))[1]
    assert elsewhere.item() > 1e-5


def test_a_tensor_depends_on_its_generator_alone():
    assert torch.equal(draw_couplings(5, source(3)), draw_couplings(5, source(3)))
    assert not torch.equal(draw_couplings(5, source(3)), draw_couplings(5, source(4)))
    more = random_starts(5, 10, source(1))
    assert torch.equal(random_starts(5, 4, source(1)), more[:4])
    torch.testing.assert_close(more.norm(dim=1), torch.full((10,), math.sqrt(5.0)))


def test_folding_takes_the_precision_it_is_asked_for():
    couplings = draw_couplings(9, source())
    assert fold(couplings).dtype == torch.float32
    assert fold(couplings, F64).dtype == F64
    torch.testing.assert_close(fold(couplings).double(), fold(couplings, F64), rtol=0, atol=1e-6)


def test_distinct_points_are_counted_once():
    theta = points(20, 6)
    nearly = theta + 1e-4 * torch.randn(6, 20, dtype=F64, generator=source())
    assert distinct(torch.cat([theta, nearly, theta])) == 6
    assert distinct(torch.cat([theta, -theta])) == 12
    assert distinct(theta[:0]) == 0


def test_wrong_arguments_are_named():
    problem = SpinGlass.of(tensors())
    with pytest.raises(ValueError, match=r"theta must have shape \(a multiple of 2, 7\)"):
        problem.gradient(points(count=3))
    with pytest.raises(ValueError, match="folded must have shape"):
        SpinGlass(torch.zeros(1, 5, 7))
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        draw_couplings(1, source())
