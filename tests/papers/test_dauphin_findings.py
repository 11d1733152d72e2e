"""What Figure 4 of Dauphin et al. 2014 says of itself, from the digitised points."""

from __future__ import annotations

import numpy as np
import pytest

from reproductions.papers.dauphin2014saddle import autoencoder_figures, published


def curve(method):
    """Return the published squared error by epoch."""
    points = published.points(published.AUTOENCODER)
    own = points[points.method == method].drop_duplicates()
    return own.set_index("epoch").squared_error


def curvature(quantity):
    """Return the published curvature or gradient norm by epoch."""
    points = published.points(published.AUTOENCODER_CURVATURE)
    return points[points.quantity == quantity].set_index("epoch").value


def test_both_branches_share_two_points_so_the_ways_part_at_epoch_3000():
    momentum, newton = curve("momentum"), curve("saddle_free")
    assert newton.index[:3].tolist() == [2990, 3000, 3010]
    assert newton.iloc[:2].equals(momentum.loc[[2990, 3000]])
    assert momentum[3010] - newton[3010] > 0.2
    assert autoencoder_figures.published_parting() == (3000, pytest.approx(1.1101))


def test_momentum_is_noisy_up_to_epoch_2990_and_smooth_from_3000_on():
    momentum = curve("momentum")
    before, after = momentum.loc[2890:2990], momentum.loc[3000:3150]
    assert before.std() > 0.07 and (np.diff(before) > 0).any()
    assert (np.diff(after) < 0).all()
    assert momentum[3000] < 0.8 * before.min()


def test_momentum_that_stalls_has_nearly_come_to_its_end_where_the_ways_part():
    momentum, newton = curve("momentum"), curve("saddle_free")
    assert momentum[3150] == pytest.approx(1.01185)
    assert momentum[3000] / momentum[3150] == pytest.approx(1.097, abs=5e-4)
    assert newton[3150] == pytest.approx(0.57, abs=5e-4)
    assert newton[3150] / momentum[3150] == pytest.approx(0.563, abs=5e-4)
    assert (np.diff(newton) < 0).all() and newton[3140] - newton[3150] > 0.01  # still falling


def test_the_curvature_of_epoch_2990_repeats_that_of_2500():
    for quantity in ("most_negative", "gradient_norm"):
        values = curvature(quantity)
        assert values[2990] == values[2500], quantity
        assert len(set(values)) == len(values) - 1


def test_curvature_and_gradient_collapse_with_the_lowered_momentum():
    least, norm = curvature("most_negative"), curvature("gradient_norm")
    assert least[2990] / least[2999] == pytest.approx(22.4, abs=0.1)
    assert norm[2990] / norm[2999] == pytest.approx(5.07, abs=0.01)
    # in all the epochs before, both change less
    assert least[20] / least[2500] < 8 and norm[20] / norm[2500] < 3


def test_the_gradient_is_not_small_at_the_end():
    norm = curvature("gradient_norm")
    assert norm[3150] == pytest.approx(0.768745)
    assert norm[3150] > 0.1 * norm.iloc[0]
