import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from subjects import seeds
from tiny_data import depth_pair, depth_tree, published_nyu

from rlprune.bench.cell import run_cell
from rlprune.bench.matrix import Cell
from rlprune.data import depth, folders
from rlprune.pruning.plan import TrainEpoch
from rlprune.task import tasks
from rlprune.training.depth import DepthTrainer
from rlprune.training.recipes import DepthRecipe

LOTS = np.random.default_rng(0)


# -- trees -------------------------------------------------------------------------------------------------------


def test_a_tree_is_read_pixel_by_pixel_in_metres(tmp_path):
    written = depth_tree(tmp_path)
    data = depth.load("office", tmp_path, 8, 10)
    for part in ("train", "test"):
        images, depths = getattr(data, part)
        assert images.dtype == torch.uint8
        assert depths.dtype == torch.float32
        for n in range(3):
            pixels, millimetres = written[part, n]
            assert np.array_equal(images[n].permute(1, 2, 0), pixels)
            assert np.allclose(depths[n, 0], millimetres / 1000)


def test_images_are_brought_to_one_size_and_depths_stay_depths_that_were_there(tmp_path):
    written = depth_tree(tmp_path)
    images, depths = depth.load("office", tmp_path, 4, 6).train
    assert images.shape == (3, 3, 4, 6)
    assert depths.shape == (3, 1, 4, 6)
    assert set(np.rint(1000 * depths[0].numpy()).ravel()) <= set(written["train", 0][1].ravel())


def test_the_frame_of_nyu_is_cut_off(tmp_path):
    place = tmp_path / "nyu"
    for part in ("train", "test"):
        depth_pair(place / part, "0000.png", 40, 80)
        framed = np.full((40, 80, 3), 255, np.uint8)
        framed[1:-1, 2:-2] = 0
        Image.fromarray(framed).save(place / part / "rgb/0000.png")
    assert depth.load("nyu", tmp_path, 20, 30).train[0].max() == 0
    place.rename(tmp_path / "other")
    assert depth.load("other", tmp_path, 20, 30).train[0].max() > 0


def test_what_is_wrong_with_a_tree_is_told_in_one_line(tmp_path):
    depth_tree(tmp_path)
    train = tmp_path / "office/train"

    def told(match):
        with pytest.raises(ValueError, match=match) as error:
            depth.load("office", tmp_path, 8, 10)
        assert "\n" not in str(error.value)

    Image.fromarray(np.zeros((8, 10), np.uint8)).save(train / "depth/0001.png")
    told(r"depth/0001\.png holds L pixels; expected 16-bit grey")
    Image.fromarray(np.zeros((8, 11), np.uint16)).save(train / "depth/0001.png")
    told(r"rgb/0001\.png is 10x8, its depth 11x8")
    (train / "depth/0001.png").write_bytes(b"no image")
    told(r"depth/0001\.png cannot be read as an image: cannot identify")
    (train / "depth/0001.png").unlink()
    told(r"train: rgb has 0001\.png, depth has not \(3 in rgb, 2 in depth\)")
    (train / "rgb/0001.png").unlink()
    (train / "rgb/0002.png").unlink()
    told(r"train: depth has 0002\.png, rgb has not")
    (train / "rgb").rename(train / "colour")
    told(r"train/rgb is no folder; expected \{train,test\}/\{rgb,depth\}/NAME\.png")
    (train / "rgb").mkdir()
    for file in (train / "depth").iterdir():
        file.unlink()
    told(r"rgb is empty")


def test_colours_of_any_kind_are_read_as_those_of_classifiers_are(tmp_path):
    written = depth_tree(tmp_path)
    deep = LOTS.integers(2**16, size=(8, 10), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "office/train/rgb/0000.png")
    clear = np.dstack([written["train", 1][0], np.zeros((8, 10), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "office/train/rgb/0001.png")
    images = depth.load("office", tmp_path, 8, 10).train[0]
    assert np.array_equal(images[0, 2], np.rint(deep / 257))
    assert (images[1] == 128).all()


def test_what_tools_leave_is_no_image_and_what_might_be_one_is_not_left_out(tmp_path):
    depth_tree(tmp_path)
    train = tmp_path / "office/train"
    for kind in ("rgb", "depth"):
        for name in ("._0000.png", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/0000.png"):
            (train / kind / name).parent.mkdir(exist_ok=True)
            (train / kind / name).write_bytes(b"left behind")
    assert len(depth.load("office", tmp_path, 8, 10).train[0]) == 3
    for odd in ("rgb/0003.jpg", "rgb/0003.PNG", "rgb/more/0003.png"):
        (train / odd).parent.mkdir(exist_ok=True)
        (train / odd).write_bytes(b"")
        with pytest.raises(ValueError, match=rf"{odd}: expected NAME\.png in .*rgb and nothing else"):
            depth.load("office", tmp_path, 8, 10)
        (train / odd).unlink()
    (train / "rgb/loop").symlink_to(train)
    with pytest.raises(ValueError, match=r"loop is .*train again"):
        depth.load("office", tmp_path, 8, 10)


def test_depths_that_are_none_are_refused(tmp_path):
    depth_tree(tmp_path)
    depths = np.full((8, 10), 700, np.uint16)
    depths[3, 3] = 2**16 - 1
    Image.fromarray(depths).save(tmp_path / "office/train/depth/0001.png")
    with pytest.raises(ValueError, match=r"depth/0001\.png holds 65535, .*; write 0 there"):
        depth.load("office", tmp_path, 8, 10)
    for value, message in (
        (0, "no depth of its 3 images is known; all are 0"),
        (9, r"no depth is more than 0\.009 m; are these"),
    ):
        for n in range(3):
            Image.fromarray(np.full((8, 10), value, np.uint16)).save(tmp_path / f"office/train/depth/{n:04d}.png")
        with pytest.raises(ValueError, match="train: " + message):
            depth.load("office", tmp_path, 8, 10)


def test_what_is_missing_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(
        ValueError, match=r"does not hold nyu; expected: nyu_depth_v2/ with .*\.mat, splits\.mat or nyu/ with train/rgb"
    ):
        folders.found("nyu", tmp_path)
    (tmp_path / "nyu/train/rgb").mkdir(parents=True)
    with pytest.raises(ValueError, match="nyu is not whole: train/depth, test/rgb, test/depth missing"):
        folders.found("nyu", tmp_path)
    with pytest.raises(ValueError, match="name it with --data"):
        depth.load("nyu", None, 8, 10)


def test_what_does_not_fit_memory_is_refused(tmp_path, monkeypatch):
    depth_tree(tmp_path)
    monkeypatch.setattr(depth, "MEMORY", 100)
    with pytest.raises(ValueError, match="3 images at 10x8 do not fit"):
        depth.load("office", tmp_path, 8, 10)


# -- NYU Depth v2 as published -----------------------------------------------------------------------------------


def test_nyu_as_published_is_read_by_its_own_split_without_its_frame(tmp_path):
    pixels, metres = published_nyu(tmp_path)
    data = depth.load("nyu", tmp_path, 38, 76)
    inside = (slice(None), slice(2, -2), slice(1, -1))
    for (images, depths), rows in ((data.train, (0, 2)), (data.test, (1,))):
        assert len(images) == len(rows)
        for n, row in enumerate(rows):
            assert np.array_equal(images[n], pixels[row][inside].transpose(0, 2, 1))
            assert np.array_equal(depths[n], metres[row][None][inside].transpose(0, 2, 1))


def test_broken_nyu_is_told_of_by_file(tmp_path):
    published_nyu(tmp_path, test=(4,))
    with pytest.raises(ValueError, match=r"splits\.mat: testNdxs names images 4 to 4; nyu_depth_v2_labeled\.mat has 3"):
        depth.load("nyu", tmp_path, 8, 10)
    published_nyu(tmp_path, images=2)
    with pytest.raises(ValueError, match=r"labeled\.mat has 2 images and 3 depths"):
        depth.load("nyu", tmp_path, 8, 10)
    (tmp_path / "nyu_depth_v2/nyu_depth_v2_labeled.mat").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"nyu_depth_v2_labeled\.mat cannot be read"):
        depth.load("nyu", tmp_path, 8, 10)
    published_nyu(tmp_path)
    (tmp_path / "nyu_depth_v2/splits.mat").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"splits\.mat cannot be read"):
        depth.load("nyu", tmp_path, 8, 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": np.nan}, r"labeled\.mat, image 3: 1 depths such as nan; expected metres, 0 where unknown"),
        ({"depth": np.inf}, r"labeled\.mat, image 3: 1 depths such as inf"),
        ({"depth": -1}, r"labeled\.mat, image 3: 1 depths such as -1"),
        (
            {"width": 79},
            r"labeled\.mat has images uint8 \[3, 3, 79, 40\] and depths \[3, 80, 40\]; expected uint8 \[N, 3, W, H\]",
        ),
        ({"kind": np.float32}, r"labeled\.mat has images float32"),
        ({"train": (1, 2)}, r"splits\.mat: image 2 is for training and for testing"),
        ({"test": (0,)}, r"splits\.mat: testNdxs names images 0 to 0"),
        ({"test": (1.5,)}, r"splits\.mat: testNdxs are no whole numbers"),
        ({"test": (np.nan,)}, r"splits\.mat: testNdxs are no whole numbers"),
    ],
)
def test_matrices_with_other_things_in_them_are_told_of_by_file(tmp_path, fields, message):
    published_nyu(tmp_path, **fields)
    with pytest.raises(ValueError, match=message):
        depth.load("nyu", tmp_path, 8, 10)


@pytest.mark.parametrize("name", ["images", "depths"])
def test_a_matrix_that_lacks_something_is_told_of_by_file(tmp_path, name):
    published_nyu(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2/nyu_depth_v2_labeled.mat", "a") as file:
        del file[name]
    with pytest.raises(ValueError, match=rf"nyu_depth_v2_labeled\.mat cannot be read: .*{name}"):
        depth.load("nyu", tmp_path, 8, 10)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    published_nyu(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=re.escape("python3 -m pip install 'rlprune[nyu]'")):
        depth.load("nyu", tmp_path, 8, 10)


# -- training ----------------------------------------------------------------------------------------------------


def small(**fields):
    sizes = {"height": 24, "width": 32, "train_images": 160, "batch_size": 16, "scoring_batches": 1}
    return DepthRecipe(**{"budget": 6, "network": "fcrn-small", **sizes, **fields})


def test_a_network_beats_the_constant_clearly():
    trainer = DepthTrainer(small(train_images=300), seeds, "cpu")
    rows = [trainer.train_epoch(TrainEpoch(1 - e / 3, 1 - (e + 1) / 3)) for e in range(3)]
    values = trainer.evaluate()
    assert rows[-1]["loss_train"] < rows[0]["loss_train"]
    assert values["rmse"] < 0.85 * values["rmse_constant"]
    assert 0 < values["rel"] < 0.5
    assert 0.3 < values["delta1"] < 1
    assert trainer.deployed()[0](trainer.example()).shape == (1, 1, 24, 32)


def test_measures_are_their_formulas_over_known_pixels():
    trainer = DepthTrainer(small(), seeds, "cpu")
    truth = trainer._test[1]
    truth[:, :, ::3] = 0
    with torch.no_grad():
        predicted = trainer.module.eval()(trainer._ready(trainer._test[0])).double().numpy().ravel()
    known = truth.double().numpy().ravel()
    predicted, known = predicted[known > 0], known[known > 0]
    mean = float(trainer._train[1].double().mean())
    values = trainer.evaluate()
    assert values["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - known) ** 2)), rel=1e-5)
    assert values["rel"] == pytest.approx(np.mean(np.abs(predicted - known) / known), rel=1e-5)
    assert values["rmse_constant"] == pytest.approx(np.sqrt(np.mean((mean - known) ** 2)), rel=1e-5)
    close = [max(p / k, k / p) < 1.25 if p > 0 else False for p, k in zip(predicted, known, strict=True)]
    assert values["delta1"] == pytest.approx(np.mean(close), abs=1e-4)


def test_image_and_depth_are_mirrored_together_and_alike_in_every_run():
    trainer = DepthTrainer(small(), seeds, "cpu")
    first, again = (list(trainer.batches("pass/1", augmented=True)) for _ in range(2))
    plain = list(trainer.batches("pass/1", augmented=False))
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(*parts) for parts in zip(one, two, strict=True))
    flipped = 0
    for (images, depths), (old_images, old_depths) in zip(first, plain, strict=True):
        for image, truth, old_image, old_truth in zip(images, depths, old_images, old_depths, strict=True):
            mirrored = not torch.equal(image, old_image)
            flipped += mirrored
            assert torch.equal(image, old_image.flip(2) if mirrored else old_image)
            assert torch.equal(truth, old_truth.flip(2) if mirrored else old_truth)
    assert 40 < flipped < 120


def test_more_images_than_there_are_is_a_mistake():
    with pytest.raises(ValueError, match="train_images asks for 9999 images, the training data has 1200"):
        DepthTrainer(small(train_images=9999), seeds, "cpu")


def test_a_channel_that_nobody_uses_is_no_infinity(tmp_path):
    for (part, n), (pixels, _) in depth_tree(tmp_path).items():
        pixels[..., 0] = 7
        Image.fromarray(pixels).save(tmp_path / f"office/{part}/rgb/{n:04d}.png")
    trainer = DepthTrainer(small(data="office", train_images=2, batch_size=2), seeds, "cpu", tmp_path)
    assert trainer._ready(trainer._test[0]).isfinite().all()


def test_a_cell_leaves_pictures_beside_its_network(tmp_path):
    fields = {"budget": 2, "height": 16, "width": 20, "train_images": 16, "batch_size": 4, "scoring_batches": 1}
    recipe = tasks().load("rooms-fcrn-small").settings(fields).model_dump(mode="json")
    cell = Cell("rooms-fcrn-small", "CroP-S", 0.7, 0, recipe, {"scope": "global", "floor": 1}, "cpu")
    measured = run_cell(cell, checkpoint=Path(tmp_path, "cell.pt"))
    assert measured.values["sparsity_weights"] == pytest.approx(0.7, abs=0.01)
    assert {"rmse", "rel", "delta1", "rmse_constant", "macs", "batch_seconds"} <= set(measured.values)
    with np.load(tmp_path / "cell.npz") as pictures:
        assert pictures["images"].shape == (2, 16, 20, 3)
        assert pictures["truth"].shape == pictures["predicted"].shape == (2, 16, 20)
        assert str(pictures["quantity"]) == "depth (m)"
