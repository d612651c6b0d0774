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
    Contexts run over the ends of lines, and from the last words of ``train`` into ``test``.

    Source: Chen & Goodman, 1999, section 2.7 and 3.2.
    """
    text = np.concatenate([np.full(order, words), train, test])
    grams = [np.zeros(len(text), dtype=np.int64)]  # grams[k][t] numbers the k words that end at t
    for k in range(1, order + 1):
        first = np.concatenate([np.full(k - 1, words), text[: len(text) - k + 1]])
        grams.append(np.unique(grams[-1] * (words + 1) + first, return_inverse=True)[1])
    seen, new = slice(order, order + len(train)), slice(order + len(train), len(text))
    p = np.full(len(test), 1 / words)
    for k in range(1, order + 1):
        context = np.concatenate([[0], grams[k - 1][:-1]])
        places = np.arange(len(train)) if k == order else np.unique(grams[k + 1][seen], return_index=True)[1]
        counts = np.bincount(grams[k][seen][places], minlength=len(text))
        kinds = np.unique(grams[k][seen], return_index=True)[1]  # a place of each different gram
        total = np.bincount(context[seen][kinds], weights=counts[grams[k][seen][kinds]], minlength=len(text))[context[new]]
        following = np.bincount(context[seen][kinds], minlength=len(text))[context[new]]
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = once / (once + 2 * twice) if once and twice else 0.75
        share = np.maximum(counts[grams[k][new]] - discount, 0) + discount * following * p
        p = np.where(total > 0, share / np.maximum(total, 1), p)
    return float(-np.log(p).mean())
