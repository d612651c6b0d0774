"""What scores, cuts and triggers cost on the paper's classifiers, as ratios in one run, one thread.

Times are those of the thread on its processor, so that other programs change a run little; each is the best of several.
Nothing is asserted: the ratios are for reading.
"""

import hashlib
import resource
import time

import numpy as np
import torch

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.training.images import ImageTrainer
from rlprune.training.recipes import ImageRecipe

REPETITIONS = 3


def seconds(function, device):
    """Shortest time of a call: of this thread on the processor, or on the clock until a GPU is done."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    taken = []
    for _ in range(REPETITIONS + 1):  # the first warms up
        start = clock()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return min(taken[1:])


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
    """Print how much faster a cut network trains, and what its MACs promise."""
    dense = trainer(network, device)
    before, promised = seconds(dense.training_step(), device), dense.sample_macs()
    for name in ("Random-S", "CroP-S"):
        cut = trainer(network, device)
        follower(cut, name).next_epoch()
        faster, fewer = before / seconds(cut.training_step(), device), promised / cut.sample_macs()
        text = f"{faster:.1f} x faster for {fewer:.1f} x fewer MACs: {faster / fewer:.0%} of the promise"
        print(f"{network:12}batch cut to 95 % by {name}: {text}")


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
