"""Advantage actor-critic for many agents at once, each with its own weights, equal to Stable-Baselines3 to rounding.

The networks of P agents are tensors [P, 2, in, out], actor and critic of an agent side by side; all their layers lie in
one buffer, their gradients and moments in others of the same layout. The gradient is written out by hand: an update
uses the very weights that acted, so the rollout's activations serve it and no second pass forward is needed.

Nothing here waits for the device, and what lasts from one iteration to the next is updated in place, so that a CUDA
graph can repeat an iteration.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from rlprune.masked import Masks
from rlprune.training import noise
from rlprune.training.environments import BatchedEnv, Games
from rlprune.training.recipes import A2CRecipe

Weights: TypeAlias = Mapping[str, Tensor]
"""Stable-Baselines3's parameter names of an MLP policy with separate actor and critic, to tensors [out, in] or [out]."""
Sizes: TypeAlias = tuple[int, ...]
"""Features, units of each hidden layer, actions."""

_UNIT = 16  # hidden layers are filled up to its multiples
_FEWEST = 4  # agents are filled up to its multiples: smaller batches and odd ones take other code paths, with other bits
_CACHED = 1 << 16  # elements that stay in the cache through all operations of an optimizer's step

# -- agents and stacks of them -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agent:
    """One agent outside a fleet: its networks and what its optimizer knows of them.

    Args:
        seed: of its action noise.
        weights: parameters of both networks.
        masks: kept weights, by parameter name; a parameter left out is whole.
        moments: the optimizer's averages (``square_avg``; Adam's ``exp_avg``, ``exp_avg_sq``), each by parameter name;
            empty before the first update.
        steps: updates its optimizer has made.
        iterations: rollouts it has played; with the seed they determine the action noise.
    """

    seed: int
    weights: Weights
    masks: Masks = field(default_factory=dict)
    moments: Mapping[str, Weights] = field(default_factory=dict)
    steps: int = 0
    iterations: int = 0


def sizes(weights: Weights) -> Sizes:
    """Return the sizes at which an agent is computed, which depend on the agent alone.

    They are those of the larger of its two networks at each hidden layer, up to the next multiple of 16. Agents of equal
    sizes can share a fleet.
    """
    actor, critic = ([tuple(weights[f"{layer}.weight"].shape) for layer in _layers(weights, network)] for network in range(2))
    hidden = (-(-max(a, c) // _UNIT) * _UNIT for (a, _), (c, _) in zip(actor[:-1], critic[:-1], strict=True))
    return (actor[0][1], *hidden, actor[-1][0])


class Stack:
    """The parameters of P agents, or what has their shape: one buffer, and the layers as views of it.

    A layer's weights are [P, 2, in, out] and its biases [P, 2, 1, out]; 0 is the actor, 1 the critic. Padding is zero: a
    unit of padding has no weights in or out and no bias, so it outputs zero and receives no gradient. The critic's head
    has as many columns as the actor's and uses the first.
    """

    def __init__(self, sizes: Sizes, agents: int, device: torch.device) -> None:
        shapes = [(agents, 2, *shape) for inputs, outputs in pairwise(sizes) for shape in ((inputs, outputs), (1, outputs))]
        lengths = [-(-math.prod(shape) // _UNIT) * _UNIT for shape in shapes]  # so that every layer is aligned
        self.buffer = torch.zeros(sum(lengths), device=device)
        parts = self.buffer.split(lengths)
        views = [part[: math.prod(shape)].view(shape) for part, shape in zip(parts, shapes, strict=True)]
        self.weights, self.biases = views[::2], views[1::2]
        self.rows = [view.view(agents, -1) for view in views]

    def fill(self, agent: int, value: float) -> None:
        """Set all that belongs to an agent, padding included."""
        for rows in self.rows:
            rows[agent] = value

    def write(self, agent: int, values: Weights, names: Weights) -> None:
        """Set what ``values`` names, of an agent whose parameters are ``names``."""
        places = self._places(agent, names)
        for name, value in values.items():
            places[name].copy_(value)

    def read(self, agent: int, names: Weights) -> dict[str, Tensor]:
        """Return copies of an agent's tensors, named as ``names`` and of their shapes."""
        return {name: place.clone(memory_format=torch.contiguous_format) for name, place in self._places(agent, names).items()}

    def _places(self, agent: int, names: Weights) -> dict[str, Tensor]:
        places = {}
        for network in range(2):
            for weights, biases, layer in zip(self.weights, self.biases, _layers(names, network), strict=True):
                outputs, inputs = names[f"{layer}.weight"].shape
                places[f"{layer}.weight"] = weights[agent, network].T[:outputs, :inputs]
                places[f"{layer}.bias"] = biases[agent, network, 0, :outputs]
        return places


def _layers(names: Weights, network: int) -> list[str]:
    """Return the names of the actor's (0) or the critic's (1) layers, first to last."""
    body, head = (("policy_net", "action_net"), ("value_net", "value_net"))[network]
    hidden = sum(name.startswith(f"mlp_extractor.{body}.") and name.endswith(".weight") for name in names)
    return [*(f"mlp_extractor.{body}.{2 * layer}" for layer in range(hidden)), head]  # activations stand between them


# -- optimizers: a piece of the parameters at a time, all of its operations while it is in the cache -------------------
#
# Each is given the piece's gradients, parameters and moments, a scratch tensor, the rates and corrections of its rows.


def _rmsprop(gradient: Tensor, weights: Tensor, moments: Sequence[Tensor], scratch: Tensor, rates: Tensor, steps: Tensor) -> None:
    (square,) = moments
    square.mul_(0.99).addcmul_(gradient, gradient, value=1 - 0.99)
    torch.sqrt(square, out=scratch).add_(1e-5)
    weights.addcmul_(torch.div(gradient, scratch, out=scratch), rates, value=-1)


def _rmsprop_tf(gradient: Tensor, weights: Tensor, moments: Sequence[Tensor], scratch: Tensor, rates: Tensor, steps: Tensor) -> None:
    (square,) = moments
    square.mul_(0.99).addcmul_(gradient, gradient, value=1 - 0.99)
    torch.add(square, 1e-5, out=scratch).sqrt_()
    weights.addcmul_(torch.div(gradient, scratch, out=scratch), rates, value=-1)


def _adam(gradient: Tensor, weights: Tensor, moments: Sequence[Tensor], scratch: Tensor, rates: Tensor, steps: Tensor) -> None:
    mean, square = moments
    mean.lerp_(gradient, 1 - 0.9)
    square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
    torch.sqrt(square, out=scratch).div_((1 - 0.999**steps).sqrt().float()).add_(1e-5)
    weights.addcmul_(torch.div(mean, scratch, out=scratch), rates / (1 - 0.9**steps).float(), value=-1)


@dataclass(frozen=True)
class _Optimizer:
    step: Callable[[Tensor, Tensor, Sequence[Tensor], Tensor, Tensor, Tensor], None]
    start: Mapping[str, float]  # what each moment is before the first update


_OPTIMIZERS = {
    "rmsprop": _Optimizer(_rmsprop, {"square_avg": 0.0}),
    "rmsprop-tf": _Optimizer(_rmsprop_tf, {"square_avg": 1.0}),
    "adam": _Optimizer(_adam, {"exp_avg": 0.0, "exp_avg_sq": 0.0}),
}


# -- the fleet ---------------------------------------------------------------------------------------------------------


class Fleet:
    """Agents of one recipe and of equal ``sizes``, with their environments, in training.

    Args:
        agents: in the order of the environments' agents.
        envs: their environments, begun.
        recipe: the numbers; all agents share them.
        games: the record of their latest games, or None to begin one.

    Raises:
        ValueError: agents of different sizes, or environments that are not theirs.
    """

    def __init__(self, agents: Sequence[Agent], envs: BatchedEnv, recipe: A2CRecipe, device: str = "cpu", games: Games | None = None) -> None:
        if len(shapes := {sizes(agent.weights) for agent in agents}) != 1:
            raise ValueError(f"agents of one fleet have equal sizes, got {sorted(shapes)}")
        (shape,) = shapes
        if (envs.agents, envs.features, envs.actions) != (len(agents), shape[0], shape[-1]):
            got = f"{envs.agents} agents with {envs.features} features and {envs.actions} actions"
            raise ValueError(f"environments for {len(agents)} agents of sizes {shape} wanted, got some for {got}")
        self.envs, self.games = envs, games or Games(len(agents), envs.environments, device)
        self._recipe, self._names = recipe, [agent.weights for agent in agents]
        self._agents, self._environments, self._steps = len(agents), envs.environments, recipe.rollout_steps
        self._device = torch.device(device)
        slots = -(-len(agents) // _FEWEST) * _FEWEST
        self._allocate(slots, shape)
        for slot in range(slots):
            self._load(slot, agents[slot % len(agents)])
        self._inputs[0][: self._agents, 0, : self._environments] = envs.observations

    def _allocate(self, slots: int, shape: Sizes) -> None:
        """Make all tensors; rows beyond the agents' are company for the smallest fleets and go nowhere."""
        recipe, device, steps, count = self._recipe, self._device, self._steps, self._environments
        # an environment is truncated at most once in any ``limit`` steps: one place for each such stretch of a rollout
        stretches = -(-steps // self.envs.limit)
        rows = (steps + 1 + stretches) * count
        self._samples = steps * count
        self._weights, self._gradient = Stack(shape, slots, device), Stack(shape, slots, device)
        self._optimizer = _OPTIMIZERS[recipe.optimizer]
        self._moments = {name: Stack(shape, slots, device) for name in self._optimizer.start}
        self._masks: Stack | None = None
        self._seeds, self._optimizer_steps, self._iterations = (
            torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(3)
        )
        self._rates = torch.zeros(slots, 1, device=device)
        # the inputs of each layer: of a rollout's steps, of its end, and of games cut short by the clock
        self._inputs = [torch.zeros(slots, 2, rows, width, device=device) for width in shape[:-1]]
        self._scratch = [torch.zeros(slots * 2 * rows * max(shape), device=device) for _ in range(2)]
        self._piece = torch.zeros_like(self._gradient.buffer if device.type == "cuda" else self._gradient.buffer[: 4 * _CACHED])
        self._logits = torch.zeros(slots, steps, count, shape[-1], device=device)
        self._errors = torch.zeros(slots, 2, self._samples, shape[-1], device=device)
        self._rewards = torch.zeros(slots, steps, count, device=device)
        self._ended, self._truncated = (torch.zeros(slots, steps, count, dtype=torch.bool, device=device) for _ in range(2))
        self._actions = torch.zeros(slots, steps, count, dtype=torch.int64, device=device)
        self._draws = torch.arange(steps * count * shape[-1], device=device)

    def _load(self, slot: int, agent: Agent) -> None:
        names = agent.weights
        for stack, values, blank in (
            (self._weights, names, 0.0),
            *((self._moments[name], agent.moments.get(name, {}), start) for name, start in self._optimizer.start.items()),
        ):
            stack.fill(slot, blank)
            stack.write(slot, values, names)
        if any(not bool(mask.all()) for mask in agent.masks.values()) and self._masks is None:
            self._masks = Stack(self._weights.sizes, len(self._seeds), self._device)
            self._masks.buffer.fill_(1.0)
        if self._masks is not None:
            self._masks.fill(slot, 1.0)
            self._masks.write(slot, agent.masks, names)
        self._seeds[slot], self._optimizer_steps[slot], self._iterations[slot] = agent.seed, agent.steps, agent.iterations
