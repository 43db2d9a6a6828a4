"""Predictions as a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.errors import DataError
from momentum_cli.inference.predict.predictions import Predictions
from momentum_cli.inference.predict.writers import check_columns

if TYPE_CHECKING:
    import pyarrow

# Rows of a row group: a few MB in memory.
_GROUP = 50_000
# Columns of whole numbers.
_COUNTS = ("row", "step", "tokens", "frames")


class ParquetWriter:
    """Writes the tables of predictions: numbers in full as float64, names and times as text.

    The types of the columns are those of the first rows.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: dict[str, list[Any]] | None = None
        self._rows = 0
        self._schema: Any = None
        self._file: Any = None

    def write(self, predictions: Predictions) -> None:
        """Keep the rows of a batch, and write many at once."""
        for table in predictions.tables():
            if self._columns is None:
                self._columns = {name: [] for name in table}
            check_columns(self._columns, table)
            rows, taken = len(table["source"].values), 0
            while taken < rows:
                count = min(rows - taken, _GROUP - self._rows)
                for name, kept in self._columns.items():
                    cells = table[name].values[taken : taken + count] if name in table else [None] * count
                    kept.extend(_plain(name, cells))
                self._rows, taken = self._rows + count, taken + count
                if self._rows == _GROUP:
                    self._flush()

    def leave_out(self, row: int | None) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write the rest and finish the file; without a prediction it is a table without columns."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        columns = self._columns or {}
        if self._schema is None:
            self._schema = pa.schema([(name, _type(values)) for name, values in columns.items()])
            self._file = parquet.ParquetWriter(self._path, self._schema)
        try:
            table = pa.table([pa.array(columns[field.name], field.type) for field in self._schema], self._schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"the predictions have columns of mixed types, which Parquet cannot hold ({error}); use --format jsonl"
            ) from error
        if self._rows:
            self._file.write_table(table)
        self._columns, self._rows = ({name: [] for name in columns} if columns else None), 0


def _plain(name: str, cells: Sequence[Any]) -> Sequence[Any]:
    # A time of a later row may be a fraction.
    return cells if name in _COUNTS else [float(cell) if isinstance(cell, int) else cell for cell in cells]


def _type(values: list[Any]) -> pyarrow.DataType:
    """Return the type of a column by its values; an empty column is one of texts."""
    import pyarrow as pa

    found = pa.infer_type(values)
    return pa.string() if pa.types.is_null(found) else found
