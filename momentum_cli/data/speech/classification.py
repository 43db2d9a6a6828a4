"""The task `speech-classify`: classify recordings by their log-mel spectra.

Axes: T frames, M mel channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.naive import shares
from momentum_cli.data.speech.options import SplitOption, check_division
from momentum_cli.messages import refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from momentum_cli.data.problems import Problem, Problems
    from momentum_cli.data.speech.corpus import Corpus
    from momentum_cli.data.speech.features import Features


@dataclass(frozen=True)
class SpeechClassify(Task):
    """Classify recordings; the label is in their name or folder. See docs/speech.md.

    Args:
        path: Folder of recordings (WAV, FLAC, SPHERE), with any folders in it; relative to the
            folder of the recipe or to the folder of data sets.
        pattern: Path of a recording relative to the folder, without its ending: ``{label}``, ``{speaker}``,
            ``{index}`` and ``{split}`` match parts without ``/``, ``*`` matches anything.
        split: As for `momentum_cli.data.speech.Speech`; the classes keep their shares.
        test_indices: With split index: recordings with a lower ``{index}`` are for test, >= 1.
        validation_fraction, test_fraction: Of the recordings, or of the speakers; >= 0 and > 0, their sum < 1. By index
            validation is a fraction of what is not for test. Without validation the best checkpoint is
            selected on the test set, and the result says so.
        split_seed: Selects the recordings or speakers, in [0, 2**32).
        sample_rate: Hz, >= 1; other recordings are resampled.
        n_fft: Samples of a frame, even, >= 2.
        hop_length: Samples from one frame to the next, in [1, n_fft].
        n_mels: M, >= 1; each mel channel needs a bin.
        normalise: ``"standard"``: mean 0 and standard deviation 1 of each channel of the training frames; ``"none"``:
            dB.
        channel: Which of several channels to use, counted from 1, or ``"mean"`` of all; None: recordings must have one.
        num_workers: Threads that compute the frames, >= 1; None: one per core.

    Raises:
        ValueError: An option is outside its range, or contradicts another one.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "loss")

    path: str
    pattern: str = "{label}/*"
    split: SplitOption | None = None
    test_indices: int = 5
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    sample_rate: int = 8000
    n_fft: int = 256
    hop_length: int = 128
    n_mels: int = 40
    channel: int | Literal["mean"] | None = None
    normalise: Literal["standard", "none"] = "standard"
    num_workers: int | None = None

    def __post_init__(self) -> None:
        check_division(self)
        if "{label}" not in self.pattern:
            raise ValueError(refuse("pattern", self.pattern, "contain {label}"))
        self.features()

    def sizes(self) -> None:
        """Return None: only the data determine them."""

    def features(self) -> Features:
        """Return the features to compute from the recordings."""
        from momentum_cli.data.speech.features import Features

        return Features("log-mel", self.sample_rate, self.n_fft, self.hop_length, self.n_mels, self.channel)

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Return that the user provides the recordings."""
        return "ready, reads your own recordings"

    def source(self, data_dir: Path | None = None) -> Path:
        """Return the folder of recordings.

        Raises:
            DataError: It does not exist; the message names the places that were tried.
        """
        return find_data(self.path, data_dir)

    def check(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> list[Problem]:
        """Return every mistake of the recordings; see `momentum_cli.data.speech.corpus.check_corpus`."""
        from momentum_cli.data.speech.corpus import check_corpus

        return check_corpus(self, self.source(data_dir), progress)

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """List the recordings and compute their frames or use the cached ones; nothing is downloaded.

        Returns:
            Dataset whose splits are `FileSplit`.

        Raises:
            DataError: The folder is missing, or has mistakes: each is named.
        """
        import numpy as np
        import torch

        from momentum_cli.data.files.sequences import FileSplit, Windows
        from momentum_cli.data.speech.corpus import describe, load_corpus

        corpus, frames, scaling, warnings = load_corpus(self, self.source(data_dir), progress)
        assert corpus.classes is not None  # they are labelled
        features = self.features()
        starts, lengths = frames.starts, frames.lengths
        splits, classes = {}, {}
        for split, part in corpus.parts.items():
            windows = Windows(starts[part], np.ones(len(part), np.int64), 1, lengths[part])
            classes[split] = torch.from_numpy(corpus.classes[part])
            splits[split] = FileSplit(frames.steps, windows, scaling, features.size, classes[split])
        return Dataset(
            name="speech-classify",
            train=splits["train"],
            validation=splits["validation"] if len(splits["validation"]) else None,
            test=splits["test"],
            input_size=features.size,
            output_size=len(corpus.labels),
            output="last",
            loss="cross_entropy",
            metrics=self.metrics,
            labels=corpus.labels,
            preprocessing=describe("speech", features, scaling),
            licence="that of the recordings",
            warnings=warnings,
            naive=(shares("majority class", classes["train"], len(corpus.labels)),),
        )

    def corpus(self, folder: Path, problems: Problems) -> Corpus:
        """Return the recordings, their classes and their division.

        Raises:
            DataError: There are none, or too few, or one class only.
        """
        from momentum_cli.data.speech.corpus import Division, open_corpus
        from momentum_cli.data.speech.options import chosen_split

        by = chosen_split(self.split, self.pattern)
        division = Division(by, self.validation_fraction, self.test_fraction, self.test_indices, self.split_seed)
        return open_corpus(folder, self.pattern, division, problems, labelled=True)
