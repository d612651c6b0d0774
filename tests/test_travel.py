"""Files of jobs that go to other machines and come home."""

import pytest
from jobs import Diary

from rlprune.bench.matrix import Cell
from rlprune.bench.worker import Assignment
from rlprune.executors import Demands, Keeps, travel


@pytest.fixture
def diaries(tmp_path):
    """One job at home and away."""
    for name in ("home", "away"):
        (tmp_path / name).mkdir()
    home = Diary(tmp_path / "home", "mine")
    return home, home.moved(tmp_path / "away")


def held(diary):
    return {file.name: file.read_text() for file in diary.folder.iterdir()}


def test_what_becomes_of_files_elsewhere_becomes_of_them_at_home(diaries):
    home, away = diaries
    (home.folder / "mine.pages").write_text("first")
    (home.folder / "yours.pages").write_text("somebody else's")
    (home.folder / "mine.pages.77.new").write_text("of a run that was killed")
    travel.unpack(away, travel.packed(home))
    assert held(away) == {"mine.pages": "first"}
    changes = travel.Changes(away, ["mine.pages"])

    def come():
        found = list(changes)
        for name, content in found:
            travel.bring(home, name, content)
        assert {name: text for name, text in held(home).items() if not name.endswith(".new")} == {
            **held(away),
            "yours.pages": "somebody else's",
        }
        return dict(found)

    come()
    assert come() == {}
    (away.folder / "mine.pages").replace(away.folder / "mine.before.pages")
    (away.folder / "mine.pages").write_text("second")
    assert come() == {"mine.before.pages": "mine.pages", "mine.pages": b"second"}
    (away.folder / "mine.pages").replace(away.folder / "mine.before.pages")
    (away.folder / "mine.pages").write_text("third")
    assert come() == {"mine.before.pages": "mine.pages", "mine.pages": b"third"}
    (away.folder / "mine.before.pages").unlink()
    (away.folder / "mine.book").write_text("all")
    assert come() == {"mine.before.pages": None, "mine.book": b"all"}
    (away.folder / "mine.book.77.new").write_text("of a worker that was killed")
    travel.remove(away)
    assert held(away) == {}


def test_files_that_a_shared_folder_has_are_not_replaced(diaries):
    home, away = diaries
    (home.folder / "mine.pages").write_text("first")
    (away.folder / "mine.pages").write_text("first second")
    travel.unpack(away, travel.packed(home))
    assert held(away) == {"mine.pages": "first second"}


def test_a_folder_that_was_removed_is_not_made_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        travel.bring(Diary(tmp_path / "gone" / "kept", "mine"), "mine.pages", b"first")


def test_cells_say_what_they_keep_and_need(tmp_path):
    cells = tuple(Cell("cartpole-v1", "SNIP", 0.9, seed, {}, {}, "cuda") for seed in (0, 1))
    job = Assignment(cells, tuple(tmp_path / f"{cell.id}.pt" for cell in cells), None, 2e9)
    assert isinstance(job, Keeps)
    assert isinstance(job, Demands)
    assert (job.folder, list(job.stems), job.device) == (tmp_path, [cell.id for cell in cells], "cuda")
    assert job.moved(tmp_path / "away").checkpoints == tuple(tmp_path / "away" / f"{cell.id}.pt" for cell in cells)
