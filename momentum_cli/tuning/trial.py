"""One trial: an ordinary run in its folder, which reports its evaluations and may be ended by one of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from momentum_cli.data import Dataset
from momentum_cli.errors import MomentumError, RunError
from momentum_cli.progress import TrialState
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.runs.files import write_json, write_text
from momentum_cli.runs.folder import MARKER
from momentum_cli.runs.metrics_log import read_metrics
from momentum_cli.training.record import outcome, read_result
from momentum_cli.training.session import Session, record_start
from momentum_cli.training.trainer import Trainer
from momentum_cli.tuning.objective import best_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

RESULT = "result.json"
PRUNED = "pruned"
SAVE_EVERY_SECONDS = 20.0
_SHOW_EVERY_SECONDS = 0.1


@dataclass
class Position:
    """The position of a running trial.

    Attributes:
        step: Optimizer steps made.
        total_steps: Planned steps, None if only time limits the run.
        evaluations: Evaluations made.
        values: The compared metric of each evaluation.
        train_seconds: The scored clock.
    """

    step: int = 0
    total_steps: int | None = None
    values: list[tuple[int, float]] = field(default_factory=list)
    train_seconds: float = 0.0

    @property
    def evaluations(self) -> int:
        """Evaluations made."""
        return len(self.values)

    def shown(self, state: TrialState, worker: str = "") -> TrialState:
        """Return the state of the trial for a display, from that at its start."""
        last = self.values[-1][1] if self.values else None
        return replace(state, step=self.step, total_steps=self.total_steps, value=last, worker=worker)


class Trial:
    """A trial at its start, or at the last checkpoint in its folder.

    Args:
        recipe: Recipe of the run.
        folder: Its run folder, new or of the same run.
        dataset: The data of the recipe.
        fabric: Its device is the run's.
        metric: The compared metric: the target's or the headline one.
        judge: Called after each evaluation with the position; True ends the trial.
        show: Called with the position, a few times per second at most.
        save_every_seconds: At most this much work is lost if the process is killed, > 0.
        now: Returns monotonic seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        dataset: Dataset,
        fabric: Fabric,
        *,
        metric: str,
        judge: Callable[[Position], bool] = lambda position: False,
        show: Callable[[Position], None] = lambda position: None,
        save_every_seconds: float = SAVE_EVERY_SECONDS,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.trainer = Trainer(recipe, dataset, fabric)
        self._metric = metric
        self._judge = judge
        self._show = show
        self._save_every = save_every_seconds
        self._now = now
        (folder / MARKER).touch()
        record_start(recipe, folder)
        self.session = Session(self.trainer, folder, now=now, group=folder.parent.parent)
        rows = read_metrics(folder, "eval") if (folder / "metrics.jsonl").is_file() else []
        values = [(row["step"], row[metric]) for row in rows if metric in row]
        progress = self.trainer.progress
        self.position = Position(progress.step, self.trainer.total_steps, values, progress.train_seconds)
        self._pruned = False

    def run(self, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """Train until the budget, the target or the judge ends it; return the result.

        Args:
            stopped: Called before every step; True saves the trial, which then continues from there, and returns None.

        Raises:
            RunError: The run diverged.
        """
        saved_at = shown_at = self._now()
        try:
            # A process may have been killed between an evaluation and the judgement on it.
            self._pruned = self.position.evaluations > 0 and self._over() is None and self._judge(self.position)
            while self._over() is None:
                if stopped():
                    self.session.save()
                    return None
                until = self.trainer.next_evaluation()
                self.session.step()
                now = self._now()
                if self.trainer.progress.step == until:
                    self._evaluate()
                if now - shown_at >= _SHOW_EVERY_SECONDS:
                    shown_at = now
                    self._tell()
                if now - saved_at >= self._save_every:
                    self.session.save()
                    saved_at = now
            self.trainer.read()
            self.session.save()
            self._tell()
            return self._close()
        finally:
            self.session.close()

    def _evaluate(self) -> None:
        self.trainer.read()
        evaluation = self.session.evaluate()
        self.position.values.append((evaluation.step, evaluation.metrics[self._metric]))
        self._tell()
        # At the end of the budget there is nothing left to save by pruning.
        self._pruned = self._over() is None and self._judge(self.position)

    def _over(self) -> str | None:
        return PRUNED if self._pruned else self.trainer.progress.stop_reason(self.recipe.train)

    def _tell(self) -> None:
        self.position.step = self.trainer.progress.step
        self.position.train_seconds = self.trainer.progress.train_seconds
        self._show(self.position)

    def _close(self) -> dict[str, Any]:
        reason = self._over()
        test = None if reason == PRUNED else self.session.test_metrics()
        result = outcome(self.trainer, self.folder, test=test, stop_reason=reason)
        write_json(self.folder / RESULT, result)
        self.session.publish(result)
        return result


def kept_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a trial that ended before its process could report it; None if it did not end.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / RESULT
    return read_result(path, remedy="delete it to repeat that trial") if path.is_file() else None


def facts_of(result: Mapping[str, Any], folder: Path, metric: str) -> dict[str, Any]:
    """Return the facts about a trial that the tables and the objective need, JSON-able.

    Args:
        result: Content of its ``result.json``.
        folder: Its run folder.
        metric: The compared metric.
    """
    rows = read_metrics(folder, "eval") if (folder / "metrics.jsonl").is_file() else []
    target, best = result["target"], result["best"]
    reached = target is not None and target["reached"]
    return {
        "status": "pruned" if result["stop_reason"] == PRUNED else "done",
        "best": None if best is None else best["value"],
        "value": best_value(metric, [float(row[metric]) for row in rows if metric in row]),
        "to_target": {key: target[key] for key in ("steps", "train_seconds")} if reached else None,
        "steps": result["steps"],
        "epochs": result["epochs"],
        "train_seconds": result["train_seconds"],
        "wall_seconds": result["wall_seconds"],
        "parameters": result["parameters"],
        "test": None if result["test"] is None or best is None else result["test"].get(best["metric"]),
        "curve": [[row["step"], float(row[metric])] for row in rows if metric in row],
        "error": None,
    }


def failed(folder: Path, error: BaseException) -> dict[str, Any]:
    """Write the reason of a failure into the folder of a trial, and return its facts as `facts_of` does."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    names = ("best", "value", "to_target", "parameters", "test")
    counts = dict.fromkeys(("steps", "epochs", "train_seconds", "wall_seconds"), 0)
    return {"status": "failed", **dict.fromkeys(names), **counts, "curve": [], "error": _words(error)}


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""
    if isinstance(error, RunError) and "not finite" in first:
        return f"diverged: {first}"
    return first if isinstance(error, MomentumError) else f"{type(error).__name__}: {first}".removesuffix(": ")
