"""Trackers: what they wrote is read back with their own packages, and one that fails does not end the run."""

from __future__ import annotations

import csv
import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from momentum_cli import TrainResult, bench, load_recipe, train
from momentum_cli.errors import RecipeError
from momentum_cli.loggers import LOGGERS
from momentum_cli.loggers.protocol import LoggedRun
from momentum_cli.loggers.tracking import Tracking, require_loggers
from momentum_cli.progress import StepInfo

SMALL = {
    "schedule.name": "constant",
    "model.hidden_size": 4,
    "train.epochs": 2,
    "train.batch_size": 256,
    "train.log_every_n_steps": 2,
    "target": None,
}


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def rows_of(run: TrainResult, kind: str) -> dict[int, dict[str, str]]:
    with (run.run_dir / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): row for row in csv.DictReader(file) if row["kind"] == kind}


def accumulated(run: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


@pytest.mark.usefixtures("drawn_curves")
def test_tensorboard_holds_the_curves_the_recipe_the_result_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = train("digits", SMALL | {"train.loggers": ["tensorboard"]}, out=tmp_path / "run")
    events = accumulated(run.run_dir)
    steps = rows_of(run, "train")
    assert {e.step for e in events.Scalars("train/loss")} == set(steps)
    for event in events.Scalars("train/loss"):
        assert event.value == pytest.approx(float(steps[event.step]["loss"]), rel=1e-6)
    evaluations = rows_of(run, "eval")
    assert {e.step: pytest.approx(e.value, rel=1e-6) for e in events.Scalars("validation/accuracy")} == {
        step: float(row["accuracy"]) for step, row in evaluations.items()
    }
    assert run.test is not None
    assert events.Scalars("result/test_accuracy")[0].value == pytest.approx(run.test["accuracy"])
    assert (
        "| `model.hidden_size` | `4` |" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    )
    assert events.Images("curves")[0].width > 100
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = plugin_data_pb2.HParamsPluginData.FromString(plugin).session_start_info.hparams
    assert metadata.PLUGIN_NAME == "hparams"
    assert told["model.hidden_size"].number_value == 4


def test_tensorboard_of_a_continued_run_has_every_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    changes = SMALL | {"train.loggers": ["tensorboard"], "train.epochs": 1}
    run = train("digits", changes, out=tmp_path / "run")
    longer = train(run.run_dir, {"train.epochs": 2}, resume=True)
    events = accumulated(run.run_dir)
    assert [e.step for e in events.Scalars("train/loss")] == sorted(rows_of(longer, "train"))


def test_mlflow_holds_parameters_metrics_the_result_and_the_files(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    changes = SMALL | {"train.loggers": ["mlflow"], "train.epochs": 1}
    run = train("digits", changes, out=tmp_path / "runs" / "one")
    longer = train(run.run_dir, {"train.epochs": 2}, resume=True)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    (stored,) = client.search_runs([experiment.experiment_id])
    assert (stored.info.run_name, stored.info.status) == ("one", "FINISHED")
    assert stored.data.params["model.hidden_size"] == "4"
    assert stored.data.params["optimizer.lr"] == str(load_recipe("digits").optimizer.lr)
    assert longer.test is not None
    assert stored.data.metrics["result/test_accuracy"] == pytest.approx(longer.test["accuracy"])
    history = client.get_metric_history(stored.info.run_id, "train/loss")
    assert {m.step: pytest.approx(m.value) for m in history} == {
        step: float(row["loss"]) for step, row in rows_of(longer, "train").items()
    }
    names = {file.path for file in client.list_artifacts(stored.info.run_id)}
    assert {"recipe.yaml", "result.json", "metrics.csv", "curves.png"} <= names
    assert any(name.endswith(".safetensors") for name in names)
    again = Path(client.download_artifacts(stored.info.run_id, "result.json", str(tmp_path)))
    assert json.loads(again.read_text())["test"] == longer.test


@pytest.mark.slow
def test_a_benchmark_is_one_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *rest: [1] * len(runs))
    bench(
        "digits",
        SMALL | {"train.loggers": ["mlflow"]},
        cells="lstm,momentum",
        seeds="0",
        budget_steps=2,
        out=tmp_path / "b",
    )
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("b")
    assert experiment is not None
    stored = client.search_runs([experiment.experiment_id])
    assert {(run.info.run_name, run.info.status) for run in stored} == {
        ("digits-lstm-seed0", "FINISHED"),
        ("digits-momentum-seed0", "FINISHED"),
    }
    assert {run.data.tags["group"] for run in stored} == {"b"}
    # Trackers change no result, so the finished runs are kept without them.
    bench("digits", SMALL, cells="lstm,momentum", seeds="0", budget_steps=2, out=tmp_path / "b")


@pytest.mark.slow
def test_wandb_writes_an_offline_run_and_asks_for_nothing(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = train("digits", SMALL | {"train.loggers": ["wandb"]}, out=tmp_path / "runs" / "one")
    (offline,) = (tmp_path / "runs" / "wandb").glob("offline-run-*")
    assert next(iter(offline.glob("*.wandb"))).stat().st_size > 1000
    assert (offline / "files" / "result.json").exists()
    assert offline.name.endswith(json.loads((run.run_dir / "loggers.json").read_text())["wandb"])


@pytest.mark.slow
def test_trackio_holds_the_curves_of_runs_that_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    storage = pytest.importorskip("trackio.sqlite_storage")
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *rest: [1] * len(runs))
    changes = SMALL | {"train.loggers": ["trackio"]}
    bench("digits", changes, cells="lstm,momentum", seeds="0", budget_steps=4, out=tmp_path / "b")
    for name in ("b/digits-lstm-seed0", "b/digits-momentum-seed0"):
        logs = storage.SQLiteStorage.get_logs("digits", name)
        assert [row["step"] for row in logs if "train/loss" in row] == [2, 4]
        assert any("result/test_accuracy" in row for row in logs)


class Recorder:
    """A tracker that keeps what it is told, and fails where it is asked to."""

    package: ClassVar[str] = "json"
    extra: ClassVar[str] = "recorder"
    fails: ClassVar[str] = ""
    told: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, run: LoggedRun) -> None:
        self._say("open", run.project)

    def _say(self, method: str, what: Any) -> None:
        if self.fails == method:
            raise ConnectionError(f"no server for {method}\nand more")
        self.told.append((method, what))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._say("metrics", (step, dict(values)))

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        self._say("finish", [file.name for file in files])

    def close(self, finished: bool) -> None:
        self._say("close", finished)


@pytest.mark.parametrize("method", ["open", "metrics", "finish", "close"])
def test_a_tracker_that_fails_warns_once_and_the_run_goes_on(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = type("Broken", (Recorder,), {"fails": method, "told": []})
    works = type("Works", (Recorder,), {"told": []})
    monkeypatch.setitem(LOGGERS, "wandb", broken)
    monkeypatch.setitem(LOGGERS, "mlflow", works)
    with pytest.warns(RuntimeWarning, match=f"wandb failed .* the run goes on .no server for {method}") as caught:
        run = train("digits", SMALL | {"train.loggers": ["wandb", "mlflow"]}, out=tmp_path / "run")
    assert len(caught) == 1
    assert run.epochs == 2
    plain = train("digits", SMALL, out=tmp_path / "plain")
    assert (run.test, run.validation) == (plain.test, plain.validation)
    methods = [name for name, _ in works.told]
    assert methods[0] == "open"
    assert methods[-2:] == ["finish", "close"]
    assert works.told[-1] == ("close", True)
    assert {"recipe.yaml", "result.json", "metrics.csv", "curves.png"} <= set(works.told[-2][1])


def test_a_run_that_was_stopped_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setitem(LOGGERS, "mlflow", type("Works", (Recorder,), {"told": told}))
    tracking = Tracking(["mlflow"], LoggedRun(tmp_path, "digits", {"model": {"bias": True, "language": {}}}))
    tracking.step(StepInfo(3, 1, 3, None, 2.0, 0.1, 30, 1.5, None))
    tracking.close()
    tracking.close()
    values = {"train/grad_norm": 2.0, "train/lr": 0.1, "train/epoch": 1, "train/seconds": 1.5}
    assert told == [("open", "digits"), ("metrics", (3, values)), ("close", False)]


def test_a_missing_package_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGERS["trackio"], "package", "no_such_package_at_all")
    with pytest.raises(RecipeError, match=r"pip install 'momentumrnn\[trackio\]'"):
        train("digits", SMALL | {"train.loggers": ["trackio"]}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("loggers", "message"),
    [(["tensorbord"], "tensorboard"), (["mlflow", "mlflow"], "only once"), ("mlflow", "a list"), ([1], "must be")],
)
def test_wrong_names_are_refused(loggers: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("digits").override(f"train.loggers={json.dumps(loggers)}")


@pytest.mark.slow
def test_no_package_is_imported_without_being_asked_for(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from momentum_cli import train; "
        f"train('digits', {SMALL | {'train.epochs': 1}!r}, out={str(tmp_path / 'run')!r}); "
        "print([m for m in ('tensorboard', 'mlflow', 'wandb', 'trackio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_numbers_that_are_not_finite_do_not_end_the_tracking(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = LoggedRun(tmp_path, "digits", {"model": {"bias": True}})
        tracking = Tracking(["mlflow"], run)
        for step, loss in enumerate((math.inf, math.nan, 1.0), 1):
            tracking.step(StepInfo(step, 1, step, loss, 2.0, 0.1, 30, 1.5, None))
        tracking.close()
    require_loggers(["mlflow"])
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run.store / 'mlflow.db'}")
    name = json.loads((tmp_path / "loggers.json").read_text())["mlflow"]
    losses = {metric.step: metric.value for metric in client.get_metric_history(name, "train/loss")}
    assert losses == {1: sys.float_info.max, 3: 1.0}
    assert {metric.step for metric in client.get_metric_history(name, "train/grad_norm")} == {1, 2, 3}
