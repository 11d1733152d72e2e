"""Dense curvature from structure against torch.func, products by hand, and the ReLU module."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reproductions.optim import network_blocks, network_hessian
from reproductions.optim.network_blocks import Inputs, shared_inputs
from reproductions.optim.network_hessian import network_curvature, network_gauss_newton
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.network_parts import ACTIVATIONS, HEADS
from reproductions.optim.objective import Curvature
from tests.networks import F64, Case, case, loss_of_logits, plain_logits, plain_loss

SHAPES = [
    ((6, 4), []),
    ((6, 5, 4), ["tanh"]),
    ((6, 5, 4), ["relu"]),
    ((3, 1, 2), ["sigmoid"]),
    ((6, 5, 3, 4), ["sigmoid", "relu"]),
    ((4, 5, 3, 4, 3), ["tanh", "linear", "sigmoid"]),
    ((3, 2, 2, 2, 2, 2), ["tanh"] * 4),
]
EVERY = [(*shape, head) for shape in SHAPES for head in HEADS]


def dense(of: Case, chunk: int | None = None) -> Curvature:
    return network_curvature(
        of.layout,
        of.theta,
        of.inputs,
        of.targets,
        activations=of.activations,
        head=of.head,
        chunk=chunk,
    )


def gauss_newton(of: Case, chunk: int | None = None) -> Tensor:
    return network_gauss_newton(
        of.layout,
        of.theta,
        of.inputs,
        of.targets,
        activations=of.activations,
        head=of.head,
        chunk=chunk,
    )


def slow(of: Case) -> Curvature:
    """Differentiate each member's loss twice by torch.func."""

    def loss(own: Tensor) -> Tensor:
        return plain_loss(of, own[None])[0]

    twins = [loss, torch.func.grad(loss), torch.func.hessian(loss)]
    return Curvature(*(torch.stack([twin(own) for own in of.theta]) for twin in twins))


def slow_gauss_newton(of: Case) -> Tensor:
    """Return J' H J, J by torch.func and H too, of the loss by all logits at once."""

    def logits(own: Tensor) -> Tensor:
        return plain_logits(of, own[None])[0].flatten()

    def loss(said: Tensor) -> Tensor:
        return loss_of_logits(of, said.view(1, len(of.inputs), -1))[0]

    found = []
    for own in of.theta:
        jacobian = torch.func.jacrev(logits)(own)
        found.append(jacobian.T @ torch.func.hessian(loss)(logits(own)) @ jacobian)
    return torch.stack(found)


def off(found: Curvature | Tensor, wanted: Curvature | Tensor) -> float:
    if isinstance(found, Tensor):
        assert found.shape == wanted.shape
        return float((found - wanted).abs().max())
    return max(off(one, two) for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize(("widths", "activations", "head"), EVERY)
def test_loss_gradient_and_hessian_are_those_of_torch_func(
    widths: tuple[int, ...], activations: list[str], head: str
):
    of = case(widths, activations, head)
    assert off(dense(of), slow(of)) < 1e-13


@pytest.mark.parametrize(("widths", "activations", "head"), EVERY)
def test_the_gauss_newton_matrix_is_that_of_torch_func(
    widths: tuple[int, ...], activations: list[str], head: str
):
    of = case(widths, activations, head, examples=12)
    assert off(gauss_newton(of), slow_gauss_newton(of)) < 1e-13


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(HEADS)),
    st.integers(1, 3),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.7]),
)
@settings(max_examples=25, deadline=None)
def test_the_hessian_is_right_at_any_size(
    widths: list[int], activation: str, head: str, members: int, examples: int, zeros: float
):
    of = case(tuple(widths), activation, head, members=members, examples=examples, zeros=zeros)
    assert off(dense(of), slow(of)) < 1e-12


@pytest.mark.parametrize("head", sorted(HEADS))
def test_products_by_hand_are_those_of_the_matrices(head: str):
    of = case((20, 8, 6, 5), ["tanh", "sigmoid"], head, members=4, examples=300, zeros=0.3)
    loss = NetworkLoss(of.layout, of.inputs, of.targets, activations=of.activations, head=head)
    source = torch.Generator().manual_seed(3)
    vectors = torch.randn(3, *of.theta.shape, generator=source, dtype=F64)
    for matrix, product in (
        (loss.curvature(of.theta).hessian, loss.product(of.theta, vectors)),
        (loss.gauss_newton(of.theta), loss.gauss_newton_product(of.theta, vectors)),
    ):
        wanted = torch.einsum("epr,qer->qep", matrix, vectors)
        assert off(product, wanted) < 1e-12 * float(wanted.abs().max())
    assert off(loss.curvature(of.theta).gradient, loss.gradient(of.theta)[1]) < 1e-14


def test_the_gauss_newton_matrix_has_no_negative_eigenvalue_but_the_hessian_has():
    of = case((6, 5, 3, 4), "tanh", examples=20)
    assert (torch.linalg.eigvalsh(gauss_newton(of)) > -1e-13).all()
    assert (torch.linalg.eigvalsh(dense(of).hessian)[:, 0] < -1e-4).all()


def test_without_hidden_layers_hessian_and_gauss_newton_matrix_are_one():
    for head in HEADS:
        of = case((6, 4), [], head)
        assert torch.equal(dense(of).hessian, gauss_newton(of))


@pytest.mark.parametrize("zeros", [0.0, 0.8])
def test_the_matrices_are_exactly_symmetric(zeros: float):
    of = case((12, 9, 7, 5), zeros=zeros)  # P = 227: more than one tile of the mirror
    for matrix in (dense(of).hessian, gauss_newton(of)):
        assert torch.equal(matrix, matrix.mT)


@pytest.mark.parametrize("chunk", [1, 7, 39, 40, 1000])
def test_the_size_of_a_chunk_changes_nothing(chunk: int):
    of = case((6, 5, 3, 4), zeros=0.5)
    assert off(dense(of, chunk), dense(of)) < 1e-14
    assert off(gauss_newton(of, chunk), gauss_newton(of)) < 1e-14


def test_members_and_pairs_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch):
    of = case((6, 5, 3, 4), members=5, zeros=0.5)
    wanted = dense(of)
    monkeypatch.setitem(network_hessian.SUMS_BYTES, "cpu", 1)
    monkeypatch.setitem(network_blocks.PANEL_BYTES, "cpu", 8 * 40 * 9)
    assert off(dense(of), wanted) < 1e-15


def test_pairs_that_are_never_both_nonzero_are_left_out():
    x = torch.zeros(3, 4, dtype=F64)
    x[:, 1], x[0, 2], x[1, 3] = 1, 2, 3  # input 0 is dark; 2 and 3 never meet
    found: Inputs = shared_inputs(x)
    assert found.which is not None and found.which.tolist() == [1, 2, 3, 4]
    assert found.counts == [4, 2, 2, 1]
    first, second = torch.triu_indices(5, 5)
    assert found.pairs is not None
    met = list(zip(first[found.pairs].tolist(), second[found.pairs].tolist(), strict=True))
    assert met == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 4), (3, 3), (3, 4), (4, 4)]
    assert shared_inputs(torch.ones(3, 4, dtype=F64)).which is None


def test_the_order_of_the_examples_changes_nothing():
    of = case((6, 5, 3, 4))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = of._replace(inputs=of.inputs[order], targets=of.targets[order])
    assert off(dense(shuffled, chunk=9), dense(of)) < 1e-14


def test_a_member_does_not_depend_on_the_others_even_if_they_are_lost():
    of = case((6, 5, 3, 4))
    alone = dense(of._replace(theta=of.theta[2:]))
    of.theta[1] = torch.nan
    found = dense(of)
    assert not found.hessian[1].isfinite().any()
    assert off(Curvature(*(part[2:] for part in found)), alone) < 1e-15


def test_everything_is_computed_in_the_dtype_of_theta():
    of = case((6, 5, 3, 4), "tanh", "squared")
    found = dense(of._replace(theta=of.theta.float()))
    assert {part.dtype for part in found} == {torch.float32}
    assert off(Curvature(*(part.to(F64) for part in found)), dense(of)) < 1e-5


def test_large_logits_do_not_overflow():
    of = case((6, 5, 3, 4), "relu")
    assert all(part.isfinite().all() for part in dense(of._replace(theta=1e3 * of.theta)))


def test_arguments_are_left_alone():
    of = case((6, 5, 4), zeros=0.5)
    kept = [tensor.clone() for tensor in of[3:]]
    dense(of)
    assert all(map(torch.equal, of[3:], kept))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_hessian_is_the_same_on_a_gpu():
    of = case((6, 5, 3, 4), zeros=0.5)
    there = of._replace(theta=of.theta.cuda(), inputs=of.inputs.cuda(), targets=of.targets.cuda())
    assert off(Curvature(*(part.cpu() for part in dense(there))), dense(of)) < 1e-13


def test_misuse_is_named():
    of = case((6, 5, 4))
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        dense(of, chunk=0)
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 6\), got \(40, 5\)"):
        gauss_newton(of._replace(inputs=of.inputs[:, 1:]))
    with pytest.raises(ValueError, match="theta must have shape"):
        dense(of._replace(theta=of.theta[:, 1:]))
    with pytest.raises(ValueError, match="head must be one of softmax, squared, bernoulli, got"):
        dense(of._replace(head="hinge"))
