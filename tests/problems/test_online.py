"""The slopes of the one-dimensional problems."""

from __future__ import annotations

import pytest
import torch

from reproductions.problems import online


def test_periodic_slopes_begin_with_the_large_one():
    slopes = online.reddi_online().slopes(1, 203)[:, 0]
    assert [t + 1 for t in range(203) if slopes[t] == 1010] == [1, 102, 203]
    assert (slopes != 1010).sum() == 200
    assert slopes[1] == -10


def test_lanes_may_have_different_periods():
    slopes = online.periodic([3.0, 5.0], [3, 5]).slopes(1, 15)
    assert slopes[:, 0].tolist() == [3, -1, -1] * 5
    assert slopes[:, 1].tolist() == [5, -1, -1, -1, -1] * 3


@pytest.mark.parametrize("cut", [1, 7, 8191, 8192, 8193, 10_000])
def test_draws_do_not_depend_on_where_blocks_begin(cut: int):
    whole = online.reddi_stochastic([4]).slopes(1, 12_000)
    problem = online.reddi_stochastic([4])
    parts = torch.cat([problem.slopes(1, cut), problem.slopes(cut + 1, 12_000 - cut)])
    assert torch.equal(whole, parts)


def test_a_lane_sees_the_same_draws_in_any_ensemble():
    alone = online.reddi_stochastic([7]).slopes(1, 500)
    among = online.reddi_stochastic([3, 7, 9]).slopes(1, 500)
    assert torch.equal(alone[:, 0], among[:, 1])
    assert not torch.equal(among[:, 0], among[:, 1])


def test_draw_frequencies_match_their_probabilities():
    slopes = online.reddi_stochastic(range(20)).slopes(1, 20_000)
    share = (slopes == 1010).double().mean().item()
    assert abs(share - 0.01) < 4 * (0.01 * 0.99 / 400_000) ** 0.5


def test_mean_slopes_are_those_of_the_papers():
    assert online.reddi_online().mean_slope.item() == pytest.approx(10 / 101)
    assert online.reddi_stochastic([0]).mean_slope.item() == pytest.approx(0.2)
    assert online.theorem_3(100.0, 0.2, [0]).mean_slope.item() == pytest.approx(0.2)
    assert online.lecture([0]).mean_slope.item() == pytest.approx(-1 / 3)
    assert online.zhang_2_5(10, [0]).mean_slope.item() == pytest.approx(
        (1 + 9 / 81) / 10 - 0.9 / 81
    )


def test_probabilities_must_sum_to_one():
    with pytest.raises(ValueError, match="probabilities"):
        online.drawn([[1.0, 2.0]], [[0.5, 0.4]], [0])


def test_problems_of_one_ensemble_share_their_box():
    with pytest.raises(ValueError, match="same box"):
        online.concatenate([online.reddi_online(), online.zhang_2_5(10, [0])])
