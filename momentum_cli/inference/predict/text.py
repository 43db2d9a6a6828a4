"""Predictions about text, a line at a time: how probable the line is, and what comes next.

Axes: T tokens of a line, V vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.errors import RecipeError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.inputs import Broken
from momentum_cli.metrics import METRICS

ENDINGS = (".txt",)
# Tokens of a line that are run at once; the state is carried on.
_WINDOW = 1024
_SHOWN = 10


def text_predictions(subject: Subject, source: str, top: int) -> Iterator[tuple[dict[str, Any], np.ndarray] | Broken]:
    """Predict the lines of a text file, or of standard input for ``-``.

    Each line stands alone and is read as after the end of a line, where the training text has such a token: then every
    token of the line is predicted, otherwise all but the first.

    Args:
        subject: The model; its state is carried through the line.
        source: The file.
        top: Next tokens to list, >= 1.

    Yields:
        What people read: ``source``, ``row``, ``tokens`` (how many were predicted), the metric of the model over them
        (None for none), ``label``, ``probability`` and ``top`` of the token after the line; and its logits (V,). A
        line that cannot be read in its place.

    Raises:
        RecipeError: The exported file keeps no state.
    """
    if subject.advance is None:
        raise RecipeError("the file was exported without --stateful and keeps no state along a line; export it again")
    vocabulary = Vocabulary.from_preprocessing(subject.trained_on["preprocessing"])
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        lines = content.split(b"\n")
        if vocabulary.level != "byte":
            content.decode()
    except OSError as error:
        yield Broken(source, None, error.strerror or str(error))
        return
    except UnicodeDecodeError as error:
        yield Broken(source, None, f"not UTF-8 text at byte {error.start}")
        return
    for row, line in enumerate(lines[:-1] if lines[-1] == b"" else lines):
        numbers, unknown = vocabulary.encode(line)
        if unknown and vocabulary.unknown is None:
            listed = " ".join(repr(token) for token in unknown[:_SHOWN])
            yield Broken(source, row, f"characters that the model does not know: {listed}")
            continue
        start = [] if vocabulary.line_end is None else [vocabulary.line_end]
        tokens = np.concatenate((np.array(start, np.int64), numbers))
        if not len(tokens):
            yield Broken(source, row, "an empty line, and the model knows no end of a line")
            continue
        yield _line(subject, vocabulary, {"source": source, "row": row}, tokens, top)


def _line(
    subject: Subject, vocabulary: Vocabulary, where: dict[str, Any], tokens: np.ndarray, top: int
) -> tuple[dict[str, Any], np.ndarray]:
    assert subject.advance is not None
    state: Any = None
    nats = 0.0
    last = torch.empty(0)
    targets = torch.from_numpy(tokens[1:])
    with torch.inference_mode():
        for at in range(0, len(tokens), _WINDOW):
            read = torch.from_numpy(tokens[at : at + _WINDOW]).unsqueeze(0)
            outputs, state = subject.advance(read.to(subject.device), state)
            share = outputs[0].double().cpu().log_softmax(1)
            wanted = targets[at : at + _WINDOW]
            nats -= float(share[: len(wanted)].gather(1, wanted.unsqueeze(1)).sum())
            last = share[-1]
    count = len(targets)
    metric = vocabulary.metric
    best, places = last.exp().topk(min(top, len(last)))
    shown = [
        {"label": vocabulary.text(place).decode("utf-8", "backslashreplace").rstrip(" ") or " ", "probability": value}
        for place, value in zip(places.tolist(), best.tolist(), strict=True)
    ]
    score = METRICS[metric].value(nats / count) if count else None
    return where | {"tokens": count, metric: score} | shown[0] | {"top": shown}, last.float().numpy()
