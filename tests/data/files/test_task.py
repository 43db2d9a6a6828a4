"""The task `files`: every format gives the same sequences, and batches are what the file says."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import NOT_SCORED, Dataset, Files
from momentum_cli.data.files import cache
from momentum_cli.data.files.columns import numbers, times, words
from momentum_cli.errors import DataError

SEQUENCES = 24


def made(seed: int = 0) -> list[dict[str, Any]]:
    """Sequences of two features, with a class, a value, a class of each step and a split."""
    draw = random.Random(seed)
    found = []
    for number in range(SEQUENCES):
        steps = [[round(draw.gauss(3, 2), 3), round(draw.gauss(-1, 0.1), 3)] for _ in range(draw.randint(3, 9))]
        split = ("train", "validation", "test")[0 if number < 14 else 1 if number < 19 else 2]
        marks = ["up" if step[0] > 3 else "down" for step in steps]
        label, value = ("cat", "dog", "owl")[number % 3], round(draw.gauss(100, 5), 3)
        found.append(
            {"id": f"s{number}", "steps": steps, "label": label, "value": value, "marks": marks, "split": split}
        )
    return found


def step_rows(sequences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": s["id"], "t": t, "x": x, "y": y, **{k: s[k] for k in ("label", "value", "split")}, "mark": s["marks"][t]}
        for s in sequences
        for t, (x, y) in enumerate(s["steps"])
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def write_npz(path: Path, sequences: list[dict[str, Any]]) -> Path:
    longest = max(len(s["steps"]) for s in sequences)
    x = np.full((len(sequences), longest, 2), 1e9)
    marks = np.full((len(sequences), longest), "never")
    for row, s in enumerate(sequences):
        x[row, : len(s["steps"])] = s["steps"]
        marks[row, : len(s["steps"])] = s["marks"]
    arrays = {name: np.array([s[name] for s in sequences]) for name in ("id", "label", "value", "split")}
    np.savez(path, x=x, lengths=np.array([len(s["steps"]) for s in sequences]), marks=marks, **arrays)
    return path


COLUMNS: dict[str, Any] = {"sequence": "id", "order": "t", "features": ["x", "y"], "split_column": "split"}
TARGETS = {"classification": "label", "regression": "value", "labelling": "mark"}


def everything(dataset: Dataset) -> list[tuple[Any, ...]]:
    """All that batches hold, sequence by sequence, without padding."""
    found = []
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split is not None
        batch = split.batch(torch.arange(len(split)))
        assert batch.lengths is not None
        for row, length in enumerate(batch.lengths.tolist()):
            target = batch.targets[row]
            target = target[:length] if dataset.output == "every" else target
            found.append((batch.inputs[row, :length].tolist(), target.tolist()))
    return found


@pytest.mark.parametrize("kind", TARGETS)
def test_every_format_gives_what_numpy_computes_from_the_same_sequences(kind: Any, tmp_path: Path) -> None:
    sequences = made()
    rows = step_rows(sequences)
    shuffled = random.Random(1).sample(rows, len(rows))
    lists = [
        {"id": s["id"], "xy": s["steps"], "label": s["label"], "value": s["value"], "mark": s["marks"],
         "split": s["split"]}
        for s in sequences
    ]  # fmt: skip
    options: dict[str, Any] = {"kind": kind, "target": TARGETS[kind], **COLUMNS}
    by_name = {s["id"]: s for s in sequences}
    train = np.concatenate([s["steps"] for s in sequences if s["split"] == "train"])
    mean, deviation = train.mean(0), train.std(0)
    values = np.array([s["value"] for s in sequences if s["split"] == "train"])

    def expected(names: list[str]) -> list[tuple[Any, Any]]:
        found = []
        for split in ("train", "validation", "test"):
            for s in (by_name[name] for name in names if by_name[name]["split"] == split):
                inputs = (np.array(s["steps"]) - mean) / deviation
                targets = {
                    "classification": sorted({"cat", "dog", "owl"}).index(s["label"]),
                    "regression": [(s["value"] - values.mean()) / values.std()],
                    "labelling": [["down", "up"].index(mark) for mark in s["marks"]],
                }
                found.append((inputs, targets[kind]))
        return found

    no_order = {key: value for key, value in options.items() if key != "order"}
    array_target = {"labelling": "marks"}.get(kind, TARGETS[kind])
    cases = [
        (write_csv(tmp_path / "a.csv", rows), options, rows),
        (write_csv(tmp_path / "b.tsv", rows, "\t"), options, rows),
        (write_csv(tmp_path / "shuffled.csv", shuffled), options, shuffled),
        (write_parquet(tmp_path / "a.parquet", rows), options, rows),
        (write_jsonl(tmp_path / "steps.jsonl", rows), options, rows),
        (write_jsonl(tmp_path / "lists.jsonl", lists), {**no_order, "features": ["xy"]}, rows),
        (
            write_npz(tmp_path / "a.npz", sequences),
            {**no_order, "features": ["x"], "lengths": "lengths", "target": array_target},
            rows,
        ),
    ]
    for path, given, order in cases:
        dataset = Files(path=str(path), **given).load()
        wanted = expected(list(dict.fromkeys(row["id"] for row in order)))
        got = everything(dataset)
        assert len(got) == len(wanted), path
        for (inputs, target), (right_inputs, right_target) in zip(got, wanted, strict=True):
            np.testing.assert_allclose(inputs, right_inputs, rtol=2e-5, atol=2e-6, err_msg=str(path))
            np.testing.assert_allclose(target, right_target, rtol=2e-5, atol=2e-6, err_msg=str(path))
        assert dataset.input_size == 2
        if kind == "regression":
            assert dataset.target_scale == pytest.approx((values.std(),), rel=1e-6)


def test_a_row_of_a_table_may_be_a_sequence_and_a_shorter_one_leaves_its_last_cells_empty(tmp_path: Path) -> None:
    lines = ["a,b,c,class", *(f"{i},{i + 1},{'' if i % 2 else i + 2},{'odd' if i % 2 else 'even'}" for i in range(20))]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    dataset = Files(path=str(path), kind="classification", target="class", normalise="none").load()
    assert (dataset.input_size, dataset.labels) == (1, ("even", "odd"))
    batch = dataset.train.batch(torch.arange(len(dataset.train)))
    assert batch.lengths is not None
    for row, length in enumerate(batch.lengths.tolist()):
        first = batch.inputs[row, 0, 0].item()
        assert length == (2 if first % 2 else 3)
        assert batch.inputs[row, :, 0].tolist() == [first, first + 1, 0.0 if first % 2 else first + 2]
        assert int(batch.targets[row]) == int(first % 2)


@pytest.mark.parametrize("horizon", [1, 3])
def test_windows_of_a_forecast_are_the_steps_before_what_they_predict(horizon: int, tmp_path: Path) -> None:
    count, window = 100, 5
    rows = [{"when": f"2024-01-01T{i // 60:02}:{i % 60:02}", "a": i, "b": i * i} for i in range(count)]
    path = write_csv(tmp_path / "series.csv", rows[::-1])  # sorted by time, not by row
    task = Files(
        path=str(path), kind="forecasting", order="when", target=["b"], window=window, horizon=horizon,
        validation_fraction=0.2, test_fraction=0.3,
    )  # fmt: skip
    dataset = task.load()
    train_a, train_b = np.arange(50.0), np.arange(50.0) ** 2
    ends = {"train": (window, 50), "validation": (50, 70), "test": (70, 100)}
    for name, (begin, end) in ends.items():
        split = getattr(dataset, name)
        assert len(split) == end - begin - horizon + 1
        batch = split.batch(torch.arange(len(split)))
        assert batch.lengths is None
        assert batch.targets.shape == (len(split), horizon)
        for row, first in enumerate(range(begin, end - horizon + 1)):
            a = batch.inputs[row, :, 0].numpy() * train_a.std() + train_a.mean()
            np.testing.assert_allclose(a, np.arange(first - window, first), atol=1e-4)
            b = batch.targets[row].numpy() * train_b.std() + train_b.mean()
            np.testing.assert_allclose(b, np.arange(first, first + horizon) ** 2.0, rtol=1e-4, atol=1e-2)
    assert dataset.target_scale == pytest.approx((train_b.std(),) * horizon)
    np.save(tmp_path / "series.npy", np.array([[row["a"], row["b"]] for row in rows], np.float64))
    same = {"window": window, "horizon": horizon, "validation_fraction": 0.2, "test_fraction": 0.3}
    array = Files(path=str(tmp_path / "series.npy"), kind="forecasting", target="1", **same).load()  # type: ignore[arg-type]
    index = torch.arange(len(array.test))
    assert torch.equal(array.test.batch(index).inputs, dataset.test.batch(index).inputs)
    assert torch.equal(array.test.batch(index).targets, dataset.test.batch(index).targets)


def test_windows_of_several_series_with_a_stride_never_cross_from_one_to_another(tmp_path: Path) -> None:
    rows = [{"id": name, "v": 1000 * k + i} for k, name in enumerate("abc") for i in range(20 + 7 * k)]
    path = write_csv(tmp_path / "series.csv", rows)
    task = Files(
        path=str(path), kind="forecasting", sequence="id", target="v", window=4, stride=3, normalise="none",
        split="fraction", validation_fraction=0.3, test_fraction=0.3,
    )  # fmt: skip
    dataset = task.load()
    seen = []
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split is not None
        batch = split.batch(torch.arange(len(split)))
        whole = torch.cat((batch.inputs[:, :, 0], batch.targets), 1)
        assert torch.equal(whole.diff(dim=1), torch.ones(len(split), 4))
        assert torch.equal(split.head(2).batch(torch.arange(2)).inputs, batch.inputs[:2])
        series = (whole[:, 0] // 1000).unique().tolist()
        assert len(series) == 1
        length = 20 + 7 * int(series[0])
        assert len(split) == (length - 5) // 3 + 1
        seen += series
    assert sorted(seen) == [0, 1, 2]


def test_folders_of_text_are_characters_of_the_training_texts(tmp_path: Path) -> None:
    for split, texts in {"train": ("ab", "ba"), "validation": ("a", "bb"), "test": ("abz", "b")}.items():
        for label, text in zip(("one", "two"), texts, strict=True):
            folder = tmp_path / "texts" / split / label
            folder.mkdir(parents=True)
            (folder / "x.txt").write_text(text, encoding="utf-8")
    task = Files(path=str(tmp_path / "texts"), format="text", kind="classification", split_column="folder")
    dataset = task.load()
    assert dataset.preprocessing["tokens"] == ["a", "b", "other"]
    batch = dataset.test.batch(torch.arange(2))
    assert batch.inputs[0].argmax(1).tolist() == [0, 1, 2]  # z is not in the training texts
    assert batch.inputs[1].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert batch.targets.tolist() == [0, 1]


def test_folders_of_wav_are_their_samples_a_few_a_step(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    waves = {}
    for label in ("high", "low"):
        (tmp_path / "wav" / label).mkdir(parents=True)
        for number in range(4):
            wave = np.sin(np.arange(50 + number) * (0.9 if label == "high" else 0.1)) * (0.5 + number / 10)
            waves[label, number] = wave
            soundfile.write(tmp_path / "wav" / label / f"{number}.wav", wave, 8000, subtype="FLOAT")
    options: dict[str, Any] = {"path": str(tmp_path / "wav"), "format": "wav", "kind": "classification"}
    dataset = Files(**options, samples_per_step=8, normalise="none").load()
    assert (dataset.input_size, dataset.labels) == (8, ("high", "low"))
    found = dataset.train.batch(torch.arange(len(dataset.train))).inputs.reshape(len(dataset.train), -1)
    wanted = {tuple(np.float32(wave[:48]).tolist()) for wave in waves.values()}
    assert all(tuple(row.tolist()) in wanted for row in found)
    soundfile.write(tmp_path / "wav" / "low" / "9.wav", np.zeros(80), 16000)
    with pytest.raises(DataError, match=r"low/9.wav: 16000 Hz .* the first file has 8000 Hz"):
        Files(**options).load()


def test_numbers_words_and_times() -> None:
    found, bad = numbers(["1", " 2.5 ", "", "NA", "x", "inf"])
    np.testing.assert_array_equal(found, [1, 2.5, np.nan, np.nan, np.nan, np.nan])
    assert bad == [4, 5]
    assert words([1.0, "a ", None, "nan", 2]).tolist() == ["1", "a", None, None, "2"]
    stamps, bad = times(["2024-01-01", "2024-01-01T00:00:01", "soon", "2024-01-01 00:00:02"])
    assert (np.diff(stamps[[0, 1, 3]]).astype(int).tolist(), bad) == ([10**9, 10**9], [2])
    assert times(["1", "2.5", ""])[1] == [2]


@pytest.mark.parametrize("kind", [*TARGETS, "forecasting"])
def test_a_large_file_is_read_from_the_disk_and_gives_the_same_bits(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = step_rows(made())
    options = {"kind": kind, "target": TARGETS.get(kind, "x"), **COLUMNS}
    options |= {"window": 2} if kind == "forecasting" else {}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for path in (write_csv(tmp_path / "a.csv", rows), write_parquet(tmp_path / "a.parquet", rows)):
        task = Files(path=str(path), **options)
        small = task.load()
        monkeypatch.setattr(cache, "LARGE", 1)
        for _ in range(2):  # written, and read again
            large = task.load()
            assert large.preprocessing == small.preprocessing
            assert large.train.features.array is None  # type: ignore[attr-defined]
            for name in ("train", "validation", "test"):
                one, other = getattr(small, name), getattr(large, name)
                index = torch.randperm(len(one))
                assert torch.equal(one.batch(index).inputs, other.batch(index).inputs)
                assert torch.equal(one.batch(index).targets, other.batch(index).targets)
                assert torch.equal(one.scored, other.scored)
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache" / "momentumrnn" / "files").iterdir())) == 2


def test_a_large_file_must_be_sorted_and_is_not_kept_when_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LARGE", 1)
    rows = step_rows(made())
    path = write_csv(tmp_path / "a.csv", [*rows[1:], rows[0]])
    with pytest.raises(DataError, match=rf"'s0': its rows must be together.*row {len(rows) + 1}"):
        Files(path=str(path), kind="classification", target="label", **COLUMNS).load()
    rows[1], rows[2] = rows[2], rows[1]
    path = write_csv(tmp_path / "b.csv", rows)
    with pytest.raises(DataError, match=r"'s0': t must increase.*row 4"):
        Files(path=str(path), kind="classification", target="label", **COLUMNS).load()
    assert list((tmp_path / "cache" / "momentumrnn" / "files").iterdir()) == []


def test_what_is_not_scored_comes_after_the_end_and_nowhere_else(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", step_rows(made()))
    dataset = Files(path=str(path), kind="labelling", target="mark", **COLUMNS).load()
    batch = dataset.train.batch(torch.arange(len(dataset.train)))
    assert batch.lengths is not None
    after = torch.arange(batch.inputs.shape[1]) >= batch.lengths[:, None]
    assert torch.equal(batch.targets == NOT_SCORED, after)
    assert torch.equal(dataset.train.scored, batch.lengths)
    assert not batch.inputs[after].any()


def test_numbers_in_the_description_are_enough_to_prepare_raw_values(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", step_rows(made()))
    dataset = Files(path=str(path), kind="classification", target="label", **COLUMNS).load()
    text = json.dumps(dataset.preprocessing)
    assert json.loads(text) == dataset.preprocessing
    scaling = dataset.preprocessing["scaling"]
    assert dataset.preprocessing["features"] == ["x", "y"]
    raw = made()[0]["steps"][0]
    prepared = [(v - o) / s for v, o, s in zip(raw, scaling["offset"], scaling["scale"], strict=True)]
    assert dataset.train.batch(torch.tensor([0])).inputs[0, 0].tolist() == pytest.approx(prepared, rel=1e-5)
    assert all(math.isfinite(value) for value in scaling["fill"])
