"""Where and how reproducibly tensors are computed: devices, generators, determinism."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

import torch


def resolve(name: str = "auto") -> torch.device:
    """Return the device called name: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1".

    Raises:
        ValueError: naming the device that is not there or that no one knows.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not there: {_cuda_present()}")
    return device


def _cuda_present() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        return "torch sees no CUDA device"
    return f"torch sees {count} CUDA device{'s' if count > 1 else ''} (cuda:0 to cuda:{count - 1})"


def describe(device: torch.device) -> dict[str, Any]:
    """Return what a reader needs to judge a number: device, versions, threads, determinism."""
    facts: dict[str, Any] = {
        "device": str(device),
        "name": platform.processor() or platform.machine(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }
    if device.type == "cuda":
        facts["name"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    return facts


def generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose numbers depend on the integers of the key alone.

    A key is, say, (root seed, member's seed, purpose): streams of different keys are unrelated,
    and a member draws the same numbers whatever else is in its ensemble and on every device.

    Raises:
        ValueError: without a key, or for a part that is not an integer.
    """
    if not key or any(isinstance(part, bool) or int(part) != part for part in key):
        raise ValueError(f"key must be one or more integers, got {key!r}")
    text = ",".join(str(int(part)) for part in key)
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def deterministic(*, on: bool = True, tf32: bool = False) -> None:
    """Ask torch for the same result every time, and for full float32 products unless tf32.

    CUDA reads CUBLAS_WORKSPACE_CONFIG when it starts: set it to ":4096:8" in the environment.
    """
    torch.use_deterministic_algorithms(on)
    torch.backends.cudnn.deterministic = on
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32


def set_threads(count: int) -> None:
    """Let torch's operators use count threads.

    Raises:
        ValueError: where count is not positive.
    """
    if count < 1:
        raise ValueError(f"threads must be at least 1, got {count}")
    torch.set_num_threads(count)
