"""``python -m rlprune.run SUITE``: run a suite, go on with what is missing, and show what came out.

Everything slow is imported inside functions: ``--help`` and mistakes answer at once, and worker processes, which
import this module again, start fast.
"""

# ruff: noqa: T201 (this is the command line)

import argparse
import io
import os
import re
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlprune.data import folders
from rlprune.mistakes import Mistake, SuiteError, shown
from rlprune.pruner import pruners
from rlprune.registry import nearest
from rlprune.suite import Cell, Suite, cells, data_mistakes, extra_mistakes, load_suite, make_cell
from rlprune.task import tasks

if TYPE_CHECKING:
    from rlprune.store import Row, Store
    from rlprune.sweep import Outcome

RESULTS = "results.sqlite"
WRITTEN = (RESULTS, f"{RESULTS}-wal", f"{RESULTS}-shm", "results.csv", "report.html", "figures", "tables", "checkpoints")
"""All that a run writes into its folder, and all that ``--fresh`` removes from it."""

DESCRIPTION = "Run a suite: train what is missing, then write the report. The same command again repeats nothing."
EXIT_CODES = "Exit codes: 0 all cells done; 1 some cells failed; 2 the request is wrong; 130 stopped by Ctrl-C."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("python -m rlprune.run", description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False)
    add_arguments(parser)
    return run(parser.parse_args(given), ["python", "-m", "rlprune.run", *given])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a run may be asked."""
    add = parser.add_argument
    add("suite", metavar="SUITE", help="a name from `rlprune list suites`, or a path to a TOML file")
    add("--profile", default="quick", help="smoke (seconds), quick (minutes) or paper; default quick")
    add("--pruners", metavar="A,B", help="these instead of the suite's")
    add("--sparsities", metavar=".9,.95", help="these instead of the suite's")
    add("--seeds", metavar="N", help="seeds 0 to N-1 instead of the suite's")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="change any key of the suite, say recipe.budget=100000")
    add("--engine", help="fleet: agents in batches where a task can, but for the suite's solo seeds; sb3: each alone")
    add("--device", default="auto", help="cpu, cuda, or auto: where these tasks train fastest, the CPU")
    add("--jobs", metavar="N", help="cells at once; default: the cores this process may use, or one on a GPU")
    add("--executor", default="local", help="local: processes on this machine")
    add("--data", metavar="DIR", help="folder with data sets, for suites that can read them")
    add("--download", action="store_true", help="let torchvision fetch a data set that --data DIR lacks: CIFAR-10, CIFAR-100")
    add("--out", metavar="DIR", help="folder of the results; default results/SUITE")
    add("--dry-run", action="store_true", help="show the cells, what is done and the time left; write nothing")
    add("--fresh", action="store_true", help=f"start over: first remove from the folder {', '.join(WRITTEN)}")


# -- the request -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A run as asked for, found right."""

    suite: Suite
    device: str
    jobs: int
    out: Path


def checked(args: argparse.Namespace) -> Request:
    """Return the request.

    Raises:
        SuiteError: everything that is wrong with it.
    """
    mistakes = [
        Mistake(f"--{option}", "", f"got '{value}'; must be {' or '.join(allowed)}{nearest(value, allowed)}")
        for option, value, allowed in (("device", args.device, ("auto", "cpu", "cuda")), ("executor", args.executor, ("local",)))
        if value not in allowed
    ]
    jobs = args.jobs or str(_cores())
    if not jobs.isdecimal() or int(jobs) < 1:
        mistakes.append(Mistake("--jobs", "", f"got '{jobs}'; must be a whole number, at least 1"))
    options = {key: getattr(args, key) for key in ("pruners", "sparsities", "seeds", "engine") if getattr(args, key) is not None}
    suite = None
    try:
        suite = load_suite(args.suite, args.profile, args.set, options, Path(args.data) if args.data else None)
        if args.download and suite.folder and not mistakes and not args.dry_run:
            download(suite)
        mistakes += [*data_mistakes(suite), *extra_mistakes(suite)]
    except SuiteError as error:
        mistakes = error.mistakes + mistakes
    out = Path(args.out or Path("results", Path(args.suite).stem if suite is None else suite.name))
    if blocked := next((path for path in (out, *out.parents) if os.path.exists(path) and not path.is_dir()), None):
        mistakes.append(Mistake("--out", "", f"{blocked} is not a folder"))
    if args.device == "cuda" and not (_may_have_gpu() and (mistakes or _torch_sees_gpu())):
        mistakes.append(Mistake("--device", "", "got 'cuda'; torch sees no GPU here: use cpu or auto"))
    if suite is None or mistakes:
        raise SuiteError(mistakes)
    # auto: simulated environments and networks as small as theirs are slower on a GPU
    wanted = args.device == "cuda" or (args.device == "auto" and all(tasks().load(name).gpu for name in suite.tasks))
    on_gpu = wanted and (args.device == "cuda" or (_may_have_gpu() and _torch_sees_gpu()))
    return Request(suite, "cuda" if on_gpu else "cpu", int(args.jobs or 1) if on_gpu else int(jobs), out)


def download(suite: Suite) -> None:
    """Fetch what the suite's tasks read and its folder lacks, where torchvision knows how.

    Raises:
        SuiteError: it could not be fetched.
    """
    for name in sorted({name for task in suite.tasks if (name := suite.recipe_for(tasks().load(task)).reads)}):
        if name in folders.PUBLISHED and not folders.there(name, Path(suite.folder)):
            from rlprune.data.images import fetch

            try:
                fetch(name, Path(suite.folder))
            except (OSError, RuntimeError) as error:
                raise SuiteError([Mistake("--download", name, f"could not be fetched: {error}")]) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _may_have_gpu() -> bool:
    """Say no where Linux has no GPU's device file: importing torch to ask it takes seconds."""
    return sys.platform != "linux" or any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))


def _torch_sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


# -- running -----------------------------------------------------------------------------------------------------


def run(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Do what ``add_arguments`` declares; ``words`` are the command that was typed."""
    show_anything()
    try:
        request = checked(args)
        planned = cells(request.suite, request.device)
        if args.dry_run:
            return preview(request, planned, fresh=args.fresh)
        with writing(request.out):
            if args.fresh:
                remove_results(request.out)
            command = shlex.join(word for word in words if word != "--fresh")
            return _run(request, planned, command.encode(errors="backslashreplace").decode())  # a name that is not UTF-8
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 2


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Hold the folder of a run.

    Raises:
        SuiteError: it cannot be written to, or another run is writing there.
    """
    from rlprune.files import claimed

    with ExitStack() as held:
        try:
            held.enter_context(claimed(out))
        except OSError as error:
            read = f"; what is there can be read: rlprune report {out} --out DIR" if os.path.exists(out / RESULTS) else ""
            why = (
                f"cannot be written to: {error.strerror}{read}"
                if error.strerror
                else f"{error}; wait for it, or name another --out"
            )
            raise SuiteError([Mistake("--out", str(out), why)]) from None
        yield


def _run(request: Request, planned: Sequence[Cell], command: str) -> int:
    from rlprune.reason import line
    from rlprune.store import Gone, StoreError
    from rlprune.sweep import ending_like_ctrl_c

    suite, out = request.suite, request.out
    go_on = f"what is finished is kept. Go on with:\n  {command}"
    with open_store(out, create=True) as store, ending_like_ctrl_c():
        try:
            print(f"{suite.title}, profile {suite.profile}: {len(planned)} cells, results in {out}", flush=True)
            outcome = _sweep(request, planned, store)
            if not outcome.interrupted:
                store.check()
                store.write_csv(out / "results.csv")
                _show(comparable(store.rows(), suite, request.device), outcome, out, command)
                sys.stdout.flush()
        except KeyboardInterrupt:
            outcome = None
        except BrokenPipeError:
            hush()
            print(f"Stopped, nobody reads what is printed; {go_on}", file=sys.stderr)
            return 1
        except Exception as error:  # whatever it is: the results are stored
            kept = f"begin there anew with:\n  {command}" if isinstance(error, Gone) else go_on
            print(f"{error if isinstance(error, StoreError) else line(error)}\nStopped; {kept}", file=sys.stderr)
            return 1
    if outcome is None or outcome.interrupted:
        print(f"\nStopped; {go_on}", flush=True)
        return 130
    return 1 if outcome.failed else 0


def show_anything() -> None:
    """Print what no encoding has, say a folder's name that is not UTF-8, as its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def hush() -> None:
    """Print to nowhere from now on: Python complains of a closed pipe once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_store(out: Path, *, create: bool) -> "Store":
    """Return the results of a folder.

    Raises:
        SuiteError: they cannot be read or written.
    """
    import sqlite3

    from rlprune.store import Store

    try:
        return Store(out / RESULTS, create=create, warn=lambda line: print(line, file=sys.stderr))
    except (OSError, ValueError, sqlite3.Error) as error:
        raise SuiteError([Mistake("--out", str(out), str(error))]) from None


def _sweep(request: Request, planned: Sequence[Cell], store: "Store") -> "Outcome":
    from rlprune.progress import Bars, Lines
    from rlprune.sweep import sweep

    finished = store.finished()
    left = [cell for cell in planned if cell.id not in finished]
    with (Bars if sys.stdout.isatty() else Lines)(left, len(planned)) as listen:
        return sweep(planned, store, suite=request.suite, jobs=request.jobs, out=request.out, listen=listen)


def remove_results(out: Path) -> None:
    """Remove what a run writes into its folder, and nothing else; where no results are, only the states of cells."""
    if not (out / RESULTS).is_file():
        for file in (out / "checkpoints").glob("*.pt"):
            if re.fullmatch("[0-9a-f]{16}", file.stem):
                file.unlink()
        return
    for path in (out / name for name in WRITTEN):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def comparable(rows: "Iterable[Row]", suite: Suite, device: str) -> "list[Row]":
    """Return the rows with this suite's recipe and settings: a folder may hold other profiles and what ``--set`` tried."""
    from rlprune.sweep import row_ids

    return [
        replace(row, suite=suite.name, profile=suite.profile)
        for row in rows
        if row.task in suite.tasks
        and (row.pruner in pruners().names() or row.pruner in suite.variant)
        and row.id in row_ids(make_cell(suite, row.task, row.pruner, row.sparsity, row.seed, device))
    ]


def _show(rows: "Sequence[Row]", outcome: "Outcome", out: Path, command: str) -> None:
    from rlprune.progress import ending, named
    from rlprune.report.page import summary_table, write_report

    if any(row.status == "done" for row in rows):
        header, lines = summary_table(rows)
        print(f"\n{columns([header, *lines])}")
    for row in (*outcome.failed, *outcome.skipped):
        print(f"{named(row)}: {ending(row)}")
    print(f"\n{write_report(rows, out, command)}")


# -- what is there to do -----------------------------------------------------------------------------------------


def preview(request: Request, planned: Sequence[Cell], *, fresh: bool) -> int:
    """Print the cells with what they cost, what is done and the time left; write nothing."""
    from rlprune.sweep import epochs_of

    suite, finished, seconds = request.suite, set[str](), None
    if (request.out / RESULTS).is_file() and not fresh:
        from rlprune.sweep import estimate

        with open_store(request.out, create=False) as store:
            finished, seconds = store.finished(), estimate(planned, store)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in planned:
        groups[cell.task, cell.method].append(cell)
    lines = [["task", "pruner", "sparsities", "seeds", "cells", "done", "epochs a cell", "to train", "set by the suite"]]
    for (task, pruner), group in groups.items():
        budgets = sum(epochs_of(cell) / cell.recipe["epochs"] for cell in group)
        changed = {**suite.pruning.model_dump(exclude_unset=True), **suite.changed(pruner)}
        lines.append(
            [
                task,
                pruner,
                " ".join(f"{sparsity:g}" for sparsity in dict.fromkeys(cell.sparsity for cell in group)),
                str(suite.seeds),
                str(len(group)),
                str(sum(cell.id in finished for cell in group)),
                str(max(map(epochs_of, group))),
                f"{budgets * group[0].recipe['budget']:,.0f} {tasks().load(task).unit}",
                ", ".join(f"{key} = {shown(value)}" for key, value in changed.items()),
            ]
        )
    done = sum(cell.id in finished for cell in planned)
    print(f"{suite.title}, profile {suite.profile}, device {request.device}, results in {request.out}\n{columns(lines)}")
    print(f"{len(planned)} cells, {done} done, {sum(map(epochs_of, planned)):,} epochs in all")
    left = len(planned) - done
    if left and seconds is None:
        print("time left: unknown until a cell of this kind is done")
    elif left and seconds is not None:
        at_once = min(request.jobs, left)
        print(f"time left: about {_duration(seconds / at_once)}, {at_once} at once")
    return 0


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of texts, aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
