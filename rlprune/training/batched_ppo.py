"""Proximal policy optimisation for many agents at once, equal to Stable-Baselines3 to rounding."""

import torch
from torch import Tensor

from rlprune.training import noise
from rlprune.training.batched import Agent, Fleet
from rlprune.training.recipes import PPORecipe


class PPOFleet(Fleet):
    """A ``Fleet`` that learns by PPO: from each rollout several times, in minibatches of which each is an update.

    Samples are shuffled by noise that is looked up, each agent's own.
    """

    _recipe: PPORecipe

    def _at(self, share: Tensor) -> None:
        super()._at(share)
        self._clips[:, 0] = share * self._recipe.clip_range

    def _learn(self) -> None:
        recipe, samples = self._recipe, self._samples
        advantages, returns, _ = self._estimate()
        self._learned = returns, advantages
        actions = self._actions.flatten(1)
        before = _likelihood(torch.log_softmax(self._logits, dim=-1).flatten(1, 2), actions)
        played = advantages.flatten(1), returns.flatten(1), before, actions
        for turn in range(recipe.rounds):
            begin = (self._rollouts * recipe.rounds + turn)[:, None] * samples
            order = noise.words(self._orders[:, None], begin + self._every).argsort(dim=1)
            for rows in torch.split(order, recipe.batch, dim=1):
                self._learn_from(rows, *(values.gather(1, rows) for values in played))
                self._update()

    def _learn_from(self, rows: Tensor, advantages: Tensor, returns: Tensor, before: Tensor, actions: Tensor) -> None:
        """Write the gradient of each agent's ``−mean(min(A r, A clip(r))) + value_weight · mse(R, V) − entropy · H``.

        All [P, B]; advantages A of a minibatch have mean 0 and deviation 1, and r is how much likelier its actions became.
        """
        seen = self._inputs[0][:, 0].gather(1, rows[..., None].expand(-1, -1, self._shape[0]))
        self._few[0].copy_(seen[:, None])
        logs = torch.log_softmax(self._forward(0, slice(None), self._few), dim=-1)
        excess = self._forward(1, slice(None), self._few)[..., 0] - returns
        gains = (advantages - advantages.mean(1, keepdim=True)) / (advantages.std(1, keepdim=True) + 1e-8)
        ratio = (_likelihood(logs, actions) - before).exp()
        far = torch.where(gains > 0, ratio > 1 + self._clips, ratio < 1 - self._clips)  # there the loss is flat
        gains = torch.where(far, 0.0, ratio) * gains
        self._blame(logs, actions, gains, excess, self._missed[:, 0], self._missed[:, 1])
        self._backward(self._few, self._missed)

    def _make_room(self, rows: int) -> None:
        super()._make_room(rows)
        slots, shape, batch, device = self._slots, self._shape, self._recipe.batch, self._device
        self._few = [torch.zeros(slots, 2, batch, width, device=device) for width in shape[:-1]]
        self._missed = torch.zeros(slots, 2, batch, shape[-1], device=device)
        self._every = torch.arange(self._samples, device=device)
        self._prepare()

    def _prepare(self) -> None:
        """Allocate what both ways of computing need."""
        self._orders = torch.zeros(self._slots, dtype=torch.int64, device=self._device)
        self._clips = torch.zeros(self._slots, 1, device=self._device)

    def _write(self, slot: int, agent: Agent) -> None:
        super()._write(slot, agent)
        self._orders[slot] = noise.keys(self._keys[slot])  # another stream than that of its actions


def _likelihood(logs: Tensor, actions: Tensor) -> Tensor:
    """Return the log-probability [P, N] of each action, of those of all [P, N, A]."""
    return logs.gather(2, actions[..., None])[..., 0]
