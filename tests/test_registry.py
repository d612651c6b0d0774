import sys
from dataclasses import replace
from importlib.util import find_spec
from textwrap import dedent
from typing import ClassVar

import pytest
from installed import entered

from rlprune import registry
from rlprune.costs.measures import Measure
from rlprune.executors import Executor, executors
from rlprune.pruning.plan import Grow, Prune, Train
from rlprune.pruning.pruner import Pruner, pruners
from rlprune.registry import Registry
from rlprune.task import Task, tasks
from rlprune.words import nearest


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """An importable folder ``goods`` that is a registry; the function writes a file into it."""
    (tmp_path / "shop" / "goods").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "shop" / "registry.py"))

    def put(name, text):
        (tmp_path / "shop" / "goods" / name).write_text(dedent(text))
        return Registry("shop.goods", Pruner)

    put("half.py", 'from rlprune.pruning.pruner import Pruner\nHALF = Pruner("Half-U", None, cut="nothing", plan=[])\n')
    yield put
    for module in [name for name in sys.modules if name.split(".")[0] in ("shop", "elsewhere")]:
        del sys.modules[module]


def test_a_file_in_the_folder_is_an_entry(shop):
    goods = shop(
        "more.py", 'from rlprune.pruning.pruner import Pruner\nA = Pruner("a", None, cut="nothing", plan=[])\nB = dict("b")\n'
    )
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
    """Install a package with an entry point."""
    entered(folder, "shop.goods", line)
    (folder / "elsewhere.py").write_text(
        'from rlprune.pruning.pruner import Pruner\nTHIRDS = Pruner("Thirds-S", None, cut="nothing", plan=[])\nNUMBER = 3\n'
    )


def test_another_package_adds_an_entry(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    goods = shop("empty.py", "")
    assert goods.names() == ["Half-U", "Thirds-S"]
    assert goods.load("thirds-s").name == "Thirds-S"


def test_another_package_says_what_its_entry_is(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    code = (tmp_path / "elsewhere.py").read_text()
    (tmp_path / "elsewhere.py").write_text(f'"""Thirds: of three channels one.\n\nA paper.\n"""\n{code}')
    goods = shop("empty.py", "")
    assert goods.summary("thirds-s") == "Thirds: of three channels one."
    assert goods.about("thirds-s") == "Thirds: of three channels one.\n\nA paper."
    assert (goods.origin("thirds-s"), goods.place("thirds-s")) == ("elsewhere 1.0", "elsewhere:THIRDS")
    assert (goods.origin("half-u"), goods.place("half-u")) == ("", "shop.goods.half:HALF")


def test_code_of_another_package_changes_with_its_file(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    goods = shop("empty.py", "")
    before = goods.code("thirds-s")
    assert before.startswith("elsewhere 1.0 ")
    assert goods.code("half-u") == ""
    file = tmp_path / "elsewhere.py"
    file.write_text(file.read_text() + "# changed\n")
    assert goods.code("thirds-s") != before


def test_code_is_that_which_was_imported_whatever_becomes_of_its_file(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    goods, file = shop("empty.py", ""), tmp_path / "elsewhere.py"
    goods.load("thirds-s")
    before = goods.code("thirds-s")
    file.write_text(file.read_text() + "# changed while it trains\n")
    assert goods.code("thirds-s") == before
    goods.load("thirds-s")
    assert goods.code("thirds-s") == before
    del sys.modules["elsewhere"]
    goods.load("thirds-s")  # as another process does
    assert goods.code("thirds-s") != before


def test_another_package_that_names_something_else_is_told_so(shop, tmp_path):
    entry_point(tmp_path, "number = elsewhere:NUMBER")
    with pytest.raises(TypeError, match="elsewhere:NUMBER is registered as a Pruner but is a int"):
        shop("empty.py", "").load("number")


@pytest.mark.parametrize("name", ["Half-U", "half-u"])
def test_a_package_cannot_have_the_name_of_a_built_in(shop, tmp_path, name):
    entry_point(tmp_path, f"{name} = elsewhere:THIRDS")
    goods = shop("empty.py", "")
    assert goods.names() == ["Half-U"]
    with pytest.warns(UserWarning, match="the pruner 'Half-U' of elsewhere:THIRDS is left out: the name is built in"):
        assert goods.load(name).name == "Half-U"


def test_two_packages_of_one_name_are_told(shop, tmp_path):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS\nthirds-s = elsewhere:OTHERS")
    goods = shop("empty.py", "")
    assert goods.names() == ["Half-U", "Thirds-S"]
    assert goods.load("Half-U").name == "Half-U"
    with pytest.raises(ValueError, match="'Thirds-S' is registered by elsewhere:THIRDS and by elsewhere:OTHERS: rename one"):
        goods.load("Thirds-S")


def test_two_files_of_one_name_are_told(shop):
    goods = shop("more.py", 'from rlprune.pruning.pruner import Pruner\nA = Pruner("Half-U", None, cut="nothing", plan=[])\n')
    with pytest.raises(ValueError, match=r"'Half-U' is registered by .*half:HALF and by .*more:A: rename one"):
        goods.load("Half-U")


@pytest.mark.parametrize("name", ["a$b", "a/b", "x" * 400, "a\\b"])
def test_another_packages_name_must_be_one_that_files_can_bear(shop, tmp_path, name):
    entry_point(tmp_path, f"{name} = elsewhere:THIRDS")
    with pytest.raises(ValueError, match="of elsewhere:THIRDS cannot be used: a name"):
        shop("empty.py", "").load(name)


def test_an_entry_has_one_name_only(shop, tmp_path):
    entry_point(tmp_path, "thirds-s = elsewhere:THIRDS\nfourths = elsewhere:THIRDS")
    goods = shop("empty.py", "")
    assert goods.load("Thirds-S").name == "Thirds-S"
    with pytest.raises(TypeError, match="is registered as 'fourths' but calls itself 'Thirds-S': register it under that name"):
        goods.load("fourths")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise ImportError('a package is too old')", r"a package is too old \(elsewhere.py, line 1\)$"),
        ("\n1 / 0", r"ZeroDivisionError: division by zero \(elsewhere.py, line 2\)$"),
        ("raise ValueError('a\\x1b\\nb')", r"ValueError: a\\x1b \(elsewhere.py, line 1\)$"),
        ("THIRDS =", "SyntaxError: invalid syntax"),
        ("", "AttributeError: module 'elsewhere' has no attribute 'THIRDS'"),
        (
            "from rlprune.training.recipes import PPORecipe\n\nPPORecipe(\n    discuont=0.9)",
            r"PPORecipe\(budget=\): .*; PPORecipe\(discuont=\): no such key; did you mean 'discount'\? .*elsewhere.py, line 3\)$",
        ),
    ],
)
def test_whatever_stops_an_import_is_one_line(shop, tmp_path, text, told):
    entry_point(tmp_path, "Thirds-S = elsewhere:THIRDS")
    (tmp_path / "elsewhere.py").write_text(f"{text}\n")
    goods = shop("empty.py", "")
    with pytest.raises(ImportError, match=f"'Thirds-S' cannot be imported: {told}"):
        goods.load("Thirds-S")
    assert goods.load("Half-U").name == "Half-U"


@pytest.mark.parametrize("wrong", [{"cut": "wieghts"}, {"scope": "leyer"}, {"needs": {"batch_norm"}}, {"score": "s"}])
def test_a_pruner_that_nobody_could_follow_is_refused(wrong):
    end = "a function of the probe, or None" if "score" in wrong else ".*did you mean '(weights|layer|batchnorm)'"
    with pytest.raises(ValueError, match=rf"of pruner mine: got '\w+'; must be {end}"):
        Pruner("mine", **{"score": None, "cut": "nothing", "plan": [], **wrong})


def test_the_name_that_was_given_is_never_suggested():
    assert nearest("SNIP", ["SNIP", "SNAP"]) == ""
    assert nearest("snip", ["SNIP", "SNAP"]) == "; did you mean 'SNIP'?"
    assert nearest("x" * 10_000_000, ["SNIP"]) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        *({"title": ""}, {"title": "a\x1b"}, {"title": "x" * 201}, {"scope": "nowhere"}, {"anchors": {"random": float("nan")}}),
        {"metric": Measure("accuracy", "accuracy", "%", scale=100)},
        *({"metric": "return_greedy"}, {"also": Measure("top1", "accuracy")}, {"also": ("top1",)}),
        *({"anchors": {"random": "5"}}, {"anchors": {"radnom": 5.0}}),
    ],
)
def test_a_task_that_nobody_could_draw_is_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="of task"):
        replace(tasks().load("cartpole-v1"), **wrong)


@pytest.mark.parametrize("key", ["metric", "also"])
def test_a_task_judged_by_what_its_training_does_not_measure_is_told_before_it_trains(key):
    task, wrong = tasks().load("cartpole-v1"), Measure("return_gready", "return")
    with pytest.raises(
        ValueError, match="'return_gready', which A2CRecipe's training does not measure; did you mean 'return_greedy'"
    ):
        replace(task, **{key: wrong if key == "metric" else (wrong,)})
    assert replace(task, metric=Measure("latency_seconds", "latency", "s", "lower"))

    class Mine(type(task.recipe)):
        trainer: ClassVar[str] = "mine:Trainer"  # which may measure anything

    assert replace(task, recipe=Mine(**task.recipe.model_dump()), **{key: wrong if key == "metric" else (wrong,)})


@pytest.mark.parametrize(("entries", "kind"), [(pruners(), Pruner), (tasks(), Task), (executors(), Executor)])
def test_every_entry_loads_under_its_own_name(entries, kind):
    assert entries.names()
    for name in entries.names():
        if name == "ray" and find_spec("ray") is None:
            with pytest.raises(ImportError, match=r"Ray is missing: python3 -m pip install 'rlprune\[ray\]'"):
                entries.load(name)
            continue
        assert isinstance(entries.load(name), kind)
        assert entries.load(name).name == name


@pytest.mark.parametrize(
    "line",
    [
        'A: Pruner = Pruner("kw-U", None, cut="nothing", plan=[])',
        'A = Pruner(name="kw-U", score=None, cut="nothing", plan=[])',
        'import rlprune.pruning.pruner as api\nA = api.Pruner("kw-U", None, cut="nothing", plan=[])',
    ],
)
def test_an_entry_may_be_annotated_or_named_by_keyword(shop, line):
    goods = shop("more.py", f"from rlprune.pruning.pruner import Pruner\n{line}\n")
    assert goods.load("kw-u").name == "kw-U"


def test_a_file_that_is_no_python_is_told_with_its_line(shop):
    goods = shop("broken.py", "def score(probe)\n    return probe\n")
    assert goods.unread() == {"shop/goods/broken.py": "line 1: expected ':'"}
    with pytest.raises(
        KeyError, match=r"no pruner is named 'Mine-U'.*; shop/goods/broken\.py cannot be read, line 1: expected ':'"
    ):
        goods.match("Mine-U")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("def plan(rounds=3): return []", "setting 'rounds' of pruner Odd-U needs a type, say rounds: int = 3"),
        ("def plan(floor: int = 3): return []", "'floor' of pruner Odd-U: every pruner has a setting of this name"),
        ("def plan(rounds: 'Nowhere' = 3): return []", "setting 'rounds' of pruner Odd-U is of type Nowhere, which is not there"),
        (
            "class Own: pass\ndef plan(rounds: Own = Own()): return []",
            "the settings of pruner Odd-U are of a type that cannot be",
        ),
    ],
)
def test_a_setting_that_cannot_be_checked_is_told_when_the_pruner_is_loaded(shop, plan, message):
    goods = shop(
        "odd.py", f"from rlprune.pruning.pruner import Pruner\n{plan}\nA = Pruner('Odd-U', None, cut='nothing', plan=plan)\n"
    )
    with pytest.raises((ValueError, ImportError), match=message):
        goods.load("Odd-U")


def test_score_and_plan_have_one_setting_of_a_name(shop):
    head = "from rlprune.pruning.pruner import Pruner\ndef score(probe, share: float = 0.1): return {}\n"
    both = head + "def plan(share: float = 0.1): return []\nA = Pruner('Odd-U', score, cut='weights', plan=plan)\n"
    assert shop("same.py", both).load("Odd-U").settings().share == 0.1


def test_score_and_plan_with_another_default_of_one_setting_are_refused(shop):
    head = "from rlprune.pruning.pruner import Pruner\ndef score(probe, share: float = 0.1): return {}\n"
    both = head + "def plan(share: float = 0.9): return []\nA = Pruner('Odd-U', score, cut='weights', plan=plan)\n"
    with pytest.raises(ImportError, match="'share' of pruner Odd-U: score and plan have it, with another type or default"):
        shop("other.py", both).load("Odd-U")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("None, cut='weights', plan=[Prune(), Train()]", "Odd-U prunes and has no score"),
        (
            "score, cut='channels', plan=[Prune(), Train(), Grow(by=score), Train()]",
            "cuts channels and grows: what was cut cannot come back",
        ),
        ("score, cut='weights', plan=[Train(until=MaskDistance()), Prune(), Train()]", "MaskDistance, which compares channels"),
        ("score, cut='weights', plan=[Prune, Train()]", r"step 1 of the plan of Odd-U is the class Prune: write Prune\(\)"),
        ("score, cut='weights', plan=[Prune(), 3]", "step 2 of the plan of Odd-U is 3$"),
        ("score, cut='weights', plan=Prune()", r"the plan of Odd-U is a list of steps; got Prune\("),
        ("score, cut='weights', plan=[Grow(by=score), Train()]", "grows in step 1, and nothing was pruned before"),
        ("score, cut='weights', plan=[Prune(beyond=.3), Train()]", "drops more than its sparsity.* and no Grow brings it back"),
    ],
)
def test_a_step_that_a_pruner_cannot_take_is_told_before_anything_runs(shop, made, message):
    head = "from rlprune.api import *\nfrom rlprune.pruning.plan import *\ndef score(probe): return {}\n"
    pruner = shop("odd.py", f"{head}A = Pruner('Odd-U', {made})\n").load("Odd-U")
    with pytest.raises(ValueError, match=message):
        pruner.steps(pruner.settings())


def test_a_plan_may_grow_what_a_schedule_removed_beyond_the_end_and_be_a_generator():
    def plan():
        yield Prune(beyond=0.3)
        yield Train(share=0.5)
        yield Prune(by=len)
        yield Grow(by=len)

    mine = Pruner("mine", len, cut="weights", plan=[Prune(), Train(share=0.5), Grow(by=len), Train()])
    assert len(mine.steps(mine.settings())) == 4
    other = Pruner("other", len, cut="weights", plan=plan)
    assert len(other.steps(other.settings())) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prune(20), "the schedule of Prune is one as Halving.*; got 20"),
        (lambda: Prune(by="magnitude"), "by is a score, a function of the probe; got 'magnitude'"),
        (lambda: Grow("gradient"), "by is a score, a function of the probe; got 'gradient'"),
        (lambda: Grow(len, 20), "the schedule of Grow is one as Halving.*; got 20"),
    ],
)
def test_a_step_made_of_something_else_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_types_of_settings_may_be_written_as_text(shop):
    head = "from __future__ import annotations\nfrom rlprune.pruning.pruner import Count, Pruner\n"
    goods = shop(
        "later.py", f"{head}def plan(rounds: Count = 3): return []\nA = Pruner('Later-U', None, cut='nothing', plan=plan)\n"
    )
    assert goods.load("Later-U").settings({"rounds": 5}).rounds == 5
