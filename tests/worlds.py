"""Tiny environments of any spaces, for tests of what meets a space that it may not know; and how to play any at random."""

import random

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

VECTOR = spaces.Box(-1, 1, (3,))
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "box": spaces.Box(np.array([-1, -2], np.float32), np.array([1, 2], np.float32)),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
}
OBSERVATIONS = {
    "vector": VECTOR,
    "matrix": spaces.Box(-1, 1, (2, 3)),
    "discrete": spaces.Discrete(5),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(4),
}


class Box:
    """What no snapshot can look into."""

    def __init__(self):
        self.number = 0.5


class World(gym.Env):
    """Games of at most seven steps whose rewards depend on the action.

    Args:
        hidden: keep what matters where snapshots do not see it.
        wild: draw from a generator that no seed reaches.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, observations=VECTOR, actions=ACTIONS["discrete"], hidden=False, wild=False, render_mode=None):
        self.observation_space, self.action_space = observations, actions
        self.box, self.wild = (Box() if hidden else None), wild

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.played = 0
        return self._see(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.played += 1
        if self.box is not None:
            self.box.number = (self.box.number * 3.7) % 1  # it goes on over games
        reward = float(np.mean(action)) * self.np_random.normal() + (self.box.number if self.box else 0)
        return self._see(), reward, bool(self.np_random.random() < 0.1), self.played >= 7, {}

    def _see(self):
        generator = np.random.default_rng() if self.wild else self.np_random
        match self.observation_space:
            case spaces.Box(dtype=kind, shape=shape) as box:
                seen = generator.uniform(box.low, box.high).astype(kind).reshape(shape)
                return seen * np.float32(self.box.number) if self.box is not None else seen
            case spaces.Discrete(n=count, start=start):
                return start + generator.integers(count)
            case spaces.MultiDiscrete(nvec=counts):
                return generator.integers(counts)
            case spaces.MultiBinary(shape=shape):
                return generator.integers(2, size=shape, dtype=np.int8)
            case space:
                return space.sample()


class Careless(World):
    """Draws from everybody's generators."""

    def step(self, action):
        seen, _, *others = super().step(action)
        return seen * np.float32(random.random()), random.random() + np.random.random(), *others


class Counted(World):
    """Knows how many of its kind were ever open, and how many are."""

    ever = opened = 0

    def __init__(self, **given):
        super().__init__(**given)
        self.closed = False
        Counted.ever += 1
        Counted.opened += 1

    def close(self):
        Counted.opened -= not self.closed
        self.closed = True


def register():
    """Make the worlds known to Gymnasium by name."""
    known = {f"Act-{name}-v0": {"actions": space} for name, space in ACTIONS.items()}
    known |= {f"See-{name}-v0": {"observations": space} for name, space in OBSERVATIONS.items()}
    known |= {"Hidden-v0": {"hidden": True}, "Wild-v0": {"hidden": True, "wild": True}}
    known |= {
        "Image-v0": {"observations": spaces.Box(0, 255, (36, 36, 3), np.uint8)},
        "See-dict-v0": {"observations": spaces.Dict({"a": VECTOR})},
        "Act-tuple-v0": {"actions": spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])},
        "Endless-v0": {},
        "Act-shifted-v0": {"actions": spaces.Discrete(3, start=1)},
        "Act-endless-v0": {"actions": spaces.Box(-np.inf, np.inf, (2,))},
    }
    if "Careless-v0" not in gym.registry:
        gym.register("Careless-v0", Careless, max_episode_steps=50)
        gym.register("Counted-v0", Counted, max_episode_steps=50)
    for name, kwargs in known.items():
        if name not in gym.registry:
            gym.register(name, World, kwargs=kwargs, max_episode_steps=None if name.startswith("Endless") else 50)


def play(env, steps, seed=0):
    """Random actions; everything the steps brought."""
    generator = torch.Generator().manual_seed(seed)
    actions = [torch.randint(env.actions, (env.agents, env.environments), generator=generator) for _ in range(steps)]
    return [env.step(chosen) for chosen in actions]


def same(ours, theirs):
    return all(torch.equal(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))
