"""What holds for every pruner, tried on a tiny network, at a moment's cost."""

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rlprune.laws import Law, demand
from rlprune.laws.subject import Tiny, bits, generators, seeds, silenced
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import present
from rlprune.pruning.plan import Grow, Prune, Train, trained_epochs
from rlprune.pruning.pruner import CHANNELS, NOTHING, WEIGHTS, CommonSettings, Pruner, Scope

EPOCHS = 4
SPARSITIES = (0.5, 0.83, 0.95)


def of(pruner: Pruner) -> "Iterator[Law[Pruner]]":
    """Yield the laws that a pruner is held to, by what it cuts."""
    yield learns
    if pruner.cut == WEIGHTS:
        yield weights_to_one
    if pruner.cut == CHANNELS:
        yield channels_to_one
        yield cut_equals_masked
    if pruner.cut != NOTHING:
        yield stays_pruned
    if pruner.score is not None:
        yield only_looks
    yield same_seed
    yield resumes


# -- the laws ----------------------------------------------------------------------------------------------------


def learns(pruner: Pruner) -> None:
    """The network still learns, and the plan trains no more epochs than it says."""
    subject = fit(pruner)
    before = subject.loss(subject.module).item()
    pruning, _, epochs = prune(pruner, subject=subject)
    most = trained_epochs(pruning.plan, EPOCHS)
    demand(EPOCHS <= epochs <= most, f"of a budget of {EPOCHS} epochs, at most {most} by its plan, it trained {epochs}")
    demand(pruning.progress.trained == epochs, f"it counts {pruning.progress.trained} of {epochs} epochs")
    after = subject.loss(subject.module).item()
    demand(after < before, f"the loss was {before:.4g} before training, and is {after:.4g} after it")


def weights_to_one(pruner: Pruner) -> None:
    """Weights reach the sparsity that is asked for, to one weight, and are zero."""
    for sparsity in SPARSITIES:
        pruning, subject, _ = prune(pruner, sparsity)
        masks, dense = pruning.masked.masks, _sizes(fit(pruner))
        bare = [name for name in dense if name not in masks]
        demand(not bare, f"at {sparsity:.0%}, nothing was pruned of {', '.join(bare)}")
        for network, names in subject.anatomy.weights.items():
            kept, asked = sum(int(masks[name].sum()) for name in names), sum(dense[name] for name in names) * (1 - sparsity)
            apart = pruner.scope != "global"
            demand(not apart or abs(kept - asked) <= 1, f"at {sparsity:.0%}, {network} keeps {kept} weights, not {asked:.1f}")
        total, asked = sum(int(mask.sum()) for mask in masks.values()), round(sum(dense.values()) * (1 - sparsity))
        demand(total == asked, f"at {sparsity:.0%}, {total} weights are kept, not {asked}")
        told = pruning.reached()["sparsity_weights"]
        demand(abs(told - (1 - asked / sum(dense.values()))) < 1e-9, f"at {sparsity:.0%}, it says that {told:.4%} are removed")
        alive = [name for name, mask in masks.items() if bool(subject.module.get_parameter(name)[~mask].any())]
        demand(not alive, f"at {sparsity:.0%}, pruned weights are not zero: {', '.join(alive)}")


def channels_to_one(pruner: Pruner) -> None:
    """Channels go until as many weights are left as are asked for, to one channel, and every layer keeps one."""
    for sparsity in SPARSITIES:
        pruning, subject, _ = prune(pruner, sparsity)
        kept = {name: int(keep.sum()) for name, keep in pruning.state()["kept"].items()}
        left, dense = _sizes(subject), _sizes(fit(pruner))
        channels = {name: subject.module.get_parameter(f"{name}.weight").shape[0] for name in kept}
        demand(channels == kept, f"at {sparsity:.0%}, it says that it keeps {kept}, and layers have {channels}")
        demand(min(kept.values()) >= 1, f"at {sparsity:.0%}, a layer has no channel left: {kept}")
        largest = 0
        for network, names in subject.anatomy.weights.items():
            shapes = [subject.module.get_parameter(name).shape for name in names]
            one = max(reads[1] + feeds[0] + 1 for reads, feeds in pairwise(shapes))
            off = abs(sum(left[name] for name in names) - sum(dense[name] for name in names) * (1 - sparsity))
            largest = max(largest, one)
            demand(pruner.scope == "global" or off <= one, f"at {sparsity:.0%}, {network} misses the size by {off:.0f} weights")
        off = abs(sum(left.values()) - sum(dense.values()) * (1 - sparsity))
        demand(off <= 2 * largest, f"at {sparsity:.0%}, the size is missed by {off:.0f} weights")


def cut_equals_masked(pruner: Pruner) -> None:
    """The cut network computes what the masked one computed."""
    subject = fit(pruner)
    pruning = PlanFollower(subject, pruner, shortened(pruner, start="kept"), 0.8, EPOCHS, "network", seeds)
    cuts, training = 0, True
    while training:
        dense, before = copy.deepcopy(subject.module), chosen(pruning)
        training = pruning.next_epoch() is not None
        kept = {group: keep[before[group]] for group, keep in chosen(pruning).items()}
        if not all(bool(keep.all()) for keep in kept.values()):
            cuts += 1
            masked = silenced(dense, present(subject.anatomy.all_groups(), before), kept)
            off = (subject.predict() - subject.predict(masked)).abs().max().item()
            same = torch.allclose(subject.predict(), subject.predict(masked), rtol=1e-5, atol=1e-12)
            demand(same, f"after epoch {pruning.progress.trained} outputs differ by {off:.3g}")
        if training:
            subject.train_epoch()
            pruning.epoch_done()
    demand(cuts, "nothing was cut")
    rounds = pruning.progress.rounds
    demand(subject.resizes == rounds, f"{rounds} rounds, of which {subject.resizes} were told to who trains")


def stays_pruned(pruner: Pruner) -> None:
    """What is pruned stays pruned, or as much goes as grows."""
    seen: list[dict[str, Tensor]] = []

    def watch(pruning: PlanFollower, subject: Tiny) -> None:
        alive = chosen(pruning)
        if seen and any(isinstance(step, Grow) for step in pruning.plan):
            for network, names in subject.anatomy.weights.items():  # by layer under some scopes, by network under all
                now, before = (sum(int(some[name].sum()) for name in names if name in some) for some in (alive, seen[-1]))
                demand(now <= before or not before, f"{network} had {before} weights and has {now}")
        elif seen:
            back = [name for name, before in seen[-1].items() if name in alive and bool((alive[name] & ~before).any())]
            demand(not back, f"came back after epoch {pruning.progress.trained}: {', '.join(back)}")
        seen.append(alive)

    prune(pruner, watch=watch)
    demand(len(seen) > EPOCHS, f"it was seen {len(seen)} times in {EPOCHS} epochs")


def only_looks(pruner: Pruner) -> None:
    """Scoring leaves network, optimizer and global random generators as they are."""
    subject = fit(pruner)
    subject.train_epoch()
    before, drawn = bits(subject.module, subject.optimizer), generators()
    modes = [module.training for module in subject.module.modules()]
    now = replace(pruner, plan=[Prune(), Train()])
    pruning = PlanFollower(subject, now, now.settings({"start": "kept"}), 0.0, EPOCHS, "network", seeds)
    pruning.next_epoch()
    demand(pruning.pruning_epoch == 0, "nothing was scored")
    demand(bits(subject.module, subject.optimizer) == before, "weights, gradients or the optimizer's averages changed")
    changed = [name for name, state in generators().items() if state != drawn[name]]
    demand(not changed, f"it draws from the global generator of {', '.join(changed)}: take probe.noise or probe.channel_noise")
    demand([module.training for module in subject.module.modules()] == modes, "layers changed between training and evaluation")


def same_seed(pruner: Pruner) -> None:
    """The same seed gives the same network, to the last bit."""
    first, second = (prune(pruner)[1] for _ in range(2))
    demand(bits(first.module, first.optimizer) == bits(second.module, second.optimizer), "two runs ended in two networks")


def resumes(pruner: Pruner) -> None:
    """A run that is killed after any epoch and resumed ends bit-identical."""
    _, whole, _ = prune(pruner)
    for stop in range(1, EPOCHS):
        subject = fit(pruner)
        pruning = PlanFollower(subject, pruner, shortened(pruner), 0.8, EPOCHS, "network", seeds)
        for _ in range(stop):
            pruning.next_epoch()
            subject.train_epoch()
            pruning.epoch_done()
        saved = _reread([pruning.state(), subject.module.state_dict(), subject.optimizer.state_dict()])
        subject = fit(pruner)
        pruning = PlanFollower(subject, pruner, shortened(pruner), 0.8, EPOCHS, "network", seeds)
        pruning.load_state(saved[0])
        subject.module.load_state_dict(saved[1])
        subject.optimizer.load_state_dict(saved[2])
        while pruning.next_epoch() is not None:
            subject.train_epoch()
            pruning.epoch_done()
        same = bits(subject.module, subject.optimizer) == bits(whole.module, whole.optimizer)
        demand(same, f"killed after epoch {stop}, it ends in another network")


# -- what they are tried with ------------------------------------------------------------------------------------


def fit(pruner: Pruner) -> Tiny:
    """Return a network that has what the pruner needs."""
    return Tiny(normed="batchnorm" in pruner.needs)


def shortened(pruner: Pruner, **settings: object) -> CommonSettings:
    """Return the settings that keep a pruner's own plan short, and others."""
    known = type(pruner.settings()).model_fields
    short = {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in known}
    return pruner.settings({**short, **settings})


def prune(
    pruner: Pruner,
    sparsity: float = 0.8,
    subject: Tiny | None = None,
    watch: Callable[[PlanFollower, Tiny], None] = lambda pruning, subject: None,
    number: int = 0,
    scope: Scope = "network",
    **settings: object,
) -> tuple[PlanFollower, Tiny, int]:
    """Prune a network by a plan to its end; return who followed it, the network, and how many epochs it trained.

    Args:
        pruner: the method.
        sparsity: that is asked for.
        subject: the network; left out, one that fits.
        watch: looks at both before each epoch, and at the end.
        number: of the seed.
        scope: the task's.
        settings: of the pruner.
    """
    subject = subject or fit(pruner)
    pruning = PlanFollower(subject, pruner, shortened(pruner, **settings), sparsity, EPOCHS, scope, partial(seeds, number=number))
    epochs = 0
    while pruning.next_epoch() is not None:
        watch(pruning, subject)
        subject.train_epoch()
        pruning.epoch_done()
        epochs += 1
    watch(pruning, subject)
    return pruning, subject, epochs


def chosen(pruning: PlanFollower) -> dict[str, Tensor]:
    """Return what is kept so far: channels by group in the dense numbering, weights by name."""
    state = pruning.state()
    return {name: keep.clone() for name, keep in {**state["kept"], **state["masks"]}.items()}


def _sizes(subject: Tiny) -> dict[str, int]:
    return {name: subject.module.get_parameter(name).numel() for name in subject.anatomy.all_weights()}


def _reread(state: object) -> Any:
    """Return a state as it comes back from a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
