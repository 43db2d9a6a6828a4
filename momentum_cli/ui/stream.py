"""A stream that may disappear: a training of hours must not end because its terminal was closed."""

from __future__ import annotations

from typing import Any, TextIO

from momentum_cli.progress import Level
from momentum_cli.wording import printable


def note_text(text: str, level: Level) -> str:
    """Return a message to the user with its level in front."""
    return text if level == "info" else f"{level}: {text}"


class SafeStream:
    """Passes text to `stream` until a write fails (closed terminal or pipe), and drops it from then on.

    Nothing is lost, because the run folder holds everything that is shown.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.gone = False

    def write(self, text: str) -> int:
        """Write `text`; characters that the stream cannot show are spelled out."""
        if not self.gone:
            try:
                self._stream.write(text.encode(self._encoding, "backslashreplace").decode(self._encoding))
            except (OSError, ValueError):  # ValueError: the file object is closed
                self.gone = True
        return len(text)

    def flush(self) -> None:
        """Pass buffered text to the system."""
        if not self.gone:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.gone = True

    def line(self, text: str) -> None:
        """Write one line of user text, without control characters."""
        self.write(printable(text) + "\n")
        self.flush()

    def note(self, text: str, level: Level) -> None:
        """Write a message to the user in one line."""
        self.line(note_text(text, level))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
