"""Sequences that are taken together give what they give one by one, mistakes included."""

from __future__ import annotations

import gc
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.gathering import Gatherer
from momentum_cli.data.files.pieces import Piece, Pieces, Source
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError

KINDS = ("classification", "regression", "labelling")
FAULTS = (
    "none", "value", "target", "target changes", "name", "name twice", "time twice", "time", "split", "split changes",
    "group",
)  # fmt: skip


def made(draw: random.Random, kind: str, fault: str, *, by_step: bool) -> Pieces:
    """Draw ten sequences of one to four steps with one mistake."""
    count = 10
    lengths = np.array([draw.randint(1, 4) for _ in range(count)])
    lengths[4] = 3
    starts = np.concatenate(([0], np.cumsum(lengths)))
    total = int(starts[-1])
    at = int(starts[4])
    names = np.array([f"s{number}" for number in range(count)], dtype=object)
    features = np.array([[draw.random(), draw.random()] for _ in range(total)])
    order = np.concatenate([np.arange(length, dtype=np.float64) for length in lengths])
    own: dict[str, np.ndarray] = {
        "rows": np.arange(count),
        "split": np.array([draw.choice(["train", "test"]) for _ in range(count)], dtype=object),
        "group": np.array([draw.choice("xyz") for _ in range(count)], dtype=object),
        "target": np.array([draw.choice("ab") for _ in range(count)], dtype=object),
    }
    if kind == "regression":
        own["target"] = np.array([[draw.random()] for _ in range(count)])
    place = 4
    if by_step:
        own = {name: np.repeat(values, lengths, axis=0) for name, values in own.items()}
        own["rows"], place = np.arange(total), at + 1
    absent: Any = np.nan if kind == "regression" else None
    if fault == "value":
        features[at + 1, 1] = np.nan
    elif fault in own:
        own[fault][place] = absent if fault == "target" else None
    elif fault == "target changes":
        own["target"][place] = 7.0 if kind == "regression" else "c"
    elif fault == "split changes":
        own["split"][place] = "validation"
    elif fault == "name":
        names[4] = None
    elif fault == "name twice":
        names[4] = "s0"
    elif fault == "time twice":
        order[at + 1] = order[at]
    elif fault == "time":
        order[at], order[at + 2] = order[at + 2], order[at]
    # Rows that are whole sequences have no times.
    times = order if by_step else None
    return Pieces(names, starts, features, own["rows"], times, own["target"], own["split"], own["group"])


def gathered(
    pieces: Iterator[Piece | Pieces], kind: str, folder: Path | None, **options: Any
) -> tuple[Gathered, list[str]]:
    """Return what a gatherer makes of pieces, and the mistakes that it finds."""
    schema = Schema.of(
        {
            **Schema(format="csv", kind=kind, features=("a", "b"), target=("y",), sequence=("id",)).dump(),
            "order": ["t"], "split_column": "part", "group": ["g"], **options,
        }
    )  # fmt: skip
    problems = Problems()
    source = Source("a.csv", ("a", "b"), pieces, 2)
    whole = folder is None
    found = Gatherer(schema, "refuse", source, problems, folder, whole=whole, keep_times=True).gather()
    return found, sorted(map(str, problems.all))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_step", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_several_at_once_are_the_same_one_by_one(
    kind: str, fault: str, by_step: bool, on_disk: bool, tmp_path: Path
) -> None:
    draw = random.Random(f"{kind} {fault} {by_step}")
    pieces = made(draw, kind, fault, by_step=by_step)
    folders: list[Path | None] = [None, None]
    if on_disk:
        folders = [tmp_path / "together", tmp_path / "one"]
        for folder in folders:
            assert folder is not None
            folder.mkdir()
    together, mistakes = gathered(iter([pieces]), kind, folders[0])
    one_by_one, same_mistakes = gathered(iter(list(pieces)), kind, folders[1])
    assert mistakes == same_mistakes
    right = {"none", "name"} | ({"time"} if not on_disk else set())
    right |= {"target changes"} if kind == "labelling" else set()
    right |= {"time", "time twice", "target changes", "split changes"} if not by_step else set()
    assert (fault in right) == (not mistakes)
    for name in ("names", "rows", "starts", "lengths", "targets", "splits", "times", "groups", "missing", "open_steps"):
        left, right = getattr(together, name), getattr(one_by_one, name)
        assert (left is None) == (right is None), name
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=name)
    assert together.labels == one_by_one.labels
    for left, right in ((together.features, one_by_one.features), (together.step_targets, one_by_one.step_targets)):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            np.testing.assert_array_equal(left.read(0, len(left)), right.read(0, len(right)))


def test_a_sequence_may_continue_in_the_next_block(tmp_path: Path) -> None:
    pieces = made(random.Random(0), "classification", "none", by_step=True)
    cut = int(pieces.starts[4]) + 1
    whole = Pieces(*(getattr(pieces, name) for name in ("names", "starts", "features", "rows", "order", "target")))

    def part(low: int, high: int, first: int, last: int) -> Pieces:
        starts = np.clip(whole.starts[first : last + 1], low, high) - low
        assert whole.order is not None
        assert whole.target is not None
        here = slice(low, high)
        return Pieces(
            whole.names[first:last],
            starts,
            whole.features[here],
            whole.rows[here],
            whole.order[here],
            whole.target[here],
        )

    blocks = iter([part(0, cut, 0, 5), part(cut, int(whole.starts[-1]), 4, 10)])
    (tmp_path / "steps").mkdir()
    found, mistakes = gathered(blocks, "classification", tmp_path / "steps", split_column=None, group=[])
    assert mistakes == []
    assert found.names.tolist() == pieces.names.tolist()
    np.testing.assert_array_equal(found.lengths, np.diff(pieces.starts))
    np.testing.assert_array_equal(found.features.read(0, len(found.features)), pieces.features)


def test_many_sequences_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    take = Gatherer._take
    monkeypatch.setattr(Gatherer, "_take", lambda self, piece: (taken.append(piece.sequence), take(self, piece)))
    gathered(iter([made(random.Random(0), "classification", "none", by_step=True)]), "classification", None)
    # The first and the last may be parts.
    assert taken == ["s0", "s9"]


def test_what_fails_leaves_no_file_open(tmp_path: Path) -> None:
    def broken() -> Iterator[Pieces]:
        yield made(random.Random(0), "labelling", "none", by_step=True)
        raise DataError("a.csv: line 30 ends within a quoted value")

    with pytest.raises(DataError, match="line 30"):
        gathered(broken(), "labelling", tmp_path)
    files = [found for found in gc.get_objects() if type(found) is io.BufferedWriter]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.bin", "targets.bin"]
    assert [found.name for found in files if not found.closed and tmp_path in Path(str(found.name)).parents] == []
