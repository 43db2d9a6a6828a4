"""The adding and the copying problem against their definitions."""

import math

import pytest
import torch

from momentum_cli.data import Adding, Copying, Split
from momentum_cli.training.evaluation import baselines

SMALL = {"train_size": 4000, "validation_size": 50, "test_size": 70}


@pytest.mark.parametrize("length", [2, 7, 50])
def test_adding_has_one_mark_a_half_and_targets_the_marked_sum(length: int) -> None:
    dataset = Adding(length=length, **SMALL).load()
    values, marks = dataset.train.inputs.double().unbind(2)
    assert set(marks.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(marks[:, : length // 2].sum(1), torch.ones(4000).double())
    assert torch.equal(marks[:, length // 2 :].sum(1), torch.ones(4000).double())
    torch.testing.assert_close((values * marks).sum(1), dataset.train.targets.double(), rtol=1e-6, atol=0)
    assert float(values.min()) >= 0
    assert float(values.max()) < 1


def test_adding_marks_every_step_of_a_half_and_spreads_values_evenly() -> None:
    dataset = Adding(length=10, **SMALL).load()
    values, marks = dataset.train.inputs.unbind(2)
    # Binomial(4000, 1/5): mean 800, standard deviation 25.3
    assert float((marks.sum(0) - 800).abs().max()) < 5 * 25.3
    # 40,000 uniform values in ten bins: mean 4000, standard deviation 60
    assert float((torch.histc(values, 10, 0, 1) - 4000).abs().max()) < 5 * 60


def test_always_answering_one_has_the_stated_error_on_adding() -> None:
    dataset = Adding(length=4, train_size=50_000, validation_size=1, test_size=1).load()
    squared = (dataset.train.targets - 1).square()
    deviation = float(squared.std()) / math.sqrt(50_000)
    assert abs(float(squared.mean()) - 1 / 6) < 5 * deviation
    (naive,) = baselines(dataset, dataset.train, 1000)
    assert naive["name"] == "training mean"
    # The mean of the training targets is as good as any constant on them.
    assert naive["metrics"]["mse"] == pytest.approx(float(dataset.train.targets.var(correction=0)), rel=1e-5)
    assert (dataset.output, dataset.loss, dataset.metric, dataset.output_size) == ("last", "mse", "mse", 1)


@pytest.mark.parametrize(("delay", "symbols", "copy_length"), [(1, 2, 1), (5, 8, 10), (30, 3, 4)])
def test_copying_is_the_sequence_of_the_paper(delay: int, symbols: int, copy_length: int) -> None:
    dataset = Copying(delay=delay, symbols=symbols, copy_length=copy_length, **SMALL).load()
    inputs = dataset.train.inputs
    assert inputs.shape == (4000, delay + 2 * copy_length, symbols + 2)
    assert torch.equal(inputs.sum(2), torch.ones(inputs.shape[:2], dtype=torch.int64))
    blank, delimiter = symbols, symbols + 1
    for tokens, targets in zip(inputs[:50].argmax(2).tolist(), dataset.train.targets[:50].tolist(), strict=True):
        string = tokens[:copy_length]
        assert max(string) < symbols
        assert tokens[copy_length:] == [blank] * (delay - 1) + [delimiter] + [blank] * copy_length
        assert targets == [blank] * (delay + copy_length) + string


def test_copying_draws_symbols_evenly_and_independently() -> None:
    dataset = Copying(delay=1, **SMALL).load()
    string = dataset.train.targets[:, -10:]
    # 40,000 draws of 8 symbols: mean 5000, standard deviation 66; neighbours agree with probability 1/8
    assert float((torch.bincount(string.flatten()) - 5000).abs().max()) < 5 * 66
    agree = (string[:, 1:] == string[:, :-1]).double()
    assert abs(float(agree.mean()) - 1 / 8) < 5 * math.sqrt(7 / 64 / agree.numel())


def test_the_predictor_without_memory_has_the_stated_loss_on_copying() -> None:
    dataset = Copying(delay=13, symbols=5, copy_length=3, **SMALL).load()
    (naive,) = baselines(dataset, dataset.train, 1000)
    # K log S / T: nothing at the blanks, which are certain, and a guess among five symbols at the last three steps.
    assert naive["metrics"]["loss"] == pytest.approx(3 * math.log(5) / 19, rel=1e-6)
    assert naive["name"] == "blanks, then a guess"
    assert dataset.output == "every"
    assert dataset.output_size == 6
    assert dataset.labels == ("0", "1", "2", "3", "4", "blank")


def test_copying_takes_its_metric_over_the_copied_symbols() -> None:
    dataset = Copying(delay=9, **SMALL).load()
    assert dataset.metric_steps is not None
    counted = dataset.test.targets[:, dataset.metric_steps]
    assert counted.shape == (70, 10)
    assert int(counted.max()) < 8  # no blank among them


def contents(split: Split | None) -> tuple[torch.Tensor, torch.Tensor]:
    assert split is not None
    return split.inputs, split.targets


@pytest.mark.parametrize("task", [Adding, Copying])
def test_data_depend_on_the_data_seed_alone(task: type[Adding] | type[Copying]) -> None:
    torch.manual_seed(1)
    one = task(**SMALL).load()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    same = task(**SMALL).load()
    assert torch.equal(before, torch.random.get_rng_state())
    other = task(**SMALL, data_seed=1).load()
    for name in ("train", "validation", "test"):
        a, b, c = (contents(getattr(dataset, name)) for dataset in (one, same, other))
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
        assert not torch.equal(a[0], c[0])


@pytest.mark.parametrize("task", [Adding, Copying])
def test_splits_share_no_sequence_and_resizing_one_keeps_the_others(task: type[Adding] | type[Copying]) -> None:
    dataset = task(train_size=50, validation_size=50, test_size=50).load()
    inputs = torch.cat([contents(split)[0] for split in (dataset.train, dataset.validation, dataset.test)])
    assert len(inputs.flatten(1).unique(dim=0)) == 150
    larger = task(train_size=90, validation_size=50, test_size=50).load()
    assert torch.equal(contents(dataset.validation)[0], contents(larger.validation)[0])
    assert torch.equal(dataset.test.inputs, larger.test.inputs)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (Adding, {"length": 1}, "`length` must be at least 2, got 1"),
        (Adding, {"train_size": 0}, "`train_size` must be at least 1, got 0"),
        (Adding, {"data_seed": 2**32}, "data_seed must be in"),
        (Copying, {"delay": 0}, "`delay` must be at least 1, got 0"),
        (Copying, {"symbols": 1}, "`symbols` must be at least 2, got 1"),
        (Copying, {"symbols": 255}, "`symbols` must be at most 254, got 255"),
        (Copying, {"copy_length": 0}, "`copy_length` must be at least 1, got 0"),
        (Copying, {"test_size": -3}, "`test_size` must be at least 1, got -3"),
    ],
)
def test_options_out_of_range_are_refused(task: type, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task(**options)
