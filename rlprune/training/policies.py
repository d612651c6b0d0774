"""What pruning needs to know of a Stable-Baselines3 actor-critic policy: its anatomy, its size, its outputs."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlprune.groups import Anatomy, chain

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.policies import ActorCriticPolicy

_NETWORKS = {"actor": ("policy_net", "action_net"), "critic": ("value_net", "value_net")}


def anatomy(policy: "ActorCriticPolicy") -> Anatomy:
    """Return the anatomy of an MLP policy with separate actor and critic.

    Every linear weight may be pruned, first and last layers included; hidden units are the channels, and each
    network's outputs (action logits, value) stay.
    """
    chains = {}
    for network, (body, head) in _NETWORKS.items():
        hidden = [
            f"mlp_extractor.{body}.{name}"
            for name, layer in getattr(policy.mlp_extractor, body).named_children()
            if isinstance(layer, nn.Linear)
        ]
        chains[network] = [*hidden, head]
    return Anatomy(
        weights={network: [f"{layer}.weight" for layer in layers] for network, layers in chains.items()},
        groups={network: chain(policy, layers) for network, layers in chains.items()},
    )


def outputs(policy: nn.Module) -> list[Tensor]:
    """Return action logits and value of an MLP policy for one observation of ones, in the policy's own precision."""
    weight = next(policy.parameters())
    features = policy.features_extractor.features_dim  # type: ignore[union-attr]
    ones = torch.ones(1, features, dtype=weight.dtype, device=weight.device)  # type: ignore[arg-type]
    actor, critic = policy.mlp_extractor(ones)  # type: ignore[operator]
    return [policy.action_net(actor), policy.value_net(critic)]  # type: ignore[operator]


def resize(model: "OnPolicyAlgorithm") -> None:
    """Make the attributes by which Stable-Baselines3 rebuilds a policy agree with the sizes of its layers.

    After it ``model.save`` writes an agent that ``A2C.load`` builds small.
    """
    policy = model.policy
    widths = {
        key: [layer.out_features for layer in getattr(policy.mlp_extractor, body).children() if isinstance(layer, nn.Linear)]
        for key, body in (("pi", "policy_net"), ("vf", "value_net"))
    }
    policy.net_arch = widths
    policy.mlp_extractor.latent_dim_pi, policy.mlp_extractor.latent_dim_vf = widths["pi"][-1], widths["vf"][-1]
    model.policy_kwargs = {**model.policy_kwargs, "net_arch": widths}


class Actor(nn.Module):
    """The actor of an MLP policy alone: observations [batch, features] to action logits (or means) [batch, actions]."""

    def __init__(self, policy: "ActorCriticPolicy") -> None:
        super().__init__()
        self.body, self.head = policy.mlp_extractor.policy_net, policy.action_net

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(observations))
        return logits
