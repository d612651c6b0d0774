"""Results as other tools read them: rliable scores by seed and task, openrlbenchmark learning curves."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rlprune.report.comparable import TOLD
from rlprune.report.curves import Comparison, comparisons, normalisable, normalised, percent, position, stacked
from rlprune.rows import Row
from rlprune.stats import FloatArray


def to_rliable(rows: Iterable[Row], tell: Callable[[str], object]) -> bytes:
    """Return an ``.npz`` of the normalised metric: ``dict(numpy.load(FILE))`` is what rliable calls a score dictionary.

    A name is a pruner and its sparsity; its array has a line a seed and a column a task.

    Args:
        rows: of one run or of several.
        tell: called with a line on what the columns are, and on each thing that is left out.

    Raises:
        ValueError: no task states both anchors, one is there twice, or no pruner is in all of them.
    """
    found = comparisons(rows)
    over = normalisable(found)
    if not over:
        counts = Counter(one.task for one in found)
        if twice := [task for task, count in counts.items() if count > 1]:
            raise ValueError(f"{', '.join(twice)} is there of several profiles, recipes or runs: rliable takes a task once")
        raise ValueError(f"{', '.join(counts) or 'no finished cell'}: no task states both a random and a dense anchor")
    several = len({one.profile for one in over}) > 1
    tell(f"columns: {', '.join(f'{one.task} ({one.profile})' if several else one.task for one in over)}")
    if left := [one.title for one in found if one not in over]:
        tell(f"left out: {', '.join(left)}, without a random and a dense anchor that differ")
    scores: dict[str, FloatArray] = {}
    some, seldom = [], []
    for name, pruner, sparsity in dict.fromkeys(line for one in over for line in _lines(one)):
        tasks = [one for one in over if pruner in one.pruners]
        values = normalised(tasks, pruner, sparsity)
        seeds = sorted(set.intersection(*map(set, values))) if len(tasks) == len(over) else []
        if seeds:
            scores[name] = np.array([[of_task[seed] for of_task in values] for seed in seeds])
        seldom += [] if seeds else [name]
        some += [name] if seeds and any(len(of_task) > len(seeds) for of_task in values) else []
    if seldom:
        tell(f"left out, not finished in all tasks: {_first(seldom)}")
    if some:
        tell(f"left out, seeds that not all tasks have: of {_first(some)}")
    if not scores:
        raise ValueError("no pruner has a seed that is finished in all tasks")
    packed = io.BytesIO()
    np.savez(packed, **scores)  # type: ignore[arg-type]
    return packed.getvalue()


def to_openrlbenchmark(rows: Iterable[Row]) -> str:
    """Return learning curves as CSV, a line an epoch, under the names that openrlbenchmark and CleanRL give their columns.

    Raises:
        ValueError: no cell has a learning curve.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("exp_name", "env_id", "seed", "global_step", "charts/episodic_return"))
    lines = 0
    compared = [one for one in comparisons(rows) if one.curve.name.startswith("return")]
    several = Counter(one.task for one in compared)
    for one in compared:
        which = f" ({', '.join(filter(None, (one.profile, one.label)))})" if several[one.task] > 1 else ""
        for name, pruner, sparsity in _lines(one):
            for row in one.cells(pruner, sparsity):
                (samples,), (values,) = stacked([row], position(one), one.curve.name)
                for at, value in zip(samples, values, strict=True):
                    if np.isfinite(value) and np.isfinite(at):
                        writer.writerow((f"{name}{which}", row.task, row.seed, f"{at:.0f}", repr(one.curve.scale * float(value))))
                        lines += 1
    if not lines:
        raise ValueError("no finished cell has a learning curve of returns")
    return text.getvalue()


def _first(names: Sequence[str]) -> str:
    return "; ".join(names[:TOLD]) + (f"; and {len(names) - TOLD} more" if names[TOLD:] else "")


def _lines(one: Comparison) -> list[tuple[str, str, float]]:
    """Return name, pruner and sparsity of all that was run; what removes nothing has its own name."""
    return [
        (f"{pruner}, {percent(sparsity)}" if sparsity else pruner, pruner, sparsity)
        for pruner in one.pruners
        for sparsity in (one.sparsities if one.cut(pruner) != "nothing" else [0.0])
        if one.cells(pruner, sparsity)
    ]
