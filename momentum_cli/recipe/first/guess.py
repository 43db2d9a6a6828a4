"""A guess at the content of a file: the options of a first recipe, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from momentum_cli.errors import RecipeError
from momentum_cli.messages import unknown

# Common names, the most specific first; compared in lower case.
SEQUENCE = ("sequence", "sequence_id", "series", "series_id", "id", "sample", "subject", "unit", "trial", "recording")
TIME = ("time", "timestamp", "datetime", "date", "ts")
ORDER = (*TIME, "t", "step", "order")
TARGET = ("label", "class", "target", "category", "y")
SPLIT = ("split", "fold", "subset")


@dataclass
class Guess:
    """A guess at the content of a file.

    Attributes:
        kind: As in `momentum_cli.data.files.Files`.
        options: Further options of the task.
        comments: Reasons, one line each.
        longest: Steps of the longest sequence seen.
        missing: The policy for missing values.
    """

    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    longest: int = 0
    missing: str = "refuse"


def named(columns: Iterable[str], names: tuple[str, ...]) -> str | None:
    """Return the first column with one of the names, in their order, or None."""
    lower = {name.strip().lower(): name for name in columns}
    return next((lower[name] for name in names if name in lower), None)


def target_of(present: list[str], given: list[str] | None, hint: str = "") -> list[str]:
    """Return the columns to predict: those given, or guessed from their names; `hint` ends the refusal.

    Raises:
        RecipeError: A column does not exist, or no name suggests a target.
    """
    # Blanks around the names of a header row are not part of them.
    trimmed = [name if name in present else name.strip() for name in given or ()]
    for name in trimmed:
        if name not in present:
            raise RecipeError(f"--target: {unknown('column', name, present)}")
    found = named(present, TARGET)
    wanted = trimmed or ([found] if found is not None else [])
    if not wanted:
        raise RecipeError(f"name the column to predict with --target (columns: {', '.join(present)}){hint}")
    return list(wanted)


def one(names: list[str]) -> str | list[str]:
    """Return the only name of a list, or the list."""
    return names[0] if len(names) == 1 else names
