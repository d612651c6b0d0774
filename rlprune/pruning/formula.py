"""A pruner's formula, held to what a score has to be: a number for all there is to rank, and nothing changed."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlprune.pruning.plan import Score, Scores
from rlprune.pruning.probe import Probe, in_full
from rlprune.pruning.pruner import WEIGHTS, CommonSettings, Pruner
from rlprune.reason import NotApplicable
from rlprune.words import nearest

_COPIED = 1 << 24
"""The most parameters of a network that is copied while a formula looks at it."""

_UNDERIVABLE = re.compile(r"derivative for '?(?:aten::)?_*(\w+?)(_backward)?'? is not implemented|double backward", re.I)


class Formula:
    """The score of a pruner under its settings.

    Args:
        pruner: one that removes something.
        settings: its settings.
        score: another one, of a step of its plan.
    """

    def __init__(self, pruner: Pruner, settings: CommonSettings, score: "Score | None" = None) -> None:
        self._name, self._cut, self._score = pruner.name, pruner.cut, score or pruner.formula(settings)

    def __call__(self, probe: Probe) -> Scores:
        """Return the scores of a network.

        Raises:
            NotApplicable: a network that this formula cannot score.
            ValueError: something else than numbers for each weight or channel there is to rank, or a weight that was changed.
        """
        name = self._name
        before, copies = _sums(probe.module), _copies(probe.module)
        try:
            with in_full(probe.module):
                scores = self._score(probe)
        except NotApplicable as error:
            raise NotApplicable(f"{name}: {error}") from None
        except RuntimeError as error:
            if not (found := _UNDERIVABLE.search(str(error))):
                raise
            what, order = found[1] or "a part of it", "second " if found[2] or not found[1] else ""
            raise NotApplicable(f"{name} cannot score this network: {what} has no {order}derivative") from None
        finally:
            self._only_read(probe.module, before, copies)
        if self._cut == WEIGHTS:
            expected = {key: tuple(weight.shape) for key, weight in probe.weights.items()}
        else:
            expected = {group.name: (group.size,) for group in probe.groups}
        if not isinstance(scores, Mapping):
            raise ValueError(f"{name}: a score returns a tensor for each name, got a {type(scores).__name__}")
        kind, device = "weight" if self._cut == WEIGHTS else "group", next(probe.module.parameters()).device
        for key in scores:
            if key not in expected:
                read = self._cut == WEIGHTS and key in probe.parameters  # biases among them, which are never pruned
                hint = ": go over probe.weights" if read else nearest(str(key), list(expected))
                raise ValueError(f"{name}: the score names '{key}', which is no {kind} to prune{hint}")
        for key, shape in expected.items():
            if key not in scores:
                raise ValueError(f"{name}: the score leaves out the {kind} {key}")
            score = scores[key]
            if not isinstance(score, Tensor) or not score.is_floating_point() or tuple(score.shape) != shape:
                got = f"{score.dtype} {tuple(score.shape)}" if isinstance(score, Tensor) else f"a {type(score).__name__}"
                raise ValueError(f"{name}: the score of {key} has to be floating-point numbers of shape {shape}, got {got}")
            if score.device != device:
                raise ValueError(f"{name}: the score of {key} lies on {score.device}, the network on {device}")
        return scores

    def _only_read(self, module: nn.Module, before: Tensor, copies: Mapping[str, Tensor]) -> None:
        """Refuse a formula that changed a weight, and put the network back where there are copies."""
        weights = _readable(module)
        changed = (before.nan_to_num() != _sums(module).nan_to_num()).any(1).tolist()
        if not any(changed):
            return
        for name, weight in copies.items():
            weights[name].copy_(weight)
        key = next(name for name, other in zip(weights, changed, strict=True) if other)
        lost = "" if copies else "; this network is too large to be copied before, and stays changed"
        raise ValueError(f"{self._name}: its score changed the weight {key}: a score only reads{lost}")


def _readable(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter that a formula may read and has to leave as it is."""
    named = module.named_parameters()
    return {name: parameter.detach() for name, parameter in named if parameter.is_floating_point()}


def _sums(module: nn.Module) -> Tensor:
    """Return sum and norm of every parameter, by which a formula is found to have changed one; nothing is copied."""
    return torch.stack([torch.stack([weight.sum(), weight.norm()]).double() for weight in _readable(module).values()])


def _copies(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of all parameters, none of a network so large that they would be felt."""
    weights = _readable(module)
    small = sum(weight.numel() for weight in weights.values()) <= _COPIED
    return {name: weight.clone() for name, weight in weights.items()} if small else {}
