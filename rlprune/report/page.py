"""One page that shows a run: self-contained, no script, nothing from elsewhere; figures and tables lie beside it as files."""

import base64
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rlprune import files, safely
from rlprune.report import comparable, curves, draw, figures, pictures, tables
from rlprune.report.curves import Comparison, count_of, percent
from rlprune.report.efficiency import measurable
from rlprune.report.sentences import finding, heading, warnings
from rlprune.report.sound import sound
from rlprune.report.sure import with_dense, with_random
from rlprune.report.tables import Entry, Table
from rlprune.stats import RESAMPLES
from rlprune.store import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Made = TypeVar("Made")


def write_report(
    rows: Iterable[Row],
    out: Path,
    command: str | None = None,
    runs: Sequence[Path] = (),
    tell: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write ``figures/*.{png,svg,pdf}``, ``tables/*.{md,tex,csv}`` and ``report.html`` into ``out``; return the page's path.

    The same rows give the same bytes.

    Args:
        rows: of one run or of several.
        out: a folder, made if missing.
        command: what produced them, shown on the page.
        runs: folders of the runs, whose networks may have left pictures; ``out`` itself where none is named.
        tell: called with a line for every figure or table that could not be made; all others are.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = sound(rows)
    networks = [folder / "checkpoints" for folder in runs or [out]]
    page = _Page(out, tell)
    for folder in (page.figures, page.tables):
        folder.mkdir(parents=True, exist_ok=True)
    compared = curves.comparisons(rows)
    page.add(page.attempt("opening", lambda: _opening(rows, compared, command)) or "")
    for profile in dict.fromkeys(one.profile for one in compared):
        some = [one for one in compared if one.profile == profile]
        page.attempt(f"overview of {profile}", partial(_overview, page, profile, some))
    for one in compared:
        page.attempt(heading(one), partial(_task, page, one, networks))
    missing = tables.missing_table(rows)
    if missing.blocks:
        page.add(f"<h2>{escape(missing.title)}</h2>")
        page.table("missing", lambda: missing, kind="plain")
        page.add(_tracebacks(rows))
    page.add(f"<h2>Where the numbers come from</h2>{_provenance(rows)}")
    path = out / "report.html"
    files.write(path, _TEMPLATE.format(title=escape(_title(compared)), body="\n".join(page.parts)))
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
            lines.append([heading(one), curve.pruner, *texts, str(min(point.estimate.seeds for point in curve.points))])
    return ["task", "pruner", *map(percent, sparsities), "seeds"], lines


# -- sections ----------------------------------------------------------------------------------------------------


class _Page:
    """The parts of the page so far, and the folders beside it."""

    def __init__(self, out: Path, tell: Callable[[str], object]) -> None:
        self.figures, self.tables = out / "figures", out / "tables"
        self.parts: list[str] = []
        self._tell = tell
        self._files: set[Path] = set()

    def add(self, part: str) -> None:
        self.parts.append(part)

    def figure(self, stem: str, drawn: "Callable[[], Figure]", caption: str) -> None:
        """Save a figure and show it; as an image, for two drawings in one page would share their inner names."""
        stem = self._own(self.figures, stem)
        formats = self.attempt(f"figure {stem}", partial(_rendered, drawn))
        if formats is None:
            return
        for ending, content in formats.items():
            files.write(self.figures / f"{stem}.{ending}", content)
        image = f'<img alt="{escape(caption)}" src="data:image/svg+xml;base64,{base64.b64encode(formats["svg"]).decode()}">'
        self.add(f'<figure><div class="wide">{image}</div><figcaption>{escape(caption)}</figcaption></figure>')

    def table(self, stem: str, made: Callable[[], Table], *, folded: bool = False, kind: str = "") -> None:
        """Save a table in its three formats and show it, behind its title if folded."""
        stem = self._own(self.tables, stem)
        table = self.attempt(f"table {stem}", made)
        if table is None:
            return
        for ending, render in (("md", tables.to_markdown), ("tex", tables.to_latex), ("csv", tables.to_csv)):
            files.write(self.tables / f"{stem}.{ending}", render(table))
        shown = f'<div class="wide">{_html(table, kind)}</div>'
        if folded:
            self.add(
                f"<details><summary>{escape(table.title)}</summary>{shown}<p class='note'>{escape(table.note)}</p></details>"
            )
        else:
            caption = f"{table.title}. {table.note}" if table.note else ""
            self.add(f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")

    def attempt(self, what: str, make: Callable[[], Made]) -> Made | None:
        """Return what is made; where that cannot be made, say so in one line: nothing else is lost by it."""
        try:
            return make()
        except OSError:
            raise
        except Exception as error:
            line = safely.plain(f"{what} could not be made: {type(error).__name__}: {error}")
            self._tell(line)
            self.add(f'<p class="warning">{escape(line)}</p>')
            return None

    def _own(self, folder: Path, stem: str) -> str:
        """Return a stem that no other file there has, on systems that tell no capitals apart, too."""
        free, number = stem, 2
        while folder / free.casefold() in self._files:
            free, number = f"{stem}-{number}", number + 1
        self._files.add(folder / free.casefold())
        return free


def _rendered(drawn: "Callable[[], Figure]") -> dict[str, bytes]:
    try:
        return draw.rendered(drawn())
    except OSError as error:  # a font or a matplotlibrc that cannot be read stops a figure, and not the page
        raise RuntimeError(str(error)) from error


def _title(compared: Sequence[Comparison]) -> str:
    return "Pruning " + (", ".join(dict.fromkeys(one.task_title for one in compared)) or "without a finished cell")


def _opening(rows: Sequence[Row], compared: Sequence[Comparison], command: str | None) -> str:
    status = Counter({(row.id, comparable.outcome(row)): row.status for row in rows}.values())
    cells = f"{status['done']} of {status.total()} cells done, {status['failed']} failed, {status['skipped']} skipped."
    suites = dict.fromkeys(f"{one.suite_title}, profile {one.profile}" for one in compared)
    parts = [f"<h1>{escape(_title(compared))}</h1>"]
    parts += [f"<pre>{escape(safely.plain(command))}</pre>"] if command else []
    parts += [f"<p>Suite: {escape('; '.join(suites))}.</p>"] if suites else []
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in warnings(rows, compared)]
    parts += [f"<p>{escape(sentence)}</p>" for sentence in (cells, *map(finding, compared))]
    return "\n".join(parts)


def _overview(page: _Page, profile: str, compared: Sequence[Comparison]) -> None:
    charts = [one.chart for one in compared if one.sparsities and one.seeds[1]]
    if len(charts) < 2:
        return
    page.add(f"<h2>All tasks, {escape(profile)}</h2>")
    for start in range(0, len(charts), 3):
        some = charts[start : start + 3]
        number = f"-{start // 3 + 1}" if len(charts) > 3 else ""
        caption = "Every task by itself. " + _explained(some)
        page.figure(safely.name(f"all-{profile}-sparsity{number}"), partial(figures.sparsity_figure, some), caption)
    for each in _each_task_once(compared):
        if together := curves.aggregate(each):
            caption = "Tasks together, the metric normalised by the anchors each states; strata of the bootstrap are the tasks. "
            drawn = partial(figures.sparsity_figure, [together])
            page.figure(safely.name(f"all-{profile}-normalised"), drawn, caption + _explained([together]))
            for sparsity in sorted({it.sparsity for curve in together.curves for it in curve.points} - {0.0}, reverse=True):
                stem = safely.name(f"all-{profile}-normalised-{_in_name(sparsity)}")
                page.table(stem, partial(tables.tasks_table, curves.normalisable(each), together, sparsity), folded=True)


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
    points = any(point.values for curve in drawn for point in curve.points)
    return (
        f"{_spread(curves.seed_range(drawn))} The line across is the dense network.{' Faint points are seeds.' if points else ''}"
    )


def _spread(seeds: tuple[int, int], fewest: int = RESAMPLES) -> str:
    if seeds[1] < 2:
        return "One seed: single values, no intervals."
    resamples = f"{RESAMPLES:,}" if fewest == RESAMPLES else f"{fewest:,} to {RESAMPLES:,}"
    intervals = f"95 % stratified bootstrap intervals ({resamples} resamples)"
    return f"Lines are interquartile means over {count_of(seeds)}, bands their {intervals}."


def _task(page: _Page, one: Comparison, networks: Sequence[Path]) -> None:
    page.add(f"<h2>{escape(heading(one))}</h2>")
    page.table(f"{one.stem}-recipe", partial(tables.recipe_table, one), folded=True, kind="plain")
    if one.sparsities and one.seeds[1]:
        chart = one.chart
        caption = f"{one.title}: {one.measured} against the share of weights removed. {_explained([chart])}"
        page.figure(f"{one.stem}-sparsity", partial(figures.sparsity_figure, [chart]), caption)
    if one.against.pruners and len(one.sparsities) > 1:
        page.table(f"{one.stem}-dense", partial(tables.dense_table, one))
    if drawn := pictures.illustrated(one, networks):
        caption = f"{one.title}: what the networks make of test images, with {percent(drawn[0])} of weights removed, one seed."
        page.figure(f"{one.stem}-pictures", partial(pictures.picture_figure, one, *drawn), caption)
    for sparsity in reversed(one.sparsities or [0.0]):
        shown = sparsity == max(one.sparsities, default=0.0)
        page.table(f"{one.stem}-costs-{_in_name(sparsity)}", partial(tables.cost_table, one, sparsity), folded=not shown)
        page.table(f"{one.stem}-measures-{_in_name(sparsity)}", partial(tables.measures_table, one, sparsity), folded=True)
        if one.against.dense and any(one.values(sparsity, name) for name in tables.NONZERO):
            page.table(f"{one.stem}-macs-{_in_name(sparsity)}", partial(tables.macs_table, one, sparsity), folded=not shown)
        if with_dense(one, sparsity) or with_random(one, sparsity):
            stem = f"{one.stem}-compared-{_in_name(sparsity)}"
            page.table(stem, partial(tables.compared_table, one, sparsity), folded=not shown)
    if one.barriers:
        page.table(f"{one.stem}-barriers", partial(tables.barrier_table, one))
    if learning := curves.learning_curves(one):
        caption = f"{one.title}: learning curves, darker for sparser, dense in black. {_spread(one.seeds, _fewest(learning))}"
        page.figure(f"{one.stem}-learning", partial(figures.learning_figure, one, learning), caption)
    if measurable(one):
        page.table(f"{one.stem}-efficiency", partial(tables.efficiency_table, one), folded=True)
    if one.sparsities:
        _at_highest_sparsity(page, one, one.sparsities[-1])


def _at_highest_sparsity(page: _Page, one: Comparison, sparsity: float) -> None:
    stem, where = _in_name(sparsity), f"{one.title}, {percent(sparsity)} of weights removed"
    seeds = count_of(one.seeds)
    shares = curves.layer_shares(one, sparsity)
    if shares.kept:
        caption = f"{where}: what each pruner left of each layer, mean over {seeds}. Red: a layer left with at most one weight."
        page.figure(f"{one.stem}-layers-{stem}", partial(figures.layer_figure, one, shares), caption)
    if inside := curves.insides(one, sparsity):
        fewest = min(map(_fewest, inside.values()))
        caption = f"{where}: inside actor and critic over training, dense dotted. {_spread(one.seeds, fewest)}"
        page.figure(f"{one.stem}-insides-{stem}", partial(figures.insides_figure, one, sparsity, inside), caption)
    if not one.seeds[1]:
        return
    caption = (
        f"{where}: metric and costs, {seeds}: interquartile mean with its 95 % interval; means ± standard deviation of costs."
    )
    page.figure(f"{one.stem}-costs-{stem}", partial(figures.cost_figure, one, sparsity), caption)
    if one.seeds[1] > 1:
        caption = f"{where}: performance profiles, the share of seeds that end better than each value, {seeds}."
        page.figure(f"{one.stem}-profiles-{stem}", partial(figures.profile_figure, one, sparsity), caption)
        improvement = partial(tables.improvement_table, one, sparsity)
        page.table(f"{one.stem}-improvement-{stem}", improvement, folded=True, kind="matrix")


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
    for row in rows:
        suite = {"suite": f"{row.suite}, profile {row.profile}", "device": row.labels.get("device", "")}
        for name, value in {**suite, **row.machine, **row.versions}.items():
            seen.setdefault(name.replace("_", " "), Counter())[str(value)] += bool(value)
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


# -- HTML --------------------------------------------------------------------------------------------------------


def _html(table: Table, kind: str) -> str:
    head = "".join(f"<th><span>{escape(title)}</span></th>" for title in table.header)
    body = ""
    for title, block in table.blocks:
        if title:
            body += f'<tr class="block"><th colspan="{len(table.header)}">{escape(title)}</th></tr>'
        for line, far in zip(block, tables.apart(block), strict=True):
            entries = "".join(_entry(entry, place) for place, entry in enumerate(line))
            body += f'<tr class="apart">{entries}</tr>' if far else f"<tr>{entries}</tr>"
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _entry(entry: Entry, place: int) -> str:
    text = {"best": "<b>{}</b>", "second": "<u>{}</u>", "": "{}"}[entry.mark].format(escape(entry.text))
    if place == 0:
        return f"<th>{text}</th>"
    hint = f' title="{escape(entry.hint)}"' if entry.hint else ""
    if entry.shade is None:
        return f"<td{hint}>{text}</td>"
    colour = "0, 114, 178" if entry.shade > 0.5 else "213, 94, 0"
    return f'<td{hint} style="background: rgba({colour}, {abs(entry.shade - 0.5):.2f})">{text}</td>'


_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c1c1e; --soft: #68686e; --line: #dcdce0; }}
:root {{ --paper: #fff; --box: #f5f5f7; --alarm: #b00020; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8e8ea; --soft: #a0a0a8; --line: #3c3c42; --paper: #18181b; --box: #242428; --alarm: #ff8a80; }}
}}
body {{ margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; font: 1rem/1.55 system-ui, sans-serif; }}
body {{ background: var(--paper); color: var(--ink); }}
h1 {{ font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 1rem; }}
h2 {{ font-size: 1.25rem; margin: 3rem 0 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }}
p {{ max-width: 46rem; }}
pre {{ background: var(--box); padding: 0.6rem 0.8rem; border-radius: 6px; overflow-x: auto; font-size: 0.85rem; }}
.warning {{ border-left: 4px solid var(--alarm); padding: 0.3rem 0.8rem; color: var(--alarm); font-weight: 600; }}
figure {{ margin: 1.5rem 0; }}
figcaption, .note {{ max-width: 46rem; margin-top: 0.5rem; color: var(--soft); font-size: 0.85rem; }}
.wide {{ overflow-x: auto; }}
img {{ display: block; width: 100%; min-width: 40rem; background: #fff; border-radius: 6px; }}
table {{ border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.2rem 0.6rem; text-align: right; white-space: nowrap; }}
thead th {{ vertical-align: bottom; white-space: normal; border-bottom: 1px solid var(--ink); line-height: 1.25; }}
tbody th, thead th:first-child {{ position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 500; }}
tr.block th {{ padding-top: 0.7rem; color: var(--soft); font-style: italic; border-bottom: 1px solid var(--line); }}
tr.apart > * {{ padding-top: 0.7rem; }}
.matrix th, .matrix td {{ padding: 0.15rem 0.35rem; }}
.matrix thead span {{ writing-mode: vertical-rl; transform: rotate(180deg); }}
.facts th, .facts td, .plain th, .plain td {{ text-align: left; white-space: normal; }}
details {{ margin: 0.5rem 0; }}
summary {{ cursor: pointer; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
