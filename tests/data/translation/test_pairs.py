"""Batches of pairs: padding, groups counted in tokens, and every pair once per epoch."""

from __future__ import annotations

import pytest
import torch

from momentum_cli.data import NOT_SCORED
from momentum_cli.data.translation.pairs import Flat, ParallelText, TokenGroups, group_sizes
from momentum_cli.data.translation.subwords import END, PADDING


def text(lengths: list[tuple[int, int]]) -> ParallelText:
    sides = [[[*range(4, 4 + pair[side] - 1), END] for pair in lengths] for side in (0, 1)]
    names = tuple(f"{s} {t}" for s, t in lengths)
    return ParallelText(Flat.of(sides[0], 99), Flat.of(sides[1], 99), names, names, tuple(range(1, len(lengths) + 1)))


def drawn(count: int) -> ParallelText:
    generator = torch.Generator().manual_seed(0)
    return text([tuple(pair) for pair in torch.randint(1, 30, (count, 2), generator=generator).tolist()])


def test_a_batch_is_padded_on_both_sides() -> None:
    batch = text([(2, 3), (4, 1), (3, 2)]).batch(torch.tensor([1, 0]))
    assert batch.inputs.tolist() == [[4, 5, 6, END], [4, END, PADDING, PADDING]]
    assert batch.targets.tolist() == [[END, NOT_SCORED, NOT_SCORED], [4, 5, END]]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [4, 2]
    assert batch.references == ("4 1", "2 3")


def test_the_first_pairs_of_a_split_are_those_of_the_whole() -> None:
    whole = drawn(20)
    head = whole.head(5)
    assert len(head) == 5
    assert head.longest == int(whole.lengths[:5].max())
    one, other = head.batch(torch.tensor([4, 2])), whole.batch(torch.tensor([4, 2]))
    assert torch.equal(one.inputs, other.inputs)
    assert len(whole.head(100)) == 20


@pytest.mark.parametrize("size", [1, 7, 30, 61, 100_000])
def test_no_group_has_more_tokens_than_it_may_unless_it_is_one_pair(size: int) -> None:
    split = drawn(200)
    groups = split.training_groups(size, 3)
    for epoch in (0, 1):
        seen = [groups.group(epoch, step) for step in range(groups.steps)]
        assert torch.cat(seen).sort().values.tolist() == list(range(200))
        for group in seen:
            batch = split.batch(group)
            widest = max(batch.inputs.shape[1], batch.targets.shape[1])
            assert len(group) == 1 or widest * len(group) <= size
            assert len(group) <= groups.rows
            assert batch.inputs.shape[1] <= groups.longest


def test_epochs_have_other_groups_and_a_seed_the_same_ones() -> None:
    costs = drawn(300).costs
    one, same, other = TokenGroups(costs, 90, 1), TokenGroups(costs, 90, 1), TokenGroups(costs, 90, 2)
    assert one.steps == other.steps
    assert all(torch.equal(one.group(4, n), same.group(4, n)) for n in range(one.steps))
    assert [one.group(0, n).tolist() for n in range(one.steps)] != [one.group(1, n).tolist() for n in range(one.steps)]
    assert [one.group(0, n).tolist() for n in range(one.steps)] != [
        other.group(0, n).tolist() for n in range(one.steps)
    ]
    # Most of a full batch is text.
    filled = [
        int(costs[one.group(0, n)].sum()) / (int(costs[one.group(0, n)].max()) * len(one.group(0, n)))
        for n in range(one.steps)
    ]
    assert sum(filled) / len(filled) > 0.9


def test_an_evaluation_covers_every_pair_once() -> None:
    split = drawn(100)
    groups = list(split.evaluation_groups(50))
    assert torch.cat(groups).sort().values.tolist() == list(range(100))
    assert [len(part) for part in split.parts(torch.arange(100), 50)] == group_sizes(split.costs.tolist(), 50)
    assert torch.equal(torch.cat(split.parts(torch.arange(100), 50)), torch.arange(100))


def test_a_place_has_the_line_and_the_sentences() -> None:
    assert text([(2, 3), (4, 1)]).place(1) == {"number": 1, "row": 2, "source": "4 1", "reference": "4 1"}
