"""Reading recordings: NIST SPHERE (TIMIT), WAV and FLAC; a refusal names the mistake and the rule.

Axes: n samples, C channels.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from momentum_cli.errors import DataError
from momentum_cli.messages import refuse
from momentum_cli.reading import check_regular

ENDINGS = (".wav", ".flac", ".sph")
"""Endings of recordings, in lower case. The first bytes decide the format: TIMIT's SPHERE files end in .WAV."""

Channel = int | Literal["mean"] | None
"""Channel of a recording, from 1, or the mean of all; None where there must be one."""

_SPHERE = b"NIST_1A"
_LARGEST_HEADER = 1 << 20
_BYTE_ORDERS = {"01": "<i2", "10": ">i2"}


class RecordingError(DataError):
    """A recording that cannot be used.

    Attributes:
        code: A word for programs: unreadable, truncated, channels, coding, sample_rate.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_recording(path: Path, channel: Channel = None) -> tuple[np.ndarray, int, dict[str, str]]:
    """Read a recording as one channel.

    Args:
        path: NIST SPHERE with 16-bit PCM of either byte order, or what libsndfile reads: WAV, FLAC.
        channel: A number from 1, or ``"mean"`` of all channels; None: there must be one.

    Returns:
        Samples (n,) float64 in [-1, 1]; the sample rate in Hz; and the fields of a SPHERE header, {} of other files.

    Raises:
        RecordingError: The file is of another kind, cut short, compressed with shorten, or lacks the channel.
    """
    try:
        check_regular(Path(path))
    except DataError as error:
        raise RecordingError("unreadable", str(error).removeprefix(f"{path}: ")) from error
    try:
        with open(path, "rb") as file:
            start = file.read(12)
            if start.startswith(_SPHERE):
                samples, rate, fields = _read_sphere(file)
                return _one_channel(samples, channel), rate, fields
            if start[:4] == b"RIFF" and start[8:] == b"WAVE":
                _check_riff(file)
    except OSError as error:
        raise RecordingError("unreadable", f"cannot be read: {error.strerror or error}") from error
    samples, rate = _read_sound(path)
    return _one_channel(samples, channel), rate, {}


def _one_channel(samples: np.ndarray, channel: Channel) -> np.ndarray:
    """Return (n,) of samples (n, C)."""
    count = samples.shape[1]
    if channel == "mean":
        return np.asarray(samples.mean(1))
    if channel is None and count > 1:
        remedy = f"set task.channel to mean or to a number from 1 to {count}"
        raise RecordingError("channels", refuse("the recording", count, "have one channel", remedy))
    if channel is not None and channel > count:
        raise RecordingError("channels", refuse("task.channel", channel, f"be 'mean' or at most {count} here"))
    return np.asarray(samples[:, (channel or 1) - 1])


def _read_sphere(file: BinaryIO) -> tuple[np.ndarray, int, dict[str, str]]:
    header, fields = _sphere_header(file)
    coding = fields.get("sample_coding", "pcm")
    if "shorten" in coding:
        raise RecordingError(
            "coding",
            f"compressed with shorten (sample_coding {coding}), must be pcm; convert it: sph2pipe -f wav FILE OUT",
        )
    wanted = {
        "sample_coding": ("coding", coding, ("pcm",)),
        "sample_n_bytes": ("coding", fields.get("sample_n_bytes", "2"), ("2",)),
        "sample_byte_format": ("coding", fields.get("sample_byte_format", ""), tuple(_BYTE_ORDERS)),
    }
    for name, (code, got, allowed) in wanted.items():
        if got not in allowed:
            raise RecordingError(code, refuse(f"{name} of the SPHERE header", got, f"be {' or '.join(allowed)}"))
    count, rate = _whole(fields, "sample_count"), _whole(fields, "sample_rate")
    channels = _whole({"channel_count": "1"} | fields, "channel_count")
    file.seek(header)
    # Not more than there is: a damaged header may name any number.
    content = file.read(min(2 * count * channels, os.fstat(file.fileno()).st_size))
    if len(content) < 2 * count * channels:
        raise RecordingError(
            "truncated",
            f"cut short: {len(content) // (2 * channels)} of the {count} samples in its header; copy it again",
        )
    samples = np.frombuffer(content, _BYTE_ORDERS[fields["sample_byte_format"]])
    return samples.reshape(-1, channels).astype(np.float64) / 32768.0, rate, fields


def _sphere_header(file: BinaryIO) -> tuple[int, dict[str, str]]:
    """Return the size of the header in bytes and its fields ``name -type value`` by name."""
    file.seek(0)
    file.readline(16)
    size = file.readline(16).strip()
    if not size.isdigit() or int(size) > _LARGEST_HEADER:
        must = f"be its size, at most {_LARGEST_HEADER:,}"
        raise RecordingError("unreadable", refuse("the second line of a SPHERE header", size[:16], must))
    file.seek(0)
    lines = file.read(int(size)).decode("latin-1").split("\n")
    fields: dict[str, str] = {}
    for line in lines[2:]:
        if line.strip() == "end_head":
            return int(size), fields
        name, _, rest = line.partition(" ")
        # The type is not needed: -i integer, -r real number, -sN text of N characters.
        fields[name] = rest.partition(" ")[2].strip()
    raise RecordingError("truncated", f"cut short: the SPHERE header of {int(size)} bytes has no end_head")


def _whole(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) < 1:
        raise RecordingError("unreadable", refuse(f"{name} of the SPHERE header", text, "be a whole number >= 1"))
    return int(text)


def _check_riff(file: BinaryIO) -> None:
    """Compare the size of the data with that in the header of a WAV file, which libsndfile does not do."""
    end = file.seek(0, 2)
    at = 12
    while at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            # Programs that cannot return to the header, because they write to a pipe, set 0 or the largest number.
            if size not in (0, 0xFFFFFFFF) and at + 8 + size > end:
                raise RecordingError(
                    "truncated",
                    f"cut short: {end - at - 8} of the {size} bytes of samples in its header; copy it again",
                )
            return
        at += 8 + size + size % 2


def _read_sound(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.SoundFileError as error:
        reason = str(error).rpartition(": ")[2].strip()
        raise RecordingError("unreadable", f"not a readable audio file ({reason})") from error
    return samples, int(rate)
