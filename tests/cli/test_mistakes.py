"""Mistakes of users: one exit code per kind of mistake in all commands, and messages that help."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from momentum_cli import cli
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train

TINY = ["model.hidden_size=2", "train.max_steps=1", "train.batch_size=4", "train.epochs=null", "target=null"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(load_recipe("digits", TINY), out=folder, accelerator="cpu")
    return folder


@pytest.fixture
def desk(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a run, a table, a text, plugins and a picture of a digit."""
    for name in ("MOMENTUMRNN_DATA", "RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "digits-momentum-001")
    rows = [f"{i},{t},{(i * t) % 7},{'ab'[i % 2]}" for i in range(20) for t in range(3)]
    Path("my.csv").write_text("\n".join(["id,time,x,label", *rows, ""]), encoding="utf-8")
    Path("text.txt").write_text("to be or not to be\n" * 300, encoding="utf-8")
    Path("broken.py").write_text("1 / 0\n", encoding="utf-8")
    Path("empty.py").touch()
    np.save("digit.npy", np.zeros((8, 8), np.float32))
    np.savez("arrays.npz", x=np.zeros((4, 3)), y=np.arange(4))
    for name in ("sounds/a/1.wav", "texts/a/1.txt"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(cli.app, line.replace("RUN", "runs/digits-momentum-001").split())


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


USAGE = [
    # Arguments.
    ("eval", "RUN: missing (a run folder"),
    ("predict RUN", "INPUT: missing (files, folders"),
    ("export RUN", "--format: missing (format"),
    ("trian", "Did you mean 'train'?"),
    ("recipes lst", "Did you mean 'list'?"),
    ("train digits --quite", "no such option: --quite; did you mean '--quiet'?"),
    ("train digits --epochs 3", "no such option: --epochs; it is a value of the recipe: write train.epochs=VALUE"),
    ("bench digits --batch-size 3", "it is a value of the recipe: write train.batch_size=VALUE"),
    ("validate digits --lr 1", "it is a value of the recipe: write optimizer.lr=VALUE"),
    ("train digits --print-config", "momentumrnn recipes show RECIPE --resolved shows it"),
    ("export RUN --format onxx", "got 'onxx'; did you mean 'onnx'?"),
    ("validate digits --plugin", "'--plugin' requires an argument"),
    # Numbers.
    ("train digits --nodes 0", "--nodes: must be >= 1, got '0'"),
    ("train digits --nodes x", "--nodes: must be an integer, got 'x'"),
    ("train digits --devices -1", "--devices: must be auto or a number >= 1, got '-1'"),
    ("eval RUN --batch-size 0", "--batch-size: must be >= 1, got '0'"),
    ("bench --tuned 0", "--tuned: must be >= 1, got '0'"),
    ("bench --tuned -1", "--tuned: must be >= 1, got '-1'"),
    ("bench --jobs -3", "--jobs: must be >= 1, got '-3'"),
    ("bench --epochs 0", "--budget-epochs / --epochs: must be >= 1, got '0'"),
    ("bench --budget-seconds x", "--budget-seconds: must be a number, got 'x'"),
    ("bench --budget-seconds 0", "train.max_seconds: must be > 0, got 0.0"),
    ("bench --rounds 3 --speed", "--rounds: must be >= 20, got '3'"),
    ("inspect digits --seed 99999999999", "--seed: must be <= 4.29497e+09, got '99999999999'"),
    ("predict RUN digit.npy --top 0", "--top: must be >= 1, got '0'"),
    # Options without effect.
    ("train digits --overwrite", "--overwrite replaces what is in --out, which was not given"),
    ("train digits --dry-run --overwrite", "--overwrite replaces what is in --out, which was not given"),
    ("train digits --dry-run --devices 2", "--devices: must be left out with --dry-run, which is one process"),
    ("train digits --dry-run --nodes 2", "--nodes: must be left out with --dry-run, which is one process"),
    ("train digits --dry-run --accelerator cuda", "no CUDA device was found"),
    ("train digits --dry-run --out text.txt", "--out text.txt is a file"),
    ("train digits --dry-run --out text.txt/x", "cannot make a run folder in text.txt/x"),
    ("train digits --dry-run --out RUN", "--overwrite to replace the run in it"),
    ("bench digits --overwrite", "--overwrite replaces what is in --out, which was not given"),
    ("bench --speed --overwrite", "--overwrite replaces what is in --out, which was not given"),
    ("tune digits --overwrite", "--overwrite replaces what is in --out, which was not given"),
    (
        "export RUN/checkpoints/last.safetensors --format onnx --checkpoint last",
        "--checkpoint must be left out with a file, got 'last'",
    ),
    ("predict RUN digit.npy --beam-size 2", "--beam-size must be left out: the model does not translate"),
    ("data describe shakespeare --picture x.png", "--picture must be left out for texts, got x.png"),
    ("init sounds --target a", "--target must be left out for a folder of recordings, got a"),
    ("init sounds --order-format %Y", "--order-format must be left out for recordings, got '%Y'"),
    ("init texts --kind regression", "--kind must be classification for a folder of text files, got 'regression'"),
    ("init texts --target a", "--target must be left out for a folder of text files, got a"),
    ("init arrays.npz --target y --target x", "--target must name one array, got y, x"),
    ("init arrays.npz --target y --order-format %Y", "--order-format must be left out for arrays, got '%Y'"),
    ("generate RUN --temperature -1", "--temperature: must be >= 0, got '-1'"),
    # Choices.
    ("train digits --accelerator gpu", "--accelerator: must be one of 'auto', 'cpu', 'cuda', got 'gpu'"),
    ("export RUN --format onyx", "--format: must be one of 'torchscript', 'onnx', 'pt2', 'safetensors', got 'onyx'"),
    (
        "export RUN --format onnx --checkpoint first",
        "--checkpoint must be best, last or the number of a step that was kept, got 'first'",
    ),
    ("eval RUN --split tst", "--split must be one of train, validation, test, got 'tst'"),
    (
        "init my.csv --kind sorting",
        "--kind: must be one of 'classification', 'regression', 'labelling', 'forecasting', got 'sorting'",
    ),
    # Lists.
    ("bench --seeds 3-1", "--seeds 3-1: must be a range"),
    ("bench --lr-grid a,b", "--lr-grid a,b: a rate must be a number > 0, got 'a'"),
    ("bench --lr-grid=-1,1", "--lr-grid -1,1: a rate must be a number > 0, got '-1'"),
    ("bench --grid momentun=0,1", "did you mean 'momentum'?"),
    ("bench --grid momentum", "must be NAME=number"),
    ("bench --optimizers adm", "did you mean 'adam'?"),
    ("bench --cells lstmm", "did you mean 'lstm'? (momentumrnn cells list shows all"),
    ("bench --paper table9", "unknown table 'table9'"),
    ("bench --speed --seeds 0 --target 0.5", "--seeds, --target: belongs to a training"),
    ("bench --rounds 40", "--rounds: belongs to --speed"),
    ("bench --accelerator cuda", "no CUDA device was found"),
    # Recipes.
    ("train nosuch", "momentumrnn recipes list shows all"),
    ("recipes show pmnst", "did you mean 'pmnist'?"),
    ("train my.csv", "momentumrnn init my.csv writes a recipe for it"),
    ("train digit.npy", "momentumrnn init digit.npy writes a recipe for it"),
    ("recipes show digit.npy", "momentumrnn init digit.npy writes a recipe for it"),
    ("summary RUN", "its recipe is runs/digits-momentum-001/recipe.yaml"),
    ("validate digits model.hidden_size=x", "model.hidden_size: must be an integer, got 'x'"),
    # Plugins.
    ("--plugin nosuch.py validate digits", "file not found"),
    ("--plugin broken.py validate digits", "broken.py:1: the plugin raised ZeroDivisionError"),
    ("--plugin empty.py validate digits", "defines neither of RECURRENCES and DYNAMICS"),
    # Places for results.
    ("train digits --out text.txt", "--out text.txt is a file"),
    ("train digits --data-dir text.txt", "--data-dir: must be a folder, got the file text.txt"),
    ("bench --out text.txt", "--out text.txt is a file"),
    ("eval RUN --out text.txt", "--out text.txt is a file; name a folder"),
    ("eval RUN --out text.txt/x", "--out text.txt/x: cannot be made"),
    ("inspect digits --out text.txt", "--out text.txt is a file; name a folder"),
    ("report RUN --out nosuch/x.html", "no folder nosuch; make it"),
    ("report RUN --out runs", "--out runs is a folder; name a file"),
    ("report RUN --out my.csv", "--out must end in .html, .htm, got my.csv"),
    ("report RUN --out report.pdf", "--out must end in .html, .htm, got report.pdf"),
    ("predict RUN digit.npy --out nosuch/x.jsonl", "no folder nosuch; make it"),
    ("predict RUN digit.npy --out text.txt/x.jsonl", "text.txt is not a folder"),
    ("predict RUN digit.npy --out runs", "--out runs is a folder; name a file"),
    ("export RUN --format onnx --out nosuch/x.onnx", "no folder nosuch; make it"),
    ("export RUN --format onnx --out text.txt", "not an exported model"),
    ("init my.csv --out nosuch/x.yaml", "no folder nosuch; make it"),
    ("init my.csv --out text.txt", "exists; name another file"),
    ("init my.csv --out recipe.txt", "--out must end in .yaml, .yml, got recipe.txt"),
    ("recipes copy digits mine", "must end in .yaml, .yml, got mine"),
    ("recipes copy digits nosuch/x.yaml", "no folder nosuch; make it"),
    ("data describe digits --picture nosuch/x.png", "--picture nosuch/x.png: no folder nosuch"),
    ("data describe digits --picture x.jpgg", "--picture must end in .png, .svg, .pdf, got x.jpgg"),
]
DATA = [
    ("train --resume nosuch", "a run is a folder made by momentumrnn train"),
    ("train --resume runs", "not a run; a run is a folder made by momentumrnn train"),
    ("train --resume text.txt", "there are runs/digits-momentum-001"),
    ("train --resume runs/digts-momentum-001", "did you mean 'runs/digits-momentum-001'?"),
    ("eval nosuch", "no such run or checkpoint"),
    ("eval runs", "runs: not a run"),
    ("eval text.txt", "damaged or of another kind"),
    ("export nosuch --format onnx", "no such run or checkpoint"),
    ("export runs --format onnx", "runs: not a run"),
    ("predict nosuch digit.npy", "no such run or checkpoint"),
    ("predict RUN nosuch.npy", "nosuch.npy: No such file"),
    ("predict RUN text.txt", "no prediction was made"),
    ("generate nosuch", "no such run or checkpoint"),
    ("generate RUN", "not trained on text"),
    ("inspect runs", "runs: not a run"),
    ("report nosuch", "no such folder"),
    ("report text.txt", "neither bench.json nor result.json"),
    ("init nosuch.csv", "no such file or folder"),
    ("init text.txt", "must be a folder, or end in .csv"),
    ("init runs/digits-momentum-001/checkpoints", "contains no recordings, text files or tables"),
]


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [*((line, message, 2) for line, message in USAGE), *((line, message, 3) for line, message in DATA)],
    ids=[line for line, _ in (*USAGE, *DATA)],
)
def test_a_mistake_has_the_exit_code_of_its_kind_and_leaves_nothing(
    desk: Path, line: str, message: str, code: int
) -> None:
    before = files(desk)
    result = run(line)
    assert message in " ".join(result.stderr.split()), result.stderr
    assert result.exit_code == code, result.stderr
    for foreign in ("Traceback", "like a bug", "Input should", "unable to parse", "Invalid value", "Errno", ".tmp"):
        assert foreign not in result.stderr
    assert files(desk) == before


@pytest.mark.parametrize(
    "line",
    [
        "train |",
        "train digits --out |",
        "train digits --data-dir |",
        "train --resume |",
        "eval |",
        "eval RUN --out |",
        "predict RUN |",
        "predict RUN digit.npy --out |",
        "export RUN --format onnx --out |",
        "report RUN --out |",
        "init |",
        "init my.csv --out |",
        "bench --cells |",
        "tune digits --space |",
        "recipes copy digits |",
        "data describe digits --picture |",
        "cells list --plugin |",
    ],
)
def test_an_empty_value_is_refused_before_anything_is_done(desk: Path, line: str) -> None:
    before = files(desk)
    words = line.replace("RUN", "runs/digits-momentum-001").split()
    result = CliRunner().invoke(cli.app, ["" if word == "|" else word for word in words])
    assert result.exit_code == 2
    assert "must not be empty, got ''; perhaps a variable of the shell is not set" in " ".join(result.stderr.split())
    assert files(desk) == before


def test_a_wrong_usage_names_the_command_that_helps(desk: Path) -> None:
    assert run("recipes copy").stderr.splitlines()[-1].endswith("recipes copy --help shows the options")
    assert "--help" not in run("train nosuch").stderr


def test_a_wrong_variable_of_the_environment_is_named(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_DATA", "text.txt")
    assert "MOMENTUMRNN_DATA (for --data-dir): must be a folder, got the file text.txt" in run("train digits").stderr


def test_nothing_to_resume_says_where_runs_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line, message in (("train --resume", "no run in runs"), ("train --resume x", "are none in runs")):
        result = run(line)
        assert result.exit_code == 3
        assert message in result.stderr


# Diverges at the second step; which sums overflow depends on the order of a kernel, so it is the reference loop.
WILD = "optimizer.name=sgd optimizer.lr=1e30 model.cell=rnn_relu train.max_nonfinite=0 model.backend=reference"


def test_a_divergence_before_the_first_checkpoint_says_what_to_do(desk: Path) -> None:
    result = run(f"train digits {WILD} train.clip_grad_norm=null {' '.join(TINY)} train.max_steps=50 --out wild -q")
    assert result.exit_code == 1
    text = " ".join(result.stderr.split())
    assert (
        "try optimizer.lr=1e+29 or train.clip_grad_norm=1.0; there is no checkpoint from before the divergence" in text
    )
    assert "--out wild --overwrite" in text


def test_a_divergence_after_a_checkpoint_says_how_to_go_on(desk: Path) -> None:
    often = "train.max_steps=50 train.eval_every_n_steps=1"
    result = run(f"train digits {WILD} train.clip_grad_norm=1e30 {' '.join(TINY)} {often} --out wild -q")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "try optimizer.lr=1e+29; a checkpoint from before the divergence exists; resume with: " in said
    assert "momentumrnn train --resume wild" in said


def test_a_dry_run_is_told_in_words(desk: Path) -> None:
    result = run("train digits model.hidden_size=4 --dry-run")
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    facts: dict[str, Any] = {name: value.strip() for name, value in lines.items()}
    assert facts["model"].startswith("momentum on digits: 274 parameters, ")
    assert facts["training data"] == "1,257 sequences"
    assert facts["steps"] == "1,200"
    assert facts["speed"].endswith("ms/step")
    assert "nothing was kept" in facts["checked"]
    assert "_" not in "".join(facts)
    assert run("train digits model.hidden_size=4 --dry-run -q").stdout == ""


def test_help_shows_no_types_of_flags_and_cuts_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for line in ("", "train", "eval", "bench", "export", "predict", "recipes copy", "data describe"):
        text = CliRunner().invoke(cli.app, [*line.split(), "--help"]).stdout
        assert "--help" in text
        assert "<bool>" not in text
        assert "list[" not in text
        # An option or a value that a column cut off ends in an ellipsis; lists such as A,B,… are meant.
        cut = [word for word in text.split() if word.endswith("…") and not word.endswith((",…", "/…"))]
        assert not cut, line


def test_every_exit_code_is_in_the_readme_and_in_the_help() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    text = " ".join(CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"}).stdout.split())
    for words in ("0 done", "1 failed", "3 data", "4 target missed"):
        assert words in readme
        assert words in text


@pytest.mark.parametrize("command", ["init", "data check"])
def test_mistakes_in_data_are_told_on_standard_error_too(desk: Path, command: str) -> None:
    rows = "\n".join(f"2024-01-{day:02},{day}" for day in [*range(1, 28), 3])
    (desk / "twice.csv").write_text(f"date,value\n{rows}\n", encoding="utf-8")
    result = run("init twice.csv --out twice.yaml")
    if command == "data check":
        result = run("data check twice.yaml")
    assert result.exit_code == 3
    assert "twice" in result.stderr
    assert "shown on standard output; train refuses them" in " ".join(result.stderr.split())
    assert result.stdout.strip()
