"""Recordings made by tests: sounds like speech, in WAV and NIST SPHERE, and a whole tree of TIMIT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

TIMIT_RATE = 16000


def speech_like(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch, shaped by syllables, in a little noise; (n,) float64 in (-1, 1)."""
    draw = np.random.default_rng(seed)
    time = np.arange(max(1, round(seconds * rate))) / rate
    pitch = draw.uniform(90, 220) * (1 + 0.2 * np.sin(2 * np.pi * draw.uniform(0.5, 2) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase + draw.uniform(0, 6)) / k for k in range(1, 12))
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * draw.uniform(3, 6) * time)
    return np.asarray(0.08 * voice * syllables + 0.002 * draw.standard_normal(len(time)))


def pcm16(samples: np.ndarray) -> np.ndarray:
    return np.round(samples * 32767).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> Path:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def sphere(
    samples: np.ndarray, rate: int, *, order: str = "01", utterance: str | None = None, **fields: object
) -> bytes:
    """NIST SPHERE as TIMIT has it: 1024 bytes of header, 16-bit samples. `fields` replace or, when None, drop some."""
    wanted: dict[str, object] = {
        "database_id": "TIMIT",
        "database_version": "1.0",
        "utterance_id": utterance,
        "channel_count": 1,
        "sample_count": len(samples),
        "sample_rate": rate,
        "sample_min": int(samples.min()),
        "sample_max": int(samples.max()),
        "sample_n_bytes": 2,
        "sample_byte_format": order,
        "sample_sig_bits": 16,
    } | fields
    lines = ["NIST_1A", "   1024"]
    for name, value in wanted.items():
        if value is not None:
            lines.append(f"{name} -i {value}" if isinstance(value, int) else f"{name} -s{len(str(value))} {value}")
    header = ("\n".join([*lines, "end_head"]) + "\n").encode("ascii").ljust(1024, b"\0")
    return header + samples.astype("<i2" if order == "01" else ">i2").tobytes()


# As in the corpus: two SA sentences that everybody reads, five SX and three SI ones of the speaker.
SENTENCES = ("SA1", "SA2", "SX37", "SX127", "SX217", "SX307", "SX397", "SI1027", "SI1657", "SI648")


@cache
def sentence_sound(seconds: float, seed: int) -> np.ndarray:
    return pcm16(speech_like(seconds, TIMIT_RATE, seed))


def write_speaker(folder: Path, seconds: float, seed: int, *, lower: bool = False, order: str = "01") -> None:
    """The ten sentences of one speaker, TRAIN/DR1/FCJF0/SA1.WAV …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sentence in enumerate(SENTENCES):
        # 97 different voices are enough, and quick to make.
        samples = sentence_sound(seconds * (1 + number % 3), 10 * (seed % 97) + number)
        name = f"{sentence}.WAV"
        utterance = f"{folder.name[1:]}_{sentence}".lower()
        content = sphere(samples, TIMIT_RATE, order=order, utterance=utterance)
        (folder / (name.lower() if lower else name)).write_bytes(content)


def write_timit(
    root: Path, parts: Mapping[str, Iterable[tuple[str, int]]], seconds: float = 0.2, *, lower: bool = False
) -> Path:
    """A tree of TIMIT: speakers with their regions under TRAIN and TEST."""
    seed = 0
    for part, speakers in parts.items():
        for speaker, region in speakers:
            path = f"{part}/DR{region}/{speaker}"
            seed += 1
            write_speaker(
                root / (path.lower() if lower else path), seconds, seed, lower=lower, order=("01", "10")[seed % 2]
            )
    return root
