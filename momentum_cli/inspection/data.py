"""`momentumrnn data describe` and `data check`: a description of the data of a recipe, and its mistakes.

Axes: n sequences, B sequences of a batch, T steps, D channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from momentum_cli.data import Batch, Dataset, Sequences
from momentum_cli.data.files.naive import without_mase
from momentum_cli.data.files.sequences import FileSplit
from momentum_cli.data.language.text import TokenText
from momentum_cli.data.language.vocabulary import Vocabulary
from momentum_cli.data.problems import Problem
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress
from momentum_cli.recipe.building import build_task
from momentum_cli.runs.output import check_output_file
from momentum_cli.training.evaluation import baselines
from momentum_cli.ui import results, terminal
from momentum_cli.wording import metric_text

if TYPE_CHECKING:
    from momentum_cli.recipe.recipe import Recipe

# Formats of --picture.
PICTURES = (".png", ".svg", ".pdf")
# Classes shown in a table; more are only counted.
_SHOWN_CLASSES = 30
# Tokens of a vocabulary that are shown.
_FREQUENT = 12
# Sequences that a naive predictor answers at a time.
_BATCH = 1000


def describe_data(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    picture: Path | None = None,
    progress: DownloadProgress = NO_PROGRESS,
) -> dict[str, Any]:
    """Describe the data of a recipe.

    Args:
        recipe: Recipe of the task.
        data_dir: Folder of data sets, or None for the default.
        picture: File of a picture of some training sequences, or None.
        progress: Receives the progress of downloads.

    Returns:
        ``task``, ``input_size``, ``output_size``, ``loss``, ``metric``, ``labels``; ``splits``: sequences, steps,
        shortest, longest and classes (label -> sequences) of each, and for a text tokens and unknown (share of tokens
        outside the vocabulary); for a text ``vocabulary`` (its size) and ``frequent`` (its first tokens); for a task
        that reads the user's files also ``path`` and its description of them (`momentum_cli.data.Task.describe`);
        ``naive``: name and test metrics of predictors without a model, the best first; ``picture``.

    Raises:
        DataError: The data are missing or wrong.
        RecipeError: The picture cannot be written, its ending is not a known format, or the data are texts.
    """
    if picture is not None:
        check_output_file(picture, "--picture", PICTURES)
    task = build_task(recipe)
    if picture is not None and {"tokens", "texts"} & set(task.measured):
        raise RecipeError(refuse("--picture", Said(picture), "be left out for texts", "it draws numbers"))
    source = task.source(data_dir)
    facts = ({} if source is None else {"path": str(source)}) | task.describe(data_dir)
    dataset = task.load(data_dir, progress)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    result = {
        "task": dataset.name,
        **facts,
        "input_size": dataset.input_size,
        "output_size": dataset.output_size,
        "loss": dataset.loss,
        "metric": dataset.metric,
        "labels": None if dataset.labels is None else list(dataset.labels),
        "splits": {name: _split(split, dataset) for name, split in splits.items() if split is not None},
        **_text_facts(dataset),
        "naive": baselines(dataset, dataset.test, _BATCH),
        "picture": None if picture is None else str(picture),
    }
    if picture is not None:
        from momentum_cli.pictures.samples import samples

        count = min(6, len(dataset.train))
        batch = dataset.train.batch(torch.arange(count))
        titles = [_title(batch, row, dataset) for row in range(count)]
        shown = shown_inputs(dataset, dataset.train, range(count), batch)
        samples(shown.inputs, titles, picture, shown.names, unit=shown.unit)
    return result


def check_data(
    recipe: Recipe, *, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS
) -> dict[str, Any]:
    """Return every mistake in the data of a recipe, and the warnings.

    Each task defines its mistakes, see `momentum_cli.data.Task.check`.

    Returns:
        ``task``, ``path``, ``ok`` (there is no mistake, so the data can be trained on), and ``problems``: code,
        severity (``"error"`` or ``"warning"``), column, sequence, rows (the first 20), count and message of each.

    Raises:
        DataError: The data cannot be read at all.
        RecipeError: An optional package is missing.
    """
    task = build_task(recipe)
    source = task.source(data_dir)
    found = task.check(data_dir, progress)
    if "mase" in recipe.metrics and all(problem.warning for problem in found):
        # A task does not know the metrics of its recipe.
        try:
            found += [Problem("mase", text, warning=True) for text in without_mase(task.load(data_dir, progress))]
        except DataError as error:
            found.append(Problem("mase", str(error)))
    return {
        "task": recipe.task.name,
        "path": None if source is None else str(source),
        "ok": all(problem.warning for problem in found),
        "problems": [problem.dump() for problem in found],
    }


def _split(split: Sequences, dataset: Dataset) -> dict[str, Any]:
    lengths = split.lengths
    longest = split.longest
    result: dict[str, Any] = {
        "sequences": len(split),
        "steps": len(split) * longest if lengths is None else int(lengths.sum()),
        "shortest": longest if lengths is None else int(lengths.min()),
        "longest": longest,
        "classes": None,
    }
    if isinstance(split, TokenText):
        unknown = Vocabulary.from_preprocessing(dataset.preprocessing).unknown
        share = None if unknown is None else float((split.tokens == unknown).double().mean())
        return {"tokens": len(split.tokens), "unknown": share, "classes": None} | result
    if split.class_counts is not None and dataset.labels is not None:
        result["classes"] = dict(zip(dataset.labels, split.class_counts.tolist(), strict=True))
        return result
    targets = getattr(split, "targets", None)
    if dataset.loss == "cross_entropy" and dataset.output == "last" and isinstance(targets, torch.Tensor):
        counts = Counter(targets.tolist())
        labels = dataset.labels or [str(code) for code in range(dataset.output_size)]
        result["classes"] = {label: counts[code] for code, label in enumerate(labels)}
    return result


def _text_facts(dataset: Dataset) -> dict[str, Any]:
    """Return the vocabulary of a text, {} for other data."""
    if not isinstance(dataset.train, TokenText):
        return {}
    vocabulary = Vocabulary.from_preprocessing(dataset.preprocessing)
    # The tokens are in the order of their frequency, except at byte level, where a byte is its own number.
    return {
        "level": vocabulary.level,
        "vocabulary": len(vocabulary),
        "frequent": list(vocabulary.tokens[:_FREQUENT]) or None,
    }


@dataclass(frozen=True)
class Shown:
    """Sequences for a picture.

    Args:
        inputs: (T, D) each, in the units of the file where these are known.
        names: Names of the channels, if each is a feature.
        unit: Unit of the values, if it is not that of the file; else "".
    """

    inputs: list[np.ndarray]
    names: list[str]
    unit: str = ""


def shown_inputs(dataset: Dataset, data: Sequences, index: Sequence[int], batch: Batch) -> Shown:
    """Return the inputs of some sequences for a picture, without the values that are known in advance.

    Args:
        dataset: Data set of the split.
        data: The split.
        index: Numbers of the sequences.
        batch: The batch of these sequences.
    """
    count = [batch.inputs.shape[1]] * len(index) if batch.lengths is None else batch.lengths.tolist()
    inputs = batch.inputs.double().cpu().numpy()
    found = [inputs[row, : max(1, length)] for row, length in enumerate(count)]
    description = dataset.preprocessing
    scaling = description.get("scaling") if description.get("kind") == "files" else None
    if scaling is None or "categories" in description:
        return Shown(found, [])
    offset, scale = (np.array(scaling[key], np.float64) for key in ("offset", "scale"))
    groups = data.groups(np.array(index)) if isinstance(data, FileSplit) else None
    own = [(offset, scale)] * len(index) if groups is None else [(offset[one], scale[one]) for one in groups]
    found = [one[:, : offset.shape[-1]] * by + at for one, (at, by) in zip(found, own, strict=True)]
    names = list(description["features"])
    by_itself = description["schema"].get("each_scaled", False)
    unit = "standard deviations from the mean of the sequence" if by_itself else ""
    return Shown(found, names if len(names) == offset.shape[-1] else [], unit)


def _title(batch: Batch, row: int, dataset: Dataset) -> str:
    target, scaling = batch.targets[row], dataset.preprocessing.get("targets")
    if batch.units is not None and target.numel() == 1:
        target = target.double() * batch.units[0, row, 0] + batch.units[1, row, 0]
    elif scaling and target.numel() == 1:
        target = target.double() * scaling["scale"][0] + scaling["offset"][0]
    if dataset.loss == "cross_entropy" and target.ndim == 0 and dataset.labels:
        return dataset.labels[int(target)]
    return f"{float(target):.6g}" if target.numel() == 1 and dataset.loss != "cross_entropy" else ""


def print_description(result: dict[str, Any]) -> None:
    """Print a result of `describe_data`."""
    facts = {
        key.replace("_", " "): result[key]
        for key in ("task", "path", "format", "level", "vocabulary", "metric", "input_size", "output_size", "picture")
        if result.get(key) is not None
    }
    if result.get("frequent"):
        facts["most frequent"] = " ".join(repr(token)[1:-1] if token != " " else "' '" for token in result["frequent"])
    results.print_facts(facts)
    print()
    text = "tokens" in result["splits"]["train"]
    columns = ["tokens"] if text else ["sequences", "steps", "shortest", "longest"]
    rows = [[name, *(split[key] for key in columns)] for name, split in result["splits"].items()]
    if text and result["splits"]["train"]["unknown"] is not None:
        columns.append("unknown")
        rows = [[*row, f"{100 * result['splits'][row[0]]['unknown']:.2f} %"] for row in rows]
    terminal.print_table(["split", *columns], rows)
    if "features" in result:
        print()
        keys = ("minimum", "maximum", "mean")
        rows = [
            [entry["name"], *("" if entry[key] is None else f"{entry[key]:.6g}" for key in keys), entry["missing"]]
            for entry in result["features"]
        ]
        terminal.print_table(["feature", *keys, "missing"], rows)
    classes = result["splits"]["train"]["classes"]
    if classes:
        print()
        shown = list(classes)[:_SHOWN_CLASSES]
        rows = [[label, *(split["classes"][label] for split in result["splits"].values())] for label in shown]
        more = f"the first {len(shown)} of {len(classes)} classes" if len(shown) < len(classes) else ""
        terminal.print_table(["class", *result["splits"]], rows, more)

    if result["naive"]:
        print()
        names = [name for name in result["naive"][0]["metrics"] if name != "loss"]
        rows = [[one["name"], *(metric_text(name, one["metrics"][name]) for name in names)] for one in result["naive"]]
        terminal.print_table(["naive predictor, test", *(name.replace("_", " ") for name in names)], rows)


def print_problems(result: dict[str, Any]) -> None:
    """Print a result of `check_data`."""
    what = result["path"] or result["task"]
    if result["ok"]:
        terminal.print_lines(f"{what}: no mistakes found")
    for problem in result["problems"]:
        terminal.print_lines(f"{what}: {'warning: ' if problem['severity'] == 'warning' else ''}{problem['message']}")
