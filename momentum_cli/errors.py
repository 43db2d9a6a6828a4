"""The errors a user can meet, each with the exit code of the command line.

0 is success, 130 and 143 are SIGINT and SIGTERM; every other code belongs to one class below. A message says what a
value must be, what it was and what to do; the command line prints it without a traceback.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import ClassVar


class MomentumError(Exception):
    """Base class of all errors that are shown to the user as a message."""

    exit_code: int = 1


class RunError(MomentumError):
    """A training, benchmark or evaluation failed while it ran (exit 1)."""

    exit_code = 1


class RecipeError(MomentumError):
    """A recipe, an override or an option is wrong (exit 2)."""

    exit_code = 2


class SettingError(RecipeError, ValueError):
    """An environment variable is wrong (exit 2); also a ValueError, for callers of the library."""


class DataError(MomentumError):
    """Data or a saved model is missing, damaged or something else (exit 3)."""

    exit_code = 3


class TargetError(MomentumError):
    """A target was missed or an exported file disagrees with its checkpoint (exit 4)."""

    exit_code = 4


class Interrupted(MomentumError):
    """A signal ended a training after its checkpoint was written (exit 128 + the number of the signal)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


# The machine is at its limits; the same command may work later.
_LIMITS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def system_error(error: OSError, path: str | os.PathLike[str] = "") -> MomentumError:
    """Convert an error of the operating system to one of ours: "PATH: No space left on device".

    Args:
        error: The system's error.
        path: The path that was read or written; "" for the path in the error.

    Returns:
        A RunError if the machine is at its limit (space, quota, memory, open files), else a DataError.
    """
    reason = error.strerror or str(error)
    place = error.filename if error.filename is not None and not path else path
    text = f"{os.fsdecode(place) if isinstance(place, bytes) else place}: {reason}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text += "; free some space, then run the command again"
    return RunError(text) if error.errno in _LIMITS else DataError(text)


def out_of_memory(error: BaseException) -> str | None:
    """Return "out of memory", with the first line of the error if it has one; None for any other error.

    torch has an error of its own for a GPU, and raises a RuntimeError where the system refuses memory.
    """
    lines = str(error).strip().splitlines()
    words = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    ):
        return f"out of memory: {lines[0]}" if lines else "out of memory"
    return None


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived when nothing has to be saved.

    Not an Exception, or the interrupted code could handle it and continue; not a KeyboardInterrupt, which Typer would
    handle itself.

    Args:
        number: Number of the signal.

    Attributes:
        latest: Class attribute: the newest instance. A C module whose import is interrupted replaces it by its own
            error.
    """

    latest: ClassVar[Stopped | None] = None

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        Stopped.latest = self
