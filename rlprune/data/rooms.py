"""Rendered rooms: images with exact depth that the program makes, so that depth runs with nothing downloaded.

A room is a box with boxes standing in it, seen from within by a camera of one focal length, lit by one lamp. What is near
looks large, textures repeat in metres, and light falls off with distance: that tells depth. Sizes, places, colours,
textures and the lamp are drawn by lot.
"""

from functools import cache
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

TRAIN, TEST = 1200, 300
BOXES = 4
_WALLS = 6
_FOCAL = 0.9  # of half the image's width: 96 degrees from side to side
_FAR = np.float32(1e6)  # metres


@cache
def drawn(height: int = 48, width: int = 64, seed: int = 2022) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return training and test set: images uint8 [N, 3, H, W] and depths float32 [N, 1, H, W], metres along the camera's axis."""
    lots = np.random.default_rng(seed)
    parts = [_draw(25, height, width, lots) for _ in range((TRAIN + TEST) // 25)]
    images, depths = (np.concatenate(some) for some in zip(*parts, strict=True))
    return (images[:TRAIN], depths[:TRAIN]), (images[TRAIN:], depths[TRAIN:])


def _draw(count: int, height: int, width: int, lots: np.random.Generator) -> tuple[Array, Array]:
    """Return images uint8 [N, 3, H, W] and depths float32 [N, 1, H, W] of rooms drawn by lot; x is right, y up, z ahead."""

    def uniform(low: Any, high: Any, *shape: int) -> Array:
        return lots.uniform(low, high, (count, *shape)).astype(np.float32)

    def vector(*parts: Array) -> Array:
        return np.stack(parts, axis=1)[:, :, None, None]

    room = vector(uniform(2.5, 7.0), uniform(2.3, 3.5), uniform(3.0, 9.0))
    wide, high, deep = np.moveaxis(room[..., 0, 0], 1, 0)
    eye = vector(uniform(0.25, 0.75) * wide, uniform(1.0, 1.9), uniform(0.1, 0.8))
    lamp = vector(uniform(0.2, 0.8) * wide, uniform(0.75, 0.95) * high, uniform(0.1, 0.6) * deep)
    rays = _rays(height, width, uniform(-0.3, 0.15, 1, 1), uniform(-0.5, 0.5, 1, 1))
    depth, normal, place, surface = _walls(rays, eye, room)
    for box in range(BOXES):
        size = vector(uniform(0.3, 1.3), uniform(0.3, 1.6), uniform(0.3, 1.3))
        nearest = eye[:, 2, 0, 0] + 1 + np.hypot(size[:, 0], size[:, 2])[:, 0, 0] / 2
        foot = vector(uniform(0, 1) * wide, np.zeros_like(wide), nearest + uniform(0, 1) * np.maximum(deep - nearest, 0))
        nearer, *seen = _box(rays, eye, foot, size, uniform(0, np.pi / 2, 1, 1))
        hit = nearer < depth
        depth = np.where(hit, nearer, depth)
        normal, place = (np.where(hit[:, None], new, old) for new, old in zip(seen, (normal, place), strict=True))
        surface = np.where(hit, _WALLS + box, surface)
    points = eye + depth[:, None] * rays
    light = uniform(0.15, 0.35, 1, 1) + _lit(lamp - points, normal) * uniform(3.0, 6.0, 1, 1)
    grain = 0.02 * lots.standard_normal(points.shape, np.float32)
    images = _coloured(surface, place, lots) * light[:, None] + grain
    return (255 * images.clip(0, 1)).astype(np.uint8), depth[:, None]


def _rays(height: int, width: int, pitch: Array, yaw: Array) -> Array:
    """Return directions [N, 3, H, W] of the pixels, one metre along the camera's axis, so that a ray's length counts depth."""
    right = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (_FOCAL * width / 2)
    up = -(np.arange(height, dtype=np.float32) + 0.5 - height / 2) / (_FOCAL * width / 2)
    x, y = np.broadcast_to(right, (height, width)), np.broadcast_to(up[:, None], (height, width))
    y, z = y * np.cos(pitch) + np.sin(pitch), np.cos(pitch) - y * np.sin(pitch)
    return np.stack([x * np.cos(yaw) + z * np.sin(yaw), y, z * np.cos(yaw) - x * np.sin(yaw)], axis=1).astype(np.float32)


def _walls(rays: Array, eye: Array, room: Array) -> tuple[Array, Array, Array, Array]:
    """Return depth, normal [N, 3, H, W], place on the surface [N, 2, H, W] and its number, where rays leave the room."""
    ways = (np.where(rays < 0, 0, room) - eye) / _safe(rays)
    axis, depth = ways.argmin(1), ways.min(1)
    side = np.sign(_along(rays, axis))
    return depth, _upright(axis, -side), _flat(eye + depth[:, None] * rays, axis), 2 * axis + (side > 0)


def _box(rays: Array, eye: Array, foot: Array, size: Array, turn: Array) -> tuple[Array, Array, Array]:
    """Return depth (far where rays miss), normal and place on the surface of a box that stands on ``foot``, turned about it."""
    rays, start = _turned(rays, turn), _turned(eye - foot, turn)
    low = size * np.array([-0.5, 0, -0.5], np.float32)[:, None, None]
    steps = _safe(rays)
    first, second = (low - start) / steps, (low + size - start) / steps
    enters = np.minimum(first, second)
    axis, enter = enters.argmax(1), enters.max(1)
    hit = (enter > 0) & (enter < np.maximum(first, second).min(1))
    normal = _turned(_upright(axis, -np.sign(_along(rays, axis))), -turn)
    return np.where(hit, enter, _FAR), normal, _flat(start + enter[:, None] * rays, axis)


def _safe(rays: Array) -> Array:
    return np.where(np.abs(rays) < 1e-6, np.where(rays < 0, np.float32(-1e-6), np.float32(1e-6)), rays)


def _along(vectors: Array, axis: Array) -> Array:
    return np.take_along_axis(vectors, axis[:, None], 1)[:, 0]


def _upright(axis: Array, length: Array) -> Array:
    """Return vectors [N, 3, H, W] along ``axis``."""
    return np.stack([np.where(axis == number, length, np.float32(0)) for number in range(3)], axis=1)


def _turned(vectors: Array, angle: Array) -> Array:
    """Turn vectors [N, 3, H, W] about the vertical."""
    x, y, z = np.moveaxis(vectors, 1, 0)
    return np.stack([x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)], axis=1)


def _flat(points: Array, axis: Array) -> Array:
    """Return the two coordinates [N, 2, H, W] of points on a surface that is normal to ``axis``."""
    x, y, z = np.moveaxis(points, 1, 0)
    return np.stack([np.where(axis == 0, z, x), np.where(axis == 1, z, y)], axis=1)


def _lit(way: Array, normal: Array) -> Array:
    """Return what a lamp ``way`` metres from a surface gives it: Lambert's cosine, over one more than the distance squared."""
    squared = (way**2).sum(1)
    shine: Array = np.maximum((way * normal).sum(1), 0) / np.sqrt(squared) / (1 + squared)
    return shine


def _coloured(surface: Array, place: Array, lots: np.random.Generator) -> Array:
    """Return colours [N, 3, H, W]: each surface of each room is plain, striped or checked in two shades, with grain."""
    shape = (len(surface), _WALLS + BOXES)
    colours = lots.uniform(0.25, 1, (*shape, 3)).astype(np.float32)
    dark = lots.uniform(0.4, 0.8, shape).astype(np.float32)
    waves = lots.uniform(7, 14, shape).astype(np.float32)  # half a wave in 0.22 to 0.45 metres
    kinds = lots.integers(3, size=shape)
    room = np.arange(len(surface))[:, None, None]
    across, along = np.moveaxis(np.sin(waves[room, surface][:, None] * place) > 0, 1, 0)
    kind = kinds[room, surface]
    second = (kind == 1) & across | (kind == 2) & (across ^ along)
    shade = np.where(second, dark[room, surface], 1) * (1 - 0.08 * lots.random(surface.shape, np.float32))
    return np.moveaxis(colours[room, surface], -1, 1) * shade[:, None]
