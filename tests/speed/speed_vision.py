"""What scores, cuts and triggers cost on the paper's classifiers, as ratios in one run, one thread.

Times are those of the thread on its processor, so that other programs change a run little; each is the best of several.
Nothing is asserted: the ratios are for reading.
"""

import copy
import hashlib
import resource
import time

import numpy as np
import torch
from torch import nn

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.training.images import ImageTrainer
from rlprune.training.recipes import ImageRecipe

REPETITIONS = 3


def seconds(function, device):
    """Shortest time of a call: of this thread on the processor, or on the clock until a GPU is done."""
    return min([elapsed(function, device) for _ in range(REPETITIONS + 1)][1:])  # the first warms up


def elapsed(function, device):
    """Return the time of one call."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    start = clock()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def seeds(use):
    return np.random.SeedSequence(int(hashlib.sha256(use.encode()).hexdigest()[:15], 16))


def trainer(network, device):
    recipe = ImageRecipe(budget=10, network=network, batch_size=64, train_images=640, scoring_batches=2, crop=2)
    return ImageTrainer(recipe, seeds, device)


def follower(subject, name):
    pruner = pruners().load(name)
    return PlanFollower(subject, pruner, pruner.settings(), 0.95, 10, "global", seeds)


def scores(network, device):
    """Print what CroP's scores take, over the plain gradients of the same batches."""
    probe = follower(trainer(network, device), "CroP-S")._probe(0)
    assert probe.batches
    plain = seconds(probe.gradient, device)
    for name in ("CroP-U", "CroP-S"):
        formula = pruners().load(name).formula(pruners().load(name).settings())
        print(
            f"{network:12}score of {name}: {seconds(lambda f=formula: f(probe), device) / plain:.1f} x the plain gradients",
            end="",
        )
        print(f" ({plain:.2f} s); peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


def cuts(network, device):
    """Print how much faster a cut network trains, and what its MACs promise; and where the time of its steps goes."""
    subjects = {name: trainer(network, device) for name in ("Dense", "Random-S", "CroP-S")}
    for name in ("Random-S", "CroP-S"):
        follower(subjects[name], name).next_epoch()
    steps, macs = {name: it.training_step() for name, it in subjects.items()}, {n: it.sample_macs() for n, it in subjects.items()}
    taken = {name: [] for name in subjects}
    for _ in range(2 * REPETITIONS + 1):  # in turn
        for name, step in steps.items():
            taken[name].append(elapsed(step, device))
    for name in ("Random-S", "CroP-S"):
        faster, fewer = min(taken["Dense"]) / min(taken[name]), macs["Dense"] / macs[name]
        text = f"{faster:.1f} x faster for {fewer:.1f} x fewer MACs: {faster / fewer:.0%} of the promise"
        print(f"{network:12}batch cut to 95 % by {name}: {text}")
    whole, cut = parts(subjects["Dense"], device), parts(subjects["Random-S"], device)
    for part, time_taken in whole.items():
        text = f"{1e3 * time_taken:.1f} ms dense, {1e3 * cut[part]:.1f} ms by Random-S: {time_taken / cut[part]:.1f} x faster"
        print(f"{network:12}{part} of a batch: {text}")


def parts(subject, device):
    """Return the seconds of each part of a training step, and of the convolutions of its two passes one at a time."""
    module, batch = copy.deepcopy(subject.module).train(), next(subject.batches("timing", augmented=False))
    optimizer, graphs = subject._adam(module), []
    acts = {
        "forward": lambda: graphs.append(subject.loss(module, batch)),
        "backward": lambda: graphs.pop().backward(),
        "clipping": lambda: nn.utils.clip_grad_norm_(module.parameters(), subject.recipe.clip),
        "optimizer": optimizer.step,
    }
    taken = {part: [] for part in acts}
    for _ in range(REPETITIONS + 2):
        optimizer.zero_grad()
        for part, act in acts.items():
            taken[part].append(elapsed(act, device))
    least = {part: min(times[2:]) for part, times in taken.items()}
    return least | {"convolutions": convolutions(module, batch, device)}


def convolutions(module, batch, device):
    """Return the seconds of all convolutions of a network, forward and backward, one at a time."""
    given = []

    def keep(layer, inputs, output):
        given.append((layer, inputs[0].detach().requires_grad_(bool(given)), torch.ones_like(output)))

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        module(batch[0])
    for hook in hooks:
        hook.remove()
    return sum(seconds(lambda one=one: one[0](one[1]).backward(one[2]), device) for one in given)


def triggers(network, device):
    """Print what waiting for the lazy regime adds to an epoch."""
    subject = trainer(network, device)
    pruning = follower(subject, "EarlyCroP-S")
    epoch = seconds(lambda: subject.train_epoch(TrainEpoch(1.0, 1.0)), device)
    trigger = seconds(lambda: pruning.distance("start"), device)
    print(f"{network:12}trigger: {trigger / epoch:.2%} of an epoch of {subject.steps} batches of {subject.recipe.batch_size}")


def main():
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for network in ("resnet18", "vgg16"):
        for show in (scores, cuts, triggers):
            show(network, device)


if __name__ == "__main__":
    main()
