"""The optimizer for modules: against the transform, what it takes, and what it says it does not."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim import path_scaling
from reproductions.optim.layout import Layout
from reproductions.optim.path_optimizer import PathSGD
from reproductions.optim.path_sgd import path_sgd
from tests.memory import Live
from tests.paths import F64, data

LAYOUT = Layout((3, 4, 5, 2))


def network() -> nn.Sequential:
    source = torch.Generator().manual_seed(3)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU()),
        nn.Sequential(OrderedDict(inner=nn.Linear(4, 5), slope=nn.LeakyReLU(0.1))),
        nn.Identity(),
        nn.Linear(5, 2),
    ).to(F64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source, dtype=F64))
    return model


def loss_of(model: nn.Module) -> Tensor:
    inputs, targets = data(LAYOUT)
    return nn.functional.cross_entropy(model(inputs), targets)


def vector_of(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0])
def test_it_makes_the_steps_of_the_transform(p: float):
    model = network()
    optimizer, transform = PathSGD(model, 0.05, p), path_sgd(LAYOUT, 0.05, p)
    theta = vector_of(model)[None]
    state = transform.init(theta)
    for _ in range(5):
        train(model, optimizer, 1)
        grad = torch.cat([own.grad.reshape(-1) for own in model.parameters()])  # type: ignore[union-attr]
        step, state = transform.update(grad[None], state, theta)
        theta = theta + step
        torch.testing.assert_close(vector_of(model), theta[0], rtol=1e-11, atol=1e-12)


def rescaled(model: nn.Sequential, factor: float) -> nn.Sequential:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[1][0].weight[2] *= factor
        other[1][0].bias[2] *= factor
        other[2][0].weight[:, 2] /= factor
    return other


def test_both_starts_give_one_function_under_path_sgd_and_two_under_sgd():
    inputs, _ = data(LAYOUT)

    def gap(kind: str) -> float:
        ends = []
        for model in (network(), rescaled(network(), 50.0)):
            own = (
                PathSGD(model, 0.02)
                if kind == "path"
                else torch.optim.SGD(model.parameters(), 0.02)
            )
            train(model, own, 20)
            ends.append(model(inputs))
        return (ends[0] - ends[1]).abs().max().item()

    assert gap("path") < 1e-9 and gap("sgd") > 1e-2


def test_layers_without_bias_and_weights_without_gradient_are_fine():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)).to(F64)
    model[0].weight.requires_grad_(False)
    first, second, last = (own.detach().clone() for own in model.parameters())
    train(model, PathSGD(model, 0.1), 1)
    assert torch.equal(model[0].weight, first)
    kappa = first.square().sum(1)
    wanted = second - 0.1 * model[2].weight.grad / kappa
    torch.testing.assert_close(model[2].weight.detach(), wanted, rtol=1e-12, atol=0)
    assert torch.equal(model[2].bias.detach(), last - 0.1 * model[2].bias.grad)


def test_dropout_does_not_touch_kappa():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 2)).to(F64)
    before, theta = copy.deepcopy(model), vector_of(model)
    train(model, PathSGD(model, 0.1), 1)
    grad = torch.cat([own.grad.reshape(-1) for own in model.parameters()])
    transform = path_sgd(Layout((3, 40, 2)), 0.1)
    step, _ = transform.update(grad[None], transform.init(theta[None]), theta[None])
    torch.testing.assert_close(vector_of(model), theta + step[0], rtol=1e-12, atol=1e-15)
    assert not torch.equal(vector_of(model), vector_of(before))


def test_a_unit_that_leads_nowhere_divides_by_nothing():
    model = network()
    with torch.no_grad():
        model[2][0].weight[:, 1] = 0
    before = model[1][0].weight[1].clone()
    train(model, PathSGD(model, 0.1), 1)
    assert vector_of(model).isfinite().all() and torch.equal(model[1][0].weight[1], before)


def test_weights_that_are_not_finite_are_refused_before_anything_moves():
    for bad in (torch.nan, torch.inf, 1e200):
        model = network()
        with torch.no_grad():
            model[2][0].weight[1, 1] = bad
        before = vector_of(model)
        optimizer = PathSGD(model, 0.1)
        loss_of(model).backward()
        with pytest.raises(ValueError, match="weights must be finite, and small enough"):
            optimizer.step()
        torch.testing.assert_close(vector_of(model), before, rtol=0, atol=0, equal_nan=True)


def test_a_saved_optimizer_goes_on_as_if_never_stopped():
    model = network()
    optimizer = PathSGD(model, 0.05, p=1.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, optimizer, 2)
    schedule.step()
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    other = network()
    resumed = PathSGD(other, 9.0)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert resumed.param_groups[0]["lr"] == 0.025 and not resumed.state
    for one, own in ((model, optimizer), (other, resumed)):
        train(one, own, 2)
    assert torch.equal(vector_of(model), vector_of(other))


def test_a_copy_of_model_and_optimizer_goes_its_own_way():
    model = network()
    optimizer = PathSGD(model, 0.05)
    before = vector_of(model)
    other, own = copy.deepcopy((model, optimizer))
    train(other, own, 1)
    assert torch.equal(vector_of(model), before)
    train(model, optimizer, 1)
    assert torch.equal(vector_of(model), vector_of(other))


def test_a_closure_is_called_once_and_its_loss_returned():
    model, calls = network(), []
    optimizer = PathSGD(model, 0.05)

    def closure() -> Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    wanted = loss_of(model).item()
    returned = optimizer.step(closure)
    assert returned is not None and returned.item() == wanted and len(calls) == 1
    assert loss_of(model).item() < wanted


class Own(nn.Linear):
    """A layer that may compute anything."""


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh()), "1 is Tanh"),
        (nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4))), "1.0 is BatchNorm1d"),
        (nn.Sequential(nn.Conv2d(1, 2, 3)), "0 is Conv2d"),
        (nn.GRU(3, 4), "module is GRU"),
        (nn.Sequential(Own(3, 4)), "0 is Own"),
    ],
)
def test_modules_that_are_not_supported_are_named_and_those_that_are(module: nn.Module, said: str):
    with pytest.raises(TypeError, match=rf"{said}, which PathSGD does not support: it takes nn\.S"):
        PathSGD(module, 0.1)


def test_misuse_is_named():
    model = network()
    for p in (0.0, -2.0, float("nan")):
        with pytest.raises(ValueError, match="p must be positive and finite, got"):
            PathSGD(model, 0.1, p)
    for lr in (-0.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="lr must be finite and not negative, got"):
            PathSGD(model, lr)
    with pytest.raises(ValueError, match="the module has no Linear layer"):
        PathSGD(nn.Sequential(nn.ReLU()), 0.1)
    with pytest.raises(ValueError, match="2 takes 8 inputs, but 0 has 4 outputs"):
        PathSGD(nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.Linear(8, 2)), 0.1)
    twice = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="2 shares weights with 0, or is used twice"):
        PathSGD(nn.Sequential(twice, nn.ReLU(), twice), 0.1)
    with pytest.raises(ValueError, match="no further group"):
        PathSGD(model, 0.1).add_param_group({"params": [nn.Parameter(torch.ones(1))]})


@pytest.mark.parametrize("build", [lambda: nn.Linear(3, 2), lambda: nn.Sequential(
    nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))])  # fmt: skip
@pytest.mark.parametrize("which", ["weight", "bias"])
def test_the_last_layer_is_looked_at_though_no_sum_over_paths_holds_it(build, which):
    model = build()
    last = model if isinstance(model, nn.Linear) else model[-1]
    with torch.no_grad():
        getattr(last, which).view(-1)[0] = torch.inf
    before = [own.detach().clone() for own in model.parameters()]
    for own in model.parameters():
        own.grad = torch.ones_like(own)
    with pytest.raises(ValueError, match="weights must be finite"):
        PathSGD(model, lr=0.1).step()
    assert all(torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True))


def test_a_weight_that_is_computed_and_tied_storage_are_refused():
    normed = torch.nn.utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(TypeError, match="the weight of 1 is computed"):
        PathSGD(nn.Sequential(nn.Flatten(), normed), lr=0.1)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = nn.Parameter(first.weight.detach())
    with pytest.raises(ValueError, match="1 shares weights with 0"):
        PathSGD(nn.Sequential(first, second), lr=0.1)


def test_a_step_makes_nothing_of_the_size_of_the_weights(monkeypatch: pytest.MonkeyPatch):
    scratch = 1 << 12
    monkeypatch.setitem(path_scaling.SCRATCH, "cpu", scratch)
    model = nn.Sequential(
        nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 10)
    )
    nn.functional.cross_entropy(model(torch.randn(2, 784)), torch.tensor([3, 5])).backward()
    optimizer, own = PathSGD(model, 0.01), list(model.parameters())
    with Live([*own, *(part.grad for part in own)]) as live:
        optimizer.step()
    weights = 4 * sum(part.numel() for part in own)
    units = 4 * (784 + 400 + 400 + 10)
    assert 4 * scratch < live.peak < 8 * scratch + 6 * units < weights / 25
    assert live.now == 0 and not optimizer.state
