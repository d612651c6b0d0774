"""What is ahead of a sweep: against sums done by hand, and a sweep played to its end on a clock of its own."""

import random

import pytest

from rlprune.__main__ import main
from rlprune.bench.ahead import Ahead, Due, Known, costs, due, known, makespan
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Finished, Started, epochs_of, fleets, identity, in_turn, kind, kind_of
from rlprune.rows import Row
from rlprune.store import Store

TINY = ["--set", "recipe.budget=160", "--set", "recipe.epochs=2", "--set", "recipe.evaluation_games=1", "--jobs", "1"]
RUN = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense,SNIP", "--seeds", "2", *TINY]


def planned(*overrides, pruners="Dense,SNIP", seeds="2"):
    suite = load_suite("cartpole", "smoke", overrides, {"pruners": pruners, "seeds": seeds, "sparsities": ".9"})
    return suite, cells(suite, "cpu")


def stored(cell, suite, **values):
    return Row(
        **vars(identity(cell, suite)),
        status="done",
        error=None,
        started="",
        ended="",
        versions={},
        machine={},
        values=values,
        epochs=[],
        layers={},
    )


# -- before a sweep ------------------------------------------------------------------------------------------------


def test_the_first_worker_that_is_free_takes_the_next_job():
    assert makespan([3, 3, 3], [0.0, 0.0]) == 6
    assert makespan([5, 1, 1, 1], [0.0, 0.0]) == 5
    assert makespan([1], [4.0, 0.5]) == 4
    assert makespan([], [0.0]) == 0


@pytest.mark.parametrize("seed", range(5))
def test_so_it_is_minute_by_minute(seed):
    lots = random.Random(seed)
    jobs, workers = [lots.randrange(1, 9) for _ in range(20)], lots.randrange(1, 5)
    waiting, running, now = list(jobs), [], 0
    while waiting or running:
        running += [now + waiting.pop(0) for _ in range(min(workers - len(running), len(waiting)))]
        now += 1
        running = [end for end in running if end > now]
    assert makespan(jobs, [0.0] * workers) == now


def test_a_cell_takes_what_its_pruners_cells_took_or_those_of_its_kind_an_epoch():
    found = Known()
    assert found.seconds(Due("a", "SNIP", 10)) is None
    found.add(Due("a", "SNIP", 10), 30.0)
    found.add(Due("a", "SNIP", 10), 50.0)
    found.add(Due("a", "LTR", 20), 20.0)
    assert found.seconds(Due("a", "SNIP", 10)) == 40
    assert found.seconds(Due("a", "Dense", 4)) == 4 * 100 / 40
    assert found.seconds(Due("b", "SNIP", 10)) is None


def test_costs_are_those_of_cells_that_are_stored(tmp_path):
    suite, every = planned("solo=2")
    dense = [cell for cell in every if cell.pruner == "Dense"]
    with Store(tmp_path / "results.sqlite") as store:
        paces, watts = known(store)
        assert costs(every, 2, paces, watts, 3.6).seconds is None
        store.save(
            stored(dense[0], suite, worker_seconds=100.0, wall_seconds=90.0, energy_cpu_joules=360.0, energy_gpu_joules=90.0)
        )
        store.save(stored(dense[1], suite, worker_seconds=900.0, resumed=1.0))
        paces, watts = known(store)
    found = costs(every, 2, paces, watts, 3.6)
    assert (found.seconds, found.wall, found.joules, found.price) == (400, 200, pytest.approx(2000), pytest.approx(0.4))
    assert costs(every, 2, paces, watts, None).price is None
    assert costs(every, 2, paces, {}, None).joules is None
    assert costs([], 2, paces, watts, 1.0).seconds == 0


def test_a_cell_of_longer_plans_takes_longer(tmp_path):
    suite, every = planned(pruners="Dense,LTR", seeds="1")
    with Store(tmp_path / "results.sqlite") as store:
        store.save(stored(every[0], suite, worker_seconds=40.0, wall_seconds=30.0))
        paces, watts = known(store)
    assert costs(every[1:], 1, paces, watts, None).seconds == 40 * epochs_of(every[1]) / epochs_of(every[0])


def test_one_job_of_each_kind_goes_first():
    _, every = planned(seeds="4")
    jobs = in_turn(fleets(every, 1))
    assert [job[0].alone for job in jobs] == [True, False, True]
    assert sorted(cell.id for job in jobs for cell in job) == sorted(cell.id for cell in every)
    assert len({kind(cell) for cell in every}) == 2
    assert [kind(cell) for cell in every] == [kind_of(cell.config, alone=cell.alone) for cell in every]


def test_a_dry_run_says_what_it_does_not_know_and_learns_it_from_two_epochs(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main([*RUN, *out, "--dry-run"]) == 0
    unknown = "time left: unknown until a cell of each kind is done; --calibrate trains two epochs of one to know it"
    assert capsys.readouterr().out.splitlines()[-1] == unknown
    assert main([*RUN, *out, "--dry-run", "--calibrate", "--set", "price_per_hour=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[-5:]] == [
        "calibrated",
        "calibrated",
        "time left",
        "energy left",
        "price left",
    ]
    assert lines[-5].startswith("calibrated: cartpole-v1, alone: ")
    assert lines[-4].startswith("calibrated: cartpole-v1, 2 in a fleet: ")
    assert lines[-3].endswith(" of workers")
    assert lines[-2].endswith(" kWh, CPU and GPU")
    assert lines[-1].endswith(" at $1 an hour")
    assert not list(tmp_path.iterdir())


def test_to_calibrate_is_for_dry_runs(capsys):
    assert main([*RUN, "--calibrate"]) == 2
    assert capsys.readouterr().err == "--calibrate: is for --dry-run; a run learns as it goes\n"


# -- while it runs -------------------------------------------------------------------------------------------------


def played(every, workers, seconds, ahead, clock):
    """Play a sweep; return when, and what time was said to be left, after each news."""
    waiting = [list(job) for job in in_turn(fleets(every, workers))]
    running, heard, number = [], [], 0
    row = type("row", (), {"status": "done"})()
    while waiting or running:
        while waiting and len(running) < workers:
            job, number = waiting.pop(0), number + 1
            for cell in job:
                ahead(Started(cell, "", number))
            running.append((job, clock[0], [0]))
        due_next = min(running, key=lambda one: one[1] + (one[2][0] + 1) * seconds(one[0]))
        job, began, trained = due_next
        trained[0] += 1
        clock[0] = began + trained[0] * seconds(job)
        for cell in job:
            ahead(Epoch(cell, trained[0], epochs_of(cell), {}))
        if trained[0] == epochs_of(job[0]):
            for cell in job:
                ahead(Finished(cell, row))
            running.remove(due_next)
        heard.append((clock[0], ahead.left()))
    return heard


def test_after_the_first_tenth_the_time_left_is_about_right():
    _, every = planned("recipe.epochs=10", "recipe.budget=3000", pruners="Dense,SNIP,CroP-U,LTR", seeds="6")
    clock = [0.0]
    ahead = Ahead(every, 2, Known(), lambda: clock[0])
    assert ahead.left() is None
    heard = played(every, 2, lambda job: 2.0 if job[0].alone else 0.5 * len(job) + 1, ahead, clock)
    end = heard[-1][0]
    assert heard[-1][1] == 0
    ratios = [left / (end - now) for now, left in heard if 0.1 * end < now < 0.9 * end]
    assert len(ratios) > 20
    assert min(ratios) > 0.5
    assert max(ratios) < 2


def test_what_others_took_is_known_from_the_beginning():
    _, every = planned("solo=2")
    paces = Known()
    for cell in every:
        paces.add(due(cell), 8.0)
    clock = [0.0]
    ahead = Ahead(every, 2, paces, lambda: clock[0])
    assert ahead.left() == 16
    ahead(Started(every[0], "", 1))
    clock[0] = 4.0
    assert ahead.left() == 16 - 4 + 4, "the other worker has not begun, and nobody knows why"
