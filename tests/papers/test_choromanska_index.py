"""Hessians at solutions of Choromanska et al. 2015, their index, and its pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from reproductions.harness.tables import Rows, by_seed, select
from reproductions.optim.train import Outcome
from reproductions.papers.choromanska2015loss import hessians, index_figures, training
from tests.rows import as_table, quiet, synthetic_mnist

PLAN = training.Plan("uniform", "compressed", 1, 20, root_seed=3)
THRESHOLDS = [1e-4, 1e-3, 1e-2]
DRAWN = ("histogram", "thresholds", "gradients", "spectrum")


@pytest.fixture(scope="module")
def pixels() -> training.Pixels:
    return training.pixels(synthetic_mnist(), "cpu").first(120)


@pytest.fixture(scope="module")
def made(pixels: training.Pixels, tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = hessians.indices(pixels, [2, 3], [2, 1], THRESHOLDS, PLAN, quiet)
    return as_table(rows)


def values(made: Any, **equal: Any) -> np.ndarray:
    return by_seed(select(made, **equal))


# ---------------------------------------------------------------- the experiment


def test_eigenvalues_are_those_of_the_hessian_of_the_mean_loss_on_all_images(pixels, made):
    layout = training.layout(3)
    theta = training.solve(pixels, 3, range(1), PLAN).theta[0].double()

    def loss(own: torch.Tensor) -> torch.Tensor:
        (first, bias), (second, last) = layout.views(own[None])
        logits = torch.relu(pixels.train.double() @ first[0] + bias[0]) @ second[0] + last[0]
        return torch.nn.functional.cross_entropy(logits, pixels.labels)

    wanted = torch.linalg.eigvalsh(torch.func.hessian(loss)(theta)).numpy()
    found = select(made, quantity="eigenvalue", width=3).sort_values("index").value.to_numpy()
    assert found == pytest.approx(wanted, abs=1e-12)
    for threshold in THRESHOLDS:
        count = values(made, quantity="negative_eigenvalues", width=3, threshold=threshold)
        assert count == [(wanted < -threshold).sum()]
    ends = {"smallest_eigenvalue": wanted[0], "largest_eigenvalue": wanted[-1]}
    gradient = float(torch.func.grad(loss)(theta).norm())
    numbers = ends | {"train_loss": float(loss(theta)), "gradient_norm": gradient}
    for quantity, number in numbers.items():
        assert values(made, quantity=quantity, width=3) == pytest.approx([number], abs=1e-12)


def test_every_width_has_its_own_number_of_solutions(made):
    for width, solutions in ((2, 2), (3, 1)):
        own = select(made, width=width)
        assert set(select(own, quantity="gradient_norm").seed) == set(range(solutions))
        assert len(select(own, quantity="negative_eigenvalues")) == solutions * len(THRESHOLDS)
        assert select(own, quantity="parameters").value.tolist() == [111 * width + 10]
        assert len(select(own, quantity="eigenvalue")) == 111 * width + 10
    assert set(made.arm) == {"solution"} and set(made.status) == {"ok"}
    assert made.attrs["units"] == hessians.UNITS


def test_a_group_of_one_hessian_changes_nothing(pixels, made, monkeypatch, tmp_path):
    monkeypatch.setattr(hessians, "GROUP_BYTES", 1)
    alone = as_table(hessians.indices(pixels, [2, 3], [2, 1], THRESHOLDS, PLAN, quiet))
    assert alone.value.to_numpy() == pytest.approx(made.value.to_numpy(), abs=1e-13)


def test_progress_rises_to_one(pixels):
    told: list[float] = []
    tell = lambda fraction, note="": told.append(fraction)  # noqa: E731
    hessians.indices(pixels, [2, 3], [2, 1], THRESHOLDS, PLAN, tell)
    assert told == sorted(told) and told[-1] == pytest.approx(1)


@pytest.mark.parametrize("seeds", [[1], [1, 1, 1], []])
def test_seeds_must_match_widths(pixels, seeds):
    with pytest.raises(
        ValueError, match=rf"seeds must be one number a width \(2\), got {len(seeds)}"
    ):
        hessians.indices(pixels, [2, 3], seeds, THRESHOLDS, PLAN, quiet)


def test_a_diverged_member_is_a_row_with_its_status(pixels, tmp_path):
    layout, rows = training.layout(2), Rows(hessians.UNITS)
    theta = layout.initialise(range(4))
    theta[2] = math.inf
    outcome = Outcome(theta, [], {}, torch.tensor([0, 7, 0, 0]))
    hessians.add_solutions(rows, pixels, 2, outcome, THRESHOLDS, quiet)
    made = as_table(rows)
    said = ["diverged: loss is not finite at step 7", "diverged: the Hessian is not finite"]
    for quantity in ("gradient_norm", "train_loss", "smallest_eigenvalue", "largest_eigenvalue"):
        own = select(made, quantity=quantity).sort_values("seed")
        assert own.status.tolist() == ["ok", *said, "ok"]
        assert np.isfinite(own.value).tolist() == [True, False, False, True]
    counts = values(made, quantity="negative_eigenvalues", threshold=1e-3)
    assert np.isfinite(counts).tolist() == [True, False, False, True]


def test_an_ensemble_that_diverged_as_a_whole_is_rows_all_the_same(pixels, tmp_path):
    layout, rows = training.layout(2), Rows(hessians.UNITS)
    outcome = Outcome(layout.initialise(range(2)), [], {}, torch.tensor([3, 5]))
    hessians.add_solutions(rows, pixels, 2, outcome, THRESHOLDS, quiet)
    made = as_table(rows)
    assert set(select(made, quantity="negative_eigenvalues").seed) == {0, 1}
    assert set(select(made, quantity="eigenvalue").status) == {
        "diverged: loss is not finite at step 3"
    }
    for name in DRAWN:
        getattr(index_figures, name)(made).savefig(tmp_path / f"{name}.png")


def test_a_long_spectrum_is_thinned_evenly_by_rank(monkeypatch, tmp_path):
    monkeypatch.setattr(hessians, "WHOLE_SPECTRUM", 50)
    monkeypatch.setattr(hessians, "THINNED", 10)
    rows = Rows(hessians.UNITS)
    hessians._add_spectrum(rows, 4, np.arange(100.0), "ok")
    made = as_table(rows)
    assert made["index"].tolist() == list(range(0, 100, 11))
    assert made.value.tolist() == made["index"].tolist()


# ---------------------------------------------------------------- measures


def solved(width: int, counts: list[float], rows: Rows) -> None:
    """Add solutions with the given numbers of eigenvalues below -0.001, twice as many below -0.0001."""
    size = 111 * width + 10
    found, status = [], []
    for number, count in enumerate(counts):
        eigenvalues = np.linspace(0, 1, size)
        if math.isnan(count):
            eigenvalues[:] = np.nan
        else:
            eigenvalues[: 2 * int(count)] = -5e-4
            eigenvalues[: int(count)] = -2e-3
        status.append("diverged: so" if math.isnan(count) else "ok")
        norm = math.nan if math.isnan(count) else 0.01 * (number + 1)
        found.append(hessians.Solution(norm, norm, eigenvalues))
    hessians._add(rows, width, found, status, THRESHOLDS)
    hessians._add_spectrum(rows, width, found[0].eigenvalues, status[0])


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = Rows(hessians.UNITS)
    solved(10, [0, 0, 1, 3], rows)
    solved(25, [2, 3, 0, 30], rows)
    solved(100, [0, 9, 2], rows)
    solved(4, [0, math.nan], rows)
    return as_table(rows)


def test_measures_count_negative_eigenvalues_as_a_true_fraction(known):
    found = {name: metric.value for name, metric in index_figures.measure(known).items()}
    assert found["index_mean_10"] == pytest.approx(1 / 1120)
    assert found["index_max_10"] == pytest.approx(3 / 1120)
    assert found["index_half_max_10"] == pytest.approx(3 / 2240)
    assert found["negative_count_10"] == 1 and found["negative_count_25"] == 35 / 4
    assert found["strict_minima_share_10"] == 0.5 and found["strict_minima_share_25"] == 0.25
    assert found["index_mean_fine_10"] == pytest.approx(2 / 1120)
    assert found["few_negatives_share_25"] == 0.5
    assert found["gradient_norm_10"] == pytest.approx(0.025)
    assert "few_negatives_share_10" not in found and "index_mean_50" not in found


def test_a_width_with_a_diverged_solution_has_no_number(known):
    found = index_figures.measure(known)
    for name in ("index_mean", "index_max", "negative_count", "strict_minima_share"):
        assert math.isnan(found[f"{name}_4"].value), name
    assert "1 of 2" in found["index_mean_4"].note


def test_measures_take_what_the_experiment_makes(made):
    found = index_figures.measure(made)
    assert {name.rsplit("_", 1)[1] for name in found} == {"2", "3"}
    assert all(math.isfinite(metric.value) for metric in found.values())


# ---------------------------------------------------------------- the published figure


@pytest.mark.parametrize(
    ("width", "solutions"),
    {10: [866, 97, 23, 4, 5, 4, 1], 100: [84, 227, 249, 201, 145, 57, 24, 10, 2, 1]}.items(),
)
def test_fine_published_bins_are_joined_to_one_a_number(width, solutions):
    edges, shares = index_figures.bins(width, 111 * width + 10)
    assert 1000 * shares == pytest.approx(np.array(solutions))
    step = 1 / (2 * (111 * width + 10))
    assert (edges[1:] + edges[:-1]) / 2 == pytest.approx(step * np.arange(len(solutions)))


@pytest.mark.parametrize(("width", "first", "wide"), [(25, 0.878, 5e-4), (50, 0.935, 2e-4)])
def test_coarse_published_bins_are_as_published(width, first, wide):
    edges, shares = index_figures.bins(width, 111 * width + 10)
    assert shares[0] == pytest.approx(first) and shares.sum() == pytest.approx(1)
    assert np.diff(edges) == pytest.approx(wide)


def test_the_first_published_bin_at_25_units_holds_up_to_two_negative_eigenvalues():
    edges = index_figures.bins(25, 2785)[0]
    assert np.floor(edges[1] * 2 * 2785) == index_figures.FEW[25] == 2


@pytest.mark.parametrize("width", [10, 25, 100])
def test_no_solution_falls_out_of_the_histogram(width):
    size = 111 * width + 10
    number = np.array([0, 1, 5, 7 + size // 20])
    edges, shares = index_figures._edges(width, size, number)
    assert np.histogram(number / (2 * size), edges)[0].sum() == len(number)
    assert shares is not None and len(shares) == len(edges) - 1
    assert shares.sum() == pytest.approx(1)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_can_be_drawn(name, made, known, tmp_path):
    for number, source in enumerate((made, known)):
        getattr(index_figures, name)(source).savefig(tmp_path / f"{number}.png")


def test_the_histogram_shows_both_conventions_over_the_published_shares(known):
    axes = index_figures.histogram(known).axes
    ten = next(ax for ax in axes if ax.get_title(loc="left").startswith("n1 = 10,"))
    theirs, ours = (stairs.get_data().values for stairs in ten.patches[:2])
    assert theirs[:3] == pytest.approx([0.866, 0.097, 0.023])
    assert ours[:4] == pytest.approx([0.5, 0.25, 0, 0.25])
    ten.figure.draw_without_rendering()
    assert ten.child_axes[0].get_xlim() == pytest.approx(tuple(2 * x for x in ten.get_xlim()))
    uprights = [line.get_xdata()[0] for line in ten.lines if len(set(line.get_xdata())) == 1]
    assert {0.01, 0.005} <= set(uprights)


def test_the_gradients_show_a_mark_for_every_solution(known):
    axes = index_figures.gradients(known).axes
    marks = {ax.get_title(loc="left").split(",")[0]: ax.lines[0] for ax in axes if ax.lines}
    assert marks["n1 = 25"].get_ydata() == pytest.approx(np.array([2, 3, 0, 30]) / 2785)
    assert marks["n1 = 25"].get_xdata() == pytest.approx([0.01, 0.02, 0.03, 0.04])
