"""Lines of text through a translation model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from momentum_cli.data.translation.subwords import END, LONGEST, PADDING, Subwords
from momentum_cli.errors import DataError
from momentum_cli.models.translation.search import Translator


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens as (n, S) int64, filled up, and their lengths (n,)."""
    lengths = torch.tensor([len(row) for row in rows])
    source = torch.full((len(rows), int(lengths.max())), PADDING)
    for number, row in enumerate(rows):
        source[number, : len(row)] = torch.tensor(row)
    return source, lengths


def translate_lines(
    translator: Translator | None, source: Subwords, target: Subwords, lines: Sequence[str]
) -> list[tuple[str, float, int] | None]:
    """Translate lines.

    Args:
        translator: The model.
        source, target: Its vocabularies.
        lines: Lines without line breaks.

    Returns:
        For each line its translation, the logarithm of its probability and its number of tokens, the end included; ("",
        0, 0) for a line without text; None for one with more than `LONGEST` subwords.

    Raises:
        DataError: There is no translator.
    """
    if translator is None:
        raise DataError("the model was not trained to translate")
    encoded = [source.encode(line) for line in lines]
    asked = [number for number, row in enumerate(encoded) if row != [END] and len(row) <= LONGEST + 1]
    found: list[tuple[str, float, int] | None] = [("", 0.0, 0) if row == [END] else None for row in encoded]
    if asked:
        written = translator.translate(*padded([encoded[number] for number in asked]))
        for number, one in zip(asked, written, strict=True):
            found[number] = (target.text(one.tokens), one.log_probability, len(one.tokens) + 1)
    return found
