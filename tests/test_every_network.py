"""Every registered pruner on every kind of network of the vision tasks, in sizes that a test can train."""

import math

import pytest
from subjects import seeds

from rlprune.bench.cell import lacking
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.reason import NotApplicable
from rlprune.training.images import ImageTrainer
from rlprune.training.recipes import ImageRecipe

NETWORKS = ("resnet-small", "vgg-small", "vgg-small-plain", "resnext-small")


def effort(name, network):
    """To methods that remove weights a ResNeXt is a ResNet that takes ten times as long: SNIP and SET stand for them."""
    slow = network == "resnext-small" and pruners().load(name).cut == "weights" and name not in {"SNIP", "SET"}
    return pytest.mark.slow if slow else ()


@pytest.mark.parametrize(
    ("name", "network"),
    [pytest.param(name, network, marks=effort(name, network)) for name in pruners().names() for network in NETWORKS],
)
def test_a_pruner_prunes_the_network_and_it_trains_on(name, network):
    pruner = pruners().load(name)
    known = type(pruner.settings()).model_fields
    settings = pruner.settings({key: value for key, value in {"levels": 2, "rounds": 2}.items() if key in known})
    recipe = ImageRecipe(budget=4, network=network, train_images=8, batch_size=4, scoring_batches=1)
    trainer = ImageTrainer(recipe, seeds, "cpu")
    if missing := lacking(pruner, trainer.module):
        with pytest.raises(NotApplicable, match=f"{name} needs {missing[0]}"):
            PlanFollower(trainer, pruner, settings, 0.8, recipe.epochs, "global", seeds)
        return
    pruning = PlanFollower(trainer, pruner, settings, 0.8, recipe.epochs, "global", seeds)
    losses = []
    while (epoch := pruning.next_epoch()) is not None:
        losses.append(trainer.train_epoch(epoch)["loss_train"])
        pruning.epoch_done()
    assert len(losses) >= recipe.epochs
    assert all(map(math.isfinite, losses))
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.0 if pruner.cut == NOTHING else 0.8, abs=0.02)
    assert trainer.forward().shape == (1, 10)
