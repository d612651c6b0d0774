"""One page that shows a run: the question first, then figures, then tables, then the cells behind them.

It is self-contained, and nothing comes from elsewhere; its one script sorts tables, and all is there without it. Figures and
tables lie beside it as files.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rlprune import files, safely
from rlprune.report import comparable, curves, draw, figures, fronts, heatmap, html, pictures, tables, widths
from rlprune.report.beside import Beside, Failed
from rlprune.report.curves import Comparison, count_of, percent, span_of
from rlprune.report.efficiency import measurable
from rlprune.report.listing import Listing
from rlprune.report.question import question_table
from rlprune.report.sentences import finding, warnings
from rlprune.report.sound import sound
from rlprune.report.sure import with_dense, with_random
from rlprune.report.tables import Table
from rlprune.rows import Row
from rlprune.stats import RESAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Made = TypeVar("Made")

MATRIX = 18  # most columns of pruners beside each other
LEARNERS = 28  # most pruners whose learning curves are one figure, a page high
_END = 2**22  # bytes of a page in which it says what was written with it


def write_report(
    rows: Iterable[Row],
    out: Path,
    command: str | None = None,
    runs: Sequence[Path] = (),
    notes: Sequence[str] = (),
    tell: Callable[[str], object] = lambda line: None,
    warn: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write ``figures/*.{png,svg,pdf}``, ``tables/*.{md,tex,csv}`` and ``report.html`` into ``out``; return the page's path.

    The same rows give the same bytes.

    Figures and tables that the page before it had, and this one has not, are removed.

    Args:
        rows: of one run or of several.
        out: a folder, made if missing.
        command: what produced them, shown on the page.
        runs: folders of the runs, whose networks may have left pictures; ``out`` itself where none is named.
        notes: lines about the runs, which come before the page's own warnings.
        tell: called with a line for every figure or table that could not be made; all others are.
        warn: called with each of the page's warnings.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = sound(rows)
    networks = [folder / "checkpoints" for folder in runs or [out]]
    page = _Page(out, tell)
    for folder in (page.figures, page.tables):
        folder.mkdir(parents=True, exist_ok=True)
    compared = curves.comparisons(rows)
    page.listings = {id(one): Listing(one, place) for place, one in enumerate(compared)}
    warned = [*notes, *(page.attempt("warnings", lambda: warnings(rows, compared)) or [])]
    page.add(page.attempt("opening", lambda: _opening(rows, compared, command, warned)) or "")
    page.attempt("the question", lambda: _question(page, compared))
    for profile in dict.fromkeys(one.profile for one in compared):
        some = [one for one in compared if one.profile == profile]
        page.attempt(f"overview of {profile}", partial(_overview, page, profile, some))
    for place, one in enumerate(compared):
        page.attempt(one.heading, partial(_task, page, one, networks, place))
    missing = tables.missing_table(rows)
    if missing.blocks:
        page.add(f'<h2 id="missing">{escape(missing.title)}</h2>')
        page.table("missing", lambda: missing, kind="plain")
        page.add(_tracebacks(rows))
    page.add(f'<h2 id="sources">Where the numbers come from</h2>{_provenance(rows)}')
    path = out / "report.html"
    before = _made(path)
    page.add(lambda: f"<!-- made: {'|'.join(sorted(page.made))} -->")
    files.write(path, html.page(_title(compared), page.body()))
    made = {name.casefold() for name in page.made}
    for name in before:
        if name.casefold() not in made:  # of other rows, which nobody should take for these
            (out / name).unlink(missing_ok=True)
    for warning in warned:
        warn(safely.plain(warning))
    return path


def summary_table(rows: Iterable[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and lines of a short table for a terminal: interquartile mean [95 %] by sparsity.

    Dense is a level, the same at every sparsity.
    """
    compared = curves.comparisons(rows)
    sparsities = sorted({sparsity for one in compared for sparsity in one.sparsities}) or [0.0]
    lines = []
    for one in compared:
        for curve in one.chart.curves:
            texts = [tables.iqm_text(curve.at(sparsity)) for sparsity in sparsities]
            lines.append([one.heading, curve.pruner, *texts, str(min(point.estimate.seeds for point in curve.points))])
    return ["task", "pruner", *map(percent, sparsities), "seeds"], lines


def _made(page: Path) -> set[str]:
    """Return the figures and tables that a page says it was written with, as paths beside it."""
    with suppress(OSError), page.open("rb") as opened:
        opened.seek(max(0, page.stat().st_size - _END))
        told = re.findall(r"<!-- made: (.*?) -->", opened.read().decode("utf-8", "replace"))
        return {name for name in (told or [""])[-1].split("|") if re.fullmatch(r"(figures|tables)/[^/]*[^/.]\.[a-z]{2,3}", name)}
    return set()


# -- sections ----------------------------------------------------------------------------------------------------


class _Page:
    """The parts of the page so far, and the folders beside it."""

    def __init__(self, out: Path, tell: Callable[[str], object]) -> None:
        self.figures, self.tables = out / "figures", out / "tables"
        self.listings: dict[int, Listing] = {}
        self._parts: list[bytes | Callable[[], str]] = []
        self._beside = Beside()
        self._tell = tell
        self._files: set[Path] = set()
        self.made: set[str] = set()

    def add(self, part: str | Callable[[], str]) -> None:
        """Add a part to the page, or what returns it once all others are made."""
        self._parts.append(part.encode() if isinstance(part, str) else part)

    def body(self) -> Iterator[bytes]:
        """Yield all parts, those that were not ready awaited, each on a line of its own."""
        for part in self._parts:
            yield part if isinstance(part, bytes) else part().encode()
            yield b"\n"

    def figure(self, stem: str, drawn: "Callable[[], Figure]", caption: str, kind: str = "drawn") -> None:
        """Save a figure and show it; one of ``pictures`` keeps its colours in the dark. It is drawn while the page goes on."""
        stem = self._own(self.figures, stem)
        made = {f"{self.figures.name}/{stem}.{ending}" for ending in draw.UNDATED}
        self.made |= made
        with suppress(Exception):  # which every figure then tells
            draw.ready()
        wait = self._beside.begin(partial(_save, drawn, self.figures, stem))

        def shown() -> str:
            try:
                wait()
            except Failed as error:
                self.made -= made
                return self._missing(f"figure {stem}", str(error))
            image = html.image((self.figures / f"{stem}.svg").read_bytes(), caption)
            return f'<figure class="{kind}"><div class="wide">{image}</div><figcaption>{escape(caption)}</figcaption></figure>'

        self.add(shown)

    def table(
        self,
        stem: str,
        made: Callable[[], Table],
        *of: Comparison,
        folded: bool = False,
        kind: str = "",
        parts: Callable[[Table], Sequence[Table]] = lambda table: [table],
    ) -> None:
        """Save a table in its three formats and show it, behind its title if folded.

        Args:
            stem: of its files.
            made: makes it.
            *of: whose cells its lines lead to; of several, those of the task that an entry names.
            folded: whether only its title is seen at first.
            kind: how it looks.
            parts: what it is cut into where it would be too wide for a page.
        """
        stem = self._own(self.tables, stem)
        table = self.attempt(f"table {stem}", made)
        if table is None:
            return
        some = parts(table)
        for ending, render in (("md", tables.to_markdown), ("csv", tables.to_csv)):
            self._write(f"{stem}.{ending}", render(table))
        for place, part in enumerate(some):
            self._write(f"{stem}{f'-part{place + 1}' if place else ''}.tex", tables.to_latex(part))
        listings = {one.task if of[1:] else "": self.listings[id(one)] for one in of}

        def anchor(entry: tables.Entry) -> str:
            return listings[entry.task].anchor(entry.of) if entry.of and entry.task in listings else ""

        shown = "".join(f'<div class="wide">{html.table(part, kind, anchor)}</div>' for part in some)
        shown += f'<p class="note">{escape(table.note)}</p>' if table.note else ""
        if folded:
            self.add(html.folded(table.title, shown))
        else:
            title = f"<figcaption><b>{escape(table.title)}</b></figcaption>" if kind != "plain" else ""
            self.add(f"<figure>{title}{shown}</figure>")

    def _write(self, name: str, text: str) -> None:
        """Write a file of a table."""
        self.made.add(f"{self.tables.name}/{name}")
        files.write(self.tables / name, text)

    def attempt(self, what: str, make: Callable[[], Made]) -> Made | None:
        """Return what is made; where that cannot be made, say so in one line: nothing else is lost by it."""
        self._beside.go_on()
        try:
            return make()
        except OSError:
            raise
        except Exception as error:
            self.add(self._missing(what, f"{type(error).__name__}: {error}"))
            return None

    def _missing(self, what: str, why: str) -> str:
        """Tell what could not be made; return what the page says in its place."""
        line = safely.plain(f"{what} could not be made: {why}")
        self._tell(line)
        return f'<p class="warning">{escape(line)}</p>'

    def _own(self, folder: Path, stem: str) -> str:
        """Return a stem that no other file there has, on systems that tell no capitals apart, too."""
        free, number = stem, 2
        while folder / free.casefold() in self._files:
            free, number = f"{stem}-{number}", number + 1
        self._files.add(folder / free.casefold())
        return free


def _save(drawn: "Callable[[], Figure]", folder: Path, stem: str) -> None:
    try:
        formats = draw.rendered(drawn())
    except OSError as error:  # a font or a matplotlibrc that cannot be read stops a figure, and not the page
        raise RuntimeError(str(error)) from error
    for ending, content in formats.items():
        files.write(folder / f"{stem}.{ending}", content)


def _title(compared: Sequence[Comparison]) -> str:
    return "Pruning " + (", ".join(dict.fromkeys(one.task_title for one in compared)) or "without a finished cell")


def _opening(rows: Sequence[Row], compared: Sequence[Comparison], command: str | None, warned: Sequence[str]) -> str:
    status = Counter({(row.id, comparable.outcome(row)): row.status for row in rows}.values())
    cells = f"{status['done']} of {status.total()} cells done, {status['failed']} failed, {status['skipped']} skipped."
    suites = dict.fromkeys(f"{one.suite_title}, profile {one.profile}" for one in compared)
    places = [(f"t{place}", one.heading) for place, one in enumerate(compared)] + [("sources", "Where the numbers come from")]
    parts = [f"<h1>{escape(_title(compared))}</h1>"]
    parts += [f"<pre>{escape(safely.plain(command))}</pre>"] if command else []
    parts += [f"<p>Suite: {escape('; '.join(suites))}.</p>"] if suites else []
    links = " ".join(f'<a href="#{at}">{escape(name)}</a>' for at, name in places)
    parts += [f"<p>{escape(cells)}</p>", f"<nav>{links}</nav>"]
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in warned]
    return "\n".join(parts)


def _question(page: _Page, compared: Sequence[Comparison]) -> None:
    page.add("<h2>Which pruner, at which size, and is it sure?</h2>" if compared else "")
    for one in compared:
        if one.sparsities and one.seeds[1]:
            page.table(f"{one.stem}-question", partial(question_table, one), one, kind="question")
        page.add(f"<p>{escape(finding(one))}</p>")


def _overview(page: _Page, profile: str, compared: Sequence[Comparison]) -> None:
    charts = [one.chart for one in compared if one.sparsities and one.seeds[1]]
    if len(charts) < 2:
        return
    page.add(f"<h2>All tasks, {escape(profile)}</h2>")
    usual = [one for one in charts if not figures.crowded(one)]
    divided = figures.together(usual) if len(usual) > 1 else []
    for place, some in enumerate(divided, 1):
        number = f"-{place}" if len(divided) > 1 else ""
        caption = "Every task by itself. " + _explained(some)
        page.figure(safely.name(f"all-{profile}-sparsity{number}"), partial(figures.sparsity_figure, some), caption)
    for each in _each_task_once(compared):
        kept = [(one, column) for one in each if one.sparsities and (column := heatmap.column(one, one.metric.name))]
        columns = [column for _, column in kept]
        if len(columns) > 1 and heatmap.rows(columns):
            caption = "What is kept of the dense network: interquartile means, in per cent; what a single task has is left out."
            measured = "; ".join(dict.fromkeys(one.metric.heading for one, _ in kept))
            page.figure(
                safely.name(f"all-{profile}-kept"), partial(heatmap.heatmap_figure, columns, measured), caption, "pictures"
            )
        if together := curves.aggregate(each):
            caption = "Tasks together, the metric normalised by the anchors each states; strata of the bootstrap are the tasks. "
            drawn = partial(figures.sparsity_figure, [together])
            page.figure(safely.name(f"all-{profile}-normalised"), drawn, caption + _explained([together]))
            for sparsity in sorted({it.sparsity for curve in together.curves for it in curve.points} - {0.0}, reverse=True):
                stem = safely.name(f"all-{profile}-normalised-{_in_name(sparsity)}")
                over = curves.normalisable(each)
                page.table(stem, partial(tables.tasks_table, over, together, sparsity), *over, folded=True)


def _each_task_once(compared: Sequence[Comparison]) -> list[list[Comparison]]:
    """Return the comparisons together, or suite by suite and run by run where a task is there twice."""
    if len({one.task for one in compared}) == len(compared):
        return [list(compared)]
    found: defaultdict[tuple[str, tuple[str, ...]], list[Comparison]] = defaultdict(list)
    for one in compared:
        found[one.suite, one.runs].append(one)
    return list(found.values())


def _fewest(drawn: Sequence[curves.LearningCurve]) -> int:
    return min(curve.resamples for curve in drawn)


def _explained(some: Sequence[curves.Chart]) -> str:
    drawn = [curve for chart in some for curve in chart.curves]
    points = any(len(point.values) > 1 for curve in drawn for point in curve.points)
    alone = all(len(chart.sparsities) == 1 for chart in some)
    spread = _spread(curves.seed_range(drawn), alone=alone)
    aside = " Pruners at one sparsity stand side by side." if len(drawn) > 2 and alone else ""
    across = " The line across is the dense network." if any(curve.cut == "nothing" for curve in drawn) else ""
    return f"{spread}{aside}{across}{' Faint points are seeds.' if points else ''}"


def _spread(seeds: tuple[int, int], fewest: int = RESAMPLES, *, alone: bool = False) -> str:
    if seeds[1] < 2:
        return "One seed: single values, no intervals."
    resamples = f"{RESAMPLES:,}" if fewest == RESAMPLES else f"{fewest:,} to {RESAMPLES:,}"
    intervals = f"95 % stratified bootstrap intervals ({resamples} resamples)"
    marks, spans = ("Marks", "bars") if alone else ("Lines", "bands")
    return f"{marks} are interquartile means over {count_of(seeds)}, {spans} their {intervals}."


def _task(page: _Page, one: Comparison, networks: Sequence[Path], place: int) -> None:
    page.add(f'<h2 id="t{place}">{escape(one.heading)}</h2>')
    page.table(f"{one.stem}-recipe", partial(tables.recipe_table, one), folded=True, kind="plain")
    if one.sparsities and one.seeds[1]:
        chart = one.chart
        caption = f"{one.title}: {one.measured} against the share of weights removed. {_explained([chart])}"
        page.figure(f"{one.stem}-sparsity", partial(figures.sparsity_figure, [chart]), caption)
        if costs := fronts.drawn_against(one):
            star = ", dense a star" if one.cutting("nothing") else ""
            middles = "Interquartile means" if one.seeds[1] > 1 else "Single values"
            caption = (
                f"{one.title}: what is worth its cost. On the line stands what nothing else beats in both, costs to two digits, "
                f"its sparsity beside it; all else is grey{star}. {middles}, costs are means, {count_of(one.seeds)}."
            )
            page.figure(f"{one.stem}-fronts", partial(fronts.front_figure, one, costs), caption)
    if learning := curves.learning_curves(one):
        dotted = ", dense dotted" if any(curve.sparsity == 0 for curve in learning) else ""
        behind = span_of(it.seeds for it in learning)
        caption = f"{one.title}: learning curves, darker for sparser{dotted}. {_spread(behind, _fewest(learning))}"
        caption += " A triangle is the last cut." if any(curve.at_cut for curve in learning) else ""
        pruners = list(dict.fromkeys(curve.pruner for curve in learning if curve.sparsity > 0)) or [""]
        for start in range(0, len(pruners), LEARNERS):
            some = [it for it in learning if it.sparsity == 0 or it.pruner in pruners[start : start + LEARNERS]]
            number = f"-{start // LEARNERS + 1}" if start else ""
            page.figure(f"{one.stem}-learning{number}", partial(figures.learning_figure, one, some), caption)
    if one.sparsities:
        _at_highest_sparsity(page, one, one.sparsities[-1])
    if drawn := pictures.illustrated(one, networks):
        caption = f"{one.title}: what the networks make of test images, with {percent(drawn[0])} of weights removed, one seed."
        page.figure(f"{one.stem}-pictures", partial(pictures.picture_figure, one, *drawn), caption, "pictures")
    if one.against.pruners and len(one.sparsities) > 1:
        page.table(f"{one.stem}-dense", partial(tables.dense_table, one), one)
    for sparsity in reversed(one.sparsities or [0.0]):
        shown, stem = sparsity == max(one.sparsities, default=0.0), _in_name(sparsity)
        costs_made = partial(tables.cost_table, one, sparsity)
        page.table(f"{one.stem}-costs-{stem}", costs_made, one, folded=not shown, parts=tables.paper_first)
        page.table(f"{one.stem}-measures-{stem}", partial(tables.measures_table, one, sparsity), one, folded=True)
        if one.against.dense and any(one.values(sparsity, name) for name in tables.NONZERO):
            page.table(f"{one.stem}-macs-{stem}", partial(tables.macs_table, one, sparsity), one, folded=not shown)
        if with_dense(one, sparsity) or with_random(one, sparsity):
            compared = partial(tables.compared_table, one, sparsity)
            page.table(f"{one.stem}-compared-{stem}", compared, one, folded=not shown)
    if measurable(one):
        page.table(f"{one.stem}-efficiency", partial(tables.efficiency_table, one), one, folded=True)
    if one.sparsities and one.seeds[1] > 1:
        sparsity = one.sparsities[-1]
        page.table(
            f"{one.stem}-improvement-{_in_name(sparsity)}",
            partial(tables.improvement_table, one, sparsity),
            one,
            folded=True,
            kind="matrix",
            parts=partial(tables.beside, most=MATRIX),
        )
    if one.barriers:
        page.table(f"{one.stem}-barriers", partial(tables.barrier_table, one))
    _cells(page, page.listings[id(one)])


def _cells(page: _Page, listing: Listing) -> None:
    table = listing.table()
    opening = f'<p class="note">{escape(table.note)}</p><div class="wide listing">'
    pieces = chain([opening], html.table_pieces(table, "cells", ids=listing.anchors), ["</div>"])
    for piece in html.folded_pieces(table.title, pieces):
        page.add(piece)


def _at_highest_sparsity(page: _Page, one: Comparison, sparsity: float) -> None:
    stem, where = _in_name(sparsity), f"{one.title}, {percent(sparsity)} of weights removed"
    seeds = count_of(one.seeds)
    if one.seeds[1]:
        many = ": interquartile mean with its 95 % interval; means ± standard deviation of costs"
        caption = f"{where}: metric and costs, {seeds}{many if one.seeds[1] > 1 else ', single values'}."
        page.figure(f"{one.stem}-costs-{stem}", partial(figures.cost_figure, one, sparsity), caption)
    shares = curves.layer_shares(one, sparsity)
    if shares.kept:
        layered = count_of(span_of(shares.seeds.values()))
        caption = f"{where}: what each pruner left of each layer, mean over {layered}. Red: a layer left with at most one weight."
        page.figure(f"{one.stem}-layers-{stem}", partial(figures.layer_figure, one, shares), caption)
    if cut := widths.widths(one, sparsity):
        counted = count_of(widths.seeds(one, sparsity, cut))
        caption = f"{where}: hidden units left of actor and critic, input above output, mean over {counted}; grey: dense."
        page.figure(f"{one.stem}-widths-{stem}", partial(widths.width_figure, one, sparsity, cut), caption)
    if inside := curves.insides(one, sparsity):
        fewest = min(map(_fewest, inside.values()))
        dotted = ", dense dotted" if any(curve.sparsity == 0 for found in inside.values() for curve in found) else ""
        behind = span_of(curve.seeds for found in inside.values() for curve in found)
        caption = f"{where}: inside actor and critic over training{dotted}. {_spread(behind, fewest)}"
        page.figure(f"{one.stem}-insides-{stem}", partial(figures.insides_figure, one, sparsity, inside), caption)
    if one.seeds[1] > 1 and any(one.cut(pruner) != "nothing" for pruner in one.estimates(sparsity, one.metric.name)):
        caption = f"{where}: performance profiles, the share of seeds that end better than each value, {seeds}."
        page.figure(f"{one.stem}-profiles-{stem}", partial(figures.profile_figure, one, sparsity), caption)


def _in_name(sparsity: float) -> str:
    return f"{100 * sparsity:.6g}".replace(".", "_")


def _tracebacks(rows: Sequence[Row]) -> str:
    alike: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status == "failed" and row.error:
            alike[row.error].append(row)
    return "\n".join(
        f"<details><summary>{escape(f'{found[0].pruner}, {percent(found[0].sparsity)}, seed {found[0].seed}')}"
        f"{f' and {len(found) - 1} more' if found[1:] else ''}</summary><pre>{escape(error)}</pre></details>"
        for error, found in alike.items()
    )


def _provenance(rows: Sequence[Row]) -> str:
    """Return a table of machines, versions and times; where cells differ, each value with its number of cells."""
    seen: dict[str, Counter[str]] = {}
    alike: dict[object, list[Row]] = {}  # of thousands of rows few differ here
    for row in rows:
        own = row.suite, row.profile, row.labels.get("device", ""), id(row.machine), id(row.versions)
        alike.setdefault(own, []).append(row)
    for some in alike.values():
        row = some[0]
        suite = {"suite": f"{row.suite}, profile {row.profile}", "device": row.labels.get("device", "")}
        for name, value in {**suite, **row.machine, **row.versions}.items():
            seen.setdefault(name.replace("_", " "), Counter())[str(value)] += len(some) * bool(value)
    lines = [
        (
            name,
            values.most_common(1)[0][0]
            if len(+values) == 1
            else "; ".join(f"{value} ({count} cells)" for value, count in sorted((+values).items())),
        )
        for name, values in seen.items()
        if +values
    ]
    times = sorted(row.started for row in rows if row.started)[:1] + sorted(row.ended for row in rows if row.ended)[-1:]
    lines += list(zip(("first start", "last end"), times, strict=False))
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f'<div class="wide"><table class="facts">{body}</table></div>'
