"""NPZ and NPY files, read one sequence, or one section of a series, at a time.

Axes: n sequences, t steps, D features, K targets.
"""

from __future__ import annotations

import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from momentum_cli.data.files.columns import numbers as as_numbers
from momentum_cli.data.files.columns import words
from momentum_cli.data.files.pieces import Piece, Pieces, Source, chosen
from momentum_cli.data.files.reading import Reading
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, refuse, unknown

_STEPS = 1 << 16


def open_arrays(path: Path, schema: Schema, problems: Problems) -> Source:
    """Open an NPZ or NPY file: (n, t, D) or (n, t) features, or one series (t, D) or (t,) for forecasting.

    Features are read one sequence, or one section of the series, at a time.

    Raises:
        DataError: An array is missing, holds objects, or does not fit the features.
    """
    if schema.order:
        raise DataError(f"{path}: arrays are in order already; leave out task.order")
    for option, names in (("sequence", schema.sequence), ("normalise_by", schema.group)):
        if len(names) > 1:
            raise DataError(f"{path}: {refuse(f'task.{option}', list(names), 'name one array')}")
    present = array_names(path)
    name = _feature_array(path, schema, present)
    shape, dtype = _header(path, name)
    series = schema.kind == "forecasting" and len(shape) <= 2
    if not 1 <= len(shape) <= 3 or (len(shape) == 1 and not series):
        raise DataError(f"{path}: {refuse('the features', shape, 'have the shape (n, T, D) or (n, T)')}")
    if 0 in shape[1:]:
        raise DataError(f"{path}: {refuse('the features', shape, 'have at least one step and one feature')}")
    channels = 1 if len(shape) == (1 if series else 2) else shape[-1]
    label = name or "x"
    names = (label,) if channels == 1 else tuple(f"{label}[{index}]" for index in range(channels))
    count = 1 if series else shape[0]
    own = {key: _small(path, array, count) for key, array in _companions(schema).items()}
    forecast = _forecast_channels(path, schema, channels) if schema.kind == "forecasting" else None
    pieces = (
        _series(path, name, shape, dtype, forecast, schema.reading)
        if series
        else _samples(path, name, shape, dtype, schema, own, forecast)
    )
    # A sequence that is scaled by itself has values that the file does not have.
    exact = np.can_cast(dtype, np.float32) and not schema.each_scaled
    return Source(
        str(path),
        names,
        pieces,
        channels,
        columns=(name,) if name else (),
        dtype=np.float32 if exact else np.float64,
        most_steps=shape[0] if series else shape[0] * shape[1],
        numbered=not series and "sequence" not in own,
    )


def array_names(path: Path) -> list[str]:
    """Return the arrays of an NPZ file; an NPY file has one without a name.

    Raises:
        DataError: It is damaged or not an NPZ file.
    """
    if path.suffix.lower() == ".npy":
        return [""]
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: not a readable NPZ file ({error})") from error


def _feature_array(path: Path, schema: Schema, present: list[str]) -> str:
    """Return the name of the array of features, "" in an NPY file."""
    if schema.format == "npy":
        if schema.features:
            raise DataError(f"{path}: an NPY file has one array without a name; leave out task.features")
        return ""
    forecast_targets = schema.target if schema.kind != "forecasting" else ()
    named = (schema.lengths, schema.split_column, *schema.sequence, *schema.group)
    for wanted in (*forecast_targets, *(schema.features or ()), *named):
        if wanted is not None and wanted not in present:
            raise DataError(f"{path}: {unknown('array', wanted, present)}")
    taken = {*forecast_targets, *named}
    left = list(schema.features) if schema.features else [name for name in present if name not in taken]
    if len(left) != 1:
        held = ", ".join(left) or "none"
        raise DataError(f"{path}: task.features must name exactly one of the arrays {held}")
    return left[0]


def _companions(schema: Schema) -> dict[str, str]:
    found = {"split": schema.split_column, "lengths": schema.lengths}
    found |= {"sequence": next(iter(schema.sequence), None), "group": next(iter(schema.group), None)}
    if schema.target and schema.kind != "forecasting":
        found["target"] = schema.target[0]
    return {key: name for key, name in found.items() if name is not None}


def _small(path: Path, name: str, count: int) -> np.ndarray:
    """Load an array that accompanies the features: by name from an NPZ file, by path next to an NPY file."""
    array = array_values(path, name)
    if array.ndim < 1 or len(array) != count:
        raise DataError(f"{path}: {name} has the shape {array.shape}, but there are {count} sequences of features")
    return np.asarray(array)


@contextmanager
def _open_array(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open an array as a stream: by name from an NPZ file; for "" the NPY file itself, or another one by path."""
    if path.suffix.lower() == ".npz":
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:  # raised while it is read
            raise DataError(f"{path}: {name}: damaged ({error}); copy the file again") from error
    else:
        with open(path.parent / name if name else path, "rb") as file:
            yield file


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of an array, True if it is stored column by column, and its type; the numbers come next.

    Raises:
        ValueError: It is not an array.
    """
    version = np.lib.format.read_magic(file)
    read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            # Python 2 wrote long integers as 3L; numpy reads them, and says on the terminal that this is slow.
            warnings.simplefilter("ignore", UserWarning)
            shape, fortran, dtype = read(file)
    except (tokenize.TokenError, RecursionError, MemoryError, TypeError) as error:  # numpy reads it as Python
        raise ValueError(f"its header is damaged ({error})") from error
    return tuple(shape), fortran, dtype


def _header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with _open_array(path, name) as file:
        return _checked_header(path, file)


def array_form(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type of an array.

    Raises:
        DataError: It is not an array.
    """
    try:
        with _open_array(path, name) as file:
            shape, _, dtype = read_header(file)
            return shape, dtype
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable array ({error})") from error


def _checked_header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        shape, fortran, dtype = read_header(file)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable array ({error})") from error
    if dtype.hasobject or dtype.kind not in "buif":
        raise DataError(
            f"{path}: the features must be numbers, got the type {dtype}; store variable-length sequences as JSON "
            "Lines, or pad them and set task.lengths"
        )
    if fortran and len(shape) > 1:
        raise DataError(f"{path}: the array is stored column by column; save it in C order (numpy.ascontiguousarray)")
    return shape, dtype


def _read(path: Path, file: IO[bytes], count: int, dtype: np.dtype[Any], reading: Reading) -> np.ndarray:
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise DataError(f"{path}: the file is cut short: {count * dtype.itemsize - len(data)} bytes are missing")
    # As in tables, values that are not finite in float32 count as missing, which is refused unless a policy is named.
    return as_numbers(np.frombuffer(data, dtype), reading)[0]


def _forecast_channels(path: Path, schema: Schema, channels: int) -> list[int]:
    if not schema.target:
        return list(range(channels))
    found = []
    for text in schema.target:
        if not text.isdecimal() or int(text) >= channels:
            must = f"be a channel of the features, 0 to {channels - 1}"
            raise DataError(f"{path}: {refuse('task.target', text, must)}")
        found.append(int(text))
    return found


def _series(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], target: list[int] | None, reading: Reading
) -> Iterator[Piece]:
    channels = shape[1] if len(shape) == 2 else 1
    with _open_array(path, name) as file:
        _checked_header(path, file)
        for start in range(0, shape[0], _STEPS):
            count = min(_STEPS, shape[0] - start)
            steps = _read(path, file, count * channels, dtype, reading).reshape(count, channels)
            yield Piece("all", steps, np.arange(start, start + count), None, steps[:, target])


def _samples(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    schema: Schema,
    own: dict[str, np.ndarray],
    forecast: list[int] | None,
) -> Iterator[Pieces]:
    length, channels = shape[1], shape[2] if len(shape) == 3 else 1
    names = words(own["sequence"], schema.reading) if "sequence" in own else None
    splits = words(own["split"], schema.reading) if "split" in own else None
    groups = words(own["group"], schema.reading) if "group" in own else None
    targets = _array_targets(path, schema, own["target"], length) if "target" in own else None
    given = None if schema.lengths is None else _lengths(path, schema.lengths, own["lengths"], length)
    every = schema.target_every_step and not schema.windowed

    with _open_array(path, name) as file:
        _checked_header(path, file)
        at_once = max(1, _STEPS // length)
        for row in range(0, shape[0], at_once):
            here = slice(row, min(row + at_once, shape[0]))
            count = here.stop - row
            block = _read(path, file, count * length * channels, dtype, schema.reading).reshape(count, length, channels)
            lengths = _unpadded(block) if given is None else given[here]
            kept = np.arange(length) < lengths[:, None]
            steps = block[kept]
            target = chosen(targets, here)
            if forecast is not None:
                target = steps[:, forecast]
            elif target is not None and every:
                target = target[:, :length][kept]
            numbers = range(row, here.stop)
            named = np.array([str(number) for number in numbers], dtype=object) if names is None else names[here]
            starts = np.concatenate(([0], np.cumsum(lengths)))
            rows = np.array(numbers, np.int64)
            yield Pieces(named, starts, steps, rows, None, target, chosen(splits, here), chosen(groups, here))


def _unpadded(block: np.ndarray) -> np.ndarray:
    """Return (n,) int64, the steps of each of the sequences (n, t, D) without those at its end that have no value."""
    known = ~np.isnan(block).all(2)
    # A sequence without any value is kept, to be refused.
    return np.asarray(np.where(known.any(1), known.shape[1] - known[:, ::-1].argmax(1), known.shape[1]))


def _lengths(path: Path, name: str, values: np.ndarray, longest: int) -> np.ndarray:
    """Return (n,) int64, the steps of each sequence."""
    found = values.reshape(-1)
    if len(found) != len(values) or found.dtype.kind not in "uif":
        raise DataError(
            f"{path}: {refuse(name, Said(f'{values.dtype} {values.shape}'), 'have one number per sequence')}"
        )
    for row in np.flatnonzero(~((found >= 1) & (found <= longest) & (found == np.floor(found))))[:1]:
        raise DataError(
            f"{path}: {refuse(f'{name}, row {row},', found[row].item(), f'be an integer in [1, {longest}]')}"
        )
    return found.astype(np.int64)


def _array_targets(path: Path, schema: Schema, values: np.ndarray, length: int) -> np.ndarray:
    """Return (n,) or (n, t) words, or (n, K) float64 values."""
    name, n = schema.target[0], len(values)
    if not schema.target_is_class:
        found, bad = as_numbers(values.reshape(-1), schema.reading)
        if bad:
            raise DataError(f"{path}: {name}: row {bad[0] // max(found.size // n, 1)}: not a finite number")
        return found.reshape(n, -1)
    axes = 2 if schema.target_every_step and not schema.windowed else 1
    classes = class_numbers(values, axes)
    if classes is None or (axes == 2 and classes.shape[1] < length):
        must = f"have the shape (n, T = {length})" if axes == 2 else "have one class per sequence, the shape (n,)"
        remedy = "one-hot rows, of 0 and a single 1, are read as well"
        raise DataError(f"{path}: {refuse(name, values.shape, must, remedy)}")
    return words(classes.reshape(-1), schema.reading).reshape(classes.shape)


def class_numbers(values: np.ndarray, axes: int) -> np.ndarray | None:
    """Return classes with `axes` axes: as they are, of a last axis of 1, or of one-hot rows; None for another shape."""
    if values.ndim == axes:
        return values
    if values.ndim != axes + 1:
        return None
    if values.shape[-1] == 1:
        return values[..., 0]
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all() or not (values.sum(-1) == 1).all():
        return None
    return np.asarray(values.argmax(-1))


def array_values(path: Path, name: str) -> np.ndarray:
    """Return a whole array.

    Raises:
        DataError: It is not an array, or holds objects.
    """
    if array_form(path, name)[1].hasobject:
        raise DataError(f"{path}: {name} holds Python objects; save words as texts, {name}.astype(str), in their place")
    try:
        with _open_array(path, name) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path}: {name}: not a readable array ({error})") from error
