"""Many A2C agents trained as one batch, each behind the same seam as a single one.

An agent's numbers depend on nothing but its own seed, plan and padded sizes: not on who else is in the fleet. Between
epochs an agent is a Stable-Baselines3 policy with its optimizer, so pruning, cutting, rewinding, saving and loading
are those of ``A2CTrainer``; for an epoch agents of equal padded sizes are joined into a ``Stack``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.plan import TrainEpoch
from rlprune.training.a2c import A2CTrainer
from rlprune.training.lots import uniform
from rlprune.training.recipes import A2CRecipe
from rlprune.training.stack import Layer, Stack, sizes, unflatten
from rlprune.training.trainer import Seeds
from rlprune.training.worlds import KINDS, World

PADDING = 16
"""Hidden layers of a stack are as wide as the next multiple of this."""


class FleetAgent(A2CTrainer):
    """One agent of a fleet; alone it is a fleet of one.

    Raises:
        ValueError: an environment or optimizer that the fleet does not have.
    """

    def __init__(self, recipe: A2CRecipe, seeds: Seeds, device: str) -> None:
        if recipe.environment not in KINDS:
            known = ", ".join(KINDS)
            raise ValueError(f"the fleet has no batched {recipe.environment}, only {known}: train it with --engine sb3")
        if recipe.optimizer == "adam":
            raise ValueError("the fleet trains with rmsprop and rmsprop-tf: train adam with --engine sb3")
        super().__init__(recipe, seeds, device)
        self.keys, self._played = _key(seeds, "actions", self.model.device), 0
        self.world = KINDS[recipe.environment].begin(
            _key(seeds, "environments", self.model.device), recipe.environments, recipe.max_episode_steps
        )

    @property
    def recipe(self) -> A2CRecipe:
        return self._recipe

    @property
    def samples(self) -> int:
        return self._played

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        (measures,) = train([self], [epoch])
        return measures

    @staticmethod
    def train_together(trainers: Sequence["FleetAgent"], epochs: Sequence[TrainEpoch]) -> list[dict[str, float]]:  # type: ignore[override]
        return train(trainers, epochs)

    def evaluate(self) -> Mapping[str, float]:
        """Play fresh games greedily and, again, by sampling; add the latest training games."""
        values: dict[str, float] = {}
        for how in ("greedy", "sampled"):
            games = _games(self, greedily=how == "greedy")
            values |= {f"return_{how}": float(games.mean()), f"return_{how}_std": float(games.std(correction=0))}
        return values | _latest(self)

    def state(self) -> dict[str, Any]:
        return {
            "policy": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self._played,
            "world": self.world.state,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._played = state["steps"]
        self.world.state = dict(state["world"])

    # -- between a policy and a stack ----------------------------------------------------------------------------

    def layers(self) -> list[list[nn.Linear]]:
        """Return the linear layers of actor and critic."""
        body, policy = self.module.mlp_extractor, self.module
        networks = [*body.policy_net, policy.action_net], [*body.value_net, policy.value_net]
        return [[layer for layer in network if isinstance(layer, nn.Linear)] for network in networks]

    def shape(self) -> tuple[int, ...]:
        """Return the padded sizes of both networks: those of the widest hidden layer, in multiples of ``PADDING``."""
        networks = self.layers()
        widest = max(layer.out_features for network in networks for layer in network[:-1])
        outputs = max(network[-1].out_features for network in networks)
        return tuple(sizes(networks[0][0].in_features, -(-widest // PADDING) * PADDING, len(networks[0]) - 1, outputs))

    def widths(self) -> list[list[int]]:
        """Return the true layer sizes of actor and critic."""
        return [[network[0].in_features, *(layer.out_features for layer in network)] for network in self.layers()]

    def weights(self) -> list[list[Layer]]:
        return [[(layer.weight.detach(), layer.bias.detach()) for layer in network] for network in self.layers()]

    def averages(self) -> list[list[Layer]]:
        """Return the optimizer's square averages, or what it starts from."""
        state, first = self.optimizer.state, torch.zeros_like if self._recipe.optimizer == "rmsprop" else torch.ones_like

        def of(parameter: Tensor) -> Tensor:
            return state[parameter]["square_avg"] if parameter in state else first(parameter.detach())

        return [[(of(layer.weight), of(layer.bias)) for layer in network] for network in self.layers()]

    def masks(self) -> list[list[Layer]] | None:
        """Return where weights are not zero, if any are: pruned weights are zero, and biases are never pruned."""
        weights = self.weights()
        if all(bool(weight.all()) for network in weights for weight, _ in network):
            return None
        return [[((weight != 0).float(), torch.ones_like(bias)) for weight, bias in network] for network in weights]

    def take(self, weights: Sequence[Sequence[Layer]], averages: Sequence[Sequence[Layer]], updates: int, world: World) -> None:
        """Take over what a stack learned in ``updates`` updates."""
        state = self.optimizer.state
        for network, news, means in zip(self.layers(), weights, averages, strict=True):
            for layer, new, mean in zip(network, news, means, strict=True):
                for parameter, value, average in zip((layer.weight, layer.bias), new, mean, strict=True):
                    parameter.data.copy_(value)
                    step = state[parameter]["step"] if parameter in state else 0
                    state[parameter] = {"step": step + updates, "square_avg": average}
        self._played += updates * self._recipe.rollout_steps * self._recipe.environments
        self.world = world


def train(agents: Sequence[FleetAgent], epochs: Sequence[TrainEpoch]) -> list[dict[str, float]]:
    """Train every agent for one epoch, each on its own part of the schedule; return each one's measures.

    Args:
        agents: of one recipe.
        epochs: what remains of each one's schedule at the epoch's start and end.
    """
    alike: dict[tuple[tuple[int, ...], bool], list[int]] = defaultdict(list)
    masks = [agent.masks() for agent in agents]
    for number, agent in enumerate(agents):
        alike[agent.shape(), masks[number] is not None].append(number)
    for (shape, masked), numbers in alike.items():
        members = [agents[number] for number in numbers]
        _train_alike(
            shape, members, [epochs[number] for number in numbers], [masks[number] for number in numbers] if masked else None
        )
    return [_latest(agent) for agent in agents]


def _train_alike(
    shape: Sequence[int], agents: Sequence[FleetAgent], epochs: Sequence[TrainEpoch], masks: Sequence[Any] | None
) -> None:
    recipe = agents[0].recipe
    device = agents[0].world.state["keys"].device
    world = type(agents[0].world).join([agent.world for agent in agents])
    stack = Stack(
        recipe,
        shape,
        [agent.weights() for agent in agents],
        [agent.averages() for agent in agents],
        masks,
        torch.cat([agent.keys for agent in agents]),
        torch.tensor([agent.samples // recipe.environments for agent in agents], device=device),
        world,
    )
    start, end = (torch.tensor([getattr(epoch, name) for epoch in epochs], device=device) for name in ("start", "end"))
    for iteration in range(recipe.iterations):
        share = start + (end - start) * (iteration / recipe.iterations)
        stack.iterate(recipe.learning_rate * (share if recipe.annealing == "linear" else torch.ones_like(share)))
    for number, (agent, own) in enumerate(zip(agents, world.split(), strict=True)):
        weights, averages = (
            unflatten(flat, shape, number, len(agents), agent.widths()) for flat in (stack.weights, stack.averages)
        )
        agent.take(weights, averages, recipe.iterations, own)


def _games(agent: FleetAgent, *, greedily: bool) -> Tensor:
    """Return the return of the first game in each of ``evaluation_games`` fresh environments."""
    recipe, device = agent.recipe, agent.model.device
    keys = _key(agent.seeds, "evaluation", device)
    world = KINDS[recipe.environment].begin(keys, recipe.evaluation_games, recipe.max_episode_steps)
    returns, playing = torch.zeros(recipe.evaluation_games, device=device), torch.ones(recipe.evaluation_games, device=device)
    with torch.no_grad():
        for step in range(world.horizon):
            logits = agent.module.get_distribution(world.observe()[0]).distribution.logits  # type: ignore[union-attr]
            if greedily:
                chosen = logits.argmax(-1)
            else:
                noise = uniform(keys, torch.full_like(keys, -1 - step), recipe.evaluation_games)
                chosen = (logits.softmax(-1)[:, :-1].cumsum(-1) < noise[0].unsqueeze(-1)).sum(-1)
            moved = world.step(chosen.unsqueeze(0))
            returns += playing * moved.rewards[0]
            playing *= ~(moved.terminated | moved.truncated)[0]
            if not playing.is_cuda and not playing.any():
                break
    return returns


def _latest(agent: FleetAgent) -> dict[str, float]:
    mean = float(agent.world.latest()[0])
    return {} if np.isnan(mean) else {"return_train": mean}


def _key(seeds: Seeds, use: str, device: torch.device) -> Tensor:
    return torch.from_numpy(seeds(use).generate_state(1, np.uint64).view(np.int64)).to(device)
