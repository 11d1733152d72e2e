"""Annealing and SGD on small networks, and three-valued weights, of Choromanska et al. 2015."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reproductions.papers.choromanska2015loss import (
    annealed,
    annealing_figures,
    published,
    training,
)
from tests.rows import as_table, quiet, synthetic_mnist

COOLING = annealed.Cooling(chains=3, steps=60, temperature=0.5, power=0.75)
DESCENT = annealed.Descent(seeds=8, epochs=3, batch=16, rate=0.16, scheme="uniform")


@pytest.fixture(scope="module")
def pixels() -> training.Pixels:
    return training.pixels(synthetic_mnist(), "cpu").first(200)


@pytest.fixture(scope="module")
def compared(pixels: training.Pixels) -> pd.DataFrame:
    return as_table(annealed.compare(pixels, [2, 3], COOLING, 0.05, DESCENT, 1, quiet))


@pytest.fixture(scope="module")
def limited(pixels: training.Pixels) -> pd.DataFrame:
    return as_table(annealed.ternary(pixels, 3, COOLING, 4, 1, quiet))


def test_the_best_training_loss_never_rises_and_is_the_loss_reported(compared: pd.DataFrame):
    course = compared[compared.quantity == "best_train_loss"]
    wide = course.pivot_table(index="step", columns=["width", "seed"], values="value")
    assert (np.diff(wide.to_numpy(), axis=0) <= 0).all()
    assert wide.index[0] == 0 and wide.index[-1] == COOLING.steps
    final = compared[(compared.quantity == "train_loss") & (compared.arm == "annealing")]
    final = final.pivot_table(columns=["width", "seed"], values="value")
    assert wide.iloc[-1].to_numpy() == pytest.approx(final.to_numpy()[0], rel=1e-4)


def test_annealing_accepts_some_proposals_and_not_all(compared: pd.DataFrame):
    share = compared[compared.quantity == "acceptance"].value
    assert ((share > 0) & (share < 1)).all()


def test_a_chain_does_not_depend_on_the_others(pixels: training.Pixels, compared: pd.DataFrame):
    one = COOLING._replace(chains=1)
    alone = as_table(annealed.compare(pixels, [2], one, 0.05, DESCENT, 1, quiet))
    pick = {"arm": "annealing", "quantity": "train_loss", "seed": 0, "width": 2}
    values = [
        t.loc[(t[list(pick)] == pd.Series(pick)).all(axis=1), "value"] for t in (alone, compared)
    ]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-5)


def test_three_values_cost_accuracy_that_is_measured_against_sgd(limited: pd.DataFrame):
    found = annealing_figures.measure_redundancy(limited)
    errors = limited[limited.quantity == "test_error"].groupby("arm").value.mean()
    assert found["ternary_accuracy_lost"].value == pytest.approx(errors.ternary - errors.sgd)


def test_flips_fall_to_one_in_a_third_of_the_steps():
    count = annealed.falling(8, 300)
    assert [count(step) for step in (0, 50, 100, 299)] == [8, 4, 1, 1]


def test_the_gap_is_annealing_minus_sgd(compared: pd.DataFrame):
    found = annealing_figures.measure(compared)
    means = compared[compared.quantity == "test_loss"].groupby(["width", "arm"]).value.mean()
    assert found["annealing_gap_2"].value == pytest.approx(means[2]["annealing"] - means[2]["sgd"])
    theirs = published.moments("fig6_SGD_vs_SA", "SGD_nh=2")[0]
    assert found["sgd_published_ratio_2"].value == pytest.approx(means[2]["sgd"] / theirs)


@pytest.mark.parametrize("draw", ["comparison", "courses"])
def test_the_comparison_is_drawn(draw: str, compared: pd.DataFrame):
    assert any(ax.has_data() for ax in getattr(annealing_figures, draw)(compared).axes)


def test_three_values_are_drawn(limited: pd.DataFrame):
    assert any(ax.has_data() for ax in annealing_figures.redundancy(limited).axes)
