"""The run folder that a worker sends back: packed there, unpacked here, with the machine that trained it."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError
from momentum_cli.reading import parse_json, read_text
from momentum_cli.temporary import temporary_folder

WORKER = "worker.json"
"""The file of a run folder with the machine that made the run."""
# Without its result a run counts as unfinished, and without checkpoints it begins anew: so these come last.
_LAST = ("checkpoints", "result.json")


def packed(folder: Path) -> bytes:
    """Return a run folder as a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=".")
    return stream.getvalue()


def unpack(archive: bytes, home: Path) -> None:
    """Write a run folder in place of what is in it; a kill in between leaves one that is trained anew.

    The folder itself stays, because a lock on it may keep other processes out.
    """
    home.mkdir(parents=True, exist_ok=True)
    with temporary_folder(home) as made:
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            content.extractall(made, filter="data")
        for path in sorted(home.iterdir(), key=_rank, reverse=True):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in sorted(made.iterdir(), key=_rank):
            path.rename(home / path.name)


def _rank(path: Path) -> tuple[int, str]:
    return (_LAST.index(path.name) if path.name in _LAST else -1), path.name


def machines_of(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the different machines that trained runs on a cluster, with the names of their hosts.

    Raises:
        DataError: The file that names one is damaged.
    """
    found: list[dict[str, Any]] = []
    for folder in folders:
        path = folder / WORKER
        if not path.is_file():
            continue
        try:
            machine = parse_json(read_text(path))["machine"]
            named = isinstance(machine["host"], str)
        except (ValueError, KeyError, TypeError):
            named = False
        if not named:
            raise DataError(f"{path} is damaged: it does not name a machine; delete {folder} to repeat that run")
        if machine not in found:
            found.append(machine)
    return found
