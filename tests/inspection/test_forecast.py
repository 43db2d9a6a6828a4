"""`momentumrnn inspect --forecast`: a run in the middle, one at its end, and what cannot be predicted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_bench import write_recipe
from typer.testing import CliRunner

from momentum_cli import cli
from momentum_cli.errors import MomentumError
from momentum_cli.inspection.forecast import forecast_lines, forecast_runs
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.training.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    recipe = load_recipe(write_recipe(folder), ["train.max_steps=64", "target=null"])
    train(recipe, out=folder / "run")
    return folder / "run"


def test_a_run_in_the_middle_is_predicted_from_what_it_has(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text("".join(row for row in rows if json.loads(row)["step"] <= 32))
    before = sorted(path.name for path in half.iterdir())
    content = forecast_runs([str(half), str(run)])
    assert sorted(path.name for path in half.iterdir()) == before
    middle, end = content["forecasts"]
    assert (middle["step"], middle["total_steps"], middle["metric"], middle["split"]) == (32, 64, "mse", "validation")
    assert 0 <= middle["low"] <= middle["predicted"] <= middle["high"]
    assert (end["step"], end["predicted"], end["low"], end["high"]) == (64, end["last"], end["last"], end["last"])
    lines = forecast_lines(content)
    assert lines[0].startswith(f"{half}: step 32 of 64, validation mse ")
    assert lines[1].startswith("  at its end ")
    assert lines[3] == "  the run is at its end"


def test_what_cannot_be_predicted_is_refused(run: Path, tmp_path: Path) -> None:
    early = tmp_path / "early"
    early.mkdir()
    (early / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    with pytest.raises(MomentumError, match="must have at least 3 evaluations, got 0"):
        forecast_runs([str(early)])
    with pytest.raises(MomentumError, match="no such run"):
        forecast_runs([str(tmp_path / "nowhere")])
    timed = tmp_path / "timed"
    timed.mkdir()
    load_recipe(run / "recipe.yaml", ["train.max_steps=null", "train.max_seconds=9"]).save(timed / "recipe.yaml")
    (timed / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    with pytest.raises(MomentumError, match="must have a planned number of steps"):
        forecast_runs([str(timed)])


def test_the_command(run: Path) -> None:
    command = CliRunner()
    done = command.invoke(cli.app, ["inspect", str(run), "--forecast", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["forecasts"][0]["total_steps"] == 64
    plain = command.invoke(cli.app, ["inspect", "--forecast", str(run)])
    assert "the run is at its end" in plain.stdout
    for extra in (["--cells", "lstm"], ["model.cell=lstm"], ["--batch", "3"], ["--out", "x"]):
        refused = command.invoke(cli.app, ["inspect", str(run), "--forecast", *extra])
        assert refused.exit_code == 2
        assert "does not go with --forecast" in refused.stderr
