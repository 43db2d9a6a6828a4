"""One run in its folder: opened, stepped, evaluated and saved in an order that survives a kill at any moment.

recipe.yaml, environment.json     `record_start`
metrics.jsonl, metrics.csv        one row per logged step and per evaluation
checkpoints/                      the last state, the states of the best evaluations, which the last one names, and
                                  those of every n-th step

Rows are flushed to the disk before the checkpoint that counts them, and a best checkpoint before the last one that
names it. Everything newer than the last checkpoint is dropped when the run is opened again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from momentum_cli.loggers.protocol import LoggedRun
from momentum_cli.loggers.tracking import Tracking, warn
from momentum_cli.machine import environment
from momentum_cli.progress import Evaluation
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.runs.checkpoint import (
    SUFFIX,
    Checkpoint,
    best_name,
    drop_others,
    load_checkpoint,
    save_in_order,
    step_name,
)
from momentum_cli.runs.files import write_json
from momentum_cli.runs.folder import RUN_DIRECTORIES
from momentum_cli.runs.metrics_log import MetricsLog
from momentum_cli.runs.numbered import check_no_links
from momentum_cli.training.readings import StepResult
from momentum_cli.training.record import evaluation_of, log_step, step_info
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.tally import Tally
from momentum_cli.training.trainer import Trainer

PUBLISHED = ("recipe.yaml", "environment.json", "result.json", "metrics.csv", "curves.png")
"""The files of a run that trackers store, and the best checkpoint."""


class Session:
    """A run at its beginning, or at the last checkpoint in its folder.

    Every process makes one and calls the same methods; only the first process writes.

    Args:
        trainer: A new trainer for the run's recipe.
        folder: The run folder, after `record_start` unless the run may still be refused.
        on_progress: Called during evaluations; see `Trainer.evaluate`.
        now: Returns monotonic seconds.
        group: Folder of the benchmark or the search that the run belongs to; trackers show its runs together.
        on_warning: Receives the warning about a tracker that failed.

    Attributes:
        log: The metrics log of the first process; None in the others.
        tracking: The trackers of the recipe; none in other processes.

    Raises:
        RecipeError: The checkpoint does not fit the recipe; the folder is then unchanged.
        DataError: The checkpoint or the metrics are damaged, or a directory of the run is a link.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        *,
        on_progress: Callable[[int, int, str], None] = lambda done, total, split: None,
        now: Callable[[], float] = time.perf_counter,
        group: Path | None = None,
        on_warning: Callable[[str], None] = warn,
    ) -> None:
        check_no_links(folder, RUN_DIRECTORIES)
        self.trainer = trainer
        self.last_path = last_checkpoint(folder)
        self._on_progress = on_progress
        self._now = now
        # Best checkpoints that are not on the disk yet: the current state, and copies of earlier ones, by name.
        self._current: str | None = None
        self._bests: dict[str, Checkpoint] = {}
        if self.last_path.is_file():
            restore(trainer, load_checkpoint(self.last_path))
        self.log: MetricsLog | None = None
        self._folder = folder
        recipe, progress = trainer.recipe, trainer.progress
        first = trainer.fabric.global_rank == 0
        logged = LoggedRun(folder, trainer.dataset.name, recipe.dump(), progress.step, group)
        self.tracking = Tracking(recipe.train.loggers if first else (), logged, on_warning)
        if trainer.fabric.global_rank == 0:
            self.log = MetricsLog(folder, trainer.objective.metrics, trainer.diagnostic_names)
            self.log.resume(trainer.progress.step, keep_evaluation=trainer.progress.evaluated)
            drop_others(self.last_path, asdict(trainer.progress))
        self.start_wall()

    def start_wall(self) -> None:
        """Count wall seconds from now on; the time since `count_wall` was not spent on this run."""
        self._since = self._now()

    def count_wall(self) -> None:
        """Add the time since the last count to the run's wall seconds."""
        now = self._now()
        self.trainer.progress.wall_seconds += now - self._since
        self._since = now

    def step(self, stop_requested: bool = False) -> StepResult:
        """Make an optimizer step, log it, and keep its checkpoint if the recipe asks for it; see `Trainer.step`."""
        if self._current is not None:
            best = snapshot(self.trainer)
            # The tensors are the parameters themselves, which the step changes.
            copied = Checkpoint({name: t.clone() for name, t in best.tensors.items()}, best.data)
            self._bests, self._current = {**self._bests, self._current: copied}, None
        result = self.trainer.step(stop_requested)
        self.count_wall()
        if self.log is not None and self.trainer.logs_now:
            info = step_info(self.trainer, result)
            log_step(self.log, self.trainer, info)
            self.tracking.step(info)
        every = self.trainer.recipe.train.keep.every_n_steps
        if every is not None and self.trainer.progress.step % every == 0:
            self._save({step_name(self.trainer.progress.step)})
        return result

    def evaluate(self) -> Evaluation:
        """Evaluate the selection split, record and log it; the next `save` writes its checkpoint if it is the best."""
        trainer, split = self.trainer, self.trainer.selection_split
        metrics = trainer.evaluate(split, self._on_progress)
        self.count_wall()
        best, name, top = (
            trainer.record(metrics, split),
            best_name(trainer.progress.step),
            trainer.recipe.train.keep.top,
        )
        if best and trainer.progress.best is not None:
            trainer.progress.best["file"] = name
        if (top > 1 and trainer.progress.take_top(metrics, trainer.dataset.metric, top, name)) or best:
            self._current = name
        evaluation = evaluation_of(trainer, metrics, best)
        if self.log is not None:
            self.log.evaluation(evaluation)
            self.tracking.evaluated(evaluation)
        return evaluation

    def save(self) -> None:
        """Write checkpoints from which the run continues exactly: first new best ones, then the last one."""
        self._save(set() if self._current is None else {self._current})

    def _save(self, names: set[str]) -> None:
        """Save, with the current state under further names."""
        last = snapshot(self.trainer)
        others = self._bests | dict.fromkeys(names, last)
        self._current, self._bests = None, {}
        if self.log is not None:
            self.log.sync()
            save_in_order(self.last_path, last, others)

    def test_metrics(self) -> dict[str, float] | None:
        """Return the metrics of the best parameters, which must be saved, on the test set; None without a test set."""
        best = self.trainer.progress.best
        if best is not None and self.trainer.selection_split == "test":
            return dict(best["metrics"])
        found = self.test()
        return None if found is None else found.metrics()

    def test(self, *, keep: bool = False) -> Tally | None:
        """Evaluate the best parameters, which must be saved, on the test set; None without any.

        Args:
            keep: As for `momentum_cli.training.tally.Tally`.
        """
        trainer, best = self.trainer, self.trainer.progress.best
        if best is None:
            return None
        # Only the first process writes the checkpoint that all of them read here.
        trainer.fabric.barrier()
        chosen = load_checkpoint(self.last_path.with_name(best["file"]))
        shifts = chosen.data["dataset"].get("calibration")
        return trainer.tally("test", self._on_progress, chosen.group("model"), keep=keep, shifts=shifts)

    def publish(self, result: Mapping[str, Any]) -> None:
        """Give the result and the files of a run that is over to its trackers."""
        best = self.trainer.progress.best
        names = [] if best is None else [f"checkpoints/{best['file']}"]
        self.tracking.finish(result, [self._folder / name for name in (*PUBLISHED, *names)])

    def close(self) -> None:
        """Close the metrics and the trackers; calling it twice does no harm."""
        self.tracking.close()
        if self.log is not None:
            self.log.close()


def last_checkpoint(folder: Path) -> Path:
    """Return the path of the checkpoint from which a run continues, which may not exist yet."""
    return folder / "checkpoints" / f"last{SUFFIX}"


def record_start(recipe: Recipe, folder: Path) -> None:
    """Write the recipe and the environment of a run, and delete the temporary files of a killed process."""
    for orphan in (*folder.glob(".*.tmp"), *folder.glob("checkpoints/.*.tmp")):
        orphan.unlink(missing_ok=True)
    recipe.save(folder / "recipe.yaml")
    write_json(folder / "environment.json", environment())
