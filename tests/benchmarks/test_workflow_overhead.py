"""What a run of a room costs beside its experiments: Snakemake, imports, figures, verdict, report."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from importlib import metadata
from pathlib import Path

import pytest

from reproductions.harness.tables import read_provenance

from .conftest import THREADS
from .recording import asked, keep, processor

ROOT = Path(__file__).resolve().parents[2]
PAPER, SCALE = "reddi2018adam", "laptop"
MOST_SECONDS = 20.0


def covered(intervals: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def test_covered_counts_overlaps_once():
    assert covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.4)]) == pytest.approx(4.0)


@pytest.mark.benchmark_run
def test_what_is_not_an_experiment_is_short(tmp_path: Path):
    config = [f"scale={SCALE}", f"papers={PAPER}", f"results={tmp_path}"]
    command = [sys.executable, "-m", "snakemake", "--cores", str(THREADS), "--config", *config]
    subprocess.run(  # the data set is fetched once a machine, whatever the room then does with it
        [*command, "--", f"{tmp_path}/data/mnist.npz"], cwd=ROOT, check=True, capture_output=True
    )
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    wall = time.perf_counter() - start
    intervals = []
    for table in (tmp_path / SCALE / PAPER / "tables").glob("*.parquet"):
        about = read_provenance(table)
        begin = datetime.fromisoformat(about["started"]).timestamp()
        intervals.append((begin, begin + about["wall_seconds"]))
    experiments = covered(intervals)
    overhead = wall - experiments
    print(f"\n{PAPER} at {SCALE} scale: {wall:.1f} s, of which no experiment {overhead:.1f} s")
    if asked("REPRODUCTIONS_RECORD_BENCHMARKS"):
        keep(
            {
                "name": f"workflow overhead, {PAPER} at {SCALE} scale",
                "ours": {"seconds": overhead, "version": metadata.version("snakemake")},
                "peers": {},
                "unit": "one run, data set in the cache",
                "rounds": 1,
                "threads": THREADS,
                "shapes": {"experiments": len(intervals), "experiment_seconds": experiments},
                "targets": {"most seconds": MOST_SECONDS},
                "machine": {"processor": processor(), "cores": THREADS},
            }
        )
    if asked("REPRODUCTIONS_BENCHMARK_TARGETS"):
        assert overhead <= MOST_SECONDS
