"""Critical points of Dauphin et al. 2014, Figure 1: starts, searches, index, and the pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from reproductions.harness.tables import by_seed, select
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.papers.dauphin2014saddle import (
    critical,
    critical_figures,
    critical_measures,
    critical_rows,
    critical_table,
)
from reproductions.papers.dauphin2014saddle.pixels import Pixels
from tests.rows import as_table, quiet

SEARCH = critical.Search(3, "decomposition", 1e-6, [0.0, 1e-6, 1e-3], root_seed=4)
NOISES = [1e-1, 1e-3]
TRAINING = critical.Training(3, [1, 3], batch=10, learning_rate=0.1)
DRAWN = ("scatter", "spectra", "thresholds", "control")


@pytest.fixture(scope="module")
def seen() -> Pixels:
    source = torch.Generator().manual_seed(0)
    inputs = torch.rand(60, 4, generator=source, dtype=torch.float64)
    return Pixels(inputs, torch.randint(10, (60,), generator=source))


@pytest.fixture(scope="module")
def mnist(seen: Pixels) -> Any:
    return as_table(critical.from_runs(seen, 2, "tanh", (2, 3), [3, 2], NOISES, SEARCH, quiet))


@pytest.fixture(scope="module")
def cifar(seen: Pixels) -> Any:
    return as_table(critical.from_training(seen, [2, 2], "tanh", TRAINING, SEARCH, quiet))


def objective(seen: Pixels, *widths: int) -> NetworkLoss:
    layout = Layout((seen.inputs.shape[1], *widths, 10))
    return NetworkLoss(layout, seen.inputs, seen.labels, activations="tanh")


# ---------------------------------------------------------------- where searches start


def test_starts_near_runs_lie_within_their_noise_of_their_epoch(seen):
    walked = critical.snapshots(objective(seen, 2), (2, 3), 4, quiet)
    starts = critical.near_runs(walked, 12, NOISES, 4)
    assert set(starts.epochs) <= set(range(4)) and set(starts.noise) == set(NOISES)
    for theta, epoch, noise in zip(starts.theta, starts.epochs, starts.noise, strict=True):
        away = (walked[epoch] - theta).abs().amax(1).min()
        assert 0.5 * noise < away <= noise


def test_a_start_does_not_hang_on_how_many_there_are(seen):
    walked = critical.snapshots(objective(seen, 2), (2, 1), 4, quiet)
    few, many = (critical.near_runs(walked, jobs, NOISES, 4).theta for jobs in (2, 5))
    assert torch.equal(few, many[:2])


def test_runs_begin_where_networks_begin_and_go_down(seen):
    loss = objective(seen, 2)
    walked = critical.snapshots(loss, (2, 3), 4, quiet)
    begun = loss.layout.initialise(range(2), root_seed=4, dtype=torch.float64)
    assert walked.shape == (4, 2, loss.layout.parameters) and torch.equal(walked[0], begun)
    assert (loss.loss(walked[3]) < loss.loss(walked[0])).all()


def test_a_network_is_trained_for_its_own_epochs_whatever_its_company(seen):
    layout = Layout((4, 2, 2, 10))
    together = critical.trained(layout, seen, "tanh", TRAINING, 4, quiet)
    alone = critical.trained(layout, seen, "tanh", TRAINING._replace(networks=1), 4, quiet)
    assert together.epochs[0] == alone.epochs[0]
    assert together.theta[0].numpy() == pytest.approx(alone.theta[0].numpy(), abs=1e-6)
    assert len(set(together.epochs)) > 1, "the draw must differ for the test to say something"


def test_searches_in_the_cube_start_within_it(mnist):
    start = select(mnist, where="start", arm="unit_cube", quantity="train_loss")
    theta = Layout((4, 2, 10)).initialise(
        range(2), scheme="unit_cube", root_seed=SEARCH.root_seed, dtype=torch.float64
    )
    assert theta.min() >= 0 and theta.max() <= 1
    assert set(start.seed) == {0, 1} and set(start.epochs) == {-1}


# ---------------------------------------------------------------- what is recorded


def test_what_a_start_holds_is_what_autograd_says(seen, cifar):
    starts = critical.trained(Layout((4, 2, 2, 10)), seen, "tanh", TRAINING, 4, quiet)
    layout = Layout((4, 2, 2, 10))

    def loss(own: torch.Tensor) -> torch.Tensor:
        x = seen.inputs
        for depth, (weight, bias) in enumerate(layout.views(own[None])):
            x = x @ weight[0] + bias[0]
            x = torch.tanh(x) if depth < 2 else x
        return torch.nn.functional.cross_entropy(x, seen.labels)

    for seed, theta in enumerate(starts.theta):
        values = torch.linalg.eigvalsh(torch.func.hessian(loss)(theta)).numpy()
        own = select(cifar, where="start", seed=seed)
        found = {name: rows.value.iloc[0] for name, rows in own.groupby("quantity")}
        assert found["train_loss"] == pytest.approx(float(loss(theta)), abs=1e-12)
        gradient = float(torch.func.grad(loss)(theta).norm())
        assert found["gradient_norm"] == pytest.approx(gradient, abs=1e-12)
        assert found["smallest_eigenvalue"] == pytest.approx(values[0], abs=1e-12)
        assert found["largest_eigenvalue"] == pytest.approx(values[-1], abs=1e-12)
        assert found["near_zero_eigenvalues"] == (np.abs(values) <= critical_rows.NEAR).sum()
        below = select(own, quantity="negative_eigenvalues", threshold=1e-3)
        assert below.value.tolist() == [(values < -1e-3).sum()]


@pytest.mark.parametrize("where", ["start", "end"])
def test_a_shift_of_all_logits_is_in_every_kernel(mnist, where):
    kernel = select(mnist, where=where, quantity="kernel_eigenvalues").value
    assert (kernel >= 2 + 1).all()  # weights of two hidden units and a bias


def test_a_search_lowers_the_gradient_norm_and_counts_its_moves(mnist, cifar):
    for made in (mnist, cifar):
        start, end = (
            critical_table.places(made, where).set_index(["arm", "seed"])
            for where in ("start", "end")
        )
        assert (end.gradient_norm < start.gradient_norm.reindex(end.index)).all()
        assert (start.moves == 0).all() and end.moves.between(1, SEARCH.steps).all()


@pytest.mark.parametrize("method", ["marquardt", "decomposition", "minres"])
def test_a_minimum_is_a_critical_point_of_index_zero(seen, method):
    loss = objective(seen)  # without a hidden layer the loss is convex
    start = critical_rows.Starts(
        "near_runs", loss.layout.initialise(range(9), dtype=torch.float64), np.zeros(9, int),
        np.zeros(9),
    )  # fmt: skip
    search = SEARCH._replace(steps=40, tolerance=1e-9, method=method)
    made = as_table(critical_rows.follow(loss, [start], search, quiet))
    end = critical_table.places(made, "end")
    assert set(end.kind) == {critical_table.CRITICAL} and set(end.ending) == {"converged"}
    assert not end["index_1e-06"].any()
    assert end.train_loss.to_numpy() == pytest.approx(end.train_loss[0], abs=1e-12)
    assert (end.kernel_eigenvalues == 4 + 1).all()


def test_spectra_are_of_all_ends_where_critical_points_have_too_few_errors(mnist):
    kept = select(mnist, quantity="eigenvalue")
    assert set(kept.level) == set(critical_rows.LEVELS)
    end = critical_table.places(mnist, "end").set_index(["arm", "seed"]).train_error
    shown = [end[tuple(own[["arm", "seed"]].iloc[0])] for _, own in kept.groupby("level")]
    assert (end.min(), end.max()) == (shown[1], shown[0])  # low and high, in alphabetical order


def test_groups_of_one_search_change_nothing(seen, mnist, monkeypatch):
    monkeypatch.setattr(critical_rows, "GROUP_BYTES", 1)
    alone = as_table(critical.from_runs(seen, 2, "tanh", (2, 3), [3, 2], NOISES, SEARCH, quiet))
    for quantity in ("train_loss", "gradient_norm", "smallest_eigenvalue", "train_error"):
        own, other = (select(made, quantity=quantity).value for made in (alone, mnist))
        assert own.to_numpy() == pytest.approx(other.to_numpy(), rel=1e-6)


def test_progress_rises_to_one(seen):
    told: list[float] = []
    tell = lambda fraction, note="": told.append(fraction)  # noqa: E731
    critical.from_runs(seen, 2, "tanh", (2, 3), [3, 2], NOISES, SEARCH, tell)
    assert told == sorted(told) and told[-1] == pytest.approx(1)


def test_networks_that_diverged_are_rows_with_a_status_and_figures_stand_them(seen, tmp_path):
    lost = TRAINING._replace(learning_rate=1e300)
    made = as_table(critical.from_training(seen, [2, 2], "tanh", lost, SEARCH, quiet))
    own = select(made, quantity="train_loss", where="end")
    assert set(own.status) == {"diverged: loss or curvature is not finite"}
    assert own.value.isna().all() and set(own.ending) == {"not finite"}
    found = critical_measures.measure(made, "cifar")
    assert found["critical_reached_cifar"].value == 0
    assert math.isnan(found["ends_spearman_cifar"].value)
    _draw(made, "cifar", tmp_path)


# ---------------------------------------------------------------- pictures


def _draw(made: Any, data: str, folder: Any) -> None:
    for name in DRAWN:
        getattr(critical_figures, name)(made, data).savefig(folder / f"{name}.png", dpi=40)
    critical_figures.residuals(made).savefig(folder / "residuals.png", dpi=40)


def test_pictures_of_runs_are_drawn(mnist, tmp_path):
    found = critical_measures.measure(mnist, "mnist")
    assert np.isfinite(found["cube_least_error_mnist"].value)
    _draw(mnist, "mnist", tmp_path)


def test_values_are_one_a_search(mnist):
    for arm, jobs in (("near_runs", 3), ("unit_cube", 2)):
        assert by_seed(select(mnist, arm=arm, where="end", quantity="moves")).shape == (jobs,)
