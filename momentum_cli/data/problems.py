"""The mistakes of a file and the warnings about it, each with its rows, not only the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from momentum_cli.errors import DataError
from momentum_cli.messages import plural

SHOWN = 20
"""Number of rows kept per problem; the others are only counted."""
ROW_BITS = 40
"""Bits of the number of a row; with several files, the bits above hold the number of the file."""


@dataclass
class Problem:
    """One mistake in one place.

    Attributes:
        code: A word for programs: missing, not_a_number, duplicate_time, two_splits, …
        text: The mistake in words.
        rows: Its first rows, numbered as the file's own tools do (see docs/data.md); empty if rows have no meaning.
        count: Number of rows.
        column: The column, or None.
        sequence: The sequence, if it is only one.
        warning: True if it is no mistake: the data are read and trained on as they are.
    """

    code: str
    text: str
    rows: list[int] = field(default_factory=list)
    count: int = 0
    column: str | None = None
    sequence: str | None = None
    warning: bool = False

    def __str__(self) -> str:
        if not self.rows:
            return self.text
        more = f" and {self.count - len(self.rows)} more" if self.count > len(self.rows) else ""
        return f"{self.text}: {plural('row', self.count)} {', '.join(map(str, self.rows))}{more}"

    def dump(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "code": self.code,
            "severity": "warning" if self.warning else "error",
            "column": self.column,
            "sequence": self.sequence,
            "rows": self.rows,
            "count": self.count,
            "message": str(self),
        }


class Problems:
    """Mistakes met while a file is read; the same mistake in the same place is one `Problem` with more rows.

    Warnings are included, but they neither make the object true nor raise an error.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Problem] = {}
        self._no_numbers: set[tuple[tuple[str | None, str], int]] = set()
        self._counts: Counter[tuple[str, str | None]] = Counter()
        self.files: list[str] = []
        """Names of several files, whose numbers are in the bits above the row's."""
        self.sequences: set[str] = set()
        """Names of the sequences with mistakes."""

    def __bool__(self) -> bool:
        return any(not problem.warning for problem in self._found.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """The texts of the warnings."""
        return tuple(str(problem) for problem in self._found.values() if problem.warning)

    @property
    def all(self) -> list[Problem]:
        """Every problem, in the order in which they were found."""
        return list(self._found.values())

    def add(
        self,
        code: str,
        text: str,
        rows: Iterable[int] = (),
        *,
        column: str | None = None,
        sequence: str | None = None,
        group: str | None = None,
        warning: bool = False,
    ) -> None:
        """Add a mistake.

        Args:
            code: See `Problem`.
            text: The mistake, the same for all rows of one problem.
            rows: The rows with it.
            column: The column, if it is in one.
            sequence: The sequence, if it is in one; sequences do not make separate problems.
            group: Mistakes of one group are one problem, with the text of the first; None: the text.
            warning: See `Problem`.
        """
        places = [int(row) for row in rows]
        if self.files and places:
            for file in sorted({row >> ROW_BITS for row in places}):
                own = [row & ((1 << ROW_BITS) - 1) for row in places if row >> ROW_BITS == file]
                name = self.files[file]
                self._add(code, f"{name}: {text}", own, (column, name), sequence, f"{name}: {group or text}", warning)
            return
        self._add(code, text, places, (column, ""), sequence, group or text, warning)

    def _add(
        self,
        code: str,
        text: str,
        places: list[int],
        where: tuple[str | None, str],
        sequence: str | None,
        group: str,
        warning: bool,
    ) -> None:
        column = where[0]
        if sequence is not None and not warning:
            self.sequences.add(sequence)
        if code == "not_a_number":
            self._no_numbers.update((where, row) for row in places)
        elif code == "missing" and places:
            # A value that is not a number counts as missing later, but has been reported already.
            places = [row for row in places if (where, row) not in self._no_numbers]
            if not places:
                return
        key = (code, group)
        if key not in self._found:
            self._counts[code, column] += 1
        problem = self._found.setdefault(key, Problem(code, text, column=column, sequence=sequence, warning=warning))
        if problem.sequence != sequence:
            problem.sequence = None
        problem.count += len(places)
        # The first in the file, although steps are met in the order of their times.
        problem.rows = sorted([*problem.rows, *places])[:SHOWN]

    def different(self, code: str, column: str | None) -> int:
        """Return the number of different problems of a code in a column."""
        return self._counts[code, column]

    def refuse(self, path: str) -> None:
        """Raise an error if there is a mistake.

        Raises:
            DataError: There is one; the message has one line for each.
        """
        found = [problem for problem in self.all if not problem.warning]
        if len(found) == 1:
            raise DataError(f"{path}: {found[0]}")
        if found:
            raise DataError("\n".join([f"{path}: {len(found)} problems", *map(str, found)]))
