"""A step that is not finite: skipped by the host or undone on the device with identical bits, without waiting."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from host_reads import reads
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from toy_trainer import dataset, trainer

from momentum_cli.data import Batch, Dataset, Split
from momentum_cli.errors import RunError
from momentum_cli.layers.orthogonal_matrix import ARITHMETIC, OnCard
from momentum_cli.optim import OPTIMIZERS
from momentum_cli.training.averaging import ParameterAverage
from momentum_cli.training.guard import LookFirst, TakeBack, guard_for
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

BAD = (1, 2, 4, 7)
"""Steps that are not finite; the first one, in which optimizers make their state, is among them."""


class Streams(Split):
    """Sequences whose state is carried from one group to the next, as that of a text."""

    @property
    def carried(self) -> bool:
        return True

    def batch(self, index: Tensor) -> Batch:
        """Make every group as large as the first, which carried state needs."""
        return super().batch(torch.arange(4) + int(index[0]) % 3)


def poison(one: Trainer, steps: tuple[int, ...] = BAD) -> None:
    """Make the loss of some steps NaN."""

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor:
        return output * math.nan if one.module.training and one.progress.step + 1 in steps else output

    one.module.head.register_forward_hook(hook)  # type: ignore[union-attr]


def on_device(data: Dataset | None = None, **sections: Any) -> Trainer:
    """Return a trainer on the CPU that does not read numbers where it would wait for a card."""
    one = trainer(data, **sections)
    one.guard = TakeBack()
    return one


def run(one: Trainer, steps: int) -> dict[str, Tensor]:
    for _ in range(steps):
        one.step()
    return {name: tensor.clone() for name, tensor in snapshot(one).tensors.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_taking_back_leaves_the_bits_of_looking_first(name: str) -> None:
    optimizer = {"name": name, "lr": 0.01} | ({"momentum": 0.9} if name == "sgd" else {})
    train = {"max_nonfinite": 10, "log_every_n_steps": 4, "clip_grad_norm": 0.5}
    results = []
    for one in (trainer(optimizer=optimizer, train=train), on_device(optimizer=optimizer, train=train)):
        poison(one)
        results.append((run(one, 8), one.progress.nonfinite_steps))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1] == 0


def test_carried_state_and_averages_are_taken_back_too() -> None:
    split = Streams(dataset(10).train.inputs, dataset(10).train.targets)  # type: ignore[attr-defined]
    data = Dataset("toy", split, None, split, 2, 3, "last", "cross_entropy", ("accuracy",), None)
    sections = {"train": {"max_nonfinite": 10, "log_every_n_steps": 100}, "model": {"cell": "sr"}}
    results = []
    for make in (trainer, on_device):
        one = make(data, **sections)
        poison(one)
        one.average = ParameterAverage(one.module)
        for step in range(1, 9):
            before = [tuple(map(torch.clone, part)) for part in one.carried]
            one.step()
            if step in BAD and before and one.progress.step_in_epoch > 1:
                assert all(map(torch.equal, one.carried[0], before[0]))
        one.read()
        assert one.progress.averaged == 8 - len(BAD)
        assert one.average is not None
        results.append(one.average.mean | {str(i): t for i, t in enumerate(one.carried[0])})
    assert same(*results)


def test_what_a_mask_does_not_reach_is_read_and_put_back() -> None:
    """State that appears in a later step, state that is replaced, and counters of Python."""

    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            group = self.param_groups[0]
            group["calls"] = group.get("calls", 0) + 1
            for param in group["params"]:
                state = self.state[param]
                state["number"] = state.get("number", 0) + 1
                state["latest"] = param.grad.clone()
                if group["calls"] > 1:
                    state.setdefault("late", torch.zeros(1))
            return super().step(closure)

    results = []
    for guard in (LookFirst(), TakeBack()):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = Counting([{"params": [weight], "calls": 0}], lr=0.1)
        seen = []
        for finite in (False, True, False, True, False):
            weight.grad = torch.full((3,), 0.5 if finite else math.nan)
            guard.step(lambda one=optimizer: one.step(), torch.tensor(finite), optimizer, ())  # type: ignore[misc]
            state = {key: str(value) for key, value in optimizer.state.get(weight, {}).items()}
            seen.append((weight.tolist(), state, optimizer.param_groups[0]["calls"]))
        results.append(seen)
    assert results[0] == results[1]
    assert results[0][-1][2] == 2


@pytest.mark.parametrize("cell", ["lstm", "momentum", "adam", "sr", "rmsprop-gru", "momentum-dtriv", "exprnn"])
def test_a_step_reads_no_number_between_two_rows_of_the_log(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
    sections = {
        "model": {"cell": cell, "backend": "reference"},
        "optimizer": {"momentum": 0.9},
        "train": {"batch_size": 2, "clip_grad_norm": 1.0, "log_every_n_steps": 4},
    }
    one = on_device(**sections)
    poison(one, (3,))
    one.step()  # the optimizer makes its state
    assert [reads(one.step) for _ in range(2)] == [[], []]
    assert (one.progress.step, one.progress.nonfinite_steps) == (3, 0)
    assert one.step().loss is not None
    assert one.progress.nonfinite_steps == 0
    assert reads(trainer(**sections).step) != []  # the count can fail


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_on_a_card_reads_no_number_after_its_first_step(name: str) -> None:
    """Tensors without numbers on a card that need not be there: a number cannot be read from them."""
    with FakeTensorMode():
        weights = [torch.nn.Parameter(torch.empty(n, 4, device="cuda")) for n in (3, 5)]
        optimizer = OPTIMIZERS[name](weights, lr=0.1, **({"momentum": 0.9} if name == "sgd" else {}))  # type: ignore[call-arg]
        guard, finite = TakeBack(), torch.ones((), dtype=torch.bool, device="cuda")

        def make() -> None:
            for weight in weights:
                weight.grad = torch.empty_like(weight)
            optimizer.step()

        with pytest.raises(DataDependentOutputException):
            guard.step(make, finite, optimizer, ())
        guard.step(make, finite, optimizer, ())
        guard.step(make, finite, optimizer, ())


def test_an_optimizer_that_counts_on_the_host_is_asked_to_step_only_where_it_counts() -> None:
    with FakeTensorMode():
        weight = torch.nn.Parameter(torch.empty(3, device="cuda"))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        optimizer.state[weight]["count"] = torch.zeros(())
        with pytest.raises(DataDependentOutputException):
            TakeBack().step(
                lambda: pytest.fail("a step before it was known to count"),
                torch.ones((), dtype=torch.bool, device="cuda"),
                optimizer,
                (),
            )


def test_the_run_ends_at_the_step_that_is_one_too_many_however_late_it_is_read() -> None:
    train = {"max_nonfinite": 1, "log_every_n_steps": 5, "batch_size": 1}
    messages, skipped = [], []
    for make in (trainer, on_device):
        one = make(train=train)
        poison(one, (2, 3, 4))
        told: list[int] = []
        one.on_skipped = lambda result, told=told: told.append(result.step)  # type: ignore[misc]
        with pytest.raises(RunError) as error:
            run(one, 5)
        messages.append(str(error.value))
        skipped.append(told)
    assert messages[0] == messages[1]
    assert messages[0].startswith("step 3: loss nan, gradient norm nan: not finite 2 steps in a row (learning rate 0.1")
    assert skipped == [[2], [2]]


def test_a_checkpoint_between_two_readings_continues_bit_for_bit() -> None:
    sections = {"optimizer": {"name": "adam", "lr": 0.01}, "train": {"log_every_n_steps": 100, "max_nonfinite": 2}}
    whole, first, second = (on_device(**sections) for _ in range(3))
    for one in (whole, first, second):
        poison(one, (2, 3, 5))
    expected = run(whole, 5)
    run(first, 2)
    restore(second, snapshot(first))
    assert second.progress.nonfinite_steps == 1
    assert same(run(second, 3), expected)
    assert second.progress.nonfinite_steps == whole.progress.nonfinite_steps == 1


def test_a_wish_to_stop_is_known_at_once_and_an_evaluation_brings_the_clock_up_to_date() -> None:
    one = on_device(train={"log_every_n_steps": 100})
    result = one.step(stop_requested=True)
    assert result.stop
    assert result.loss is None
    assert one.read() is not None
    assert not one.step().stop
    one.evaluate("test")
    assert one.read() is None


def test_the_guard_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, orthogonal = trainer().module, trainer(model={"cell": "dtriv"}).module
    assert isinstance(guard_for(torch.device("cpu"), plain), LookFirst)
    assert isinstance(guard_for(torch.device("cuda"), plain), TakeBack)
    assert isinstance(guard_for(torch.device("cuda"), orthogonal), LookFirst)  # its numbers are on the CPU
    monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
    assert isinstance(guard_for(torch.device("cuda"), orthogonal), TakeBack)


@pytest.mark.parametrize("basis_every", [1, 2, "infty"])
def test_a_basis_is_taken_back_too(basis_every: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
    sections = {
        "model": {"cell": "momentum-dtriv"},
        "cells": {"momentum-dtriv": {"basis_every": basis_every}},
        "train": {"max_nonfinite": 10, "log_every_n_steps": 100},
    }
    results = []
    for one in (trainer(**sections), on_device(**sections)):
        poison(one)
        results.append(run(one, 8))
    assert same(*results)
