"""The common part of displays of several trainings: those of a benchmark and of a search."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from momentum_cli.messages import counted
from momentum_cli.progress import Level, SummaryLines
from momentum_cli.ui.stream import SafeStream
from momentum_cli.wording import bytes_text


class Quiet:
    """Shows warnings and errors only (`-q`)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = SafeStream(stream)

    def note(self, text: str, level: Level = "info") -> None:
        """Show a message unless it only informs."""
        if level != "info":
            self._stream.note(text, level)


class PlainLines:
    """Plain lines for log files and pipes: one per training that is over, and one per interval for those in between.

    Args:
        stream: where the lines go.
        interval_seconds: > 0, at most one line about unfinished trainings in this time.
        progress: False leaves those lines out.
        clock: monotonic seconds.
    """

    width = 100
    """Of tables, in characters, because a log file has no width."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_seconds: float = 15.0,
        progress: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = SafeStream(stream)
        self._interval = interval_seconds
        self._show_progress = progress
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        """Count the time from now."""
        self._begun = self._clock()
        self._next_line = self._begun + self._interval

    def _due(self) -> float | None:
        """Return the seconds since the beginning if it is time for a line about unfinished trainings."""
        now = self._clock()
        if now < self._next_line or not self._show_progress:
            return None
        self._next_line = now + self._interval
        return now - self._begun

    def note(self, text: str, level: Level = "info") -> None:
        """Show a message."""
        self._stream.note(text, level)

    def finish(self, summary: SummaryLines) -> None:
        """Show the result."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        for line in summary(self.width):
            self._stream.line(_spelled(line, encoding))

    def download(self, name: str, done: int, total: int | None) -> None:
        """Name a file whose download has ended."""
        if total is not None and done >= total:
            self._stream.line(f"downloaded {name} ({bytes_text(done)})")

    def preparation(self, name: str, done: int, total: int) -> None:
        """Count files that have been prepared."""
        if done >= total:
            self._stream.line(f"{name}: {counted(done, 'file')}")


def _spelled(text: str, encoding: str) -> str:
    """Return the text for a stream that may be limited to ASCII."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, word in (("∞", "inf"), ("–", "-"), ("±", "+-"), ("×", "x")):
            text = text.replace(sign, word)
    return text
