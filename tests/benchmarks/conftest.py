"""Two threads for everybody, and no benchmark unless one is asked for by its path."""

from __future__ import annotations

import os

import pytest

THREADS = 2
# Peers read these when they are imported; the affinity below binds those that read neither.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(THREADS)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "benchmark_run: takes minutes and wants a quiet machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if any("benchmarks" in str(argument) for argument in config.invocation_params.args):
        return
    for item in items:
        if item.get_closest_marker("benchmark_run"):
            item.add_marker(pytest.mark.skip(reason="run it with make bench"))


@pytest.fixture(scope="session", autouse=True)
def two_threads() -> None:
    """Hold this process, and so every peer's pool of threads, to two cores."""
    import torch

    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:THREADS])
    torch.set_num_threads(THREADS)
