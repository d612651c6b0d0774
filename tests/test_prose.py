from rlprune.data.prose import prose


def test_prose_is_sentences_split_once_and_for_all():
    text = prose()
    words = [sum(len(paragraph.split()) for paragraph in part) for part in text]
    assert words[0] > 20_000
    assert min(words[1:]) > 1_000
    assert all(paragraph[-1] in ".:;" and "::=" not in paragraph for part in text for paragraph in part)


def test_no_paragraph_is_in_two_parts():
    parts = [set(part) for part in prose()]
    assert [len(part) for part in parts] == [len(part) for part in prose()]
    assert parts[0].isdisjoint(parts[1] | parts[2])
    assert parts[1].isdisjoint(parts[2])
