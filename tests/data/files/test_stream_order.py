"""The order of streamed sequences: each drawn once, every process from its own row groups, and a few at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from momentum_cli.data.batching import Sharing
from momentum_cli.data.files.stream_order import StreamedGroups
from momentum_cli.errors import DataError

COUNTS = np.array([7, 3, 0, 11, 5, 1, 9, 4])
SHARINGS = [(8, Sharing(8, 1)), (8, Sharing(8, 2)), (9, Sharing(3, 2)), (10, Sharing(5, 3)), (64, Sharing(64, 7))]


def groups(size: int, sharing: Sharing | None, held: int = 2, counts: np.ndarray = COUNTS) -> StreamedGroups:
    return StreamedGroups(counts, 5, size, 3, held, sharing)


def drawn(of: StreamedGroups, epoch: int) -> list[torch.Tensor]:
    return [of.group(epoch, step) for step in range(of.steps)]


def of_process(found: list[torch.Tensor], sharing: Sharing, process: int) -> list[int]:
    """The sequences that a process takes, in order: of each part every `processes`-th."""
    parts = itertools.chain.from_iterable(torch.split(group, sharing.part) for group in found)
    return [int(one) for part in parts for one in part[process :: sharing.processes]]


def row_groups(sequences: list[int], counts: np.ndarray = COUNTS) -> list[int]:
    """The row group of each, runs of one taken together."""
    numbers = np.searchsorted(np.cumsum(counts), sequences, side="right").tolist()
    return [number for number, _ in itertools.groupby(numbers)]


@pytest.mark.parametrize(("size", "sharing"), SHARINGS)
def test_every_sequence_is_drawn_once_in_each_epoch(size: int, sharing: Sharing) -> None:
    of = groups(size, sharing)
    for epoch in range(3):
        found = drawn(of, epoch)
        assert [len(group) for group in found[:-1]] == [size] * (of.steps - 1)
        assert sorted(torch.cat(found).tolist()) == list(range(40))
    assert of.steps == -(-40 // size)


@pytest.mark.parametrize(("size", "sharing"), SHARINGS)
def test_two_processes_read_at_most_the_row_group_on_their_cut(size: int, sharing: Sharing) -> None:
    for epoch in range(5):
        found = drawn(groups(size, sharing), epoch)
        read = [set(row_groups(of_process(found, sharing, process))) for process in range(sharing.processes)]
        assert set.union(*read) == {0, 1, 3, 4, 5, 6, 7}
        # Of W processes one cut after the other has at most one row group on it.
        assert sum(map(len, read)) <= 7 + sharing.processes - 1


def test_a_process_opens_each_row_group_once_if_it_holds_a_pool() -> None:
    counts, sharing = np.full(12, 20), Sharing(6, 2)
    found = drawn(groups(6, sharing, held=3, counts=counts), 0)
    for process in range(2):
        sequences = of_process(found, sharing, process)
        numbers = np.searchsorted(np.cumsum(counts), sequences, side="right")
        for begin in range(0, 120, 60):
            # Three row groups are shuffled together, and then no longer needed.
            assert len(set(numbers[begin : begin + 60])) == 3
        assert set(numbers[:60]).isdisjoint(numbers[60:])
        assert len(row_groups(sequences[:60], counts)) > 20


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    sharing = Sharing(8, 2)
    whole = drawn(groups(8, sharing), 1)
    # A run that begins in the middle of an epoch, as after a kill.
    middle = groups(8, sharing)
    assert all(torch.equal(middle.group(1, step), whole[step]) for step in range(3, 5))
    assert not torch.equal(torch.cat(whole), torch.cat(drawn(groups(8, sharing), 2)))
    other = StreamedGroups(COUNTS, 5, 8, 4, 2, sharing)
    assert not torch.equal(torch.cat(whole), torch.cat(drawn(other, 1)))


def test_all_row_groups_held_are_a_permutation_of_all_sequences() -> None:
    """The mean distance of neighbours in a random permutation of n is (n + 1) / 3."""
    counts = np.full(100, 100)
    order = torch.cat(drawn(groups(500, None, held=100, counts=counts), 0)).double()
    assert float(order.diff().abs().mean()) == pytest.approx(10_001 / 3, rel=0.03)


def test_fewer_row_groups_than_processes_are_refused() -> None:
    with pytest.raises(DataError, match="must be at least 8, one for each process, got 7; train with fewer processes"):
        groups(16, Sharing(16, 8))
