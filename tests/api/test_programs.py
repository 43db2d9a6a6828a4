"""Programs of users as they run them: the notebook of the examples, and a script that starts processes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "from_python.ipynb"
SCRIPT = """
print("once", flush=True)
from momentum_cli import bench
small = {"model.hidden_size": 4, "train.batch_size": 256, "target": None}
print(len(bench("digits", small, cells="lstm", seeds="0-1", budget_steps=2, jobs=2, out="bench").arms), flush=True)
"""


def cells() -> list[dict[str, object]]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["kernelspec"]["name"]) == (4, "python3")
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_was_run_from_its_top_to_its_end() -> None:
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    for cell in cells():
        last = ast.parse("".join(cell["source"])).body[-1]  # type: ignore[arg-type]
        assert bool(cell["outputs"]) >= isinstance(last, ast.Expr)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    names: dict[str, object] = {}
    for cell in cells():
        exec(compile("".join(cell["source"]), "notebook", "exec"), names)  # type: ignore[arg-type]
    plt.close("all")
    assert (tmp_path / "runs").is_dir()


@pytest.mark.slow
def test_a_script_may_start_a_benchmark_without_asking_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert (done.returncode, done.stdout) == (0, "once\n1\n"), done.stderr
