"""The machine behind a result: command line, versions, source commit, processor, devices, memory; nothing secret."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from momentum_cli import allocator
from momentum_cli.errors import RunError
from momentum_cli.temporary import temporary_folder

PACKAGES = (
    "momentumrnn",
    "torch",
    "torchvision",
    "torchaudio",
    "lightning-fabric",
    "safetensors",
    "numpy",
    "pydantic",
    "matplotlib",
)


def without_password(text: str) -> str:
    """Return a text with the passwords in its URLs, ``://user:password@host``, replaced by three asterisks."""
    return re.sub(r"(://[^:/@\s]*:)[^/\s]*@", r"\1***@", text)


def environment() -> dict[str, Any]:
    """Return the facts needed to judge and repeat a result, without environment variables, which may hold secrets.

    Returns:
        JSON-able: started (UTC), argv, python, platform, packages, git (commit of the current folder, and True if files
        are changed; None outside a repository), cpu (name, cores, memory_bytes), threads, memory_kept (True if freed
        memory stays with the process, see `momentum_cli.allocator`), devices, cuda, cudnn.
    """
    import torch

    devices = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "capability": f"{properties.major}.{properties.minor}",
            }
        )
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": [without_password(text) for text in sys.argv],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "git": _git(),
        "cpu": {"name": cpu_name(), "cores": usable_cores(), "memory_bytes": _memory_bytes()},
        "threads": torch.get_num_threads(),
        "memory_kept": allocator.kept(),
        "devices": devices,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if devices else None,  # type: ignore[no-untyped-call]
    }


def timing_facts(threads: int) -> dict[str, Any]:
    """Return the facts that times depend on, apart from the recipe; times of two machines are never in one table."""
    here = environment()
    return {
        "cpu": here["cpu"]["name"],
        "cores": here["cpu"]["cores"],
        "threads": threads,
        "memory_kept": here["memory_kept"],
        "devices": [device["name"] for device in here["devices"]],
        "torch": here["packages"].get("torch"),
        "momentumrnn": here["packages"].get("momentumrnn"),
    }


def cpu_name() -> str:
    """Return the name of the processor, or its architecture if the system does not report the name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may use, which in a container may be fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Return the commit of the current folder, and True if files differ from it.

    The folder may be a stranger's, and the configuration in its ``.git`` can name programs that git runs to detect
    changes (``core.fsmonitor``, filters). So git compares with an empty configuration, in a folder of our own that only
    borrows the objects and a copy of the index.
    """
    asked = _git_output("rev-parse", "--path-format=absolute", "HEAD", "--show-toplevel", "--git-path", "objects")
    index = _git_output("rev-parse", "--path-format=absolute", "--git-path", "index")
    if not asked or index is None:
        return None
    commit, top, objects = asked.split("\n")
    try:
        with temporary_folder() as bare:
            (bare / "HEAD").write_text(f"{commit}\n", encoding="ascii")
            for name in ("objects", "refs"):
                (bare / name).mkdir()
            # The copy keeps its time: git also reads files as new as the index, because their times may not show a
            # change.
            shutil.copy2(index, bare / "index")
            own = {"GIT_DIR": str(bare), "GIT_WORK_TREE": top, "GIT_OBJECT_DIRECTORY": objects}
            options = ("--porcelain", "--untracked-files=no", "--ignore-submodules=all")
            changes = _git_output("status", *options, folder=top, variables=own)
    except OSError:
        changes = None
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _git_output(*arguments: str, folder: str | None = None, variables: dict[str, str] | None = None) -> str | None:
    try:
        # No optional locks: reading must not disturb a git command that the user runs at the same time.
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            cwd=folder,
            env=os.environ | (variables or {}),
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer.stdout.strip()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def available_bytes() -> int | None:
    """Return the bytes of memory available without swapping, or None if the system does not report it."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _memory_bytes()


def require_memory(needed: int, what: str) -> None:
    """Refuse work that does not fit into memory before it allocates: a system that overcommits kills the process.

    Args:
        needed: Bytes, a lower bound.
        what: The work and the options to change, for the message.

    Raises:
        RunError: Less memory is available.
    """
    there = available_bytes()
    if there is not None and needed > there:
        raise RunError(f"{what}: needs at least {needed / 1e9:,.1f} GB of memory, and {there / 1e9:,.1f} GB are free")


_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int | None:
    """Return the resident bytes, or None if the system does not report them (Linux does)."""
    return _field("VmRSS")


def peak_resident_bytes() -> int | None:
    """Return the largest number of resident bytes so far, or None on Windows.

    On Linux from /proc, because the peak of getrusage starts from that of the parent process.
    """
    peak = _field("VmHWM")
    if peak is not None or sys.platform == "win32":
        return peak
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def forget_peak() -> bool:
    """Reset the peak to the memory resident now; return True if the system could (Linux, unless forbidden)."""
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
