import sys
from textwrap import dedent

import pytest

from rlprune import registry
from rlprune.pruner import Pruner, pruners
from rlprune.registry import Registry, nearest
from rlprune.task import Task, tasks


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """An importable folder ``goods`` that is a registry; the function writes a file into it."""
    (tmp_path / "shop" / "goods").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "shop" / "registry.py"))

    def put(name, text):
        (tmp_path / "shop" / "goods" / name).write_text(dedent(text))
        return Registry("shop.goods", Pruner)

    put("half.py", 'from rlprune.pruner import Pruner\nHALF = Pruner("Half-U", None, cut="nothing", plan=[])\n')
    yield put
    for module in [name for name in sys.modules if name.split(".")[0] in ("shop", "elsewhere")]:
        del sys.modules[module]


def test_a_file_in_the_folder_is_an_entry(shop):
    goods = shop("more.py", 'from rlprune.pruner import Pruner\nA = Pruner("a", None, cut="nothing", plan=[])\nB = dict("b")\n')
    assert goods.names() == ["a", "Half-U"]
    assert goods.load("Half-U").name == "Half-U"


def test_listing_names_imports_nothing(shop):
    goods = shop("loud.py", 'raise SystemExit("imported")\nX = Pruner("loud", None, cut="nothing", plan=[])\n')
    assert goods.names() == ["Half-U", "loud"]


def test_a_file_that_fails_to_import_hides_nobody_else(shop):
    goods = shop("broken.py", 'import no_such_module\nX = Pruner("broken", None, cut="nothing", plan=[])\n')
    assert goods.load("half-u").name == "Half-U"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        goods.load("broken")


def test_a_file_that_is_no_python_hides_nobody_else(shop):
    goods = shop("broken.py", "X = Pruner(")
    assert goods.names() == ["Half-U"]


def test_names_match_without_regard_to_case(shop):
    goods = shop("empty.py", "")
    assert goods.match("hALF-u") == "Half-U"
    assert goods.load("HALF-U") is goods.load("half-u")


def test_an_unknown_name_suggests_the_nearest(shop):
    goods = shop("empty.py", "")
    with pytest.raises(KeyError, match="no pruner is named 'halve-u'; did you mean 'Half-U'"):
        goods.load("halve-u")
    with pytest.raises(KeyError, match=r"no pruner is named 'zzz' \(see: rlprune list pruners\)"):
        goods.match("zzz")


def test_nearest_says_nothing_where_nothing_is_near():
    assert nearest("snup", ["SNIP", "Dense"]) == "; did you mean 'SNIP'?"
    assert nearest("zzz", ["SNIP", "Dense"]) == ""
    assert nearest("zzz", []) == ""


def entry_point(folder, line):
    """Install a package's entry point, as pip would write it."""
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[shop.goods]\n{line}\n")
    (folder / "elsewhere.py").write_text(
        'from rlprune.pruner import Pruner\nTHIRDS = Pruner("Thirds-S", None, cut="nothing", plan=[])\nNUMBER = 3\n'
    )


def test_another_package_adds_an_entry(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    goods = shop("empty.py", "")
    assert goods.names() == ["Half-U", "Thirds-S"]
    assert goods.load("thirds-s").name == "Thirds-S"


def test_another_package_that_names_something_else_is_told_so(shop, tmp_path):
    entry_point(tmp_path, "number = elsewhere:NUMBER")
    with pytest.raises(TypeError, match="elsewhere:NUMBER is registered as a Pruner but is a int"):
        shop("empty.py", "").load("number")


@pytest.mark.parametrize(("entries", "kind"), [(pruners(), Pruner), (tasks(), Task)])
def test_every_entry_loads_under_its_own_name(entries, kind):
    assert entries.names()
    for name in entries.names():
        assert isinstance(entries.load(name), kind)
        assert entries.load(name).name == name
