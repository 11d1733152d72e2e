"""Exactness, closed forms, traces of the Hessian, lines between minima and histograms, Armenta et al. 2023."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.harness.statistics import Metric
from reproductions.harness.tables import Rows
from reproductions.optim import module_teleport
from reproductions.optim.change_of_basis import draw
from reproductions.optim.device import generator
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.teleport import random_basis, scaling, teleport
from reproductions.papers.armenta2021teleport import (
    exactness,
    histograms,
    interpolation,
    module_exactness,
    moments,
    shape_figures,
    shape_measures,
    small_modules,
    traces,
)
from reproductions.papers.armenta2021teleport.images import images
from tests.rows import as_table, quiet, synthetic_mnist

F64 = torch.float64
PLAN = interpolation.Plan(
    hidden=12, layers=3, epochs=6, batches=(8, 50), lr=0.02, mu=0.9, weight_decay=5e-4, sigma=0.9,
    draws=2, alphas=21, train_examples=100, curvature_examples=80, trace_draws=50,
    measured_traces=2, seeds=3, root_seed=3,
)  # fmt: skip
SMALL = Layout((4, 6, 5, 3))


@pytest.fixture(scope="module")
def joined() -> pd.DataFrame:
    data = images(synthetic_mnist(120), 120, 60, "cpu", 7)
    return as_table(interpolation.rows(data, PLAN, quiet))


@pytest.fixture(scope="module")
def averaged() -> pd.DataFrame:
    data = images(synthetic_mnist(64), 64, 1, "cpu", 7)
    plan = moments.Plan(16, 3, 64, [0.3, 0.9], 800, 4, 5)
    return as_table(moments.rows(data, plan, quiet))


def network(widths: tuple[int, ...] = SMALL.widths, examples: int = 30) -> tuple[torch.Tensor, ...]:
    layout, source = Layout(widths), torch.Generator().manual_seed(2)
    x = torch.randn(examples, widths[0], generator=source, dtype=F64)
    y = torch.randint(0, widths[-1], (examples,), generator=source)
    return 2 * layout.initialise([0, 1], dtype=F64), x, y


# ---------------------------------------------------------------- traces


@pytest.mark.parametrize("widths", [(4, 3), (4, 6, 3), (4, 6, 5, 3)])
def test_the_diagonal_is_that_of_the_dense_hessian(widths: tuple[int, ...]):
    theta, x, y = network(widths)
    dense = NetworkLoss(Layout(widths), x, y, activations="relu").curvature(theta).hessian
    found = traces.hessian_diagonal(Layout(widths), theta, x, chunk=7)
    torch.testing.assert_close(found, dense.diagonal(dim1=1, dim2=2), rtol=1e-10, atol=1e-14)
    assert (found >= 0).all()


def test_the_diagonal_of_a_tanh_network_may_be_negative_so_that_relu_matters():
    theta, x, y = network()
    dense = NetworkLoss(SMALL, x, y, activations="tanh").curvature(theta).hessian
    assert (dense.diagonal(dim1=1, dim2=2) < 0).any()


def test_a_teleport_divides_the_diagonal_by_squared_factors():
    theta, x, _ = network()
    tau = random_basis(SMALL, [0, 1], 0.9)
    before = traces.hessian_diagonal(SMALL, theta, x)
    after = traces.hessian_diagonal(SMALL, teleport(SMALL, theta, tau), x)
    torch.testing.assert_close(after, before / scaling(SMALL, tau) ** 2, rtol=1e-9, atol=1e-14)


def test_traces_are_sums_of_the_diagonal_and_grow_as_expected():
    theta, x, _ = network()
    found = as_table(traces.rows(SMALL, "net", theta, x, 0.9, 4000, 3, 1))
    diagonal = traces.hessian_diagonal(SMALL, theta, x)
    layers = [diagonal[:, layer.start : layer.stop].sum(1) for layer in SMALL.layers]
    got = shape_measures.traces(found, "trace", "net")
    np.testing.assert_allclose(got, torch.stack(layers).numpy(), rtol=1e-12)
    after, expected = (
        shape_measures.traces(found, name, "net") for name in ("trace_mean", "trace_expected")
    )
    np.testing.assert_allclose(after, expected, rtol=0.15)
    assert (expected[:-1] > 3 * got[:-1]).all()
    invariant = shape_measures.traces(found, "invariant", "net")
    assert invariant.shape == (1 + 3, 2)
    np.testing.assert_allclose(invariant, invariant[:1].repeat(4, 0), rtol=1e-10)


def test_traces_at_teleports_are_measured_there_and_obey_the_rule():
    theta, x, _ = network()
    found = as_table(traces.rows(SMALL, "net", theta, x, 0.9, 5, 3, 1))
    measured, ruled = (
        shape_measures.traces_by_draw(found, name, "net")
        for name in ("trace_teleported", "trace_rule")
    )
    assert measured.shape == (3, 3, 2)
    np.testing.assert_allclose(measured, ruled, rtol=1e-10)
    tau = draw((5, 11), 0.9, generator(1, 1, traces.BASIS))[2:3]  # the third of the second network
    moved = teleport(SMALL, theta[1:], tau)
    dense = NetworkLoss(SMALL, x, torch.zeros(len(x), dtype=torch.long), activations="relu")
    diagonal = dense.curvature(moved).hessian.diagonal(dim1=1, dim2=2)[0]
    wanted = [float(diagonal[one.start : one.stop].sum()) for one in SMALL.layers]
    np.testing.assert_allclose(measured[2, :, 1], wanted, rtol=1e-9)
    before = shape_measures.traces(found, "trace", "net").sum(0)
    grown = shape_measures.growth(found, "net")
    np.testing.assert_allclose(grown, measured.sum(1).mean(0) / before, rtol=1e-12)


def test_a_hessian_that_broke_the_rule_would_be_seen(joined: pd.DataFrame):
    wrong = joined.copy()
    wrong.loc[wrong.quantity == "trace_teleported", "value"] *= 1.001
    clean, found = (shape_measures.interpolation(one) for one in (joined, wrong))
    assert clean["hessian_trace_rule_error"].value < 1e-10
    np.testing.assert_allclose(found["hessian_trace_rule_error"].value, 1e-3, rtol=1e-6)


def test_expected_growth_is_b_then_a_b_then_a():
    a, b = 1.27, 1 / 0.19
    wanted = [[b, b], [a * b, b], [a, 1.0]]
    np.testing.assert_allclose(traces.expected(3, 0.9).numpy(), wanted)
    np.testing.assert_allclose(traces.expected(1, 0.9).numpy(), [[1.0, 1.0]])


# ---------------------------------------------------------------- moments


def test_factors_of_squares_are_the_closed_forms(averaged: pd.DataFrame):
    z = shape_measures.deviations(averaged)
    assert z.shape == (2 * 2 * 4, 4) and np.abs(z).max() < 4
    hidden = shape_measures.factors(averaged, "gradient", "hidden weights")
    np.testing.assert_allclose(hidden["expected"], [1.13187, 6.68421], rtol=1e-5)
    first = shape_measures.factors(averaged, "weights", "first weights")
    np.testing.assert_allclose(first["expected"], [1.03, 1.27])
    assert shape_measures.moments(averaged)["hessian_conjugation_error"].value < 1e-13


def test_a_wrong_factor_would_be_far_from_what_is_averaged(averaged: pd.DataFrame):
    wrong = averaged.copy()
    own = (wrong.quantity == "factor_expected") & (wrong.block == "hidden weights")
    wrong.loc[own, "value"] *= 1.1
    assert np.abs(shape_measures.deviations(wrong)).max() > 5
    fair, found = (shape_measures.moments(one)["moments_chi_square"] for one in (averaged, wrong))
    assert 0.4 < fair.value < 1.6 and found.low > 3


def test_closed_forms_pass_through_what_is_expected():
    at = np.array([0.3, 0.9])
    for expected in ([1.03, 1.27], [1.0989, 5.26316], [1.13187, 6.68421]):
        fine, curve = shape_measures.closed_form(at, np.array(expected))
        np.testing.assert_allclose(np.interp(at, fine, curve), expected, rtol=1e-3)


def test_a_hessian_that_breaks_the_rule_is_seen(monkeypatch: pytest.MonkeyPatch):
    theta, tau = moments.SMALL.initialise([0], dtype=F64), random_basis(moments.SMALL, [0], 0.9)
    x, y = torch.randn(10, 5, dtype=F64), torch.arange(10) % 4
    assert moments.hessian_error("relu", theta, tau, x, y) < 1e-13
    monkeypatch.setattr(moments, "factor_of", lambda *_: torch.ones_like(theta))
    assert moments.hessian_error("relu", theta, tau, x, y) > 0.1


# ---------------------------------------------------------------- interpolation


def test_batches_come_in_order_and_the_last_holds_what_is_left():
    x, y = torch.arange(10.0)[:, None], torch.arange(10)
    batches, per_epoch = interpolation.in_order(x, y, 4)
    assert per_epoch == 3
    for step, wanted in ((0, range(4)), (1, range(4, 8)), (2, range(8, 10)), (3, range(4))):
        inputs, targets = batches(step)
        assert inputs.shape == (1, len(wanted), 1) and targets[0].tolist() == list(wanted)
        assert inputs[0, :, 0].tolist() == list(wanted)


def test_lines_start_and_end_where_they_say(joined: pd.DataFrame):
    at = shape_measures.alphas(joined)
    assert at[0] == -0.5 and at[-1] == 1.5 and len(at) == PLAN.alphas
    zero, one = (int(np.argmin(np.abs(at - end))) for end in (0, 1))
    for quantity in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        plain = shape_measures.curves(joined, quantity, "plain")[0]
        moved = shape_measures.curves(joined, quantity, "teleported")
        own = shape_measures.curves(joined, quantity, "own")[0]
        for place in (zero, one):  # the same functions, whatever the basis
            np.testing.assert_allclose(moved[:, place], plain[None, place].repeat(2, 0), rtol=1e-4)
        np.testing.assert_allclose(own[one], own[zero], rtol=1e-4)
        np.testing.assert_allclose(own[zero], plain[zero], rtol=1e-6)
    moved = shape_measures.curves(joined, "train_loss", "teleported")
    assert not np.allclose(moved[0], moved[1], rtol=1e-2)  # changes of basis are drawn anew


def test_a_shared_basis_changes_nothing(joined: pd.DataFrame):
    found = shape_measures.interpolation(joined)
    assert found["interpolation_shared_basis_change"].value < 1e-11
    assert found["hessian_invariant_change"].value < 1e-11


def test_training_lowers_the_loss_of_both_minima(joined: pd.DataFrame):
    course = joined[joined.quantity == "loss_course"].groupby(["arm", "step"]).value.mean()
    for arm in interpolation.SIDES:
        assert course[arm].iloc[-1] < course[arm].iloc[0]


def test_curvature_is_the_second_difference_of_the_loss():
    theta, x, y = network((4, 6, 5, 3), 60)
    lines = interpolation.Lines("plain", theta, theta + 0.01 * torch.randn_like(theta),
                                np.zeros(2, int), np.arange(2))  # fmt: skip
    found = Rows(interpolation.UNITS)
    sets = interpolation.Sets(x, y, x, y)
    interpolation._curvatures(found, SMALL, lines, sets, PLAN)
    table, step = as_table(found), 1e-3
    along = lines.end - lines.start
    loss = NetworkLoss(SMALL, x, y, activations="relu").loss
    for side, at in zip(interpolation.SIDES, (lines.start, lines.end), strict=True):
        wanted = (loss(at + step * along) - 2 * loss(at) + loss(at - step * along)) / step**2
        got = shape_measures.curvatures(table, "plain", side)[0]
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-3)
    length = shape_measures.distances(table, "plain")[0]
    np.testing.assert_allclose(length, along.square().sum(1).numpy(), rtol=1e-12)


def line(values: list[list[float]], at: list[float]) -> pd.DataFrame:
    rows = Rows({"train_loss": "nat"})
    rows.add(arm="plain", quantity="train_loss", value=np.array(values).T, seed=np.arange(len(values)),
             index=np.arange(len(at))[:, None], alpha=np.array(at)[:, None], draw=0)  # fmt: skip
    return as_table(rows)


def test_barriers_and_widths_are_those_of_curves_drawn_by_hand():
    at = [-0.5, 0.0, 0.5, 1.0, 1.5]
    table = line([[9.0, 1.0, 4.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0]], at)
    # above the straight line from 1 to 2: 4 - 1.5; outside of the ends nothing counts
    assert shape_measures.barriers(table, "plain").tolist() == [[2.5, 0.0]]
    # low is up to one nat above the higher end: 3; two of five points, and all of them
    assert shape_measures.widths(table, "plain").tolist() == [[2 / 5 * 2, 2.0]]


def test_a_negative_curvature_leaves_no_gain_rather_than_a_wrong_one(joined: pd.DataFrame):
    wrong = joined.copy()
    own = (wrong.quantity == "curvature") & (wrong.side == "small") & (wrong.arm == "plain")
    wrong.loc[own, "value"] = -1.0
    found = shape_measures.interpolation(wrong)["interpolation_curvature_gain_small"]
    assert math.isnan(found.value) and "no finite value" in found.note


# ---------------------------------------------------------------- exactness


def exact_plan(sigma: float = 0.9) -> exactness.Plan:
    return exactness.Plan((8, 6, 6, 3), sigma, 4, 5, 3, "cpu", 1)


def test_outputs_stay_through_every_sequence_of_teleports():
    found = Rows(exactness.UNITS)
    exactness.fully_connected(found, exact_plan())
    table = as_table(found)
    assert (table.groupby("quantity").value.max() < [1e-5, 1e-13]).all()
    measured = shape_measures.exactness(table)
    assert not any("modules" in name for name in measured)
    assert measured["exact_sequences_float32"].value < 1e-5
    assert {measured[f"exact_{k}_float64"].n for k in ("relu", "conjugated", "repeated")} == {3}


def test_a_sequence_ends_where_it_should():
    layout = Layout((3, 4, 2))
    theta = layout.initialise([0], dtype=F64)
    bases = [random_basis(layout, [k], 0.9) for k in range(3)]
    for protocol, wanted in (
        ("once", bases[:1]),
        ("repeated", bases),
        ("compounded", [bases[0], bases[0] * bases[1], bases[0] * bases[1] * bases[2]]),
    ):
        steps = list(exactness.sequence(layout, theta, bases, protocol))
        assert len(steps) == len(wanted)
        for (moved, tau), basis in zip(steps, wanted, strict=True):
            torch.testing.assert_close(tau, basis)
            torch.testing.assert_close(moved, teleport(layout, theta, basis))
    with pytest.raises(ValueError, match="once, repeated, compounded, got 'twice'"):
        list(exactness.sequence(layout, theta, bases, "twice"))


def test_a_change_is_relative_to_the_largest_output_or_absolute():
    before = torch.tensor([[[1.0, -4.0]], [[2.0, 0.0]]])
    after = before + torch.tensor([[[0.5, 0.0]], [[0.0, -1.0]]])
    assert exactness.change(before, after, "relative_change").tolist() == [0.125, 0.5]
    assert exactness.change(before, after, "absolute_change").tolist() == [0.5, 1.0]


@pytest.mark.parametrize("name", small_modules.SMALL)
def test_small_modules_keep_their_outputs_and_change_their_weights(name: str):
    plan = module_exactness.Plan([name], [], 32, 2, 0.9, 3, 1, "cpu", 1)
    for mode in module_exactness.FAMILIES:
        found = module_exactness.changes(name, 0, plan, mode)
        for protocol in exactness.PROTOCOLS:
            assert found["relative_change", protocol] < 1e-13
            assert found["absolute_change", protocol] < 1e-5
    module = module_exactness.build(name, 0)
    again = module_exactness.build(name, 0)
    other = module_exactness.build(name, 1)
    first, same, differs = (next(iter(m.parameters())) for m in (module, again, other))
    assert torch.equal(first, same) and not torch.equal(first, differs)


def test_a_sequence_of_teleports_of_a_module_ends_where_it_should():
    module, x = (
        module_exactness.build("residual", 0).double().eval(),
        torch.rand(2, 3, 16, 16).double(),
    )
    plan = module_teleport.trace(module, x)
    bases = [plan.draw(0.9, generator(1, 0, number)) for number in range(3)]
    product = bases[0] * bases[1] * bases[2]
    for protocol, last in (("repeated", bases[2]), ("compounded", product)):
        steps = []
        for moved in module_exactness.sequence(plan, module, bases, protocol):
            assert moved is not module
            steps.append([one.detach().clone() for one in moved.parameters()])
        assert len(steps) == 3
        for step, tau in ((steps[0], bases[0]), (steps[-1], last)):
            wanted = plan.teleport(module, tau).parameters()
            for own, other in zip(step, wanted, strict=True):
                torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-15)


def test_products_keep_full_precision_and_cudnn_stays_on():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled
    with module_exactness.full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.enabled == before[1]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == before


def test_the_largest_change_of_modules_counts_networks():
    rows = Rows(exactness.UNITS)
    exactness.fully_connected(rows, exact_plan())
    plan = module_exactness.Plan(["perceptron", "dense"], ["dense"], 16, 1, 0.9, 2, 1, "cpu", 1)
    module_exactness.rows(rows, plan, quiet)
    table = as_table(rows)
    found = shape_measures.exactness(table)
    assert found["exact_modules_float64"].n == 2
    assert found["exact_modules_float64"].note.startswith("largest of 2 networks, 2 architectures")
    own = (table.family == "modules") & (table.quantity == "absolute_change")
    for name, protocols in (
        ("modules", ["once"]),
        ("module_sequences", ["repeated", "compounded"]),
    ):
        largest = table[own & table.protocol.isin(protocols)].value.max()
        assert found[f"exact_{name}_float32"].value == largest
    assert 0 < found["exact_conjugated_modules_float64"].value < 1e-13


def test_a_module_that_no_one_knows_is_named():
    with pytest.raises(ValueError, match="'wobblenet' is neither one of perceptron"):
        module_exactness.build("wobblenet", 0)


# ---------------------------------------------------------------- histograms


def test_histograms_tell_tails_from_bulk():
    table = as_table(histograms.rows((40, 60, 60, 60, 10), 0.9, 3, "cpu", 1))
    found = shape_measures.histograms(table)
    assert found["histogram_tail_ratio"].value > 2
    assert 0.6 < found["histogram_bulk_ratio"].value < 1
    assert found["histogram_control_distance"].value < 0.02
    bound = 1 / math.sqrt(40)
    assert bound < found["histogram_largest"].value < 1.9 / 0.1 * bound
    density = table[(table.quantity == "density") & (table.arm == "default")]
    assert density.groupby("seed").value.sum().mul(0.001).round(6).eq(1).all()


def test_resampling_keeps_the_histogram_and_loses_the_order():
    layout = Layout((50, 80, 4))
    theta = layout.initialise([0])
    drawn = histograms.resampled(layout, theta, torch.Generator().manual_seed(0))
    for (weight, bias), (fresh, kept) in zip(layout.views(theta), layout.views(drawn), strict=True):
        assert torch.equal(bias, kept) and not torch.equal(weight, fresh)
        assert weight.min() <= fresh.min() + 1e-6 and fresh.max() <= weight.max() + 1e-6
    first, fresh = (histograms.weights(layout, at)[0] for at in (theta, drawn))
    assert histograms._distance(first, fresh) < 0.05
    assert abs(np.corrcoef(first, fresh)[0, 1]) < 0.5
    assert histograms._distance(first, 2 * fresh) > 0.15


# ---------------------------------------------------------------- figures


def test_every_figure_can_be_drawn_and_every_metric_is_one(
    joined: pd.DataFrame, averaged: pd.DataFrame
):
    exact = Rows(exactness.UNITS)
    exactness.fully_connected(exact, exact_plan())
    plan = module_exactness.Plan(["perceptron"], ["dense"], 32, 2, 0.9, 2, 2, "cpu", 1)
    module_exactness.rows(exact, plan, quiet)
    drawn = as_table(histograms.rows((20, 30, 4), 0.9, 2, "cpu", 1))
    tables = {
        shape_measures.exactness: as_table(exact), shape_measures.moments: averaged,
        shape_measures.interpolation: joined, shape_measures.histograms: drawn,
    }  # fmt: skip
    for measure, table in tables.items():
        assert all(isinstance(metric, Metric) for metric in measure(table).values())
    for picture, table in (
        (shape_figures.exactness, tables[shape_measures.exactness]),
        (shape_figures.moments, averaged),
        (shape_figures.figure_5, joined),
        (shape_figures.figure_5_barrier, joined),
        (shape_figures.hessian_trace, joined),
        (shape_figures.figure_11, drawn),
    ):
        assert picture(table).axes


def test_bands_of_figure_5_are_over_seeds_and_not_over_draws(joined: pd.DataFrame):
    figure = shape_figures.figure_5(joined)
    right = figure.axes[1]
    text = " ".join(figure.axes[1]._house_note.get_text().replace("\u00a0", " ").split())
    assert text.startswith("median and middle 0.8 of n = 3 seeds, each the mean of 2 draws")
    line = next(line for line in right.lines if line.get_label() == "loss, train")
    wanted = np.median(shape_measures.curves(joined, "train_loss", "teleported").mean(0), axis=1)
    np.testing.assert_allclose(line.get_ydata(), wanted)
