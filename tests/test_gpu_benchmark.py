"""The measurements on a CUDA card, rehearsed on the CPU, and their table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]


def rehearse(out: Path, *options: str) -> tuple[dict[str, dict[str, object]], str]:
    """Run the script and return its items and its text."""
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "run", out, "--device", "cpu", *options],
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (out / "gpu.txt").read_text(encoding="utf-8")
    assert text in done.stdout
    return json.loads((out / "gpu.json").read_text(encoding="utf-8"))["items"], text


def test_what_was_measured_is_kept_and_what_has_no_time_is_named(tmp_path: Path) -> None:
    only = "environment;steps at 784,128,1,128;epoch of permuted MNIST;profile"
    items, text = rehearse(tmp_path, "--seconds", "240", "--only", only)
    assert list(items) == only.split(";")
    assert {str(item["status"]) for item in items.values()} == {"done"}, text
    rows = items["steps at 784,128,1,128"]["rows"]
    assert isinstance(rows, list)
    assert {row["cell"] for row in rows} >= {"lstm", "gru", "momentum", "sr", "adam", "rmsprop", "momentum-dtriv"}
    assert {(row["work"], row["tf32"]) for row in rows} == {
        ("training", False), ("training", True), ("forward", False), ("forward", True)
    }  # fmt: skip
    assert all(row["x torch"] == 1.0 for row in rows if row["cell"] == "LSTM of torch")
    assert "times mean nothing" in text
    items, text = rehearse(tmp_path, "--seconds", "12", "--only", "environment")
    assert items == {"environment": {"status": "skipped: no time left", "rows": []}}


@pytest.mark.slow
def test_every_item_can_be_rehearsed(tmp_path: Path) -> None:
    items, text = rehearse(tmp_path, "--seconds", "270")
    assert {str(item["status"]) for item in items.values()} <= {"done", "out of time", "skipped: no time left"}, text


def started_by(folder: Path, names: tuple[str, ...], seconds: float) -> list[str]:
    """Return a command that runs functions of broken.py in a folder as items, with results in its folder out."""
    (folder / "start.py").write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(folder)!r}, {str(ROOT / 'benchmarks')!r}]\n"
        "import gpu\n"
        f"gpu.ITEMS = tuple(gpu.Item(name, f'broken.{{name}}', {seconds}) for name in {names})\n"
        "gpu.GRACE_SECONDS = 1.0\n"
        "if __name__ == '__main__':\n    gpu.main()\n",
        encoding="utf-8",
    )
    return [sys.executable, str(folder / "start.py"), str(folder / "out"), "--device", "cpu", "--seconds", "60"]


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
def test_a_run_that_is_killed_leaves_whole_results_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import os, time\n"
        "def rows(settings, limit):\n"
        "    for number in range(10_000):\n        time.sleep(0.001)\n"
        "        yield {'process': os.getpid(), 'row': number, 'text': 'x' * 1000}\n",
        encoding="utf-8",
    )
    results = tmp_path / "out" / "gpu.json"
    with subprocess.Popen(started_by(tmp_path, ("rows",), 50.0), stdout=subprocess.DEVNULL) as running:
        end = time.monotonic() + 60
        while not results.is_file() or '"row": 20' not in results.read_text(encoding="utf-8"):
            assert time.monotonic() < end
            time.sleep(0.01)
        running.kill()
    item = json.loads(results.read_text(encoding="utf-8"))["items"]["rows"]
    assert item["status"] == "running"
    assert [row["row"] for row in item["rows"]] == list(range(len(item["rows"])))
    assert (tmp_path / "out" / "gpu.txt").read_text(encoding="utf-8").startswith("20")
    stat = Path(f"/proc/{item['rows'][0]['process']}/stat")
    end = time.monotonic() + 60
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_cell_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_steps

    def broken(*sizes: int, **options: Any) -> torch.nn.Module:
        layer = gpu_steps.LSTM(*sizes, **options)
        layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyError("no compiler")))
        return layer

    monkeypatch.setattr(gpu_steps, "TORCH", {4: broken, 3: torch.nn.GRU, 1: torch.nn.RNN})
    monkeypatch.setattr(gpu_steps, "CELLS", {name: gpu_steps.CELLS[name] for name in ("lstm", "gru")} | {"bad": broken})
    rows = list(gpu_steps.steps(SimpleNamespace(rehearsal=True, device="cpu"), 1.0, (1, 1, 1, 1)))
    assert [row["cell"] for row in rows[:6]] == ["torch 4", "GRU of torch", "RNN of torch", "lstm", "gru", "bad"]
    assert [row["cell"] for row in rows if "problem" in row] == ["torch 4", "bad"] * 4
    assert {row["problem"] for row in rows if "problem" in row} == {"KeyError: 'no compiler'"}
    assert rows[4]["x torch"] > 0
    assert rows[3]["x torch"] is None  # nothing to compare with
    assert rows[3]["wall ms"] > 0


def test_an_item_that_fails_or_hangs_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import time\n"
        "def fails(settings, limit):\n    yield {'row': 1}\n    raise ValueError('on purpose')\n"
        "def hangs(settings, limit):\n    yield {'row': 1}\n    time.sleep(1000)\n"
        "def dies(settings, limit):\n    import os\n    os._exit(7)\n    yield {}\n"
        "def works(settings, limit):\n"
        "    yield {'row': 1, 'value': 0.123456}\n    yield {'row': 2, 'pair': (1.0, 2.5)}\n"
        "def slow(settings, limit):\n    while True:\n        time.sleep(0.3)\n        yield {'row': 1}\n",
        encoding="utf-8",
    )
    command = started_by(tmp_path, ("fails", "hangs", "dies", "works", "slow"), 1.0)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    items = json.loads((tmp_path / "out" / "gpu.json").read_text(encoding="utf-8"))["items"]
    assert items["fails"]["status"].startswith("ValueError: on purpose\nTraceback")
    assert items["hangs"]["status"] == "killed after 2 s"
    assert items["dies"]["status"] == "its process ended with code 7"
    assert items["works"]["status"] == "done"
    assert items["slow"]["status"] == "out of time"
    assert [len(item["rows"]) for item in items.values()][:4] == [1, 1, 0, 2]
    text = (tmp_path / "out" / "gpu.txt").read_text(encoding="utf-8")
    assert "row  value   pair\n1    0.1235\n2            1-2.5" in text
