"""Weights & Biases: offline in the folder ``wandb`` next to the run folders, unless $WANDB_MODE is ``online``."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from momentum_cli.loggers.protocol import LoggedRun


class WeightsAndBiases:
    """Writes parameters, metrics, the summary and files; ``wandb sync`` uploads an offline run; see `Logger`."""

    package: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"

    def __init__(self, run: LoggedRun) -> None:
        import wandb

        identity = run.name_of("wandb") or secrets.token_hex(4)
        run.keep_name("wandb", identity)
        settings = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True)
        before = sys.stdin
        with open(os.devnull, encoding="utf-8") as nothing:
            # Without a terminal it asks no question, and fails where it would have asked for a key.
            sys.stdin = nothing
            try:
                self._run: Any = wandb.init(
                    project=os.environ.get("WANDB_PROJECT", run.task),
                    name=run.folder.name,
                    group=run.project if run.group else None,
                    id=identity,
                    resume="allow",
                    dir=str(run.store),
                    mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
                    # Runs of a benchmark take turns in one process.
                    reinit="create_new",
                    config=run.parameters,
                    settings=settings,
                )
            finally:
                sys.stdin = before

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step."""
        self._run.log(dict(values), step=step)

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        """Write the numbers of the result to the summary, and copy the files."""
        self._run.summary.update(dict(result))
        for file in files:
            # Copies, as links lead nowhere once the run folder is moved.
            shutil.copyfile(file, Path(self._run.dir) / file.name)

    def close(self, finished: bool) -> None:
        """Write everything out."""
        self._run.finish(exit_code=0 if finished else 1)
