"""DDP-SGD against second derivatives, against Path-SGD at one end and the Fisher matrix at the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim import data_dependent_path as module
from reproductions.optim.data_dependent_path import data_path_norm, data_path_scaling, ddp_sgd
from reproductions.optim.layout import Layout
from reproductions.optim.network_hessian import network_gauss_newton
from reproductions.optim.path_scaling import path_norm, path_scaling
from reproductions.optim.path_sgd import path_sgd
from reproductions.optim.rescaling import rescale
from tests.paths import F64, SHAPES, case, data, factors, gradient, logits

LAYOUT = Layout((3, 4, 5, 2))
ALPHAS = [0.0, 0.3, 0.8, 1.0]


def complexity(layout: Layout, own: Tensor, inputs: Tensor, alpha: float) -> Tensor:
    """Return the sum over outputs of w' R w with R written out, () for one member (P,)."""
    x, gammas = inputs, own.new_ones(layout.widths[0])
    for weight, bias in layout.views(own[None]):
        ones = x.new_ones(len(x), 1)
        entering = torch.cat([x, ones], 1)
        moment = entering.T @ entering / len(x)
        matrix = alpha * moment + (1 - alpha) * torch.diag(torch.cat([gammas, ones[0]]))
        columns = torch.cat([weight[0], bias])
        gammas = torch.einsum("uv,uw,wv->v", columns, matrix, columns)
        x = torch.relu(entering @ columns)
    return gammas.sum()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("widths", SHAPES)
def test_norm_and_scaling_are_the_form_written_out_and_half_its_second_derivative(
    widths: tuple[int, ...], alpha: float
):
    layout, theta = case(widths, members=2)
    inputs, _ = data(layout)
    norm = data_path_norm(layout, theta, inputs, alpha)
    kappa = data_path_scaling(layout, theta, inputs, alpha)
    for member, own in enumerate(theta):
        wanted = complexity(layout, own, inputs, alpha)
        torch.testing.assert_close(norm[member], wanted, rtol=1e-12, atol=0)
        hessian = torch.func.hessian(lambda at: complexity(layout, at, inputs, alpha))(own)
        torch.testing.assert_close(kappa[member], hessian.diagonal() / 2, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("widths", SHAPES)
def test_without_data_it_is_path_sgd_to_the_last_bit(widths: tuple[int, ...]):
    layout, theta = case(widths)
    inputs, targets = data(layout)
    assert torch.equal(data_path_scaling(layout, theta, inputs, 0.0), path_scaling(layout, theta))
    torch.testing.assert_close(
        data_path_norm(layout, theta, inputs, 0.0), path_norm(layout, theta), rtol=1e-14, atol=0
    )
    grad = gradient(layout, theta, inputs, targets)
    steps = [
        made.update(grad, made.init(theta), theta)[0]
        for made in (ddp_sgd(layout, 0.1, inputs, 0.0), path_sgd(layout, 0.1))
    ]
    torch.testing.assert_close(*steps, rtol=1e-14, atol=0)


@pytest.mark.parametrize("widths", SHAPES)
def test_with_data_alone_it_is_the_diagonal_of_the_fisher_matrix_of_gaussian_outputs(
    widths: tuple[int, ...],
):
    layout, theta = case(widths)
    inputs, _ = data(layout)
    targets = torch.zeros(len(inputs), widths[-1], dtype=F64)
    fisher = network_gauss_newton(
        layout, theta, inputs, targets, activations="relu", head="squared"
    )
    kappa = data_path_scaling(layout, theta, inputs, 1.0)
    torch.testing.assert_close(kappa, fisher.diagonal(dim1=1, dim2=2), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_norm_and_steps_commute_with_rescaling(alpha: float):
    layout, theta = case(LAYOUT.widths)
    inputs, targets = data(layout)
    by, transform = factors(layout, len(theta)), ddp_sgd(layout, 0.05, inputs, alpha)
    ends, norms = [], []
    for at in (theta, rescale(layout, theta, by)):
        norms.append(data_path_norm(layout, at, inputs, alpha))
        state = transform.init(at)
        for _ in range(10):
            step, state = transform.update(gradient(layout, at, inputs, targets), state, at)
            at = at + step
        ends.append(logits(layout, at, inputs))
    torch.testing.assert_close(*norms, rtol=1e-11, atol=0)
    torch.testing.assert_close(*ends, rtol=1e-8, atol=1e-10)


def test_a_weight_on_no_path_is_not_moved():
    layout, theta = case(LAYOUT.widths)
    layout.views(theta)[1][0][:, 1] = 0  # unit 1 of the first hidden layer leads nowhere
    inputs, targets = data(layout)
    transform = ddp_sgd(layout, 0.1, inputs, 0.5)
    step, state = transform.update(
        gradient(layout, theta, inputs, targets), transform.init(theta), theta
    )
    assert (state.kappa[:, 3:6] == 0).all() and step.isfinite().all()
    assert (step[:, 3:6] == 0).all() and (step != 0).any()


def test_chunks_and_members_change_nothing(monkeypatch: pytest.MonkeyPatch):
    layout, theta = case(LAYOUT.widths)
    inputs, _ = data(layout)
    whole = data_path_scaling(layout, theta, inputs, 0.4)
    alone = data_path_scaling(layout, theta[1:2], inputs, 0.4)
    torch.testing.assert_close(alone, whole[1:2], rtol=1e-12, atol=0)
    monkeypatch.setitem(module.CHUNK_NUMBERS, "cpu", 3 * 25 * 5)
    parts = data_path_scaling(layout, theta, inputs, 0.4)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-15)


def test_misuse_is_named():
    inputs = torch.ones(4, 3)
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
            ddp_sgd(LAYOUT, 0.1, inputs, alpha)
    with pytest.raises(ValueError, match=r"inputs must have shape \(N, 3\), got \(4, 2\)"):
        data_path_norm(LAYOUT, LAYOUT.initialise([0]), inputs[:, :2], 0.5)
