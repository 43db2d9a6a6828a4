"""A trained model as a module of torch that also takes raw samples.

Axes: B batch, T time, D input, O outputs.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inference.opened import Subject, open_subject
from momentum_cli.inference.predict.predict import reader_of
from momentum_cli.inference.predict.samples import Broken
from momentum_cli.messages import refuse
from momentum_cli.recipe.recipe import Recipe


@dataclass(frozen=True)
class Predictions:
    """Predictions for the samples of an array, in their order.

    Args:
        records: One per sample: ``row``; and ``label``, ``probability`` and ``top`` of a classifier, ``labels`` and
            ``probabilities`` of one that labels every step, ``values`` of a model that predicts numbers.
        outputs: The outputs of the model for each sample, (O,) or (T, O); predicted values in the units of the data.
    """

    records: list[dict[str, Any]]
    outputs: list[np.ndarray]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.records)

    @property
    def labels(self) -> list[str]:
        """The most probable class of each sample.

        Raises:
            RecipeError: The model does not predict one class for a sample.
        """
        if self.records and "label" not in self.records[0]:
            held = ", ".join(self.records[0])
            raise RecipeError(f"the model predicts no class for a sample: use `records`, which hold {held}")
        return [record["label"] for record in self.records]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, JSON-able."""
        outputs = [output.tolist() for output in self.outputs]
        return {"records": copy.deepcopy(self.records), "outputs": outputs}


class TrainedModel(nn.Module):
    """A trained model, made by `load`.

    Calling it runs the model itself on prepared inputs; `predict` takes samples as they are in files.

    Args:
        subject: The opened run, checkpoint or file.

    Attributes:
        model: The module with the parameters, which can be trained on; None for an exported program of
            another format than safetensors.
        recipe: The recipe of the training.
        trained_on: The description of the data: names of the classes, preprocessing, licence.
        path: The file.
        step: Optimizer steps of its training.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject
        self.model = subject.model
        self.recipe: Recipe = subject.recipe
        self.trained_on: dict[str, Any] = subject.trained_on
        self.path: Path = subject.path
        self.step: int = subject.step
        self.eval()

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the outputs of the model.

        Args:
            inputs: (B, T, D) float32, prepared as in training, or tokens (B, T) int64.
            lengths: (B,) int64 valid steps, or None for T.

        Returns:
            (B, O), or (B, T, O) for a model with an output at every step.
        """
        return self._subject.call(inputs, lengths)

    def predict(self, samples: Any, *, batch_size: int = 256, top: int = 3) -> Predictions:
        """Predict samples as they are before the preparation of the model, which is applied to them.

        Args:
            samples: One sample or several along the first dimension, an array or anything that `numpy.asarray` takes:
                pixels in [0, raw_max], (height, width) or flattened; tokens (T,); the features of the columns of a
                file, (T, D), in their units; the samples of a recording in [-1, 1], (n,), at the model's sample rate.
            batch_size: Samples at a time, >= 1.
            top: Classes to list for each sample, >= 1.

        Raises:
            RecipeError: An option is wrong.
            DataError: A sample does not have the form that the model takes.
        """
        for name, value in (("batch_size", batch_size), ("top", top)):
            if value < 1:
                raise RecipeError(refuse(name, value, "be at least 1"))
        values = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples)
        found = Predictions([], [])
        training = self.training
        self.eval()
        try:
            for item in reader_of(self._here(), top).predict_array(values, batch_size):
                if isinstance(item, Broken):
                    raise DataError(str(item))
                for record in item.records():
                    found.records.append({key: value for key, value in record.items() if key != "source"})
                found.outputs.extend(map(np.array, item.outputs))
        finally:
            self.train(training)
        return found

    def _here(self) -> Subject:
        """Return the subject on the device to which the module has been moved."""
        parameter = next(self.parameters(), None)
        return self._subject if parameter is None else replace(self._subject, device=parameter.device)

    def __call__(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `forward`."""
        outputs: Tensor = super().__call__(inputs, lengths)
        return outputs


def load(run: str | os.PathLike[str], *, checkpoint: str = "best") -> TrainedModel:
    """Load a trained model as a module of torch, in evaluation mode.

    Args:
        run: A run folder, a checkpoint, an exported file or the folder of one; or the result of `train` or `export`.
        checkpoint: The checkpoint of a run folder: ``"best"``, ``"last"``, or the step of one that was kept, such as
            ``"400"``.

    Raises:
        DataError: It is missing, damaged or something else, or there is no such checkpoint.
        RecipeError: A package that the format needs is missing.
    """
    return TrainedModel(open_subject(Path(run), checkpoint))
