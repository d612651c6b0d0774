"""Results as tables for pandas, as reports count them: a cell that several runs have is there once."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rlprune.report.comparable import gathered
from rlprune.rows import Row, column, table

TIMES = ("started", "ended")
WORDS = ("suite", "profile", "task", "pruner", "cut", "status")
"""Columns of few words, besides those of labels, machines and versions."""
KINDS = ("labels.", "judged.", "machine.", "versions.")


def load_results(*folders: str | Path, epochs: bool = False, layers: bool = False) -> pd.DataFrame:
    """Return what runs have stored, one line a cell; what was not measured is NaN, never zero.

    The columns are those of ``results.csv``: ``id``, ``suite``, ``profile``, ``task``, ``pruner``, ``cut``, ``sparsity``,
    ``seed``, ``status``, ``error`` (one line), ``started`` and ``ended``; every measure by its name in the catalogue; and,
    dotted, ``labels.*``, ``judged.*``, ``config.*`` (recipe and settings), ``machine.*``, ``versions.*`` (with the commit).
    Of several runs ``labels.run`` is the folder. Where one cell ended otherwise in another run, the cells of both runs are there.

    Args:
        folders: of runs, or files that ``rlprune pack`` wrote.
        epochs: one line a cell and trained epoch in their place, with the ``id`` of the cell and what epochs measure.
        layers: one line a cell and layer in their place, with the ``id`` of the cell, ``layer``, ``kept`` and ``dense``.

    Raises:
        ValueError: a folder has no results, or they cannot be read.
    """
    if not folders or (epochs and layers):
        raise ValueError("name a folder of results" if not folders else "one table at a time: epochs or layers")
    rows = gathered(list(map(Path, folders)))
    done = Counter((row.id, row.suite, row.profile) for row in rows if row.status == "done")  # suites may share a cell
    if twice := [cell for cell, runs in done.items() if runs > 1]:
        said = "1 cell is" if len(twice) == 1 else f"{len(twice)} cells are"
        warnings.warn(
            f"{said} there more than once: not all ended alike in these runs; labels.run tells them apart", stacklevel=2
        )
    return _epochs(rows) if epochs else _layers(rows) if layers else _cells(rows)


def _cells(rows: Sequence[Row]) -> pd.DataFrame:
    header, lines = table(rows)
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise ValueError(f"a measure is called '{twice[0]}', which is the name of another column")
    found = pd.DataFrame(list(lines), columns=header)
    measures = sorted({name for row in rows for name in row.values})
    found = found.astype({**dict.fromkeys([*measures, "sparsity"], float), "seed": int})
    for name in TIMES:
        found[name] = pd.to_datetime(found[name], utc=True, errors="coerce", format="ISO8601")
    texts = [
        name for name in header if name in WORDS or (name.startswith(KINDS) and not pd.api.types.is_numeric_dtype(found[name]))
    ]
    return found.astype(dict.fromkeys(texts, "category"))


def _epochs(rows: Sequence[Row]) -> pd.DataFrame:
    names = dict.fromkeys(name for row in rows for epoch in row.epochs for name in epoch)
    parts = {name: [column(row.epochs, name) or [np.nan] * len(row.epochs) for row in rows] for name in names}
    numbers = {name: np.concatenate([np.array([]), *some]) for name, some in parts.items()}
    return pd.DataFrame({**_keys(rows, [len(row.epochs) for row in rows]), **numbers})


def _layers(rows: Sequence[Row]) -> pd.DataFrame:
    layers = [(name, layer) for row in rows for name, layer in row.layers.items()]
    numbers = {part: np.array([layer[part] for _, layer in layers], float) for part in ("kept", "dense")}
    return pd.DataFrame({**_keys(rows, [len(row.layers) for row in rows]), "layer": [name for name, _ in layers], **numbers})


def _keys(rows: Sequence[Row], lengths: Sequence[int]) -> dict[str, object]:
    """Return which cell each line is of, and of several runs which run's."""
    keys: dict[str, object] = {"id": np.repeat(np.array([row.id for row in rows], object), lengths)}
    if any("run" in row.labels for row in rows):
        keys["labels.run"] = pd.Categorical(np.repeat(np.array([row.labels.get("run", "") for row in rows], object), lengths))
    return keys
