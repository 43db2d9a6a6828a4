"""Resident memory of this process, as the operating system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int | None:
    """Return what is resident now, or None where the system does not tell (it does on Linux)."""
    return _field("VmRSS")


def peak_resident_bytes() -> int | None:
    """Return the most that was resident, or None on Windows.

    On Linux from /proc: the peak of getrusage begins with that of the parent, which fork hands on.
    """
    peak = _field("VmHWM")
    if peak is not None or sys.platform == "win32":
        return peak
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def forget_peak() -> bool:
    """Let the peak begin anew at what is resident now; return whether the system could (Linux, unless forbidden)."""
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _field(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
