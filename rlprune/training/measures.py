"""What GLUE counts predictions by, in percent."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def accuracy(found: Values, truth: Values) -> float:
    """Return the share that is right."""
    return 100 * float((found == truth).mean())


def f1(found: Values, truth: Values) -> float:
    """Return ``2 TP / (2 TP + FP + FN)`` of class 1; 0 where it is neither there nor found."""
    hits, misses = float(((found == 1) & (truth == 1)).sum()), float(((found == 1) != (truth == 1)).sum())
    return 100 * 2 * hits / (2 * hits + misses) if hits else 0.0


def matthews(found: Values, truth: Values) -> float:
    """Return the correlation of two binary variables; 0 where one is constant."""
    return pearson(found, truth)


def pearson(found: Values, truth: Values) -> float:
    """Return the linear correlation; 0 where one is constant and so tells nothing."""
    return 0.0 if np.ptp(found) == 0 or np.ptp(truth) == 0 else 100 * float(np.corrcoef(found, truth)[0, 1])


def spearman(found: Values, truth: Values) -> float:
    """Return the correlation of the ranks, ties sharing theirs; 0 where one is constant."""
    return pearson(stats.rankdata(found), stats.rankdata(truth))


OF_CLASSES: Mapping[str, Callable[[Values, Values], float]] = {"accuracy": accuracy}
OF_TWO_CLASSES: Mapping[str, Callable[[Values, Values], float]] = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
OF_VALUES: Mapping[str, Callable[[Values, Values], float]] = {"pearson": pearson, "spearman": spearman}
