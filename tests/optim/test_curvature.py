"""Products with the Hessian and the index, against the dense Hessian and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.curvature import hessian_vector_product, normalised_index
from reproductions.optim.layout import Layout
from reproductions.optim.relu_hessian import relu_hessian

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
    wanted = torch.einsum("epq,eq->ep", relu_hessian(layout, theta, inputs, targets), vectors)
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


def test_an_index_of_what_has_no_sign_is_refused():
    with pytest.raises(ValueError, match="threshold must not be negative, got -1"):
        normalised_index(draw(3), -1.0)
    with pytest.raises(ValueError, match="eigenvalues must be numbers"):
        normalised_index(torch.tensor([1.0, torch.nan]))
