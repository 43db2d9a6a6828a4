"""The report of a search, made again from its folder."""

from __future__ import annotations

import os
from pathlib import Path

from momentum_cli.benchmark.results.files import read_numbers
from momentum_cli.errors import DataError
from momentum_cli.reading import read_text
from momentum_cli.tuning.folder import RESULT
from momentum_cli.tuning.report import page
from momentum_cli.tuning.results import BEST, FORMAT


def is_search(path: Path) -> bool:
    """Return True if a path is the folder of a search that has a result, or that result."""
    return os.path.lexists(search_folder(path) / RESULT)


def search_folder(path: Path) -> Path:
    """Return the folder of a search."""
    return path.parent if path.name == RESULT else path


def search_page(folder: Path) -> str:
    """Return the page on a search.

    Raises:
        DataError: Its result cannot be read, or is none of a search.
    """
    path = folder / RESULT
    try:
        content = read_numbers(read_text(path))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); the same search writes it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path} is not the result of a search")
    best = folder / BEST
    return page({**content, "folder": str(folder)}, read_text(best) if best.is_file() else "")
