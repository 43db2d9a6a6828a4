"""`momentumrnn data describe` and `data check`: the content of the data of a recipe, and the mistakes in them.

Axes: n sequences, B sequences of a batch, T steps, D channels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from momentum_cli.data import Dataset, Files, Sequences, Speech, SpeechClassify
from momentum_cli.data.dataset import find_data
from momentum_cli.data.files.problems import Problem, Problems
from momentum_cli.data.files.tables import rows_of_block
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress
from momentum_cli.recipe.building import build_task
from momentum_cli.runs.output import check_output_file
from momentum_cli.ui import results, terminal

if TYPE_CHECKING:
    from momentum_cli.data.files.gathering import Gathered
    from momentum_cli.data.files.splitting import Part
    from momentum_cli.recipe.recipe import Recipe

# Formats of --picture.
PICTURES = (".png", ".svg", ".pdf")
# Classes of a table; more are only counted.
_SHOWN_CLASSES = 30


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
        shortest, longest and classes (label -> sequences, of classes a sequence) of each; of the tasks of speech and
        ``files`` also ``path``, of ``files`` ``format`` and ``features``: name, minimum, maximum, mean and missing
        values of each, in original units; ``picture``.

    Raises:
        DataError: The data are missing or wrong.
        RecipeError: The picture cannot be written, or not in the format of its ending.
    """
    if picture is not None:
        if picture.suffix.lower() not in PICTURES:
            raise RecipeError(refuse("--picture", Said(picture), f"end in {', '.join(PICTURES)}"))
        check_output_file(picture, "--picture")
    task = build_task(recipe)
    facts: dict[str, Any] = {}
    if isinstance(task, Files):
        problems = Problems()
        path = task.find(data_dir)
        gathered = task.gather(path, problems)
        facts = {"path": str(path), "format": task.schema(path).format, "features": _features(gathered)}
    elif isinstance(task, Speech | SpeechClassify):
        facts = {"path": str(find_data(task.path, data_dir))}
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
        "picture": None if picture is None else str(picture),
    }
    if picture is not None:
        from momentum_cli.pictures.samples import samples

        count = min(6, len(dataset.train))
        batch = dataset.train.batch(torch.arange(count))
        titles = [_title(batch.targets[row], dataset) for row in range(count)]
        lengths = [batch.inputs.shape[1]] * count if batch.lengths is None else batch.lengths.tolist()
        samples([batch.inputs[row, :length].numpy() for row, length in enumerate(lengths)], titles, picture)
    return result


def check_data(
    recipe: Recipe, *, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS
) -> dict[str, Any]:
    """Return every mistake in the data of a recipe.

    Of the task ``files``: missing and unreadable values, duplicate times, sequences in two splits or without
    steps, targets that change within a sequence; identical sequences in different splits; classes without a training
    sequence. Of the tasks of speech: speakers and recordings that are missing, in a wrong place, cut short or of
    another kind; identical recordings in different splits; classes without a training recording. Of other tasks: what
    loading them says.

    Returns:
        ``task``, ``path``, ``ok``, and ``problems``: code, column, sequence, rows (the first 20), count and message of
        each.

    Raises:
        DataError: The data cannot be read at all.
        RecipeError: An optional package is missing.
    """
    task = build_task(recipe)
    name, path = recipe.task.name, None
    found: list[Problem] = []
    if isinstance(task, Files):
        path = str(task.find(data_dir))
        found = _check_files(task, Path(path))
    elif isinstance(task, Speech | SpeechClassify):
        path = str(find_data(task.path, data_dir))
        found = _check_speech(task, Path(path), progress)
    else:
        try:
            task.load(data_dir, progress)
        except DataError as error:
            found = [Problem("data", str(error))]
    return {"task": name, "path": path, "ok": not found, "problems": [problem.dump() for problem in found]}


def _check_files(task: Files, path: Path) -> list[Problem]:
    problems = Problems()
    gathered = task.gather(path, problems)
    if len(gathered) and gathered.lengths.any():
        try:
            parts = task.parts(gathered, problems)
            if not problems:
                task.dataset(task.schema(path), gathered, parts, problems)
            if task.window is None:
                _find_identical(gathered, parts, problems)
            if task.kind == "classification":
                _find_untrained(gathered, parts, problems)
        except DataError as error:
            problems.add("data", str(error).removeprefix(f"{path}: ").removeprefix(f"{task.path}: "))
    return problems.all


def _check_speech(task: Speech | SpeechClassify, folder: Path, progress: DownloadProgress) -> list[Problem]:
    problems = Problems()
    try:
        corpus = task.corpus(folder, problems)
        # Recordings that are there are looked at although others are missing.
        frames = corpus.frames(task.features(), problems, progress, task.num_workers) if corpus.recordings else None
        corpus.check(frames, problems)
    except DataError as error:
        problems.add("data", str(error))
    return problems.all


def _find_identical(gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
    """Find sequences that are in two splits, number for number: such a test is no test."""
    seen: dict[bytes, tuple[str, int]] = {}
    for split, part in parts.items():
        for place in part.sequences.tolist():
            start, length = int(gathered.starts[place]), int(gathered.lengths[place])
            content = np.ascontiguousarray(gathered.features.read(start, start + length))
            key = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
            before = seen.setdefault(key, (split, place))
            if before[0] != split:
                one, other = str(gathered.names[before[1]]), str(gathered.names[place])
                text = f"sequences {one!r} ({before[0]}) and {other!r} ({split}) are identical"
                rows = [int(gathered.rows[before[1]]), int(gathered.rows[place])]
                problems.add("identical", text, rows, sequence=other)


def _find_untrained(gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
    if gathered.targets is None:
        return
    trained = set(gathered.targets[parts["train"].sequences].tolist())
    for code in sorted(set(gathered.targets.tolist()) - trained):
        rows = gathered.rows[np.flatnonzero(gathered.targets == code)]
        problems.add("untrained_class", f"class {gathered.labels[code]!r} has no training sequence", rows)


def _features(gathered: Gathered) -> list[dict[str, Any]]:
    """Return the range of each feature in original units; of a wide table and of text of all steps together."""
    columns, steps = gathered.features.columns, len(gathered.features)
    low, high, total, count = (np.full(columns, value) for value in (np.inf, -np.inf, 0.0, 0.0))
    size = rows_of_block(columns)
    for start in range(0, steps, size):
        block = gathered.features.read(start, min(start + size, steps)).astype(np.float64)
        present = ~np.isnan(block)
        low = np.minimum(low, np.where(present, block, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(present, block, -np.inf).max(0, initial=-np.inf))
        total += np.where(present, block, 0.0).sum(0)
        count += present.sum(0)
    names = gathered.feature_names if len(gathered.feature_names) == columns else ("all steps",)
    return [
        {
            "name": name,
            "minimum": float(low[place]) if count[place] else None,
            "maximum": float(high[place]) if count[place] else None,
            "mean": float(total[place] / count[place]) if count[place] else None,
            "missing": int(gathered.missing[place]),
        }
        for place, name in enumerate(names)
    ]


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
    targets = getattr(split, "targets", None)
    if dataset.loss == "cross_entropy" and dataset.output == "last" and isinstance(targets, torch.Tensor):
        counts = Counter(targets.tolist())
        labels = dataset.labels or [str(code) for code in range(dataset.output_size)]
        result["classes"] = {label: counts[code] for code, label in enumerate(labels)}
    return result


def _title(target: torch.Tensor, dataset: Dataset) -> str:
    if dataset.loss == "cross_entropy" and target.ndim == 0 and dataset.labels:
        return dataset.labels[int(target)]
    return f"{float(target):.3g}" if target.numel() == 1 and dataset.loss == "mse" else ""


def print_description(result: dict[str, Any]) -> None:
    """Show a result of `describe_data` to people."""
    facts = {
        key.replace("_", " "): result[key]
        for key in ("task", "path", "format", "metric", "input_size", "output_size", "picture")
        if result.get(key) is not None
    }
    results.print_facts(facts)
    print()
    rows = [
        [name, *(split[key] for key in ("sequences", "steps", "shortest", "longest"))]
        for name, split in result["splits"].items()
    ]
    terminal.print_table(["split", "sequences", "steps", "shortest", "longest"], rows)
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


def print_problems(result: dict[str, Any]) -> None:
    """Show a result of `check_data` to people."""
    what = result["path"] or result["task"]
    if result["ok"]:
        terminal.print_lines(f"{what}: no mistakes found")
    for problem in result["problems"]:
        terminal.print_lines(f"{what}: {problem['message']}")
