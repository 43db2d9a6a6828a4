"""The README.md of a folder: written by this program, until someone removes its mark."""

from __future__ import annotations

from pathlib import Path

from momentum_cli.errors import DataError, RunError
from momentum_cli.reading import read_text
from momentum_cli.runs.files import write_text

CARD = "README.md"
MARK = "<!-- Written by momentumrnn. Delete this line to keep what you change here. -->"


def write_card(folder: Path, text: str) -> None:
    """Write the README.md of a folder, unless there is one without `MARK`, which is left as it is.

    Args:
        folder: An existing folder.
        text: The text, with `MARK`.
    """
    path = folder / CARD
    if not path.exists() or is_card(path):
        write_text(path, text)


def is_card(path: Path) -> bool:
    """Return True if a file is a README.md that this program wrote and that still has the mark."""
    try:
        return path.is_file() and MARK in read_text(path)
    except (DataError, RunError):
        return False
