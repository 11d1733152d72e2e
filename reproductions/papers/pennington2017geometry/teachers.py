"""Networks on random data: energies of minimisers, and index against energy of critical points.

Every member has its own inputs, targets and start, all standard normal (the weights over the root of
their fan-in), from generators keyed by its seed, so that runs of any number of members agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.critical_points import assess
from reproductions.optim.device import generator
from reproductions.optim.first_order import adam
from reproductions.optim.marquardt import minimise
from reproductions.optim.transform import check_hyper
from reproductions.problems.two_layer import TwoLayer

UNITS = {
    "energy": "1", "gradient_square": "1", "relative_residual": "1", "negative": "1",
    "index": "1", "steps": "1", "largest_weight": "1", "linear_energy": "1", "start_energy": "1",
}  # fmt: skip
EXAMPLES, WEIGHTS, TARGET = 11, 12, 13  # purposes of generators
TOGETHER = {"cpu": 64, "cuda": 2048}  # members of first-order descents
SEARCHED = {"cpu": 22, "cuda": 4096}  # of searches: on a CPU their Hessians should stay small
CHECKED = 20  # steps between looks at who has arrived
Progress = Callable[..., None]


def network(
    width: int, examples: int, seeds: Sequence[int], root_seed: int, device: str,
    activation: str = "tanh",
) -> tuple[TwoLayer, Tensor]:  # fmt: skip
    """Return square networks on their own data, and their starts (E, P)."""
    shape = 2, width, examples
    data = [_normal(shape, root_seed, seed, examples, EXAMPLES) for seed in seeds]
    weights = [_normal((2 * width**2,), root_seed, seed, examples, WEIGHTS) for seed in seeds]
    inputs, targets = torch.stack(data, 1).to(device)
    theta = torch.stack(weights).to(device) / width**0.5
    return TwoLayer(inputs, targets, width, activation), theta


def _normal(shape: tuple[int, ...], *key: int) -> Tensor:
    return torch.randn(shape, generator=generator(*key), dtype=torch.float64)


def minimisers(
    width: int, examples: Sequence[int], seeds: int, rate: float, first_steps: int,
    second_steps: int, cuts: Sequence[float], device: str, root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Descend on the loss with Adam, then with Hessians; add the first point to pass each cut.

    Where no point of either descent passed, the last one is added.
    """
    rows = Rows(UNITS)
    for done, count in enumerate(examples):
        net, theta = network(width, count, range(seeds), root_seed, device)
        where = {"phi": 2 * width / count, "examples": count, "width": width}
        linear = _linear_energy(net)
        rows.add(arm="linear", quantity="linear_energy", value=linear, seed=np.arange(seeds),
                 **where)  # fmt: skip
        theta, first, passed = _descend(net, theta, rate, first_steps, cuts)
        made = torch.zeros(seeds, dtype=torch.int64, device=theta.device)
        for number, cut in enumerate(cuts):
            theta, more = minimise(net, theta, "loss", steps=second_steps, tolerance=cut**0.5)
            made = made + more
            at = torch.where(passed[number].unsqueeze(1), first[number], theta)
            _add(rows, "minimiser", net, at, made, np.arange(seeds), {**where, "cut": cut})
            share = (done + (number + 1) / len(cuts)) / len(examples)
            progress(share, f"{count} examples, |gradient|^2 below {cut:g}")
    return rows


def _linear_energy(net: TwoLayer) -> np.ndarray:
    """Return the least energy of linear networks on the same data: an ordinary regression."""
    fit = torch.linalg.lstsq(net.inputs.mT, net.targets.mT).solution
    left = net.inputs.mT @ fit - net.targets.mT
    return (left.square().mean((1, 2)) / 2).cpu().numpy()


def _descend(
    net: TwoLayer, theta: Tensor, rate: float, steps: int, cuts: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Descend with Adam, its rate falling to zero in a line.

    Returns:
        the last theta (E, P), the first whose |g|^2 was at most each cut (C, E, P), and whether
        there was one (C, E).
    """
    limits = theta.new_tensor(cuts).unsqueeze(1)
    parts = []
    for which in torch.arange(len(theta), device=theta.device).split(TOGETHER[theta.device.type]):
        own, at = net.part(which), theta[which]
        method = adam(rate, debias=True, eps=1e-8)
        state, first = method.init(at), at.expand(len(cuts), -1, -1).clone()
        passed = torch.zeros(first.shape[:2], dtype=torch.bool, device=at.device)
        for step in range(steps):
            gradient = own.gradient(at)[1]
            new = (gradient.square().sum(1) <= limits) & ~passed
            if new.any():
                first, passed = torch.where(new.unsqueeze(2), at, first), passed | new
            change, state = method.update(gradient, state, at)
            at = at + change * (1 - step / steps)
        parts.append((at, first, passed))
    last, firsts, passes = zip(*parts, strict=True)
    return torch.cat(last), torch.cat(firsts, 1), torch.cat(passes, 1)


def critical_points(
    width: int, examples: Sequence[int], runs: int, rate: float, descent_steps: int,
    search_steps: int, cuts: Sequence[float], device: str, root_seed: int, progress: Progress,
) -> Rows:  # fmt: skip
    """Stop descents at random losses, then search for critical points from there.

    The row's `cut` is the |gradient|^2 that the search had to pass; arm "trajectory" has none.
    """
    check_hyper(lr=rate)
    rows, together = Rows(UNITS), SEARCHED[torch.device(device).type]
    starts = [(count, seed) for count in examples for seed in range(0, runs, together)]
    for done, (count, first) in enumerate(starts):
        seeds = range(first, min(first + together, runs))
        net, theta = network(width, count, seeds, root_seed, device)
        theta = _stop_at_random(net, theta, rate, descent_steps, seeds, root_seed, count)
        where = {"phi": 2 * width / count, "examples": count, "width": width}
        made = torch.zeros(len(seeds), dtype=torch.int64, device=theta.device)
        seed = np.array(seeds)
        _add(rows, "trajectory", net, theta, made, seed, {**where, "cut": 1.0})
        for cut in cuts:
            theta, more = minimise(net, theta, "gradient", steps=search_steps, tolerance=cut**0.5)
            made = made + more
            _add(rows, "searched", net, theta, made, seed, {**where, "cut": cut})
        progress((done + 1) / len(starts), f"{count} examples, {seeds.stop} of {runs} runs")
    return rows


def _stop_at_random(
    net: TwoLayer, theta: Tensor, rate: float, steps: int, seeds: Sequence[int], root_seed: int,
    count: int,
) -> Tensor:  # fmt: skip
    """Descend plainly until the loss is below a random share of the first one, or steps are spent.

    Source: Pennington and Bahri 2017, section 6.4: uniform between 0 and the initial loss.
    """
    shares = [
        torch.rand((), generator=generator(root_seed, seed, count, TARGET), dtype=torch.float64)
        for seed in seeds
    ]
    target = net.loss(theta) * torch.stack(shares).to(theta.device)
    theta, running = theta.clone(), torch.arange(len(theta), device=theta.device)
    own, at, goal = net, theta.clone(), target
    for step in range(steps):
        loss, gradient = own.gradient(at)
        there = loss <= goal
        if step % CHECKED == 0 and there.any():
            theta[running] = at
            running, at, goal = running[~there], at[~there], goal[~there]
            if not len(running):
                return theta
            own, gradient, there = net.part(running), gradient[~there], there[~there]
        at = at - rate * gradient * ~there.unsqueeze(1)
    theta[running] = at
    return theta


def _add(
    rows: Rows, arm: str, net: TwoLayer, theta: Tensor, made: Tensor, seed: np.ndarray, where: dict
) -> None:
    """Add what is at the members' points."""
    found = assess(net, theta)
    negative = (found.eigenvalues < 0).sum(1).cpu().numpy()
    numbers = {
        "energy": net.energy(theta),
        "gradient_square": found.gradient_norm**2,
        "relative_residual": found.relative_residual,
        "steps": made,
        "largest_weight": theta.abs().amax(1),
    }
    for quantity, values in numbers.items():
        rows.add(arm=arm, quantity=quantity, value=values.cpu().numpy(), seed=seed, **where)
    rows.add(arm=arm, quantity="negative", value=negative, seed=seed, **where)
    share = negative / found.eigenvalues.shape[1]
    rows.add(arm=arm, quantity="index", value=share, seed=seed, **where)
