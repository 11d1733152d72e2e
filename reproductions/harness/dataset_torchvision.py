"""Import torchvision beside any build of torch, and read data sets through its own classes."""

from __future__ import annotations

import importlib
import importlib.util
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_formats import encode_cifar
from reproductions.harness.dataset_registry import DataSpec

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
ANSWER_SECONDS = 5.0
STALL_SECONDS = 20.0

_declared: list[Any] = []  # a torch.library.Library withdraws its operators when it is collected


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled extension does not load.

    torchvision's wheels of the public index are built for CUDA. Beside a CPU-only torch the
    extension cannot be loaded, and the import fails on two operators that only the extension
    declares. Their schemas are all the import needs, so they are declared here.

    Raises:
        ImportError: torchvision or torch is not installed.
    """
    if "torchvision" not in sys.modules and not _extension_loads():
        _declare_operators()
    return importlib.import_module("torchvision")


def _extension_loads() -> bool:
    """Tell whether torchvision's compiled extension loads beside this torch."""
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        raise ImportError("torchvision is not installed")
    folder = Path(found.submodule_search_locations[0])
    for library in sorted([*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]):
        try:
            torch.ops.load_library(str(library))
            return True
        except OSError:
            continue
    return False


def _declare_operators() -> None:
    """Declare the schemas of the two operators, once."""
    import torch

    if _declared:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in OPERATORS:
        library.define(schema)
    _declared.append(library)


def from_torchvision(spec: DataSpec, folder: Path) -> dict[str, bytes]:
    """Download through torchvision's own class and return the official files' content.

    Args:
        spec: the data set.
        folder: an empty folder to download into; the caller removes it.

    Raises:
        SourceFailed: torchvision is not installed, its hosts do not answer, a download broke off.
    """
    try:
        datasets = import_torchvision().datasets
    except (ImportError, RuntimeError) as error:
        raise SourceFailed(f"cannot be imported ({error})") from error
    kind = getattr(datasets, spec.torchvision)
    if not any_answers(_addresses(spec, kind), ANSWER_SECONDS):
        raise SourceFailed(f"its hosts cannot be reached (asked for {ANSWER_SECONDS:g} s at most)")
    try:
        with socket_timeout(STALL_SECONDS):
            return _download(spec, kind, folder)
    except (OSError, RuntimeError, EOFError) as error:
        raise SourceFailed.of(error) from error


def _addresses(spec: DataSpec, kind: Any) -> list[str]:
    """Return where a torchvision class downloads from."""
    if spec.layout == "mat":
        return [kind.split_list[part][0] for part in ("train", "test")]
    return list(getattr(kind, "mirrors", None) or [kind.url])


def _download(spec: DataSpec, kind: Any, folder: Path) -> dict[str, bytes]:
    """Return the official files of a torchvision class after its own download."""
    if spec.layout == "mat":
        for part in ("train", "test"):
            kind(str(folder), split=part, download=True)
        return {item.name: (folder / item.name).read_bytes() for item in spec.files}
    train = kind(str(folder), train=True, download=True)
    if spec.layout == "pickle":
        home = folder / kind.base_folder
        return {item.name: (home / item.name).read_bytes() for item in spec.files}
    if spec.layout == "idx":
        raw = folder / kind.__name__ / "raw"
        return {item.name: (raw / item.name).read_bytes() for item in spec.files}
    test = kind(str(folder), train=False, download=False)
    size = len(train.data) // (len(spec.files) - 1)
    content = {
        raw.name: encode_cifar(train.data[at : at + size], train.targets[at : at + size])
        for raw, at in zip(spec.files[:-1], range(0, len(train.data), size), strict=True)
    }
    return content | {spec.files[-1].name: encode_cifar(test.data, test.targets)}


def any_answers(addresses: list[str], seconds: float) -> bool:
    """Tell whether one of the addresses answers at all, in bounded time.

    A blackholed host costs a connection timeout for each of its addresses; asked in threads that
    nobody waits for, all of them together cost `seconds` at most. Any answer counts, an error
    status too: only the download itself can say more.
    """
    answered, finished = threading.Event(), threading.Semaphore(0)

    def ask(address: str) -> None:
        try:
            question = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(question, timeout=seconds).close()
            answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            pass
        finally:
            finished.release()

    for address in addresses:
        threading.Thread(target=ask, args=(address,), daemon=True).start()
    deadline = time.monotonic() + seconds
    for _ in addresses:
        left = max(0.0, deadline - time.monotonic())
        if answered.is_set() or not finished.acquire(timeout=left):
            break
    return answered.is_set()


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Let no socket opened in the block wait longer than this for its next byte."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
