"""`bench --speed`: measurements are written, shown and drawn; impossible ones are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from momentum_cli import allocator
from momentum_cli.benchmark.speed import step_time
from momentum_cli.benchmark.speed.apart import Apart
from momentum_cli.benchmark.speed.compare import speed, tables
from momentum_cli.cli import app
from momentum_cli.errors import RecipeError, RunError

SHAPE = "3,2,1,4"


def test_cells_and_backends_over_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--cells",
        "lstm,adam",
        "--shape",
        SHAPE,
        "--shape",
        "2,1,2,3",
        "--backend",
        "native",
        "--precision",
        "fp32",
    ]
    with pytest.raises(SystemExit) as ended:
        app(["bench", "--speed", *arguments, "--backend", "reference", "--out", str(tmp_path / "out"), "--json"])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content == json.loads((tmp_path / "out" / "speed.json").read_text(encoding="utf-8"))
    assert (tmp_path / "out" / "speed.png").read_bytes().startswith(b"\x89PNG")
    rows = content["measurements"]
    # per shape and pass: lstm on native; lstm and adam on reference
    assert [(row["cell"], row["backend"]) for row in rows] == 4 * [
        ("lstm", "native"),
        ("lstm", "reference"),
        ("adam", "reference"),
    ]
    assert [row["work"] for row in rows] == 2 * (3 * ["forward"] + 3 * ["training"])
    assert {row["precision"] for row in rows} == {"fp32"}
    assert all(row["rounds"] == 20 and row["torch_ratio"] > 0 for row in rows)
    assert all(row["torch_ratio_quartiles"][0] <= row["torch_ratio"] <= row["torch_ratio_quartiles"][1] for row in rows)
    assert len(content["left_out"]) == 1
    assert content["left_out"][0].startswith("adam on native: ")
    assert [table.title for table in tables(rows)][:2] == [
        "T=3 B=2 D=1 N=4, forward, fp32",
        "T=3 B=2 D=1 N=4, forward + backward, fp32",
    ]
    assert "left out: adam on native" in captured.err


def test_mistakes_are_told(tmp_path: Path) -> None:
    for options, message in (
        ({"shapes": ["1,2,3"]}, "T,B,D,N"),
        ({"shapes": ["1,2,0,4"]}, "T,B,D,N"),
        ({"backends": ["cudnn"]}, "must be one of auto, reference"),
        ({"precisions": ["fp16"]}, "--precision must be fp32 or bf16"),
        ({"rounds": 5}, "--rounds must be at least 20"),
        ({"cells": ["lsmt"]}, "did you mean 'lstm'"),
    ):
        with pytest.raises(RecipeError, match=message):
            speed(**options, out=tmp_path / "out")  # type: ignore[arg-type]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    with pytest.raises(RecipeError, match="is not empty"):
        speed(out=tmp_path / "mine", overwrite=True)
    with pytest.raises(RunError, match="no backend can run any of the cells"):
        speed(cells=["adam"], shapes=[SHAPE], backends=["native"], out=tmp_path / "out")


def test_a_cell_that_torch_has_nothing_like_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "TORCH_LAYERS", {4: nn.LSTM})
    with pytest.raises(RecipeError, match="a cell of 3 gates cannot be compared; torch has layers of 4 gates"):
        speed(cells=["gru"], shapes=[SHAPE], out=tmp_path / "out")


@pytest.mark.parametrize("cell", ["lstm", "momentum-gru", "momentum-dtriv", "sr-coupled"])
def test_cells_are_compared_with_the_same_matrix_products(cell: str) -> None:
    shape = step_time.Shape(2, 3, 4, 5)
    own, rival = step_time.build(cell, shape), step_time.build_torch(cell, shape)
    assert own.get_parameter("weight_ih_l0").shape == rival.get_parameter("weight_ih_l0").shape
    (result,) = step_time.measure(shape, [cell], rounds=2, loop_rounds=1)
    assert result.seconds > 0
    assert result.loop_ratio is not None


@pytest.mark.parametrize(
    "arguments", [["--speed", "digits"], ["--shape", SHAPE], ["--backend", "native"], ["--rounds", "3", "--speed"]]
)
def test_options_that_do_not_go_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["bench", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_torch_is_timed_with_its_memory_kept_and_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "kept", lambda: True)
    (result,) = step_time.measure(step_time.Shape(3, 2, 1, 4), ["momentum"], rounds=3, loop_rounds=0, precision="bf16")
    assert result.precision == "bf16"
    assert result.untouched_seconds is not None
    assert result.untouched_ratio is not None
    low, high = result.untouched_ratio_quartiles or (0.0, 0.0)
    assert 0 < low <= result.untouched_ratio <= high


def test_a_contender_apart_takes_turns_and_its_end_is_told() -> None:
    code = "from momentum_cli.benchmark.speed.apart import serve; n = iter([0.5, 0.25]); serve(lambda: next(n))"
    with Apart(["-c", code], {}) as apart:
        assert [apart.turn(), apart.turn()] == [0.5, 0.25]
        with pytest.raises(RunError, match="the process of a contender ended: StopIteration"):
            apart.turn()
    with pytest.raises(RunError, match="ended: ZeroDivisionError"):
        Apart(["-c", "1 / 0"], {})


def test_an_allocator_that_is_untouched_is_that_of_a_process_apart() -> None:
    """What the process is told by its environment, and that the command's own setting does not reach it."""
    code = (
        "import os; from momentum_cli import allocator; from momentum_cli.benchmark.speed.apart import serve; "
        "serve(lambda: float(allocator.keep_memory()) + len([n for n in os.environ if n.startswith('MALLOC_')]))"
    )
    with Apart(["-c", code], {allocator.SETTING: "0", "MALLOC_ARENA_MAX": None}) as apart:
        assert apart.turn() == 0.0
