"""The density by Lanczos quadrature against the eigenvalues of dense Hessians and curvlinops."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from reproductions.optim.curvature import Product, hessian_vector_product
from reproductions.optim.layout import Layout
from reproductions.optim.objective import Autograd
from reproductions.optim.spectrum import Quadrature, spectral_density

F64 = torch.float64
SIZE = 300


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix(members: int = 2) -> Tensor:
    """Return (E, P, P): a peak at zero, a bulk and a few outliers, shifted from member to member."""
    bulk = torch.randn(SIZE - 100, generator=seeded(7), dtype=F64) / 4
    values = torch.cat([torch.zeros(95, dtype=F64), bulk, torch.arange(2.0, 7.0, dtype=F64)])
    turn = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=seeded(8), dtype=F64))[0]
    shifts = torch.arange(members, dtype=F64)[:, None] / 2
    return turn @ torch.diag_embed(values + shifts) @ turn.T


def times(of: Tensor) -> Product:
    return lambda vectors: (of @ vectors.unsqueeze(-1)).squeeze(-1)


def found(
    of: Tensor, probes: int = 8, steps: int = 40, seed: int = 3, **kept: object
) -> Quadrature:
    return spectral_density(
        times(of), of[..., 0], probes=probes, steps=steps, source=seeded(seed), **kept
    )


def exact_density(of: Tensor, grid: Tensor, width: float) -> Tensor:
    away = (grid - torch.linalg.eigvalsh(of).unsqueeze(-1)) / width
    return (-(away**2) / 2).exp().mean(-2) / (width * math.sqrt(2 * math.pi))


def test_weights_of_every_probe_sum_to_one():
    spectrum = found(matrix())
    assert spectrum.nodes.shape == spectrum.weights.shape == (8, 2, 40)
    assert (spectrum.weights.sum(-1) - 1).abs().max() < 1e-12 and (spectrum.weights >= 0).all()


def test_the_density_is_near_that_of_the_eigenvalues():
    of, width = matrix(), 0.1
    grid = torch.linspace(-2, 9, 500, dtype=F64)
    estimated, wanted = found(of, probes=20).density(grid, width), exact_density(of, grid, width)
    assert torch.trapezoid(estimated, grid).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert (torch.trapezoid((estimated - wanted).abs(), grid) < 0.06).all()


def test_more_probes_come_nearer():
    of = matrix(1)
    exact = torch.linalg.eigvalsh(of)[0]

    def away(probes: int) -> float:
        errors = []
        for seed in range(10):
            nodes, weights = (part.flatten() for part in found(of, probes, seed=seed))
            errors.append(wasserstein_distance(exact, nodes, None, weights))
        return sum(errors) / len(errors)

    few, many = away(1), away(16)
    assert 2.5 < few / many < 6.5  # sqrt(16) = 4


def test_moments_are_right_in_expectation():
    """One step is enough for the mean and two for the mean square, whatever the spectrum."""
    of = matrix()
    exact = torch.linalg.eigvalsh(of)
    for order, steps in [(1, 1), (2, 2), (3, 2), (4, 3)]:
        spectrum = found(of, probes=100, steps=steps)
        single = (spectrum.weights * spectrum.nodes**order).sum(-1)
        error = single.std(0) / math.sqrt(100)
        wanted = (exact**order).mean(1)
        assert ((spectrum.moment(order) - wanted).abs() < 4 * error).all()
        assert (error < 0.2 * wanted).all()


def test_with_as_many_steps_as_dimensions_the_nodes_are_the_eigenvalues():
    of = torch.randn(2, 12, 12, generator=seeded(), dtype=F64)
    of = of + of.mT
    spectrum = found(of, probes=3, steps=12)
    wanted = torch.linalg.eigvalsh(of).expand(3, 2, 12)
    torch.testing.assert_close(spectrum.nodes, wanted, rtol=0, atol=1e-11)


def test_steps_beyond_the_dimensions_add_nodes_of_no_weight():
    of = torch.randn(2, 12, 12, generator=seeded(), dtype=F64)
    of = of + of.mT
    enough, more = (found(of, probes=3, steps=steps) for steps in (12, 17))
    assert ((more.weights > 1e-20).sum(-1) <= 12).all() and more.nodes.isfinite().all()
    for order in range(6):
        torch.testing.assert_close(more.moment(order), enough.moment(order))


def test_mass_below_thresholds_is_the_fraction_of_eigenvalues_there():
    of, levels = matrix(), [-0.25, 0.6, 1.5, 8.0]
    exact = torch.linalg.eigvalsh(of)
    wanted = torch.stack([(exact < level).to(F64).mean(1) for level in levels], 1)
    spectrum = found(of, probes=20, steps=60)
    assert (spectrum.mass_below(levels) - wanted).abs().max() < 0.03
    torch.testing.assert_close(spectrum.mass_below(0.6), spectrum.mass_below(levels)[:, 1])
    assert spectrum.mass_below(8.0).tolist() == pytest.approx([1, 1])


def test_first_probes_stay_when_there_are_more_and_groups_change_nothing():
    of = matrix()
    many, few, grouped = found(of), found(of, probes=3), found(of, at_once=3)
    assert (many.nodes[:3] - few.nodes).abs().max() < 1e-9
    assert (many.nodes - grouped.nodes).abs().max() < 1e-9
    assert (many.weights - grouped.weights).abs().max() < 1e-9


def test_a_member_has_the_same_spectrum_in_every_ensemble():
    of = matrix()
    alone = found(of[1:], steps=20)
    together = found(of, steps=20)
    assert (alone.nodes - together.nodes[:, 1:]).abs().max() < 1e-9


def test_a_member_that_is_not_finite_spoils_no_other():
    of = matrix()
    wanted = found(of).mass_below(0.5)
    of[0, 5, 5] = torch.nan
    spectrum = found(of)
    assert spectrum.nodes[:, 0].isnan().all()
    torch.testing.assert_close(spectrum.mass_below(0.5)[1], wanted[1])


def test_without_reorthogonalisation_the_density_is_the_same():
    of, grid = matrix(), torch.linspace(-2, 9, 200, dtype=F64)
    plain = found(of, steps=60, reorthogonalise=False).density(grid, 0.1)
    kept = found(of, steps=60).density(grid, 0.1)
    assert torch.trapezoid((plain - kept).abs(), grid).max() < 0.02


def network() -> tuple[Layout, Tensor, Tensor, Tensor]:
    layout = Layout((10, 8, 4))
    inputs = torch.randn(60, 10, generator=seeded(1), dtype=F64)
    return layout, layout.initialise([0], dtype=F64), inputs, torch.arange(60) % 4


def network_loss(layout: Layout, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    (weight, bias), (last, offset) = layout.views(theta)
    logits = torch.tanh(inputs @ weight + bias[:, None]) @ last + offset[:, None]
    chosen = logits.gather(2, targets.expand(len(theta), -1).unsqueeze(2)).squeeze(2)
    return (logits.logsumexp(2) - chosen).mean(1)


def test_the_spectrum_of_a_network_is_that_of_its_dense_hessian():
    layout, theta, *data = network()

    def loss(at: Tensor) -> Tensor:
        return network_loss(layout, at, *data)

    spectrum = spectral_density(
        lambda vectors: hessian_vector_product(loss, theta, vectors),
        theta,
        probes=30,
        steps=30,
        source=seeded(),
    )
    exact = torch.linalg.eigvalsh(Autograd(loss).curvature(theta).hessian)[0]
    nodes, weights = (part.flatten() for part in spectrum)
    spread = float(exact.std())
    assert wasserstein_distance(exact, nodes, None, weights) < 0.1 * spread
    assert spectrum.nodes.max().item() == pytest.approx(float(exact[-1]), abs=1e-9)
    assert spectrum.nodes.min().item() == pytest.approx(float(exact[0]), abs=1e-9)


def test_the_density_is_that_of_curvlinops():
    """Both smooth the same spectrum with the same width; they differ by their probes."""
    from curvlinops import HessianLinearOperator  # loads for seconds
    from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum

    layout, theta, inputs, targets = network()
    model = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    torch.nn.utils.vector_to_parameters(theta[0], model.to(F64).parameters())
    operator = HessianLinearOperator(
        model,
        torch.nn.CrossEntropyLoss(),
        list(model.parameters()),
        [(inputs, targets)],
        check_deterministic=False,
    )
    torch.manual_seed(0)
    ends, steps, kappa, margin = (-0.2, 1.5), 12, 3.0, 0.05
    grid, wanted = lanczos_approximate_spectrum(
        operator, steps, 300, 60, kappa, boundaries=ends, margin=margin
    )
    half = (ends[1] - ends[0]) * (1 + 2 * margin) / 2
    width = half * 2 / (steps - 1) / math.sqrt(8 * math.log(kappa))
    spectrum = spectral_density(
        lambda vectors: hessian_vector_product(
            lambda at: network_loss(layout, at, inputs, targets), theta, vectors
        ),
        theta,
        probes=60,
        steps=steps,
        source=seeded(),
    )
    assert torch.trapezoid((spectrum.density(grid, width)[0] - wanted).abs(), grid) < 0.05


def test_misuse_is_named():
    of = matrix(1)
    with pytest.raises(ValueError, match="probes and at_once must be at least 1, got 0 and None"):
        found(of, probes=0)
    with pytest.raises(ValueError, match="probes and at_once must be at least 1, got 2 and 0"):
        found(of, probes=2, at_once=0)
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        found(of, probes=1, steps=2).density(torch.zeros(1), 0)
