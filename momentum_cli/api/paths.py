"""Paths as the library takes them."""

from __future__ import annotations

import os
from pathlib import Path


def optional_path(path: str | os.PathLike[str] | None) -> Path | None:
    """Return a path, or None."""
    return None if path is None else Path(path)
