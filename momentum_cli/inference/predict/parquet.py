"""Predictions as a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.inference.predict.writers import Number, Row, check_columns, table_rows

if TYPE_CHECKING:
    import pyarrow

# Rows of a row group: a few MB in memory.
_GROUP = 50_000
# Columns of whole numbers.
_COUNTS = ("row", "step", "tokens", "frames")


class ParquetWriter:
    """Writes the `table_rows` of predictions: numbers in full as float64, names and times as text.

    The types of the columns are those of the first rows.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []
        self._schema: Any = None
        self._file: Any = None

    def write(self, record: dict[str, Any], outputs: np.ndarray) -> None:
        """Keep the rows of a prediction, and write many at once."""
        for row in table_rows(record, outputs):
            if self._rows or self._schema is not None:
                check_columns(self._schema.names if self._schema is not None else self._rows[0], row)
            self._rows.append(row)
        if len(self._rows) >= _GROUP:
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

        names = list(self._schema.names if self._schema is not None else self._rows[0] if self._rows else ())
        columns = {name: [_plain(name, row.get(name)) for row in self._rows] for name in names}
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
        self._rows = []


def _plain(name: str, cell: str | int | Number | None) -> str | int | float | None:
    if isinstance(cell, Number):
        return cell.value
    # A time of a later row may be a fraction.
    return float(cell) if isinstance(cell, int) and name not in _COUNTS else cell


def _type(values: list[Any]) -> pyarrow.DataType:
    """Return the type of a column by its values; an empty column is one of texts."""
    import pyarrow as pa

    found = pa.infer_type(values)
    return pa.string() if pa.types.is_null(found) else found
