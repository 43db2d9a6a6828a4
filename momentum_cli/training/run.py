"""The loop of one training: when it evaluates, logs, saves and stops."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, Interrupted, MomentumError, RunError
from momentum_cli.machine import environment
from momentum_cli.metrics import METRICS, signatures
from momentum_cli.pictures.curves import curves
from momentum_cli.progress import RunStart, Ui
from momentum_cli.recipe.parameter_groups import unused_groups
from momentum_cli.runs.card import write_card
from momentum_cli.runs.checkpoint import find_checkpoint
from momentum_cli.runs.files import write_json
from momentum_cli.training.evaluation import baselines
from momentum_cli.training.launch import device_name
from momentum_cli.training.readings import StepResult
from momentum_cli.training.record import card_of, outcome, step_info, unmeasured
from momentum_cli.training.session import Session, last_checkpoint
from momentum_cli.training.trainer import Trainer


class Run:
    """One training: a session that is saved at every evaluation and ends with its budget, its target or a signal.

    Args:
        trainer: The engine, at the start.
        folder: The run folder.
        ui: Where progress is shown.
        received: Signals that arrived, newest last.
        resumed: Continue from the folder's last checkpoint, if there is one.

    Raises:
        DataError: A checkpoint that the resumed run needs is missing.
    """

    def __init__(self, trainer: Trainer, folder: Path, ui: Ui, received: list[int], *, resumed: bool) -> None:
        if resumed:
            _check_checkpoints(folder, ui)
        self.session = Session(
            trainer,
            folder,
            on_progress=ui.evaluation_progress,
            on_warning=lambda text: ui.note(text, "warning"),
        )
        self.trainer = trainer
        self.folder = folder
        self.ui = ui
        self.received = received
        self.first = trainer.fabric.global_rank == 0
        if self.first:
            trainer.on_skipped = self._note_skipped

    def execute(self) -> dict[str, Any]:
        """Train until the budget, the target or a signal ends it; return the result."""
        trainer, recipe = self.trainer, self.trainer.recipe
        self._announce()
        for name in unused_groups(trainer.module, recipe.optimizer.groups):
            self.ui.note(f"optimizer.groups.{name} has no effect: {recipe.model.cell} has no {name} parameters")
        processes = trainer.fabric.world_size
        if processes > 1:
            share = -(-trainer.part_size // processes)
            unit = trainer.dataset.train.batch_unit
            self.ui.note(f"{processes} processes share each batch of {trainer.part_size} {unit}: {share} for each")
        if trainer.adversary.described:
            self.ui.note(f"learns from inputs that are attacked: {trainer.adversary.described}")
        reason = trainer.progress.stop_reason(recipe.train)
        while reason is None:
            interrupted = self._advance(trainer.next_evaluation())
            if interrupted:
                self.session.save()
                self.session.close()
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
        if self.first:
            target = recipe.goal
            try:
                curves(self.folder, target, self.folder / "curves.png", metric=trainer.dataset.metric)
            except MomentumError as error:
                self.ui.note(f"no picture of the curves: {error}", "warning")
            write_json(self.folder / "result.json", result)
            write_card(self.folder, card_of(trainer, result))
            self.session.publish(result)
        self.session.close()
        self.ui.finish(result)
        return result

    # The loop.

    def _advance(self, until: int) -> bool:
        """Step up to the next evaluation; return whether a signal ended it."""
        trainer, options = self.trainer, self.trainer.recipe.train
        stop = False
        while trainer.progress.step < until and not stop:
            with self._diverging():
                result = self.session.step(bool(self.received))
            stop = result.stop
            if self.first:
                self.ui.step(step_info(trainer, result))
            if options.max_seconds is not None and result.train_seconds >= options.max_seconds:
                break
            every = options.checkpoint_every_n_steps
            if every is not None and trainer.progress.step % every == 0 and trainer.progress.step < until and not stop:
                with self._diverging():
                    trainer.read()
                self.session.save()
        with self._diverging():
            trainer.read()
        return stop

    @contextmanager
    def _diverging(self) -> Iterator[None]:
        """Add how to continue to the error that ends a run with numbers that are not finite."""
        try:
            yield
        except RunError as error:
            self.session.close()
            raise RunError(f"{error}; {self._way_on()}") from error

    def _way_on(self) -> str:
        """Return how to continue after a divergence."""
        if self.session.last_path.is_file():
            return (
                "a checkpoint from before the divergence exists; resume with: momentumrnn train --resume "
                f"{self.folder} CHANGE"
            )
        return (
            f"there is no checkpoint from before the divergence; start again with such a change (--out {self.folder} "
            "--overwrite reuses this folder)"
        )

    def _note_skipped(self, result: StepResult) -> None:
        self.ui.note(
            f"step {result.step}: loss {result.loss:g}, gradient norm {result.grad_norm:g}: not finite, the step was "
            f"skipped ({self.trainer.progress.nonfinite_steps} of {self.trainer.recipe.train.max_nonfinite} allowed)",
            "warning",
        )

    def _evaluate(self) -> None:
        evaluation = self.session.evaluate()
        self.session.save()
        self.ui.evaluated(evaluation)

    # Reports and files.

    def _announce(self) -> None:
        trainer, recipe = self.trainer, self.trainer.recipe
        target = trainer.progress.target
        self.ui.start(
            RunStart(
                name=self.folder.name,
                run_dir=str(self.folder),
                cell=recipe.model.cell,
                backend=trainer.backend,
                device=device_name(trainer.device),
                precision=trainer.precision,
                parameters=trainer.parameter_count,
                task=trainer.dataset.name,
                train_samples=len(trainer.dataset.train),
                epochs=recipe.train.epochs,
                total_steps=trainer.total_steps,
                steps_per_epoch=trainer.steps_per_epoch,
                start_step=trainer.progress.step,
                metric=trainer.dataset.metric,
                target=recipe.goal,
                seed=recipe.train.seed,
                batch_size=trainer.group_size,
                batch_unit=trainer.dataset.train.batch_unit,
                max_seconds=recipe.train.max_seconds,
                best=trainer.progress.best,
                reached=target if target is not None and target["reached"] else None,
            )
        )

    def _result(self, reason: str | None) -> dict[str, Any]:
        tested = self.session.test(keep=True)
        result = outcome(
            self.trainer, self.folder, test=None if tested is None else tested.metrics(), stop_reason=reason
        )
        trainer = self.trainer
        for text in unmeasured(trainer.progress):
            self.ui.note(text, "warning")
        if tested is not None:
            result["test_intervals"] = tested.intervals(trainer.dataset.neighbours)
            result["coverage"] = tested.coverage()
            attacked = [name for name in trainer.objective.metrics if METRICS[name].attacked]
            result["signatures"] = signatures(trainer.objective.metrics)
            result["signatures"] |= dict.fromkeys(attacked, trainer.adversary.described)
            size, test = trainer.recipe.train.eval_batch_size, trainer.dataset.test.to(trainer.device)
            result["baselines"] = baselines(trainer.dataset, test, size, trainer.device)
        self.session.count_wall()
        result["wall_seconds"] = trainer.progress.wall_seconds
        return result | {"environment": environment()}


def _check_checkpoints(folder: Path, ui: Ui) -> None:
    """Refuse to resume a run that lacks a checkpoint it needs, now or at its end."""
    last = last_checkpoint(folder)
    if last.is_file():
        find_checkpoint(folder)  # the best one is read at the end of the run
    elif (folder / "result.json").is_file():  # a kill in the first evaluation may leave a best one and no result
        raise DataError(f"{last} is missing, and the run cannot be resumed without it; restore the file")
    else:
        ui.note(f"{folder} holds no checkpoint yet: the run starts from its beginning", "warning")
