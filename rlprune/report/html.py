"""A page of HTML: tables that lead to cells and can be sorted, one style for screens and paper, nothing from elsewhere."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from html import escape

from rlprune.report import tables
from rlprune.report.tables import Entry, Table

Anchors = Callable[[Entry], str]
"""Where the cells stand that an entry comes from; empty where they stand nowhere."""


def nowhere(entry: Entry) -> str:
    """Return no anchor."""
    return ""


def table(one: Table, kind: str = "", anchor: Anchors = nowhere, ids: Sequence[str] = ()) -> str:
    """Return a table, each block a body of its own, so that sorting keeps blocks together.

    Args:
        one: the table.
        kind: its class: ``plain`` and ``facts`` are texts, a ``matrix`` has upright headings.
        anchor: where its lines lead.
        ids: the blocks' own anchors, where it is what others lead to.
    """
    return "".join(table_pieces(one, kind, anchor, ids))


def table_pieces(one: Table, kind: str = "", anchor: Anchors = nowhere, ids: Sequence[str] = ()) -> Iterator[str]:
    """Yield a table's head, its blocks and its end, of which a long one is not to be held twice."""
    titles = (escape(title).replace("95 %", "95&nbsp;%") for title in one.header)
    head = "".join(f"<th><span>{title}</span></th>" for title in titles)
    yield f'<table class="{kind}"><thead><tr>{head}</tr></thead>'
    for place, (title, block) in enumerate(one.blocks):
        parts = [f'<tbody id="{ids[place]}">' if ids else "<tbody>"]
        if title:
            parts.append(f'<tr class="block"><th colspan="{len(one.header)}">{escape(title)}</th></tr>')
        for line, far in zip(block, tables.apart(block), strict=True):
            entries = "".join(_entry(entry, column, anchor) for column, entry in enumerate(line))
            parts.append(f'<tr class="apart">{entries}</tr>' if far else f"<tr>{entries}</tr>")
        yield "".join([*parts, "</tbody>"])
    yield "</table>"


def _entry(entry: Entry, column: int, anchor: Anchors) -> str:
    text = escape(entry.text)
    if entry.mark:
        text = f"<b>{text}</b>" if entry.mark == "best" else f"<u>{text}</u>"
    if entry.of and (place := anchor(entry)):
        text = f'<a href="#{place}">{text}</a>'
    if column == 0:
        return f"<th>{text}</th>"
    hint = f' title="{escape(entry.hint)}"' if entry.hint else ""
    if entry.shade is None:
        return f"<td{hint}>{text}</td>"
    colour = "0, 114, 178" if entry.shade > 0.5 else "213, 94, 0"
    return f'<td{hint} style="background: rgba({colour}, {abs(entry.shade - 0.5):.2f})">{text}</td>'


def folded(title: str, content: str) -> str:
    """Return content behind its title; on paper it stands open."""
    return "".join(folded_pieces(title, [content]))


def folded_pieces(title: str, content: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of some content behind its title."""
    yield f"<details><summary>{escape(title)}</summary>"
    yield from content
    yield "</details>"


def image(svg: bytes, caption: str) -> str:
    """Return a drawing; as an image, for two drawings in one page would share their inner names."""
    return f'<img alt="{escape(caption)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def page(title: str, body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the page; its script is the only one that a browser runs here, and it works without."""
    known = base64.b64encode(sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{known}'"
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
""".encode()
    yield from body
    yield f"""<script>{SCRIPT}</script>
</body>
</html>
""".encode()


SCRIPT = """
const sizes = {k: 1e3, M: 1e6, G: 1e9, T: 1e12};
const valued = (cell) => {
  const text = cell.textContent.replace(/,(?=\\d{3})/g, "").replace(/\\u2212/g, "-").replace(/^[<\\u2265] /, "");
  const found = text.match(/^([-+]?[\\d.]+)([kMGT]?)[%\\u00d7]?(?: |,|$)/);
  return found ? found[1] * (sizes[found[2]] || 1) : text === "\\u2013" || text === "" ? null : text;
};
const ordered = (one, other) => one === null || other === null ? (one === null) - (other === null)
  : typeof one === "number" && typeof other === "number" ? one - other
  : String(one).localeCompare(String(other), "en", {numeric: true});
for (const title of document.querySelectorAll("table:not(.facts):not(.plain) thead th")) {
  const sort = () => {
    const up = title.getAttribute("aria-sort") === "descending", table = title.closest("table");
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", up ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
      const keyed = rows.map((row) => [valued(row.cells[title.cellIndex]), row]);
      keyed.sort(([one], [other]) => one === null || other === null ? ordered(one, other)
        : up ? ordered(one, other) : ordered(other, one));
      body.append(...keyed.map(([, row]) => row));
    }
  };
  title.tabIndex = 0;
  title.classList.add("sorts");
  title.addEventListener("click", sort);
  title.addEventListener("keydown", (event) => event.key === "Enter" && sort());
}
const closed = [];
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not([open])")) closed.push(one), one.open = true;
});
addEventListener("afterprint", () => { while (closed.length) closed.pop().open = false; });
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #5f5f66; --line: #dcdce0; --link: #0b57a4;
  --paper: #fff; --box: #f5f5f7; --alarm: #b00020; --mark: #fff3c4; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #a6a6ae; --line: #3c3c42; --link: #8ab8ec;
    --paper: #18181b; --box: #242428; --alarm: #ff8a80; --mark: #4a4020; }
  .drawn img { filter: invert(0.906) hue-rotate(180deg); } /* white becomes the page's own black, hues stay */
  .pictures img { filter: brightness(0.92); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem 4rem; font: 1rem/1.5 system-ui, sans-serif; }
body { background: var(--paper); color: var(--ink); overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 0.75rem; padding-top: 0.75rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 2rem 0 0.5rem; }
p, figcaption, .note { max-width: 50rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { margin: 1rem 0; }
nav a { margin-right: 1.2rem; }
pre { background: var(--box); padding: 0.6rem 0.8rem; border-radius: 6px; overflow-x: auto; font-size: 0.85rem; }
.warning { border-left: 4px solid var(--alarm); padding: 0.2rem 0.8rem; margin: 0.5rem 0; color: var(--alarm); }
figure { margin: 1.5rem 0; }
figcaption, .note { margin-top: 0.5rem; color: var(--soft); font-size: 0.85rem; }
.wide { overflow-x: auto; }
img { display: block; width: 100%; max-width: 62rem; min-width: 40rem; background: #fff; border-radius: 6px; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; margin-bottom: 0.6rem; }
th, td { padding: 0.2rem 0.5rem; text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; border-bottom: 1px solid var(--ink); line-height: 1.25; }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 500; }
tr.block th { padding-top: 0.7rem; color: var(--soft); font-style: italic; border-bottom: 1px solid var(--line); }
tr.apart > * { padding-top: 0.7rem; }
tbody:target th { background: var(--mark); }
.sorts { cursor: pointer; }
.sorts:hover { color: var(--link); }
[aria-sort] span::after { content: " \\25be"; }
[aria-sort="ascending"] span::after { content: " \\25b4"; }
.matrix th, .matrix td { padding: 0.15rem 0.35rem; }
.matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg); }
.facts th, .facts td, .plain th, .plain td { text-align: left; white-space: normal; }
.question td, .question th { text-align: left; }
.question td:last-child { white-space: normal; }
.facts td, .plain td { overflow-wrap: anywhere; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { padding: 1rem 0.7rem 3rem; }
  h1 { font-size: 1.35rem; }
  th, td { padding: 0.2rem 0.4rem; }
  tbody th { max-width: 11rem; overflow: hidden; text-overflow: ellipsis; }
  tr.block th { max-width: none; }
  .question thead { display: none; }
  .question tr { display: block; padding: 0.3rem 0; border-bottom: 1px solid var(--line); }
  .question th, .question td { display: inline; white-space: normal; padding: 0 0.3rem 0 0; }
  .question td:nth-child(5) { display: none; }
  .question td:last-child { display: block; color: var(--soft); }
}
@page { size: A4; margin: 12mm 10mm; }
@media print {
  :root { font-size: 9.5pt; }
  body { max-width: none; padding: 0; line-height: 1.35; }
  details::details-content { content-visibility: visible; display: block; height: auto; block-size: auto; }
  summary { list-style: none; font-weight: 600; }
  nav { display: none; }
  a { color: inherit; }
  h2, h3, summary, thead { break-after: avoid; }
  .drawn, tr { break-inside: avoid; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; }
  img { min-width: 0; width: auto; max-width: 100%; max-height: 235mm; }
  table { width: auto; max-width: 100%; font-size: 6.3pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  th, td { padding: 0.5mm 1mm; white-space: normal; }
  tbody th, thead th:first-child { position: static; }
  tbody tr:not(.block) th, .cells td { white-space: nowrap; }
  .plain tbody tr th { white-space: normal; }
  .listing { columns: 2; column-gap: 4mm; }
  .cells { font-size: 5.2pt; }
  .cells th, .cells td { padding: 0.3mm 0.5mm; }
  .cells td:last-child { white-space: normal; overflow-wrap: anywhere; }
  .matrix { font-size: 5.5pt; }
  .matrix th, .matrix td { padding: 0.3mm 0.6mm; }
}
"""
