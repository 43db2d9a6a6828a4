"""MLflow: a local database next to the run folders, or the server of $MLFLOW_TRACKING_URI."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from momentum_cli.loggers.protocol import LoggedRun
from momentum_cli.runs.lock import waiting

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
_URI = "MLFLOW_TRACKING_URI"
# What the server accepts in one call, and the longest value of a parameter.
_BATCH, _LONGEST = 100, 500


class MLflow:
    """Writes parameters, metrics and artifacts; the experiment is the group of the run or its task; see `Logger`."""

    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"

    def __init__(self, run: LoggedRun) -> None:
        # Otherwise it reports usage to its makers; its messages do not help the user of a command.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        local = _URI not in os.environ
        uri = f"sqlite:///{run.store / DATABASE}" if local else os.environ[_URI]
        # Several processes that make the tables of one database at the same time would disturb each other.
        with waiting(run.store):
            self._client: Any = MlflowClient(tracking_uri=uri)
            place = (run.store / ARTIFACTS).as_uri() if local else None
            found = self._client.get_experiment_by_name(run.project)
            self._experiment = (
                self._client.create_experiment(run.project, artifact_location=place)
                if found is None
                else found.experiment_id
            )
        known = run.name_of("mlflow")
        if known is not None:
            self._run = known
            self._client.update_run(known, status="RUNNING")
            return
        self._run = self._client.create_run(self._experiment, run_name=run.folder.name).info.run_id
        run.keep_name("mlflow", self._run)
        params = [Param(key, str(value)[:_LONGEST]) for key, value in run.parameters.items()]
        for first in range(0, len(params), _BATCH):
            self._client.log_batch(self._run, params=params[first : first + _BATCH])
        tags = {"task": run.task, "run_dir": str(run.folder)} | ({"group": run.project} if run.group else {})
        self._client.log_batch(self._run, tags=[RunTag(key, value) for key, value in tags.items()])

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of a step in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        # Some columns of a database cannot hold NaN, and infinities become the largest number.
        told = [Metric(name, float(value), now, step) for name, value in values.items() if not math.isnan(value)]
        self._client.log_batch(self._run, metrics=told)

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        """Write the numbers of the result and the files."""
        self.metrics(result, 0)
        for file in files:
            self._client.log_artifact(self._run, str(file))

    def close(self, finished: bool) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
