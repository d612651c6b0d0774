"""``rlprune`` and ``python -m rlprune``: run, list, check, report, export."""

# ruff: noqa: T201 (this is the command line)

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rlprune
from rlprune.mistakes import Mistake, SuiteError
from rlprune.pruner import pruners
from rlprune.reason import line
from rlprune.registry import nearest
from rlprune.run import DESCRIPTION, EXIT_CODES, RESULTS, add_arguments, columns, hush, open_store, run, show_anything
from rlprune.store import StoreError
from rlprune.suite import cells, load_profiles, suites
from rlprune.task import tasks

if TYPE_CHECKING:
    from rlprune.store import Row


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(given)
    show_anything()
    try:
        match args.command:
            case "run":
                return run(args, ["rlprune", *given])
            case "list":
                print(columns(_listed(args.what)))
            case "check":
                print("\n".join(_checked(args.suites)))
            case "report":
                print(_report([Path(out) for out in args.runs], args.out))
            case "export":
                print(_export(Path(args.run), args.pruner, args.sparsity, args.seed, Path(args.to)))
        sys.stdout.flush()
    except (SuiteError, StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # | head
        hush()
        return 1
    except OSError as error:
        print(line(error), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("rlprune", description=rlprune.__doc__, epilog=EXIT_CODES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_arguments(commands.add_parser("run", help="run a suite", description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False))
    listing = commands.add_parser("list", help="list suites, tasks or pruners")
    listing.add_argument("what", choices=("suites", "tasks", "pruners"))
    check = commands.add_parser("check", help="say what is wrong with suites, under every profile")
    check.add_argument("suites", nargs="+", metavar="SUITE", help="a name, or a path to a TOML file")
    report = commands.add_parser("report", help="write the report of a run again, or one over several runs")
    report.add_argument("runs", nargs="+", metavar="OUT", help="folder of a run, say results/cartpole")
    report.add_argument("--out", metavar="DIR", help="where to; default: OUT, with several results/joint")
    export = commands.add_parser("export", help="take the network of a finished cell away")
    export.add_argument("run", metavar="OUT", help="folder of a run, say results/cartpole")
    export.add_argument("pruner", metavar="PRUNER", help="a pruner of that run")
    export.add_argument("sparsity", metavar="SPARSITY", type=float, help="a sparsity of that run; 0 for Dense")
    export.add_argument("--seed", type=int, default=0, help="which seed's network; default 0")
    export.add_argument(
        "--to", required=True, metavar="FILE", help="its suffix says the format: .zip (Stable-Baselines3), .safetensors, .onnx"
    )
    return parser


def _listed(what: str) -> list[list[str]]:
    """Return one line an entry: its name and what it is."""
    if what == "suites":
        return [[name, _described(file)] for name, file in suites().items()]
    registry, about = (tasks(), _titled) if what == "tasks" else (pruners(), _explained)
    lines = []
    for name in registry.names():
        try:
            lines.append([name, about(name)])
        except Exception as error:  # somebody else's file may fail in any way
            lines.append([name, f"cannot be imported: {type(error).__name__}: {error}"])
    return lines


def _described(suite: Path) -> str:
    try:
        table = tomllib.loads(suite.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return str(table.get("description", table.get("title", "")))


def _titled(task: str) -> str:
    return tasks().load(task).title


def _explained(name: str) -> str:
    return f"cuts {pruners().load(name).cut}. {pruners().summary(name)}".strip()


def _checked(names: Sequence[str]) -> list[str]:
    """Return one line a suite: its profiles and how many cells each has.

    Raises:
        SuiteError: everything that is wrong with any of them.
    """
    lines, mistakes = [], []
    for name in names:
        try:
            sizes = [f"{suite.profile} {len(cells(suite, 'cpu'))} cells" for suite in load_profiles(name)]
            lines.append(f"{name}: {', '.join(sizes)}")
        except SuiteError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SuiteError(mistakes)
    return lines


def _report(folders: Sequence[Path], out: str | None) -> Path:
    """Write the report of all runs together; a cell that several have counts once."""
    missing = [folder for folder in folders if not (folder / RESULTS).is_file()]
    if missing:
        raise SuiteError([Mistake(str(it), "", f"has no {RESULTS}{nearest(it.name, _beside(it))}") for it in missing])

    from rlprune.report.page import write_report

    found: dict[str, Row] = {}
    for folder in folders:
        with open_store(folder, create=False) as store:
            found |= {row.id: row for row in store.rows() if row.id not in found or row.status == "done"}
    where = Path(out) if out else folders[0] if len(folders) == 1 else Path("results", "joint")
    return write_report(found.values(), where, runs=folders)


def _export(folder: Path, pruner: str, sparsity: float, seed: int, to: Path) -> Path:
    """Write the network of one finished cell.

    Raises:
        SuiteError: there is no such cell, or its network cannot be written so.
    """
    if not (folder / RESULTS).is_file():
        raise SuiteError([Mistake(str(folder), "", f"has no {RESULTS}{nearest(folder.name, _beside(folder))}")])
    with open_store(folder, create=False) as store:
        done = [row for row in store.rows() if row.status == "done"]
    named = [row for row in done if row.pruner.casefold() == pruner.casefold()]
    cells = [row for row in named if abs(row.sparsity - sparsity) < 1e-9 and row.seed == seed]
    if len(cells) != 1:
        known = sorted({f"{row.sparsity:g}" for row in named}), sorted({str(row.seed) for row in named}, key=int)
        there = f"finished: sparsities {', '.join(known[0])}, seeds {', '.join(known[1])}" if named else "no cell of this pruner"
        found = f"{len(cells)} cells" if cells else "no finished cell"
        message = f"{found} of sparsity {sparsity:g} and seed {seed}; {there}{nearest(pruner, {row.pruner for row in done})}"
        raise SuiteError([Mistake(str(folder), pruner, message)])

    from rlprune.export import export

    try:
        export(cells[0], folder / "checkpoints", to)
    except (ValueError, OSError, RuntimeError) as error:
        raise SuiteError([Mistake("--to", str(to), str(error))]) from None
    return to


def _beside(folder: Path) -> list[str]:
    return [file.parent.name for file in folder.parent.glob(f"*/{RESULTS}")]


if __name__ == "__main__":
    sys.exit(main())
