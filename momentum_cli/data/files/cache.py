"""Files read once: into memory, or, when large, into arrays on disk that later runs reuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.dataset import cache_dir
from momentum_cli.data.files.arrays import open_arrays
from momentum_cli.data.files.folders import folder_files, open_folder
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.gathering import Gatherer
from momentum_cli.data.files.many_files import short_names, table_files
from momentum_cli.data.files.pieces import Source
from momentum_cli.data.files.row_sequences import has_lists, open_row_files
from momentum_cli.data.files.rows import open_table
from momentum_cli.data.files.schema import FOLDERS, TABLES, Schema
from momentum_cli.data.files.steps import Steps
from momentum_cli.data.kept import keep
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import refuse
from momentum_cli.reading import parse_json

LARGE = 256 << 20
"""Files of this many bytes or more are not held in memory."""
VERSION = 2


def open_source(
    path: Path, schema: Schema, problems: Problems, *, whole: bool = True, together: bool = False
) -> Source:
    """Open a file of any format; see the readers, and `open_table` for the options.

    Raises:
        DataError: It cannot be read, or lacks something that the schema names.
    """
    try:
        source = _open(path, schema, problems, whole, together)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if schema.categorical and "categories" not in source.facts:
        must = "be left out unless each row of a table is a step"
        raise DataError(f"{path}: {refuse('task.categorical', list(schema.categorical), must)}")
    if schema.known_future and (schema.format not in TABLES or source.columns or source.wide):
        must = "be left out unless each row of a table is a step"
        raise DataError(f"{path}: {refuse('task.known_future', list(schema.known_future), must)}")
    if schema.group and schema.format in FOLDERS:
        raise DataError(
            f"{path}: {refuse('task.normalise_by', schema.group_name, 'be left out with folders of files')}"
        )
    return source


def _open(path: Path, schema: Schema, problems: Problems, whole: bool, together: bool) -> Source:
    if schema.format in FOLDERS:
        return open_folder(path, schema, problems)
    if schema.format in ("npz", "npy"):
        return open_arrays(path, schema, problems)
    files = table_files(path, schema.format)
    if has_lists(files[0], schema.format):
        return open_row_files(path, files, schema, problems)
    return open_table(path, schema, problems, whole=whole, together=together)


def gather(path: Path, schema: Schema, missing: str, problems: Problems) -> Gathered:
    """Read a file.

    A file of `LARGE` bytes or more is read in blocks and kept as arrays in the user's cache folder, in a folder named
    after a fingerprint of the file (path, size, times and number) and of the schema. It is written completely or not
    at all.

    Args:
        path: File or folder.
        schema: Its content.
        missing: Policy for missing values.
        problems: Receives every mistake; if there is one, nothing is kept.

    Raises:
        DataError: The file cannot be read at all.
    """
    files = folder_files(path, schema.format) if schema.format in FOLDERS else table_files(path, schema.format)
    if schema.format not in FOLDERS:
        problems.files = short_names(files)
    if sum(file.stat().st_size for file in files) < LARGE:
        source = open_source(path, schema, problems)
        return Gatherer(schema, missing, source, problems, None, whole=True).gather()
    kept = kept_folder(path, files, schema, missing)
    if kept.is_dir():
        return read_index(kept)
    found: list[Gathered] = []

    def fill(folder: Path) -> bool:
        source = open_source(path, schema, problems, whole=False)
        found.append(Gatherer(schema, missing, source, problems, folder, whole=False).gather())
        if not problems:
            write_index(folder, found[0])
        return not problems

    # The files are open, and on most systems they can be read to the end without a name.
    return read_index(kept) if keep(kept, fill) else found[0]


def kept_folder(path: Path, files: list[Path], schema: Schema, *options: Any) -> Path:
    """Return the folder of the cache for what is read from files: one for each content, schema and options."""
    return cache_dir() / "files" / _fingerprint(path, files, schema, *options)


def write_index(folder: Path, gathered: Gathered) -> None:
    """Write what `read_index` reads, except the steps, which a `Gatherer` has written."""
    arrays: dict[str, Any] = {
        "names": gathered.names.astype(str),
        "rows": gathered.rows,
        "starts": gathered.starts,
        "lengths": gathered.lengths,
        "missing": gathered.missing,
        "breaks": gathered.breaks,
    }
    if gathered.targets is not None:
        arrays["targets"] = gathered.targets
    if gathered.splits is not None:
        arrays["splits"] = gathered.splits.astype(str)
    if gathered.groups is not None:
        arrays["groups"] = gathered.groups.astype(str)
    np.savez(folder / "index.npz", **arrays)
    steps = gathered.step_targets
    description = {
        "feature_names": gathered.feature_names,
        "feature_columns": gathered.columns,
        "columns": gathered.features.columns,
        "dtype": gathered.features.dtype.str,
        "step_targets": None if steps is None else [steps.dtype.str, steps.columns],
        "labels": gathered.labels,
        "facts": gathered.facts,
    }
    (folder / "index.json").write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")


def read_index(folder: Path) -> Gathered:
    """Return the sequences in a folder; their steps are read where they are needed.

    Raises:
        DataError: The folder is damaged.
    """
    try:
        description = parse_json((folder / "index.json").read_text(encoding="utf-8"))
        with np.load(folder / "index.npz", allow_pickle=False) as arrays:
            found = dict(arrays)
        steps = description["step_targets"]
        features = Steps(folder / "features.bin", description["dtype"], description["columns"])
        step_targets = None if steps is None else Steps(folder / "targets.bin", steps[0], steps[1])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete it, and it is made again from the data") from error
    return Gathered(
        features,
        step_targets,
        tuple(description["feature_names"]),
        found["names"].astype(object),
        found["rows"],
        found["starts"],
        found["lengths"],
        found.get("targets"),
        found["splits"].astype(object) if "splits" in found else None,
        tuple(description["labels"]),
        found["missing"],
        description["facts"],
        tuple(description["feature_columns"]),
        found["breaks"],
        groups=found["groups"].astype(object) if "groups" in found else None,
    )


def _fingerprint(path: Path, files: list[Path], schema: Schema, *options: Any) -> str:
    # To hash the content would take as long as to read it. A program may set the time of modification but not that of
    # the last change, and a file that takes the place of another has a number of its own.
    stats = [(str(file), file.stat()) for file in files]
    stamps = [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in stats]
    content = json.dumps([VERSION, str(path.resolve()), stamps, schema.dump(), *options], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]
