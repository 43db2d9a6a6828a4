"""Download of a file with known content: verified in memory, then renamed into place, never partial under its name."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from momentum_cli.progress import DownloadProgress
from momentum_cli.temporary import temporary_file

TIMEOUT_SECONDS = 30.0
"""Timeout of a server; without it a stalled mirror would hang a batch job forever."""
CHUNK = 1 << 16


def md5(content: bytes | bytearray) -> str:
    """Return the MD5 of `content` in hexadecimal: a check of integrity, not of origin."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def gunzip(content: bytes, limit: int) -> bytes:
    """Return the decompressed `content`.

    Raises:
        OSError: `content` is damaged, cut short, or longer than `limit` bytes when decompressed.
    """
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = inflater.decompress(content, limit + 1)
    except zlib.error as error:
        raise gzip.BadGzipFile(f"not a gzip file or damaged: {error}") from error
    if len(plain) > limit:
        raise gzip.BadGzipFile(f"has more than the expected {limit} bytes")
    if not inflater.eof:
        raise gzip.BadGzipFile(f"cut short: {len(plain)} bytes of content")
    return plain


def _get(url: str, name: str, limit: int, progress: DownloadProgress) -> bytes:
    received = bytearray()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdigit() else None
        progress.download(name, 0, total)
        while chunk := response.read(CHUNK):
            received += chunk
            if len(received) > limit:
                raise OSError(f"sent more than {limit} bytes")
            progress.download(name, len(received), total)
    if total is not None and len(received) != total:
        raise OSError(f"ended after {len(received)} of {total} bytes")
    return bytes(received)


def fetch_gzipped(
    urls: Sequence[str], target: Path, *, archive_md5: str, content_md5: str, size: int, progress: DownloadProgress
) -> None:
    """Fetch a gzip file, and write its decompressed content to `target`.

    The URLs are tried in turn. Content is written under a temporary name next to `target` and renamed when complete and
    on disk; a process killed at any moment leaves `target` absent or correct, and concurrent processes replace one
    correct file with another.

    Args:
        urls: addresses of the gzip file.
        target: final path of the decompressed file; its folder exists.
        archive_md5, content_md5: MD5 of the gzip file and of its content.
        size: bytes of the content.
        progress: receives the bytes so far.

    Raises:
        ConnectionError: no URL provided the file; the message has one line per URL.
        OSError: `target` cannot be written.
    """
    # gzip adds at most 5 bytes per block of 16 KiB to incompressible data, so a longer file is not ours
    limit = size + size // 1000 + 64
    failures = []
    for url in urls:
        try:
            archive = _get(url, target.name, limit, progress)
            if md5(archive) != archive_md5:
                raise OSError(f"sent something else (MD5 {md5(archive)} instead of {archive_md5})")
            content = gunzip(archive, size)
            if md5(content) != content_md5:
                raise OSError(f"content is damaged (MD5 {md5(content)} instead of {content_md5})")
        except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and timeouts are OSErrors
            failures.append(f"{url}: {error or type(error).__name__}")
            continue
        _write_atomically(target, content)
        return
    raise ConnectionError("\n".join(failures))


def _write_atomically(target: Path, content: bytes) -> None:
    with temporary_file(target, ".part") as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time download into `folder`; the others wait and then find the files.

    This only saves traffic (several ranks, several benchmark jobs): if the system or the file system has no such lock,
    every process downloads for itself, which is safe too. The lock ends with its process, even if it is killed.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # e.g. a network file system without locks
            pass
        else:
            # left by a killed process: because of the lock, nobody is writing now
            for orphan in folder.glob(".*.part"):
                orphan.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
