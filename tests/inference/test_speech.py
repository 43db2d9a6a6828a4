"""Models of speech: trained, resumed, evaluated, exported, and predicting recordings."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from speech_files import pcm16, speech_like, sphere, write_wav

from momentum_cli.benchmark.bench import bench
from momentum_cli.data.speech.features import Features
from momentum_cli.errors import DataError
from momentum_cli.formats.export import export, open_program
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.inspection.model.summary import summary
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.training.train import train
from momentum_cli.training.trained import load_model

PATTERN = "{label}_{speaker}_{index}"
TASKS: dict[str, dict[str, Any]] = {
    "frames": {"name": "speech", "n_fft": 64, "hop_length": 64},
    "words": {"name": "speech-classify", "n_mels": 12},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for number, (label, index) in enumerate((w, i) for w in ("yes", "no") for i in range(9)):
        sound = speech_like(0.1 + 0.03 * (number % 3), 8000, number) * (1.0 if label == "yes" else 0.1)
        write_wav(folder / f"{label}_ann_{index}.wav", pcm16(sound), 8000)
    return folder


def recipe(kind: str, folder: Path, cell: str = "momentum", **more: Any) -> Recipe:
    task = {"path": str(folder), "pattern": PATTERN, "split": "index", "test_indices": 2, **TASKS[kind], **more}
    return parse_recipe(
        {
            "task": task,
            "model": {"cell": cell, "hidden_size": 8},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 4, "batch_size": 4, "eval_every_n_steps": 2},
        }
    )


@pytest.fixture(scope="module", params=list(TASKS))
def run(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        out = tmp_path_factory.mktemp("runs") / request.param
        train(recipe(request.param, folder), out=out)
    return request.param, out


def predicted(model: Path, inputs: list[str], out: Path) -> list[dict[str, Any]]:
    predict(model, inputs, out=out)
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_eval_reports_the_metric_of_the_task(run: tuple[str, Path]) -> None:
    kind, out = run
    result = evaluate(out)
    assert result["samples"] == 4
    if kind == "words":
        assert [row["label"] for row in result["classes"]] == ["no", "yes"]
        return
    # Recomputed from the predictions of `predict`, which are in dB, against the frames of the files.
    assert result["classes"] is None
    data = build_task(load_model(out).recipe).load()
    batch = data.test.batch(torch.arange(4))
    model = load_model(out).model
    with torch.no_grad():
        outputs = model(batch.inputs, batch.lengths)[0]
    scale = torch.tensor(data.preprocessing["scaling"]["scale"])
    errors = ((outputs - batch.targets) * scale)[~batch.targets.isnan()]
    assert result["metrics"]["mse"] == pytest.approx(float(errors.double().square().mean()), rel=1e-5)
    assert result["metrics"]["mae"] == pytest.approx(float(errors.double().abs().mean()), rel=1e-5)


def test_predict_takes_files_folders_and_globs(run: tuple[str, Path], folder: Path, tmp_path: Path) -> None:
    kind, out = run
    tests = sorted(str(path) for path in folder.glob("*_[01].wav"))
    found = predicted(out, [*tests, str(folder), f"{folder}/no_*_3.wav"], tmp_path / "out.jsonl")
    assert len(found) == 4 + 18 + 1
    assert [entry["source"] for entry in found[:4]] == tests
    metrics = evaluate(out)["metrics"]
    if kind == "words":
        hits = [entry["label"] == Path(entry["source"]).name.partition("_")[0] for entry in found[:4]]
        assert metrics["accuracy"] == sum(hits) / 4
        assert set(found[0]) == {"source", "row", "label", "probability", "top"}
        return
    frames = [entry["frames"] for entry in found[:4]]
    assert frames == [len(entry["values"]) for entry in found[:4]]
    together = sum(n * entry["mse"] for n, entry in zip(frames, found[:4], strict=True)) / sum(frames)
    assert metrics["mse"] == pytest.approx(together, rel=1e-4)
    # In dB, each compared with the frame after it.
    real = Features(n_fft=64, hop_length=64)(soundfile.read(tests[0])[0], 8000)[1:]
    values = np.array(found[0]["values"])
    assert found[0]["mse"] == pytest.approx(float(np.square(values - real).mean()), rel=1e-5)


def test_predict_resamples_and_names_what_is_broken(run: tuple[str, Path], folder: Path, tmp_path: Path) -> None:
    kind, out = run
    slow = soundfile.read(folder / "yes_ann_0.wav")[0]
    fast = np.interp(np.arange(2 * len(slow)) / 2, np.arange(len(slow)), slow)
    write_wav(tmp_path / "in" / "a.wav", pcm16(fast), 16000)
    (tmp_path / "in" / "b.wav").write_bytes(sphere(pcm16(slow), 8000))
    (tmp_path / "in" / "c.wav").write_bytes(sphere(pcm16(slow), 8000)[:-30])
    with pytest.raises(DataError, match=r"1 of 3 inputs could not be predicted.*c\.wav: cut short"):
        predict(out, [str(tmp_path / "in")], out=tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [Path(entry["source"]).name for entry in found] == ["a.wav", "b.wav"]
    if kind == "frames":
        assert found[0]["frames"] == found[1]["frames"]
    with pytest.raises(DataError, match="not from standard input"):
        predict(out, ["-"], out=tmp_path / "none.jsonl")


def test_csv_and_npz(run: tuple[str, Path], folder: Path, tmp_path: Path) -> None:
    kind, out = run
    predict(out, [str(folder)], format="csv", out=tmp_path / "out.csv")
    heading, *lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 18
    assert all(line.count(",") == heading.count(",") for line in lines)
    if kind == "frames":
        assert heading == "source,row,frames,mse"
        one = str(folder / "no_ann_0.wav")
        predict(out, [one], format="npz", out=tmp_path / "out.npz")
        with np.load(tmp_path / "out.npz") as arrays:
            (entry,) = predicted(out, [one], tmp_path / "one.jsonl")
            np.testing.assert_allclose(arrays["outputs"][0], entry["values"], rtol=1e-5)
    else:
        assert heading.startswith("source,row,label,probability,label_2")


@pytest.mark.parametrize(("format", "stateful"), [("torchscript", False), ("onnx", True), ("safetensors", False)])
def test_an_exported_model_has_the_way_from_samples_to_inputs(
    run: tuple[str, Path], format: str, stateful: bool, folder: Path, tmp_path: Path
) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    kind, out = run
    result = export(out, format=format, stateful=stateful, out=tmp_path / "model")
    assert result["parity"]["max_abs"] < 1e-4
    assert result["test"]["file"] == pytest.approx(result["test"]["checkpoint"], rel=1e-5)
    described = open_program(tmp_path / "model").bundle.dataset
    preprocessing = described["preprocessing"]
    assert preprocessing["kind"] == "speech"
    assert preprocessing["sample_rate"] == 8000
    assert preprocessing["window"] == "hann"
    if kind == "words":
        assert described["labels"] == ["no", "yes"]
        assert (preprocessing["n_mels"], preprocessing["mel_scale"]) == (12, "htk")
        assert len(preprocessing["scaling"]["offset"]) == 12
    else:
        assert preprocessing["predict"] == "next"
    sources = [str(folder / name) for name in ("no_ann_0.wav", "yes_ann_1.wav")]
    of_file, of_run = (predicted(m, sources, tmp_path / "o.jsonl") for m in (tmp_path / "model", out))
    for one, other in zip(of_file, of_run, strict=True):
        if kind == "words":
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
        else:
            np.testing.assert_allclose(one["values"], other["values"], atol=1e-3)


def test_the_example_needs_only_numpy_and_onnxruntime(run: tuple[str, Path], folder: Path, tmp_path: Path) -> None:
    """Its frames and its answer are those of this package."""
    pytest.importorskip("onnxruntime")
    kind, out = run
    path = Path(__file__).parents[2] / "examples" / "onnx_speech.py"
    spec = importlib.util.spec_from_file_location("onnx_speech", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    export(out, format="onnx", out=tmp_path / "model.onnx")
    answer = example.answer(str(tmp_path / "model.onnx"), str(folder / "yes_ann_0.wav"))
    (entry,) = predicted(out, [str(folder / "yes_ann_0.wav")], tmp_path / "o.jsonl")
    if kind == "words":
        assert answer["label"] == entry["label"]
        assert answer["probability"] == pytest.approx(entry["probability"], abs=1e-5)
    else:
        assert answer["mse"] == pytest.approx(entry["mse"], rel=1e-4)


def test_a_run_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    whole = recipe("frames", folder, "adam").override("train.max_steps=6")
    train(whole, out=tmp_path / "whole")
    train(whole.override("train.max_steps=3"), out=tmp_path / "part")
    train(load_recipe(str(tmp_path / "part" / "recipe.yaml"), ["train.max_steps=6"]), resume=tmp_path / "part")
    one, other = (load_model(tmp_path / name, "last").model.state_dict() for name in ("whole", "part"))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_cells_are_benchmarked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentum_cli.benchmark.running.runner.measure_memory", lambda runs, *_: [None] * len(runs))
    recipe("frames", folder).save(tmp_path / "own.yaml")
    own = str(tmp_path / "own.yaml")
    content = bench([own], cells=["lstm,momentum"], seeds="0", target="0.01", out=tmp_path / "bench")
    (comparison,) = content["comparisons"]
    assert [run["steps"] for run in comparison["runs"]] == [4, 4]
    assert comparison["metric"] == "mse"
    assert (tmp_path / "bench" / "report.html").is_file()


def test_summary_knows_the_sizes(folder: Path) -> None:
    found = summary(recipe("frames", folder))
    assert (found["task"], found["input_size"], found["output_size"]) == ("speech", 33, 33)
    assert found["length"] == build_task(recipe("frames", folder)).load().train.longest
