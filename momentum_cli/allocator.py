"""The C library's allocator: keeping memory that a step frees with the process.

glibc takes each large block from the operating system and returns it when it is freed, so that after a training step
frees its activations, the next step pays for clearing the same pages: about half the time of a step of `torch.nn.LSTM`
on a CPU. Commands keep the memory; importing the package changes nothing.
"""

from __future__ import annotations

import ctypes
import os

SETTING = "MOMENTUMRNN_KEEP_MEMORY"
"""Environment variable; 0 leaves the allocator unchanged, in the process and in those that it starts."""

# The parameters of mallopt(3). M_MMAP_THRESHOLD would do as well, but cannot be set above 32 MiB in every version.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_THEIRS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")

_done: dict[str, bool] = {}


def keep_memory() -> bool:
    """Let freed memory stay with this process for its next blocks, if the C library is glibc.

    The process then holds as much as it ever used at one time, and somewhat more if blocks of many sizes leave gaps.

    Returns:
        True if memory is kept from now on; otherwise `reason` says why not.
    """
    if reason() is None and not kept():
        mallopt = ctypes.CDLL(None).mallopt
        # No block gets a mapping of its own, and the top of the heap is never returned.
        _done["kept"] = bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
    return kept()


def kept() -> bool:
    """Return True if `keep_memory` has worked in this process."""
    return _done.get("kept", False)


def reason() -> str | None:
    """Return why `keep_memory` leaves the allocator unchanged, or None if it does not."""
    try:
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        glibc = False
    if not glibc:
        return "the C library is not glibc"
    if os.environ.get(SETTING) == "0":
        return f"{SETTING}=0"
    return next((f"{name} is set" for name in _THEIRS if name in os.environ), None)
