"""Where a number comes from: code, settings, machine, cost."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow")
_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("reproductions", "configs")


def collect(
    settings: Mapping[str, Any],
    source_digest: str,
    data: Mapping[str, Any] | None,
    device: str,
    seeds: int | Iterable[int] | None,
    wall_seconds: float,
    started: str,
) -> dict[str, Any]:
    """Describe how a table came about, as plain JSON.

    Torch is described where the process has loaded it, and never imported for this.

    Args:
        settings: the resolved keyword arguments of the experiment.
        source_digest: digest of the sources that it imports.
        data: name and sha256 of its data set, or None.
        device: "cpu", "cuda", ...
        seeds: the seeds, or how many.
        wall_seconds: what it took.
        started: when it began, ISO 8601.
    """
    about = {
        "settings": settings,
        "source_digest": source_digest,
        **commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": _versions(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "device": device,
        **_torch_state(sys.modules.get("torch"), device),
        "data": data,
        "seeds": seeds,
        "started": started,
        "wall_seconds": round(float(wall_seconds), 3),
        "peak_memory_mib": _peak_memory(),
    }
    return plain(about)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def commit(root: Path = _ROOT) -> dict[str, Any]:
    """Return the commit of the sources and whether they differ from it.

    Both are None without git, without a commit, or where the suite is not a checkout of its own.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    head = _git(root, "rev-parse", "HEAD")
    if top is None or head is None or Path(top).resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    changed = _git(root, "status", "--porcelain", "--", *_SOURCES)
    return {"commit": head, "dirty": None if changed is None else bool(changed)}


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says, or None if it cannot."""
    # a hook's variables would point git at another repository
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, timeout=20, check=True, env=clean,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _torch_state(torch: ModuleType | None, device: str) -> dict[str, Any]:
    """Return what of torch's state changes numbers or time."""
    if torch is None:
        return {"threads": None, "determinism": None}
    backends = torch.backends
    state: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": backends.cudnn.deterministic,
            "cudnn_benchmark": backends.cudnn.benchmark,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
        },
    }
    if device.startswith("cuda") and torch.cuda.is_available():
        state["gpu"] = torch.cuda.get_device_name(device)
        state["cuda"] = torch.version.cuda
        state["gpu_driver"] = _gpu_driver()
        state["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return state


def _gpu_driver(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Return the version of the NVIDIA driver, where the system says it."""
    try:
        words = path.read_text(encoding="utf-8").splitlines()[0].split()
    except (OSError, IndexError):
        return None
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def _cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name."""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _peak_memory() -> float | None:
    """Return the peak resident memory of this process in MiB; None where there is no such count."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
