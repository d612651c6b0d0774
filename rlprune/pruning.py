"""A pruner at work on somebody's network: follows the plan between epochs, whoever trains.

The host owns the training and calls two methods; a benchmark cell, a callback and a plain PyTorch loop do the same:

    while (epoch := pruning.next_epoch()) is not None:     # prunes, saves and rewinds what is due
        ...train one epoch, its learning rate following epoch.start to epoch.end...
        pruning.epoch_done()
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rlprune import plan as plans
from rlprune import select, surgery
from rlprune.groups import Anatomy, Group, Member, everything, present
from rlprune.masked import Masked, Masks
from rlprune.plan import Progress, PruneTo, Rewind, Save, TrainEpoch
from rlprune.probe import Probe, Scoring
from rlprune.pruner import CHANNELS, WEIGHTS, CommonSettings, Pruner, Scope


class Subject(Protocol):
    """What gets pruned: a network in training."""

    @property
    def module(self) -> nn.Module:
        """The module that holds every network."""

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Its optimizer, whose state follows every mask and cut."""

    @property
    def anatomy(self) -> Anatomy:
        """What of the module may be pruned, in the dense network's numbering."""

    def scoring(self, round: int) -> Scoring:
        """Return the data for one round of scoring; leaves network, environments and generators alone."""

    def resized(self) -> None:
        """Follow a pruning step: bring attributes that repeat the network's sizes up to date."""


class PlanFollower:
    """One pruner, one network, one plan.

    Args:
        subject: what gets pruned.
        pruner: the method.
        settings: its settings, from ``pruner.settings``.
        sparsity: share of the dense network's prunable weights to remove, in [0, 1).
        epochs: the budget in epochs.
        scope: what is ranked against what, where the settings leave it open.
        seeds: a use's name to its seed; draws lots for pruners that need noise.

    Raises:
        ValueError: a plan that rewinds after channels were cut, or a network without what the pruner needs.
    """

    def __init__(
        self,
        subject: Subject,
        pruner: Pruner,
        settings: CommonSettings,
        sparsity: float,
        epochs: int,
        scope: Scope,
        seeds: Callable[[str], np.random.SeedSequence],
    ) -> None:
        if missing := lacking(pruner, subject.module):
            raise ValueError(f"{pruner.name} needs {', '.join(missing)}, which this network does not have")
        self.plan = pruner.steps(settings)
        self.sparsity = sparsity
        self.epochs = epochs
        self.progress = plans.begin(self.plan, sparsity, epochs)
        self.masked = Masked(subject.module, subject.optimizer)
        self.trigger_value: float | None = None
        self.travelled: float | None = None
        self.pruning_epoch: int | None = None
        self.scoring_seconds = 0.0
        self.scoring_samples = 0
        self._subject = subject
        self._pruner = pruner
        self._formula = pruner.formula(settings) if pruner.score is not None else None
        self._floor, self._moments = settings.floor, settings.moments
        self._scope = settings.scope or pruner.scope or scope
        self._seeds = seeds
        self._dense = {name: tuple(subject.module.get_parameter(name).shape) for name in subject.anatomy.all_weights()}
        self._kept = everything(subject.anatomy.all_groups())
        self._saved: dict[str, Any] | None = None
        self._references: dict[str, dict[str, Tensor]] = {}
        self._drawn: list[Tensor] = []
        self._undo: list[Callable[[], object]] = []
        if pruner.cut == CHANNELS and any(isinstance(step, Rewind) for step in self.plan):
            raise ValueError(f"{pruner.name} cuts channels and rewinds: what was cut cannot come back")
        if any(isinstance(step, plans.Train) and step.until is not None for step in self.plan):
            self._references["start"] = self._snapshot()

    def counted_from(self, dense: Mapping[str, Sequence[int]], masks: Masks) -> None:
        """Count from a dense network of these shapes, of which the present one was cut and masked before.

        The subject's groups have the dense network's sizes.
        """
        self._dense = {name: tuple(dense[name]) for name in self._dense}
        for group in self._subject.anatomy.all_groups():
            maker = self._makers(group)[0]
            left = self._subject.module.get_parameter(maker.tensor).shape[maker.dim] // (maker.outer * maker.inner)
            self._kept[group.name] = torch.arange(group.size) < left
        self.masked.set(masks)

    # -- following the plan --------------------------------------------------------------------------------------

    def next_epoch(self) -> TrainEpoch | None:
        """Do what is due before the next epoch and return that epoch, or None when the plan is finished."""
        while True:
            action = plans.next_action(self.plan, self.sparsity, self.epochs, self.progress)
            match action:
                case None:
                    return None
                case TrainEpoch():
                    self._prepare(self.plan[self.progress.step])
                    return action
                case PruneTo(sparsity, round):
                    self._prune(sparsity, round)
                case Save():
                    self._saved = self._training_state()
                case Rewind():
                    self._rewind()
            self.progress = plans.after(self.plan, self.sparsity, self.epochs, self.progress, action)

    def epoch_done(self) -> None:
        """Take note that the epoch was trained, and of what the plan waits for."""
        while self._undo:
            self._undo.pop()()
        trigger = plans.waiting_for(self.plan, self.progress)
        reading = self.travelled = self.trigger_value = None
        if trigger is not None:
            if "epoch1" not in self._references:
                self._references["epoch1"] = self._snapshot()
            reading = trigger.measure(self)
            self.travelled = self.distance("start")
            self.trigger_value = trigger.value((*self.progress.readings, reading))
        epoch = TrainEpoch(0.0, 0.0)
        self.progress = plans.after(self.plan, self.sparsity, self.epochs, self.progress, epoch, reading)

    def distance(self, reference: Literal["start", "epoch1"]) -> float:
        """Return ``‖θ − θ_ref‖₂`` over all trainable parameters."""
        now = self._subject.module
        gaps = [(now.get_parameter(name).detach() - then).square().sum() for name, then in self._references[reference].items()]
        return float(torch.stack(gaps).sum().sqrt())

    def norm(self) -> float:
        """Return ``‖θ_0‖₂``."""
        return float(torch.stack([then.square().sum() for then in self._references["start"].values()]).sum().sqrt())

    def mask_distance(self, window: int) -> float:
        """Draw the channels that would be kept now, and compare; see ``Watch``."""
        assert self._formula is not None
        kept = self._chosen(self._formula(self._probe(0)), self.sparsity)
        self._drawn = [*self._drawn, torch.cat([keep.cpu() for keep in kept.values()])][-window:]
        if len(self._drawn) < window:
            return 1.0
        return max(float((self._drawn[-1] != drawn).double().mean()) for drawn in self._drawn[:-1])

    # -- what is left --------------------------------------------------------------------------------------------

    def layers(self) -> dict[str, dict[str, float]]:
        """Return for every prunable weight how many of its entries are left (``kept``) and were there (``dense``)."""
        left = {name: self._subject.module.get_parameter(name).numel() for name in self._dense}
        left |= {name: int(mask.sum()) for name, mask in self.masked.masks.items()}
        return {name: {"kept": float(left[name]), "dense": float(np.prod(shape))} for name, shape in self._dense.items()}

    def reached(self) -> dict[str, float]:
        """Return weight and node sparsity, and how many layers have at most one weight left, the one that the floor spares.

        A node is an output of a layer, so a channel that several layers make counts as often. It counts as removed when
        it was cut out or when all weights that make it are masked.
        """
        layers = self.layers()
        values = {
            "sparsity_weights": 1
            - sum(layer["kept"] for layer in layers.values()) / sum(layer["dense"] for layer in layers.values()),
            "empty_layers": float(sum(layer["kept"] <= 1 for layer in layers.values())),
        }
        groups = self._subject.anatomy.all_groups()
        if groups:
            dense = sum(group.size for group in groups for _ in self._makers(group))
            values["sparsity_nodes"] = 1 - self._nodes_left() / dense
        if self.pruning_epoch is not None:
            values["pruning_epoch"] = float(self.pruning_epoch)
        return values

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything ``load_state`` needs, as tensors and plain values."""
        return {
            "progress": self.progress.to_dict(),
            "kept": self._kept,
            "masks": self.masked.masks,
            "saved": self._saved,
            "references": self._references,
            "drawn": self._drawn,
            "pruning_epoch": self.pruning_epoch,
            "scoring_seconds": self.scoring_seconds,
            "scoring_samples": self.scoring_samples,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Cut and mask a dense subject as the saved one was; its weights and optimizer are the subject's to load."""
        self._cut(state["kept"])
        self.masked.set(state["masks"])
        self.progress = Progress.from_dict(state["progress"])
        self._saved = state["saved"]
        self._references = state["references"]
        self._drawn = state["drawn"]
        self.pruning_epoch = state["pruning_epoch"]
        self.scoring_seconds = state["scoring_seconds"]
        self.scoring_samples = state["scoring_samples"]

    # -- pruning -------------------------------------------------------------------------------------------------

    def _prune(self, sparsity: float, round: int) -> None:
        if self._formula is None:
            return
        began = time.perf_counter()
        probe = self._probe(round)
        scores = self._formula(probe)
        if self._pruner.cut == WEIGHTS:
            self._mask(scores, sparsity)
        else:
            self._cut(self._chosen(scores, sparsity))
        if self._moments == "reset" and self._subject.optimizer is not None:
            self._subject.optimizer.state.clear()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.pruning_epoch = self.progress.trained
        self.scoring_seconds += time.perf_counter() - began
        self.scoring_samples += probe.samples

    def _probe(self, round: int) -> Probe:
        subject, anatomy = self._subject, self._subject.anatomy
        generator = torch.Generator(self._device).manual_seed(int(self._seeds(f"noise/{round}").generate_state(1)[0]))
        groups = present(anatomy.all_groups(), self._kept)
        return Probe(subject.module, anatomy, subject.scoring(round), generator, self.masked.masks, groups)

    def _mask(self, scores: Mapping[str, Tensor], sparsity: float) -> None:
        parts = self._parts()
        sizes = [sum(int(np.prod(self._dense[name])) for name in names) for names in parts]
        masks: dict[str, Tensor] = {}
        for names, keep in zip(parts, select.quotas(sizes, sparsity), strict=True):
            masks |= select.keep_weights({name: scores[name] for name in names}, self.masked.masks, keep, self._floor)
        self._subject.resized()
        self.masked.set(masks)

    def _chosen(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Return which of the present channels to keep."""
        anatomy, module = self._subject.anatomy, self._subject.module
        groups = present(anatomy.all_groups(), self._kept)
        parts = self._parts()
        sizes = [sum(int(np.prod(self._dense[name])) for name in names) for names in parts]
        kept: dict[str, Tensor] = {}
        for names, keep in zip(parts, select.quotas(sizes, sparsity), strict=True):
            shapes = {name: tuple(module.get_parameter(name).shape) for name in names}
            owned = [group for group in groups if any(member.tensor in shapes and member.produces for member in group.members)]
            if owned:
                ranked = {group.name: scores[group.name] for group in owned}
                blocks = {group.name: group.blocks for group in owned}
                if self._scope == "layer":
                    ranked = select.level_ranks(ranked, blocks)
                count = partial(select.weights_left, shapes, owned)
                kept |= select.keep_channels(ranked, count, keep, self._floor, blocks)
        return kept

    def _cut(self, kept: Mapping[str, Tensor]) -> None:
        """Cut to ``kept``, in the present numbering, and remember it in the dense one."""
        groups = present(self._subject.anatomy.all_groups(), self._kept)
        surgery.cut(self._subject.module, surgery.keeps(self._subject.module, groups, kept), self._subject.optimizer)
        for name, keep in kept.items():
            self._kept[name][self._kept[name].clone()] = keep.cpu()
        self._subject.resized()

    def _parts(self) -> list[list[str]]:
        """Return the weights that are ranked together; channels of a layer are made comparable by rank instead."""
        anatomy = self._subject.anatomy
        match self._scope:
            case "global":
                return [anatomy.all_weights()]
            case "layer" if self._pruner.cut == WEIGHTS:
                return [[name] for name in anatomy.all_weights()]
            case _:
                return [list(names) for names in anatomy.weights.values()]

    def _makers(self, group: Group) -> list[Member]:
        return [member for member in group.members if member.produces and member.tensor in self._dense]

    def _nodes_left(self) -> int:
        left = 0
        for group in present(self._subject.anatomy.all_groups(), self._kept):
            for member in self._makers(group):
                shape = self._subject.module.get_parameter(member.tensor).shape
                mask = self.masked.masks.get(member.tensor, torch.ones(shape, dtype=torch.bool, device=self._device))
                made = mask.movedim(member.dim, 0).flatten(1).any(1)
                span = made[member.offset : member.offset + member.span(group.size)]
                left += int(span.view(member.outer, group.size, member.inner).any(2).any(0).sum())
        return left

    # -- how an epoch is trained ---------------------------------------------------------------------------------

    def _prepare(self, step: plans.Step) -> None:
        """Do to the subject what this step asks of its epochs; ``_undo`` takes it back."""
        if not isinstance(step, plans.Train):
            return
        module, optimizer = self._subject.module, self._subject.optimizer
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
        if step.penalty and optimizer is not None:
            scales = [layer.weight for layer in layers.values() if layer.weight is not None]

            def pull(*_: object) -> None:
                for scale in scales:
                    if scale.grad is not None:
                        scale.grad.add_(scale.detach().sign(), alpha=step.penalty)

            self._undo.append(optimizer.register_step_pre_hook(pull).remove)
        if step.only == "gates":
            made = {member.tensor for group in self._subject.anatomy.all_groups() for member in group.members if member.produces}
            heads = {name.rpartition(".")[0] for name in self._dense if name not in made}
            for name, parameter in module.named_parameters():
                if parameter.requires_grad and name.rpartition(".")[0] not in heads | set(layers):
                    parameter.requires_grad_(False)
                    parameter.grad = None
                    self._undo.append(partial(parameter.requires_grad_, True))

    # -- rewinding -----------------------------------------------------------------------------------------------

    def _training_state(self) -> dict[str, Any]:
        optimizer = self._subject.optimizer
        return {
            "module": {name: tensor.detach().clone() for name, tensor in self._subject.module.state_dict().items()},
            "optimizer": copy.deepcopy(optimizer.state_dict()) if optimizer is not None else None,
        }

    def _rewind(self) -> None:
        if self._saved is None:
            raise ValueError("the plan rewinds before it saves: put Save() in front of Rewind()")
        self._subject.module.load_state_dict(self._saved["module"])
        if self._subject.optimizer is not None:
            self._subject.optimizer.load_state_dict(copy.deepcopy(self._saved["optimizer"]))
        self.masked.zero()

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._subject.module.named_parameters() if p.requires_grad}

    @property
    def _device(self) -> torch.device:
        return next(self._subject.module.parameters()).device


def lacking(pruner: Pruner, module: nn.Module) -> list[str]:
    """Return what a pruner needs and a network does not have."""
    layers = list(module.modules())
    has = {"batchnorm"} if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers) else set()
    # the flow of ones ends in a recurrence, layer normalisation takes its size away, and words are numbers that cannot be ones
    if not any(isinstance(layer, (nn.Embedding, nn.LayerNorm, nn.RNNBase, nn.RNNCellBase)) for layer in layers):
        has.add("feedforward")
    return sorted(pruner.needs - has)
