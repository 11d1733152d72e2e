"""Networks with one hidden layer against torch's own derivatives, and what is known of them."""

from __future__ import annotations

import pytest
import torch

from reproductions.problems.two_layer import ACTIVATIONS, TwoLayer

F64 = torch.float64
PLAIN = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda a: a}


def case(activation, members=3, inputs=3, width=4, outputs=2, count=5):
    source = torch.Generator().manual_seed(7)
    x = torch.randn(members, inputs, count, generator=source, dtype=F64)
    y = torch.randn(members, outputs, count, generator=source, dtype=F64)
    net = TwoLayer(x, y, width, activation)
    return net, torch.randn(members, net.parameters, generator=source, dtype=F64)


def plain_loss(net):
    """Return the loss of one member as one would write it down."""
    inputs, split = net.inputs.shape[1], net.split

    def loss(theta, x, y):
        first = theta[:split].view(net.width, inputs)
        error = theta[split:].view(-1, net.width) @ PLAIN[net.activation](first @ x) - y
        return error.square().sum() / (2 * x.shape[1])

    return loss


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_those_of_torch(activation):
    net, theta = case(activation)
    loss, found = plain_loss(net), net.curvature(theta)
    data = net.inputs, net.targets
    wanted = torch.func.vmap(loss)(theta, *data)
    slope = torch.func.vmap(torch.func.grad(loss))(theta, *data)
    hessian = torch.func.vmap(torch.func.hessian(loss))(theta, *data)
    torch.testing.assert_close(found.loss, wanted)
    torch.testing.assert_close(net.loss(theta), wanted)
    torch.testing.assert_close(found.gradient, slope)
    torch.testing.assert_close(net.gradient(theta)[1], slope)
    torch.testing.assert_close(found.hessian, hessian)
    assert torch.equal(found.hessian, found.hessian.mT)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_are_those_of_the_dense_hessian(activation):
    net, theta = case(activation)
    hessian = net.curvature(theta).hessian
    vectors = torch.randn(2, *theta.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    wanted = torch.einsum("epq,keq->kep", hessian, vectors)
    torch.testing.assert_close(net.product(theta, vectors), wanted)
    torch.testing.assert_close(net.product(theta, vectors[0]), wanted[0])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_hessian_is_a_positive_part_and_one_linear_in_the_residuals(activation):
    net, theta = case(activation)
    parts = net.parts(theta)
    total = parts.gauss_newton + parts.residual
    torch.testing.assert_close(total, net.curvature(theta).hessian)
    assert torch.linalg.eigvalsh(parts.gauss_newton).min() > -1e-12
    noise = torch.randn_like(net.targets)
    first, doubled = (net.parts(theta, scale * noise).residual for scale in (1, 2))
    torch.testing.assert_close(2 * first, doubled)
    torch.testing.assert_close(net.parts(theta, noise).gauss_newton, parts.gauss_newton)


def test_the_positive_part_is_that_of_the_outputs_jacobian():
    net, theta = case("tanh", members=1)
    split, x = net.split, net.inputs[0]

    def outputs(theta):
        first = theta[:split].view(net.width, -1)
        return theta[split:].view(-1, net.width) @ torch.tanh(first @ x)

    jacobian = torch.func.jacrev(outputs)(theta[0]).flatten(0, 1)
    wanted = jacobian.mT @ jacobian / x.shape[1]
    torch.testing.assert_close(net.parts(theta).gauss_newton[0], wanted)


def test_relu_curvature_has_a_null_direction_for_every_hidden_unit():
    net, theta = case("relu", inputs=4, width=3, outputs=4, count=40)
    values = torch.linalg.eigvalsh(net.parts(theta).gauss_newton)
    assert (values < 1e-12 * values[:, -1:]).sum(1).tolist() == [3, 3, 3]


def test_with_no_weights_the_energy_is_half_the_targets_mean_square():
    net, theta = case("tanh")
    wanted = net.targets.square().mean((1, 2)) / 2
    torch.testing.assert_close(net.energy(torch.zeros_like(theta)), wanted)


def test_a_member_alone_is_the_member_in_the_ensemble():
    net, theta = case("tanh")
    for which in (torch.tensor([1]), torch.tensor([False, True, False])):
        alone = net.part(which).curvature(theta[1:2])
        for mine, all_of_them in zip(alone, net.curvature(theta), strict=True):
            torch.testing.assert_close(mine[0], all_of_them[1])


def test_gradient_and_product_is_the_gradient_of_the_squared_gradient():
    net, theta = case("tanh")
    loss, gradient, slope = net.gradient_and_product(theta)
    at = theta.clone().requires_grad_()
    total = torch.func.vmap(torch.func.grad(plain_loss(net)))(at, net.inputs, net.targets)
    wanted = torch.autograd.grad(total.square().sum() / 2, at)[0]
    torch.testing.assert_close(slope, wanted)
    torch.testing.assert_close(gradient, total.detach())
    torch.testing.assert_close(loss, net.loss(theta))


def test_shapes_and_names_that_do_not_fit_are_refused():
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="inputs and targets"):
        TwoLayer(x, torch.zeros(2, 3, 5), 4, "tanh")
    with pytest.raises(ValueError, match="'gelu'"):
        TwoLayer(x, x, 4, "gelu")
