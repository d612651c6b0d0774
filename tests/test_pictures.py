"""Pictures of what networks make of test images, from made-up rows and arrays."""

from dataclasses import replace

import numpy as np
import pytest
from rows import row

from rlprune.report import curves, pictures
from rlprune.report.page import write_report

SPARSITIES = (0.8, 0.9, 0.98)


def left_by(value):
    """What a cell leaves whose network says ``value`` everywhere; the truth goes from 1 to 5 m, one pixel is unknown."""
    truth = np.linspace(1, 5, 2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    truth[0, 0, 0] = 0
    images = np.zeros((2, 6, 8, 3), np.uint8)
    return {"images": images, "truth": truth, "predicted": np.full_like(truth, value), "quantity": np.array("depth (m)")}


@pytest.fixture
def run(tmp_path):
    """Rows of two seeds whose cells left pictures; the value drawn is the sparsity plus ten times the seed."""
    cells = [row("Dense", seed=seed) for seed in (0, 1)]
    cells += [row(pruner, sparsity, seed) for pruner in ("SNIP", "CroP-S") for sparsity in SPARSITIES for seed in (0, 1)]
    cells = [replace(one, id=f"cell{number}") for number, one in enumerate(cells)]
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for one in cells:
        np.savez(folder / f"{one.id}.npz", **left_by(one.sparsity + 10 * one.seed))
    return cells, tmp_path


def found(cells, folder):
    (one,) = curves.comparisons(cells)
    return one, pictures.illustrated(one, [folder / "checkpoints"])


def test_pictures_are_of_the_first_seed_and_the_highest_sparsity_but_one(run):
    _, (sparsity, seed, drawn) = found(*run)
    assert (sparsity, seed) == (0.9, 0)
    assert list(drawn) == ["Dense", "SNIP", "CroP-S"]
    values = {pruner: float(arrays["predicted"][0, 0, 0]) for pruner, (_, arrays) in drawn.items()}
    assert values == pytest.approx({"Dense": 0.0, "SNIP": 0.9, "CroP-S": 0.9})


def test_image_truth_and_networks_stand_side_by_side_on_one_scale(run):
    one, drawn = found(*run)
    figure = pictures.picture_figure(one, *drawn)
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]
    told = [f"{pruner} {value}" for pruner, (value, _) in drawn[2].items()]
    assert titles == 2 * ["image", "truth", *told]
    shown = [axes.images[0] for axes in figure.axes if axes.get_title("left") not in ("", "image")]
    assert len(shown) == 2 * 4
    assert all(image.get_clim() == pytest.approx((1 + 4 / 95, 5.0)) for image in shown)
    assert np.ma.getmaskarray(shown[0].get_array())[0, 0], "an unknown depth is shown as if it were one"
    assert figure.axes[-1].get_ylabel() == "depth (m)"


def test_a_page_shows_pictures_where_a_run_left_some(run):
    cells, folder = run
    page = write_report(cells, folder).read_text(encoding="utf-8")
    assert "what the networks make of test images, with 90 % of weights removed" in page
    assert list((folder / "figures").glob("*-pictures.png"))
    joint = write_report(cells[:1], folder / "joint", runs=[folder])
    assert list((joint.parent / "figures").glob("*-pictures.png"))
    assert found(cells, folder / "elsewhere")[1] is None


def test_a_pruner_whose_pictures_are_gone_is_left_out(run):
    cells, folder = run
    for one in cells:
        if one.pruner == "SNIP":
            (folder / "checkpoints" / f"{one.id}.npz").unlink()
    assert list(found(cells, folder)[1][2]) == ["Dense", "CroP-S"]
