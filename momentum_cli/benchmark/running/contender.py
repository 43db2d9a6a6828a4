"""One run of a benchmark: a trainer in a run folder that is advanced turn by turn, saved, and evaluated at its end.

Its folder is that of an ordinary training (recipe, metrics, checkpoints, result), so every command for runs accepts it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.benchmark.running.outcome import RESULT, describe_failure, result_of, used_budget
from momentum_cli.data import Dataset
from momentum_cli.progress import RunState, Status
from momentum_cli.runs.card import write_card
from momentum_cli.runs.files import write_json, write_text
from momentum_cli.runs.folder import new_run_folder
from momentum_cli.training.evaluation import baselines
from momentum_cli.training.launch import memory_bytes
from momentum_cli.training.record import card_of, outcome
from momentum_cli.training.session import Session, record_start
from momentum_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from momentum_cli.benchmark.plan.plan import RunSpec

# A turn ends at an evaluation, or after this time if evaluations are far apart: short compared with any drift of the
# machine's speed, long compared with the cost of switching between trainers.
TURN_SECONDS = 1.0
SAVE_EVERY_SECONDS = 20.0
_SHOW_EVERY_SECONDS = 0.1


class Contender:
    """One run of a benchmark, at its start or at the last checkpoint in its folder.

    Args:
        spec: The recipe, the seed and the names of the run.
        folder: Its run folder, new or of the same run.
        dataset: The data set, shared by all runs of a comparison.
        fabric: Shared too; its device is the run's.
        show: Called with the state of the run, at most a few times per second.
        save_every_seconds: At most this much work is lost if the process is killed, > 0.
        now: Returns monotonic seconds.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: Path,
        dataset: Dataset,
        fabric: Fabric,
        *,
        show: Callable[[RunState], None] = lambda state: None,
        save_every_seconds: float = SAVE_EVERY_SECONDS,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.trainer = Trainer(spec.recipe, dataset, fabric)
        self.memory_bytes: int | None = None
        self._show = show
        self._save_every = save_every_seconds
        self._now = now
        if not folder.exists():
            new_run_folder(folder, stem=spec.id)
        record_start(spec.recipe, folder)
        self.session = Session(self.trainer, folder, now=now, group=folder.parent.parent)
        self._saved_at = self._shown_at = now()

    def turn(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Train to the next evaluation, or for about `TURN_SECONDS`.

        Args:
            stopped: Called before every step; True ends the turn.

        Returns:
            True if the run is over: target reached or budget used up.

        Raises:
            RunError: The run diverged.
        """
        session, progress = self.session, self.trainer.progress
        session.start_wall()
        start = self._now()
        until = self.trainer.next_evaluation()
        while self.stop_reason() is None and not stopped():
            session.step()
            now = self._now()
            if progress.step == until:
                session.evaluate()
                self._tell("training")
                break
            if now - start >= TURN_SECONDS:
                break
            if now - self._shown_at >= _SHOW_EVERY_SECONDS:
                self._tell("training")
        self.trainer.read()
        session.count_wall()
        if self._now() - self._saved_at >= self._save_every:
            self.save()
        return self.stop_reason() is not None

    def stop_reason(self) -> str | None:
        """Return why the run is over, or None.

        A budget in seconds ends a run between two evaluations without another one, because an evaluation outside the
        common grid could reach the target where the others were not evaluated.
        """
        return self.trainer.progress.stop_reason(self.spec.recipe.train)

    def save(self) -> None:
        """Write checkpoints from which the run continues exactly."""
        self.session.save()
        self._saved_at = self._now()

    def pause(self) -> None:
        """Save and close the files, so that another contender can continue this run later."""
        self.save()
        self.session.close()

    def finish(self) -> dict[str, Any]:
        """Save, evaluate the chosen parameters on the test set, and write and return the result."""
        self.save()
        trainer, test = self.trainer, self.session.test_metrics()
        size, data = trainer.recipe.train.eval_batch_size, trainer.dataset.test.to(trainer.device)
        naive = [] if test is None else baselines(trainer.dataset, data, size, trainer.device)
        return self._close(self.stop_reason(), test=test, naive=naive)

    def work(self, stopped: Callable[[], bool]) -> None:
        """Make the whole run in a process of its own, whose memory is that of the run; pause it if it is stopped."""
        try:
            while not self.turn(stopped):
                if stopped():
                    self.pause()
                    return
            self.memory_bytes = memory_bytes(self.trainer.device)
            self.finish()
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> dict[str, Any]:
        """Write and return the result of a run that an error ended; its evaluations are kept."""
        write_text(self.folder / "error.txt", "".join(traceback.format_exception(error)))
        return self._close("error", error=describe_failure(error))

    def state(self, status: Status, reason: str | None = None) -> RunState:
        """Return the state of the run for a display."""
        progress = self.trainer.progress
        metric = self.metric
        value = None if progress.last is None else progress.last["metrics"][metric]
        target = progress.target or {"reached": False}
        at = (
            (target["steps"], target["train_seconds"]) if target["reached"] else (progress.step, progress.train_seconds)
        )
        return RunState(
            id=self.spec.id,
            comparison=self.spec.comparison,
            label=self.spec.label,
            seed=self.spec.seed,
            status=status,
            metric=metric,
            step=progress.step,
            total_steps=self.trainer.total_steps,
            value=value,
            best=None if progress.best is None else progress.best["metrics"][metric],
            train_seconds=progress.train_seconds,
            reason=reason,
            target_steps=at[0],
            target_seconds=at[1],
        )

    @property
    def metric(self) -> str:
        """The compared metric: the target's, or the headline one of the data."""
        target = self.spec.recipe.target
        return self.trainer.dataset.metric if target is None else target.metric

    def _tell(self, status: Status) -> None:
        self._shown_at = self._now()
        self._show(self.state(status))

    def _close(
        self,
        reason: str | None,
        *,
        test: dict[str, float] | None = None,
        naive: Sequence[dict[str, Any]] = (),
        error: str | None = None,
    ) -> dict[str, Any]:
        progress = self.trainer.progress
        ended = outcome(self.trainer, self.folder, test=test, stop_reason=reason)
        result = result_of(self.spec, error) | ended | {"memory_bytes": self.memory_bytes, "baselines": list(naive)}
        status: Status = "failed" if error else "finished"
        if progress.reached:
            status, result["miss"] = "reached", None
        elif progress.target is not None and error is None:
            status, result["miss"] = "missed", f"target not reached within {used_budget(result)}"
        write_json(self.folder / RESULT, result)
        if error is None:
            write_card(self.folder, card_of(self.trainer, result))
            self.session.publish(result)
        self.session.close()
        self._show(self.state(status, result["miss"]))
        return result
