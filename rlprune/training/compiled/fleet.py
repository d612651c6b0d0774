"""A fleet on a CPU, whose arithmetic is compiled code that takes one agent after another."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlprune.training.batched import Fleet
from rlprune.training.batched_ppo import PPOFleet
from rlprune.training.compiled import kernels
from rlprune.training.environments.simulated import Simulation

_KINDS = ("cartpole", "acrobot")
_OPTIMIZERS = ("rmsprop", "rmsprop-tf", "adam")


class CompiledFleet(Fleet):
    """A ``Fleet`` whose agents are computed one by one: none waits in slow memory for the others, or fills up a batch."""

    fewest = 1

    def _make_room(self, rows: int) -> None:
        recipe, shape = self._recipe, self._shape
        agents, depth, width = self._slots, len(shape) - 2, shape[1]
        self._hidden = torch.zeros(agents, depth, self._samples, width)
        self._learned = torch.zeros_like(self._rewards), torch.zeros_like(self._rewards)
        self._no_masks = torch.zeros(0)
        self._saturating = recipe.activation == "tanh"
        # all of it lies where it begins a cache line: what a library's products are, to the last bit, may depend on that
        room = (depth, rows, width), (2, self._samples, width), (rows, 1), (self._samples * (shape[-1] + 1),)
        self._room = _arrays(*map(torch.zeros, room))
        self._ends = _arrays(
            torch.zeros(self.envs.environments, shape[0]), torch.zeros(2, self.envs.environments, dtype=torch.bool)
        )
        self._places = np.array(self._weights.starts), np.array([part.shape[1] for part in self._weights.rows])
        played = _arrays(self._inputs[0], self._hidden, self._logits, self._actions, self._weights.buffer)
        self._acting = (*played, self._places[0], self._saturating, *_arrays(self._keys, self._rollouts))
        numbers = recipe.reward_scale, recipe.discount, recipe.gae_lambda, recipe.entropy, recipe.value_weight, recipe.clip
        self._numbers = np.array(numbers, dtype=np.float32)

    def _play(self) -> None:
        if isinstance(self.envs, Simulation) and self.envs.compiled:
            self._simulate(self.envs)
        else:
            super()._play()

    def _simulate(self, envs: Simulation) -> None:
        met = _arrays(self._rewards, self._ended, self._truncated)
        kernels.play(_KINDS.index(envs.kernel), *envs.places(), envs.limit, *met, *self._ends, *self._acting)
        self.games.add(self._rewards, self._ended)
        self._rollouts += 1

    def _luck(self) -> Tensor:
        return self._logits  # noise is drawn where it is needed

    def _act(self, step: int, luck: Tensor) -> None:
        kernels.act_all(step, *self._acting)

    def _learn(self) -> None:
        kernels.learn(
            *_arrays(self._inputs[0], self._hidden, *self._learns()),
            *self._places,
            *_arrays(self._rates, self._updates),
            *self._how(),
            *self._room,
        )

    def _learns(self) -> list[Tensor]:
        """Return what was done and met in a rollout, and what learning from it changes."""
        met = self._logits, self._actions, self._rewards, self._ended, self._truncated
        returns, advantages = self._learned
        moments = [stack.buffer for stack in self._moments.values()]
        masks = self._no_masks if self._masks is None else self._masks.buffer
        return [*met, advantages, returns, self._weights.buffer, self._gradient.buffer, moments[0], moments[-1], masks]

    def _how(self) -> "tuple[int, bool, int, np.ndarray[Any, np.dtype[Any]]]":
        """Return the numbers of the recipe by which agents learn."""
        return self.envs.limit, self._saturating, _OPTIMIZERS.index(self._recipe.optimizer), self._numbers

    def _outputs(self, observations: Tensor) -> Tensor:
        rows = observations.shape[1]
        hidden = torch.empty(len(self._shape) - 2, rows, self._shape[1])
        logits = torch.empty(len(observations), rows, self._shape[-1])
        played = _arrays(observations, hidden, logits, self._weights.buffer)
        kernels.outputs(*played, self._places[0], self._saturating)
        return logits


class CompiledPPOFleet(CompiledFleet, PPOFleet):
    """A ``PPOFleet`` whose agents are computed one by one."""

    def _make_room(self, rows: int) -> None:
        super()._make_room(rows)
        self._prepare()
        shape, batch = self._shape, self._recipe.batch
        depth, width, choices = len(shape) - 2, shape[1], shape[-1]
        below, before, some, inside = (2, batch, width), (self._samples,), (batch, shape[0]), (2, depth, batch, width)
        judged, missed, wrong, gains = (batch, choices), (batch, choices), (batch, 1), (batch,)
        self._few_room = _arrays(*map(torch.zeros, (below, before, some, inside, judged, missed, wrong, gains)))

    def _learn(self) -> None:
        seen, _, values, _ = self._room
        kernels.learn_ppo(
            *_arrays(self._inputs[0], *self._learns()),
            *self._places,
            *_arrays(self._rates, self._clips, self._updates, self._orders, self._rollouts),
            self._recipe.rounds,
            *self._how(),
            seen,
            values,
            *self._few_room,
        )


def _arrays(*tensors: Tensor) -> "list[np.ndarray[Any, np.dtype[Any]]]":
    return [tensor.numpy() for tensor in tensors]
