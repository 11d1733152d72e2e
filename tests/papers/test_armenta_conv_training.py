"""Training of convolutional networks after a teleport, of Armenta et al. 2021."""

from __future__ import annotations

import copy

import pandas as pd
import pytest
import torch

from reproductions.optim.device import generator
from reproductions.papers.armenta2021teleport import (
    conv_training,
    convergence_figures,
    convergence_measures,
)
from reproductions.papers.armenta2021teleport.images import Images
from tests.rows import as_table, quiet

PLAN = conv_training.Plan(
    networks=["tiny"], epochs=2, batch=8, seeds=2, validation=8, rates=[0.01], decay=0.01,
    momentum=0.9, sigma=0.9, patience=1, root_seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> Images:
    source = torch.Generator().manual_seed(1)
    train, test = (torch.randn(count, 3, 16, 16, generator=source) for count in (32, 10))
    labels, others = (torch.randint(10, (count,), generator=source) for count in (32, 10))
    return Images(train, labels, test, others)


@pytest.fixture(scope="module")
def table(pictures: Images) -> pd.DataFrame:
    return as_table(conv_training.rows(pictures, PLAN, quiet))


@pytest.mark.parametrize("training", [True, False])
def test_a_teleported_network_is_the_same_function_and_stays_so(pictures: Images, training: bool):
    plain = conv_training.network("tiny", 1, pictures.train)
    kept = copy.deepcopy(plain)
    moved = conv_training.teleported(plain, pictures.train[:2], 0.9, generator(0, 0))
    kept.train(training)
    moved.train(training)
    outputs = kept(pictures.test), moved(pictures.test)
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5 * outputs[0].abs().max()
    weights = [torch.cat([p.flatten() for p in one.parameters()]) for one in (kept, moved)]
    assert len(weights[0]) == len(weights[1])
    assert (weights[0] - weights[1]).norm() > 0.5 * weights[0].norm()


def test_resnet_has_the_stem_for_small_images(pictures: Images):
    stem = conv_training.network("resnet18", 1, pictures.train)[0]
    assert stem.weight.shape == (64, 3, 3, 3)
    assert stem.stride == (1, 1)


def test_both_arms_start_from_one_function_and_move(table: pd.DataFrame):
    first = table[(table.step == 0) & (table.quantity == "test_accuracy")]
    assert (first.groupby("seed").value.nunique() == 1).all()
    losses = table[table.quantity == "train_loss"]
    assert set(losses.step) == {1, 2}
    assert losses.groupby(["seed", "optimiser", "step"]).value.nunique().min() == 2


def test_a_plain_run_is_that_of_torch(pictures: Images, table: pd.DataFrame):
    fitted, _ = conv_training.split(pictures, 8, 3)
    module = conv_training.network("tiny", 3, pictures.train)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    batches, losses = conv_training.minibatches(24, 8, [0], 3), []
    for step in range(3):
        chosen = batches(step)[0]
        loss = torch.nn.functional.cross_entropy(
            module(fitted.train[chosen]), fitted.labels[chosen]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    wanted = sum(losses) / 3
    own = table[(table.quantity == "train_loss") & (table.step == 1) & (table.seed == 0)]
    own = own[(own.arm == "plain") & (own.optimiser == "momentum")]
    assert float(own.value.iloc[0]) == pytest.approx(wanted, rel=1e-5)


def test_units_that_drop_out_depend_on_the_seed_alone(
    pictures: Images, monkeypatch: pytest.MonkeyPatch
):
    made = conv_training.network

    def with_dropout(name: str, seed: int, like: torch.Tensor) -> torch.nn.Sequential:
        layers = list(made(name, seed, like))
        return torch.nn.Sequential(*layers[:-1], torch.nn.Dropout(), layers[-1]).train()

    monkeypatch.setattr(conv_training, "network", with_dropout)
    plan, columns = PLAN._replace(epochs=1), ["arm", "seed", "optimiser", "lr"]
    found = []
    for rates in ([0.01], [0.1, 0.01]):  # with another run before each
        torch.rand(7)
        rows = as_table(conv_training.rows(pictures, plan._replace(rates=rates), quiet))
        own = rows[(rows.quantity == "train_loss") & (rows.lr == 0.01)]
        found.append(own.sort_values(columns).value.to_numpy())
    assert (found[0] == found[1]).all()
    # the first step's loss is the same for both arms where masks are the same
    one = plan._replace(batch=24, rates=[0.0])
    losses = as_table(conv_training.rows(pictures, one, quiet))
    losses = losses[losses.quantity == "train_loss"].groupby(["seed", "optimiser"]).value
    assert (losses.max() - losses.min() < 1e-5).all()


def test_the_table_is_measured_and_drawn(table: pd.DataFrame):
    found = convergence_measures.smallest_gains(table, "network", "conv_nets")
    assert set(found) == {"conv_nets_sgd_smallest_gain", "conv_nets_momentum_smallest_gain"}
    assert len(convergence_figures.gains(table, "network").axes) == 2


def test_a_negative_rate_is_refused(pictures: Images):
    with pytest.raises(ValueError, match="not negative, got -1"):
        conv_training.rows(pictures, PLAN._replace(rates=[-1.0]), quiet)
