"""One run in its folder: the order of saving, and what a reopened run keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_trainer import parameters, recipe, trainer

from momentum_cli.errors import DataError
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs import checkpoint as checkpoints
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.runs.metrics_log import MetricsLog, read_metrics
from momentum_cli.training.session import Session, last_checkpoint, record_start
from momentum_cli.training.snapshot import snapshot
from momentum_cli.training.trainer import Trainer

Open = Callable[..., Session]


@pytest.fixture
def opened() -> Iterator[Open]:
    """A function that opens the session of a folder; all are closed at the end."""
    sessions = []

    def make(folder: Path, train: dict[str, Any] | None = None, **options: Any) -> Session:
        one = trainer(train={"log_every_n_steps": 1, **(train or {})})
        folder.mkdir(exist_ok=True)
        record_start(one.recipe, folder)
        sessions.append(Session(one, folder, **options))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def scores(one: Trainer, values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let evaluations return these accuracies, in turn."""
    left = iter(values)
    monkeypatch.setattr(one, "evaluate", lambda *_: {"loss": 1.0, "accuracy": next(left)})


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("steps_after", [0, 3])
def test_the_best_checkpoint_is_that_of_its_evaluation_however_late_it_is_saved(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_after: int
) -> None:
    session = opened(tmp_path / "run")
    scores(session.trainer, [0.5, 0.2], monkeypatch)
    session.step()
    session.step()
    assert session.evaluate().best
    at_best = {name: tensor.clone() for name, tensor in session.trainer.module.state_dict().items()}
    for _ in range(steps_after):
        session.step()
    if steps_after:
        assert not session.evaluate().best
    session.save()
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["best-000000002.safetensors", "last.safetensors"]
    best = load_checkpoint(folder / "best-000000002.safetensors")
    assert same(best.group("model"), at_best)
    assert best.data["progress"]["step"] == 2
    last = load_checkpoint(folder / "last.safetensors")
    assert same(last.group("model"), session.trainer.module.state_dict())
    assert last.data["progress"]["best"]["file"] == "best-000000002.safetensors"
    assert same(last.group("model"), at_best) is (steps_after == 0)


def test_a_second_best_takes_the_place_of_one_that_was_never_saved(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tmp_path / "run")
    scores(session.trainer, [0.5, 0.6], monkeypatch)
    for _ in range(2):
        session.step()
        session.evaluate()
    session.step()
    session.save()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["best-000000002.safetensors", "last.safetensors"]


def test_rows_reach_the_disk_before_the_best_checkpoint_and_that_before_the_last(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tmp_path / "run")
    scores(session.trainer, [0.5, 0.6], monkeypatch)
    session.step()
    session.evaluate()
    session.save()
    session.step()
    session.evaluate()
    done: list[str] = []
    save, sync, unlink = checkpoints.save_checkpoint, MetricsLog.sync, Path.unlink

    def saving(path: Path, checkpoint: Any) -> None:
        done.append(path.name)
        save(path, checkpoint)

    def syncing(log: MetricsLog) -> None:
        done.append("rows")
        sync(log)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("best"):
            done.append(f"drop {path.name}")
        unlink(path, missing_ok)

    monkeypatch.setattr(checkpoints, "save_checkpoint", saving)
    monkeypatch.setattr(MetricsLog, "sync", syncing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    session.save()
    wanted = ["rows", "best-000000002.safetensors", "last.safetensors", "drop best-000000001.safetensors"]
    assert done == wanted


def test_what_is_newer_than_the_last_checkpoint_is_dropped_when_the_run_is_opened_again(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    session = opened(folder)
    scores(session.trainer, [0.5, 0.6], monkeypatch)
    session.step()
    session.evaluate()
    session.step()
    session.save()
    kept = read_metrics(folder)
    at_save = parameters(session.trainer).clone()
    session.step()
    session.evaluate()
    session.close()
    # Killed in `save`, between the two files.
    lost = snapshot(session.trainer)
    checkpoints.save_checkpoint(folder / "checkpoints" / "best-000000003.safetensors", lost)
    (folder / "checkpoints" / ".last.tmp").touch()
    again = opened(folder)
    assert again.trainer.progress.step == 2
    assert torch.equal(parameters(again.trainer), at_save)
    assert read_metrics(folder) == kept
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["best-000000001.safetensors", "last.safetensors"]


def test_a_session_counts_its_own_time_only(opened: Open, tmp_path: Path) -> None:
    time = [0.0]
    session = opened(tmp_path / "run", now=lambda: time[0])
    for start, work in ((0.0, 2.0), (100.0, 3.0)):
        time[0] = start
        session.start_wall()
        time[0] += work
        session.step()
    assert session.trainer.progress.wall_seconds == 5.0
    assert [row["wall_seconds"] for row in read_metrics(tmp_path / "run")] == [2.0, 5.0]


def test_the_test_set_is_evaluated_with_the_best_parameters(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tmp_path / "run")
    assert session.test_metrics() is None
    with monkeypatch.context() as context:
        scores(session.trainer, [0.9], context)
        session.evaluate()
    expected = session.trainer.evaluate("test")
    for _ in range(3):
        session.step()
    session.save()
    assert session.test_metrics() == expected
    assert session.trainer.evaluate("test") != expected


def test_a_folder_begins_with_its_recipe_and_without_leftovers(tmp_path: Path) -> None:
    (tmp_path / ".metrics.jsonl.tmp").touch()
    record_start(recipe(), tmp_path)
    assert load_recipe(tmp_path / "recipe.yaml") == recipe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["environment.json", "recipe.yaml"]
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "last.safetensors"


def checkpoint_names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".safetensors") for path in (folder / "checkpoints").iterdir())


def test_the_best_few_are_kept_each_as_it_was_at_its_evaluation(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, top = tmp_path / "run", {"keep": {"top": 2}}
    session = opened(folder, top)
    scores(session.trainer, [0.3, 0.5, 0.4, float("nan"), 0.2], monkeypatch)
    at: dict[int, dict[str, torch.Tensor]] = {}
    for step in range(1, 6):
        session.step()
        session.evaluate()
        at[step] = {name: tensor.clone() for name, tensor in session.trainer.module.state_dict().items()}
        if step == 2:
            session.save()
            assert checkpoint_names(folder) == ["best-000000001", "best-000000002", "last"]
    session.save()
    session.close()
    assert checkpoint_names(folder) == ["best-000000002", "best-000000003", "last"]
    for step in (2, 3):
        kept = load_checkpoint(checkpoints.find_checkpoint(folder, str(step)))
        assert same(kept.group("model"), at[step])
    assert checkpoints.find_checkpoint(folder).name == "best-000000002.safetensors"
    with pytest.raises(DataError, match=r"--checkpoint must be .* step that was kept \(2, 3\), got '4'"):
        checkpoints.find_checkpoint(folder, "4")
    again = opened(folder, top)
    scores(again.trainer, [0.45, 0.6], monkeypatch)
    for _ in range(2):
        again.step()
        again.evaluate()
    again.save()
    assert checkpoint_names(folder) == ["best-000000002", "best-000000007", "last"]


def test_of_equal_values_the_ones_with_the_lower_loss_are_kept(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(tmp_path / "run", {"keep": {"top": 2}})
    found = iter([(0.5, 0.9), (0.5, 0.7), (0.5, 0.8)])
    monkeypatch.setattr(
        session.trainer, "evaluate", lambda *_: dict(zip(("accuracy", "loss"), next(found), strict=True))
    )
    for _ in range(3):
        session.step()
        session.evaluate()
    session.save()
    assert checkpoint_names(tmp_path / "run") == ["best-000000002", "best-000000003", "last"]


def test_every_nth_step_is_kept_and_those_of_a_lost_future_are_dropped(opened: Open, tmp_path: Path) -> None:
    folder, every = tmp_path / "run", {"keep": {"every_n_steps": 2}}
    session = opened(folder, every)
    states = []
    for _ in range(5):
        session.step()
        states.append({name: tensor.clone() for name, tensor in session.trainer.module.state_dict().items()})
    session.close()
    assert checkpoint_names(folder) == ["last", "step-000000002", "step-000000004"]
    assert same(load_checkpoint(folder / "checkpoints" / "step-000000002.safetensors").group("model"), states[1])
    # Killed in `save`, between the two files.
    checkpoints.save_checkpoint(folder / "checkpoints" / "step-000000006.safetensors", snapshot(session.trainer))
    again = opened(folder, every)
    assert again.trainer.progress.step == 4
    assert checkpoint_names(folder) == ["last", "step-000000002", "step-000000004"]
    again.step()
    assert same(again.trainer.module.state_dict(), states[4])
