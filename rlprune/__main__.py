"""``rlprune`` and ``python -m rlprune``: run, status, show, list, check, merge, pack, report, export."""
# PYTHON_ARGCOMPLETE_OK

# ruff: noqa: T201 (this is the command line)

import rlprune
from rlprune import door

if __name__ == "__main__":
    door.leave_at_once()

import argparse
import os
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlprune import files
from rlprune.bench.checks import misfits
from rlprune.bench.matrix import cells
from rlprune.bench.mistakes import Mistake, SuiteError
from rlprune.bench.source import suites
from rlprune.bench.suite import load_profiles
from rlprune.executors import executors
from rlprune.packed import is_packed
from rlprune.pruning import said
from rlprune.pruning.pruner import pruners
from rlprune.reason import line
from rlprune.registry import Registry
from rlprune.run import (
    DESCRIPTION,
    EXIT_CODES,
    VERSION,
    Parser,
    add_arguments,
    columns,
    may_import,
    open_store,
    read,
    run,
    unusable,
    writing,
)
from rlprune.safely import plain, typed
from rlprune.store import RESULTS, StoreError, lacks
from rlprune.task import tasks
from rlprune.words import nearest, share_meant, shown

if TYPE_CHECKING:
    from rlprune.rows import Row

Told = TypeVar("Told")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    return door.ended(lambda: _answer(given))


def _answer(given: Sequence[str]) -> int:
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks how a word may go on
        from rlprune.completion import answer

        answer(parser)
    args = parser.parse_args(given)
    try:
        match args.command:
            case "run":
                return run(args, ["rlprune", *given])
            case "status":
                print("\n\n".join("\n".join(_status(_folder(run))) for run in args.runs))
            case "list":
                print(_list(args.what, args.names))
            case "check":
                return _check(args)
            case "show":
                print(_shown(args))
            case "merge":
                print(_merge(args.runs, Path(args.to)))
            case "pack":
                print(_pack(args.run, Path(args.file)))
            case "report":
                print(_report(args))
            case "export":
                print(_export(args))
    except (SuiteError, StoreError) as error:
        door.say(str(error))
        return 2
    return 0


FIRST_STEPS = {
    "rlprune run cartpole": "train and prune agents; a report, in minutes",
    "rlprune run cartpole --dry-run": "what that would be, and how long it takes",
    "rlprune list pruners": "every method; with NAME its plan and paper",
    "rlprune check my-suite.toml": "every mistake in a suite of your own",
}
COMMANDS = {
    "Run": {
        "run": "run a suite: train what is missing, then write the report",
        "status": "say what of a sweep is done, and how long the rest will take",
    },
    "Read what came out": {
        "report": "write the report of a run again, or one over several runs",
        "show": "show one cell, and the command that runs it alone again",
        "export": "take the network of a finished cell away",
        "merge": "join runs, say the shards of a sweep, in one folder",
        "pack": "write a run's rows into one small file",
    },
    "What there is, and your own": {
        "list": "list suites, tasks, pruners or executors, or tell all about one",
        "check": "say what is wrong with suites, or which laws a pruner or task keeps",
    },
}
HELP = {name: text for group in COMMANDS.values() for name, text in group.items()}


def _page() -> str:
    """Return what ``rlprune --help`` says."""
    blocks = {"First steps": FIRST_STEPS, **COMMANDS}
    told = "\n\n".join(
        "\n".join([title, *(f"  {name.ljust(max(map(len, lines)))}  {text}" for name, text in lines.items())])
        for title, lines in blocks.items()
    )
    each = "rlprune COMMAND --help explains a command and all its options."
    return f"{textwrap.fill(rlprune.__doc__ or '', 80)}\n\n{told}\n\n{each}"


def _parser() -> argparse.ArgumentParser:
    page = argparse.RawDescriptionHelpFormatter
    codes = textwrap.fill(EXIT_CODES, 80)
    parser = Parser("rlprune", "rlprune COMMAND ...", _page(), codes, formatter_class=page, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION, help="print versions and exit")
    listed = parser.add_subparsers(prog="rlprune", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    commands = _Commands(listed)
    add_arguments(commands.add("run", description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False))
    status = commands.add("status")
    status.add_argument("runs", nargs="+", metavar="OUT", help="folder of a run, say results/cartpole")
    listing = commands.add("list")
    listing.add_argument("what", choices=("suites", "tasks", "pruners", "executors"))
    listing.add_argument("names", nargs="*", metavar="NAME", help="of pruners, tasks or executors: tell all about these")
    check = commands.add("check")
    check.add_argument("suites", nargs="*", metavar="SUITE", help="a name, or a path to a TOML file")
    say = "try the laws that hold for every pruner on this one: counts, masks, seeds, resuming; may be given again"
    check.add_argument("--pruner", metavar="NAME", action="append", default=[], help=say)
    say = "try the laws that hold for every task on this one, made small; may be given again"
    check.add_argument("--task", metavar="NAME", action="append", default=[], help=say)
    check.add_argument("--data", metavar="DIR", help="folder with the data that those tasks read")
    may_import(check)
    merging = commands.add("merge")
    merging.add_argument("runs", nargs="+", metavar="OUT", help="folder of a run, say results/cartpole-1-of-2")
    merging.add_argument("--to", required=True, metavar="DIR", help="where to; what is there already is joined with them")
    report = commands.add("report")
    report.add_argument("runs", nargs="+", metavar="OUT", help="folder of a run, say results/cartpole")
    report.add_argument("--out", metavar="DIR", help="where to; default: OUT, with several and with a packed file results/joint")
    report.add_argument("--suite", metavar="NAME", help="only its cells, those that it shares with other suites by its names")
    report.add_argument("--profile", help="of that suite; default quick")
    report.add_argument("--to-rliable", metavar="FILE", help="write normalised scores, seeds by tasks, as .npz instead")
    report.add_argument("--to-openrlbenchmark", metavar="FILE", help="write learning curves as CSV instead")
    show = commands.add("show")
    show.add_argument("run", metavar="OUT", help="folder of a run, say results/cartpole, or its packed file")
    show.add_argument(
        "cell", metavar="CELL", nargs="+", help="the first digits of its id; or its pruner, sparsity, seed and, of several, task"
    )
    show.add_argument("--json", action="store_true", help="print all that is known of it, for programs")
    may_import(show)
    packing = commands.add("pack")
    packing.add_argument("run", metavar="OUT", help="folder of a run, say results/cartpole")
    packing.add_argument("file", metavar="FILE", help="where to, say cartpole.sqlite.xz; networks stay behind")
    export = commands.add("export")
    export.add_argument("run", metavar="OUT", help="folder of a run, say results/cartpole")
    export.add_argument("pruner", metavar="PRUNER", help="a pruner of that run")
    export.add_argument("sparsity", metavar="SPARSITY", type=_share, help="a sparsity of that run; 0 for Dense")
    export.add_argument("--task", help="a task of that run, where it has several")
    export.add_argument("--seed", type=int, default=0, help="which seed's network; default 0")
    export.add_argument("--cell", metavar="ID", default="", help="first digits of its id, where a run has several recipes")
    export.add_argument("--data", metavar="DIR", help="where the data are now, for networks that are made by looking at them")
    may_import(export)
    say = "its suffix says the format: .zip (Stable-Baselines3), .safetensors, .onnx; of agents also .int8.onnx, .h (C99)"
    export.add_argument("--to", required=True, metavar="FILE", help=say)
    return parser


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {shown(text)}; must be a share, say 0.95".replace('"', "'")) from None


class _Commands:
    """Commands, each with what it does on its own page, too."""

    def __init__(self, listed: "argparse._SubParsersAction[Any]") -> None:
        self._listed = listed

    def add(self, name: str, **said: Any) -> argparse.ArgumentParser:
        text = HELP[name]
        made: argparse.ArgumentParser = self._listed.add_parser(name, **{"description": f"{text[0].upper()}{text[1:]}.", **said})
        return made


def _status(folder: Path) -> Iterator[str]:
    """Yield in words where the sweep of a folder stands."""
    from rlprune.bench import ahead
    from rlprune.bench.progress import duration
    from rlprune.bench.status import read as standing

    found = read(folder, lambda store: standing(folder, store.outcomes(), lambda: ahead.known(store)[0]))
    kinds = ("done", "failed", "skipped", "running", "waiting", "missing")
    counts = ", ".join(f"{found.counts[kind]} {kind}" for kind in kinds if found.counts.get(kind) or kind in ("done", "missing"))
    if not found.title and folder.is_file():
        yield f"{folder}: rows that were packed, where nothing runs"
        yield counts.removesuffix(", 0 missing")
        return
    if not found.title:
        old = "it has no plan, being merged, of an older rlprune or not begun: which cells are missing says a run of its suite"
        yield f"{folder}: {old} with --out {typed(folder)} --dry-run"
        yield counts.removesuffix(", 0 missing")
        return
    yield f"{found.title}, in {folder}: {found.state}, by {'; '.join(found.by)}"
    time = (
        ""
        if found.state == "complete"
        else f"; time left: {'unknown' if found.left is None else f'about {duration(found.left)}'}"
    )
    beyond = {"others": "more of other settings", "begun": "begun by another command and not ended: it would go on with them"}
    yield "; ".join(
        [f"{counts}{time}", *(f"{found.counts[kind]} {words}" for kind, words in beyond.items() if found.counts.get(kind))]
    )
    if found.runs:
        alike = [(one.name, (f"epoch {one.trained} of {one.of}", f"since {one.since}", one.where)) for one in found.runs]
        lines = [[named, *told] for told, named in _together(alike).items()]
        yield "running:" if found.state == "running" or found.outlived else "was running when it stopped:"
        yield columns([["", *line] for line in lines])
    for why, named in _together(found.failed).items():
        yield plain(f"failed: {named}: {why}")
    if found.outlived:
        yield f"{found.outlived} jobs outlived the run that sent them; their results are taken in by:\n  {found.command}"
    elif found.state == "stopped":
        yield f"go on with:\n  {found.command}"


def _together(told: Iterable[tuple[str, Told]]) -> dict[Told, str]:
    """Return what is told of cells to the first that it is told of and how many more they are: of a fleet the same is told."""
    names: dict[Told, list[str]] = {}
    for name, one in told:
        names.setdefault(one, []).append(name)
    return {one: f"{cells[0]} and {len(cells) - 1} more" if cells[1:] else cells[0] for one, cells in names.items()}


def _list(what: str, names: Sequence[str]) -> str:
    """Return one line an entry, or all about those of these names.

    Raises:
        SuiteError: there are none of these names, or they cannot be used.
    """
    if not names:
        return _folded(_listed(what))

    from rlprune import about

    told = {"pruners": about.pruner, "tasks": about.task, "executors": about.executor}.get(what)
    if told is None:
        raise SuiteError(
            [Mistake("NAME", "", f"all about one is told of pruners, tasks and executors, not of {what}: leave it out")]
        )
    pages, mistakes = [], []
    for name in names:
        try:
            pages.append(told(name))
        except Exception as error:  # somebody else's plan may fail in any way
            known = isinstance(error, KeyError | ValueError | ImportError | TypeError) and error.args
            mistakes.append(Mistake("NAME", "", str(error.args[0]) if known else f"{name}: {line(error)}"))
    if mistakes:
        raise SuiteError(mistakes)
    return "\n\n".join(pages)


def _folded(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of two columns, the second folded where a terminal shows them; elsewhere a line each, for other programs."""
    if sys.stdout is None or not sys.stdout.isatty():
        return columns(lines)
    width, margin = shutil.get_terminal_size().columns, max(len(plain(name)) for name, _ in lines) + 2
    return "\n".join(
        textwrap.fill(
            plain(text), max(width, margin + 20), initial_indent=plain(name).ljust(margin), subsequent_indent=" " * margin
        )
        for name, text in lines
    )


def _listed(what: str) -> list[list[str]]:
    """Return one line an entry: its name and what it is."""
    if what == "suites":
        return [[name, _described(file)] for name, file in suites().items()]
    lists: dict[str, tuple[Registry[Any], Callable[[str], str]]] = {
        "tasks": (tasks(), _titled),
        "pruners": (pruners(), _explained),
        "executors": (executors(), _placed),
    }
    registry, about = lists[what]
    lines = []
    for name in registry.names():
        try:
            told, origin = about(name), registry.origin(name)
            lines.append([name, f"{told.rstrip('.')}. From {origin}." if origin else told])
        except (ValueError, ImportError, TypeError) as error:
            lines.append([name, f"cannot be used: {error}"])
    return lines + [[file, f"cannot be read: {why}"] for file, why in registry.unread().items()]


def _described(suite: Path) -> str:
    try:
        table = tomllib.loads(suite.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read: {error}"
    return " ".join(str(table.get("description", table.get("title", ""))).split())


def _titled(task: str) -> str:
    return tasks().load(task).title


def _explained(name: str) -> str:
    pruner = pruners().load(name)
    when = said.when(pruner.steps(pruner.settings()))
    return f"cuts {pruner.cut}{when and f' {when}'}. {pruners().summary(name)}".strip()


def _placed(name: str) -> str:
    extra = executors().load(name).extra  # or it is told why it cannot be used
    return executors().summary(name) + (f" Needs rlprune[{extra[1]}]." if extra else "")


def _check(args: argparse.Namespace) -> int:
    """Say what is wrong with suites, and what holds of pruners and tasks; return the exit code."""
    asked: tuple[tuple[str, Registry[Any], Sequence[str]], ...] = (
        ("--pruner", pruners(), args.pruner),
        ("--task", tasks(), args.task),
    )
    mistakes = []
    for option, registry, names in asked:
        for name in names:
            try:
                registry.load(name)
            except (KeyError, ValueError, ImportError, TypeError) as error:
                mistakes.append(Mistake(option, "", str(error.args[0])))
    if not (args.suites or args.pruner or args.task):
        mistakes.append(Mistake("check", "", "name a SUITE, or --pruner NAME, or --task NAME"))
    if args.data is not None and not args.task:
        mistakes.append(Mistake("--data", "", "is read by tasks: add --task NAME"))
    elif args.data is not None and (why := unusable(args.data)):
        mistakes.append(Mistake("--data", "", f"{plain(args.data.strip(), 100) or 'it'} {why}"))
    if mistakes:
        raise SuiteError(mistakes)
    if args.suites:
        print("\n".join(_checked(args.suites)))
    if not (args.pruner or args.task):
        return 0

    from rlprune.laws.checked import Check

    check = Check()
    for name in args.pruner:
        for told in check.pruner(name):
            print(told, flush=True)
    for name in args.task:
        for told in check.task(name, Path(args.data) if args.data else None):
            print(told, flush=True)
    return 0 if check.kept else 1


def _checked(names: Sequence[str]) -> list[str]:
    """Return one line a suite: its profiles and how many cells each has.

    Raises:
        SuiteError: everything that is wrong with any of them.
    """
    lines, mistakes = [], []
    for name in names:
        try:
            profiles = load_profiles(name)
            if wrong := [Mistake(name, it.where, it.message) for suite in profiles for it in misfits(suite)]:
                raise SuiteError(wrong)
            sizes = [f"{suite.profile} {len(cells(suite, 'cpu'))} cells" for suite in profiles]
            lines.append(f"{name}: {', '.join(sizes)}")
        except SuiteError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SuiteError(mistakes)
    return lines


def _merge(runs: Sequence[str], to: Path) -> str:
    """Join runs in one folder, which stays as it is where they cannot be joined."""
    folders = _folders(runs)
    if why := unusable(str(to)):
        raise SuiteError([Mistake("--to", "", f"{plain(str(to).strip(), 100) or 'it'} {why}")])

    from rlprune.bench.status import joined
    from rlprune.merge import Conflict, merge, planned

    with ExitStack() as held:
        if to.is_dir():
            held.enter_context(writing(to, option="--to"))
        try:
            plan = planned(folders, to, door.say)
        except Conflict as error:
            raise SuiteError([Mistake("merge", "", why) for why in str(error).splitlines()]) from None
        if not to.is_dir():
            held.enter_context(writing(to, option="--to"))
        try:
            merged = merge(plan, to)
            joined(to)
        except OSError as error:
            raise SuiteError([Mistake("--to", str(to), f"{line(error)}; the same command goes on from what is there")]) from None
    both = f", {merged.shared:,} of them finished in several runs with the same values" if merged.shared else ""
    return f"{to}: {merged.cells:,} cells{both}; {merged.files:,} files copied. Their report: rlprune report {typed(to)}"


def _pack(run: str, to: Path) -> str:
    """Write the rows of a run into one file."""
    folder = _folder(run)
    if why := unusable(str(to.parent)) or _taken(to):
        raise SuiteError([Mistake("FILE", "", f"{plain(str(to), 100)} {why}")])
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with open_store(folder, create=False) as store:
            cells = store.pack(to)
        size = to.stat().st_size / 1e6
    except OSError as error:
        raise SuiteError([Mistake(str(to), "", f"cannot be written: {line(error)}")]) from None
    return f"{to}: {cells:,} cell{'s' * (cells != 1)} in {size:.3g} MB. To go on from it: rlprune merge {typed(to)} --to DIR"


def _taken(file: Path) -> str:
    """Return why rows cannot be packed into a file, or an empty string."""
    if file.is_dir():
        return "is a folder: name a file"
    other = file.is_file() and file.stat().st_size and not is_packed(file)
    return "is a file of something else, which would be lost: name another" if other else ""


def _shown(args: argparse.Namespace) -> str:
    """Return one cell in words, or as JSON."""
    from rlprune.show import found, shown_as

    folder = _folder(args.run)
    try:
        row = read(folder, lambda store: found(store, args.cell))
    except LookupError as error:
        raise SuiteError([Mistake(str(folder), "", str(error))]) from None
    return shown_as(row, folder, json=args.json)


def _report(args: argparse.Namespace) -> Path | str:
    """Write the report of all runs together, or what other tools read; a cell that several have counts once."""
    folders, out, rliable, openrlbenchmark = _folders(args.runs), args.out, args.to_rliable, args.to_openrlbenchmark
    if args.suite is None and args.profile is not None:
        raise SuiteError([Mistake("--profile", "", "of which suite? --suite NAME")])
    if out is not None and (why := unusable(out)):
        raise SuiteError([Mistake("--out", "", f"{plain(out.strip(), 100) or 'it'} {why}")])

    from rlprune.bench.status import parted
    from rlprune.bench.suite import load_suite
    from rlprune.report.comparable import apart, as_suite, gathered
    from rlprune.report.page import write_report

    suite = None if args.suite is None else load_suite(args.suite, args.profile or "quick")
    where = Path(out) if out else folders[0] if len(folders) == 1 and folders[0].is_dir() else Path("results", "joint")
    try:
        rows = gathered(folders, door.say)
        if not rows:
            raise ValueError(f"{', '.join(map(str, folders))}: no cell is there that can be read")
        if suite and not (rows := as_suite(rows, suite)):
            raise ValueError(f"{', '.join(map(str, folders))}: no cell is one of {suite.name}'s, profile {suite.profile}")
        for told in apart(rows) if folders[1:] else ():
            door.say(told)
        if rliable or openrlbenchmark:
            return "\n".join(_elsewhere(rows, rliable, openrlbenchmark))
        return write_report(rows, where, runs=folders, notes=parted(folders), tell=door.say, warn=door.say)
    except ValueError as error:
        raise SuiteError([Mistake("report", "", str(error))]) from None
    except Exception as error:  # rows may come from anybody
        raise SuiteError([Mistake(str(where), "", f"no report could be written: {line(error)}")]) from error


def _elsewhere(rows: Sequence["Row"], rliable: str | None, openrlbenchmark: str | None) -> Iterator[str]:
    """Write the files that other tools read; yield their names."""
    from rlprune.report import elsewhere
    from rlprune.report.comparable import groups, mixed

    for told in filter(None, (mixed(group.rows) for group in groups(rows))):
        door.say(told)
    if rliable:
        files.write(Path(rliable), elsewhere.to_rliable(rows, door.say))
        yield rliable
    if openrlbenchmark:
        files.write(Path(openrlbenchmark), elsewhere.to_openrlbenchmark(rows))
        yield openrlbenchmark


def _folders(runs: Iterable[str]) -> list[Path]:
    """Return the folders of runs, or their packed files.

    Raises:
        SuiteError: some have no results; all of them are told.
    """
    found, mistakes = list[Path](), list[Mistake]()
    for name in runs:
        try:
            found.append(_folder(name))
        except SuiteError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SuiteError(mistakes)
    return found


def _folder(run: str) -> Path:
    """Return the folder of a run, or its packed file.

    Raises:
        SuiteError: it has no results.
    """
    folder = Path(run)
    if why := unusable(run):
        raise SuiteError([Mistake("OUT", "", f"{plain(run.strip(), 100) or 'it'} {why}")])
    if why := lacks(folder):
        beside = [file.parent.name for file in folder.parent.glob(f"*/{RESULTS}")]
        beside += [file.name for file in folder.parent.glob("*.sqlite.xz")]
        raise SuiteError([Mistake(run, "", why + nearest(folder.name, beside))])
    return folder


# -- export ------------------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> Path:
    """Write the network of one finished cell.

    Raises:
        SuiteError: there is no such cell, or its network cannot be written so.
    """
    folder, to = _folder(args.run), Path(args.to)
    done = [row for row in read(folder, lambda store: store.rows()) if row.status == "done"]
    try:
        row = _chosen(done, args)
    except ValueError as error:
        raise SuiteError([Mistake(str(folder), args.pruner, str(error))]) from None

    from rlprune.export import export

    try:
        export(row, folder / "checkpoints", to, data=args.data, tell=print)
    except Exception as error:  # networks and rows may come from anybody
        told = str(error) if isinstance(error, ValueError | FileNotFoundError) else line(error)
        raise SuiteError([Mistake("--to", str(to), told)]) from error
    return to


def _chosen(done: "Sequence[Row]", args: argparse.Namespace) -> "Row":
    """Return the one row that was asked for.

    Raises:
        ValueError: there is none, or more than one; the message says what there is to choose from.
    """
    named = [row for row in done if row.pruner.casefold() == args.pruner.casefold()]
    if not named:
        names = sorted({row.pruner for row in done})
        raise ValueError(f"no finished cell of this pruner{nearest(args.pruner, names)}; finished: {', '.join(names) or 'none'}")
    left = [row for row in named if not args.task or row.task.casefold() == args.task.casefold()]
    if not left:
        names = sorted({row.task for row in named})
        raise ValueError(f"no finished cell of task '{args.task}'{nearest(args.task, names)}; finished: {', '.join(names)}")
    asked = f"sparsity {args.sparsity:g} and seed {args.seed}"
    cells = [row for row in left if abs(row.sparsity - args.sparsity) < 1e-9 and row.seed == args.seed]
    if not cells:
        names = sorted({row.task for row in left})
        shares = [f"{share:g}" for share in sorted({row.sparsity for row in left})]
        seeds = [str(seed) for seed in sorted({row.seed for row in left})]
        there = f"tasks {', '.join(names)}; sparsities {', '.join(shares)}; seeds {', '.join(seeds)}"
        raise ValueError(f"no finished cell of {asked}; finished: {there}{share_meant(args.sparsity)}")
    chosen = [row for row in cells if row.id.startswith(args.cell)]
    if not chosen:
        known = ", ".join(row.id for row in cells)
        raise ValueError(f"no id of the cells of {asked} begins with '{args.cell}'; finished: {known}")
    if len(chosen) > 1:
        several = sorted({row.task for row in chosen})
        ways = [f"--task {task}" for task in several] if len(several) > 1 else _told_apart(chosen)
        raise ValueError(f"{len(chosen)} cells of {asked}: choose by {' or '.join(ways)}")
    return chosen[0]


def _told_apart(rows: "Sequence[Row]") -> list[str]:
    """Return for each of several cells of one task, pruner, sparsity and seed the option that names it, and what is its own."""
    from rlprune.report.comparable import flat

    facts = [flat(row.config) for row in rows]
    keys = sorted({key for one in facts for key in one if any(other.get(key) != one[key] for other in facts)})
    return [
        f"--cell {row.id[:8]} (profile {row.profile}; {', '.join(f'{key} = {shown(one.get(key))}' for key in keys)})"
        for row, one in zip(rows, facts, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
