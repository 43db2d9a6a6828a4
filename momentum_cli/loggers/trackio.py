"""trackio: a local database in $TRACKIO_DIR; ``trackio show`` opens its dashboard."""

from __future__ import annotations

import contextlib
import contextvars
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from momentum_cli.loggers.protocol import LoggedRun


class Trackio:
    """Writes parameters and metrics; it stores no files; see `Logger`."""

    package: ClassVar[str] = "trackio"
    extra: ClassVar[str] = "trackio"

    def __init__(self, run: LoggedRun) -> None:
        # It ends the run that is current in its context; runs of a benchmark take turns in one process.
        self._context = contextvars.Context()
        self._run: Any = self._quietly(lambda trackio: self._open(trackio, run))

    def _open(self, trackio: Any, run: LoggedRun) -> Any:
        return trackio.init(
            project=run.task,
            name=run.folder.name if run.group is None else f"{run.project}/{run.folder.name}",
            group=run.project if run.group else None,
            config={name: str(value) for name, value in run.parameters.items()},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def _quietly(self, work: Any) -> Any:
        """Call a function of the module inside the context; what it prints is not shown."""

        def inside() -> Any:
            with contextlib.redirect_stdout(io.StringIO()):
                import trackio

                return work(trackio)

        return self._context.run(inside)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step."""
        self._quietly(lambda trackio: self._run.log(dict(values), step=step))

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        """Write the numbers of the result."""
        self._quietly(lambda trackio: self._run.log(dict(result)))

    def close(self, finished: bool) -> None:
        """Write everything out."""
        self._quietly(lambda trackio: self._run.finish())
