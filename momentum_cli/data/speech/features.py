"""Converting samples to frames: log-magnitude STFT and log-mel spectra.

Everything is computed in float64 and finally rounded to float32, so that another FFT library gives the same frames.

Axes: n samples, T frames, F = n_fft / 2 + 1 bins, M mel channels, D = F or M.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from momentum_cli.errors import RunError
from momentum_cli.messages import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

FLOOR = 1e-5
"""Added to each power before the logarithm: samples in [-1, 1], so that silence is -50 dB (the authors' data)."""


@dataclass(frozen=True)
class Features:
    """Frames of the spectrum, in dB: 10 log10(p + 1e-5), p the power of a bin, or of the bins of a mel channel.

    The samples are resampled to `sample_rate` and padded with zeros to a whole number of hops and, for ``"stft"``, with
    `n_fft` more zeros on both sides. Frame t is the DFT of the `n_fft` samples from ``t * hop_length`` on, multiplied
    by the periodic Hann window w(i) = (1 - cos(2 π i / n_fft)) / 2.

    Args:
        spectrum: ``"stft"``: F bins; ``"log-mel"``: `n_mels` triangles on the HTK mel scale from 0 to half the sample
            rate.
        sample_rate: Hz, >= 1.
        n_fft: Samples of a frame, even, >= 2.
        hop_length: Samples from one frame to the next, in [1, n_fft].
        n_mels: M; 0 for ``"stft"``.
        channel: Which of several channels to use, counted from 1, or ``"mean"``; None where recordings have one. It is
            chosen when a recording is read.

    Raises:
        ValueError: A value is outside its range, or a mel channel would have no bin.

    Reference: Wisdom, Powers, Hershey, Le Roux and Atlas, Full-Capacity Unitary Recurrent Neural Networks,
    NeurIPS 2016, section 4.4, and their code (stft_mc: the zeros; data_transform logmag: dB and floor).
    """

    spectrum: Literal["stft", "log-mel"] = "stft"
    sample_rate: int = 8000
    n_fft: int = 256
    hop_length: int = 128
    n_mels: int = field(default=0)
    channel: int | Literal["mean"] | None = None

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise ValueError(refuse("sample_rate", self.sample_rate, "be >= 1"))
        if self.n_fft < 2 or self.n_fft % 2:
            raise ValueError(refuse("n_fft", self.n_fft, "be an even number >= 2"))
        if not 1 <= self.hop_length <= self.n_fft:
            raise ValueError(refuse("hop_length", self.hop_length, f"be in [1, n_fft = {self.n_fft}]"))
        if isinstance(self.channel, int) and self.channel < 1:
            raise ValueError(refuse("channel", self.channel, "be 'mean' or >= 1"))
        if self.spectrum == "log-mel":
            if self.n_mels < 1:
                raise ValueError(refuse("n_mels", self.n_mels, "be >= 1"))
            if (most := self._most_mels(self.n_mels)) < self.n_mels:
                must = f"be in [1, {most}] with n_fft = {self.n_fft}"
                raise ValueError(refuse("n_mels", self.n_mels, must, "the narrowest channel needs a bin"))

    @property
    def size(self) -> int:
        """D."""
        return self.n_mels or self.n_fft // 2 + 1

    def __call__(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Return the frames of a recording, (T, D) float32.

        Args:
            samples: (n,) float64 in [-1, 1], n >= 1.
            rate: Their sample rate, Hz.

        Raises:
            RunError: They have to be resampled, and torchaudio cannot be loaded.
        """
        import numpy as np
        import torch

        sound = torch.from_numpy(np.ascontiguousarray(samples, np.float64))
        if rate != self.sample_rate:
            sound = _resampler()(sound, rate, self.sample_rate)
        edge = self.n_fft if self.spectrum == "stft" else 0
        whole = -(-len(sound) // self.hop_length) * self.hop_length
        behind = max(whole - len(sound) + edge, self.n_fft - len(sound) - edge)
        padded = torch.nn.functional.pad(sound, (edge, behind))
        spectrum = torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            window=torch.hann_window(self.n_fft, dtype=torch.float64),
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        if self.spectrum == "log-mel":
            power = self._filters @ power
        frames: np.ndarray = (10.0 * torch.log10(power + FLOOR)).float().T.contiguous().numpy()
        return frames

    def dump(self) -> dict[str, Any]:
        """Return plain values that describe the features completely; `of` reads them."""
        more: dict[str, Any] = {"mel_scale": "htk", "filter_norm": None} if self.spectrum == "log-mel" else {}
        # Models of earlier versions have no such key.
        more |= {} if self.channel is None else {"channel": self.channel}
        return {
            "features": self.spectrum,
            **{name: value for name, value in asdict(self).items() if name not in ("spectrum", "channel")},
            "window": "hann",
            "unit": "dB",
            "floor": FLOOR,
            "edge": self.n_fft if self.spectrum == "stft" else 0,
            **more,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Features:
        """Return the features that `dump` wrote."""
        names = ("sample_rate", "n_fft", "hop_length", "n_mels")
        return cls(plain["features"], **{name: plain[name] for name in names}, channel=plain.get("channel"))

    @cached_property
    def _filters(self) -> Tensor:
        """(M, F) float64 triangles of height 1."""
        import torch

        bins = torch.linspace(0.0, self.sample_rate / 2, self.n_fft // 2 + 1, dtype=torch.float64)
        corners = torch.tensor(self._corners(self.n_mels), dtype=torch.float64).unsqueeze(1)
        left, centre, right = corners[:-2], corners[1:-1], corners[2:]
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
        return torch.minimum(rising, falling).clamp(min=0.0)

    def _corners(self, mels: int) -> list[float]:
        """Return the corners and peaks of the triangles, Hz, (M + 2,): evenly spaced in 2595 log10(1 + f / 700)."""
        highest = 2595.0 * math.log10(1.0 + self.sample_rate / 2 / 700.0)
        return [700.0 * (10.0 ** (highest * i / (mels + 1) / 2595.0) - 1.0) for i in range(mels + 2)]

    def _most_mels(self, mels: int) -> int:
        """Return the largest number of channels up to `mels` without an empty one."""
        spacing = self.sample_rate / self.n_fft
        while mels:
            corners = self._corners(mels)
            if all(
                (math.floor(left / spacing) + 1) * spacing < right
                for left, right in zip(corners[:-2], corners[2:], strict=True)
            ):
                return mels
            mels -= 1
        return 0


def _resampler() -> Callable[[Tensor, int, int], Tensor]:
    """Return torchaudio's function of samples, their rate and the rate wanted."""
    try:
        from torchaudio.functional import resample
    except (OSError, RuntimeError) as error:  # built for another torch; for another CUDA
        torch, torchaudio = map(metadata.version, ("torch", "torchaudio"))
        raise RunError(
            f"the recordings need another sample rate, and torchaudio {torchaudio} cannot be loaded into torch {torch} "
            f"({error}); install the torchaudio that fits: 2.11.0 before torch 2.13, else the newest"
        ) from error
    return resample  # type: ignore[no-any-return]
