"""Output of commands other than progress (one JSON object, tables, errors), and which process may write it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TextIO

from momentum_cli.wording import printable


def is_main_process() -> bool:
    """Return True if this process is rank 0 of a launch by torchrun, Fabric or SLURM, or the only process."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # Fabric's own launch gives the other processes of a node a LOCAL_RANK and counts nodes.
    ranks = (os.environ.get(name, "0") for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
    return all(rank == "0" for rank in ranks)


def print_json(value: Any) -> None:
    """Write one JSON object, in one line, to stdout; see `momentum_cli.runs.files.json_text`."""
    from momentum_cli.runs.files import json_text

    print(json_text(value))


class Output:
    """Standard output for text of files: a terminal is spared its control characters, a file or a pipe gets them."""

    def __init__(self) -> None:
        self._stream: TextIO = sys.stdout
        self._spared = sys.stdout.isatty()

    def write(self, text: str) -> int:
        """Write a piece of text."""
        self._stream.write(printable(text) if self._spared else text)
        return len(text)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._stream.flush()


def print_lines(text: str) -> None:
    """Write lines to stdout, see `Output`."""
    Output().write(text + "\n")


def write_text(text: str) -> None:
    """Write a piece of text to stdout at once, without a new line; see `Output`."""
    output = Output()
    output.write(text)
    output.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Write a table to stdout: with frame and colour on a terminal, aligned columns elsewhere.

    Args:
        columns: Headings.
        rows: Cells, of one or more lines; None is shown as an empty cell.
        title: Line above the table, or "".
    """
    # Names come from files and may hold anything.
    columns, title = [printable(column) for column in columns], printable(title)
    texts = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        lines: list[Sequence[str]] = [columns]
        for row in texts:
            lines += zip_longest(*(cell.splitlines() for cell in row), fillvalue="")
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        if title:
            print(title)
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if title:
        # Rich would wrap the table's own title at the width of the table.
        console.print(Text(title, style="italic"))
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        # Names must stay unbroken to be copied; the other columns may wrap.
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row))
    console.print(table)


def print_error(message: str) -> None:
    """Write an error to stderr, red on a terminal unless NO_COLOR is set."""
    from rich.console import Console
    from rich.text import Text

    # Names of files and keys may contain anything. soft_wrap: paths and commands must stay unbroken to be copied.
    text = Text.assemble(("error: ", "bold red"), (printable(message), "red"))
    Console(stderr=True).print(text, soft_wrap=True)


def print_hint(text: str) -> None:
    """Write what to do about an error to stderr."""
    if is_main_process():
        print(printable(text), file=sys.stderr)


def print_traceback() -> None:
    """Write the exception that is being handled to stderr, with where it was raised."""
    sys.stderr.write(printable(traceback.format_exc()))


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning of Python's to stderr; takes the place of `warnings.showwarning`."""
    (file or sys.stderr).write(printable(warnings.formatwarning(message, category, filename, lineno, line)))
