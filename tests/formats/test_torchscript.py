"""TorchScript files with torch alone: from a Python that cannot import this package, and from C++."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.formats.export import export, open_program
from momentum_cli.recipe.building import build_task
from momentum_cli.training.trained import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run.safetensors", "model.hidden_size=6")


def test_loads_where_the_package_is_not(run: Path, tmp_path: Path) -> None:
    """A fresh interpreter in which importing momentum_cli fails."""
    export(run, format="torchscript", stateful=True, out=tmp_path / "model.pt", check_accuracy=False)
    images = torch.randint(0, 17, (2, 8, 8)).numpy()
    np.save(tmp_path / "x.npy", images)
    script = (
        "import sys, runpy; sys.modules['momentum_cli'] = None; "
        f"sys.path.insert(0, {str(EXAMPLES)!r}); "
        f"sys.argv = ['x', {str(tmp_path / 'model.pt')!r}, {str(tmp_path / 'x.npy')!r}, '2']; "
        f"runpy.run_path({str(EXAMPLES / 'torchscript_streaming.py')!r}, run_name='__main__')"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    expected = open_program(tmp_path / "model.pt").run(torch.from_numpy(images).float() / 16)[0].argmax(1)
    assert [int(label) for label in printed.split()] == expected.tolist()


def test_prepare_is_the_preprocessing_of_training(run: Path, tmp_path: Path) -> None:
    export(run, format="torchscript", out=tmp_path / "model.pt", check_accuracy=False)
    program: Any = open_program(tmp_path / "model.pt")
    dataset = build_task(load_model(run).recipe).load(None)
    batch = dataset.test.batch(torch.arange(20))
    images = (batch.inputs * 16).round().to(torch.uint8).reshape(20, 8, 8)
    assert torch.equal(program.module.prepare(images), batch.inputs)


def test_prepare_scales_columns_as_training_does(tmp_path: Path) -> None:
    rows = ["id,step,p,q,label"]
    rows += [
        f"{i},{t},{101325 + i * 7 + t},{'' if t == 1 else t * i},{'ab'[i % 2]}" for i in range(40) for t in range(3)
    ]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    recipe = tmp_path / "x.yaml"
    task = "name: files, path: x.csv, kind: classification, sequence: id, order: step, target: label"
    task = f"{{{task}, missing: mean, normalise: range}}"
    recipe.write_text(
        f"task: {task}\nmodel: {{hidden_size: 3}}\noptimizer: {{name: sgd, lr: 0.1}}\ntrain: {{epochs: 1}}\n"
    )
    run = write_checkpoint(tmp_path / "run.safetensors", recipe=str(recipe))
    export(run, format="torchscript", out=tmp_path / "model.pt", check_accuracy=False)
    program: Any = open_program(tmp_path / "model.pt")
    dataset = build_task(load_model(run).recipe).load(None)
    raw = [[[101325 + i * 7 + t, float("nan") if t == 1 else t * i] for t in range(3)] for i in range(40)]
    prepared = program.module.prepare(torch.tensor(raw, dtype=torch.float64))
    for inputs in dataset.test.batch(torch.arange(len(dataset.test))).inputs:
        assert (prepared == inputs).all(2).all(1).sum() == 1


@pytest.mark.slow
def test_cpp_consumer(run: Path, tmp_path: Path) -> None:
    """Build examples/cpp against libtorch, and compare its classes with the checkpoint's, whole and step by step."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    home, program = Path(torch.__file__).parent, tmp_path / "classify"
    include = [f"-I{home}/include", f"-I{home}/include/torch/csrc/api/include"]
    libraries = [f"-L{home}/lib", f"-Wl,-rpath,{home}/lib", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]
    source = str(EXAMPLES / "cpp" / "classify.cpp")
    command = [compiler, "-std=c++20", *include, source, *libraries, "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    images = np.random.default_rng(0).integers(0, 17, (50, 8, 8)).astype(np.uint8)
    model = load_model(run).model
    with torch.no_grad():
        expected = model(torch.from_numpy(images).float() / 16)[0].argmax(1).tolist()
    for stateful in (False, True):
        path = tmp_path / f"model-{stateful}.pt"
        export(run, format="torchscript", stateful=stateful, out=path, check_accuracy=False)
        command = [str(program), str(path), "8", "8"]
        done = subprocess.run(command, input=images.tobytes(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert [int(line) for line in done.stdout.split()] == expected
    bad = subprocess.run([*command[:2], "9", "9"], input=images.tobytes(), capture_output=True, check=False)
    assert bad.returncode == 3
