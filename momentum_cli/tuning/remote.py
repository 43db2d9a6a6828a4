"""A trial on a worker of a cluster; workers do not need Optuna."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from momentum_cli.cluster.order import Channel, seldom
from momentum_cli.data import Dataset
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.training.launch import launch
from momentum_cli.tuning.trial import Position, Trial, facts_of, failed


@dataclass(frozen=True)
class TrialJob:
    """Trains a trial; see `momentum_cli.cluster.order.Job`.

    Args:
        recipe: Recipe of the trial.
        metric: The compared metric.
        accelerator: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        judged: Every evaluation waits for the answer whether it is the last one: the search has a pruner.
    """

    recipe: Recipe
    metric: str
    accelerator: str
    judged: bool

    def __call__(self, dataset: Dataset, folder: Path, channel: Channel) -> dict[str, Any] | None:
        """Return the facts about the trial, see `momentum_cli.tuning.trial.facts_of`; None if it was stopped."""

        def show(position: Position) -> None:
            channel.tell(told(position))

        def judge(position: Position) -> bool:
            report = told(position) | {"evaluated": True}
            if self.judged:
                return bool(channel.ask(report))
            channel.tell(report)
            return False

        folder.mkdir()
        try:
            fabric = launch(self.recipe, 1, 1, self.accelerator)
            trial = Trial(self.recipe, folder, dataset, fabric, metric=self.metric, judge=judge, show=seldom(show))
            result = trial.run(channel.stopped)
            return None if result is None else facts_of(result, folder, self.metric)
        except Exception as error:
            return failed(folder, error)


def told(position: Position) -> dict[str, Any]:
    """Return a position as a report; see `heard`."""
    return {"position": asdict(position)}


def heard(report: dict[str, Any]) -> Position:
    """Return the position in a report."""
    position = report["position"]
    return Position(**position | {"values": [(step, value) for step, value in position["values"]]})
