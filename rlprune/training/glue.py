"""GLUE: BERT trained on sentences and pairs, all of them on the device as token ids."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from rlprune.data import folders, glue
from rlprune.data.glue import Texts
from rlprune.data.tokens import Tokens
from rlprune.nets import bert
from rlprune.pruning.groups import Anatomy
from rlprune.training.recipes import GlueRecipe
from rlprune.training.supervised import Batch, SupervisedTrainer


class GlueTrainer(SupervisedTrainer[GlueRecipe]):
    """BERT fitted by cross-entropy, or by squared errors where labels are values.

    Batches are as wide as their longest row.
    """

    def prepare(self, folder: Path | None) -> None:
        recipe = self.recipe
        train, test, self._outputs = glue.load(recipe.data, folder)
        self._checkpoint = folders.checkpoint(recipe.checkpoint, folder) if recipe.checkpoint else None
        if self._checkpoint:
            self._tokens = Tokens.of_checkpoint(self._checkpoint)
        else:
            self._tokens = Tokens.learned(chain(train.first, train.second or ()), recipe.vocabulary)
        self._words, self._marks = len(self._tokens), bert.Marks(self._tokens.pad, self._tokens.separator)
        self._train, self._lengths = self._ready(train, recipe.train_texts)
        self._test, self._test_lengths = self._ready(test)
        places = sorted(range(len(self._test_lengths)), key=self._test_lengths.__getitem__)
        self._typical = places[len(places) // 2]  # what a sample costs goes with its length

    def _ready(self, part: Texts, count: int | None = None) -> tuple[Batch, list[int]]:
        """Return rows and labels on the device, and the lengths of rows here.

        Raises:
            ValueError: there are fewer than ``count``.
        """
        if count is not None and count > len(part.labels):
            raise ValueError(f"train_texts asks for {count} rows, the training data has {len(part.labels)}")
        second = None if part.second is None else part.second[:count]
        rows, lengths = self._tokens.rows(part.first[:count], second, self.recipe.max_tokens)
        labels = torch.tensor(part.labels[:count], dtype=torch.float32 if self._outputs == 1 else torch.int64)
        return (rows.to(self.device), labels.to(self.device)), lengths.tolist()

    def sizes(self) -> dict[str, int] | None:
        """A pre-trained network has its sizes from its checkpoint, which lies beside the data."""
        if self._checkpoint:
            return None
        return {"words": self._words, "outputs": self._outputs, "pad": self._marks.pad, "separator": self._marks.separator}

    def recall(self, outline: Mapping[str, Any]) -> None:
        self._checkpoint = None
        self._words, self._outputs = int(outline["words"]), int(outline["outputs"])
        self._marks = bert.Marks(int(outline["pad"]), int(outline["separator"]))

    def network(self) -> tuple[nn.Module, Anatomy]:
        recipe, marks = self.recipe, self._marks
        if self._checkpoint:
            net = bert.pretrained(self._checkpoint, self._outputs, marks, recipe.max_tokens)
        else:
            net = bert.small(
                vocabulary=self._words,
                layers=recipe.layers,
                hidden=recipe.hidden,
                heads=recipe.heads,
                intermediate=recipe.intermediate,
                max_tokens=recipe.max_tokens,
                outputs=self._outputs,
                marks=marks,
            )
        return net, net.anatomy()

    @property
    def steps(self) -> int:
        return max(1, len(self._lengths) // self.recipe.batch_size)

    def batches(self, use: str, *, augmented: bool) -> Iterator[Batch]:
        """Yield whole batches; rows left over wait for another pass."""
        rows, labels = self._train
        lots = torch.Generator().manual_seed(int(self.seeds(use).generate_state(1)[0]))
        order = torch.randperm(len(labels), generator=lots)
        size = self.recipe.batch_size
        for chosen in torch.split(order[: self.steps * size], size):
            longest = max(self._lengths[place] for place in chosen.tolist())
            places = chosen.to(self.device)
            yield rows[places, :longest], labels[places]

    def loss(self, module: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        rows, labels = batch
        return self._fit(module(rows) / temperature, labels)

    def _fit(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._outputs == 1:
            return functional.mse_loss(logits[:, 0], labels.to(logits.dtype))
        return functional.cross_entropy(logits, labels)

    def measures(self) -> dict[str, float]:
        """GLUE's measures on the dev part, in percent, and the mean loss."""
        rows, labels = self._test
        size = self.recipe.micro_batch or self.recipe.batch_size
        widths = [max(part) for part in _split(self._test_lengths, size)]
        logits = torch.cat([self.module(part[:, :wide]) for part, wide in zip(torch.split(rows, size), widths, strict=True)])
        found = (logits[:, 0] if self._outputs == 1 else logits.argmax(1)).cpu().numpy()
        kinds = {1: OF_VALUES, 2: OF_TWO_CLASSES}.get(self._outputs, OF_CLASSES)
        return {
            **{name: measure(found, labels.cpu().numpy()) for name, measure in kinds.items()},
            "loss_test": float(self._fit(logits, labels)),
            "train_texts": float(len(self._lengths)),
            "test_texts": float(len(labels)),
        }

    def example(self) -> Tensor:
        """Return the row of the dev part that has the middle length."""
        return self._test[0][self._typical : self._typical + 1, : self._test_lengths[self._typical]]


def _split(values: list[int], size: int) -> list[list[int]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


# -- what GLUE counts predictions by, in percent ------------------------------------------------------------------

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
