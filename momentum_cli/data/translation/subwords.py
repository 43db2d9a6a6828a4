"""Subwords of one language, or of two together: a byte-pair encoding by SentencePiece.

SentencePiece needs no other package, learns the same model from the same lines, and its model file holds the
normalisation too, so that a program in another language encodes a line as training did.

Reference: Sennrich, Haddow, Birch, Neural Machine Translation of Rare Words with Subword Units, arXiv 1508.07909; Kudo,
Richardson, SentencePiece, arXiv 1808.06226.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import refuse

PADDING, UNKNOWN, START, END = range(4)
"""Numbers of the tokens that are no text: filling, a character outside the vocabulary, before a sentence, after it."""
SPECIAL = 4
"""Their number."""
LONGEST = 2000
"""Subwords of a sentence at most: a model of sentences has no use for more, and the search would take hours."""


def require_sentencepiece() -> Any:
    """Return the package.

    Raises:
        RecipeError: It is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise RecipeError(
            "translation needs sentencepiece, which is not installed; pip install 'momentumrnn[translation]'"
        ) from error
    return sentencepiece


class Subwords:
    """A subword vocabulary.

    Args:
        model: The content of a SentencePiece model file.

    Raises:
        DataError: It is damaged, or its first tokens are not those of this module.
        RecipeError: SentencePiece is not installed.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        processor = require_sentencepiece().SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model)
            found = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
        except (RuntimeError, OSError) as error:
            raise DataError(f"the subword vocabulary is damaged ({error}); train or export the model again") from error
        if found != (PADDING, UNKNOWN, START, END):
            raise DataError(f"the subword vocabulary numbers its special tokens {found}, not 0 to 3")
        self._processor = processor

    def __len__(self) -> int:
        return int(self._processor.GetPieceSize())

    @classmethod
    def learn(cls, lines: Iterable[str], size: int) -> Subwords:
        """Learn a vocabulary.

        Args:
            lines: Lines of the training text, at least one of them not empty.
            size: Number of tokens, the special ones included; every character of the lines is one.

        Raises:
            DataError: The lines have more characters than that, or too few different pieces.
        """
        sentencepiece = require_sentencepiece()
        found = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=found,
                vocab_size=size,
                model_type="bpe",
                # Every character of the training text has a token.
                character_coverage=1.0,
                pad_id=PADDING,
                unk_id=UNKNOWN,
                bos_id=START,
                eos_id=END,
                # The file names the number of threads, and would differ from machine to machine.
                num_threads=1,
                minloglevel=3,
            )
        except RuntimeError as error:
            raise DataError(f"task.vocabulary_size: {_reason(str(error), size)}") from error
        return cls(found.getvalue())

    def encode(self, line: str) -> list[int]:
        """Return the tokens of a line, `END` last; characters that the training text did not have are `UNKNOWN`."""
        return [*self._processor.EncodeAsIds(line), END]

    def unknown(self, line: str) -> list[str]:
        """Return the pieces of a line that are `UNKNOWN`, without repetition."""
        pieces = zip(self._processor.EncodeAsPieces(line), self._processor.EncodeAsIds(line), strict=True)
        return list(dict.fromkeys(piece for piece, number in pieces if number == UNKNOWN))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of each token; "▁" marks the beginning of a word."""
        return [str(self._processor.IdToPiece(int(token))) for token in tokens]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens; special ones are left out."""
        return str(self._processor.DecodeIds([int(token) for token in tokens if token >= SPECIAL]))

    @cached_property
    def encoded(self) -> str:
        """The model file as text, for JSON."""
        return base64.b64encode(self.model).decode("ascii")

    @classmethod
    def of(cls, encoded: str) -> Subwords:
        """Return the vocabulary of `encoded`.

        Raises:
            DataError: It is damaged.
        """
        try:
            return cls(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise DataError(f"the subword vocabulary is damaged ({error}); train or export the model again") from error


def _reason(said: str, size: int) -> str:
    """Return in our words why SentencePiece learned no vocabulary of `size` tokens."""
    if few := re.search(r"smaller than required_chars\. \d+ vs (\d+)", said):
        return refuse("", size, f"be >= {few[1]}, one for each character of the training text and {SPECIAL} others")
    if many := re.search(r"set it to a value <= (\d+)", said):
        return refuse("", size, f"be <= {many[1]}, as the training text has no more different pieces")
    reason = said.strip().splitlines()[-1].rpartition("] ")[2]
    return f"{size} subwords cannot be learned from the training text: {reason}"
