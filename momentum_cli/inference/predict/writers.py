"""Writers of predictions: JSON Lines, CSV, lines of text, or NPZ, which grows in files on the disk.

Axes: n samples, T time, O outputs.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.inference.predict.predictions import Column, Predictions, Table
from momentum_cli.runs.files import csv_cell, escaped, json_text


class Stream(Protocol):
    """The destination of a text writer."""

    def write(self, text: str, /) -> int:
        """Write a piece of text."""
        ...

    def flush(self) -> None:
        """Pass buffered text to the system."""
        ...


class Writer(Protocol):
    """The interface of a writer, which receives predictions batch by batch."""

    def write(self, predictions: Predictions) -> None:
        """Write the predictions of a batch."""
        ...

    def leave_out(self, row: int | None) -> None:
        """Note an input that could not be predicted: row `row` of its file, or the whole file."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class JsonlWriter:
    """Writes one JSON object per line."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, predictions: Predictions) -> None:
        """Write a line for each record."""
        for record in predictions.records():
            try:
                # Almost every record is valid JSON already, and checking each value first takes twice as long.
                text = escaped(json.dumps(record, allow_nan=False, ensure_ascii=False))
            except (TypeError, ValueError):
                text = json_text(record)
            self._stream.write(text + "\n")

    def leave_out(self, row: int | None) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Flush everything."""
        self._stream.flush()


def check_columns(heading: Collection[str], table: Table) -> None:
    """Refuse a further table with a column that the first one does not have.

    Raises:
        DataError: It has one.
    """
    for name in table:
        if name not in heading:
            raise DataError(
                f"{table['source'].values[0]}: its prediction has a column {name!r}, which the table does not have; "
                "use --format jsonl"
            )


class CsvWriter:
    """Writes the tables of predictions as lines."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._heading: list[str] | None = None

    def write(self, predictions: Predictions) -> None:
        """Write the lines of a batch, and the header before the first one."""
        for table in predictions.tables():
            if self._heading is None:
                self._heading = list(table)
                self._writer.writerow(map(csv_cell, self._heading))
            check_columns(self._heading, table)
            empty = Column([""] * len(table["source"].values))
            self._writer.writerows(zip(*(_texts(table.get(name, empty)) for name in self._heading), strict=True))

    def leave_out(self, row: int | None) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Flush everything."""
        self._stream.flush()


def _texts(column: Column) -> list[Any]:
    """Return the cells of a column as text of a CSV."""
    if column.digits is None:
        return ["" if cell is None else csv_cell(cell) for cell in column.values]
    form = f"%.{column.digits}g"
    return ["" if cell is None else form % cell for cell in column.values]


class LineWriter:
    """Writes a line of text for each line that was read, an empty one if it could not be predicted.

    Args:
        stream: Destination.
        key: The key of a record that holds the line.
    """

    def __init__(self, stream: Stream, key: str) -> None:
        self._stream, self._key = stream, key

    def write(self, predictions: Predictions) -> None:
        """Write the line of each record."""
        for record in predictions.records():
            self._stream.write(escaped(record[self._key]) + "\n")

    def leave_out(self, row: int | None) -> None:
        """Write an empty line, so that line n is still the answer to line n."""
        if row is not None:
            self._stream.write("\n")

    def close(self) -> None:
        """Flush everything."""
        self._stream.flush()


class NpzWriter:
    """Arrays ``outputs`` (n, O) or (n, T, O), float32 or, in original units, float64; for classes ``predicted`` (n,) or
    (n, T) int64; ``row`` (n,) int64, -1 for a file that is one sample; ``source`` (n,) int64, the index in ``sources``.

    Args:
        path: The file.
        folder: A temporary folder, in which the arrays grow until they are complete.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._layouts: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._count = 0
        self._sources: dict[str, int] = {}

    def write(self, predictions: Predictions) -> None:
        """Append to each array.

        Raises:
            DataError: The outputs differ in shape from earlier ones.
        """
        places, outputs = predictions.places, predictions.outputs
        sources = [self._sources.setdefault(source, len(self._sources)) for source in places.sources]
        self._append("outputs", outputs)
        self._append("row", np.array([-1 if row is None else row for row in places.rows], np.int64))
        self._append("source", np.array(sources, np.int64))
        if predictions.answer.ranks:
            self._append("predicted", outputs.argmax(-1).astype(np.int64))
        self._count += len(predictions)

    def leave_out(self, row: int | None) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write the arrays into one NPZ file."""
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in self._files.items():
                dtype, shape = self._layouts[name]
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": dtype.str, "fortran_order": False, "shape": (self._count, *shape)}
                    np.lib.format.write_array_header_1_0(member, header)
                    shutil.copyfileobj(file, member)
                file.close()
            text = io.BytesIO()
            np.save(text, np.array(list(self._sources), dtype=np.str_))
            archive.writestr("sources.npy", text.getvalue())

    def _append(self, name: str, array: np.ndarray) -> None:
        shape = array.shape[1:]
        if name not in self._files:
            self._files[name] = open(self._folder / name, "w+b")  # noqa: SIM115 - closed in `close`
            self._layouts[name] = (array.dtype, shape)
        elif self._layouts[name][1] != shape:
            raise DataError(
                f"NPZ needs outputs of one shape, got {self._layouts[name][1]} and {shape}; use --format jsonl or csv"
            )
        self._files[name].write(array.tobytes())
