"""Files as bytes, compressed or not: .gz, .bz2, .xz, .zst, and .zip with one file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from momentum_cli.errors import DataError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def inner_suffix(path: Path) -> str:
    """Return the ending of the content in lower case: ``.csv`` for ``a.csv.gz``, and for a zip file with one CSV.

    Raises:
        DataError: A zip file is damaged, or does not hold exactly one file.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        with _zip(path) as archive:
            return Path(_only(path, archive)).suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed by its ending.

    Raises:
        DataError: It is damaged.
        OSError: It cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".zip":
            with _zip(path) as archive, archive.open(_only(path, archive)) as inner:
                yield inner
        elif suffix == ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd") as stream:
                yield stream
        else:
            opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
            with opener(path, "rb") as file:
                yield file
    except (EOFError, zipfile.BadZipFile, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged, or cut short ({error})") from error


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a readable zip file ({error})") from error


def _only(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the only file of an archive, ignoring what macOS adds."""
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        held = ", ".join(names[:5]) + (", …" if len(names) > 5 else "") or "none"
        raise DataError(f"{path}: a zip file must hold exactly one file, got {len(names)} ({held}); unpack it")
    return names[0]
