"""JSON Lines with one whole sequence per line: features are lists of numbers, or of lists of numbers.

Axes: t steps, d values of a step, D features, K targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import not_a_number, numbers, words
from momentum_cli.data.files.schema import Piece, Schema, Source
from momentum_cli.data.files.tables import json_objects
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError


def has_lists(path: Path) -> bool:
    """Return whether the first line of a JSON Lines file has a list: then each line is a whole sequence."""
    first = next(json_objects(path, Problems()), None)
    return first is not None and any(isinstance(value, list) for value in first[1].values())


def open_json_sequences(path: Path, schema: Schema, problems: Problems) -> Source:
    """Open JSON Lines with one sequence per line: features are lists of numbers, or of lists of numbers."""
    _, first = next(json_objects(path, Problems()))
    if schema.features is None:
        schema.feature_names(list(first), str(path))
        taken = {schema.sequence, schema.order, schema.split_column}
        taken |= set() if schema.kind == "forecasting" else set(schema.target)
        names = tuple(name for name, value in first.items() if isinstance(value, list) and name not in taken)
    else:
        names = schema.feature_names(list(first), str(path))
    if not names:
        raise DataError(f"{path}: the first line has no list of numbers that could be features")
    widths = [_matrix(first.get(name)).shape[1] for name in names]

    def pieces() -> Iterator[Piece]:
        for row, content in json_objects(path, problems):
            here = np.array([row], np.int64)
            try:
                parts = [_matrix(content.get(name)) for name in names]
                if [part.shape[1] for part in parts] != widths or len({len(part) for part in parts}) != 1:
                    raise ValueError("its lists differ in length, or in width from those of the first line")
                target = _json_target(content, schema, len(parts[0]))
                order = None if schema.order is None else _matrix(content.get(schema.order))[:, 0]
                if order is not None and len(order) != len(parts[0]):
                    raise ValueError(f"{schema.order!r} and the features differ in their number of steps")
            except (TypeError, ValueError) as error:
                problems.add("shape", f"the line is not a sequence: {error}", here, sequence=str(row))
                continue
            name = str(row) if schema.sequence is None else str(content.get(schema.sequence))
            split = None if schema.split_column is None else words([content.get(schema.split_column)])
            rows = np.full(len(parts[0]), row, np.int64)
            yield Piece(name, np.concatenate(parts, 1), rows, order, target, split)

    single = [
        name if width == 1 else f"{name}[{i}]" for name, width in zip(names, widths, strict=True) for i in range(width)
    ]
    return Source(str(path), tuple(single), pieces(), sum(widths))


def _matrix(value: Any) -> np.ndarray:
    """Return a list of numbers, or of lists of numbers, as (t, d)."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    rows = [row if isinstance(row, list) else [row] for row in value]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the steps of a list have different numbers of values")
    flat, bad = numbers([cell for row in rows for cell in row])
    if bad:
        raise ValueError(not_a_number([cell for row in rows for cell in row][bad[0]]))
    return flat.reshape(len(rows), -1)


def _json_target(content: dict[str, Any], schema: Schema, steps: int) -> np.ndarray | None:
    if not schema.target:
        return None
    if schema.target_is_class:
        value = content.get(schema.target[0])
        found = words(value if schema.target_every_step and isinstance(value, list) else [value])
    elif schema.target_every_step:
        found = np.concatenate([_matrix(content.get(name)) for name in schema.target], 1)
    else:
        found, bad = numbers([content.get(name) for name in schema.target])
        if bad:
            raise ValueError(f"{schema.target[bad[0]]!r}: {not_a_number(content.get(schema.target[bad[0]]))}")
        found = found[None]
    if schema.target_every_step and len(found) != steps:
        raise ValueError(f"the target has {len(found)} steps, the features have {steps}")
    return found
