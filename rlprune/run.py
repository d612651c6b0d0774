"""``python -m rlprune.run SUITE``: run a suite, go on with what is missing, and show what came out.

Everything slow is imported inside functions: ``--help`` and mistakes answer at once, and worker processes, which
import this module again, start fast.
"""

# ruff: noqa: T201 (this is the command line)

from rlprune import __version__, door

if __name__ == "__main__":
    door.leave_at_once()

import argparse
import os
import re
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic import ValidationError

from rlprune.bench.checks import data_mistakes, extra_mistakes, lacking, misfits
from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, Shard, cells
from rlprune.bench.mistakes import Mistake, SuiteError
from rlprune.bench.source import override, suites
from rlprune.bench.suite import OPTIONS, load_suite, with_fingerprints
from rlprune.data import folders
from rlprune.executors import Executor, executors
from rlprune.files import write
from rlprune.reason import line
from rlprune.safely import plain, typed
from rlprune.store import RESULTS, results_of
from rlprune.task import tasks
from rlprune.training.recipes import ALLOW_IMPORT
from rlprune.words import in_words, nearest, shown

if TYPE_CHECKING:
    from rlprune.bench.ahead import Costs
    from rlprune.bench.sweep import Outcome
    from rlprune.files import Held
    from rlprune.store import Store

Taken = TypeVar("Taken")

JOBS = "jobs"
"""What an executor writes to while jobs are out."""
SHOWN = ".shown"
"""What a run printed when all was done, under a key of what it was made of: the same again need not be made again."""
WRITTEN = (
    *(RESULTS, f"{RESULTS}-wal", f"{RESULTS}-shm", "results.csv", "report.html", "figures", "tables", "checkpoints"),
    *(JOBS, "plan.json", "running", SHOWN, "log"),
)
"""All that a run writes into its folder, and all that ``--fresh`` removes from it."""

DESCRIPTION = "Run a suite: train what is missing, then write the report. The same command again repeats nothing."
EXIT_CODES = (
    "Exit codes: 0 all cells done, or skipped for a reason that is told; 1 some cells failed, or what came out could not be "
    "written; 2 the request is wrong; 130 stopped by Ctrl-C; 141 nobody reads the output any more."
)


VERSION = f"rlprune {__version__}, Python {sys.version.partition(' ')[0]}"


class Parser(argparse.ArgumentParser):
    """One whose complaints hold no control characters, and name what is nearest to a word that is wrong."""

    def error(self, message: str) -> NoReturn:
        super().error(plain(message))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; words that are left over are told here, where the options of this command are known."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error("; ".join(self._left_over(left)))
        return found, left

    def _left_over(self, words: Sequence[str]) -> Iterator[str]:
        named, stray = "", []
        options = [name for name in self._option_string_actions if name.startswith("--")]
        for word in words:
            if re.match(r"--|-[^\W\d]", word):
                named, _, value = word.partition("=")
                yield f"no option is named '{named}'{nearest(named, options)}"
                named = "" if value else named
            elif named:
                named = ""  # its value
            else:
                stray.append(f"'{word}'")
        if stray:
            belong = "belongs" if len(stray) == 1 else "belong"
            yield f"{' and '.join(stray)} {belong} to nothing: a list is one word, with commas, and so is KEY=VALUE"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            names = list(map(str, action.choices or ()))
            near = nearest(str(value), names)
            if not near and action.dest == "command" and str(value) in suites():
                near = f"; did you mean 'run {value}'?"
            raise argparse.ArgumentError(action, f"got '{value}'; must be {' or '.join(names)}{near}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = Parser("python -m rlprune.run", description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION, help="print versions and exit")
    add_arguments(parser)
    return door.ended(lambda: run(parser.parse_args(given), ["python", "-m", "rlprune.run", *given]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a run may be asked."""
    add = parser.add_argument_group("what to train").add_argument
    add("suite", metavar="SUITE", help="a name from `rlprune list suites`, or a path to a TOML file")
    add("--profile", default="quick", help="smoke (seconds), quick (minutes) or paper; default quick")
    add("--tasks", metavar="A,B", help="these instead of the suite's")
    add("--pruners", metavar="A,B", help="these instead of the suite's")
    add("--sparsities", metavar=".9,.95", help="these instead of the suite's")
    add("--seeds", metavar="N", help="seeds 0 to N-1 instead of the suite's; or which ones: 2,5-9, or 2-2 for one")
    change = "change any key of the suite, say recipe.budget=100000; executor.KEY=VALUE: see rlprune list executors NAME"
    add("--set", metavar="KEY=VALUE", action="append", default=[], help=change)
    add("--engine", help="fleet: agents in fleets where a task can; sb3: each by Stable-Baselines3, alone")
    add("--only", metavar="CELL,CELL", help="of the cells these alone, by the first digits of their ids (see `rlprune show`)")
    add("--shard", metavar="N/M", help="only the Nth of M parts of the cells, say 2/8; `rlprune merge` joins what they leave")
    group = parser.add_argument_group("where, and with what")
    add = group.add_argument
    add("--device", default="auto", help="cpu, cuda, or auto: where these tasks train fastest, the CPU")
    add("--jobs", metavar="N", help="cells at once; default: as many workers as the executor has; local: cores, or one on a GPU")
    add("--executor", default="local", help="a name from `rlprune list executors`; local: processes on this machine")
    add("--data", metavar="DIR", help="folder with data sets, for suites that can read them")
    add("--download", action="store_true", help="let torchvision fetch a data set that --data DIR lacks: CIFAR-10, CIFAR-100")
    may_import(group)
    add = parser.add_argument_group("results").add_argument
    add("--out", metavar="DIR", help="folder of the results; default results/SUITE, of a shard results/SUITE-N-of-M")
    add("--log", metavar="A,B", help="also write learning curves into OUT/log as epochs end: csv, tensorboard")
    add("--join", action="store_true", help="share the cells with the run that is writing there, on this machine")
    add("--fresh", action="store_true", help=f"start over: first remove from the folder {', '.join(WRITTEN)}")
    add = parser.add_argument_group("to look before").add_argument
    say = "show the cells, what is done, and the time, energy and money that the rest will take; write nothing"
    add("--dry-run", action="store_true", help=say)
    say = "with --dry-run: train two epochs of a cell of each kind of which none is done, to know how long they take"
    add("--calibrate", action="store_true", help=say)


def may_import(parser: argparse._ActionsContainer) -> None:
    """Declare the option that lets a recipe's environment name a module."""
    say = "import the module that an environment names, say recipe.environment=module:Id"
    parser.add_argument("--allow-import", action=_AllowImport, nargs=0, help=say)


class _AllowImport(argparse.Action):
    def __call__(self, *_: object) -> None:
        os.environ[ALLOW_IMPORT] = "1"  # workers inherit it


# -- the request -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A run as asked for, found right."""

    suite: Suite
    device: str
    executor: Executor
    jobs: int
    out: Path
    options: Mapping[str, object]
    """Of the executor."""
    shard: Shard | None = None
    log: Sequence[str] = ()
    """Kinds of files that learning curves are written to."""


def checked(args: argparse.Namespace) -> Request:
    """Return the request.

    Raises:
        SuiteError: everything that is wrong with it.
    """
    mistakes: list[Mistake] = []
    executor = None
    if args.device not in (allowed := ("auto", "cpu", "cuda")):
        meant = "cuda" if args.device.casefold() == "gpu" else args.device
        why = f"got '{args.device}'; must be {' or '.join(allowed)}"
        why += "; did you mean 'cuda'?" if meant != args.device else nearest(args.device, allowed)
        mistakes.append(Mistake("--device", "", why))
    try:
        executor = executors().load(args.executor)
    except (KeyError, ValueError, ImportError, TypeError) as error:
        mistakes.append(Mistake("--executor", "", error.args[0]))
    jobs, most = args.jobs, Executor.most if executor is None else executor.most
    if jobs is not None and not (jobs.isdecimal() and len(jobs) <= 9 and 1 <= int(jobs) <= most):
        mistakes.append(Mistake("--jobs", "", f"got '{plain(jobs, 50)}'; must be a whole number, 1 to {most:,}"))
    mistakes += [
        Mistake(f"--{option}", "", f"{plain(path.strip(), 100) or 'it'} {why}")
        for option, path in (("out", args.out), ("data", args.data))
        if path is not None and (why := unusable(path))
    ]
    if args.join and args.fresh:
        mistakes.append(Mistake("--join", "", "nobody can join a run and remove its results: leave out --fresh"))
    if args.only is not None and args.fresh:
        why = "--fresh would remove the results of all cells, not of these alone: leave it out, or name another --out"
        mistakes.append(Mistake("--only", "", why))
    if args.calibrate and not args.dry_run:
        mistakes.append(Mistake("--calibrate", "", "is for --dry-run; a run learns as it goes"))
    shard = None
    try:
        shard = None if args.shard is None else Shard.read(args.shard)
    except ValueError as error:
        mistakes.append(Mistake("--shard", "", str(error)))
    log = [kind.strip().casefold() for kind in (args.log or "").split(",") if kind.strip()]
    mistakes += _log_mistakes(log, args.log)
    if args.download and not args.data:
        mistakes.append(Mistake("--download", "", "needs --data DIR, the folder to fetch into"))
    options = {key: getattr(args, key) for key in OPTIONS if getattr(args, key) is not None}
    suite = None
    try:
        folder = Path(args.data) if args.data else None
        suite = load_suite(args.suite, args.profile, [text for text in args.set if not _for_executor(text)], options, folder)
        if args.download and suite.folder and not mistakes and not args.dry_run:
            download(suite)
        if not any(mistake.where == "--data" for mistake in mistakes):
            mistakes += data_mistakes(suite)
        mistakes += extra_mistakes(suite) if args.only is None else misfits(suite)  # what else these cells need is asked of them
    except SuiteError as error:
        mistakes = error.mistakes + mistakes
    part = "" if shard is None else f"-{shard.number}-of-{shard.of}"
    out = Path(args.out or Path("results", "" if suite is None else f"{suite.name}{part}"))
    if not any(mistake.where == "--out" for mistake in mistakes):
        mistakes += [Mistake("--out", "", f"{path} is not a folder") for path in _files(out)][:1]
    chosen: dict[str, Any] = {}
    if (named := executor) is not None:
        try:
            chosen = _executor_options(named, [text for text in args.set if _for_executor(text)])
            executor = _asked(named, lambda: named.under(chosen, out / JOBS))
        except SuiteError as error:
            mistakes += error.mistakes
            executor = None
    if executor is not None and args.device == "cuda":
        mistakes += _gpu_mistakes(executor, sure=not mistakes)
    if suite is None or executor is None or mistakes:
        raise SuiteError(mistakes)
    suite = with_fingerprints(suite)
    # auto: simulated environments and networks as small as theirs are slower on a GPU
    wanted = args.device == "auto" and all(tasks().load(name).recipe.gpu for name in suite.tasks)
    on_gpu = args.device == "cuda" or (wanted and _asked(executor, lambda: executor.sees("cuda", sure=True)))
    device = "cuda" if on_gpu else "cpu"
    at_once = int(jobs) if jobs else _asked(executor, lambda: executor.workers(device))
    return Request(suite, device, executor, at_once, out, chosen, shard, log)


def _log_mistakes(kinds: Sequence[str], given: str | None) -> Iterator[Mistake]:
    """Yield why learning curves cannot be written so."""
    from rlprune.bench.log import SINKS, lacks

    if given is not None and not kinds:
        yield Mistake("--log", "", f"got {shown(given)}; names nothing: {' or '.join(SINKS)}")
    for kind in kinds:
        if kind not in SINKS:
            yield Mistake("--log", "", f"got '{plain(kind, 50)}'; must be {' or '.join(SINKS)}{nearest(kind, SINKS)}")
        elif why := lacks(kind):
            yield Mistake("--log", "", f"{kind} {why}")


def _for_executor(text: str) -> bool:
    return text.strip().casefold().startswith("executor.")


def _executor_options(executor: Executor, texts: Sequence[str]) -> dict[str, Any]:
    """Return what the command line tells an executor.

    Raises:
        SuiteError: it lacks a package, or has no such options, or not with these values.
    """
    mistakes, values = [], dict[str, Any]()
    if executor.extra and find_spec(executor.extra[0]) is None:
        package, extra = executor.extra
        say = f"{executor.name} needs {package}: python3 -m pip install 'rlprune[{extra}]'"
        mistakes.append(Mistake("--executor", "", say))
    for text in texts:
        try:
            (given,) = override(text).values()
            executor.options.model_validate(given)
            for key, value in given.items():
                values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
        except SuiteError as error:
            mistakes += error.mistakes
        except ValidationError as error:
            for keys, message in in_words(error, executor.options):
                why = message.replace("(allowed: )", f"(executor {executor.name} has none)")
                mistakes.append(Mistake(f"--set {text}", ".".join(map(str, keys[:1])), why))
    if mistakes:
        raise SuiteError(mistakes)
    return values


def _gpu_mistakes(executor: Executor, *, sure: bool) -> Iterator[Mistake]:
    """Yield why no worker of an executor trains on a GPU."""
    try:
        if not _asked(executor, lambda: executor.sees("cuda", sure=sure)):
            more = ", or ask for one with --set executor.gpus=1" if "gpus" in executor.options.model_fields else ""
            yield Mistake("--device", "", f"got 'cuda'; no worker of executor {executor.name} sees a GPU: use cpu or auto{more}")
    except SuiteError as error:
        yield from error.mistakes


def _asked(executor: Executor, ask: Callable[[], Taken]) -> Taken:
    """Return what an executor says of itself.

    Raises:
        SuiteError: it cannot say, whatever the reason: it may be somebody else's, and its machines may be gone.
    """
    try:
        return ask()
    except Exception as error:
        raise SuiteError([Mistake("--executor", "", f"{executor.name} cannot be used: {line(error)}")]) from None


def unusable(path: str) -> str:
    """Return why a folder of a run cannot be at ``path``, or an empty string."""
    if not path.strip():
        return "is empty: name a folder"
    if not path.isprintable():
        return "is not UTF-8, or holds control characters"
    try:
        os.lstat(Path(path, "checkpoints", "x" * 60))
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        return f"cannot be used: {getattr(error, 'strerror', None) or error}"
    return ""


def _files(folder: Path) -> Iterator[Path]:
    """Yield what is on the way to a folder, or in its place, and is none."""
    return (path for path in (folder, *folder.parents) if path.exists() and not path.is_dir())


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


# -- running -----------------------------------------------------------------------------------------------------


def run(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Do what ``add_arguments`` declares; ``words`` are the command that was typed."""
    try:
        request = checked(args)
        planned = cells(request.suite, request.device)
        if request.shard is not None:
            planned = [cell for cell in planned if cell in request.shard]
        if args.only is not None:
            planned = only(planned, args.only)
            if lacks := list(lacking(request.suite, dict.fromkeys(cell.task for cell in planned))):
                raise SuiteError(lacks)
        if args.dry_run:
            return preview(request, planned, fresh=args.fresh, calibrate=args.calibrate)
        with writing(request.out, join=args.join) as held:
            if args.fresh:
                remove_results(request.out)
            command = shlex.join(word for word in words if word != "--fresh")
            typed = command.encode(errors="backslashreplace").decode()  # a name that is not UTF-8
            return _run(request, planned, typed, held)
    except SuiteError as error:
        door.say(str(error))
        return 2


def only(planned: Sequence[Cell], text: str) -> list[Cell]:
    """Return of some cells those whose ids, or the first digits of which, are listed.

    Raises:
        SuiteError: some digits are those of no cell, or of several.
    """
    mistakes, found = [], dict[str, Cell]()
    known = {cell.id: cell for cell in planned}
    for digits in [part.strip().casefold() for part in text.split(",") if part.strip()] or [""]:
        cells = [cell for cell in known.values() if digits and cell.id.startswith(digits)]
        found |= {cell.id: cell for cell in cells[:1]}
        if not cells:
            why = f"got '{plain(digits, 50)}'; begins the id of none of these {len(known):,} cells"
            mistakes.append(Mistake("--only", "", why))
        elif cells[1:]:
            listed = ", ".join([*(cell.id for cell in cells[:4]), *(["…"] if cells[4:] else [])])
            why = f"'{digits}' begins the ids of {len(cells)} cells: {listed}"
            mistakes.append(Mistake("--only", "", why))
    if mistakes:
        raise SuiteError(mistakes)
    return [cell for cell in planned if cell.id in found]


@contextmanager
def writing(out: Path, *, join: bool = False, option: str = "--out") -> "Iterator[Held]":
    """Hold the folder of a run, or join those that are writing there; ``option`` is what names it.

    Raises:
        SuiteError: it cannot be written to, or another run is writing there.
    """
    from rlprune.files import claimed

    with ExitStack() as held:
        try:
            folder = held.enter_context(claimed(out, join=join))
        except OSError as error:
            read = f"; what is there can be read: rlprune report {typed(out)} --out DIR" if os.path.exists(out / RESULTS) else ""
            why = (
                f"cannot be written to: {error.strerror}{read}"
                if error.strerror
                else f"{error}; wait for it, {'' if join else 'join it with --join, '}or name another {option}"
            )
            raise SuiteError([Mistake(option, str(out), why)]) from None
        yield folder


def _run(request: Request, planned: Sequence[Cell], command: str, held: "Held") -> int:
    from rlprune.bench.status import plan
    from rlprune.bench.sweep import ending_like_ctrl_c
    from rlprune.store import Damaged, Gone, StoreError

    suite, out = request.suite, request.out
    kept = f"; what is finished is kept. Go on with:\n  {plain(command)}"
    with open_store(out, create=True) as store, ending_like_ctrl_c():
        try:
            print(f"{_titled(request)}: {len(planned)} cell{'s' * (len(planned) != 1)}, results in {out}", flush=True)
            if not held.alone:
                print(f"beside {held.others()}", flush=True)
            _tell_of_other_data(planned, store, request)
            _tell_of_other_code(planned, store)
            _tell_of_lacking_costs(planned, store)
            plan(request.out, planned, _about(request, command), workers=request.jobs)
            outcome = _sweep(request, planned, store, held)
            if not outcome.interrupted:
                store.check()
                if not held.last():
                    print(f"\nThe rest and the report are left to {held.others()}", flush=True)
                    return 1 if outcome.failed else 0
                changed = outcome.done > 0 and _data_changed(suite)
                written = _show(request, store, outcome, command)
                if changed:
                    mixed = f"{suite.folder} changed during the run: its cells may have read different data. Run them anew:"
                    print(f"{mixed}\n  {plain(command)}", flush=True)
                return 1 if outcome.failed or changed or not written else 0
            why, code = "", door.STOPPED
        except KeyboardInterrupt:
            why, code = "", door.STOPPED
        except BrokenPipeError:
            door.hear_no_more()
            why, code = "nobody reads the output any more", door.CLOSED
        except Exception as error:  # whatever it is: the results are stored
            why, code = str(error) if isinstance(error, StoreError) else line(error), 1
            if isinstance(error, Gone):
                kept = f"; begin there anew with:\n  {plain(command)}"
            elif isinstance(error, Damaged):  # it says what to do, and the same command would stop there again
                kept = ""
    told = f"\nStopped{': ' * bool(why)}{why}{kept}"
    try:
        if not why:
            print(told, flush=True)
    except OSError:  # Ctrl-C has ended who read the output, too
        why = "no output"
        door.hear_no_more()
    if why:
        door.say(told)
    return code


def _about(request: Request, command: str) -> dict[str, object]:
    """Return what ``rlprune status`` tells of a run, and finds its jobs with."""
    suite = request.suite
    told = {"title": suite.title, "profile": suite.profile, "command": plain(command)}
    shard = None if request.shard is None else [request.shard.number, request.shard.of]
    return {**told, "executor": request.executor.name, "options": request.options, "jobs": JOBS, "shard": shard}


def open_store(out: Path, *, create: bool) -> "Store":
    """Return the results of a folder.

    Raises:
        SuiteError: they cannot be read or written.
    """
    import sqlite3

    from rlprune.store import Store

    try:
        return Store(out / RESULTS if create else results_of(out), create=create, warn=door.say)
    except (OSError, ValueError, sqlite3.Error) as error:
        where, told = ("--out", str(error)) if create else ("", str(error).removeprefix(f"{out}: "))
        raise SuiteError([Mistake(where, str(out), told.removeprefix(f"{out} "))]) from None


def read(out: Path, take: "Callable[[Store], Taken]") -> Taken:
    """Return what ``take`` reads from the results of a folder.

    Raises:
        SuiteError: they cannot be read.
    """
    import sqlite3

    with open_store(out, create=False) as store:
        try:
            return take(store)
        except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as error:  # damaged inside
            raise SuiteError([Mistake(str(results_of(out)), "", f"cannot be read: {line(error)}")]) from None


def _titled(request: Request) -> str:
    part = "" if request.shard is None else f", {request.shard}"
    return f"{request.suite.title}, profile {request.suite.profile}{part}"


def _sweep(request: Request, planned: Sequence[Cell], store: "Store", held: "Held") -> "Outcome":
    from rlprune.bench import ahead, status
    from rlprune.bench.log import Log
    from rlprune.bench.progress import Bars, Lines
    from rlprune.bench.sweep import News, judged, sweep

    finished = store.finished(judged(planned))
    left = [cell for cell in planned if cell.id not in finished]
    paces = ahead.known(store)[0] if left else ahead.Known()
    to_go = ahead.Ahead(left, request.jobs, paces)
    board = status.Board(request.out, to_go)
    watched, log = sys.stdout is not None and sys.stdout.isatty(), Log(request.out, request.log)
    log.catch_up([cell for cell in planned if cell.id in finished], store)
    with closing(board), closing(log), (Bars if watched else Lines)(left, len(planned), to_go) as show:

        def listen(news: News) -> None:
            for hears in (to_go, board, log, show):
                hears(news)

        return sweep(
            planned,
            store,
            suite=request.suite,
            jobs=request.jobs,
            out=request.out,
            execute=request.executor.execute,
            listen=listen,
            left=[left.job for left in request.executor.left()],
            held=held,
        )


def remove_results(out: Path) -> None:
    """Remove what a run writes into its folder, and nothing else; where no results are, only the states of cells."""
    if not (out / RESULTS).is_file():
        for file in (out / "checkpoints").glob("*.pt"):
            if re.fullmatch(r"[0-9a-f]{16}(\.before)?", file.stem):
                file.unlink()
        return
    for path in (out / name for name in WRITTEN):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _tell_of_other_data(planned: Sequence[Cell], store: "Store", request: Request) -> None:
    """Say how many finished cells are those planned but for their data: nobody should take one for the other."""
    from rlprune.report.comparable import of_other_data

    others = of_other_data(store.rows(), planned) if any(cell.data for cell in planned) else []
    if others:
        print(
            f"{request.out} has {len(others)} of these cells finished on other data than {request.suite.folder} holds now, or on "
            "data of which no fingerprint was taken: left out here, and run anew",
            flush=True,
        )


def _tell_of_other_code(planned: Sequence[Cell], store: "Store") -> None:
    """Say how many finished cells of somebody's own pruner or task were trained by what its file said before."""
    from rlprune.bench.sweep import changed_code

    for name, count in changed_code(planned, store).items():
        cells = "1 finished cell" if count == 1 else f"{count} finished cells"
        print(
            f"{cells} of {name} had other code than it has now, and count as done: --fresh trains all anew, or give what has "
            "changed another name",
            flush=True,
        )


def _tell_of_lacking_costs(planned: Sequence[Cell], store: "Store") -> None:
    """Say how many finished cells were to train alone, for their costs, and did not."""
    from rlprune.bench.sweep import costless

    if count := costless(planned, store):
        have = "1 finished cell has" if count == 1 else f"{count} finished cells have"
        print(f"{have} no costs, having trained in a fleet: name another --out, or --fresh, to measure them", flush=True)


def _data_changed(suite: Suite) -> bool:
    try:
        return with_fingerprints(suite).fingerprints != suite.fingerprints
    except SuiteError:  # gone, after all cells have read them
        return True


def _show(request: Request, store: "Store", outcome: "Outcome", command: str) -> bool:
    """Print what came out and write the report; return whether all of it could be done: what was trained is stored already."""
    from rlprune.bench.progress import ending, named
    from rlprune.bench.status import parted
    from rlprune.report.comparable import of_suite
    from rlprune.report.page import summary_table, write_report
    from rlprune.report.sentences import opening
    from rlprune.report.sound import sound

    suite, out = request.suite, request.out
    key = _made_of(request, store, command)
    if not (outcome.done or outcome.failed or outcome.skipped) and (before := _shown_before(out, key)):
        print(before)
        return True
    everything = sound(store.rows())
    rows = sound(of_suite(everything, suite, request.device))
    failures: list[str] = []
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        print(text)

    def attempt(what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except BrokenPipeError:
            raise
        except Exception as error:  # whatever it is, the cells are done
            failures.append(f"{what} could not be written: {line(error)}")

    def table() -> None:
        if any(row.status == "done" for row in rows):
            header, lines = summary_table(rows)
            say("\n".join(["", columns([header, *lines]), "", *opening(rows)]))

    attempt("results.csv", lambda: store.write_csv(out / "results.csv"))
    attempt("the table", table)
    for row in (*outcome.failed, *outcome.skipped):
        print(plain(f"{named(row)}: {ending(row)}"))
    if outcome.failed:
        print(f"where an error came up, all of it: rlprune show {typed(out)} {outcome.failed[0].id}")
    if others := len(everything) - len(rows):
        say(f"{others} more cells in {out} are of other settings: rlprune report {typed(out)} shows all")
    attempt("the report", lambda: say(f"\n{write_report(rows, out, command, notes=parted([out]), tell=failures.append)}"))
    if not failures and not outcome.failed and not outcome.skipped:
        attempt(SHOWN, lambda: write(out / SHOWN, "\n".join([key, *said])))
    if failures:
        kept = f"{len(store.finished())} finished cells are kept in {out / RESULTS}. Try again with:\n  {plain(command)}"
        door.say("\n".join(["", *failures, kept]))
    return not failures


def _made_of(request: Request, store: "Store", command: str) -> str:
    """Return a key of all that a report is made of."""
    from rlprune.costs import provenance

    parts = (request.suite.model_dump_json(), request.device, command, sorted(provenance.versions().items()), store.state())
    return sha256(repr(parts).encode()).hexdigest()


def _shown_before(out: Path, key: str) -> str:
    """Return what was printed when all that there is was made of the same, or nothing."""
    try:
        known, _, text = (out / SHOWN).read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return ""
    there = all((out / name).exists() for name in ("results.csv", "report.html", "figures", "tables"))
    return text if known == key and there else ""


# -- what is there to do -----------------------------------------------------------------------------------------


def preview(request: Request, planned: Sequence[Cell], *, fresh: bool, calibrate: bool) -> int:
    """Print the cells with what they cost, what is done and what the others will take; write nothing."""
    from rlprune.bench import ahead
    from rlprune.bench.sweep import epochs_of, judged

    suite, finished = request.suite, set[str]()
    paces, watts = ahead.Known(), dict[str, float]()
    if (request.out / RESULTS).is_file() and not fresh:

        def known(store: "Store") -> tuple[set[str], tuple[ahead.Known, dict[str, float]]]:
            _tell_of_other_data(planned, store, request)
            _tell_of_other_code(planned, store)
            _tell_of_lacking_costs(planned, store)
            return store.finished(judged(planned)), ahead.known(store)

        finished, (paces, watts) = read(request.out, known)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in planned:
        groups[cell.task, cell.method].append(cell)
    lines = [["task", "pruner", "sparsities", "seeds", "cells", "done", "epochs a cell", "to train", "set by the suite"]]
    total = 0
    for (task, pruner), group in groups.items():
        lengths = list(map(epochs_of, group))
        total += sum(lengths)
        recipe = suite.recipe_for(tasks().load(task))
        budgets = sum(length / cell.recipe["epochs"] for length, cell in zip(lengths, group, strict=True))
        every = suite.pruning.model_dump(exclude_unset=True) if group[0].settings else {}  # they change nothing for Dense
        changed = {**every, **suite.changed(group[0].variant or group[0].pruner)}
        lines.append(
            [
                task,
                pruner,
                " ".join(f"{sparsity:g}" for sparsity in dict.fromkeys(cell.sparsity for cell in group)),
                str(suite.seeds),
                str(len(group)),
                str(sum(cell.id in finished for cell in group)),
                str(max(lengths)),
                f"{budgets * recipe.trained:,.0f} {recipe.unit}",
                ", ".join(f"{key} = {shown(value)}" for key, value in changed.items()),
            ]
        )
    done = sum(cell.id in finished for cell in planned)
    print(f"{_titled(request)}, device {request.device}, results in {request.out}\n{columns(lines)}")
    apart = sum(cell.alone for cell in planned)
    how = "each alone" if apart == len(planned) else f"{len(planned) - apart:,} in fleets, {apart:,} alone"
    print(f"{len(planned)} cells, {done} done, {total:,} epochs in all; {how}")
    left = list({cell.id: cell for cell in planned if cell.id not in finished}.values())
    if left and calibrate:
        there = request.out.exists()
        for said in ahead.calibrate(left, request.jobs, paces, watts, request.executor.execute, suite.country):
            print(f"calibrated: {plain(said)}", flush=True)
        if not there:
            with suppress(OSError):  # an executor had its folder there
                request.out.rmdir()
    if left:
        print("\n".join(_costs(request, left, ahead.costs(left, request.jobs, paces, watts, suite.price_per_hour))))
    return 0


def _costs(request: Request, left: Sequence[Cell], costs: "Costs") -> Iterator[str]:
    """Yield in words what the cells that are left will take."""
    from rlprune.bench.progress import duration

    if costs.wall is None or costs.seconds is None:
        yield "time left: unknown until a cell of each kind is done; --calibrate trains two epochs of one to know it"
        return
    at_once = min(request.jobs, len(left))
    yield f"time left: about {duration(costs.wall)}, {at_once} at once; {duration(costs.seconds)} of workers"
    joules = "unknown: no cell was measured" if costs.joules is None else f"about {costs.joules / 3.6e6:.3g} kWh, CPU and GPU"
    yield f"energy left: {joules}"
    price = request.suite.price_per_hour
    money = (
        "unknown: the suite names no price_per_hour" if costs.price is None else f"about ${costs.price:.2f} at ${price:g} an hour"
    )
    yield f"price left: {money}"


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of texts, aligned."""
    fit = [[plain(text) for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*fit, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in fit)


if __name__ == "__main__":
    sys.exit(main())
