"""Prediction for text, line by line: the probability of the line, and the most probable next tokens.

Axes: T tokens of a line, V vocabulary.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Facts, Predictions
from momentum_cli.inference.predict.samples import ARRAY, Broken, Places
from momentum_cli.messages import Said, refuse
from momentum_cli.metrics import METRICS
from momentum_cli.progress import Ui
from momentum_cli.reading import read_bytes

# Tokens of a line per call; the state is carried from one window to the next.
_WINDOW = 1024
_SHOWN = 10


class TextReader:
    """Reads lines of text.

    Each line is read separately. If the vocabulary has an end-of-line token, the line is read after one, and every
    token of the line is predicted; otherwise all tokens but the first.

    Args:
        subject: A language model, whose state is carried through the line.
        top: Next tokens to list, >= 1.

    Raises:
        RecipeError: The exported file keeps no state.
    """

    endings: ClassVar[tuple[str, ...]] = (".txt",)
    line: ClassVar[str | None] = None

    def __init__(self, subject: Subject, top: int) -> None:
        if subject.stream is None:
            raise RecipeError(
                "the file was exported without --stateful, so it cannot carry its state along a line; export it again"
            )
        self._subject, self._top = subject, top
        self._vocabulary = Vocabulary.from_preprocessing(subject.trained_on["preprocessing"])

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Predict each line, one at a time whatever the batch size; see `Reader`.

        Yields:
            The record: ``source``, ``row``, ``tokens`` (the number predicted), the metric of the model over them (None
            without tokens), ``label``, ``probability`` and ``top`` for the token after the line; and its logits (V,).
        """
        for source in sources:
            yield from self._read(source)

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Predict the token after each of (T,) or (B, T) tokens, as they are; see `Reader`."""
        if values.ndim not in (1, 2) or values.dtype.kind not in "ui" or not values.size:
            got = Said(f"{values.dtype} {values.shape}")
            yield Broken(ARRAY, None, refuse("tokens", got, "be integers (T,) or (B, T), T >= 1"))
            return
        count = len(self._vocabulary)
        for row, tokens in enumerate(np.atleast_2d(values).astype(np.int64)):
            if tokens.min() < 0 or tokens.max() >= count:
                bad = tokens[(tokens < 0) | (tokens >= count)][0]
                yield Broken(ARRAY, row, refuse("a token", int(bad), f"be in [0, {count - 1}]"))
                continue
            yield self._line(Places([ARRAY], [None if values.ndim == 1 else row]), tokens)

    def _read(self, source: str) -> Iterator[Predictions | Broken]:
        try:
            content = sys.stdin.buffer.read() if source == "-" else read_bytes(Path(source))
            if self._vocabulary.level != "byte":
                content.decode()
                content = content.removeprefix(codecs.BOM_UTF8)
            lines = content.split(b"\n")
        except DataError as error:
            yield Broken(source, None, str(error).removeprefix(f"{source}: "))
            return
        except UnicodeDecodeError as error:
            yield Broken(source, None, f"not UTF-8 text at byte {error.start}")
            return
        for row, line in enumerate(lines[:-1] if lines[-1] == b"" else lines):
            numbers, unknown = self._vocabulary.encode(line)
            if unknown and self._vocabulary.unknown is None:
                listed = " ".join(repr(token) for token in unknown[:_SHOWN])
                yield Broken(source, row, f"characters outside the vocabulary of the model: {listed}")
                continue
            start = [] if self._vocabulary.line_end is None else [self._vocabulary.line_end]
            tokens = np.concatenate((np.array(start, np.int64), numbers))
            if not len(tokens):
                yield Broken(source, row, "an empty line, but the vocabulary of the model has no line break")
                continue
            yield self._line(Places([source], [row]), tokens)

    def _line(self, place: Places, tokens: np.ndarray) -> Predictions:
        subject, vocabulary = self._subject, self._vocabulary
        assert subject.stream is not None
        stream = subject.stream(1)
        nats = 0.0
        last = torch.empty(0)
        targets = torch.from_numpy(tokens[1:])
        with torch.inference_mode():
            for at in range(0, len(tokens), _WINDOW):
                read = torch.from_numpy(tokens[at : at + _WINDOW]).unsqueeze(0)
                outputs = stream(read.to(subject.device))
                share = outputs[0].double().cpu().log_softmax(1)
                wanted = targets[at : at + _WINDOW]
                nats -= float(share[: len(wanted)].gather(1, wanted.unsqueeze(1)).sum())
                last = share[-1]
        count = len(targets)
        metric = vocabulary.metric
        best, places = last.exp().topk(min(self._top, len(last)))
        labels = (vocabulary.text(place).decode("utf-8", "backslashreplace") for place in places.tolist())
        shown = [
            {"label": label.rstrip(" ") or " ", "probability": value}
            for label, value in zip(labels, best.tolist(), strict=True)
        ]
        score = METRICS[metric].value(nats / count) if count else None
        facts = {"tokens": count, metric: score} | shown[0] | {"top": shown}
        return Predictions(place, last.float().numpy()[None], Facts([facts]))
