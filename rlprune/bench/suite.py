"""A suite, by its name or its file, under one of its profiles. All its mistakes are told at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rlprune.bench.checks import located, matrix_problems, misplaced, profile_mistakes, table_problems
from rlprune.bench.contents import PROFILES, Suite
from rlprune.bench.mistakes import Mistake, SuiteError
from rlprune.bench.source import (
    File,
    Layer,
    Table,
    files_of,
    layers_of,
    list_of,
    merge,
    number_of,
    override,
    seeds_of,
    spell,
    spread_out,
    suites,
    table_of,
    words_of,
)
from rlprune.data.fingerprint import fingerprint
from rlprune.safely import fault
from rlprune.task import tasks
from rlprune.words import Keys

OPTIONS = ("tasks", "pruners", "sparsities", "seeds", "engine")
"""Keys of a suite that have an option of the command line."""


def load_suite(
    name: str,
    profile: str = "quick",
    overrides: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Suite:
    """Read and validate a suite.

    Args:
        name: of a suite, or a path to a TOML file.
        profile: one of its profiles; ``quick`` where it has none is the file as it stands.
        overrides: ``key=value``: the key dotted as in the file, the value as TOML writes it, or plain text.
        options: those of ``OPTIONS`` as the command line gives them.
        folder: where data sets are.

    Raises:
        SuiteError: everything that is wrong.
    """
    files = files_of(name)
    own = files[-1].path
    mistakes = list(profile_mistakes(files, profile))
    if why := fault(own.stem):
        mistakes.append(Mistake(str(own), "", f"results and figures are named after the file: {why}"))
    layers = layers_of(files, profile)
    if profile == "smoke" and not _declares(files, profile):
        layers.append(_small(layers))
    for text in overrides:
        try:
            layers.append(Layer(override(text), option=f"--set {text}"))
        except SuiteError as error:
            mistakes += error.mistakes
    chosen: tuple[int, ...] = ()
    for option, value in (options or {}).items():
        if option == "seeds" and isinstance(number_of(value), str) and set(value) & set(",-"):
            try:
                chosen = seeds_of(value)
            except ValueError as error:
                mistakes.append(Mistake("--seeds", "", str(error)))
            value = str(len(chosen) or 1)
        words = spell({option: words_of(value, plain=option in ("seeds", "engine"))})
        layers.append(Layer(words, option=f"--{option}"))
    mistakes += misplaced(layers)
    layers = _heard(layers)
    spread, origins = spread_out(spell(merge(*(layer.data for layer in layers))))
    merged = spell(spread)
    problems: dict[Keys, str] = {}
    for keys, message in table_problems(merged):
        problems.setdefault(keys, message)
    mistakes += [located(keys, message, origins, layers) for keys, message in problems.items()]
    if mistakes:
        raise SuiteError(mistakes)
    named = suites().get(own.stem.casefold())
    about = {"name": own.stem, "profile": profile, "folder": str(folder or ""), "chosen": chosen}
    about["file"] = "" if named and named.resolve() == own.resolve() else str(own)
    suite = Suite.model_validate({**merged, **about})
    given = options or {}
    changes: Table = {"tasks": suite.data_tasks} if folder and suite.data_tasks and "tasks" not in given else {}
    if "sparsities" in given:  # the command line's are for every task
        changes["task_sparsities"] = {}
    suite = suite.model_copy(update=changes)
    if wrong := [located(keys, message, origins, layers) for keys, message in matrix_problems(suite)]:
        raise SuiteError(wrong)
    return suite


def load_profiles(name: str) -> list[Suite]:
    """Return a suite under every profile it has; one that declares none but this has ``smoke``.

    Raises:
        SuiteError: everything that is wrong with any of them.
    """
    declared = {"smoke", *(profile for file in files_of(name) for profile in table_of(file.profiles))}
    found, mistakes = [], []
    for profile in PROFILES:
        if profile == "quick" or profile in declared:
            try:
                found.append(load_suite(name, profile))
            except SuiteError as error:
                mistakes += error.mistakes
    if mistakes:
        raise SuiteError(mistakes)
    return found


def with_fingerprints(suite: Suite) -> Suite:
    """Return the suite with a fingerprint of the data and the checkpoint that each of its tasks reads.

    Raises:
        SuiteError: data that cannot be read.
    """
    recipes = {task.name: suite.recipe_for(task) for task in map(tasks().load, suite.tasks)}
    wanted = {task: (recipe.reads, recipe.starts_from) for task, recipe in recipes.items() if recipe.reads or recipe.starts_from}
    try:
        taken = {what: fingerprint(what[0], Path(suite.folder), what[1]) for what in set(wanted.values())}
    except ValueError as error:
        raise SuiteError([Mistake("--data", "", str(error))]) from None
    return suite.model_copy(update={"fingerprints": {task: taken[what] for task, what in wanted.items()}})


def _heard(layers: Sequence[Layer]) -> list[Layer]:
    """Let what ``--set recipe.KEY`` says be so for every task: below it no task has a value of its own."""
    said = {key for layer in layers if layer.option.startswith("--set") for key in table_of(spell(layer.data).get("recipe"))}

    def without(layer: Layer) -> Layer:
        own = {
            name: {key: value for key, value in table.items() if key not in said} if isinstance(table, dict) else table
            for name, table in table_of(layer.data.get("task")).items()
        }
        return replace(layer, data={**layer.data, "task": own})

    return [without(one) if said and "task" in one.data and not one.option.startswith("--set") else one for one in layers]


def _declares(files: Sequence[File], profile: str) -> bool:
    return any(profile in table_of(file.profiles) for file in files)


def _small(layers: Sequence[Layer]) -> Layer:
    """Return the profile ``smoke`` of a suite that has none: a seed, a sparsity, and each task's recipe shrunk.

    Where its file has a mistake nothing is made small, and the mistake is told.
    """
    spread, _ = spread_out(spell(merge(*(layer.data for layer in layers))))
    table = spell(spread)
    if any(True for _ in table_problems(table)):
        return Layer({}, option="--profile")
    small: Table = {"seeds": 1, "sparsities": list_of(table.get("sparsities"))[:1]}
    small["task_sparsities"] = {name: list_of(own)[:1] for name, own in table_of(table.get("task_sparsities")).items()}
    small["branches"] = [0] if table.get("branches") else []
    small["task"] = {}
    for name in (*list_of(table.get("tasks")), *list_of(table.get("data_tasks"))):
        recipe = (
            tasks()
            .load(name)
            .settings(merge(table_of(table.get("recipe")), table_of(table_of(table.get("task")).get(name))))
            .shrunk()
        )
        small["task"][name] = recipe.model_dump(mode="json", exclude=set(recipe.derived), exclude_none=True)
    return Layer({key: value for key, value in small.items() if value}, option="--profile")
