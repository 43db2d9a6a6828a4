"""Output of commands other than progress: one JSON object, tables, errors; and the process that may write it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any


def is_main_process() -> bool:
    """Return whether this process is rank 0 of a launch by torchrun, Fabric or SLURM; True for the only process."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # Fabric's own launch gives the other processes of a node a LOCAL_RANK and counts nodes.
    ranks = (os.environ.get(name, "0") for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
    return all(rank == "0" for rank in ranks)


def print_json(value: Any) -> None:
    """Write one JSON object, in one line, to stdout; see `momentum_cli.runs.files.json_text`."""
    from momentum_cli.runs.files import json_text

    print(json_text(value))


def print_lines(text: str) -> None:
    """Write text to stdout as it is."""
    print(text)


def write_text(text: str) -> None:
    """Write a piece of text to stdout at once, without a new line; a terminal is spared its control characters."""
    from momentum_cli.wording import printable

    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Write a table to stdout: with frame and colour on a terminal, aligned columns elsewhere.

    Args:
        columns: Headings.
        rows: Cells, of one or more lines; None is shown as an empty cell.
        title: Line above the table, or "".
    """
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
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
        # A title of the table itself is broken where the table ends.
        console.print(Text(title, style="italic"))
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        # Names must stay whole to be copied; the other columns may wrap.
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row))
    console.print(table)


def print_error(message: str) -> None:
    """Write an error to stderr, red on a terminal unless NO_COLOR is set."""
    from rich.console import Console
    from rich.text import Text

    from momentum_cli.wording import printable

    # Names of files and keys may hold anything. soft_wrap: a path or a command must stay in one piece to be copied.
    text = Text.assemble(("error: ", "bold red"), (printable(message), "red"))
    Console(stderr=True).print(text, soft_wrap=True)


def print_hint(text: str) -> None:
    """Write what to do about an error to stderr, as it is."""
    if is_main_process():
        print(text, file=sys.stderr)
