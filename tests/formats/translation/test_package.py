"""Archives of translation models: parity with the checkpoint, use in eval, predict and generate, and damage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_text import content, pairs, write_corpus

from momentum_cli.errors import DataError, RecipeError, TargetError
from momentum_cli.formats.export import export, open_translation
from momentum_cli.formats.translation import package
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.generate import generate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.runs.checkpoint import save_checkpoint
from momentum_cli.training.launch import launch
from momentum_cli.training.snapshot import snapshot
from momentum_cli.training.train import train
from momentum_cli.training.trainer import Trainer

pytest.importorskip("sentencepiece")
pytest.importorskip("sacrebleu")
pytest.importorskip("onnxruntime")
# Every token is a call of a program, and one of pt2 takes many times as long.
FORMATS = ["onnx", pytest.param("pt2", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = content(corpus, beam_size=3)
    recipe["train"] |= {"epochs": 4, "eval_every_n_steps": 1000}
    train(parse_recipe(recipe), out=folder)
    return folder


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("files")

    @cache
    def file(name: str) -> Path:
        result = export(run, format=name, out=folder / f"model.{name}.zip")
        assert result["parity"]["cases"][-1]["inputs"] == "whole translations"
        assert result["parity"]["max_rel"] < 1e-4
        assert result["test"]["file"] == pytest.approx(result["test"]["checkpoint"], abs=0.5)
        return Path(result["file"])

    return file


@pytest.mark.parametrize("name", FORMATS)
def test_the_archive_translates_as_the_run_does(
    run: Path, files: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(source for source, _ in pairs(40, 8)), encoding="utf-8")
    written = []
    for model in (run, files(name)):
        predict(model, [str(lines)], out=tmp_path / "out.txt", format="txt")
        written.append((tmp_path / "out.txt").read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert len(set(written[0].split("\n"))) > 20
    mine, theirs = (evaluate(model, out=tmp_path, beam_size=1) for model in (run, files(name)))
    assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
    assert theirs["bleu"] == pytest.approx(mine["bleu"], abs=0.5)
    assert (theirs["search"], theirs["backend"]) == (mine["search"], name)
    one, other = (generate(model, prompt=pairs(40, 8)[0][0]) for model in (run, files(name)))
    assert one["text"] == other["text"]
    assert one["log_probability"] == pytest.approx(other["log_probability"], rel=1e-4)


def test_the_archive_has_all_that_a_program_needs(files: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(files("onnx")) as archive:
        assert set(archive.namelist()) == {"encoder.onnx", "step.onnx", "source.model", "momentumrnn.json"}
        described = json.loads(archive.read("momentumrnn.json"))
    assert described["translation"] == {
        "beam_size": 3,
        "length_penalty": 1.0,
        "limit": {"for_each_token": 2, "more": 10},
        "tokens": {"padding": 0, "unknown": 1, "start": 2, "end": 3},
    }
    assert [entry["name"] for entry in described["state"]] == ["h", "c", "velocity_l0", "readout"]


def test_the_example_translates_without_this_package(run: Path, files: Callable[[str], Path], tmp_path: Path) -> None:
    source = pairs(40, 8)[0][0]
    example = Path(__file__).parents[3] / "examples" / "onnx_translation.py"
    shutil.copy(example, tmp_path)
    code = (
        "import runpy, sys\n"
        "sys.modules['momentum_cli'] = sys.modules['torch'] = None\n"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "onnx_translation.py", str(files("onnx"))],
        input=f"{source}\n\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == generate(run, prompt=source, beam_size=1)["text"] + "\n\n"


def test_a_folder_has_the_archive_its_description_and_a_card(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "multi-1.0"
    result = export(run, format="onnx", out=folder, check_accuracy=False, stateful=True)
    assert (result["file"], result["folder"]) == (str(folder / "model.zip"), str(folder))
    assert result["stateful"]
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.zip"]
    with zipfile.ZipFile(folder / "model.zip") as archive:
        described = json.loads(archive.read("momentumrnn.json"))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == described
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: translation" in card
    assert "`momentumrnn.json` in it" in card
    source = pairs(40, 8)[0][0]
    assert generate(folder, prompt=source)["text"] == generate(run, prompt=source)["text"]
    export(run, format="onnx", out=folder, check_accuracy=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    with pytest.raises(RecipeError, match="is a folder with other files"):
        export(run, format="onnx", out=tmp_path / "other")


CASES: list[dict[str, Any]] = [
    {"cell": "lstm", "translation": {"tied": "target", "input_feeding": False}, "num_layers": 2},
    {"cell": "adam-gru", "translation": {"tied": "none"}},
    {"cell": "nesterov-rnn", "bidirectional": False, "translation": {}},
    {"cell": "momentum-dtriv", "translation": {}},
]


PLAIN = next(number for number, model in enumerate(CASES) if model["cell"] == "nesterov-rnn")
PAIRS = [
    pytest.param(
        model, name, id=f"{model['cell']}-{name}", marks=[pytest.mark.slow] * (name == "pt2" and number != PLAIN)
    )
    for name in ("onnx", "pt2")
    for number, model in enumerate(CASES)
]


@pytest.mark.parametrize(("model", "name"), PAIRS)
def test_every_cell_has_parity(corpus: Path, model: dict[str, Any], name: str, tmp_path: Path) -> None:
    recipe = content(corpus)
    recipe["model"] = {"hidden_size": 8, **model}
    recipe["task"]["joint"] = model["cell"] != "adam-gru"
    parsed = parse_recipe(recipe)
    trainer = Trainer(parsed, build_task(parsed).load(), launch(parsed, 1, 1, "cpu"))
    save_checkpoint(tmp_path / "model.safetensors", snapshot(trainer))
    result = export(tmp_path / "model.safetensors", format=name, out=tmp_path / "x.zip", check_accuracy=False)
    assert all(case["passed"] for case in result["parity"]["cases"])
    if not recipe["task"]["joint"]:
        assert "target.model" in zipfile.ZipFile(tmp_path / "x.zip").namelist()


def test_a_file_that_computes_something_else_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = package.PROGRAMS["onnx"].write

    def wrong(model: Any) -> Any:
        with torch.no_grad():
            model.readout.weight[0, 0] += 0.5
        found = original(model)
        model.readout.weight[0, 0] -= 0.5
        return found

    monkeypatch.setattr(package.PROGRAMS["onnx"], "write", wrong)
    with pytest.raises(TargetError, match="does not compute what the checkpoint does"):
        export(run, format="onnx", out=tmp_path / "x.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "torchscript"}, "--format must be onnx or pt2 for a model that translates"),
        ({"format": "torchscript", "out": "x.pt"}, "--format must be onnx or pt2 for a model that translates"),
        ({"format": "safetensors"}, "--format must be onnx or pt2"),
        ({"format": "onnx", "out": "x.onnx"}, "--out must end in .zip with --format onnx"),
        ({"format": "pt2", "aoti": True}, "--aoti must be left out"),
        ({"format": "onnx", "quantize": "int8"}, "--quantize must be left out"),
    ],
)
def test_what_export_refuses(run: Path, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        export(run, **options | {"out": tmp_path / options.get("out", "x")})
    assert list(tmp_path.iterdir()) == []


def changed(path: Path, out: Path, name: str, data: bytes | None) -> Path:
    """Copy an archive with one member changed, or without it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            if member != name or data is not None:
                new.writestr(member, data if member == name and data is not None else old.read(member))
    return out


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_archives_are_refused(files: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    good = files(name)
    described = json.loads(zipfile.ZipFile(good).read("momentumrnn.json"))
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-100])
    wrong = [
        (changed(good, tmp_path / "a.zip", f"step.{name}", b"nonsense"), "."),
        (changed(good, tmp_path / "b.zip", "momentumrnn.json", b"{}"), "format"),
        (changed(good, tmp_path / "c.zip", f"encoder.{name}", None), "cut short, damaged or of another kind"),
        (cut, "damaged"),
    ]
    for key, value in (("state", []), ("translation", {"beam_size": 0, "length_penalty": 1})):
        text = json.dumps(described | {key: value}).encode()
        wrong.append((changed(good, tmp_path / f"{key}.zip", "momentumrnn.json", text), "."))
    vocabulary = json.loads(json.dumps(described))
    vocabulary["dataset"]["preprocessing"]["sentencepiece"]["source"] = "AAAA"
    text = json.dumps(vocabulary).encode()
    wrong.append((changed(good, tmp_path / "v.zip", "momentumrnn.json", text), "subword vocabulary is damaged"))
    for path, message in wrong:
        with pytest.raises(DataError, match=message):
            generate(path, prompt="a")
    assert open_translation(good) is not None
