"""Teleports of modules: the authors' properties, the laws of gradients, undoing, recovering, modes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from reproductions.optim.device import generator
from reproductions.optim.module_plan import Plan
from reproductions.optim.module_teleport import conjugate, trace
from tests.optim.module_zoo import (
    F64,
    LAYERED,
    RESIDUAL,
    TOYS,
    Wired,
    cnn,
    convolution_batch_norm,
    image,
    mlp,
    mlp_batch_norm,
    outputs,
    randomised,
    relative,
    source,
    sum_without_a_layer_behind,
    tanh_sigmoid_mlp,
)

EXACT = 1e-13


def values(module: nn.Module) -> list[Tensor]:
    tensors = (*module.parameters(), *module.buffers())
    return [one.detach().to(F64, copy=True) for one in tensors]


def close(first: list[Tensor], second: list[Tensor], bound: float = 1e-12) -> bool:
    return all(
        bool((one - two).norm() <= bound * two.norm())
        for one, two in zip(first, second, strict=True)
    )


def drawn(plan: Plan, seed: int = 0, sigma: float = 0.9, kind: str = "intra") -> Tensor:
    return plan.draw(sigma, generator(seed, 7), kind=kind)


# ---------------------------------------------------------------- the authors' own tests


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("mode", ["intra", "general"])
def test_a_teleport_changes_weights_and_leaves_outputs(name: str, mode: str):
    module = randomised(TOYS[name]())
    plan = trace(module, image(), mode=mode)
    other = plan.teleport(module, drawn(plan, kind="inter"))
    assert relative(outputs(other, image(3, seed=1)), outputs(module, image(3, seed=1))) <= EXACT
    own = dict(other.named_parameters())
    moved = [
        key for key, one in module.named_parameters() if not torch.equal(one, own.get(key, one))
    ]
    if plan.units:
        assert len(moved) >= 3
    assert mode == "intra" or set(plan.constraints) == {"free"}


@pytest.mark.parametrize("name", ["MLP", "CNN", "tanh and sigmoid"])
@pytest.mark.parametrize("kind", ["intra", "inter"])
def test_ten_teleports_and_ten_on_top_of_each_other_leave_outputs(name: str, kind: str):
    # The authors draw up to 10 away from 1 and -1, in float32, and allow 1e-5 and 1e-5 of an output.
    sigma = 0.9 if kind == "intra" else 10.0
    module = randomised(LAYERED[name]())
    before, mode = outputs(module, image()), "intra" if kind == "intra" else "general"
    plan = trace(module, image(), mode=mode)
    now = plan.teleport(module, torch.ones(plan.units))
    for at in range(10):
        tau = drawn(plan, at, sigma, kind)
        other = plan.teleport(now, tau)
        assert relative(outputs(other, image()), before) <= EXACT
    for at in range(10):
        plan.apply(now, drawn(plan, at, sigma, kind))
        assert relative(outputs(now, image()), before) <= EXACT


@pytest.mark.parametrize("make", [mlp, cnn])
def test_weights_stored_and_put_back_are_the_network_again(make):
    module = randomised(make())
    plan = trace(module, image())
    tau = drawn(plan)
    other = plan.teleport(module, tau)
    kept = {key: one.clone() for key, one in other.state_dict().items()}
    restored = randomised(make(), seed=5)
    assert relative(outputs(restored, image()), outputs(module, image())) > 0.1
    restored.load_state_dict(kept)
    assert torch.equal(outputs(restored, image()), outputs(other, image()))
    assert close(values(plan.undo(restored, tau)), values(module))


def test_a_change_of_basis_is_recovered_from_the_weights():
    # The authors allow 1e-6 on the change of basis.
    hidden = [nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    module = randomised(
        nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    )
    plan = trace(module, image())
    first, second = drawn(plan, 0), drawn(plan, 1)
    one, two = plan.teleport(module, first), plan.teleport(module, second)
    torch.testing.assert_close(plan.recover(module, one), first, rtol=1e-13, atol=0)
    torch.testing.assert_close(plan.recover(one, two), second / first, rtol=1e-13, atol=0)
    assert close(values(plan.teleport(one, plan.recover(one, two))), values(two))
    assert torch.equal(plan.recover(module, module), torch.ones(plan.units, dtype=F64))


def test_a_sum_that_no_layer_follows_is_supported():
    # The authors' code refuses it; with tied scalars nothing has to be corrected behind the sum.
    module = randomised(Wired(sum_without_a_layer_behind, 4, 1, 2, 2, 1))
    plan = trace(module, image())
    assert plan.constraints == ("positive",) * 4  # of the first convolution; the input has one
    other = plan.teleport(module, drawn(plan))
    assert relative(outputs(other, image()), outputs(module, image())) <= EXACT

    ending = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), Added())
    plan = trace(randomised(ending), image())
    other = plan.teleport(ending, drawn(plan))
    assert plan.units == 4
    assert relative(outputs(other, image()), outputs(ending, image())) <= EXACT


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.relu(x)) + self.inner(torch.relu(x))


# ---------------------------------------------------------------- ties, counted by hand


def test_sums_tie_channel_by_channel():
    module = randomised(RESIDUAL["identity skips"]())
    assert trace(module, image()).constraints == ("positive",) * (4 + 6)
    assert trace(module, image(), mode="general").units == 4 + 4 + 4 + 6


def test_a_joined_tensor_has_the_scalars_of_its_parts():
    module = randomised(TOYS["split and joined"]())
    plan = trace(module, image())
    assert plan.constraints == ("positive",) * 7
    rules = {rule.name: rule for rule in plan.rules}
    assert rules["fc.weight"].into.flatten()[::49].tolist() == [5, 6, 7, 1, 2, 3, 4]


def test_flattening_repeats_a_channel_for_each_of_its_pixels():
    plan = trace(randomised(cnn()), image())
    into = {rule.name: rule.into for rule in plan.rules}["5.weight"]
    assert torch.equal(into, torch.arange(9, 25).repeat_interleave(36)[None])


# ---------------------------------------------------------------- gradients and sums


def gradients(module: nn.Module) -> dict[str, Tensor]:
    module.zero_grad()
    nn.functional.cross_entropy(module(image(5)), torch.arange(5)).backward()
    return {name: one.grad.clone() for name, one in module.named_parameters()}  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["intra", "general"])
@pytest.mark.parametrize("make", [convolution_batch_norm, mlp_batch_norm, tanh_sigmoid_mlp])
def test_a_teleported_gradient_is_the_gradient_over_the_factors(make, mode: str):
    module = randomised(make())
    plan = trace(module, image(), mode=mode)
    tau = drawn(plan, kind="inter")
    other = plan.teleport(module, tau)
    before, after, factors = gradients(module), gradients(other), plan.factors(tau)
    for name, gradient in before.items():
        wanted = gradient / factors.get(name, torch.ones((), dtype=F64))
        assert relative(after[name], wanted) <= 1e-12, name


def test_factors_are_the_ratios_of_the_scalars():
    module = randomised(convolution_batch_norm())
    plan = trace(module, image())
    tau = drawn(plan)
    found = plan.factors(tau)
    first, normed, second = tau[:8], tau[8:16], tau[16:20]
    assert torch.equal(found["0.weight"], first.reshape(8, 1, 1, 1))
    wanted = second[:, None] / normed
    torch.testing.assert_close(found["3.weight"], wanted[..., None, None], rtol=1e-15, atol=0)
    torch.testing.assert_close(found["1.running_var"], first**2, rtol=1e-15, atol=0)
    assert torch.equal(found["1.bias"], normed)


@pytest.mark.parametrize("power", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("name", ["grouped", "convolution and BatchNorm", "MLP"])
def test_sums_for_many_teleports_are_those_of_the_teleported_networks(name: str, power: int):
    module = randomised(_grouped() if name == "grouped" else TOYS[name]())
    plan = trace(module, image())
    tau = torch.stack([drawn(plan, seed) for seed in range(3)])
    known = {
        key: torch.randn(one.shape, generator=source(1), dtype=F64)
        for key, one in module.named_parameters()
    }
    found = plan.bilinear(known, tau, power=power)
    for row, own in zip(found, tau, strict=True):
        other = dict(plan.teleport(module, own).named_parameters())
        ratios = {key: other[key].detach() / one.detach() for key, one in module.named_parameters()}
        wanted = sum(float((known[key] * ratios[key] ** power).sum()) for key in known)
        assert float(row) == pytest.approx(wanted, rel=1e-12)
    assert plan.bilinear(known, tau[0], power=power).shape == (1,)


def _grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=3),
        nn.ReLU(),
        nn.Conv2d(6, 9, 3, groups=3),
        nn.ReLU(),
        nn.Conv2d(9, 9, 3, groups=9),
        nn.ConvTranspose2d(9, 6, 2, groups=3),
        nn.Flatten(),
        nn.Linear(6 * 36, 10),
    )


def test_squared_norms_come_without_a_teleported_network():
    module = randomised(_grouped())
    plan = trace(module, image())
    tau = drawn(plan)
    squares = {name: one.detach() ** 2 for name, one in module.named_parameters()}
    wanted = nn.utils.parameters_to_vector(plan.teleport(module, tau).parameters()).square().sum()
    found = float(plan.bilinear(squares, tau, power=2))
    assert found == pytest.approx(float(wanted.detach()), rel=1e-13)


# ---------------------------------------------------------------- undoing, composing, recovering


@pytest.mark.parametrize("mode", ["intra", "general"])
@pytest.mark.parametrize("name", ["convolution and BatchNorm", "nested skips", "joined twice"])
def test_teleports_are_undone_composed_and_recovered(name: str, mode: str):
    module = randomised(TOYS[name]())
    plan = trace(module, image(), mode=mode)
    kind = "inter" if mode == "general" else "intra"
    first, second = drawn(plan, 0, kind=kind), drawn(plan, 1, kind=kind)
    origin = plan.teleport(module, torch.ones(plan.units))
    there = plan.teleport(origin, first)
    assert close(values(plan.undo(there, first)), values(origin))
    assert close(
        values(plan.teleport(there, second)), values(plan.teleport(origin, first * second))
    )
    torch.testing.assert_close(plan.recover(origin, there), first, rtol=1e-11, atol=0)


def test_recovering_between_strangers_is_refused_unless_they_are_close():
    module = randomised(cnn())
    plan = trace(module, image())
    tau = drawn(plan, sigma=0.3)
    near = plan.teleport(module, tau)
    with torch.no_grad():
        for one in near.parameters():
            noise = torch.randn(one.shape, generator=source(4), dtype=F64)
            one.add_(1e-4 * one.norm() / one.numel() ** 0.5 * noise)
    with pytest.raises(ValueError, match=r"\d\.(weight|bias) differs by"):
        plan.recover(module, near)
    found = plan.recover(module, near, tolerance=0.01)
    torch.testing.assert_close(found, tau, rtol=0.01, atol=0)
    with pytest.raises(ValueError, match="not teleports of each other"):
        plan.recover(module, randomised(cnn(), seed=9), tolerance=0.01)


def test_a_unit_that_no_weight_leads_to_is_recovered_as_one():
    module = randomised(cnn())
    with torch.no_grad():
        module[2].weight[3] = 0.0
        module[2].bias[3] = 0.0
        module[5].weight[:, 3 * 36 : 4 * 36] = 0.0
    plan = trace(module, image())
    tau = drawn(plan)
    tau[8 + 3] = 1.0
    found = plan.recover(module, plan.teleport(module, tau))
    torch.testing.assert_close(found, tau, rtol=1e-13, atol=0)


# ---------------------------------------------------------------- statistics and modes


def test_eps_is_taken_into_account_even_where_the_variance_is_smaller():
    module = randomised(convolution_batch_norm())
    with torch.no_grad():
        module[1].running_var.fill_(1e-9)
        module[4].eps = 0.3
    plan = trace(module, image())
    other = plan.teleport(module, drawn(plan, kind="inter"))
    assert relative(outputs(other, image()), outputs(module, image())) <= EXACT
    assert bool((other[1].running_var >= 0).all())
    assert other[4].eps == 0.3


@pytest.mark.parametrize("training", [False, True])
def test_a_fixed_normalisation_is_exact_in_both_modes(training: bool):
    module = randomised(mlp_batch_norm())
    fixed = trace(module, image(), normalisation="fix")
    assert fixed.units == 64 + 32
    other = fixed.teleport(module, drawn(fixed))
    module.train(training), other.train(training)
    x = image(6)
    assert relative(outputs(other, x), outputs(module, x)) <= EXACT
    assert close(
        [one.to(F64) for one in other.buffers()], [one.to(F64) for one in module.buffers()]
    )


def test_an_absorbed_normalisation_is_off_by_eps_in_training_mode():
    module = randomised(convolution_batch_norm())
    plan = trace(module, image())
    other = plan.teleport(module, drawn(plan, kind="inter"))
    module.train(), other.train()
    x = image(6)
    assert EXACT < relative(outputs(other, x), outputs(module, x)) < 1e-2


def test_a_module_traced_while_training_is_not_run_for_good():
    module = randomised(nn.Sequential(mlp_batch_norm(), nn.Dropout(0.5)))
    module.train()
    before, state = values(module), torch.get_rng_state()
    plan = trace(module, image())  # one example: BatchNorm could not take it in training mode
    assert plan.units == 64 + 32
    assert all(torch.equal(one, two) for one, two in zip(before, values(module), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(one.training for one in module.modules())


def test_a_conjugated_module_trains_like_the_original():
    module = randomised(convolution_batch_norm()).train()
    general, plan = conjugate(module, image())
    tau = drawn(plan, kind="inter")
    assert torch.equal(outputs(general, image(4)), outputs(module, image(4)))
    general, module = conjugate(randomised(module).train(), image())[0], module
    plan.apply(general, tau)
    names = [name for name, _ in module.named_parameters()]
    assert [name for name, _ in general.named_parameters()] == names
    for net in (module, general):
        for _ in range(2):  # running statistics move alike, for they stay in their own basis
            net(image(4))
    for mode in (True, False):
        module.train(mode), general.train(mode)
        assert relative(outputs(general, image(4)), outputs(module, image(4))) <= EXACT
    step = torch.optim.SGD(general.parameters(), 0.1)
    nn.functional.cross_entropy(general(image(5)), torch.arange(5)).backward()
    kept = [one.clone() for name, one in general.named_buffers() if name.startswith("basis_")]
    step.step()
    own = [one for name, one in general.named_buffers() if name.startswith("basis_")]
    assert all(torch.equal(one, two) for one, two in zip(kept, own, strict=True))
    assert all(one.grad is not None for one in general.parameters())


def test_what_is_not_a_weight_is_kept():
    module = randomised(convolution_batch_norm())
    module[0].weight.requires_grad_(False)
    module[1].train()
    module.note = "kept"
    plan = trace(module, image())
    other = plan.teleport(module, drawn(plan))
    assert type(other) is type(module) and other.note == "kept"
    assert not other[0].weight.requires_grad and other[0].bias.requires_grad
    assert [one.training for one in other.modules()] == [one.training for one in module.modules()]
    assert torch.equal(other[1].num_batches_tracked, module[1].num_batches_tracked)
    assert other[1].weight is not module[1].weight
    same = plan.teleport(module, drawn(plan), inplace=True)
    assert same is module
    assert close(values(same), values(other), 1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_weights_keep_their_dtype(dtype: torch.dtype):
    module = randomised(mlp()).to(dtype)
    x = image().to(dtype)
    plan = trace(module, x)
    other = plan.teleport(module, drawn(plan, sigma=0.5))
    assert {one.dtype for one in other.parameters()} == {dtype}
    assert relative(outputs(other, x), outputs(module, x)) <= 20 * torch.finfo(dtype).eps


class Shared(nn.Module):
    """One layer used twice, one weight under two names, one weight taken by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(784, 5), nn.Linear(5, 5), nn.Linear(5, 10)
        self.other = nn.Linear(5, 5)
        self.other.weight = self.twice.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.flatten(1)))
        x = torch.relu(self.twice(torch.relu(self.twice(x))))
        x = torch.relu(self.other(x))
        return nn.functional.linear(x, self.last.weight, self.last.bias)


@pytest.mark.parametrize("mode", ["intra", "general"])
def test_a_layer_used_twice_has_its_scalars_tied(mode: str):
    module = randomised(Shared())
    plan = trace(module, image(), mode=mode)
    assert plan.units == 5
    other = plan.teleport(module, drawn(plan))
    assert other.other.weight is other.twice.weight
    assert relative(outputs(other, image()), outputs(module, image())) <= EXACT
    assert not torch.equal(other.first.weight, module.first.weight)
    squares = {name: one.detach() ** 2 for name, one in module.named_parameters()}
    wanted = sum(float(one.detach().square().sum()) for one in other.parameters())
    assert float(plan.bilinear(squares, drawn(plan), power=2)) == pytest.approx(wanted, rel=1e-12)


class Overwritten(nn.Module):
    """Uses a tensor after an operation has written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(784, 6), nn.Linear(6, 6), nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.a(x.flatten(1))
        found = self.b(self.act(kept))
        found += kept  # behind SiLU, for that wrote into it
        return found.relu_()


@pytest.mark.parametrize("mode", ["intra", "general"])
def test_operations_in_place_are_followed(mode: str):
    module = randomised(Overwritten())
    plan = trace(module, image(), mode=mode)
    assert plan.units == (0 if mode == "intra" else 6)
    other = plan.teleport(module, drawn(plan, kind="inter"))
    x = image(4, seed=3)
    assert relative(outputs(other, x), outputs(module, x)) <= EXACT


class Viewed(nn.Module):
    """Writes into a part of a tensor, and into one that has two names, and reads them later."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.same = nn.Linear(784, 6), nn.Linear(6, 6), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x.flatten(1))
        x[:, :3].sigmoid_()
        x = y = self.b(x)
        self.same(y).relu_()
        return x.sum(1, keepdim=True)


@pytest.mark.parametrize("mode", ["intra", "general"])
def test_what_is_written_through_another_name_is_not_conjugated(mode: str):
    module = randomised(nn.Sequential(Viewed(), nn.Linear(1, 3)))
    plan = trace(module, image(), mode=mode)
    # a sum over units ties those of one sign; in general mode they are divided out in front of it
    assert plan.constraints == ("free",) * 3 + ("positive",) * (1 if mode == "intra" else 6)
    other = plan.teleport(module, drawn(plan, kind="inter"))
    x = image(4, seed=3)
    assert relative(outputs(other, x), outputs(module, x)) <= EXACT


class Scaled(nn.Module):
    """Takes parameters from itself: a scale, a shift, and a scale of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 3)
        self.scale, self.shift = (
            nn.Parameter(torch.ones(4, 1, 1)),
            nn.Parameter(torch.ones(4, 1, 1)),
        )
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("mask", (torch.arange(4) % 3 + 1).reshape(4, 1, 1) / 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.scale * self.a(x) + self.shift) * self.gain
        return self.b(x * self.mask).mean((2, 3))


@pytest.mark.parametrize("mode", ["intra", "general"])
def test_parameters_without_a_layer_change_too(mode: str):
    module = randomised(Scaled())
    plan = trace(module, image(), mode=mode)
    assert plan.units == 8
    other = plan.teleport(module, drawn(plan))
    assert relative(outputs(other, image()), outputs(module, image())) <= EXACT
    assert not torch.equal(other.scale, module.scale) and not torch.equal(other.shift, module.shift)
    assert torch.equal(other.gain, module.gain) and torch.equal(other.mask, module.mask)


def test_a_plan_says_what_it_holds():
    plan = trace(randomised(convolution_batch_norm()), image())
    assert repr(plan) == "Plan(intra, 24 units: 12 free, 12 positive; 12 tensors)"
    assert "1.running_var" in plan.describe() and "squared" in plan.describe()
    assert len(plan.describe().splitlines()) == 13


def test_draws_respect_what_a_scalar_may_be():
    module = randomised(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 40), nn.Tanh(), nn.Linear(40, 40))
    )
    plan = trace(nn.Sequential(module, nn.ReLU(), nn.Linear(40, 2)).double(), image())
    tau = drawn(plan, kind="inter")
    kinds = plan.constraints
    signs = torch.tensor([kind == "sign" for kind in kinds])
    assert set(tau[signs].tolist()) == {-1.0, 1.0}
    assert kinds.count("positive") == 40 and bool((tau[~signs] > 0).all())
    assert torch.equal(tau, drawn(plan, kind="inter"))


def test_a_copy_of_the_module_can_be_teleported_by_the_same_plan():
    module = randomised(cnn())
    plan, other = trace(module, image()), randomised(copy.deepcopy(module), seed=4)
    found = plan.teleport(other, drawn(plan))
    assert relative(outputs(found, image()), outputs(other, image())) <= EXACT
