import pytest

from rlprune.safely import FORBIDDEN, LONGEST, fault, plain


@pytest.mark.parametrize(
    "name", ["SNIP", "SNIP, floor 8", "EarlyCroP-S at 0", "mine", "_mine", "größer 2.5", "x" * LONGEST, "a+b = (c)"]
)
def test_good_names_have_no_fault(name):
    assert fault(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "x" * (LONGEST + 1),
        "é" * LONGEST,
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "a\udcff",
        "a ",
        "a.",
        "../a",
        "-a",
        "=1",
        " a",
    ]
    + [f"a{character}b" for character in FORBIDDEN],
)
def test_names_that_files_or_figures_cannot_bear_are_faulty(name):
    assert fault(name)
    assert plain(fault(name)) == fault(name)


def test_text_is_made_fit_for_one_line_of_a_terminal():
    assert plain("größe 5 µs") == "größe 5 µs"
    assert plain("a\x1b[31m\r\n\x9b\u202e\udcff") == "a\\x1b[31m  \\x9b\\u202e\\udcff"
    assert plain("x" * 50, 21) == "x" * 10 + "…" + "x" * 10
