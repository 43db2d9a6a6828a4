"""What the engine tells a user interface, and the two interfaces that show (almost) nothing.

The library never prints: the engine calls the methods of a `Ui` that is passed in, and each implementation decides what
to show and when. `step` is called after every optimizer step and must cost microseconds.
"""

from __future__ import annotations

from typing import TextIO

from momentum_cli.progress import Level, NullUi
from momentum_cli.ui.stream import SafeStream


class QuietUi(NullUi):
    """Shows warnings and errors only (`-q`)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = SafeStream(stream)

    def note(self, text: str, level: Level = "info") -> None:
        if level != "info":
            self._stream.line(f"{level}: {text}")
