"""Streamed training data: equal to the same files read whole, few row groups at a time, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from momentum_cli.data.dataset import Dataset
from momentum_cli.data.files import Files
from momentum_cli.data.files.shards import Holdout, Shards
from momentum_cli.data.files.splitting import SPLITS
from momentum_cli.data.files.streamed import StreamedSplit
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inspection.data import check_data, describe_data
from momentum_cli.recipe.recipe import load_recipe, parse_recipe
from momentum_cli.runs.checkpoint import load_checkpoint
from momentum_cli.training.class_loss import class_counts
from momentum_cli.training.train import train

OPTIONS: dict[str, Any] = {"path": "shards", "format": "parquet", "features": ["x"], "streamed": 2}
CLASSES = OPTIONS | {"kind": "classification", "target": "label"}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rows(count: int, seed: int = 0, *, even: bool = False) -> list[dict[str, Any]]:
    """Sequences of two values per step; the class is the sign of the mean of the first one, the value is that mean."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        steps = random.normal(3, 5, (6 if even else int(random.integers(2, 7)), 2))
        mean = float(steps[:, 0].mean())
        found.append({"x": steps.tolist(), "label": "high" if mean > 3 else "low", "value": mean, "other": -mean})
    return found


def write(folder: Path, shards: dict[str, list[dict[str, Any]]], size: int = 8) -> Path:
    for name, content in shards.items():
        path = folder / "shards" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(content), path, row_group_size=size)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, {name: rows(50, seed) for seed, name in enumerate("abc")})


def with_splits(folder: Path, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the split of each sequence as it is drawn into the rows; return all of them."""
    shards = Shards(folder / "shards", Files(**CLASSES).schema(folder / "shards"), "refuse", Holdout(0.15, 0.15, 0))
    words = []
    for group in shards.row_groups(Problems()):
        words += [SPLITS[one] for one in shards.holdout.draw(group.file.stem, group.number, group.rows)]
    return [row | {"split": word} for row, word in zip(content, words, strict=True)]


def every(dataset: Dataset, split: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    data = getattr(dataset, split)
    batch = data.batch(torch.arange(len(data)))
    return batch.inputs, batch.targets, batch.lengths


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        CLASSES,
        CLASSES | {"normalise": "range"},
        CLASSES | {"normalise": "sequence"},
        OPTIONS | {"kind": "regression", "target": ["value", "other"]},
        OPTIONS | {"kind": "regression", "target": "value", "quantiles": [0.1, 0.5, 0.9]},
    ],
)
def test_streamed_data_are_those_of_one_file_read_whole(tmp_path: Path, options: dict[str, Any], even: bool) -> None:
    content = rows(150, even=even)
    write(tmp_path, {name: content[50 * place : 50 * place + 50] for place, name in enumerate("abc")})
    found = Files(**options).load(tmp_path)
    pq.write_table(pa.Table.from_pylist(with_splits(tmp_path, content)), tmp_path / "one.parquet")
    whole = Files(**options | {"path": "one.parquet", "split_column": "split", "streamed": None}).load(tmp_path)
    for split in SPLITS:
        for one, other in zip(every(found, split), every(whole, split), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
        assert torch.equal(getattr(found, split).scored, getattr(whole, split).scored)
        lengths = [getattr(each, split).lengths for each in (found, whole)]
        assert lengths == [None, None] if even else torch.equal(*lengths)
        assert getattr(found, split).longest == getattr(whole, split).longest
    assert isinstance(found.train, StreamedSplit)
    for name in ("input_size", "output_size", "loss", "metrics", "labels", "quantiles"):
        assert getattr(found, name) == getattr(whole, name)
    for one, other in zip(found.naive, whole.naive, strict=True):
        torch.testing.assert_close(one.value, other.value)  # type: ignore[attr-defined]
    assert found.target_scale == (None if whole.target_scale is None else pytest.approx(whole.target_scale))


def test_a_table_without_lists_has_one_step_per_column(tmp_path: Path) -> None:
    content = [
        {f"t{step}": float(row[step]) for step in range(5)} | {"label": str(int(row[0] > 0))}
        for row in np.random.default_rng(0).normal(size=(60, 5))
    ]
    write(tmp_path, {"a": content[:30], "b": content[30:]})
    found = Files(**CLASSES | {"features": None}).load(tmp_path)
    assert (found.input_size, found.train.longest, found.labels) == (1, 5, ("0", "1"))
    inputs, targets, _ = every(found, "train")
    offset, scale = (found.preprocessing["scaling"][name][0] for name in ("offset", "scale"))
    assert torch.equal((inputs[:, 0, 0] * scale + offset > 0).long(), targets)


def test_folders_named_by_the_split_divide_the_data(tmp_path: Path) -> None:
    content = {"split=train/a": rows(40), "split=train/b": rows(40, 1), "split=test/a": rows(10, 2)}
    found = Files(**CLASSES | {"split_column": "split"}).load(write(tmp_path, content))
    assert (len(found.train), found.validation, len(found.test)) == (80, None, 10)
    # Row groups without training data belong to no process.
    assert found.train.training_groups(16, 0).steps == 5


def test_few_row_groups_are_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Files(**CLASSES).load(folder)
    read: list[int] = []
    gather = Shards.gather
    monkeypatch.setattr(Shards, "gather", lambda self, group, problems: read.append(1) or gather(self, group, problems))
    groups = found.train.training_groups(10, 0)
    for step in range(groups.steps):
        found.train.batch(groups.group(0, step))
        assert len(found.train.reader._open) <= 2  # type: ignore[attr-defined]
    assert len(read) == 21


def test_names_of_sequences_name_their_file(folder: Path) -> None:
    found = Files(**CLASSES).load(folder)
    places = [found.train.place(index) for index in (0, len(found.train) - 1)]
    assert [place["number"] for place in places] == [0, len(found.train) - 1]
    assert places[0]["sequence"].startswith("a.parquet:")
    assert places[1]["sequence"].startswith("c.parquet:")


def test_a_new_shard_leaves_the_split_of_the_others(folder: Path) -> None:
    before = Files(**CLASSES).load(folder)
    names = {before.test.place(index)["sequence"] for index in range(len(before.test))}
    write(folder, {"0": rows(50, 9)})
    after = Files(**CLASSES).load(folder)
    found = {after.test.place(index)["sequence"] for index in range(len(after.test))}
    assert {name for name in found if not name.startswith("0.")} == names


def test_the_survey_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Files(**CLASSES).load(folder)
    monkeypatch.setattr(Shards, "gather", lambda *_: pytest.fail("the data were read again"))
    again = Files(**CLASSES).load(folder)
    assert again.preprocessing == first.preprocessing
    assert torch.equal(every(again, "test")[0], every(first, "test")[0])


def test_data_that_change_during_a_run_are_refused(folder: Path) -> None:
    found = Files(**CLASSES).load(folder)
    write(folder, {"a": [row | {"label": "other"} for row in rows(50)]})
    with pytest.raises(DataError, match=r"a\.parquet has changed since this run began"):
        found.train.batch(torch.arange(4))


def test_counts_of_classes_need_no_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Files(**CLASSES).load(folder)
    targets = every(found, "train")[1]
    monkeypatch.setattr(StreamedSplit, "batch", lambda *_: pytest.fail("the data were read"))
    assert torch.equal(class_counts(found), torch.bincount(targets))


RECIPE: dict[str, Any] = {
    "model": {"cell": "lstm", "hidden_size": 4},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 2, "batch_size": 10, "seed": 0, "log_every_n_steps": 1},
}


def recipe(**changed: Any) -> Any:
    return parse_recipe(RECIPE | {"task": CLASSES | {"name": "files"} | changed})


def test_data_describe_and_data_check_stream(folder: Path) -> None:
    shown = describe_data(recipe(), data_dir=folder)
    values = np.concatenate([np.array(row["x"]) for seed in range(3) for row in rows(50, seed)])
    for place, one in enumerate(shown["features"]):
        assert (one["name"], one["missing"]) == (f"x[{place}]", 0)
        low, high, mean = values[:, place].min(), values[:, place].max(), values[:, place].mean()
        assert (one["minimum"], one["maximum"], one["mean"]) == pytest.approx((low, high, mean))
    assert sum(shown["splits"]["train"]["classes"].values()) == shown["splits"]["train"]["sequences"]
    assert check_data(recipe(), data_dir=folder)["ok"]


def test_mistakes_name_their_file_and_row(folder: Path) -> None:
    content = rows(20)
    content[9]["label"] = None
    content[17]["x"] = [[1.0, None], [2.0, 3.0]]
    write(folder, {"b": content})
    with pytest.raises(DataError, match=r"b\.parquet: target 'label': missing value: row 9\n"):
        Files(**CLASSES).load(folder)
    found = check_data(recipe(), data_dir=folder)
    assert not found["ok"]
    assert [(one["rows"], one["message"].split(":")[0]) for one in found["problems"]] == [
        ([9], "b.parquet"),
        ([17], "b.parquet"),
    ]
    assert not list((folder / "cache").rglob("survey.npz"))


def test_every_mistake_in_every_file_is_listed(folder: Path) -> None:
    content = rows(20)
    content[8]["x"] = None  # the first of a row group
    content[16]["x"] = []
    write(folder, {"d": content, "f": [row | {"x": [[1.0, 2.0, 3.0]]} for row in rows(4)]})
    write(folder, {"g": [row | {"label": "HIGH"} for row in rows(4)]})
    (folder / "shards" / "a.parquet").write_bytes(b"PAR1 and no more")
    (folder / "shards" / "e.parquet").write_bytes((folder / "shards" / "d.parquet").read_bytes()[:-9])
    found = check_data(recipe(), data_dir=folder)
    assert not found["ok"]
    told = [(one["code"], one["rows"], one["message"].split(":")[0]) for one in found["problems"]]
    assert told == [
        ("unreadable", [], "a.parquet"),
        ("unreadable", [], "e.parquet"),
        ("shape", [8], "d.parquet"),
        ("shape", [16], "d.parquet"),
        ("unreadable", [], "f.parquet"),
        ("similar_labels", [next(row for row, one in enumerate(rows(50, 1)) if one["label"] == "high")], "b.parquet"),
        ("similar_labels", [0], "g.parquet"),
    ]
    with pytest.raises(DataError, match=r"7 problems\n"):
        describe_data(recipe(), data_dir=folder)


def test_no_more_than_twenty_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for number in range(30):
        path = tmp_path / "shards" / f"{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = check_data(recipe(), data_dir=tmp_path)["problems"]
    assert len(found) == 21
    assert found[-1]["message"] == "more files cannot be read"


def test_what_only_all_data_show_is_listed(tmp_path: Path) -> None:
    few = [row | {"label": "a"} for row in rows(40)]
    coarse = [row | {"x": [[1e9 + number % 2, number]]} for number, row in enumerate(rows(40))]
    for name, content, message in (
        ("few", few, "the target must have two or more classes, got 1"),
        ("coarse", coarse, "`task.normalise` must be standard or range, got 'none': values from"),
    ):
        found = check_data(recipe(normalise="none"), data_dir=write(tmp_path / name, {"a": content}))
        assert not found["ok"]
        mistakes = [one for one in found["problems"] if one["severity"] == "error"]
        assert [one["code"] for one in mistakes] == ["data"]
        assert mistakes[0]["message"].startswith(message)


def test_a_class_without_training_data_is_a_warning(folder: Path) -> None:
    drawn = with_splits(folder, [row for seed in range(3) for row in rows(50, seed)])[:50]
    tested = next(row for row in drawn if row["split"] == "test")
    tested["label"] = "rare"
    assert "class 'rare' has no training sequence" in str(Files(**CLASSES).load(write(folder, {"a": drawn})).warnings)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"streamed": 0}, "`streamed` must be a number of row groups, >= 1, got 0"),
        ({"kind": "labelling"}, "`streamed` must be left out unless whole sequences are classified"),
        ({"window": 3}, "`streamed` must be left out unless whole sequences are classified"),
        ({"format": "csv"}, "`streamed` must be left out unless format is parquet, got 2 with format csv"),
        ({"categorical": ["x"]}, "`categorical` must be left out with task.streamed"),
        ({"normalise_by": "label"}, "`normalise_by` must be left out with task.streamed"),
    ],
)
def test_options_that_cannot_be_streamed_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files(**CLASSES | changed)
    with pytest.raises(RecipeError, match="streamed"):
        recipe(**changed)


@pytest.mark.parametrize("given", [True, 2.5, "two"])
def test_the_number_of_row_groups_is_a_number(given: Any) -> None:
    with pytest.raises(RecipeError, match=r"task\.streamed"):
        recipe(streamed=given)


def test_tables_that_cannot_be_streamed_are_refused(tmp_path: Path, folder: Path) -> None:
    steps = [{"t": float(row), "id": "a", "label": "b"} for row in range(4)]
    with pytest.raises(DataError, match="write each sequence as one row with columns of lists"):
        Files(**CLASSES | {"features": ["t"], "sequence": "id"}).load(write(tmp_path / "steps", {"a": steps}))
    (tmp_path / "a.csv").write_text("t,label\n1,a\n")
    with pytest.raises(DataError, match="must be left out unless the format is parquet"):
        Files(path="a.csv", kind="classification", target="label", streamed=1).load(tmp_path)
    write(folder, {"z": [row | {"x": [[1.0, 2.0, 3.0]]} for row in rows(4)]})
    with pytest.raises(
        DataError, match=r"z\.parquet: its features are x\[0\], x\[1\], x\[2\], and before they are x\[0\], x\[1\]"
    ):
        Files(**CLASSES).load(folder)
    write(tmp_path / "none", {"a": rows(1)})
    pq.write_table(pa.Table.from_pylist(rows(1)).slice(0, 0), tmp_path / "none" / "shards" / "a.parquet")
    with pytest.raises(DataError, match="hold no rows"):
        Files(**CLASSES).load(tmp_path / "none")
    with pytest.raises(DataError, match="the split validation has no sequences"):
        Files(**CLASSES).load(write(tmp_path / "small", {"a": rows(2)}))
    with pytest.raises(DataError, match="must have two or more classes, got 1"):
        Files(**CLASSES).load(write(tmp_path / "one", {"a": [row | {"label": "a"} for row in rows(40)]}))


def test_what_determines_the_order_is_kept_within_an_epoch(folder: Path, tmp_path: Path) -> None:
    train(recipe(), data_dir=folder, out=tmp_path / "whole")
    cut = load_recipe(str(tmp_path / "whole" / "recipe.yaml"), ["train.max_steps=13"])
    train(cut, data_dir=folder, out=tmp_path / "cut")
    with pytest.raises(RecipeError, match=r"with task\.streamed=2 and is resumed with 3"):
        train(recipe(streamed=3), data_dir=folder, resume=tmp_path / "cut")
    count = len(Files(**CLASSES).load(folder).train)
    write(folder, {"d": rows(50, 3)})
    with pytest.raises(RecipeError, match=f"the middle of an epoch of {count} training sequences, and there are"):
        train(recipe(), data_dir=folder, resume=tmp_path / "cut")
    # At the end of an epoch both may change.
    longer = recipe(streamed=3).override("train.epochs=3")
    assert train(longer, data_dir=folder, resume=tmp_path / "whole")["epochs"] == 3


def test_a_killed_run_continues_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    calm = train(recipe(), data_dir=folder, out=tmp_path / "calm")
    cut = load_recipe(str(tmp_path / "calm" / "recipe.yaml"), ["train.max_steps=13"])
    assert train(cut, data_dir=folder, out=tmp_path / "cut")["steps"] == 13 < calm["steps"] == 22
    assert train(recipe(), data_dir=folder, resume=tmp_path / "cut")["steps"] == 22
    one, other = (load_checkpoint(tmp_path / name / "checkpoints" / "last.safetensors") for name in ("calm", "cut"))
    assert all(torch.equal(one.tensors[name], tensor) for name, tensor in other.tensors.items())
