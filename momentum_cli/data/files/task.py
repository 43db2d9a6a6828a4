"""The task `files`: the user's data, from a file on disk to splits that can be trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.data.dataset import Dataset, Task, find_data
from momentum_cli.data.files.many_files import is_pattern, split_pattern
from momentum_cli.data.files.options import FileOptions
from momentum_cli.data.files.reading import Reading
from momentum_cli.errors import DataError
from momentum_cli.messages import refuse
from momentum_cli.progress import NO_PROGRESS, DownloadProgress

if TYPE_CHECKING:
    from momentum_cli.data.files.gathered import Gathered
    from momentum_cli.data.files.schema import Schema
    from momentum_cli.data.files.splitting import Part
    from momentum_cli.data.problems import Problem, Problems


@dataclass(frozen=True)
class Files(FileOptions, Task):
    """Learn from the user's file or folder of files; its arguments are those of `FileOptions`."""

    def sizes(self) -> None:
        """Return None: only the data determine them."""

    def load(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> Dataset:
        """Read the file; nothing is downloaded.

        Returns:
            Dataset whose splits are `FileSplit`.

        Raises:
            DataError: The file is missing, cannot be read, or has mistakes: each is named.
        """
        from momentum_cli.data.files.assembly import assemble
        from momentum_cli.data.problems import Problems

        problems = Problems()
        path = self.source(data_dir)
        if self.streamed is not None:
            dataset = self._streamed(path, self.streamed, problems)
            problems.refuse(str(path))
            assert dataset is not None
            return replace(dataset, warnings=problems.warnings)
        gathered = self.gather(path, problems)
        problems.refuse(str(path))
        parts = self.parts(gathered, problems)
        problems.refuse(str(path))
        dataset = assemble(self, self.schema(path), gathered, parts, problems)
        problems.refuse(str(path))
        self._warn(path, gathered, parts, problems)
        return replace(dataset, warnings=problems.warnings)

    def _streamed(self, path: Path, held: int, problems: Problems) -> Dataset | None:
        """Return streamed data; None if they have mistakes."""
        from momentum_cli.data.files.streamed import streamed_dataset

        dataset = streamed_dataset(self, path, self.schema(path), held, problems)
        if dataset is not None:
            self._warn_of_unnamed(path, problems)
        return dataset

    @classmethod
    def availability(cls, data_dir: Path) -> str:
        """Say that the user names the files."""
        return "ready, reads your own files"

    def source(self, data_dir: Path | None = None) -> Path:
        """Return the file or folder.

        Raises:
            DataError: It does not exist; the message names the places that were tried.
        """
        try:
            return find_data(self.path, data_dir)
        except DataError:
            if not is_pattern(self.path):
                raise
        folder, pattern = split_pattern(self.path)
        return find_data(folder, data_dir) / pattern

    def describe(self, data_dir: Path | None = None) -> dict[str, Any]:
        """Return ``format`` and ``features``: the range of each in original units, with the count of missing values."""
        from momentum_cli.data.files.checking import ranges
        from momentum_cli.data.problems import Problems

        path = self.source(data_dir)
        if self.streamed is not None:
            from momentum_cli.data.files.streamed import described

            return {"format": "parquet", "features": described(self, path, self.schema(path))}
        found = [one for one in ranges(self.gather(path, Problems())) if one["name"] not in (self.categorical or ())]
        return {"format": self.schema(path).format, "features": found}

    def check(self, data_dir: Path | None = None, progress: DownloadProgress = NO_PROGRESS) -> list[Problem]:
        """Return every mistake, each with its rows, and the warnings.

        Mistakes are values that are missing or cannot be read, duplicate times, sequences in two splits or without
        steps, targets that change within a sequence. Warnings are those of `momentum_cli.data.files.checking`.
        """
        from momentum_cli.data.files.assembly import assemble
        from momentum_cli.data.problems import Problems

        problems, path = Problems(), self.source(data_dir)
        schema = self.schema(path)
        if self.streamed is not None:
            with self._listed(path, problems):
                self._streamed(path, self.streamed, problems)
            return problems.all
        gathered = self.gather(path, problems)
        if not len(gathered) or not gathered.lengths.any():
            return problems.all
        with self._listed(path, problems):
            parts = self.parts(gathered, problems)
            if not problems:
                assemble(self, schema, gathered, parts, problems)
            self._warn(path, gathered, parts, problems)
        return problems.all

    @contextmanager
    def _listed(self, path: Path, problems: Problems) -> Iterator[None]:
        """Add an error about the data to the problems."""
        try:
            yield
        except DataError as error:
            problems.add("data", str(error).removeprefix(f"{path}: ").removeprefix(f"{self.path}: "))

    def _warn(self, path: Path, gathered: Gathered, parts: dict[str, Part], problems: Problems) -> None:
        from momentum_cli.data.files.checking import find_warnings

        self._warn_of_unnamed(path, problems)
        find_warnings(gathered, parts, self.by_time, problems)

    def _warn_of_unnamed(self, path: Path, problems: Problems) -> None:
        from momentum_cli.data.files.rows import left_out

        for name in left_out(path, self.schema(path)):
            text = f"column {name!r} has no name and seems to number the rows"
            problems.add(
                "unnamed", f"{text}: it is no feature unless task.features names it", column=name, warning=True
            )

    def schema(self, path: Path) -> Schema:
        """Return the meaning of the columns.

        Raises:
            DataError: The format is unknown, or needs another option.
        """
        from momentum_cli.data.files.schema import FOLDERS, TABLES, Schema, format_of
        from momentum_cli.data.files.ts_lines import LABEL

        target = _names(self.target)
        found = self.format or format_of(path)
        if found is None:
            what = "a folder" if path.is_dir() else f"a file ending in {path.suffix or 'nothing'!r}"
            raise DataError(
                f"{path}: {what}: name its format in task.format (csv, parquet, jsonl, ts, npz, npy, wav, text)"
            )
        if found in FOLDERS and (not path.is_dir() or self.kind != "classification"):
            raise DataError(
                f"{path}: the format {found} needs a folder with one folder of files per class, and classification"
            )
        for name, formats in (("lengths", ("npz", "npy")), ("samples_per_step", ("wav",))):
            value = getattr(self, name)
            if value not in (None, 1) and found not in formats:
                must = f"be left out for the format {found}"
                raise DataError(refuse(f"task.{name}", value, must, f"it is for {' and '.join(formats)}"))
        if found in FOLDERS:
            target = ("class",)
        elif found == "ts" and not target and self.kind != "forecasting":
            target = (LABEL,)
        wide = self.kind == "forecasting" and found in ("csv", "parquet") and self.order is None
        if not target and not wide and (self.kind != "forecasting" or found in TABLES):
            raise DataError(f"{path}: name the column to predict in task.target")
        return Schema(
            found,
            self.kind,
            _names(self.sequence),
            _names(self.order),
            None if self.features is None else tuple(self.features),
            target,
            self.split_column,
            self.lengths,
            self.samples_per_step,
            self.order_format,
            self.order_timezone,
            self.gaps,
            self.similar_labels,
            Reading.of(self.csv, self.missing_values),
            self.windowed,
            tuple(self.categorical or ()),
            tuple(self.date_features or ()),
            self.resample,
            self.normalise == "sequence",
            tuple(self.known_future or ()),
            _names(self.normalise_by),
            wide and not target,
        )

    def gather(self, path: Path, problems: Problems) -> Gathered:
        """Return all sequences of the file, and add their mistakes to the problems."""
        from momentum_cli.data.files.cache import gather

        return gather(path, self.schema(path), self.missing, problems)

    def parts(self, gathered: Gathered, problems: Problems) -> dict[str, Part]:
        """Return the part of the file that belongs to each split.

        Raises:
            DataError: There are too few sequences.
        """
        from momentum_cli.data.files.splitting import Part, by_column, by_fraction, by_time

        share: float | Literal["none"] = self.validation_fraction or "none"
        if gathered.splits is not None:
            chosen = by_column(gathered.splits, gathered.rows, gathered.names, problems)
        elif self.by_time:
            return by_time(gathered.starts, gathered.lengths, share, self.test_fraction)
        else:
            classes = gathered.targets if self.kind == "classification" else None
            remedy = "windows of one series are split with task.split=time"
            if self.window is None:
                remedy = "rows that are steps need task.sequence, and task.window cuts long sequences"
            chosen = by_fraction(len(gathered), classes, share, self.test_fraction, self.split_seed, remedy)
        return {split: Part.whole(index, gathered.starts, gathered.lengths) for split, index in chosen.items()}


def _names(given: str | list[str] | None) -> tuple[str, ...]:
    """Return the names of an option that takes one, several or none."""
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)
