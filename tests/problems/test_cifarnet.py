"""CIFARNET as an ensemble against a single network built from torch.nn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from reproductions.problems.cifarnet import CifarNet

SIDE, CHANNELS, HIDDEN, OUTPUTS, BATCH = 9, 12, (7, 5), 4, 3
TINY = {"side": SIDE, "channels": CHANNELS, "hidden": HIDDEN, "outputs": OUTPUTS}
WIDTH = 3 * SIDE * SIDE


class Masked(nn.Module):
    """Scale units by a given mask: dropout whose draw is known."""

    def __init__(self, mask: Tensor | None):
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x if self.mask is None else x * self.mask


def twin(mask: Tensor | None = None, full: bool = False) -> nn.Sequential:
    """Return one member as an ordinary module, tiny or of the paper's sizes."""
    side, channels, hidden, outputs = (
        (32, 64, (384, 192), 10) if full else (SIDE, CHANNELS, HIDDEN, OUTPUTS)
    )

    def convolution(fan_in: int) -> list[nn.Module]:
        return [nn.ZeroPad2d((2, 3, 2, 3)), nn.Conv2d(fan_in, channels, 6), nn.ReLU()]

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(9, alpha=1e-3, beta=0.75, k=1.0)

    return nn.Sequential(
        *[*convolution(3), nn.MaxPool2d(2), norm()],
        *[*convolution(channels), norm(), nn.MaxPool2d(2), nn.Flatten()],
        *[nn.Linear(channels * (side // 4) ** 2, hidden[0]), nn.ReLU(), Masked(mask)],
        *[nn.Linear(hidden[0], hidden[1]), nn.ReLU(), nn.Linear(hidden[1], outputs)],
    )


def twin_loss(theta: Tensor, inputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return one member's loss and gradient from the twin, inputs (B, D)."""
    net = twin(mask).double()
    vector_to_parameters(theta, net.parameters())
    logits = net(inputs.view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2))
    loss = nn.functional.cross_entropy(logits, targets)
    loss.backward()
    return loss.detach(), parameters_to_vector([p.grad for p in net.parameters()])


def batches(groups: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    inputs = torch.rand(groups, BATCH, WIDTH, generator=source, dtype=torch.float64)
    return inputs, torch.randint(OUTPUTS, (groups, BATCH), generator=source)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def large(net: CifarNet, seeds: list[int]) -> Tensor:
    """Return members with activations large enough for the normalisation to matter."""
    return 3.0 * net.initialise(seeds, dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_equal_the_single_networks(groups):
    net = CifarNet(keep=1.0, **TINY)
    theta = large(net, [0, 1, 2, 3])
    inputs, targets = batches(groups)
    loss, grad = net.gradient(theta, inputs, targets)
    for e in range(4):
        g = e // (4 // groups)
        expected_loss, expected = twin_loss(theta[e], inputs[g], targets[g])
        torch.testing.assert_close(loss[e], expected_loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(grad[e], expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(net.loss(theta, inputs, targets), loss, rtol=1e-12, atol=0)


def test_the_normalisation_matters_in_these_tests():
    net = CifarNet(keep=1.0, **TINY)
    theta = large(net, [0])
    inputs, targets = batches(1)
    mild = CifarNet(keep=1.0, **TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reproductions.problems.cifarnet.NORM_ALPHA", 0.0)
        without = mild.loss(theta, inputs, targets)
    assert (without - net.loss(theta, inputs, targets)).abs() > 1e-6


def test_dropout_is_the_single_networks_with_the_mask_its_seed_draws():
    net = CifarNet(generators(5, 6), **TINY)
    theta = large(net, [0, 1, 2, 3])
    inputs, targets = batches(2)
    loss, grad = net.gradient(theta, inputs, targets)
    for e in range(4):
        drawn = torch.rand(BATCH, HIDDEN[0], generator=generators(5 + e // 2)[0])
        mask = (drawn < 0.5).double() * 2.0
        expected_loss, expected = twin_loss(theta[e], inputs[e // 2], targets[e // 2], mask)
        torch.testing.assert_close(loss[e], expected_loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(grad[e], expected, rtol=1e-10, atol=1e-13)


def test_a_member_is_the_same_in_every_ensemble():
    inputs, targets = batches(3)
    together = CifarNet(generators(0, 1, 2), **TINY)
    theta = large(together, [0, 1, 2])
    alone = CifarNet(generators(1), **TINY)
    assert torch.equal(alone.initialise([1]), together.initialise([0, 1, 2])[1:2])
    for _ in range(2):  # the second step draws further on
        expected = together.gradient(theta, inputs, targets)
        got = alone.gradient(theta[1:2], inputs[1:2], targets[1:2])
        torch.testing.assert_close(got[0], expected[0][1:2], rtol=1e-12, atol=0)
        torch.testing.assert_close(got[1], expected[1][1:2], rtol=1e-10, atol=1e-14)


def test_dropout_resumes_where_its_generators_are_restored():
    inputs, targets = batches(1)
    net = CifarNet(generators(0), **TINY)
    theta = large(net, [0])
    net.gradient(theta, inputs, targets)
    state = net.generators[0].get_state()
    expected = net.gradient(theta, inputs, targets)[0]
    net.generators[0].set_state(state)
    assert torch.equal(net.gradient(theta, inputs, targets)[0], expected)


def test_dropout_keeps_the_expectation_and_spares_evaluation():
    net = CifarNet(generators(0), keep=0.25, **TINY)
    kept = net._draw_kept(torch.empty(1, 20000, WIDTH), torch.empty(1, dtype=torch.float64))
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert kept.mean().item() == pytest.approx(1.0, abs=0.03)
    theta = large(net, [0])
    inputs, targets = batches(1)
    state = net.generators[0].get_state()
    assert torch.equal(net.loss(theta, inputs, targets), net.loss(theta, inputs, targets))
    assert torch.equal(net.generators[0].get_state(), state)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_evaluation_is_the_mean_over_all_examples_whatever_the_chunk(chunk):
    net = CifarNet(**TINY)
    theta = large(net, [0, 1])
    inputs, targets = (part[0] for part in batches(1))
    loss, error = net.evaluate(theta, inputs, targets, chunk=chunk)
    torch.testing.assert_close(loss, net.loss(theta, inputs[None], targets[None]))
    for e in range(2):
        single = twin().double()
        vector_to_parameters(theta[e], single.parameters())
        logits = single(inputs.view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2))
        assert error[e].item() == pytest.approx((logits.argmax(1) != targets).double().mean())


def test_the_gradient_is_written_where_it_is_asked_for():
    net = CifarNet(keep=1.0, **TINY)
    theta = large(net, [0, 1])
    out = torch.full_like(theta, torch.nan)
    _, grad = net.gradient(theta, *batches(2), out=out)
    assert grad is out and out.isfinite().all()
    assert not theta.requires_grad and not grad.requires_grad


def test_the_papers_sizes_are_the_default():
    net, single = CifarNet(), twin(full=True)
    assert net.parameters == sum(p.numel() for p in single.parameters()) == 1_803_594
    shapes = [tuple(view.shape[1:]) for view in net.views(torch.empty(1, net.parameters))]
    assert shapes == [tuple(p.shape) for p in single.parameters()]
    logits = single(torch.zeros(1, 3, 32, 32))
    assert logits.shape == (1, 10)


def test_initial_weights_fill_the_range_of_torchs_default():
    net = CifarNet(**TINY)
    theta = net.initialise([0, 1, 0])
    assert torch.equal(theta[0], theta[2]) and not torch.equal(theta[0], theta[1])
    for view, fan_in in zip(net.views(theta), (108, 108, 432, 432), strict=False):
        assert 0.9 < view.abs().max().item() * fan_in**0.5 <= 1.0 or view[0].numel() < 100
        assert view.abs().max().item() * fan_in**0.5 <= 1.0


def test_it_learns():
    net = CifarNet(generators(0), keep=0.9, **TINY)
    theta = net.initialise([0, 1])
    inputs, targets = (part[0] for part in batches(1))
    inputs = inputs.float()
    before = net.evaluate(theta, inputs, targets)[0]
    for _ in range(60):
        theta -= 0.1 * net.gradient(theta, inputs[None], targets[None])[1]
    assert (net.evaluate(theta, inputs, targets)[0] < before - 0.1).all()


@pytest.mark.parametrize(
    ("change", "name"),
    [({"keep": 0.0}, "keep"), ({"keep": 1.5}, "keep"), ({"side": 2}, "side")],
)
def test_sizes_out_of_range_are_named(change, name):
    with pytest.raises(ValueError, match=name):
        CifarNet(**{**TINY, **change})


def test_arguments_that_do_not_fit_are_named():
    net = CifarNet(generators(0), **TINY)
    theta = net.initialise([0, 1, 2], dtype=torch.float64)
    inputs, targets = batches(3)
    with pytest.raises(ValueError, match="generators must be one a group"):
        net.gradient(theta, inputs, targets)
    with pytest.raises(ValueError, match="theta must have shape"):
        net.loss(theta[:, 1:], inputs, targets)
    with pytest.raises(ValueError, match="inputs must have shape"):
        net.loss(theta, inputs[..., 1:], targets)
    with pytest.raises(ValueError, match="targets must have shape"):
        net.loss(theta, inputs, targets[:, 1:])
    with pytest.raises(ValueError, match="do not divide"):
        net.loss(theta[:2], inputs, targets)
