"""Gymnasium's LunarLander with half the work around its physics: the same games, to the bit."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.envs.box2d import lunar_lander
from gymnasium.envs.box2d.lunar_lander import FPS, LEG_DOWN, MAIN_ENGINE_POWER, SCALE, SIDE_ENGINE_POWER, VIEWPORT_H, VIEWPORT_W

_WIDTH, _HEIGHT = VIEWPORT_W / SCALE / 2, VIEWPORT_H / SCALE / 2


class Lander(lunar_lander.LunarLander):
    """LunarLander-v3 as ``gymnasium.make`` gives it, time limit included; every game must be begun with a seed.

    Each of Box2D's values is asked for once a step, and random numbers are drawn ahead, which a seed makes unnoticed.
    Constants without a name have none in Gymnasium either.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit, self._elapsed = limit, 0
        self._position, self._angle = (0.0, 0.0), 0.0

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action; the observation is a list, to be rounded to float32."""
        lander: Any = self.lander
        before: float | None = self.prev_shaping
        if before is None:  # the step that Gymnasium makes to begin a game
            self._elapsed, self._luck = -1, _dispersions(self.np_random)
            self._position, self._angle = tuple(lander.position), lander.angle
        x, y = self._position
        sin, cos = math.sin(self._angle), math.cos(self._angle)
        along, across = next(self._luck), next(self._luck)
        fuel = 0.0
        if action == 2:
            reach = lunar_lander.MAIN_ENGINE_Y_LOCATION / SCALE + 2 * along
            push_x, push_y = sin * reach + -cos * across, -cos * reach - sin * across
            force = -push_x * MAIN_ENGINE_POWER, -push_y * MAIN_ENGINE_POWER
            lander.ApplyLinearImpulse(force, (x + push_x, y + push_y), True)
            fuel = 0.30
        elif action:
            reach = 3 * across + (action - 2) * lunar_lander.SIDE_ENGINE_AWAY / SCALE
            push_x, push_y = sin * along + -cos * reach, -cos * along - sin * reach
            place = x + push_x - sin * 17 / SCALE, y + push_y + cos * lunar_lander.SIDE_ENGINE_HEIGHT / SCALE
            lander.ApplyLinearImpulse((-push_x * SIDE_ENGINE_POWER, -push_y * SIDE_ENGINE_POWER), place, True)
            fuel = 0.03
        self.world.Step(1.0 / FPS, 6 * 30, 2 * 30)

        position, speed, angle, (left, right) = lander.position, lander.linearVelocity, lander.angle, self.legs
        x, y = self._position = position.x, position.y
        self._angle = angle
        state = [
            (x - _WIDTH) / _WIDTH,
            (y - (self.helipad_y + LEG_DOWN / SCALE)) / _HEIGHT,
            speed.x * _WIDTH / FPS,
            speed.y * _HEIGHT / FPS,
            angle,
            20.0 * lander.angularVelocity / FPS,
            1.0 if left.ground_contact else 0.0,
            1.0 if right.ground_contact else 0.0,
        ]
        shaping = (
            -100 * math.sqrt(state[0] * state[0] + state[1] * state[1])
            - 100 * math.sqrt(state[2] * state[2] + state[3] * state[3])
            - 100 * abs(angle)
            + 10 * state[6]
            + 10 * state[7]
        )
        reward = -fuel if before is None else shaping - before - fuel
        self.prev_shaping = shaping
        terminated = self.game_over or abs(state[0]) >= 1.0
        if terminated:
            reward = -100.0
        if not lander.awake:
            terminated, reward = True, 100.0
        self._elapsed += 1
        return state, reward, terminated, self._elapsed >= self._limit, {}


def _dispersions(generator: np.random.Generator) -> Iterator[float]:
    """Yield what ``generator.uniform(-1, 1) / SCALE`` would."""
    while True:
        yield from ((-1.0 + 2.0 * generator.random(128)) / SCALE).tolist()
