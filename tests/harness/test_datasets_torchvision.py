"""torchvision beside any torch, and data through torchvision's own classes (served from here)."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from reproductions.harness import dataset_torchvision as subject
from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_formats import decode, encode_cifar, encode_idx
from reproductions.harness.dataset_registry import CIFAR10, MNIST

ROOT = Path(__file__).parents[2]

AS_INSTALLED = ""
AFTER_A_FAILED_IMPORT = """
try:
    import torchvision
except RuntimeError:
    pass
"""
EXTENSION_DOES_NOT_LOAD = """
import torch
def refuse(path): raise OSError("undefined symbol")
torch.ops.load_library = refuse
"""
EXTENSION_LOADS = """
import torch
library = torch.library.Library("torchvision", "DEF")
def load(path):
    if hasattr(library, "loaded"):
        return
    library.loaded = True
    box = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        library.define(name + box)
    pools = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "qroi_align", "deform_conv2d")
    for name in pools:
        library.define(name + "(Tensor input) -> Tensor")
        library.define(f"_{name}_backward(Tensor grad) -> Tensor")
    library.define("_cuda_version() -> int")
    library.impl("_cuda_version", lambda: -1, "CompositeExplicitAutograd")
torch.ops.load_library = load
"""
IMPORT = """
from reproductions.harness import dataset_torchvision as subject
torchvision = subject.import_torchvision()
assert torchvision is subject.import_torchvision()
import torch
torchvision.datasets.MNIST, torchvision.transforms.ToTensor
torch.ops.torchvision.nms, torch.ops.torchvision.qnms
print("loads", torchvision.extension._has_ops(), "declared", len(subject._declared))
"""


def imported(situation: str) -> str:
    """Return what a new process says that imports torchvision through the helper."""
    done = subprocess.run(
        [sys.executable, "-c", situation + IMPORT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("situation", [AS_INSTALLED, AFTER_A_FAILED_IMPORT])
def test_torchvision_imports_as_installed_here(situation):
    pytest.importorskip("PIL")
    said = imported(situation)
    assert said in ("loads True declared 0", "loads False declared 1")


def test_torchvision_imports_where_its_extension_does_not_load():
    assert imported(EXTENSION_DOES_NOT_LOAD) == "loads False declared 1"


def test_nothing_is_declared_where_the_extension_loads():
    assert imported(EXTENSION_LOADS) == "loads True declared 0"


def test_a_missing_torchvision_is_a_source_that_failed(monkeypatch, tmp_path):
    monkeypatch.setattr(subject.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(SourceFailed, match="torchvision is not installed"):
        subject.from_torchvision(MNIST, tmp_path)


# ---- downloads, from a server of our own


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder on this machine; yields (folder, address)."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{web.server_port}/"
    web.shutdown()
    web.server_close()


def serve_mnist(monkeypatch, server) -> dict[str, bytes]:
    """Let torchvision's MNIST class download four tiny files; return their content."""
    folder, address = server
    draw = np.random.default_rng(0)
    content, resources = {}, []
    for raw, shape in zip(MNIST.files, [(6, 28, 28), (6,), (3, 28, 28), (3,)], strict=True):
        content[raw.name] = encode_idx(draw.integers(0, 10, shape, dtype=np.uint8))
        packed = gzip.compress(content[raw.name])
        (folder / f"{raw.name}.gz").write_bytes(packed)
        resources.append((f"{raw.name}.gz", hashlib.md5(packed).hexdigest()))
    kind = subject.import_torchvision().datasets.MNIST
    monkeypatch.setattr(kind, "mirrors", [address])
    monkeypatch.setattr(kind, "resources", resources)
    return content


def test_mnist_comes_through_torchvisions_own_class(monkeypatch, server, tmp_path):
    content = serve_mnist(monkeypatch, server)
    (tmp_path / "new").mkdir()
    assert subject.from_torchvision(MNIST, tmp_path / "new") == content


def test_a_broken_download_is_a_source_that_failed(monkeypatch, server, tmp_path):
    serve_mnist(monkeypatch, server)
    cut = server[0] / f"{MNIST.files[0].name}.gz"
    cut.write_bytes(cut.read_bytes()[:-5])
    with pytest.raises(SourceFailed, match="Error downloading train-images"):
        subject.from_torchvision(MNIST, tmp_path)


def test_cifar10_comes_through_torchvisions_own_class(monkeypatch, server, tmp_path):
    folder, address = server
    draw = np.random.default_rng(0)
    packed, expected, sums = io.BytesIO(), {}, []
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for raw in CIFAR10.files:
            images = draw.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
            labels = draw.integers(0, 10, 2).tolist()
            expected[raw.name] = encode_cifar(images.transpose(0, 2, 3, 1), labels)
            entry = {"data": images.reshape(2, -1), "labels": labels}
            sums.append([raw.name.removesuffix(".bin"), add(archive, raw.name[:-4], entry)])
        meta = add(archive, "batches.meta", {"label_names": [str(k) for k in range(10)]})
    (folder / "cifar.tar.gz").write_bytes(packed.getvalue())
    kind = subject.import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(kind, "url", f"{address}cifar.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
    monkeypatch.setattr(kind, "train_list", sums[:-1])
    monkeypatch.setattr(kind, "test_list", sums[-1:])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": meta})
    (tmp_path / "new").mkdir()
    content = subject.from_torchvision(CIFAR10, tmp_path / "new")
    assert content == expected
    assert decode(CIFAR10, content).train_images.shape == (10, 32, 32, 3)


def add(archive: tarfile.TarFile, name: str, entry: dict) -> str:
    """Add a pickle to CIFAR-10's archive and return its md5."""
    data = pickle.dumps(entry)
    member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
    return hashlib.md5(data).hexdigest()


def test_unreachable_hosts_fail_at_once(monkeypatch, tmp_path):
    kind = subject.import_torchvision().datasets.MNIST
    monkeypatch.setattr(kind, "mirrors", ["http://host.invalid/"])
    with pytest.raises(SourceFailed, match="cannot be reached"):
        subject.from_torchvision(MNIST, tmp_path)
    assert not list(tmp_path.iterdir())


def test_hosts_that_swallow_questions_cost_bounded_time(monkeypatch):
    def swallow(*args, **kwargs):
        time.sleep(0.8)
        raise TimeoutError("nothing ever came back")

    monkeypatch.setattr(subject.urllib.request, "urlopen", swallow)
    started = time.monotonic()
    assert not subject.any_answers(["http://a.invalid", "http://b.invalid"], seconds=0.2)
    assert time.monotonic() - started < 2.0


def test_an_error_status_is_an_answer(server):
    assert subject.any_answers([server[1] + "nothing-here"], seconds=5.0)
