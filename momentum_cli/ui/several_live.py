"""The common part of live displays of several trainings: those of a benchmark and of a search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from momentum_cli.messages import counted
from momentum_cli.progress import Level, SummaryLines
from momentum_cli.ui.layout import LABEL
from momentum_cli.ui.screen import Screen
from momentum_cli.wording import bytes_text, printable

_REDRAW_SECONDS = 1 / 6


class LiveDisplay:
    """A screen that is redrawn as trainings proceed, and messages above it.

    Args:
        stream: a terminal.
        clock: monotonic seconds.
        console: replaces the console on `stream`, for a display that is recorded.
    """

    def __init__(
        self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic, console: Console | None = None
    ) -> None:
        self._screen = Screen(
            stream, self, clock=clock, shortest_seconds=_REDRAW_SECONDS, longest_seconds=math.inf, console=console
        )
        self._clock = clock
        self._begun = clock()
        self._started = False
        self._downloads: dict[str, tuple[int, int | None]] = {}

    def __enter__(self) -> Self:
        # Loading torch and the data takes seconds: show at once that something happens.
        self._screen.draw(self._clock())
        return self

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        raise NotImplementedError

    def _begin(self) -> None:
        """Count the time from now."""
        self._begun, self._started = self._clock(), True
        self._screen.draw(self._begun)

    def _changed(self, *, important: bool) -> None:
        """Redraw if it is time, or at once."""
        now = self._clock()
        if important or now >= self._screen.next_draw:
            self._screen.draw(now)

    def note(self, text: str, level: Level = "info") -> None:
        """Show a message above the screen."""
        self._screen.note(text, level)

    def finish(self, summary: SummaryLines) -> None:
        """Show the result in place of the screen."""
        self._screen.close(erase=True)
        for line in summary(self._screen.console.width):
            self._screen.print(Text(printable(line)), soft_wrap=True)

    def close(self) -> None:
        """Leave the last screen where it is, or nothing if no training began."""
        self._screen.close(erase=not self._started)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show how much of a file has been downloaded."""
        self._downloads[name] = (done, total)
        if total is not None and done >= total:
            del self._downloads[name]
            self.note(f"downloaded {name} ({bytes_text(done)})")
        if self._screen.is_open:
            self._changed(important=False)

    def preparation(self, name: str, done: int, total: int) -> None:
        """Count files that have been prepared."""
        if done >= total:
            self.note(f"{name}: {counted(done, 'file')}")

    def _download_lines(self) -> Iterator[Text]:
        for name, (size, total) in list(self._downloads.items()):
            whole = f" of {bytes_text(total)}" if total else ""
            yield Text(printable(f"downloading {name}: {bytes_text(size)}{whole}"), style=LABEL)
