"""The part of a terminal that a live display redraws in place.

Drawing takes time from the work shown, so it is limited twice: by a shortest interval between redraws, and to one
percent of the time (a slow terminal is redrawn less often).
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Protocol, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from momentum_cli.progress import Level
from momentum_cli.ui.layout import ERROR, WARNING
from momentum_cli.ui.stream import SafeStream, note_text
from momentum_cli.wording import printable

DRAWING_SHARE = 0.01

_NOTE_STYLE: dict[Level, str] = {"info": "", "warning": WARNING, "error": ERROR}


class Shown(Protocol):
    """The interface of a display that a screen redraws."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult: ...

    def close(self) -> None:
        """Restore the terminal."""


class Screen:
    """Redraws a display below everything that is printed.

    Args:
        stream: A terminal.
        shown: Rendered at each redraw, by Rich's own thread too; closed when the program ends in any way.
        clock: Monotonic seconds.
        shortest_seconds: Between two redraws, > 0.
        longest_seconds: The same for a slow terminal, >= `shortest_seconds`.
        console: Replaces the console on `stream`, for a display that is recorded.
    """

    def __init__(
        self,
        stream: TextIO,
        shown: Shown,
        *,
        clock: Callable[[], float],
        shortest_seconds: float,
        longest_seconds: float,
        console: Console | None = None,
    ) -> None:
        self.console = console or Console(file=cast(TextIO, SafeStream(stream)), force_terminal=True, highlight=False)
        # Other text on this terminal (warnings of torch, prints of a plugin) must go above the display; a redirected
        # stdout or stderr is a file of the user and keeps its content.
        self._redirect_stdout = stream is sys.stdout
        self._redirect_stderr = stream is sys.stderr or sys.stderr.isatty()
        self._shown = shown
        self._clock = clock
        self._shortest, self._longest = shortest_seconds, longest_seconds
        self._live: Live | None = None
        self.next_draw = 0.0
        """Time on the clock of the next redraw; displays compare it themselves to save a call per step."""

    @property
    def is_open(self) -> bool:
        """True if something has been drawn and the terminal has not been restored."""
        return self._live is not None

    def draw(self, now: float) -> None:
        """Redraw at once; the first call takes over the terminal."""
        if self._live is None:
            atexit.register(self._shown.close)  # restores the cursor
            self._live = Live(
                console=self.console,
                get_renderable=lambda: _Spared(self._shown),
                refresh_per_second=1,  # of Rich's own thread, so that clocks advance while a step takes seconds
                redirect_stdout=self._redirect_stdout,
                redirect_stderr=self._redirect_stderr,
            )
            self._live.start(refresh=True)
        else:
            self._live.refresh()
        cost = self._clock() - now
        self.next_draw = now + min(max(self._shortest, cost / DRAWING_SHARE), self._longest)

    def close(self, *, erase: bool) -> None:
        """Restore the terminal, with or without a last redraw; calling it twice does no harm."""
        live, self._live = self._live, None
        if live is not None:
            live.transient = erase
            live.stop()
            atexit.unregister(self._shown.close)

    def print(self, text: Text, *, soft_wrap: bool = False) -> None:
        """Print above the display, where it stays."""
        self.console.print(spared(text), soft_wrap=soft_wrap)

    def note(self, text: str, level: Level) -> None:
        """Print a message to the user in the colour of its level."""
        self.print(Text(printable(note_text(text, level)), style=_NOTE_STYLE[level]))


def spared(text: Text) -> Text:
    """Return text without anything that could drive the terminal, see `printable`; names may hold anything.

    `Text` itself drops a few of these characters, so a line that should show them is made `printable` first.
    """
    plain = printable(text.plain)
    return text if plain == text.plain else Text(plain, text.style, no_wrap=text.no_wrap, overflow=text.overflow)


class _Spared:
    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text in self._shown.__rich_console__(console, options):
            yield spared(text) if isinstance(text, Text) else text
