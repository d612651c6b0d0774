"""The arithmetic of many A2C agents as one batch: stacked networks, rollouts, gradients, clipping, optimizer.

The same update as ``stable_baselines3.A2C.train`` on every agent, to rounding. Actors and critics are one stack of
``2 P`` networks, the first P the actors; hidden layers are padded to one width with units whose weights are all zero,
which stay zero because no gradient reaches them. Rollouts keep their activations, and since a rollout and its update
share the weights, the update needs no forward pass of its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from rlprune.training.lots import uniform
from rlprune.training.recipes import A2CRecipe
from rlprune.training.worlds import World

Layer: TypeAlias = tuple[Tensor, Tensor]
"""Weight ``[outputs, inputs]`` and bias ``[outputs]`` of a linear layer, or anything of their shapes."""

_ALPHA, _EPSILON = 0.99, 1e-5  # of RMSprop, as Stable-Baselines3 sets them


def sizes(features: int, width: int, hidden: int, outputs: int) -> list[int]:
    """Return the layer sizes of a padded network: inputs, hidden layers of one width, outputs."""
    return [features, *[width] * hidden, outputs]


class Stack:
    """P agents of one padded shape, in training for an epoch.

    Args:
        recipe: the numbers; all agents share them.
        shape: padded sizes of every network's layers, from ``sizes``.
        agents: for each agent its actor's layers and its critic's layers.
        averages: for each agent the optimizer's square averages in the same form.
        masks: for each agent its masks in the same form, None where nothing is masked.
        keys: int64 ``[P]``, whose noise chooses actions.
        counters: int64 ``[P]``, steps each agent has played.
        world: the environments of all P agents.
    """

    def __init__(
        self,
        recipe: A2CRecipe,
        shape: Sequence[int],
        agents: Sequence[Sequence[Sequence[Layer]]],
        averages: Sequence[Sequence[Sequence[Layer]]],
        masks: Sequence[Sequence[Sequence[Layer]]] | None,
        keys: Tensor,
        counters: Tensor,
        world: World,
    ) -> None:
        self._recipe, self._world, self._keys, self.counters = recipe, world, keys, counters.clone()
        self._agents, self._steps, self._environments = len(agents), recipe.rollout_steps, recipe.environments
        self._shape = shape
        self.weights = _flat(agents, shape, keys.device)
        self.averages = _flat(averages, shape, keys.device)
        self._masks = None if masks is None else _flat(masks, shape, keys.device)
        self._gradient, self._scratch = torch.zeros_like(self.weights), torch.empty_like(self.weights)
        self._layers, self._slopes = _views(self.weights, shape), _views(self._gradient, shape)
        samples = self._steps * self._environments
        nets = 2 * self._agents

        def empty(*tail: int) -> Tensor:
            return torch.zeros(*tail, device=keys.device)

        self._inputs = [empty(nets, samples, size) for size in shape[:-1]]
        self._outputs = empty(nets, samples, shape[-1])
        self._errors = [empty(nets, samples, size) for size in shape[1:]]
        self._chances = empty(self._agents, samples, world.actions)
        self._rewards, self._discounts = (empty(self._agents, self._steps, self._environments) for _ in range(2))
        self._actions = torch.zeros(self._agents, samples, 1, dtype=torch.int64, device=keys.device)
        self._seen = world.observe()

    def iterate(self, rates: Tensor) -> None:
        """Play one rollout and learn from it.

        Args:
            rates: learning rate of each agent, ``[P]``.
        """
        advantages, returns = self._play()
        self._differentiate(advantages, returns)
        self._update(rates)

    # -- playing -------------------------------------------------------------------------------------------------

    def _play(self) -> tuple[Tensor, Tensor]:
        """Return advantages and returns ``[P, steps, environments]`` of a rollout; its activations are kept."""
        agents, count = self._agents, self._environments
        noise = uniform(
            self._keys.unsqueeze(1), self.counters.unsqueeze(1) + torch.arange(self._steps, device=self._keys.device), count
        )
        for step in range(self._steps):
            span = slice(step * count, (step + 1) * count)
            self._inputs[0][:agents, span] = self._seen
            self._inputs[0][agents:, span] = self._seen
            for layer, (weight, bias) in enumerate(self._layers[:-1]):
                self._activate(torch.baddbmm(bias, self._inputs[layer][:, span], weight, out=self._inputs[layer + 1][:, span]))
            weight, bias = self._layers[-1]
            torch.baddbmm(bias, self._inputs[-1][:, span], weight, out=self._outputs[:, span])
            chances = torch.softmax(self._outputs[:agents, span, : self._world.actions], dim=-1)
            self._chances[:, span] = chances
            chosen = (chances[..., :-1].cumsum(-1) < noise[:, step].unsqueeze(-1)).sum(-1)
            self._actions[:, span, 0] = chosen
            moved = self._world.step(chosen)
            rewards = moved.rewards.float() * self._recipe.reward_scale
            if moved.truncated.is_cuda or moved.truncated.any():
                rewards += moved.truncated * self._recipe.discount * self._values(moved.last)
            self._rewards[:, step] = rewards
            self._discounts[:, step] = ~(moved.terminated | moved.truncated)
            self._seen = moved.observations
        self.counters += self._steps
        return self._returns()

    def _returns(self) -> tuple[Tensor, Tensor]:
        """Generalised advantage estimation, backwards over the rollout (Schulman et al., 2016)."""
        recipe, alive = self._recipe, self._discounts
        values = self._outputs[self._agents :, :, 0].view(self._agents, self._steps, self._environments)
        following = self._values(self._seen)
        advantage = torch.zeros_like(following)
        advantages = torch.empty_like(values)
        for step in reversed(range(self._steps)):
            error = self._rewards[:, step] + recipe.discount * following * alive[:, step] - values[:, step]
            advantage = error + recipe.discount * recipe.gae_lambda * alive[:, step] * advantage
            advantages[:, step] = advantage
            following = values[:, step]
        return advantages, advantages + values

    def _values(self, observations: Tensor) -> Tensor:
        """Return the critics' values of observations ``[P, environments, features]``."""
        hidden = observations
        for weight, bias in self._layers[:-1]:
            hidden = self._activate(torch.baddbmm(bias[self._agents :], hidden, weight[self._agents :]))
        weight, bias = self._layers[-1]
        return torch.baddbmm(bias[self._agents :], hidden, weight[self._agents :])[..., 0]

    def _activate(self, hidden: Tensor) -> Tensor:
        return hidden.tanh_() if self._recipe.activation == "tanh" else hidden.relu_()

    # -- learning ------------------------------------------------------------------------------------------------

    def _differentiate(self, advantages: Tensor, returns: Tensor) -> None:
        """Write the gradient of every agent's ``−mean(A log π) + value_weight · mse(R, V) − entropy · H``."""
        recipe, agents, samples = self._recipe, self._agents, self._steps * self._environments
        actors, critics = self._errors[-1][:agents], self._errors[-1][agents:]
        share = (advantages.reshape(agents, samples, 1)) / samples
        logits = actors[..., : self._world.actions]
        torch.mul(self._chances, share, out=logits)
        logits.scatter_add_(2, self._actions, -share)
        if recipe.entropy:
            logs = torch.log_softmax(self._outputs[:agents, :, : self._world.actions], dim=-1)
            disorder = -(self._chances * logs).sum(-1, keepdim=True)
            logits += recipe.entropy / samples * self._chances * (logs + disorder)
        values = self._outputs[agents:, :, 0]
        critics[..., 0] = 2 * recipe.value_weight / samples * (values - returns.reshape(agents, samples))
        for layer in reversed(range(len(self._layers))):
            error, (slope, bias_slope) = self._errors[layer], self._slopes[layer]
            torch.bmm(self._inputs[layer].transpose(1, 2), error, out=slope)
            torch.sum(error, dim=1, keepdim=True, out=bias_slope)
            if layer:
                below = torch.bmm(error, self._layers[layer][0].transpose(1, 2), out=self._errors[layer - 1])
                hidden = self._inputs[layer]
                if recipe.activation == "tanh":
                    torch.addcmul(below, below * hidden, hidden, value=-1, out=below)
                else:
                    below *= hidden > 0
        if self._masks is not None:
            self._gradient *= self._masks

    def _update(self, rates: Tensor) -> None:
        """Clip each agent's gradient over both of its networks, then RMSprop."""
        recipe, gradient, averages, scratch = self._recipe, self._gradient, self.averages, self._scratch
        squares = torch.mul(gradient, gradient, out=scratch).sum(1)
        norms = (squares[: self._agents] + squares[self._agents :]).sqrt()
        gradient *= (recipe.clip / (norms + 1e-6)).clamp(max=1.0).repeat(2).unsqueeze(1)
        averages.mul_(_ALPHA).addcmul_(gradient, gradient, value=1 - _ALPHA)
        if recipe.optimizer == "rmsprop":
            torch.sqrt(averages, out=scratch).add_(_EPSILON)
        else:
            torch.add(averages, _EPSILON, out=scratch).sqrt_()
        torch.div(gradient, scratch, out=scratch)
        self.weights.addcmul_(scratch, rates.repeat(2).unsqueeze(1), value=-1)


def unflatten(flat: Tensor, shape: Sequence[int], agent: int, agents: int, widths: Sequence[Sequence[int]]) -> list[list[Layer]]:
    """Return one agent's actor and critic out of a stack's flat tensor, without the padding.

    Args:
        flat: ``[2 P, entries]``.
        shape: padded sizes.
        agent: which.
        agents: P.
        widths: true sizes of the actor's layers and of the critic's, inputs and outputs included.
    """
    views = _views(flat, shape)
    return [
        [
            (weight[row, :inputs, :outputs].t().contiguous(), bias[row, 0, :outputs].clone())
            for (weight, bias), (inputs, outputs) in zip(views, pairwise(true), strict=True)
        ]
        for row, true in zip((agent, agents + agent), widths, strict=True)
    ]


def _flat(agents: Sequence[Sequence[Sequence[Layer]]], shape: Sequence[int], device: torch.device) -> Tensor:
    """Return ``[2 P, entries]``: all actors, then all critics, padded with zeros."""
    entries = sum((inputs + 1) * outputs for inputs, outputs in pairwise(shape))
    flat = torch.zeros(2 * len(agents), entries, device=device)
    views = _views(flat, shape)
    for network in range(2):
        for number, agent in enumerate(agents):
            for (weight, bias), (w, b) in zip(views, agent[network], strict=True):
                weight[network * len(agents) + number, : w.shape[1], : w.shape[0]] = w.t()
                bias[network * len(agents) + number, 0, : b.shape[0]] = b
    return flat


def _views(flat: Tensor, shape: Sequence[int]) -> list[Layer]:
    """Return each layer's weights ``[2 P, inputs, outputs]`` and biases ``[2 P, 1, outputs]`` as views."""
    views, at = [], 0
    for inputs, outputs in pairwise(shape):
        weight = flat[:, at : at + inputs * outputs].view(-1, inputs, outputs)
        at += inputs * outputs
        views.append((weight, flat[:, at : at + outputs].view(-1, 1, outputs)))
        at += outputs
    return views
