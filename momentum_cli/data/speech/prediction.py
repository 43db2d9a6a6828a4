"""The task `speech`: predict the next frame of the log-magnitude spectrum.

Axes: T steps, F bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.naive import InputAgain, zeros
from momentum_cli.data.speech.options import SplitOption, check_division
from momentum_cli.messages import refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from momentum_cli.data.problems import Problem, Problems
    from momentum_cli.data.speech.corpus import Corpus, Division
    from momentum_cli.data.speech.features import Features


@dataclass(frozen=True)
class Speech(Task):
    """Predict each frame of speech from the frames before it. See docs/speech.md.

    Frames are the log-magnitude short-time spectrum in dB, see `momentum_cli.data.speech.features.Features`. The loss
    and the metric ``mse`` are means over all real frames and bins; the metric is in dB² even with normalised frames.

    Args:
        path: Folder of recordings (WAV, FLAC, SPHERE), with any folders in it; relative to the
            folder of the recipe or to the folder of data sets.
        format: ``"wav"``: any folder; ``"timit"``: the layout of LDC93S1, with 3,696 utterances for training, 400 of
            the development set, and the 192 of the core test set.
        pattern: Path of a recording relative to the folder, without its ending: ``{speaker}``, ``{index}``,
            ``{split}`` and ``{label}`` match parts without ``/``, ``*`` matches anything.
        split: ``"fraction"``: recordings are drawn for each split; ``"speaker"``: speakers are drawn, with all their
            recordings; ``"index"``: those with an ``{index}`` below `test_indices` are for test; ``"folder"``: by the
            word train, validation or test in ``{split}``. None: folder if the pattern has it, else fraction.
        test_indices: With split index, >= 1.
        validation_fraction, test_fraction: Of the recordings, or of the speakers; >= 0 and > 0, their sum < 1. By index
            validation is a fraction of what is not for test. Without validation the best checkpoint is
            selected on the test set, and the result says so.
        split_seed: Selects the recordings or speakers, in [0, 2**32).
        sample_rate: Hz, >= 1; other recordings are resampled.
        n_fft: Samples of a frame, even, >= 2; F = n_fft / 2 + 1.
        hop_length: Samples from one frame to the next, in [1, n_fft].
        predict: ``"next"``: the frame after the given one; ``"previous"``: the one before it, as in the authors'
            files of TIMIT, see docs/speech.md.
        normalise: ``"standard"``: mean 0 and standard deviation 1 of each bin of the training frames, for inputs and
            predicted frames; ``"none"``: dB.
        channel: Which of several channels to use, counted from 1, or ``"mean"`` of all; None: recordings must have one.
        num_workers: Threads that compute the frames, >= 1; None: one per core.

    Raises:
        ValueError: An option is outside its range, or contradicts another one.

    Reference: Wisdom, Powers, Hershey, Le Roux and Atlas, Full-Capacity Unitary Recurrent Neural Networks,
    NeurIPS 2016, section 4.4; Nguyen, Baraniuk, Bertozzi, Osher and Wang, MomentumRNN, NeurIPS 2020, table 2.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "loss")

    path: str
    format: Literal["wav", "timit"] = "wav"
    pattern: str = "*"
    split: SplitOption | None = None
    test_indices: int = 5
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    sample_rate: int = 8000
    n_fft: int = 256
    hop_length: int = 128
    channel: int | Literal["mean"] | None = None
    predict: Literal["next", "previous"] = "next"
    normalise: Literal["standard", "none"] = "standard"
    num_workers: int | None = None

    def __post_init__(self) -> None:
        if self.format == "timit":
            for name in ("pattern", "split", "test_indices", "validation_fraction", "test_fraction", "split_seed"):
                # Defaults of a dataclass are attributes of its class.
                if getattr(self, name) != getattr(type(self), name):
                    remedy = "the division of TIMIT is fixed"
                    raise ValueError(refuse(name, getattr(self, name), "be left out with format timit", remedy))
        check_division(self)
        self.features()

    def sizes(self) -> None:
        """Return None: only the data determine them."""

    def features(self) -> Features:
        """Return the features to compute from the recordings."""
        from momentum_cli.data.speech.features import Features

        return Features("stft", self.sample_rate, self.n_fft, self.hop_length, channel=self.channel)

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
            Dataset whose splits are `FrameSplit`.

        Raises:
            DataError: The folder is missing, or has mistakes: each is named.
        """
        from momentum_cli.data.speech.corpus import describe, load_corpus
        from momentum_cli.data.speech.sequences import FrameSplit

        corpus, frames, scaling, warnings = load_corpus(self, self.source(data_dir), progress)
        features = self.features()
        splits = {
            split: FrameSplit(frames.steps, frames.starts[part], frames.lengths[part] - 1, scaling, self.predict)
            for split, part in corpus.parts.items()
        }
        return Dataset(
            name="speech",
            train=splits["train"],
            validation=splits["validation"] if len(splits["validation"]) else None,
            test=splits["test"],
            input_size=features.size,
            output_size=features.size,
            output="every",
            loss="mse",
            metrics=self.metrics,
            labels=None,
            preprocessing=describe("speech", features, scaling) | {"predict": self.predict},
            licence="that of the recordings",
            warnings=warnings,
            naive=(
                InputAgain(),
                *([] if self.normalise == "none" else [zeros("training mean", features.size, every=True)]),
            ),
            target_scale=None if self.normalise == "none" else tuple(scaling.scale.tolist()),
            target_offset=None if self.normalise == "none" else tuple(scaling.offset.tolist()),
        )

    def corpus(self, folder: Path, problems: Problems) -> Corpus:
        """Return the recordings and their division.

        Raises:
            DataError: There are none, or too few.
        """
        from momentum_cli.data.speech.corpus import open_corpus

        return open_corpus(folder, self.pattern, self._division(), problems, timit=self.format == "timit")

    def _division(self) -> Division:
        from momentum_cli.data.speech.corpus import Division
        from momentum_cli.data.speech.options import chosen_split

        by = chosen_split(self.split, self.pattern)
        return Division(by, self.validation_fraction, self.test_fraction, self.test_indices, self.split_seed)
