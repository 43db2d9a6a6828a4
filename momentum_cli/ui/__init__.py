"""Progress and summary: a live display on a terminal, plain lines elsewhere, nothing in the library.

Displays are imported where one is made: `--help` needs none of them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from momentum_cli.progress import BenchUi, TuneUi, Ui


def make_ui(*, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None) -> Ui:
    """Return the display of a command that works with one model.

    Args:
        quiet: only warnings and errors, on stderr.
        progress: False leaves out bars and progress lines; evaluations, notes and the summary stay.
        json: the command writes one JSON object to stdout, so everything else goes to stderr.
        stream: where to show it; None: stdout, or stderr with `json`.

    Returns:
        `RichUi` on a terminal, `PlainUi` elsewhere, `QuietUi` when quiet, `NullUi` without a stream.
        Colour follows NO_COLOR.
    """
    from momentum_cli.progress import NullUi
    from momentum_cli.ui.run_plain import PlainUi, QuietUi

    stream = stream or _stream(quiet, json)
    if stream is None:
        return NullUi()
    if quiet:
        return QuietUi(stream)
    if progress and is_terminal(stream):
        from momentum_cli.ui.run_live import RichUi

        return RichUi(stream)
    return PlainUi(stream, progress=progress)


def make_bench_ui(
    *, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None
) -> BenchUi:
    """Return the display of a benchmark: live on a terminal, plain lines elsewhere; arguments as for `make_ui`."""
    from momentum_cli.progress import NullBenchUi
    from momentum_cli.ui.bench_plain import PlainBenchUi, QuietBenchUi

    stream = stream or _stream(quiet, json)
    if stream is None:
        return NullBenchUi()
    if quiet:
        return QuietBenchUi(stream)
    if progress and is_terminal(stream):
        from momentum_cli.ui.bench_live import RichBenchUi

        return RichBenchUi(stream)
    return PlainBenchUi(stream, progress=progress)


def make_tune_ui(
    *, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None
) -> TuneUi:
    """Return the display of a search: live on a terminal, plain lines elsewhere; arguments as for `make_ui`."""
    from momentum_cli.progress import NullTuneUi
    from momentum_cli.ui.tune_plain import PlainTuneUi, QuietTuneUi

    stream = stream or _stream(quiet, json)
    if stream is None:
        return NullTuneUi()
    if quiet:
        return QuietTuneUi(stream)
    if progress and is_terminal(stream):
        from momentum_cli.ui.tune_live import RichTuneUi

        return RichTuneUi(stream)
    return PlainTuneUi(stream, progress=progress)


def is_terminal(stream: TextIO) -> bool:
    """Return True if a live display works on `stream`: it can move its cursor and show the characters of the bars."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"} and encoding == "utf8"


def _stream(quiet: bool, json: bool) -> TextIO | None:
    # None if the program was started with the stream closed, whatever the type says.
    return sys.stderr if json or quiet else sys.stdout
