"""One gradient step of 32 networks 100-n-10, each on its own minibatch of 100, float32."""

from __future__ import annotations

import importlib.util
import statistics
from typing import Any

import pytest
import torch

from reproductions.optim.layout import Layout

from . import ensemble_peers as peers
from .conftest import THREADS
from .recording import hold, report, side_by_side

MEMBERS, BATCH, INPUTS, OUTPUTS = 32, 100, 100, 10
LOOP_TARGETS = {25: 6.0, 100: 4.0, 500: 2.4}
STEPS = {25: 10, 100: 5, 500: 2}  # per round: short rounds meet the same weather
MAKERS: dict[str, tuple[peers.Maker, str]] = {
    "torch.optim loop": (peers.loop, "torch"),
    "stacked autograd": (peers.autograd, "torch"),
    "torch.func.vmap": (peers.vmap, "torch"),
    "jax": (peers.jax, "jax"),
}


def contenders(hidden: int, steps: int) -> dict[str, peers.Contender]:
    """Return ours and every peer that is installed, from one start on one set of minibatches."""
    layout, source = Layout((INPUTS, hidden, OUTPUTS)), torch.Generator().manual_seed(0)
    inputs = torch.rand(MEMBERS, BATCH, INPUTS, generator=source)
    targets = torch.randint(0, OUTPUTS, (MEMBERS, BATCH), generator=source)
    start = layout.initialise(range(MEMBERS))
    makers = {"ours": peers.ours} | {name: maker for name, (maker, _) in MAKERS.items()}
    if importlib.util.find_spec("jax") is None:
        print("\njax is not installed (pip install '.[bench]'): compared without it")
        del makers["jax"]
    made = {name: make(layout, start, inputs, targets, steps) for name, make in makers.items()}
    made["products"] = (peers.products(layout, start, inputs, steps), lambda: start)
    return made


@pytest.mark.parametrize("hidden", LOOP_TARGETS)
def test_contenders_make_the_same_steps(hidden: int):
    made = contenders(hidden, steps=2)
    made["ours"][0]()
    for name, (run, parameters) in made.items():
        if name not in ("ours", "products"):
            run()
            assert (parameters() - made["ours"][1]()).abs().max() < 1e-5, name


@pytest.mark.benchmark_run
@pytest.mark.parametrize("hidden", LOOP_TARGETS)
def test_ensemble_step_is_faster_than_its_peers(benchmark: Any, hidden: int):
    steps = STEPS[hidden]
    made = {name: run for name, (run, _) in contenders(hidden, steps).items()}
    ours = made.pop("ours")
    seconds = side_by_side(benchmark, ours, made)
    share = statistics.median(seconds["products"]) / statistics.median(seconds["ours"])
    versions = {name: package for name, (_, package) in MAKERS.items() if name in made}
    least = {
        "torch.optim loop": LOOP_TARGETS[hidden],
        "stacked autograd": 1.2,
        "torch.func.vmap": 1.0,
        "jax": 1.0,
    }
    entry = report(
        f"ensemble step {INPUTS}-{hidden}-{OUTPUTS}",
        seconds,
        per=MEMBERS * steps,
        unit="member step",
        versions=versions,
        shapes={"members": MEMBERS, "batch": BATCH, "widths": [INPUTS, hidden, OUTPUTS]},
        threads=THREADS,
        targets=least,
        share_of_bmm_rate=round(share, 3),
    )
    print(f"  share of the machine's own bmm rate at these shapes: {share:.0%}")
    benchmark.extra_info.update({name: peer["ratio"] for name, peer in entry["peers"].items()})
    hold(entry, least)
