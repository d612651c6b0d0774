"""What counting words predicts: baselines that a language model has to beat."""

from typing import Any, TypeAlias

import numpy as np

Tokens: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def unigram(train: Tokens, test: Tokens, words: int) -> float:
    """Return the log perplexity of ``p(w) = (count(w) + 1) / (tokens + words)``, in nats a word."""
    counts = np.bincount(train, minlength=words) + 1
    return float(-np.log(counts[test] / counts.sum()).mean())


def kneser_ney(train: Tokens, test: Tokens, words: int, order: int = 5) -> float:
    """Return the log perplexity of an interpolated Kneser-Ney model of ``order``-grams, in nats a word.

    ``p_k(w | c) = max(n(cw) − D, 0) / n(c·) + D n⁺(c·) / n(c·) p_{k−1}(w | c')``, ``c'`` without its first word and
    ``p_0 = 1 / words``. ``n`` counts occurrences for the longest grams and, for shorter ones, the different words in front of
    them; ``n⁺`` is how many different words follow; ``D = n_1 / (n_1 + 2 n_2)``, with the numbers of grams seen once and twice.
    Contexts run over the ends of lines; the first ``order − 1`` words of a text are seen with what comes before them in ``train``.

    Source: Chen & Goodman, 1999, section 2.7 and 3.2.
    """
    text = np.concatenate([train, test])
    grams = [np.zeros(len(text), dtype=np.int64)]  # grams[k][t] numbers the k words that end at t
    for k in range(1, order + 1):
        first = np.concatenate([np.full(k - 1, words), text[: len(text) - k + 1]])
        grams.append(np.unique(grams[-1] * (words + 1) + first, return_inverse=True)[1])
    seen = slice(0, len(train))
    p = np.full(len(test), 1 / words)
    for k in range(1, order + 1):
        number, size = grams[k], int(grams[k].max()) + 1
        context = np.concatenate([[0], grams[k - 1][:-1]]) if k > 1 else np.zeros(len(text), dtype=np.int64)
        source = np.arange(len(train)) if k == order else np.unique(grams[k + 1][seen], return_index=True)[1]
        counts = np.bincount(number[source], minlength=size)
        kinds = np.unique(number[seen], return_index=True)[1]  # a place of each different gram
        contexts = int(context.max()) + 1
        total = np.bincount(context[kinds], weights=counts[number[kinds]], minlength=contexts)
        following = np.bincount(context[kinds], minlength=contexts)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = once / (once + 2 * twice) if once and twice else 0.75
        here, before = number[len(train) :], context[len(train) :]
        known = total[before] > 0
        share = np.maximum(counts[here] - discount, 0) + discount * following[before] * p
        p = np.where(known, share / np.where(known, total[before], 1), p)
    return float(-np.log(p).mean())
