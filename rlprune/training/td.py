"""What DQN, SAC, TD3 and DDPG of Stable-Baselines3 learn from: each network's own loss on a sample of the replay buffer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from rlprune.training.trainer import Generators

Losses: TypeAlias = dict[str, Tensor]
"""A network's name to its loss: ``network`` of DQN; else ``actor`` and ``critic``, or ``critic1``, ``critic2``."""


@dataclass(frozen=True)
class Transitions:
    """Transitions out of a replay buffer, normalised as the agent's environments are, and the noise that their losses want.

    Args:
        replay: what the replay buffer's ``sample`` returned.
        noise: standard normal, [transitions, actions] each: ``now`` and ``next`` of SAC, ``next`` of TD3.
    """

    replay: Any
    noise: Mapping[str, Tensor]


def sampled(model: OffPolicyAlgorithm, transitions: int, seed: np.random.SeedSequence) -> list[Transitions]:
    """Draw about so many transitions, no more than the buffer holds, in equal batches no larger than those that train.

    A seed's sample of the same buffer is the same; no generator but its own moves.

    Raises:
        ValueError: an empty buffer.
    """
    assert model.replay_buffer is not None
    held = model.replay_buffer.size() * model.n_envs
    if not held:
        raise ValueError("the replay buffer is empty: there is nothing to score on")
    count = min(transitions, held)
    parts = -(-count // model.batch_size)
    with Generators.seeded(seed).owned():
        return [_drawn(model, -(-count // parts)) for _ in range(parts)]


def _drawn(model: OffPolicyAlgorithm, count: int) -> Transitions:
    assert model.replay_buffer is not None
    replay = model.replay_buffer.sample(count, env=model._vec_normalize_env)
    uses = {SAC: ("now", "next"), TD3: ("next",)}
    wanted = next((names for kind, names in uses.items() if isinstance(model, kind)), ())
    return Transitions(replay, {use: torch.randn(replay.actions.shape).to(model.device) for use in wanted})


def losses(model: OffPolicyAlgorithm, batch: Transitions, policy: nn.Module | None = None) -> Losses:
    """Return the loss of each network, whose gradient by that network alone is the one that ``model.train`` steps along.

    An actor's loss has no gradient by the critics that judge it, targets have none at all; so the gradient of the sum of all
    losses is each network's own.

    Args:
        policy: in place of the model's own, a copy of it say.
    """
    policy = model.policy if policy is None else policy
    match model:
        case DQN():
            return _dqn(model, batch, policy)
        case SAC():
            return _sac(model, batch, policy)
        case TD3():
            return _td3(model, batch, policy)
        case _:
            raise ValueError(f"what {type(model).__name__} learns from is not known; DQN, SAC, TD3 and DDPG are")


def loss(model: OffPolicyAlgorithm, policy: nn.Module, temperature: float = 1.0, *, batch: Transitions) -> Tensor:
    """Return the sum of what each network learns from, whose gradient is each one's own; a policy has no temperature."""
    return torch.stack(list(losses(model, batch, policy).values())).sum()


def _dqn(model: DQN, batch: Transitions, policy: Any) -> Losses:
    replay = batch.replay
    with torch.no_grad():
        target = _target(model, replay, policy.q_net_target(replay.next_observations).max(1, keepdim=True).values)
    values = policy.q_net(replay.observations).gather(1, replay.actions.long())
    return {"network": functional.smooth_l1_loss(values, target)}


def _sac(model: SAC, batch: Transitions, policy: Any) -> Losses:
    replay = batch.replay
    entropy = model.ent_coef_tensor if model.log_ent_coef is None else model.log_ent_coef.detach().exp()
    with torch.no_grad():
        actions, log_probs = _acted(policy.actor, replay.next_observations, batch.noise["next"])
        following = torch.cat(policy.critic_target(replay.next_observations, actions), 1).min(1, keepdim=True).values
        target = _target(model, replay, following - entropy * log_probs)
    critics = [0.5 * functional.mse_loss(values, target) for values in policy.critic(replay.observations, replay.actions)]
    actions, log_probs = _acted(policy.actor, replay.observations, batch.noise["now"])
    judged = torch.cat(_unlearning(policy.critic, replay.observations, actions), 1).min(1, keepdim=True).values
    return {"actor": (entropy * log_probs - judged).mean(), **_named(critics)}


def _td3(model: TD3, batch: Transitions, policy: Any) -> Losses:
    replay = batch.replay
    with torch.no_grad():
        noise = (batch.noise["next"] * model.target_policy_noise).clamp(-model.target_noise_clip, model.target_noise_clip)
        actions = (policy.actor_target(replay.next_observations) + noise).clamp(-1, 1)
        following = torch.cat(policy.critic_target(replay.next_observations, actions), 1).min(1, keepdim=True).values
        target = _target(model, replay, following)
    critics = [functional.mse_loss(values, target) for values in policy.critic(replay.observations, replay.actions)]
    judged = _unlearning(policy.critic, replay.observations, policy.actor(replay.observations))[0]
    return {"actor": -judged.mean(), **_named(critics)}


def _target(model: OffPolicyAlgorithm, replay: Any, following: Tensor) -> Tensor:
    discounts = model.gamma if replay.discounts is None else replay.discounts
    target: Tensor = replay.rewards + (1 - replay.dones) * discounts * following
    return target


def _acted(actor: Any, observations: Any, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the actions of a SAC actor with this noise, and their log-probabilities [batch, 1]."""
    means, log_stds, _ = actor.get_action_dist_params(observations)
    chosen = SquashedDiagGaussianDistribution(means.shape[1]).proba_distribution(means, log_stds)
    raw = means + log_stds.exp() * noise
    actions = raw.tanh()
    return actions, chosen.log_prob(actions, raw).reshape(-1, 1)


def _unlearning(critic: nn.Module, observations: Any, actions: Tensor) -> tuple[Tensor, ...]:
    """Return what critics think of actions, with a gradient by the actions alone."""
    fixed = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    values: tuple[Tensor, ...] = functional_call(critic, fixed, (observations, actions))
    return values


def _named(critics: Sequence[Tensor]) -> Losses:
    return {"critic" if len(critics) == 1 else f"critic{number}": loss for number, loss in enumerate(critics, 1)}
