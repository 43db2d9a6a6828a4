"""The steps of both speech tasks: find the recordings, divide them, compute their frames, fit the normalisation.

Axes: n recordings, D bins or channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from momentum_cli.data.files.checking import find_copies, find_untrained
from momentum_cli.data.files.labels import label_order
from momentum_cli.data.files.normalisation import Scaling, fit
from momentum_cli.data.problems import Problem, Problems
from momentum_cli.data.speech.cache import Frames, load_frames, no_check
from momentum_cli.data.speech.features import Features
from momentum_cli.data.speech.listing import Recording, list_folder
from momentum_cli.data.speech.options import SplitOption
from momentum_cli.data.speech.splitting import given_splits, split_recordings
from momentum_cli.data.speech.timit import check_utterance, list_timit
from momentum_cli.errors import DataError
from momentum_cli.progress import DownloadProgress


@dataclass(frozen=True)
class Division:
    """Division of recordings into splits; options as in `momentum_cli.data.speech.Speech`."""

    by: SplitOption
    validation: float
    test: float
    test_indices: int
    seed: int


@dataclass(frozen=True)
class Corpus:
    """Recordings of a folder.

    Args:
        folder: Their folder.
        recordings: n of them.
        classes: (n,) int64, or None.
        labels: Name of each class, or ().
        parts: The recordings of each split, (m,) int64.
        timit: True if the folder has the layout of TIMIT.
    """

    folder: Path
    recordings: list[Recording]
    classes: np.ndarray | None
    labels: tuple[str, ...]
    parts: dict[str, np.ndarray]
    timit: bool = False

    def frames(
        self, features: Features, problems: Problems, progress: DownloadProgress, num_workers: int | None
    ) -> Frames | None:
        """Return the frames of all recordings; None with problems, see `load_frames`."""
        check = check_utterance if self.timit else no_check
        return load_frames(
            self.folder, self.recordings, features, problems, progress, num_workers=num_workers, check=check
        )

    def warn(self, frames: Frames | None, problems: Problems) -> None:
        """Find classes without a training recording, and identical recordings in two splits."""
        if self.classes is not None:
            trained = self.classes[self.parts["train"]].tolist()
            find_untrained(self.labels, trained, None, None, "recording", problems)
        if frames is not None:
            names = [recording.name for recording in self.recordings]
            find_copies(frames.steps, frames.starts, frames.lengths, self.parts, names.__getitem__, None, problems)


def open_corpus(
    folder: Path, pattern: str, division: Division, problems: Problems, *, timit: bool = False, labelled: bool = False
) -> Corpus:
    """List the recordings of a folder and divide them.

    Args:
        folder: The folder.
        pattern: Pattern of their names.
        division: Their division; that of TIMIT is fixed.
        problems: Receives mistakes in names.
        timit: True if the folder has the layout of TIMIT.
        labelled: True if the recordings have a label.

    Raises:
        DataError: There are no recordings, or too few.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} must be a folder of recordings, got a file")
    recordings = list_timit(folder, problems) if timit else list_folder(folder, pattern, problems)
    classes: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    if labelled:
        names = [recording.label or "" for recording in recordings]
        labels = tuple(sorted(set(names), key=label_order))
        if len(labels) < 2:
            found = ", ".join(labels) or "none"
            raise DataError(f"{folder}: the recordings must have two or more labels, got {len(labels)} ({found})")
        codes = {label: code for code, label in enumerate(labels)}
        classes = np.array([codes[name] for name in names], np.int64)
    if timit:
        parts = given_splits(recordings)
    else:
        parts = split_recordings(
            recordings,
            classes,
            division.by,
            division.validation,
            division.test,
            division.test_indices,
            division.seed,
            problems,
        )
    return Corpus(folder, recordings, classes, labels, parts, timit)


class SpeechTask(Protocol):
    """The part of a task that `load_corpus` and `check_corpus` need."""

    @property
    def normalise(self) -> Literal["standard", "none"]: ...
    @property
    def num_workers(self) -> int | None: ...
    def corpus(self, folder: Path, problems: Problems) -> Corpus: ...
    def features(self) -> Features: ...


def load_corpus(
    task: SpeechTask, folder: Path, progress: DownloadProgress
) -> tuple[Corpus, Frames, Scaling, tuple[str, ...]]:
    """Return the recordings of a task, their frames, the normalisation and the warnings.

    Args:
        task: The task with its options.
        folder: The folder of the recordings.
        progress: Receives the progress.

    Raises:
        DataError: The recordings have mistakes; each is named.
    """
    problems = Problems()
    corpus = task.corpus(folder, problems)
    problems.refuse(str(corpus.folder))
    frames = corpus.frames(task.features(), problems, progress, task.num_workers)
    problems.refuse(str(corpus.folder))
    assert frames is not None  # or there was a problem
    corpus.warn(frames, problems)
    return corpus, frames, fit_scaling(frames, corpus.parts["train"], task.normalise), problems.warnings


def fit_scaling(frames: Frames, train: np.ndarray, how: Literal["standard", "none"]) -> Scaling:
    """Fit the normalisation of each bin or channel to the frames of the training recordings.

    The numbers are rounded to six digits, because the frames of another machine may differ in the last bit, but its
    normalisation must be the same.
    """

    def blocks() -> Iterator[np.ndarray]:
        for start, length in zip(frames.starts[train].tolist(), frames.lengths[train].tolist(), strict=True):
            yield frames.steps.read(start, start + length)

    fitted = fit(blocks(), frames.steps.columns, how)
    rounded = [np.array([float(f"{x:.6g}") for x in values]) for values in (fitted.offset, fitted.scale)]
    # Nothing is ever missing.
    return Scaling(rounded[0], rounded[1], np.zeros_like(rounded[0]))


def describe(kind: str, features: Features, scaling: Scaling) -> dict[str, Any]:
    """Return the conversion of samples to inputs, JSON-able: x = (frame - offset) / scale."""
    scale = {"offset": scaling.offset.tolist(), "scale": scaling.scale.tolist()}
    return {"kind": kind, **features.dump(), "scaling": scale}


def check_corpus(task: SpeechTask, folder: Path, progress: DownloadProgress) -> list[Problem]:
    """Return every mistake of the recordings of a task, and the warnings.

    Mistakes are recordings and speakers that are missing, in a wrong place, cut short or of another kind. Warnings are
    identical recordings in different splits and classes without a training recording. Missing recordings do not keep
    the others from being checked.
    """
    problems = Problems()
    try:
        corpus = task.corpus(folder, problems)
        frames = corpus.frames(task.features(), problems, progress, task.num_workers) if corpus.recordings else None
        corpus.warn(frames, problems)
    except DataError as error:
        problems.add("data", str(error))
    return problems.all
