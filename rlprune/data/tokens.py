"""Texts to rows of token ids, by a checkpoint's tokenizer or by one made from the training texts (extra ``glue``)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokens:
    """A WordPiece tokenizer that writes ``[CLS] first [SEP] second [SEP]``.

    Args:
        tokenizer: a ``tokenizers.Tokenizer``.

    Raises:
        ValueError: it lacks a special token.
    """

    def __init__(self, tokenizer: Any) -> None:
        ids = [tokenizer.token_to_id(token) for token in SPECIAL[:4]]
        if missing := [token for token, number in zip(SPECIAL, ids, strict=False) if number is None]:
            raise ValueError(f"the tokenizer has no {', '.join(missing)}")
        self.pad, _, start, self.separator = ids
        tokenizer.post_processor = _library().processors.BertProcessing((SPECIAL[3], self.separator), (SPECIAL[2], start))
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @classmethod
    def learned(cls, texts: Iterable[str], size: int) -> "Tokens":
        """Return a tokenizer of at most ``size`` lower-case pieces, learned from these texts."""
        library, given = _library(), list(texts)
        tokenizer = _words(library.models.WordPiece(unk_token=SPECIAL[1]))
        letters = sorted({letter for text in given for letter in tokenizer.normalizer.normalize_str(text)})
        # given numbers beforehand: the library numbers them in the order of a hash table, and breaks ties by these numbers
        known = [*SPECIAL, *(f"##{letter}" for letter in letters)]
        tokenizer.train_from_iterator(
            given, library.trainers.WordPieceTrainer(vocab_size=size, special_tokens=known, show_progress=False)
        )
        return cls(_words(library.models.WordPiece(tokenizer.get_vocab(), unk_token=SPECIAL[1])))

    @classmethod
    def of_checkpoint(cls, folder: Path) -> "Tokens":
        """Return the tokenizer of a checkpoint: its ``tokenizer.json``, or lower-case pieces of ``vocab.txt``.

        Raises:
            ValueError: neither is there, or it cannot be read.
        """
        library = _library()
        file, pieces = folder / "tokenizer.json", folder / "vocab.txt"
        try:
            if file.is_file():
                return cls(library.Tokenizer.from_file(str(file)))
            if pieces.is_file():
                return cls(_words(library.models.WordPiece.from_file(str(pieces), unk_token=SPECIAL[1])))
        except Exception as error:  # the library raises nothing more exact
            raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from None
        raise ValueError(f"{folder} has no tokenizer: expected tokenizer.json or vocab.txt")

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def rows(self, first: Sequence[str], second: Sequence[str] | None, most: int) -> tuple[Tensor, Tensor]:
        """Return token ids int64 [N, T], padded, and the length of each row [N]; the longer text of a pair is cut to fit."""
        self._tokenizer.enable_truncation(most)
        texts = list(first) if second is None else list(zip(first, second, strict=True))
        found = [torch.tensor(row.ids) for row in self._tokenizer.encode_batch(texts)]
        lengths = torch.tensor([len(row) for row in found])
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=self.pad), lengths


def _words(model: Any) -> Any:
    """Return a tokenizer of lower-case words without accents."""
    library = _library()
    tokenizer = library.Tokenizer(model)
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ImportError("text for BERT needs tokenizers: python3 -m pip install 'rlprune[glue]'") from None
    return tokenizers
