"""Samples in columns, cut into batches: in order, of one length, none lost, each with its own values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from momentum_cli.inference.predict.reader import _batches
from momentum_cli.inference.predict.samples import Broken, Places, Samples
from momentum_cli.progress import NullUi


class Counting(NullUi):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def evaluation_progress(self, done: int, total: int, unit: str = "inputs") -> None:
        self.seen.append((done, total))


def block(source: str, first: int, count: int, steps: int) -> Samples:
    """Return samples whose every value tells their number."""
    rows = [*range(first, first + count)]
    inputs = np.repeat(np.array(rows, np.float32)[:, None, None], steps, 1)
    past = [{"a": [float(row)]} for row in rows]
    places = Places([source] * count, rows, [f"n{row}" for row in rows], [{"step": row} for row in rows])
    return Samples(places, inputs, [*inputs], past, rows)


# Of each file the length of its samples, one block after the other, and how many they are.
FILES = {"a": [(2, 5), (2, 1), (3, 4)], "b": [(3, 2), (2, 9)]}


def read(source: str) -> Iterator[Samples | Broken]:
    first = 0
    for steps, count in FILES[source]:
        yield block(source, first, count, steps)
        first += count
    yield Broken(source, first, "bad")


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_batches_are_of_one_length_and_have_every_sample_once(size: int) -> None:
    found = list(_batches([*FILES], read, size, NullUi()))
    assert [(item.source, item.row) for item in found if isinstance(item, Broken)] == [("a", 10), ("b", 11)]
    batches = [item for item in found if isinstance(item, Samples)]
    numbers = []
    for batch in batches:
        assert 1 <= len(batch) <= size
        for row, place in enumerate(batch.places.records()):
            number = place["row"]
            assert place == {"source": place["source"], "row": number, "sequence": f"n{number}", "step": number}
            assert (batch.inputs[row] == number).all()
            assert (batch.wanted[row] == number).all()
            assert (batch.pasts[row], batch.groups[row]) == ({"a": [number]}, number)
            numbers.append((place["source"], number, batch.inputs.shape[1]))
    ends = {source: np.repeat(*np.array(blocks).T).tolist() for source, blocks in FILES.items()}
    assert numbers == [(source, n, steps) for source, lengths in ends.items() for n, steps in enumerate(lengths)]
    # Lengths 2 (6 samples), 3 (6 samples of both files) and 2 (9).
    assert len(batches) == sum(-(-count // size) for count in (6, 6, 9))


def test_progress_counts_samples_of_one_file_and_files_of_several() -> None:
    ui = Counting()
    list(_batches(["a"], read, 3, ui))
    assert ui.seen == [(3, 3), (6, 6), (9, 9)]
    ui = Counting()
    list(_batches(["a", "b"], read, 6, ui))
    assert ui.seen == [(0, 6), (1, 13), (1, 19)]
