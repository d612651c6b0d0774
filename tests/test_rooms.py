import numpy as np
import pytest

from rlprune.data import rooms

SIZE = (12, 16)


def test_rooms_are_the_same_every_time():
    again = rooms.drawn.__wrapped__(*SIZE)
    for part, count in zip((0, 1), (rooms.TRAIN, rooms.TEST), strict=True):
        images, depths = rooms.drawn(*SIZE)[part]
        assert images.shape == (count, 3, *SIZE)
        assert depths.shape == (count, 1, *SIZE)
        assert (images.dtype, depths.dtype) == (np.uint8, np.float32)
        assert np.array_equal(images, again[part][0])
        assert np.array_equal(depths, again[part][1])


def test_no_room_is_in_both_parts():
    train, test = (set(map(bytes, part[0])) for part in rooms.drawn(*SIZE))
    assert len(train) == rooms.TRAIN
    assert not train & test


def test_depths_are_those_of_rooms():
    _, depths = rooms.drawn(*SIZE)[0]
    assert 0.2 < depths.min() < depths.max() < 12
    assert depths.std((1, 2, 3)).min() > 0.05


def test_a_wall_straight_ahead_has_one_depth_and_the_floor_its_perspective():
    """A camera 1.5 m high that looks along the room: z-depth is the same all over the far wall, and 1.5 / slope on the floor."""
    level = np.zeros((1, 1, 1), np.float32)
    rays = rooms._rays(30, 40, level, level)
    eye = np.array([2.0, 1.5, 0.5], np.float32).reshape(1, 3, 1, 1)
    room = np.array([4.0, 3.0, 5.5], np.float32).reshape(1, 3, 1, 1)
    depth, normal, _, surface = rooms._walls(rays, eye, room)
    for row, column in np.ndindex(30, 40):
        x, y, z = (float(part) for part in rays[0, :, row, column])
        assert z == pytest.approx(1)
        to_side, to_level, ahead = 2.0 / abs(x), 1.5 / abs(y), 5.0
        nearest = min(to_side, to_level, ahead)
        assert depth[0, row, column] == pytest.approx(nearest, rel=1e-5)
        if nearest == ahead:
            assert surface[0, row, column] == 5
            assert normal[0, :, row, column].tolist() == [0, 0, -1]
        elif nearest == to_level:
            assert normal[0, :, row, column].tolist() == [0, 1 if y < 0 else -1, 0]


def test_a_box_is_hit_where_a_march_along_the_ray_enters_it():
    turn = np.full((1, 1, 1), 0.6, np.float32)
    level = np.zeros((1, 1, 1), np.float32)
    rays = rooms._rays(9, 12, level - 0.2, level)
    eye, foot, size = (np.array(it, np.float32).reshape(1, 3, 1, 1) for it in ([2, 1.5, 0.5], [2.1, 0, 2.5], [1, 1.2, 0.7]))
    depth, normal, _ = rooms._box(rays, eye, foot, size, turn)
    hits = 0
    for row, column in np.ndindex(9, 12):
        ray = rays[0, :, row, column].astype(float)
        steps = np.arange(0, 5, 0.002)
        x, y, z = (steps[:, None] * ray + (eye - foot).ravel()).T
        along, across = x * np.cos(0.6) + z * np.sin(0.6), z * np.cos(0.6) - x * np.sin(0.6)
        inside = (abs(along) < 0.5) & (y > 0) & (y < 1.2) & (abs(across) < 0.35)
        if inside.sum() > 2:  # a ray that grazes an edge may miss by rounding
            hits += 1
            assert depth[0, row, column] == pytest.approx(steps[inside.argmax()], abs=0.003)
            assert normal[0, :, row, column] @ ray < 0, "it shows its front"
        elif not inside.any():
            assert depth[0, row, column] > 100
    assert 5 < hits < 80


def test_what_is_near_the_lamp_and_faces_it_is_brighter():
    normal = np.array([0, 1, 0], np.float32).reshape(1, 3, 1, 1)

    def lit(*way):
        return float(rooms._lit(np.array(way, np.float32).reshape(1, 3, 1, 1), normal)[0, 0, 0])

    assert lit(0, 1, 0) == pytest.approx(0.5)
    assert lit(0, 2, 0) == pytest.approx(0.2)
    assert lit(1, 1, 0) < lit(0, 1, 0)
    assert lit(0, -1, 0) == 0
