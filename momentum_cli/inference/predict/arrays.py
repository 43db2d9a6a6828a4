"""Reading samples one by one from images, arrays and CSV, without holding a whole file in memory."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from momentum_cli.data.files.arrays import read_header
from momentum_cli.data.files.columns import is_number
from momentum_cli.errors import DataError
from momentum_cli.inference.opened import Subject
from momentum_cli.inference.predict.predictions import Predictions, plain_answers
from momentum_cli.inference.predict.preparation import Preparation
from momentum_cli.inference.predict.reader import array_batches, in_batches
from momentum_cli.inference.predict.samples import ARRAY, Broken, Samples
from momentum_cli.messages import unknown
from momentum_cli.progress import Ui
from momentum_cli.reading import check_regular

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
ARRAYS = (".npy", ".npz", ".csv")
# Names under which an NPZ file may hold its samples, when it has more than one array.
_KEYS = ("inputs", "images", "x")
# Bytes read from an array at a time.
_CHUNK = 1 << 20


class ArrayReader:
    """Reads images, arrays and CSV files of numbers, prepared by the model's description.

    Args:
        subject: A model of pixels, of one-hot tokens, or of plain numbers.
        top: Classes to list for each sample, >= 1.
    """

    endings: ClassVar[tuple[str, ...]] = IMAGES + ARRAYS
    line: ClassVar[str | None] = None

    def __init__(self, subject: Subject, top: int) -> None:
        self._subject, self._top = subject, top
        self._preparation = Preparation(subject.trained_on["preprocessing"], subject.trained_on["input_size"])

    def predictions(self, sources: list[str], batch_size: int, ui: Ui) -> Iterator[Predictions | Broken]:
        """Predict each row of an array or a table, and each image; see `Reader`."""
        return in_batches(
            self._subject,
            sources,
            lambda source: read_samples(source, self._preparation),
            self._answers,
            batch_size,
            ui,
        )

    def predict_array(self, values: np.ndarray, batch_size: int) -> Iterator[Predictions | Broken]:
        """Predict images, rows of numbers, tokens or sequences, as an NPY file holds them; see `Reader`."""
        preparation = self._preparation
        if preparation.is_single(values.shape, values.dtype.kind):
            samples = [_prepared(ARRAY, None, values, preparation)]
        else:
            samples = [_prepared(ARRAY, row, sample, preparation) for row, sample in enumerate(values)]
        return array_batches(self._subject, samples, self._answers, batch_size)

    def _answers(self, samples: Samples, outputs: np.ndarray) -> Predictions:
        return plain_answers(samples, outputs, self._subject.trained_on, self._top)


def read_samples(source: str, preparation: Preparation) -> Iterator[Samples | Broken]:
    """Read a file, or standard input for ``-``, one sample at a time.

    Args:
        source: A file from `find_sources`.
        preparation: Converts raw data to inputs.

    Yields:
        Samples, and `Broken` in place of those that cannot be read.
    """
    try:
        if source == "-":
            yield from _read_stream(sys.stdin.buffer, preparation)
            return
        suffix = check_regular(Path(source)).suffix.lower()
        if suffix in IMAGES:
            with open(source, "rb") as file:
                yield Samples.one(source, None, preparation.image(_grey(file)))
        elif suffix == ".npz":
            with zipfile.ZipFile(source) as archive, archive.open(_member(archive)) as member:
                yield from _read_npy(source, member, preparation)
        elif suffix in (".npy", ".csv"):
            with open(source, "rb") as file:
                reader = _read_npy if suffix == ".npy" else _read_csv
                yield from reader(source, file, preparation)
        else:
            yield Broken(source, None, unknown("ending", suffix, IMAGES + ARRAYS))
    except (
        DataError,
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        SyntaxError,
        NotImplementedError,
    ) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.removeprefix(f"{source}: ")
        yield Broken(source, None, reason or type(error).__name__)


def _read_stream(stream: IO[bytes], preparation: Preparation) -> Iterator[Samples | Broken]:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    start = buffered.peek(8)[:8]
    if start.startswith(b"\x93NUMPY"):
        yield from _read_npy("-", buffered, preparation)
    elif start.startswith(b"\x89PNG"):
        yield Samples.one("-", None, preparation.image(_grey(io.BytesIO(buffered.read()))))
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
    raise DataError(f"the file must hold one array, or one named {', '.join(_KEYS)}; it holds {held}")


def _read_npy(source: str, file: IO[bytes], preparation: Preparation) -> Iterator[Samples | Broken]:
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError("the array must hold numbers, not Python objects")
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


def _read_csv(source: str, file: IO[bytes], preparation: Preparation) -> Iterator[Samples | Broken]:
    """Read one sample per line; a first line without numbers is a header."""
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace")
    try:
        yield from _read_rows(source, lines, preparation)
    finally:
        # The caller closes the file; standard input stays open.
        lines.detach()


def _read_rows(source: str, lines: IO[str], preparation: Preparation) -> Iterator[Samples | Broken]:
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


def _prepared(source: str, row: int | None, raw: np.ndarray, preparation: Preparation) -> Samples | Broken:
    try:
        return Samples.one(source, row, preparation.array(raw))
    except DataError as error:
        return Broken(source, row, str(error))
