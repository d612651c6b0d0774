import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jobs
import pytest

from rlprune.bench import worker
from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, make_cell
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Finished, Said, Started, identity, preload, sweep
from rlprune.executors import Begun, Returned, local
from rlprune.files import claimed
from rlprune.store import Gone, Store, StoreError
from rlprune.task import tasks

SUITE = Suite(
    name="cartpole",
    profile="quick",
    title="CartPole",
    tasks=("cartpole-v1",),
    pruners=("Dense", "SNIP"),
    sparsities=(0.9,),
    seeds=3,
    price_per_hour=2.0,
)


# -- a worker ----------------------------------------------------------------------------------------------------------


def test_a_worker_measures_a_cell_from_outside(tmp_path):
    recipe = {"budget": 100_000, "epochs": 2, "widths": (8,), "environments": 4, "scoring_steps": 40, "evaluation_games": 2}
    tiny = make_cell(SUITE.model_copy(update={"recipe": recipe}), "cartpole-v1", "SNIP", 0.5, 0, "cpu")
    told = []
    (record,) = worker.run(worker.Assignment((tiny,), (tmp_path / "cell.pt",), "FRA"), told.append)
    assert record.error is None
    assert [(values["trained"], values["of"]) for values in told] == [(1, 2), (2, 2)]
    assert len(record.epochs) == 2
    assert record.layers
    assert 0 < record.values["training_seconds"] < record.values["wall_seconds"]
    assert {"cpu_seconds", "memory_peak_bytes", "energy_cpu_joules", "co2_grams", "return_greedy", "disk_file_mb"} <= set(
        record.values
    )
    assert record.machine["memory_method"] == "process peak"
    assert "not measured" not in record.machine["energy_method"]
    assert {"rlprune", "torch", "python"} <= set(record.versions)
    assert record.started <= record.ended


# -- sweeps ------------------------------------------------------------------------------------------------------


def execute(work, jobs, workers, preload):
    """Spread jobs over local workers, which import no trainer: these cells are not trained."""
    return local.execute(work, jobs, workers, ["rlprune.bench.worker"])


STOPPING, TELLING, FAILING, SKIPPING, CRASHING = 95, 96, 97, 98, 99


def cell(seed, pruner="SNIP", recipe=None, fleet=False, variant=""):
    recipe = recipe or {"budget": 100, "widths": [8], "epochs": 2}
    return Cell("cartpole-v1", pruner, 0.9, seed, recipe, {}, "cpu", fleet, variant=variant, alone=not fleet)


class Run:
    """A folder to sweep into, and what was heard of it."""

    def __init__(self, out):
        self.out, self.heard = out, []

    def __call__(self, *seeds, listen=None, jobs_at_once=1, cells=None, held=None):
        with Store(self.out / "results.sqlite") as store:
            return sweep(
                cells or [cell(seed) for seed in seeds],
                store,
                suite=SUITE,
                jobs=jobs_at_once,
                out=self.out,
                listen=listen or self.heard.append,
                work=jobs.cell,
                execute=execute,
                held=held,
            )

    def rows(self):
        with Store(self.out / "results.sqlite", create=False) as store:
            return {row.seed: row for row in store.rows()}

    def checkpoints(self):
        return {file.stem for file in (self.out / "checkpoints").iterdir()}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "out")


def test_a_sweep_stores_a_row_a_cell_and_tells_its_events(run):
    outcome = run(0, 1, jobs_at_once=2)
    assert (outcome.done, outcome.failed, outcome.skipped, outcome.interrupted) == (2, [], [], False)
    row = run.rows()[1]
    assert (row.status, row.suite, row.profile, row.pruner, row.cut, row.sparsity) == (
        "done",
        "cartpole",
        "quick",
        "SNIP",
        "weights",
        0.9,
    )
    assert row.config["recipe"] == {"budget": 100, "widths": [8], "epochs": 2}
    assert row.labels["task_title"] == "CartPole-v1"
    assert row.judged.metric.name == "return_greedy"
    heard = [event for event in run.heard if event.cell.seed == 1]
    told = {"trained": 1.0, "of": 2.0, "return_train": 10.0}
    assert heard == [Started(cell(1)), Epoch(cell(1), 1, 2, told), Finished(cell(1), row)]


@pytest.mark.parametrize(
    ("task", "override", "title"),
    [
        ("cartpole-v1", "environment=Pendulum-v1", "Pendulum-v1"),
        ("cartpole-v0", "environment=Pendulum-v1", "Pendulum-v1 (200 steps)"),
        ("cartpole-v1", "max_episode_steps=50", "CartPole-v1 (50 steps)"),
        ("cartpole-v0", "max_episode_steps=50", "CartPole-v1 (50 steps)"),
        ("ppo-cartpole-v1", "max_episode_steps=50", "PPO, CartPole-v1 (50 steps)"),
        ("ppo-cartpole-v1", "environment=Acrobot-v1", "PPO, Acrobot-v1"),
        ("resnet-small-shapes", "data=cifar100", "resnet-small, cifar100"),
        ("rooms-fcrn-small", "data=nyu", "fcrn-small, nyu"),
        ("prose-psmm-small", "data=ptb", "PSMM, ptb"),
        ("pairs-bert-small", "data=rte", "BERT, rte"),
    ],
)
def test_a_recipe_that_plays_or_reads_something_else_has_not_its_tasks_title_and_anchors(task, override, title):
    suite = load_suite("cartpole", overrides=[f'tasks=["{task}"]', f"recipe.{override}", "recipe.budget=2"])
    known = identity(make_cell(suite, task, "SNIP", 0.9, 0, "cpu"), suite)
    assert known.labels["task_title"] == title
    assert known.judged.anchors == {}


def test_a_network_that_begins_from_scratch_has_not_the_title_of_a_trained_one():
    suite = load_suite("cartpole", overrides=['tasks=["glue-rte"]', 'recipe.checkpoint=""', "recipe.budget=2"])
    known = identity(make_cell(suite, "glue-rte", "SNIP", 0.7, 0, "cpu"), suite)
    assert known.labels["task_title"] == f"{tasks().load('glue-rte').title}, from scratch"
    assert known.judged.anchors == tasks().load("glue-rte").anchors


@pytest.mark.parametrize("task", tasks().names())
def test_other_numbers_of_its_recipe_leave_a_task_what_it_is(task):
    suite = load_suite("cartpole", overrides=[f'tasks=["{task}"]', "recipe.budget=2"])
    known = identity(make_cell(suite, task, "SNIP", 0.9, 0, "cpu"), suite)
    assert known.labels["task_title"] == tasks().load(task).title
    assert known.judged.anchors == tasks().load(task).anchors


def test_money_is_the_price_an_hour_times_wall_hours(run):
    run(0)
    cell = run.rows()[0]
    assert cell.values["price_usd"] == 2.0 * 0.5
    assert cell.machine["price_per_hour"] == "2"


def test_a_second_run_repeats_nothing_but_failures(run):
    first = run(0, FAILING, SKIPPING)
    assert (first.done, len(first.failed), len(first.skipped)) == (1, 1, 1)
    run.heard.clear()
    second = run(0, FAILING, SKIPPING, 1)
    assert [event.cell.seed for event in run.heard if isinstance(event, Started)] == [FAILING, 1]
    assert second.done == 1
    assert len(run.rows()) == 4


def test_a_failure_keeps_its_traceback_and_stops_nobody(run):
    outcome = run(FAILING, 0)
    assert outcome.done == 1
    (failed,) = outcome.failed
    assert "ValueError: the loss is nan" in failed.error
    assert failed.values == {}
    assert failed.versions["rlprune"]
    assert failed.machine["cores"]
    assert run.rows()[FAILING].error == failed.error


def test_a_cell_that_does_not_apply_is_skipped_with_the_reason(run):
    (skipped,) = run(SKIPPING).skipped
    assert (skipped.status, skipped.error) == ("skipped", "needs batchnorm")


def test_only_a_crashed_cell_keeps_its_checkpoint_and_nothing_half_written(run):
    run(0, FAILING, SKIPPING, CRASHING)
    assert [file.name for file in (run.out / "checkpoints").iterdir()] == [f"{cell(CRASHING).id}.pt"]
    assert "SIGKILL" in run.rows()[CRASHING].error


def test_ctrl_c_keeps_what_is_finished_and_a_second_run_goes_on(run):
    def listen(event):
        if isinstance(event, Started) and event.cell.seed == 1:
            signal.raise_signal(signal.SIGINT)

    outcome = run(0, 1, 2, listen=listen)
    assert outcome.interrupted
    assert outcome.done == 1
    assert set(run.rows()) == {0}
    assert run(0, 1, 2).done == 2


def test_what_an_earlier_run_gave_out_is_taken_in_as_it_is_and_nothing_of_it_given_out_again(run):
    with Store(run.out / "results.sqlite") as store:
        assignments = [
            worker.Assignment(tuple(map(cell, seeds)), tuple(run.out / "checkpoints" / f"{seed}.pt" for seed in seeds), "USA")
            for seeds in ((0, 1), (7, 8))
        ]
        given = []

        def remembering(work, jobs, workers, preload):
            given.extend(jobs)
            return execute(work, given, workers, preload)

        def again(*seeds):
            given.clear()
            return sweep(
                [cell(seed) for seed in seeds],
                store,
                suite=SUITE,
                jobs=1,
                out=run.out,
                listen=run.heard.append,
                left=assignments,
                work=jobs.cell,
                execute=remembering,
            )

        assert again(1, 2).done == 2, "the other one is not of these"
        assert [tuple(one.seed for one in job.cells) for job in given] == [(0, 1), (2,)]
        assert {one.seed for one in store.rows()} == {0, 1, 2}
        before = store.rows()
        assert again(0, 1).done == 0
        assert len(given) == 1
        assert store.rows() == before
        assert not [event for event in run.heard if event.cell.seed in (0, 7, 8)]


def test_what_stopped_a_job_of_an_earlier_run_may_be_mended_and_half_written_files_of_it_are_its_workers(run):
    job = worker.Assignment((cell(0),), (run.out / "checkpoints" / f"{cell(0).id}.pt",), "USA")
    record = worker.Record("begin", "end", {}, {}, values={"return_greedy": 1.0})
    results = [replace(record, status="stopped", error="its disk was full"), record]
    given = []

    def taking_in(work, jobs, workers, preload):
        for one in jobs:
            given.append(one)
            assert [file.name for file in (run.out / "checkpoints").iterdir()] == [half.name]
            yield Begun(one)
            yield Returned(one, [results.pop(0)])

    half = run.out / "checkpoints" / f"{cell(0).id}.pt.7.new"
    half.parent.mkdir(parents=True)
    half.touch()
    (half.parent / f"{cell(7).id}.pt.7.new").touch()
    with Store(run.out / "results.sqlite") as store:
        ask = {"suite": SUITE, "jobs": 1, "out": run.out, "listen": run.heard.append, "left": [job], "execute": taking_in}
        assert sweep([cell(0)], store, **ask).done == 1
    assert given == [job, job]
    assert not results


def test_what_fails_a_whole_fleet_fails_only_its_own_cell(run):
    outcome = run(cells=[cell(seed, fleet=True) for seed in (0, 1, CRASHING, 2, FAILING)])
    assert (outcome.done, sorted(row.seed for row in outcome.failed)) == (3, [FAILING, CRASHING])
    assert {seed: row.status for seed, row in run.rows().items() if row.status == "done"} == dict.fromkeys((0, 1, 2), "done")


def test_what_a_worker_says_of_a_cell_is_heard(run):
    run(TELLING)
    assert [event for event in run.heard if isinstance(event, Said)] == [Said(cell(TELLING), "starts over")]


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_folder_that_goes_in_mid_run_stops_it(how, run):
    def listen(event):
        if isinstance(event, Started) and event.cell.seed == 1:
            aside = run.out.with_name("aside")
            run.out.rename(aside)
            if how == "removed":
                shutil.rmtree(aside)
            if how == "replaced":
                shutil.copytree(aside, run.out)

    with pytest.raises(Gone, match=r"results.sqlite was removed, renamed or replaced while a run was writing to it"):
        run(0, 1, 2, listen=listen)


def test_unfinished_files_of_a_killed_run_go(run):
    (run.out / "checkpoints").mkdir(parents=True)
    (run.out / "checkpoints" / "0123456789abcdef.pt.77.new").touch()
    run(0)
    assert run.checkpoints() == set()


def test_what_a_kill_left_of_finished_cells_goes(run):
    run(0)
    left = [f"{cell(number).id}{end}" for number in (0, 7) for end in (".pt", ".before.pt")]
    for name in left:
        (run.out / "checkpoints" / name).touch()
    run(0, 1)
    assert {file.name for file in (run.out / "checkpoints").iterdir()} == set(left[2:]), "those of a cell that can go on"


def test_a_disk_that_is_full_ends_a_sweep_and_keeps_what_is_trained(run):
    with pytest.raises(StoreError, match=r"^cell\.pt cannot be written$"):
        run(0, 1, cells=[cell(0), *(cell(seed, fleet=True) for seed in (STOPPING, 1)), cell(2)])
    assert {seed: row.status for seed, row in run.rows().items()} == {0: "done", 1: "done"}
    assert run.checkpoints() == {cell(STOPPING, fleet=True).id}


# -- two of them on one folder ---------------------------------------------------------------------------------------

HOLDING = "import sys, time; from pathlib import Path; from rlprune.files import claimed\n"
HOLDING += (
    "with claimed(Path(sys.argv[1]), join=True) as held: held.take(sys.argv[2]); print('held', flush=True); time.sleep(600)"
)


def python(program, *words):
    """Start a few lines of Python in a process of their own."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE, text=True, env=path)


def test_cells_of_another_run_are_left_to_it_until_it_is_killed(run):
    with claimed(run.out) as held:
        held.share()
        other = python(HOLDING, run.out, cell(1).id)
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=rf"process {os.getpid()} on .* and process {other.pid} on "), claimed(run.out):
            pass
        assert run(0, 1, 2, held=held).done == 2
        assert set(run.rows()) == {0, 2}

        def listen(event):
            if isinstance(event, Finished):
                other.kill()
                other.wait()

        assert run(1, 3, held=held, listen=listen).done == 2
    other.stdout.close()
    assert set(run.rows()) == {0, 1, 2, 3}
    assert not [file for file in run.out.iterdir() if file.name.startswith(".")]


BESIDE = """
import sys
from pathlib import Path
from rlprune.bench.sweep import Started
from rlprune.files import claimed
from test_sweep import FAILING, Run, cell

run = Run(Path(sys.argv[1]))
with claimed(run.out, join=True) as held:
    run(*range(12), FAILING, held=held, jobs_at_once=2)
    print(*(event.cell.seed for event in run.heard if isinstance(event, Started)), held.last())
"""


def test_of_two_runs_on_one_folder_each_cell_is_one_runs_and_one_is_the_last(run):
    both = [python(BESIDE, run.out) for _ in range(2)]
    ends = [one.communicate()[0].split() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(end[-1] for end in ends) == ["False", "True"]
    assert sorted(int(seed) for end in ends for seed in end[:-1]) == [*range(12), FAILING]
    assert len(run.rows()) == 13
    assert not [file for file in run.out.iterdir() if file.name.startswith(".")]


def test_a_cell_listed_twice_runs_once(run):
    assert run(0, 0).done == 1


def test_jobs_on_a_gpu_know_the_most_that_cells_of_their_kind_have_held(run):
    def execute(work, jobs, workers, preload):
        for job in jobs:
            (only,) = job.cells
            given[only.seed] = job.memory
            yield Begun(job)
            yield Returned(job, [worker.Record("begin", "end", {}, {}, values={"memory_peak_bytes": 1e9 + only.seed})])

    given = {}
    mine = [replace(cell(seed), device="cuda") for seed in range(3)]
    others = [replace(cell(3, recipe={"budget": 200, "epochs": 2}), device="cuda"), cell(4)]
    with Store(run.out / "results.sqlite") as store:
        for some in (mine[:2], [*mine, *others]):
            sweep(some, store, suite=SUITE, jobs=1, out=run.out, execute=execute, listen=run.heard.append)
    assert given == {0: None, 1: None, 2: 1e9 + 1, 3: None, 4: None}


def test_workers_preload_who_trains_their_cells_and_nobody_else():
    assert preload([cell(0)]) == ["rlprune.bench.ready", "rlprune.training.a2c"]
    assert preload([cell(0, fleet=True)]) == ["rlprune.bench.ready", "rlprune.training.compiled.ready", "rlprune.training.fleet"]
    assert preload([replace(cell(0, fleet=True), device="cuda")]) == ["rlprune.bench.ready", "rlprune.training.fleet"]
    suite = load_suite("cartpole", overrides=['tasks=["vgg-small-shapes", "cartpole-v1"]', "recipe.budget=2"])
    made = [make_cell(suite, task, "SNIP", 0.9, 0, "cpu") for task in suite.tasks]
    fleet = ["rlprune.training.compiled.ready", "rlprune.training.fleet"]
    assert preload(made) == ["rlprune.bench.ready", *fleet, "rlprune.training.images"]


def test_starting_a_sweep_imports_no_torch():
    script = "import sys, rlprune.bench.sweep; sys.exit('torch' in sys.modules)"
    path = os.pathsep.join(sys.path)
    assert subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=False).returncode == 0
