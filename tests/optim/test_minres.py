"""Minimum residuals against pseudo-inverses of matrices whose eigenvalues are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import minres as scipy_minres
from torch import Tensor

from reproductions.optim.minres import Solution, minres, size_of

F64 = torch.float64
INDEFINITE = (-3.0, -2.0, -1.0, 0.1, 1.0, 2.0, 5.0, 7.0)
SINGULAR = (-3.0, -2.0, 0.0, 0.0, 0.1, 2.0, 5.0, 7.0)


def matrices(values: Sequence[float], members: int = 3) -> Tensor:
    """Draw symmetric matrices with these eigenvalues; a member's are its own whatever E is."""
    drawn = []
    for member in range(members):
        source = torch.Generator().manual_seed(member)
        turn = torch.linalg.qr(torch.randn(len(values), len(values), generator=source, dtype=F64))
        drawn.append(turn[0] @ torch.diag(torch.tensor(values, dtype=F64)) @ turn[0].T)
    return torch.stack(drawn)


def sides(members: int = 3, size: int = 8) -> Tensor:
    source = torch.Generator().manual_seed(99)
    return torch.randn(members, size, generator=source, dtype=F64)


def times(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda vectors: torch.einsum("epq,eq->ep", matrix, vectors)


def solve(matrix: Tensor, b: Tensor, steps: int = 30, share: float = 1e-12) -> Solution:
    return minres(times(matrix), b, steps=steps, tolerance=share, flat=share)


def shortest(matrix: Tensor, b: Tensor) -> Tensor:
    return times(torch.linalg.pinv(matrix, rtol=1e-10, hermitian=True))(b)


def test_an_indefinite_system_is_solved():
    matrix, b = matrices(INDEFINITE), sides()
    found = solve(matrix, b)
    torch.testing.assert_close(found.solution, shortest(matrix, b), rtol=0, atol=1e-10)
    assert (found.residual <= 1e-11).all() and not found.flat.any()
    assert (found.iterations >= 8).all() and (found.iterations <= 10).all()


def test_a_singular_system_with_solutions_gets_the_shortest_of_them():
    matrix = matrices(SINGULAR)
    b = times(matrix)(sides())
    found = solve(matrix, b)
    torch.testing.assert_close(found.solution, shortest(matrix, b), rtol=0, atol=1e-10)
    assert (found.residual <= 1e-11 * b.norm(dim=1)).all()
    assert (found.iterations <= 8).all()  # there are six eigenvalues that are not zero


def test_without_a_solution_the_part_in_the_kernel_is_left_and_x_stays_the_shortest():
    matrix, b = matrices(SINGULAR), sides()
    wanted = shortest(matrix, b)
    left = (b - times(matrix)(wanted)).norm(dim=1)
    assert (left > 0.1).all()
    found = solve(matrix, b)
    torch.testing.assert_close(found.residual, left)
    torch.testing.assert_close(found.solution, wanted, rtol=0, atol=1e-9)
    assert found.flat.all()


@pytest.mark.parametrize("values", [INDEFINITE, SINGULAR])
def test_it_is_the_least_residual_of_each_krylov_space(values: Sequence[float]):
    """The slow twin spans the space and solves the least squares in it."""
    matrix, b = matrices(values, 1), sides(1)
    powers = [b[0]]
    for steps in range(1, 6):
        space = torch.stack(powers, 1)
        weights = torch.linalg.lstsq(matrix[0] @ space, b[0, :, None]).solution
        least = (b[0] - (matrix[0] @ space @ weights)[:, 0]).norm()
        found = minres(times(matrix), b, steps=steps, tolerance=0, flat=0)
        torch.testing.assert_close(found.residual[0], least, rtol=1e-8, atol=1e-12)
        assert found.iterations.item() == steps
        powers.append(matrix[0] @ powers[-1])


def test_the_iterates_are_those_of_scipy():
    matrix, b = matrices(INDEFINITE, 1), sides(1)
    for steps in range(1, 8):
        wanted = scipy_minres(matrix[0].numpy(), b[0].numpy(), rtol=1e-16, maxiter=steps)[0]
        found = minres(times(matrix), b, steps=steps, tolerance=0, flat=0).solution[0]
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("values", [INDEFINITE, SINGULAR])
def test_the_residual_never_grows_and_is_that_of_the_solution(values: Sequence[float]):
    matrix, b = matrices(values), sides()
    found = [solve(matrix, b, steps=steps) for steps in range(15)]
    assert torch.equal(found[0].solution, 0 * b)
    torch.testing.assert_close(found[0].residual, b.norm(dim=1))
    for before, after in itertools.pairwise(found):
        assert (after.residual <= before.residual * (1 + 1e-9) + 1e-12).all()
    for one in found:
        image = times(matrix)(one.solution)
        torch.testing.assert_close(one.image, image)
        torch.testing.assert_close(one.residual, (b - image).norm(dim=1), rtol=1e-9, atol=1e-11)


def test_a_member_ends_at_the_residual_that_was_asked_for():
    matrix, b = matrices(INDEFINITE), sides()
    found = minres(times(matrix), b, steps=30, tolerance=0.1)
    share = found.residual / b.norm(dim=1)
    before = [
        minres(times(matrix[[e]]), b[[e]], steps=int(steps) - 1, tolerance=0).residual / b[e].norm()
        for e, steps in enumerate(found.iterations)
    ]
    assert (share <= 0.1).all() and (torch.cat(before) > 0.1).all()


@pytest.mark.parametrize("trace", [0.0, 1e-9])
def test_eigenvalues_below_the_cut_are_left_alone(trace: float):
    """b lies along one of 1e-8 but for a trace of the others: no step beats a step of 1e8."""
    values = torch.tensor([[1e-8, 1.0, 2.0]], dtype=F64)
    b = torch.tensor([[1.0, trace, trace]], dtype=F64) if trace else torch.ones(1, 3, dtype=F64)
    found = minres(lambda vectors: values * vectors, b, steps=20, tolerance=1e-6, flat=1e-6)
    assert found.flat.all() and found.residual.item() == pytest.approx(1, abs=1e-5)
    wanted = torch.tensor([[0.0, b[0, 1], b[0, 2] / 2]], dtype=F64)
    torch.testing.assert_close(found.solution, wanted, rtol=0, atol=1e-5)


def test_members_do_not_know_of_each_other_however_early_one_ends():
    """One has nothing to solve, one is done in one step, one has no curvature; others go on."""
    matrix, b = matrices(INDEFINITE, 6), sides(6)
    matrix[1], matrix[2] = 2 * torch.eye(8, dtype=F64), 0
    b[0] = 0
    whole = solve(matrix, b)
    assert whole.solution.isfinite().all() and whole.residual.isfinite().all()
    assert whole.iterations[:3].tolist() == [0, 1, 0] and (whole.iterations[3:] >= 8).all()
    torch.testing.assert_close(whole.solution[1], b[1] / 2)
    assert torch.equal(whole.solution[2], 0 * b[2]) and whole.flat.tolist()[2]
    for member in range(6):
        alone = solve(matrix[[member]], b[[member]])
        torch.testing.assert_close(alone.solution[0], whole.solution[member])
        assert alone.iterations[0] == whole.iterations[member]


def test_what_is_not_finite_spoils_no_other():
    matrix, b = matrices(INDEFINITE, 4), sides(4)
    wanted = solve(matrix, b)
    b[1, 3], matrix[2, 0, 0] = torch.nan, torch.inf
    found = solve(matrix, b)
    assert torch.equal(found.solution[1:3], torch.zeros(2, 8, dtype=F64))
    assert found.iterations.tolist()[1:3] == [0, 0] and not found.residual[1:3].isfinite().any()
    torch.testing.assert_close(found.solution[[0, 3]], wanted.solution[[0, 3]])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_going_on_for_ever_does_no_harm(dtype: torch.dtype):
    """Asked for more than there is, it ends by itself, or runs on at the level of roundings."""
    for values in (INDEFINITE, SINGULAR, (2.0, 2.0, 2.0, -1.0, -1.0, 0.0, 0.0, 0.0)):
        matrix, b = matrices(values), sides()
        found = minres(times(matrix.to(dtype)), b.to(dtype), steps=200, tolerance=0, flat=0)
        tight = 2e-3 if dtype == torch.float32 else 1e-10
        wanted = times(matrix)(shortest(matrix, b))
        torch.testing.assert_close(found.image.to(F64), wanted, rtol=0, atol=tight)
        assert found.solution.norm(dim=1).max() < 40


def test_products_are_asked_for_as_the_cost_says():
    matrix, asked = matrices(INDEFINITE), []

    def counted(vectors: Tensor) -> Tensor:
        asked.append(vectors)
        return times(matrix)(vectors)

    found = minres(counted, sides(), steps=5, tolerance=0)
    assert len(asked) == 5 + 3 + 1 and (found.iterations == 5).all()


def test_the_size_of_a_matrix_is_bounded_from_below_and_nearly_found():
    found = size_of(times(matrices(INDEFINITE)), sides())
    assert (found <= 7 * (1 + 1e-12)).all() and (found > 5).all()
    assert torch.equal(size_of(times(matrices(INDEFINITE)), 0 * sides()), torch.zeros(3, 1).to(F64))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"tolerance": -1.0}, {"flat": float("nan")}])
def test_misuse_is_named(wrong: dict[str, float]):
    given: dict = {"steps": 3, "tolerance": 0.1, "flat": 0.1, **wrong}
    with pytest.raises(ValueError, match="must not be negative, got"):
        minres(times(matrices(INDEFINITE)), sides(), **given)
