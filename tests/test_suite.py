import os
import re
import time
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import row

from rlprune.bench import source
from rlprune.bench.matrix import Cell, cells, make_cell
from rlprune.bench.mistakes import SuiteError, line_of
from rlprune.bench.source import suites
from rlprune.bench.suite import load_profiles, load_suite
from rlprune.pruning.pruner import pruners
from rlprune.store import Store
from rlprune.task import seed_sequence, tasks

SUITE = """\
title = "A suite"
tasks = ["cartpole-v1"]
pruners = ["SNIP", "Dense", "LTR"]
sparsities = [0.8, 0.9]
seeds = 2
pruner.LTR.levels = 4

[recipe]
budget = 1000

[task.cartpole-v1]
entropy = 0.01

[profiles.smoke]
seeds = 1
sparsities = [0.5]
recipe.epochs = 5
pruner.ltr.epoch = 2
"""


LISTED = 'pruners = ["SNIP", "Dense", "LTR"]'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a suite file into an empty current folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def put(text=SUITE, *changes):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.toml").write_text(dedent(text))
        return "mine.toml"

    return put


def told(name, *args):
    """Return what is wrong with a suite, a line a mistake."""
    with pytest.raises(SuiteError) as error:
        load_suite(name, *args)
    assert str(error.value).splitlines() == [str(mistake) for mistake in error.value.mistakes]
    return str(error.value).splitlines()


def recipe(suite):
    return cells(suite, "cpu")[0].recipe


# -- the suites that come with it ----------------------------------------------------------------------------------


def test_there_are_suites():
    assert "cartpole" in suites()


@pytest.mark.parametrize("name", suites())
def test_every_suite_is_right_under_every_profile(name):
    for suite in load_profiles(name):
        assert cells(suite, "cpu")
        assert suite.title
        assert suite.description


def test_cartpole_runs_the_same_pruners_at_every_length_and_all_of_them_fit():
    smoke, quick, paper = load_profiles("cartpole")
    assert [suite.profile for suite in (smoke, quick, paper)] == ["smoke", "quick", "paper"]
    assert set(smoke.pruners) < set(quick.pruners) == set(paper.pruners)
    assert not [name for name in paper.pruners if "batchnorm" in pruners().load(name).needs]
    assert [len(cells(suite, "cpu")) for suite in (smoke, quick, paper)] == [4, 3 * (1 + 16 * 3), 10 * (1 + 16 * 4)]
    assert paper.seeds >= 10
    assert paper.tasks == ("cartpole-v0",)


def test_suites_like_cartpole_run_the_same_pruners_in_profile_paper_and_no_others_elsewhere():
    (paper,) = [suite for suite in load_profiles("cartpole") if suite.profile == "paper"]
    others = [suite for name in suites() for suite in load_profiles(name) if suite.like == "cartpole"]
    assert others
    for suite in others:
        more = {"Tiny", "GMP", "Static", "SET", "RigL"} if suite.name == "rl" else set()  # of the tables of sparse deep RL
        assert set(suite.pruners) <= {*paper.pruners, *more}, suite.name
        assert suite.profile != "paper" or suite.pruners == paper.pruners


def test_suites_are_found_by_name_in_any_case_and_in_the_wheel(tmp_path, monkeypatch, write):
    assert load_suite("CARTPOLE").name == "cartpole"
    packaged = tmp_path / "site-packages" / "rlprune" / "_suites"
    packaged.mkdir(parents=True)
    (packaged / "mine.toml").write_text(SUITE)
    (tmp_path / "site-packages" / "suites").mkdir()  # somebody else's
    monkeypatch.setattr(source, "__file__", str(packaged.parent / "bench" / "source.py"))
    assert suites() == {"mine": packaged / "mine.toml"}
    assert load_suite("mine").title == "A suite"


# -- cells ---------------------------------------------------------------------------------------------------------


def test_seeds_come_one_after_the_other_and_dense_first(write):
    found = [(cell.seed, cell.pruner, cell.sparsity) for cell in cells(load_suite(write()), "cpu")]
    one = [("Dense", 0.0), ("SNIP", 0.8), ("SNIP", 0.9), ("LTR", 0.8), ("LTR", 0.9)]
    assert found == [(seed, *pair) for seed in (0, 1) for pair in one]


def test_an_id_is_a_hash_of_the_cell_alone():
    cell = Cell("cartpole-v1", "SNIP", 0.9, 3, {"budget": 100, "widths": [8, 8]}, {"scope": "layer", "floor": 1}, "cpu")
    assert cell.id == "4a557d5127212eaa"  # changes only with a new layout of results: every finished cell would run again
    assert replace(cell, recipe={"widths": [8, 8], "budget": 100}).id == cell.id
    others = [
        replace(cell, task="cartpole-v0"),
        replace(cell, pruner="GraSP"),
        replace(cell, sparsity=0.91),
        replace(cell, seed=4),
        replace(cell, recipe={"budget": 101, "widths": [8, 8]}),
        replace(cell, settings={"scope": "layer", "floor": 2}),
        replace(cell, device="cuda"),
    ]
    assert len({other.id for other in [cell, *others]}) == 8


def test_name_price_and_country_leave_ids_alone(write):
    ids = [cell.id for cell in cells(load_suite(write()), "cpu")]
    assert len(set(ids)) == len(ids) == 10
    changed = ['title="x"', "price_per_hour=3", "country=FRA", "description=x"]
    assert [cell.id for cell in cells(load_suite("mine.toml", "quick", changed), "cpu")] == ids


def test_a_cell_holds_every_number(write):
    cell = cells(load_suite(write()), "cpu")[-1]
    assert cell.recipe["budget"] == 1000
    assert cell.recipe["entropy"] == 0.01
    assert cell.recipe["learning_rate"] == 7e-4
    own = {"levels": 4, "epoch": 1, "share": None}
    assert cell.settings == {"scope": "network", "floor": 1, "moments": "keep", "start": "rescaled", **own}


def test_scope_is_the_suites_or_else_the_tasks(write):
    overrides = ("pruning.floor=2", "pruning.scope=layer", "pruner.snip.scope=global")
    scopes = [load_suite(write(), "quick", [override]) for override in overrides]
    assert [cells(suite, "cpu")[1].settings["scope"] for suite in scopes] == ["network", "layer", "global"]
    assert len({cells(suite, "cpu")[0].id for suite in scopes}) == 1, "Dense does not depend on how others are pruned"


def test_a_cell_outside_the_matrix_can_be_made(write):
    suite = load_suite(write())
    assert make_cell(suite, "cartpole-v1", "SNIP", 0.8, 0, "cpu") == cells(suite, "cpu")[1]
    assert make_cell(suite, "cartpole-v1", "GraSP", 0.99, 7, "cuda").settings["temperature"] == 200


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_neighbours_share_no_stream():
    names = ("network", "environments", "scoring/1", "scoring/11")
    uses = [(task, seed, use) for task in ("a", "b") for seed in range(40) for use in names]
    words = np.concatenate([seed_sequence(*use).generate_state(16, np.uint64) for use in uses])
    assert len(np.unique(words)) == len(uses) * 16


def test_a_seed_is_the_same_everywhere_and_always():
    assert seed_sequence("cartpole-v1", 0, "network").generate_state(2).tolist() == [115039997, 1734655807]


# -- merging -------------------------------------------------------------------------------------------------------


def test_a_profile_goes_over_the_file_and_lists_are_replaced(write):
    suite = load_suite(write(), "smoke")
    assert (suite.seeds, suite.sparsities, suite.profile, suite.name) == (1, (0.5,), "smoke", "mine")
    assert (recipe(suite)["budget"], recipe(suite)["epochs"], recipe(suite)["entropy"]) == (1000, 5, 0.01)
    assert suite.pruner == {"LTR": {"levels": 4, "epoch": 2}}


def test_the_command_line_goes_over_the_profile(write):
    overrides = [
        "recipe.budget=2_000",
        "task.CARTPOLE-V1.entropy=0",
        "pruner.ltr.levels=7",
        "sparsities=[0.1]",
        "recipe.widths=[4, 4]",
    ]
    suite = load_suite(write(), "smoke", overrides, {"pruners": "ltr, dense", "sparsities": ".95,.5", "seeds": "3"})
    assert (suite.pruners, suite.sparsities, suite.seeds) == (("LTR", "Dense"), (0.95, 0.5), 3)
    assert (recipe(suite)["budget"], recipe(suite)["entropy"], recipe(suite)["widths"]) == (2000, 0, [4, 4])
    assert suite.pruner["LTR"]["levels"] == 7


def test_a_file_without_profiles_runs_as_it_stands(write):
    name = write(SUITE[: SUITE.index("[profiles")])
    assert load_suite(name).seeds == 2
    assert [suite.profile for suite in load_profiles(name)] == ["smoke", "quick"]
    assert told(name, "paper") == ["--profile: no profile is named 'paper' (mine has: quick, smoke)"]


def test_a_suite_of_ones_own_without_a_smoke_has_one(write):
    text = SUITE[: SUITE.index("[profiles")]
    suite = load_suite(write(text), "smoke")
    assert (suite.profile, suite.seeds, suite.sparsities, suite.pruners) == ("smoke", 1, (0.8,), ("SNIP", "Dense", "LTR"))
    task = tasks().load("cartpole-v1")
    whole = load_suite("mine.toml", "quick")
    assert suite.recipe_for(task) == whole.recipe_for(task).shrunk()
    assert suite.recipe_for(task).entropy == whole.recipe_for(task).entropy, "a number that is not a size stays"
    assert load_suite("mine.toml", "smoke", ["recipe.budget=720"]).recipe_for(task).budget == 720
    assert len(cells(suite, "cpu")) == 3


def test_tasks_of_several_kinds_are_each_made_small(write):
    head = 'title = "x"\ntasks = ["cartpole-v1", "vgg-small-shapes"]\npruners = ["Dense", "SNIP"]\n'
    head += "sparsities = [0.9, 0.8]\nseeds = 3\n"
    suite = load_suite(write(f"{head}task_sparsities.cartpole-v1 = [0.7, 0.6]\ntask.vgg-small-shapes.budget = 7\n"), "smoke")
    for name in suite.tasks:
        task = tasks().load(name)
        assert suite.recipe_for(task) == task.recipe.shrunk()
    assert sorted(cell.sparsity for cell in cells(suite, "cpu")) == [0, 0, 0.7, 0.9]


@pytest.mark.parametrize("name", suites())
def test_what_the_command_line_says_of_recipes_is_so_for_every_task(name):
    for plain in load_profiles(name):
        recipes = {name: plain.recipe_for(tasks().load(name)) for name in plain.tasks}
        for task in map(tasks().load, plain.tasks if len({recipe.unit for recipe in recipes.values()}) == 1 else ()):
            budget = recipes[task.name].budget + 1
            assert load_suite(name, plain.profile, [f"recipe.budget={budget}"]).recipe_for(task).budget == budget


def test_what_the_command_line_says_of_one_task_comes_before_what_it_says_of_all():
    suite = load_suite("rl", "quick", ["task.cartpole-v1.budget=7_000", "recipe.budget=8_000"])
    assert [suite.recipe_for(tasks().load(name)).budget for name in ("cartpole-v1", "acrobot-v1")] == [7_000, 8_000]


def test_a_moment_that_a_pruner_would_not_wait_for_is_refused():
    said = told("cartpole", "quick", ["pruner.EarlyCroP-S.until.epoch=20"])
    assert len(said) == 1
    assert said[0].endswith(
        "'EarlyCroP-S' on cartpole-v1: until.epoch = 20 is after the latest moment, epoch 15 of 30 (until.cap = 0.5)"
    )
    assert told("rl_when", "quick", ["recipe.epochs=12"])
    load_suite("cartpole", "quick", ["pruner.EarlyCroP-S.until.epoch=15"])
    load_suite("cartpole", "quick", ["pruner.EarlyCroP-S.until={epoch=20, cap=0.7}"])


def test_a_smoke_that_is_not_declared_tells_a_mistake_where_it_stands(write):
    name = write(SUITE[: SUITE.index("[profiles")], ("budget =", "bugdet ="))
    lines = told(name, "smoke")
    assert lines == told(name, "quick")
    assert len(lines) == 1


# -- a suite like another --------------------------------------------------------------------------------------------

CHILD = """\
title = "A child"
like = "mine.toml"
seeds = 7

[recipe]
budget = 3000

[pruner.ltr]
epoch = 3

[profiles.smoke]
recipe.budget = 400

[profiles.paper]
sparsities = [0.7]
"""


@pytest.fixture
def like(write, tmp_path):
    """Write a suite and one that is like it; return the second's name."""

    def put(text=CHILD, *changes, base=SUITE):
        write(base)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "child.toml").write_text(text)
        return "child.toml"

    return put


def test_a_suite_has_the_keys_of_the_one_it_is_like_under_its_own(like):
    suite = load_suite(like())
    assert (suite.name, suite.title, suite.tasks, suite.seeds) == ("child", "A child", ("cartpole-v1",), 7)
    assert (suite.pruners, suite.sparsities) == (("SNIP", "Dense", "LTR"), (0.8, 0.9))
    assert (recipe(suite)["budget"], recipe(suite)["entropy"]) == (3000, 0.01)
    assert suite.pruner == {"LTR": {"levels": 4, "epoch": 3}}


def test_profiles_of_the_one_it_is_like_go_over_its_file_and_under_its_own_profiles(like):
    name = like()
    smoke, quick, paper = load_profiles(name)
    assert [suite.profile for suite in (smoke, quick, paper)] == ["smoke", "quick", "paper"]
    assert (smoke.seeds, smoke.sparsities) == (1, (0.5,)), "the other's profile, though its own file says 7 seeds"
    assert (recipe(smoke)["budget"], recipe(smoke)["epochs"]) == (400, 5)
    assert smoke.pruner == {"LTR": {"levels": 4, "epoch": 2}}
    assert (paper.seeds, paper.sparsities) == (7, (0.7,))
    assert load_suite(name, "smoke", ["seeds=3", "recipe.epochs=9"]).seeds == 3


@pytest.mark.parametrize("name", [name for name in suites() if load_suite(name, "smoke").data_tasks])
def test_a_smoke_run_on_data_trains_no_longer_than_one_without(name):
    smoke = load_suite(name, "smoke")
    own, others = ([smoke.recipe_for(tasks().load(task)) for task in some] for some in (smoke.tasks, smoke.data_tasks))
    for fields in ("budget", "train_images", "train_tokens", "train_texts"):
        least = [getattr(one, fields) for one in own if getattr(one, fields, None) is not None]
        for one in others:
            assert not least or not hasattr(one, fields) or (getattr(one, fields) or 10**9) <= max(least), (name, fields)


def test_title_and_description_are_a_suites_own(like):
    short = '[profiles.smoke]\ntitle = "Short"\ndescription = "Short."'
    base = 'description = "Of the other."\n' + SUITE.replace("[profiles.smoke]", short)
    name = like(base=base)
    assert load_suite("mine.toml").description == "Of the other."
    assert [suite.description for suite in load_profiles(name)] == ["Short.", "", ""]
    assert {suite.title for suite in load_profiles(name)} == {"A child"}
    assert told(like(CHILD, ('title = "A child"\n', ""))) == ["child.toml:1: title: is missing"]


def test_a_chain_of_suites_is_read_from_its_end(like, tmp_path):
    like()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "third.toml").write_text('title = "Third"\nlike = "../child.toml"\nseeds = 9\n')
    suite = load_suite("deeper/third.toml")
    assert (suite.title, suite.seeds, suite.sparsities, recipe(suite)["budget"]) == ("Third", 9, (0.8, 0.9), 3000)
    assert [suite.profile for suite in load_profiles("deeper/third.toml")] == ["smoke", "quick", "paper"]


def test_a_suite_can_be_like_one_that_has_a_name(write):
    name = write('title = "Mine"\nlike = "CARTPOLE"\n')
    for mine, theirs in zip(load_profiles(name), load_profiles("cartpole"), strict=True):
        assert [cell.id for cell in cells(mine, "cpu")] == [cell.id for cell in cells(theirs, "cpu")]


NAMED = '[variant."SNIP, floor {floor}"]\n'
VARIANT = f'{NAMED}of = "SNIP"\nfloor = [2,\n8]\n'


@pytest.mark.parametrize(
    ("base", "child", "profile", "line"),
    [
        (("seeds = 2", "sedes = 2"), ("", ""), "quick", "mine.toml:5: sedes: no such key; did you mean 'seeds'?"),
        (("budget = 1000", "budget = 0"), ("budget = 3000", "epochs = 4"), "quick", "mine.toml:9: recipe.budget: got 0; must"),
        (("epoch = 2", "epoch = -2"), ("", ""), "smoke", "mine.toml:18: profiles.smoke.pruner.LTR.epoch: got -2; must"),
        (("", ""), ("seeds = 7", "seeds = 0"), "quick", "child.toml:3: seeds: got 0; must be at least 1"),
        (("", ""), ("epoch = 3", "epoc = 3"), "quick", "child.toml:9: pruner.LTR.epoc: no such key; did you mean 'epoch'?"),
        (("", ""), ("budget = 400", "bugdet = 400"), "smoke", "child.toml:12: profiles.smoke.recipe.bugdet: no such key; did"),
        (("", ""), ("[0.7]", "[0.7, 7]"), "paper", "child.toml:15: profiles.paper.sparsities: got 7; a sparsity is"),
        (('"LTR"]', '"LTRR"]'), ("", ""), "quick", "mine.toml:3: pruners: no pruner is named 'LTRR'; did you mean 'LTR'?"),
        (("levels = 4", "levls = 4"), ("", ""), "quick", "mine.toml:6: pruner.LTR.levls: no such key; did you mean 'levels'?"),
        (("[recipe]", VARIANT + "[recipe]"), ("[recipe]", NAMED + 'floor = [2, "x"]\n[recipe]'), "quick",
         'child.toml:6: variant.SNIP, floor x.floor: got "x"; must be a whole number'),
        (("[recipe]", VARIANT.replace("8", '"x"') + "[recipe]"), ("[recipe]", NAMED + 'scope = "layer"\n[recipe]'), "quick",
         'mine.toml:10: variant.SNIP, floor x.floor: got "x"; must be a whole number'),
        (("", ""), ("[profiles.paper]", "[profiles.papr]"), "smoke", "child.toml:14: profiles.papr: no such key; did you mean"),
        (("[profiles.smoke]", "[profiles.smok]"), ("", ""), "smoke", "mine.toml:14: profiles.smok: no such key; did you mean"),
        (("seeds = 2", "seeds == 2"), ("", ""), "quick", "mine.toml:5: not TOML: Invalid value"),
        (("", ""), ('like = "mine.toml"', 'lik = "mine.toml"'), "quick", "child.toml:2: lik: no such key; did you mean 'like'?"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_and_the_line_in_which_it_stands(like, base, child, profile, line):
    assert base[0] in SUITE
    found = told(like(CHILD, child, base=SUITE.replace(*base)), profile)
    assert [one for one in found if one.startswith(line)], found
    assert len(found) == 1 or "lik:" in line


@pytest.mark.parametrize(
    ("wrong", "told_"),
    [
        ('"cartpol"', "no suite and no file has this name; did you mean 'cartpole'? (see: rlprune list suites)"),
        ('"min.toml"', "no suite and no file has this name; did you mean 'mine.toml'? (see: rlprune list suites)"),
        ('"child.toml"', "is like itself in the end: child, like child"),
        ('"second.toml"', "is like itself in the end: child, like second, like child"),
        ('"."', "is not a file"),
        ('" "', 'got " "; must name a suite or a file'),
        ("3", "got 3; must name a suite or a file"),
        ('["mine.toml"]', 'got ["mine.toml"]; must name a suite or a file'),
    ],
)
def test_a_suite_that_is_like_none_is_told_so(like, tmp_path, wrong, told_):
    name = like(CHILD, ('"mine.toml"', wrong))
    (tmp_path / "second.toml").write_text('title = "Second"\nlike = "child.toml"\n')
    (line,) = told(name)
    where = "second.toml:2" if "second" in wrong else "child.toml:2"
    assert line == f"{where}: like: {told_}"


def test_results_are_told_apart_from_suites(tmp_path):
    with Store(tmp_path / "run" / "results.sqlite") as store:
        store.save(row("SNIP", 0.9, 0))
        store.pack(tmp_path / "packed")
    for there in (tmp_path / "run", tmp_path / "packed"):
        assert told(str(there)) == [f"{there}: holds results and is no suite: rlprune report {there} shows them"]


def test_chains_end(write, tmp_path):
    write()
    for number in range(1, 10):
        below = "mine.toml" if number == 1 else f"s{number - 1}.toml"
        (tmp_path / f"s{number}.toml").write_text(f'title = "Number {number}"\nlike = "{below}"\n')
    assert load_suite("s7.toml").seeds == 2
    (line,) = told("s8.toml")
    assert line.startswith("s1.toml:2: like: more than 8 suites are like the next: s8, like s7, like s6, ")


def test_like_is_read_in_a_file_outside_its_profiles_alone(like):
    message = "is read in a suite's file, outside its profiles, and nowhere else"
    assert told(like(CHILD, ("sparsities = [0.7]", 'like = "cartpole"')), "paper") == [
        f"child.toml:15: profiles.paper.like: {message}"
    ]
    assert told(like(), "quick", ["like=cartpole"]) == [f"--set like=cartpole: like: {message}"]


# -- mistakes ------------------------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once_by_line(write):
    name = write("""\
        # nothing right here
        titel = "x"
        tasks = ["cartpole-v3"]
        pruners = [
            "Dense",  # fine

            "SNUP", "snip",
            "SNIP",
        ]
        sparsities = [1.9, 0.5, 0.5]
        seeds = 0

        [recipe]
        budget = "much"
        [pruning]
        scope = "leyer"
        [pruner.CroP]
        rounds = 1
        [pruner.LTR]
        levls = 3
        [profiles.quik]
        [profiles.quick.pruner.EarlyCroP-U.until]
        margn = 1
        reference = "begin"
        """)
    assert [re.sub(r" \((allowed|see):.*", "", line) for line in told(name)] == [
        "mine.toml:1: title: is missing",
        "mine.toml:2: titel: no such key; did you mean 'title'?",
        "mine.toml:3: tasks: no task is named 'cartpole-v3'; did you mean 'cartpole-v1'?",
        "mine.toml:7: pruners: no pruner is named 'SNUP'; did you mean 'SNIP'?",
        'mine.toml:8: pruners: "SNIP" is there twice',
        "mine.toml:10: sparsities: got 1.9; a sparsity is the share removed, more than 0 and less than 1",
        "mine.toml:10: sparsities: 0.5 is there twice",
        "mine.toml:11: seeds: got 0; must be at least 1",
        "mine.toml:16: pruning.scope: got \"leyer\"; must be 'global', 'network', 'layer' or 'erk'; did you mean 'layer'?",
        "mine.toml:17: pruner.CroP: no pruner is named 'CroP'; did you mean 'CroP-U'?",
        "mine.toml:20: pruner.LTR.levls: no such key; did you mean 'levels'?",
        "mine.toml:21: profiles.quik: no such key; did you mean 'quick'?",
        "mine.toml:23: profiles.quick.pruner.EarlyCroP-U.until.margn: no such key; did you mean 'margin'?",
        "mine.toml:24: profiles.quick.pruner.EarlyCroP-U.until.reference: got \"begin\"; must be 'start' or 'epoch1'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("seeds = 2", 'seeds = "2"', 'mine.toml:5: seeds: got "2"; must be a whole number'),
        ("seeds = 2", "seeds = true", "mine.toml:5: seeds: got true; must be a whole number"),
        ('["cartpole-v1"]', '"cartpole-v1"', 'mine.toml:2: tasks: got "cartpole-v1"; must be a list'),
        ('["cartpole-v1"]', "[]", "mine.toml:2: tasks: got []; needs at least 1"),
        ("[0.8, 0.9]", "[9]", "mine.toml:4: sparsities: got 9; a sparsity is the share removed"),
        ('["cartpole-v1"]', '["cartpole-v1", 3]', "mine.toml:2: tasks: got 3; must be text"),
        ("pruner.LTR.levels = 4", "pruner.LTR = 4", "mine.toml:6: pruner.LTR: got 4; must be a table"),
        ("levels = 4", 'levels = "many"', 'mine.toml:6: pruner.LTR.levels: got "many"; must be a whole number'),
        ("entropy = 0.01", "entropy = -1", "mine.toml:12: task.cartpole-v1.entropy: got -1; must be at least 0"),
        ("budget = 1000", 'optimizer = "adm"', "mine.toml:9: recipe.optimizer: got \"adm\"; must be 'rmsprop'"),
        ("seeds = 2", 'seeds = 2\ncountry = "UK"', 'mine.toml:6: country: got "UK"; must be a country whose'),
        ("seeds = 2", "seeds = 2\nprice_per_hour = -1", "mine.toml:6: price_per_hour: got -1; must be at least 0"),
        ("[profiles.smoke]", "[profiles]\nquick = 3\n[profiles.smoke]", "mine.toml:15: profiles.quick: got 3; must be a table"),
        ("budget = 1000", "budget == 1000", "mine.toml:9: not TOML: Invalid value"),
        ("seeds = 2", "seeds = 2\nseeds = 3", "mine.toml:6: not TOML: Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line(write, old, new, line):
    (found,) = told(write(SUITE, (old, new)))
    assert found.startswith(line)
    assert not re.search("Input|valid integer|valid string|pydantic|tuple|dict", found)


def test_a_mistake_of_another_profile_waits_for_that_profile(write):
    name = write(SUITE, ("sparsities = [0.5]", "sparsities = [5]"))
    assert load_suite(name).sparsities == (0.8, 0.9)
    with pytest.raises(SuiteError, match=r"mine.toml:16: profiles.smoke.sparsities: got 5"):
        load_suite(name, "smoke")
    with pytest.raises(SuiteError, match=r"mine.toml:16: profiles.smoke.sparsities: got 5"):
        load_profiles(name)


def test_a_mistake_of_the_file_is_told_once_for_all_profiles(write):
    name = write(SUITE, ("budget =", "bugdet ="))
    with pytest.raises(SuiteError) as error:
        load_profiles(name)
    assert len(error.value.mistakes) == 1


def test_settings_of_a_pruner_that_is_not_run_are_read_all_the_same(write):
    name = write(SUITE, ("[recipe]", "[pruner.SynFlow]\nrounds = 5\n[recipe]"))
    assert load_suite(name).pruner["SynFlow"] == {"rounds": 5}
    (line,) = told(write(SUITE, ("[recipe]", "[pruner.SynFlow]\nround = 5\n[recipe]")))
    assert line.startswith("mine.toml:9: pruner.SynFlow.round: no such key; did you mean 'rounds'?")


def test_mistakes_of_the_command_line_name_the_option(write):
    lines = told(
        write(),
        "quick",
        ["recipe.bugdet=3", "budget", "pruner.snip.scope=leyer", "recipe.budget=few"],
        {"pruners": "snup,dense,Dense", "sparsities": ".9,x,2,98", "seeds": "0"},
    )
    assert {re.sub(r" \((allowed|see):.*", "", line) for line in lines} == {
        "--set budget: must be key=value, say recipe.budget=100000",
        "--set recipe.bugdet=3: recipe.bugdet: no such key; did you mean 'budget'?",
        "--set pruner.snip.scope=leyer: pruner.SNIP.scope: got \"leyer\"; must be 'global', 'network', 'layer' or 'erk'"
        "; did you mean 'layer'?",
        '--set recipe.budget=few: recipe.budget: got "few"; must be a whole number',
        "--pruners: no pruner is named 'snup'; did you mean 'SNIP'?",
        '--pruners: "Dense" is there twice',
        '--sparsities: got "x"; must be a number',
        "--sparsities: got 2; a sparsity is the share removed, more than 0 and less than 1",
        "--sparsities: got 98; a sparsity is the share removed, more than 0 and less than 1; did you mean 0.98?",
        "--seeds: got 0; must be at least 1",
    }


def test_an_unknown_profile_suggests_the_nearest(write):
    assert told(write(), "smok") == ["--profile: no profile is named 'smok'; did you mean 'smoke'? (mine has: quick, smoke)"]


def test_files_that_cannot_be_read(tmp_path, write):
    write()
    assert told("acrobot-v1") == ["acrobot-v1: a task, which is run by a suite that names it, in tasks = [...]; this is no suite"]
    assert told("cartpol") == ["cartpol: no suite and no file has this name; did you mean 'cartpole'? (see: rlprune list suites)"]
    assert told(".") == [".: is not a file"]
    os.mkfifo("pipe.toml")
    assert told("pipe.toml") == ["pipe.toml: is not a file"]
    for empty in ("", " "):
        assert told(empty) == ["SUITE: is empty: name a suite or a file (see: rlprune list suites)"]
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    assert told("latin.toml")[0].startswith("latin.toml: cannot be read: 'utf-8' codec")


def test_a_pruner_that_cannot_be_imported_is_a_mistake_like_others(write, monkeypatch):
    monkeypatch.setitem(pruners()._places, "Broken", "no_such_module:BROKEN")
    (line,) = told(write(SUITE, ('"LTR"', '"broken"')))
    assert line == "mine.toml:3: pruners: 'Broken' cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"


NAMES = st.text("abc", min_size=1, max_size=2)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.lists(st.integers(), max_size=3), max_size=3), max_size=3), st.data())
def test_lines_are_those_on_which_keys_were_written(tables, data):
    lines, where = [], {}

    def put(line, *keys):
        lines.extend(data.draw(st.sampled_from([[], ["# a = 1"], ["", ""]])))
        lines.append(line)
        where[keys] = len(lines)

    for table, entries in tables.items():
        put(f"[{table}]", table)
        for key, items in entries.items():
            if data.draw(st.booleans()):
                put(f"{key} = {items}", table, key)
            else:
                put(f"{key} = [", table, key)
                for index, item in enumerate(items):
                    put(f"  {item},  # ]", table, key, index)
                lines.append("]")
    assert {keys: line_of("\n".join(lines), keys) for keys in where} == where


# -- variants ------------------------------------------------------------------------------------------------------

VARIANTS = """
[variant."SNIP, floor {floor}"]
of = "SNIP"
floor = [2, 8]

[variant."EarlyCroP-S at {epoch}"]
of = "EarlyCroP-S"
until = { epoch = [0, 3], cap = 1.0 }
"""


def test_a_variant_is_a_pruner_under_settings_of_its_own(write):
    listed = 'pruners = ["SNIP", "SNIP, floor {floor}", "EarlyCroP-S at {epoch}"]'
    suite = load_suite(write(SUITE + VARIANTS, ('pruners = ["SNIP", "Dense", "LTR"]', listed)))
    assert suite.pruners == ("SNIP", "SNIP, floor 2", "SNIP, floor 8", "EarlyCroP-S at 0", "EarlyCroP-S at 3")
    made = {cell.method: cell for cell in cells(suite, "cpu") if cell.seed == 0 and cell.sparsity == 0.9}
    assert [cell.pruner for cell in made.values()] == ["SNIP", "SNIP", "SNIP", "EarlyCroP-S", "EarlyCroP-S"]
    assert made["SNIP, floor 8"].settings["floor"] == 8
    assert [made[f"EarlyCroP-S at {epoch}"].settings["until"]["epoch"] for epoch in (0, 3)] == [0, 3]
    assert len({cell.id for cell in made.values()}) == 5


def test_a_variant_of_several_lists_is_every_pair_of_their_values(write):
    both = '[variant."SNIP {floor} {start}"]\nof = "SNIP"\nfloor = [2, 8]\nstart = ["kept", "rescaled"]\n'
    listed = 'pruners = ["SNIP {floor} {start}"]'
    suite = load_suite(write(SUITE + both, ('pruners = ["SNIP", "Dense", "LTR"]', listed)))
    assert suite.pruners == ("SNIP 2 kept", "SNIP 2 rescaled", "SNIP 8 kept", "SNIP 8 rescaled")
    made = {cell.method: cell for cell in cells(suite, "cpu")}
    assert (made["SNIP 8 rescaled"].settings["floor"], made["SNIP 8 rescaled"].settings["start"]) == (8, "rescaled")
    lines = told(write(SUITE + both.replace("[2, 8]", "[2, 2]"), ('pruners = ["SNIP", "Dense", "LTR"]', 'pruners = ["SNIP"]')))
    assert "stands for the different values of a list" in lines[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('of = "SNIP"', 'of = "SNAPP"', "variant.SNIP, floor 8.of: no pruner is named 'SNAPP'; did you mean 'SNAP'?"),
        ('of = "SNIP"\n', "", "variant.SNIP, floor 8.of: is missing: name the pruner it is a variant of"),
        ("cap = 1.0", "cup = 1.0", "until.cup: no such key; did you mean 'cap'?"),
        ('"SNIP, floor {floor}"', "SNAP", "variant.SNAP: 'SNAP' is the name of a pruner"),
    ],
)
def test_mistakes_in_variants_are_told(write, old, new, message):
    assert any(message in line for line in told(write(SUITE + VARIANTS, (old, new))))


def with_variants(text):
    return SUITE.replace("[recipe]", f"[variant]\n{text}\n[recipe]")


def test_equal_variants_are_refused_by_both_names(write):
    listed = 'pruners = ["SNIP", "Dense", "LTR", "mine", "still"]'
    name = write(
        with_variants('mine = { of = "SNIP", scope = "network" }\nstill.of = "Dense"\nstill.floor = 3'), (LISTED, listed)
    )
    reason = "one cell cannot have two names"
    assert told(name) == [
        f"mine.toml:9: variant.mine: has all settings of 'SNIP' (on cartpole-v1): {reason}",
        f"mine.toml:10: variant.still: has all settings of 'Dense' (on cartpole-v1): {reason}",
    ]
    assert load_suite(name, "quick", ["variant.mine.floor=2", 'pruners=["SNIP", "mine"]']).pruners == ("SNIP", "mine")
    assert told(name, "quick", ['variant.mine={of="SNIP", floor=1}', 'pruners=["mine", "SNIP"]']) == [
        f"--set variant.mine={{of=\"SNIP\", floor=1}}: variant.mine: has all settings of 'SNIP' (on cartpole-v1): {reason}"
    ]


@pytest.mark.parametrize("name", ["$x$", "", "a/b", "x" * 400, r"a\u001b", "a ", "-x", "{floor}", "snip", "LTR"])
def test_variants_have_names_that_figures_and_files_can_bear(write, name):
    (line,) = told(write(with_variants(f'"{name}" = {{ of = "SNIP", floor = 2 }}')))
    assert line.startswith("mine.toml:9: variant.")
    assert line.isprintable()
    assert len(line) < 600


def test_variants_are_found_in_any_case_and_suggested(write):
    name = write(with_variants('Mine = { of = "SNIP", floor = 2 }'))
    assert load_suite(name, options={"pruners": "mine"}).pruners == ("Mine",)
    assert told(name, "quick", [], {"pruners": "min"}) == [
        "--pruners: no pruner is named 'min'; did you mean 'Mine'? (see: rlprune list pruners)"
    ]


# -- what no suite may hold ------------------------------------------------------------------------------------------


def deep(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "told_"),
    [
        (f"recipe.widths = {deep(20)}", "19: tables and lists are nested more than 16 deep"),
        (f"recipe.widths = {deep(5000)}", "19: tables and lists are nested more than 16 deep"),
        ("recipe.widths = " + "{a=" * 5000 + "1" + "}" * 5000, "19: tables and lists are nested more than 16 deep"),
        (".".join("a" * 20) + " = 1", "19: tables and lists are nested more than 16 deep"),
        (".".join("a" * 20_000) + " = 1", "19: tables and lists are nested more than 16 deep"),
        ("recipe.budget = " + "9" * 5000, "19: a number has thousands of digits"),
        ("recipe.budget = 0x" + "9" * 5000, "19: recipe.budget: got a number of more than 30 digits; must"),
        ("recipe.entropy = inf", "19: recipe.entropy: got inf; must be a finite number"),
        ("pruner.GraSP.temperature = nan", "19: pruner.GraSP.temperature: got nan; must be a finite number"),
        ('description = "a\\u001b[31m"', '19: description: got "a\\u001b[31m"; must be text without control characters'),
        ('"a\\u001b" = 1', "19: a\\x1b: no such key"),
        ("pruner.snip.floor = 1\npruner.SNIP.floor = 2", "19: pruner.snip: 'SNIP' is there twice"),
        ("solo = 10_001", "19: solo: got 10001; must be at most 10000"),
        ("recipe.epochs = 10_001", "19: recipe.epochs: got 10001; must be at most 10000"),
        ("recipe.widths = [8, 0]", "19: recipe.widths: got 0; must be at least 1"),
        ("pruner.IMP.levels = 1001", "19: pruner.IMP.levels: got 1001; must be at most 1000"),
        ("pruner.EarlyCroP-S.until.cap = 2", "19: pruner.EarlyCroP-S.until.cap: got 2; must be at most 1"),
        ("recipe.environment = ''", '19: recipe.environment: got ""; '),
        ("recipe.environment = 'CartPol-v1'", "19: recipe.environment: got \"CartPol-v1\"; "),
        ("recipe.environment = 'Blackjack-v1'", "19: recipe.environment: Blackjack-v1 has no time limit"),
    ],
)  # fmt: skip
def test_what_no_suite_may_hold_is_told_in_a_line(write, text, told_):
    head = SUITE[: SUITE.index("[recipe]")]
    name = write(f"{head}{'# ' * 3}\n" + "\n" * (18 - head.count("\n") - 1) + text)
    lines = told(name)
    assert any(line.startswith(f"mine.toml:{told_}") for line in lines), lines
    assert all(line.isprintable() and len(line) < 1500 for line in lines)


@pytest.mark.parametrize(
    ("task", "override", "told_"),
    [
        ("vgg-small-shapes", "network=vgg-smal", "no network has this name; did you mean 'vgg-small'?"),
        ("vgg-small-shapes", "network=", "no network has this name"),
        ("vgg-small-shapes", "network=torchvision/resnet3", "torchvision has no classifier of this name; did you mean"),
        ("rooms-fcrn-small", "network=fcrn-smal", "no network has this name; did you mean 'fcrn-small'?"),
        ("vgg-small-shapes", "budget=1", "must be at least 2"),
        ("vgg-small-shapes", "budget=10_001", "must be at most 10000"),
        ("vgg-small-shapes", "micro_batch=7", "micro_batch must divide batch_size, 64"),
        ("vgg-small-shapes", "data=", "must not be empty"),
        ("pairs-bert-small", "hidden=65_537", "must be at most 65536"),
    ],
)
def test_wrong_recipes_of_other_tasks_are_told(write, task, override, told_):
    key = override.partition("=")[0]
    text = (
        SUITE.replace("cartpole-v1", task)
        .replace("entropy = 0.01\n", "")
        .replace("budget = 1000\n", "")
        .replace("recipe.epochs = 5\n", "")
    )
    (line,) = told(write(text), "quick", [f"recipe.{override}"])
    assert line.startswith(f"--set recipe.{override}: recipe.{key}: ")
    assert told_ in line


def test_the_cells_of_a_suite_are_bounded(write):
    told_ = told(write(SUITE, ("seeds = 2", "seeds = 10_000"), ("[0.8, 0.9]", str([number / 61 for number in range(1, 61)]))))
    assert told_ == ["mine.toml:5: seeds: tasks, pruners, sparsities and seeds make 1,210,000 cells; must be at most 1,000,000"]
    assert told(write(SUITE, ("seeds = 2", "seeds = 10_001"))) == ["mine.toml:5: seeds: got 10001; must be at most 10000"]


@pytest.mark.parametrize(
    ("override", "told_"),
    [
        ("sparsities=[.9]", "not TOML: Invalid value; write 0.9, not .9"),
        ("recipe.widths=[8", "not TOML: Unclosed array"),
        (f"recipe.widths={deep(3000)}", "tables and lists are nested more than 16 deep"),
        ("recipe.budget=" + "9" * 5000, "a number has thousands of digits"),
        ("title=a\x1b[31m", "must be key=value, say recipe.budget=100000"),
        ("seeds=1\nsolo=2", "must be key=value, say recipe.budget=100000"),
        ("=3", "must be key=value, say recipe.budget=100000"),
        ("[recipe]", "must be key=value, say recipe.budget=100000"),
    ],
)
def test_overrides_that_are_none_are_told_as_what_was_typed(write, override, told_):
    (line,) = told(write(), "quick", [override])
    assert line.startswith("--set ")
    assert line.endswith(f": {told_}")
    assert line.isprintable()


def test_overrides_are_numbers_however_they_are_written(write):
    assert recipe(load_suite(write(), "quick", ["recipe.discount=.5"]))["discount"] == 0.5


@pytest.mark.parametrize(
    ("data", "told_"),
    [
        (SUITE.encode("utf-16"), "it is UTF-16, or no text at all: save it as UTF-8"),
        (SUITE.encode("utf-16-be"), "it is UTF-16, or no text at all: save it as UTF-8"),
        (SUITE.replace("smoke", "smöke").encode("latin-1"), "line 14 is not UTF-8: save it as UTF-8"),
        (b"#" * 10_000_001, "it is larger than 10 MB"),
    ],
)
def test_files_that_are_no_utf_8_are_told_in_words(tmp_path, data, told_):
    (tmp_path / "mine.toml").write_bytes(data)
    (line,) = told(str(tmp_path / "mine.toml"))
    assert line.endswith(told_)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + SUITE.encode(), SUITE.replace("\n", "\r\n").encode()])
def test_what_editors_of_windows_add_does_no_harm(tmp_path, data):
    file = tmp_path / "mine.toml"
    file.write_bytes(data)
    assert load_suite(str(file)).title == "A suite"
    file.write_bytes(data.replace(b"seeds = 2", b"seeds = 0"))
    assert told(str(file)) == [f"{file}:5: seeds: got 0; must be at least 1"]


def test_a_files_name_is_the_suites(tmp_path):
    (tmp_path / "$5.toml").write_text(SUITE)
    assert told(str(tmp_path / "$5.toml"))[0].endswith("results and figures are named after the file: a name cannot hold $")
    assert "cannot be read: " in told("x" * 5000)[0]
    assert told("a\x1bb") == ["a\\x1bb: no suite and no file has this name (see: rlprune list suites)"]


# -- long files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "last"),
    [
        ("# nothing\n" * 20_000, "", "mine.toml:20005: seeds: got 0; must be at least 1"),
        ("", "\n".join(f"key{number} = 1" for number in range(20_000)), "and 19,901 mistakes more"),
        ("", "\n".join(f'[variant."V {n}"]\nof = "SNIP"' for n in range(8_000)), "mine.toml:5: seeds: got 0; must be at least 1"),
        ("", "[pruner]\n" + "\n".join(f"V{number}.floor = 1" for number in range(5_000)), "and 4,901 mistakes more"),
    ],
)  # fmt: skip
def test_long_files_are_read_in_one_go(write, before, after, last):
    name = write(before + SUITE[: SUITE.index("pruner.LTR")].replace("seeds = 2", "seeds = 0") + after)
    began = time.process_time()
    assert told(name)[-1] == last
    assert time.process_time() - began < 20, "line by line it takes minutes"


def test_20000_cells_are_quick(write):
    suite = load_suite(write(SUITE, ("seeds = 2", "seeds = 4_000")))
    began = time.process_time()
    made = cells(suite, "cpu")
    assert len({cell.id for cell in made}) == len(made) == 20_000
    assert time.process_time() - began < 20


def test_lines_of_nested_things_are_their_own():
    text = dedent('''\
        """a.b" = """
        [not.a.table]
        """
        [x."y.z"]
        list = [1, [2,
          3], "]", # [
          { k = [
            4 ] }]
        t.u.v = 5
        [[many]]
        k = \'\'\'
        k = 2\'\'\'
        [[many]]
        k = 3
        ''').replace('"""a.b" = ', '"a.b" = ')  # fmt: skip
    where = {
        ("a.b",): 1,
        ("x",): 4,
        ("x", "y.z", "list", 1, 0): 5,
        ("x", "y.z", "list", 1, 1): 6,
        ("x", "y.z", "list", 3, "k"): 7,
        ("x", "y.z", "list", 3, "k", 0): 8,
        ("x", "Y.Z", "t", "u", "v"): 9,
        ("many",): 10,
        ("many", 0, "k"): 11,
        ("many", 1, "k"): 14,
        ("many", 1, "no"): 13,
        ("no",): 1,
    }
    assert {keys: line_of(text, keys) for keys in where} == where


def test_mistakes_in_spread_variants_name_the_line_of_the_list(write):
    listed = 'pruners = [\n"X {floor}",\n"SNUP"]'
    name = write(SUITE + '[variant."X {floor}"]\nof = "SNIP"\nfloor = [2,\n"x"]\n', (LISTED, listed))
    assert [line.partition("; ")[0] for line in told(name)] == [
        "mine.toml:5: pruners: no pruner is named 'SNUP'",
        'mine.toml:23: variant.X x.floor: got "x"',
    ]


def test_suites_are_looked_for_where_the_path_leads(tmp_path):
    """It named pyproject.toml, which lay where the command was typed."""
    (tmp_path / "mine.toml").write_text("")
    with pytest.raises(SuiteError, match=r"did you mean '.*/mine\.toml'\?"):
        load_suite(str(tmp_path / "mien.toml"))
