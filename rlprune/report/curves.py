"""Rows to what is drawn and tabulated: pure functions, no file, no figure."""

import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite, nan
from statistics import median

import numpy as np

from rlprune import safely, stats
from rlprune.costs import energy
from rlprune.costs.measures import CATALOGUE, MEASURES, Measure
from rlprune.report import comparable
from rlprune.report.dense import Against, against
from rlprune.report.printed import Printed
from rlprune.report.sound import DAMAGED
from rlprune.rows import Row, column, counts
from rlprune.stats import Estimate, FloatArray, iqm, iqm_interval, performance_profile

NETWORKS = ("actor", "critic")
"""Whose insides epochs measure; the names of these measures end with them."""

BARRIER = MEASURES["barrier"]

MANY, FEWEST = 3_000, 200
"""Seeds by epochs of a learning curve beyond which its band takes fewer resamples, and how many it takes at least."""

LONG = 1.5
"""Times the usual training beyond which figures say that a pruner trains longer."""

STABLE = 2.0
"""Percent of the metric's range below which a barrier is noise (Frankle et al., 2020, section 3)."""

# -- what is comparable ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The finished cells of one task under one suite and profile, all trained by the same recipe.

    Args:
        title: how figures name the task, what tells it from others in brackets behind it.
        metric: what pruners are judged by.
        curve: what is measured every epoch and drawn as learning curve.
        unit: unit of the budget, ``steps`` or ``epochs``.
        also: what else networks are measured by.
        anchors: metric of a random policy (``random``) and of the dense network (``dense``), as far as known.
        suite_title: what people call the suite, its name in brackets.
        shared: what all its cells have in common: fields of the recipe, the device.
        runs: folders of its rows, where there are several runs.
        label: what tells it from others of this task and profile; empty where there is no other.
        branched: cells that trained two copies of the dense network, for the barriers between them.
        lost: cells that came to no end because their weights were finite numbers no more.
    """

    suite: str
    profile: str
    task: str
    title: str
    metric: Measure
    curve: Measure
    unit: str
    also: tuple[Measure, ...]
    anchors: Mapping[str, float]
    rows: tuple[Row, ...]
    suite_title: str
    shared: Mapping[str, object]
    runs: tuple[str, ...]
    label: str
    branched: tuple[Row, ...] = ()
    lost: tuple[Row, ...] = ()

    @property
    def stem(self) -> str:
        """Return the beginning of its files' names."""
        return safely.name("-".join(filter(None, (self.suite, self.profile, self.task, self._label))))

    @property
    def _label(self) -> str:
        return re.sub(r"[^\w.]+", "-", self.label).strip("-")

    @property
    def heading(self) -> str:
        """Return how it is called: its title with its profile, once."""
        return self.title.removesuffix(f", {self.profile}") + f", {self.profile}"

    @property
    def task_title(self) -> str:
        """Return its title without the label."""
        return self.title.removesuffix(f" ({self.label})")

    @property
    def measured(self) -> str:
        """Return the metric's name as people say it: its title without what stands in brackets."""
        return self.metric.heading.partition(" (")[0]

    @cached_property
    def pruners(self) -> list[str]:
        """Return its pruners in the order of every figure and table."""
        return sorted({row.pruner for row in (*self.rows, *self.lost)}, key=order)

    @cached_property
    def sparsities(self) -> list[float]:
        """Return the requested sparsities, dense left out."""
        return sorted({row.sparsity for row in self.rows if row.cut != "nothing"})

    def heading_of(self, name: str) -> str:
        """Return what people call a measure, with its unit; its own name where it is nobody's."""
        return self.measure_of(name).heading

    def measure_of(self, name: str) -> Measure:
        """Return a measure of cells by its name; one that is nobody's is called by that."""
        return next((one for one in (self.metric, *self.also, *CATALOGUE) if one.name == name), Measure(name, name))

    def cells(self, pruner: str, sparsity: float) -> list[Row]:
        """Return a pruner's rows at one requested sparsity; one that removes nothing has the same rows at every sparsity."""
        if (found := self._cells.get((pruner, sparsity))) is None:
            some = [row for row in self._rows_of(pruner) if row.cut == "nothing" or row.sparsity == sparsity]
            found = self._cells[pruner, sparsity] = some
        return found

    @cached_property
    def _cells(self) -> dict[tuple[str, float], list[Row]]:
        return {}

    def _rows_of(self, pruner: str) -> list[Row]:
        """Return a pruner's rows; those of one that differs in case alone where none is named so."""
        named = self._by_pruner
        return named.get(pruner) or next((rows for name, rows in named.items() if name.casefold() == pruner.casefold()), [])

    @cached_property
    def _by_pruner(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.pruner, []).append(row)
        return found

    def cutting(self, cut: str) -> list[str]:
        """Return the pruners that cut ``weights``, ``channels`` or ``nothing``."""
        return [pruner for pruner in self.pruners if self.cut(pruner) == cut]

    def cut(self, pruner: str) -> str:
        """Return what a pruner cuts: ``weights``, ``channels`` or ``nothing``."""
        found = self._rows_of(pruner) or [row for row in self.lost if row.pruner == pruner]
        return found[0].cut

    def there(self, pruner: str, sparsity: float) -> bool:
        """Return whether cells of a pruner ended at one requested sparsity, or diverged beside others that ended."""
        return bool(self.cells(pruner, sparsity) or self.diverged(pruner, sparsity))

    def by_seed(self, pruner: str, sparsity: float, name: str) -> dict[int, float]:
        """Return seed to what a pruner measured at one requested sparsity, without those that measured nothing.

        One that diverged counts as ``floor`` where quality is asked for, as long as another measured it: a pruner is not good by
        the seeds that it spares.
        """
        seeds, columns = self._measured(pruner, sparsity)
        found = {seed: value for seed, value in zip(seeds, columns.get(name, ()), strict=False) if isfinite(value)}
        if name in self._qualities and (lost := self.diverged(pruner, sparsity)) and (floor := self.floor(name)) is not None:
            return dict(sorted({**found, **{seed: floor for seed in lost if seed not in found}}.items()))
        return found

    def diverged(self, pruner: str, sparsity: float) -> list[int]:
        """Return the seeds of a pruner at one requested sparsity that came to no end, or to one that is no number.

        None where nobody who removes as much came to any.
        """
        own = sparsity if self.cut(pruner) != "nothing" else 0.0
        if own not in self._ended:
            return []
        name = self.metric.name
        judged = [row for row in self.cells(pruner, sparsity) if row.judged.metric.name == name and DAMAGED not in row.labels]
        endless = [row.seed for row in judged if row.values and not isfinite(row.values.get(name, nan))]
        return sorted({*endless, *(row.seed for row in self.lost_of(pruner, own))})

    def lost_of(self, pruner: str, sparsity: float) -> list[Row]:
        """Return the rows of ``lost`` of a pruner at one requested sparsity."""
        return self._lost.get((pruner, sparsity), [])

    @cached_property
    def _lost(self) -> dict[tuple[str, float], list[Row]]:
        found: dict[tuple[str, float], list[Row]] = {}
        for row in self.lost:
            found.setdefault((row.pruner, row.sparsity), []).append(row)
        return found

    @cached_property
    def _qualities(self) -> dict[str, Measure]:
        """What networks are judged by, by its name, the metric first of all that share one."""
        return {one.name: one for one in (self.curve, *reversed(self.also), self.metric) if one.better is not None}

    @cached_property
    def _ended(self) -> set[float]:
        """The requested sparsities at which somebody measured the metric."""
        return {row.sparsity for row in self.rows if isfinite(row.values.get(self.metric.name, nan))}

    def floor(self, name: str) -> float | None:
        """Return what a seed that diverged counts as: what chance reaches, or the worst of all cells where that is worse.

        None where it counts as nothing: for what is no quality, and where nobody measured that.
        """
        if (measure := self._qualities.get(name)) is None:
            return None
        chance = [self.anchors["random"]] if self._alike(name) and "random" in self.anchors else []
        seen = [row.values[name] for row in self.rows if isfinite(row.values.get(name, nan))]
        return min([*seen, *chance], key=lambda value: measure.sign * value) if seen else None

    def seeded(self, sparsity: float, name: str) -> dict[str, dict[int, float]]:
        """Return pruner to ``by_seed`` of it at one requested sparsity, without those that measured nothing."""
        return {pruner: found for pruner in self.pruners if (found := self.by_seed(pruner, sparsity, name))}

    def values(self, sparsity: float, name: str) -> dict[str, list[float]]:
        """Return pruner to what its seeds measured at one requested sparsity, without those that measured nothing."""
        return {pruner: list(found.values()) for pruner, found in self.seeded(sparsity, name).items()}

    def _measured(self, pruner: str, sparsity: float) -> tuple[list[int], dict[str, "array[float]"]]:
        """Return seeds and, by its name, what each of them measured, NaN where it did not.

        They are put together for a few cells at a time: one measure of all cells would fetch each of them from afar.
        """
        if (pruner, sparsity) not in self._columns:
            cells = self.cells(pruner, sparsity)
            names = {name for row in cells for name in row.values if name != ENERGY}
            columns = {name: array("d", [row.values.get(name, nan) for row in cells]) for name in names}
            if "energy_cpu_joules" in names:
                columns[ENERGY] = array("d", [_energy(row) for row in cells])
            self._columns[pruner, sparsity] = [row.seed for row in cells], columns
        return self._columns[pruner, sparsity]

    @cached_property
    def _columns(self) -> dict[tuple[str, float], tuple[list[int], dict[str, "array[float]"]]]:
        return {}

    def shown(self, sparsity: float, name: str) -> dict[str, Estimate]:
        """Return ``estimates`` in the unit of the measure's heading."""
        by = self.measure_of(name).scale
        return {pruner: end.times(by) for pruner, end in self.estimates(sparsity, name).items()}

    def estimates(self, sparsity: float, name: str) -> dict[str, Estimate]:
        """Return pruner to what its seeds say of a measure at one requested sparsity; the same seeds are asked once."""
        found = {}
        for pruner, values in self.values(sparsity, name).items():
            key = pruner, 0.0 if self.cut(pruner) == "nothing" else sparsity, name
            if key not in self._estimated:
                self._estimated[key] = stats.estimate([values])
            found[pruner] = self._estimated[key]
        return found

    @cached_property
    def _estimated(self) -> dict[tuple[str, float, str], Estimate]:
        return {}

    @cached_property
    def barriers(self) -> dict[int, Estimate]:
        """Return epoch to what the seeds say of the barrier, in percent, between two copies that train on from its end."""
        found = {}
        for epoch in sorted({epoch for row in self.branched if (epoch := comparable.branch(row)) is not None}):
            if values := by_seed((row for row in self.branched if comparable.branch(row) == epoch), BARRIER.name):
                found[epoch] = stats.estimate([[BARRIER.scale * value for value in values.values()]])
        return found

    @property
    def stable(self) -> int | None:
        """Return the first epoch from which on every barrier that was measured is below ``STABLE``; None without one."""
        unstable = max((epoch for epoch, barrier in self.barriers.items() if not barrier.iqm < STABLE), default=-1)
        return next((epoch for epoch in self.barriers if epoch > unstable), None)

    @cached_property
    def longer(self) -> dict[str, float]:
        """Return the pruners that train longer than usual, those that rewind, and how many times as long; dense is usual."""
        epochs = {
            pruner: max((measure(it, "trained_epochs") or 0.0 for it in self._rows_of(pruner)), default=0.0)
            for pruner in self.pruners
        }
        dense = [*filter(None, (epochs[pruner] for pruner in self.cutting("nothing")))]
        usual = float(np.median(dense or [*filter(None, epochs.values())] or [0.0]))
        return {pruner: trained / usual for pruner, trained in epochs.items() if usual and trained > LONG * usual}

    @cached_property
    def chart(self) -> "Chart":
        """Return the metric against sparsity, one curve a pruner."""
        ends = {sparsity: self.estimates(sparsity, self.metric.name) for sparsity in (0.0, *self.sparsities)}
        return _chart(self.title, self.metric, [self], lambda pruner, sparsity: ends[sparsity].get(pruner))

    @property
    def against(self) -> Against:
        """Return its pruners against the dense network, by the metric."""
        return self.against_by(self.metric.name)

    def against_by(self, name: str) -> Against:
        """Return its pruners against the dense network, by any measure; what chance reaches is known of those like the metric."""
        if name not in self._against:
            levels = self.cutting("nothing")
            found = {
                pruner: {
                    sparsity: seeds
                    for sparsity in ([0.0] if pruner in levels else self.sparsities)
                    if (seeds := self.by_seed(pruner, sparsity, name))
                }
                for pruner in self.pruners
            }
            self._against[name] = against(found, levels, self.measure_of(name), self.anchors if self._alike(name) else {})
        return self._against[name]

    @cached_property
    def _against(self) -> dict[str, Against]:
        return {}

    def _alike(self, name: str) -> bool:
        """Return whether a measure is of the metric's kind: all returns are, but not top-1 and top-5."""
        return name.partition("_")[0] == self.metric.name.partition("_")[0]

    @cached_property
    def chart_of_dense(self) -> "Chart":
        """Return what is kept of the dense network's metric against sparsity; without curves where a share means nothing."""
        kept = self.against.pruners
        metric = Measure("of_dense", f"{self.measured}, share {self.against.unit}")
        return _chart(self.title, metric, [self], lambda pruner, sparsity: kept[pruner].at(sparsity) if pruner in kept else None)

    @cached_property
    def looks(self) -> dict[str, "Style"]:
        """Return pruner to its look, the same in all figures of this task, and no two alike."""
        return looks_of({pruner: self.cut(pruner) for pruner in self.pruners})

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """Return the smallest and the largest number of seeds that measured the metric, over pruners and sparsities."""
        groups = dict.fromkeys((row.pruner, row.sparsity) for row in self.rows)
        return span_of(len(self.by_seed(*group, self.metric.name)) for group in groups)


def stems(compared: Sequence[Comparison]) -> list[str]:
    """Return short beginnings of files' names: task and label of each, and the profile where another has these, too."""
    names = ["-".join(filter(None, (one.task, one._label))) for one in compared]
    return [name if names.count(name) == 1 else f"{name}-{one.profile}" for name, one in zip(names, compared, strict=True)]


def titled(compared: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with their profiles in their titles, where another of some other profile has the same title."""
    counts = Counter(one.title for one in compared)
    return [one if counts[one.title] == 1 else replace(one, title=one.heading) for one in compared]


def comparisons(rows: Iterable[Row]) -> list[Comparison]:
    """Return a comparison for every group of finished cells that may be compared, sorted by suite, profile and task."""
    return [_comparison(group) for group in comparable.groups(rows)]


def _comparison(group: comparable.Group) -> Comparison:
    newest = max(group.rows, key=lambda row: (bool(row.judged.metric.name), row.ended, row.id))
    judged = newest.judged
    anchors = dict(judged.anchors)
    if judged.chance and (reached := [value for row in group.rows if (value := measure(row, judged.chance)) is not None]):
        anchors["random"] = median(reached)  # one number, but for rounding
    titles = sorted({row.labels.get("suite_title", "") for row in group.rows})  # suites share cells: one may have another's
    return Comparison(
        suite=newest.suite,
        profile=newest.profile,
        task=newest.task,
        title=newest.labels["task_title"] + (f" ({group.label})" if group.label else ""),
        metric=judged.metric,
        curve=judged.curve,
        unit=judged.unit,
        also=judged.also,
        anchors={name: anchors[name] for name in ("random", "dense") if name in anchors},
        rows=group.rows,
        suite_title=next(filter(lambda title: title.endswith(f" ({newest.suite})"), titles), newest.suite),
        shared=group.shared,
        runs=group.runs,
        label=group.label,
        branched=_of_dense(group.branched),
        lost=group.diverged,
    )


def _of_dense(branched: Sequence[Row]) -> tuple[Row, ...]:
    """Return of branched cells those of the network that is called dense, where others, say variants of it, branched too."""
    dense = [row for row in branched if row.pruner.casefold() == f"dense branched at {comparable.branch(row)}"]
    return tuple(dense or branched)


# -- what was measured -------------------------------------------------------------------------------------------

ENERGY = "energy_joules"
"""What no cell measures by itself: ``energy.joules`` adds it up."""


def measure(row: Row, name: str) -> float | None:
    """Return a value of a row, or None where it was not measured or is not a number.

    ``energy_joules`` is CPU and GPU together, and unknown where a cell ran on a GPU whose energy is unknown.
    """
    value = _energy(row) if name == ENERGY else row.values.get(name, nan)
    return float(value) if isfinite(value) else None


def _energy(row: Row) -> float:
    both = energy.joules(row.values, row.labels.get("device", "cpu"))
    return nan if both is None else both


def by_seed(rows: Iterable[Row], name: str) -> dict[int, float]:
    """Return seed to value, for the rows that measured it."""
    return {row.seed: value for row in rows if (value := measure(row, name)) is not None}


# -- metric against sparsity -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A pruner at one requested sparsity.

    Args:
        reached: the mean share of weights really removed, if measured.
        values: of the seeds, where the chart is of one task's metric.
    """

    sparsity: float
    reached: float | None
    estimate: Estimate
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A pruner over its sparsities, ascending; one that removes nothing has one point, a level across the figure."""

    pruner: str
    cut: str
    points: tuple[Point, ...]

    def at(self, sparsity: float) -> Estimate | None:
        """Return what its seeds say at a sparsity; a level says the same at all."""
        found = [point.estimate for point in self.points if self.cut == "nothing" or point.sparsity == sparsity]
        return found[0] if found else None


@dataclass(frozen=True)
class Chart:
    """Curves that share an axis.

    Args:
        title: above it.
        metric: along it.
        curves: the pruners.
        longer: pruners that train longer than usual, and how many times as long.
        printed: what the paper prints, drawn beside them.
        axis: sparsities of the figure that it is a panel of, where its own curves lack some.
    """

    title: str
    metric: Measure
    curves: tuple[Curve, ...]
    longer: Mapping[str, float] = field(default_factory=dict)
    printed: tuple[Printed, ...] = ()
    axis: tuple[float, ...] = ()

    @property
    def sparsities(self) -> list[float]:
        """Return the sparsities of its axis: those of its points, levels left out, and of the figure's other panels."""
        own = (point.sparsity for curve in self.curves if curve.cut != "nothing" for point in curve.points)
        return sorted({*self.axis, *own})


def aggregate(over: Sequence[Comparison]) -> Chart | None:
    """Return the normalised metric over tasks, or None with fewer than two whose anchors are known or no sparsity in common.

    None, too, where a task is there twice: it would count twice, or two recipes as one.

    ``(x − random) / (dense − random)`` with the anchors the tasks state; strata of the bootstrap are the tasks, and
    only pruners and sparsities that every one of these tasks has are shown.
    """
    over = normalisable(over)
    if len(over) < 2:
        return None

    def end(pruner: str, sparsity: float) -> Estimate | None:
        strata = evenly(normalised(over, pruner, sparsity))
        return stats.estimate(strata) if all(strata) else None

    titles = " + ".join(one.title for one in over)
    metric = Measure("normalised", "normalised metric (random 0, dense anchor 1)")
    together = _chart(titles, metric, over, end)
    return together if any(curve.cut != "nothing" for curve in together.curves) else None


def normalisable(over: Sequence[Comparison]) -> list[Comparison]:
    """Return the tasks that state both anchors; none where a task is there twice."""
    found = [one for one in over if one.anchors.get("random") != one.anchors.get("dense") and len(one.anchors) == 2]
    return found if len({one.task for one in found}) == len(found) else []


def normalised(over: Sequence[Comparison], pruner: str, sparsity: float) -> list[dict[int, float]]:
    """Return seed to ``(x − random) / (dense − random)`` with the anchors that a task states, for each of some tasks."""
    found = []
    for one in over:
        random, dense = one.anchors["random"], one.anchors["dense"]
        values = one.by_seed(pruner, sparsity, one.metric.name)
        found.append({seed: (value - random) / (dense - random) for seed, value in values.items()})
    return found


def evenly(tasks: Sequence[Mapping[int, float]]) -> list[list[float]]:
    """Return of each task the values of as many seeds, its first, as the one with the fewest has: no task weighs more."""
    fewest = min(map(len, tasks))
    return [[values[seed] for seed in sorted(values)[:fewest]] for values in tasks]


def _chart(title: str, metric: Measure, over: Sequence[Comparison], end: Callable[[str, float], Estimate | None]) -> Chart:
    curves = []
    for pruner in over[0].pruners:
        if not all(pruner in one.pruners for one in over):
            continue
        cut = over[0].cut(pruner)
        points = []
        for sparsity in over[0].sparsities if cut != "nothing" else [0.0]:
            if (found := end(pruner, sparsity)) is not None:
                reached = [value for one in over for value in one.by_seed(pruner, sparsity, "sparsity_weights").values()]
                seeds = over[0].by_seed(pruner, sparsity, metric.name).values() if metric is over[0].metric else ()
                points.append(Point(sparsity, float(np.mean(reached)) if reached else None, found, tuple(seeds)))
        if points:
            curves.append(Curve(pruner, cut, tuple(points)))
    longer = {pruner: times for one in over for pruner, times in one.longer.items()}
    return Chart(title, metric, tuple(curves), longer)


def seed_range(curves: Iterable[Curve]) -> tuple[int, int]:
    """Return the smallest and the largest number of seeds behind any point; (0, 0) where there is none."""
    return span_of(point.estimate.seeds for curve in curves for point in curve.points)


def span_of(counts: Iterable[int]) -> tuple[int, int]:
    """Return the smallest and the largest; (0, 0) where there is none."""
    some = list(counts) or [0]
    return min(some), max(some)


def leaders(ends: Mapping[str, Estimate], sign: int) -> list[str]:
    """Return the pruners that end best by their interquartile means as tables show them, those of the better mean first."""
    most = max((sign * shown(end) for end in ends.values()), default=0.0)
    alike = [pruner for pruner, end in ends.items() if sign * shown(end) == most]
    return sorted(alike, key=lambda pruner: -sign * ends[pruner].mean)


def shown(end: Estimate) -> float:
    """Return an interquartile mean as tables show it."""
    return rounded(end.iqm)


def rounded(value: float) -> float:
    """Return a number as tables show it: three digits, and whole numbers from a thousand to a hundred thousand."""
    return float(round(value) if 1000 <= abs(value) < 1e5 else f"{value:.3g}")


def percent(sparsity: float) -> str:
    """Return a sparsity as people read it: ``95 %``."""
    return f"{100 * sparsity:.6g} %"


def count_of(seeds: tuple[int, int]) -> str:
    """Return ``10 seeds``, ``8 to 10 seeds`` or ``1 seed``."""
    low, high = seeds
    return f"{low} to {high} seeds" if low != high else f"{high} seed{'s' if high != 1 else ''}"


# -- learning curves, profiles, layers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class LearningCurve:
    """The interquartile mean over seeds after every trained epoch.

    Args:
        samples: environment steps so far (epochs trained, where the budget counts epochs), averaged over seeds.
        values: what the seeds measured, shape (seeds, epochs).
        pruned: samples at the last cut, the median over seeds; None where nothing was cut, or nobody knows when.
    """

    pruner: str
    sparsity: float
    samples: FloatArray
    values: FloatArray
    pruned: float | None = None

    @cached_property
    def iqm(self) -> FloatArray:
        """Return the curve itself, shape (epochs,)."""
        return iqm(self.values)

    @cached_property
    def band(self) -> FloatArray | None:
        """Return lower and upper end of the 95 % interval, shape (2, epochs); None for one seed. Made when it is asked for."""
        return iqm_interval([self.values], self.resamples)

    @property
    def resamples(self) -> int:
        """Return how many resamples the band is made of."""
        return int(np.clip(stats.RESAMPLES * MANY / max(1, self.values.size), FEWEST, stats.RESAMPLES))

    @property
    def seeds(self) -> int:
        """Return how many seeds it is made of."""
        return len(self.values)

    @property
    def at_cut(self) -> tuple[float, float] | None:
        """Return where on the curve the last cut is; before the first epoch it is at the curve's beginning."""
        return None if self.pruned is None else (self.pruned, float(np.interp(self.pruned, self.samples, self.iqm)))


def learning_curves(comparison: Comparison, of: Measure | None = None, sparsity: float | None = None) -> list[LearningCurve]:
    """Return a curve for every pruner and sparsity whose epochs have the value; dense has sparsity 0.

    Args:
        comparison: whose epochs.
        of: what is measured every epoch; the task's learning curve where nothing is named.
        sparsity: the only one that is asked for.
    """
    of = of or comparison.curve
    sparsities = comparison.sparsities if sparsity is None else [sparsity]
    curves = []
    for pruner in comparison.pruners:
        for removed in sparsities if comparison.cut(pruner) != "nothing" else [0.0]:
            cells = comparison.cells(pruner, removed)
            if rows := [row for row in cells if len(column(row.epochs, of.name))]:
                samples, values = _together(rows, position(comparison), of)
                pruned = _pruned(cells, position(comparison))
                curves += [LearningCurve(pruner, removed, samples, values, pruned)] if samples.size else []
    return curves


def _pruned(cells: Iterable[Row], position: str) -> float | None:
    """Return where cells were cut last, the median; before the first epoch is 0."""
    found: list[float] = []
    for row in cells:
        cut = measure(row, "pruning_epoch") if row.cut != "nothing" else None
        at = zip(column(row.epochs, "trained"), column(row.epochs, position), strict=False) if cut else [(0.0, 0.0)]
        found += [place for trained, place in at if trained == cut and isfinite(place)]
    return float(np.median(found)) if found else None


def insides(
    comparison: Comparison, sparsity: float, measures: Iterable[Measure] = CATALOGUE
) -> dict[Measure, list[LearningCurve]]:
    """Return curves of what epochs measure inside the actor and inside the critic, at one sparsity and of dense."""
    inside = [one for one in measures if one.name.endswith(tuple(f"_{network}" for network in NETWORKS))]
    return {one: curves for one in inside if (curves := learning_curves(comparison, one, sparsity))}


def position(comparison: Comparison) -> str:
    """Return which measure of an epoch says how far training is."""
    return "samples" if comparison.unit == "steps" else "trained"


def stacked(rows: Sequence[Row], *names: str) -> list[FloatArray]:
    """Return measures of every epoch, each of shape (rows, epochs), NaN where one is missing and beyond a row's last epoch."""
    columns = [[column(row.epochs, name) for row in rows] for name in names]
    longest = max((len(values) for own in columns for values in own), default=0)
    found = [np.full((len(rows), longest), nan) for _ in names]
    for lines, own in zip(found, columns, strict=True):
        for line, values in zip(lines, own, strict=True):
            line[: len(values)] = values
    return found


def _together(rows: Sequence[Row], position: str, of: Measure) -> tuple[FloatArray, FloatArray]:
    """Return the mean position, and what rows measured, after every epoch at which all of them measured it."""
    shortest = min(len(row.epochs) for row in rows)
    samples, values = (found[:, :shortest] for found in stacked(rows, position, of.name))
    known = np.isfinite(samples).all(axis=0) & np.isfinite(values).all(axis=0)  # the first may end before any game does
    return samples[:, known].mean(axis=0), of.scale * values[:, known]


def profiles(comparison: Comparison, sparsity: float) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Return thresholds of the metric, and for each pruner the share of seeds that end better than each of them."""
    values = comparison.values(sparsity, comparison.metric.name)
    everything = [value for found in values.values() for value in found]
    thresholds = np.linspace(min(everything), max(everything), 201) if everything else np.empty(0)
    sign = comparison.metric.sign
    return thresholds, {
        pruner: performance_profile([sign * np.array(found)], sign * thresholds) for pruner, found in values.items()
    }


@dataclass(frozen=True)
class LayerShares:
    """What pruners left of each layer at one sparsity, in network order.

    Args:
        layers: parameter names.
        kept: pruner to the mean share of weights kept a layer; NaN where a network has no such layer.
        starved: pruner to how many seeds left a layer at most one weight.
        seeds: pruner to how many seeds were counted.
    """

    sparsity: float
    layers: tuple[str, ...]
    kept: Mapping[str, FloatArray]
    starved: Mapping[str, tuple[int, ...]]
    seeds: Mapping[str, int]


def starved(kept: float, dense: float) -> bool:
    """Return whether at most one weight is left of several: nothing passes any more, though selection always spares one."""
    return kept <= 1 < dense


def layer_shares(comparison: Comparison, sparsity: float) -> LayerShares:
    """Return the share of weights kept a layer, for every pruner that removes something and recorded its layers."""
    cells = {pruner: [row for row in comparison.cells(pruner, sparsity) if row.layers] for pruner in comparison.pruners}
    cells = {pruner: rows for pruner, rows in cells.items() if rows and rows[0].cut != "nothing"}
    layers = tuple(dict.fromkeys(name for rows in cells.values() for row in rows for name in row.layers))
    kept, bare = {}, {}
    for pruner, rows in cells.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
        for row in rows:
            for name, left, had in counts(row.layers):
                found[name].append((left, had))
        kept[pruner] = np.array([np.mean([left / had for left, had in some]) if some else nan for some in found.values()])
        bare[pruner] = tuple(sum(starved(*one) for one in some) for some in found.values())
    return LayerShares(sparsity, layers, kept, bare, {pruner: len(rows) for pruner, rows in cells.items()})


# -- one look a pruner, everywhere -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """How a pruner looks in every figure.

    Args:
        colour: of its family; CroP-S and CroP-U share it.
        marker: of its family.
        solid: whether lines are solid and markers filled (channels are cut) or dashed and hollow (weights are).
    """

    colour: str
    marker: str
    solid: bool


# Tol's "muted" colours and two of Okabe and Ito's, told apart with any kind of colour vision; neighbours in a panel
# differ in marker too. Families that share a colour are kin, or never meet in a panel.
_KNOWN = {
    "Dense": ("#000000", ""),
    "Random": ("#777777", "o"),
    "Tiny": ("#777777", "D"),
    "Magnitude-Before": ("#999933", "s"),
    "Magnitude-After": ("#999933", "D"),
    "SNIP": ("#44AA99", "^"),
    "SNAP": ("#44AA99", "v"),
    "GraSP": ("#117733", "P"),
    "SynFlow": ("#E69F00", "X"),
    "CroP": ("#332288", "s"),
    "CroPit": ("#5AAFE0", "d"),
    "EarlyCroP": ("#D55E00", "o"),
    "EarlyBird": ("#882255", "h"),
    "GateDecorators": ("#E69F00", "p"),
    "EfficientConvNets": ("#117733", "*"),
    "LTR": ("#AA4499", "<"),
    "IMP": ("#AA4499", ">"),
}
_FAMILIES = {family.casefold(): look for family, look in _KNOWN.items()}
_PLACES = {family: place for place, family in enumerate(_FAMILIES)}
_SPARE_COLOURS = ("#CC6677", "#0072B2", "#885522", "#3B3B3B", "#6A8F00")
_SPARE_MARKERS = ("p", "h", "*", "D", "X", "8")
_SPARE = [
    (colour, marker)
    for row, marker in enumerate((*_SPARE_MARKERS, "^", "v", "P", "s", "o", "<"))
    for colour in _SPARE_COLOURS[row % len(_SPARE_COLOURS) :] + _SPARE_COLOURS[: row % len(_SPARE_COLOURS)]
]


def style(pruner: str, cut: str) -> Style:
    """Return a pruner's look: lines by what it cuts, colour and marker by its name, whatever its case.

    A name that is not listed here, say a variant's, gets a spare colour and marker by its hash.

    Args:
        pruner: a pruner's or a variant's name.
        cut: ``weights``, ``channels`` or ``nothing``.
    """
    family = _family(pruner)
    if family in _FAMILIES:
        colour, marker = _FAMILIES[family]
    else:
        number = zlib.crc32(family.encode())
        colour = _SPARE_COLOURS[number % len(_SPARE_COLOURS)]
        marker = _SPARE_MARKERS[number // len(_SPARE_COLOURS) % len(_SPARE_MARKERS)]
    return Style(colour, marker, solid=cut != "weights")


def looks_of(cuts: Mapping[str, str]) -> dict[str, Style]:
    """Return looks for pruners and variants that stand beside each other, no two alike as long as there are looks.

    One that is not listed begins at the look that ``style`` has for it, and takes the next one that is free, of the colours
    that fewest others of its cut have.

    Args:
        cuts: pruner to what it cuts.
    """
    found: dict[str, Style] = {}
    taken = {_FAMILIES[family] for pruner in cuts if (family := _family(pruner)) in _FAMILIES}
    used = Counter[tuple[str, str]]()
    for pruner in sorted(cuts, key=order):
        look = style(pruner, cuts[pruner])
        if _family(pruner) not in _FAMILIES:
            begin = _SPARE.index((look.colour, look.marker))
            spare = _SPARE[begin:] + _SPARE[:begin]
            free = [pair for pair in spare if pair not in taken] or spare
            colour, marker = min(free, key=lambda pair: used[cuts[pruner], pair[0]])
            taken.add((colour, marker))
            used[cuts[pruner], colour] += 1
            look = replace(look, colour=colour, marker=marker)
        found[pruner] = look
    return found


def order(pruner: str) -> tuple[int, str, str]:
    """Return a sort key: dense first, then families as listed here, then the others by name, its numbers as numbers."""
    family = _family(base(pruner))
    counted = re.sub(r"\d+", lambda number: number[0].zfill(6), pruner.casefold())
    return _PLACES.get(family, len(_PLACES)), counted, pruner


def base(pruner: str) -> str:
    """Return the pruner that a variant's name begins with, "CroP-S" of "CroP-S by layer"."""
    return pruner.partition(" ")[0].rstrip(",")


def _family(pruner: str) -> str:
    return pruner.casefold().removesuffix("-s").removesuffix("-u")
