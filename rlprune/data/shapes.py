"""Drawn shapes: images that the program makes, so that vision runs with nothing downloaded.

A class is an outline and a texture: five outlines (disc, square, triangle, cross, ring) filled with stripes or with checks.
Colours, place, size, turn, background, strokes in the way and noise are drawn by lot and tell nothing of the class.
"""

from functools import cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

SIDE = 32
TRAIN, TEST = 6000, 2000
_OUTLINES = ("disc", "square", "triangle", "cross", "ring")
CLASSES = tuple(f"{outline}-{texture}" for outline in _OUTLINES for texture in ("stripes", "checks"))


@cache
def drawn(seed: int = 2022) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return training and test set, each images uint8 [N, 3, 32, 32] and labels int64 [N], classes equally often."""
    lots = np.random.default_rng(seed)
    labels = np.arange(TRAIN + TEST) % len(CLASSES)
    images = np.concatenate([_draw(part, lots) for part in np.array_split(labels, 16)])
    return (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])


def _draw(labels: Array, lots: np.random.Generator) -> Array:
    """Return images uint8 [N, 3, 32, 32] of these classes."""
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Array:
        return lots.uniform(low, high, (count, *shape)).astype(np.float32)

    rows, columns = np.meshgrid(
        np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32), indexing="ij"
    )
    x, y = _turned(columns - uniform(-0.25, 0.25, 1, 1), rows - uniform(-0.25, 0.25, 1, 1), uniform(0, 2 * np.pi, 1, 1))
    size = uniform(0.55, 0.8, 1, 1)
    inside = _inside(labels // 2, x / size, y / size)
    textured = _textured(labels % 2, *_turned(x, y, uniform(0, np.pi, 1, 1)), uniform(8, 11, 1, 1), uniform(0, 2 * np.pi, 1, 1))
    colours = uniform(0, 1, 4, 3, 1, 1)
    bright = lots.integers(2, size=(count, 1, 1, 1)).astype(np.float32)  # a bright shape on dark ground, or the other way round
    colours[:, :2] = 0.3 * colours[:, :2] + 0.7 * (1 - bright[:, None])
    colours[:, 2] = 0.2 * colours[:, 2] + 0.3 + 0.2 * bright
    colours[:, 3] = 0.2 * colours[:, 3] + 0.8 * bright
    slope = (np.cos(uniform(0, 2 * np.pi, 1, 1)) * columns + np.sin(uniform(0, 2 * np.pi, 1, 1)) * rows + 1.5)[:, None] / 3
    ground = colours[:, 0] * slope + colours[:, 1] * (1 - slope)
    shape = np.where(textured[:, None], colours[:, 2], colours[:, 3])
    image = np.where(inside[:, None], shape, ground)
    for _ in range(2):
        along, _ = _turned(columns - uniform(-1, 1, 1, 1), rows - uniform(-1, 1, 1, 1), uniform(0, np.pi, 1, 1))
        stroke = (np.abs(along) < uniform(0.02, 0.07, 1, 1))[:, None]
        image = np.where(stroke, uniform(0, 1, 3, 1, 1), image)
    image = 0.5 + (image - 0.5) * uniform(0.7, 1, 1, 1, 1) + lots.normal(0, 0.04, image.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8)


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _inside(outline: Array, x: Array, y: Array) -> Array:
    """Return for each pixel whether it lies inside the outline of its image; areas are about equal."""
    radius = np.hypot(x, y)
    third = np.maximum(np.maximum(-y, 0.866 * x + 0.5 * y), -0.866 * x + 0.5 * y)
    thin, long = np.minimum(np.abs(x), np.abs(y)), np.maximum(np.abs(x), np.abs(y))
    outlines = [radius < 0.95, long < 0.84, third < 0.6, (thin < 0.38) & (long < 1.1), (radius < 1.1) & (radius > 0.55)]
    inside: Array = np.stack(outlines)[outline, np.arange(len(outline))]
    return inside


def _textured(texture: Array, x: Array, y: Array, waves: Array, shift: Array) -> Array:
    stripes = np.sin(waves * x + shift) > 0
    checks = stripes ^ (np.sin(waves * y + shift) > 0)
    chosen: Array = np.where(texture[:, None, None] == 0, stripes, checks)
    return chosen
