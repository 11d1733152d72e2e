"""Time contenders side by side and keep the ratios.

Only ratios are judged, never seconds, and only where REPRODUCTIONS_BENCHMARK_TARGETS=1 asks for
it. REPRODUCTIONS_RECORD_BENCHMARKS=1 writes results/recorded/benchmarks.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from reproductions.harness.files import write_json

ROUNDS = 30
RECORD = Path(__file__).resolve().parents[2] / "results" / "recorded" / "benchmarks.json"


def asked(variable: str) -> bool:
    """Tell whether an environment variable is set to 1."""
    return os.environ.get(variable, "") == "1"


def side_by_side(
    benchmark: Any,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
) -> dict[str, list[float]]:
    """Return each contender's seconds per round, rounds interleaved A B C D A B C D ...

    pytest-benchmark times ours; its set-up before every round plays and times the peers, so
    whatever else the machine does meets all of them alike.

    Args:
        rounds: fewer where a round takes many seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    contenders = {"ours": ours, **peers}
    for run in contenders.values():  # compile, allocate, warm
        run()
        run()

    def play_peers() -> None:
        for name, run in peers.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)

    def timed() -> None:
        start = time.perf_counter()
        ours()
        seconds["ours"].append(time.perf_counter() - start)

    benchmark.pedantic(timed, setup=play_peers, rounds=rounds, iterations=1, warmup_rounds=0)
    return seconds


def ratio(seconds: Mapping[str, list[float]], peer: str) -> float:
    """Return how many times longer the peer took, ratio of medians."""
    return statistics.median(seconds[peer]) / statistics.median(seconds["ours"])


def report(
    name: str,
    seconds: Mapping[str, list[float]],
    *,
    per: int,
    unit: str,
    versions: Mapping[str, str],
    **facts: Any,
) -> dict[str, Any]:
    """Print one benchmark and, if asked, keep it.

    Args:
        per: units of work in a round (member steps, say); seconds are told per unit.
        unit: the name of that unit.
        versions: peer -> distribution whose version it ran.
        facts: shapes, threads, target ratios and whatever else belongs to the entry.
    """
    medians = {who: statistics.median(rounds) / per for who, rounds in seconds.items()}
    peers = {
        who: {
            "seconds": medians[who],
            "ratio": round(ratio(seconds, who), 3),
            "version": f"{package} {metadata.version(package)}",
        }
        for who, package in versions.items()
    }
    entry = {
        "name": name,
        "ours": {"seconds": medians["ours"], "version": f"torch {metadata.version('torch')}"},
        "peers": peers,
        "unit": f"one {unit}",
        "rounds": len(seconds["ours"]),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        **facts,
    }
    print(f"\n{name}: ours {medians['ours'] * 1e6:.3g} us per {unit}")
    for who, peer in peers.items():
        print(f"  {who:>16}: {peer['seconds'] * 1e6:9.3g} us, {peer['ratio']:.2f} times ours")
    if asked("REPRODUCTIONS_RECORD_BENCHMARKS"):
        keep(entry)
    return entry


def keep(entry: Mapping[str, Any], path: Path = RECORD) -> None:
    """Put an entry in place of the one of its name; the others stay."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"benchmarks": []}
    by_name = {old["name"]: old for old in known["benchmarks"]} | {entry["name"]: dict(entry)}
    write_json(path, {"version": 1, "benchmarks": [by_name[name] for name in sorted(by_name)]})


def processor() -> str:
    """Return the name of the processor, as its maker calls it where that can be found."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hold(entry: Mapping[str, Any], targets: Mapping[str, float]) -> None:
    """Where targets are asked for, fail on a ratio below its own."""
    if not asked("REPRODUCTIONS_BENCHMARK_TARGETS"):
        return
    ratios = {who: peer["ratio"] for who, peer in entry["peers"].items()}
    missed = {who: (ratios[who], at) for who, at in targets.items() if ratios.get(who, at) < at}
    assert not missed, f"{entry['name']}: (ratio, target) of {missed}"
