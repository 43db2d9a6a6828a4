"""Reading samples one by one from images, arrays and CSV; a file is never held whole."""

from __future__ import annotations

import csv
import glob
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from momentum_cli.data.files.arrays import read_header
from momentum_cli.data.files.columns import is_number
from momentum_cli.errors import DataError
from momentum_cli.inference.predict.preparation import Preparation

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
ARRAYS = (".npy", ".npz", ".csv")
# Names under which an NPZ file may hold its samples, when it has more than one array.
_KEYS = ("inputs", "images", "x")
# Bytes read from an array at a time.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One input of the model.

    Args:
        source: File it is from, or ``-``.
        row: Its number in the file from 0, or None when the file is one sample.
        inputs: (T, D) float32.
        sequence: Its name, where it has one.
        wanted: What the outputs are compared with, where the input tells it: (T, D), or None.
    """

    source: str
    row: int | None
    inputs: np.ndarray
    sequence: str | None = None
    wanted: np.ndarray | None = None


@dataclass(frozen=True)
class Broken:
    """A file, or a row of it, that cannot be read.

    Args:
        source: File it is from, or ``-``.
        row: As for `Sample`.
        reason: What is wrong.
    """

    source: str
    row: int | None
    reason: str


def find_inputs(names: list[str], endings: tuple[str, ...] = IMAGES + ARRAYS) -> list[str]:
    """Return the files that names stand for: files as they are, folders and globs expanded in sorted order.

    Args:
        names: As on the command line.
        endings: Of the files of a folder.

    Raises:
        DataError: A glob matches nothing, or a folder has nothing that can be read.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
        elif path.is_dir():
            files = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file())
            if not files:
                raise DataError(f"{name}: the folder holds no {', '.join(s[1:] for s in endings)} files")
            found += files
        elif glob.has_magic(name):
            files = sorted(p for p in glob.glob(name, recursive=True) if Path(p).is_file())
            if not files:
                raise DataError(f"{name}: no file matches")
            found += files
        else:
            # Read later, where it is reported and the rest goes on.
            found.append(name)
    return found


def read_samples(source: str, preparation: Preparation) -> Iterator[Sample | Broken]:
    """Read a file, or standard input for ``-``, one sample at a time.

    Args:
        source: What `find_inputs` returned.
        preparation: From raw data to inputs.

    Yields:
        Samples, and what is broken in their place.
    """
    try:
        if source == "-":
            yield from _read_stream(sys.stdin.buffer, preparation)
            return
        suffix = Path(source).suffix.lower()
        if suffix in IMAGES:
            with open(source, "rb") as file:
                yield Sample(source, None, preparation.image(_grey(file)))
        elif suffix == ".npz":
            with zipfile.ZipFile(source) as archive, archive.open(_member(archive)) as member:
                yield from _read_npy(source, member, preparation)
        elif suffix in (".npy", ".csv"):
            with open(source, "rb") as file:
                reader = _read_npy if suffix == ".npy" else _read_csv
                yield from reader(source, file, preparation)
        else:
            yield Broken(source, None, f"unknown kind of file; allowed are {', '.join(IMAGES + ARRAYS)}")
    except (DataError, OSError, ValueError, EOFError, zipfile.BadZipFile, SyntaxError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Broken(source, None, reason or type(error).__name__)


def _read_stream(stream: IO[bytes], preparation: Preparation) -> Iterator[Sample | Broken]:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    start = buffered.peek(8)[:8]
    if start.startswith(b"\x93NUMPY"):
        yield from _read_npy("-", buffered, preparation)
    elif start.startswith(b"\x89PNG"):
        yield Sample("-", None, preparation.image(_grey(io.BytesIO(buffered.read()))))
    else:
        yield from _read_csv("-", buffered, preparation)


def _grey(file: IO[bytes]) -> np.ndarray:
    """Return an image as grey values in [0, 1], (height, width)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            if image.mode.startswith("I"):  # 16 bits
                return np.asarray(image, np.float64) / 65535.0
            return np.asarray(image.convert("L"), np.float64) / 255.0
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"not a readable image ({error})") from error


def _member(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    if len(names) == 1:
        return names[0]
    for key in _KEYS:
        if f"{key}.npy" in names:
            return f"{key}.npy"
    held = ", ".join(name.removesuffix(".npy") for name in names) or "none"
    raise DataError(f"the file holds the arrays {held}; allowed is one array, or one of them named {', '.join(_KEYS)}")


def _read_npy(source: str, file: IO[bytes], preparation: Preparation) -> Iterator[Sample | Broken]:
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError("the array holds Python objects, which are not opened; allowed are numbers")
    if preparation.is_single(shape, dtype.kind):
        data = np.frombuffer(_exactly(file, int(np.prod(shape)) * dtype.itemsize), dtype)
        sample = data.reshape(shape, order="F" if fortran else "C")
        yield _prepared(source, None, sample, preparation)
        return
    if fortran:
        raise DataError("the array is stored column by column and cannot be read row by row; save it in C order")
    row = shape[1:]
    size = max(int(np.prod(row)) * dtype.itemsize, 1)
    at = 0
    while at < shape[0]:
        count = min(max(_CHUNK // size, 1), shape[0] - at)
        block = np.frombuffer(_exactly(file, count * size), dtype).reshape(count, *row)
        for offset in range(count):
            yield _prepared(source, at + offset, block[offset], preparation)
        at += count


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise DataError(f"the file is cut short: {size - len(data)} bytes are missing")
    return data


def _read_csv(source: str, file: IO[bytes], preparation: Preparation) -> Iterator[Sample | Broken]:
    """Read a sample a line; a first line that is not numbers is a heading."""
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace")
    try:
        yield from _read_rows(source, lines, preparation)
    finally:
        # The file is the caller's to close, and standard input nobody's.
        lines.detach()


def _read_rows(source: str, lines: IO[str], preparation: Preparation) -> Iterator[Sample | Broken]:
    row = 0
    for number, cells in enumerate(csv.reader(lines)):
        if not cells:
            continue
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError:
            if number > 0:
                bad = next(cell for cell in cells if not is_number(cell))
                yield Broken(source, row, f"line {number + 1}: {bad!r} is not a number")
                row += 1
            continue
        yield _prepared(source, row, values, preparation)
        row += 1
    if row == 0:
        yield Broken(source, None, "the file holds no rows of numbers")


def _prepared(source: str, row: int | None, raw: np.ndarray, preparation: Preparation) -> Sample | Broken:
    try:
        return Sample(source, row, preparation.array(raw))
    except DataError as error:
        return Broken(source, row, str(error))
