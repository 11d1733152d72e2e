"""The optimizer for any module: against the step it wraps, on saddles and on plateaus."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.krylov import krylov_step
from reproductions.optim.objective import Autograd
from reproductions.optim.saddle_free import SaddleFreeNewton

F64 = torch.float64


def saddle(x: Tensor, y: Tensor) -> Tensor:
    return x**2 - y**2 + y**4


def network(scale: float = 1.0, dtype: torch.dtype = F64) -> nn.Sequential:
    """Return a tanh network; with a small scale it starts on the plateau around zero."""
    source = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=source, dtype=F64)
            parameter.copy_(scale * drawn / 2)
    return model.to(dtype)


def data(dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    return inputs.to(dtype), (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 1)


def closure_of(model: nn.Module, dtype: torch.dtype = F64) -> Callable[[], Tensor]:
    inputs, targets = data(dtype)
    return lambda: nn.functional.cross_entropy(model(inputs), targets)


def vector_of(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_it_makes_the_steps_of_krylov_step():
    model = network()
    start = vector_of(model)
    optimizer = SaddleFreeNewton(model.parameters(), vectors=8, inner_steps=2)
    names, shapes = zip(*[(name, own.shape) for name, own in model.named_parameters()], strict=True)
    inputs, targets = data()

    def loss(theta: Tensor) -> Tensor:
        def one(own: Tensor) -> Tensor:
            parts = own.split([shape.numel() for shape in shapes])
            given = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
            outputs = torch.func.functional_call(model, given, (inputs,))
            return nn.functional.cross_entropy(outputs, targets)

        return torch.stack([one(own) for own in theta])

    theta, previous = start[None], None
    for _ in range(4):
        returned = optimizer.step(closure_of(model))
        assert returned.item() == pytest.approx(loss(theta).item(), abs=1e-12)
        step = krylov_step(Autograd(loss), theta, previous, vectors=8, inner_steps=2)
        theta, previous = step.theta, step.update
        torch.testing.assert_close(vector_of(model), theta[0], rtol=0, atol=1e-9)
        assert optimizer.last is not None
        torch.testing.assert_close(optimizer.last.dampings, step.dampings)
        torch.testing.assert_close(optimizer.last.loss, closure_of(model)().detach()[None])


def test_it_leaves_the_saddle_at_which_newton_stops():
    x, y = (nn.Parameter(torch.tensor(value, dtype=F64)) for value in (1.0, 1e-4))
    optimizer = SaddleFreeNewton([x, y], vectors=2)
    for _ in range(30):
        optimizer.step(lambda: saddle(x, y))
    assert x.abs().item() < 1e-6 and y.item() == pytest.approx(0.5**0.5, abs=1e-6)

    at = torch.tensor([1.0, 1e-4], dtype=F64)
    for _ in range(30):
        slope = torch.func.grad(lambda theta: saddle(*theta))(at)
        at = at - torch.linalg.solve(torch.func.hessian(lambda theta: saddle(*theta))(at), slope)
    assert at.abs().max() < 1e-12


def sgd(model: nn.Module, lr: float, steps: int) -> float:
    optimizer, closure = torch.optim.SGD(model.parameters(), lr=lr), closure_of(model)
    for _ in range(steps):
        optimizer.zero_grad()
        closure().backward()
        optimizer.step()
    return closure().item()


def test_it_leaves_a_plateau_in_fewer_steps_than_gradient_descent_at_any_rate_of_a_grid():
    model, steps = network(0.02), 30
    optimizer, closure = SaddleFreeNewton(model.parameters(), vectors=20), closure_of(model)
    losses = [optimizer.step(closure).item() for _ in range(steps)] + [closure().item()]
    assert all(after <= before for before, after in pairwise(losses))
    slow = min(sgd(network(0.02), lr, steps) for lr in (0.01, 0.1, 0.3, 1.0, 3.0, 10.0))
    assert losses[0] - losses[-1] > 0.3 and losses[-1] < 0.5 * slow


def test_a_saved_optimizer_goes_on_as_if_never_stopped():
    model = network()
    optimizer, closure = SaddleFreeNewton(model.parameters(), vectors=5), closure_of(model)
    for _ in range(3):
        optimizer.step(closure)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    other = network(0.5)
    resumed = SaddleFreeNewton(other.parameters(), vectors=9, inner_steps=4)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    fresh_model = network()
    fresh_model.load_state_dict(saved[0])
    fresh = SaddleFreeNewton(fresh_model.parameters(), vectors=5)
    for _ in range(3):
        optimizer.step(closure)
        resumed.step(closure_of(other))
        fresh.step(closure_of(fresh_model))
    assert torch.equal(vector_of(model), vector_of(other))
    assert not torch.equal(vector_of(model), vector_of(fresh_model))


def test_parameters_keep_their_dtype_shape_and_gradients():
    model = network(dtype=torch.float32)
    model[0].bias.data = model[0].bias.data.to(torch.float64)

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = inputs @ model[0].weight.T + model[0].bias.float()
            return model[1:](hidden)

    mixed = Mixed()
    model[2].weight.grad = torch.ones_like(model[2].weight)
    before = [(own.dtype, own.shape) for own in mixed.parameters()]
    optimizer, closure = SaddleFreeNewton(mixed.parameters()), closure_of(mixed, torch.float32)
    first, last = optimizer.step(closure).item(), closure().item()
    assert [(own.dtype, own.shape) for own in mixed.parameters()] == before
    assert last < first
    assert model[0].weight.grad is None and (model[2].weight.grad == 1).all()


def test_parameters_that_the_loss_does_not_read_or_is_linear_in_are_fine():
    used, linear, idle = (nn.Parameter(torch.ones(2, dtype=F64)) for _ in range(3))
    optimizer = SaddleFreeNewton([used, linear, idle], vectors=6)
    optimizer.step(lambda: (used**4).sum() + linear.sum())
    assert (used < 1).all() and (linear < 1).all() and (idle == 1).all()
    plain = nn.Parameter(torch.ones(2, dtype=F64))
    SaddleFreeNewton([plain]).step(lambda: plain.sum())
    assert plain.tolist() == pytest.approx([1 - 1e5] * 2)  # no curvature: 1 / the least damping


def test_a_step_that_nothing_helps_leaves_the_parameters():
    x, y = (nn.Parameter(torch.zeros((), dtype=F64)) for _ in range(2))
    optimizer = SaddleFreeNewton([x, y])
    optimizer.step(lambda: saddle(x, y))
    assert x.item() == y.item() == 0
    assert optimizer.last is not None and not optimizer.last.improved.any()


def test_a_closure_without_a_graph_is_named_and_moves_nothing():
    model = network()
    before = vector_of(model)
    optimizer, closure = SaddleFreeNewton(model.parameters(), vectors=3), closure_of(model)

    def backward() -> Tensor:
        loss = closure()
        loss.backward()
        return loss

    def no_grad() -> Tensor:
        with torch.no_grad():
            return closure()

    wrong = [lambda: closure().detach(), lambda: closure().item(), no_grad, backward]
    for bad in wrong:
        with pytest.raises(RuntimeError, match="closure must return the loss with its graph"):
            optimizer.step(bad)
    with pytest.raises(RuntimeError, match="step needs a closure"):
        optimizer.step()
    assert torch.equal(vector_of(model), before)


def test_an_error_between_trials_leaves_the_parameters_as_they_were():
    model = network()
    before, calls, closure = vector_of(model), [], closure_of(model)

    def fails() -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("a closure's own error")
        return closure()

    with pytest.raises(KeyError, match="own error"):
        SaddleFreeNewton(model.parameters()).step(fails)
    assert torch.equal(vector_of(model), before)


def test_one_group_on_one_device_is_asked_for():
    model = network()
    groups = [{"params": layer.parameters()} for layer in model if list(layer.parameters())]
    with pytest.raises(ValueError, match="takes one parameter group"):
        SaddleFreeNewton(groups)
    there = nn.Parameter(torch.zeros(2, device="meta"))
    with pytest.raises(ValueError, match="parameters must be on one device"):
        SaddleFreeNewton([nn.Parameter(torch.zeros(2)), there])
    with pytest.raises(ValueError, match="vectors and inner_steps must be at least 1, got 0 and 1"):
        SaddleFreeNewton(model.parameters(), vectors=0).step(closure_of(model))
