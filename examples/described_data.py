"""Raw data to a model's inputs and its outputs to answers, by the JSON text in every exported file, with numpy alone.

The streaming examples import it; a program of yours takes both files, or the few lines that its model needs.
"""

import csv
import itertools
from typing import Any

import numpy as np

USAGE = """
FILE is a CSV of one sequence, with a header and a row per step in the units of the training data; or an NPY file of
sequences (batch, time, columns) or images (batch, height, width). Prints one answer per sequence, after its last step.
"""


def read(path: str, preprocessing: dict[str, Any]) -> np.ndarray:
    """Return what is in an NPY file, or the columns that the model reads of a CSV, (1, time, columns).

    A CSV with several sequences is refused, and so is one without commas between its columns or points in its numbers.
    """
    if not path.endswith(".csv"):
        return np.load(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sequence = preprocessing.get("schema", {}).get("sequence") or []
    keys = [sequence] if isinstance(sequence, str) else sequence
    if len({tuple(row.get(key) for key in keys) for row in rows}) > 1:
        raise SystemExit(f"{path} holds several sequences, by its column {', '.join(keys)}; this example reads one")
    try:
        values = np.array([[float(row[name] or "nan") for name in preprocessing["features"]] for row in rows])
    except (KeyError, ValueError) as error:
        raise SystemExit(f"{path}: this example reads columns between commas, and numbers as 1.5: {error}") from None
    values = treat_gaps(values, preprocessing.get("missing"), path)
    # A forecast is made from the last steps.
    return values[None, -(preprocessing.get("window") or len(values)) :]


def treat_gaps(values: np.ndarray, missing: str | None, path: str) -> np.ndarray:
    """Return the steps (time, columns), whose empty cells are NaN, as `task.missing` of the recipe says.

    Empty cells that have no value before them, and all of the policy ``mean``, are left to `prepare`.
    """
    gaps = np.isnan(values)
    if missing == "refuse" and gaps.any():
        raise SystemExit(f"{path} has empty cells, and the model was trained without (task.missing: refuse)")
    if missing == "drop_step":
        return values[~gaps.any(1)]
    if missing == "forward_fill":
        for before, step in itertools.pairwise(values):
            np.copyto(step, before, where=np.isnan(step))
    return values


def prepare(raw: np.ndarray, dataset: dict[str, Any]) -> np.ndarray:
    """Return the inputs (batch, time, channels) of the model for raw values.

    Args:
        raw: As `read` returns it.
        dataset: The section of that name in the description of the model.
    """
    refuse_made(dataset)
    preprocessing = dataset["preprocessing"]
    kind = preprocessing.get("kind", "none")
    if kind == "pixels":
        flat = raw.reshape(len(raw), -1)
        if preprocessing["permutation"] is not None:
            flat = flat[:, preprocessing["permutation"]]
        scaled = flat.astype(np.float32) * np.float32(preprocessing["scale"])
        return scaled.reshape(len(raw), -1, preprocessing["pixels_per_step"])
    if kind == "files":
        offset, scale, fill = (np.array(preprocessing["scaling"][name]) for name in ("offset", "scale", "fill"))
        return ((np.where(np.isnan(raw), fill, raw) - offset) / scale).astype(np.float32)
    if kind == "none":
        return raw.astype(np.float32)
    raise SystemExit(f"this example reads numbers and images, but the model needs {kind!r}")


def refuse_made(dataset: dict[str, Any]) -> None:
    """Refuse a model whose inputs are more than columns, each scaled by two numbers of its own."""
    if dataset.get("made_inputs"):
        raise SystemExit(f"this example reads numbers, but the model needs {', '.join(dataset['made_inputs'])}")


def answers(outputs: np.ndarray, dataset: dict[str, Any]) -> list[str]:
    """Return one line per sequence: a label, or values in their original units.

    Args:
        outputs: Of the model, (batch, outputs) or (batch, time, outputs).
        dataset: The section of that name in the description of the model.
    """
    last = outputs if dataset["output"] == "last" else outputs[:, -1]
    if dataset["loss"] == "cross_entropy":
        return [dataset["labels"][index] if dataset["labels"] else str(index) for index in last.argmax(1)]
    targets, levels = dataset["preprocessing"].get("targets"), dataset["preprocessing"].get("quantiles", [0.5])
    if targets:
        found = np.sort(last.astype(np.float64).reshape(len(last), -1, len(levels)), -1)
        found = np.sort(found + np.array(dataset.get("calibration") or 0.0), -1)
        shaped = found.reshape(len(last), -1, len(targets["scale"]), len(levels))
        last = shaped * np.array(targets["scale"])[:, None] + np.array(targets["offset"])[:, None]
    return [" ".join(f"{value:.6g}" for value in row) for row in last.reshape(len(last), -1)]
