"""Metropolis' rule against Boltzmann's distribution, the slips of the authors' code, the seeds."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor

from reproductions.optim.annealing import (
    Annealed,
    anneal,
    gaussian,
    legal_flips,
    legal_start,
    power_cooling,
)
from reproductions.optim.chain_draws import BLOCK, MANY_CHAINS, Draws

F64 = torch.float64
LEVELS = (-1.0, 0.0, 1.0)
GROUPS = [torch.tensor([4, 1]), torch.tensor([0, 2, 3])]


def bowl(theta: Tensor) -> Tensor:
    """Return the squared distance from 0.3, per weight."""
    return (theta - 0.3).square().mean(1)


def one(step: int) -> int:
    return 1


def run(chains: int = 3, steps: int = 200, first: int = 0, **options) -> Annealed:
    seeds = range(first, first + chains)
    options = {
        "energy": bowl,
        "theta": legal_start(LEVELS, 5, seeds).double(),
        "propose": legal_flips(LEVELS, one),
        "temperature": power_cooling(0.5, 0.75),
        "record_at": range(steps + 1),
    } | options
    energy, theta, propose = (options.pop(name) for name in ("energy", "theta", "propose"))
    return anneal(energy, theta, propose, steps=steps, seeds=seeds, **options)


# --- the distribution -------------------------------------------------------------------------


@pytest.mark.parametrize("flips", [1, 2])
@pytest.mark.parametrize("groups", [None, [torch.tensor([1]), torch.tensor([0, 2])]])
def test_at_a_constant_temperature_a_chain_is_boltzmanns(flips: int, groups: list[Tensor] | None):
    """27 states of different energies; 400 chains, each looked at once, so that looks are apart."""
    scale = torch.tensor([1.0, 3.0, 9.0], dtype=F64)

    def energy(theta: Tensor) -> Tensor:
        return ((theta + 1) * scale).sum(1) / 13

    found = run(
        2000,
        60,
        energy=energy,
        theta=torch.zeros(2000, 3, dtype=F64),
        propose=legal_flips(LEVELS, lambda step: 1 if step % 2 else flips, groups),
        temperature=lambda step: 0.7,
    )
    states = torch.cartesian_prod(*[torch.tensor(LEVELS, dtype=F64)] * 3)
    weights = (-energy(states) / 0.7).exp()
    counts = [int((found.energy == value).sum()) for value in energy(states)]
    assert sum(counts) == 2000
    assert stats.chisquare(counts, 2000 * weights / weights.sum()).pvalue > 0.01


def test_a_gaussian_walk_in_a_bowl_has_boltzmanns_variance():
    found = run(
        4000,
        150,
        energy=lambda theta: theta.square().sum(1) / 2,
        theta=torch.zeros(4000, 2, dtype=F64),
        propose=gaussian(lambda step: 1.0),
        temperature=lambda step: 0.5,
    )
    assert found.theta.var(0).tolist() == pytest.approx([0.5, 0.5], rel=0.06)
    assert stats.kstest(found.energy / 0.5, "expon").pvalue > 0.01  # two degrees of freedom


# --- what annealing keeps -----------------------------------------------------------------------


def test_at_temperature_zero_no_chain_goes_uphill_and_level_steps_are_taken():
    found = run(energy=lambda theta: theta[:, :2].square().sum(1), temperature=lambda step: 0.0)
    assert (found.course.diff(dim=0) <= 0).all()
    assert (found.acceptance > 0.3).all()  # weights that do not matter still move


def test_the_best_is_the_least_ever_held():
    found = run()
    assert torch.equal(found.best_course, found.course.cummin(0).values)
    assert torch.equal(found.best_energy, found.course.min(0).values)
    assert torch.equal(bowl(found.best), found.best_energy)
    assert torch.equal(bowl(found.theta), found.energy)
    assert (found.course.diff(dim=0) > 0).any()  # it does go uphill


def test_records_are_those_asked_for():
    found, marked = run(), run(record_at=[0, 7, 200])
    assert marked.steps == [0, 7, 200]
    assert torch.equal(marked.best_course, found.best_course[[0, 7, 200]])
    assert run(record_at=[]).best_course.shape == (0, 3)


def test_acceptance_counts_the_proposals_taken():
    found = run(temperature=lambda step: 1e9)
    assert found.acceptance.tolist() == [1.0, 1.0, 1.0]
    moved = (run().course.diff(dim=0) != 0).double().mean(0)
    assert (run().acceptance >= moved).all()


def test_what_is_not_finite_is_never_accepted():
    wall = run(energy=lambda theta: torch.where(theta[:, 0] > 0, torch.nan, bowl(theta)),
               theta=torch.zeros(3, 5, dtype=F64), temperature=lambda step: 1e9)  # fmt: skip
    assert wall.course.isfinite().all()
    stuck = run(energy=lambda theta: torch.full((3,), torch.nan, dtype=F64))
    assert stuck.best_energy.isnan().all()
    assert stuck.acceptance.tolist() == [0.0, 0.0, 0.0]


def test_the_start_is_not_modified_and_the_result_repeats():
    theta = legal_start(LEVELS, 5, range(3)).double()
    before = theta.clone()
    first = run(theta=theta)
    assert torch.equal(theta, before)
    assert torch.equal(run(theta=theta).theta, first.theta)


# --- seeds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("propose", [gaussian(lambda step: 0.3), legal_flips(LEVELS, one, GROUPS)])
def test_a_chain_is_the_same_in_every_ensemble(propose):
    many = run(MANY_CHAINS + 1, 50, propose=propose)  # so many that several threads draw
    alone = run(1, 50, first=MANY_CHAINS, propose=propose)
    assert torch.equal(many.theta[-1:], alone.theta)
    assert torch.equal(many.best_course[:, -1:], alone.best_course)


def test_chains_and_root_seeds_differ():
    found = run(propose=gaussian(lambda step: 0.3))
    assert len({tuple(row) for row in found.theta.tolist()}) == 3
    other = run(propose=gaussian(lambda step: 0.3), root_seed=1)
    assert not torch.equal(found.theta, other.theta)


def test_draws_do_not_depend_on_how_many_are_asked_for_at_a_time():
    together, apart = Draws([3, 4]), Draws([3, 4])
    whole = together.uniform(2 * BLOCK + 100)
    parts = [apart.uniform(count) for count in (1, BLOCK, 99, BLOCK)]
    assert torch.equal(whole, torch.cat(parts, 1))
    assert torch.equal(together.normal(5), apart.normal(5))


@pytest.mark.parametrize("count", [1, 3])
def test_distinct_numbers_are_distinct_and_each_as_likely(count: int):
    drawn = torch.cat([Draws(range(500), root_seed=root).distinct(5, count) for root in range(4)])
    assert all(len(set(row)) == count for row in drawn.tolist())
    assert stats.chisquare(torch.bincount(drawn.flatten(), minlength=5)).pvalue > 0.01


# --- proposals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_flips_change_as_many_weights_as_asked_to_another_legal_value(groups):
    theta, draws = legal_start(LEVELS, 5, range(40)), Draws(range(40))
    propose = legal_flips(LEVELS, lambda step: 2, groups)
    for step in range(12):
        move = propose(theta, draws, step)
        changed = theta.scatter(1, move.columns, move.value)
        assert (changed != theta).sum(1).tolist() == [2] * 40
        assert set(changed.unique().tolist()) <= set(LEVELS)
        if groups is not None:
            assert move.group == (0 if step % 5 < 2 else 1)  # as many steps as columns
            assert torch.equal(groups[move.group][move.place], move.columns)


def test_flips_are_symmetric():
    """From each of three values to each of the others as often: a half."""
    propose, draws = legal_flips(LEVELS, one), Draws(range(3000))
    for value, others in ((-1.0, (0.0, 1.0)), (0.0, (-1.0, 1.0)), (1.0, (-1.0, 0.0))):
        move = propose(torch.full((3000, 4), value), draws, 0)
        counts = [int((move.value == other).sum()) for other in others]
        assert sum(counts) == 3000
        assert stats.binomtest(counts[0], 3000).pvalue > 0.01
        assert stats.chisquare(torch.bincount(move.columns.flatten(), minlength=4)).pvalue > 0.01


def test_gaussian_steps_have_the_spread_asked_for():
    theta, draws = torch.zeros(50, 400), Draws(range(50))
    for step, spread in enumerate((0.1, 0.01)):
        moved = gaussian(lambda step: (0.1, 0.01)[step])(theta, draws, step)
        assert float(moved.std()) == pytest.approx(spread, rel=0.02)
        assert float(moved.mean()) == pytest.approx(0, abs=0.03 * spread)


def test_a_start_is_legal_and_each_value_as_likely():
    theta = legal_start(LEVELS, 300, range(20))
    counts = [int((theta == level).sum()) for level in LEVELS]
    assert sum(counts) == theta.numel()
    assert stats.chisquare(counts).pvalue > 0.01
    assert torch.equal(theta[7:8], legal_start(LEVELS, 300, [7]))


# --- an energy that is told what changes --------------------------------------------------------


class Told:
    """The bowl, keeping its own state."""

    def start(self, theta: Tensor) -> Tensor:
        self.theta = theta.clone()
        return bowl(self.theta)

    def look(self, group: int, place: Tensor, value: Tensor) -> Tensor:
        self.tried = self.theta.scatter(1, GROUPS[group][place], value)
        return bowl(self.tried)

    def keep(self, accepted: Tensor) -> None:
        self.theta = torch.where(accepted[:, None], self.tried, self.theta)


def test_an_energy_that_is_told_what_changes_gives_the_same_chains():
    propose = legal_flips(LEVELS, one, GROUPS)
    told, whole = run(energy=Told(), propose=propose), run(propose=propose)
    assert torch.equal(told.course, whole.course)
    assert torch.equal(told.best, whole.best)


# --- misuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [-0.5, float("nan")])
def test_a_negative_temperature_is_refused(temperature: float):
    with pytest.raises(ValueError, match="temperature must not be negative, got .* at step 0"):
        run(temperature=power_cooling(temperature, 0.75))


def test_cooling_is_the_authors():
    cool = power_cooling(0.5, 0.75)
    assert [cool(step) for step in (0, 1, 16)] == pytest.approx([0.5, 0.25, 0.5 / 9])
    assert all(a > b for a, b in pairwise(map(cool, range(100))))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="record_at must lie between 0 and steps = 200"):
        run(record_at=[201])
    with pytest.raises(ValueError, match="seeds must be one per chain, 2, got 3"):
        run(theta=torch.zeros(2, 5))
    with pytest.raises(ValueError, match="levels must be two or more, ascending"):
        legal_flips((1.0, 0.0), one)
    with pytest.raises(ValueError, match="needs proposals that say so"):
        run(energy=Told(), propose=gaussian(lambda step: 0.1))


def test_progress_ends_at_one():
    heard: list[tuple[float, str]] = []
    run(progress=lambda fraction, note: heard.append((fraction, note)))
    assert heard[-1] == (1.0, "step 200 of 200")
