"""Output paths of the user, refused before the work begins if they cannot be written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from pathlib import Path

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import what_is_at


def check_output_file(path: Path, option: str = "--out", endings: Collection[str] = ()) -> None:
    """Refuse a path that cannot be written to, without creating anything.

    Args:
        path: The file that will be written; it may exist.
        option: The option that gave the path, for the message.
        endings: What its name has to end in, as what is written is of that kind; () for anything.

    Raises:
        RecipeError: It has another ending; it is a folder, a device, a pipe, a socket or a circle of links; or its
            folder is missing or cannot be written to.
    """
    try:
        kind = what_is_at(path)
    except DataError as error:
        raise RecipeError(f"{option} {error}; name another file") from error
    if kind == "a folder":
        raise RecipeError(f"{option} {path} is a folder; name a file")
    if kind not in (None, "a regular file"):
        raise RecipeError(f"{option} {path} is {kind}, and only a regular file is replaced; name another one")
    if endings and path.suffix.lower() not in endings:
        raise RecipeError(refuse(option, Said(path), f"end in {', '.join(endings)}"))
    if not path.parent.exists():
        raise RecipeError(f"{option} {path}: no folder {path.parent}; make it, or name a file elsewhere")
    if not path.parent.is_dir():
        raise RecipeError(f"{option} {path}: {path.parent} is not a folder; name a file elsewhere")
    _try(path.parent, f"{option} {path}", "a file")


def make_output_folder(path: Path, option: str = "--out") -> None:
    """Make a folder for results, or refuse it.

    Args:
        path: The folder; it may exist, with any content.
        option: The option that gave the path, for the message.

    Raises:
        RecipeError: It is a file, or cannot be made or written to.
    """
    if path.exists() and not path.is_dir():
        raise RecipeError(f"{option} {path} is a file; name a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"{option} {path}: cannot be made: {_reason(error)}; name a folder elsewhere") from error
    _try(path, f"{option} {path}", "a folder")


def ending_of(path: Path) -> str:
    """Return the ending of a name in lower case; "" without one. Digits of a version, as in name-1.0, are none."""
    return path.suffix.lower() if re.fullmatch(r"\.[^\W\d_].*", path.suffix) else ""


def require_out(overwrite: bool, out: object) -> None:
    """Refuse to overwrite without a folder: a numbered one is always new.

    Raises:
        RecipeError: There is no folder.
    """
    if overwrite and out is None:
        raise RecipeError("--overwrite replaces what is in --out, which was not given")


def _try(folder: Path, given: str, wanted: str) -> None:
    # Permissions are not enough: a file system may be read-only, or a quota used up.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecipeError(f"{given}: cannot be written: {_reason(error)}; name {wanted} elsewhere") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
