"""Epoch orders, held-out sequences and random streams are pure functions of their arguments."""

import pytest
import torch

from momentum_cli.data import Split
from momentum_cli.data.batching import SEEDS, check_seed, epoch_order, stratified_holdout, stream


def test_an_epoch_order_is_a_permutation_and_depends_on_its_arguments_alone() -> None:
    torch.manual_seed(1)
    first = epoch_order(1000, seed=3, epoch=7)
    torch.rand(17)
    assert torch.equal(first, epoch_order(1000, seed=3, epoch=7))
    assert torch.equal(first.sort().values, torch.arange(1000))


def test_drawing_an_order_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    epoch_order(100, 0, 0)
    stratified_holdout(torch.arange(100) % 10, 20, stream("x"))
    assert torch.equal(torch.rand(3), expected)


def test_orders_of_different_seeds_and_epochs_are_unrelated() -> None:
    n = 10_000
    orders = [epoch_order(n, seed, epoch) for seed in range(4) for epoch in range(4)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            # the number of common positions of two random permutations is Poisson(1): P(> 12) < 1e-10
            assert int((one == other).sum()) <= 12


def test_every_position_is_equally_likely() -> None:
    counts = torch.zeros(5, 5)
    for epoch in range(2000):
        counts[torch.arange(5), epoch_order(5, 0, epoch)] += 1
    # each count is Binomial(2000, 1/5): mean 400, standard deviation 17.9
    assert float((counts - 400).abs().max()) < 5 * 17.9


def test_separate_sequences_are_trained_on_once_an_epoch_and_evaluated_in_order() -> None:
    data = Split(torch.zeros(10, 3, 1), torch.zeros(10, dtype=torch.int64))
    assert not data.carried
    groups = data.training_groups(4, seed=1)
    assert (groups.steps, groups.longest) == (3, 3)
    drawn = [[groups.group(epoch, step) for step in range(3)] for epoch in (0, 1, 0)]
    assert [len(group) for group in drawn[0]] == [4, 4, 2]
    first, second, again = (torch.cat(epoch) for epoch in drawn)
    assert torch.equal(first.sort().values, torch.arange(10))
    assert torch.equal(again, first)
    assert not torch.equal(second, first)
    assert [group.tolist() for group in data.evaluation_groups(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_streams_of_different_keys_differ_and_keys_are_not_run_together() -> None:
    keys: list[tuple[int | str, ...]] = [("a", 1, 2), ("a", 12), ("a", 2, 1), ("b", 1, 2), ("a1", 2)]
    draws = {tuple(torch.rand(4, generator=stream(*key)).tolist()) for key in keys}
    assert len(draws) == len(keys)


def test_seeds_at_which_the_generator_would_repeat_itself_are_refused() -> None:
    low, high = (torch.rand(3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + SEEDS))
    assert torch.equal(low, high)  # the reason for the limit
    check_seed("seed", SEEDS - 1)
    for wrong in (-1, SEEDS):
        with pytest.raises(ValueError, match=rf"data_seed must be in \[0, 4294967295\], got {wrong}"):
            check_seed("data_seed", wrong)


@pytest.mark.parametrize("held", [1, 7, 50, 333, 999])
def test_held_out_classes_keep_their_share(held: int) -> None:
    classes = torch.multinomial(
        torch.tensor([0.5, 0.3, 0.15, 0.05]), 1000, replacement=True, generator=stream("classes")
    )
    kept, out = stratified_holdout(classes, held, stream("split", held))
    assert len(out) == held
    assert torch.equal(torch.cat((kept, out)).sort().values, torch.arange(1000))
    assert torch.equal(kept, kept.sort().values)
    assert torch.equal(out, out.sort().values)
    for label in range(4):
        exact = held * int((classes == label).sum()) / 1000
        assert abs(int((classes[out] == label).sum()) - exact) < 1


def test_who_is_held_out_depends_on_the_generator_and_is_not_the_first_of_each_class() -> None:
    classes = torch.arange(1000) % 10
    one, same, other = (stratified_holdout(classes, 100, stream("split", seed))[1] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert int((one < 100).sum()) < 30  # 10 expected, standard deviation 2.8


@pytest.mark.parametrize("held", [0, 10, -1])
def test_a_split_that_leaves_nothing_is_refused(held: int) -> None:
    with pytest.raises(ValueError, match=rf"in \[1, 9\], got {held}"):
        stratified_holdout(torch.zeros(10, dtype=torch.int64), held, stream("x"))


@pytest.mark.parametrize(("held", "quota"), [(5, [3, 2, 0]), (3, [2, 1, 0]), (1, [1, 0, 0]), (9, [5, 3, 1])])
def test_places_left_over_go_to_the_largest_remainders(held: int, quota: list[int]) -> None:
    # shares of 6, 3 and 1 in 10: 5 -> 3, 1.5, 0.5; 3 -> 1.8, 0.9, 0.3; 1 -> 0.6, 0.3, 0.1; 9 -> 5.4, 2.7, 0.9
    classes = torch.tensor([0] * 6 + [1] * 3 + [2])
    _, out = stratified_holdout(classes, held, stream("x"))
    assert torch.bincount(classes[out], minlength=3).tolist() == quota


def test_those_held_out_of_a_class_are_its_first_in_shuffled_order() -> None:
    """Against a loop over the classes; some have one member, some none."""
    classes = torch.randint(40, (300,), generator=stream("classes")) ** 2
    _, out = stratified_holdout(classes, 90, stream("x"))
    shuffled, wanted = torch.randperm(300, generator=stream("x")), []
    for label in classes.unique():
        members = [number for number in shuffled.tolist() if classes[number] == label]
        wanted += members[: int((classes[out] == label).sum())]
    assert sorted(wanted) == out.tolist()
