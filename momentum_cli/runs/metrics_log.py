"""The metrics of a run, written row by row to `metrics.jsonl` and `metrics.csv`, and reading them.

Both hold the same rows. Each row is passed to the system at once, so a killed process loses none; the kill may cut off
the last line, or come between the two files. `metrics.jsonl` is written first and takes precedence: opening the log
again drops an incomplete last line and rewrites `metrics.csv` from it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from momentum_cli.errors import DataError, RunError, system_error
from momentum_cli.progress import Evaluation, StepInfo
from momentum_cli.reading import parse_json, read_bytes
from momentum_cli.runs.files import json_text, write_text

LEADING = ("kind", "step", "epoch", "samples", "split", "loss")
TRAILING = ("grad_norm", "lr", "samples_per_second", "train_seconds", "wall_seconds")
WORDS = frozenset({"kind", "split"})
COUNTS = frozenset({"step", "epoch", "samples"})

Row = dict[str, Any]


class MetricsLog:
    """Appends rows to the metrics files of a run; a context manager.

    Args:
        folder: the run folder; existing rows are kept (see `resume`).
        metrics: names of the task's metrics, for example ("accuracy",); "loss" always has a column.
        diagnostics: names of the optimizer's diagnostics, for example ("beta",); they are the last columns.

    Raises:
        DataError: the folder holds metrics with other columns.
    """

    def __init__(self, folder: Path, metrics: Sequence[str] = (), diagnostics: Sequence[str] = ()) -> None:
        self._folder = folder
        own = (name for name in metrics if name not in (*LEADING, *TRAILING))
        self.columns = (*LEADING, *own, *TRAILING, *diagnostics)
        rows = read_metrics(folder) if _has_metrics(folder) else []
        foreign = sorted({name for row in rows for name in row} - set(self.columns))
        if foreign:
            raise DataError(
                f"{folder} holds metrics that this run does not have: {', '.join(foreign)}; its log is damaged or of "
                "another run: use a new folder"
            )
        self._rewrite(rows)

    def resume(self, step: int, *, keep_evaluation: bool = True) -> None:
        """Drop the rows after the checkpoint that a run is resumed from, so that they equal those of an unbroken run.

        Args:
            step: optimizer steps in the checkpoint, >= 0.
            keep_evaluation: True if the checkpoint includes the evaluation after this step.
        """
        rows = [
            row
            for row in read_metrics(self._folder)
            if row["step"] < step or (row["step"] == step and (keep_evaluation or row["kind"] != "eval"))
        ]
        self.close()
        self._rewrite(rows)

    def train(
        self,
        info: StepInfo,
        *,
        wall_seconds: float,
        samples_per_second: float | None = None,
        diagnostics: Mapping[str, float] | None = None,
    ) -> None:
        """Append the row of an optimizer step."""
        self.append(
            {
                "kind": "train",
                "step": info.step,
                "epoch": info.epoch,
                "samples": info.samples,
                "split": "train",
                "loss": info.loss,
                "grad_norm": info.grad_norm,
                "lr": info.lr,
                "samples_per_second": samples_per_second,
                "train_seconds": info.train_seconds,
                "wall_seconds": wall_seconds,
                **(diagnostics or {}),
            }
        )

    def evaluation(self, evaluation: Evaluation) -> None:
        """Append the row of an evaluation."""
        self.append(
            {
                "kind": "eval",
                "step": evaluation.step,
                "epoch": evaluation.epoch,
                "samples": evaluation.samples,
                "split": evaluation.split,
                **evaluation.metrics,
                "train_seconds": evaluation.train_seconds,
                "wall_seconds": evaluation.wall_seconds,
            }
        )

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row; missing columns stay empty.

        Raises:
            RunError: a key is not a column.
        """
        unknown = sorted(set(row) - set(self.columns))
        if unknown:
            raise RunError(f"no metrics column {', '.join(unknown)}; the columns are {', '.join(self.columns)}")
        self._jsonl.write(self._jsonl_line(row))
        self._csv.write(_csv_line([row.get(name) for name in self.columns]))

    def sync(self) -> None:
        """Force the rows to the disk, so that a checkpoint written later never lacks them.

        Raises:
            RunError: The disk is full.
        """
        for file in (self._jsonl, self._csv):
            file.sync()

    def close(self) -> None:
        """Close both files; calling it twice does no harm."""
        self._jsonl.close()
        self._csv.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rewrite(self, rows: Sequence[Row]) -> None:
        jsonl, table = self._folder / "metrics.jsonl", self._folder / "metrics.csv"
        write_text(jsonl, b"".join(self._jsonl_line(row) for row in rows).decode())
        lines = [_csv_line(self.columns), *(_csv_line([row.get(name) for name in self.columns]) for row in rows)]
        write_text(table, b"".join(lines).decode())
        self._jsonl, self._csv = _Appended(jsonl), _Appended(table)

    def _jsonl_line(self, row: Mapping[str, Any]) -> bytes:
        return (json_text({name: row[name] for name in self.columns if row.get(name) is not None}) + "\n").encode()


class _Appended:
    """A file to which rows are appended.

    When `write` returns, the system has the row, whatever happens to this process. A row that does not fit on the disk
    waits for the next `write`, so that training can continue until its next checkpoint, see `sync`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = b""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed in `close`

    def write(self, line: bytes) -> None:
        self._waiting += line
        with contextlib.suppress(OSError):
            self._hand_over()

    def sync(self) -> None:
        try:
            self._hand_over()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise system_error(error, self._path) from error

    def close(self) -> None:
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._hand_over()
        self._file.close()

    def _hand_over(self) -> None:
        # The system may accept only a part of a line, if the space ends within it.
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) or 0 :]


def read_metrics(folder: Path, kind: Literal["train", "eval"] | None = None) -> list[Row]:
    """Return the metrics of a run, finished, running or killed.

    Args:
        folder: the run folder.
        kind: only the rows of optimizer steps ("train") or of evaluations ("eval"); None: all.

    Returns:
        One dict per row in the order written, without empty columns and without an incomplete last line.

    Raises:
        DataError: The metrics are missing, or a line other than the last is damaged.
    """
    jsonl, table = folder / "metrics.jsonl", folder / "metrics.csv"
    # Anything but a file, such as a broken link, is an error here: the rows of the other file may be older.
    if os.path.lexists(jsonl):
        rows = _read_jsonl(jsonl)
    elif os.path.lexists(table):
        rows = _read_csv(table)
    else:
        raise DataError(f"{folder} holds neither metrics.jsonl nor metrics.csv; name the folder of a run")
    return [row for row in rows if kind is None or row.get("kind") == kind]


def diagnostic_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns with diagnostics of the optimizer, such as ``beta``; only rows of steps have them."""
    return list(
        dict.fromkeys(
            name for row in rows if row.get("kind") == "train" for name in row if name not in (*LEADING, *TRAILING)
        )
    )


def _has_metrics(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in ("metrics.jsonl", "metrics.csv"))


def _whole_lines(path: Path) -> list[bytes]:
    """Return the lines that end in a newline: the last one may have been cut off by a kill."""
    return read_bytes(path).split(b"\n")[:-1]


def _read_jsonl(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            rows.append(_row(parse_json(line)))
        except (ValueError, OverflowError, TypeError, AttributeError) as error:
            raise DataError(f"{path}, line {number} is damaged ({error}); delete that line") from error
    return rows


def _read_csv(path: Path) -> list[Row]:
    lines = b"\n".join(_whole_lines(path)).decode("utf-8", "replace")
    rows: list[Row] = []
    try:
        for row in csv.DictReader(io.StringIO(lines, newline="")):
            rows.append(_row({name: value for name, value in row.items() if value}))
    except (ValueError, OverflowError, TypeError, csv.Error) as error:
        raise DataError(f"{path}, line {len(rows) + 2} is damaged ({error}); delete that line") from error
    return rows


def _row(values: Mapping[str, Any]) -> Row:
    """Return a row with its numbers.

    Raises:
        ValueError: A number is none, or the row does not tell of which step it is.
    """
    row = {name: value if name in WORDS else _number(name, value) for name, value in values.items()}
    if row.get("kind") not in ("train", "eval") or "step" not in row:
        raise ValueError("it lacks kind, train or eval, or step")
    return row


def _number(name: str, value: Any) -> int | float:
    return int(value) if name in COUNTS else float(value)


def _csv_line(values: Sequence[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return buffer.getvalue().encode()
