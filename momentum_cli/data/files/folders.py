"""Folders of WAV or text files, one folder per class.

Axes: t steps, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from momentum_cli.data.files.columns import words
from momentum_cli.data.files.pieces import Piece, Source
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError

_ENDINGS = {"wav": (".wav", ".flac"), "text": (".txt",)}


def folder_endings() -> dict[str, tuple[str, ...]]:
    """Return the endings of the files for each format of folders."""
    return dict(_ENDINGS)


def folder_files(path: Path, format: str) -> list[Path]:
    """Return the files of a folder of WAV or text files, sorted.

    Raises:
        DataError: There is none.
    """
    endings = _ENDINGS[format]
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
    if not found:
        raise DataError(f"{path}: the folder has no {' or '.join(endings)} files")
    return found


def open_folder(path: Path, schema: Schema, problems: Problems) -> Source:
    """Open a folder with one folder of files per class: PATH/CLASS/*, or with split_column PATH/SPLIT/CLASS/*."""
    files = folder_files(path, schema.format)
    depth = 2 if schema.split_column is None else 3
    facts: dict[str, Any] = {}
    if schema.format == "text":
        facts["characters"] = []
        read: Any = _TextReader(facts["characters"])
        names: tuple[str, ...] = ("character",)
    else:
        read = _WavReader(files[0], schema.samples_per_step, problems)
        facts["sample_rate"] = read.rate
        names = read.names

    def pieces() -> Iterator[Piece]:
        for number, file in enumerate(files):
            parts = file.relative_to(path).parts if path.is_dir() else (file.name,)
            name = "/".join(parts)
            if schema.target and len(parts) != depth:
                wanted = "CLASS/FILE" if depth == 2 else "SPLIT/CLASS/FILE"
                problems.add("folder", f"{name}: must be in {wanted}", sequence=name)
                continue
            steps = read(file, name)
            if steps is None:
                continue
            label = words([parts[-2]], schema.reading) if schema.target else None
            split = None if schema.split_column is None else words([parts[0]])
            yield Piece(name, steps, np.array([number], np.int64), None, label, split)

    # Samples are read as float32, and codes of characters are small.
    return Source(str(path), names, pieces(), len(names), facts, dtype=np.float32)


class _TextReader:
    def __init__(self, characters: list[str]) -> None:
        self._characters = characters
        self._numbers: dict[str, int] = {}

    def __call__(self, file: Path, name: str) -> np.ndarray | None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start})") from error
        for character in text:
            if character not in self._numbers:
                self._numbers[character] = len(self._numbers)
                self._characters.append(character)
        return np.array([self._numbers[character] for character in text], np.float64).reshape(-1, 1)


class _WavReader:
    def __init__(self, first: Path, samples_per_step: int, problems: Problems) -> None:
        try:
            import soundfile
        except (ImportError, OSError) as error:
            raise RecipeError(f"WAV files need soundfile: pip install soundfile ({error})") from error
        self._soundfile, self._problems, self._samples = soundfile, problems, samples_per_step
        _, self.rate, self._channels = self._load(first)
        count = samples_per_step * self._channels
        self.names = tuple(f"sample[{index}]" for index in range(count)) if count > 1 else ("sample",)

    def __call__(self, file: Path, name: str) -> np.ndarray | None:
        samples, rate, channels = self._load(file)
        if rate != self.rate or channels != self._channels:
            text = (
                f"{name}: {rate} Hz and {channels} channel(s), but the first file has {self.rate} Hz and "
                f"{self._channels}; convert it"
            )
            self._problems.add("sample_rate", text, sequence=name)
            return None
        whole = len(samples) // self._samples * self._samples
        return np.asarray(samples[:whole].reshape(-1, self._samples * channels), np.float64)

    def _load(self, file: Path) -> tuple[np.ndarray, int, int]:
        try:
            samples, rate = self._soundfile.read(file, dtype="float32", always_2d=True)
        except self._soundfile.SoundFileError as error:
            raise DataError(f"{file}: not a readable audio file ({error})") from error
        return samples, rate, samples.shape[1]
