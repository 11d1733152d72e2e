"""Runs of millions of steps on one variable: both backends, and the golden reference run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reproductions.optim import native
from reproductions.optim.first_order import (
    adagrad,
    adam,
    adamnc,
    amsgrad,
    by_member,
    inverse_sqrt,
    momentum,
    rmsprop,
    sgd,
    sign,
)
from reproductions.optim.sequential import simulate
from reproductions.problems import online

METHODS = {
    "sgd": sgd(0.01, schedule=inverse_sqrt),
    "momentum": momentum(0.001, 0.9, nesterov=True),
    "adagrad": adagrad(0.5),
    "rmsprop": rmsprop(0.1, 0.9, eps=1e-3, eps_inside=True),
    "adam": adam(0.5, 0.9, 0.99, schedule=inverse_sqrt),
    "adam debiased": adam(0.5, 0.9, 0.99, debias=True, eps=1e-8),
    "amsgrad": amsgrad(0.5, 0.9, 0.99, schedule=inverse_sqrt),
    "amsgrad torch": amsgrad(0.01, 0.9, 0.99, order="torch"),
    "amsgrad optax": amsgrad(0.01, 0.9, 0.99, order="optax"),
    "adamnc": adamnc(0.5, 0.9, schedule=inverse_sqrt),
    "sign": sign(0.01, schedule=inverse_sqrt),
}
needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C compiler here")


def loop(slopes: np.ndarray, alpha: float, beta1: float, beta2: float, maximum: bool) -> tuple:
    """Play Algorithm 1 or 2 in plain numpy: the slow twin."""
    x = m = v = peak = regret = 0.0
    for t, g in enumerate(slopes, start=1):
        before = x
        regret += g * (x + 1)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        peak = max(peak, v)
        x = min(1.0, max(-1.0, x - alpha / t**0.5 * m / (peak if maximum else v) ** 0.5))
    return before, regret


@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("backend", ["eager", pytest.param("native", marks=needs_compiler)])
def test_a_run_is_the_plain_loop(maximum: bool, backend: str):
    problem, made = online.reddi_stochastic([5]), amsgrad if maximum else adam
    path = simulate(
        problem, made(0.5, 0.9, 0.99, schedule=inverse_sqrt), 0.0, steps=700, record_at=[700],
        backend=backend,
    )  # fmt: skip
    x, regret = loop(problem.slopes(1, 700)[:, 0].numpy(), 0.5, 0.9, 0.99, maximum)
    assert path.iterate.item() == pytest.approx(x, abs=1e-12)
    assert path.regret.item() == pytest.approx(regret, abs=1e-8)


@needs_compiler
@pytest.mark.parametrize("name", METHODS)
def test_both_backends_give_the_same_numbers(name: str):
    problem = online.concatenate([online.reddi_online(), online.reddi_stochastic([1, 2])])
    runs = [
        simulate(problem, METHODS[name], 0.0, steps=300, record_at=[1, 150, 300], backend=backend)
        for backend in ("eager", "native")
    ]
    for eager, compiled in zip(*runs, strict=True):
        torch.testing.assert_close(eager, compiled, rtol=1e-13, atol=1e-13)


@needs_compiler
def test_kinked_losses_run_compiled():
    problem = online.zhang_2_5(10, [0, 1])
    runs = [
        simulate(problem, adam(0.5, 0.5, 0.9), -0.9, steps=300, record_at=[300], backend=backend)
        for backend in ("eager", "native")
    ]
    assert runs[0].iterate.min() < -1
    torch.testing.assert_close(runs[0].iterate, runs[1].iterate, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("made", "golden"),
    [
        (adam, {10**3: (-0.15737, 1.67252402), 10**4: (1.0, 0.69970629)}),
        (amsgrad, {10**3: (-0.72243084, 1.72103124), 10**4: (-0.79728059, 0.43838611)}),
    ],
)
def test_the_reference_run_of_figure_1(made, golden):
    transform = made(0.5, 0.9, 0.99, schedule=inverse_sqrt)
    path = simulate(online.reddi_online(), transform, 0.0, steps=10**4, record_at=list(golden))
    for row, (step, (x, average)) in enumerate(golden.items()):
        assert path.iterate[row].item() == pytest.approx(x, abs=1e-6)
        assert path.regret[row].item() / step == pytest.approx(average, abs=1e-6)


def test_adam_is_pinned_by_theorem_1():
    beta2 = torch.tensor([[1 / 10], [1 / 17], [1 / 101]], dtype=torch.float64)
    problem = online.periodic([3.0, 4.0, 10.0], [3, 3, 3])
    path = simulate(
        problem, rmsprop(0.5, beta2, schedule=inverse_sqrt), 1.0, steps=3001, record_at=[3001]
    )
    assert path.misses.tolist() == [[0, 0, 0]]
    assert path.iterate.tolist() == [[1, 1, 1]]


def test_periods_that_begin_elsewhere_are_counted():
    path = simulate(online.periodic([3.0], [3]), sgd(0.01), 0.5, steps=30, record_at=[30])
    assert path.misses.item() == 9


def test_records_do_not_change_a_run():
    problem, transform = online.reddi_stochastic([3]), METHODS["adam"]
    few = simulate(problem, transform, 0.0, steps=500, record_at=[500])
    many = simulate(problem, transform, 0.0, steps=500, record_at=range(1, 501))
    assert few.iterate[-1].item() == many.iterate[-1].item()
    assert few.total[-1].item() == pytest.approx(many.iterate.sum().item(), abs=1e-10)


def test_a_lane_runs_the_same_in_any_ensemble():
    alone = simulate(
        online.reddi_stochastic([7]), METHODS["amsgrad"], 0.0, steps=200, record_at=[200]
    )
    among = simulate(
        online.reddi_stochastic(range(11)), METHODS["amsgrad"], 0.0, steps=200, record_at=[200]
    )
    assert alone.iterate[0, 0] == among.iterate[0, 7]


def test_growth_of_the_learning_rate_is_counted():
    def count(transform) -> int:
        path = simulate(online.reddi_online(), transform, 0.0, steps=1010, record_at=[1010])
        return int(path.growths.item())

    assert [count(METHODS[name]) for name in ("sgd", "adagrad", "amsgrad", "adamnc")] == [0] * 4
    assert count(METHODS["adam"]) > 800
    assert count(METHODS["amsgrad torch"]) > 800


@needs_compiler
def test_what_is_no_arithmetic_runs_eagerly():
    mixed = by_member([(slice(0, 1), adam(0.1)), (slice(1, 2), sgd(0.1))])
    problem = online.reddi_stochastic([0, 1])
    assert simulate(problem, mixed, 0.0, steps=20, record_at=[20]).iterate.shape == (1, 2)
    with pytest.raises(native.NotTranslatable):
        simulate(problem, mixed, 0.0, steps=20, record_at=[20], backend="native")


def test_without_a_compiler_the_run_is_eager(monkeypatch: pytest.MonkeyPatch):
    wanted = simulate(online.reddi_online(), METHODS["adam"], 0.0, steps=50, record_at=[50])
    monkeypatch.setattr(native, "compiler", lambda: None)
    path = simulate(online.reddi_online(), METHODS["adam"], 0.0, steps=50, record_at=[50])
    assert path.iterate.item() == pytest.approx(wanted.iterate.item(), abs=1e-13)


def test_unusable_input_is_named():
    problem = online.reddi_online()
    with pytest.raises(ValueError, match="record_at"):
        simulate(problem, METHODS["adam"], 0.0, steps=10, record_at=[11])
    with pytest.raises(ValueError, match="backend"):
        simulate(problem, METHODS["adam"], 0.0, steps=10, record_at=[10], backend="fortran")
