"""Angles of small teleports and lengths of teleported gradients, against plain twins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reproductions.harness.dataset_torchvision import import_torchvision
from reproductions.harness.tables import Rows
from reproductions.optim.change_of_basis import moments
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.teleport import norms, random_basis, teleport
from reproductions.papers.armenta2021teleport import (
    angle_modules,
    angles,
    conv_nets,
    gradient_change,
    gradient_conv,
    local_measures,
    local_modules,
)
from reproductions.papers.armenta2021teleport.images import Images
from reproductions.papers.armenta2021teleport.local_modules import Module, inner, swapped
from reproductions.problems.mlp import MLP
from tests.rows import as_table, quiet

LAYOUT = Layout((12, 7, 6, 10))


def images(count: int = 60, side: int = 2) -> Images:
    source = torch.Generator().manual_seed(3)
    pixels = torch.randn(count, 3, side, side, generator=source)
    labels = torch.randint(10, (count,), generator=source)
    return Images(pixels, labels, pixels, labels)


def network(layout: Layout = LAYOUT) -> Tensor:
    return layout.initialise([5], dtype=torch.float64)[0]


def gradient(layout: Layout, theta: Tensor, activation: str = "relu") -> Tensor:
    held = images(20)
    x = held.train.flatten(1).double()
    return MLP(layout, activation).gradient(theta[None], x[None], held.labels[None])[1][0]


def sums(layout: Layout, vector: Tensor) -> angles.Sums:
    return lambda tau, power: norms(layout, vector, tau, power=power)


def cosines(layout: Layout, theta: Tensor, steep: Tensor, steps: angles.Steps) -> Tensor:
    length = angles.lengths(sums(layout, theta.square()), steps)
    return angles.cosines(sums(layout, theta * steep), sums(layout, steep.square()), length, steps)


# ---------------------------------------------------------------- angles


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sigma", [0.001, 0.1, 0.9])
def test_the_angle_is_that_of_the_displacement_itself(activation: str, sigma: float) -> None:
    theta, tau = network(), random_basis(LAYOUT, range(20), sigma)
    steep = gradient(LAYOUT, theta, activation)
    moved = teleport(LAYOUT, theta[None], tau) - theta
    wanted = (moved @ steep) / (moved.norm(dim=1) * steep.norm())
    found = cosines(LAYOUT, theta, steep, angles.clean(tau))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12 / sigma)


def test_the_authors_loop_is_followed_step_by_step() -> None:
    theta, tau = network(), random_basis(LAYOUT, range(9), 0.5)
    found = cosines(LAYOUT, theta, gradient(LAYOUT, theta), angles.compounded(tau))
    at, basis = theta, torch.ones_like(tau[0])
    for number, drawn in enumerate(tau):
        steep = gradient(LAYOUT, at)  # at the previous point
        back = teleport(LAYOUT, theta[None], 1 / basis[None])[0]  # what is undone, once too often
        at, basis = teleport(LAYOUT, back[None], drawn[None])[0], drawn
        moved = at - theta
        wanted = (moved @ steep) / (moved.norm() * steep.norm())
        assert found[number].item() == pytest.approx(wanted.item(), rel=1e-10)


def test_the_angle_of_relu_networks_shrinks_with_the_range_and_that_of_tanh_does_not() -> None:
    layout = Layout((12, 40, 10))
    theta = network(layout)
    found = {
        (name, sigma): cosines(
            layout, theta, gradient(layout, theta, name), angles.clean(random_basis(layout, range(50), sigma))
        ).square().mean().sqrt().item()
        for name in ("relu", "tanh")
        for sigma in (0.001, 0.01)
    }  # fmt: skip
    assert found["relu", 0.01] / found["relu", 0.001] == pytest.approx(10, rel=0.02)
    assert found["tanh", 0.01] / found["tanh", 0.001] == pytest.approx(1, rel=0.05)
    assert found["tanh", 0.001] > 50 * found["relu", 0.001]


@pytest.fixture(scope="module")
def measured() -> dict[str, local_measures.Metric]:
    plan = angles.Plan(24, [8], [0.001, 0.01], 400, 4, 7)
    return local_measures.angles(as_table(angles.rows(images(), plan, quiet)))


def test_the_second_order_says_how_far_angles_are_off_ninety(
    measured: dict[str, local_measures.Metric],
) -> None:
    assert measured["angles_relu_offset_over_theory"].value == pytest.approx(1, abs=0.05)
    assert measured["angles_relu_exponent"].value == pytest.approx(1, abs=0.01)


def test_the_second_order_says_how_angles_spread() -> None:
    plan = angles.Plan(24, [8], [0.001], 400, 4, 7)
    table = as_table(angles.rows(images(), plan, quiet))
    found = local_measures.offsets(
        table, arm="relu", pair="displacement-gradient", protocol="clean"
    ).std(1)
    wanted = local_measures.expected(table, "expected_spread", 0.001)
    np.testing.assert_allclose(found.mean(), wanted.mean(), rtol=0.05)


def test_the_authors_loop_spreads_angles_by_the_root_of_twenty(
    measured: dict[str, local_measures.Metric],
) -> None:
    found = measured["angles_compounded_over_clean"].value
    assert found == pytest.approx(math.sqrt(20), rel=0.1)


def test_random_vectors_spread_by_the_root_of_their_length(
    measured: dict[str, local_measures.Metric],
) -> None:
    for name in ("angles_random_spread", "angles_displacement_random_spread"):
        assert measured[name].value == pytest.approx(180 / math.pi, rel=0.1)


def test_a_network_has_the_same_angles_whatever_the_ensemble() -> None:
    tables = [
        as_table(angles.rows(images(), angles.Plan(5, [4], [0.01], 3, count, 7), quiet))
        for count in (1, 2)
    ]
    one, two = (table[(table.quantity == "angle") & (table.seed == 0)].value for table in tables)
    np.testing.assert_array_equal(one, two)


def test_a_module_has_the_angles_of_its_materialised_displacements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(conv_nets.NETWORKS, "small", lambda classes: small_vgg())
    plan = angle_modules.Plan("small", [6], ["images"], [0.001, 0.3], 4, 2, ["float64"], 7)
    held = images(20, 8)
    table = as_table(angle_modules.rows(held, plan, quiet))
    own = conv_nets.build("small", 7, scheme="fan_out").train()
    module = Module(own.double(), held.train[:2].double())
    _, x, y = next(iter(angles.batches(held, 6, 7, 0)))
    steep = flat(module.gradient(x.double(), y, 7))
    for number, sigma in enumerate(plan.sigmas):
        tau = module.draw(sigma, generator(7, 0, angle_modules.TELEPORTS, number), 4)
        moved = [flat(dict(module.plan.teleport(own, one).named_parameters())) for one in tau]
        moves = torch.stack(moved) - flat(module.weights)
        cos = (moves @ steep) / (moves.norm(dim=1) * steep.norm())
        rows = table[(table.pair == "displacement-gradient") & (table.protocol == "clean")]
        found = rows[rows.sigma == sigma].value.to_numpy()
        np.testing.assert_allclose(found, np.degrees(np.arccos(cos.detach().numpy())), atol=1e-9)
    pairs = table[table.pair == "random-random"]
    assert len(pairs) == 2 and (np.abs(pairs.value - 90) < 30).all()


def test_joined_loops_are_what_each_gives_alone() -> None:
    taus = [random_basis(LAYOUT, range(n, n + 4), sigma) for n, sigma in ((0, 0.2), (4, 0.7))]
    theta, steep = network(), gradient(LAYOUT, network())
    for protocol in (angles.clean, angles.compounded):
        found = cosines(LAYOUT, theta, steep, angles.joined(protocol, taus))
        wanted = torch.cat([cosines(LAYOUT, theta, steep, protocol(tau)) for tau in taus])
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0)


def test_ranges_share_no_draws() -> None:
    draws, plan = list[Tensor](), gradient_change.Plan([0.5, 0.5], 1, 4, 2, 7)
    own = gradient_change.mlp(LAYOUT, network())
    squares = own.weights._replace(moved=lambda tau: draws.append(tau) or own.weights.moved(tau))
    subject = own._replace(weights=squares)
    gradient_change.measure(Rows(gradient_change.UNITS), subject, images(), plan, 0)
    one, two = draws[0].view(2, 2, 2, -1)[0]
    assert (one != two).all()
    table = as_table(angles.rows(images(), angles.Plan(5, [4], [0.01, 0.01], 3, 1, 7), quiet))
    rows = table[(table.pair == "displacement-gradient") & (table.arm == "relu")]
    rows = rows[(rows.source == "images") & (rows.protocol == "clean")]
    assert len(rows) == 6 and rows.value.nunique() == 6


def test_inner_products_are_those_of_flat_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_modules.CHUNK, "cpu", 7)
    source = torch.Generator().manual_seed(1)
    one, other = (
        {name: torch.randn(shape, generator=source) for name, shape in (("a", (9, 2, 3)), ("b", (5,)))}
        for _ in range(2)
    )  # fmt: skip
    found = inner(one, [one, other])
    wanted = [float(flat(one).double() @ flat(with_it).double()) for with_it in (one, other)]
    assert found == pytest.approx(wanted, rel=1e-12)


def test_the_worst_network_is_the_mean_farthest_from_one() -> None:
    drawn = np.array([[1.1, 0.9], [0.8, 0.9], [1.1, 1.1]])
    assert local_measures.farthest_from_one(drawn) == pytest.approx(0.85)
    resampled = np.stack([drawn, 2 * drawn], 1)  # (networks, resamples, seeds)
    np.testing.assert_allclose(local_measures.farthest_from_one(resampled), [0.85, 2.2])


def test_the_printed_spread_is_that_of_the_metric() -> None:
    table = as_table(angles.rows(images(), angles.Plan(5, [4], [0.01, 0.1], 5, 2, 7), quiet))
    rows = table[(table.pair == "displacement-gradient") & (table.arm == "relu")]
    wanted = local_measures.angles(table)["angles_relu_spread"].value
    rows = rows[(rows.protocol == "clean") & (rows.sigma == 0.01)]
    assert local_measures.spread_within(rows) == pytest.approx(wanted)


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([values[name].detach().flatten() for name in sorted(values)])


# ---------------------------------------------------------------- lengths of gradients


@pytest.mark.parametrize("power", [2, -2])
def test_expected_squares_are_the_mean_over_many_teleports(power: int) -> None:
    square = gradient(LAYOUT, network()).square()
    found = gradient_change.layered(LAYOUT, square, power)
    for sigma in (0.3, 0.8):
        drawn = found.moved(random_basis(LAYOUT, range(4000), sigma))
        error = drawn.std().item() / math.sqrt(len(drawn))
        assert abs(drawn.mean().item() - found.expected(moments(sigma))) < 4 * error
        assert error < 0.02 * found.total


def test_expected_squares_of_the_authors_loop_are_the_mean_over_ratios_of_draws() -> None:
    square = network().square()
    found = gradient_change.layered(LAYOUT, square, 2)
    one, two = (random_basis(LAYOUT, range(n, n + 4000), 0.5) for n in (0, 4000))
    drawn = found.moved(one / two)
    wanted = found.expected(gradient_change.factors("compounded", 0.5))
    assert abs(drawn.mean().item() - wanted) < 4 * drawn.std().item() / math.sqrt(4000)


def test_the_published_statistic_is_that_of_networks_teleported_one_by_one() -> None:
    plan = gradient_change.Plan([0.2, 0.8], 2, 8, 3, 7)
    held = images()
    table = as_table(gradient_change.fully_connected(held, [9, 8], 2, plan, quiet))
    layout = Layout((12, 9, 8, 10))
    for seed in (0, 1):
        theta = layout.initialise([seed], root_seed=7)[0]
        subject = gradient_change.mlp(layout, theta)
        draws = subject.draw(0.8, generator(7, seed, gradient_change.TELEPORTS, 1), 7)
        _, x, y = gradient_change.minibatches(held, plan, seed)[1]
        before = slope(layout, theta, x, y).norm() / theta.norm()
        for protocol, tau in (("clean", draws[4]), ("compounded", draws[4] / draws[3])):
            there = teleport(layout, theta[None].double(), tau[None])[0]
            after = slope(layout, there, x, y).norm() / there.norm()
            rows = table[(table.quantity == "published") & (table.sigma == 0.8)]
            rows = rows[(rows.seed == seed) & (rows.protocol == protocol) & (rows["index"] == 3)]
            assert rows.value.item() == pytest.approx(abs(before - after).item(), rel=1e-3)


def slope(layout: Layout, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    x = x.flatten(1).to(theta)
    return MLP(layout).gradient(theta[None], x[None], y[None])[1][0]


def small_vgg() -> nn.Sequential:
    return conv_nets.vgg16(plan=(4, 0, 5, 0), hidden=6, side=2)


SMALL: dict[str, Callable[[], nn.Sequential]] = {
    "vgg": small_vgg,
    "vgg_bn": lambda: conv_nets.vgg16(plan=(4, 0, 5), norm=True, hidden=6, side=2),
    "resnet": lambda: conv_nets.resnet18(widths=(4, 6)),
    "densenet": lambda: conv_nets.densenet121(blocks=(1, 2), growth=3),
}


@pytest.fixture(params=SMALL)
def module(request: pytest.FixtureRequest) -> Module:
    torch.manual_seed(1)
    own = SMALL[request.param]().double().train()
    for one in own.parameters():  # thresholds that start at 0 would hide their factors
        one.data.add_(0.1 * torch.randn_like(one))
    return Module(own, images(4, 16).train.double())


def test_teleported_gradients_are_those_of_backpropagation(module: Module) -> None:
    held = images(12, 16)
    x, y = held.train.double(), held.labels
    before = module.gradient(x, y)
    squares = module.products(before, before)
    for tau in module.draw(0.8, generator(2), 2):
        other = module.plan.teleport(module.network, tau).train()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)  # the same dropped units
            nn.functional.cross_entropy(other(x), y).backward()
        wanted = sum(one.grad.square().sum() for one in other.parameters() if one.grad is not None)
        assert squares(tau[None], -2).item() == pytest.approx(float(wanted), rel=1e-10)


def test_added_up_entries_give_the_sums_of_all_entries(module: Module) -> None:
    weights, tau = module.weights, module.draw(0.8, generator(3), 3)
    found = module.products(weights, weights)
    for number, one in enumerate(tau):
        factors = module.plan.factors(one)
        for power in (2, 1, -2):
            wanted = sum(
                (value.square() * factors[name] ** power).sum().item()
                if name in factors
                else value.square().sum().item()
                for name, value in weights.items()
            )
            assert found(tau, power)[number].item() == pytest.approx(wanted, rel=1e-12)


def test_expected_squares_of_a_module_are_the_mean_over_many_teleports(module: Module) -> None:
    held = images(12, 16)
    before = module.gradient(held.train.double(), held.labels)
    found = module.products(before, before)
    drawn = found(module.draw(0.6, generator(4), 4000), -2)
    wanted = found.expected(*swapped(moments(0.6)))
    assert abs(drawn.mean().item() - wanted) < 4 * drawn.std().item() / math.sqrt(len(drawn))


def test_running_statistics_count_as_the_authors_weights() -> None:
    module = Module(SMALL["vgg_bn"]().train(), images(4, 16).train)
    assert module.statistics == 4 + 5  # variances of one, means of nought


def test_convolutional_rows_are_the_same_again_and_hold_the_law() -> None:
    plan = gradient_change.Plan([0.1, 0.9], 1, 8, 2, 7)
    tables = [
        as_table(gradient_conv.convolutional(images(20, 16), ["tiny"], [2], plan, quiet))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*(table.value for table in tables))
    assert local_measures.law(tables[0]).value < 1e-12


def test_a_network_counts_the_same_whether_traced_or_not() -> None:
    plan = gradient_change.Plan([0.1, 0.9], 1, 8, 2, 7)
    held = images(20, 16)
    table = as_table(gradient_conv.convolutional(held, ["tiny"], [2], plan, quiet))
    own = gradient_conv.network("tiny", 1, 7, held.train)
    wanted = Rows(gradient_change.UNITS)
    traced = gradient_conv.subject("tiny", Module(own, held.train[:2]))
    gradient_change.measure(wanted, traced, held, plan, 1)
    again = as_table(wanted).value
    np.testing.assert_array_equal(table[table.seed == 1].value, again)


def test_as_many_seeds_as_networks_are_asked_for() -> None:
    plan = gradient_change.Plan([0.1], 1, 8, 2, 7)
    with pytest.raises(ValueError, match="as many as networks"):
        gradient_conv.convolutional(images(), ["tiny"], [1, 2], plan, quiet)


# ---------------------------------------------------------------- the networks


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("vgg16", 134_301_514),
        ("vgg16_bn", 134_309_962),
        ("resnet18", 11_181_642),
        ("densenet121", 6_964_106),
    ],
)
def test_networks_have_the_known_numbers_of_parameters(name: str, count: int) -> None:
    with torch.device("meta"):
        own = conv_nets.NETWORKS[name](10)
    assert sum(one.numel() for one in own.parameters()) == count


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_networks_compute_what_those_of_torchvision_do(name: str) -> None:
    own = conv_nets.build(name, 0).eval()
    other = getattr(import_torchvision().models, name)(num_classes=10).eval()
    pairs = list(zip(own.parameters(), other.parameters(), strict=True))
    for mine, theirs in pairs:
        theirs.data.copy_(mine.data)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own(x), other(x), rtol=1e-5, atol=1e-6)


def test_a_seed_gives_a_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(4)
    state = torch.get_rng_state()
    one, two = (conv_nets.build("tiny", 3, scheme="fan_out") for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    bound = math.sqrt(6 / (4 * 49))
    assert 0.95 * bound < one[0].weight.abs().max().item() <= bound


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="alexnet"):
        conv_nets.build("alexnet", 0)
