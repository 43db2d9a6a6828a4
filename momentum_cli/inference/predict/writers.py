"""Writers of predictions: JSON Lines, CSV, lines of text, or NPZ, which grows in files on the disk.

Axes: n samples, T time, O outputs.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.metrics import METRICS
from momentum_cli.runs.files import csv_cell, escaped, json_text

# The origin of a prediction.
_PLACE = ("source", "row", "sequence", "step", "time", "after")
_SCORES = ("tokens", "frames", *METRICS)


class Stream(Protocol):
    """The destination of a text writer."""

    def write(self, text: str, /) -> int:
        """Write a piece of text."""
        ...

    def flush(self) -> None:
        """Pass buffered text to the system."""
        ...


class Writer(Protocol):
    """The interface of a writer, which receives predictions one by one."""

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Write a prediction: the record, and the raw outputs (O,) or (T, O)."""
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

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Write a line."""
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


class Number(NamedTuple):
    """A number in a table, and its significant digits as text."""

    value: float
    digits: int


Row = dict[str, str | int | Number | None]
"""Cells by column."""


def table_rows(record: dict[str, Any], outputs: np.ndarray) -> Iterator[Row]:
    """Yield the rows of a prediction in a table: one, or one for each step if each has a class.

    Columns: source, row, then the label and probability of the best, the second, …; or values.
    """
    cells: Row = {key: record[key] for key in _PLACE if key in record}
    # The scores of a line of text or of a recording.
    scores = {key: value for key, value in record.items() if key in _SCORES}
    cells |= {key: Number(value, 6) if isinstance(value, float) else value for key, value in scores.items()}
    if "top" in record:
        for rank, entry in enumerate(record["top"], start=1):
            end = "" if rank == 1 else f"_{rank}"
            cells |= {f"label{end}": entry["label"], f"probability{end}": Number(entry["probability"], 6)}
    elif "labels" in record:
        for step, label in enumerate(record["labels"]):
            timed = {"time": record["times"][step]} if "times" in record else {}
            yield cells | {
                "step": step,
                **timed,
                "label": label,
                "probability": Number(record["probabilities"][step], 6),
            }
        return
    elif "translation" in record:
        cells |= {"translation": record["translation"], "log_probability": Number(record["log_probability"], 9)}
    elif "frames" in record:
        # The frames themselves would be thousands of columns, their number different for each recording.
        pass
    elif isinstance(record["values"], dict):
        steps = record.get("steps")
        cells |= _ahead(record)
        cells |= _numbers(record["values"], steps)
        for level, named in record.get("quantiles", {}).items():
            cells |= _numbers({f"{name} {level}": value for name, value in named.items()}, steps)
    else:
        cells |= {f"value_{index}": Number(float(value), 9) for index, value in enumerate(outputs.reshape(-1))}
    yield cells


def _ahead(record: dict[str, Any]) -> Row:
    """Return the times of the steps of a forecast, which are unknown where the times of its series are uneven."""
    if "after" not in record:
        return {}
    longest = max((len(value) for value in record["values"].values() if isinstance(value, list)), default=0)
    times = record.get("times", [None] * longest)
    return {f"time[t+{step}]": time for step, time in _by_step(times, record.get("steps"))}


def _by_step(values: Sequence[Any], steps: Sequence[int] | None) -> Iterable[tuple[int, Any]]:
    """Return each value with its step; by default the steps are the next ones."""
    return zip(steps or range(1, len(values) + 1), values, strict=True)


def _numbers(values: dict[str, Any], ahead: Sequence[int] | None) -> Row:
    """Return the cells of values by name; a forecast has one for each step."""
    cells: Row = {}
    for name, value in values.items():
        steps = _by_step(value, ahead) if isinstance(value, list) else ()
        cells |= {f"{name}[t+{step}]": Number(one, 15) for step, one in steps}
        cells |= {} if isinstance(value, list) else {name: Number(value, 15)}
    return cells


def check_columns(heading: Collection[str], row: Row, remedy: str = "use --format jsonl") -> None:
    """Refuse a row with a column that the table does not have.

    Raises:
        DataError: It has one.
    """
    for name in row:
        if name not in heading:
            raise DataError(
                f"{row['source']}: its prediction has a column {name!r}, which the table does not have; {remedy}"
            )


class CsvWriter:
    """Writes the `table_rows` of predictions as lines."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._heading: dict[str, None] | None = None

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Write the lines of a prediction, and the header before the first one."""
        for row in table_rows(record, outputs):
            if self._heading is None:
                self._heading = dict.fromkeys(row)
                self._writer.writerow(map(csv_cell, self._heading))
            check_columns(self._heading, row)
            self._writer.writerow(_text(row.get(name)) for name in self._heading)

    def leave_out(self, row: int | None) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Flush everything."""
        self._stream.flush()


def _text(cell: str | int | Number | None) -> Any:
    """Return a cell as text of a CSV."""
    if isinstance(cell, Number):
        return f"{cell.value:.{cell.digits}g}"
    return "" if cell is None else csv_cell(cell)


class LineWriter:
    """Writes a line of text for each line that was read, an empty one if it could not be predicted.

    Args:
        stream: Destination.
        key: The key of a record that holds the line.
    """

    def __init__(self, stream: Stream, key: str) -> None:
        self._stream, self._key = stream, key

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Write a line."""
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

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Append to each array.

        Raises:
            DataError: The outputs differ in shape from earlier ones.
        """
        source = self._sources.setdefault(record["source"], len(self._sources))
        self._append("outputs", outputs)
        self._append("row", np.int64(-1 if record["row"] is None else record["row"]))
        self._append("source", np.int64(source))
        if "top" in record or "labels" in record:
            self._append("predicted", outputs.argmax(-1).astype(np.int64))
        self._count += 1

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

    def _append(self, name: str, value: Any) -> None:
        array = np.asarray(value)
        if name not in self._files:
            self._files[name] = open(self._folder / name, "w+b")  # noqa: SIM115 - closed in `close`
            self._layouts[name] = (array.dtype, array.shape)
        elif self._layouts[name][1] != array.shape:
            raise DataError(
                f"NPZ needs outputs of one shape, got {self._layouts[name][1]} and {array.shape}; "
                "use --format jsonl or csv"
            )
        self._files[name].write(array.tobytes())
