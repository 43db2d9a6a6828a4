"""Translation of files, line by line."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from momentum_cli.data.translation.task import vocabularies
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Facts, Predictions
from momentum_cli.inference.predict.samples import ARRAY, Broken, Places
from momentum_cli.inference.translator import LONGEST, translate_lines
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import Ui
from momentum_cli.reading import read_bytes


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
                content = sys.stdin.buffer.read() if source == "-" else read_bytes(Path(source))
                lines = content.decode("utf-8-sig").split("\n")
            except DataError as error:
                yield Broken(source, None, str(error).removeprefix(f"{source}: "))
                continue
            except UnicodeDecodeError as error:
                yield Broken(source, None, f"not UTF-8 text at byte {error.start}")
                continue
            rows = enumerate(lines[:-1] if lines[-1] == "" else lines)
            while part := list(itertools.islice(rows, batch_size)):
                yield from self._translated(source, part)
                of = (number, len(sources)) if len(sources) > 1 else (part[-1][0] + 1, len(lines))
                ui.evaluation_progress(*of, "inputs")

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Translate one sentence, or several (B,), given as text; see `Reader`."""
        if values.ndim > 1 or values.dtype.kind != "U":
            got = Said(f"{values.dtype} {values.shape}")
            yield Broken(ARRAY, None, refuse("sentences", got, "be text, one sentence or (B,)"))
            return
        rows = enumerate(map(str, np.atleast_1d(values)))
        while part := list(itertools.islice(rows, batch_size)):
            yield from self._translated(ARRAY, part)

    def _translated(self, source: str, part: list[tuple[int, str]]) -> Iterator[Predictions | Broken]:
        found = translate_lines(self._subject.translator, self._source, self._target, [line for _, line in part])
        for (row, line), written in zip(part, found, strict=True):
            if written is None:
                yield Broken(source, row, f"the line has more than {LONGEST} subwords; give one sentence a line")
                continue
            text, log_probability, tokens = written
            facts: dict[str, Any] = {"translation": text, "log_probability": log_probability}
            facts |= {"tokens": tokens, "unknown": self._source.unknown(line)}
            outputs = np.array([[log_probability]], np.float32)
            yield Predictions(Places([source], [row]), outputs, Facts([facts]))
