"""`momentumrnn init`: a first recipe for a file, guessed from its names and first rows, with comments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.arrays import array_names, array_shape
from momentum_cli.data.files.columns import numbers, times, words
from momentum_cli.data.files.folders import folder_endings
from momentum_cli.data.files.json_sequences import has_lists
from momentum_cli.data.files.schema import SUFFIXES
from momentum_cli.data.files.tables import csv_blocks, csv_columns, json_objects, parquet_blocks, parquet_columns
from momentum_cli.data.files.task import METRICS
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import refuse, unknown
from momentum_cli.recipe.first.speech import first_speech_recipe, recordings_below

# Names in use, the most telling first; compared in lower case.
_SEQUENCE = ("sequence", "sequence_id", "series", "series_id", "id", "sample", "subject", "unit", "trial", "recording")
_ORDER = ("time", "timestamp", "datetime", "date", "t", "step", "order")
_TARGET = ("label", "class", "target", "category", "y")
_SPLIT = ("split", "fold", "subset")
# Different whole numbers up to which a column of numbers is taken for classes.
_CLASSES = 20


@dataclass
class Guess:
    """Guess at the content of a file.

    Attributes:
        kind: As in `momentum_cli.data.files.Files`.
        options: Further options of the task.
        comments: Why, a line each.
        longest: Steps of the longest sequence seen.
    """

    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    longest: int = 0


def first_recipe(
    data: Path, *, target: list[str] | None = None, kind: str | None = None, shown: str | None = None
) -> str:
    """Return the text of a first recipe for a file or folder.

    Args:
        data: What to learn from.
        target: Columns (or the array) to predict; None: guessed from their names.
        kind: classification, regression, labelling or forecasting; None: guessed.
        shown: The path to write down; None: as it is.

    Raises:
        DataError: The file is missing or of an unknown format, or no target was found.
        RecipeError: A column does not exist.
    """
    if not data.exists():
        raise DataError(f"{data}: no such file or folder")
    guess = Guess(kind or "")
    if data.is_dir():
        if recordings_below(data):
            if kind not in (None, "classification"):
                raise RecipeError(refuse("--kind", kind, "be classification for a folder of recordings"))
            return first_speech_recipe(data, shown or data.as_posix())
        _guess_folder(data, guess)
    else:
        found = SUFFIXES.get(data.suffix.lower())
        if found is None:
            more = f"; for a text: momentumrnn train shakespeare task.path={data}" if data.suffix == ".txt" else ""
            raise DataError(f"{data} must be a folder, or end in {', '.join(SUFFIXES)}{more}")
        if found in ("npz", "npy"):
            _guess_arrays(data, found, target, guess)
        elif found == "jsonl" and has_lists(data):
            _guess_lists(data, target, guess)
        else:
            _guess_table(data, found, target, guess)
    return _text(data.name, shown or data.as_posix(), guess)


def _guess_folder(data: Path, guess: Guess) -> None:
    found = next(
        (
            name
            for name, endings in folder_endings().items()
            if any(file.suffix.lower() in endings for file in data.rglob("*"))
        ),
        None,
    )
    if found is None:
        raise DataError(f"{data}: the folder holds no recordings and no text files")
    guess.kind = "classification"
    guess.options["format"] = found
    guess.comments.append("a folder for each class")
    if {"train", "test"} <= {folder.name for folder in data.iterdir() if folder.is_dir()}:
        guess.options["split_column"] = "folder"
        guess.comments.append("the upper folders train, validation and test are the splits")


def _guess_arrays(data: Path, found: str, target: list[str] | None, guess: Guess) -> None:
    names = array_names(data) if found == "npz" else [""]
    shapes = {name: array_shape(data, name) for name in names}
    wanted = target[0] if target else next((name for name in names if name.lower() in ("y", *_TARGET, "labels")), None)
    if found == "npz" and wanted is not None and wanted not in names:
        raise RecipeError(f"--target: {unknown('array', wanted, names)}")
    inputs = max((name for name in names if name != wanted), key=lambda name: len(shapes[name]))
    shape = shapes[inputs]
    if inputs:
        guess.options["features"] = [inputs]
    if wanted is None:
        guess.kind = guess.kind or "forecasting"
        if guess.kind != "forecasting":
            raise DataError(f"{data}: name the array of targets with --target")
        guess.longest = shape[0] if len(shape) < 3 else shape[1]
        guess.comments.append("no array of targets: all channels are forecast")
        return
    guess.options["target"] = wanted
    guess.longest = shape[1] if len(shape) > 1 else 1
    if not guess.kind:
        guess.kind = "labelling" if len(shapes.get(wanted, ())) == 2 else "classification"
        guess.comments.append(f"{wanted!r} is taken for classes; kind: regression for values")
    lengths = next((name for name in names if name.lower() in ("lengths", "length")), None)
    if lengths is not None:
        guess.options["lengths"] = lengths


def _guess_lists(data: Path, target: list[str] | None, guess: Guess) -> None:
    _, first = next(json_objects(data, Problems()))
    wanted = _target_of(list(first), target, first)
    lists = [name for name, value in first.items() if isinstance(value, list) and name not in wanted]
    guess.options |= _named("sequence", first, _SEQUENCE) | _named("split_column", first, _SPLIT)
    guess.options |= {"features": lists, "target": _one(wanted)}
    guess.longest = len(first[lists[0]]) if lists else 0
    value = first[wanted[0]]
    if not guess.kind and isinstance(value, list):
        guess.kind = "labelling"
    guess.kind = guess.kind or ("regression" if isinstance(value, float) else "classification")


def _guess_table(data: Path, found: str, target: list[str] | None, guess: Guess) -> None:
    columns = _head(data, found)
    rows = len(next(iter(columns.values())))
    if not rows:
        raise DataError(f"{data}: the file holds no rows")
    guess.options |= _named("sequence", columns, _SEQUENCE) | _named("split_column", columns, _SPLIT)
    order = _named("order", columns, _ORDER)
    if order and not times(columns[order["order"]])[1]:
        guess.options |= order
    sequence = guess.options.get("sequence")
    if sequence is not None and len(set(words(columns[sequence]).tolist())) == rows and not guess.options.get("order"):
        # A different name in every row: rows are sequences.
        del guess.options["sequence"]
        sequence = None
        guess.comments.append("every row is a sequence, its columns are the steps")
    wanted = _target_of(list(columns), target, columns)
    runs = None if sequence is None else words(columns[sequence])
    if not guess.kind:
        guess.kind = _kind_of(columns, wanted, runs, guess)
    forecast = guess.kind == "forecasting"
    taken = {guess.options.get(key) for key in ("sequence", "order", "split_column")} | (
        set() if forecast else {*wanted}
    )
    named = set(_SEQUENCE) if sequence is None else set()
    rest = [name for name in columns if name not in taken and name.lower() not in named]
    numeric = [name for name in rest if not numbers(columns[name])[1]]
    if len(numeric) < len(rest):
        left = ", ".join(name for name in rest if name not in numeric)
        guess.comments.append(f"no features, because they are not numbers: {left}")
    if not numeric:
        raise DataError(f"{data}: no column of numbers is left as a feature")
    guess.options |= {"features": numeric, "target": _one(wanted)}
    counts = np.unique(runs.astype(str), return_counts=True)[1] if runs is not None else np.array([rows])
    guess.longest = int(counts.max()) if forecast or runs is not None else len(numeric)
    gaps = sum(int(np.isnan(numbers(columns[name])[0]).sum()) for name in numeric)
    if gaps and (runs is not None or forecast):
        guess.comments.append(f"{gaps} values are missing; see momentumrnn data check, and task.missing")


def _head(data: Path, found: str) -> dict[str, Any]:
    """Return the columns of the first rows of a table."""
    if found == "csv":
        names = csv_columns(data)
        block = next(csv_blocks(data, names, Problems()), None)
    elif found == "parquet":
        names = parquet_columns(data)
        block = next(parquet_blocks(data, names), None)
    else:
        lines = [content for (_, content), _ in zip(json_objects(data, Problems()), range(1 << 16), strict=False)]
        names = list(lines[0]) if lines else []
        return {name: [line.get(name) for line in lines] for name in names}
    return dict(block.columns) if block is not None else {name: [] for name in names}


def _target_of(present: list[str], given: list[str] | None, columns: Any) -> list[str]:
    for name in given or ():
        if name not in present:
            raise RecipeError(f"--target: {unknown('column', name, present)}")
    wanted = given or list(_named("target", columns, _TARGET).values())
    if not wanted:
        raise RecipeError(f"name the column to predict with --target (columns: {', '.join(present)})")
    return list(wanted)


def _kind_of(columns: dict[str, Any], wanted: list[str], runs: np.ndarray | None, guess: Guess) -> str:
    values, bad = numbers(columns[wanted[0]])
    known = values[~np.isnan(values)]
    classes = bool(bad) or (bool((known % 1 == 0).all()) and len(np.unique(known)) <= _CLASSES)
    if runs is None and "order" in guess.options and not classes:
        guess.comments.append("times and no names of sequences: one series, whose next values are forecast")
        return "forecasting"
    if runs is not None and len(wanted) == 1:
        named = words(columns[wanted[0]])
        changes = bool(((runs[1:] == runs[:-1]) & (named[1:] != named[:-1])).any())
        if changes and classes:
            return "labelling"
        if changes:
            guess.comments.append("the target changes within a sequence: its next values are forecast")
            return "forecasting"
    return "classification" if classes else "regression"


def _named(option: str, columns: Any, names: tuple[str, ...]) -> dict[str, str]:
    lower = {name.lower(): name for name in columns}
    return next(({option: lower[name]} for name in names if name in lower), {})


def _one(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _text(name: str, path: str, guess: Guess) -> str:
    if guess.kind == "forecasting":
        guess.options |= {"window": max(1, min(48, guess.longest // 10)), "horizon": 1}
    task = {"name": "files", "path": path, "kind": guess.kind, **guess.options}
    lines = _section(task)
    comments = [f"  # {comment}" for comment in guess.comments]
    metric = METRICS[guess.kind][0]
    return "\n".join(
        [
            f"# A first recipe for {name}; what was guessed is under task. Next:",
            "#   momentumrnn data check THIS.yaml       what is wrong with the data, row by row",
            "#   momentumrnn data describe THIS.yaml    lengths, ranges, classes, splits",
            "#   momentumrnn train THIS.yaml",
            *lines,
            *comments,
            "  validation_fraction: 0.15  # chooses the best epoch"
            if "split_column" not in guess.options
            else "  # the splits are those of the column",
            *(["  test_fraction: 0.15  # reported at the end"] if "split_column" not in guess.options else []),
            "  normalise: standard  # mean 0 and standard deviation 1 of the training data; or range, none",
            "  missing: refuse  # or forward_fill" + ("" if guess.kind == "forecasting" else ", mean, drop_step"),
            "model:",
            "  cell: momentum  # momentumrnn cells list",
            "  hidden_size: 64",
            "optimizer: {name: adam, lr: 0.003}",
            "schedule: {name: cosine}",
            "train: {epochs: 30, batch_size: 32, clip_grad_norm: 1.0, seed: 0}",
            f"# target: {{metric: {metric}, value: …}}  # train exits with 4 when it is missed; bench needs one",
            "",
        ]
    )


def _section(task: dict[str, Any]) -> list[str]:
    """Return a section with an option a line, lists in one line."""
    from momentum_cli.recipe.recipe import to_yaml

    lines = ["task:"]
    for name, value in task.items():
        written = to_yaml({name: value}).strip()
        # One key alone would be written as {key: value}.
        written = written.removeprefix("{").removesuffix("}") if written.startswith("{") else written
        lines += [f"  {line}" for line in written.splitlines()]
    return lines


def write_first_recipe(
    data: Path,
    out: Path | None = None,
    *,
    target: list[str] | None = None,
    kind: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `first_recipe` to a file, whole or not at all.

    Args:
        data: What to learn from.
        out: The recipe; None: the name of the data, ending in .yaml, in the current folder. The path of the data in it
            is relative to its folder where that is possible.
        target, kind: See `first_recipe`.
        overwrite: Replace an existing file.

    Returns:
        The file written.

    Raises:
        DataError: See `first_recipe`.
        RecipeError: See `first_recipe`; or the file exists or cannot be written.
    """
    import os

    from momentum_cli.recipe.recipe import load_recipe
    from momentum_cli.runs.files import replacing
    from momentum_cli.runs.output import check_output_file

    path = out or Path(f"{data.resolve().stem}.yaml")
    if path.exists() and not overwrite:
        raise RecipeError(f"{path}: exists; name another file with --out, or --overwrite to replace it")
    check_output_file(path)
    shown = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    text = first_recipe(data, target=target, kind=kind, shown=shown).replace("THIS.yaml", path.name)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        # Nothing that cannot be loaded is left under the name.
        load_recipe(temporary)
    return path
