"""A table of texts, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Table(NamedTuple):
    """A table of texts; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def lines(self) -> Iterator[str]:
        """The table as plain text after an empty line: names to the left, numbers to the right."""
        yield ""
        if self.title:
            yield self.title
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [text.ljust(widths[i]) if i == 0 else text.rjust(widths[i]) for i, text in enumerate(line)]
            yield "  ".join(cells).rstrip()
