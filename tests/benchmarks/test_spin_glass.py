"""Energy and gradient of many starts on one 3-spin tensor, float32, against torch.einsum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reproductions.problems.spin_glass_descent import SpinGlass, draw_couplings, random_starts

from .conftest import THREADS
from .recording import hold, report, side_by_side

SHAPES = [(100, 200), (50, 500), (250, 64)]  # spins, starts
TARGETS = {"einsum, raw tensor": 2.0, "einsum, symmetrised": 1.0, "autograd of einsum": 1.0}
WORK = 2e9  # about as many additions and products of ours a round
Gradient = Callable[[], tuple[Tensor, Tensor]]


def raw(couplings: Tensor, theta: Tensor) -> Gradient:
    """Contract the tensor as drawn: two of the three derivatives share their first product."""

    def gradient() -> tuple[Tensor, Tensor]:
        last = torch.einsum("ijk,sk->ijs", couplings, theta)
        first = torch.einsum("ijs,sj->si", last, theta)
        middle = torch.einsum("ijs,si->sj", last, theta)
        other = torch.einsum("ijk,si->jks", couplings, theta)
        grad = (first + middle + torch.einsum("jks,sj->sk", other, theta)) / theta.shape[1]
        return (grad * theta).sum(1) / (3 * theta.shape[1]), grad

    return gradient


def symmetrised(couplings: Tensor, theta: Tensor) -> Gradient:
    """Contract a tensor symmetrised beforehand: one derivative is a third of the gradient."""
    half = couplings + couplings.permute(1, 0, 2) + couplings.permute(2, 0, 1)
    whole = (half + half.transpose(1, 2)) / 6

    def gradient() -> tuple[Tensor, Tensor]:
        inner = torch.einsum("ijk,sk->ijs", whole, theta)
        grad = torch.einsum("ijs,sj->si", inner, theta) * (3 / theta.shape[1])
        return (grad * theta).sum(1) / (3 * theta.shape[1]), grad

    return gradient


def differentiated(couplings: Tensor, theta: Tensor) -> Gradient:
    """Write the energy alone and leave the gradient to autograd."""

    def gradient() -> tuple[Tensor, Tensor]:
        own = theta.detach().requires_grad_()
        inner = torch.einsum("ijk,sk->ijs", couplings, own)
        energy = torch.einsum("ijs,sj,si->s", inner, own, own) / own.shape[1] ** 2
        (grad,) = torch.autograd.grad(energy.sum() * own.shape[1], own)
        return energy.detach(), grad

    return gradient


PEERS = dict(zip(TARGETS, (raw, symmetrised, differentiated), strict=True))


def contenders(
    spins: int, starts: int, dtype: torch.dtype = torch.float32
) -> tuple[Gradient, dict[str, Gradient]]:
    """Return ours and every peer, on one tensor from the same starts."""
    source = torch.Generator().manual_seed(0)
    couplings = draw_couplings(spins, source).to(dtype)
    theta = random_starts(spins, starts, source).to(dtype)
    problem, out = SpinGlass.of([couplings]), torch.empty_like(theta)
    peers = {name: make(couplings, theta) for name, make in PEERS.items()}
    return (lambda: problem.gradient(theta, out=out)), peers


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-10), (torch.float32, 3e-5)])
def test_contenders_find_the_same(dtype: torch.dtype, off: float):
    ours, peers = contenders(31, 20, dtype)
    energy, grad = ours()
    for name, peer in peers.items():
        theirs, its_grad = peer()
        assert (theirs - energy).abs().max() < off * energy.abs().max(), name
        assert (its_grad - grad).abs().max() < off * grad.abs().max(), name


@pytest.mark.benchmark_run
@pytest.mark.parametrize(("spins", "starts"), SHAPES)
def test_folded_gradient_is_faster_than_einsum(benchmark: Any, spins: int, starts: int):
    ours, peers = contenders(spins, starts)
    times = max(1, round(WORK / (spins**3 * starts)))

    def repeated(run: Gradient) -> Callable[[], None]:
        return lambda: [run() for _ in range(times)] and None

    seconds = side_by_side(
        benchmark, repeated(ours), {name: repeated(peer) for name, peer in peers.items()}
    )
    entry = report(
        f"spin-glass gradient {spins} x {starts}",
        seconds,
        per=times,
        unit="gradient of all starts",
        versions=dict.fromkeys(peers, "torch"),
        shapes={"spins": spins, "starts": starts, "tensors": 1},
        threads=THREADS,
        targets=TARGETS,
    )
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, TARGETS)
