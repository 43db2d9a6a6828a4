"""The command line: arguments reach the engine, results and errors have one form."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from command_lines import make_run, one_object, run

from momentum_cli.cli import command_group
from momentum_cli.errors import DataError, Interrupted, RecipeError, RunError
from momentum_cli.progress import NullUi
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.recipe.shipped import shipped_recipes
from momentum_cli.training.find import find_run
from momentum_cli.ui import terminal

pytestmark = pytest.mark.usefixtures("alone")


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
