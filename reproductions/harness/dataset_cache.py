"""The cache of official raw files: read, verified, filled so that nothing partial is ever seen."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from reproductions.harness.dataset_failures import CACHE_VARIABLE, SourceFailed
from reproductions.harness.dataset_registry import DataSpec, RawFile
from reproductions.harness.errors import UserError
from reproductions.harness.files import write_json

ORIGIN = "source.json"
THROWAWAY = ".fetching-"
STALE_SECONDS = 24 * 3600
BY_HAND = "files placed in the cache by hand"


def cache_folder(cache: Path | None = None) -> Path:
    """Return the cache: the argument, else the environment's, else one in the home folder."""
    chosen = cache or os.environ.get(CACHE_VARIABLE) or "~/.cache/reproductions"
    return Path(chosen).expanduser()


def complaint_about(raw: RawFile, content: bytes) -> str | None:
    """Return what is wrong with the content of an official file, or None if nothing is."""
    if raw.size is not None and len(content) < raw.size:
        return f"cut short: {len(content)} of {raw.size} bytes"
    for called, name, wanted in (
        ("sha256", "sha256", raw.sha256),
        ("SHA-1", "sha1", raw.sha1),
        ("md5", "md5", raw.md5),
    ):
        if wanted and hashlib.new(name, content, usedforsecurity=False).hexdigest() != wanted:
            return f"wrong checksum: its {called} is not {wanted}"
    return None


def verify(spec: DataSpec, content: Mapping[str, bytes]) -> None:
    """Check what a source delivered against the published checksums.

    Raises:
        SourceFailed: a file is missing, cut short, or not the published one.
    """
    for raw in spec.files:
        wrong = complaint_about(raw, content[raw.name]) if raw.name in content else "missing"
        if wrong:
            raise SourceFailed(f"{raw.name} is unusable: {wrong}")


def read_cache(spec: DataSpec, cache: Path) -> dict[str, bytes]:
    """Return those official files that lie in the cache, plain or as `.gz`, verified.

    Raises:
        UserError: a file in the cache is damaged; it is named and left where it is.
    """
    home = cache / spec.name
    files = {raw: cached_file(raw, home) for raw in spec.files}
    return {raw.name: read_raw(raw, file) for raw, file in files.items() if file is not None}


def cached_file(raw: RawFile, home: Path) -> Path | None:
    """Return where an official file lies in a data set's folder, plain or as `.gz`, if it does."""
    candidates = (home / raw.name, home / f"{raw.name}.gz")
    return next((file for file in candidates if file.exists()), None)


def read_raw(raw: RawFile, file: Path) -> bytes:
    """Return the content of one official file of the cache, or raise a UserError that names it."""
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        wrong = complaint_about(raw, content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        wrong = f"cut short or damaged ({error})"
    except OSError as error:
        wrong = f"unreadable ({error.strerror or error})"
    if wrong is None:
        return content
    raise UserError(f"{wrong}; move it away and fetch again, or put the right file here", file=file)


def origin(spec: DataSpec, cache: Path) -> str:
    """Return where the cached files came from, as far as it was written down."""
    try:
        written = json.loads((cache / spec.name / ORIGIN).read_text(encoding="utf-8"))
        return str(written["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return BY_HAND


@contextmanager
def throwaway(spec: DataSpec, cache: Path) -> Iterator[Path]:
    """Yield a new folder inside the cache that is gone after the block, whatever happens.

    Folders that a killed run left behind are removed once they are a day old.
    """
    home = cache / spec.name
    home.mkdir(parents=True, exist_ok=True)
    for old in home.glob(f"{THROWAWAY}*"):
        with suppress(OSError):  # another fetch may be removing it at this moment
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(
        prefix=THROWAWAY, dir=home, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def fill_cache(spec: DataSpec, cache: Path, content: Mapping[str, bytes], source: str) -> None:
    """Place verified official files in the cache; files that are there already are left alone.

    Everything is written beside first and renamed last, so a full disk leaves nothing.
    """
    home = cache / spec.name
    new = [raw.name for raw in spec.files if cached_file(raw, home) is None]
    with throwaway(spec, cache) as folder:
        for name in new:
            (folder / name).write_bytes(content[name])
        write_json(folder / ORIGIN, {"source": source, "files": new})
        for name in [*new, ORIGIN]:
            os.replace(folder / name, home / name)
