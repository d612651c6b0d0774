"""The next word of a text: chunks of it on the device, each read from a state of zeros."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rlprune.data import ngrams, text
from rlprune.nets.psmm import PSMM
from rlprune.pruning.groups import Anatomy
from rlprune.training.recipes import LanguageRecipe
from rlprune.training.supervised import Batch, SupervisedTrainer


class LanguageTrainer(SupervisedTrainer[LanguageRecipe]):
    """A pointer sentinel mixture model trained by the mean negative log-likelihood of the next word, in nats."""

    def prepare(self, folder: Path | None) -> None:
        """Read the text.

        Raises:
            ValueError: a training part shorter than two chunks.
        """
        recipe = self.recipe
        data = text.load(recipe.data, folder, recipe.vocabulary)
        train = data.train[: recipe.train_tokens]
        if recipe.train_tokens and recipe.train_tokens > len(train):
            raise ValueError(
                f"train_tokens asks for {recipe.train_tokens} words, the training part of {recipe.data} has {len(train)}"
            )
        if len(train) < 2 * recipe.tokens:
            raise ValueError(
                f"the training part of {recipe.data} has {len(train)} words, chunks of {recipe.tokens} need twice as many"
            )
        self._train, self._valid, self._test = (part.to(self.device) for part in (train, data.valid, data.test))
        self._words = len(data.words)

    def sizes(self) -> dict[str, int]:
        return {"words": self._words}

    def recall(self, outline: Mapping[str, Any]) -> None:
        self._words = int(outline["words"])

    def network(self) -> tuple[nn.Module, Anatomy]:
        module = PSMM(self._words, self.recipe.hidden)
        return module, module.anatomy()

    @property
    def _chunks(self) -> int:
        """Chunks of a pass, wherever it begins."""
        return (len(self._train) - self.recipe.tokens) // self.recipe.tokens

    @property
    def steps(self) -> int:
        return max(1, self._chunks // self.recipe.batch_size)

    def batches(self, use: str, *, augmented: bool) -> Iterator[Batch]:
        """Yield words and the words after them, [N, tokens] each; augmented, the first chunk begins at a random word."""
        length = self.recipe.tokens
        lots = torch.Generator().manual_seed(int(self.seeds(use).generate_state(1)[0]))
        start = int(torch.randint(length, (), generator=lots)) if augmented else 0
        order = torch.randperm(self._chunks, generator=lots).to(self.device)
        within = torch.arange(length, device=self.device)
        for step in range(self.steps):
            chosen = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size]
            places = start + length * chosen[:, None] + within
            yield self._train[places], self._train[places + 1]

    def loss(self, module: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        ids, targets = batch
        return -cast(PSMM, module).logp(ids, targets, temperature).mean()

    def measures(self) -> dict[str, float]:
        """Log perplexity, nats a word, of test and validation part, and what counts of words reach on the test part.

        ``unigram`` is the log perplexity of add-one frequencies, ``fivegram`` that of an interpolated Kneser-Ney model.
        """
        test, train = self._surprise(self._test), self._train.cpu().numpy()
        return {
            "log_perplexity": test,
            "perplexity": math.exp(test),
            "log_perplexity_valid": self._surprise(self._valid),
            "unigram": ngrams.unigram(train, self._test.cpu().numpy(), self._words),
            "fivegram": ngrams.kneser_ney(train, self._test.cpu().numpy(), self._words),
            "train_tokens": float(len(self._train)),
            "test_tokens": float(len(self._test)),
            "vocabulary": float(self._words),
        }

    def _surprise(self, stream: Tensor) -> float:
        """Return the mean of ``−log p`` over all words of a stream but its first, chunk by chunk."""
        ids, targets, length = stream[:-1], stream[1:], self.recipe.tokens
        whole = len(ids) // length * length
        pieces = list(zip(*(torch.split(part[:whole].view(-1, length), self._held) for part in (ids, targets)), strict=True))
        if whole < len(ids):
            pieces.append((ids[None, whole:], targets[None, whole:]))
        sums = [cast(PSMM, self.module).logp(*piece).sum() for piece in pieces]
        return -float(torch.stack(sums).sum()) / len(ids)

    @property
    def _held(self) -> int:
        return self.recipe.micro_batch or self.recipe.batch_size

    def example(self) -> Tensor:
        return self._test[None, : self.recipe.tokens]
