"""The trackers of a run together: one that fails is dropped with a warning, and the run continues."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from momentum_cli.errors import RecipeError
from momentum_cli.loggers import LOGGERS
from momentum_cli.loggers.protocol import LoggedRun, Logger
from momentum_cli.messages import Said, refuse
from momentum_cli.progress import Evaluation, StepInfo


def require_loggers(names: Iterable[str]) -> None:
    """Refuse trackers whose packages are not installed, before anything is written.

    Raises:
        RecipeError: One is missing; the message says how to install it.
    """
    for name in names:
        logger = LOGGERS[name]
        if importlib.util.find_spec(logger.package) is None:
            remedy = f"install it with: pip install 'momentumrnn[{logger.extra}]'"
            must = f"be installed for {name}"
            refused = refuse(f"the package {logger.package}", Said("none"), must, remedy)
            raise RecipeError(f"train.loggers: {refused}")


def warn(text: str) -> None:
    """Give a Python warning."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)


class Tracking:
    """The trackers of a run.

    Args:
        names: Of `LOGGERS`.
        run: The run.
        warn: Receives the warning about a tracker that failed.
    """

    def __init__(self, names: Sequence[str], run: LoggedRun, warn: Callable[[str], None] = warn) -> None:
        self._warn = warn
        self._finished = False
        self._open: dict[str, Logger] = {}
        for name in names:
            self._try(name, lambda name=name: self._open.update({name: LOGGERS[name](run)}))  # type: ignore[misc]

    def step(self, info: StepInfo) -> None:
        """Write an optimizer step."""
        values = {
            "train/loss": info.loss,
            "train/grad_norm": info.grad_norm,
            "train/lr": info.lr,
            "train/epoch": info.epoch,
            "train/seconds": info.train_seconds,
        }
        self._tell(lambda logger: logger.metrics({k: v for k, v in values.items() if v is not None}, info.step))

    def evaluated(self, evaluation: Evaluation) -> None:
        """Write an evaluation."""
        values = {f"{evaluation.split}/{name}": value for name, value in evaluation.metrics.items()}
        self._tell(lambda logger: logger.metrics(values, evaluation.step))

    def finish(self, result: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Write the result of a run that is over, and those of its files that exist.

        Args:
            result: The content of ``result.json``.
            files: Candidates.
        """
        self._finished = True
        numbers = {f"result/{name}": float(result[name]) for name in ("steps", "epochs", "samples", "train_seconds")}
        best, target = result.get("best"), result.get("target")
        numbers |= {f"result/test_{name}": value for name, value in (result.get("test") or {}).items()}
        numbers |= (
            {} if not best else {f"result/best_{best['metric']}": best["value"], "result/best_step": best["step"]}
        )
        numbers |= {} if not target else {"result/target_reached": float(target["reached"])}
        there = [file for file in files if file.is_file()]
        self._tell(lambda logger: logger.finish(numbers, there))

    def close(self) -> None:
        """Write everything out; calling it twice does no harm."""
        self._tell(lambda logger: logger.close(self._finished))
        self._open = {}

    def _tell(self, work: Callable[[Logger], None]) -> None:
        for name, logger in list(self._open.items()):
            self._try(name, lambda logger=logger: work(logger))  # type: ignore[misc]

    def _try(self, name: str, work: Callable[[], None]) -> None:
        try:
            with warnings.catch_warnings():
                # Warnings from inside the packages: the user of a run can do nothing about them.
                warnings.simplefilter("ignore")
                work()
        except Exception as error:
            self._open.pop(name, None)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self._warn(f"train.loggers: {name} failed and is left out from now on; the run goes on ({reason})")
