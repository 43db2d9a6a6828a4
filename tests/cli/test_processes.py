"""Commands with the real engine, and in processes of their own: signals, pipes, locales, what is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_lines import one_object, process, run

import momentum_cli
from momentum_cli.cli import command_group
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recipe.shipped import shipped_recipes

pytestmark = pytest.mark.usefixtures("alone")


def test_train_resume_and_evaluate_for_real(tmp_path: Path) -> None:
    tiny = ["model.hidden_size=4", "train.max_steps=3", "train.batch_size=8", "target=null", "--accelerator", "cpu"]
    result = run("train", "digits", *tiny, "--json")
    assert result.exit_code == 0, result.stderr
    summary = one_object(result.stdout)
    assert (summary["steps"], summary["cell"], summary["stop_reason"]) == (3, "momentum", "max_steps")
    folder = tmp_path / "runs" / "digits-momentum-001"
    assert tmp_path / summary["run_dir"] == folder
    assert load_recipe(folder / "recipe.yaml") == load_recipe("digits", tiny[:4])
    assert (folder / "source.yaml").read_bytes() == shipped_recipes()["digits"].read_bytes()

    result = run("train", "--resume", "train.max_steps=5", "-q")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    # The cosine had ended: what an extension does to the learning rate is said, quiet or not.
    assert result.stderr.startswith("warning: the cosine schedule now has 5 steps instead of 3")
    assert len(result.stderr.splitlines()) == 1
    assert json.loads((folder / "result.json").read_text())["steps"] == 5

    text = run("eval", str(folder)).stdout
    assert "test, 360 sequences" in text
    assert "\x1b" not in text
    assert [line.split()[0] for line in text.splitlines()[-10:]] == list("0123456789")
    evaluated = one_object(run("eval", str(folder), "--split", "validation", "--json").stdout)
    assert evaluated["samples"] == 180
    assert run("eval", str(tmp_path)).exit_code == 3
    assert run("eval", str(folder), "--split", "tset").exit_code == 2


def test_dry_run_leaves_nothing_behind(tmp_path: Path) -> None:
    result = run("train", "digits", "model.hidden_size=4", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    assert one_object(result.stdout)["steps"] == 1200
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_set_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    result = run("train", "pmnist", "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == 3, result.stderr
    assert "train-images-idx3-ubyte" in result.stderr
    assert str(tmp_path / "data" / "MNIST" / "raw") in result.stderr


@pytest.mark.parametrize("command", ["", "train", "bench", "recipes", "recipes show"])
def test_help_needs_neither_torch_nor_pydantic_nor_displays(command: str) -> None:
    heavy = ("torch", "pydantic", "yaml", "numpy", "matplotlib", "momentum_cli.machine", "momentum_cli.ui.run_plain")
    code = (
        "import sys; from momentum_cli.cli import app\n"
        f"try: app([*{command.split()}, '--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_light_commands_do_not_import_torch() -> None:
    code = (
        "import sys; from momentum_cli.cli import app\n"
        "for args in (['recipes', 'list'], ['recipes', 'copy', 'digits'], ['--version'], ['train', '-h']):\n"
        "    try: app(args)\n"
        "    except SystemExit as e: assert not e.code\n"
        "    assert 'torch' not in sys.modules, args"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)


def test_version() -> None:
    assert run("--version").stdout == f"momentumrnn {momentum_cli.__version__}\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])  # met when the command ends, or inside it
def test_a_reader_that_goes_away_is_no_error(unbuffered: str) -> None:
    command = [sys.executable, "-m", "momentum_cli", "recipes", "list"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    writer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    error = writer.stderr.read()
    writer.stderr.close()
    assert (writer.wait(timeout=60), error) == (command_group.BROKEN_PIPE, b"")


def test_sigterm_is_143() -> None:
    code = (
        "import momentum_cli.recipe.recipe, time, sys\n"
        "def wait():\n    print('ready', flush=True); time.sleep(60)\n"
        "momentum_cli.recipe.recipe.describe_recipes = wait\n"
        "from momentum_cli.__main__ import main; sys.argv = ['momentumrnn', 'recipes', 'list']; main()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.terminate()
    child.stdout.close()
    assert child.wait(timeout=60) == 143


def test_an_interrupted_training_can_be_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "momentum_cli", "train", "digits", "model.hidden_size=4", "train.epochs=100000"]
    with (tmp_path / "err").open("wb") as errors:
        child = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=errors)
        log = tmp_path / "runs" / "digits-momentum-001" / "metrics.jsonl"
        give_up = time.monotonic() + 100
        while not (log.exists() and log.stat().st_size) and child.poll() is None and time.monotonic() < give_up:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        stdout, _ = child.communicate(timeout=60)
    error = one_object(stdout.decode())["error"]
    assert (child.returncode, error["exit_code"]) == (130, 130), (tmp_path / "err").read_text()
    assert "--resume" in error["message"]
    assert (log.parent / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_write_one_object(tmp_path: Path) -> None:
    options = ["model.hidden_size=4", "train.epochs=1", "target=null", "--devices", "2", "--accelerator", "cpu"]
    result = process("train", "digits", *options, "--json")
    assert result.returncode == 0, result.stderr
    assert one_object(result.stdout)["processes"] == 2


@pytest.mark.skipif(os.name == "nt", reason="locales of POSIX")
def test_a_name_with_letters_that_the_locale_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "größe.yaml").write_text("name: größe\n", encoding="utf-8")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name, code in (("größe.yaml", 0), ("gewächs.yaml", 2)):
        words = [sys.executable, "-m", "momentum_cli", "recipes", "show", name]
        done = subprocess.run(words, cwd=tmp_path, env=plain, capture_output=True, check=False, timeout=60)
        assert done.returncode == code, done.stderr
        assert b"bug" not in done.stderr
    assert b"gew\\udcc3\\udca4chs.yaml: no such file" in done.stderr


def test_another_process_writes_nothing_to_stdout() -> None:
    result = process("recipes", "list", RANK="1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
