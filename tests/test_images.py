import copy
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from subjects import seeds
from torch import nn

from rlprune.bench.cell import run_cell
from rlprune.bench.matrix import Cell
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import Halving, Prune, Train, TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.task import tasks
from rlprune.training import supervised
from rlprune.training.images import ImageTrainer, balanced, cropped, rotated
from rlprune.training.recipes import ImageRecipe


def small(**fields):
    return ImageRecipe(
        **{"budget": 2, "network": "vgg-small", "train_images": 60, "batch_size": 20, "scoring_batches": 1, **fields}
    )


def test_a_classifier_learns_the_images_it_is_shown():
    trainer = ImageTrainer(small(budget=10, train_images=40), seeds, "cpu")
    losses = [trainer.train_epoch(TrainEpoch(1.0, 1.0))["loss_train"] for _ in range(6)]
    assert losses[-1] < losses[0]
    values = trainer.evaluate()
    assert values["train_images"] == 40
    assert 0 <= values["top1"] <= values["top5"] <= 100
    assert trainer.deployed()[0](trainer.example()).shape == (1, 10)


def test_a_network_whose_shortcuts_are_narrow_goes_back_to_the_layout_that_onednn_bears():
    """A 1x1 convolution with strides of fewer than eight channels: its gradient was written beyond its memory without AVX-512."""
    trainer = ImageTrainer(small(network="resnet-small", budget=4), seeds, "cpu")
    pruner = pruners().load("Random-S")
    plan = [Prune(Halving(rounds=6)), Train()]
    pruning = PlanFollower(trainer, replace(pruner, plan=plan), pruner.settings(), 0.99, 4, "global", seeds)
    layouts = []
    resized = trainer.resized
    trainer.resized = lambda: (resized(), layouts.append(trainer.module.stages[1].conv1.weight.is_contiguous()))
    trainer.train_epoch(pruning.next_epoch())
    narrow = [layer for layer in trainer.module.modules() if isinstance(layer, nn.Conv2d) and supervised._spoilt(layer)]
    assert narrow
    assert all(weights.is_contiguous() for weights in trainer.module.parameters())
    for average in (it for state in trainer.optimizer.state.values() for it in state.values()):
        assert not isinstance(average, torch.Tensor) or average.is_contiguous()
    assert not layouts[0], "the first cut left it wide"


def test_a_cut_network_trains_on_in_another_layout_with_the_averages_it_had():
    """One pass over memory for a step, whatever the layouts of weights and averages were, is Adam to rounding."""
    trainer = ImageTrainer(small(network="resnet-small", budget=4), seeds, "cpu")
    pruner = pruners().load("Random-S")
    trainer.train_epoch(TrainEpoch(1.0, 1.0))
    assert all(weights.is_contiguous() for weights in trainer.module.parameters())
    plan = [Train(epochs=1), Prune(), Train()]
    pruning = PlanFollower(trainer, replace(pruner, plan=plan), pruner.settings(), 0.5, 4, "global", seeds)
    trainer.train_epoch(pruning.next_epoch())
    pruning.epoch_done()
    epoch = pruning.next_epoch()
    module = copy.deepcopy(trainer.module)
    plain = torch.optim.Adam(module.parameters(), fused=False)
    saved = copy.deepcopy(trainer.optimizer.state_dict())
    plain.load_state_dict({**saved, "param_groups": [{**saved["param_groups"][0], "fused": False}]})
    assert trainer.module.stages[1].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    batch = next(trainer.batches("any", augmented=False))
    for net, optimizer in ((trainer.module, trainer.optimizer), (module, plain)):
        net.eval()
        trainer._step(net, optimizer, batch)
    for (name, ours), theirs in zip(trainer.module.named_parameters(), module.parameters(), strict=True):
        moved = (ours - theirs).abs().max()
        assert moved <= 1e-5, name
    assert trainer.optimizer.defaults["fused"]
    assert np.isfinite(trainer.train_epoch(epoch)["loss_train"])


def test_training_images_are_normalised_and_the_classes_equal():
    trainer = ImageTrainer(small(), seeds, "cpu")
    pictures, labels = trainer._train
    assert torch.bincount(labels).tolist() == [6] * 10
    ready = trainer._ready(pictures)
    assert ready.mean((0, 2, 3)).abs().max() < 0.05
    assert (ready.std((0, 2, 3)) - 1).abs().max() < 0.05


def test_images_of_one_colour_are_refused_and_an_unused_channel_is_no_infinity(tmp_path):
    for value in (0, 100):  # in the second round half of the images are red
        for number, (part, name) in enumerate(product(("train", "test"), "ab")):
            pixels = np.full((16, 16, 3), (value * (number % 2), 9, 9), np.uint8)
            (tmp_path / "mine" / part / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "mine" / part / name / "0.png")
        recipe = small(data="mine", train_images=2, batch_size=2)
        if value:
            trainer = ImageTrainer(recipe, seeds, "cpu", tmp_path)
            assert trainer._ready(trainer._train[0]).isfinite().all()
        else:
            with pytest.raises(ValueError, match="the training images of mine are all of one colour"):
                ImageTrainer(recipe, seeds, "cpu", tmp_path)


def test_augmentation_depends_on_the_pass_alone_and_scoring_has_none():
    trainer = ImageTrainer(small(crop=4, flip=True, rotate=15.0, resize=40), seeds, "cpu")
    first, again = ([x for x, _ in trainer.batches("pass/1", augmented=True)] for _ in range(2))
    plain = [x for x, _ in trainer.batches("pass/1", augmented=False)]
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert first[0].shape == plain[0].shape == (20, 3, 40, 40)
    assert not torch.equal(first[0], plain[0])


def test_a_crop_moves_the_image_and_fills_with_the_mean():
    picture = torch.arange(9.0).view(1, 1, 3, 3) + 1
    assert torch.equal(cropped(picture, 1, torch.tensor([[1], [1]])), picture)
    moved = cropped(picture, 1, torch.tensor([[0], [2]]))
    assert moved[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]


def test_a_turn_of_a_right_angle_turns_pixels():
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    pair = rotated(picture.expand(2, 1, 4, 4), torch.tensor([90.0, -90.0]))
    for turned, quarters in zip(pair, (1, -1), strict=True):
        assert torch.allclose(turned[None], torch.rot90(picture, quarters, (2, 3)), atol=1e-4)


def test_more_images_than_there_are_is_a_mistake():
    assert balanced(torch.tensor([0, 0, 1, 1, 1]), 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="asks for 6 images, the training data has 5"):
        balanced(torch.tensor([0, 0, 1, 1, 1]), 6)


def cell(pruner, sparsity=0.9, **fields):
    recipe = (
        tasks()
        .load("vgg-small-shapes")
        .settings({"budget": 4, "train_images": 40, "batch_size": 20, "scoring_batches": 1, **fields})
    )
    return Cell("vgg-small-shapes", pruner, sparsity, 0, recipe.model_dump(mode="json"), {"scope": "global", "floor": 1}, "cpu")


@pytest.mark.parametrize("pruner", ["SNIP", "CroP-S", "EarlyCroP-S"])
def test_cells_reach_their_sparsity_and_are_measured(pruner):
    measured = run_cell(cell(pruner))
    assert measured.values["sparsity_weights"] == pytest.approx(0.9, abs=0.01)
    assert {"top1", "macs", "batch_seconds", "latency_seconds", "disk_file_mb"} <= set(measured.values)
    assert len(measured.epochs) == 4
