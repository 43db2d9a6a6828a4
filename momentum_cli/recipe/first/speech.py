"""A first recipe for a folder of recordings, guessed from their folders and names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from momentum_cli.data import Speech, SpeechClassify
from momentum_cli.data.files.splitting import SPLITS
from momentum_cli.data.speech.recordings import ENDINGS, Channel, RecordingError, read_recording
from momentum_cli.recipe.document import in_comment


def recordings_below(folder: Path) -> list[Path]:
    """Return the recordings in a folder and all its subfolders, sorted."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())


def first_speech_recipe(folder: Path, shown: str) -> str:
    """Return the text of a first recipe for a folder of recordings.

    Folders are classes, folders named train and test are splits; names such as ``yes_ann_3`` have a label, a speaker
    and an index. If nothing distinguishes the recordings, their frames are predicted.

    Args:
        folder: A folder with at least one recording.
        shown: The path to write into the recipe.
    """
    from momentum_cli.recipe.recipe import to_yaml

    files = recordings_below(folder)
    task, comments = _guess(folder, files)
    rate, several = _first_recording(files)
    if several:
        task["channel"] = "mean"
        comments.append("channel: the recordings have several channels, whose mean is taken; 1 takes the first")
    if rate is not None and rate != 8000:
        task["sample_rate"] = min(rate, 16000)
        if rate >= 16000:
            task |= {"n_fft": 512, "hop_length": 256}
        comments.append(f"the recordings have {rate} Hz; others are resampled")
    task = {"name": task.pop("name"), "path": shown, **task}
    section = to_yaml(task).splitlines() if len(task) > 1 else []
    if len(section) == 1 and section[0].startswith("{"):
        section = [line for name, value in task.items() for line in to_yaml({name: value}).strip("{}\n").splitlines()]
    fraction = [] if "{split}" in task["pattern"] else ["  validation_fraction: 0.15", "  test_fraction: 0.15"]
    metric = (SpeechClassify if task["name"] == "speech-classify" else Speech).metrics[0]
    return "\n".join(
        [
            f"# A first recipe for {in_comment(folder.name)}; what was guessed is under task. Next:",
            "#   momentumrnn data check THIS.yaml       what is wrong with the recordings, file by file",
            "#   momentumrnn data describe THIS.yaml    lengths, classes, splits",
            "#   momentumrnn train THIS.yaml",
            "task:",
            *(f"  {line}" for line in section),
            *(f"  # {in_comment(comment)}" for comment in comments),
            *fraction,
            "  normalise: standard  # mean 0 and standard deviation 1 of the training frames; or none",
            "model:",
            "  cell: momentum  # momentumrnn cells list",
            "  hidden_size: 128",
            "cells:",
            "  momentum: {momentum: 0.3, step_size: 1.0}",
            "optimizer: {name: adam, lr: 0.003}",
            "schedule: {name: cosine}",
            "train: {epochs: 20, batch_size: 32, clip_grad_norm: 1.0, seed: 0}",
            f"# target: {{metric: {metric}, value: …}}  # train exits with 4 when it is missed; bench needs one",
            "",
        ]
    )


def _guess(folder: Path, files: list[Path]) -> tuple[dict[str, Any], list[str]]:
    parts = [file.relative_to(folder).parts for file in files]
    depths = {len(names) for names in parts}
    tops = {names[0].lower() for names in parts if len(names) > 1}
    split = "{split}/" if {"train", "test"} <= tops <= set(SPLITS) and 1 not in depths else ""
    comments = ["the upper folders train, validation and test are the splits"] if split else []
    below = {depth - bool(split) for depth in depths}
    if below == {2} and len({names[-2] for names in parts}) > 1:
        return {"name": "speech-classify", "pattern": f"{split}{{label}}/*"}, ["one folder per class", *comments]
    words = [re.fullmatch(r"([^_]+)_([^_]+)_(\d+)", file.stem) for file in files]
    if below == {1} and all(words):
        labels = Counter(word[1] for word in words if word is not None)
        if 1 < len(labels) <= len(files) // 2:
            comments.append(f"names are a label, a speaker and a number; {len(labels)} labels")
            comments.append("split: index takes the lowest numbers of each for test, split: speaker whole speakers")
            return {"name": "speech-classify", "pattern": f"{split}{{label}}_{{speaker}}_{{index}}"}, comments
    comments.append("no classes were found: the next frame of the spectrum is predicted; see also speech-classify")
    return {"name": "speech", "pattern": f"{split}*"}, comments


def _first_recording(files: list[Path]) -> tuple[int | None, bool]:
    """Return the sample rate of the first recording that can be read, and whether it has several channels."""
    ways: tuple[Channel, ...] = (None, "mean")
    for file in files[:20]:
        for channel in ways:
            try:
                return read_recording(file, channel)[1], channel is not None
            except RecordingError as error:
                if error.code != "channels":
                    break
    return None, False
