"""Obtain data sets once, verified, and load them as arrays."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reproductions.harness.dataset_cache import (
    cache_folder,
    fill_cache,
    origin,
    read_cache,
    throwaway,
    verify,
)
from reproductions.harness.dataset_failures import (
    CACHE_VARIABLE,
    NotDelivered,
    SourceFailed,
    storage_errors,
)
from reproductions.harness.dataset_formats import Arrays, decode
from reproductions.harness.dataset_registry import REAL, SYNTHETIC, DataSpec
from reproductions.harness.dataset_sources import sources_of
from reproductions.harness.dataset_synthetic import LICENCE, SOURCE, synthetic
from reproductions.harness.dataset_torchvision import import_torchvision as import_torchvision
from reproductions.harness.errors import UserError, nearest
from reproductions.harness.files import atomic_path

NAMES = (*REAL, *SYNTHETIC)
FORMAT = 1
Say = Callable[[str], object]


class Dataset(NamedTuple):
    """A data set with where it came from.

    Images are uint8, (N, 28, 28) or (N, 32, 32, 3); labels are int64 (N,). `sha256` is of the
    decoded arrays, so it does not depend on the source. `missing` says why an optional set could
    not be had; it has no images then.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: str
    source: str
    licence: str
    synthetic: bool
    missing: str | None = None

    @property
    def classes(self) -> int:
        """Return how many classes there are; labels count from 0."""
        return int(self.train_labels.max()) + 1

    def arrays(self) -> Arrays:
        """Return the four arrays alone."""
        return Arrays(self.train_images, self.train_labels, self.test_images, self.test_labels)

    def first(self, images: int, test_images: int) -> Arrays:
        """Return the first images of both parts with their labels.

        Raises:
            ValueError: where the set has fewer images, naming the argument.
        """
        for name, wanted, there in (
            ("images", images, len(self.train_images)),
            ("test_images", test_images, len(self.test_images)),
        ):
            if not 1 <= wanted <= there:
                raise ValueError(f"{name} must lie between 1 and {there}, got {wanted}")
        train, labels, test, test_labels = self.arrays()
        return Arrays(
            train[:images], labels[:images], test[:test_images], test_labels[:test_images]
        )


def fetch(name: str, path: Path, cache: Path | None = None, say: Say = print) -> Dataset:
    """Obtain a data set, verify it, and write it prepared for `load`.

    Real sets are read from the cache if they lie there, else asked for from each source in turn;
    one line says where the set came from. An interrupted fetch leaves nothing that looks finished.
    An optional set that no source delivers is written as missing, with the reason, so that all else
    can go on; another fetch asks again.

    Args:
        name: one of NAMES.
        path: the prepared file to write (.npz, not compressed).
        cache: folder of the raw files; default $REPRODUCTIONS_CACHE, else ~/.cache/reproductions.
        say: called with lines for people.
    Raises:
        UserError: unknown name, no source answers, a damaged file in the cache, a full disk, a
            folder that cannot be written. Nothing of the user's is deleted.
    """
    if name in REAL:
        dataset = _real(REAL[name], cache_folder(cache), say)
    elif name in SYNTHETIC:
        arrays = synthetic(name)
        dataset = Dataset(name, *arrays, arrays.digest(), SOURCE, LICENCE, True)
        say(f"{name}: {SOURCE}")
    else:
        raise UserError(f"no data set is called {name!r}{nearest(name, NAMES)}")
    if dataset.missing and (before := _held(Path(path))):
        say(f"{name}: {path} was prepared before and stays")
        return before
    with storage_errors(Path(path), "the prepared data", "choose another results folder"):
        _write(dataset, Path(path))
    return dataset


def _held(path: Path) -> Dataset | None:
    """Return the prepared set at a path, if there is a usable one with images."""
    try:
        dataset = load(path)
    except UserError:
        return None
    return None if dataset.missing else dataset


def _real(spec: DataSpec, cache: Path, say: Say) -> Dataset:
    """Return a real set from the cache, filled from the first source that delivers if need be."""
    checked = "sha256" if spec.digest else "md5"
    with storage_errors(cache, "the cache", f"set {CACHE_VARIABLE} to a folder elsewhere"):
        content = read_cache(spec, cache)
        if len(content) == len(spec.files):
            source = origin(spec, cache)
            say(f"{spec.title}: from the cache {cache / spec.name} ({source}), {checked} verified")
        else:
            try:
                content, source = _obtain(spec, cache, say)
            except NotDelivered as error:
                if not spec.optional:
                    raise
                return _missing(spec, cache, error.reasons, say)
            fill_cache(spec, cache, content, source)
            say(f"{spec.title}: from {source}, {checked} verified, kept in {cache / spec.name}")
    arrays = decode(spec, content)
    found = arrays.digest()
    if spec.digest is not None and found != spec.digest:
        raise UserError(f"the decoded arrays do not have the sha256 {spec.digest}", key=spec.name)
    return Dataset(spec.name, *arrays, found, source, spec.licence, False)


def _missing(spec: DataSpec, cache: Path, reasons: str, say: Say) -> Dataset:
    """Return the empty stand-in of an optional set that no source delivered, and say so."""
    say(
        f"{spec.title}: not available here, what needs it is not tested; to try again:"
        f" python -m reproductions fetch {spec.name} (it also looks for {_files(spec)} in"
        f" {cache / spec.name})"
    )
    images, labels = np.empty((0, 1, 1), np.uint8), np.empty(0, "<i8")
    arrays = Arrays(images, labels, images, labels)
    return Dataset(spec.name, *arrays, arrays.digest(), "none", spec.licence, False, reasons)


def _obtain(spec: DataSpec, cache: Path, say: Say) -> tuple[dict[str, bytes], str]:
    """Ask the sources in turn; return the verified official files and the source's name."""
    failed = []
    for source in sources_of(spec):
        say(f"{spec.title}: not in the cache, asking {source.name} ...")
        try:
            with throwaway(spec, cache) as folder:
                content = source.obtain(spec, folder)
            verify(spec, content)
            return content, source.name
        except SourceFailed as failure:
            failed.append(f"{source.name}: {failure}")
            say(f"{spec.title}: {failed[-1]}")
    raise NotDelivered(
        f"no source delivered {spec.title}.\n"
        + "".join(f"  {line}\n" for line in failed)
        + f"Either mend one of them, or put the official files (plain or .gz) here: {_files(spec)}",
        reasons="; ".join(failed),
        file=cache / spec.name,
    )


def _files(spec: DataSpec) -> str:
    return ", ".join(raw.name for raw in spec.files)


def _write(dataset: Dataset, path: Path) -> None:
    """Write the prepared file atomically; the same data gives the same bytes."""
    facts = {key: getattr(dataset, key) for key in FACTS} | {"format": FORMAT}
    if dataset.missing:
        facts["missing"] = dataset.missing
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **dataset.arrays()._asdict(), facts=np.array(json.dumps(facts)))


FACTS = ("name", "sha256", "source", "licence", "synthetic")


def load(path: Path) -> Dataset:
    """Read a prepared data set and check it against the checksum that it carries.

    Cost: reading and hashing, about 0.2 s for MNIST.

    Raises:
        UserError: the file is missing, cut short, damaged, or not a prepared data set.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            facts = json.loads(str(archive["facts"]))
            arrays = Arrays(*(archive[field] for field in Arrays._fields))
        known = {key: facts[key] for key in FACTS} | {"missing": facts.get("missing")}
    except FileNotFoundError as error:
        raise UserError("there is no such file; fetch the data set first", file=path) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        message = f"cut short or not a prepared data set ({error}); fetch it again"
        raise UserError(message, file=path) from error
    if facts["format"] != FORMAT:
        raise UserError("prepared by another version of the suite; fetch it again", file=path)
    if arrays.digest() != known["sha256"]:
        raise UserError("damaged: its arrays do not have the sha256 it carries", file=path)
    return Dataset(name=known.pop("name"), **arrays._asdict(), **known)


def area_average(images: np.ndarray, size: int) -> np.ndarray:
    """Shrink square images to size x size by averaging areas, end pixels counted by their share.

    Source: the "bilinear" shrink of Torch's image package of 2014, which Choromanska et al. (2015)
    and Dauphin et al. (2014) used. With s = S/size, out = A X A^T and A[i, j] = the length that
    [i s, (i+1) s] and [j, j+1] have in common, over s.

    Args:
        images: (N, S, S), or (N, S, S, C) with C colours, any real dtype; the unit is kept (divide
            uint8 pixels by 255 yourself).
        size: pixels along each side of the result, 1 to S.
    Returns:
        (N, size, size) or (N, size, size, C) float64.
    """
    if images.ndim == 4:
        colours = [area_average(images[..., k], size) for k in range(images.shape[3])]
        return np.stack(colours, -1)
    side = images.shape[-1]
    if images.ndim != 3 or images.shape[1] != side or not 1 <= size <= side:
        raise ValueError(f"images must be (N, S, S) and size 1 to S: {images.shape}, size {size}")
    edges = np.arange(size + 1) * (side / size)
    pixel = np.arange(side)
    shared = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(shared, 0.0, None) * (size / side)
    small = np.empty((len(images), size, size))
    for start in range(0, len(images), 4096):  # a whole set in float64 would take 0.4 GB
        part = slice(start, start + 4096)
        np.matmul(weights @ images[part].astype(np.float64), weights.T, out=small[part])
    return small
