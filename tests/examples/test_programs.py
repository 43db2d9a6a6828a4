"""The examples of training with other libraries, and of serving in JavaScript."""

from __future__ import annotations

import json
import math
import os
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from untrained import write_checkpoint

from momentum_cli.formats.export import export
from momentum_cli.inference.predict.predict import predict

EXAMPLES = Path(__file__).parents[2] / "examples"
# Other libraries warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("default")


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


def test_a_plain_loop_learns() -> None:
    losses = example("training_loop.py")["train"](steps=120)
    # Always answering 1 has 1/6.
    assert sum(losses[-10:]) / 10 < 0.75 / 6


@pytest.mark.slow
def test_a_lightning_module_learns() -> None:
    pytest.importorskip("lightning")
    options = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    assert example("lightning_module.py")["fit"](epochs=2, **options) > 0.6


@pytest.mark.slow
def test_a_loop_with_accelerate_learns() -> None:
    pytest.importorskip("accelerate")
    assert example("accelerate_loop.py")["fit"](epochs=2, cpu=True) > 0.6


@pytest.mark.slow
def test_an_estimator_is_cross_validated_and_cloned() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.datasets import load_digits
    from sklearn.model_selection import cross_val_score

    estimator = example("sklearn_estimator.py")["MomentumClassifier"](epochs=3)
    digits = load_digits()
    scores = cross_val_score(clone(estimator), digits.images / 16, digits.target.astype(str), cv=2)
    assert scores.min() > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classification", "forecasting, window: 5, horizon: 2"])
def test_javascript_has_the_answers_of_predict(kind: str, tmp_path: Path) -> None:
    node = shutil.which("node") or pytest.skip("no node")
    probe = subprocess.run(
        [node, "-e", "require('onnxruntime-web')"], cwd=EXAMPLES / "js", capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip("no onnxruntime-web: npm install in examples/js, or NODE_PATH")
    pytest.importorskip("onnx")
    lines = ["id,step,p,q,label"]
    lines += [
        f"{n},{t},{1013 + math.sin(n + t):.4f},{20 * math.cos(n * t):.4f},{'slow' if n % 2 else 'fast'}"
        for n in range(30)
        for t in range(20)
    ]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    first, step, _, *rest = lines[-5].split(",")
    one = [lines[0], *lines[-20:-5], ",".join([first, step, "", *rest]), *lines[-4:]]
    (tmp_path / "one.csv").write_text("\n".join(one))
    target = "label" if kind == "classification" else "q"
    task = f"name: files, path: all.csv, sequence: id, order: step, features: [p, q], target: {target}, kind: {kind}"
    task += ", missing: forward_fill"
    (tmp_path / "x.yaml").write_text(
        f"task: {{{task}}}\nmodel: {{hidden_size: 8, cell: nesterov}}\noptimizer: {{name: sgd, lr: 0.1}}\n"
        "train: {epochs: 1}\n"
    )
    run = write_checkpoint(tmp_path / "run.safetensors", recipe=str(tmp_path / "x.yaml"))
    export(run, format="onnx", stateful=True, out=tmp_path / "hub", check_accuracy=False)
    predict(run, [str(tmp_path / "one.csv")], out=tmp_path / "answer.jsonl")
    expected = json.loads((tmp_path / "answer.jsonl").read_text())
    command = [node, str(EXAMPLES / "js" / "onnx_streaming.js"), str(tmp_path / "hub"), str(tmp_path / "one.csv")]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert said.returncode == 0, said.stderr
    if "label" in expected:
        assert said.stdout.strip() == expected["label"]
    else:
        assert [float(word) for word in said.stdout.split()] == pytest.approx(expected["values"]["q"], rel=1e-4)


def cells_of(notebook: str) -> list[dict[str, Any]]:
    content = json.loads((EXAMPLES / notebook).read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_of_a_csv_was_run_from_its_top_to_its_end() -> None:
    cells = cells_of("csv_to_forecast.ipynb")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])


@pytest.mark.slow
def test_the_notebook_of_a_csv_beats_the_naive_forecast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict[str, Any] = {}
    for cell in cells_of("csv_to_forecast.ipynb"):
        exec(compile("".join(cell["source"]), "notebook", "exec"), names)
    plt.close("all")
    assert names["found"].metrics["mae"] < names["naive"]["metrics"]["mae"]
    assert (tmp_path / "forecast" / "README.md").is_file()
