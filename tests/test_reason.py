import traceback

import pytest

from rlprune.pruning.pruner import Pruner
from rlprune.reason import line, reason, told


def chained():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("\n  Expected logits, but found invalid values:\ntensor([[nan, nan]])") from error


def silent():
    raise AssertionError


def unspeakable():
    class OddError(Exception):
        def __str__(self):
            raise RuntimeError

    raise OddError


def raises(error):
    def act():
        raise error

    return act


KINDS = {
    chained: "ValueError: Expected logits, but found invalid values:",
    silent: "AssertionError in silent, ",
    unspeakable: "OddError: its message cannot be shown (RuntimeError)",
    raises(KeyError("no group is named 'a'")): "KeyError: no group is named 'a'",
    raises(KeyError("a")): "KeyError: 'a'",
    raises(ValueError(" \n ")): "ValueError in act, ",
    raises(ValueError("\x1b[31mred\x1b[0m\tand \a bell")): "ValueError: red and bell",
    raises(FileNotFoundError(2, "No such file", "\udcff.png")): r"FileNotFoundError: [Errno 2] No such file: '\udcff.png'",
    raises(ExceptionGroup("several", [ValueError("one")])): "ExceptionGroup: several (1 sub-exception)",
    lambda: compile("a b", "net.py", "exec"): "SyntaxError: invalid syntax (net.py, line 1)",
}


@pytest.mark.parametrize("fail", KINDS)
def test_the_reason_is_the_exceptions_line_and_the_traceback_follows(fail):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of every kind)
        fail()
    text = told(caught.value)
    assert line(caught.value).startswith(KINDS[fail])
    assert reason(text) == line(caught.value)
    assert text.partition("\n")[2].lstrip(" +|").startswith(("Traceback", "Exception Group Traceback"))
    assert text.encode()


def test_a_bare_traceback_as_rows_once_had_it_says_the_last_exceptions_first_line():
    try:
        chained()
    except ValueError as error:
        error.args = ("found nan:\ntensor([[nan]])",)
        assert reason(traceback.format_exc()) == "ValueError: found nan:"


def test_a_reason_is_one_line_of_bearable_length_and_never_blank():
    assert [reason(blank) for blank in (None, "", " \n")] == ["no reason recorded"] * 3
    assert reason("needs batchnorm\nand more") == "needs batchnorm"
    assert len(line(ValueError("x" * 5000))) == 400


def test_an_error_of_somebody_elses_code_is_told_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("def plan():\n    import json\n    json.loads('{')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import theirs

    pruner = Pruner("Theirs", None, cut="nothing", plan=theirs.plan)
    with pytest.raises(ValueError, match="Expecting property name") as caught:
        pruner.steps(pruner.settings())
    assert reason(told(caught.value)).endswith("(char 1) (theirs.py, line 3)")
    assert line(caught.value).endswith("(char 1)")
