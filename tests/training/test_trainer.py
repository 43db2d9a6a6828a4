"""The engine: clock, early stopping, target, schedules, non-finite steps, sums over batches and exact restoring."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from toy_trainer import dataset, parameters, recipe, trainer

from momentum_cli.errors import RunError
from momentum_cli.recipe.sections import EarlyStoppingOptions
from momentum_cli.runs.checkpoint import pack_optimizer, unpack_optimizer
from momentum_cli.training.clock import Clock, HostTimer
from momentum_cli.training.launch import launch
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer


class FakeTime:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_clock_counts_what_runs_and_leaves_pauses_out() -> None:
    now = FakeTime()
    clock = Clock(HostTimer(now))
    clock.start()
    now.seconds += 2.0
    assert clock.stop() == 2.0
    now.seconds += 50.0
    clock.start()
    now.seconds += 1.0
    assert clock.stop() == 3.0
    now.seconds += 10.0
    assert clock.stop() == 3.0
    clock.start()
    now.seconds += 0.5
    assert clock.stop() == 3.5


class FakeCard:
    """A device whose marks are reached when the test says so."""

    def __init__(self) -> None:
        self.marks, self.done, self.waits = 0, 0, 0

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def reached(self, mark: int) -> bool:
        return mark <= self.done

    def wait(self, mark: int) -> None:
        self.waits += 1
        self.done = mark

    def seconds(self, start: int, stop: int) -> float:
        return {1: 0.5, 3: 0.25, 5: 4.0}[start] if stop == start + 1 else math.nan


def test_the_clock_of_a_device_waits_only_to_be_read_and_is_then_exact() -> None:
    card = FakeCard()
    clock = Clock(card)
    for _ in range(3):
        clock.start()
        clock.stop()
    assert (clock.seconds, card.waits) == (0.0, 0)
    card.done = 3  # in the middle of the second pair
    assert clock.stop() == 0.5
    assert (clock.read(), card.waits) == (4.75, 1)
    assert (clock.read(), card.waits) == (4.75, 1)


def test_a_step_is_plain_gradient_descent_on_the_mean_loss() -> None:
    """Also in the last, smaller batch of the epoch and with accumulation: the group of the step counts."""
    data = dataset(10)
    one = trainer(data, train={"batch_size": 3, "accumulate": 2})
    assert one.steps_per_epoch == 2
    for _ in range(2):
        group = one._next_group()
        model = trainer(data).module
        model.load_state_dict(one.module.state_dict())
        loss = torch.nn.functional.cross_entropy(model(data.train.inputs[group])[0], data.train.targets[group])
        loss.backward()
        expected = torch.cat([(p - 0.1 * p.grad).detach().flatten() for p in model.parameters() if p.grad is not None])
        result = one.step()
        assert result.loss == pytest.approx(loss.item(), rel=1e-6)
        torch.testing.assert_close(parameters(one), expected, rtol=1e-6, atol=1e-7)
    assert (one.progress.epoch, one.progress.step_in_epoch, one.progress.samples) == (1, 0, 10)


def test_an_epoch_sees_every_sequence_once_and_each_epoch_has_its_own_order() -> None:
    one = trainer(train={"batch_size": 4})
    orders = []
    for _ in range(2):
        seen = []
        for _ in range(3):
            seen.append(one._next_group())
            one.step()
        order = torch.cat(seen)
        assert sorted(order.tolist()) == list(range(10))
        orders.append(order.tolist())
    assert orders[0] != orders[1]


def test_clipping_limits_the_norm_and_reports_it_unclipped() -> None:
    free, clipped = trainer(), trainer(train={"clip_grad_norm": 1e-3})
    before = parameters(clipped)
    assert free.step().grad_norm == pytest.approx(clipped.step().grad_norm)
    assert float((parameters(clipped) - before).norm()) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_interleaved_trainers_do_not_disturb_each_other() -> None:
    options: dict[str, Any] = {"model": {"num_layers": 2, "dropout": 0.3}}
    alone, one, other = trainer(**options), trainer(**options), trainer(train={"seed": 4}, **options)
    for _ in range(4):
        alone.step()
    for _ in range(4):
        one.step()
        other.step()
    torch.testing.assert_close(parameters(one), parameters(alone), rtol=0.0, atol=0.0)


def test_nonfinite_steps_are_skipped_then_end_the_run() -> None:
    one = trainer(train={"max_nonfinite": 2})
    bias = one.module.head.bias
    good = bias.detach().clone()
    with torch.no_grad():
        bias[0] = math.nan
    frozen = parameters(one)
    for _ in range(2):
        assert one.step().skipped
    torch.testing.assert_close(parameters(one), frozen, equal_nan=True, rtol=0.0, atol=0.0)
    with torch.no_grad():
        bias.copy_(good)
    assert not one.step().skipped
    assert one.progress.nonfinite_steps == 0
    with torch.no_grad():
        bias[0] = math.nan
    one.step()
    one.step()
    with pytest.raises(RunError, match=r"step 6: loss nan, .* not finite 3 steps in a row.*try optimizer.lr="):
        one.step()


def test_evaluation_is_the_mean_over_the_split_whatever_the_batches() -> None:
    data = dataset(10)
    results = [trainer(data, train={"eval_batch_size": size}).evaluate("test") for size in (1, 3, 100)]
    one = trainer(data)
    with torch.no_grad():
        logits = one.module(data.test.inputs)[0]
    loss = torch.nn.functional.cross_entropy(logits, data.test.targets).item()
    right = (logits.argmax(1) == data.test.targets).float().mean().item()
    for result in results:
        assert result["loss"] == pytest.approx(loss, rel=1e-6)
        assert result["accuracy"] == pytest.approx(right)


def test_evaluation_does_not_move_the_scored_clock_or_the_random_state() -> None:
    one = trainer()
    one.step()
    seconds, state = one.progress.train_seconds, torch.get_rng_state()
    one.evaluate("test")
    assert one.clock.seconds == seconds
    assert torch.equal(torch.get_rng_state(), state)


def test_the_target_is_the_first_crossing() -> None:
    one = trainer(target={"metric": "accuracy", "value": 0.5})
    for accuracy in (0.4, 0.5, 0.9):
        one.step()
        one.record({"loss": 1.0, "accuracy": accuracy}, "validation")
    target = one.progress.target
    assert target is not None
    assert (target["reached"], target["steps"], target["samples"]) == (True, 2, 8)
    assert one.progress.best is not None
    assert (one.progress.best["value"], one.progress.best["step"]) == (0.9, 3)


def test_a_value_that_is_not_a_number_is_the_best_only_until_there_is_one() -> None:
    one = trainer()
    nothing = {"loss": math.nan, "accuracy": math.nan}
    assert one.record(nothing, "validation")
    assert one.record(nothing, "validation")  # the last model counts
    assert one.record({"loss": 1.0, "accuracy": 0.1}, "validation")
    assert not one.record({"loss": 1.0, "accuracy": 0.1}, "validation")
    assert not one.record(nothing, "validation")


def test_a_tie_of_the_best_goes_to_the_lower_loss() -> None:
    one = trainer()
    pairs = [(0.9, 0.55), (0.9, 0.2), (0.9, 0.3), (0.8, 0.1), (0.9, math.nan), (0.9, 0.007), (0.95, 0.7)]
    found = []
    for accuracy, loss in pairs:
        one.step()
        found.append(one.record({"loss": loss, "accuracy": accuracy}, "validation"))
    assert found == [True, True, False, False, False, True, True]
    assert one.progress.best is not None
    assert (one.progress.best["value"], one.progress.best["step"]) == (0.95, 7)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
@pytest.mark.parametrize(
    ("values", "bad"), [([0.5, 0.6, 0.61], 1), ([0.5, 0.4, 0.3], 2), ([0.5, 0.56, 0.62], 0), ([0.5, 0.54, 0.56], 0)]
)
def test_early_stopping_counts_evaluations_without_enough_improvement(
    values: list[float], bad: int, metric: str
) -> None:
    one = trainer(train={"early_stopping": {"patience": 3, "min_delta": 0.05, "metric": metric}})
    for value in values:
        given = {"accuracy": (value, 0.0)[metric == "loss"], "loss": (1.0, 1.0 - value)[metric == "loss"]}
        one.record(given, "validation")
    assert one.progress.bad_evaluations == bad


def test_early_stopping_goes_by_the_loss_of_classes_and_by_the_headline_metric_of_values() -> None:
    stopping = EarlyStoppingOptions(patience=2)
    assert stopping.metric_for("accuracy") == "loss"
    assert [stopping.metric_for(name) for name in ("mse", "perplexity")] == ["mse", "perplexity"]
    one = trainer(train={"early_stopping": {"patience": 2}})
    for loss in (0.74, 0.6, 0.5, 0.44):  # the accuracy stands still while the loss falls
        one.record({"loss": loss, "accuracy": 0.9}, "validation")
    assert (one.progress.bad_evaluations, one.progress.stopping_metric) == (0, "loss")
    first = trainer(train={"early_stopping": {"patience": 2}})
    for loss in (math.nan, 0.7):  # a first value that is not a number counts for nothing
        first.record({"loss": loss, "accuracy": 0.1}, "validation")
    assert first.progress.bad_evaluations == 0


@pytest.mark.parametrize(("metric", "bad"), [("accuracy", 2), ("loss", 0), (None, 0)])
def test_a_checkpoint_of_an_older_version_stopped_by_the_headline_metric(metric: str | None, bad: int) -> None:
    old = trainer()
    old.step()
    old.record({"loss": 1.0, "accuracy": 0.5}, "validation")
    saved = snapshot(old)
    saved.data["progress"] |= {"bad_evaluations": 2, "stopping_value": 0.5}
    del saved.data["progress"]["stopping_metric"]
    new = trainer(train={"early_stopping": {"patience": 3, "metric": metric}})
    restore(new, saved)
    assert new.progress.bad_evaluations == bad
    new.record({"loss": 0.9, "accuracy": 0.5}, "validation")
    assert new.progress.bad_evaluations == (bad + 1 if bad else 0)


def test_packing_an_optimizer_is_reversible() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    weight.grad = torch.ones(3)
    optimizer.step()
    tensors, data = pack_optimizer(optimizer.state_dict())
    again = unpack_optimizer(tensors, data)
    assert again["param_groups"] == optimizer.state_dict()["param_groups"]
    for key, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(again["state"][0][key], value)


def test_a_step_on_the_cpu_does_not_look_for_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: looked.append("looked") or 0)
    wanted = recipe(optimizer={"name": "adam", "lr": 0.01})
    engine = Trainer(wanted, dataset(), launch(wanted, 1, 1, "cpu"))
    looked.clear()
    engine.step()
    assert looked == []
