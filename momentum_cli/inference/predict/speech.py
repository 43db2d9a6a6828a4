"""Prediction for recordings with speech models; the frames are computed by the model's description.

Axes: T steps, D bins or channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.data.speech.features import Features
from momentum_cli.data.speech.recordings import ENDINGS, RecordingError, read_recording
from momentum_cli.data.speech.sequences import frame_pairs
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Facts, Predictions, plain_answers
from momentum_cli.inference.predict.reader import array_batches, in_batches
from momentum_cli.inference.predict.samples import ARRAY, Broken, Samples
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import Ui


def _numbered(values: np.ndarray) -> tuple[list[int | None], list[np.ndarray]]:
    """Return the number and the samples of each recording; a single one has no number."""
    if values.ndim < 2:
        return [None], [values]
    return [*range(len(values))], list(values)


class SpeechReader:
    """Reads recordings of any sample rate.

    Args:
        subject: A model of a speech task.
        top: Classes to list for each recording, >= 1.
    """

    endings: ClassVar[tuple[str, ...]] = ENDINGS
    line: ClassVar[str | None] = None

    def __init__(self, subject: Subject, top: int) -> None:
        self._subject, self._top = subject, top
        preprocessing = subject.trained_on["preprocessing"]
        self._features = Features.of(preprocessing)
        scaling = preprocessing["scaling"]
        self._scaling = Scaling.of({**scaling, "fill": [0.0] * len(scaling["offset"])})
        self._predict = preprocessing.get("predict")

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Predict each recording; see `Reader`."""
        return in_batches(self._subject, sources, self.read, self._answers, batch_size, ui)

    def read(self, source: str) -> Iterator[Samples | Broken]:
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
        yield self._sample(source, None, frames)

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Predict recordings (n,) or (B, n) in [-1, 1], at the sample rate of the model; see `Reader`."""
        return array_batches(self._subject, map(self._of_array, *_numbered(values)), self._answers, batch_size)

    def _of_array(self, row: int | None, samples: np.ndarray) -> Samples | Broken:
        if samples.ndim != 1 or not len(samples) or samples.dtype.kind != "f" or not np.isfinite(samples).all():
            must = f"be finite fractions (n,) at {self._features.sample_rate} Hz, n >= 1"
            return Broken(ARRAY, row, refuse("a recording", Said(f"{samples.dtype} {samples.shape}"), must))
        frames = self._scaling(self._features(samples.astype(np.float64), self._features.sample_rate))
        return self._sample(ARRAY, row, frames)

    def _sample(self, source: str, row: int | None, frames: np.ndarray) -> Samples:
        if self._predict is None:
            return Samples.one(source, row, frames)
        inputs, wanted = frame_pairs(frames, self._predict)
        return replace(Samples.one(source, row, np.ascontiguousarray(inputs)), wanted=[wanted])

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

    def _answers(self, samples: Samples, outputs: np.ndarray) -> Predictions:
        if self._predict is None:
            return plain_answers(samples, outputs, self._subject.trained_on, self._top)
        restored = [*map(self.restore, outputs, samples.wanted)]
        values = np.stack([of_each for of_each, _ in restored])
        return Predictions(samples.places, values, Facts([facts for _, facts in restored]))
