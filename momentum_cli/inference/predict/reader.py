"""The interface of a reader, which turns input files into predictions, batch by batch.

Axes: B batch.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Predictions
from momentum_cli.inference.predict.samples import ARRAY, Broken, Samples
from momentum_cli.progress import NullUi, Ui


class Reader(Protocol):
    """The interface of a reader; built from the model and the number of classes to list per sample, >= 1.

    Attributes:
        endings: Endings of the files in a folder that can be read, in lower case.
        line: Key of a record that is a line of text, for the format txt; None where there is none.
    """

    endings: ClassVar[tuple[str, ...]]
    line: ClassVar[str | None]

    def __init__(self, subject: Subject, top: int) -> None: ...

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Predict every sample of some files, or of standard input for ``-``.

        Args:
            sources: Files from `find_sources`.
            batch_size: Samples at a time, >= 1.
            ui: Where progress is shown.

        Yields:
            Predictions in the order of the samples, and `Broken` as soon as a file or a row cannot be read.
        """
        ...

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
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
    read: Callable[[str], Iterator[Samples | Broken]],
    answer: Callable[[Samples, np.ndarray], Predictions],
    batch_size: int,
    ui: Ui,
) -> Iterator[Predictions | Broken]:
    """Predict samples in batches of one length; sources, batch_size and ui as for `Reader.predictions`.

    Args:
        subject: The model.
        read: Yields the samples of a file, one or several of one length at a time.
        answer: Converts the samples of a batch and their outputs (B, …) to predictions.
    """
    for batch in _batches(sources, read, batch_size, ui):
        if isinstance(batch, Broken):
            yield batch
            continue
        with torch.inference_mode():
            outputs = subject.call(torch.from_numpy(batch.inputs).to(subject.device), None).float().cpu().numpy()
        yield answer(batch, outputs)


def array_batches(
    subject: Subject,
    samples: Iterable[Samples | Broken],
    answer: Callable[[Samples, np.ndarray], Predictions],
    batch_size: int,
) -> Iterator[Predictions | Broken]:
    """Predict the samples of an array; as `in_batches`, whose only source they are."""
    return in_batches(subject, [ARRAY], lambda source: iter(samples), answer, batch_size, NullUi())


def _batches(
    sources: list[str], read: Callable[[str], Iterator[Samples | Broken]], batch_size: int, ui: Ui
) -> Iterator[Samples | Broken]:
    """Yield samples of one length, in order, `batch_size` at a time, and broken ones as soon as they occur."""
    waiting: list[Samples] = []
    room, done = batch_size, 0
    for number, source in enumerate(sources):
        for item in read(source):
            if isinstance(item, Broken):
                done += 1
                yield item
                continue
            if waiting and waiting[0].inputs.shape[1] != item.inputs.shape[1]:
                yield Samples.joined(waiting)
                waiting, room = [], batch_size
            taken = 0
            while taken < len(item):
                part = item.between(taken, taken + room)
                waiting.append(part)
                taken, room, done = taken + len(part), room - len(part), done + len(part)
                if room == 0:
                    yield Samples.joined(waiting)
                    waiting, room = [], batch_size
                    # The number of rows is unknown before the files are read.
                    ui.evaluation_progress(number if len(sources) > 1 else done, max(len(sources), done), "inputs")
    if waiting:
        yield Samples.joined(waiting)
