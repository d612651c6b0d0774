"""An executor of somebody else's package: by its name, asked what it has, and used."""

from importlib.util import find_spec
from textwrap import dedent

import pytest
from installed import entered

from rlprune.__main__ import main
from rlprune.executors import Executor, executors
from rlprune.registry import Registry
from rlprune.run import Parser, add_arguments, checked
from rlprune.store import Store

ELSEWHERE = """
    from rlprune.executors import Begun, Executor, Failed, Options, Returned, Told
    from rlprune.reason import told

    def here(work, jobs, workers, preload=()):
        "One job after the other, in this process."
        for job in jobs:
            heard = []
            yield Begun(job)
            try:
                end = Returned(job, work(job, heard.append))
            except Exception as error:
                end = Failed(job, told(error), crashed=False)
            yield from (Told(job, values) for values in heard)
            yield end

    def lost(device):
        raise OSError("the queue does not answer")

    HERE = Executor("here", here, workers=lambda device: 1, sees=lambda device, *, sure: device == "cpu")
    HALL = Executor("hall", here, workers=lambda device: 7 if device == "cuda" else 3, sees=lambda device, *, sure: True, most=8)
    LOST = Executor("lost", here, workers=lost, sees=lambda device, *, sure: lost(device))

    class Wishes(Options):
        rooms: int = 2
        door: str = "front"

    def made(folder, wishes):
        def sleep(work, jobs, workers, preload=()):
            yield wishes.door, folder.name

        return Executor("hotel", sleep, lambda device: wishes.rooms, sees=lambda device, *, sure: True)

    HOTEL = Executor("hotel", here, lambda device: 2, sees=lambda device, *, sure: True, options=Wishes, made=made)
    """
POINTS = "here = elsewhere:HERE\nhall = elsewhere:HALL\nlost = elsewhere:LOST\nhotel = elsewhere:HOTEL\nbroken = no_such:BROKEN\n"
RUN = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense,SNIP", "--seeds", "2"]
NO_GPU = "got 'cuda'; no worker of executor here sees a GPU: use cpu or auto"
TINY = ["--set", "recipe.budget=160", "--set", "recipe.epochs=2", "--set", "recipe.evaluation_games=1", "--jobs", "1"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A package with executors, as pip would install it."""
    folder = tmp_path / "site"
    entered(folder, "rlprune.executors", POINTS)
    (folder / "elsewhere.py").write_text(dedent(ELSEWHERE))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("rlprune.executors._EXECUTORS", Registry("rlprune.executors", Executor))
    monkeypatch.chdir(tmp_path)


def rows(out):
    """Return what does not depend on the clock of every row, by the cell."""
    timed = ("seconds", "joules", "co2", "memory_peak")

    def lasting(values):
        return {name: value for name, value in values.items() if not any(word in name for word in timed)}

    with Store(out / "results.sqlite", create=False) as store:
        return {row.id: (row.status, row.layers, row.epochs, lasting(row.values)) for row in store.rows()}


def test_it_gives_the_same_rows_as_workers_of_this_machine(tmp_path):
    for name in ("local", "here"):
        assert main([*RUN, *TINY, "--executor", name, "--out", str(tmp_path / name)]) == 0
    assert len(rows(tmp_path / "here")) == 4
    assert rows(tmp_path / "here") == rows(tmp_path / "local")


def test_names_are_found_in_any_case_and_one_that_is_broken_hides_nobody(capsys):
    known = executors().names()
    assert {"broken", "hall", "here", "local", "lost"} <= set(known)
    assert executors().load("HERE").name == "here"
    assert main(["list", "executors"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == known
    assert "cannot be used: 'broken' cannot be imported: ModuleNotFoundError" in lines["broken"]
    assert main([*RUN, "--dry-run", "--executor", "here"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--executor", "hal"], "--executor: no executor is named 'hal'; did you mean 'hall'? (see: rlprune list executors)"),
        (
            ["--executor", "broken"],
            "--executor: 'broken' cannot be imported: ModuleNotFoundError: No module named 'no_such'",
        ),
        (["--executor", "lost"], "--executor: lost cannot be used: OSError: the queue does not answer"),
        (["--executor", "lost", "--device", "cuda"], "--executor: lost cannot be used: OSError: the queue does not answer"),
        (
            ["--executor", "here", "--device", "cuda"],
            "--device: got 'cuda'; no worker of executor here sees a GPU: use cpu or auto",
        ),
        (["--executor", "hall", "--jobs", "9"], "--jobs: got '9'; must be a whole number, 1 to 8"),
    ],
)
def test_what_an_executor_does_not_have_is_refused_beside_all_other_mistakes(words, told, capsys):
    assert main([*RUN, "--dry-run", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [told]
    if "lost" not in words or "cuda" in words:
        assert main([*RUN, "--dry-run", *words, "--set", "seeds=0", "--out", ""]) == 2
        assert told in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("suite", "words", "device", "jobs"),
    [
        ("cartpole", [], "cpu", 3),
        ("cartpole", ["--device", "cuda"], "cuda", 7),
        ("vision", [], "cuda", 7),
        ("vision", ["--device", "cpu"], "cpu", 3),
        ("vision", ["--jobs", "8"], "cuda", 8),
    ],
)
def test_devices_and_workers_are_the_executors_and_not_this_machines(suite, words, device, jobs):
    parser = Parser()
    add_arguments(parser)
    request = checked(parser.parse_args([suite, "--executor", "hall", *words]))
    assert (request.device, request.jobs, request.executor.name) == (device, jobs, "hall")


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_reach_every_function_of_their_executor_and_no_suite():
    parser = Parser()
    add_arguments(parser)
    words = ["--executor", "hotel", "--set", "executor.rooms=4", "--set", "Executor.door=back", "--set", "recipe.budget=100"]
    request = checked(parser.parse_args(["cartpole", *words]))
    assert (request.jobs, request.suite.recipe) == (4, {"budget": 100})
    assert list(request.executor.execute(None, [1], 1)) == [("back", "jobs")]
    assert checked(parser.parse_args(["cartpole", *words[:2]])).jobs == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--executor", "hotel", "--set", "executor.room=4"],
            "--set executor.room=4: room: no such key; did you mean 'rooms'? (allowed: rooms, door)",
        ),
        (
            ["--executor", "hotel", "--set", "executor.rooms=many"],
            '--set executor.rooms=many: rooms: got "many"; must be a whole number',
        ),
        (["--executor", "hotel", "--set", "executor.rooms"], "--set executor.rooms: must be key=value, say recipe.budget=100000"),
        (["--set", "executor.rooms=4"], "--set executor.rooms=4: rooms: no such key (executor local has none)"),
    ],
)
def test_options_that_an_executor_does_not_have_are_refused(words, told, capsys):
    assert main([*RUN, "--dry-run", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [told]


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_where_ray_is_missing_it_is_told_how_to_install_it(capsys):
    assert main([*RUN, "--dry-run", "--executor", "ray"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Ray is missing: python3 -m pip install 'rlprune[ray]'")
