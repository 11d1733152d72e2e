"""The deep autoencoder of Figure 4 of Dauphin et al. 2014: start, momentum, both ways on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reproductions.papers.dauphin2014saddle import autoencoder_figures, autoencoders, momentum_runs
from reproductions.papers.dauphin2014saddle.pixels import Pixels, pixels
from tests.rows import as_table, quiet, synthetic_mnist

HIDDEN, SEEDS = [6, 3], 2
STAGES = autoencoders.Stages(4, 1, 2, [1, 3], equal_cost=True)
PLAN = momentum_runs.Plan(25, 0.02, 0.99)
KRYLOV = autoencoders.Krylov(5, 2, 40, [1.0, 1e-2], 2)


@pytest.fixture(scope="module")
def seen() -> Pixels:
    return pixels(synthetic_mnist(), 5, 100, "cpu")


def compare(seen, plan=PLAN, stages=STAGES, seeds=SEEDS):
    return as_table(autoencoders.compare(seen, HIDDEN, seeds, stages, plan, KRYLOV, 8, 3, quiet))


@pytest.fixture(scope="module")
def table(seen):
    return compare(seen)


def model(theta):
    """Return the network of HIDDEN as torch builds it, with the given parameters (P,)."""
    linear = torch.nn.Linear
    layers = [
        linear(25, 6), torch.nn.Sigmoid(), linear(6, 3),
        linear(3, 6), torch.nn.Sigmoid(), linear(6, 25),
    ]  # fmt: skip
    built = torch.nn.Sequential(*layers).to(theta.dtype)
    torch.nn.utils.vector_to_parameters(theta.clone(), built.parameters())
    return built


def cross_entropy(built, images):
    logits = built(images)
    both = torch.nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    return both / len(images)


def test_loss_and_error_are_sums_over_pixels_of_a_net_with_a_linear_code(seen):
    loss = autoencoders.reconstruction(seen.inputs, HIDDEN)
    assert loss.layout.widths == (25, 6, 3, 6, 25)
    theta = autoencoders.sparse(loss.layout, [5], 3)
    built = model(theta[0])
    assert loss.loss(theta).item() == pytest.approx(cross_entropy(built, seen.inputs).item())
    wrong = (built(seen.inputs).sigmoid() - seen.inputs).square().sum(1).mean()
    assert loss.squared_error(theta).item() == pytest.approx(wrong.item())


def test_a_unit_starts_with_fifteen_weights_or_one_for_each_input():
    layout = autoencoders.reconstruction(torch.zeros(1, 40), [20, 4]).layout
    theta = autoencoders.sparse(layout, [1, 2], 0)
    drawn = []
    for weight, bias in layout.views(theta):
        filled = (weight != 0).sum(1)
        assert (filled == min(15, weight.shape[1])).all() and (bias == 0).all()
        drawn.append(weight[weight != 0])
    numbers = torch.cat(drawn)
    assert abs(numbers.mean()) < 4 / math.sqrt(len(numbers))
    assert numbers.var().item() == pytest.approx(1, abs=4 * math.sqrt(2 / len(numbers)))
    assert not torch.equal(theta[0], theta[1])
    assert torch.equal(theta[1:], autoencoders.sparse(layout, [2], 0))


@pytest.mark.parametrize(("epoch", "wanted"), [
    (0, 0.5), (1, 0.75), (3, 0.875), (99, 0.995), (2000, 0.995), (2995, 0.995), (2996, 0.9), (3100, 0.9),
])  # fmt: skip
def test_the_mass_is_that_of_the_authors_script(epoch, wanted):
    mass = momentum_runs.course(0.995, 2996, 250)
    for update in (250 * epoch, 250 * epoch + 249):
        found = mass(torch.tensor(float(update), dtype=torch.float64)).item()
        assert found == pytest.approx(wanted, abs=1e-12)
        script = min(1 - 2.0 ** (-1 - math.log2(update // 250 + 1)), 0.995)
        assert found == pytest.approx(script if epoch < 2996 else 0.9, abs=1e-12)


def test_a_low_mass_is_not_raised_by_lowering():
    mass = momentum_runs.course(0.995, 1, 10)
    assert mass(torch.tensor(10.0, dtype=torch.float64)).item() == 0.75


def start(loss, seeds, root_seed=3):
    theta = autoencoders.sparse(loss.layout, seeds, root_seed)
    return momentum_runs.Place(0, theta, None, torch.zeros(len(seeds), dtype=torch.int64))


def test_momentum_follows_the_loop_that_torch_would_run(seen):
    loss = autoencoders.reconstruction(seen.inputs, HIDDEN)
    runs = momentum_runs.Runs(loss, PLAN, [1, 2], 3)
    place = runs.go(start(loss, [1, 2]), 3, 2, lambda _: None, [], quiet)
    for member, seed in enumerate([1, 2]):
        built = model(autoencoders.sparse(loss.layout, [seed], 3)[0])
        optimizer = torch.optim.SGD(built.parameters(), lr=PLAN.learning_rate, momentum=0.5)
        order = momentum_runs.minibatches(100, 25, [seed], 3)
        for update in range(12):
            epoch = update // 4
            optimizer.param_groups[0]["momentum"] = 1 - 0.5 / (epoch + 1) if epoch < 2 else 5 / 6
            optimizer.zero_grad()
            cross_entropy(built, seen.inputs[order(update)[0]]).backward()
            optimizer.step()
        wanted = torch.nn.utils.parameters_to_vector(built.parameters()).detach()
        torch.testing.assert_close(place.theta[member], wanted, rtol=1e-9, atol=1e-11)


def test_a_run_taken_up_again_is_the_run_in_one_piece(seen):
    loss = autoencoders.reconstruction(seen.inputs, HIDDEN)
    runs = momentum_runs.Runs(loss, PLAN, [1], 3)
    whole = runs.go(start(loss, [1]), 5, 5, lambda _: None, [], quiet)
    half = runs.go(start(loss, [1]), 2, 5, lambda _: None, [], quiet)
    rest = runs.go(half, 3, 5, lambda _: None, [], quiet)
    assert (half.epoch, rest.epoch) == (2, 5)
    torch.testing.assert_close(rest.theta, whole.theta, rtol=0, atol=0)
    assert torch.equal(rest.state.velocity, whole.state.velocity)


def test_a_member_is_the_same_alone(seen, table):
    alone = compare(seen, seeds=1, stages=STAGES._replace(equal_cost=False))
    both = table[(table.seed == 1) & (table.arm != autoencoders.LONGER)]
    assert len(alone) == len(both)
    keys = ["arm", "quantity", "step"]
    values = [part.sort_values(keys).value.to_numpy() for part in (alone, both)]
    np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-4)


def test_both_ways_start_where_momentum_had_come_to(table):
    first, last = autoencoder_figures.stretch(table)
    assert (first, last) == (4, 6)
    errors = table[(table.quantity == "squared_error") & (table.step == first)]
    by_arm = errors.pivot(index="seed", columns="arm", values="value")
    assert (by_arm["momentum"] == by_arm["saddle_free"]).all()
    ends = {arm: autoencoder_figures.at(table, "loss", arm, -1) for arm in by_arm}
    starts = autoencoder_figures.at(table, "loss", "saddle_free", 0)
    assert (ends["saddle_free"] < starts).all()


def test_costs_are_gradients_of_all_images(table):
    assert KRYLOV.passes(100) == pytest.approx(2 * (2 + 2 * 5 + 4 / 3) * 40 / 100)
    rows = table[(table.arm == "saddle_free") & (table.step == 6)]
    assert rows.passes.unique() == pytest.approx([4 + 2 * KRYLOV.passes(100)])
    longer = table[table.arm == autoencoders.LONGER]
    assert longer.step.max() == 4 + round(2 * KRYLOV.passes(100))
    assert (longer.passes == longer.step).all()


def test_the_least_eigenvalue_is_that_of_the_dense_hessian(seen):
    loss = autoencoders.reconstruction(seen.inputs, HIDDEN)
    size = loss.layout.parameters
    standings = autoencoders.Standings(loss, 60, size, [1], 3)
    place = start(loss, [1])
    standings.curvature("momentum", place, 0)
    rows = as_table(standings.rows).set_index("quantity").value
    sample = loss.on(loss.inputs[:60], loss.inputs[:60])
    hessian = sample.curvature(place.theta).hessian
    least = torch.linalg.eigvalsh(hessian)[0, 0].item()
    assert rows["least_eigenvalue"] == pytest.approx(least, abs=1e-8)
    norm = loss.gradient(place.theta)[1].norm().item()
    assert rows["gradient_norm"] == pytest.approx(norm)


def test_measures_are_those_of_the_table(table):
    found = autoencoder_figures.measure(table)
    last = {
        arm: table[(table.quantity == "squared_error") & (table.arm == arm) & (table.step == 6)]
        for arm in ("momentum", "saddle_free")
    }
    means = {arm: rows.value.mean() for arm, rows in last.items()}
    assert found["autoencoder_saddle_free_error"].value == pytest.approx(means["saddle_free"])
    assert found["autoencoder_ratio"].value == pytest.approx(
        means["saddle_free"] / means["momentum"]
    )
    assert found["published_branch_start"].value == pytest.approx(1.1101)
    assert found["published_final_gradient_norm"].value == pytest.approx(0.768745)


def test_runs_that_diverge_are_kept_and_drawn(seen):
    table = compare(seen, plan=PLAN._replace(learning_rate=1e38))
    lost = table[(table.arm == "saddle_free") & (table.step == 6)]
    assert len(lost) and lost.status.str.startswith("diverged").all()
    assert lost.value.isna().all()
    found = autoencoder_figures.measure(table)
    assert math.isnan(found["autoencoder_ratio"].value) and found["autoencoder_ratio"].note
    assert autoencoder_figures.learning(table).axes and autoencoder_figures.curvature(table).axes


def test_figures_show_ours_and_the_published(table):
    for draw in (autoencoder_figures.learning, autoencoder_figures.curvature):
        figure = draw(table)
        said = " ".join(t.get_text() for box in figure.legends for t in box.get_texts())
        assert "published" in said and "saddle-free" in said and "momentum" in said
