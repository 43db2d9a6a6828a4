"""TIMIT in the layout of the LDC, TRAIN/DR1/FCJF0/SX127.WAV: missing and misplaced recordings are found.

The SA sentences are left out: every speaker reads the same two, and test sentences must not occur in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from momentum_cli.data.problems import Problems
from momentum_cli.data.speech.listing import Recording
from momentum_cli.data.speech.recordings import RecordingError
from momentum_cli.data.speech.timit_speakers import CORE_TEST, DEV, OTHER_TEST, TRAIN
from momentum_cli.errors import DataError

SAMPLE_RATE = 16000
UTTERANCES = {"train": 8 * len(TRAIN), "validation": 8 * len(DEV), "test": 8 * len(CORE_TEST)}
"""Utterances of each split: 3,696, 400 and 192; a speaker reads five SX and three SI sentences."""

_SPEAKERS: dict[str, Mapping[str, int]] = {"train": TRAIN, "validation": DEV, "test": CORE_TEST}
_PARTS = {"train": "TRAIN", "validation": "TEST", "test": "TEST"}
# SA1.WAV; some copies also have SA1.WAV.wav, converted to RIFF.
_SENTENCE = re.compile(r"(SA|SI|SX)(\d+)\.WAV(\.WAV)?", re.IGNORECASE)
_EACH = {"SX": 5, "SI": 3}


def list_timit(folder: Path, problems: Problems) -> list[Recording]:
    """Return the 3,696 + 400 + 192 utterances of TIMIT; names of folders and files may be in upper or lower case.

    Args:
        folder: A folder with TRAIN and TEST, or with a folder TIMIT that has them.
        problems: Receives every speaker that is missing, unknown, misplaced or incomplete.

    Returns:
        In the order train, validation (the 50 speakers of the development set), test (the 24 of the core test set), by
        region, speaker and sentence.

    Raises:
        DataError: It is not a folder of TIMIT.
    """
    root = _below(folder, "TIMIT") or folder
    parts = {name: _below(root, name) for name in ("TRAIN", "TEST")}
    missing = [name for name, place in parts.items() if place is None]
    if missing:
        raise DataError(
            f"{folder}: has no folder {' and no folder '.join(missing)}; it must have the layout of LDC93S1, "
            "TRAIN/DR1/FCJF0/SX127.WAV and TEST/DR1/FAKS0/SX43.WAV, and task.format=wav for other folders"
        )
    places: dict[str, Path] = {}
    for part, place in parts.items():
        assert place is not None
        places |= _speakers(root, part, place, problems)
    found = []
    for split, speakers in _SPEAKERS.items():
        absent = [speaker for speaker in speakers if speaker not in places]
        if absent:
            problems.add(
                "missing_speaker",
                f"{_PARTS[split]}: {len(absent)} of {len(speakers)} speakers of the split {split} are missing: "
                f"{', '.join(f'DR{speakers[speaker]}/{speaker}' for speaker in absent)}; the complete split has "
                f"{UTTERANCES[split]:,} utterances, here at most {8 * (len(speakers) - len(absent)):,}",
            )
        for speaker in sorted(speakers, key=lambda name: (speakers[name], name)):
            if speaker in places:
                found += _utterances(root, places[speaker], speaker, split, problems)
    return found


def check_utterance(recording: Recording, rate: int, header: dict[str, str]) -> None:
    """Compare the header of a file with its path.

    Raises:
        RecordingError: The sample rate is not 16 kHz, or the SPHERE header names another utterance.
    """
    if rate != SAMPLE_RATE:
        raise RecordingError("sample_rate", f"the sample rate of TIMIT is {SAMPLE_RATE} Hz, got {rate} Hz")
    named = header.get("utterance_id")
    if named is not None and named.lower() != recording.utterance:
        raise RecordingError(
            "mislabelled",
            f"its header names the utterance {named}, expected {recording.utterance}: the file or its "
            "speaker is mislabelled",
        )


def _below(folder: Path, name: str) -> Path | None:
    """Return the folder of that name in upper or lower case, or None."""
    if not folder.is_dir():
        return None
    return next((place for place in sorted(folder.iterdir()) if place.name.upper() == name and place.is_dir()), None)


def _speakers(root: Path, part: str, place: Path, problems: Problems) -> dict[str, Path]:
    """Return the folders of the correctly placed speakers of a part."""
    found = {}
    here = dict(TRAIN) if part == "TRAIN" else DEV | CORE_TEST
    elsewhere = (DEV.keys() | CORE_TEST.keys() | OTHER_TEST) if part == "TRAIN" else TRAIN.keys()
    for region in sorted(entry for entry in place.iterdir() if entry.is_dir()):
        number = re.fullmatch(r"DR([1-8])", region.name.upper())
        if number is None:
            name = region.relative_to(root).as_posix()
            problems.add("mislabelled", f"{name}: not a dialect region, DR1 to DR8")
            continue
        for folder in sorted(entry for entry in region.iterdir() if entry.is_dir()):
            speaker, name = folder.name.upper(), folder.relative_to(root).as_posix()
            if part == "TEST" and speaker in OTHER_TEST:
                continue
            if speaker not in here:
                other = "TEST" if part == "TRAIN" else "TRAIN"
                if speaker in elsewhere:
                    hint = f"{speaker} is a speaker of {other}"
                elif (twin := {"F": "M", "M": "F"}.get(speaker[:1], "?") + speaker[1:]) in here:
                    hint = f"the first letter is the sex, and the speaker is {twin} of DR{here[twin]}"
                else:
                    hint = f"not a speaker of TIMIT; {part} has speakers such as {next(iter(here))} in DR1"
                problems.add("mislabelled", f"{name}: {hint}", sequence=name)
            elif here[speaker] != int(number[1]):
                problems.add(
                    "mislabelled", f"{name}: {speaker} is of DR{here[speaker]}, not of DR{number[1]}", sequence=name
                )
                # The speaker is present, so that one mistake is not reported twice.
                found[speaker] = folder
            else:
                found[speaker] = folder
    return found


def _utterances(root: Path, folder: Path, speaker: str, split: str, problems: Problems) -> list[Recording]:
    """Return the SX and SI sentences of a speaker, sorted by name."""
    sentences: dict[tuple[str, int], Path] = {}
    for file in sorted(folder.iterdir(), key=lambda file: (len(file.name), file.name)):
        match = _SENTENCE.fullmatch(file.name)
        if match is not None and match[1].upper() != "SA":
            # The shorter name comes first, so the original precedes a converted copy.
            sentences.setdefault((match[1].upper(), int(match[2])), file)
    place = folder.relative_to(root).as_posix()
    for letters, wanted in _EACH.items():
        there = sorted(f"{one}{number}" for one, number in sentences if one == letters)
        if len(there) != wanted:
            problems.add(
                "incomplete",
                f"{place}: must have {wanted} {letters} sentences, got {len(there)} ({', '.join(there) or 'none'})",
                sequence=place,
            )
    base = Recording(folder, place, speaker=speaker, split=split)
    return [
        replace(
            base,
            path=file,
            name=file.relative_to(root).as_posix(),
            label=None,
            # TIMIT's headers leave out the sex: cjf0_si1027.
            utterance=f"{speaker[1:]}_{letters}{number}".lower(),
        )
        for (letters, number), file in sorted(sentences.items())
    ]
