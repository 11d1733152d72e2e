"""Steps from eigendecompositions against solving the equations they stand for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim import eigensteps
from reproductions.optim.eigensteps import (
    METHODS,
    Spectrum,
    damped_newton_step,
    decompose,
    directions,
    newton_step,
    saddle_free_step,
)
from reproductions.optim.objective import Curvature

F64 = torch.float64


def case(members: int = 3, size: int = 6, seed: int = 0) -> Curvature:
    """Return random gradients and indefinite Hessians without small eigenvalues."""
    source = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(members, size, size, generator=source, dtype=F64)).Q
    values = 0.5 + torch.rand(members, size, generator=source, dtype=F64)
    values *= torch.where(torch.arange(size) % 3 == 0, -1.0, 1.0)
    hessian = basis @ torch.diag_embed(values) @ basis.mT
    gradient = torch.randn(members, size, generator=source, dtype=F64)
    return Curvature(gradient.new_zeros(members), gradient, (hessian + hessian.mT) / 2)


def solve(matrix: Tensor, gradient: Tensor) -> Tensor:
    return -torch.linalg.solve(matrix, gradient)


def absolute(matrix: Tensor) -> Tensor:
    """Return |H| as the root of H H, by Newton's iteration X <- (X + X^-1 H^2) / 2."""
    square, root = matrix @ matrix, torch.eye(matrix.shape[-1], dtype=F64).expand_as(matrix)
    for _ in range(60):
        root = (root + torch.linalg.solve(root, square)) / 2
    return root


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 99), st.sampled_from([0.0, 0.1, 2.0]))
@settings(max_examples=25, deadline=None)
def test_steps_solve_their_equations(members: int, size: int, seed: int, damping: float):
    of = case(members, size, seed)
    shift = damping * torch.eye(size, dtype=F64)
    near = {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(newton_step(of), solve(of.hessian, of.gradient), **near)
    wanted = solve(absolute(of.hessian) + shift, of.gradient)
    torch.testing.assert_close(saddle_free_step(of, damping), wanted, **near)
    damped = of.hessian + shift
    if torch.linalg.cond(damped).max() < 1e4:
        torch.testing.assert_close(
            damped_newton_step(of, damping), solve(damped, of.gradient), **near
        )


def test_dampings_may_differ_between_members():
    of = case()
    dampings = torch.tensor([[0.1], [1.0], [3.0]], dtype=F64)
    for step in (damped_newton_step, saddle_free_step):
        found = step(of, dampings)
        for member, damping in enumerate(dampings[:, 0].tolist()):
            alone = step(Curvature(*(p[member : member + 1] for p in of)), damping)
            torch.testing.assert_close(found[member : member + 1], alone)


def test_one_decomposition_serves_all_dampings():
    of = case()
    spectrum, dampings = decompose(of.hessian, of.gradient), torch.tensor([1.0, 0.1, 0.0])
    for name, step in [("damped_newton", damped_newton_step), ("saddle_free", saddle_free_step)]:
        found = directions(spectrum, METHODS[name], dampings)
        for damping, one in zip(dampings.tolist(), found, strict=True):
            torch.testing.assert_close(one, step(of, damping))
            torch.testing.assert_close(one, step(spectrum, damping))


def test_where_curvature_is_positive_saddle_free_newton_is_newton():
    of = case()
    positive = Curvature(of.loss, of.gradient, of.hessian @ of.hessian)
    torch.testing.assert_close(saddle_free_step(positive), newton_step(positive))


def test_saddle_free_descends_along_every_eigenvector_and_newton_does_not():
    of = case()
    spectrum = decompose(of.hessian, of.gradient)

    def slopes(step: Tensor) -> Tensor:
        return torch.einsum("epq,ep->eq", spectrum.vectors, step) * spectrum.coefficients

    assert (slopes(saddle_free_step(of)) < 0).all()
    assert torch.equal(slopes(newton_step(of)) > 0, spectrum.values < 0)


def test_a_zero_gradient_is_left_at_rest():
    of = case()
    rest = of._replace(gradient=torch.zeros_like(of.gradient))
    for step in (newton_step(rest), damped_newton_step(rest, 0.1), saddle_free_step(rest)):
        assert (step == 0).all()


def test_undamped_steps_are_those_of_the_pseudo_inverse():
    of = case()
    flat = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    singular = of._replace(hessian=flat @ of.hessian[:, :4, :4] @ flat.T)
    inverse = torch.linalg.pinv(singular.hessian, hermitian=True)
    wanted = -(inverse @ singular.gradient[:, :, None])[:, :, 0]
    torch.testing.assert_close(newton_step(singular), wanted)
    zero = of._replace(hessian=torch.zeros_like(of.hessian))
    assert (newton_step(zero) == 0).all()
    torch.testing.assert_close(saddle_free_step(zero, 0.5), -2 * of.gradient)


def test_a_cut_leaves_small_curvature_alone():
    hessian = torch.diag(torch.tensor([2.0, 1e-3, -1e-9], dtype=F64))[None]
    of = Curvature(torch.zeros(1), torch.ones(1, 3, dtype=F64), hessian)
    torch.testing.assert_close(newton_step(of)[0].tolist(), [-0.5, -1e3, 1e9])
    torch.testing.assert_close(newton_step(of, cut=1e-6)[0].tolist(), [-0.5, -1e3, 0.0])


def test_members_do_not_know_of_each_other():
    of, order = case(), [2, 0, 1]
    permuted = Curvature(*(part[order] for part in of))
    one = Curvature(*(part[1:2] for part in of))
    for step in (newton_step, lambda at: damped_newton_step(at, 0.1), saddle_free_step):
        torch.testing.assert_close(step(permuted), step(of)[order], rtol=1e-13, atol=0)
        torch.testing.assert_close(step(one), step(of)[1:2], rtol=1e-13, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_matrix_that_is_not_finite_spoils_no_other(bad: float):
    of = case()
    wanted = saddle_free_step(of)
    of.hessian[1, 2, 3] = bad
    found = saddle_free_step(of)
    assert not found[1].isfinite().any()
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


def test_a_decomposition_that_fails_spoils_no_other(monkeypatch: pytest.MonkeyPatch):
    of, eigh = case(), torch.linalg.eigh
    wanted = decompose(of.hessian, of.gradient)

    def fails(matrix: Tensor) -> object:
        if (matrix == of.hessian[1]).flatten(1).all(1).any():
            raise torch.linalg.LinAlgError("failed to converge")
        return eigh(matrix)

    monkeypatch.setattr(eigensteps.torch.linalg, "eigh", fails)
    found = decompose(of.hessian, of.gradient)
    assert found.values[1].isnan().all()
    for part, whole in zip(found, wanted, strict=True):
        assert torch.equal(part[[0, 2]], whole[[0, 2]])


def test_everything_is_computed_in_the_dtype_of_the_matrix():
    of = case()
    single = Curvature(*(part.float() for part in of))
    found = decompose(single.hessian, single.gradient)
    assert isinstance(found, Spectrum) and {part.dtype for part in found} == {torch.float32}
    torch.testing.assert_close(
        saddle_free_step(single).double(), saddle_free_step(of), rtol=1e-4, atol=1e-5
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_steps_are_the_same_on_a_gpu():
    of = case()
    moved = Curvature(*(part.cuda() for part in of))
    torch.testing.assert_close(saddle_free_step(moved, 0.1).cpu(), saddle_free_step(of, 0.1))
