"""Which rows are compared with each other: asked here and nowhere else.

Rows are compared that are of one suite, profile and task, trained by one recipe on one kind of device. Rows that differ in
these stand apart, each group labelled with what differs; none is pooled with others, and none is left out. A run shows of the
rows in its folder those of its own suite, with the recipe and settings that it has now.
"""

import json
import sqlite3
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rlprune import reason
from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, cell_maker, cells
from rlprune.costs.measures import SOLO
from rlprune.pruning.pruner import CommonSettings, pruners
from rlprune.report.sound import Sound, sound
from rlprune.rows import Row
from rlprune.safely import plain, shortened
from rlprune.store import Store, StoreError, lacks, results_of

OF_A_CELL = ("pruner", "sparsity", "seed", "settings", "fleet", "branch")
"""Parts of a configuration in which the cells of one group may differ; all others they share."""

OF_DATA = ("data",)
"""Labels that say what was learned from, where the configuration does not."""

VERSIONS = ("rlprune", "torch", "numpy", "gymnasium")
"""Versions on which numbers may depend."""

LATER = {name: CommonSettings.model_fields[name].default for name in sorted(CommonSettings.later)}
"""Settings that cells at their defaults do not name, and these."""

TOLD = 4
"""Most differences that a label names."""


@dataclass(frozen=True)
class Group:
    """Finished cells that may be compared.

    Args:
        rows: the cells; a pruner that has several settings among them has a name for each.
        shared: what all of them have in common: the recipe's fields, the device.
        runs: folders they are from, where there are several runs.
        label: what tells the group from others of this task and profile; empty where there is no other.
        branched: cells that trained two copies of a network: they measure a barrier, and stand beside the others.
        diverged: cells that came to no end because their weights were finite numbers no more.
    """

    rows: tuple[Row, ...]
    shared: Mapping[str, object]
    runs: tuple[str, ...]
    label: str = ""
    branched: tuple[Row, ...] = ()
    diverged: tuple[Row, ...] = ()


def gathered(folders: Sequence[Path], tell: Callable[[str], object] = warnings.warn) -> list[Row]:
    """Return the rows of runs, each labelled ``run`` with its folder where there are several.

    A cell that several runs of a suite have counts once if it ended alike in all; if a single one did not, theirs stay apart.

    Args:
        folders: of the runs, or their packed files.
        tell: called with a line where a cell counts once and its other values, say its times, are not the same in all.

    Raises:
        ValueError: a folder has no results, or they cannot be read.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    found: list[Row] = []
    for folder in folders:
        rows: list[Row] = rows_of(folder)
        if len(folders) > 1:
            rows = [replace(row, labels={**row.labels, "run": str(folder)}) for row in rows]
        known, mine = ({_place(row): row for row in some if row.status == "done"} for some in (found, rows))
        both = known.keys() & mine.keys()
        if all(outcome(known[cell]) == outcome(mine[cell]) for cell in both):
            rows = [row for row in rows if _place(row) not in known]
            if other := [known[cell].labels["run"] for cell in both if known[cell].values != mine[cell].values]:
                shown = " and ".join(sorted(set(other)))
                cells = f"{len(other)} cells are" if other[1:] else "1 cell is"
                tell(plain(f"{cells} in {shown} and in {folder} with different values; those of {shown} are shown"))
        lacking = {_place(row) for row in found if row.status != "done"}  # which nobody has trained is told once
        rows = [row for row in rows if row.status == "done" or _place(row) not in lacking]
        found = [row for row in found if row.status == "done" or _place(row) not in mine] + rows
    return found if len(folders) > 1 else Sound(found)  # names of folders may hold anything


def rows_of(folder: Path) -> Sound:
    """Return the rows of one run, or of its packed file, each as far as it is sound.

    Raises:
        ValueError: it has no results, or they cannot be read.
    """
    if why := lacks(folder):
        raise ValueError(f"{folder}: {why}")
    file = results_of(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what is said of a damaged row stops nothing
            with Store(file, create=False) as store:
                rows = store.rows()
    except StoreError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, sqlite3.Error) as error:
        raise ValueError(f"{file}: {error}") from None
    return sound(rows)


def _place(row: Row) -> tuple[str, ...]:
    return row.id, row.suite.casefold(), row.profile.casefold()


def _identity(row: Row) -> object:
    """Return what two rows have in common that are one cell."""
    return row.id, row.task, row.pruner, row.sparsity, row.seed, row.labels.get("run"), outcome(row)


def outcome(row: Row) -> object:
    """Return what two rows of one cell have in common if it ended alike."""
    return row.values.get(row.judged.metric.name), row.values.get("sparsity_weights")


def of_suite(rows: Iterable[Row], suite: Suite, device: str) -> list[Row]:
    """Return the rows with this suite's recipe and settings: a folder may hold other profiles and what ``--set`` tried."""
    make, known = cell_maker(suite, device), _usable(suite)
    planned = {cell.id: cell.method for cell in cells(suite, device)}
    mine = []
    for row in rows:
        alike = row.task in suite.tasks and row.pruner.casefold() in known
        if row.id in planned or (alike and make(row.task, row.pruner, row.sparsity, row.seed).id == row.id):
            name = planned.get(row.id, row.pruner)  # another suite may have another name for it
            labels = {**row.labels, "suite_title": f"{suite.title} ({suite.name})"}
            mine.append(replace(row, suite=suite.name, profile=suite.profile, pruner=name, labels=labels))
    return mine


def as_suite(rows: Iterable[Row], suite: Suite) -> list[Row]:
    """Return what suites share as this one's cells, by its names, on whatever device they trained; each that ended alike once."""
    found: dict[object, Row] = {}
    apart: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        apart[str(row.config.get("device", "cpu"))].append(row)
    for device, own in apart.items():
        for row in of_suite(own, suite, device):
            found.setdefault((row.id, outcome(row)), row)
    return list(found.values())


def _usable(suite: Suite) -> set[str]:
    """Return the names of variants and pruners that load: somebody else's, not asked for here, may be broken."""
    known = set()
    for name in (*pruners().names(), *suite.variant):
        with suppress(Exception):
            suite.method(name)
            known.add(name.casefold())
    return known


def of_other_data(rows: Iterable[Row], planned: Sequence[Cell]) -> list[Row]:
    """Return the finished cells that are some of those planned but for the data they read: none may stand for the other."""
    ids, alike = {cell.id for cell in planned}, {_but_for_data(cell.config) for cell in planned if cell.data}
    return [row for row in rows if row.status != "failed" and row.id not in ids and _but_for_data(row.config) in alike]


def _but_for_data(config: Mapping[str, object]) -> str:
    return json.dumps({**config, "data": ""}, sort_keys=True)


def groups(rows: Iterable[Row]) -> list[Group]:
    """Return the groups of finished cells that may be compared, sorted by suite, profile and task."""
    ended = _spelled([row for row in sound(rows) if row.status == "done" or diverged(row)])
    found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    texts: dict[object, str] = {}
    for row in {_identity(row): row for row in ended}.values():
        found[row.suite, row.profile, row.task, _shared_text(row, texts)].append(row)
    made = []
    for key in sorted(found):
        for rows_of_one in _by_run(found[key]):
            runs = tuple(sorted({run for row in rows_of_one if (run := row.labels.get("run"))}))
            mine = _named_apart([row for row in rows_of_one if branch(row) is None])
            branched = tuple(row for row in rows_of_one if branch(row) is not None and row.status == "done")
            if done := tuple(row for row in mine if row.status == "done"):
                lost = tuple(row for row in mine if row.status != "done")
                made.append(Group(done, _shared(done[0]), runs, branched=branched, diverged=lost))
    return _labelled(made)


def diverged(row: Row) -> bool:
    """Return whether a cell came to no end because its weights were finite numbers no more."""
    return row.status == "failed" and reason.diverged(row.error)


def apart(rows: Iterable[Row]) -> list[str]:
    """Return in a line each which rows of a task are not comparable."""
    alike: defaultdict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups(rows):
        alike[group.rows[0].profile, _title(group)].append(group)
    found = []
    for some in alike.values():
        what = f"{some[0].rows[0].labels['task_title']}, {some[0].rows[0].profile}"
        if some[1:]:
            parts = "; ".join(f"{len(one.rows)} cells, {one.label}" for one in some[:TOLD])
            more = f"; and {len(some) - TOLD} more" if some[TOLD:] else ""
            found.append(f"{what}: {len(some)} groups are not comparable, and stand apart: {parts}{more}")
    return [plain(line) for line in found]


def mixed(rows: Sequence[Row]) -> str:
    """Return which versions, on which numbers may depend, rows that are compared were trained with, if those are several."""
    seen = {name: sorted({row.versions[name] for row in rows if name in row.versions}) for name in VERSIONS}
    told = " and ".join(f"of {name} {' and '.join(some)}" for name, some in seen.items() if some[1:])
    said = [f"cells {told} are compared with each other."] if told else []
    for what, named in (("pruner", {row.pruner for row in rows}), ("task", {row.task for row in rows})):
        codes = {name: {row.versions.get(what, "") for row in rows if getattr(row, what) == name} for name in sorted(named)}
        changed = ", ".join(name for name, some in codes.items() if len(some) > 1)
        said += [f"the code of {changed} is not the same in all cells that are compared."] if changed else []
    return plain(" ".join(said))


def unlike(rows: Iterable[Row]) -> list[str]:
    """Return in a sentence each what costs of rows that are compared differ by beside pruning: machines, meters, prices."""
    rows = list(rows)
    timed = [row for row in rows if SOLO & row.values.keys()]
    machines = sorted({", ".join(filter(None, (row.machine.get("cpu"), row.machine.get("gpu")))) for row in timed})
    engines = {bool(row.config.get("fleet")) for row in timed}
    meters, countries, prices = (
        sorted({row.machine[name] for row in some if row.machine.get(name)})
        for name, some in (("energy_method", timed), ("country", rows), ("price_per_hour", rows))
    )
    told = (
        (machines, f"costs were measured on {len(machines)} machines: {'; '.join(machines)}."),
        (engines, "costs are of fleets of one in some cells, and of agents that trained without a fleet in others."),
        (meters, f"energy was measured in {len(meters)} ways: {'; '.join(meters)}."),
        (countries, f"CO₂ is that of the energy of {' in some cells and of '.join(countries)} in others."),
        (prices, f"money is at USD an hour of {' in some cells and of '.join(prices)} in others."),
    )
    return [plain(said) for some, said in told if len(some) > 1]


def flat(table: object, inside: str = "") -> dict[str, object]:
    """Return nested tables as one, its names dotted."""
    found: dict[str, object] = {}
    for name, value in table.items() if isinstance(table, Mapping) else ():
        found |= flat(value, f"{inside}{name}.") if isinstance(value, Mapping) else {f"{inside}{name}": value}
    return found


def settings(row: Row) -> dict[str, object]:
    """Return what the pruner of a cell was set to."""
    return flat(row.config.get("settings"))


def alike(rows: Iterable[Row]) -> dict[object, Row]:
    """Return one row of all that hold the settings of one pruner, by what tells these apart; rows have to be held meanwhile."""
    found: dict[object, Row] = {}
    for row in rows:
        found.setdefault(_set(row), row)
    return found


def _set(row: Row) -> object:
    return repr(row.config.get("pruner")), id(row.config.get("settings"))


def branch(row: Row) -> int | None:
    """Return the epoch from whose end a cell trained two copies; None for an ordinary cell."""
    epoch = row.config.get("branch")
    return epoch if isinstance(epoch, int) else None


def _spelled(rows: Sequence[Row]) -> list[Row]:
    """Give names that differ in case alone one spelling, the most frequent."""
    spelling: dict[tuple[str, str], str] = {}
    for part in ("suite", "profile", "task", "pruner"):
        counts = Counter[str](getattr(row, part) for row in rows)
        spelling |= {(part, name.casefold()): name for _, name in sorted((count, name) for name, count in counts.items())}
    return [_respelled(row, spelling) for row in rows]


def _respelled(row: Row, spelling: Mapping[tuple[str, str], str]) -> Row:
    right = {part: spelling[part, getattr(row, part).casefold()] for part in ("suite", "profile", "task", "pruner")}
    return row if all(getattr(row, part) == name for part, name in right.items()) else replace(row, **right)  # type: ignore[arg-type]


def _shared(row: Row) -> dict[str, object]:
    own = {name: value for name, value in row.config.items() if name not in (*OF_A_CELL, "recipe", "task")}
    return flat(row.config.get("recipe")) | flat(own) | {name: row.labels[name] for name in OF_DATA if name in row.labels}


def _shared_text(row: Row, known: dict[object, str]) -> str:
    """Return ``_shared`` as text, made once for all rows that hold one recipe; they have to be held meanwhile."""
    own = (part for part in row.config.items() if part[0] not in (*OF_A_CELL, "recipe", "task"))
    key = id(row.config.get("recipe")), repr((*own, *(row.labels.get(name) for name in OF_DATA)))
    if key not in known:
        known[key] = _as_text(_shared(row))
    return known[key]


def _as_text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _by_run(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows together, or run by run where two runs have the same cell."""
    runs = sorted({row.labels.get("run", "") for row in rows})
    if len(runs) < 2:
        return [list(rows)]
    cells = {(row.pruner, _as_text(settings(row)), row.sparsity, row.seed) for row in rows}
    if len(cells) == len(rows):
        return [list(rows)]
    return [[row for row in rows if row.labels.get("run", "") == run] for run in runs]


def _named_apart(rows: Sequence[Row]) -> list[Row]:
    """Give a pruner that has several settings a name for each, and a seed that was trained twice two names, too."""
    named: list[Row] = []
    for pruner in sorted({row.pruner for row in rows}):
        mine = [row for row in rows if row.pruner == pruner]
        kinds = alike(mine)
        facts = [{"of": row.config.get("pruner"), **settings(row)} for row in kinds.values()]
        facts = [{**{name: it for name, it in LATER.items() if any(name in one for one in facts)}, **one} for one in facts]
        words = dict(zip(kinds, in_words(facts), strict=True))
        named += [replace(row, pruner=shortened(f"{pruner}, {told}")) if (told := words[_set(row)]) else row for row in mine]
    for way in (company, _id):
        cells = Counter((row.pruner, row.sparsity, row.seed) for row in named)
        twice = {pruner for (pruner, _, _), count in cells.items() if count > 1}
        named = [replace(row, pruner=shortened(f"{row.pruner}, {way(row)}")) if row.pruner in twice else row for row in named]
    return sorted(named, key=lambda row: (row.pruner, row.sparsity, row.seed))


def company(row: Row) -> str:
    """Return in words whether a cell trained with others."""
    return "in a fleet" if row.config.get("fleet") else "alone"


def _id(row: Row) -> str:
    return row.id


def in_words(facts: Sequence[Mapping[str, object]]) -> list[str]:
    """Return for each of some facts the values in which they differ, in words; nothing where all agree.

    Where these are many, and every one differs from most others in something, that alone is told.
    """
    names = list(dict.fromkeys(name for one in facts for name in one))
    texts = {name: [_as_text(one.get(name, ...)) for one in facts] for name in names}
    differing = [name for name in names if len({*texts[name]}) > 1]
    if len(differing) > TOLD:
        usual = {name: Counter(texts[name]).most_common(1)[0][0] for name in differing}
        odd = [[name for name in differing if texts[name][place] != usual[name]] for place in range(len(facts))]
        told = [", ".join(filter(None, (_told(one, name) for name in own))) for one, own in zip(facts, odd, strict=True)]
        if all(told) and len({*told}) == len(told) and max(map(len, odd)) <= TOLD:
            return told
    more = f" and {len(differing) - TOLD} more" if len(differing) > TOLD else ""
    words = [", ".join(filter(None, (_told(one, name) for name in differing[:TOLD]))) + more for one in facts]
    kinds: defaultdict[str, list[str]] = defaultdict(list)  # what differs in what is not told has a number
    for place, one in enumerate(facts if more else ()):
        alike, text = kinds[words[place]], _as_text([one.get(name, ...) for name in differing])
        alike += [text] if text not in alike else []
        words[place] += f" ({alike.index(text) + 1})" if alike.index(text) else ""
    return words


def _told(facts: Mapping[str, object], name: str) -> str:
    if name == "":
        return str(facts[name])
    if name in facts:
        return f"{name} left out" if facts[name] is None and name in LATER else f"{name} {_plain(facts[name])}"
    return f"{name} unknown"


def _plain(value: object) -> str:
    return plain(value if isinstance(value, str) else _as_text(value))


def _labelled(made: Sequence[Group]) -> list[Group]:
    """Label groups of one task and profile by what differs."""
    alike: defaultdict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in made:
        alike[group.rows[0].profile, _title(group)].append(group)
    labels: dict[int, str] = {}
    for some in alike.values():
        facts = [{"": " + ".join(one.runs), "suite": one.rows[0].suite, "task": one.rows[0].task, **one.shared} for one in some]
        seen = Counter[str]()
        for one, told in zip(some, in_words(facts), strict=True):
            seen[told] += 1
            labels[id(one)] = shortened(told if seen[told] == 1 else f"{told}, {seen[told]}".lstrip(", "), 120)
    return [replace(group, label=labels[id(group)]) for group in made]


def _title(group: Group) -> str:
    return max(row.labels["task_title"] for row in group.rows).casefold()
