"""The lecture's room: its rules against the formulas on the slides, and its measures on known rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from reproductions.harness.tables import Rows, select
from reproductions.papers.lecture8geometry import (
    composed,
    equivariance,
    experiment,
    gradient_course,
    measures,
    natural,
    regions,
    rescaled_training,
    rules,
    units,
    well,
    windows,
)
from reproductions.papers.lecture8geometry.draws import CONDITION, Draws
from reproductions.problems.mlp import MLP
from tests.rows import as_table, quiet, synthetic_mnist

F64 = torch.float64
DRAWS = Draws(3, 2018, "cpu")
WHERE: dict[str, Any] = {"device": "cpu", "root_seed": 2018}


@pytest.fixture(scope="module")
def identities() -> Any:
    return as_table(experiment.identities(members=3, size=5, steps=60, progress=quiet, **WHERE))


def test_identities_hold_to_rounding_and_slips_do_not(identities: Any) -> None:
    found = {name: metric.value for name, metric in measures.identities(identities).items()}
    differ = {"residual_without_transpose", "residual_natural_raw", "residual_inverse_norm"}
    assert all(value < 1e-10 for name, value in found.items() if name not in differ)
    assert all(found[name] > 1e-2 for name in differ)


def test_a_member_is_the_same_in_every_ensemble(identities: Any) -> None:
    alone = as_table(experiment.identities(members=1, size=5, steps=60, progress=quiet, **WHERE))
    both = identities[identities["seed"] == 0].reset_index(drop=True)
    big = both["value"] > 1e-3
    np.testing.assert_allclose(both["value"][big], alone["value"][big], rtol=1e-6)


def test_changes_of_coordinates_have_the_condition_number_they_say() -> None:
    values = torch.linalg.svdvals(DRAWS.coordinates(5))
    torch.testing.assert_close(values[:, 0] / values[:, -1], torch.full((3,), CONDITION, dtype=F64))


def test_preconditioned_descent_is_the_notes_of_a_hand_made_loop() -> None:
    """One bowl in two dimensions, written out: w~ moves by -rate A^T Q A w~."""
    bowl, start = equivariance.bowls(DRAWS, 2)
    matrix = DRAWS.coordinates(2)
    q, a, w = bowl.matrix[0].numpy(), matrix[0].numpy(), start[0].numpy()
    other = np.linalg.solve(a, w)
    for _ in range(5):
        other = other - 0.01 * a.T @ (q @ (a @ other))
        w = w - 0.01 * a @ a.T @ (q @ w)
    np.testing.assert_allclose(a @ other, w, rtol=1e-12)


@pytest.mark.parametrize("rule", [*rules.FIRST_ORDER, *rules.SECOND_ORDER])
def test_a_rule_is_the_formula_on_the_slide(rule: str) -> None:
    bowl, point = equivariance.bowls(DRAWS, 3)
    g = bowl.gradient(point)[1]
    size = g.norm(dim=1, keepdim=True)
    wanted = {
        "sgd": -g, "normalised": -g / size, "sign": -g.sign(), "inverse_norm": -g / size**2,
    }.get(rule, -point)  # fmt: skip
    torch.testing.assert_close(rules.step(rule, bowl, point, 0.5), 0.5 * wanted)


def test_the_exponents_are_the_lectures() -> None:
    table = as_table(experiment.exponents(members=2, scales=[0.2, 1.0, 5.0], **WHERE))
    every = measures.exponents(table)
    found = {name: round(every[name].value, 12) + 0.0 for name in every if "exponent" in name}
    assert found == {
        "exponent_sgd": -2, "exponent_normalised": -1, "exponent_sign": -1,
        "exponent_inverse_norm": 0, "exponent_newton": 0, "exponent_gauss_newton": 0,
        "exponent_natural": 0,
    }  # fmt: skip


def test_a_composed_function_has_the_derivatives_that_the_rules_of_change_give() -> None:
    """Autograd of f(A w~) against A^T g, A^T H A and A^T G A, at a saddle's Hessian."""
    loss, theta = DRAWS.network(*equivariance.MODELS["newton_saddle"][:1], 60, "squared")
    matrix = DRAWS.coordinates(theta.shape[1])
    new, old = (kind(loss, matrix) for kind in (composed.Composed, composed.Reparametrised))
    at = new.coordinates(theta)
    torch.testing.assert_close(tuple(new.curvature(at)), tuple(old.curvature(at)))
    torch.testing.assert_close(new.gauss_newton(at), old.gauss_newton(at))
    values = torch.linalg.eigvalsh(loss.curvature(theta)[2])
    assert (values[:, 0] < 0).all()
    assert (values[:, -1] > 0).all()


def test_step_ratios_find_a_step_that_does_not_scale() -> None:
    table = as_table(experiment.exponents(members=2, scales=[0.2, 1.0, 5.0], **WHERE))
    assert measures.exponents(table)["step_ratio_normalised"].value < 1e-14
    assert measures.ratio_error(select(table, arm="sgd"), 1) == pytest.approx(4)


def test_path_products_of_a_network_of_one_unit_are_those_one_can_count() -> None:
    layout = units.Layout((1, 1, 1))
    theta = torch.tensor([[2.0, 3.0, 5.0, 7.0]], dtype=F64)  # weight, bias, weight, bias
    assert sorted(units._paths(layout, theta)[0].tolist()) == [7.0, 10.0, 15.0]


# ---------------------------------------------------------------- natural gradient


def test_a_bernoulli_step_is_the_known_number_from_both_coordinates() -> None:
    moves = natural.bernoulli_moves()
    for move in moves.values():
        assert move == pytest.approx(0.33181223, abs=5e-9)
        assert move == pytest.approx(1 - 1 / (1 + math.exp(-0.7)), abs=1e-15)


def test_both_bernoulli_moves_are_held_to_the_number() -> None:
    table = as_table(experiment.kl(members=2, shrinks=[1e-2, 1e-3], **WHERE))
    table.loc[table["quantity"] == "bernoulli_move", "value"] += 0.01  # alike, and wrong
    assert measures.kl(table)["residual_bernoulli"].value == pytest.approx(0.01)


def test_kl_exceeds_its_form_by_ten_times_less_at_a_tenth() -> None:
    table = as_table(experiment.kl(members=4, shrinks=[1e-2, 1e-3], **WHERE))
    part = select(table, quantity="kl_excess").sort_values(["seed", "shrink"])
    small, large = part["value"].to_numpy().reshape(4, 2).T
    np.testing.assert_allclose(large / small, 10, rtol=0.2)
    assert measures.kl(table)["residual_bernoulli"].value < 1e-15


def test_natural_paths_meet_and_descent_paths_do_not() -> None:
    table = as_table(experiment.nonlinear(rates=[0.05, 0.025], duration=1.0, drawn_rate=0.05))
    found = measures.nonlinear(table)
    assert found["nonlinear_order_natural"].value == pytest.approx(1, abs=0.1)
    assert found["nonlinear_order_sgd"].value == pytest.approx(0, abs=0.1)


def test_three_coordinates_of_the_bowl_separate_descent_and_not_newton() -> None:
    table = as_table(
        experiment.coordinates(sgd_rate=0.1, normalised_rate=0.2, newton_rate=0.3, steps=6)
    )
    found = measures.coordinates(table)
    assert found["trajectory_gap_newton"].value < 1e-12
    assert found["trajectory_gap_sgd"].value > 0.1
    assert set(found) == {f"trajectory_gap_{rule}" for rule in ("sgd", "normalised", "newton")}


# ---------------------------------------------------------------- regions and landscapes


def test_regions_and_expansions_are_as_stated() -> None:
    table = as_table(experiment.trust_region(members=3, size=4, samples=200, radius=0.5, **WHERE))
    found = {name: one.value for name, one in measures.trust_region(table).items()}
    assert found["residual_ball"] < 1e-14
    assert found["residual_box"] < 1e-14
    assert found["trust_region_margin"] >= 0
    assert found["expansion_order_half"] == pytest.approx(3, abs=0.1)
    assert found["expansion_order_slide"] == pytest.approx(2, abs=0.1)


def test_a_sampled_rival_can_come_near_the_step_but_not_below() -> None:
    gradient = torch.tensor([[1.0, 0.0]], dtype=F64)
    one = Draws(1, 2018, "cpu")
    margin = regions._margin(one, gradient, "ball", 1.0, 4000)
    assert 0 <= margin.item() < 1e-3


def test_the_facts_of_strong_convexity_hold_and_are_tight_on_the_lowest_eigenvector() -> None:
    table = as_table(experiment.convex(members=2, size=4, steps=5, rest_steps=10, **WHERE))
    found = {name: one.value for name, one in measures.convex(table).items()}
    assert min(found[f"slack_{fact}"] for fact in ("polyak", "distance", "inner")) > -1e-12
    assert found["slack_lowest"] < 1e-12
    random = select(table, quantity="slack", start="random", arm="polyak", step=0)
    assert random["value"].min() > 0.1


def test_steps_j_over_its_square_do_not_rest_in_a_bowl_and_descent_does() -> None:
    table = as_table(experiment.convex(members=2, size=4, steps=2, rest_steps=500, **WHERE))
    found = measures.convex(table)
    assert found["rest_sgd"].value < 1e-9
    assert found["rest_inverse_norm"].value > 1e-3


def wells(most_steps: int, **rates: list[float]) -> Any:
    grids = {"sgd": [0.3], "normalised": [0.1], "sign": [0.1]} | rates
    return as_table(
        experiment.plateau(
            **{f"{name}_rates": grid for name, grid in grids.items()}, most_steps=most_steps
        )
    )


def test_steps_that_have_not_arrived_are_counted_as_at_least_so_many() -> None:
    table = wells(300)
    ratio = measures.plateau(table)["plateau_step_ratio"]
    steps = select(table, arm="normalised", quantity="steps")["value"].item()
    assert 60 < steps < 100
    assert ratio.value == pytest.approx(300 / steps)
    assert "at least" in ratio.note


def test_a_point_at_the_bottom_of_the_well_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(well, "_START", (7.9, 0.01))
    assert (select(wells(5), quantity="steps")["value"] == 0).all()


def test_the_best_rate_is_that_of_the_least_count_that_a_plain_loop_finds() -> None:
    grid = [0.1, 0.25, 0.3, 2.0]
    row = select(wells(200, normalised=grid), arm="normalised", quantity="steps")
    counts = {}
    for rate in grid:
        point, low = torch.tensor([well._START], dtype=F64), []
        for _ in range(800):
            value, gradient = well.Well().gradient(point)
            low.append(value.item() <= -0.9)
            point = point - rate * gradient / gradient.norm()
        if all(low[700:]):
            counts[rate] = max((t + 1 for t, one in enumerate(low) if not one), default=0)
    best = min(counts, key=counts.__getitem__)
    assert 2.0 not in counts
    assert (row["rate"].item(), row["value"].item()) == (best, counts[best])


def test_passing_through_the_well_is_no_arrival() -> None:
    """At rate 5 descent is below -0.9 now and then; the bottom is unstable beyond 0.32."""
    losses = well.walk("sgd", [5.0], 2000)[1]
    assert (losses <= -0.9).any()
    assert well.arrival(losses)[2] is False


def test_a_quadratic_bowl_of_any_condition_has_no_small_share_of_the_gradient() -> None:
    bowl = equivariance.Bowl(torch.diag_embed(torch.tensor([[1e-3, 10.0]], dtype=F64)))
    points = rules.path("sgd", bowl, torch.tensor([[3.0, 1.0]], dtype=F64), 0.1, 50)
    ratios = [bowl.gradient(one)[1].norm() / one.norm() for one in points]
    assert min(ratios) >= 1e-3 * (1 - 1e-12)


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def rescaling() -> Any:
    return as_table(
        experiment.rescaling(
            data=synthetic_mnist(), images=120, components=4, hidden=3, seeds=2, spread=1.0,
            steps=20, sgd_rate=0.3, path_rate=0.1, natural_rates=[0.1, 0.05], duration=0.5,
            progress=quiet, **WHERE,
        )
    )  # fmt: skip


def test_path_sgd_does_not_see_the_scale_of_units_and_descent_does(rescaling: Any) -> None:
    found = {name: one.value for name, one in measures.rescaling(rescaling).items()}
    assert found["rescale_gap_path_sgd"] < 1e-12
    assert found["rescale_gap_sgd"] > 1e-3
    assert found["rescale_gap_natural"] < found["rescale_gap_sgd"]


def test_both_scalings_start_as_one_function(rescaling: Any) -> None:
    assert select(rescaling, quantity="output_change")["value"].max() < 1e-14
    loss = select(rescaling, quantity="loss", step=0)
    per_start = [select(loss, start=start).sort_values(["arm", "seed"])["value"].to_numpy()
                 for start in rescaled_training.STARTS]  # fmt: skip
    np.testing.assert_allclose(*per_start, rtol=1e-13)


def test_whitened_inputs_have_unit_covariance() -> None:
    inputs, _ = rescaled_training.whitened(synthetic_mnist(), 200, 4, "cpu")
    torch.testing.assert_close(inputs.T @ inputs / 200, torch.eye(4, dtype=F64))


def test_moments_are_those_of_a_plain_loop() -> None:
    layout = gradient_course.Layout((6, 4, 3))
    problem, theta = MLP(layout), layout.initialise([0, 1], dtype=F64)
    source = torch.Generator().manual_seed(1)
    inputs = torch.randn(50, 6, dtype=F64, generator=source)
    labels = torch.randint(3, (50,), generator=source)
    found = gradient_course.moments(problem, theta, inputs, labels, 10, 2018)
    order = gradient_course.minibatches(50, 10, [gradient_course._SEED_OF_PARTITION], 2018)
    parts = [problem.gradient(theta, inputs[order(k)], labels[order(k)])[1] for k in range(5)]
    torch.testing.assert_close(found.mean, torch.stack(parts).mean(0))
    torch.testing.assert_close(found.square, (torch.stack(parts) ** 2).mean(0))
    loss, whole = problem.gradient(theta, inputs[None], labels[None])
    torch.testing.assert_close(found.mean, whole)
    torch.testing.assert_close(found.loss, loss)


def test_ratios_of_equal_and_of_opposite_gradients_are_one_and_zero() -> None:
    def of(*gradients: list[float]) -> dict[str, torch.Tensor]:
        stack = torch.tensor(gradients)
        return gradient_course.statistics(
            gradient_course.Moments(
                stack.mean(0)[None], (stack**2).mean(0)[None], stack.new_zeros(1)
            )
        )

    equal, opposite = of([3.0, 0.0, 1.0], [3.0, 0.0, 1.0]), of([1.0, 0.0, 2.0], [-1.0, 0.0, -2.0])
    assert (equal["norm_ratio"].item(), equal["coordinate_median"].item()) == (1.0, 1.0)
    assert (opposite["norm_ratio"].item(), opposite["coordinate_median"].item()) == (0.0, 0.0)
    assert (equal["bound_excess"].item(), opposite["bound_excess"].item()) == (0.0, -1.0)
    assert equal["density"][0, -1].item() == opposite["density"][0, 0].item() == 1.0


def test_a_coordinate_that_one_minibatch_moves_has_the_ratio_of_one_over_the_root() -> None:
    stack = torch.zeros(16, 1)
    stack[3] = 2.0
    found = gradient_course.statistics(
        gradient_course.Moments(stack.mean(0)[None], (stack**2).mean(0)[None], torch.zeros(1))
    )
    assert found["norm_ratio"].item() == pytest.approx(1 / 4)


def test_records_run_from_the_start_to_the_last_step() -> None:
    found = gradient_course.record_steps(600, 12)
    assert (found[:2], found[-1]) == ([0, 1], 600)
    assert found == sorted(set(found))


def test_gradient_measures_find_a_planted_fall() -> None:
    rows = Rows(gradient_course.UNITS)
    for arm in ("sgd", "averaged_ball"):
        for quantity, values in (("norm_ratio", [0.8, 0.2]), ("coordinate_median", [0.5, 0.1]),
                                 ("bound_excess", [0.0, 0.0]), ("loss", [2.0, 0.5])):  # fmt: skip
            rows.add(arm=arm, quantity=quantity, value=[[v, v] for v in values],
                     step=[[0], [9]], seed=[0, 1])  # fmt: skip
    found = {name: one.value for name, one in measures.gradients(as_table(rows)).items()}
    assert found["gradient_ratio_last"] == pytest.approx(0.2)
    assert found["gradient_ratio_change"] == pytest.approx(-0.6)
    assert found["averaged_ball_loss"] == pytest.approx(0.25)


# ---------------------------------------------------------------- running means


def test_the_windows_are_the_known_numbers() -> None:
    table = as_table(experiment.averages(beta1=0.9, beta2=0.99, ages=3000, change=200))
    found = {name: one.value for name, one in measures.averages(table).items()}
    assert found["window_nominal_beta1"] == pytest.approx(20, abs=1e-12)
    assert found["window_nominal_beta2"] == pytest.approx(200, abs=1e-11)
    assert found["window_sample_beta1"] == pytest.approx(19, abs=1e-12)
    assert found["window_sample_beta2"] == pytest.approx(199, abs=1e-11)
    assert found["window_weight_beta1"] == pytest.approx(0.87842, abs=5e-6)
    assert found["window_weight_beta2"] == pytest.approx(1 - 0.99**200, abs=1e-12)


def test_a_flat_mean_remembers_nine_times_its_age() -> None:
    levels = windows.forgetting([0.9], change=50, steps=600)
    assert int((levels[1] > 0.1 + 1e-12).sum()) == 450
    np.testing.assert_allclose(levels[1], [50 / t for t in range(50, 650)], rtol=1e-12)
