"""Frames of a corpus, computed once by several threads and kept in the user's cache folder.

Axes: S frames of all recordings, D bins or channels.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from momentum_cli.data.dataset import cache_dir
from momentum_cli.data.files.cache import LARGE
from momentum_cli.data.files.steps import Steps, StepWriter
from momentum_cli.data.kept import UnwritableCache, keep
from momentum_cli.data.problems import Problems
from momentum_cli.data.speech.features import Features
from momentum_cli.data.speech.listing import Recording
from momentum_cli.data.speech.recordings import RecordingError, read_recording
from momentum_cli.errors import DataError
from momentum_cli.machine import usable_cores
from momentum_cli.progress import DownloadProgress
from momentum_cli.reading import check_regular, parse_json

VERSION = 2
# Recordings per worker that may be computed before their frames are written.
_AHEAD = 32

Check = Callable[[Recording, int, dict[str, str]], None]


@dataclass(frozen=True)
class Frames:
    """Frames of all recordings, one after the other.

    Args:
        steps: (S, D) float32, dB.
        lengths: (n,) int64, frames of each recording.
    """

    steps: Steps
    lengths: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """(n,) int64, the first frame of each recording."""
        starts: np.ndarray = np.cumsum(self.lengths) - self.lengths
        return starts


def no_check(recording: Recording, rate: int, header: dict[str, str]) -> None:
    """Accept every recording."""


def load_frames(
    folder: Path,
    recordings: Sequence[Recording],
    features: Features,
    problems: Problems,
    progress: DownloadProgress,
    *,
    num_workers: int | None = None,
    check: Check = no_check,
) -> Frames | None:
    """Return the frames of recordings from the cache, or compute and cache them.

    The cache is a folder named after a fingerprint of the files (path, content) and of the features, so
    another setting or a changed file never gets old frames. The folder is written completely or not at all, and has a
    checksum: damaged frames are computed again, with a warning to `progress`.

    Args:
        folder: The folder that the names of the recordings are relative to.
        recordings: The recordings, in the order of the frames.
        features: The features to compute.
        problems: Receives every recording that cannot be used; if there is one, nothing is cached.
        progress: Receives the progress, and warnings.
        num_workers: Threads, >= 1; None: one per core.
        check: Called with a recording, its sample rate and its header; raises RecordingError for a misplaced one.

    Returns:
        The frames; None with problems.

    Raises:
        DataError: The cache cannot be written completely, or what was just written cannot be read back.
    """
    kept = cache_dir() / "speech" / _fingerprint(folder, recordings, features)
    if kept.is_dir():
        found = _read(kept, features.size)
        if found is not None:
            return found
        progress.note(f"{kept}: the cached frames are damaged; they are computed again", "warning")
        shutil.rmtree(kept, ignore_errors=True)

    def compute(folder: Path | None) -> Frames | None:
        return _compute(recordings, features, problems, progress, num_workers, check, folder)

    try:
        if not keep(kept, lambda folder: compute(folder) is not None):
            return None
    except UnwritableCache as error:
        progress.note(f"the frames are not cached: {error}", "warning")
        return compute(None)
    found = _read(kept, features.size)
    if found is None:
        raise DataError(
            f"{kept}: the frames just written there cannot be read back; give another cache folder in XDG_CACHE_HOME"
        )
    return found


def _compute(
    recordings: Sequence[Recording],
    features: Features,
    problems: Problems,
    progress: DownloadProgress,
    num_workers: int | None,
    check: Check,
    folder: Path | None,
) -> Frames | None:
    path = None if folder is None else folder / "frames.bin"
    lengths, digest = [], hashlib.blake2b(digest_size=16)
    workers = num_workers or usable_cores()
    name = "computing spectra"
    before = len(problems.all)

    def one(recording: Recording) -> np.ndarray | RecordingError:
        try:
            samples, rate, header = read_recording(recording.path, features.channel)
            check(recording, rate, header)
            if not len(samples):
                raise RecordingError("empty", "has no samples")
            if not np.isfinite(samples).all():
                raise RecordingError("unreadable", "a sample is not a finite number")
            return features(samples, rate)
        except RecordingError as error:
            return error

    progress.preparation(name, 0, len(recordings))
    with StepWriter(features.size, np.float32, path) as writer, _single_threaded(workers) as pool:
        for part in _parts(recordings, _AHEAD * workers):
            for recording, frames in zip(part, pool.map(one, part), strict=True):
                if isinstance(frames, RecordingError):
                    problems.add(frames.code, f"{recording.name}: {frames}", sequence=recording.name)
                    continue
                writer.append(frames)
                digest.update(frames.tobytes())
                lengths.append(len(frames))
                progress.preparation(name, min(len(lengths), len(recordings) - 1), len(recordings))
        steps = writer.close()
    progress.preparation(name, len(recordings), len(recordings))
    if len(problems.all) > before:
        return None
    if folder is not None:
        index = {"lengths": lengths, "digest": digest.hexdigest(), "features": features.dump()}
        (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    if steps is None:
        assert path is not None
        steps = Steps(path, np.float32, features.size)
    return Frames(steps, np.array(lengths, np.int64))


@contextmanager
def _single_threaded(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of single-threaded workers; torch would give each of them as many threads as there are cores."""
    import torch

    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # The number for threads started later; that of this thread was never changed.
        torch.set_num_threads(threads)


def _read(folder: Path, columns: int) -> Frames | None:
    """Return cached frames, or None if they are incomplete."""
    path = folder / "frames.bin"
    try:
        index = parse_json((folder / "index.json").read_text(encoding="utf-8"))
        lengths = np.array(index["lengths"], np.int64)
        whole = path.stat().st_size == 4 * columns * int(lengths.sum()) and _digest(path) == index["digest"]
        if not whole:
            return None
        small = path.stat().st_size < LARGE
        steps = Steps(np.fromfile(path, np.float32).reshape(-1, columns)) if small else Steps(path, np.float32, columns)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Frames(steps, lengths)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fingerprint(folder: Path, recordings: Sequence[Recording], features: Features) -> str:
    # By content: a folder that takes the place of another may have the same sizes and times.
    stamps = [(recording.name, _content(recording.path)) for recording in recordings]
    content = json.dumps([VERSION, str(folder.resolve()), stamps, features.dump()], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _content(path: Path) -> str:
    """Return the digest of a recording; if it cannot be read, nothing is cached anyway."""
    try:
        return _digest(check_regular(path))
    except (DataError, OSError):
        return ""


def _parts(recordings: Sequence[Recording], size: int) -> Iterator[Sequence[Recording]]:
    for start in range(0, len(recordings), size):
        yield recordings[start : start + size]
