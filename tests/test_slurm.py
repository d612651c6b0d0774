"""The executor for Slurm: what sbatch is told, and what becomes of jobs under a scheduler made of four short scripts."""

import os
import pickle
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import jobs
import pytest
from jobs import ends, wait_until

from rlprune.__main__ import main
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import sweep
from rlprune.executors import Begun, Failed, Returned, Told, local
from rlprune.executors.slurm import SLURM, SlurmOptions
from rlprune.store import Store

pytest.importorskip("submitit", reason="executor slurm needs rlprune[slurm]")

RUN = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense,SNIP", "--seeds", "2"]
TINY = ["recipe.budget=160", "recipe.epochs=2", "recipe.evaluation_games=1"]

SCRIPTS = {
    "sbatch": """
        import os, re, subprocess, sys
        from pathlib import Path
        state = Path(__file__).parent
        text = Path(sys.argv[-1]).read_text()
        number = len(list(state.glob("script*"))) + 1
        (state / f"script{number}").write_text(text)
        size = re.search("--array=0-([0-9]+)", text)
        names = [f"{number}_{index}" for index in range(int(size[1]) + 1)] if size else [str(number)]
        for name in names:
            (state / f"queue-{name}").touch()
        own = {"SLURM_JOB_ID": str(number)}
        for name in names:
            array, _, index = name.partition("_")
            given = {**os.environ, **own, **({"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index} if index else {})}
            loop = 'while :; do bash "$1"; [ -e "$2" ] || break; rm "$2"; done; rm -f "$3"'
            words = ["bash", "-c", loop, "-", sys.argv[-1], str(state / f"again-{name}"), str(state / f"queue-{name}")]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            began = subprocess.Popen(words, env=given, start_new_session=True, **quiet)
            (state / f"queue-{name}").write_text(str(began.pid))
        print("Submitted batch job", number)
        """,
    "srun": """
        import os, sys
        words = sys.argv[1:]
        for stream, option in ((1, "--output"), (2, "--error")):
            where = words[words.index(option) + 1]
            for mark, name in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID"), ("%j", "SLURM_JOB_ID"), ("%t", "")):
                where = where.replace(mark, os.environ.get(name, "0"))
            os.dup2(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        words = words[words.index("--error") + 2:]
        os.execv(words[0], words)
        """,
    "squeue": """
        from pathlib import Path
        print("\\n".join(file.name.partition("-")[2] for file in Path(__file__).parent.glob("queue-*")))
        """,
    "scancel": """
        import os, signal, sys
        from contextlib import suppress
        from pathlib import Path
        for number in sys.argv[1:]:
            for file in [*Path(__file__).parent.glob(f"queue-{number}"), *Path(__file__).parent.glob(f"queue-{number}_*")]:
                with suppress(ProcessLookupError):
                    os.killpg(int(file.read_text()), signal.SIGKILL)
                file.unlink()
        """,
    "scontrol": """
        import sys
        from pathlib import Path
        Path(__file__).with_name(f"again-{sys.argv[-1]}").touch()
        """,
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A scheduler as far as it is asked; the folder holds its queue and the scripts that it was sent."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, script in SCRIPTS.items():
        (folder / name).write_text(f"#!{sys.executable} -S{dedent(script)}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_gpu_of_this_machine_is_seen_only_where_it_has_one(tmp_path):
    tried_out = SLURM.under({"cluster": "local", "gpus": 1}, tmp_path / "jobs")
    assert tried_out.sees("cpu", sure=True)
    assert tried_out.sees("cuda", sure=True) == local.sees("cuda", sure=True)


def test_a_size_that_sbatch_would_not_understand_is_refused_in_words(capsys, tmp_path):
    words = ["run", "cartpole", "--executor", "slurm", "--set", "executor.memory=8X", "--dry-run", "--out", str(tmp_path)]
    assert main(words) == 2
    assert 'memory: got "8X"; must be a size as sbatch writes it: 500M, 8G' in capsys.readouterr().err


def slurm(tmp_path, **options):
    return SLURM.under({"grace": 1, **options}, tmp_path / "jobs")


def test_sbatch_is_told_all_that_was_chosen(cluster, tmp_path):
    chosen = {
        "partition": "long",
        "account": 1234,
        "time": "1-02:30:00",
        "memory": "8G",
        "gpus": 1,
        "setup": "module load python",
        "sbatch": {"exclude": "node7", "exclusive": True, "requeue": True},
    }
    executor = SLURM.under(chosen, tmp_path / "jobs")
    assert executor.sees("cuda", sure=True)
    assert ends(executor.execute(jobs.square, [2, 3, 4], 2)).keys() == {2, 3, 4}
    (script,) = cluster.glob("script*")
    lines = script.read_text().splitlines()
    flags = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH") and "/" not in line]
    assert flags == [
        "account=1234",
        "array=0-2%2",
        "cpus-per-task=1",
        "exclude=node7",
        "exclusive",
        "gpus-per-node=1",
        "job-name=rlprune",
        "mem=8G",
        "nodes=1",
        "open-mode=append",
        "partition=long",
        "requeue",
        "signal=USR2@90",
        "time=1590",
        "wckey=submitit",
    ]
    assert "module load python" in lines
    assert lines[-1].startswith("srun ")
    assert not (tmp_path / "jobs").exists()


def test_nothing_is_asked_for_that_nobody_named(cluster, tmp_path):
    assert ends(slurm(tmp_path).execute(jobs.square, [2], 2)) == {2: Returned(2, 4)}
    words = ("partition", "account", "qos", "constraint", "gpus", "array")
    sent = [script.read_text() for script in cluster.glob("script*")]  # two, where a busy machine lost the first
    assert sent
    assert not [word for word in words for script in sent if f"--{word}" in script]


def test_jobs_go_as_one_array_and_tell_which_job_they_are(cluster, tmp_path):
    events = list(slurm(tmp_path).execute(jobs.square, range(3), 2))
    where = sorted(event.where.partition(", process")[0] for event in events if isinstance(event, Begun))
    assert where == ["Slurm job 1_0", "Slurm job 1_1", "Slurm job 1_2"]
    assert len(list(cluster.glob("script*"))) == 1


def test_more_jobs_than_an_array_may_have_go_one_array_after_the_other(cluster, tmp_path):
    found = ends(slurm(tmp_path, array=2).execute(jobs.square, range(3), 2))
    assert {job: end.result for job, end in found.items()} == {0: 0, 1: 1, 2: 4}
    assert len(list(cluster.glob("script*"))) == 2


def test_a_preempted_job_is_queued_again_by_slurm_and_begins_again(cluster, tmp_path):
    marker = tmp_path / "preempted"
    assert list(slurm(tmp_path).execute(jobs.preempted_once, [marker], 1)) == [
        Begun(marker),
        Begun(marker),
        Returned(marker, "back"),
    ]
    assert len(list(cluster.glob("script*"))) == 1


def test_a_job_that_is_gone_without_a_result_is_sent_again_and_then_told_with_what_it_printed(cluster, tmp_path):
    events = list(slurm(tmp_path).execute(jobs.killed_always, [1], 1))
    assert [type(event) for event in events] == [Begun, Begun, Failed]
    assert events[-1].crashed
    assert "job 2 ended without a result" in events[-1].error
    assert "loading 40 GB" in events[-1].error


def test_a_job_that_somebody_took_out_of_the_queue_twice_fails(cluster, tmp_path):
    (cluster / "sbatch").write_text(f"#!{sys.executable} -S\nprint('Submitted batch job', 7)\n")
    events = list(slurm(tmp_path).execute(jobs.square, [2], 1))
    assert [type(event) for event in events] == [Begun, Failed]


def test_closing_cancels_what_is_out(cluster, tmp_path):
    with closing(slurm(tmp_path).execute(jobs.endless, [tmp_path / "pid"], 1)) as events:
        assert isinstance(next(events), Begun)
        assert isinstance(next(events), Told)
    assert wait_until(lambda: not jobs.alive(int((tmp_path / "pid").read_text())))
    assert not list(cluster.glob("queue-*"))
    assert not (tmp_path / "jobs").exists()


def test_jobs_outlive_who_sent_them_and_the_next_run_takes_their_results_in(tmp_path):
    script = "import jobs, sys; from pathlib import Path; from rlprune.executors.slurm import SLURM\n"
    script += "execute = SLURM.under({'cluster': 'local'}, Path(sys.argv[1])).execute\n"
    script += "list(execute(jobs.slow_square, [2, 3], 2))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    folder = tmp_path / "jobs"
    parent = subprocess.Popen([sys.executable, "-c", script, folder], env={**os.environ, "PYTHONPATH": path})
    assert wait_until(lambda: len(list(folder.glob("*-1/told"))) == 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    executor = SLURM.under({"cluster": "local"}, folder)
    left = executor.left()
    assert sorted(one.job for one in left) == [2, 3]
    assert all(one.where and one.since and one.told == [{"trained": 1.0, "member": 0.0}] for one in left)
    pids = {int(one.where.partition("process ")[2].split()[0]) for one in left}
    found = ends(executor.execute(jobs.slow_square, [one.job for one in left], 2))
    assert {job: end.result[0] for job, end in found.items()} == {2: 4, 3: 9}
    assert {end.result[1] for end in found.values()} == pids, "they were not sent again"
    assert not folder.exists()


class Hostile:
    """What a stranger's pickle may hold: a call."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_strangers_folder_runs_nothing(tmp_path):
    """``rlprune status`` of such a folder ran what lay in it, and so did a run there that waited for its results."""
    executor, mark = SLURM.under({"cluster": "local"}, tmp_path / "jobs"), tmp_path / "was-here"
    theirs = pickle.dumps(Hostile(mark))
    folder = tmp_path / "jobs" / "0-0"
    folder.mkdir(parents=True)
    for name, content in (("sent", b"1"), ("job", theirs), ("result", theirs)):
        (folder / name).write_bytes(content)
    assert executor.left() == []
    sent = next(iter(executor.execute.__self__._entered(jobs.square, [3])))
    (sent.folder / "sent").write_text("999999999")
    (sent.folder / "job").write_bytes(theirs * 2)
    assert ends(executor.execute(jobs.square, [3], 1))[3].result == 9, "sent again, as what it is"
    sent.folder.mkdir(parents=True)
    (sent.folder / "sent").write_text("999999999")
    (sent.folder / "result").write_bytes(theirs)
    with pytest.raises(pickle.UnpicklingError, match=r"it holds posix\.mkdir, which is neither a plain value nor a data class"):
        ends(executor.execute(jobs.square, [3], 1))
    assert not mark.exists()


def test_who_ends_leaves_alone_what_another_in_the_same_folder_is_about_to_send(tmp_path):
    executor = SLURM.under({"cluster": "local"}, tmp_path / "jobs")

    def looking():
        yield 2
        assert ends(executor.execute(jobs.square, [3], 1))[3].result == 9
        yield 4

    found = ends(executor.execute(jobs.square, looking(), 2))
    assert {job: end.result for job, end in found.items()} == {2: 4, 4: 16}
    assert not (tmp_path / "jobs").exists()


# -- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("partitoin=x", "partitoin: no such key; did you mean 'partition'? (allowed: "),
        ("time=soon", 'time: got "soon"; must be minutes, or as sbatch writes a time: 04:00:00, 2-00:00:00'),
        ("gpus=-1", "gpus: got -1; must be at least 0"),
        ("cluster=cloud", "cluster: got \"cloud\"; must be 'slurm' or 'local'"),
        ("partition", "must be key=value, say recipe.budget=100000"),
    ],
)
def test_options_that_are_wrong_are_told_in_a_line(option, said, cluster, capsys):
    assert main([*RUN, "--dry-run", "--executor", "slurm", "--set", f"executor.{option}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"--set executor.{option}: {said}")


def test_all_options_are_listed_and_explained(capsys):
    assert main(["list", "executors", "slurm", "local"]) == 0
    told = capsys.readouterr().out
    for option in SlurmOptions.model_fields:
        assert f"--set executor.{option}=" in told
        assert re.search(rf"\b{option}\b[^=]*: \w", told)
    assert "\nlocal\n  Workers on this machine" in told


def test_who_has_no_options_is_given_none(capsys):
    assert main([*RUN, "--dry-run", "--set", "executor.partition=long"]) == 2
    assert capsys.readouterr().err == "--set executor.partition=long: partition: no such key (executor local has none)\n"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([*RUN, "--dry-run", "--executor", "slurm"]) == 2
    assert capsys.readouterr().err == "--executor: slurm needs submitit: python3 -m pip install 'rlprune[slurm]'\n"


def test_where_no_sbatch_is_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([*RUN, "--dry-run", "--executor", "slurm"]) == 2
    assert capsys.readouterr().err.startswith("--executor: slurm cannot be used: OSError: no sbatch is here")


@pytest.mark.parametrize(
    ("given", "minutes"),
    [
        (30, 30),
        ("30", 30),
        ("04:00:00", 240),
        ("2-00:00:00", 2880),
        ("0:00:01", 1),
        ("30:00", 30),
        ("0:30", 1),
        ("1-02", 1560),
        ("1-02:30", 1590),
    ],
)
def test_times_are_those_of_sbatch(given, minutes):
    """Of two numbers the first was hours: half an hour asked a cluster for thirty."""
    assert SlurmOptions(time=given).time == minutes


# -- a sweep -------------------------------------------------------------------------------------------------------


def rows(store):
    """Return what does not depend on the clock of every row, by the cell."""
    timed = ("seconds", "joules", "co2", "memory_peak")

    def lasting(values):
        return {name: value for name, value in values.items() if not any(word in name for word in timed)}

    return {row.id: (row.status, row.layers, row.epochs, lasting(row.values)) for row in store.rows()}


def test_a_sweep_begun_here_and_finished_there_has_the_rows_of_one_that_stayed(tmp_path):
    suite = load_suite("cartpole", "smoke", TINY, {"pruners": "SNIP", "seeds": "3"})
    every = cells(suite, "cpu")
    slurm = SLURM.under({"cluster": "local"}, tmp_path / "both" / "jobs").execute

    def run(store, name, some, execute):
        return sweep(some, store, suite=suite, jobs=1, out=tmp_path / name, execute=execute, listen=lambda news: None)

    with Store(tmp_path / "here" / "results.sqlite") as here, Store(tmp_path / "both" / "results.sqlite") as both:
        assert run(here, "here", every, local.execute).done == 3
        assert run(both, "both", every[:1], local.execute).done == 1
        assert run(both, "both", every, slurm).done == 2, "a fleet"
        assert rows(both) == rows(here)
    networks = [sorted((tmp_path / name / "checkpoints").glob("*.safetensors")) for name in ("here", "both")]
    assert [file.read_bytes() for file in networks[0]] == [file.read_bytes() for file in networks[1]]
    assert not (tmp_path / "both" / "jobs").exists()
