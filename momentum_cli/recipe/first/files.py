"""`momentumrnn init`: a first recipe for a file, guessed from its names and first rows, with comments."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import numbers
from momentum_cli.data.files.compression import COMPRESSED, inner_suffix
from momentum_cli.data.files.folders import folder_endings
from momentum_cli.data.files.many_files import is_pattern, matching_files, table_files
from momentum_cli.data.files.options import METRICS
from momentum_cli.data.files.row_sequences import has_lists, lacks_values, list_columns, sequence_rows, sequence_shape
from momentum_cli.data.files.schema import ANY_TEXT, SUFFIXES, format_of
from momentum_cli.data.problems import Problem, Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import check_data
from momentum_cli.recipe.document import in_comment
from momentum_cli.recipe.first.arrays import guess_arrays
from momentum_cli.recipe.first.guess import ORDER, SEQUENCE, SPLIT, TARGET, Guess, named, one, target_of
from momentum_cli.recipe.first.speech import first_speech_recipe, recordings_below
from momentum_cli.recipe.first.tables import guess_table, is_table

# Data of up to this many bytes are checked at once; for more, `momentumrnn data check` is the next command.
_CHECKED = 32 << 20
# Rows of lists that are looked at.
_ROWS = 1000


def first_recipe(
    data: Path,
    *,
    target: list[str] | None = None,
    kind: str | None = None,
    order_format: str | None = None,
    shown: str | None = None,
) -> str:
    """Return the text of a first recipe for a file or folder.

    Args:
        data: The file or folder to learn from, or a pattern such as ``data/*.csv``.
        target: Columns (or the array) to predict; None: guessed from their names.
        kind: classification, regression, labelling or forecasting; None: guessed.
        order_format: Format of the dates of a table, such as ``"%d/%m/%Y"``; None: guessed.
        shown: The path to write into the recipe; None: ``data``.

    Raises:
        DataError: The file is missing or has an unknown format, or no target was found.
        RecipeError: A column does not exist.
    """
    several = is_pattern(str(data)) and not data.exists()
    if not (several or data.exists()):
        raise DataError(f"{data}: no such file or folder")
    if not several:
        check_data(data)
    guess = Guess(kind or "")
    if several:
        _guess_tables(data, matching_files(data), target, order_format, guess)
    elif data.is_dir():
        if recordings_below(data):
            _refuse_for_classes("recordings", kind, target, order_format)
            return first_speech_recipe(data, shown or data.as_posix())
        _guess_folder(data, target, order_format, guess)
    else:
        found = format_of(data)
        if found is None and inner_suffix(data) in ANY_TEXT and is_table(data):
            found = guess.options["format"] = "csv"
            guess.comments.append("format: the file holds columns")
        if found is None:
            more = f"; for a text: momentumrnn train shakespeare task.path={data}" if data.suffix == ".txt" else ""
            endings = f"{', '.join(SUFFIXES)}, also compressed ({', '.join(COMPRESSED)})"
            raise DataError(f"{data} must be a folder, or end in {endings}{more}")
        if found in ("npz", "npy"):
            _refuse_format(order_format, "arrays")
            guess_arrays(data, found, target, guess)
        elif has_lists(data, found):
            _refuse_format(order_format, "lists")
            _guess_lists(data, found, target, guess)
        else:
            guess_table([data], found, target, order_format, guess)
    return _text(data.name, shown or data.as_posix(), guess)


def _refuse_for_classes(of: str, kind: str | None, target: list[str] | None, order_format: str | None) -> None:
    """Refuse options that have no effect on a folder whose subfolders are classes."""
    if kind not in (None, "classification"):
        raise RecipeError(refuse("--kind", kind, f"be classification for a folder of {of}"))
    if target:
        must = f"be left out for a folder of {of}"
        raise RecipeError(
            refuse("--target", Said(", ".join(target)), must, "the names of the subfolders are predicted")
        )
    _refuse_format(order_format, of)


def _refuse_format(order_format: str | None, of: str) -> None:
    """Refuse a format of dates for data without a column of dates in text."""
    if order_format is not None:
        raise RecipeError(refuse("--order-format", order_format, f"be left out for {of}", "it is for tables"))


def _guess_tables(
    data: Path, among: Iterable[Path], target: list[str] | None, order_format: str | None, guess: Guess
) -> None:
    """Guess the options of a table in several files: the tables of the most frequent format in a folder."""
    formats = Counter(format_of(file) for file in among if file.is_file() and file.suffix)
    found = next((name for name, _ in formats.most_common() if name in ("csv", "parquet", "jsonl")), None)
    if found is None:
        where = "the folder contains" if data.is_dir() else "the pattern matches"
        raise DataError(f"{data}: {where} no recordings, text files or tables")
    files = table_files(data, found)
    guess.options["format"] = found
    guess.comments.append(
        f"format: {len(files)} files, {files[0].name} and so on" if len(files) > 1 else "format: one file"
    )
    if has_lists(files[0], found):
        _refuse_format(order_format, "lists")
        _guess_lists(files[0], found, target, guess)
    else:
        guess_table(files, found, target, order_format, guess)


def _guess_folder(data: Path, target: list[str] | None, order_format: str | None, guess: Guess) -> None:
    found = next(
        (
            name
            for name, endings in folder_endings().items()
            if any(file.suffix.lower() in endings for file in data.rglob("*"))
        ),
        None,
    )
    if found is None:
        _guess_tables(data, data.rglob("*"), target, order_format, guess)
        return
    _refuse_for_classes("text files" if found == "text" else "recordings", guess.kind or None, target, order_format)
    guess.kind = "classification"
    guess.options["format"] = found
    guess.comments.append("one folder per class")
    if {"train", "test"} <= {folder.name for folder in data.iterdir() if folder.is_dir()}:
        guess.options["split_column"] = "folder"
        guess.comments.append("the upper folders train, validation and test are the splits")


def _is_sequence(value: Any) -> bool:
    try:
        sequence_shape(value)
    except ValueError:
        return False
    return True


def _guess_lists(data: Path, found: str, target: list[str] | None, guess: Guess) -> None:
    _, first = next(sequence_rows(data, found, Problems()))
    lists = list_columns(first)
    if target is None and guess.kind in ("", "forecasting") and named(first, TARGET) is None and len(lists) == 1:
        guess.kind, wanted = "forecasting", lists
        guess.comments.append("kind: there is one list and no target: its next values are forecast")
    else:
        wanted = target_of(list(first), target)
    for option, names in (("sequence", SEQUENCE), ("split_column", SPLIT)):
        name = named(first, names)
        if name is not None:
            guess.options[option] = name
    when = next((name for name in lists if name.lower() in ORDER and name not in wanted), None)
    if when is not None:
        guess.options["order"] = when
    features = [name for name in lists if (name not in wanted or guess.kind == "forecasting") and name != when]
    no_numbers = [name for name in features if not _is_sequence(first[name])]
    features = [name for name in features if name not in no_numbers]
    if no_numbers:
        guess.comments.append(f"no features, because they hold no numbers: {', '.join(no_numbers)}")
    if not features:
        raise DataError(f"{data}: no list of numbers remains as a feature (columns: {', '.join(first)})")
    guess.options |= {"features": features, "target": one(wanted)}
    guess.longest = len(first[lists[0]]) if lists else 0
    value = first[wanted[0]]
    rows = [row for _, row in itertools.islice(sequence_rows(data, found, Problems()), _ROWS)]
    if any(lacks_values(row.get(name)) for row in rows for name in features):
        guess.missing = "forward_fill"
        guess.comments.append("missing: some values are missing; each takes the last value before it")
    if not guess.kind and wanted[0] in lists:
        known, bad = numbers(value)
        classes = bool(bad) or bool((known[~np.isnan(known)] % 1 == 0).all())
        guess.kind = "labelling" if classes else "forecasting"
        what = "each step has a class" if classes else "its next values are forecast"
        guess.comments.append(f"kind: {wanted[0]!r} is a list: {what}")
    elif not guess.kind:
        values = [row.get(wanted[0]) for row in rows]
        known, bad = numbers(values)
        whole = bool((known[~np.isnan(known)] % 1 == 0).all())
        guess.kind = "classification" if bad or (whole and not isinstance(value, float)) else "regression"
        what = "words or whole numbers" if guess.kind == "classification" else "numbers"
        guess.comments.append(f"kind: {wanted[0]!r} holds {what}")


def _text(name: str, path: str, guess: Guess) -> str:
    if guess.kind == "forecasting":
        guess.options |= {"window": max(1, min(48, guess.longest // 10)), "horizon": 1}
    task = {"name": "files", "path": path, "kind": guess.kind, **guess.options}
    lines = _section(task)
    comments = [f"  # {in_comment(comment)}" for comment in guess.comments]
    metric = METRICS[guess.kind][0]
    return "\n".join(
        [
            f"# A first recipe for {in_comment(name)}; what was guessed is under task. Next:",
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
            f"  missing: {guess.missing}  # refuse or forward_fill"
            + ("" if guess.kind == "forecasting" else ", mean, drop_step"),
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
    """Return a section with one option per line, and each list in one line."""
    from momentum_cli.recipe.recipe import to_yaml

    lines = ["task:"]
    for name, value in task.items():
        written = to_yaml({name: value}).strip()
        # One key alone would be written as {key: value}.
        written = written.removeprefix("{").removesuffix("}") if written.startswith("{") else written
        lines += [f"  {line}" for line in written.splitlines()]
    return lines


def reasons_of(recipe: Path) -> list[str]:
    """Return the comments of a first recipe that give reasons."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    return [line.strip().removeprefix("# ") for line in lines if line.startswith("  # ")]


def write_first_recipe(
    data: Path,
    out: Path | None = None,
    *,
    target: list[str] | None = None,
    kind: str | None = None,
    order_format: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `first_recipe` to a file, completely or not at all.

    Args:
        data: The file or folder to learn from.
        out: The recipe; None: the name of the data, ending in .yaml, in the current folder. The path of the data in it
            is relative to its folder where that is possible.
        target, kind, order_format: See `first_recipe`.
        overwrite: Replace an existing file.

    Returns:
        The file written.

    Raises:
        DataError: See `first_recipe`.
        RecipeError: See `first_recipe`; or the file exists or cannot be written.
    """
    import os

    from momentum_cli.recipe.document import ENDINGS
    from momentum_cli.recipe.recipe import load_recipe
    from momentum_cli.runs.files import replacing
    from momentum_cli.runs.output import check_output_file

    if data.is_symlink():
        check_data(data)  # `resolve` fails on a loop of links
    name = data.resolve()
    if is_pattern(str(data)) and not data.exists():
        name = Path(re.sub(r"[*?\[\]]", "", data.name) if re.match(r"\w", data.name) else name.parent.name)
    path = out or Path(f"{name.stem}.yaml")
    if path.exists() and not overwrite:
        raise RecipeError(f"{path}: exists; name another file with --out, or --overwrite to replace it")
    check_output_file(path, endings=ENDINGS)
    shown = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    text = first_recipe(data, target=target, kind=kind, order_format=order_format, shown=shown).replace(
        "THIS.yaml", in_comment(path.name)
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        # A recipe that cannot be loaded must not get its final name.
        load_recipe(temporary)
    return path


def first_problems(path: Path, data_dir: Path | None = None) -> list[Problem]:
    """Return what `data check` finds in the data of a first recipe; [] for data that take long to read.

    Args:
        path: The recipe.
        data_dir: Folder of the data sets, or None for the default.
    """
    from momentum_cli.recipe.building import build_task
    from momentum_cli.recipe.recipe import load_recipe

    task = build_task(load_recipe(path))
    source = task.source(data_dir)
    files = [source] if source is None or source.is_file() else [file for file in source.rglob("*") if file.is_file()]
    if source is not None and is_pattern(str(source)) and not source.exists():
        files = [*matching_files(source)]
    if sum(file.stat().st_size for file in files if file is not None) > _CHECKED:
        return []
    return task.check(data_dir)
