"""Changes of basis: intervals of every kind, moments, draws that belong to their seeds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reproductions.optim.change_of_basis import KINDS, Moments, draw, draw_each, moments
from reproductions.optim.device import generator

INTERVALS = {
    "intra": [(0.4, 1.6)],
    "inter": [(-1.6, -0.4), (0.4, 1.6)],
    "positive": [(0.0, 0.6)],
    "negative": [(-0.6, 0.0)],
    "centred": [(2.4, 3.6)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_factors_fill_their_intervals_evenly_and_never_vanish(kind: str):
    found = draw((4, 5000), 0.6, generator(1), kind=kind, centre=3.0)
    assert found.shape == (4, 5000) and found.dtype == torch.float64
    assert (found != 0).all()
    shares = []
    for low, high in INTERVALS[kind]:
        inside = found[(low <= found) & (found <= high)]
        shares.append(inside.numel() / found.numel())
        assert inside.min() < low + 0.01 and inside.max() > high - 0.01
        # uniform: mean in the middle, variance width^2 / 12, five standard errors
        width, error = high - low, (high - low) / math.sqrt(12 * inside.numel())
        assert inside.mean().item() == pytest.approx((low + high) / 2, abs=5 * error)
        assert inside.var().item() == pytest.approx(width**2 / 12, rel=0.06)
    assert sum(shares) == 1
    assert shares == pytest.approx([1 / len(shares)] * len(shares), abs=0.02)


@given(st.floats(1e-6, 20.0), st.sampled_from([k for k in KINDS if k != "intra"]))
@settings(max_examples=40, deadline=None)
def test_no_factor_of_any_range_leaves_its_kind(sigma: float, kind: str):
    found = draw((200,), sigma, generator(3), kind=kind, centre=-2.0)
    middle = {"inter": [-1.0, 1.0], "centred": [-2.0], "positive": [0.0], "negative": [0.0]}[kind]
    gaps = torch.stack([(found - at).abs() for at in middle]).amin(0)
    assert (gaps <= sigma * (1 + 1e-12) + 1e-12).all() and (found != 0).all()
    if kind in ("positive", "negative"):
        assert (found * (1 if kind == "positive" else -1) > 0).all()


def test_both_intervals_of_a_wide_range_are_drawn_from_although_they_overlap():
    found = draw((20000,), 2.0, generator(0), kind="inter")
    # half of U(-3, 1), half of U(-1, 3): density 1/8, 1/4, 1/8 on [-3, -1], [-1, 1], [1, 3]
    for low, high, share in ((-3, -1, 0.25), (-1, 1, 0.5), (1, 3, 0.25)):
        inside = ((low <= found) & (found < high)).double().mean().item()
        assert inside == pytest.approx(share, abs=0.02)


class Zero(torch.Generator):
    """Stands for a generator; `rand` is replaced to return what would give a factor of 0."""


def test_a_factor_that_would_be_zero_is_the_smallest_step_instead(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.zeros(3, dtype=torch.float64))
    found = draw((3,), 2.0, Zero(), kind="centred", centre=2.0)
    assert torch.equal(found, torch.full((3,), torch.finfo(torch.float64).eps).double())


@pytest.mark.parametrize("kind", ["intra", "inter"])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9])
def test_moments_are_those_of_the_draws(kind: str, sigma: float):
    found = draw((400_000,), sigma, generator(5), kind=kind)
    for power, wanted in zip((2, -2), moments(sigma), strict=True):
        values = found**power
        error = values.std().item() / math.sqrt(values.numel())
        assert values.mean().item() == pytest.approx(wanted, abs=4 * error)


def test_moments_are_the_published_closed_forms():
    assert moments(0.9) == pytest.approx(Moments(1.27, 5.2631579))
    assert moments(0.5) == pytest.approx(Moments(13 / 12, 4 / 3))
    assert moments(1e-9) == pytest.approx(Moments(1.0, 1.0))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_seed_draws_the_same_in_every_ensemble(seeds: list[int], root: int):
    whole = draw_each(seeds, 7, 0.9, root_seed=root)
    for seed, member in zip(seeds, whole, strict=True):
        assert torch.equal(member[None], draw_each([seed], 7, 0.9, root_seed=root))
    distinct = {tuple(member.tolist()) for member in whole}
    assert len(distinct) == len(set(seeds))
    assert not torch.equal(whole, draw_each(seeds, 7, 0.9, root_seed=root + 1))


@pytest.mark.parametrize(
    ("sigma", "kind", "message"),
    [
        (0.5, "sideways", "kind must be one of intra, inter, .*, got 'sideways'"),
        (0.0, "inter", "sigma must be positive and finite, got 0.0"),
        (-0.5, "centred", "sigma must be positive and finite, got -0.5"),
        (math.nan, "positive", "sigma must be positive and finite, got nan"),
        (math.inf, "negative", "sigma must be positive and finite, got inf"),
        (1.0, "intra", "sigma must be below 1 for intra, where it would reach zero: 1.0"),
    ],
)
def test_a_range_that_a_kind_does_not_allow_is_named(sigma: float, kind: str, message: str):
    with pytest.raises(ValueError, match=message):
        draw((2,), sigma, generator(0), kind=kind)
    with pytest.raises(ValueError, match=message):
        draw_each([0], 2, sigma, kind=kind)


def test_moments_of_a_range_that_reaches_zero_are_refused():
    for sigma in (1.0, 2.0):
        with pytest.raises(ValueError, match="sigma must be below 1"):
            moments(sigma)
