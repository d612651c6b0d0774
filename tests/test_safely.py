"""What leaves the program: text, names of files, fields of CSV files, files."""

import csv
import io

import pytest

from rlprune import files, safely


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SNIP, floor 8", "SNIP, floor 8"),
        ("5$ or 6$", "5$ or 6$"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("雪", "雪"),
    ],
)
def test_text_is_one_line_that_acts_on_nothing(text, shown):
    assert safely.plain(text) == shown


@pytest.mark.parametrize("text", ["cartpole-quick-cartpole-v1", "vgg-small, 2", "SNIP+x (a=b)", "雪"])
def test_a_name_that_is_safe_stays(text):
    assert safely.name(text) == text


HOSTILE = ["../../x", "/etc/passwd", "a/b", "a\\b", "..", ".", "", " ", "CON", "nul.txt", "com1", "a\x00b", "x" * 400, "雪" * 400]
HOSTILE += ["a:b", "trailing.", "trailing ", ".hidden", "\ud800", "a\nb", "*?<>|", "a_b", "A_B"]


def test_names_of_files_are_safe_anywhere_and_differ_where_texts_do():
    names = [safely.name(text) for text in HOSTILE]
    assert len({name.casefold() for name in names}) == len(HOSTILE) - 1  # a_b and A_B are both safe
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name == name.strip(" .")
        assert name.partition(".")[0].casefold() not in ("con", "nul", "com1")
        assert len(name.encode()) < 200


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1"])
def test_a_spreadsheet_computes_no_text(text):
    assert safely.field(text).startswith("'")


@pytest.mark.parametrize("value", [-1.5, 3, None, "-83.4", "+1e3", "SNIP", "a-b"])
def test_numbers_stay_numbers(value):
    assert safely.field(value) == value


def test_a_field_is_one_line_of_a_csv_file():
    text = io.StringIO()
    csv.writer(text).writerow([safely.field("a\r\n=b")])
    assert text.getvalue().splitlines() == ["a  =b"]


def test_a_file_is_whole_or_as_it_was(tmp_path):
    file = tmp_path / "report.html"
    files.write(file, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(file, "\ud800")
    assert file.read_text() == "old"
    files.write(file, b"new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_long_text_keeps_both_ends_and_is_told_from_its_like():
    first, second = (safely.shortened("SNIP " + "x" * 300 + middle + "x" * 300 + " end") for middle in "ab")
    assert len(first) <= 60
    assert first.startswith("SNIP xxx")
    assert first != second
