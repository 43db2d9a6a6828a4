"""Frames against numpy's FFT and the formulas, not against torch."""

from __future__ import annotations

import gc
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from speech_files import pcm16, speech_like, write_wav

from momentum_cli.data import Speech
from momentum_cli.data.speech.features import FLOOR, Features
from momentum_cli.errors import RunError

SOUND = speech_like(0.3, 8000, seed=3)


def power(frame: np.ndarray) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(frame)) / len(frame))
    return np.abs(np.fft.rfft(frame * window)) ** 2


def test_every_frame_of_the_spectrum() -> None:
    frames = Features()(SOUND, 8000)
    hops = math.ceil(len(SOUND) / 128)
    # The samples between 256 zeros on either side, in steps of 128.
    padded = np.zeros(256 + hops * 128 + 256)
    padded[256 : 256 + len(SOUND)] = SOUND
    assert frames.shape == (hops + 3, 129)
    assert frames.dtype == np.float32
    for t, frame in enumerate(frames):
        expected = 10 * np.log10(1e-5 + power(padded[t * 128 : t * 128 + 256]))
        np.testing.assert_allclose(frame, expected, rtol=1e-6, atol=1e-5)
    # Silence before the recording and behind it.
    assert (frames[0] == -50.0).all()
    assert (frames[-1] == -50.0).all()
    assert frames[5:10].max() > -10.0


def test_every_frame_of_the_mel_spectrum() -> None:
    features = Features("log-mel", 8000, 256, 128, 40)
    frames = features(SOUND, 8000)
    assert frames.shape == (math.ceil(len(SOUND) / 128) - 1, 40)
    padded = np.zeros(math.ceil(len(SOUND) / 128) * 128)
    padded[: len(SOUND)] = SOUND

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    for t in (0, 3, len(frames) - 1):
        bins = power(padded[t * 128 : t * 128 + 256])
        for channel in range(40):
            # A triangle between three neighbours of 42 points that are evenly spaced in mel.
            left, centre, right = (700 * (10 ** (mel(4000) * (channel + i) / 41 / 2595) - 1) for i in range(3))
            total = 0.0
            for k, value in enumerate(bins):
                hertz = k * 8000 / 256
                rising, falling = (hertz - left) / (centre - left), (right - hertz) / (right - centre)
                total += max(0.0, min(rising, falling)) * value
            assert frames[t, channel] == pytest.approx(10 * math.log10(FLOOR + total), rel=1e-6, abs=1e-4)


def test_another_sample_rate_is_brought_to_that_of_the_frames() -> None:
    time = np.arange(16000) / 16000
    # 1 kHz is bin 32; 6 kHz is beyond half of 8 kHz, and has to be gone instead of coming back as 2 kHz, bin 64.
    sound = 0.1 * np.sin(2 * np.pi * 1000 * time) + 0.1 * np.sin(2 * np.pi * 6000 * time)
    frame = Features()(sound, 16000)[30]
    assert frame.argmax() == 32
    assert frame[32] == pytest.approx(10 * math.log10(power(0.1 * np.sin(np.pi / 4 * np.arange(256)))[32]), abs=0.05)
    assert frame[64] < frame[32] - 50
    assert len(Features()(sound, 16000)) == len(Features()(sound[::2], 8000))


def test_a_torchaudio_of_another_torch_is_named_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('Could not load this library: its.so')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    for number in range(4):
        write_wav(tmp_path / "sounds" / f"{number}.wav", pcm16(SOUND), 8000)
    assert len(Speech(str(tmp_path / "sounds")).load().train) == 2
    with pytest.raises(RunError, match=r"torchaudio \S+ cannot be loaded into torch \S+ \(Could not load .* its\.so\)"):
        Speech(str(tmp_path / "sounds"), sample_rate=16000).load()
    # A file that is still open warns here.
    gc.collect()
    assert len(list((tmp_path / "cache" / "momentumrnn" / "speech").iterdir())) == 1


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 257])
@pytest.mark.parametrize("features", [Features(), Features("log-mel", n_mels=20), Features(n_fft=64, hop_length=64)])
def test_a_short_recording_has_frames(features: Features, length: int) -> None:
    frames = features(SOUND[:length], 8000)
    whole = math.ceil(length / features.hop_length) * features.hop_length
    edges = 2 * features.n_fft if features.spectrum == "stft" else 0
    assert len(frames) == 1 + (max(whole + edges, features.n_fft) - features.n_fft) // features.hop_length
    assert len(frames) >= (2 if features.spectrum == "stft" else 1)
    assert np.isfinite(frames).all()


def test_the_description_leads_back() -> None:
    for features in (Features(), Features("log-mel", 16000, 400, 160, 23)):
        plain = json.loads(json.dumps(features.dump()))
        assert Features.of(plain) == features
        assert plain["window"] == "hann"
        assert plain["floor"] == 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "`sample_rate` must be >= 1, got 0"),
        ({"n_fft": 255}, "`n_fft` must be an even number >= 2, got 255"),
        ({"n_fft": 0}, "`n_fft` must be an even number >= 2, got 0"),
        ({"hop_length": 0}, "`hop_length` must be in .*got 0"),
        ({"hop_length": 257}, r"`hop_length` must be in \[1, n_fft = 256\], got 257"),
        ({"spectrum": "log-mel"}, "`n_mels` must be >= 1, got 0"),
        (
            {"spectrum": "log-mel", "n_mels": 100},
            r"`n_mels` must be in \[1, \d+\] .*got 100; .*needs a bin",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Features(**options)  # type: ignore[arg-type]


def test_the_most_mel_channels_have_a_bin_each() -> None:
    with pytest.raises(ValueError, match="`n_mels` must be in") as caught:
        Features("log-mel", n_mels=129)
    most = int(str(caught.value).partition("[1, ")[2].partition("]")[0])
    filters = Features("log-mel", n_mels=most)._filters
    assert (filters > 0).any(1).all()
    with pytest.raises(ValueError, match="needs a bin"):
        Features("log-mel", n_mels=most + 1)
