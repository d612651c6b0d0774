import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
import worlds

import rlprune
from rlprune.__main__ import FIRST_STEPS, HELP, main
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import epochs_of
from rlprune.data import folders
from rlprune.files import claimed
from rlprune.pruners import snip
from rlprune.pruning.plan import Exponential, Level, MaskDistance, Prune, Train
from rlprune.report.comparable import of_suite
from rlprune.run import WRITTEN, columns, download, remove_results
from rlprune.run import main as run_main
from rlprune.store import Store

TINY = ["--set", "recipe.budget=160", "--set", "recipe.epochs=2", "--set", "recipe.evaluation_games=1", "--jobs", "1"]
ONE = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense", *TINY]
SLOW = ["torch", "stable_baselines3", "pandas", "matplotlib", "codecarbon", "scipy", "gymnasium"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a run of one cell."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main([*ONE, "--log", "csv", "--out", str(out)]) == 0
    return out


# -- quick answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--help", 0),
        ("run --help", 0),
        ("list suites", 0),
        ("list tasks", 0),
        ("list pruners", 0),
        ("list executors", 0),
        ("list pruners LTR RigL", 0),
        ("list tasks cartpole-v1", 0),
        ("--version", 0),
        ("check cartpole", 0),
        ("check cartpol", 2),
        ("check --pruner snup --task cartpol", 2),
        ("run cartpole --dry-run", 0),
        ("run cartpole --pruners snup --device cuda", 2),
    ],
)
def test_quick_answers_import_nothing_slow(line, code, tmp_path):
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(Path(rlprune.__file__).parents[1])!r})
        sys.argv = ["rlprune", *{line.split()}]
        from rlprune.__main__ import main
        try:
            code = main()
        except SystemExit as end:
            code = end.code
        slow = [name for name in {SLOW} if name in sys.modules]
        sys.exit(f"imported {{slow}}" if slow else code)
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert ended.stdout if code == 0 else ended.stderr
    assert not list(tmp_path.iterdir())


def test_list_says_what_everything_is(capsys):
    assert main(["list", "pruners"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (snip,) = [line for line in lines if line.startswith("SNIP ")]
    about = "cuts weights before training. SNIP: remove the weights whose loss moves least when they go (Lee et al., 2019)."
    assert re.fullmatch(f"SNIP +{re.escape(about)}", snip)
    assert main(["list", "suites"]) == 0
    assert re.search("^cartpole +A2C on CartPole-v1", capsys.readouterr().out, re.MULTILINE)
    assert main(["list", "tasks"]) == 0
    assert re.search("^cartpole-v1 +CartPole-v1$", capsys.readouterr().out, re.MULTILINE)
    assert main(["list", "executors"]) == 0
    assert re.search("^local +Workers on this machine: one process a job", capsys.readouterr().out, re.MULTILINE)


def test_list_tells_all_about_one(capsys):
    assert main(["list", "pruners", "earlycrop-u", "Dense"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    first, second = out.split("\n\n")
    assert first.startswith("EarlyCroP-U\n  CroP and EarlyCroP: remove what least affects the gradient flow (Rachwan")
    told = " ".join(first.split())
    assert "Winning the Lottery Ahead of Time: Efficient Early Network Pruning, ICML 2022" in told
    assert "score |θ ⊙ H(m ⊙ g)|: how much the squared gradient norm moves" in told
    assert "plan train until the lazy regime, after 50 % of the epochs at the latest prune in 7 rounds that halve what" in told
    assert "train to the end of the budget settings rounds = 7 until = { margin = 1.0, cap = 0.5" in told
    assert "score  none: nothing is removed" in second
    assert main(["list", "tasks", "cartpole-v1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "metric return_greedy, return (greedy games); higher is better; random 22, dense 500" in told
    assert "budget in steps recipe A2CRecipe: budget = 500000, epochs = 30, environment = " in told


def test_a_plan_that_fails_is_told_in_one_line(capsys, monkeypatch):
    def plan():
        raise ZeroDivisionError

    monkeypatch.setitem(vars(snip.SNIP), "plan", plan)
    assert main(["list", "pruners", "SNIP"]) == 2
    assert capsys.readouterr().err.startswith("NAME: SNIP: ZeroDivisionError in plan, ")


def test_list_tells_of_every_name_that_it_does_not_know(capsys):
    assert main(["list", "pruners", "snup", "Dense", "CroP"]) == 2
    out, err = capsys.readouterr()
    assert [line.partition(";")[0] for line in err.splitlines()] == [
        "NAME: no pruner is named 'snup'",
        "NAME: no pruner is named 'CroP'",
    ]
    assert out == ""
    assert main(["list", "suites", "cartpole"]) == 2
    assert capsys.readouterr().err == "NAME: all about one is told of pruners, tasks and executors, not of suites: leave it out\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "check: name a SUITE, or --pruner NAME, or --task NAME"),
        (["cartpole", "--data", "."], "--data: is read by tasks: add --task NAME"),
        (["--task", "cartpole-v1", "--data", ""], "--data: it is empty: name a folder"),
        (
            ["--task", "cartpole-v2"],
            "--task: no task is named 'cartpole-v2'; did you mean 'cartpole-v1'? (see: rlprune list tasks)",
        ),
    ],
)
def test_check_wants_something_to_check(words, told, capsys):
    assert main(["check", *words]) == 2
    assert capsys.readouterr().err == f"{told}\n"


def test_a_terminal_folds_what_a_pipe_has_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["list", "pruners"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    snip = next(number for number, line in enumerate(lines) if line.startswith("SNIP "))
    assert lines[snip + 1].startswith(" " * 19)


def test_help_is_a_page_with_first_steps(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    assert all(words in page for words in FIRST_STEPS)
    assert sorted(re.findall("^  ([a-z]+)  +", page, re.MULTILINE)) == sorted(HELP)
    for command in HELP:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: rlprune {command} ")


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(rf"rlprune {rlprune.__version__}, Python 3\.\d+\.\S+\n", capsys.readouterr().out)


def test_check_tells_the_mistakes_of_all_suites(capsys, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('title = "x"\ntasks = ["cartpole-v1"]\npruners = ["snup"]\nsparsities = [0.5]\nseeds = 1\n')
    assert main(["check", "cartpole"]) == 0
    assert capsys.readouterr().out == "cartpole: smoke 4 cells, quick 147 cells, paper 650 cells\n"
    assert main(["check", "nothing", "cartpole", str(wrong)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{wrong}:3", "nothing"]


def test_check_tells_of_an_environment_that_cannot_be_learned(capsys, tmp_path):
    worlds.register()
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "x"\nlike = "cartpole"\nengine = "sb3"\nrecipe.environment = "Image-v0"\n')
    assert main(["check", str(mine)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" shows a Box of uint8")[0] for line in lines] == [
        f"{mine}: cartpole-v1: Image-v0",
        f"{mine}: cartpole-v0: Image-v0",
    ]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ((Train(),), "never prunes"),
        ((Prune(),), "trains nothing: let it end with Train()"),
        ((Prune(), Train(share=0.5)), "trains 50% of the budget: let it end with Train()"),
        ((Train(until=MaskDistance()), Prune(), Train()), "cannot be followed: ValueError: SNIP waits for a MaskDistance"),
        ((Prune(Level(Exponential(2), 1)), Train()), "ends at a sparsity of 0.6838 where 0.9 is asked for"),
    ],
)
def test_a_plan_that_does_not_get_there_is_refused(plan, told, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(vars(snip.SNIP), "plan", plan)
    assert run_main(["cartpole", "--pruners", "SNIP", "--dry-run", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"--pruners: the plan of 'SNIP' {told}")


# -- a wrong request -----------------------------------------------------------------------------------------------


def test_everything_wrong_with_a_request_is_told_at_once_and_nothing_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    words = "cartpole --profile quik --pruners snup --sparsities 9 --seeds none --set recipe.bugdet=1 --device gpu --jobs 0 "
    assert run_main([*words.split(), "--executor", "locl", "--out", "file/out"]) == 2
    out, err = capsys.readouterr()
    told = [line.split(": ")[0] for line in err.splitlines()]
    options = ["--profile", "--pruners", "--sparsities", "--seeds", "--set recipe.bugdet=1"]
    options += ["--device", "--executor", "--jobs", "--out"]
    assert sorted(told) == sorted(options)
    assert "--executor: no executor is named 'locl'; did you mean 'local'?" in err
    assert "--device: got 'gpu'; must be auto or cpu or cuda; did you mean 'cuda'?" in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", ""], "--data: it is empty: name a folder"),
        (["--out", " "], "--out: it is empty: name a folder"),
        (["--out", "a\udcff"], "--out: a\\udcff is not UTF-8, or holds control characters"),
        (["--out", "a\x1b[31m"], "--out: a\\x1b[31m is not UTF-8, or holds control characters"),
        (["--out", "x/" * 3000], "cannot be used: File name too long"),
        (["--data", "x" * 300], "cannot be used: File name too long"),
        (["--download"], "--download: needs --data DIR, the folder to fetch into"),
        (["--jobs", "1025"], "--jobs: got '1025'; must be a whole number, 1 to 1,024"),
        (["--jobs", "9" * 5000], "must be a whole number, 1 to 1,024"),
        (["--jobs", ""], "--jobs: got ''; must be a whole number, 1 to 1,024"),
        (["--seeds", "9" * 5000], "must be a whole number"),
        (["--profile", "\x1b"], "--profile: no profile is named '\\x1b' (cartpole has: paper, quick, smoke)"),
        (["--set", "recipe.environment=evil:Id"], '--set recipe.environment=evil:Id: recipe.environment: got "evil:Id"; '),
    ],
)
def test_what_would_fail_later_is_refused_at_once(capsys, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    assert run_main(["cartpole", "--dry-run", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert line.isprintable()
    assert len(line) < 1500


def test_a_module_may_be_imported_with_permission(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RLPRUNE_ALLOW_IMPORT", "")  # for it to be put back
    words = ["--set", "recipe.environment=gymnasium:CartPole-v1", "--dry-run", "--out", str(tmp_path / "out")]
    assert main(["run", "cartpole", *words]) == 2
    assert main(["run", "cartpole", "--allow-import", *words]) == 0
    assert main(["check", "cartpole", "--allow-import"]) == 0


@pytest.mark.parametrize(
    ("environment", "words", "told"),
    [
        ("Pendulum-v1", ["--seeds", "2"], "Pendulum-v1 wants a Box of float32 .*; a fleet acts by Discrete: train alone"),
        ("FrozenLake-v1", ["--seeds", "2"], r"FrozenLake-v1 shows Discrete\(16\); a fleet takes a flat Box: train alone"),
        (
            "Image-v0",
            ["--engine", "sb3"],
            "Image-v0 shows a Box of uint8 .*; an MLP policy takes a Box of numbers that is no image",
        ),
        ("Act-tuple-v0", ["--engine", "sb3"], r"Act-tuple-v0 wants Tuple.*; an MLP policy acts by"),
        ("Broken-v0", ["--engine", "sb3"], "Broken-v0 cannot be made: RuntimeError: no display"),
        ("Pendulum-v1", ["--engine", "sb3", "--seeds", "2"], None),
        ("Pendulum-v1", ["--seeds", "1"], "Pendulum-v1 wants a Box of float32 .*; a fleet acts by Discrete: train alone"),
        ("See-vector-v0", ["--seeds", "2"], None),
    ],
)
def test_an_environment_that_cannot_be_learned_is_refused_before_anything_runs(environment, words, told, capsys, tmp_path):
    worlds.register()
    if "Broken-v0" not in gym.registry:
        gym.register("Broken-v0", broken, max_episode_steps=50)
    chosen = ["--set", f"recipe.environment={environment}", "--dry-run", "--out", str(tmp_path / "out"), *words]
    assert main(["run", "cartpole", *chosen]) == (2 if told else 0)
    if told:
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(f"cartpole-v1: {told}", line)


def broken():
    raise RuntimeError("no display")


def test_words_that_no_command_has_reach_the_terminal_without_control_characters(capsys):
    for words in (["run", "cartpole", "a\x1bb"], ["lst\x1b"], ["export", "out", "SNIP", "\x1b", "--to", "x"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "\x1b" not in capsys.readouterr().err
    assert main(["report", "no\x1bwhere"]) == 2
    assert capsys.readouterr().err == "OUT: no\\x1bwhere is not UTF-8, or holds control characters\n"


def test_results_of_another_kind_are_left_alone(capsys, tmp_path):
    (tmp_path / "results.sqlite").write_text("a letter")
    assert main([*ONE, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"--out: {tmp_path}: ")
    assert (tmp_path / "results.sqlite").read_text() == "a letter"


def test_a_report_of_nothing_suggests_the_nearest_run(capsys, done):
    assert main(["report", str(done.parent / "ot")]) == 2
    assert capsys.readouterr().err == f"{done.parent / 'ot'}: has no results.sqlite; did you mean 'out'?\n"


# -- before a run --------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_rewinding_really_costs(capsys, tmp_path):
    words = "run cartpole --profile smoke --pruners dense,ltr --sparsities .5,.9 --set pruner.ltr.levels=2 --dry-run --out"
    assert main([*words.split(), str(tmp_path / "out")]) == 0
    table = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    dense, ltr = ([word.strip() for word in line if word] for line in table[2:4])
    assert dense == ["cartpole-v1", "Dense", "0", "1", "1", "0", "4", "1,920 steps"]
    # one epoch before saving and three times the other three; 480 steps each, whole rollouts; two sparsities
    assert ltr == ["cartpole-v1", "LTR", "0.5 0.9", "1", "2", "0", "10", "9,600 steps", "levels = 2"]
    assert not list(tmp_path.iterdir())


def test_epochs_of_a_cell_are_those_of_its_own_plan():
    suite = load_suite("cartpole", "paper", options={"pruners": "LTR"})
    assert epochs_of(cells(suite, "cpu")[0]) == 1 + 29 * 11


# -- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_leaves_what_it_promises(done):
    assert {path.name for path in done.iterdir()} <= set(WRITTEN)
    assert all((done / name).exists() for name in ("results.sqlite", "results.csv", "report.html", "figures", "tables"))
    with Store(done / "results.sqlite", create=False) as store:
        (row,) = store.rows()
    assert (row.suite, row.profile, row.pruner, row.status) == ("cartpole", "smoke", "Dense", "done")
    page = (done / "report.html").read_text()
    assert "rlprune run cartpole --profile smoke --pruners Dense" in page


def test_a_run_writes_the_curves_that_it_stores_and_those_stored_before(done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    with Store(out / "results.sqlite", create=False) as store:
        (row,) = store.rows()
    (file,) = (out / "log").rglob("*.csv")
    assert file.relative_to(out / "log").parts == ("cartpole-v1", "Dense", "0", f"seed-0-{row.id[:8]}.csv")
    text = file.read_text()
    lines = [{name: float(value) for name, value in line.items() if value} for line in csv.DictReader(text.splitlines())]
    assert lines == [dict(epoch) for epoch in row.epochs]
    shutil.rmtree(out / "log")
    assert main([*ONE, "--log", "csv", "--out", str(out)]) == 0
    assert file.read_text() == text


def test_the_same_command_again_repeats_nothing(capsys, done):
    with Store(done / "results.sqlite", create=False) as store:
        before = store.rows()
    assert main([*ONE, "--out", str(done)]) == 0
    out = capsys.readouterr().out
    assert "[1/1]" not in out
    assert f"{done / 'report.html'}" in out
    with Store(done / "results.sqlite", create=False) as store:
        assert store.rows() == before
    assert main([*ONE, "--out", str(done), "--dry-run"]) == 0
    assert "1 cells, 1 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [(["ppo"], "6 in fleets, 6 alone"), (["ppo", "--engine", "sb3"], "each alone"), (["dqn"], "each alone")],
)
def test_a_dry_run_says_how_many_cells_train_together(options, told, tmp_path, capsys):
    assert main(["run", *options, "--dry-run", "--out", str(tmp_path)]) == 0
    assert f"12 cells, 0 done, 360 epochs in all; {told}\n" in capsys.readouterr().out


def test_a_cell_that_fails_is_named_with_its_reason(capsys, tmp_path):
    assert main([*ONE, "--set", "recipe.learning_rate=1e30", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "cartpole-v1 Dense seed 0: failed: " in out
    assert "Traceback" not in out


def test_only_rows_of_the_same_recipe_are_compared(done):
    changes = TINY[1:6:2]
    with Store(done / "results.sqlite", create=False) as store:
        rows = store.rows()
    assert [row.id for row in of_suite(rows, load_suite("cartpole", "smoke", changes), "cpu")] == [rows[0].id]
    assert [row.profile for row in of_suite(rows, load_suite("cartpole", "smoke", changes), "cpu")] == ["smoke"]
    assert of_suite(rows, load_suite("cartpole", "smoke", [*changes, "recipe.entropy=1"]), "cpu") == []
    assert of_suite(rows, load_suite("cartpole", "smoke", changes), "cuda") == []


def test_a_cell_that_another_suite_calls_otherwise_is_shown_under_this_suites_name(done):
    with Store(done / "results.sqlite", create=False) as store:
        (row,) = store.rows()
    suite = load_suite("cartpole", "smoke", TINY[1:6:2], {"pruners": "Dense"})
    assert [one.pruner for one in of_suite([replace(row, pruner="as it was")], suite, "cpu")] == ["Dense"]


def test_a_report_over_several_runs_counts_a_cell_once(capsys, done, tmp_path):
    assert main(["report", str(done), str(done), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").is_file()


def test_a_report_that_cannot_be_written_loses_nothing(capsys, done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    for name in ("report.html", "results.csv"):
        (out / name).unlink()
        (out / name).mkdir()
    assert main([*ONE, "--out", str(out)]) == 1
    shown, told = capsys.readouterr()
    assert "Dense" in shown, "the table"
    assert "results.csv could not be written: IsADirectoryError: " in told
    assert "the report could not be written: IsADirectoryError: " in told
    assert f"1 finished cells are kept in {out / 'results.sqlite'}. Try again with:\n  rlprune run cartpole" in told
    assert main(["report", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"{out}: no report could be written: IsADirectoryError: ")
    with Store(out / "results.sqlite", create=False) as store:
        assert [row.status for row in store.rows()] == ["done"]


def test_damaged_results_are_told_in_a_line(capsys, done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    data = bytearray((out / "results.sqlite").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (out / "results.sqlite").write_bytes(data)
    for words in ([*ONE, "--out", str(out)], ["report", str(out)], ["export", str(out), "Dense", "0", "--to", "x.zip"]):
        assert main(words) in (1, 2)
        told = capsys.readouterr().err
        assert "malformed" in told
        assert "Traceback" not in told
        assert "Go on with" not in told, "the same command would stop there again"


def test_ctrl_c_and_a_closed_pipe_say_how_to_go_on(capfd, done, monkeypatch):
    for error, code in ((KeyboardInterrupt, 130), (BrokenPipeError, 141)):

        def show(*_, error=error):
            raise error

        before = os.dup(1)
        with monkeypatch.context() as patch:
            patch.setattr("rlprune.run._show", show)
            assert main([*ONE, "--out", str(done)]) == code
        os.dup2(before, 1)
        shown, told = capfd.readouterr()
        assert "what is finished is kept. Go on with:\n  rlprune run cartpole" in (told if code == 141 else shown)


def test_variants_with_brackets_are_shown_as_they_are():
    assert columns([["a\x1b[31m", "x"], ["b", "y"]]) == "a\\x1b[31m  x\nb          y"


def test_starting_over_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    mine = ["notes.txt", "figures/mine.png"]
    for name in [*WRITTEN[:5], *mine]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    remove_results(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "notes.txt"]
    (tmp_path / "figures").mkdir()
    remove_results(tmp_path)
    assert (tmp_path / "figures").exists(), "no run has been here"


def test_starting_over_without_results_forgets_the_states_of_cells_and_nothing_else(tmp_path):
    names = ["0123456789abcdef.pt", "0123456789abcdef.safetensors", "mine.pt", "0123456789abcdef.before.pt"]
    for name in names:
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / name).touch()
    remove_results(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == names[1:3]


def test_a_second_run_on_a_folder_is_refused_and_told_whose_it_is(capsys, tmp_path):
    with claimed(tmp_path):
        assert main([*ONE, "--fresh", "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(
        rf"--out: {tmp_path}: another run is writing there: process {os.getpid()} on .*; "
        r"wait for it, join it with --join, or name another --out\n",
        captured.err,
    )


def test_nobody_joins_a_run_to_remove_its_results(capsys, tmp_path):
    assert main([*ONE, "--fresh", "--join", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "--join: nobody can join a run and remove its results: leave out --fresh\n"
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_not_utf8_is_told_before_anything_is_trained(capsys, tmp_path):
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    assert main([*ONE, "--out", out]) == 2
    told = capsys.readouterr().err
    assert "is not UTF-8" in told
    assert told.count("\n") == 1
    assert not Path(out).exists()


@pytest.mark.parametrize("command", [["run", "cartpole", "--out"], ["report"]])
def test_a_name_that_is_too_long_is_told_in_one_line(command, capsys):
    assert main([*command, "x" * 300]) in (1, 2)
    err = capsys.readouterr().err
    assert "File name too long" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["list pruners", "run cartpole --profile smoke --pruners Dense --jobs 1 --out"])
def test_a_closed_pipe_ends_it_in_plain_words(command, tmp_path):
    words = [*command.split(), *([str(tmp_path / "out")] if command.endswith("--out") else [])]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "rlprune", *words], stdout=write, stderr=subprocess.PIPE, text=True, env=path, check=False
    )
    os.close(write)
    assert ended.returncode == 141
    assert "Traceback" not in ended.stderr
    assert ("Go on with:\n  rlprune run cartpole" in ended.stderr) == command.startswith("run")


def test_columns_are_aligned():
    assert columns([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc  d"


def test_data_that_is_missing_is_told_before_anything_runs(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["run", "vgg16_cifar10", *out]) == 2
    assert "--data: vgg16-cifar10 reads cifar10: name the folder that holds it" in capsys.readouterr().err
    assert main(["run", "vision", "--data", str(tmp_path), *out]) == 2
    assert f"--data: {tmp_path} does not hold cifar10; expected: cifar-10-batches-py/" in capsys.readouterr().err
    assert main(["run", "cartpole", "--data", str(tmp_path), *out]) == 2
    assert "--data: no task of cartpole reads data from a folder" in capsys.readouterr().err
    assert main(["run", "vision", "--tasks", "vgg-small-shapes", "--data", str(tmp_path), *out]) == 2
    assert "--data: vgg-small-shapes: reads no data from a folder; of vision do: vgg-small-cifar10" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_with_data_a_suite_runs_its_data_tasks(tmp_path, capsys):
    for part in ("train", "test"):
        (tmp_path / "cifar10" / part).mkdir(parents=True)
    assert main(["run", "vision", "--data", str(tmp_path), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "vgg-small-cifar10" in shown
    assert "shapes" not in shown


def test_a_download_leaves_alone_what_is_there(tmp_path):
    for part in ("train", "test"):
        (tmp_path / "cifar10" / part).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert folders.there("cifar10", tmp_path)
    download(load_suite("vision", folder=tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
