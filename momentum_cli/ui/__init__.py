"""Progress and summary for people: a live display on a terminal, plain lines elsewhere, nothing in the library."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from momentum_cli.progress import BenchUi, Evaluation, Level, NullUi, RunStart, StepInfo, Ui
from momentum_cli.ui.bench_plain import PlainBenchUi, QuietBenchUi
from momentum_cli.ui.run_plain import PlainUi, QuietUi

__all__ = [
    "Evaluation",
    "Level",
    "NullUi",
    "PlainUi",
    "QuietUi",
    "RunStart",
    "StepInfo",
    "Ui",
    "is_terminal",
    "make_ui",
]


def make_ui(*, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None) -> Ui:
    """The interface for a command.

    Args:
        quiet: only warnings and errors, on stderr.
        progress: False leaves out bars and progress lines; evaluations, notes and the summary stay.
        json: the command writes one JSON object to stdout, so everything else goes to stderr.
        stream: where to show it; None: stdout, or stderr with `json`.

    Returns:
        `RichUi` on a terminal, `PlainUi` elsewhere, `QuietUi` when quiet, `NullUi` without a stream.
        Colour follows NO_COLOR.
    """
    stream = stream or (sys.stderr if json or quiet else sys.stdout)
    if stream is None:  # the program was started with the stream closed
        return NullUi()
    if quiet:
        return QuietUi(stream)
    if progress and is_terminal(stream):
        from momentum_cli.ui.run_live import RichUi

        return RichUi(stream)
    return PlainUi(stream, progress=progress)


def is_terminal(stream: TextIO) -> bool:
    """Whether a live display works on `stream`: a terminal that moves its cursor and shows the bars' characters."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"} and encoding == "utf8"


def make_bench_ui(
    *, quiet: bool = False, progress: bool = True, json: bool = False, stream: TextIO | None = None
) -> BenchUi:
    """The display for a command: live on a terminal, plain lines elsewhere, warnings only when quiet.

    Args:
        quiet: only warnings and errors, on stderr.
        progress: False leaves out bars and progress lines.
        json: the command writes one JSON object to stdout, so everything else goes to stderr.
        stream: where to show it; None: stdout, or stderr with `json`.
    """

    if quiet:
        return QuietBenchUi(stream or sys.stderr)
    stream = stream or (sys.stderr if json else sys.stdout)
    if progress and is_terminal(stream):
        from momentum_cli.ui.bench_live import RichBenchUi

        return RichBenchUi(stream)
    return PlainBenchUi(stream, progress=progress)
