"""Paths as the library takes them."""

from __future__ import annotations

import os
from pathlib import Path

from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse


def given_path(path: str | os.PathLike[str]) -> Path:
    """Return a path.

    Raises:
        RecipeError: It is an empty text, which `Path` takes for the current folder.
    """
    if os.fspath(path) == "":
        raise RecipeError(refuse("a path", "", "not be empty"))
    return Path(path)


def optional_path(path: str | os.PathLike[str] | None) -> Path | None:
    """Return a path, or None; see `given_path`."""
    return None if path is None else given_path(path)
