"""The folder of a run: its name and its files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from momentum_cli.errors import RecipeError
from momentum_cli.runs.card import CARD, is_card
from momentum_cli.runs.lock import locked
from momentum_cli.runs.numbered import clear, numbered

MARKER = ".momentumrnn-run"
# The files of a run, which --overwrite may delete; anything else in the folder is the user's.
RUN_FILES = (
    "recipe.yaml",
    "source*.yaml",
    "environment*.json",
    "metrics.csv",
    "metrics.jsonl",
    "result.json",
    "eval*.json",
    "curves.png",
    "confusion*.png",
    "log.txt",
    "loggers.json",
    ".*.tmp",
)
RUN_DIRECTORIES = ("checkpoints", "tensorboard")


def new_run_folder(
    out: Path | None,
    base: Path = Path("runs"),
    *,
    stem: str,
    overwrite: bool = False,
    held: contextlib.ExitStack | None = None,
) -> Path:
    """Make the folder of a new run.

    Args:
        out: the folder itself; it must be new, empty, or a run folder together with `overwrite`. None: a new numbered
            folder `base/stem-NNN`; two processes that ask at the same time get two folders.
        base: parent of the numbered folders.
        stem: `RECIPE-CELL`; characters that do not belong in a file name become `-`.
        overwrite: delete the files of an earlier run in `out`; other files stay.
        held: receives the lock of the folder, which is taken before anything in it is changed; None releases the lock
            at the end of this call.

    Returns:
        The folder, which exists, is marked as a run folder, and has no files of an earlier run.

    Raises:
        RecipeError: another process uses `out`, which is left unchanged; `out` is not empty, is not a folder, is not a
            run folder (with `overwrite`), or cannot be made.
    """
    with _refusing(base if out is None else out), contextlib.ExitStack() as own:
        folder = numbered(base, stem) if out is None else _existing(out)
        (own if held is None else held).enter_context(locked(folder, "training"))
        if out is not None:
            _clear(out, overwrite)
        (folder / MARKER).touch()
    return folder


def check_new_run_folder(out: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder in which `new_run_folder` would make no run, and change nothing.

    Raises:
        RecipeError: As for `new_run_folder`.
    """
    with _refusing(out):
        # Newer versions of Python have `exists` False for a name that no folder can have, too.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            out.stat()
        _check_folder(out)
        if out.is_dir():
            _earlier_run(out, overwrite)
            with locked(out, "training", shared=True):
                pass
        there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextlib.contextmanager
def _refusing(wanted: Path) -> Iterator[None]:
    """Convert an error of the system to one about the folder that was wanted."""
    try:
        yield
    except OSError as error:
        raise RecipeError(
            f"cannot make a run folder in {wanted}: {error.strerror or error}; name another folder with --out"
        ) from error


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; name a new or an empty folder")


def _existing(out: Path) -> Path:
    _check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def _clear(out: Path, overwrite: bool) -> None:
    """Delete an earlier run, or refuse a folder with any content."""
    if _earlier_run(out, overwrite):
        if is_card(out / CARD):
            (out / CARD).unlink()
        clear(out, RUN_FILES, RUN_DIRECTORIES)


def _earlier_run(out: Path, overwrite: bool) -> bool:
    """Return whether a folder holds a run to delete, or refuse a folder with any content."""
    content = sorted(entry.name for entry in out.iterdir())
    if not content or content == [MARKER]:
        return False
    is_run = is_run_folder(out)
    shown = ", ".join(content[:3]) + (", …" if len(content) > 3 else "")
    if not overwrite:
        remedy = f"--overwrite to replace the run in it, --resume {out} to continue it" if is_run else "an empty one"
        raise RecipeError(f"--out {out} is not empty (it holds {shown}); name a new folder or {remedy}")
    if not is_run:
        raise RecipeError(f"--out {out} is not a run folder (it holds {shown}); nothing was deleted; name another one")
    return True


def is_run_folder(path: Path) -> bool:
    """Return True if the folder was made for a run."""
    return (path / MARKER).is_file()
