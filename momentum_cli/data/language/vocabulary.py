"""Tokens of a text: characters, bytes or words, each with a number for the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.errors import DataError

if TYPE_CHECKING:
    import numpy as np

Level = Literal["character", "byte", "word"]
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a text, the most frequent of its training part first; ``<unk>`` counts as often as it occurs there.

    Args:
        level: ``"character"`` (Unicode code points), ``"byte"`` (of UTF-8 or any other content) or ``"word"``
            (separated by white space; the end of a line is the word ``<eos>``).
        tokens: Token of each number; empty at byte level, where a byte is its own number.
    """

    level: Level
    tokens: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 256 if self.level == "byte" else len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each token; empty at byte level."""
        return {token: number for number, token in enumerate(self.tokens)}

    @property
    def unknown(self) -> int | None:
        """Number of ``<unk>``, the token for everything outside the vocabulary; None without one."""
        return self.numbers.get(UNKNOWN)

    @property
    def line_end(self) -> int | None:
        """Number of the token that ends a line, or None if the training text has none."""
        if self.level == "byte":
            return 10
        return self.numbers.get(END_OF_LINE if self.level == "word" else "\n")

    @property
    def metric(self) -> str:
        """The metric of models of these tokens: perplexity for words, bits per character or byte otherwise."""
        return {"word": "perplexity", "character": "bits_per_character", "byte": "bits_per_byte"}[self.level]

    @classmethod
    def of(cls, train: bytes, level: Level, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """Build the vocabulary of a training text.

        Args:
            train: The text; UTF-8 unless the level is ``"byte"``.
            level: See the class.
            min_count: Tokens that occur less often are left out, >= 1.
            max_size: At most this many tokens, the most frequent ones (of equally frequent ones the first in the text),
                ``<unk>`` included; None for all.

        Returns:
            The vocabulary. It contains ``<unk>`` at word level, and at character level if tokens can be left out
            (`min_count` above 1 or `max_size`).
        """
        if level == "byte":
            return cls("byte")
        counts = Counter(_words(train.decode())) if level == "word" else Counter(train.decode())
        if level == "word" or min_count > 1 or max_size is not None:
            # It stands for all tokens that are left out and is often the most frequent one; the clusters of an adaptive
            # softmax need the order of frequencies.
            unknown = counts.pop(UNKNOWN, 0)
            ranked = counts.most_common()
            kept = {token: count for token, count in ranked if count >= min_count}
            if max_size is not None:
                kept = dict(list(kept.items())[: max_size - 1])
            kept[UNKNOWN] = unknown + counts.total() - sum(kept.values())
            counts = Counter(kept)
        return cls(level, tuple(token for token, _ in counts.most_common()))

    @classmethod
    def from_preprocessing(cls, preprocessing: dict[str, Any]) -> Vocabulary:
        """Return the vocabulary that a checkpoint or an exported file carries; inverts `preprocessing`.

        Raises:
            DataError: The model was not trained on text.
        """
        if preprocessing.get("kind") != "tokens":
            raise DataError("the model was not trained on text: it has no vocabulary")
        return cls(preprocessing["level"], tuple(preprocessing.get("vocabulary", ())))

    def preprocessing(self) -> dict[str, Any]:
        """Return the JSON-able description that travels with a model."""
        listed = {} if self.level == "byte" else {"vocabulary": list(self.tokens)}
        return {"kind": "tokens", "level": self.level, **listed}

    def encode(self, text: bytes) -> tuple[np.ndarray, list[str]]:
        """Return the number of each token of a text, and the tokens that have none.

        Args:
            text: UTF-8 unless the level is ``"byte"``.

        Returns:
            (N,) int64, and the distinct unknown tokens in order of appearance. Their number is that of ``<unk>``, or 0
            without one.
        """
        import numpy as np

        if self.level == "byte":
            return np.frombuffer(text, np.uint8).astype(np.int64), []
        if self.level == "word":
            other = self.unknown or 0
            missing: dict[str, None] = {}

            def number(word: str) -> int:
                if word not in self.numbers:
                    missing[word] = None
                return self.numbers.get(word, other)

            return np.fromiter(map(number, _words(text.decode())), np.int64), list(missing)
        codes = np.frombuffer(text.decode().encode("utf-32-le"), "<u4")
        known, numbers = self._code_points
        place = np.searchsorted(known, codes).clip(max=len(known) - 1)
        new = known[place] != codes
        unseen = dict.fromkeys(chr(code) for code in codes[new].tolist())
        return np.where(new, self.unknown or 0, numbers[place]), list(unseen)

    def text(self, number: int) -> bytes:
        """Return the text of a token: a word includes the space after it, and ``<eos>`` is a newline."""
        if self.level == "byte":
            return bytes([number])
        token = self.tokens[number]
        if self.level == "word":
            return b"\n" if token == END_OF_LINE else f"{token} ".encode()
        return token.encode()

    @cached_property
    def _code_points(self) -> tuple[np.ndarray, np.ndarray]:
        """Code points in ascending order, and the number of each."""
        import numpy as np

        pairs = sorted((ord(token), number) for number, token in enumerate(self.tokens) if len(token) == 1)
        table = np.array(pairs, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]


def _words(text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n")):
        if number:
            yield END_OF_LINE
        yield from line.split()
