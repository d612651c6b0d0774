"""What README and docs tell a reader to type and to click: commands are tried, snippets run, links lead somewhere.

What trains for minutes, or needs a package, a data set or a results folder of the reader's, goes as far as it can: ``run`` up to
``--dry-run``, ``plots/`` up to the missing folder, other commands up to their parser.
"""

import ast
import importlib
import importlib.util
import re
import runpy
import shlex
import tomllib
from configparser import ConfigParser
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from rows import rows

import rlprune.__main__ as commands
from rlprune import __version__, run
from rlprune.bench.source import suites
from rlprune.report.scripts import planned
from rlprune.store import Store

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

SHOWN_ALONE = {"text": "nothing to type", "c": "a header of its kind is compiled in test_export_policy.py"}
"""Kinds of snippets that are not run here, and why."""
OTHERS = {"cd", "gcc", "./main", "ray", "tmux", "xz"}
"""Programs that are not this project's."""
ENDED = r"[−\d.]+ \[[−\d.]+, [−\d.]+\]"
"""An interquartile mean with its interval."""
RUN_ELSEWHERE = {"adding.md", "own-agent.md", "own-loop.md"}
"""Pages that have tests of their own, which run their blocks as written: here they are parsed and compiled."""


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request):
    return request.param


def snippets(page, *languages):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [body for language, body in found if language in languages]


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def typed(page):
    """Yield the words of every command of the page's blocks, variables of the shell put in."""
    known = {}
    for line in (line for block in snippets(page, "console") for line in block.replace("\\\n", " ").splitlines()):
        for name, value in known.items():
            line = line.replace(f"${name}", value)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, "&&"]:
            if set(word) <= set("&|;"):
                yield from [list(takewhile(lambda it: it not in ("<", ">"), words))] if words else []
                words = []
            elif not words and (assigned := re.fullmatch(r"([A-Z]+)=(.*)", word)):
                known[assigned[1]] = assigned[2]
            else:
                words.append(word)


def mentioned(page):
    """Yield the words of every command that stands in the page's prose."""
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page)):
        words = span.split()
        if words[1:] and "..." not in words and (door(words)[0] or words[0] == "tox"):
            yield [word.removesuffix("...") for word in shlex.split(span)]


def door(words):
    """Return which of the program's doors a command opens, and what it says there."""
    match words:
        case ["rlprune" | "rlprune.exe", *rest]:
            return "rlprune", rest
        case ["python" | "python3", "-m", ("rlprune" | "rlprune.run") as module, *rest]:
            return module, rest
        case ["python" | "python3", script, *rest] if re.match(r"(plots|tests)/\w", script):
            return script, rest
        case ["python" | "python3", "-m", module, *rest]:
            return f"-m {module}", rest
        case [script, *rest] if re.fullmatch(r"plots/\w+\.py", script):
            return script, rest
    return "", words


def without(words, *options):
    """Leave out options with their values."""
    return [word for place, word in enumerate(words) if word not in options and (place == 0 or words[place - 1] not in options)]


def reader_s(words):
    """Return whether a command names something that only its reader knows: ``ID``, ``N``, ``recipe.checkpoint=FOLDER``."""
    return any(re.fullmatch(r"(.*=)?[A-Z]+", word) for word in words)


# -- commands ------------------------------------------------------------------------------------------------------


def test_every_command_would_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLPRUNE_ALLOW_IMPORT", "0")  # --allow-import sets it
    go = parsed if page.name in RUN_ELSEWHERE or "examples" in page.parts else tried
    wrong = [f"{shlex.join(words)}: {why}" for words in typed(page) if (why := go(words, monkeypatch, capsys))]
    wrong += [f"{shlex.join(words)}: {why}" for words in mentioned(page) if (why := parsed(words, monkeypatch, capsys))]
    assert not wrong, "\n".join(wrong)


def tried(words, monkeypatch, capsys):
    """Return what is wrong with a command, gone through as far as that is cheap."""
    opened, rest = door(words)
    if opened == "rlprune" and rest[:1] == ["run"]:
        opened, rest = "rlprune.run", rest[1:]
    if opened != "rlprune.run":
        return parsed(words, monkeypatch, capsys)
    if reader_s(without(rest, "--data")):
        return parsed(words, monkeypatch, capsys)
    rest = [word for word in without(rest, "--data") if word not in ("--calibrate", "--dry-run")]
    code = run.main([*rest, "--dry-run"])
    said = capsys.readouterr().err.splitlines()
    lacks = [line for line in said if "python3 -m pip install 'rlprune[" in line or "no sbatch is here" in line]  # not installed
    return "" if code == 0 or (said and said == lacks) else "; ".join(said) or f"exit code {code}"


def parsed(words, monkeypatch, capsys):
    """Return what a command's own parser has against it."""
    opened, rest = door(words)
    match opened:
        case "rlprune" | "rlprune.run":
            given = [*["run"] * (opened == "rlprune.run"), *(".9" if word == "SPARSITY" else word for word in rest)]
            return complaint(lambda: commands._parser().parse_args(given), capsys)
        case "-m pytest" | "-m pip" | "":
            return known(words)
        case script if script.startswith("plots/"):
            if not (ROOT / script).is_file():
                return "there is no such script"
            monkeypatch.setattr("sys.argv", [script, *rest])
            monkeypatch.setattr("rlprune.report.scripts.planned", no_further)
            return complaint(lambda: runpy.run_path(str(ROOT / script), run_name="__main__"), capsys)
        case script if script.startswith("tests/"):
            return "" if (ROOT / script).is_file() else "there is no such script"
    return "" if importlib.util.find_spec(opened.removeprefix("-m ")) else "there is no such module"


def no_further(*given, **options):
    """Plan the cells that a script would build or train, and end there."""
    try:
        cells = planned(*given, **options)
    except ValueError as error:
        raise AssertionError(f"{given}, {options}") from error
    assert cells
    raise SystemExit


def complaint(do, capsys):
    """Return how a parser refuses. A folder that is missing here is no complaint, nor is a bare mention of a command."""
    with suppress(SystemExit):
        do()
    said = capsys.readouterr().err
    return said if "usage:" in said and "the following arguments are required" not in said else ""


def known(words):
    """Return what is wrong with a command of pip, pytest, tox or another program."""
    match words:
        case ["python" | "python3", "-m", "pip", "install", *what]:
            asked = [
                extra for word in what if (found := re.search(r"\[(.*)\]$", word)) and "jax" not in word for extra in [found[1]]
            ]
            return "" if {*asked} <= {*PROJECT["project"]["optional-dependencies"]} else f"no extra {asked}"
        case ["python" | "python3", "-m", "pytest", *what]:
            missing = [word for word in what if word.startswith("tests/") and not (ROOT / word.split("::")[0]).exists()]
            return f"no {missing}" if missing else ""
        case ["tox", "run", "-e", names, *_]:
            config = ConfigParser()
            config.read(ROOT / "tox.ini")
            there = {section.removeprefix("testenv:") for section in config.sections()} | {"test"}
            there |= {f"bench-{suite}{ending}" for suite in [*suites(), "NAME"] for ending in ("", "-smoke", "-quick")}
            missing = {*names.split(",")} - there
            return f"tox.ini has no {missing}" if missing else ""
        case ["python" | "python3", script] if any(ROOT.glob(f"examples/*/{script}")):
            return ""
        case ["tox", "run", "-m", "bench", *_] | ["tox", "run"]:
            return ""
    return "" if words[0] in OTHERS else "a program that this test does not know"


# -- snippets ------------------------------------------------------------------------------------------------------


def test_every_snippet_says_what_it_is(page):
    languages = re.findall(r"^```([^\n]*)\n.*?^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert {*languages} <= {"console", "python", "toml", *SHOWN_ALONE}
    assert not re.search(r"^    (python3?|rlprune|tox) ", prose(page), re.MULTILINE), "commands stand in ```console blocks"


def test_python_compiles_and_imports_what_there_is(page):
    for snippet in snippets(page, "python"):
        for step in ast.walk(ast.parse(snippet)):
            if isinstance(step, ast.ImportFrom) and (step.module or "").partition(".")[0] == "rlprune":
                module = importlib.import_module(step.module)
                missing = [name.name for name in step.names if not hasattr(module, name.name)]
                assert [name for name in missing if importlib.util.find_spec(f"{step.module}.{name}") is None] == []


def test_every_suite_of_the_pages_is_right(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for snippet in snippets(page, "toml") if page.name not in RUN_ELSEWHERE else []:
        if "tasks" in tomllib.loads(snippet) or "like" in tomllib.loads(snippet):
            Path("mine.toml").write_text(snippet, encoding="utf-8")
            assert "mine.toml: " in commands._checked(["mine.toml"])[0]


def test_the_pruner_of_the_readme_is_the_one_in_the_package():
    (pruner,) = [snippet for snippet in snippets(ROOT / "README.md", "python") if "Pruner(" in snippet]
    assert pruner == (ROOT / "rlprune" / "pruners" / "snip.py").read_text(encoding="utf-8")


def test_the_loop_of_the_readme_prunes():
    (loop,) = [snippet for snippet in snippets(ROOT / "README.md", "python") if "Pruning(" in snippet]
    net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    batch = torch.randn(16, 4)
    names = {"net": net, "batch": batch, "loss_of": lambda net, batch: net(batch).square().mean()}
    exec(compile(loop, "README.md", "exec"), {**names, "optimizer": torch.optim.Adam(net.parameters())})
    assert net[0].out_features < 32


def test_reading_results_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Store(Path("results/cartpole/results.sqlite")) as store:
        store.save(*rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,)))
    for snippet in snippets(ROOT / "docs" / "reading.md", "python"):
        exec(compile(snippet, "reading.md", "exec"), {})
    assert "SNIP" in capsys.readouterr().out


def test_what_readings_of_the_paper_change_comes_out_as_written(capsys):
    page = ROOT / "docs" / "fidelity.md"
    (snippet,) = snippets(page, "python")
    try:
        exec(compile(snippet, page.name, "exec"), {})
    finally:
        torch.set_default_dtype(torch.float32)
    told = [[float(number) for number in line.split(" | ")] for line in capsys.readouterr().out.splitlines()]
    written = re.findall(r"^\| (?:LeakyReLU|tanh), .*? \| (.*) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(written) == 2
    for numbers, line in zip(told, written, strict=True):
        assert numbers == pytest.approx([float(number) for number in line.split(" | ")], rel=0.02)


def test_what_scripts_print_of_packed_rows_stands_on_the_pages():
    """A table is typed nowhere: ``tox run -e pages`` puts it in anew, with the figures, which are drawn and not compared here."""
    found = list(runpy.run_path(str(ROOT / "docs" / "printed.py"))["pages"]())
    assert {"rl.md", "start.md", "ppo.md"} <= {page.name for page, _ in found}
    assert [page.name for page, fresh in found if fresh != page.read_text(encoding="utf-8")] == []


def test_numbers_of_packed_rows_stand_on_their_page(page, tmp_path, monkeypatch, capsys):
    """A number as scripts print it, ``133 [127, 150]``: what a page tells to type prints none that is not on it."""
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for words in typed(page):
        script, rest = door(words)
        rows = [word for word in rest if word.startswith("docs/")]
        if not (script.startswith("plots/") and rows) or f'("{script} {rows[0]}' in text:
            continue
        monkeypatch.setattr("sys.argv", [script, *rest])
        with suppress(SystemExit):
            runpy.run_path(str(ROOT / script), run_name="__main__")
        told = capsys.readouterr().out
        printed = set(re.findall(ENDED, told))
        assert printed, f"{shlex.join(words)} prints no number"
        assert printed <= set(re.findall(ENDED, text)), shlex.join(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "files"), [("README.md", {"small.zip"}), ("docs/small-policies.md", {"policy.onnx", "policy.int8.onnx"})]
)
def test_an_agent_is_pruned_saved_and_taken_away(name, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in (snippet for snippet in snippets(ROOT / name, "python") if "model" in snippet):
        exec(compile(re.sub(r"learn\(\d+_000", "learn(3_000", snippet), name, "exec"), names)
    assert {file.name for file in tmp_path.iterdir()} >= {"policy.h", "policy.safetensors"} | files
    assert "policy.h" in capsys.readouterr().out


def test_all_python_of_the_pages_is_run_somewhere():
    here = {"README.md", "fidelity.md", "reading.md", "small-policies.md"}
    assert {page.name for page in PAGES if snippets(page, "python") and page.parent.name != "examples"} <= here | RUN_ELSEWHERE


# -- links ---------------------------------------------------------------------------------------------------------


def test_every_link_leads_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", it.replace("`", "").lower()).strip().replace(" ", "-") for it in headings
            }, link


@pytest.mark.parametrize("file", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_built_pages_have_the_links_inside_docs_and_no_others(file):
    inside = runpy.run_path(str(ROOT / "docs" / "links.py"))["inside"]

    def linked(text):
        return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]

    text = file.read_text(encoding="utf-8")
    there = [link for link in linked(text) if (file.parent / link).resolve().is_relative_to(ROOT / "docs")]
    assert linked(inside(text, len(file.relative_to(ROOT / "docs").parts) - 1)) == there


def test_the_version_has_a_line_in_the_changelog_and_is_the_one_to_cite():
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"^ *#? *- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) == len({*listed})
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")}
    assert pages <= {*listed}
    assert {*listed} - pages <= {"own-loop.md", "adding.md"}


def test_every_file_that_pages_name_is_there(page):
    package = [folder for folder in (ROOT / "rlprune").iterdir() if folder.is_dir()]
    roots = [page.parent, ROOT, ROOT / "rlprune", ROOT / "plots", *package]
    folders = "|".join(["rlprune", "tests", "plots", "suites", "docs", "examples", *(folder.name for folder in package)])
    own = "" if page.name in RUN_ELSEWHERE else r"|\w+\.py"
    for name in re.findall(rf"(?<!`)`((?:{folders})/(?:[\w-]+/)*(?:[\w-]+\.\w+)?{own})`(?!`)", prose(page)):
        assert any((root / name).exists() for root in roots), name


def test_the_layers_of_the_page_are_those_that_are_checked():
    (shown,) = snippets(ROOT / "docs" / "how-it-is-built.md", "text")
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    assert [" | ".join(re.findall(r"[\w]+", line)) for line in shown.splitlines()] == contract["layers"]
