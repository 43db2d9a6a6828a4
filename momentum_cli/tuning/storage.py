"""The storage of a study: a journal in a folder, or a database by its URL."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.tuning.folder import JOURNAL

# Time that others wait for a process that was killed while it held the lock; a write takes milliseconds.
_LOCK_SECONDS = 10
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}


class Journal(JournalFileBackend):
    """A journal whose last line may have been cut off by a kill or a full disk.

    Optuna's own would append to such a line, and then could read neither.
    """

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the entries from a number on.

        Raises:
            DataError: A line is not JSON. Optuna passes over the last one when a study is opened, and its ValueError
                comes only once another is behind it.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise _damaged(Path(self._file_path), error) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, after dropping an incomplete last line."""
        with get_lock_file(self._lock):
            _drop_incomplete_line(Path(self._file_path))
        super().append_logs(logs)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({error}); move it away to begin a new study in this folder")


def _drop_incomplete_line(path: Path) -> None:
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read(end).rfind(b"\n") + 1
        file.truncate(whole)
        file.flush()
        os.fsync(file.fileno())


def is_url(place: str) -> bool:
    """Return True if a place is the URL of a database, and not a folder."""
    return "://" in place


def open_journal(folder: Path) -> BaseStorage:
    """Return the storage in a folder.

    Raises:
        DataError: Its journal is damaged or cannot be read.
    """
    # Absolute, because the lock is a link next to it that would otherwise lead nowhere.
    path = (folder / JOURNAL).resolve()
    try:
        lock = JournalFileSymlinkLock(str(path), grace_period=_LOCK_SECONDS)
        return JournalStorage(Journal(str(path), lock_obj=lock))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, AssertionError) as error:
        raise _damaged(path, error) from error


def open_database(url: str) -> BaseStorage:
    """Return the storage of a database: ``postgresql://``, ``mysql://`` or ``sqlite:///``.

    Raises:
        RecipeError: The URL is invalid, or the package for it is missing.
        DataError: The database cannot be opened.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise RecipeError(f"--join {url}: must be a folder or the URL of a database, such as {_EXAMPLE}") from error
    shown = parsed.render_as_string(hide_password=True)
    kind = parsed.get_backend_name()
    if kind in _DRIVERS and "+" not in parsed.drivername:
        # SQLAlchemy's own choices are older drivers, which are no longer developed or have to be compiled.
        parsed = parsed.set(drivername=f"{kind}+{_DRIVERS[kind]}")
    arguments = {"connect_args": {"timeout": 60}} if kind == "sqlite" else {"pool_pre_ping": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _opened(parsed.render_as_string(hide_password=False), arguments)
    except NoSuchModuleError as error:
        raise RecipeError(
            f"--join {shown}: no database of the kind {kind!r} is known; give one such as {_EXAMPLE}"
        ) from error
    except ImportError as error:
        package = "'psycopg[binary]'" if kind == "postgresql" else _DRIVERS.get(kind, error.name)
        raise RecipeError(f"--join {shown}: needs another package; install it by: pip install {package}") from error
    except (SQLAlchemyError, RuntimeError, OSError, ValueError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise DataError(f"--join {shown}: the database cannot be opened: {reason[0] if reason else error}") from error


_EXAMPLE = "postgresql://user@host/database or sqlite:////folder/study.db"


def _opened(url: str, arguments: dict[str, Any]) -> RDBStorage:
    """Open a database, again if another worker was making its tables at the same moment."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for pause in (0.2, 0.5, 1.0, 2.0):
        try:
            return RDBStorage(url, engine_kwargs=arguments)
        except IntegrityError:
            time.sleep(pause)
        except (OperationalError, ProgrammingError) as error:
            if "already exists" not in str(error):
                raise
            time.sleep(pause)
    return RDBStorage(url, engine_kwargs=arguments)


def close_storage(storage: BaseStorage) -> None:
    """Close the connections of a storage; a journal has none."""
    # Optuna puts a cache in front of a database.
    inner = getattr(storage, "_backend", storage)
    if isinstance(inner, RDBStorage):
        inner.remove_session()
        inner.engine.dispose()
