"""Made-up stand-ins for the real sets: small, learnable, the same everywhere, never called real."""

from __future__ import annotations

import numpy as np

from reproductions.harness.dataset_formats import Arrays

TRAIN, TEST, CLASSES = 2000, 500, 10
NOISE, GHOST = 0.8, 0.7
LICENCE = "none needed: made by this suite"
SOURCE = "synthetic: made by this suite, not real data"


def synthetic(name: str) -> Arrays:
    """Return the synthetic set of that name, always the same bytes.

    Each class is a smooth random pattern. An image is its class's pattern, moved by up to two
    pixels and dimmed, under a fainter ghost of another class's pattern and noise; so classes can be
    learned, but not all images told apart. Only elementwise arithmetic is used (no matrix product,
    whose last bit depends on the library), so the bytes do not depend on the machine.

    Args:
        name: "synthetic_mnist" (28 x 28, grey) or "synthetic_cifar10" (32 x 32, three channels).
    """
    side, channels, seed = (28, 1, 1) if name == "synthetic_mnist" else (32, 3, 2)
    draw = np.random.Generator(np.random.PCG64(seed))
    patterns = np.stack([_pattern(draw, side, channels) for _ in range(CLASSES)])
    parts = []
    for count in (TRAIN, TEST):
        labels = np.arange(count) % CLASSES
        images = np.stack([_image(draw, patterns, label) for label in labels.tolist()])
        order = np.argsort(draw.random(count), kind="stable")
        parts += [images[order] if channels == 3 else images[order, :, :, 0]]
        parts += [labels[order].astype("<i8")]
    return Arrays(*parts)


def _pattern(draw: np.random.Generator, side: int, channels: int) -> np.ndarray:
    """Return a smooth pattern (side, side, channels) in [0, 1] with dark surroundings."""
    cells = side // 4
    coarse = draw.random((cells, cells, channels))
    coarse[[0, -1]] = coarse[:, [0, -1]] = 0.0
    fine = coarse.repeat(4, axis=0).repeat(4, axis=1)
    for axis in (0, 1):
        moved = [np.roll(fine, shift, axis) for shift in (-2, -1, 0, 1, 2)]
        fine = sum(moved[1:], start=moved[0]) / 5.0
    return np.clip(2.0 * fine - 0.6, 0.0, 1.0)


def _image(draw: np.random.Generator, patterns: np.ndarray, label: int) -> np.ndarray:
    """Return one uint8 image of a class."""
    down, right, light, other, ghost = draw.random(5)
    moves = (int(5.0 * down) - 2, int(5.0 * right) - 2)
    moved = np.roll(patterns[label], moves, axis=(0, 1))
    faint = patterns[(label + 1 + int((CLASSES - 1) * other)) % CLASSES]
    noise = draw.random(moved.shape) - 0.5
    seen = (0.5 + 0.5 * light) * moved + GHOST * ghost * faint + NOISE * noise
    return np.clip(255.0 * seen, 0.0, 255.0).astype(np.uint8)
