import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from tiny_data import texts

from rlprune.data import folders, ngrams, text


def spoken(data, part):
    return " ".join(data.words[number] for number in getattr(data, part))


# -- texts -------------------------------------------------------------------------------------------------------


def test_prose_is_numbered_words_the_same_every_time():
    data, again = (text.load("prose", None, 2000) for _ in range(2))
    assert len(data.words) == 2000
    assert {text.END, text.UNKNOWN, "the"} <= set(data.words[:10])
    assert len(data.train) > 20_000
    for part in ("train", "valid", "test"):
        stream = getattr(data, part)
        assert stream.dtype == torch.int64
        assert torch.equal(stream, getattr(again, part))
        assert stream[-1] == data.words.index(text.END)
        assert 0 <= stream.min() <= stream.max() < 2000
        assert (stream == data.words.index(text.UNKNOWN)).float().mean() < 0.1
    assert all(word == word.lower() or word == text.NUMBER for word in data.words)


def test_sentences_are_lower_case_words_and_signs_with_numbers_as_n():
    paragraph = "It's 3.14 in Python 3. Call f(x, my_name): done."
    assert list(text._sentences([paragraph])) == [
        ["it's", "N", "in", "python", "N"],
        ["call", "f", "(", "x", ",", "my_name", ")", ":"],
        ["done", "."],
    ]


def test_penn_treebank_as_published_is_read(tmp_path):
    texts(tmp_path / "ptb", "ptb.", train=" the <unk> cat \n the N\n", valid=" the \n", test=" cat <unk> \n")
    data = text.load("ptb", tmp_path)
    assert set(data.words) == {"the", "<unk>", "cat", "N", "<eos>"}
    assert spoken(data, "train") == "the <unk> cat <eos> the N <eos>"
    assert spoken(data, "test") == "cat <unk> <eos>"
    assert torch.equal(text.load("ptb", tmp_path / "ptb").train, data.train)


def test_any_text_is_read_from_a_folder_of_its_name(tmp_path):
    texts(tmp_path / "poems")
    data = text.load("poems", tmp_path)
    assert spoken(data, "train") == "a b a <eos> c <eos>"
    assert data.words == ("<eos>", "a", "b", "c")


def test_rare_words_are_unknown_where_a_limit_is_given(tmp_path):
    texts(tmp_path / "poems", test="b d a\n")
    data = text.load("poems", tmp_path, vocabulary=3)
    assert set(data.words) == {"<eos>", "<unk>", "a"}
    assert spoken(data, "train") == "a <unk> a <eos> <unk> <eos>"
    assert spoken(text.load("poems", tmp_path, vocabulary=99), "test") == "b <unk> a <eos>"


def test_a_word_that_training_lacks_is_told_by_file_and_row(tmp_path):
    texts(tmp_path / "poems", test="a b\nb zebra\n")
    with pytest.raises(ValueError, match=r"poems/test\.txt:2: 'zebra' is no word of the training part.*set recipe.vocabulary"):
        text.load("poems", tmp_path)


def test_files_that_are_missing_or_empty_or_no_text_are_told_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="ptb is read from a folder; name it with --data"):
        text.load("ptb", None)
    with pytest.raises(ValueError, match=r"does not hold ptb; expected: ptb/ with ptb\.train\.txt, .*Mikolov"):
        folders.found("ptb", tmp_path)
    texts(tmp_path / "poems")
    (tmp_path / "poems/valid.txt").unlink()
    with pytest.raises(ValueError, match=r"poems is not whole: valid\.txt missing"):
        text.load("poems", tmp_path)
    texts(tmp_path / "poems", test="\n \n")
    with pytest.raises(ValueError, match=r"poems/test\.txt holds no word; expected one sentence a line") as told:
        text.load("poems", tmp_path)
    assert "\n" not in str(told.value)
    (tmp_path / "poems/test.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"poems/test\.txt is no text in UTF-8"):
        text.load("poems", tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("the\u2028cat \x85 the\x0ccat\x0b\x1cthe\n", "the cat the cat the <eos>"),
        ("\ufeffthe cat\n\ufeffthe\n", "the cat <eos> the <eos>"),
        ("the cat\r\nthe\r\n", "the cat <eos> the <eos>"),
        ("the cat\rthe\r", "the cat <eos> the <eos>"),
        ("the cat", "the cat <eos>"),
        ("the cat\n\nthe\n", "the cat <eos> <eos> the <eos>"),
        ("the cat <eos>\n<eos>\nthe\n", "the cat <eos> <eos> the <eos>"),
        ("the <eos> cat <eos>\n", "the <eos> cat <eos>"),
    ],
)
def test_a_line_ends_where_a_line_ends_and_once(tmp_path, content, expected):
    texts(tmp_path / "poems", train="the cat <unk>\n")
    for part in ("valid", "test"):
        (tmp_path / f"poems/{part}.txt").write_bytes(content.encode())
    data = text.load("poems", tmp_path)
    assert spoken(data, "valid") == spoken(data, "test") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the\r\ncat\rthe\ncaf\xe9 the\n", r"valid\.txt is no text in UTF-8: line 4 has a byte 0xe9"),
        ("the cat\n".encode("utf-16"), r"valid\.txt is no text in UTF-8: line 1 begins like UTF-16"),
        ("the\ncat\n".encode("utf-16-le"), r"valid\.txt is no text: line 1 has a NUL byte"),
        (b"the\nc\0at\n", r"valid\.txt is no text: line 2 has a NUL byte"),
        (b"", r"valid\.txt holds no word"),
        (b"\xef\xbb\xbf", r"valid\.txt holds no word"),
        (b"<eos>\n<eos>\n", r"valid\.txt holds no word"),
    ],
)
def test_what_is_no_text_is_told_by_file_and_line(tmp_path, content, message):
    texts(tmp_path / "poems", train="the cat <unk>\n")
    (tmp_path / "poems/valid.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as told:
        text.load("poems", tmp_path)
    assert "\n" not in str(told.value)


def test_a_folder_in_the_place_of_a_text_is_told_of(tmp_path):
    texts(tmp_path / "poems")
    (tmp_path / "poems/valid.txt").unlink()
    (tmp_path / "poems/valid.txt").mkdir()
    with pytest.raises(ValueError, match=r"valid\.txt cannot be read: Is a directory"):
        text.load("poems", tmp_path)


# -- what counting predicts --------------------------------------------------------------------------------------


def test_a_unigram_model_by_hand():
    train, test = np.array([0, 0, 1, 2]), np.array([0, 3])
    assert ngrams.unigram(train, test, 4) == pytest.approx(-(math.log(3 / 8) + math.log(1 / 8)) / 2)


def kneser_ney(train, words, order):
    """Probabilities by loops over dictionaries: a function of context and word."""
    padded = [words] * (order - 1) + list(train)
    grams = {k: [tuple(padded[end - k + 1 : end + 1]) for end in range(order - 1, len(padded))] for k in range(1, order + 1)}

    def counts(k):
        if k == order:
            return Counter(grams[k])
        return Counter(gram[1:] for gram in set(grams[k + 1]))

    tables = {k: counts(k) for k in range(1, order + 1)}

    def p(context, word, k):
        if k == 0:
            return 1 / words
        table, shorter = tables[k], context[len(context) - k + 1 :]
        total = sum(n for gram, n in table.items() if gram[:-1] == shorter)
        kinds = sum(gram[:-1] == shorter for gram in table)
        below = p(context, word, k - 1)
        if not total:
            return below
        once, twice = (sum(n == times for n in table.values()) for times in (1, 2))
        d = once / (once + 2 * twice) if once and twice else 0.75
        return (max(table[*shorter, word] - d, 0) + d * kinds * below) / total

    return lambda context, word: p(context, word, order)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_equals_loops_over_dictionaries_and_sums_to_one(order):
    lots = np.random.default_rng(order)
    words = 5
    train, test = (np.minimum(lots.geometric(0.4, size) - 1, words - 1) for size in (60, 25))
    p = kneser_ney(train, words, order)
    both = [*train, *test]
    expected = [p(tuple(both[t - order + 1 : t]), both[t]) for t in range(len(train), len(both))]
    assert ngrams.kneser_ney(train, test, words, order) == pytest.approx(-np.log(expected).mean(), rel=1e-12)
    for context in itertools.islice(itertools.product(range(words), repeat=order - 1), 40):
        assert sum(p(context, word) for word in range(words)) == pytest.approx(1)
