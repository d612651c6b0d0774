import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from subjects import seeds
from torchvision.datasets import CIFAR10

from rlprune.data import folders, images, shapes
from rlprune.plan import TrainEpoch
from rlprune.training.images import ImageTrainer
from rlprune.training.recipes import ImageRecipe

LOTS = np.random.default_rng(0)


def picture(file, side=8, mode="RGB"):
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side, 3) if mode == "RGB" else (side, side)
    pixels = LOTS.integers(256, size=shape, dtype=np.uint8)
    Image.fromarray(pixels, mode if mode == "L" else None).save(file)
    return pixels


def tree(folder, parts=("train", "test"), classes=("cat", "dog"), count=2):
    return {
        (part, name, number): picture(folder / part / name / f"{number}.png")
        for part in parts
        for name in classes
        for number in range(count)
    }


# -- drawn shapes ------------------------------------------------------------------------------------------------


def test_shapes_are_the_same_every_time_and_balanced():
    train, test = shapes.drawn()
    again = shapes.drawn.__wrapped__()[0]
    assert np.array_equal(train[0], again[0])
    for pixels, labels in (train, test):
        assert pixels.shape == (len(labels), 3, 32, 32)
        assert pixels.dtype == np.uint8
        assert set(np.bincount(labels)) == {len(labels) // len(shapes.CLASSES)}
    assert len(shapes.CLASSES) == 10


def test_no_drawing_is_in_both_parts():
    train, test = (set(map(bytes, part[0])) for part in shapes.drawn())
    assert len(train) == shapes.TRAIN
    assert not train & test


def test_colour_tells_little_of_a_drawing():
    (pixels, labels), (others, truth) = shapes.drawn()
    means = np.stack([pixels[labels == label].mean((0, 2, 3)) for label in range(10)])
    guessed = np.linalg.norm(others.mean((2, 3))[:, None] - means, axis=2).argmin(1)
    assert (guessed == truth).mean() < 0.2


# -- folders -----------------------------------------------------------------------------------------------------


def test_a_tree_of_images_is_read_pixel_by_pixel(tmp_path):
    written = tree(tmp_path / "pets")
    data = images.load("pets", tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.train[1].tolist() == data.test[1].tolist() == [0, 0, 1, 1]
    assert np.array_equal(data.train[0][2].permute(1, 2, 0), written["train", "dog", 0])
    assert torch.equal(images.load("pets", tmp_path / "pets").train[0], data.train[0])


def test_cifar10_as_published_is_read(tmp_path, monkeypatch):
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    pixels = LOTS.integers(256, size=(6, 3, 32, 32), dtype=np.uint8)

    def written(name, entry):
        (place / name).write_bytes(pickle.dumps(entry))
        return [name, hashlib.md5((place / name).read_bytes()).hexdigest()]

    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    sums = [
        written(name, {"data": part.reshape(1, -1), "labels": [n]})
        for n, (name, part) in enumerate(zip(names, pixels, strict=True))
    ]
    meta = written("batches.meta", {"label_names": [f"class {n}" for n in range(10)]})
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    data = images.load("cifar10", tmp_path)
    assert np.array_equal(data.train[0], pixels[:5])
    assert np.array_equal(data.test[0], pixels[5:])
    assert data.train[1].tolist() == [0, 1, 2, 3, 4]
    (place / "test_batch").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py is not as it was published"):
        images.load("cifar10", tmp_path)


def test_tiny_imagenet_in_its_own_layout_is_read(tmp_path):
    place = tmp_path / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        picture(place / "train" / name / "images" / f"{name}_0.JPEG")
    picture(place / "val/images/val_0.JPEG", mode="L")  # some are grey
    (place / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t7\t7\n")
    data = images.load("tiny-imagenet", tmp_path)
    assert data.train[0].shape == (2, 3, 8, 8)
    assert data.test[1].tolist() == [1]
    (place / "val/val_annotations.txt").write_text("val_0.JPEG\tn03\t0\t0\t7\t7\n")
    with pytest.raises(ValueError, match="names classes that train has not: n03"):
        images.load("tiny-imagenet", tmp_path)


def test_what_is_missing_is_told_in_one_line(tmp_path):
    with pytest.raises(
        ValueError, match=r"nowhere is no folder; cifar10 was expected in it: cifar-10-batches-py/ with .* or cifar10/"
    ) as told:
        folders.found("cifar10", tmp_path / "nowhere")
    assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match=r"does not hold tiny-imagenet; expected: tiny-imagenet-200/ .*CS231n"):
        folders.found("tiny-imagenet", tmp_path)
    (tmp_path / "cifar10/train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"cifar10 is not whole: test missing"):
        folders.found("cifar10", tmp_path)
    with pytest.raises(ValueError, match=r"does not hold cifr10; did you mean 'cifar10'\?"):
        folders.found("cifr10", tmp_path)
    with pytest.raises(ValueError, match="name it with --data"):
        images.load("cifar10", None)


def test_broken_trees_are_told_of_by_file(tmp_path):
    tree(tmp_path / "pets")
    (tmp_path / "pets/train/cat/0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png cannot be read as an image"):
        images.load("pets", tmp_path)
    picture(tmp_path / "pets/train/cat/0.png", side=9)
    with pytest.raises(ValueError, match=r"is 8x8, the first image 9x9"):
        images.load("pets", tmp_path)
    tree(tmp_path / "pets", parts=("train",), classes=("bird",))
    with pytest.raises(ValueError, match="train and test have different classes: bird"):
        images.load("pets", tmp_path)


def test_what_does_not_fit_memory_stays_files(tmp_path, monkeypatch):
    tree(tmp_path / "mine")
    whole = images.load("mine", tmp_path)
    monkeypatch.setattr(images, "MEMORY", 100)
    files = images.load("mine", tmp_path)
    assert isinstance(files.train[0], images.Files)
    assert torch.equal(files.train[0][torch.tensor([3, 0])], whole.train[0][[3, 0]])
    assert torch.equal(files.train[1], whole.train[1])
    assert len(files.train[0].only(torch.tensor([1, 2]))) == 2


def test_imagenet_is_read_from_files_of_any_size_as_squares(tmp_path):
    for part in ("train", "val"):
        for number, (side, name) in enumerate([(300, "n01"), (40, "n01"), (270, "n02")]):
            picture(tmp_path / "imagenet" / part / name / f"{number}.JPEG", side)
    data = images.load("imagenet", tmp_path)
    assert data.classes == ("n01", "n02")
    assert data.train[0][torch.arange(3)].shape == (3, 3, images.SIDE, images.SIDE)
    assert data.test[1].tolist() == [0, 0, 1]


def test_files_train_as_images_in_memory_do(tmp_path, monkeypatch):
    tree(tmp_path / "mine", count=4)
    recipe = ImageRecipe(budget=2, network="vgg-small", data="mine", batch_size=3, resize=16, crop=1, flip=True)
    losses = []
    for memory in (images.MEMORY, 100):
        monkeypatch.setattr(images, "MEMORY", memory)
        trainer = ImageTrainer(recipe, seeds, "cpu", tmp_path)
        losses.append((trainer.train_epoch(TrainEpoch(1.0, 1.0))["loss_train"], trainer.evaluate()["loss_test"]))
    assert losses[0] == losses[1]
