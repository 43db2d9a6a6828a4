"""The steps of all sequences one after the other, in memory or in a file that is read only where needed.

Axes: S steps of all sequences, C columns.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np


class Steps:
    """(S, C) numbers.

    A file is read by position instead of being mapped, because the pages of a mapping count as memory of the process,
    and after an epoch these would be the whole file.

    Args:
        source: The array, or a file with only the array in C order.
        dtype: Type of the numbers in the file.
        columns: C.
    """

    def __init__(self, source: np.ndarray | Path, dtype: Any = np.float32, columns: int = 1) -> None:
        self.array: np.ndarray | None = None
        if isinstance(source, np.ndarray):
            self.array = source
            self.dtype, self.columns = source.dtype, source.shape[1]
            return
        self.path = source
        self.dtype, self.columns = np.dtype(dtype), columns
        self._open()

    def __len__(self) -> int:
        if self.array is not None:
            return len(self.array)
        return int(os.fstat(self._file).st_size // (self.dtype.itemsize * self.columns))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the steps from `start` to `stop` - 1, (stop - start, C), which must not be modified."""
        if self.array is not None:
            return self.array[start:stop]
        size = self.dtype.itemsize * self.columns
        if hasattr(os, "pread"):
            # It does not move the position, so that processes may share the file.
            data = os.pread(self._file, (stop - start) * size, start * size)
        else:
            os.lseek(self._file, start * size, os.SEEK_SET)
            data = os.read(self._file, (stop - start) * size)
        return np.frombuffer(data, self.dtype).reshape(stop - start, self.columns)

    def padded(self, starts: np.ndarray, lengths: np.ndarray, fill: float = 0) -> np.ndarray:
        """Return (B, T, C) steps `starts` … `starts` + `lengths` - 1, T the longest, `fill` after the end of each."""
        longest = int(lengths.max())
        if self.array is not None and (lengths == longest).all():
            return np.asarray(self.array[starts[:, None] + np.arange(longest)])
        found = np.full((len(starts), longest, self.columns), fill, self.dtype)
        for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            found[row, :length] = self.read(start, start + length)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.array is None:
            self._open()

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        # Keep it open as long as the data are used.
        weakref.finalize(self, os.close, self._file)


class StepWriter:
    """Collects steps as they come, and returns them as `Steps`. A ``with`` closes the file when something fails.

    Args:
        columns: C.
        dtype: Type of the stored steps.
        path: File to write; None keeps them in memory.
        most: Steps that will come at most, if known: they are then written to their place in memory at once, instead of
            being joined at the end, when all would be there twice.
    """

    def __init__(self, columns: int, dtype: Any, path: Path | None, most: int | None = None) -> None:
        self.columns, self._dtype = columns, np.dtype(dtype)
        self._parts: list[np.ndarray] = []
        # Pages that nothing is written to take no memory.
        self._whole = np.empty((most, columns), self._dtype) if most is not None and path is None else None
        self._taken = 0
        self._file = None if path is None else open(path, "wb")  # noqa: SIM115 - closed in `close`

    def __enter__(self) -> StepWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, steps: np.ndarray) -> None:
        """Append (m, C) steps."""
        if self._whole is not None:
            self._whole[self._taken : self._taken + len(steps)] = steps
            self._taken += len(steps)
            return
        kept = np.ascontiguousarray(steps, self._dtype)
        if self._file is not None:
            self._file.write(kept.data)
        else:
            self._parts.append(kept)

    def close(self) -> Steps | None:
        """Return the steps; None if they are in the file, which may still be renamed."""
        if self._file is not None:
            self._file.close()
            return None
        if self._whole is not None:
            return Steps(self._whole[: self._taken])
        empty = np.empty((0, self.columns), self._dtype)
        return Steps(np.concatenate(self._parts) if self._parts else empty)
