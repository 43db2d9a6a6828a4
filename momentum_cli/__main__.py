"""The program: `momentumrnn`, and `python -m momentum_cli`.

Signals are handled before anything else is imported, so that Ctrl-C ends the program cleanly at any moment.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import time

from momentum_cli.errors import Stopped

TYPE_CHECKING = False  # see `momentum_cli.errors`
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

_USAGE = 2
_PATIENCE = 5.0  # seconds
_PAUSE = 0.02  # seconds
_arrivals: list[float] = []  # of signals, in seconds of the monotonic clock
_waiting: list[int] = []  # the number of the signal that waits for an import


def main() -> None:
    """Run the command line: the entry point `momentumrnn`."""
    _on_signal(_end)
    # Python's shutdown restores the defaults, and a finished program would die of a signal. First here, it runs last.
    atexit.register(_on_signal, signal.SIG_IGN)
    sys.unraisablehook = _unraisable
    _open_descriptors()
    # GNU's OpenMP lets idle threads spin for milliseconds by default; on a busy machine that made small steps ten times
    # slower, while a shorter spin costs nothing on an idle one. The variable is read when torch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    from momentum_cli.cli import app

    _on_signal(_stop)
    try:
        try:
            app()
        finally:
            # The command is over; during Python's own shutdown nothing catches an exception.
            _on_signal(_end)
    except Stopped as stop:  # outside a command: while its arguments are read, or by the line above
        _end(stop.number)


def _on_signal(handle: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _stop(number: int, frame: FrameType | None) -> None:
    """End the program by an exception, so that files and child processes are cleaned up.

    An import is waited for: where C++ code that is being loaded calls Python, an exception may abort the process
    (`torch._C._c10d_init`), be lost (numpy, while torch loads it) or replaced by another. A plugin is imported too, and
    may run for long, so the wait has an end.
    """
    _arrivals.append(time.monotonic())
    if _arrivals[-1] - _arrivals[0] < _PATIENCE and _is_importing(frame):
        if _waiting:  # two would interrupt each other's clean-up
            return
        _waiting.append(number)
        try:
            _thread.start_new_thread(_again, (number, _thread.get_ident()))
        except RuntimeError as error:  # no more threads
            raise Stopped(number) from error
        return
    raise Stopped(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        # Its name is another one until somebody imports importlib.
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _again(number: int, thread: int) -> None:
    """Send a signal once more, a little later: by then another handler may be the right one.

    Args:
        number: Number of the signal.
        thread: The thread that gets it, so that it does not go on waiting for something else.
    """
    time.sleep(_PAUSE)
    _waiting.clear()
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        signal.pthread_kill(thread, number)


def _end(number: int, frame: FrameType | None = None) -> NoReturn:
    os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _unraisable(event: Any) -> None:
    """Obey a signal whose exception was raised where Python can only report it, such as in a destructor."""
    if isinstance(event.exc_value, Stopped):
        _end(event.exc_value.number)
    sys.__unraisablehook__(event)


def _open_descriptors() -> None:
    """Open closed standard streams on a null device, or the first opened files would take their descriptors."""
    closed_output = sys.stdout is None
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives until the process ends
    if sys.stdout is not None:
        # A name with letters that the encoding of the output does not have is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if closed_output:
        os.write(2, b"error: standard output is closed; redirect it, to /dev/null if you do not want it\n")
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
