"""The table of tasks: the metrics and the sizes that each names, against those of its data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parallel_text import write_corpus
from speech_files import speech_like, write_wav

from momentum_cli.data import (
    MNIST,
    TASKS,
    Adding,
    Copying,
    Digits,
    Files,
    Language,
    PermutedMNIST,
    Speech,
    SpeechClassify,
    Task,
    Translation,
)
from momentum_cli.inference.predict.predict import READERS
from momentum_cli.metrics import METRICS
from momentum_cli.training.objective import Objective

DATA = os.environ.get("MOMENTUMRNN_DATA")
GENERATED = [
    Digits(pixels_per_step=4),
    Digits(validation="none"),
    Adding(length=7, train_size=3, validation_size=2, test_size=2),
    Copying(delay=3, symbols=4, copy_length=2, train_size=3, validation_size=2, test_size=2),
    MNIST(pixels_per_step=7),
    PermutedMNIST(pixels_per_step=28, validation=1),
]


def check_metrics(task: Task, data_dir: Path | None) -> None:
    dataset = task.load(data_dir)
    assert dataset.preprocessing["kind"] in READERS
    assert dataset.metrics == tuple(task.metrics)
    assert dataset.metric == task.metrics[0]
    assert "loss" in task.metrics
    assert set(Objective.of(dataset).metrics) == set(task.metrics) <= METRICS.keys()
    # Those of values and those of classes; a metric of the other side would be computed from the wrong targets.
    assert ("mse" in task.metrics) == (dataset.loss == "mse")


@pytest.mark.parametrize("task", GENERATED, ids=repr)
def test_metrics_and_sizes_are_those_of_the_data(task: Task) -> None:
    if isinstance(task, MNIST | PermutedMNIST) and DATA is None:
        pytest.skip("MOMENTUMRNN_DATA is not set")
    folder = None if DATA is None else Path(DATA)
    check_metrics(task, folder)
    assert task.sizes() == task.load(folder).sizes


def test_metrics_of_tasks_that_read_files(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a few words in a line\n" * 40, encoding="utf-8")
    rows = [f"s{row // 3},{row},{row % 5},{'ab'[row // 3 % 2]}" for row in range(90)]
    table = tmp_path / "a.csv"
    table.write_text("id,x,y,label\n" + "\n".join(rows), encoding="utf-8")
    spoken = tmp_path / "spoken"
    for index in range(12):
        write_wav(spoken / "ab"[index % 2] / f"{index}.wav", speech_like(0.3, 8000, index), 8000)
    of_tables = {"classification": "label", "labelling": "label", "regression": "y", "forecasting": "y"}
    tasks: list[Task] = [
        *(Language(level, str(text)) for level in ("character", "byte", "word")),
        *(
            Files(
                str(table),
                kind,
                sequence=None if kind == "regression" else "id",
                features=["x"],
                target=target,
                window=2 if kind == "forecasting" else None,
                split="fraction",
            )
            for kind, target in of_tables.items()
        ),
        Speech(str(spoken)),
        SpeechClassify(str(spoken)),
        Translation(str(write_corpus(tmp_path / "pairs")), vocabulary_size=60),
    ]
    for task in tasks:
        check_metrics(task, None)
        assert task.sizes() is None
    assert {type(task) for task in (*tasks, *GENERATED)} == set(TASKS.values())
