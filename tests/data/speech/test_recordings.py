"""Recordings are read exactly, and the mistake in a broken file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from speech_files import pcm16, speech_like, sphere, write_wav

from momentum_cli.data.speech.recordings import RecordingError, read_recording

SAMPLES = pcm16(speech_like(0.05, 16000))


@pytest.mark.parametrize("order", ["01", "10"])
@pytest.mark.parametrize("name", ["SX37.WAV", "sx37.wav", "x.sph"])
def test_sphere_of_either_byte_order_and_any_ending(order: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(sphere(SAMPLES, 16000, order=order, utterance="cjf0_sx37"))
    samples, rate, header = read_recording(path)
    assert rate == 16000
    np.testing.assert_array_equal(samples * 32768, SAMPLES)
    assert header["utterance_id"] == "cjf0_sx37"
    assert header["sample_count"] == str(len(SAMPLES))
    # libsndfile reads these bytes the same way
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], SAMPLES)


def test_a_header_may_be_longer_and_name_its_coding(tmp_path: Path) -> None:
    content = sphere(SAMPLES, 16000, sample_coding="pcm")
    longer = content[:1024].replace(b"   1024", b"   2048").ljust(2048, b"\0") + content[1024:]
    (tmp_path / "a.wav").write_bytes(longer)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.wav")[0] * 32768, SAMPLES)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-31), ("FLOAT", 2**-24)],
)
@pytest.mark.parametrize("ending", ["wav", "WAV"])
def test_wav_of_every_width(subtype: str, step: float, ending: str, tmp_path: Path) -> None:
    wanted = speech_like(0.05, 11025)
    path = tmp_path / f"a.{ending}"
    write_wav(tmp_path / "b.wav", wanted, 11025, subtype).rename(path)
    samples, rate, header = read_recording(path)
    assert (rate, header) == (11025, {})
    assert np.abs(samples - wanted).max() <= step


def test_flac(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.flac", SAMPLES, 8000)
    np.testing.assert_array_equal(read_recording(path)[0] * 32768, SAMPLES)


WHOLE = sphere(SAMPLES, 16000)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (WHOLE[:-100], "truncated", f"{len(SAMPLES) - 50} of the {len(SAMPLES)} samples in its header"),
        (WHOLE[:300], "truncated", "0 of the 800 samples in its header"),
        (WHOLE[:100], "truncated", "has no end_head"),
        (sphere(SAMPLES, 16000, sample_coding="pcm,embedded-shorten-v2.00"), "coding", "shorten.*sph2pipe -f wav"),
        (
            sphere(SAMPLES, 16000, sample_coding="ulaw"),
            "coding",
            "sample_coding .*must be pcm, got 'ulaw'",
        ),
        (sphere(SAMPLES, 16000, channel_count=2), "truncated", f"{len(SAMPLES) // 2} of the {len(SAMPLES)} samples"),
        (sphere(SAMPLES, 16000, channel_count=0), "unreadable", "channel_count .*must be a whole number >= 1, got '0'"),
        (
            sphere(SAMPLES, 16000, channel_count=2, sample_count=len(SAMPLES) // 2),
            "channels",
            "the recording must have one channel, got 2; set task.channel to mean or to a number from 1 to 2",
        ),
        (sphere(SAMPLES, 16000, sample_n_bytes=1), "coding", "sample_n_bytes .*must be 2, got '1'"),
        (sphere(SAMPLES, 16000, sample_byte_format="11"), "coding", "must be 01 or 10, got '11'"),
        (sphere(SAMPLES, 16000, sample_count=None), "unreadable", "sample_count.*got ''"),
        (sphere(SAMPLES, 16000, sample_rate=0), "unreadable", "sample_rate.*got '0'"),
        (b"NIST_1A\nhello", "unreadable", "second line of a SPHERE header must be its size"),
        (b"these are no samples at all", "unreadable", "not a readable audio file"),
        (b"", "unreadable", "not a readable audio file"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(content: bytes, code: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        read_recording(tmp_path / "a.wav")
    assert caught.value.code == code


def test_a_wav_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", SAMPLES, 8000)
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(RecordingError, match=r"1400 of the 1600 bytes of samples in its header") as caught:
        read_recording(path)
    assert caught.value.code == "truncated"
    # What a program wrote into a pipe announces no length, or the largest one.
    for size in (b"\xff\xff\xff\xff",):
        place = whole.index(b"data") + 4
        path.write_bytes(whole[:place] + size + whole[place + 4 :])
        assert len(read_recording(path)[0]) == len(SAMPLES)


def test_a_channel_or_the_mean_of_all_is_taken(tmp_path: Path) -> None:
    both = np.stack([SAMPLES[:400], SAMPLES[400:800]], 1)
    wav = write_wav(tmp_path / "a.wav", both, 8000)
    (tmp_path / "b.sph").write_bytes(sphere(both.reshape(-1), 8000, channel_count=2, sample_count=400))
    for path in (wav, tmp_path / "b.sph"):
        for channel in (1, 2):
            np.testing.assert_array_equal(read_recording(path, channel)[0] * 32768, both[:, channel - 1])
        np.testing.assert_allclose(read_recording(path, "mean")[0] * 32768, both.astype(float).sum(1) / 2)
        with pytest.raises(RecordingError, match=r"set task\.channel to mean or to a number from 1 to 2"):
            read_recording(path)
        with pytest.raises(RecordingError, match=r"`task.channel` must be 'mean' or at most 2 here, got 3") as caught:
            read_recording(path, 3)
        assert caught.value.code == "channels"
    one = write_wav(tmp_path / "c.wav", SAMPLES, 8000)
    for mono in (1, "mean"):
        np.testing.assert_array_equal(read_recording(one, mono)[0] * 32768, SAMPLES)  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match="No such file"):
        read_recording(tmp_path / "none.wav")
