"""Searches from beginning to end: files, resuming, kills, and what is refused."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_bench import write_recipe
from typer.testing import CliRunner

from momentum_cli import cli
from momentum_cli.benchmark.report.report import report
from momentum_cli.errors import DataError, MomentumError, RecipeError
from momentum_cli.progress import NullTuneUi, TrialState, TuneStart
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.training.train import train
from momentum_cli.tuning import finish
from momentum_cli.tuning.folder import plan_of, recipe_of
from momentum_cli.tuning.pictures import draw_search
from momentum_cli.tuning.report import write_report
from momentum_cli.tuning.tune import tune


class RecordingUi(NullTuneUi):
    def __init__(self) -> None:
        self.started: list[TuneStart] = []
        self.states: list[TrialState] = []
        self.notes: list[str] = []
        self.lines: list[str] = []

    def start(self, search: TuneStart) -> None:
        self.started.append(search)

    def trial(self, state: TrialState) -> None:
        self.states.append(state)

    def note(self, text: str, level: str = "info") -> None:
        self.notes.append(text)

    def finish(self, summary: Any) -> None:
        self.lines = list(summary(100))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no pictures and write no report, which takes longer than the trials."""
    monkeypatch.setattr(finish, "draw_search", lambda *arguments: None)
    monkeypatch.setattr(finish, "write_report", lambda *arguments: None)


def recipe_with(folder: Path, tune: str, **changes: str) -> str:
    path = Path(write_recipe(folder, **changes))
    path.write_text(path.read_text() + f"\ntune: {tune}\n", encoding="utf-8")
    return str(path)


SPACE = "space: {optimizer.lr: {log: [1e-3, 1e-1]}, model.cell: [lstm, momentum], cells.momentum.momentum: [0, 0.9]}"


def test_a_search_leaves_runs_a_table_and_a_recipe_that_trains_to_the_same_number(tmp_path: Path) -> None:
    ui = RecordingUi()
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: 4, sampler: qmc}}")
    content = tune(recipe, out=tmp_path / "search", ui=ui)
    assert [row["trial"] for row in content["trials"]] == [0, 1, 2, 3]
    assert content["counts"] == {"done": 4, "pruned": 0, "failed": 0}
    best = min(content["trials"], key=lambda row: row["best"])
    assert content["best"]["trial"] == best["trial"]
    for row in content["trials"]:
        folder = Path(row["folder"])
        ran = load_recipe(folder / "recipe.yaml")
        assert ran.model.cell == row["values"]["model.cell"]
        assert ran.optimizer.lr == row["values"]["optimizer.lr"]
        assert ("cells.momentum.momentum" in row["values"]) == (ran.model.cell == "momentum")
        assert ran.tune is None
        result = json.loads((folder / "result.json").read_text())
        assert result["best"]["value"] == row["best"]
        assert (folder / "checkpoints" / "last.safetensors").is_file()
    with open(tmp_path / "search" / "trials.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [float(line["best"]) for line in table] == [row["best"] for row in content["trials"]]
    assert {line["cells.momentum.momentum"] == "" for line in table if line["model.cell"] == "lstm"} == {True}
    again = train(load_recipe(tmp_path / "search" / "best.yaml"), out=tmp_path / "run")
    assert again["best"]["value"] == best["best"]
    assert len([state for state in ui.states if state.status == "done"]) == 4
    assert any(line.startswith("1  ") and f"trial {best['trial']}" in line for line in ui.lines)
    assert all(len(line) <= 100 for line in ui.lines if str(tmp_path) not in line)


def test_a_longer_search_continues_and_another_one_is_refused(tmp_path: Path) -> None:
    recipe, out = recipe_with(tmp_path, f"{{{SPACE}, trials: 2}}"), tmp_path / "search"
    before = tune(recipe, out=out)
    ui = RecordingUi()
    after = tune(recipe, out=out, trials=3, ui=ui)
    assert after["trials"][:2] == before["trials"]
    assert [state.place for state in ui.started[0].kept] == [0, 1]
    for change in ({"sampler": "random"}, {"overrides": ["optimizer.name=sgd"]}, {"space": ["lr=0.01..0.1"]}):
        with pytest.raises(MomentumError, match="holds another search"):
            tune(recipe, out=out, **change)  # type: ignore[arg-type]
    content = tune(recipe, out=out, sampler="random", overwrite=True)
    assert len(content["trials"]) == 2
    assert content["settings"]["sampler"] == "random"


def test_steps_to_the_target_stop_there_and_misses_come_last(tmp_path: Path) -> None:
    recipe = recipe_with(
        tmp_path,
        "{space: {optimizer.lr: {choice: [1e-6, 0.03, 0.01]}}, trials: 3, sampler: grid, objective: steps_to_target}",
        target="{metric: mse, value: 0.2}",
    )
    content = tune(recipe, out=tmp_path / "search")
    by_rate = {row["values"]["optimizer.lr"]: row for row in content["trials"]}
    missed = by_rate[1e-6]
    assert missed["to_target"] is None
    assert missed["score"] > missed["steps"]
    reached = [row for row in content["trials"] if row["to_target"] is not None]
    assert reached
    assert all(row["score"] == row["to_target"]["steps"] == row["steps"] for row in reached)
    assert content["best"]["score"] == min(row["score"] for row in reached)
    assert load_recipe(tmp_path / "search" / "best.yaml").train.stop_at_target is False
    assert content["ranking"][-1]["trial"] == missed["trial"]


def test_seconds_of_two_machines_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, tuned = tmp_path / "search", "{space: {optimizer.lr: {log: [1e-3, 1e-1]}}, trials: 1, objective: %s}"
    timed = recipe_with(tmp_path, tuned % "seconds_to_target")
    tune(timed, out=out)
    assert len(tune(timed, out=out, trials=2)["trials"]) == 2
    counted = recipe_with(tmp_path, tuned % "steps_to_target", name="counted")
    tune(counted, out=tmp_path / "counted")
    monkeypatch.setattr("momentum_cli.machine.cpu_name", lambda: "another one")
    with pytest.raises(
        DataError, match=r"training seconds, .* \(cpu .* there, another one here\); begin another study"
    ):
        tune(timed, out=out, trials=3)
    assert len(tune(counted, out=tmp_path / "counted", trials=2)["trials"]) == 2


def test_pruned_trials_keep_their_checkpoint_and_are_never_the_best(tmp_path: Path) -> None:
    # Trials 1 and 2 of the grid learn nothing; hyperband ends some of those.
    rates = "[0.03, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9, 6e-9, 7e-9]"
    recipe = recipe_with(tmp_path, f"{{space: {{optimizer.lr: {rates}}}, trials: 8, sampler: grid, pruner: hyperband}}")
    content = tune(recipe, out=tmp_path / "search")
    pruned = [row for row in content["trials"] if row["status"] == "pruned"]
    assert pruned
    for row in pruned:
        last = load_checkpoint(Path(row["folder"]) / "checkpoints" / "last.safetensors")
        assert last.data["progress"]["step"] == row["steps"] < 24
        assert len(row["curve"]) == row["steps"] // 4
        assert row["score"] is None
    assert content["best"]["values"] == {"optimizer.lr": 0.03}
    folder = Path(pruned[0]["folder"])
    assert train(load_recipe(folder / "recipe.yaml"), resume=folder)["steps"] == 24


def test_a_trial_that_fails_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, "{space: {optimizer.lr: {choice: [0.01, 1e30]}}, trials: 2, sampler: grid}")
    content = tune(
        recipe, out=tmp_path / "search", overrides=["optimizer={name: sgd, lr: 0.1}", "train.max_nonfinite=0"]
    )
    assert [row["status"] for row in content["trials"]] == ["done", "failed"]
    assert "diverged" in content["trials"][1]["error"]
    assert (Path(content["trials"][1]["folder"]) / "error.txt").is_file()
    with pytest.raises(MomentumError, match="every trial failed, the first one: diverged"):
        tune(
            recipe,
            out=tmp_path / "other",
            space=["lr=1e30,2e30"],
            overrides=["train.max_nonfinite=0", "optimizer={name: sgd, lr: 0.1}"],
        )


def test_a_refused_search_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: 2}}")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"overrides": ["target=null"], "objective": "steps_to_target"}, "no target"),
        ({"sampler": "grid"}, "needs axes with a finite number of values"),
        ({"pruner": "hyperband", "overrides": ["train={max_seconds: 1, batch_size: 16}"]}, "planned evaluation"),
        ({"space": ["lr=-1..1"]}, "Invalid learning rate"),
        ({"join": "x", "overwrite": True}, "leave out one"),
        ({"join": "x", "out": tmp_path / "y"}, "leave out --out"),
        ({"join": "nosuchdb://x"}, "no database of the kind"),
        ({"join": "sqlite:////nosuch/folder/x.db"}, "cannot be opened"),
    ]
    for options, words in cases[:-2]:
        with pytest.raises(MomentumError, match=words):
            tune(recipe, **options)
        assert not (tmp_path / "runs").exists()
    for options, words in cases[-2:]:
        with pytest.raises(MomentumError, match=words):
            tune(recipe, **options)
    with pytest.raises(MomentumError, match="no validation set"):
        tune("digits", overrides=["task.validation=none"])
    with pytest.raises(MomentumError, match="there is no study yet"):
        tune(None, join=str(tmp_path / "nowhere"))
    with monkeypatch.context() as context:
        context.setenv("MOMENTUMRNN_TRITON", "nope")
        with pytest.raises(MomentumError, match="MOMENTUMRNN_TRITON"):
            tune(recipe, out=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(MomentumError, match="is not empty and not a search"):
        tune(recipe, out=tmp_path / "full", overwrite=True)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_without_optuna_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MomentumError, match=r"pip install 'momentumrnn\[tune\]'"):
        tune(recipe_with(tmp_path, f"{{{SPACE}}}"))


def test_the_command_writes_one_json_object_and_refuses_by_exit_code_2(tmp_path: Path) -> None:
    recipe, run = recipe_with(tmp_path, f"{{{SPACE}}}"), CliRunner()
    done = run.invoke(cli.app, ["tune", recipe, "--trials", "1", "--json", "-q", "--out", str(tmp_path / "search")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["best"]["trial"] == 0
    for line, words in [
        ("tune", "RECIPE: missing"),
        ("tune digits mnist", "takes one recipe"),
        ("tune digits --trials 0", "--trials: must be >= 1"),
        ("tune digits --sampler bayes", "must be one of 'tpe', 'gp'"),
        ("tune digits --pruner hyper", "must be one of 'none'"),
        ("tune digits --objective loss", "must be one of 'metric'"),
        ("tune digits --space lr", "must be KEY=AXIS"),
        ("tune digits --time-limit 0", "--time-limit: must be >= 1"),
        ("tune digits lr=-3", "lr"),
    ]:
        failed = run.invoke(cli.app, line.split())
        assert failed.exit_code == 2, line
        assert words in failed.stderr, line


def test_a_time_limit_leaves_a_result_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: 3}}")
    times = iter([0.0, 0.0])  # the start, and before the first trial
    monkeypatch.setattr("momentum_cli.tuning.tune.time", SimpleNamespace(monotonic=lambda: next(times, 99.0)))
    ui = RecordingUi()
    first = tune(recipe, time_limit=10, ui=ui)
    assert len(first["trials"]) == 1
    assert not first["over"]
    assert any("time limit" in note for note in ui.notes)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = tune(recipe)
    assert again["folder"] == first["folder"]
    assert again["over"]
    assert again["trials"][: len(first["trials"])] == first["trials"]
    assert tune(recipe)["folder"] != first["folder"]  # over, so a new one


def test_the_report_of_a_search_is_made_again_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "draw_search", draw_search)
    monkeypatch.setattr(finish, "write_report", write_report)
    search = tmp_path / "search"
    tune(recipe_with(tmp_path, f"{{{SPACE}, trials: 2, sampler: qmc}}"), out=search)
    before = (search / "report.html").read_text(encoding="utf-8")
    (search / "report.html").unlink()
    assert report([search])["report"] == str(search / "report.html")
    again = (search / "report.html").read_text(encoding="utf-8")
    assert without_ids(again) == without_ids(before)
    with pytest.raises(DataError, match="is a search: finish it by the same momentumrnn tune, and name it alone"):
        report([search, search / "trials" / "0000"], out=tmp_path / "both.html")
    content = json.loads((search / "tune.json").read_text(encoding="utf-8"))
    del content["trials"][0]["status"]
    (search / "tune.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"tune\.json is damaged or of another version: it lacks 'status'"):
        report([search])


def without_ids(page: str) -> str:
    """Return a page without the names that matplotlib makes by chance."""
    return re.sub(r"[mp][0-9a-f]{10}", "", page)


def test_a_plan_holds_the_whole_recipe(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: 1}}")
    tune(recipe, out=tmp_path / "search")
    plan = json.loads((tmp_path / "search" / "plan.json").read_text())
    assert recipe_of(plan) == load_recipe(recipe)
    # An earlier version had fewer keys, and this one takes their defaults.
    del plan["recipe"]["train"]["clip_grad_norm"], plan["recipe"]["tune"]["pruner"]
    (tmp_path / "search" / "plan.json").write_text(json.dumps(plan))
    again = tune(None, join=str(tmp_path / "search"), trials=2)
    assert len(again["trials"]) == 2
    with pytest.raises(MomentumError, match="takes the study as it is"):
        tune(None, join=str(tmp_path / "search"), sampler="qmc")


# A search of this recipe renames these files per trial: recipe, environment, metrics twice, checkpoints, result.
EVERY_NAME = [f"replace:{n}:{when}" for n in range(1, 40) for when in ("before", "after")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("all_moments", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_search_finds_what_it_finds_left_alone(tmp_path: Path, all_moments: bool) -> None:
    """Values, curves and the best recipe are the same: a kill costs time, not trials."""
    trials = 12 if all_moments else 7  # the pruner begins with the sixth
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: {trials}, sampler: tpe, pruner: median}}", train=_SHORT)
    draw = random.Random()
    moments = EVERY_NAME if all_moments else ["step:5+step:2", draw.choice(EVERY_NAME)]
    driver = Path(__file__).parents[1] / "killed_tunes.py"
    done = subprocess.run(
        [sys.executable, driver, tmp_path, recipe, "none", *moments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    alone = report.pop("none")
    assert alone["status"] == 0, done.stderr
    assert len(alone["trials"]) == trials
    for moment, entry in report.items():
        assert entry["kills"] == moment.count("+") + 1, moment
        assert entry["status"] == 0, done.stderr
        assert entry["trials"] == alone["trials"], moment
        assert entry["best"] == alone["best"], moment


_SHORT = "{max_steps: 8, batch_size: 16, eval_every_n_steps: 2, seed: 0}"


def test_a_key_that_is_searched_takes_no_override(tmp_path: Path) -> None:
    """Its value would be ignored without a word."""
    with pytest.raises(RecipeError, match=r"optimizer\.lr is searched \(--space\)"):
        tune("digits", space=["lr=log:1e-3..1e-1"], trials=1, overrides=["lr=0.5"], out=tmp_path / "t")


def test_a_grid_that_is_not_tried_whole_says_so(tmp_path: Path) -> None:
    ui = RecordingUi()
    recipe = recipe_with(tmp_path, "{space: {optimizer.lr: {choice: [0.1, 0.01, 0.001]}}, sampler: grid, trials: 1}")
    tune(recipe, out=tmp_path / "t", ui=ui)
    assert "the grid has 3 points, of which 1 are tried; --trials 3 tries all" in ui.notes


def test_a_database_names_the_study_of_an_earlier_version(tmp_path: Path) -> None:
    """Its plan had fewer keys, so its study has another name."""
    optuna = pytest.importorskip("optuna")
    recipe = recipe_with(tmp_path, f"{{{SPACE}, trials: 1}}")
    url = f"sqlite:///{tmp_path}/study.db"
    plan = plan_of(load_recipe(recipe), "r")
    del plan["recipe"]["train"]["clip_grad_norm"]
    earlier = optuna.create_study(storage=url, study_name="of-before", direction="minimize")
    earlier.set_user_attr("plan", plan)
    other = optuna.create_study(storage=url, study_name="of-another-program")
    other.set_user_attr("plan", "theirs")
    tune(recipe, join=url, out=tmp_path / "t")
    assert optuna.study.get_all_study_names(url) == ["of-before", "of-another-program"]
    assert len(optuna.load_study(study_name="of-before", storage=url).trials) == 1
