"""Prediction for recordings with speech models; the frames are computed by the model's description.

Axes: T steps, D bins or channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.speech.features import Features
from momentum_cli.data.speech.recordings import ENDINGS, RecordingError, read_recording
from momentum_cli.data.speech.sequences import frame_pairs
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.reader import Broken, Prediction, Sample, in_batches, plain_answers
from momentum_cli.progress import Ui


class SpeechReader:
    """Reads recordings of any sample rate.

    Args:
        subject: A model of a speech task.
        top: Classes to list for each recording, >= 1.
    """

    endings: ClassVar[tuple[str, ...]] = ENDINGS

    def __init__(self, subject: Subject, top: int) -> None:
        self._subject, self._top = subject, top
        preprocessing = subject.trained_on["preprocessing"]
        self._features = Features.of(preprocessing)
        scaling = preprocessing["scaling"]
        self._scaling = Scaling.of({**scaling, "fill": [0.0] * len(scaling["offset"])})
        self._predict = preprocessing.get("predict")

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Prediction | Broken]:
        """Predict each recording; see `Reader`."""
        return in_batches(self._subject, sources, self.read, self._answers, batch_size, ui)

    def read(self, source: str) -> Iterator[Sample | Broken]:
        """Read a recording, or yield `Broken` if it cannot be used.

        Yields:
            One sample with the inputs of the task: all frames, or those from which another frame is predicted.
        """
        try:
            if source == "-":
                raise DataError("recordings are read from files, not from standard input")
            samples, rate, _ = read_recording(Path(source), self._features.channel)
            if not len(samples) or not np.isfinite(samples).all():
                raise RecordingError("unreadable", "has no samples, or one that is not a finite number")
            frames = self._scaling(self._features(samples, rate))
        except DataError as error:
            yield Broken(source, None, str(error))
            return
        if self._predict is None:
            yield Sample(source, None, frames)
            return
        inputs, wanted = frame_pairs(frames, self._predict)
        yield Sample(source, None, np.ascontiguousarray(inputs), wanted=wanted)

    def restore(self, outputs: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """Return predicted frames in dB, and the facts to report.

        Args:
            outputs, wanted: (T, D), normalised.

        Returns:
            (T, D) float64 in dB; ``frames`` T, ``mse`` the mean squared error over frames and bins in dB², and the
            ``values``.
        """
        predicted, real = (x.astype(np.float64) * self._scaling.scale + self._scaling.offset for x in (outputs, wanted))
        mse = float(np.square(predicted - real).mean())
        return predicted, {"frames": len(predicted), "mse": mse, "values": predicted.tolist()}

    def _answers(self, samples: list[Sample], outputs: np.ndarray) -> Iterator[Prediction]:
        if self._predict is None:
            yield from plain_answers(samples, outputs, self._subject.trained_on, self._top)
            return
        for sample, output in zip(samples, outputs, strict=True):
            assert sample.wanted is not None
            restored, facts = self.restore(output, sample.wanted)
            yield sample.place | facts, restored
