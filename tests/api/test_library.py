"""The commands as functions: what they return is what the commands write, and they take a recipe in every form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import momentum_cli
from momentum_cli import (
    Callback,
    TrainResult,
    bench,
    dry_run,
    evaluate,
    export,
    load,
    load_recipe,
    predict,
    train,
    tune,
)
from momentum_cli.cli import app
from momentum_cli.errors import DataError, MomentumError, RecipeError
from momentum_cli.progress import Evaluation, RunStart, RunState, StepInfo, TrialState
from momentum_cli.recipe.building import load_data

SMALL = {
    "schedule.name": "constant",
    "model.hidden_size": 4,
    "train.epochs": 1,
    "train.batch_size": 256,
    "target": None,
}
TIMES = {"train_seconds", "wall_seconds", "samples_per_second", "ms_per_step", "environment", "run_dir"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train("digits", SMALL, out=tmp_path_factory.mktemp("library") / "run")


def without_times(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in TIMES}


def test_a_training_returns_what_the_command_writes(run: TrainResult, tmp_path: Path) -> None:
    changes = ["schedule.name=constant", "model.hidden_size=4", "train.epochs=1", "train.batch_size=256", "target=null"]
    done = CliRunner().invoke(app, ["train", "digits", *changes, "--out", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 0, done.output
    command = json.loads(done.stdout)
    library = json.loads(json.dumps(run.to_dict()))
    assert without_times(command) == without_times(library)
    assert run.to_dict() == run.to_dict() is not run.to_dict()
    assert json.loads((run.run_dir / "result.json").read_text())["test"] == run.test
    assert run.best is not None
    assert run.validation is not None
    assert run.best.value == run.validation[run.best.metric]
    assert run.target is None
    assert (run.steps, run.cell, run.stop_reason) == (command["steps"], command["cell"], "epochs")


def test_a_recipe_may_be_a_name_a_file_a_mapping_or_an_object(tmp_path: Path) -> None:
    changes = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]
    recipe = load_recipe("digits", changes)
    recipe.save(tmp_path / "own.yaml")
    planned = [
        dry_run(form, changed).to_dict()["parameters"]
        for form, changed in (("digits", changes), (tmp_path / "own.yaml", ()), (recipe.dump(), ()), (recipe, {}))
    ]
    assert len(set(planned)) == 1
    wider = dry_run(recipe, {"model.hidden_size": 8})
    assert wider.parameters > planned[0]
    assert wider.steps == dry_run(recipe).steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits", "train.epochs=1"), "overrides"),
        (("digits", {"train.epochz": 1}), "train.epochz"),
        (({"task": {"name": "digits"}},), "model"),
        (("digitz",), "did you mean 'digits'"),
        ((), "recipe"),
    ],
)
def test_a_wrong_recipe_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        train(*arguments)


def test_a_run_is_resumed_as_by_the_command(tmp_path: Path) -> None:
    first = train("digits", SMALL, out=tmp_path / "run")
    longer = train(first.run_dir, {"train.epochs": 2}, resume=True)
    assert (longer.run_dir, longer.epochs) == (first.run_dir, 2)
    whole = train("digits", SMALL | {"train.epochs": 2}, out=tmp_path / "whole")
    assert longer.test == whole.test
    with pytest.raises(RecipeError, match="out"):
        train(first.run_dir, resume=True, out=tmp_path / "other")
    with pytest.raises(RecipeError, match="recipe"):
        train({"task": {}}, resume=True)
    with pytest.raises(RecipeError, match="--devices"):
        train("digits", devices="two")


def test_callbacks_learn_of_every_step_and_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Recorder(Callback):
        def __init__(self) -> None:
            self.told: list[Any] = []

        def on_start(self, run: RunStart) -> None:
            self.told.append(run)

        def on_step(self, info: StepInfo) -> None:
            self.told.append(info)

        def on_evaluation(self, evaluation: Evaluation) -> None:
            self.told.append(evaluation)

        def on_finish(self, result: dict[str, Any]) -> None:
            self.told.append(result)

    recorder = Recorder()
    result = train("digits", SMALL, out=tmp_path / "run", callbacks=[recorder, Callback()])
    start, *steps, last = recorder.told
    assert start.total_steps == result.steps
    assert [info.step for info in steps if isinstance(info, StepInfo)] == list(range(1, result.steps + 1))
    (evaluation,) = (event for event in steps if isinstance(event, Evaluation))
    assert evaluation.metrics == result.validation
    assert last == result.to_dict()
    assert capsys.readouterr() == ("", "")


def test_progress_shows_the_display_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("digits", SMALL, out=tmp_path / "run", progress=True)
    assert str(tmp_path / "run") in capsys.readouterr().out.replace("\n", "")


def test_an_evaluation_takes_the_result_of_a_training(run: TrainResult) -> None:
    found = evaluate(run)
    assert found.metrics == pytest.approx(run.test)
    assert found.confusion is not None
    assert found.confusion.sum() == found.samples
    assert found.confusion.trace() / found.samples == pytest.approx(found.metrics["accuracy"])
    low, high = found.intervals["accuracy"]
    assert low <= found.metrics["accuracy"] <= high
    with pytest.raises(RecipeError, match="--split"):
        evaluate(run, split="all")


def test_predictions_of_a_loaded_run_and_of_an_exported_file_are_those_of_the_evaluation(
    run: TrainResult, tmp_path: Path
) -> None:
    test = load_data(load_recipe("digits")).test
    everything = test.batch(torch.arange(len(test)))
    raw = (everything.inputs * 16).numpy().reshape(-1, 8, 8)
    model = load(run)
    told = model.predict(raw)
    assert run.test is not None
    right = np.mean(
        [label == str(target) for label, target in zip(told.labels, everything.targets.tolist(), strict=True)]
    )
    assert right == pytest.approx(run.test["accuracy"])
    assert len(told) == len(raw)
    outputs = model(everything.inputs)
    assert np.allclose(outputs.detach().numpy(), np.stack(told.outputs), atol=1e-5)
    assert json.loads(json.dumps(told.to_dict()))["records"][0]["label"] == told.labels[0]
    file = export(run, format="safetensors", out=tmp_path / "model.safetensors", no_accuracy=True)
    again = load(file).predict(raw)
    assert again.labels == told.labels
    assert np.allclose(np.stack(again.outputs), np.stack(told.outputs), atol=1e-5)
    assert file.max_abs < 1e-4
    np.save(tmp_path / "raw.npy", raw)
    written = predict(run, tmp_path / "raw.npy")
    assert [record["label"] for record in written.predictions] == told.labels
    assert np.array_equal(np.stack(written.outputs), np.stack(told.outputs))
    assert written.predicted == len(raw)
    to_file = predict(file, [tmp_path / "raw.npy"], out=tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == told.labels
    assert (to_file.out, to_file.predictions) == (tmp_path / "out.jsonl", [])


def test_a_loaded_model_can_be_trained_on_and_predicts_in_evaluation_mode(tmp_path: Path) -> None:
    recipe = {**SMALL, "model.num_layers": 2, "model.dropout": 0.5}
    model = load(train("digits", recipe, out=tmp_path / "run"))
    assert not model.training
    model.train()
    image = np.zeros((8, 8))
    assert np.array_equal(model.predict(image).outputs[0], model.predict(image).outputs[0])
    assert model.training
    model(torch.zeros(2, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 7, 8)), "row 0: the shape must be"),
        (np.full((8, 8), 17.0), "the pixels must be in"),
        (np.full((8, 8), np.nan), "not a finite number"),
        (np.array([["a"] * 8] * 8), "be numbers"),
    ],
)
def test_wrong_samples_are_refused(run: TrainResult, samples: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(run).predict(samples)


def test_wrong_options_of_loading_and_predicting_are_refused(run: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="checkpoint"):
        load(run, checkpoint="first")
    with pytest.raises(RecipeError, match="batch_size"):
        load(run).predict(np.zeros((8, 8)), batch_size=0)
    with pytest.raises(DataError):
        load(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, out: evaluate(run, batch_size=0), "--batch-size must be at least 1, got 0"),
        (lambda run, out: export(run, format="onnx", checkpoint=7), "the number of a step that was kept"),
        (lambda run, out: predict(run, []), "`inputs` must name at least one file or folder"),
        (lambda run, out: train("digits", {"train.max_steps": object()}, out=out), "be a value that a recipe can hold"),
        (lambda run, out: train("digits", accelerator="tpu", out=out), "unknown accelerator 'tpu'"),
        (lambda run, out: bench("digits", accelerator="tpu", out=out), "unknown accelerator 'tpu'"),
        (lambda run, out: bench("digits", jobs=0, out=out), "--jobs must be at least 1, got 0"),
        (lambda run, out: bench("digits", tuned=-1, out=out), "--tuned must be at least 0, got -1"),
        (lambda run, out: tune("digits", time_limit=0, out=out), "--time-limit must be a number of seconds > 0, got 0"),
        (lambda run, out: tune("digits", time_limit=float("nan"), out=out), "--time-limit must be a number of seconds"),
    ],
)
def test_an_option_out_of_its_range_is_refused_as_by_the_command(
    call: Callable[[TrainResult, Path], Any], message: str, run: TrainResult, tmp_path: Path
) -> None:
    with pytest.raises(MomentumError, match=re.escape(message)):
        call(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("call", [train, dry_run])
def test_an_empty_path_is_refused(call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="a path must not be empty, got ''"):
        call("digits", out="")
    with pytest.raises(RecipeError, match="a recipe must be a file or a name, got ''"):
        call("")
    with pytest.raises(RecipeError, match="a path must not be empty, got ''"):
        evaluate("")
    assert not list(tmp_path.iterdir())


def test_a_benchmark_of_a_mapping_gives_its_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In processes of their own, which take longer to start than all runs together.
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *rest: [1] * len(runs))

    class Runs(Callback):
        def __init__(self) -> None:
            self.seen: set[str] = set()

        def on_run(self, state: RunState) -> None:
            self.seen.add(state.id)

    runs = Runs()
    recipe = load_recipe("digits", ["model.hidden_size=4", "target=null"]).dump()
    result = bench(
        recipe,
        {"train.batch_size": 256},
        cells=["lstm", "momentum"],
        seeds="0-1",
        budget_steps=3,
        out=tmp_path / "bench",
        callbacks=[runs],
    )
    assert [(arm.comparison, arm.label, arm.runs, arm.hits) for arm in result.arms] == [
        ("digits", "lstm", 2, 0),
        ("digits", "momentum", 2, 0),
    ]
    assert result.folder == tmp_path / "bench"
    assert len(runs.seen) == 4
    on_disk = json.loads((result.folder / "bench.json").read_text())
    assert on_disk["comparisons"][0]["cells"][0]["best"]["mean"] == result.arms[0].best
    with pytest.raises(RecipeError, match="clock"):
        bench("digits", clock="hours")


def test_a_search_gives_its_best_recipe(tmp_path: Path) -> None:
    pytest.importorskip("optuna")

    class Trials(Callback):
        def __init__(self) -> None:
            self.seen: set[int] = set()

        def on_trial(self, state: TrialState) -> None:
            self.seen.add(state.place)

    trials = Trials()
    options = {"sampler": "random", "space": ["optimizer.lr=log:1e-3..1e-1"], "trials": 2, "callbacks": [trials]}
    result = tune("digits", SMALL, out=tmp_path / "tune", **options)  # type: ignore[arg-type]
    assert trials.seen == {0, 1}
    assert result.counts["done"] == len(result.trials) == 2
    assert result.recipe is not None
    assert result.best_values is not None
    assert load_recipe(result.recipe).optimizer.lr == pytest.approx(result.best_values["optimizer.lr"])
    assert (
        json.loads(json.dumps(result.to_dict()))["best"]
        == json.loads((result.folder / "tune.json").read_text())["best"]
    )


def test_every_public_name_is_found_and_no_other() -> None:
    for name in momentum_cli.__all__:
        assert getattr(momentum_cli, name) is not None
    with pytest.raises(AttributeError, match="trian"):
        momentum_cli.trian  # noqa: B018
