"""The interface of a reader, which turns input files into predictions, one after another.

Axes: B batch, T time, D input, O outputs.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.progress import NullUi, Ui

ARRAY = "array"
"""The source of samples that do not come from a file."""
Prediction = tuple[dict[str, Any], np.ndarray]
"""The record to write, and the raw outputs (O,) or (T, O)."""


@dataclass(frozen=True)
class Sample:
    """One input of the model.

    Args:
        source: Its file, or ``-``.
        row: Its number in the file from 0, or None if the file is one sample.
        inputs: (T, D) float32.
        sequence: Its name, if it has one.
        wanted: The true values to compare the outputs with, (T, D), or None.
        times: For a forecast the time of the last step, ``after``, and the ``times`` of the forecast steps; for labels
            the times of the steps; for a window the number of its last ``step`` in the sequence, and, if steps have
            times, its ``time``.
        past: For a forecast the last values of each target that is among the inputs, in its unit.
        group: The group whose scale the values have, or None.
    """

    source: str
    row: int | None
    inputs: np.ndarray
    sequence: str | None = None
    wanted: np.ndarray | None = None
    times: dict[str, Any] = field(default_factory=dict)
    past: dict[str, list[float]] = field(default_factory=dict)
    group: int | None = None

    @property
    def place(self) -> dict[str, Any]:
        """The keys of a prediction that give its origin."""
        named = {} if self.sequence is None else {"sequence": self.sequence}
        return {"source": self.source, "row": self.row, **named, **self.times}


@dataclass(frozen=True)
class Broken:
    """A file, or a row of it, that cannot be read.

    Args:
        source: Its file, or ``-``.
        row: As for `Sample`.
        reason: The problem in words.
    """

    source: str
    row: int | None
    reason: str

    def __str__(self) -> str:
        where = "" if self.row is None else f", row {self.row}"
        return f"{self.source}{where}: {self.reason}"


class Reader(Protocol):
    """The interface of a reader; built from the model and the number of classes to list per sample, >= 1.

    Attributes:
        endings: Endings of the files in a folder that can be read, in lower case.
        line: Key of a record that is a line of text, for the format txt; None where there is none.
    """

    endings: ClassVar[tuple[str, ...]]
    line: ClassVar[str | None]

    def __init__(self, subject: Subject, top: int) -> None: ...

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Prediction | Broken]:
        """Predict every sample of some files, or of standard input for ``-``.

        Args:
            sources: Files from `find_sources`.
            batch_size: Samples at a time, >= 1.
            ui: Where progress is shown.

        Yields:
            Predictions in the order of the samples, and `Broken` as soon as a file or a row cannot be read.
        """
        ...

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Prediction | Broken]:
        """Predict one sample or several in the form that they have before the preparation of the model.

        Args:
            values: One sample, or samples along the first dimension.
            batch_size: Samples at a time, >= 1.
        """
        ...


def ranks_classes(trained_on: Mapping[str, Any]) -> bool:
    """Return whether a model lists the most probable classes of each sample, or the next tokens of each line.

    Args:
        trained_on: The description of the data in the model.
    """
    tokens = trained_on["preprocessing"].get("kind") == "tokens"
    return bool(trained_on["loss"] == "cross_entropy" and (tokens or trained_on["output"] == "last"))


def find_sources(names: list[str], endings: tuple[str, ...]) -> list[str]:
    """Return the files that names refer to, with folders and globs expanded in sorted order.

    Args:
        names: As on the command line.
        endings: Endings of the files in a folder.

    Raises:
        DataError: A glob matches nothing, or a folder has no file that can be read.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
        elif path.is_dir():
            files = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file())
            if not files:
                raise DataError(f"{name}: the folder holds no {', '.join(s[1:] for s in endings)} files")
            found += files
        elif glob.has_magic(name):
            files = sorted(p for p in glob.glob(name, recursive=True) if Path(p).is_file())
            if not files:
                raise DataError(f"{name}: no file matches")
            found += files
        else:
            # The reader reports a missing file, and reads the others.
            found.append(name)
    return found


def in_batches(
    subject: Subject,
    sources: list[str],
    read: Callable[[str], Iterator[Sample | Broken]],
    answer: Callable[[list[Sample], np.ndarray], Iterable[Prediction]],
    batch_size: int,
    ui: Ui,
) -> Iterator[Prediction | Broken]:
    """Predict samples in batches of one length; sources, batch_size and ui as for `Reader.predictions`.

    Args:
        subject: The model.
        read: Yields the samples of a file.
        answer: Converts the samples of a batch and their outputs (B, …) to predictions.
    """
    for batch in _batches(sources, read, batch_size, ui):
        if isinstance(batch, Broken):
            yield batch
            continue
        stacked = torch.from_numpy(np.stack([sample.inputs for sample in batch]))
        with torch.inference_mode():
            outputs = subject.call(stacked.to(subject.device), None).float().cpu().numpy()
        yield from answer(batch, outputs)


def array_batches(
    subject: Subject,
    samples: Iterable[Sample | Broken],
    answer: Callable[[list[Sample], np.ndarray], Iterable[Prediction]],
    batch_size: int,
) -> Iterator[Prediction | Broken]:
    """Predict the samples of an array; as `in_batches`, whose only source they are."""
    return in_batches(subject, [ARRAY], lambda source: iter(samples), answer, batch_size, NullUi())


def plain_answers(
    samples: list[Sample], outputs: np.ndarray, trained_on: dict[str, Any], top: int
) -> Iterator[Prediction]:
    """Yield predictions as labels with probabilities, for the sample or each step, or as values.

    Args:
        samples: The samples of one batch.
        outputs: (B, O) or (B, T, O).
        trained_on: The description of the data in the model.
        top: Number of labels per sample, >= 1.
    """
    if trained_on["loss"] != "cross_entropy":
        for sample, output in zip(samples, outputs, strict=True):
            yield sample.place | {"values": output.tolist()}, output
        return
    labels = trained_on["labels"] or [str(index) for index in range(outputs.shape[-1])]
    # In float64 and relative to the largest, so that nothing overflows; for all samples at once, because a numpy call
    # for each of them takes longer than the model.
    weights = np.exp(outputs.astype(np.float64) - outputs.max(-1, keepdims=True))
    shares = weights / weights.sum(-1, keepdims=True)
    if outputs.ndim == 3:
        steps = zip(outputs.argmax(-1).tolist(), shares.max(-1).tolist(), strict=True)
        for sample, output, (best, values) in zip(samples, outputs, steps, strict=True):
            yield sample.place | {"labels": [labels[index] for index in best], "probabilities": values}, output
        return
    order = np.argsort(-shares, axis=-1, kind="stable")[:, :top]
    ranked = zip(order.tolist(), np.take_along_axis(shares, order, -1).tolist(), strict=True)
    for sample, output, (indices, values) in zip(samples, outputs, ranked, strict=True):
        entries = [{"label": labels[i], "probability": value} for i, value in zip(indices, values, strict=True)]
        yield sample.place | {**entries[0], "top": entries}, output


def _batches(
    sources: list[str], read: Callable[[str], Iterator[Sample | Broken]], batch_size: int, ui: Ui
) -> Iterator[list[Sample] | Broken]:
    """Yield samples of one length, in order, `batch_size` at a time, and broken ones as soon as they occur."""
    waiting: list[Sample] = []
    done = 0
    for number, source in enumerate(sources):
        for item in read(source):
            done += 1
            if isinstance(item, Broken):
                yield item
                continue
            if waiting and len(waiting[0].inputs) != len(item.inputs):
                yield waiting
                waiting = []
            waiting.append(item)
            if len(waiting) == batch_size:
                yield waiting
                waiting = []
                # The number of rows is unknown before the files are read.
                ui.evaluation_progress(number if len(sources) > 1 else done, max(len(sources), done), "inputs")
    if waiting:
        yield waiting
