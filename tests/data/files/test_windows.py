"""Sliding windows of long sequences for classification and regression: what they hold, and where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.errors import DataError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

STEPS = 100


def label(step: int) -> str:
    return "high" if step % 20 >= 10 else "low"


def series(path: Path, steps: int = STEPS, names: tuple[str, ...] = ("",), gap: int | None = None) -> Path:
    """Write steps with a value, the class of each, and a value to predict."""
    lines = [f"{'id,' if names != ('',) else ''}t,x,state,load"]
    for number, name in enumerate(names):
        for step in range(steps):
            time = step + (1000 if gap is not None and step >= gap else 0)
            row = [name] if name else []
            lines.append(",".join(map(str, [*row, time, 100 * number + step, label(step), 2 * step])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "kind": "classification", "order": "t", "features": ["x"], "normalise": "none",
            "target": "state", "window": 7, "stride": 3, **more}  # fmt: skip


def test_the_class_of_a_window_is_that_of_its_last_step_and_splits_follow_in_time(tmp_path: Path) -> None:
    data = Files(**options(series(tmp_path / "s.csv"), validation_fraction=0.2, test_fraction=0.3)).load()
    # The last step of a window is in its split: from step 6 on, with a stride of 3, then from the split's first step.
    wanted = {"train": range(6, 50, 3), "validation": range(50, 70, 3), "test": range(70, 100, 3)}
    for name, lasts in wanted.items():
        split = getattr(data, name)
        assert len(split) == len(lasts)
        batch = split.batch(torch.arange(len(split)))
        for row, last in enumerate(lasts):
            assert batch.inputs[row, :, 0].tolist() == list(range(last - 6, last + 1))
            assert data.labels is not None
            assert data.labels[int(batch.targets[row])] == label(last)
        assert split.scored.tolist() == [1] * len(lasts)
    counts = [sum(label(last) == name for last in wanted["train"]) for name in data.labels or ()]
    shares = data.naive[0].outputs(data.train, torch.arange(1), data.train.batch(torch.arange(1))).exp()[0]
    np.testing.assert_allclose(shares, (np.array(counts) + 1) / (sum(counts) + 2), rtol=1e-6)


def test_values_of_windows_are_scaled_and_whole_sequences_are_drawn(tmp_path: Path) -> None:
    path = series(tmp_path / "s.csv", 20, tuple("abcdef"))
    data = Files(**options(path, kind="regression", target="load", sequence="id", normalise="standard")).load()
    assert data.validation is not None
    assert [len(split) for split in (data.train, data.validation, data.test)] == [20, 5, 5]
    scaling = data.preprocessing["targets"]
    np.testing.assert_allclose(scaling["offset"], [np.arange(0, 40, 2).mean()])
    batch = data.train.batch(torch.arange(5))
    found = batch.targets[:, 0].numpy() * scaling["scale"][0] + scaling["offset"][0]
    np.testing.assert_allclose(found, [2 * last for last in (6, 9, 12, 15, 18)], rtol=1e-6)


def test_no_window_spans_a_gap_and_one_class_of_a_sequence_is_that_of_its_windows(tmp_path: Path) -> None:
    data = Files(**options(series(tmp_path / "s.csv", gap=40), gaps="split", stride=1, split="time")).load()
    inputs = data.train.batch(torch.arange(len(data.train))).inputs[:, :, 0]
    assert (inputs.diff(dim=1) == 1).all()
    assert not ((inputs[:, 0] < 40) & (inputs[:, -1] >= 40)).any()
    with pytest.raises(DataError, match=r"set task\.gaps to split"):
        Files(**options(tmp_path / "s.csv")).load()
    np.savez(tmp_path / "a.npz", x=np.arange(80.0).reshape(8, 10, 1), y=np.arange(8) % 2)
    found = Files(path=str(tmp_path / "a.npz"), kind="classification", target="y", window=4, normalise="none").load()
    batch = found.test.batch(torch.arange(len(found.test)))
    assert batch.targets.tolist() == (batch.inputs[:, 0, 0] // 10 % 2).long().tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"kind": "labelling"}, "`window` must be left out with kind labelling"),
        ({"window": None}, "`stride` must be left out without task.window, got 3"),
        ({"window": None, "stride": 1, "split": "time"}, "windows alone are split by time"),
        ({"missing": "drop_step"}, "be 'refuse' or 'forward_fill' with windows"),
        ({"horizon": 2}, "`horizon` must be left out unless kind is forecasting"),
    ],
)
def test_options_that_go_together(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**options(Path("x.csv"), **more))


def test_one_series_without_windows_is_told_what_helps(tmp_path: Path) -> None:
    task = Files(**options(series(tmp_path / "s.csv", names=("a",)), window=None, stride=1, sequence="id"))
    with pytest.raises(DataError, match="changes within the sequence"):
        task.load()
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 10, 1)), y=np.arange(2))
    with pytest.raises(DataError, match="must be 3 or more, one for each split, got 2; rows that are steps need"):
        Files(path=str(tmp_path / "a.npz"), kind="classification", target="y").load()


def test_a_run_is_evaluated_exported_and_predicts_every_window_of_a_file(tmp_path: Path) -> None:
    path = series(tmp_path / "s.csv")
    recipe = {
        "task": {"name": "files", **options(path, normalise="standard")},
        "model": {"hidden_size": 4},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"epochs": 1, "batch_size": 8},
    }
    result = train(parse_recipe(recipe), out=tmp_path / "run")
    assert evaluate(tmp_path / "run")["metrics"] == pytest.approx(result["test"], rel=1e-4)
    export(tmp_path / "run", format="torchscript", out=tmp_path / "m.torchscript")
    answers = []
    for number, model in enumerate((tmp_path / "run", tmp_path / "m.torchscript")):
        predict(model, [str(path)], out=tmp_path / f"{number}.jsonl")
        text = (tmp_path / f"{number}.jsonl").read_text(encoding="utf-8")
        answers.append([json.loads(line) for line in text.splitlines()])
    lasts = list(range(6, STEPS, 3))
    assert [answer["step"] for answer in answers[0]] == lasts
    assert [answer["time"] for answer in answers[0]] == lasts
    assert [answer["label"] for answer in answers[0]] == [answer["label"] for answer in answers[1]]
    predict(tmp_path / "run", [str(path)], format="csv", out=tmp_path / "p.csv")
    heading = (tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()[0]
    assert heading.startswith("source,row,sequence,step,time,label,probability")
