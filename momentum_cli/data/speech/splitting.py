"""Division of recordings into training, validation and test.

Axes: n recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from momentum_cli.data.batching import stratified_holdout, stream
from momentum_cli.data.files.splitting import SPLITS, by_fraction
from momentum_cli.data.problems import Problems
from momentum_cli.data.speech.listing import Recording
from momentum_cli.data.speech.options import SplitOption
from momentum_cli.errors import DataError


def split_recordings(
    recordings: Sequence[Recording],
    classes: np.ndarray | None,
    by: SplitOption,
    validation: float,
    test: float,
    test_indices: int,
    seed: int,
    problems: Problems,
) -> dict[str, np.ndarray]:
    """Return the recordings of each split, (m,) int64 each.

    Args:
        recordings: All recordings.
        classes: (n,) int64, or None; each class is divided in proportion.
        by: ``"fraction"``: recordings are drawn; ``"speaker"``: speakers are drawn, with all their recordings;
            ``"index"``: those whose index is below `test_indices` are for test, validation is drawn from the others;
            ``"folder"``: by the split in the name.
        validation, test: Fractions of the recordings (by index: of those that are not for test), or of the speakers.
        test_indices: See `by`.
        seed: Seed of the draw.
        problems: Receives names that are not splits, and splits without recordings.

    Raises:
        DataError: There are too few recordings.
    """
    share: float | Literal["none"] = validation or "none"
    if by == "fraction":
        return by_fraction(len(recordings), classes, share, test, seed)
    if by == "speaker":
        speakers, of = np.unique([recording.speaker or "" for recording in recordings], return_inverse=True)
        if len(speakers) < (2 if share == "none" else 3):
            raise DataError(f"task.split=speaker needs more speakers, got {len(speakers)} ({', '.join(speakers)})")
        drawn = by_fraction(len(speakers), None, share, test, seed)
        return {split: np.flatnonzero(np.isin(of, chosen)) for split, chosen in drawn.items()}
    if by == "folder":
        for recording in recordings:
            if recording.split not in SPLITS:
                text = f"{recording.name}: the split {recording.split!r} is not one of {', '.join(SPLITS)}"
                problems.add("split_name", text, sequence=recording.name)
        found = given_splits(recordings)
        for split in ("train", "test"):
            if not len(found[split]):
                problems.add("empty_split", f"the split {split} has no recordings")
        return found
    tested = np.array([recording.index is not None and recording.index < test_indices for recording in recordings])
    rest = np.flatnonzero(~tested)
    if not tested.any() or len(rest) < 2:
        raise DataError(
            f"task.test_indices={test_indices}: {int(tested.sum())} of {len(recordings)} recordings have a lower "
            "index; there must be some for test and two or more others"
        )
    found = {"train": rest, "validation": np.empty(0, np.int64), "test": np.flatnonzero(tested)}
    if share != "none":
        import torch

        codes = torch.zeros(len(rest), dtype=torch.int64) if classes is None else torch.from_numpy(classes[rest])
        held = min(max(1, round(len(rest) * share)), len(rest) - 1)
        kept, chosen = stratified_holdout(codes, held, stream("files", seed, "validation"))
        found |= {"train": rest[kept.numpy()], "validation": rest[chosen.numpy()]}
    return found


def given_splits(recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Return the recordings of each split by the split in their names."""
    words = np.array([recording.split for recording in recordings], dtype=object)
    return {split: np.flatnonzero(words == split) for split in SPLITS}
