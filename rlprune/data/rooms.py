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
    """Return training and test set, each images uint8 [N, 3, H, W] and depths along the camera's axis in metres, float32 [N, 1, H, W]."""
    lots = np.random.default_rng(seed)
    parts = [_draw(count, height, width, lots) for count in [50] * ((TRAIN + TEST) // 50)]
    images, depths = (np.concatenate(some) for some in zip(*parts, strict=True))
    return (images[:TRAIN], depths[:TRAIN]), (images[TRAIN:], depths[TRAIN:])


def _draw(count: int, height: int, width: int, lots: np.random.Generator) -> tuple[Array, Array]:
    """Return images uint8 [N, 3, H, W] and depths float32 [N, 1, H, W] of rooms drawn by lot; x is right, y up, z ahead."""

    def uniform(low: Any, high: Any, *shape: int) -> Array:
        return lots.uniform(low, high, (count, *shape)).astype(np.float32)

    room = uniform((2.5, 2.3, 3.0), (7.0, 3.5, 9.0), 3)
    eye = np.stack([uniform(0.25, 0.75) * room[:, 0], uniform(1.0, 1.9), uniform(0.1, 0.8)], axis=1)
    lamp = np.stack([uniform(0.2, 0.8), uniform(0.75, 0.95), uniform(0.1, 0.6)], axis=1) * room
    rays = _rays(height, width, uniform(-0.3, 0.15), uniform(-0.5, 0.5))
    depth, normal, place, surface = _walls(rays, eye, room)
    for box in range(BOXES):
        size = uniform((0.3, 0.3, 0.3), (1.3, 1.6, 1.3), 3)
        reach = np.hypot(size[:, 0], size[:, 2]) / 2
        ahead = uniform(0, 1) * np.maximum(room[:, 2] - eye[:, 2] - 1.0 - 2 * reach, 0.0) + 1.0 + reach
        foot = np.stack([uniform(0, 1) * room[:, 0], np.zeros(count, np.float32), eye[:, 2] + ahead], axis=1)
        nearer, *seen = _box(rays, eye, foot, size, uniform(0, np.pi / 2))
        hit = nearer < depth
        depth = np.where(hit, nearer, depth)
        normal, place = (np.where(hit[..., None], new, old) for new, old in zip(seen, (normal, place), strict=True))
        surface = np.where(hit, _WALLS + box, surface)
    points = eye[:, None, None] + depth[..., None] * rays
    light = uniform(0.15, 0.35, 1, 1) + _lit(lamp[:, None, None] - points, normal) * uniform(3.0, 6.0, 1, 1)
    images = _coloured(surface, place, lots) * light[..., None] + 0.02 * lots.standard_normal(points.shape, np.float32)
    return (255 * images.clip(0, 1)).astype(np.uint8).transpose(0, 3, 1, 2), depth[:, None].astype(np.float32)


def _rays(height: int, width: int, pitch: Array, yaw: Array) -> Array:
    """Return directions [N, H, W, 3] of the pixels, one metre along the camera's axis, so that a ray's length counts depth."""
    right = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (_FOCAL * width / 2)
    up = -(np.arange(height, dtype=np.float32) + 0.5 - height / 2) / (_FOCAL * width / 2)
    x, y = np.broadcast_to(right, (height, width)), np.broadcast_to(up[:, None], (height, width))
    pitch, yaw = pitch[:, None, None], yaw[:, None, None]
    y, z = y * np.cos(pitch) + np.sin(pitch), np.cos(pitch) - y * np.sin(pitch)
    return np.stack([x * np.cos(yaw) + z * np.sin(yaw), y, z * np.cos(yaw) - x * np.sin(yaw)], axis=-1)


def _walls(rays: Array, eye: Array, room: Array) -> tuple[Array, Array, Array, Array]:
    """Return depth, normal [.., 3], place on the surface [.., 2] and its number, where rays from within leave the room."""
    ways = (np.where(rays < 0, 0, room[:, None, None]) - eye[:, None, None]) / _safe(rays)
    axis = ways.argmin(-1)
    depth = ways.min(-1)
    ahead = np.take_along_axis(rays, axis[..., None], -1)[..., 0] >= 0
    normal = np.eye(3, dtype=np.float32)[axis] * np.where(ahead, -1, 1)[..., None].astype(np.float32)
    return depth, normal, _flat(eye[:, None, None] + depth[..., None] * rays, axis), 2 * axis + ahead


def _box(rays: Array, eye: Array, foot: Array, size: Array, turn: Array) -> tuple[Array, Array, Array]:
    """Return depth (far where rays miss), normal and place on the surface of a box that stands on ``foot``, turned about it."""
    rays = _turned(rays, turn[:, None, None])
    start = _turned(eye - foot, turn)[:, None, None]
    half = (size / 2)[:, None, None] * np.array([1, 0, 1], np.float32)
    low, high = -half, half + size[:, None, None] * np.array([0, 1, 0], np.float32)
    steps = _safe(rays)
    first, second = (low - start) / steps, (high - start) / steps
    enters = np.minimum(first, second)
    axis, enter = enters.argmax(-1), enters.max(-1)
    hit = (enter > 0) & (enter < np.maximum(first, second).min(-1))
    facing = -np.sign(np.take_along_axis(rays, axis[..., None], -1))
    normal = _turned(np.eye(3, dtype=np.float32)[axis] * facing, -turn[:, None, None])
    return np.where(hit, enter, _FAR), normal, _flat(start + enter[..., None] * rays, axis)


def _safe(rays: Array) -> Array:
    return np.where(np.abs(rays) < 1e-6, np.where(rays < 0, np.float32(-1e-6), np.float32(1e-6)), rays)


def _turned(vectors: Array, angle: Array) -> Array:
    """Turn vectors [.., 3] about the vertical."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)], axis=-1)


def _flat(points: Array, axis: Array) -> Array:
    """Return the two coordinates [.., 2] of points on a surface that is normal to ``axis``."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([np.where(axis == 0, z, x), np.where(axis == 1, z, y)], axis=-1)


def _lit(way: Array, normal: Array) -> Array:
    """Return what a lamp ``way`` metres from a surface gives it: Lambert's cosine, over one more than the distance squared."""
    squared = (way**2).sum(-1)
    shine: Array = np.maximum((way * normal).sum(-1), 0) / np.sqrt(squared) / (1 + squared)
    return shine


def _coloured(surface: Array, place: Array, lots: np.random.Generator) -> Array:
    """Return colours [.., 3]: each surface of each room is plain, striped or checked in two colours, with grain."""
    shape = (len(surface), _WALLS + BOXES)
    colours = lots.uniform(0.25, 1, (*shape, 2, 3)).astype(np.float32)
    colours[:, :, 1] = colours[:, :, 0] * lots.uniform(0.4, 0.8, (*shape, 1)).astype(np.float32)
    waves = lots.uniform(7, 14, shape).astype(np.float32)  # half a wave in 0.22 to 0.45 metres
    kinds = lots.integers(3, size=shape)
    room = np.arange(len(surface))[:, None, None]
    kind, wave = kinds[room, surface], waves[room, surface]
    across, along = np.sin(wave * place[..., 0]) > 0, np.sin(wave * place[..., 1]) > 0
    second = (kind == 1) & across | (kind == 2) & (across ^ along)
    coloured: Array = colours[room, surface, second.astype(np.intp)]
    return coloured * (1 - 0.08 * lots.random((*surface.shape, 1), np.float32))
