"""When the effective learning rate grows: what separates AMSGrad's three implementations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reproductions.optim import first_order as fo

F64 = torch.float64


def slope(t: int) -> float:
    """Return the gradient of the paper's online problem: 1010 when t mod 101 = 1, else -10."""
    return 1010.0 if t % 101 == 1 else -10.0


def run(transform: fo.Transform, steps: int) -> tuple[Tensor, float]:
    """Return the rate after every step and the last x, from x_1 = 0 on [-1, 1]."""
    x = torch.zeros(1, 1, dtype=F64)
    state, rates = transform.init(x), []
    for t in range(1, steps + 1):
        step, state = transform.update(torch.full_like(x, slope(t)), state, x)
        x = fo.project_box(x + step, -1.0, 1.0)
        rates.append(transform.rate(state).reshape(()))
    return torch.stack(rates), x.item()


def growths(rates: Tensor, above: float = 0.0) -> Tensor:
    """Return the steps t at which the rate exceeds that of t - 1 by more than a relative part."""
    return (rates[1:] > rates[:-1] * (1 + above)).nonzero().flatten() + 2


@pytest.fixture(scope="module")
def amsgrad_rates() -> dict[str, Tensor]:
    """Run the three orders at lr 1e-3, beta (0.9, 0.99)."""
    orders = ("paper", "torch", "optax")
    return {o: run(fo.amsgrad(1e-3, 0.9, 0.99, order=o), 4000)[0] for o in orders}


def test_denominators_differ_as_tabulated(amsgrad_rates: dict[str, Tensor]):
    at = torch.tensor([1, 50, 101, 102]) - 1
    for order, wanted in {
        "paper": [101.0, 101.0, 101.0, 118.15],
        "torch": [1010.0, 160.70, 126.48, 147.55],
        "optax": [1010.0, 1010.0, 1010.0, 1010.0],
    }.items():
        roots = 1e-3 / amsgrad_rates[order][at]
        torch.testing.assert_close(roots, torch.tensor(wanted, dtype=F64), rtol=0, atol=5e-3)


def test_torch_amsgrad_lets_the_learning_rate_grow(amsgrad_rates: dict[str, Tensor]):
    # Growth fades with 0.99^t: 1519 steps grow by more than a part in 1e9, and rounding hides
    # the rest from about t = 3600 on, so 4000 steps are as good as the 101000 of the reference.
    visible = growths(amsgrad_rates["torch"], above=1e-9)
    assert (len(visible), int(visible[-1])) == (1519, 1535)
    exact = growths(amsgrad_rates["torch"])
    assert len(exact) > 3000
    assert int(exact[-1]) < 3700


@pytest.mark.parametrize("order", ["paper", "optax"])
def test_paper_and_optax_amsgrad_never_let_it_grow(order: str, amsgrad_rates: dict[str, Tensor]):
    assert len(growths(amsgrad_rates[order])) == 0


@pytest.mark.parametrize(
    "transform",
    [
        fo.sgd(0.5, schedule=fo.inverse_sqrt),
        fo.adagrad(0.5),
        fo.adamnc(0.5, schedule=fo.inverse_sqrt),
        fo.amsgrad(0.5, 0.9, 0.99, schedule=fo.inverse_sqrt),
    ],
)
def test_gamma_is_never_negative_in_floating_point_either(transform: fo.Transform):
    rates, _ = run(transform, 3000)
    assert len(growths(rates)) == 0


@pytest.mark.parametrize("make", [fo.adam, lambda lr, _, b, **k: fo.rmsprop(lr, b, **k)])
def test_gamma_of_adam_and_rmsprop_is_negative_on_most_steps(make):
    rates, _ = run(make(0.5, 0.9, 0.99, schedule=fo.inverse_sqrt), 2020)
    assert len(growths(rates)) > 1500


def test_the_orders_settle_on_the_paper_s_rate_or_on_one_eight_times_smaller(
    amsgrad_rates: dict[str, Tensor],
):
    last = {order: 1e-3 / rates[-1].item() for order, rates in amsgrad_rates.items()}
    assert last["paper"] == pytest.approx(126.87312, abs=1e-5)
    assert last["torch"] == pytest.approx(last["paper"], rel=1e-12)
    assert last["optax"] == pytest.approx(1010.0, abs=1e-9)


def test_early_iterates_tell_the_three_orders_apart():
    ends = [run(fo.amsgrad(1e-3, 0.9, 0.99, order=o), 600)[1] for o in ("paper", "torch", "optax")]
    gaps = [abs(ends[0] - ends[1]), abs(ends[0] - ends[2]), abs(ends[1] - ends[2])]
    assert min(gaps) > 2e-4


def test_reference_iterates_of_the_online_problem():
    # Step size 0.5 / sqrt t, x before step 1000, from the reference runs of the study.
    adam = run(fo.adam(0.5, 0.9, 0.99, schedule=fo.inverse_sqrt), 999)[1]
    amsgrad = run(fo.amsgrad(0.5, 0.9, 0.99, schedule=fo.inverse_sqrt), 999)[1]
    assert adam == pytest.approx(-0.15737000, abs=1e-6)
    assert amsgrad == pytest.approx(-0.72243084, abs=1e-6)


def test_rate_is_the_factor_of_the_mean_gradient():
    transform, x = fo.amsgrad(0.3, 0.0, 0.9, schedule=fo.inverse_sqrt), torch.zeros(1, 3, dtype=F64)
    state = transform.init(x)
    for grad in torch.randn(20, 1, 3, dtype=F64):
        step, state = transform.update(grad, state, x)
        torch.testing.assert_close(step, -transform.rate(state) * grad, rtol=1e-13, atol=0)


def test_float32_steps_follow_float64_ones():
    x, grads = torch.zeros(1, 3, dtype=F64), torch.randn(300, 1, 3, dtype=F64)
    transform = fo.amsgrad(1e-2, order="torch")
    exact, single = x, x.float()
    states = [transform.init(exact), transform.init(single)]
    for grad in grads:
        step, states[0] = transform.update(grad, states[0], exact)
        exact = exact + step
        step, states[1] = transform.update(grad.float(), states[1], single)
        single = single + step
    assert single.dtype == torch.float32
    assert math.isclose((exact - single).abs().max().item(), 0.0, abs_tol=1e-5)
