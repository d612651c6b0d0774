import io
import os
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from subjects import seeds
from tiny_data import imagenet, picture, published_cifar10, tiny_imagenet, tree

from rlprune.__main__ import main
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite, with_fingerprints
from rlprune.bench.sweep import identity
from rlprune.bench.worker import Record
from rlprune.data import folders, images, pixels, shapes
from rlprune.data.fingerprint import fingerprint
from rlprune.pruning.plan import TrainEpoch
from rlprune.report.comparable import of_suite
from rlprune.rows import Row
from rlprune.run import RESULTS, _data_changed
from rlprune.store import Store
from rlprune.training.images import ImageTrainer
from rlprune.training.recipes import ImageRecipe

LOTS = np.random.default_rng(0)


# -- drawn shapes ------------------------------------------------------------------------------------------------


def test_shapes_are_the_same_every_time_and_balanced():
    train, test = shapes.drawn()
    again = shapes.drawn.__wrapped__()[0]
    assert np.array_equal(train[0], again[0])
    for drawn, labels in (train, test):
        assert drawn.shape == (len(labels), 3, 32, 32)
        assert drawn.dtype == np.uint8
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


def as_python_2_wrote(entry):
    return pickle.dumps(entry, protocol=2).replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("encode", [pickle.dumps, as_python_2_wrote, lambda entry: pickle.dumps(entry, protocol=5)])
def test_cifar10_as_published_is_read(tmp_path, monkeypatch, encode):
    place = tmp_path / "cifar-10-batches-py"
    pixels = published_cifar10(place, monkeypatch, encode=encode)
    data = images.load("cifar10", tmp_path)
    assert np.array_equal(data.train[0], pixels[:5])
    assert np.array_equal(data.test[0], pixels[5:])
    assert data.train[1].tolist() == [0, 1, 2, 3, 4]
    assert data.classes[9] == "class 9"
    (place / "test_batch").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py is not as it was published: test_batch has another MD5 sum"):
        images.load("cifar10", tmp_path)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("called"),))


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        (
            "data_batch_2",
            {"data": np.zeros((1, 3071), np.uint8), "labels": [0]},
            r"data_batch_2 has images uint8 \[1, 3071\], expected",
        ),
        ("data_batch_2", {"data": np.zeros((1, 3072)), "labels": [0]}, r"data_batch_2 has images float64"),
        ("test_batch", {"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, "test_batch has the label 10, expected 0 to 9"),
        ("test_batch", {"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, "test_batch has the label -1"),
        ("test_batch", {"data": np.zeros((1, 3072), np.uint8), "labels": [0, 1]}, "test_batch has 1 images and 2 labels"),
        ("test_batch", {"data": np.zeros((1, 3072), np.uint8)}, "test_batch has 1 images and no list of labels"),
        ("test_batch", ["no", "dict"], "test_batch holds a list, expected a dict"),
        ("data_batch_1", {"data": Evil()}, r"data_batch_1 asks for \S+\.\w+; only arrays and plain values are read"),
        ("batches.meta", {"label_names": 10}, "batches.meta holds no list of classes named label_names"),
    ],
)
def test_pickles_of_other_things_are_told_of_by_file_and_call_nothing(tmp_path, monkeypatch, name, entry, message):
    monkeypatch.chdir(tmp_path)
    published_cifar10(tmp_path / "cifar-10-batches-py", monkeypatch, lambda entries: entries.update({name: entry}))
    with pytest.raises(ValueError, match="cifar-10-batches-py is not as it was published: " + message):
        images.load("cifar10", tmp_path)
    assert not Path("called").exists()


def test_tiny_imagenet_in_its_own_layout_is_read(tmp_path):
    place = tiny_imagenet(tmp_path)
    data = images.load("tiny-imagenet", tmp_path)
    assert data.train[0].shape == (2, 3, 8, 8)
    assert data.test[1].tolist() == [1]
    (place / "val/val_annotations.txt").write_text("val_0.JPEG\tn03\t0\t0\t7\t7\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt:1 names classes that train has not: n03"):
        images.load("tiny-imagenet", tmp_path)
    (place / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\r\nval_1.JPEG n02\r\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt:2: 'val_1.JPEG n02'; expected IMAGE, a tab and CLASS"):
        images.load("tiny-imagenet", tmp_path)
    (place / "val/val_annotations.txt").write_text("")
    with pytest.raises(ValueError, match=r"val: images has val_0\.JPEG, val_annotations\.txt has not"):
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


def counted(data):
    return data.classes, len(data.train[0]), len(data.test[0])


def test_what_tools_leave_in_folders_is_no_class_and_no_image(tmp_path):
    tree(tmp_path / "pets")
    before = fingerprint("pets", tmp_path)
    left = ".DS_Store", "cat/.DS_Store", "cat/._0.png", "cat/Thumbs.db", "desktop.ini", "__MACOSX/cat/._0.png", "@eaDir/0.jpg"
    for name in (*left, ".ipynb_checkpoints/0.png", "cat/.ipynb_checkpoints/0.png", ".git/x.png", "cat/notes/read.txt"):
        file = tmp_path / "pets/train" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"left behind")
    (tmp_path / "pets/test/empty/inside").mkdir(parents=True)
    assert counted(images.load("pets", tmp_path)) == (("cat", "dog"), 4, 4)
    assert fingerprint("pets", tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat/9.heic", r"9\.heic: '\.heic' is not read; images end in \.bmp"),
        ("9.png", r"9\.png is in no class; expected CLASS/IMAGE in"),
        ("notes/read.txt", r"notes has files, read\.txt among them, and no image"),
    ],
)
def test_what_might_be_an_image_or_a_class_is_refused_and_not_left_out(tmp_path, name, message):
    tree(tmp_path / "pets")
    file = tmp_path / "pets/train" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        images.load("pets", tmp_path)


@pytest.mark.parametrize(
    ("link", "to", "message"),
    [
        ("train/cat/loop", ".", "loop is .*train/cat again"),
        ("train/cat/loop", "..", "loop is .*train again"),
        ("train/cat/loop", "/", "loop is / again"),
        ("train/kitten", "cat", "kitten is .*train/cat again"),
        ("test/cat/more", "../../train/cat", "more is .*train/cat again"),
        ("train/cat/9.png", "nowhere.png", r"9\.png is a link that leads nowhere"),
    ],
)
def test_links_that_make_images_count_twice_or_lead_nowhere_are_refused(tmp_path, link, to, message):
    tree(tmp_path / "pets")
    (tmp_path / "pets" / link).symlink_to(to)
    with pytest.raises(ValueError, match=message):
        images.load("pets", tmp_path)


def test_links_to_data_elsewhere_are_followed(tmp_path):
    tree(tmp_path / "pets")
    before = images.load("pets", tmp_path), fingerprint("pets", tmp_path)
    (tmp_path / "pets/train/cat").rename(tmp_path / "cats")
    (tmp_path / "pets/train/cat").symlink_to(tmp_path / "cats")
    (tmp_path / "pets/train/dog/0.png").rename(tmp_path / "dog.png")
    (tmp_path / "pets/train/dog/0.png").symlink_to(tmp_path / "dog.png")
    assert torch.equal(images.load("pets", tmp_path).train[0], before[0].train[0])
    assert fingerprint("pets", tmp_path) == before[1]


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    tree(tmp_path / "pets", classes=("cat",))
    with pytest.raises(ValueError, match="train has one class, cat; expected CLASS/IMAGE in it, two classes or more"):
        images.load("pets", tmp_path)
    (tmp_path / "none/train").mkdir(parents=True)
    (tmp_path / "none/test").mkdir()
    with pytest.raises(ValueError, match="train has no class"):
        images.load("none", tmp_path)


# -- pixels ------------------------------------------------------------------------------------------------------

GREY = LOTS.integers(256, size=(8, 8), dtype=np.uint8)
COLOURS = LOTS.integers(256, size=(8, 8, 3), dtype=np.uint8)
DEEP = LOTS.integers(2**16, size=(8, 8), dtype=np.uint16)
CLEAR = LOTS.integers(256, size=(8, 8), dtype=np.uint8)


def read(folder, image, name="x.png", **options):
    image.save(folder / name, **options)
    return np.asarray(pixels.rgb(folder / name)).astype(int)


def bomb(side):
    """Return a small PNG that says it has so many rows and columns."""
    small = io.BytesIO()
    Image.new("1", (8, 8)).save(small, "PNG")
    head = b"IHDR" + struct.pack(">II", side, side) + small.getvalue()[24:29]
    return small.getvalue()[:12] + head + struct.pack(">I", zlib.crc32(head)) + small.getvalue()[33:]


def over_grey(values, alpha):
    """What shows of values [..., 3] on the background, to a rounding."""
    share = alpha[..., None] / 255
    return values * share + np.array(pixels.BACKGROUND) * (1 - share)


def test_eight_bits_come_as_they_are(tmp_path):
    assert np.array_equal(read(tmp_path, Image.fromarray(COLOURS)), COLOURS)
    assert np.array_equal(read(tmp_path, Image.fromarray(GREY))[..., 1], GREY)
    assert np.array_equal(read(tmp_path, Image.fromarray(GREY > 127))[..., 2], 255 * (GREY > 127))
    palette = Image.fromarray(COLOURS).quantize(64)
    assert np.array_equal(read(tmp_path, palette), np.asarray(palette.convert("RGB")))
    opaque = np.dstack([COLOURS, np.full_like(GREY, 255)])
    assert np.array_equal(read(tmp_path, Image.fromarray(opaque)), COLOURS)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    expected = np.rint(DEEP / 257)
    for name in ("x.png", "x.tiff"):
        assert np.array_equal(read(tmp_path, Image.fromarray(DEEP), name)[..., 0], expected)
    (tmp_path / "x.pgm").write_bytes(b"P5 8 8 65535\n" + DEEP.astype(">u2").tobytes())
    assert np.array_equal(np.asarray(pixels.rgb(tmp_path / "x.pgm"))[..., 0], expected)


def test_what_is_transparent_shows_grey_so_that_no_drawing_vanishes(tmp_path):
    for value in (0, 255):  # drawn in alpha alone
        drawn = np.full((8, 8, 3), value)
        both = Image.merge("LA", (Image.new("L", (8, 8), value), Image.fromarray(CLEAR)))
        assert np.abs(read(tmp_path, both) - over_grey(drawn, CLEAR)).max() <= 1
    rgba = np.dstack([COLOURS, CLEAR])
    for name in ("x.png", "x.tiff"):
        assert np.abs(read(tmp_path, Image.fromarray(rgba), name) - over_grey(COLOURS, CLEAR)).max() <= 1
    palette = Image.fromarray(COLOURS).quantize(4)
    alphas = np.array([0, 100, 200, 255], np.uint8)
    looked_up = over_grey(np.asarray(palette.convert("RGB")), alphas[np.asarray(palette)])
    assert np.abs(read(tmp_path, palette, transparency=alphas.tobytes()) - looked_up).max() <= 1


def test_the_preview_of_a_camera_is_no_second_image(tmp_path):
    large, small = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (4, 4), (0, 250, 0))
    large.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[small])
    seen = np.asarray(pixels.rgb(tmp_path / "x.jpg")).astype(int)
    assert np.abs(seen - [250, 0, 0]).max() < 9


def test_inks_are_told_from_colours(tmp_path):
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0] = 255  # cyan
    for name in ("x.tiff", "x.jpg"):
        assert np.abs(read(tmp_path, Image.fromarray(inks, "CMYK"), name) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: Image.fromarray(GREY / np.float32(255)).save(file, "TIFF"), "has float pixels, whose range is not known"),
        (lambda file: Image.fromarray(DEEP.astype(np.int32)).save(file, "TIFF"), "has 32-bit pixels, whose range is not known"),
        (lambda file: Image.fromarray(DEEP // 16).save(file, "PNG"), r"has 16-bit pixels of at most \d{4}: nearly black"),
        (
            lambda file: Image.fromarray(GREY).save(file, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
            "holds 2 images; expected one",
        ),
        (lambda file: file.write_bytes(bomb(20_000)), "cannot be read as an image: .*decompression bomb"),
        (lambda file: file.write_bytes(b""), "cannot be read as an image: cannot identify"),
        (lambda file: Image.fromarray(COLOURS).save(file, "EPS"), "cannot be read as an image: cannot identify"),
    ],
)
def test_pixels_that_nobody_can_read_rightly_are_refused_by_file(tmp_path, write, message):
    write(tmp_path / "x.png")
    with pytest.raises(ValueError, match=message) as told:
        pixels.rgb(tmp_path / "x.png")
    assert str(told.value).startswith(str(tmp_path / "x.png"))
    assert "\n" not in str(told.value)


def test_the_largest_image_has_a_limit(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "x.png")
    monkeypatch.setattr(pixels, "LARGEST", 63)
    with pytest.raises(ValueError, match=r"x\.png is 8x8; at most 63 pixels are read"):
        pixels.rgb(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"])
def test_half_a_file_is_told_of_by_name(tmp_path, kind):
    whole = io.BytesIO()
    Image.fromarray(LOTS.integers(256, size=(64, 64, 3), dtype=np.uint8)).save(whole, kind)
    (tmp_path / "x.png").write_bytes(whole.getvalue()[: whole.tell() // 2])
    with pytest.raises(ValueError, match=r"x\.png cannot be read as an image: "):
        pixels.rgb(tmp_path / "x.png")


# -- fingerprints ------------------------------------------------------------------------------------------------


def test_a_fingerprint_tells_data_from_other_data_and_not_places_or_times(tmp_path):
    tree(tmp_path / "a/pets")
    first = fingerprint("pets", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    os.utime(tmp_path / "b/pets/train/cat/0.png", (1, 1))
    (tmp_path / "b/pets/README.txt").write_text("not read")
    assert fingerprint("pets", tmp_path / "b") == first
    for part in ("train", "test"):
        cat, dog = (tmp_path / "b/pets" / part / name / "0.png" for name in ("cat", "dog"))
        other, size = dog.read_bytes(), cat.stat()
        dog.write_bytes(cat.read_bytes())
        cat.write_bytes(other)  # mended labels: the same names
        os.utime(cat, ns=(size.st_atime_ns, size.st_mtime_ns))
        mended = fingerprint("pets", tmp_path / "b")
        assert mended != first
        first = mended


def test_of_many_images_names_sizes_and_pieces_are_looked_at_and_labels_wholly(tmp_path, monkeypatch):
    place = tmp_path / "tiny-imagenet-200"
    for name in ("train/n01/images/0.PNG", "train/n02/images/1.PNG", "val/images/2.PNG"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_bytes(bytes(100_000))
    (place / "val/val_annotations.txt").write_text("2.PNG\tn02\n")
    monkeypatch.setattr("rlprune.data.fingerprint.WHOLE", 1000)
    first = fingerprint("tiny-imagenet", tmp_path)
    (place / "val/val_annotations.txt").write_text("2.PNG\tn01\n")
    assert fingerprint("tiny-imagenet", tmp_path) != first
    (place / "val/val_annotations.txt").write_text("2.PNG\tn02\n")
    assert fingerprint("tiny-imagenet", tmp_path) == first
    (place / "train/n01/images/0.PNG").write_bytes(bytes(50_000) + b"1" + bytes(49_999))
    assert fingerprint("tiny-imagenet", tmp_path) != first


def test_a_folder_with_images_and_texts_is_looked_at_for_both(tmp_path):
    tree(tmp_path / "mine")
    for part in ("train", "valid", "test"):
        (tmp_path / f"mine/{part}.txt").write_text("a cat\n")
    first = fingerprint("mine", tmp_path)
    (tmp_path / "mine/valid.txt").write_text("a dog\n")
    second = fingerprint("mine", tmp_path)
    picture(tmp_path / "mine/train/cat/0.png")
    assert len({first, second, fingerprint("mine", tmp_path)}) == 3


def test_a_checkpoint_is_a_part_of_the_data(tmp_path):
    tree(tmp_path / "pets")
    (tmp_path / "bert").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bert" / name).write_bytes(b"{}")
    both = fingerprint("pets", tmp_path, "bert")
    assert len({both, fingerprint("pets", tmp_path), fingerprint(None, tmp_path, "bert")}) == 3
    (tmp_path / "bert/model.safetensors").write_bytes(b"[]")
    assert fingerprint("pets", tmp_path, "bert") != both


def cells_of(folder, out, capsys):
    """Return the cells of a run on this folder, and what a dry run says."""
    task, pruner = 'data_tasks=["vgg-small-cifar10"]', "Dense,SNIP"
    asked = ["run", "vision", "--profile", "smoke", "--pruners", pruner, "--set", task, "--data", str(folder)]
    assert main([*asked, "--out", str(out), "--dry-run"]) == 0
    suite = with_fingerprints(load_suite("vision", "smoke", [task], {"pruners": pruner}, folder))
    return suite, cells(suite, "cpu"), capsys.readouterr().out


def test_cells_of_other_data_are_others_and_their_results_are_not_shown_as_the_present_ones(tmp_path, capsys):
    tree(tmp_path / "a/cifar10")
    tree(tmp_path / "b/cifar10")
    suite, before, text = cells_of(tmp_path / "a", tmp_path / "out", capsys)
    assert "other data" not in text
    with Store(tmp_path / "out" / RESULTS) as store:
        for one in before:
            known = identity(one, suite)
            store.save(Row(**vars(known), **vars(Record("then", "now", {}, {}, values={"top1": 50.0}))))
        assert known.labels["data"] == known.config["data"] == one.data
    _, again, text = cells_of(tmp_path / "a", tmp_path / "out", capsys)
    assert again == before
    assert "2 cells, 2 done" in text
    assert "other data" not in text
    other, after, text = cells_of(tmp_path / "b", tmp_path / "out", capsys)
    assert not {one.id for one in after} & {one.id for one in before}
    assert f"has 2 of these cells finished on other data than {tmp_path / 'b'} holds now" in text
    assert "2 cells, 0 done" in text
    with Store(tmp_path / "out" / RESULTS) as store:
        assert of_suite(store.rows(), other, "cpu") == []
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    _, copied, _ = cells_of(tmp_path / "c", tmp_path / "out", capsys)
    assert [one.id for one in copied] == [one.id for one in before], "the place is no part of a cell's id"


def test_what_is_wrong_with_data_is_told_before_anything_runs(tmp_path, capsys):
    tree(tmp_path / "cifar10")
    (tmp_path / "cifar10/train/cat/loop").symlink_to(tmp_path / "cifar10")
    assert main(["run", "vision", "--profile", "smoke", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "--data: " in (told := capsys.readouterr().err)
    assert "loop is" in told
    assert not (tmp_path / "out").exists()


def test_data_that_change_during_a_run_are_noticed(tmp_path):
    tree(tmp_path / "cifar10")
    suite = with_fingerprints(load_suite("vision", "smoke", ['data_tasks=["vgg-small-cifar10"]'], folder=tmp_path))
    assert not _data_changed(suite)
    picture(tmp_path / "cifar10/test/dog/0.png")
    assert _data_changed(suite)
    shutil.rmtree(tmp_path / "cifar10")
    assert _data_changed(suite)


def test_cells_of_the_programs_own_data_keep_their_ids():
    plain = cells(load_suite("vision", "smoke"), "cpu")
    assert [one.id for one in cells(with_fingerprints(load_suite("vision", "smoke")), "cpu")] == [one.id for one in plain]
    assert "data" not in plain[0].config


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
    imagenet(tmp_path, [(300, "n01"), (40, "n01"), (270, "n02")])
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
