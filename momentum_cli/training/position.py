"""The position of a run, the results of its evaluations so far, and whether they end it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from momentum_cli.metrics import better, reaches

if TYPE_CHECKING:
    from momentum_cli.recipe.recipe import Recipe
    from momentum_cli.recipe.sections import EarlyStoppingOptions, TrainOptions


@dataclass
class Progress:
    """The position of a run.

    Attributes:
        step: Optimizer steps done.
        epoch: Epochs completed.
        step_in_epoch: Steps done in the current epoch.
        samples: Training sequences seen.
        train_seconds: The scored clock: data, forward, backward and step.
        wall_seconds: Everything since the start, earlier sessions of a resumed run included.
        best: ``{metric, value, step, epoch, split, metrics, file}`` or None.
        tops: The best evaluations, in order, with ``train.keep.top`` above 1: ``{step, value, loss, file}`` each.
        target: ``{metric, value, reached, step, …}`` as in result.json, or None without a target.
        last: The latest evaluation ``{step, epoch, split, metrics}`` or None.
        bad_evaluations: Evaluations since the metric of early stopping improved by more than min_delta.
        stopping_value: Value of that metric that early stopping compares with.
        stopping_metric: That metric; None in checkpoints that older versions wrote: the headline one.
        plateau_loss: Smallest loss of an evaluation that the schedule ``plateau`` has seen.
        plateau_evaluations: Evaluations since.
        reductions: How often it has reduced the learning rate.
        nonfinite_steps: Steps in a row that were skipped because loss or gradient was not finite.
        values: The headline metric of each evaluation, kept with ``train.averaging`` only.
        averaging_from: Step after which parameters are averaged, or None.
        averaged: Steps in the average.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    samples: int = 0
    train_seconds: float = 0.0
    wall_seconds: float = 0.0
    best: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    bad_evaluations: int = 0
    stopping_value: float | None = None
    stopping_metric: str | None = None
    plateau_loss: float | None = None
    plateau_evaluations: int = 0
    reductions: int = 0
    nonfinite_steps: int = 0
    values: list[float] = field(default_factory=list)
    averaging_from: int | None = None
    averaged: int = 0
    tops: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe) -> Progress:
        """Return the position of a new run."""
        if recipe.goal is None:
            return cls()
        metric, value = recipe.goal
        target = {"metric": metric, "value": value, "reached": False}
        return cls(target=target | dict.fromkeys(("steps", "samples", "train_seconds", "wall_seconds")))

    @property
    def evaluated(self) -> bool:
        """True if the latest evaluation was at this step."""
        return self.last is not None and self.last["step"] == self.step

    @property
    def reached(self) -> bool:
        """True if there is a target and it has been reached."""
        return self.target is not None and bool(self.target["reached"])

    def take(
        self, metrics: dict[str, float], split: str, metric: str, stopping: EarlyStoppingOptions | None = None
    ) -> bool:
        """Take in an evaluation: best, target, early stopping.

        Args:
            metrics: All metrics of the evaluation, the loss among them.
            split: The evaluated split.
            metric: The headline metric.
            stopping: The rule of early stopping; None: there is none.

        Returns:
            Whether it is the best so far: a better headline metric, or the same one with a lower loss. As long as that
                metric has never been a number, every evaluation is the best, so that a run always leaves a usable
                model.
        """
        value = metrics[metric]
        self.last = {"step": self.step, "epoch": self.epoch, "split": split, "metrics": metrics}
        if self.best is None or math.isnan(self.best["value"]):
            best = True
        elif value == self.best["value"]:
            # Accuracies on small validation sets tie, and the first of the tied models is the least trained.
            best = better("loss", metrics["loss"], self.best["metrics"]["loss"])
        else:
            best = better(metric, value, self.best["value"])
        if best:
            self.best = {"metric": metric, "value": value, **self.last}
        target = self.target
        if target is not None and not target["reached"]:
            name = target["metric"]
            if name in metrics and reaches(name, metrics[name], target["value"]):
                position = {"steps": self.step, "samples": self.samples}
                clocks = {"train_seconds": self.train_seconds, "wall_seconds": self.wall_seconds}
                self.target = target | {"reached": True} | position | clocks
        if stopping is not None:
            self._take_stopping(metrics, metric, stopping)
        return best

    def take_top(self, metrics: dict[str, float], metric: str, count: int, file: str) -> bool:
        """Return True if an evaluation is one of the `count` best, by the order of `take`; then it is in `tops`."""
        value, loss = metrics[metric], metrics["loss"]
        if math.isnan(value):
            return False
        place = 0
        while place < len(self.tops):
            other = self.tops[place]
            if better(metric, value, other["value"]) or (
                value == other["value"] and better("loss", loss, other["loss"])
            ):
                break
            place += 1
        self.tops.insert(place, {"step": self.step, "value": value, "loss": loss, "file": file})
        del self.tops[count:]
        return place < count

    def _take_stopping(self, metrics: dict[str, float], headline: str, stopping: EarlyStoppingOptions) -> None:
        self.stopping_metric = metric = stopping.metric_for(headline)
        margin = stopping.min_delta if better(metric, 1.0, 0.0) else -stopping.min_delta
        value, before = metrics[metric], self.stopping_value
        if before is None or math.isnan(before) or better(metric, value, before + margin):
            self.stopping_value, self.bad_evaluations = value, 0
        else:
            self.bad_evaluations += 1

    def take_plateau(self, loss: float, patience: int) -> None:
        """Count a reduction of the learning rate after more than ``patience`` evaluations without a smaller loss.

        A loss counts as smaller by at least a ten-thousandth, as in `torch.optim.lr_scheduler.ReduceLROnPlateau`.
        """
        if self.plateau_loss is None or math.isnan(self.plateau_loss) or loss < self.plateau_loss * (1.0 - 1e-4):
            self.plateau_loss, self.plateau_evaluations = loss, 0
            return
        self.plateau_evaluations += 1
        if self.plateau_evaluations > patience:
            self.reductions, self.plateau_evaluations = self.reductions + 1, 0

    def resume(self, headline: str, stopping: EarlyStoppingOptions | None) -> None:
        """Begin early stopping again where its metric is not the one that the run stopped by so far."""
        if stopping is not None and stopping.metric_for(headline) != (self.stopping_metric or headline):
            self.stopping_metric, self.stopping_value, self.bad_evaluations = None, None, 0

    def stop_reason(self, options: TrainOptions) -> str | None:
        """Return which of the options ends the run here: target, early_stopping or a budget; None where none does."""
        if options.stop_at_target and self.reached:
            return "target"
        if options.early_stopping is not None and self.bad_evaluations >= options.early_stopping.patience:
            return "early_stopping"
        if options.epochs is not None and self.epoch >= options.epochs:
            return "epochs"
        if options.max_steps is not None and self.step >= options.max_steps:
            return "max_steps"
        if options.max_seconds is not None and self.train_seconds >= options.max_seconds:
            return "max_seconds"
        return None

    def same_target(self, other: Progress) -> bool:
        """Return True if both runs have a target, and it is the same one, reached or not."""
        if self.target is None or other.target is None:
            return False
        return all(self.target[key] == other.target[key] for key in ("metric", "value"))
