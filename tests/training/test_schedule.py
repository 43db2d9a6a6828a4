"""`momentum_cli.training.schedule`: the learning rate at each step, against torch's schedulers where it has them."""

from __future__ import annotations

import pytest
import torch
from toy_trainer import trainer

from momentum_cli.recipe.sections import ScheduleOptions
from momentum_cli.training.position import Progress
from momentum_cli.training.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 0, 0.25),
        ("constant", 3, 1.0),
        ("constant", 400, 1.0),
        ("cosine", 4, 1.0),
        ("cosine", 54, 0.1 + 0.9 * 0.5),
        ("cosine", 104, 0.1),
        ("cosine", 500, 0.1),
        ("linear", 54, 0.1 + 0.9 * 0.5),
        ("step", 4 + 9, 1.0),
        ("step", 4 + 10, 0.5),
        ("step", 4 + 20, 0.25),
        ("step", 4 + 90, 0.1),
        ("exponential", 4 + 5, 0.5**0.5),
    ],
)
def test_schedules(name: str, step: int, factor: float) -> None:
    options = ScheduleOptions(name=name, warmup_steps=4, every_n_steps=10, gamma=0.5)
    assert learning_rate_factor(options, step, 104, 0.1) == pytest.approx(factor)


def test_one_cycle_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=50)
    rates = []
    for _ in range(50):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step() if len(rates) < 50 else None
    got = [learning_rate_factor(ScheduleOptions(name="onecycle"), step, 50, 1 / 25e4) for step in range(50)]
    assert got == pytest.approx(rates)
    # A warm-up of one's own, and steps past the plan.
    own = ScheduleOptions(name="onecycle", warmup_steps=5)
    assert [learning_rate_factor(own, step, 50, 0.0) for step in (0, 4, 60)] == pytest.approx([1 / 25, 1.0, 0.0])


def test_a_plateau_reduces_the_rate_when_that_of_torch_does() -> None:
    losses = [3.0, 2.0, 2.1, 1.99999, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.6, 0.7, 0.8]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=0.2)
    options, progress = ScheduleOptions(name="plateau", gamma=0.5, patience=2), Progress()
    rates, got = [], []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
        progress.take_plateau(loss, options.patience)
        got.append(learning_rate_factor(options, 9, None, 0.2, progress.reductions))
    assert got == rates
    assert rates[-1] < rates[0]


def test_schedules_say_what_they_lack() -> None:
    with pytest.raises(ValueError, match=r"train\.epochs or train\.max_steps"):
        learning_rate_factor(ScheduleOptions(name="cosine"), 1, None, 0.0)
    with pytest.raises(ValueError, match="every_n_steps"):
        learning_rate_factor(ScheduleOptions(name="step"), 1, None, 0.0)


def test_the_trainer_counts_the_evaluations_of_a_plateau() -> None:
    one = trainer(schedule={"name": "plateau", "gamma": 0.5, "patience": 0}, optimizer={"name": "sgd", "lr": 0.1})
    metric = one.dataset.metric
    for loss in (1.0, 0.5, 0.5):
        one.record({"loss": loss, metric: loss}, "validation")
    one.step()
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
