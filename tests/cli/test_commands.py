"""The command line: arguments reach the engine, results and errors have one form, and help answers at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import momentum_cli
from momentum_cli import cli
from momentum_cli.cells.catalogue import all_cells
from momentum_cli.cli import command_group, completion
from momentum_cli.data import TASKS
from momentum_cli.errors import DataError, Interrupted, RecipeError, RunError
from momentum_cli.progress import NullUi
from momentum_cli.recipe.recipe import Recipe, load_recipe, parse_recipe
from momentum_cli.recipe.shipped import shipped_recipes
from momentum_cli.training.find import find_run
from momentum_cli.ui import terminal

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*RANKS, "MOMENTUMRNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.app, list(args))


def one_object(text: str) -> dict[str, Any]:
    """Parse text that must be exactly one JSON object in one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    parsed = json.loads(text)
    assert isinstance(parsed, dict)
    return parsed


def process(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "momentum_cli", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


class Engine:
    """Stands in for the training engine and keeps what it was called with."""

    def __init__(self, result: dict[str, Any] | Exception) -> None:
        self.result = result
        self.recipe: Recipe | None = None
        self.arguments: dict[str, Any] = {}

    def __call__(self, recipe: Any, **arguments: Any) -> dict[str, Any]:
        self.recipe, self.arguments = recipe, arguments
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine({"steps": 3, "target": None})
    monkeypatch.setattr("momentum_cli.training.train.train", engine)
    return engine


# Arguments reach the engine.


def test_train_passes_recipe_and_options(engine: Engine, tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path), "--out", "x", "--overwrite", "--devices", "2", "--nodes", "3"]
    result = run("train", "digits", "model.cell=adam", *options, "--accelerator", "cpu", "train.seed=7")
    assert result.exit_code == 0, result.output
    assert engine.recipe == load_recipe("digits", ["model.cell=adam", "train.seed=7"])
    engine.arguments.pop("ui")
    assert engine.arguments == {
        "data_dir": tmp_path,
        "out": Path("x"),
        "overwrite": True,
        "resume": None,
        "devices": 2,
        "nodes": 3,
        "accelerator": "cpu",
        "source": shipped_recipes()["digits"],
    }


def test_data_dir_comes_from_the_environment(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("train", "digits")
    assert engine.arguments["data_dir"] is None
    monkeypatch.setenv("MOMENTUMRNN_DATA", str(tmp_path))
    run("train", "digits")
    assert engine.arguments["data_dir"] == tmp_path
    run("train", "digits", "--data-dir", str(tmp_path / "other"))
    assert engine.arguments["data_dir"] == tmp_path / "other"


def make_run(folder: Path, *overrides: str, age: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    load_recipe("digits", overrides).save(folder / "recipe.yaml")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.safetensors").touch()
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_resume_takes_the_recipe_of_the_run(engine: Engine, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mine", "model.cell=gru")
    result = run("train", "--resume", "mine", "train.epochs=99")
    assert result.exit_code == 0, result.output
    assert engine.recipe is not None
    assert (engine.recipe.model.cell, engine.recipe.train.epochs) == ("gru", 99)
    assert engine.arguments["resume"] == Path("mine")
    assert engine.arguments["source"] is None
    assert engine.arguments["out"] is None
    run("train", str(folder), "--resume")
    assert engine.arguments["resume"] == folder


def test_resume_finds_the_newest_run(engine: Engine, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    make_run(runs / "digits-adam-001", "model.cell=adam", age=30)
    make_run(runs / "digits-momentum-gru-002", "model.cell=momentum-gru", age=20)
    make_run(runs / "digits-big-lstm-001", "model.cell=lstm", age=10)
    (runs / "notes").mkdir()
    run("train", "--resume", "train.epochs=5")
    assert engine.arguments["resume"] == Path("runs/digits-big-lstm-001")
    assert engine.recipe is not None
    assert engine.recipe.train.epochs == 5
    run("train", "digits", "--resume")
    assert engine.arguments["resume"] == Path("runs/digits-momentum-gru-002")
    assert find_run("digits.yaml") == Path("runs/digits-momentum-gru-002")
    assert find_run("runs/digits-adam-001/checkpoints/last.safetensors") == Path("runs/digits-adam-001")
    with pytest.raises(DataError, match="did you mean 'runs/digits-adam-001'"):
        find_run("runs/digits-adm-001")
    with pytest.raises(DataError, match=r"not a run; .* there are runs/digits-big-lstm-001, runs/digits-momentum-gru"):
        find_run("runs/notes")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train"], "RECIPE"),
        (["train", "model.cell=adam"], "RECIPE"),
        (["train", "digits", "--resume", "--out", "x"], "--out"),
        (["train", "digits", "--resume", "--dry-run"], "--dry-run"),
        (["train", "digits", "--devices", "0"], "--devices"),
        (["train", "digits", "--devices", "two"], "--devices"),
        (["train", "digits", "--nodes", "0"], "--nodes"),
        (["train", "digits", "--accelerator", "tpu"], "--accelerator"),
        (["train", "digits", "pmnist"], "key.path=value"),
        (["train", "digits", "--epochs", "3"], "--epochs"),
        (["train", "digts"], "did you mean 'digits'"),
        (["validate", "digits", "model.cel=gru"], "did you mean 'cell'"),
        (["eval"], "RUN"),
        (["recipes", "show", "pmnst"], "did you mean 'pmnist'"),
        (["trian"], "trian"),
    ],
)
def test_wrong_usage_exits_with_2(engine: Engine, args: list[str], message: str) -> None:
    for extra in ([], ["--json"]) if args[0] in {"train", "validate", "eval"} else ([],):
        result = run(*args, *extra)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr
        if extra:
            error = one_object(result.stdout)["error"]
            assert error["exit_code"] == 2
            assert message in error["message"]
        else:
            assert result.stdout == ""
    assert engine.recipe is None


# Results and errors have one form.


def test_json_is_one_object_and_numbers_survive(engine: Engine) -> None:
    engine.result = {"steps": 3, "loss": float("nan"), "path": Path("a"), "best": {"value": 0.5}, "target": None}
    result = run("train", "digits", "--json")
    assert result.exit_code == 0
    assert one_object(result.stdout) == {
        "steps": 3,
        "loss": "NaN",
        "path": "a",
        "best": {"value": 0.5},
        "target": None,
    }


@pytest.mark.parametrize(("reached", "code"), [(True, 0), (False, 4)])
def test_a_missed_target_exits_with_4(engine: Engine, reached: bool, code: int) -> None:
    engine.result = {"target": {"metric": "accuracy", "value": 0.9, "reached": reached}}
    result = run("train", "digits", "--json")
    assert result.exit_code == code
    assert one_object(result.stdout) == engine.result


def test_a_missed_target_is_told_in_a_quiet_run_too(engine: Engine) -> None:
    engine.result = {"target": {"metric": "accuracy", "value": 0.9, "reached": False}}
    result = run("train", "digits", "--quiet")
    assert result.exit_code == 4
    assert result.stderr == "error: target accuracy >= 90.00 % was not reached\n"
    engine.result["target"]["reached"] = True
    assert run("train", "digits", "--quiet").output == ""


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (RunError("diverged at step 3"), 1, "RunError"),
        (RecipeError("no [bold]such[/bold] thing"), 2, "RecipeError"),
        (DataError("no images in " + "x" * 200), 3, "DataError"),
        (Interrupted("stopped", signal.SIGINT), 130, "Interrupted"),
        (Interrupted("stopped", signal.SIGTERM), 143, "Interrupted"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError"),
        (MemoryError(), 1, "RunError"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 640 GB"), 1, "RunError"),
    ],
)
def test_errors_become_a_message_and_an_exit_code(engine: Engine, error: Exception, code: int, kind: str) -> None:
    engine.result = error
    result = run("train", "digits")
    assert result.exit_code == code
    assert result.stdout == ""
    assert str(error) in result.stderr  # in one piece, markup untouched
    assert "Traceback" not in result.stderr
    assert ("--debug" in result.stderr) == (kind == "ZeroDivisionError")
    result = run("train", "digits", "--json")
    assert result.exit_code == code
    shown = one_object(result.stdout)["error"]
    assert (shown["type"], shown["exit_code"]) == (kind, code)
    assert str(error) in shown["message"]


def test_debug_may_stand_anywhere(engine: Engine) -> None:
    engine.result = ZeroDivisionError("division by zero")
    for args in (["--debug", "train", "digits"], ["train", "digits", "--debug"]):
        result = run(*args)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr
        assert "Engine" in result.stderr or "__call__" in result.stderr


def test_ctrl_c_before_training_is_130(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("momentum_cli.training.train.train", interrupt)
    result = run("train", "digits", "--json")
    assert result.exit_code == 130
    assert one_object(result.stdout)["error"]["message"] == "interrupted"


def test_mistakes_of_a_recipe_are_listed_in_json(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("task: {name: digits}\nmodel: {hiden_size: 3}\n", encoding="utf-8")
    result = run("validate", "my.yaml", "train.epochs=x", "--json")
    assert result.exit_code == 2
    problems = one_object(result.stdout)["error"]["problems"]
    assert {(entry["where"], entry["path"]) for entry in problems} == {
        ("my.yaml:2", "model.hiden_size"),
        ("my.yaml:2", "model.hidden_size"),
        ("my.yaml", "optimizer"),
        ("override 'train.epochs=x'", "train.epochs"),
    }


def test_errors_are_red_on_a_terminal_unless_no_color(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal.print_error("wrong")
    assert "\x1b[31mwrong" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.print_error("wrong")
    assert "31m" not in capsys.readouterr().err


# Several processes.


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "1", "LOCAL_RANK": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),  # torchrun, first process of the second machine
        ({"LOCAL_RANK": "1"}, False),  # Fabric's own launch
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_only_one_process_writes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], main: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(command_group, "_silence_stdout", lambda: None)  # the runner's stdout is this process's
    assert terminal.is_main_process() == main
    run("train", "digits", "--json")
    assert (type(engine.arguments["ui"]) is NullUi) != main
    engine.result = RecipeError("wrong for all")
    result = run("train", "digits", "--json")
    assert (result.exit_code, bool(result.stdout), bool(result.stderr)) == (2, main, main)
    # What may have happened to one process alone is said by that process.
    engine.result = DataError("unreadable")
    result = run("train", "digits", "--json")
    assert (result.exit_code, bool(result.stdout)) == (3, main)
    assert ("process" in result.stderr) != main
    assert "unreadable" in result.stderr


def test_another_process_writes_nothing_to_stdout() -> None:
    result = process("recipes", "list", RANK="1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# Commands that only look.


def test_recipes_list() -> None:
    listed = one_object(run("recipes", "list", "--json").stdout)["recipes"]
    assert [entry["name"] for entry in listed] == list(shipped_recipes())
    for entry in listed:
        assert entry["command"] == f"momentumrnn train {entry['name']}"
        assert entry["about"]
        assert entry["task"] in TASKS
    text = run("recipes", "list").stdout
    assert all(name in text for name in shipped_recipes())
    assert "\x1b" not in text


def test_recipes_show() -> None:
    assert run("recipes", "show", "digits").stdout.strip() == shipped_recipes()["digits"].read_text().strip()
    resolved = run("recipes", "show", "digits", "--resolved", "model.cell=gru").stdout
    assert load_resolved(resolved) == load_recipe("digits", ["model.cell=gru"])
    shown = one_object(run("recipes", "show", "digits", "--json").stdout)
    assert parse_recipe(shown) == load_recipe("digits")


def load_resolved(text: str) -> Recipe:
    Path("resolved.yaml").write_text(text, encoding="utf-8")
    return load_recipe("resolved.yaml")


def test_recipes_copy(tmp_path: Path) -> None:
    original = shipped_recipes()["digits"].read_bytes()
    assert run("recipes", "copy", "digits").stdout.strip() == "digits.yaml"
    assert (tmp_path / "digits.yaml").read_bytes() == original
    (tmp_path / "digits.yaml").write_text("mine", encoding="utf-8")
    result = run("recipes", "copy", "digits.yaml")
    assert result.exit_code == 2
    result = run("recipes", "copy", "pmnist", "digits.yaml")
    assert "exists" in result.stderr
    assert (tmp_path / "digits.yaml").read_text() == "mine"
    assert run("recipes", "copy", "pmnist", "digits.yaml", "--overwrite").exit_code == 0
    assert (tmp_path / "digits.yaml").read_bytes() == shipped_recipes()["pmnist"].read_bytes()
    assert run("recipes", "copy", "digits", "no/such/folder/x.yaml").exit_code == 2


def test_recipes_schema() -> None:
    assert one_object(run("recipes", "schema").stdout)["title"] == "Recipe"


def test_validate(capsys: Any) -> None:
    assert "valid (adam on digits)" in run("validate", "digits", "model.cell=adam").stdout
    assert run("validate", "digits", "-q").stdout == ""
    assert one_object(run("validate", "digits", "--json").stdout)["valid"] is True


def test_cells_list() -> None:
    listed = one_object(run("cells", "list", "--json").stdout)["cells"]
    assert [cell["name"] for cell in listed] == list(all_cells())
    adam = next(cell for cell in listed if cell["name"] == "adam-gru")
    assert adam["options"]["beta2"] == {"default": 0.9, "range": "[0, 1)"}
    assert (adam["dynamics"], adam["layer"]) == ("adam", "gru")
    text = run("cells", "list").stdout
    assert all(name in text.split() for name in all_cells())


def test_doctor(tmp_path: Path) -> None:
    report = one_object(run("doctor", "--json", "--data-dir", str(tmp_path)).stdout)
    import torch

    assert report["momentumrnn"] == momentum_cli.__version__
    assert report["packages"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert report["threads"]["torch"] == torch.get_num_threads()
    assert report["devices"][0]["name"] == "cpu"
    assert report["backends"]["reference"]["cpu"] == dict.fromkeys(report["backends"]["reference"]["cpu"])
    assert report["backends"]["native"]["cpu"]["momentum"] is None
    assert "linear" in report["backends"]["native"]["cpu"]["adam"]
    assert report["data"]["folder"] == str(tmp_path)
    assert report["data"]["tasks"].keys() == TASKS.keys()
    assert "missing" in report["data"]["tasks"]["pmnist"]
    assert list(tmp_path.iterdir()) == []
    text = run("doctor", "--data-dir", str(tmp_path)).stdout
    assert torch.__version__.partition("+")[0] in text


def test_doctor_names_damaged_data(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\x00" * 10_008)
    report = one_object(run("doctor", "--json", "--data-dir", str(tmp_path)).stdout)
    assert report["data"]["tasks"]["mnist"].startswith("damaged: t10k-labels-idx1-ubyte in")


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "pm.yaml").touch()
    (tmp_path / "pm.txt").touch()
    (tmp_path / "pmx").mkdir()
    assert completion.complete_recipe("pm") == ["pmnist", "pmnist-fast", "pmnist-medium", "pm.yaml", "pmx/"]
    assert completion.complete_override("model.cell=adam") == [
        f"model.cell={c}" for c in all_cells() if c[:4] == "adam"
    ]
    assert completion.complete_override("train.ep") == ["train.epochs="]
    assert completion.complete_override("model.init=") == ["model.init=torch", "model.init=paper"]
    assert completion.complete_override("model.bias=f") == ["model.bias=false"]
    assert completion.complete_override("optimizer.name=rm") == ["optimizer.name=rmsprop"]
    # A key alone is followed by its values, or the shell would add a space behind it.
    assert completion.complete_override("schedule.na")[0] == "schedule.name=constant"
    assert completion.complete_override("cells.adam-gru.") == ["cells.adam-gru."]
    assert completion.complete_cells("lstm,gr") == ["lstm,gru"]
    assert "lstm,lstm" not in completion.complete_cells("lstm,ls")
    make_run(tmp_path / "runs" / "a-lstm-001")
    assert completion.complete_run("") == ["runs/a-lstm-001", "pmx/", "runs/"]


@pytest.mark.parametrize(
    ("broken", "current", "words", "place", "typed"),
    [
        (["m", "train", "di"], 2, ["m", "train", "di"], 2, ""),
        (["m", "train", "d", "model.cell", "=", "ad"], 5, ["m", "train", "d", "model.cell=ad"], 3, "model.cell="),
        (["m", "train", "d", "model.cell", "="], 4, ["m", "train", "d", "model.cell="], 3, "model.cell="),
        (["m", "train", "a", "=", "b", "tr"], 5, ["m", "train", "a=b", "tr"], 3, ""),
        (["m", "x", "a", "=", "b", ":", "c"], 6, ["m", "x", "a=b:c"], 2, "a=b:"),
        (["m", "train"], 2, ["m", "train"], 2, ""),
    ],
)
def test_words_that_bash_breaks(broken: list[str], current: int, words: list[str], place: int, typed: str) -> None:
    assert completion.bash_words(broken, current) == (words, place, typed)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_the_value_behind_an_equals_sign() -> None:
    code = "from momentum_cli.cli import app; app(prog_name='momentumrnn')"
    words = ["momentumrnn", "train", "digits", "model.cell", "=", "adam-g"]
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": "5", "_MOMENTUMRNN_COMPLETE": "complete_bash"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout.split() == ["adam-gru"]


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_shell_completes_recipes(shell: str) -> None:
    environment = {
        "_MOMENTUMRNN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "momentumrnn train dig",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code = "from momentum_cli.cli import app; app(prog_name='momentumrnn')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # In zsh it is a list in the language of the shell: _arguments '*: :(("digits" …))'.
    found = result.stdout.split() if shell == "fish" else re.findall('"(.+?)"', result.stdout)
    assert found == [name for name in shipped_recipes() if name.startswith("dig")]


# The real engine.


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


# Real processes.


def test_help_needs_neither_torch_nor_pydantic_nor_displays() -> None:
    heavy = ("torch", "pydantic", "yaml", "numpy", "matplotlib", "momentum_cli.machine", "momentum_cli.ui.run_plain")
    code = (
        "import sys; from momentum_cli.cli import app\n"
        "try: app(['--help'])\n"
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
