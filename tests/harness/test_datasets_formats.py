"""The official formats, area averaging, and the real sets where they are in the cache."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest

from reproductions.harness import datasets
from reproductions.harness.dataset_cache import cache_folder, cached_file, read_cache
from reproductions.harness.dataset_formats import (
    PNG_SIZE,
    Arrays,
    cifar_from_pngs,
    decode,
    decode_cifar,
    decode_cifar_png,
    decode_idx,
    encode_cifar,
    encode_idx,
)
from reproductions.harness.dataset_registry import CIFAR10, REAL


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(3)


def real(name: str) -> Arrays:
    """Return a real set from this machine's cache; skip the test where it is not there."""
    spec, cache = REAL[name], cache_folder()
    if any(cached_file(raw, cache / name) is None for raw in spec.files):
        pytest.skip(f"{spec.title} is not in the cache {cache}: fetch it to run this test")
    return decode(spec, read_cache(spec, cache))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (3, 5, 5)])
def test_idx_files_read_back_what_was_written(draw, shape):
    array = draw.integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode_idx(encode_idx(array)), array)


def test_an_idx_header_is_mnists():
    header = encode_idx(np.zeros((2, 28, 28), np.uint8))[:16]
    assert header == bytes.fromhex("00000803 00000002 0000001c 0000001c")


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\x01\0\0\0\0", b"<html>", b"\0\0\x08"])
def test_other_bytes_are_no_idx_file(content):
    with pytest.raises(ValueError, match="idx"):
        decode_idx(content)


def test_cifar_batches_read_back_what_was_written(draw):
    images = draw.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    content = encode_cifar(images, [3, 1, 4, 1])
    assert len(content) == 4 * 3073 and content[0] == 3 and content[1] == images[0, 0, 0, 0]
    assert content[2] == images[0, 0, 1, 0] and content[1025] == images[0, 0, 0, 1]
    got, labels = decode_cifar(content)
    np.testing.assert_array_equal(got, images)
    np.testing.assert_array_equal(labels, [3, 1, 4, 1])


def png(array: np.ndarray) -> io.BytesIO:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", compress_level=0)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("bound", [10, 89478485, None])
def test_a_batch_png_decodes_whatever_pillows_bound_and_leaves_the_bound(monkeypatch, bound):
    Image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
    picture = np.arange(PNG_SIZE[0] * PNG_SIZE[1] * 3, dtype=np.uint32).astype(np.uint8)
    picture = picture.reshape(PNG_SIZE[1], PNG_SIZE[0], 3)
    got = decode_cifar_png(png(picture))
    np.testing.assert_array_equal(got, picture.reshape(10000, 32, 32, 3))
    assert bound == Image.MAX_IMAGE_PIXELS


def test_a_picture_of_another_size_is_refused_and_the_bound_restored():
    Image = pytest.importorskip("PIL.Image")
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match="not RGB"):
        decode_cifar_png(png(np.zeros((8, 8, 3), np.uint8)))
    assert before == Image.MAX_IMAGE_PIXELS


def test_pngs_and_label_lists_become_the_official_batches(draw, monkeypatch):
    pytest.importorskip("PIL.Image")
    monkeypatch.setattr("reproductions.harness.dataset_formats.PNG_SIZE", (1024, 3))
    pictures = [draw.integers(0, 256, (3, 1024, 3), dtype=np.uint8) for _ in CIFAR10.files]
    train, test = draw.integers(0, 10, 15).tolist(), draw.integers(0, 10, 3).tolist()
    members = {
        raw.name.replace(".bin", ".png"): png(picture)
        for raw, picture in zip(CIFAR10.files, pictures, strict=True)
    }
    members["train_lables.json"] = io.BytesIO(json.dumps(train).encode())
    members["test_lables.json"] = io.BytesIO(json.dumps(test).encode())
    got = decode(CIFAR10, cifar_from_pngs(CIFAR10, members))
    assert got.train_labels.tolist() == train and got.test_labels.tolist() == test
    np.testing.assert_array_equal(got.train_images[4], pictures[1][1].reshape(32, 32, 3))


def test_the_digest_sees_shapes_and_order(draw):
    images, labels = np.zeros((2, 4, 4), np.uint8), np.zeros(2, "<i8")
    one = Arrays(images, labels, images, labels).digest()
    assert one != Arrays(images.reshape(2, 2, 8), labels, images, labels).digest()
    assert one == Arrays(images, labels.astype(">i8"), images, labels).digest()


# ---- area averaging


@pytest.mark.parametrize(("side", "size"), [(28, 14), (28, 7), (32, 8), (10, 10), (12, 1)])
def test_area_average_equals_pillows_box_filter_at_whole_ratios(draw, side, size):
    Image = pytest.importorskip("PIL.Image")
    images = draw.random((3, side, side), dtype=np.float32)
    box = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
        for image in images
    ]
    np.testing.assert_allclose(datasets.area_average(images, size), box, atol=1e-6)


@pytest.mark.parametrize(("side", "size"), [(28, 10), (32, 10), (7, 5)])
def test_area_average_counts_end_pixels_by_their_share(draw, side, size):
    Image = pytest.importorskip("PIL.Image")
    images = draw.random((3, side, side), dtype=np.float32)
    fine = images.repeat(size, axis=1).repeat(size, axis=2)  # now the ratio is whole
    box = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
        for image in fine
    ]
    np.testing.assert_allclose(datasets.area_average(images, size), box, atol=1e-6)


def test_area_average_keeps_means_and_units(draw):
    images = draw.integers(0, 256, (5000, 7, 7), dtype=np.uint8)  # more than one part
    small = datasets.area_average(images, 3)
    assert small.dtype == np.float64
    np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-12)


def test_area_average_takes_colours_one_by_one(draw):
    images = draw.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    small = datasets.area_average(images, 5)
    assert small.shape == (3, 5, 5, 3)
    for colour in range(3):
        np.testing.assert_array_equal(
            small[..., colour], datasets.area_average(images[..., colour], 5)
        )


@pytest.mark.parametrize(("shape", "size"), [((2, 4, 5), 2), ((4, 4), 2), ((2, 4, 4), 5)])
def test_area_average_refuses_shapes_it_does_not_mean(shape, size):
    with pytest.raises(ValueError, match="images must be"):
        datasets.area_average(np.zeros(shape), size)


# ---- the real sets


@pytest.mark.parametrize("name", REAL)
def test_the_cached_real_sets_have_the_pinned_content(name):
    got = real(name)
    assert got.digest() == REAL[name].digest
    assert len(got.train_images) == (50000 if name == "cifar10" else 60000)
    counts = np.bincount(got.test_labels)
    assert len(counts) == 10 and counts.sum() == 10000
    if name != "mnist":
        assert (counts == 1000).all()


def test_cifar10_has_the_published_sums_of_the_official_binary_files():
    got = real("cifar10")
    parts = zip(
        [*np.split(got.train_images, 5), got.test_images],
        [*np.split(got.train_labels, 5), got.test_labels],
        strict=True,
    )
    sums = [hashlib.sha1(encode_cifar(*part)).hexdigest() for part in parts]
    assert sums == [raw.sha1 for raw in CIFAR10.files]


def test_mnist_over_255_has_the_principal_components_of_the_authors_file():
    """Choromanska et al. kept the test images of digits 4 and 9 on ten principal components.

    The spread of their file is that of the 28 x 28 images with pixel/255 and no normalisation: it
    fixes the pixel scale and the choice of images (at 10 x 10 the spreads are about 0.3 of these).
    """
    got = real("mnist")
    train, test = (
        images[np.isin(labels, (4, 9))].reshape(-1, 784) / 255.0
        for images, labels in (got[:2], got[2:])
    )
    assert len(test) == 1991
    centred = train - train.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -10:]
    spreads = np.sort((test @ axes).std(axis=0))
    expected = [1.0540, 1.0748, 1.1766, 1.1792, 1.2728, 1.3471, 1.3638, 1.6380, 2.0119, 2.2802]
    np.testing.assert_allclose(spreads, expected, atol=5.1e-5)
    assert (spreads**2).sum() == pytest.approx(22.26567, abs=5e-6)


def test_mnist_at_10x10_equals_pillows_box_filter_on_real_images():
    Image = pytest.importorskip("PIL.Image")
    images = real("mnist").test_images[:50].astype(np.float32)
    fine = images.repeat(5, axis=1).repeat(5, axis=2)  # 28 -> 10 is 140 -> 10: a whole ratio
    box = [np.asarray(Image.fromarray(i).resize((10, 10), Image.Resampling.BOX)) for i in fine]
    np.testing.assert_allclose(datasets.area_average(images, 10), box, atol=1e-3)
