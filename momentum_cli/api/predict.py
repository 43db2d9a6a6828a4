"""`predict` of the library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from momentum_cli.api.callbacks import Callback, run_display
from momentum_cli.api.paths import given_path, optional_path
from momentum_cli.api.results import PredictResult
from momentum_cli.errors import RecipeError
from momentum_cli.inference.predict import predict as engine
from momentum_cli.inference.predict.predictions import Predictions
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import Ui


class _Collector:
    """A writer that keeps predictions in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.outputs: list[np.ndarray] = []

    def write(self, predictions: Predictions) -> None:
        self.records.extend(predictions.records())
        self.outputs.extend(map(np.array, predictions.outputs))

    def leave_out(self, row: int | None) -> None:
        pass

    def close(self) -> None:
        pass


def predict(
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    format: str | None = None,
    out: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    top: int | None = None,
    picture: str | os.PathLike[str] | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    ui: Ui | None = None,
) -> PredictResult:
    """Predict the samples of files, as ``momentumrnn predict``; for arrays see `load`.

    Args:
        model: A run folder, a checkpoint or an exported file; or the result of `train` or `export`.
        inputs: Files, folders or globs, one or several, with inputs like those in training.
        format: Format of the file: ``"jsonl"``, ``"csv"``, ``"npz"``, ``"parquet"``, or ``"txt"`` for translations;
            None: by the ending of ``out``, ``"jsonl"`` without one.
        out: File to write, completely or not at all; None: the predictions are in the result.
        batch_size: Samples at a time, >= 1; None: 256. Not for a language model, which reads line by line.
        top: Classes, or next tokens, to list for each sample, >= 1; None: 3. Only for a model that ranks them.
        picture: Draw the first forecasts of a forecasting model into this png, svg or pdf.
        beam_size, length_penalty: Options of the beam search of a translation model; None: those of the recipe.
        progress: Show the display of the command.
        callbacks: Called while it works.
        ui: A whole display in place of ``progress`` and ``callbacks``.

    Raises:
        RecipeError: An option is wrong.
        DataError: The model cannot be opened, or some inputs are broken; with ``out`` the others are in the file.
    """
    named = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    if not named:
        raise RecipeError(refuse("inputs", Said("none"), "name at least one file or folder"))
    kept = _Collector() if out is None else None
    with ui or run_display(progress, callbacks) as shown:
        result = engine.predict(
            given_path(model),
            [str(given_path(name)) for name in named],
            format=format,
            out=optional_path(out),
            batch_size=batch_size,
            top=top,
            picture=optional_path(picture),
            beam_size=beam_size,
            length_penalty=length_penalty,
            writer=kept,
            ui=shown,
        )
    content = result | {"predictions": [] if kept is None else kept.records}
    return PredictResult(content, [] if kept is None else kept.outputs)
