"""Products with the Hessian, Lanczos and the index, against dense matrices and by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim.curvature import (
    Lanczos,
    Product,
    extreme_eigenvalues,
    hessian_vector_product,
    lanczos,
    normalised_index,
    orthogonalised,
    ritz,
)
from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import network_curvature

F64 = torch.float64


def quartic(theta: Tensor) -> Tensor:
    """Return sum of theta^4 / 12 and the product of neighbours, (E,)."""
    return (theta**4).sum(1) / 12 + (theta[:, 1:] * theta[:, :-1]).sum(1)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=F64)


def test_a_product_is_that_with_the_hessian_of_each_member():
    theta, vectors = draw(3, 5), draw(3, 5).flip(1)
    neighbours = torch.ones(4, dtype=F64).diag(1) + torch.ones(4, dtype=F64).diag(-1)
    wanted = theta**2 * vectors + vectors @ neighbours
    assert (hessian_vector_product(quartic, theta, vectors) - wanted).abs().max() < 1e-14


def test_several_products_at_once_are_those_one_by_one():
    theta, vectors = draw(3, 5), draw(4, 3, 5)
    one_by_one = [hessian_vector_product(quartic, theta, vector) for vector in vectors]
    together = hessian_vector_product(quartic, theta, vectors)
    torch.testing.assert_close(together, torch.stack(one_by_one), rtol=1e-14, atol=1e-15)


def test_products_with_a_network_are_those_of_its_dense_hessian():
    layout = Layout((6, 5, 4))
    theta, inputs = layout.initialise(range(3), dtype=F64), draw(30, 6)
    targets = torch.arange(30) % 4

    def loss(at: Tensor) -> Tensor:
        (weight, bias), (last, offset) = layout.views(at)
        logits = torch.relu(inputs @ weight + bias[:, None]) @ last + offset[:, None]
        chosen = logits.gather(2, targets.expand(len(at), -1).unsqueeze(2)).squeeze(2)
        return (logits.logsumexp(2) - chosen).mean(1)

    vectors = draw(3, layout.parameters)
    hessian = network_curvature(layout, theta, inputs, targets, activations="relu").hessian
    wanted = torch.einsum("epq,eq->ep", hessian, vectors)
    assert (hessian_vector_product(loss, theta, vectors) - wanted).abs().max() < 1e-14


@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 4), (2, 2, 3, 5)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"vectors must have shape \(3, 5\) or \(Q, 3, 5\)"):
        hessian_vector_product(quartic, draw(3, 5), draw(*shape))


def test_the_index_is_the_fraction_below_minus_the_threshold():
    eigenvalues = torch.tensor([[-1.0, -0.001, 0.0, 2.0], [-3.0, -2.0, -1.0, -0.5]], dtype=F64)
    assert normalised_index(eigenvalues).tolist() == [0.5, 1.0]
    assert normalised_index(eigenvalues, 0.001).tolist() == [0.25, 1.0]
    assert normalised_index(eigenvalues, 1.0).tolist() == [0.0, 0.5]
    assert normalised_index(eigenvalues[0].float(), 0.5).item() == 0.25


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor])
def test_several_thresholds_give_the_index_at_each(kind: type):
    eigenvalues = draw(3, 2, 50)
    levels = [0.0, 0.3, 1.0]
    one_by_one = [normalised_index(eigenvalues, level) for level in levels]
    together = normalised_index(eigenvalues, kind(levels))
    assert torch.equal(together, torch.stack(one_by_one, -1))
    assert together.shape == (3, 2, 3) and (together.diff() <= 0).all()


def test_an_index_of_what_has_no_sign_is_refused():
    with pytest.raises(ValueError, match="threshold must not be negative, got -1"):
        normalised_index(draw(3), -1.0)
    with pytest.raises(ValueError, match="threshold must not be negative, got"):
        normalised_index(draw(3), [0.0, torch.nan])
    with pytest.raises(ValueError, match="eigenvalues must be numbers"):
        normalised_index(torch.tensor([1.0, torch.nan]))


def symmetric(members: int, size: int) -> Tensor:
    drawn = draw(members, size, size)
    return (drawn + drawn.mT) / 2


def times(matrix: Tensor) -> Product:
    """Return vectors (..., E, P) -> matrix (E, P, P) times each."""
    return lambda vectors: (matrix @ vectors.unsqueeze(-1)).squeeze(-1)


def with_eigenvalues(*spectra: list[float]) -> Tensor:
    """Return (E, P, P), each of a spectrum, in a basis of no special directions."""
    turn = torch.linalg.qr(draw(len(spectra[0]), len(spectra[0])))[0]
    return turn @ torch.diag_embed(torch.tensor(spectra, dtype=F64)) @ turn.T


def tridiagonal(found: Lanczos) -> Tensor:
    side = torch.diag_embed(found.off_diagonal, 1)
    return torch.diag_embed(found.diagonal) + side + side.mT


def plain_lanczos(matrix: Tensor, start: Tensor, steps: int) -> tuple[list[Tensor], list[float]]:
    """Gram and Schmidt on start, H start, H^2 start, ...: the slow twin, of one member."""
    basis = [start / start.norm()]
    for _ in range(steps - 1):
        new = matrix @ basis[-1]
        for _ in range(2):
            for old in basis:
                new = new - (old @ new) * old
        basis.append(new / new.norm())
    return basis, [float(vector @ matrix @ vector) for vector in basis]


@pytest.mark.parametrize("reorthogonalise", [True, False])
def test_lanczos_is_gram_and_schmidt_on_powers(reorthogonalise: bool):
    matrix, start = symmetric(3, 12), draw(3, 12)
    found = lanczos(times(matrix), start, 5, reorthogonalise=reorthogonalise)
    for member in range(3):
        basis, diagonal = plain_lanczos(matrix[member], start[member], 5)
        torch.testing.assert_close(found.basis[member], torch.stack(basis), rtol=0, atol=1e-12)
        assert found.diagonal[member].tolist() == pytest.approx(diagonal, abs=1e-12)
    assert found.valid.tolist() == [5, 5, 5]


def test_lanczos_makes_the_matrix_tridiagonal_up_to_its_residual():
    """H V^T = V^T T + residual following e_Q^T, the identity that everything rests on."""
    matrix, start = symmetric(3, 40), draw(3, 40)
    found = lanczos(times(matrix), start, 15, keep_products=True)
    left = matrix @ found.basis.mT
    right = found.basis.mT @ tridiagonal(found)
    right[:, :, -1] += found.residual[:, None] * found.following
    assert (left - right).abs().max() < 1e-12
    assert (found.products - left.mT).abs().max() < 1e-12
    whole = torch.cat([found.basis, found.following[:, None]], 1)
    assert (whole @ whole.mT - torch.eye(16, dtype=F64)).abs().max() < 1e-14


def test_reorthogonalised_the_basis_stays_orthonormal_where_plain_recurrence_loses_it():
    """An outlying eigenvalue converges within a few steps; then rounding brings it back."""
    matrix = with_eigenvalues([100.0, *torch.linspace(0, 1, 59, dtype=F64).tolist()])
    start = draw(1, 60)
    unit = torch.eye(40, dtype=F64)
    kept = lanczos(times(matrix), start, 40).basis[0]
    lost = lanczos(times(matrix), start, 40, reorthogonalise=False)
    assert (kept @ kept.T - unit).abs().max() < 1e-14
    assert (lost.basis[0] @ lost.basis[0].T - unit).abs().max() > 0.1
    copies = (ritz(lost).values - 100).abs() < 1e-6
    assert copies.sum() > 1


@pytest.mark.parametrize(("dtype", "rounding"), [(F64, 1e-12), (torch.float32, 1e-4)])
def test_a_space_that_closes_stops_its_member_and_no_other(dtype: torch.dtype, rounding: float):
    matrix = with_eigenvalues(
        [1.0] * 8, [1.0, 2.0, 3.0] + [3.0] * 5, [float(value) for value in range(8)], [0.0] * 8
    )
    matrix, start = matrix.to(dtype), draw(4, 8).to(dtype)
    found = lanczos(times(matrix), start, 8, keep_products=True)
    assert found.valid.tolist() == [1, 3, 8, 1]
    assert all(part.isfinite().all() for part in found)
    beyond = torch.arange(8) >= found.valid[:, None]
    assert (found.basis[beyond] == 0).all() and (found.products[beyond] == 0).all()
    assert (found.residual == 0).all() and (found.following == 0).all()
    alone = lanczos(times(matrix[2:3]), start[2:3], 8)
    assert (alone.basis - found.basis[2:3]).abs().max() < rounding
    values = ritz(found).values
    assert values[0].tolist() == pytest.approx([1.0] * 8, abs=rounding)
    assert values[2].tolist() == pytest.approx(list(range(8)), abs=rounding)
    assert {round(value, 3) for value in values[1].tolist()} >= {1.0, 2.0, 3.0}


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 1000), st.lists(st.integers(-2, 2)))
@settings(max_examples=60, deadline=None)
def test_whatever_the_spectrum_valid_vectors_are_orthonormal_and_tridiagonalise(
    size: int, steps: int, seed: int, values: list[int]
):
    """Eigenvalues that coincide or vanish close the space early, at every possible step."""
    source = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(size, size, generator=source, dtype=F64))[0]
    spectrum = torch.tensor([*values, *[0] * size][:size], dtype=F64)
    matrix = (turn * spectrum @ turn.T)[None]
    found = lanczos(times(matrix), torch.randn(1, size, generator=source, dtype=F64), steps)
    valid = int(found.valid)
    assert valid == min(steps, len(spectrum.unique()))
    basis = found.basis[0, :valid]
    assert (basis @ basis.T - torch.eye(valid, dtype=F64)).abs().max() < 1e-12
    inside = tridiagonal(found)[0, :valid, :valid]
    assert (basis @ matrix[0] @ basis.T - inside).abs().max() < 1e-12
    assert (found.basis[0, valid:] == 0).all()


def test_more_steps_than_dimensions_find_no_more_vectors():
    found = lanczos(times(symmetric(2, 6)), draw(2, 6), 9)
    assert found.valid.tolist() == [6, 6] and found.basis.isfinite().all()
    wanted = torch.linalg.eigvalsh(symmetric(2, 6))
    full = lanczos(times(symmetric(2, 6)), draw(2, 6), 6)
    torch.testing.assert_close(ritz(full).values, wanted, rtol=0, atol=1e-13)


def test_a_start_of_length_zero_or_a_product_that_is_not_finite_gives_no_vector():
    matrix, start = symmetric(4, 6), draw(4, 6)
    start[0] = 0
    start[1, 2] = torch.nan
    matrix[2, 3, 4] = torch.inf
    found = lanczos(times(matrix), start, 4)
    assert found.valid.tolist() == [0, 0, 0, 4]
    assert found.basis.isfinite().all() and (found.basis[:3] == 0).all()
    values, weights, bounds = ritz(found)
    assert values[:3].isnan().all() and weights[:3].isnan().all() and bounds[:3].isnan().all()
    assert values[3].isfinite().all()


def test_probes_of_a_member_go_as_they_would_alone():
    matrix, starts = symmetric(2, 10), draw(3, 2, 10)
    together = lanczos(times(matrix), starts, 4)
    assert together.basis.shape == (3, 2, 4, 10) and together.valid.shape == (3, 2)
    for number, start in enumerate(starts):
        alone = lanczos(times(matrix), start, 4)
        torch.testing.assert_close(together.basis[number], alone.basis, rtol=0, atol=1e-13)
        torch.testing.assert_close(together.off_diagonal[number], alone.off_diagonal)


def test_the_length_of_the_start_does_not_matter():
    product, start = times(symmetric(2, 10)), draw(2, 10)
    short = lanczos(product, 1e-9 * start, 5)
    assert (short.basis - lanczos(product, start, 5).basis).abs().max() < 1e-12


def test_orthogonalised_vectors_have_no_part_along_the_basis():
    basis = lanczos(times(symmetric(2, 10)), draw(2, 10), 4).basis
    vectors = 1e6 * basis.sum(1) + draw(2, 10)
    left = orthogonalised(vectors, basis)
    assert (basis @ left.unsqueeze(-1)).abs().max() < 1e-14
    assert (
        (vectors - left) - (basis.mT @ (basis @ vectors.unsqueeze(-1))).squeeze(-1)
    ).norm() < 1e-9


def test_ritz_weights_are_a_quadrature_exact_up_to_twice_the_steps():
    matrix, start = symmetric(3, 12), draw(3, 12)
    values, weights, _ = ritz(lanczos(times(matrix), start, 4))
    exact, vectors = torch.linalg.eigh(matrix)
    seen = torch.einsum("epq,ep->eq", vectors, start / start.norm(dim=1, keepdim=True)).square()
    for power in range(8):
        wanted = (seen * exact**power).sum(1)
        torch.testing.assert_close((weights * values**power).sum(1), wanted, rtol=1e-10, atol=0)
    assert ((weights * values**8).sum(1) - (seen * exact**8).sum(1)).abs().min() > 1e-3


def test_an_eigenvalue_lies_within_the_bound_of_every_ritz_value():
    matrix = symmetric(3, 40)
    values, _, bounds = ritz(lanczos(times(matrix), draw(3, 40), 12))
    exact = torch.linalg.eigvalsh(matrix)
    nearest = (values.unsqueeze(-1) - exact.unsqueeze(-2)).abs().amin(-1)
    assert (nearest <= bounds + 1e-12).all()
    assert bounds.min() < 0.1 and bounds.max() > 0.1


def test_extreme_eigenvalues_are_those_of_the_dense_matrix_and_never_beyond():
    matrix = symmetric(3, 60)
    exact = torch.linalg.eigvalsh(matrix)
    for steps, accuracy in [(10, 2.0), (45, 1e-4), (60, 1e-11)]:
        source = torch.Generator().manual_seed(1)
        found = extreme_eigenvalues(times(matrix), draw(3, 60), steps, source)
        low, high = found.smallest - exact[:, 0], exact[:, -1] - found.largest
        assert (low > -1e-12).all() and (high > -1e-12).all()
        assert (low <= found.smallest_bound + 1e-12).all()
        assert (high <= found.largest_bound + 1e-12).all()
        assert max(low.max(), high.max()) < accuracy


def test_a_member_has_the_same_ends_in_every_ensemble_and_dtype():
    matrix, like = symmetric(3, 20), draw(3, 20)

    def ends(matrix: Tensor, like: Tensor) -> Tensor:
        source = torch.Generator().manual_seed(4)
        return torch.stack(extreme_eigenvalues(times(matrix), like, 8, source)[:2])

    together = ends(matrix, like)
    assert (ends(matrix[1:2], like[1:2]) - together[:, 1:2]).abs().max() < 1e-13
    single = ends(matrix.float(), like.float())
    assert single.dtype == torch.float32 and (single - together).abs().max() < 1e-4


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        lanczos(times(symmetric(1, 3)), draw(1, 3), 0)
