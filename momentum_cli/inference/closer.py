"""The worst sequences of an evaluation, and pictures of predictions.

Axes: B sequences that are shown, h horizon, K targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from momentum_cli.data import Dataset, Naive, Sequences
from momentum_cli.data.files.future import listed_steps
from momentum_cli.data.files.sequences import FileSplit
from momentum_cli.inspection.data import shown_inputs
from momentum_cli.pictures.forecasts import (
    Forecast,
    Words,
    errors_by_step,
    forecasts,
    interval_name,
    read_forecasts,
    short_time,
    values,
)
from momentum_cli.pictures.samples import samples
from momentum_cli.pictures.style import shortened
from momentum_cli.training.objective import Objective, Scores

WORST = 6
"""Sequences that are listed and drawn."""
# Consecutive forecasts in a picture: enough for about this many steps, and at least this many.
_STEPS_IN_A_ROW, _FEWEST_IN_A_ROW = 96, 3
# The most targets whose forecasts are drawn.
_MOST_TARGETS = 4
# The most points in a picture of values.
_MOST_POINTS = 2000

Call = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Looked:
    """A model and the split whose predictions are shown.

    Args:
        call: Maps inputs and lengths to outputs.
        dataset: Its data set, with the metrics of the run.
        objective: Objective of the data set, calibrated as the model is.
        data: The split, with batches on the device of the model.
        split: Its name.
        naive: The best naive predictor, or None.
        rows: Result of `momentum_cli.inference.by_target.ByTarget.rows`, or none.
        naive_rows: The same of the naive predictor.
    """

    call: Call
    dataset: Dataset
    objective: Objective
    data: Sequences
    split: str
    naive: Naive | None
    rows: Sequence[dict[str, Any]] = ()
    naive_rows: Sequence[dict[str, Any]] = ()

    @property
    def forecasting(self) -> bool:
        """True if the predictions are forecasts of a series."""
        return isinstance(self.data, FileSplit) and bool(self.data.ahead)

    def answers(self, index: Sequence[int]) -> tuple[Tensor, Scores]:
        """Return the inputs of some sequences, and the predictions with their targets."""
        batch = self.data.batch(torch.tensor(index))
        with torch.no_grad():
            outputs = self.call(batch.inputs, batch.lengths)
        return batch.inputs, Scores(self.objective, outputs, batch.targets, batch.units)


def worst_rows(looked: Looked, worst: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    """Return the places of the worst sequences, their loss and, for classes, the true and the predicted one.

    Args:
        looked: The model and the split.
        worst: Number and mean loss of each sequence.
    """
    rows = [looked.data.place(number) | {"loss": loss} for number, loss in worst]
    if rows and looked.dataset.loss == "cross_entropy" and looked.dataset.output == "last":
        _, scores = looked.answers([number for number, _ in worst])
        shares = scores.class_scores.exp()
        answers = zip(scores.true_classes.tolist(), scores.answers.tolist(), shares.max(1).values.tolist(), strict=True)
        for row, (true, answer, share) in zip(rows, answers, strict=True):
            names = looked.dataset.labels or [str(number) for number in range(looked.dataset.output_size)]
            row |= {"true": names[true], "predicted": names[answer], "probability": share}
    return rows


def draw(looked: Looked, worst: Sequence[dict[str, Any]], folder: Path, shown: dict[str, Any] | None = None) -> None:
    """Draw the pictures that suit the predictions into a folder; none for a text.

    Forecasts over the truth (``forecast-SPLIT.png``) and their errors by horizon (``horizon-SPLIT.png``), or values
    over the true ones (``values-SPLIT.png``), and the worst sequences (``worst-SPLIT.png``).

    Args:
        looked: The model and the split.
        worst: Result of `worst_rows`.
        folder: An existing folder.
        shown: Result of `shown_forecasts`.

    Raises:
        RunError: Drawing failed.
    """
    split = looked.split
    if shown is not None:
        forecasts(*read_forecasts(shown), folder / f"forecast-{split}.png")
        if looked.rows and "steps" in looked.rows[0]:
            name = "" if looked.naive is None else looked.naive.name
            errors_by_step(looked.rows, looked.naive_rows, name, folder / f"horizon-{split}.png")
        return
    if looked.dataset.loss != "cross_entropy" and looked.dataset.output == "last":
        count = min(len(looked.data), _MOST_POINTS)
        _, scores = looked.answers(np.linspace(0, len(looked.data) - 1, count).astype(int).tolist())
        first = (scores.predicted.reshape(count, -1)[:, 0], scores.wanted.reshape(count, -1)[:, 0])
        name = str(looked.rows[0]["target"]) if looked.rows else "target"
        values(first[0].tolist(), first[1].tolist(), name, folder / f"values-{split}.png")
    _draw_sequences(looked, worst, folder / f"worst-{split}.png")


def _draw_sequences(looked: Looked, worst: Sequence[dict[str, Any]], path: Path) -> None:
    if not worst:
        return
    index = [row["number"] for row in worst]
    batch = looked.data.batch(torch.tensor(index))
    if not batch.inputs.is_floating_point():
        return  # tokens make no picture
    shown = shown_inputs(looked.dataset, looked.data, index, batch)
    inputs = shown.inputs
    pixels = looked.dataset.preprocessing.get("kind") == "pixels"
    if pixels:
        inputs = [_image(one, looked.dataset.preprocessing) for one in inputs]
    samples(inputs, [_title(row) for row in worst], path, shown.names, images=pixels, unit=shown.unit)


def _image(sequence: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """Return the image (height, width) that was read as a sequence."""
    found = sequence.reshape(-1)
    if preprocessing["permutation"] is not None:
        found = np.empty_like(found)
        found[preprocessing["permutation"]] = sequence.reshape(-1)
    return found.reshape(preprocessing["height"], preprocessing["width"])


def _title(row: dict[str, Any]) -> str:
    name = shortened(str(row.get("sequence", row["number"])), 36)
    if "true" in row:
        true, predicted = (shortened(str(row[key]), 16) for key in ("true", "predicted"))
        return f"{name}: {true}, " + (
            "and taken for it" if row["predicted"] == row["true"] else f"taken for {predicted}"
        )
    return f"{name}: loss {row['loss']:.4g}"


def forecast_of(looked: Looked, index: Sequence[int], target: int = 0) -> list[Forecast]:
    """Return forecasts of one target with their past, their truth and the naive ones, in the unit of the file.

    Args:
        looked: A forecasting model.
        index: Numbers of windows of the split.
        target: Number of the target.
    """
    data = looked.data
    assert isinstance(data, FileSplit)
    _, scores = looked.answers(index)
    steps = int(data.windows[np.array(index)][1].min())
    past = data.before(np.array(index), steps)[:, :, target]
    shape = (len(index), len(data.ahead), -1)
    predicted, truth = (each.reshape(shape)[:, :, target].cpu().numpy() for each in (scores.predicted, scores.wanted))
    ends: list[list[list[float]]] = [[[] for _ in index] for _ in range(2)]
    if looked.objective.quantiles:
        quantiles = scores.quantiles.reshape(len(index), len(data.ahead), -1, len(looked.objective.quantiles))
        ends = [quantiles[:, :, target, end].tolist() for end in (0, -1)]
    naive: list[list[float]] = [[] for _ in index]
    if looked.naive is not None:
        batch = data.batch(torch.tensor(index))
        outputs = looked.naive.outputs(data, torch.tensor(index), batch)
        answers = Scores(Objective.of(looked.dataset), outputs, batch.targets, batch.units).predicted
        naive = answers.reshape(shape)[:, :, target].tolist()
    several = data.places is not None and len(data.places.names) > 1
    found = []
    for row, number in enumerate(index):
        place = data.place(number)
        known = data.times(number, steps) if "time" in place else []
        found.append(
            Forecast(
                predicted[row].tolist(),
                past[row].tolist(),
                truth[row].tolist(),
                naive[row],
                ends[0][row],
                ends[1][row],
                place=int(place.get("step", steps)),
                times=known,
                title=_forecast_title(place, float(np.abs(predicted[row] - truth[row]).mean()), several),
                ahead=listed_steps(data.ahead),
            )
        )
    return found


def _forecast_title(place: dict[str, Any], error: float, named: bool) -> str:
    when = place.get("time", f"step {place['step']}" if "step" in place else f"window {place['number']}")
    when = short_time(str(when))
    name = f"{place['sequence']}, " if named else ""
    return f"{name}from {when}: mae {error:.4g}"


def shown_forecasts(looked: Looked, worst: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the forecasts of a picture, JSON-able, for `read_forecasts`; None for other models.

    Args:
        looked: The model and the split.
        worst: Of `worst_rows`.
    """
    if not looked.forecasting:
        return None
    data = looked.data
    assert isinstance(data, FileSplit)
    names = [row["target"] for row in looked.rows] or ["target"]
    naive = "" if looked.naive is None else looked.naive.name
    shown = f"the last forecasts of the {looked.split} split, and below them the worst"
    title = f"{names[0]}: {shown}" if len(names) == 1 else f"{shown} of {names[0]}"
    in_a_row = _in_a_row(data)
    rows = [_joined(forecast_of(looked, in_a_row, target)) for target in range(min(len(names), _MOST_TARGETS))]
    return {
        "row": [asdict(one) for one in rows[0]],
        "others": {names[target]: [asdict(one) for one in row] for target, row in enumerate(rows) if target},
        "apart": [asdict(one) for one in forecast_of(looked, [one["number"] for one in worst])],
        "words": asdict(Words(names[0], naive, interval_name(looked.objective.quantiles), title)),
    }


def _in_a_row(data: FileSplit) -> list[int]:
    """Return windows at the end of a split whose forecasts are consecutive in one series."""
    reach = data.ahead[-1]
    apart = -(-reach // data.windows.stride)
    wanted = max(_FEWEST_IN_A_ROW, _STEPS_IN_A_ROW // reach)
    found = [len(data) - 1]
    while len(found) < wanted and found[0] - apart >= 0:
        before, after = data.place(found[0] - apart), data.place(found[0])
        ahead = apart * data.windows.stride
        if before.get("sequence") != after.get("sequence") or after.get("step", 0) - before.get("step", 0) != ahead:
            break
        found.insert(0, found[0] - apart)
    return found


def _joined(parts: list[Forecast]) -> list[Forecast]:
    """Return forecasts of a single step as one line."""
    if len(parts) < 2 or len(parts[0].values) > 1 or parts[1].place != parts[0].place + 1:
        return parts

    def line(name: str) -> list[float]:
        return [value for part in parts for value in getattr(part, name)]

    times = [part.times[-1] for part in parts if part.times]
    ends = line("low"), line("high")
    return [Forecast(line("values"), (), line("truth"), line("naive"), *ends, parts[0].place, times)]
