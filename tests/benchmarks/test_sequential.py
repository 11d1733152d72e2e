"""Steps of a problem of one variable: 16 lanes at once against an eager torch.optim.Adam loop."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
import torch

from reproductions.optim import native
from reproductions.optim.first_order import adam
from reproductions.optim.sequential import simulate
from reproductions.problems.online import OnlineProblem, reddi_online

from .conftest import THREADS
from .recording import hold, report, side_by_side

LANES, STEPS, LOOP_STEPS = 16, 101_000, 202
TARGET = 50.0


def lanes(steps: int, problem: OnlineProblem) -> torch.Tensor:
    """Run the suite's own loop, as torch's Adam, and return x before the last step."""
    transform = adam(0.001, 0.9, 0.99, eps=1e-8, debias=True)
    return simulate(problem, transform, 0.0, steps=steps, record_at=[steps]).iterate[-1]


def eager_loop(steps: int, problem: OnlineProblem) -> torch.Tensor:
    """Step torch.optim.Adam over the 16 lanes as one parameter and return x before the last step."""
    x = torch.nn.Parameter(torch.zeros(LANES, dtype=torch.float64))
    optimizer = torch.optim.Adam([x], lr=0.001, betas=(0.9, 0.99))
    before = x.detach().clone()
    for slope in problem.slopes(1, steps):
        before = x.detach().clone()
        x.grad = slope.clone()
        optimizer.step()
        x.data.clamp_(-1, 1)
    return before


def test_both_loops_reach_the_same_iterates():
    problem = reddi_online(LANES)
    torch.testing.assert_close(
        lanes(303, problem), eager_loop(303, problem), rtol=1e-12, atol=1e-13
    )


@pytest.mark.benchmark_run
def test_a_step_of_all_lanes_is_faster_than_an_eager_loop(benchmark: Any):
    if native.compiler() is None:
        pytest.skip("no C compiler: the loop runs eagerly")
    problem = reddi_online(LANES)
    native.build.cache_clear()
    start = time.perf_counter()
    lanes(STEPS, problem)
    first = time.perf_counter() - start
    seconds = side_by_side(
        benchmark,
        lambda: lanes(STEPS, problem),
        {"eager Adam loop": lambda: eager_loop(LOOP_STEPS, problem)},
    )
    per_step = {"ours": STEPS, "eager Adam loop": LOOP_STEPS}
    compiling = first - statistics.median(seconds["ours"])
    seconds = {who: [s / per_step[who] for s in rounds] for who, rounds in seconds.items()}
    entry = report(
        "sequential Adam, 16 lanes",
        seconds,
        per=1,
        unit="step of 16 lanes",
        versions={"eager Adam loop": "torch"},
        shapes={"lanes": LANES, "steps": STEPS},
        threads=THREADS,
        targets={"eager Adam loop": TARGET},
        first_call_extra_seconds=round(max(compiling, 0.0), 3),
    )
    print(f"  the first call takes {compiling:.2f} s more (tracing and compiling)")
    hold(entry, {"eager Adam loop": TARGET})
