"""One cell, as people and programs read it, with the command that trains it alone again."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from rlprune.again import command
from rlprune.bench.progress import duration, named
from rlprune.costs import provenance
from rlprune.costs.measures import CATALOGUE, Measure, alone
from rlprune.pruning.pruner import pruners
from rlprune.reason import reason
from rlprune.report.comparable import flat, settings
from rlprune.report.sound import sound
from rlprune.report.tables import number
from rlprune.rows import Identity, Row
from rlprune.run import columns
from rlprune.safely import plain
from rlprune.store import Store
from rlprune.task import tasks
from rlprune.words import nearest, share_meant, shown

TOLD = 6
"""Most cells that are listed where several are meant."""

ALWAYS = ("scope", "start")
"""Settings that are told even where nobody chose them: what is compared most often depends on them."""


def found(store: Store, words: Sequence[str]) -> Row:
    """Return the one cell that is meant: by the first digits of its id, or by pruner, sparsity, seed and perhaps task.

    Raises:
        LookupError: there is none, or more than one, or it is damaged; the message says what there is.
    """
    known = store.identities()
    if not known:
        raise LookupError("no cell has ended yet; rlprune status says where its run stands")
    if len(words) == 1:
        cells = [one for one in known if one.id.casefold().startswith(words[0].casefold())]
    else:
        pruner, sparsity, seed, *task = map(str.casefold, (*words, "")[: max(3, len(words))])
        if len(words) not in (3, 4) or not seed.isdecimal() or (share := _share(sparsity)) is None:
            raise LookupError(f"got {shown(' '.join(words))}; name a cell by its id, or by PRUNER SPARSITY SEED [TASK]")
        cells = [
            one for one in known if (one.pruner.casefold(), str(one.seed)) == (pruner, seed) and abs(one.sparsity - share) < 1e-9
        ]
        cells = [one for one in cells if not task or [one.task.casefold()] == task]
    if not cells:
        there = _there(known, words[0]) + share_meant(_share(words[1])) if words[1:] else _named(known, words[0])
        raise LookupError(f"none of its {len(known):,} cells is {shown(' '.join(words))}{there}")
    if cells[1:]:
        more = f"; and {len(cells) - TOLD:,} more" if cells[TOLD:] else ""
        raise LookupError(f"{shown(' '.join(words))} is {len(cells):,} cells: {'; '.join(_told_apart(cells[:TOLD]))}{more}")
    if not (rows := store.rows([cells[0].id])):  # which has told what of it is
        raise LookupError(f"{cells[0].id} is damaged, and cannot be shown")
    return sound(rows)[0]


def _there(known: Sequence[Identity], pruner: str) -> str:
    """Say which cells there are of a pruner, or which pruners."""
    own = [one for one in known if one.pruner.casefold() == pruner.casefold()]
    if not own:
        names = sorted({one.pruner for one in known})
        return plain(nearest(pruner, names) or f"; its pruners: {', '.join(names)}")
    shares, seeds = sorted({one.sparsity for one in own}), sorted({one.seed for one in own})
    told = f"tasks {', '.join(sorted({one.task for one in own}))}; sparsities {', '.join(f'{share:g}' for share in shares)}"
    return plain(f"; of {own[0].pruner} there are: {told}; seeds {', '.join(map(str, seeds))}")


def _named(known: Sequence[Identity], word: str) -> str:
    """Say what else has to be named where an id was looked for and this is a pruner's name."""
    own = any(one.pruner.casefold() == word.casefold() for one in known)
    return f", an id; name a cell of a pruner by PRUNER SPARSITY SEED{_there(known, word)}" if own else ""


def _share(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _told_apart(cells: Sequence[Identity]) -> Iterator[str]:
    """Yield the ids of cells, each with what tells it from the others: no more facts than it takes."""
    facts = [{"task": one.task, "pruner": one.pruner, "profile": one.profile, **flat(one.config)} for one in cells]
    keys: list[str] = []
    told: list[str] = [""] * len(facts)
    for key in dict.fromkeys(key for one in facts for key in one):
        more = [f"{words}, {shown(one.get(key))}" for words, one in zip(told, facts, strict=True)]
        if len({*more}) > len({*told}):
            keys, told = [*keys, key], more
    for one, own in zip(cells, facts, strict=True):
        yield plain(f"{one.id} ({', '.join(f'{key} {_value(own[key])}' for key in keys if key in own)})")


def shown_as(row: Row, folder: Path, *, json: bool) -> str:
    """Return all about a cell of a run: in words, or as JSON."""
    about = _about(row, folder)
    return _document(about) if json else "\n".join(_told(row, about))


def _document(about: Mapping[str, Any]) -> str:
    return json.dumps(about, indent=2, default=str)


def _about(row: Row, folder: Path) -> dict[str, Any]:
    names = ("id", "suite", "profile", "task", "pruner", "cut", "sparsity", "seed", "status", "error", "started", "ended")
    files = sorted(str(file) for file in (folder / "checkpoints").glob(f"{row.id}.*")) if folder.is_dir() else []
    about = {name: getattr(row, name) for name in names}
    about |= {name: dict(getattr(row, name)) for name in ("labels", "config", "versions", "machine")}
    about["changed"] = {name: dict(zip(("is", "default"), both, strict=True)) for name, both in _changed(row).items()}
    about["today"] = dict(_elsewhere(row))
    about["measures"] = [
        {
            "name": one.name,
            "heading": one.heading,
            "shown": _short(row.values[one.name] * one.scale),
            "value": row.values[one.name],
        }
        for one in _measures(row)
    ]
    about |= {"layers": {name: dict(layer) for name, layer in row.layers.items()}, "epochs": list(row.epochs), "files": files}
    try:
        about["again"] = shlex.join(command(row, f"results/{row.id}"))
    except ValueError as error:
        about |= {"again": None, "why": str(error)}
    return about


def _changed(row: Row) -> dict[str, tuple[object, object]]:
    """Return the settings and the fields of the recipe that are not the pruner's and the task's own, with those."""
    recipe: dict[str, object] = {}
    own: dict[str, object] = {}
    with suppress(Exception):  # they may be somebody else's, and not here
        task, pruner = tasks().load(row.task), pruners().load(str(row.config["pruner"]))
        recipe = flat(task.recipe.model_dump(mode="json"))
        own = flat(pruner.settings().model_dump(mode="json"))
        own["scope"] = own.get("scope") or pruner.scope or task.scope
        own["start"] = pruner.starts(task.recipe.start)
    here, there = settings(row), flat(row.config.get("recipe"))
    here = {"start": "kept", **here} if "scope" in here else here  # left out where it is kept
    found = {name: (here[name], own.get(name)) for name in here if here[name] != own.get(name)}
    return found | {f"recipe.{name}": (there[name], recipe.get(name)) for name in there if there[name] != recipe.get(name)}


def _elsewhere(row: Row) -> Iterator[tuple[str, str]]:
    """Yield what numbers may depend on and is not what it was: the processor and its library of products first, then versions.

    A last digit is enough for an agent to play other games, and a chaotic one to end elsewhere.
    """
    here = {"cpu": provenance.machine()["cpu"]}
    with suppress(Exception):  # its task may be somebody else's, and not here
        recipe = tasks().load(row.task).recipe
        here |= recipe.machine(fleet=bool(row.config.get("fleet")), device=str(row.config.get("device", "cpu")))
    for then, now in ((row.machine, here), (row.versions, provenance.versions())):
        yield from ((name, text) for name, text in now.items() if then.get(name, text) != text)


def _measures(row: Row) -> Iterator[Measure]:
    """Yield what was measured: what the cell is judged by, then as the catalogue has it, then what nobody knows."""
    first = (row.judged.metric, *row.judged.also, row.judged.curve)
    known = {one.name: one for one in (*reversed(CATALOGUE), *first[::-1])}
    order = dict.fromkeys((*(one.name for one in (*first, *CATALOGUE)), *sorted(row.values)))
    return (known.get(name, Measure(name, name)) for name in order if name in row.values)


def _told(row: Row, about: Mapping[str, Any]) -> Iterator[str]:
    yield plain(f"{named(row)}: {row.status}")
    yield columns([[name, text] for name, text in _facts(row, about) if text])
    if about["measures"]:
        heads = [["measured", "", "recorded as", ""]]
        lines = [[one["heading"], one["shown"], one["name"], repr(one["value"])] for one in about["measures"]]
        yield "\n" + columns([*heads, *lines])
    if row.layers:
        lines = [
            [name, f"{layer['kept']:,.0f}", f"{layer['dense']:,.0f}", f"{100 * (1 - layer['kept'] / layer['dense']):.4g} %"]
            for name, layer in row.layers.items()
        ]
        yield "\n" + columns([["layer", "kept", "of", "removed"], *lines])
    if any("sparsity" in epoch or "trigger" in epoch for epoch in row.epochs):
        yield "\n" + columns([["trained epochs", "removed at the end", "trigger"], *_pruning(row.epochs)])
    if row.error and "\n" in row.error:
        yield "\n" + "\n".join(map(plain, row.error.splitlines()[1:]))
    if about["again"]:
        yield f"\nalone again:\n  {plain(about['again'])}"
    else:
        yield plain(f"\nno command trains it again here: {about['why']}")
    then = {**row.versions, **row.machine}
    if told := "; ".join(f"{name} {then[name]} then, {now} now" for name, now in about["today"].items()):
        yield plain(f"numbers may be others here: {told}")


def _facts(row: Row, about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    of, config = row.config.get("pruner"), row.config
    changed = {
        name: f"{name.removeprefix('recipe.')} {_value(both['is'])} (default {_value(both['default'])})"
        for name, both in about["changed"].items()
    }
    rest = [f"{name} {_value(value)}" for name, value in flat(config.get("recipe")).items() if f"recipe.{name}" not in changed]
    versions = {name: text for name, text in row.versions.items() if name != "commit"}
    yield "id", row.id
    yield "why", reason(row.error) if row.status != "done" else ""
    yield "suite", f"{row.labels.get('suite_title', row.suite)}, profile {row.profile}"
    yield "task", f"{row.labels['task_title']} ({row.task})"
    yield "pruner", f"{row.pruner}, cuts {row.cut}" + (f", a variant of {of}" if of not in (row.pruner, None) else "")
    chosen = [told for name, told in changed.items() if not name.startswith("recipe.")] or ["all by default"]
    chosen += [f"{name} {_value(value)}" for name, value in settings(row).items() if name in ALWAYS and name not in changed]
    yield "settings", ", ".join(chosen)
    yield "recipe", ", ".join([*(told for name, told in changed.items() if name.startswith("recipe.")), *rest])
    company = ("in a fleet of one" if config.get("fleet") else "alone") if alone(config, row.values) else "in a fleet"
    yield "trained", f"{company}, on {config.get('device', row.labels.get('device'))}"
    yield "data", ", ".join(filter(None, (row.labels.get("folder"), row.labels.get("data"))))
    yield "when", f"{row.started} to {row.ended}{_lasted(row)}"
    yield "commit", row.versions.get("commit", "")
    yield "versions", ", ".join(f"{name} {text}" for name, text in versions.items())
    yield "machine", ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in row.machine.items())
    yield "network", ", ".join(about["files"]) or "not here"


def _lasted(row: Row) -> str:
    with suppress(ValueError, TypeError):
        return f", {duration((datetime.fromisoformat(row.ended) - datetime.fromisoformat(row.started)).total_seconds())}"
    return ""


def _pruning(epochs: Sequence[Mapping[str, float]]) -> Iterator[list[str]]:
    """Yield how much was removed when, neighbours that are alike in one line."""
    for (removed, trigger), some in groupby(epochs, lambda epoch: (epoch.get("sparsity"), epoch.get("trigger"))):
        numbers = [f"{epoch['trained']:.0f}" for epoch in some]
        span = numbers[0] if not numbers[1:] else f"{numbers[0]} to {numbers[-1]}"
        yield [span, "" if removed is None else f"{100 * removed:.4g} %", "" if trigger is None else f"{trigger:.6g}"]


def _short(value: float) -> str:
    """Return a value as tables show it, a whole number as one."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1000 else number(value)


def _value(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else shown(value)
