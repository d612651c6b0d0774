from rlprune.data import pairs


def test_pairs_are_pieces_of_sentences_in_both_orders():
    train, test = pairs.made()
    assert len(train[0]) > 2000
    assert len(test[0]) > 400
    for first, second, labels in (train, test):
        assert sum(labels) == len(labels) / 2
        found = dict(zip(zip(first, second, strict=True), labels, strict=True))
        assert all(label != found[other, one] for (one, other), label in found.items() if one != other)
        assert all(len(text.split()) == pairs.PIECE and text.islower() for text in first)


def test_no_pair_is_in_both_parts_and_none_is_drawn_by_lot():
    train, test = pairs.made()
    assert not set(zip(*train[:2], strict=True)) & set(zip(*test[:2], strict=True))
    assert pairs.made.__wrapped__() == (train, test)
