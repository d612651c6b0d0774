"""A pruner at work on somebody's network: follows the plan between epochs, whoever trains.

The host owns the training and calls two methods; a benchmark cell, a callback and a plain PyTorch loop do the same:

    while (epoch := pruning.next_epoch()) is not None:     # prunes, saves and rewinds what is due
        ...train one epoch, its learning rate following epoch.start to epoch.end...
        pruning.epoch_done()

A host that can stop inside an epoch says into how many parts it falls, and gets those to train: ``epoch.span``.
"""

import copy
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from math import isfinite
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.pruning import plan as plans
from rlprune.pruning import select, start, surgery
from rlprune.pruning.formula import Formula
from rlprune.pruning.groups import Anatomy, Group, Member, everything, present
from rlprune.pruning.masked import Held, Masked, Masks
from rlprune.pruning.plan import Grow, GrowTo, Progress, PruneTo, Rewind, Save, Score, Scores, TrainEpoch
from rlprune.pruning.probe import Loss, Probe, Scoring, evaluating, in_full, normalising_by_batch
from rlprune.pruning.pruner import CHANNELS, CONTROLS, SHUFFLED, WEIGHTS, CommonSettings, Pruner, Scope, Start
from rlprune.reason import NotApplicable
from rlprune.words import nearest

DENSE = "_rlprune_dense"
"""The attribute of a module that remembers the shapes of its weights before the first cut."""

_ZEROS = 0.01
"""A network with a larger share of zeros than this has been pruned already."""


class Missed(UserWarning):
    """A sparsity that was asked for cannot be reached; the message says what was, and why."""


class Subject(Protocol):
    """What gets pruned: a network in training."""

    @property
    def module(self) -> nn.Module:
        """The module that holds every network."""

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Its optimizers, whose state follows every mask and cut; none where nobody trains it."""

    @property
    def masked(self) -> Masked:
        """Its masks: they are put on and read here, by whoever trains or prunes it."""

    @property
    def anatomy(self) -> Anatomy:
        """What of the module may be pruned, in the dense network's numbering."""

    def scoring(self, round: int) -> Scoring:
        """Return the data for one round of scoring; leaves network, environments and generators alone."""

    def learned(self, round: int) -> Scoring:
        """Return the batch that it learned from last, or another one like it: less than ``scoring`` gives."""

    def resized(self) -> None:
        """Follow a pruning step: bring attributes that repeat the network's sizes up to date."""

    def redrawn(self) -> Mapping[str, Tensor]:
        """Return its weights as those of a new network of its present sizes, drawn from torch's generator of the CPU.

        Raises:
            NotApplicable: a weight whose first values nobody can draw.
        """


@runtime_checkable
class Adapting(Protocol):
    """What has numbers besides its network that training adapts, and that go back with it where it is rewound."""

    def adapted(self) -> dict[str, Tensor]:
        """Return the numbers."""

    def adapt(self, numbers: Mapping[str, Tensor]) -> None:
        """Take numbers that it had before."""


@dataclass(frozen=True)
class _Stood:
    """What a network was before it was pruned: its gains, weights and masks that may come back, and outputs on some data."""

    gains: Mapping[str, start.Gain]
    weights: Mapping[str, Tensor]
    masks: Masks
    outputs: Mapping[str, Tensor]
    run: Callable[[nn.Module], object]


@dataclass(frozen=True)
class Tally:
    """How many weights some networks had and have, counted together, and the sparsity that is asked of them."""

    networks: Sequence[str]
    dense: float
    kept: float
    sparsity: float


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
        parts: into how many parts the host can divide an epoch, to prune or grow in between.

    Raises:
        NotApplicable: a network that the pruner cannot work on, tried out before anything is trained.
        ValueError: a plan that rewinds or grows where channels are cut, or a sparsity, scope or number of epochs that cannot be.
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
        parts: int = 1,
    ) -> None:
        if missing := lacking(pruner, subject.module):
            raise NotApplicable(f"{pruner.name} needs {', '.join(missing)}, which this network does not have")
        if pruner.cut == CHANNELS and not subject.anatomy.all_groups():
            why = "; ".join(f"'{layer}' stays whole because of {what}" for layer, what in list(subject.anatomy.stays.items())[:3])
            raise NotApplicable(f"{pruner.name} cuts channels, and none of this network can go{f': {why}' if why else ''}")
        if pruner.cut == CHANNELS and (masked := [name for name, mask in subject.masked.masks.items() if not bool(mask.all())]):
            raise NotApplicable(f"{pruner.name} cuts channels, and weights of this network are masked: {masked[0]}")
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity is the share of weights to remove, at least 0 and less than 1; got {sparsity}")
        if epochs < 1 or epochs != int(epochs):
            raise ValueError(f"epochs is how many the whole training has, a whole number from 1; got {epochs}")
        _faithful(subject)
        self._scope = settings.scope or pruner.scope or scope
        if self._scope not in (known := get_args(Scope)):
            raise ValueError(f"no scope is named '{self._scope}'{nearest(str(self._scope), known)} (scopes: {', '.join(known)})")
        if self._scope == "erk" and pruner.cut == CHANNELS:
            raise NotApplicable(f'scope = "erk" gives out weights, and {pruner.name} cuts channels: take "layer"')
        self._own = _own_sparsities(settings, subject.anatomy, self._scope)
        self._heads = _whole_heads(settings, subject.anatomy) if pruner.cut == WEIGHTS else frozenset[str]()
        self.plan = pruner.steps(settings)
        if why := plans.unheard(self.plan, int(epochs)):
            raise ValueError(f"{pruner.name}: {why}")
        self.sparsity = sparsity
        self.epochs = epochs
        self.parts = parts
        self.progress = plans.begin(self.plan, sparsity, epochs, parts)
        self.masked = subject.masked
        self.trigger_value: float | None = None
        self.travelled: float | None = None
        self.fired: bool | None = None
        self.pruning_epoch: int | None = None
        self.scoring_seconds = 0.0
        self.scoring_samples = 0
        self._subject = subject
        self._pruner = pruner
        self._formula = Formula(pruner, settings) if pruner.score is not None else None
        others = [step.by for step in self.plan if isinstance(step, plans.Prune | Grow) and step.by is not None]
        self._formulas = {score: Formula(pruner, settings, score) for score in others}
        self._floor, self._moments, self._start = settings.floor, settings.moments, settings.start
        self._starts = _starts(settings, subject.anatomy)
        self._stood: _Stood | None = None
        self._barred: Masks = {}
        self._dropped: list[Held] = []
        self._seeds = seeds
        self._dense = {name: tuple(subject.module.get_parameter(name).shape) for name in subject.anatomy.all_weights()}
        self._dense |= {name: shape for name, shape in getattr(subject.module, DENSE, {}).items() if name in self._dense}
        self._kept = everything(subject.anatomy.all_groups())
        self._sizes = surgery.sizes(subject.module)
        self._saved: dict[str, Any] | None = None
        self._references: dict[str, dict[str, Tensor]] = {}
        self._drawn: list[Tensor] = []
        self._undo: list[Callable[[], object]] = []
        self._temperature(settings)
        self._met = self._tried = False
        if self._whole():
            self._rehearse()
        if plans.waits(self.plan):
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
        self._barred = {name: ~mask for name, mask in masks.items()}
        self.masked.set(masks)

    # -- following the plan --------------------------------------------------------------------------------------

    def next_epoch(self) -> TrainEpoch | None:
        """Do what is due before the next epoch and return that epoch, or None when the plan is finished."""
        if not self._met:
            self._go_on()
            self._met = True
        while True:
            action = plans.next_action(self.plan, self.sparsity, self.epochs, self.progress, self.parts)
            match action:
                case None:
                    return None
                case TrainEpoch():
                    self._begin_anew()
                    self._prepare(self.plan[self.progress.step])
                    return action
                case PruneTo(beyond=0):
                    stood = self._stood
                    self._stand(self.masked.masks)
                    try:
                        self._prune(action)
                    except BaseException:
                        self._stood = stood  # whoever has nothing to score on yet may train before the next attempt
                        raise
                    if action.sparsity == self.sparsity and self._formula is not None:
                        self._tell_what_is_missed()
                case PruneTo():
                    self._prune(action)
                case GrowTo():
                    self._grow(action)
                case Save():
                    self._begin_anew()
                    self._saved = self._training_state()
                case Rewind():
                    self._stood = None  # what training starts from is what was saved
                    self._rewind()
            self.progress = plans.after(self.plan, self.sparsity, self.epochs, self.progress, action, parts=self.parts)

    def epoch_done(self) -> None:
        """Take note that the epoch, or the part of it, was trained, and of what the plan waits for."""
        while self._undo:
            self._undo.pop()()
        epoch = plans.next_action(self.plan, self.sparsity, self.epochs, self.progress, self.parts)
        assert isinstance(epoch, TrainEpoch)
        if not epoch.ends:
            self.progress = plans.after(self.plan, self.sparsity, self.epochs, self.progress, epoch, parts=self.parts)
            return
        trigger = plans.waiting_for(self.plan, self.progress)
        reading = self.travelled = self.trigger_value = None
        if trigger is not None:
            if "epoch1" not in self._references:
                self._references["epoch1"] = self._snapshot()
            reading = trigger.measure(self)
            self.travelled = self.distance("start")
            readings = (*self.progress.readings, reading)
            self.trigger_value, self.fired = trigger.value(readings), trigger.fires(readings, self.sparsity)
        self.progress = plans.after(self.plan, self.sparsity, self.epochs, self.progress, epoch, reading, self.parts)

    def distance(self, reference: Literal["start", "epoch1"]) -> float:
        """Return ``‖θ − θ_ref‖₂`` over all trainable parameters but copies."""
        now = self._subject.module
        gaps = [(now.get_parameter(name).detach() - then).square().sum() for name, then in self._references[reference].items()]
        return float(torch.stack(gaps).sum().sqrt())

    def norm(self) -> float:
        """Return ``‖θ_0‖₂``."""
        return float(torch.stack([then.square().sum() for then in self._references["start"].values()]).sum().sqrt())

    def mask_distance(self, window: int) -> float:
        """Draw the channels that would be kept now, and compare; see ``Watch``."""
        began, probe = time.perf_counter(), self._probe(0)
        kept = self._chosen(self._scored(probe), self._ends())
        self._spent(began, probe.samples)
        self._drawn = [*self._drawn, torch.cat([keep.cpu() for keep in kept.values()])][-window:]
        if len(self._drawn) < window:
            return 1.0
        return max(float((self._drawn[-1] != drawn).double().mean()) for drawn in self._drawn[:-1])

    # -- what is left --------------------------------------------------------------------------------------------

    def layers(self) -> dict[str, dict[str, float]]:
        """Return for every prunable weight how many of its entries are left (``kept``) and were there (``dense``).

        A masked entry that is not zero is left, whoever wrote to it.
        """
        left = {name: int(self._left(name).sum()) for name in self._dense}
        return {name: {"kept": float(left[name]), "dense": float(np.prod(shape))} for name, shape in self._dense.items()}

    def tallies(self) -> list[Tally]:
        """Return what is left, and should be, of networks that are counted together."""
        layers, found = self.layers(), []
        for networks in self._together():
            own = [layers[name] for network in networks for name in self._subject.anatomy.weights[network]]
            dense, kept = sum(layer["dense"] for layer in own), sum(layer["kept"] for layer in own)
            found.append(Tally(networks, dense, kept, self._own.get(networks[0], self.sparsity)))
        return found

    def reached(self) -> dict[str, float]:
        """Return weight and node sparsity, and how many layers have at most one weight left, the one that the floor spares.

        A node is an output of a layer, so a channel that several layers make counts as often. It counts as removed when
        it was cut out or when all weights that make it are pruned.
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

    def collapsed(self) -> list[str]:
        """Return in words where hardly anything passes any more: layers with at most one weight left, or with one channel."""
        layers = [
            f"{layer['kept']:.0f} of {layer['dense']:,.0f} weights of {name}"
            for name, layer in self.layers().items()
            if layer["kept"] <= 1 < layer["dense"]
        ]
        groups = [f"1 of {len(keep)} channels of {name}" for name, keep in self._kept.items() if int(keep.sum()) == 1 < len(keep)]
        return layers + groups

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything ``load_state`` needs, as tensors and plain values."""
        return {
            "progress": self.progress.to_dict(),
            "kept": {name: keep.clone() for name, keep in self._kept.items()},
            "masks": dict(self.masked.masks),
            "saved": self._saved,
            "references": dict(self._references),
            "drawn": self._drawn,
            "pruning_epoch": self.pruning_epoch,
            "scoring_seconds": self.scoring_seconds,
            "scoring_samples": self.scoring_samples,
            **({"barred": self._barred} if self._barred else {}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Cut and mask the subject as the saved one was; its weights and optimizer are the subject's to load.

        It may be dense, or cut and masked otherwise by this follower.
        """
        while self._undo:
            self._undo.pop()()
        if not all(bool(keep.all()) for keep in self._kept.values()):
            for module in (self._subject.module, *self.masked.beside):
                surgery.restore(module, self._sizes, self._subject.optimizers)
            self._kept = everything(self._subject.anatomy.all_groups())
        self._cut(state["kept"])
        whole = {name: torch.ones_like(mask) for name, mask in self.masked.masks.items()}
        self.masked.set({**whole, **state["masks"]}, moved=True)
        self.progress = Progress.from_dict(state["progress"])
        saved = state["saved"]
        self._saved = saved and {**saved, "masks": self._here(saved["masks"])}
        self._references = {name: self._here(then) for name, then in state["references"].items()}
        self._drawn = state["drawn"]
        self._barred = self._here(state.get("barred", {}))
        self._stood = None
        self.pruning_epoch = state["pruning_epoch"]
        self.scoring_seconds = state["scoring_seconds"]
        self.scoring_samples = state["scoring_samples"]

    # -- pruning -------------------------------------------------------------------------------------------------

    def _prune(self, action: PruneTo) -> None:
        if self._formula is None:
            return
        began = time.perf_counter()
        probe = self._probe(action.round)
        scores, sparsities = self._scored(probe, action.by), self._sparsities(action.sparsity)
        if self._pruner.cut == WEIGHTS:
            self._mask(scores, sparsities, action.beyond)
        else:
            kept = self._chosen(scores, sparsities)
            if self._start in SHUFFLED:
                blocks = {group.name: group.blocks for group in self._subject.anatomy.all_groups()}
                kept = start.shuffled_channels(kept, blocks, self._lots(f"shuffled/{self.progress.rounds}"))
            self._follow(self._cut(kept))
        for optimizer in self._subject.optimizers if self._moments == "reset" and not action.beyond else ():
            optimizer.state.clear()
        self.pruning_epoch = self.progress.trained
        self._spent(began, probe.samples)

    def _grow(self, action: GrowTo) -> None:
        began = time.perf_counter()
        probe = self._probe(action.round, self._subject.learned(action.round))
        scores = self._scored(probe, action.by)
        most = {name: self._subject.module.get_parameter(name).numel() for name in self._dense}
        for name, gone in self._barred.items():  # last of all, and there is room for none of them
            most[name] -= int(gone.sum())
            scores[name] = scores[name].masked_fill(gone, torch.finfo(scores[name].dtype).min)
        masks: dict[str, Tensor] = {}
        for names, quota in self._quotas(self._sparsities(action.sparsity), most):
            masks |= select.grow_weights({name: scores[name] for name in names}, self.masked.masks, quota)
        self.masked.set(masks, moved=True)
        self.masked.put_back(self._dropped)  # what was dropped a moment ago and grows again was never gone
        self._dropped = []
        self._spent(began, probe.samples)

    def _spent(self, began: float, samples: int) -> None:
        """Take note of what a round has cost, or what it is measured by."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.scoring_seconds += time.perf_counter() - began
        self.scoring_samples += samples

    def _probe(self, round: int, scoring: Scoring | None = None) -> Probe:
        subject, anatomy = self._subject, self._subject.anatomy
        scoring = scoring or subject.scoring(round)
        groups, lots = present(anatomy.all_groups(), self._kept), self._lots(f"noise/{round}")
        return Probe(subject.module, anatomy, scoring, lots, self.masked.masks, groups, self._tried)

    def _temperature(self, settings: CommonSettings) -> None:
        """Refuse a temperature that would not act."""
        field, asked = type(settings).model_fields.get("temperature"), getattr(settings, "temperature", 1.0)
        if field and asked not in (1.0, field.default) and not self._subject.scoring(0).tempered:
            raise ValueError(f"{self._pruner.name}: temperature = {asked} divides logits, and this loss has none to divide")

    def _rehearse(self) -> None:
        """Try the formula on the cheapest loss there is: what it cannot score is told before anything is trained."""
        if self._formula and any(isinstance(step, plans.Prune) for step in self.plan):
            probe = self._probe(0, self._subject.scoring(0).rehearsal())
            with self._undrawn():
                for formula in (self._formula, *self._formulas.values()):
                    formula(probe)
            self._tried = True

    def _whole(self) -> bool:
        """Return whether the groups have the sizes of the network as it is."""
        tensors = self._subject.module.state_dict()
        groups = present(self._subject.anatomy.all_groups(), self._kept)
        return all(m.offset + m.span(group.size) <= tensors[m.tensor].shape[m.dim] for group in groups for m in group.members)

    def _scored(self, probe: Probe, by: "Score | None" = None) -> Scores:
        """Return the scores, the pruner's own or others.

        Raises:
            NotApplicable: a network that this formula cannot score.
            ValueError: scores that are no numbers, or all zero before anything is pruned.
        """
        formula = self._formulas[by] if by is not None else self._formula
        assert formula is not None
        scores, name = formula(probe), self._pruner.name
        for key, score in scores.items():
            if not bool(score.isfinite().all()):
                raise ValueError(f"{name}: the score of {key} holds infinities or values that are not numbers{_lost(probe)}")
        if self.progress.rounds == 0:  # later, a network that is pruned to pieces carries nothing any more
            anatomy, weights = self._subject.anatomy, self._pruner.cut == WEIGHTS
            zeros = [key for key in scores if weights and not bool(self._subject.module.get_parameter(key).any())]
            ranked = {
                network: list(names) if weights else [group.name for group in anatomy.groups[network]]
                for network, names in anatomy.weights.items()
            }
            if self._scope != "network":
                ranked = {"the network": [key for keys in ranked.values() for key in keys]}
            for network, keys in ranked.items():
                if keys and not any(bool(scores[key].any()) for key in keys):
                    why = f"{zeros[0]} is all zeros" if zeros else "does its loss depend on it?"
                    raise ValueError(f"{name}: all scores of {network} are 0, so nothing tells what to keep; {why}")
            if first := [key for key in zeros if not bool(scores[key].any())]:
                warnings.warn(
                    f"{', '.join(first[:3])}{', ...' if first[3:] else ''}: all zeros, as at the start, so that {name} scores "
                    "them 0 and removes them first: leave them out (weights=[...]), or prune once training has begun",
                    stacklevel=2,
                )
        return scores

    def _go_on(self) -> None:
        """Take what is pruned already for pruned, and say so; not what this follower knows of."""
        if self._formula is None or self.masked.masks or not all(bool(keep.all()) for keep in self._kept.values()):
            return
        weights = {name: self._subject.module.get_parameter(name).detach() for name in self._dense}
        if cut := [name for name, weight in weights.items() if tuple(weight.shape) != self._dense[name]]:
            warnings.warn(f"this network was cut before, {cut[0]} among others: sparsity counts from the dense one", stacklevel=3)
        zeros = {name: weight == 0 for name, weight in weights.items() if bool(weight.any())}
        share = sum(int(zero.sum()) for zero in zeros.values()) / max(1, sum(weight.numel() for weight in weights.values()))
        if share > _ZEROS:
            stay = "stay zero and count as pruned" if self._pruner.cut == WEIGHTS else "count as left, channels are cut whole"
            warnings.warn(f"{share:.1%} of this network's prunable weights are zero already: they {stay}", stacklevel=3)
            if self._pruner.cut == WEIGHTS:
                self._barred = {name: zero for name, zero in zeros.items() if bool(zero.any())}
                self.masked.set({name: ~zero for name, zero in self._barred.items()})

    def _tell_what_is_missed(self) -> None:
        """Say so where the sparsity cannot be reached: at the floor, or where a network was pruned further before."""
        tallies, weights = self.tallies(), self._pruner.cut == WEIGHTS
        for tally in tallies:
            asked, parts = tally.dense * (1 - tally.sparsity), len(self._parts(tally.networks))
            missed = 1 if weights else self._widest() * max(2, parts) / 2  # each part ends within half a channel
            if tally.kept > asked + missed:
                why = f"{self._floor} stay in every {'weight tensor' if weights else 'group of channels'}"
                why += ", and all in output layers" if self._heads else ""
            elif tally.kept < asked - 1 and weights:
                why = "more was pruned before"
            else:
                continue
            whose = f" of {' and '.join(tally.networks)}" if tallies[1:] else ""
            reached = f"{1 - tally.kept / tally.dense:.4g} of the weights{whose} are removed, not {tally.sparsity:g}"
            warnings.warn(f"{self._pruner.name}: {reached}: {why}", Missed, stacklevel=4)

    def _widest(self) -> int:
        """Return how many weights go with the widest channel that is left."""
        groups = present(self._subject.anatomy.all_groups(), self._kept)
        shapes = {name: tuple(self._subject.module.get_parameter(name).shape) for name in self._dense}
        whole = select.weights_left(shapes, groups, {})
        fewer = [select.weights_left(shapes, groups, {group.name: group.size - group.blocks}) for group in groups]
        return max((whole - less for less in fewer), default=0)

    def _ends(self) -> dict[str, float]:
        """Return the sparsity of each network at the end of the plan."""
        return dict.fromkeys(self._subject.anatomy.weights, self.sparsity) | self._own

    def _sparsities(self, sparsity: float) -> dict[str, float]:
        """Return the sparsity of each network in this round; the plan leads one with a target of its own to that."""
        found = dict.fromkeys(self._subject.anatomy.weights, sparsity)
        for network, target in self._own.items():
            action = plans.next_action(self.plan, target, self.epochs, self.progress, self.parts)
            assert isinstance(action, PruneTo | GrowTo)
            found[network] = action.sparsity
        return found

    def _quotas(self, sparsities: Mapping[str, float], most: Mapping[str, int]) -> list[tuple[list[str], int]]:
        """Return the weights that are ranked together, and how many of each such part stay.

        Args:
            sparsities: of each network.
            most: how many of each weight can stay, say those alive, or all where some may come back.
        """
        least = dict.fromkeys(most, 0)  # channels have their floor where they are chosen
        if self._pruner.cut == WEIGHTS:
            least = {name: count if name in self._heads else min(self._floor, count) for name, count in most.items()}
        sizes = {name: int(np.prod(shape)) for name, shape in self._dense.items()}
        ends = self._ends()
        found: list[tuple[list[str], int]] = []
        for networks in self._together():
            parts = self._parts(networks)
            summed = [[sum(counts[name] for name in names) for names in parts] for counts in (sizes, least, most)]
            quotas = select.quotas(summed[0], sparsities[networks[0]], *summed[1:])
            last = select.quotas(summed[0], max(sparsities[networks[0]], ends[networks[0]]), *summed[1:])
            for names, quota, end in zip(parts, quotas, last, strict=True):
                if self._scope == "erk":
                    shapes = [self._dense[name] for name in names]
                    own = select.erk_quotas(shapes, quota, [least[name] for name in names], [most[name] for name in names], end)
                    found += [([name], share) for name, share in zip(names, own, strict=True)]
                else:
                    found.append((names, quota))
        return found

    def _mask(self, scores: Mapping[str, Tensor], sparsities: Mapping[str, float], beyond: float) -> None:
        alive = {name: self._subject.module.get_parameter(name).numel() for name in self._dense}
        alive |= {name: int(mask.sum()) for name, mask in self.masked.masks.items()}
        masks: dict[str, Tensor] = {}
        for names, quota in self._quotas(sparsities, alive):
            whole = self._heads.issuperset(names) or quota == sum(int(np.prod(self._dense[name])) for name in names)
            left = quota if whole else quota - round(quota * beyond)  # nothing of what is to be whole moves elsewhere
            masks |= select.keep_weights({name: scores[name] for name in names}, self.masked.masks, left, self._floor)
        self._subject.resized()
        self._dropped = self.masked.held(masks) if beyond else []
        self.masked.set(masks)

    def _chosen(self, scores: Mapping[str, Tensor], sparsities: Mapping[str, float]) -> dict[str, Tensor]:
        """Return which of the present channels to keep."""
        anatomy, module = self._subject.anatomy, self._subject.module
        groups = present(anatomy.all_groups(), self._kept)
        dense = {name: int(np.prod(shape)) for name, shape in self._dense.items()}
        kept: dict[str, Tensor] = {}
        taken: dict[str, int] = {}
        quotas, order = self._quotas(sparsities, dense), anatomy.all_weights()
        for names, quota in sorted(quotas, key=lambda part: order.index(part[0][0])):  # what reads others' channels after these
            shapes = {name: tuple(module.get_parameter(name).shape) for name in names}
            owned = [group for group in groups if any(member.tensor in shapes and member.produces for member in group.members)]
            if owned:
                ranked = {group.name: scores[group.name] for group in owned}
                blocks = {group.name: group.blocks for group in owned}
                if self._scope == "layer":
                    ranked = select.level_ranks(ranked, blocks)
                count = partial(_weights_left, shapes, groups, taken)
                chosen = select.keep_channels(ranked, count, quota, self._floor, blocks)
                kept |= chosen
                taken |= {name: int(keep.sum()) for name, keep in chosen.items()}
        made = [
            group.name for names, _ in quotas for group in groups if any(m.tensor in names and m.produces for m in group.members)
        ]
        return {name: kept[name] for name in made}

    def _follow(self, cuts: surgery.Cuts) -> None:
        """Let what a plan may wait for go on from what was cut: distances of what stays, and masks of present channels."""
        for key, then in self._references.items():  # new ones: a state that was given out goes on holding the old
            self._references[key] = then | {name: surgery.narrow(then[name], cuts[name]) for name in then if name in cuts}
        self._drawn = []

    def _cut(self, kept: Mapping[str, Tensor]) -> surgery.Cuts:
        """Cut to ``kept``, in the present numbering, and remember it in the dense one; return what was cut."""
        groups = present(self._subject.anatomy.all_groups(), self._kept)
        cuts = surgery.cuts(self._subject.module, groups, kept, self._subject.anatomy.copies)
        surgery.cut(self._subject.module, cuts, self._subject.optimizers)
        for module in self.masked.beside:
            surgery.cut(module, cuts)
        setattr(self._subject.module, DENSE, self._dense)
        for name, keep in kept.items():
            self._kept[name][self._kept[name].clone()] = keep.cpu()
        self._subject.resized()
        return cuts

    def _together(self) -> list[list[str]]:
        """Return the networks that are counted together, exactly to one weight: all but those that answer for themselves."""
        networks = list(self._subject.anatomy.weights)
        alone = networks if self._heads and self._scope != "global" else list(self._own)
        rest = [network for network in networks if network not in alone]
        return [*([network] for network in networks if network in alone), *([rest] if rest else [])]

    def _parts(self, networks: Sequence[str]) -> list[list[str]]:
        """Return the weights of networks that are ranked together, and each head that stays whole by itself.

        Channels of a layer are made comparable by rank instead.
        """
        weights = [list(self._subject.anatomy.weights[network]) for network in networks]
        match self._scope:
            case "global":
                parts = [[name for names in weights for name in names]]
            case "layer" if self._pruner.cut == WEIGHTS:
                parts = [[name] for names in weights for name in names]
            case _:
                parts = weights
        heads = [[name] for names in weights for name in names if name in self._heads]
        ranked = [[name for name in names if name not in self._heads] for names in parts]
        return [*filter(None, ranked), *heads]

    def _makers(self, group: Group) -> list[Member]:
        return [member for member in group.members if member.produces and member.tensor in self._dense]

    def _left(self, name: str) -> Tensor:
        """Return where a weight has entries that are not pruned."""
        weight = self._subject.module.get_parameter(name).detach()
        mask = self.masked.masks.get(name)
        return torch.ones_like(weight, dtype=torch.bool) if mask is None else mask | (weight != 0)

    def _nodes_left(self) -> int:
        left = 0
        for group in present(self._subject.anatomy.all_groups(), self._kept):
            for member in self._makers(group):
                made = self._left(member.tensor).movedim(member.dim, 0).flatten(1).any(1)
                span = made[member.offset : member.offset + member.span(group.size)]
                left += int(span.view(member.outer, group.size, member.inner).any(2).any(0).sum())
        return left

    # -- where training starts after a cut -------------------------------------------------------------------------

    def _stand(self, masks: Masks) -> None:
        """Take note of what the network is before it is pruned, or was when it was saved, if training is to start from that."""
        if self._formula is None or {*self._starts.values()} == {"kept"} or self._stood is not None:
            return
        module, names = self._subject.module, self._subject.anatomy.all_weights()
        shuffle = self._start in SHUFFLED and self._pruner.cut == WEIGHTS
        weights = {name: module.get_parameter(name).detach().clone() for name in names} if shuffle else {}
        then: dict[str, Tensor] = {}
        run = partial(self._shown, (), False)
        if measured := [name for name in names if self._starts[name] == "measured"]:
            began, scoring = time.perf_counter(), self._subject.scoring(self.progress.rounds)
            data = scoring.collect()
            run = partial(self._shown, data, self._takes_gradients(data[0]))
            then = start.outputs(module, measured, run)
            self._spent(began, scoring.samples)
        self._stood = _Stood(start.gains(module, names, masks), weights, dict(masks), then, run)

    def _shown(self, data: Sequence[Loss], graphs: bool, module: nn.Module) -> None:
        """Run the network on data as training does, but for what is drawn; nothing of it stays."""
        with in_full(module), normalising_by_batch(module), self._undrawn(), torch.set_grad_enabled(graphs):
            for loss in data:
                loss(module, 1.0)

    def _takes_gradients(self, loss: Loss) -> bool:
        """Return whether a loss takes gradients of its own; of others a network should keep no piece of a graph."""
        try:
            with evaluating(self._subject.module), self._undrawn(), torch.no_grad():
                loss(self._subject.module, 1.0)
        except RuntimeError:
            return True
        return False

    def _begin_anew(self) -> None:
        """Make of the weights that stay, once all is pruned that goes before training, what training is to start from."""
        stood, self._stood = self._stood, None
        if stood is None:
            return
        module = self._subject.module
        match self._start:
            case "redrawn":
                with torch.random.fork_rng([]):
                    torch.set_rng_state(self._lots(f"redrawn/{self.progress.rounds}").get_state())  # of the CPU alone
                    fresh = self._subject.redrawn()
                start.redraw(module, fresh, self.masked.masks)
                self._lead(fresh)
            case "shuffled" | "shuffled-rescaled":
                lots = self._lots(f"shuffled/{self.progress.rounds}")
                moved = start.shuffled(self.masked.masks, stood.masks, lots) if stood.weights else {}
                for name in moved:
                    module.get_parameter(name).data.copy_(stood.weights[name])
                self._lead(moved)
                self.masked.set(moved, moved=True)
                self._multiply(stood)
            case _:
                self._multiply(stood)

    def _multiply(self, stood: _Stood) -> None:
        """Multiply the weights of every network as its start says; what is measured last, for it goes by what is before it."""
        module, masks, lead = self._subject.module, self.masked.masks, self.masked.followers
        gains: dict[str, dict[str, start.Gain]] = {}
        for name, gain in stood.gains.items():
            gains.setdefault(self._starts[name], {})[name] = gain
        if some := gains.get("rescaled"):
            start.rescale(module, some, masks, self._normalised, lead)
        if some := gains.get("fan-in"):
            start.rescale_by_inputs(module, some, masks, self._normalised, lead)
        if some := gains.get("measured"):
            began, but = time.perf_counter(), self._normalised
            start.rescale_by_outputs(module, some, stood.outputs, masks, but, stood.run, lead)
            self._spent(began, 0)

    def _lead(self, names: Iterable[str]) -> None:
        """Give what follows weights their values: those of its own belong to places, or numbers, that are gone."""
        for name in names:
            for follower in self.masked.followers(name):
                follower.data.copy_(self._subject.module.get_parameter(name))

    @cached_property
    def _normalised(self) -> frozenset[str]:
        """The weights that a normalisation makes indifferent to any factor."""
        scoring = self._subject.scoring(0)

        def run(module: nn.Module) -> Sequence[Tensor]:
            (trial,) = scoring.rehearsal().collect()
            with evaluating(module), self._undrawn(), torch.set_grad_enabled(self._takes_gradients(trial)):
                return scoring.outputs(module) if scoring.trial is None else [trial(module, 1.0)]

        return start.normalised(self._subject.module, self._subject.anatomy.all_weights(), run)

    def _undrawn(self) -> AbstractContextManager[None]:
        """Leave torch's own generators where they are, whatever is drawn meanwhile."""
        return torch.random.fork_rng([self._device] if self._device.type == "cuda" else [])

    def _lots(self, use: str) -> torch.Generator:
        """Return what draws lots for one use; on the CPU, so that every device draws the same."""
        return torch.Generator().manual_seed(int(self._seeds(use).generate_state(1)[0]))

    # -- how an epoch is trained ---------------------------------------------------------------------------------

    def _prepare(self, step: plans.Step) -> None:
        """Do to the subject what this step asks of its epochs; ``_undo`` takes it back."""
        if not isinstance(step, plans.Train):
            return
        module = self._subject.module
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)}
        if step.penalty:
            scales = [layer.weight for layer in layers.values() if layer.weight is not None]

            def pull(*_: object) -> None:
                for scale in scales:
                    if scale.grad is not None:
                        scale.grad.add_(scale.detach().sign(), alpha=step.penalty)

            hooks = [optimizer.register_step_pre_hook(pull) for optimizer in self._subject.optimizers]
            self._undo += [hook.remove for hook in hooks]
        if step.only == "gates":
            anatomy = self._subject.anatomy
            made = {member.tensor for group in anatomy.all_groups() for member in group.members if member.produces}
            last = [name for name in self._dense if name not in made] if anatomy.heads is None else anatomy.heads
            heads = {name.rpartition(".")[0] for name in last}
            for name, parameter in module.named_parameters():
                if parameter.requires_grad and name.rpartition(".")[0] not in heads | set(layers):
                    parameter.requires_grad_(False)
                    parameter.grad = None
                    self._undo.append(partial(parameter.requires_grad_, True))

    # -- rewinding -----------------------------------------------------------------------------------------------

    def _training_state(self) -> dict[str, Any]:
        return {
            "module": {name: tensor.detach().clone() for name, tensor in self._subject.module.state_dict().items()},
            "optimizers": [copy.deepcopy(optimizer.state_dict()) for optimizer in self._subject.optimizers],
            "masks": dict(self.masked.masks),
            **({"adapted": self._subject.adapted()} if isinstance(self._subject, Adapting) else {}),
        }

    def _rewind(self) -> None:
        if self._saved is None:
            raise ValueError("the plan rewinds before it saves: put Save() in front of Rewind()")
        self._subject.module.load_state_dict(self._saved["module"])
        for optimizer, saved in zip(self._subject.optimizers, self._saved["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))
        if isinstance(self._subject, Adapting):
            self._subject.adapt(self._saved.get("adapted", {}))
        self._stand(self._saved["masks"])
        self.masked.zero()

    def _snapshot(self) -> dict[str, Tensor]:
        own = (pair for pair in self._subject.module.named_parameters() if pair[0] not in self._subject.anatomy.copies)
        return {name: parameter.detach().clone() for name, parameter in own if parameter.requires_grad}

    def _here(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self._device) for name, tensor in tensors.items()}

    @property
    def _device(self) -> torch.device:
        return next(self._subject.module.parameters()).device


def _weights_left(
    shapes: Mapping[str, Sequence[int]], groups: Sequence[Group], taken: Mapping[str, int], kept: Mapping[str, int]
) -> int:
    """Return what is left of tensors with ``kept`` channels, where other networks have chosen theirs already."""
    return select.weights_left(shapes, groups, {**taken, **kept})


def _starts(settings: CommonSettings, anatomy: Anatomy) -> dict[str, Start]:
    """Return where each weight starts from after a cut, where it is shuffled once it has been.

    Raises:
        NotApplicable: a network is to have a start of its own, and there is none of this name, or all are drawn anew or shuffled.
    """
    own: dict[str, Start] = {}
    for name, chosen in {"actor": settings.start_actor, "critic": settings.start_critic}.items():
        if chosen is None:
            continue
        if settings.start in CONTROLS:
            raise NotApplicable(f'start_{name} = "{chosen}" is of one network, and start = "{settings.start}" of all together')
        if not (named := _named(name, anatomy)):
            raise NotApplicable(f'start_{name} = "{chosen}" is of one of several networks, and this one has no {name}')
        own |= dict.fromkeys(named, chosen)
    alike: Start = "rescaled" if settings.start == "shuffled-rescaled" else settings.start
    return {name: own.get(network, alike) for network, names in anatomy.weights.items() for name in names}


def _named(name: str, anatomy: Anatomy) -> list[str]:
    """Return the networks of a name; twin critics have a number each."""
    return [network for network in anatomy.weights if network.rstrip("0123456789") == name]


def _own_sparsities(settings: CommonSettings, anatomy: Anatomy, scope: Scope) -> dict[str, float]:
    """Return the sparsities of networks that have their own.

    Raises:
        NotApplicable: there is no such network, or all are ranked as one.
    """
    own: dict[str, float] = {}
    for name, share in {"actor": settings.actor, "critic": settings.critic}.items():
        if share is None:
            continue
        if not (named := _named(name, anatomy)):
            raise NotApplicable(f"{name} = {share:g} is the sparsity of one of several networks, and this one has no {name}")
        own |= dict.fromkeys(named, share)
        if scope == "global":
            raise NotApplicable(
                f'scope = "global" ranks all networks as one, and {name} = {share:g} sets one apart: take "network"'
            )
    return own


def _whole_heads(settings: CommonSettings, anatomy: Anatomy) -> frozenset[str]:
    """Return the weights that make the outputs where they are to stay whole.

    Raises:
        NotApplicable: nobody knows which they are.
    """
    if settings.heads == "pruned":
        return frozenset()
    if anatomy.heads is None:
        raise NotApplicable('heads = "dense" leaves output layers whole, and nothing says which of this network they are')
    return frozenset(anatomy.heads)


def _faithful(subject: Subject) -> None:
    """Refuse copies that could not follow what they are copies of.

    Raises:
        ValueError: one that is no tensor of the module, is to be pruned itself, or has another shape than the other.
    """
    module, anatomy = subject.module, subject.anatomy
    tensors = surgery.named_tensors(module)
    for copied, name in anatomy.copies.items():
        if missing := [each for each in (copied, name) if each not in tensors]:
            raise ValueError(f"{copied} is to follow {name}, and the module has no {missing[0]}")
        if copied in anatomy.all_weights() or name in anatomy.copies:
            raise ValueError(f"{copied} is to follow {name}, and cannot be pruned or followed itself")
        if tensors[copied].shape != tensors[name].shape:
            shapes = f"{tuple(tensors[copied].shape)} and {tuple(tensors[name].shape)}"
            raise ValueError(f"{copied} is to follow {name}, and they have shapes {shapes}")


def _lost(probe: Probe) -> str:
    """Return what to say where it is no formula's fault that a score is no number."""
    if not all(bool(parameter.isfinite().all()) for parameter in probe.module.parameters()):
        return ", and so do the network's own weights: its training diverged"
    with in_full(probe.module), evaluating(probe.module), torch.no_grad():
        losses = [float(loss(probe.module, 1.0)) for loss in probe.batches] if "batches" in vars(probe) else []
    lost = next((loss for loss in losses if not isfinite(loss)), None)
    return "" if lost is None else f", as the loss is {lost}: data, or an environment's observations or rewards, are no numbers"


def lacking(pruner: Pruner, module: nn.Module) -> list[str]:
    """Return what a pruner needs and a network does not have."""
    layers = list(module.modules())
    has = {"batchnorm"} if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers) else set()
    # the flow of ones ends in a recurrence, and words are numbers that cannot be ones
    if not any(isinstance(layer, (nn.Embedding, nn.RNNBase, nn.RNNCellBase)) for layer in layers):
        has.add("feedforward")
    return sorted(pruner.needs - has)
