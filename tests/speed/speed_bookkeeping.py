"""What bookkeeping costs, without training: ``python tests/speed/speed_bookkeeping.py [CELLS ...]``, 5,005 cells by default.

Cells are those of the suite cartpole at four sparsities, each stored with the measures, epochs and layers of a
real one; of more than 200,000 eight numbers each. Seconds are those of the process on its processor, so that other
programs change them little. Nothing is asserted.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rows import row

from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, Shard, cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import identity, sweep
from rlprune.bench.worker import Assignment, Record
from rlprune.executors import Begun, Event, Returned, Told
from rlprune.rows import Row
from rlprune.store import TOGETHER, Store

SPARSITIES = (".8,.9,.95,.98", 65)  # and how many cells of a seed they make
MORE = (".8,.9,.95,.98,.5,.6,.7,.99", 129)
ALONE = 2000  # rows that are stored one by one, as a sweep does
SLIM = 200_000  # cells beyond which a report would be of no use, and what is stored of each is less
DRAWN = 20  # seeds whose values differ; others repeat them


@cache
def measured(pruner: str, sparsity: float, seed: int) -> Row:
    return row(pruner, sparsity, seed)


def options_of(count: int) -> dict[str, str]:
    sparsities, a_seed = MORE if count > SLIM else SPARSITIES
    return {"sparsities": sparsities, "seeds": str(count // a_seed)}


def suite_of(count: int) -> Suite:
    return load_suite("cartpole", options=options_of(count))


def stored(planned: Sequence[Cell], suite: Suite, slim: bool) -> Iterator[Row]:
    """Yield a finished row for each cell, a slim one with eight numbers: what bookkeeping costs a cell, and not a number."""
    for cell in planned:
        one = replace(measured(cell.pruner, cell.sparsity, cell.seed % DRAWN), **vars(identity(cell, suite)))
        if slim:
            values = {name: one.values[name] for name in ("return_greedy", "sparsity_weights", "wall_seconds")}
            epochs = [{"trained": 1.0, "return_train": 1.0, "epoch": 1.0}]
            one = replace(one, values=values, epochs=epochs, layers=dict(islice(one.layers.items(), 1)))
        yield one


def written(folder: Path, planned: Sequence[Cell], suite: Suite, slim: bool) -> None:
    """Store a row for each cell, the first of them in transactions of their own as a sweep does, the others many at once."""
    (folder / "checkpoints").mkdir(parents=True)
    file, ones = folder / "results.sqlite", stored(planned, suite, slim)
    with Store(file) as store:
        began = time.process_time(), time.perf_counter()
        for one in islice(ones, ALONE):
            store.save(one)
        cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
        if slim:
            multiplied(file, planned[ALONE:])
        else:
            while some := list(islice(ones, TOGETHER)):
                store.save(*some)
    count, size = min(ALONE, len(planned)), file.stat().st_size
    rate = f"{count / wall:,.0f} rows a second, {cpu / count * 1e3:.2f} ms of the processor each"
    say("store", f"{rate}; {len(planned):,} take {size / 1e6:,.0f} MB, {size / len(planned) / 1e3:.1f} kB each")


def multiplied(file: Path, planned: Sequence[Cell]) -> None:
    """Store cells as copies of some that are there, each under its own id, seed and configuration."""
    columns = ["suite", "profile", "task", "pruner", "cut", "sparsity", "labels", "status", "error", "started", "ended"]
    columns += ["versions", "machine", "judged"]
    own = f"id, seed, config, {', '.join(columns)}"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        ask = connection.execute
        ask("PRAGMA synchronous = OFF")
        models = {(pruner, sparsity): cell for cell, pruner, sparsity in ask("SELECT id, pruner, sparsity FROM cells")}
        ask("CREATE TEMP TABLE copies (id TEXT PRIMARY KEY, model TEXT) WITHOUT ROWID")
        planned = sorted(planned, key=lambda cell: cell.id)
        for start in range(0, len(planned), 10_000):
            some = [(cell, models[cell.method, cell.sparsity]) for cell in planned[start : start + 10_000]]
            ask("BEGIN")
            connection.executemany(
                f"INSERT INTO cells ({own}) SELECT ?, ?, ?, {', '.join(columns)} FROM cells WHERE id = ?",
                ((cell.id, cell.seed, json.dumps(cell.config), model) for cell, model in some),
            )
            ask("DELETE FROM copies")
            connection.executemany("INSERT INTO copies VALUES (?, ?)", ((cell.id, model) for cell, model in some))
            for table, rest in (("measures", "name, value"), ("epochs", "number, name, value"), ("layers", "layer, name, value")):
                ask(f"INSERT INTO {table} SELECT id, {rest} FROM copies CROSS JOIN {table} ON cell = model")
            ask("COMMIT")


def command(what: str, *words: str | Path) -> None:
    """Run a command of rlprune; print its seconds on the processor, and the most memory it held."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        ran = subprocess.Popen([sys.executable, "-m", "rlprune", *map(str, words)], stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(ran.pid, 0)
        ran.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if ran.returncode:
            raise SystemExit(output.read().decode())
    wall = time.perf_counter() - began
    say(what, f"{used.ru_utime + used.ru_stime:.1f} s ({wall:.1f} s on the clock), {used.ru_maxrss / 1e3:,.0f} MB")


def grows(count: int, folder: Path) -> None:
    """Print how much a sweep's own process grows while its cells come in from nowhere."""
    suite = suite_of(count)
    planned = [cell for cell in cells(suite, "cpu") if cell.pruner not in ("LTR", "IMP")]  # results of one length

    def execute(
        work: object, jobs: Sequence[Assignment], workers: int, preload: object
    ) -> Iterator[Event[Assignment, list[Record]]]:
        for job in jobs:
            yield Begun(job)
            found = [measured(cell.pruner, cell.sparsity, cell.seed % DRAWN) for cell in job.cells]
            for member in range(len(found)):
                yield Told(job, {"trained": 1.0, "of": 30.0, "member": float(member)})
            yield Returned(
                job,
                [
                    Record(
                        one.started,
                        one.ended,
                        dict(one.versions),
                        dict(one.machine),
                        values=dict(one.values),
                        epochs=[dict(epoch) for epoch in one.epochs],
                        layers={name: dict(layer) for name, layer in one.layers.items()},
                    )
                    for one in found
                ],
            )

    seen: list[tuple[int, float]] = []

    def listen(news: object) -> None:
        nonlocal heard
        heard += type(news).__name__ == "Finished"
        if heard % 500 == 0:
            seen.append((heard, resident()))

    heard = 0
    with Store(folder / "results.sqlite") as store:
        sweep(planned, store, suite=suite, jobs=2, out=folder, execute=execute, listen=listen)
    (first, before), (last, after) = seen[len(seen) // 3], seen[-1]
    say("a sweep's own process", f"grows by {(after - before) / (last - first) * 1e3:.2f} MB in 1,000 cells, to {after:,.0f} MB")


def resident() -> float:
    """Return the megabytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def say(what: str, told: str) -> None:
    print(f"  {what:<24} {told}", flush=True)


def figures(count: int) -> None:
    slim, options, suite = count > SLIM, options_of(count), suite_of(count)
    matrix = ("cartpole", "--sparsities", options["sparsities"], "--seeds", options["seeds"])
    planned = cells(suite, "cpu")
    folder = Path(tempfile.mkdtemp(prefix="rlprune-bookkeeping-"))
    out = folder / "all"
    print(f"{len(planned):,} cells{', each with eight numbers' if slim else ''}", flush=True)
    try:
        if not slim:
            command("--dry-run", "run", *matrix, "--dry-run", "--out", folder / "none")
        shards = [(folder / f"{number}", Shard(number, 2)) for number in (1, 2)]
        for place, shard in shards:
            written(place, [cell for cell in planned if cell in shard], suite, slim)
        command("merge of two halves", "merge", *(place for place, _ in shards), "--to", out)
        shutil.rmtree(shards[0][0])
        shutil.rmtree(shards[1][0])
        command("--dry-run, all done", "run", *matrix, "--dry-run", "--out", out)
        if not slim:
            command("report", "report", out)
            command("run, all done", "run", *matrix, "--out", out)
            command("run, all done, again", "run", *matrix, "--out", out)
            grows(min(count, 10_010), folder / "growing")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    for number in sys.argv[1:] or ["5005"]:
        figures(int(number))
