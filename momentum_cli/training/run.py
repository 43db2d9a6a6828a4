"""One training in its folder: when it evaluates, logs, saves and stops."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, Interrupted, MomentumError, RunError
from momentum_cli.machine import environment
from momentum_cli.pictures.curves import curves
from momentum_cli.progress import RunStart, Ui
from momentum_cli.recipe.parameter_groups import unused_groups
from momentum_cli.runs.checkpoint import (
    SUFFIX,
    best_name,
    drop_other_bests,
    find_checkpoint,
    load_checkpoint,
    save_in_order,
)
from momentum_cli.runs.files import write_json
from momentum_cli.runs.metrics_log import MetricsLog
from momentum_cli.training.launch import device_name
from momentum_cli.training.record import evaluation_of, log_step, logged, metrics_on_test, outcome, step_info
from momentum_cli.training.trainer import StepResult, Trainer


class Run:
    """One training in its folder: when to evaluate, log, save and stop.

    Args:
        trainer: The engine, at the start.
        folder: The run folder.
        ui: Where progress is shown.
        received: Signals that arrived, newest last.
        resumed: Continue from the folder's last checkpoint, if there is one.
    """

    def __init__(self, trainer: Trainer, folder: Path, ui: Ui, received: list[int], *, resumed: bool) -> None:
        self.trainer = trainer
        self.folder = folder
        self.ui = ui
        self.received = received
        self.first = trainer.fabric.global_rank == 0
        self.last_path = folder / "checkpoints" / f"last{SUFFIX}"
        if resumed:
            if self.last_path.is_file():
                trainer.restore(load_checkpoint(self.last_path))
                find_checkpoint(folder)  # the best one is read at the end of the run: it must not be missing then
            elif (folder / "result.json").is_file():  # a best one alone may be left by a kill in the first evaluation
                raise DataError(f"{self.last_path} is missing, and the run can not go on without it; put it back")
            else:
                ui.note(f"{folder} holds no checkpoint yet: the run starts from its beginning", "warning")
        self._wall_before = trainer.progress.wall_seconds
        self._wall_start = time.perf_counter()
        metrics, diagnostics = trainer.objective.metrics, trainer.diagnostic_names
        self.log = MetricsLog(folder, metrics, diagnostics) if self.first else None
        if self.log is not None:
            self.log.resume(trainer.progress.step, keep_evaluation=trainer.progress.evaluated)
            drop_other_bests(self.last_path, trainer.progress.best)

    def execute(self) -> dict[str, Any]:
        """Train until the budget, the target or a signal ends it; return the result."""
        trainer, recipe = self.trainer, self.trainer.recipe
        self._announce()
        for name in unused_groups(trainer.module, recipe.optimizer.groups):
            self.ui.note(f"optimizer.groups.{name} has no effect: {recipe.model.cell} has no {name} parameters")
        reason = trainer.progress.stop_reason(recipe.train)
        while reason is None:
            interrupted = self._advance(trainer.next_evaluation())
            if interrupted:
                self._save()
                self._close()
                number = self.received[-1] if self.received else signal.SIGTERM
                raise Interrupted(
                    f"stopped by {signal.Signals(number).name} at step {trainer.progress.step}; "
                    f"continue with: momentumrnn train --resume {self.folder}",
                    number,
                )
            self._evaluate()
            reason = trainer.progress.stop_reason(recipe.train)
        if not trainer.progress.evaluated and trainer.progress.step > 0:
            self._evaluate()
        result = self._result(reason)
        if self.log is not None:
            self.log.close()
            target = None if recipe.target is None else (recipe.target.metric, recipe.target.value)
            try:
                curves(self.folder, target, self.folder / "curves.png", metric=trainer.dataset.metric)
            except MomentumError as error:
                self.ui.note(f"no picture of the curves: {error}", "warning")
            write_json(self.folder / "result.json", result)
        self.ui.finish(result)
        return result

    # The loop.

    def _advance(self, until: int) -> bool:
        """Step up to the next evaluation; return whether a signal ended it."""
        trainer, options = self.trainer, self.trainer.recipe.train
        while trainer.progress.step < until:
            try:
                result = trainer.step(bool(self.received))
            except RunError as error:
                self._close()
                raise RunError(f"{error}; {self._way_on()}") from error
            self._report(result)
            if result.stop:
                return True
            if options.max_seconds is not None and result.train_seconds >= options.max_seconds:
                break
            every = options.checkpoint_every_n_steps
            if every is not None and trainer.progress.step % every == 0 and trainer.progress.step < until:
                self._save()
        return False

    def _way_on(self) -> str:
        """Say how to go on after a divergence."""
        if self.last_path.is_file():
            return (
                f"the last checkpoint is from before: momentumrnn train --resume {self.folder} CHANGE goes on from it"
            )
        return (
            f"there was no checkpoint before it: start again with such a change (--out {self.folder} --overwrite uses "
            "this folder again)"
        )

    def _report(self, result: StepResult) -> None:
        progress, trainer = self.trainer.progress, self.trainer
        if not self.first:
            return
        info = step_info(trainer, result)
        self.ui.step(info)
        if result.skipped:
            self.ui.note(
                f"step {progress.step}: loss {result.loss:g}, gradient norm {result.grad_norm:g}: not finite, "
                f"the step was skipped ({progress.nonfinite_steps} of {trainer.recipe.train.max_nonfinite} allowed)",
                "warning",
            )
        if self.log is not None and logged(trainer):
            log_step(self.log, trainer, info, self._wall())

    def _evaluate(self) -> None:
        trainer, split = self.trainer, self.trainer.selection_split
        metrics = trainer.evaluate(split, self.ui.evaluation_progress)
        self._wall()
        best = trainer.record(metrics, split)
        evaluation = evaluation_of(trainer, metrics, best)
        if self.log is not None:
            self.log.evaluation(evaluation)
        self._save(best=best)
        self.ui.evaluated(evaluation)

    def _save(self, best: bool = False) -> None:
        """Write the last checkpoint, and a new best one."""
        progress = self.trainer.progress
        if best and progress.best is not None:
            progress.best["file"] = best_name(progress.step)
        checkpoint = self.trainer.checkpoint()
        if self.log is None:
            return
        self.log.sync()
        save_in_order(self.last_path, checkpoint, checkpoint if best else None)

    def _wall(self) -> float:
        progress = self.trainer.progress
        progress.wall_seconds = self._wall_before + time.perf_counter() - self._wall_start
        return progress.wall_seconds

    def _close(self) -> None:
        if self.log is not None:
            self.log.close()

    # What people and files get.

    def _announce(self) -> None:
        trainer, recipe = self.trainer, self.trainer.recipe
        layer, target = trainer.module.layer, trainer.progress.target
        # The backend is chosen when the first batch is seen; find it out with the shape of that batch.
        self.ui.start(
            RunStart(
                name=self.folder.name,
                run_dir=str(self.folder),
                cell=recipe.model.cell,
                backend=layer.backend_for(trainer.batch_shape, training=True),
                device=device_name(trainer.device),
                precision=recipe.train.precision,
                parameters=trainer.parameter_count,
                task=trainer.dataset.name,
                train_samples=len(trainer.dataset.train),
                epochs=recipe.train.epochs,
                total_steps=trainer.total_steps,
                steps_per_epoch=trainer.steps_per_epoch,
                start_step=trainer.progress.step,
                metric=trainer.dataset.metric,
                target=None if recipe.target is None else (recipe.target.metric, recipe.target.value),
                seed=recipe.train.seed,
                batch_size=trainer.group_size,
                max_seconds=recipe.train.max_seconds,
                best=trainer.progress.best,
                reached=target if target is not None and target["reached"] else None,
            )
        )

    def _result(self, reason: str | None) -> dict[str, Any]:
        test = metrics_on_test(self.trainer, self.last_path.parent, self.ui.evaluation_progress)
        self._wall()
        return outcome(self.trainer, self.folder, test=test, stop_reason=reason) | {"environment": environment()}
