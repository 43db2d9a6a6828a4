"""Translation of files, line by line."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from momentum_cli.data.translation.corpus import lines_of, plain_name, read_lines
from momentum_cli.data.translation.subwords import LONGEST
from momentum_cli.data.translation.task import vocabularies
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Facts, Predictions
from momentum_cli.inference.predict.samples import ARRAY, Broken, Places
from momentum_cli.inference.translator import translate_lines
from momentum_cli.messages import Said, counted, refuse
from momentum_cli.progress import Ui
from momentum_cli.wording import printable

_SHOWN = 10


class TranslationReader:
    """Reads lines of text; the translation of an empty line is empty.

    Args:
        subject: A translation model.
        top: Not used: there is one translation.
    """

    endings: ClassVar[tuple[str, ...]] = (".txt",)
    line: ClassVar[str | None] = "translation"

    def __init__(self, subject: Subject, top: int) -> None:
        self._subject = subject
        self._source, self._target = vocabularies(subject.trained_on["preprocessing"])

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Translate each line, `batch_size` at a time; see `Reader`.

        Yields:
            The record: ``source``, ``row``, ``translation``, ``log_probability`` and ``tokens`` of it, and ``unknown``,
            the pieces of the line that were read as ``<unk>``; and the logarithm of the probability, (1,).
        """
        for number, source in enumerate(sources):
            try:
                lines = _read(source)
            except DataError as error:
                yield Broken(source, None, str(error).removeprefix(f"{source}: "))
                continue
            unknown: dict[str, None] = {}
            affected = 0
            rows = enumerate(lines)
            while part := list(itertools.islice(rows, batch_size)):
                missing = [self._source.unknown(line) for _, line in part]
                unknown |= dict.fromkeys(itertools.chain(*missing))
                affected += sum(map(bool, missing))
                yield from self._translated(source, part, missing)
                of = (number, len(sources)) if len(sources) > 1 else (part[-1][0] + 1, len(lines))
                ui.evaluation_progress(*of, "inputs")
            if unknown:
                listed = printable(" ".join([*unknown][:_SHOWN])) + " …" * (len(unknown) > _SHOWN)
                what = f"{affected} of {counted(len(lines), 'line')} with characters that are not in the vocabulary"
                ui.note(f"{source}: {what}, read as <unk>: {listed}", "warning")

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Translate one sentence, or several (B,), given as text; see `Reader`."""
        if values.ndim > 1 or values.dtype.kind != "U":
            got = Said(f"{values.dtype} {values.shape}")
            yield Broken(ARRAY, None, refuse("sentences", got, "be text, one sentence or (B,)"))
            return
        rows = enumerate(map(str, np.atleast_1d(values)))
        while part := list(itertools.islice(rows, batch_size)):
            yield from self._translated(ARRAY, part, [self._source.unknown(line) for _, line in part])

    def _translated(
        self, source: str, part: list[tuple[int, str]], unknown: list[list[str]]
    ) -> Iterator[Predictions | Broken]:
        found = translate_lines(self._subject.translator, self._source, self._target, [line for _, line in part])
        for (row, _), pieces, written in zip(part, unknown, found, strict=True):
            if written is None:
                yield Broken(source, row, f"the line has more than {LONGEST} subwords; give one sentence a line")
                continue
            text, log_probability, tokens = written
            facts: dict[str, Any] = {"translation": text, "log_probability": log_probability}
            facts |= {"tokens": tokens, "unknown": pieces}
            outputs = np.array([[log_probability]], np.float32)
            yield Predictions(Places([source], [row]), outputs, Facts([facts]))


def _read(source: str) -> list[str]:
    """Return the lines of a file or of standard input.

    Raises:
        DataError: It cannot be read, is not UTF-8 text, or is a table.
    """
    if source == "-":
        return lines_of(sys.stdin.buffer.read(), source)
    path = Path(source)
    if plain_name(path.name).lower().endswith(".tsv"):
        raise DataError(
            f"{source}: a table, of which nothing tells the sentences; write one column to a file (cut -f1)"
        )
    return read_lines(path)
