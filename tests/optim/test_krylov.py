"""Saddle-free Newton in a subspace against the exact step, a slow twin, and known recurrences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reproductions.optim.krylov import DAMPINGS, Step, krylov_step
from reproductions.optim.layout import Layout
from reproductions.optim.network_loss import NetworkLoss
from reproductions.optim.objective import Autograd

F64 = torch.float64
LAYOUT = Layout((5, 4, 3))
SIZE = LAYOUT.parameters


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network() -> NetworkLoss:
    inputs = torch.randn(40, 5, generator=seeded(), dtype=F64)
    return NetworkLoss(LAYOUT, inputs, torch.arange(40) % 3)


def start(members: int = 3) -> Tensor:
    return 3 * LAYOUT.initialise(range(members), dtype=F64)


def direction(members: int = 3) -> Tensor:
    return torch.randn(3, SIZE, generator=seeded(5), dtype=F64)[:members] / 10


def saddle(theta: Tensor) -> Tensor:
    """x^2 - y^2 + y^4: a saddle at the origin, minima of -1/4 at y^2 = 1/2."""
    x, y = theta.unbind(1)
    return x**2 - y**2 + y**4


class Counted:
    """Count what is asked of an objective."""

    def __init__(self, inner: NetworkLoss) -> None:
        self._inner, self.asked = inner, {"loss": 0, "gradient": 0, "product": 0}

    def loss(self, theta: Tensor) -> Tensor:
        self.asked["loss"] += 1
        return self._inner.loss(theta)

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        self.asked["gradient"] += 1
        return self._inner.gradient(theta)

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        self.asked["product"] += 1
        return self._inner.product(theta, vectors)


def exact(theta: Tensor, damping: float, absolute: bool = True) -> Tensor:
    """Return the step from the dense Hessian."""
    _, gradient, hessian = network().curvature(theta)
    values, vectors = torch.linalg.eigh(hessian)
    damped = (values.abs() if absolute else values) + damping
    along = (vectors.mT @ gradient.unsqueeze(2)).squeeze(2) / damped
    return -(vectors @ along.unsqueeze(2)).squeeze(2)


@pytest.mark.parametrize("vectors", [SIZE, SIZE + 5])
@pytest.mark.parametrize("damping", [1.0, 0.1])
def test_a_subspace_of_all_dimensions_gives_the_exact_step(vectors: int, damping: float):
    theta = start()
    for previous in [None, direction()]:
        step = krylov_step(network(), theta, previous, vectors=vectors, dampings=[damping])
        assert step.improved.all()
        torch.testing.assert_close(step.update, exact(theta, damping), rtol=0, atol=1e-10)
        curved = torch.linalg.eigvalsh(network().curvature(theta).hessian)
        for found, wanted in zip(step.eigenvalues, curved, strict=True):
            # a shift of all logits is no motion: the gradient has no part there, so nor has V
            found, wanted = found[found.abs() > 1e-9], wanted[wanted.abs() > 1e-9]
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
            assert len(wanted) == SIZE - 5


def test_without_absolute_values_it_is_the_exact_damped_newton_step():
    theta = start()
    assert (torch.linalg.eigvalsh(network().curvature(theta).hessian) < -1e-3).any()
    step = krylov_step(network(), theta, vectors=SIZE, dampings=[1.0], absolute=False)
    torch.testing.assert_close(step.update, exact(theta, 1.0, False), rtol=0, atol=1e-10)
    assert (step.update - exact(theta, 1.0)).abs().max() > 1e-3


def test_another_matrix_takes_the_place_of_the_hessian():
    objective, theta = network(), start()
    step = krylov_step(
        objective, theta, vectors=SIZE, dampings=[0.1], product=objective.gauss_newton_product
    )
    damped = objective.gauss_newton(theta) + 0.1 * torch.eye(SIZE, dtype=F64)
    wanted = -torch.linalg.solve(damped, objective.gradient(theta)[1])
    torch.testing.assert_close(step.update, wanted, rtol=0, atol=1e-10)


def twin(theta: Tensor, previous: Tensor, vectors: int, inner_steps: int) -> Tensor:
    """Do Algorithms 1 and 2 for one member (P,) with the dense Hessian, the obvious way."""
    objective = network()
    _, gradient, hessian = (part[0] for part in objective.curvature(theta[None]))
    basis: list[Tensor] = []
    for number in range(vectors):
        new = hessian @ basis[-1] if basis else gradient
        new = previous if number == vectors - 1 else new
        for _ in range(2):
            for old in basis:
                new = new - (old @ new) * old
        basis.append(new / new.norm())
    rows = torch.stack(basis)
    values, turn = torch.linalg.eigh(rows @ hessian @ rows.T)
    for _ in range(inner_steps):
        inside = rows @ objective.gradient(theta[None])[1][0]
        inverses = [
            turn @ torch.diag(1 / (values.abs() + damping)) @ turn.T for damping in DAMPINGS
        ]
        trials = torch.stack([theta - rows.T @ (inverse @ inside) for inverse in inverses])
        losses = objective.loss(trials)
        if losses.min() < objective.loss(theta[None])[0]:
            theta = trials[losses.argmin()]
    return theta


@pytest.mark.parametrize("vectors", [2, 6])
@pytest.mark.parametrize("inner_steps", [1, 4])
def test_the_step_is_that_of_the_published_algorithm(vectors: int, inner_steps: int):
    theta, previous = start(), direction()
    step = krylov_step(network(), theta, previous, vectors=vectors, inner_steps=inner_steps)
    pairs = zip(theta, previous, strict=True)
    wanted = torch.stack([twin(*pair, vectors, inner_steps) for pair in pairs])
    torch.testing.assert_close(step.theta, wanted, rtol=0, atol=1e-9)
    torch.testing.assert_close(step.update, wanted - theta, rtol=0, atol=1e-9)
    torch.testing.assert_close(step.loss, network().loss(wanted))
    assert step.dampings.shape == (inner_steps, 3)


def test_plain_recurrence_gives_the_same_step_while_vectors_are_few():
    theta, previous = start(), direction()
    plain = krylov_step(network(), theta, previous, vectors=5, reorthogonalise=False)
    kept = krylov_step(network(), theta, previous, vectors=5)
    torch.testing.assert_close(plain.theta, kept.theta, rtol=0, atol=1e-9)


def test_every_member_takes_the_damping_that_lowers_its_loss_most():
    theta = start(8) * torch.tensor([0.1, 0.3, 1, 3] * 2, dtype=F64)[:, None]
    step = krylov_step(network(), theta, vectors=6)
    single = [krylov_step(network(), theta, vectors=6, dampings=[each]) for each in DAMPINGS]
    losses = torch.stack([each.loss for each in single])
    assert torch.equal(step.loss, losses.min(0).values)
    chosen = torch.tensor(DAMPINGS, dtype=F64)[losses.argmin(0)]
    assert torch.equal(step.dampings[0], chosen) and len(chosen.unique()) > 1


def test_the_work_is_what_it_is_said_to_be():
    counted = Counted(network())
    krylov_step(counted, start(), direction(), vectors=7, inner_steps=3, dampings=[1.0, 0.1])
    assert counted.asked == {"loss": 6, "gradient": 3, "product": 7}


def test_inner_steps_go_further_down_in_the_same_subspace():
    theta = start()
    one = krylov_step(network(), theta, direction(), vectors=6)
    many = krylov_step(network(), theta, direction(), vectors=6, inner_steps=6)
    assert (many.loss < one.loss).all()
    assert torch.equal(many.eigenvalues, one.eigenvalues)
    assert torch.equal(many.dampings[0], one.dampings[0])


def test_the_previous_update_opens_its_direction():
    """With two vectors the update is a mix of the gradient and the previous update."""
    theta, previous = start(), direction()
    step = krylov_step(network(), theta, previous, vectors=2)
    plane = torch.stack([network().gradient(theta)[1], previous], 2)
    outside = (
        step.update.unsqueeze(2) - plane @ torch.linalg.lstsq(plane, step.update[..., None])[0]
    )
    assert outside.abs().max() < 1e-12
    line = plane[:, :, :1]
    beside = step.update.unsqueeze(2) - line @ torch.linalg.lstsq(line, step.update[..., None])[0]
    assert (beside.norm(dim=1) > 1e-3).all()


def test_a_previous_update_that_brings_nothing_new_leaves_the_step_as_without_one():
    theta = start()
    wanted = krylov_step(network(), theta, vectors=6)
    for previous in [torch.zeros_like(theta), 2 * network().gradient(theta)[1]]:
        step = krylov_step(network(), theta, previous, vectors=6)
        torch.testing.assert_close(step.theta, wanted.theta, rtol=0, atol=1e-12)


def test_a_member_that_no_damping_helps_stays():
    """On sqrt(1 + x^2) an undamped step from x > 1 overshoots: x becomes -x^3.

    The second inner step divides the new slope by the curvature of where the first began.
    """
    objective = Autograd(lambda theta: (1 + theta[:, 0] ** 2).sqrt())
    theta = torch.tensor([[2.0], [0.5]], dtype=F64)
    step = krylov_step(objective, theta, vectors=1, inner_steps=2, dampings=[0.0])
    assert step.improved.tolist() == [False, True]
    assert step.theta[0].item() == 2 and step.update[0].item() == 0
    second = -(0.5**3) + 0.5**3 / (1 + 0.5**6) ** 0.5 * 1.25**1.5
    assert step.theta[1].item() == pytest.approx(second, abs=1e-14)
    assert step.loss[0].item() == pytest.approx(5**0.5)
    assert step.dampings[:, 0].isnan().all() and (step.dampings[:, 1] == 0).all()


def test_at_rest_nothing_moves():
    theta = torch.zeros(2, 2, dtype=F64)
    for previous in [None, torch.ones(2, 2, dtype=F64)]:
        step = krylov_step(Autograd(saddle), theta, previous, vectors=2)
        assert (step.update == 0).all() and not step.improved.any()
        assert (step.gradient_norm == 0).all() and step.dampings.isnan().all()


def test_undamped_steps_follow_the_recurrences_of_the_two_classic_saddles():
    start = torch.tensor([[0.5, 0.1], [-0.3, 0.2], [0.4, -0.05]], dtype=F64)
    bowl = Autograd(lambda theta: 5 * theta[:, 0] ** 2 - theta[:, 1] ** 2)
    step = krylov_step(bowl, start, vectors=2, dampings=[0.0])
    wanted = torch.stack([torch.zeros(3, dtype=F64), 2 * start[:, 1]], 1)
    torch.testing.assert_close(step.theta, wanted, rtol=0, atol=1e-14)
    newton = krylov_step(bowl, start, vectors=2, dampings=[0.0], absolute=False)
    assert newton.theta.abs().max() < 1e-14

    monkey = Autograd(lambda theta: theta[:, 0] ** 3 - 3 * theta[:, 0] * theta[:, 1] ** 2)
    slope, length = monkey.gradient(start)[1], start.norm(dim=1, keepdim=True)
    step = krylov_step(monkey, start, vectors=2, dampings=[0.0])
    moved = step.improved
    assert moved.any()
    torch.testing.assert_close(step.theta[moved], (start - slope / (6 * length))[moved])


def descend(theta: Tensor, steps: int, absolute: bool) -> Step:
    found = None
    for _ in range(steps):
        previous = None if found is None else found.update
        found = krylov_step(Autograd(saddle), theta, previous, vectors=2, absolute=absolute)
        theta = found.theta
    assert found is not None
    return found


def test_saddles_repel_it_and_attract_newton():
    theta = torch.tensor([[1.0, 1e-3], [0.3, -1e-6]], dtype=F64)
    assert (descend(theta, 40, absolute=True).loss + 0.25).abs().max() < 1e-12
    newton = krylov_step(Autograd(saddle), theta, vectors=2, absolute=False, dampings=[0.0, 1e-3])
    assert newton.theta.abs().max() < 1e-2


def test_it_trains_a_network_to_a_minimum():
    theta, previous, objective = start(), None, network()
    for _ in range(60):
        step = krylov_step(objective, theta, previous, vectors=20)
        theta, previous = step.theta, step.update
    eigenvalues = torch.linalg.eigvalsh(objective.curvature(theta).hessian)
    assert (objective.loss(theta) < 0.5 * objective.loss(start())).all()
    assert (eigenvalues[:, 0] > -1e-4).all()


def test_members_go_as_they_would_alone():
    theta, previous = start(), direction()
    together = krylov_step(network(), theta, previous, vectors=6, inner_steps=2)
    for member in range(3):
        one = slice(member, member + 1)
        alone = krylov_step(network(), theta[one], previous[one], vectors=6, inner_steps=2)
        torch.testing.assert_close(together.theta[one], alone.theta, rtol=0, atol=1e-10)


def test_a_member_that_is_not_finite_spoils_no_other():
    theta, previous = start(), direction()
    wanted = krylov_step(network(), theta, previous, vectors=6)
    theta[1] = torch.nan
    step = krylov_step(network(), theta, previous, vectors=6)
    assert step.improved.tolist() == [True, False, True]
    assert step.eigenvalues[1].isnan().all()
    others = [0, 2]
    torch.testing.assert_close(step.theta[others], wanted.theta[others])
    assert torch.equal(step.dampings[:, others], wanted.dampings[:, others])


def test_a_subspace_that_closes_is_known_by_its_eigenvalues():
    objective = Autograd(lambda theta: theta[:, 0] ** 2 - theta[:, 1] ** 2 + theta[:, 2] ** 2)
    theta = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.5, 1.0]], dtype=F64)
    step = krylov_step(objective, theta, vectors=3, dampings=[1e-3])
    found = [sorted(round(v, 9) for v in row if v == v) for row in step.eigenvalues.tolist()]
    assert found == [[2], [-2, 2], [-2, 2]]


def test_it_computes_in_the_dtype_of_theta():
    theta, previous = start().float(), direction().float()
    step = krylov_step(network(), theta, previous, vectors=4, dampings=[0.1])
    assert {part.dtype for part in step if part.is_floating_point()} == {torch.float32}
    wanted = krylov_step(network(), theta.to(F64), previous.to(F64), vectors=4, dampings=[0.1])
    assert (step.theta - wanted.theta).abs().max() < 1e-4


def test_arguments_are_left_alone():
    theta, previous = start(), direction()
    kept = theta.clone(), previous.clone()
    krylov_step(network(), theta, previous, vectors=4)
    assert torch.equal(theta, kept[0]) and torch.equal(previous, kept[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_step_is_the_same_on_a_gpu():
    theta = torch.tensor([[1.0, 1e-3], [0.3, -1e-6]], dtype=F64)
    step = krylov_step(Autograd(saddle), theta.cuda(), vectors=2)
    wanted = krylov_step(Autograd(saddle), theta, vectors=2)
    assert (step.theta.cpu() - wanted.theta).abs().max() < 1e-13


def test_misuse_is_named():
    for knobs in [{"vectors": 0}, {"vectors": 1, "inner_steps": 0}]:
        with pytest.raises(ValueError, match="vectors and inner_steps must be at least 1, got"):
            krylov_step(network(), start(), **knobs)
    for dampings in [[], [-1.0], [torch.nan]]:
        with pytest.raises(ValueError, match="dampings must be one or more numbers from 0 on"):
            krylov_step(network(), start(), vectors=1, dampings=dampings)
