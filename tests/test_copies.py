"""Several optimizers, and tensors that are copies of others: a target network beside the one that learns."""

import copy
from dataclasses import replace
from math import sqrt
from typing import get_args

import pytest
import torch
from subjects import Tiny, bits, seeds

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.masked import Masked
from rlprune.pruning.plan import LazyRegime, Prune, Train
from rlprune.pruning.pruner import WEIGHTS, Pruner, Start, pruners


class WithTarget(Tiny):
    """Actor and critic, each with an optimizer of its own, and a target network that goes slowly after the critic."""

    def __init__(self, copies=True):
        super().__init__(normed=True)
        names = [name for name in self.module.state_dict() if name.startswith("critic.") and "num_batches" not in name]
        self.module["target"] = copy.deepcopy(self.module["critic"])
        self.optimizers = [
            torch.optim.RMSprop(self.module["actor"].parameters(), lr=1e-2),
            torch.optim.Adam(self.module["critic"].parameters(), lr=1e-2),
        ]
        self.of = {name.replace("critic", "target", 1): name for name in names}
        if copies:
            self.anatomy = replace(self.anatomy, copies=self.of)
        self.masked = Masked(self.module, self.optimizers, self.anatomy.copies)

    def loss(self, module, temperature=1.0, rows=slice(None)):
        return super().loss(torch.nn.ModuleDict({name: module[name] for name in ("actor", "critic")}), temperature, rows)

    def train_epoch(self, steps=3):
        for _ in range(steps):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            self.loss(self.module).backward()
            for optimizer in self.optimizers:
                optimizer.step()
            with torch.no_grad():
                for name, tensor in self.module["target"].named_parameters():
                    tensor.lerp_(self.module["critic"].get_parameter(name), 0.1)


def follow(subject, pruner, sparsity=0.5, **settings):
    pruner = pruners().load(pruner) if isinstance(pruner, str) else pruner
    return PlanFollower(subject, pruner, pruner.settings(settings), sparsity, 3, "network", seeds)


def finish(pruning, subject):
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    return pruning


@pytest.mark.parametrize("start", get_args(Start))
@pytest.mark.parametrize("name", ["SNIP", "SNAP"])
def test_a_target_is_after_a_prune_the_copy_that_it_was(name, start):
    subject = WithTarget()
    follow(subject, name, start=start).next_epoch()
    for copied, of in subject.of.items():
        assert torch.equal(subject.module.state_dict()[copied], subject.module.state_dict()[of]), copied


@pytest.mark.parametrize("start", ["rescaled", "measured", "fan-in"])
def test_a_target_that_lags_behind_lags_as_far_after_a_prune(start):
    subject = WithTarget()
    with torch.no_grad():
        for parameter in subject.module["target"].parameters():
            parameter.mul_(0.5)
    follow(subject, "CroP-U", start=start).next_epoch()
    for copied, of in subject.of.items():
        if of in subject.masked.masks:
            assert torch.equal(2 * subject.module.get_parameter(copied), subject.module.get_parameter(of)), copied


@pytest.mark.parametrize("name", ["SNIP", "LTR", "EarlyCroP-U"])
def test_a_copy_has_the_mask_of_what_it_is_a_copy_of(name):
    subject = WithTarget()
    pruning = finish(follow(subject, name), subject)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.002)
    masked = {copied: subject.masked.masks[of] for copied, of in subject.of.items() if of in subject.masked.masks}
    assert masked
    for copied, mask in masked.items():
        assert not subject.module.get_parameter(copied)[~mask].any()
        assert bool((subject.module.get_parameter(copied)[mask] != 0).all())


@pytest.mark.parametrize("name", ["SNAP", "Random-S", "EarlyCroP-S", "EarlyBird"])
def test_a_copy_is_cut_with_what_it_is_a_copy_of(name):
    subject = WithTarget()
    dense = {of: len(subject.module.state_dict()[of]) for of in subject.of.values()}
    finish(follow(subject, name), subject)
    tensors = subject.module.state_dict()
    assert any(len(tensors[of]) < dense[of] for of in subject.of.values())
    for copied, of in subject.of.items():
        assert tensors[copied].shape == tensors[of].shape
    held = [{id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer in subject.optimizers]
    for network, own in zip(("actor", "critic"), held, strict=True):
        assert own == {id(parameter) for parameter in subject.module[network].parameters()}


@pytest.mark.parametrize("name", ["SNIP", "Magnitude-Before", "CroP-U", "GraSP", "SNAP", "CroP-S"])
def test_a_copy_changes_neither_the_budget_nor_the_choice(name):
    with_target, without = WithTarget(), Tiny(normed=True)
    for subject in (with_target, without):
        follow(subject, name).next_epoch()
    for network in ("actor", "critic"):
        assert bits(with_target.module[network]) == bits(without.module[network])


def test_the_distance_is_that_of_what_learns():
    subject = WithTarget()
    waits = Pruner("Waits", pruners().load("SNIP").score, cut=WEIGHTS, plan=[Train(until=LazyRegime()), Prune(), Train()])
    pruning = follow(subject, waits)
    names = [name for name, _ in subject.module.named_parameters() if not name.startswith("target")]
    began = {name: subject.module.get_parameter(name).detach().clone() for name in names}
    pruning.next_epoch()
    subject.train_epoch()
    squares = sum(float((subject.module.get_parameter(name).detach() - then).square().sum()) for name, then in began.items())
    assert pruning.distance("start") == pytest.approx(sqrt(squares), rel=1e-12)


def test_every_optimizer_starts_anew_where_moments_are_reset():
    subject, pruner = WithTarget(), pruners().load("SNIP")
    later = replace(pruner, plan=[Train(epochs=1), Prune(), Train()])
    pruning = PlanFollower(subject, later, later.settings({"moments": "reset"}), 0.5, 3, "network", seeds)
    pruning.next_epoch()
    subject.train_epoch()
    pruning.epoch_done()
    assert all(optimizer.state for optimizer in subject.optimizers)
    pruning.next_epoch()
    assert not any(optimizer.state for optimizer in subject.optimizers)


def test_rewinding_takes_every_optimizer_back():
    subject = WithTarget()
    pruning = follow(subject, "LTR")
    pruning.next_epoch()
    subject.train_epoch()
    pruning.epoch_done()
    saved = [copy.deepcopy(optimizer.state_dict()) for optimizer in subject.optimizers]
    while pruning.progress.rounds == 0:
        assert pruning.next_epoch() is not None
        if pruning.progress.rounds == 0:
            subject.train_epoch()
            pruning.epoch_done()
    for optimizer, then in zip(subject.optimizers, saved, strict=True):
        assert optimizer.state_dict()["state"].keys() == then["state"].keys()
        for number, state in then["state"].items():
            assert optimizer.state_dict()["state"][number]["step"] == state["step"]


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        ({"target.9.weight": "critic.0.weight"}, r"the module has no target\.9\.weight"),
        ({"target.0.weight": "critic.9.weight"}, r"the module has no critic\.9\.weight"),
        ({"critic.0.weight": "actor.0.weight"}, r"critic\.0\.weight is to follow actor\.0\.weight, and cannot be pruned"),
        ({"target.0.weight": "critic.2.weight"}, r"they have shapes \(16, 3\) and \(12, 16\)"),
    ],
)
def test_a_copy_that_cannot_follow_is_refused(copies, message):
    subject = WithTarget(copies=False)
    subject.anatomy = replace(subject.anatomy, copies=copies)
    before = bits(subject.module)
    with pytest.raises(ValueError, match=message):
        follow(subject, "SNIP")
    assert bits(subject.module) == before
