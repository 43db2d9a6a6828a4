"""Errors of values target by target and, of forecasts, step by step.

Axes: B batch, h horizon, K targets.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data import Batch, Dataset
from momentum_cli.data.files.future import horizon_steps
from momentum_cli.training.objective import Objective, Scores


class ByTarget:
    """Adds up the errors of each value that a model predicts for a sequence.

    Args:
        dataset: A data set of values, with one prediction for each sequence.
        objective: Objective of the data set, calibrated as the model is.
    """

    def __init__(self, dataset: Dataset, objective: Objective) -> None:
        description = dataset.preprocessing.get("targets") or {}
        self._objective = objective
        self._ahead = horizon_steps(dataset.preprocessing)
        self._names: list[str] = description.get("names") or ["target"]
        self._sums: Tensor = torch.zeros(3, len(self._ahead) * len(self._names), dtype=torch.float64)

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Add a batch and its outputs, as for `Objective.loss_sum`, (B,) or (B, h K)."""
        targets = batch.targets
        scores = Scores(self._objective, outputs, targets, batch.units)
        errors, counted = (each.reshape(len(targets), -1) for each in (scores.errors, scores.counted))
        sums = torch.stack([errors.abs().sum(0), errors.square().sum(0), counted.sum(0).double()])
        self._sums += sums.cpu()

    def rows(self) -> list[dict[str, Any]]:
        """Return ``target``, ``mae`` and ``rmse`` of each target; of longer forecasts also ``steps``, step by step."""
        sums = self._sums.reshape(3, len(self._ahead), len(self._names))
        found = []
        for number, name in enumerate(self._names):
            row = {"target": name, **_errors(sums[:, :, number].sum(1))}
            if self._ahead != (1,):
                row["steps"] = [{"step": step, **_errors(sums[:, at, number])} for at, step in enumerate(self._ahead)]
            found.append(row)
        return found


def _errors(sums: Tensor) -> dict[str, float]:
    magnitudes, squares, count = sums.tolist()
    if not count:
        return {"mae": math.nan, "rmse": math.nan}
    return {"mae": magnitudes / count, "rmse": math.sqrt(squares / count)}
