"""What bookkeeping costs, without training: ``python tests/speed/speed_bookkeeping.py [CELLS ...]``, 5,005 cells by default.

Cells are those of the suite cartpole at four sparsities, 65 a seed, each stored with the measures, epochs and layers of a real
one. Seconds are those of the process on its processor, so that other programs change them little. Nothing is asserted.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rows import row

from rlprune.bench.suite import Cell, Suite, cells, load_suite
from rlprune.bench.sweep import identity, sweep
from rlprune.bench.worker import Assignment, Record
from rlprune.executors import Begun, Event, Returned, Told
from rlprune.store import Row, Store

A_SEED = 65
SPARSITIES = ".8,.9,.95,.98"
DRAWN = 20  # seeds whose values differ; others repeat them


@cache
def measured(pruner: str, sparsity: float, seed: int) -> Row:
    return row(pruner, sparsity, seed)


def suite_of(count: int) -> Suite:
    return load_suite("cartpole", options={"sparsities": SPARSITIES, "seeds": str(count // A_SEED)})


def stored(planned: Sequence[Cell], suite: Suite) -> Iterator[Row]:
    """Yield a finished row for each cell."""
    for cell in planned:
        yield replace(measured(cell.pruner, cell.sparsity, cell.seed % DRAWN), **vars(identity(cell, suite)))


def written(file: Path, planned: Sequence[Cell], suite: Suite) -> None:
    began = time.process_time(), time.perf_counter()
    with Store(file) as store:
        for one in stored(planned, suite):
            store.save(one)
    cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    count, size = len(planned), file.stat().st_size
    say("store", f"{count / wall:,.0f} rows a second ({cpu / count * 1e3:.2f} ms of the processor each), {size / 1e6:,.0f} MB")


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
    planned = cells(suite, "cpu")

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
    count -= count % A_SEED
    matrix = ("cartpole", "--sparsities", SPARSITIES, "--seeds", str(count // A_SEED))
    folder = Path(tempfile.mkdtemp(prefix="rlprune-bookkeeping-"))
    print(f"{count:,} cells")
    try:
        suite, out = suite_of(count), folder / "all"
        command("--dry-run", "run", *matrix, "--dry-run", "--out", folder / "none")
        planned = cells(suite, "cpu")
        written(out / "results.sqlite", planned, suite)
        command("--dry-run, all done", "run", *matrix, "--dry-run", "--out", out)
        command("report", "report", out)
        command("run, all done", "run", *matrix, "--out", out)
        command("run, all done, again", "run", *matrix, "--out", out)
        grows(min(count, 20_020), folder / "growing")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    for number in sys.argv[1:] or ["5005"]:
        figures(int(number))
