"""Coupled weight decay, fixed preconditioners and the plateau schedule against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.first_order import momentum, sgd
from reproductions.optim.plateau import Plateau
from reproductions.optim.preconditioned import preconditioned
from reproductions.optim.transform import Transform
from reproductions.optim.weight_decay import weight_decay

F64 = torch.float64


def slope(theta: Tensor) -> Tensor:
    return torch.sin(3 * theta) + theta**3


def run(transform: Transform, theta: Tensor, steps: int = 30) -> Tensor:
    state = transform.init(theta)
    for _ in range(steps):
        step, state = transform.update(slope(theta), state, theta)
        theta = theta + step
    return theta


@pytest.mark.parametrize("mu", [0.0, 0.9])
def test_decay_is_that_of_torch_sgd(mu: float):
    start = torch.randn(3, 5, dtype=F64, generator=torch.Generator().manual_seed(1))
    inner = momentum(0.05, mu) if mu else sgd(0.05)
    ours = run(weight_decay(inner, 0.3), start)
    own = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([own], lr=0.05, momentum=mu, weight_decay=0.3)
    for _ in range(30):
        own.grad = slope(own.detach())
        optimizer.step()
    assert (ours - own.detach()).abs().max() < 1e-12


def test_every_member_has_a_decay_of_its_own():
    start = torch.randn(3, 5, dtype=F64, generator=torch.Generator().manual_seed(1))
    decay = torch.tensor([[0.0], [0.1], [1.0]])
    together = run(weight_decay(momentum(0.05, 0.9), decay), start)
    for member, value in enumerate(decay.flatten().tolist()):
        alone = run(weight_decay(momentum(0.05, 0.9), value), start[member : member + 1])
        torch.testing.assert_close(together[member : member + 1], alone, rtol=1e-6, atol=1e-8)
    assert torch.equal(together[0], run(momentum(0.05, 0.9), start)[0])


def test_a_negative_decay_is_refused():
    with pytest.raises(ValueError, match="decay must be finite and not negative"):
        weight_decay(sgd(0.1), -1.0)


def test_a_preconditioner_is_a_rate_of_every_weight():
    start = torch.randn(2, 4, dtype=F64, generator=torch.Generator().manual_seed(2))
    scale = torch.rand(2, 4, dtype=F64, generator=torch.Generator().manual_seed(3))
    found = run(preconditioned(momentum(0.1, 0.5), scale), start)
    for member in range(2):
        for weight in range(4):
            alone = momentum(0.1 * float(scale[member, weight]), 0.5)
            at = slice(member, member + 1), slice(weight, weight + 1)
            assert (found[at] - run(alone, start[at])).abs().max() < 1e-12


def test_a_preconditioner_inside_leaves_the_decay_alone():
    start = torch.randn(2, 4, dtype=F64, generator=torch.Generator().manual_seed(2))
    none = torch.zeros(1, 4, dtype=F64)
    # without a gradient only the decay is left: theta (1 - lr decay)^steps
    made = weight_decay(sgd(0.1), 0.5)
    found = run(preconditioned(made, none), start, 10)
    torch.testing.assert_close(found, start * 0.95**10, rtol=1e-13, atol=0)


@pytest.mark.parametrize("patience", [0, 2, 10])
def test_the_plateau_is_that_of_torch(patience: int):
    source = torch.Generator().manual_seed(5)
    scores = torch.rand(60, 4, generator=source, dtype=F64).round(decimals=1)
    scores[20:, 2] = 0.5
    ours = Plateau(4, patience=patience)
    theirs = []
    for _ in range(4):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs.append(
            torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", patience=patience, eps=0
            )
        )
    for row in scores:
        ours.see(row)
        for own, score in zip(theirs, row.tolist(), strict=True):
            own.step(score)
        wanted = [own.optimizer.param_groups[0]["lr"] for own in theirs]
        torch.testing.assert_close(ours.multiplier[:, 0], torch.tensor(wanted, dtype=F64))
    assert ours.multiplier.min() < 1


def test_the_plateau_is_a_schedule():
    falling = Plateau(2, patience=0)
    method = sgd(torch.tensor([[0.1], [0.2]]), schedule=falling)
    theta, grad = torch.zeros(2, 1, dtype=F64), torch.ones(2, 1, dtype=F64)
    falling.see(torch.tensor([0.5, 0.5]))
    falling.see(torch.tensor([0.6, 0.5]))
    step, _ = method.update(grad, method.init(theta), theta)
    torch.testing.assert_close(
        step[:, 0], torch.tensor([-0.1, -0.02], dtype=F64), rtol=1e-6, atol=0
    )
    with pytest.raises(ValueError, match="patience"):
        Plateau(1, patience=-1)
