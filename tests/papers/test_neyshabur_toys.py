"""Chains, forks, both starts and what rounding does, of Neyshabur et al. 2015."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from reproductions.optim.path_scaling import path_norm
from reproductions.papers.neyshabur2015path import (
    balance,
    networks,
    toy_figures,
    toy_measures,
    toys,
)
from tests.rows import as_table, quiet, synthetic_mnist

SCALES = [1.0, 10.0, 100.0, 10000.0]
PLAN = balance.Plan(hidden=12, epochs=2, batch=50, seeds=2, sgd_alphas=[1, 3], path_alpha=1,
                    root_seed=3)  # fmt: skip


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return as_table(toys.rows(SCALES, 50, 3, 1))


@pytest.fixture(scope="module")
def balanced() -> pd.DataFrame:
    return as_table(balance.rows(networks.images(synthetic_mnist(), 200, 100, "cpu"), PLAN, quiet))


@pytest.mark.parametrize(
    ("scale", "product"), [(1.0, 4.0), (10.0, 102.01), (100.0, 10002.0001), (1e4, 1.00000002e8)]
)
def test_a_gradient_step_on_the_chain_gives_the_products_worked_out_by_hand(
    small: pd.DataFrame, scale: float, product: float
):
    assert toy_measures.by_scale(small, "product", "sgd")[scale] == pytest.approx(product, rel=1e-9)
    assert toy_measures.by_scale(small, "product", "path_sgd")[scale] == pytest.approx(4, rel=1e-13)


def test_a_step_on_the_fork_gains_what_is_worked_out_by_hand(small: pd.DataFrame):
    # each unit adds w_in w_out to both outputs: 8 at first; Path-SGD doubles every weight
    path, sgd = (toy_measures.by_scale(small, "gain", arm) for arm in ("path_sgd", "sgd"))
    assert list(path.values()) == pytest.approx([24.0] * len(SCALES), rel=1e-12)
    for scale in SCALES:
        units = [2 * (c + 2 / c) * (1 / c + 2 * c) for c in (scale, 1 / scale)]
        assert sgd[scale] == pytest.approx(2 * sum(units) - 8, rel=1e-9)


def test_a_chain_of_ones_has_one_path_and_the_listed_norm_counts_thresholds():
    theta = torch.ones(1, toys.CHAIN.parameters, dtype=torch.float64)
    # from the input, from the hidden threshold, from the output's threshold
    assert toys.enumerated_norm(toys.CHAIN, theta[0]) == 3.0
    assert path_norm(toys.CHAIN, theta).item() == 3.0


def test_path_sgd_alone_stays_on_the_same_functions(small: pd.DataFrame):
    found = toy_measures.toys(small)
    for p in toys.EXPONENTS:
        assert found[f"invariance_path_sgd_p{p}"].value < 1e-12
    for arm in ("sgd", "adagrad"):
        assert found[f"invariance_{arm}"].value > 1e-3
    assert found["path_norm_enumeration_error"].value < 1e-14
    assert found["chain_sgd_exponent"].value == pytest.approx(2, abs=1e-3)


def test_every_toy_method_lowers_the_loss(small: pd.DataFrame):
    for arm in ("adagrad", "path_sgd_p2"):
        losses = small[(small.arm == arm) & (small.quantity == "train_loss")]
        means = losses[losses.start == "balanced"].groupby("step").value.mean()
        assert means.iloc[-1] < means.iloc[0]


def test_both_starts_are_one_function_with_one_path_norm():
    layout = networks.network(30, 40, 10)
    both = networks.starts(layout, range(3), 1, "cpu")
    x = torch.rand(20, 30)
    one, other = (balance._outputs(layout, both[:, k], x) for k in (0, 1))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    norms = [path_norm(layout, both[:, k]) for k in (0, 1)]
    torch.testing.assert_close(*norms, rtol=1e-5, atol=0)
    assert not torch.allclose(both[:, 0], both[:, 1])


def test_a_start_does_not_depend_on_the_other_seeds():
    layout = networks.network(8, 16, 10)
    assert torch.equal(
        networks.starts(layout, [2], 1, "cpu")[0], networks.starts(layout, range(3), 1, "cpu")[2]
    )


def test_a_quarter_of_the_units_is_drawn_with_replacement():
    layout = networks.network(4, 4000, 10)
    drawn = torch.stack(networks.factors(layout, [0], 1))
    assert (drawn != 1).double().mean().item() == pytest.approx(1 - np.exp(-0.25), abs=0.02)
    # 2000 draws of 10 c: a unit drawn twice has the product
    assert drawn.log().sum().item() / 2000 == pytest.approx(np.log(10), abs=0.08)


def test_the_two_runs_of_path_sgd_part_by_rounding(balanced: pd.DataFrame):
    found = toy_measures.figure_1a(balanced)
    assert found["balance_gap_digits"].value == pytest.approx(8.7, abs=1.5)
    assert found["balance_path_gap_float32"].value < 1e-3
    start = balanced[(balanced.quantity == "weight_gap") & (balanced.step == 0)]
    assert (start.value < 1e-7).all()


def test_sgd_from_both_starts_begins_at_the_same_loss(balanced: pd.DataFrame):
    rows = balanced[(balanced.arm == "sgd") & (balanced.step == 0)]
    assert (rows.groupby("seed").value.std() < 1e-5).all()


def test_an_area_of_a_run_that_diverged_never_wins(balanced: pd.DataFrame):
    broken = balanced.copy()
    bad = (broken.arm == "sgd") & (broken.alpha == 1) & (broken.step == 2)
    broken.loc[bad, ["value", "status"]] = [np.nan, "diverged: made up"]
    assert toy_measures.best_alphas(broken, "balanced").tolist() == [3, 3]
    assert np.isinf(toy_measures.sgd_areas(broken, "balanced")[0]).all()


def test_every_seed_and_start_has_its_own_best_step_size(balanced: pd.DataFrame):
    swapped = balanced.copy()  # the step sizes of one seed and start change names
    one = (swapped.arm == "sgd") & (swapped.start == "unbalanced") & (swapped.seed == 1)
    swapped.loc[one, "alpha"] = 4 - swapped.loc[one, "alpha"]
    before, after = (toy_measures.best_alphas(of, "unbalanced") for of in (balanced, swapped))
    assert (before[0], 4 - before[1]) == tuple(after)
    gaps = [toy_measures.figure_1a(of)["balance_sgd_area_gap"].value for of in (balanced, swapped)]
    assert gaps[0] == pytest.approx(gaps[1])


def test_kappa_at_the_balanced_start_is_of_the_expected_size(balanced: pd.DataFrame):
    found = toy_measures.starts(balanced)
    for name in ("start_kappa_hidden", "start_kappa_output", "start_path_norm"):
        assert found[name].value == pytest.approx(1, abs=0.5)
    assert toy_measures.expected_kappa(balanced) == pytest.approx(10 / 12)


@pytest.mark.parametrize("draw", ["chains", "invariance"])
def test_pictures_of_toys_are_drawn(small: pd.DataFrame, draw: str):
    assert getattr(toy_figures, draw)(small).axes


@pytest.mark.parametrize("draw", ["starts", "figure_1a", "divergence"])
def test_pictures_of_the_starts_are_drawn(balanced: pd.DataFrame, draw: str):
    assert getattr(toy_figures, draw)(balanced).axes
