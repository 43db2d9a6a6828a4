"""Pictures of sequences are in the units of the file, or their legend says what 0 and 1 are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from momentum_cli.pictures.samples import _comparable, samples


def test_channels_of_different_ranges_each_have_their_own(tmp_path: Path) -> None:
    steps = np.linspace(0, 1, 5)
    alike = [np.stack([steps * 3, steps * 2 - 1], 1)]
    drawn, words = _comparable(alike, ["a", "b"])
    assert drawn is alike
    assert words == ["a", "b"]
    drawn, words = _comparable(
        [np.stack([975 + 25 * steps, 2 * steps], 1), np.stack([980 + 25 * steps, steps], 1)], ["p", "t"]
    )
    assert words == ["p: 975 to 1005", "t: 0 to 2"]
    np.testing.assert_allclose(drawn[1][-1], [1, 0.5])
    samples(drawn, ["x", "y"], tmp_path / "s.png", ["p", "t"])
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
