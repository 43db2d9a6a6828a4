"""Predictions of files against the model applied to the prepared data, in every input and output format."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from untrained import write_checkpoint

from momentum_cli.data.pixels import to_sequences
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.export import export
from momentum_cli.inference.predict import arrays as arrays_module
from momentum_cli.inference.predict.predict import READERS, predict
from momentum_cli.inference.predict.predictions import Named, Predictions
from momentum_cli.inference.predict.preparation import Preparation
from momentum_cli.inference.predict.samples import Places
from momentum_cli.inference.predict.writers import CsvWriter
from momentum_cli.progress import NullUi
from momentum_cli.training.trained import load_model

SIZE = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run.safetensors", "model.hidden_size=6")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 17, (7, SIZE, SIZE)).astype(np.uint8)


def expected(checkpoint: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, 10): the model on `to_sequences` and the scale of the data set."""
    model = load_model(checkpoint).model
    with torch.no_grad():
        outputs, _ = model(to_sequences(torch.from_numpy(images).float() / 16, SIZE))
    return outputs.softmax(1).numpy()


def run(model: Path, *inputs: Any, **options: Any) -> list[dict[str, Any]]:
    """Predict into a file and read the lines."""
    out = model.with_name("predictions.jsonl")
    predict(model, [str(name) for name in inputs], out=out, **options)
    return [json.loads(line) for line in out.read_text().splitlines()]


def agrees(records: list[dict[str, Any]], probabilities: np.ndarray) -> None:
    assert len(records) == len(probabilities)
    for record, row in zip(records, probabilities, strict=True):
        assert record["label"] == str(row.argmax())
        got = {entry["label"]: entry["probability"] for entry in record["top"]}
        assert len(got) == 3
        assert list(got.values()) == sorted(got.values(), reverse=True)
        for label, value in got.items():
            assert value == pytest.approx(row[int(label)], abs=1e-5)


def test_arrays_of_every_kind_agree(checkpoint: Path, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "flat.npy", images.reshape(7, -1).astype(np.float64))
    np.savez_compressed(tmp_path / "a.npz", images=images, labels=np.zeros(7))
    np.savetxt(tmp_path / "a.csv", images.reshape(7, -1), delimiter=",", fmt="%d", header="p" + ",p" * 63, comments="")
    np.savetxt(tmp_path / "bare.csv", images.reshape(7, -1), delimiter=",", fmt="%.1f")
    want = expected(checkpoint, images)
    for name in ("a.npy", "flat.npy", "a.npz", "a.csv", "bare.csv"):
        records = run(checkpoint, tmp_path / name, batch_size=3)
        agrees(records, want)
        assert [record["row"] for record in records] == list(range(7)), name
        assert records[0]["source"] == str(tmp_path / name)


def test_images_folders_and_globs(checkpoint: Path, images: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    grey = (images.astype(np.float64) / 16 * 255).round().astype(np.uint8)
    Image.fromarray(grey[0]).save(folder / "0.png")
    Image.fromarray(np.repeat(grey[1][..., None], 3, 2)).save(folder / "1.PNG")
    Image.fromarray((images[2].astype(np.float64) / 16 * 65535).round().astype(np.uint16)).save(folder / "2.png")
    Image.fromarray(grey[3]).save(folder / "deeper" / "3.png")
    (folder / "notes.txt").write_text("not an input")
    want = expected(checkpoint, images)
    records = run(checkpoint, folder)
    assert [Path(record["source"]).name for record in records] == ["0.png", "1.PNG", "2.png", "3.png"]
    assert all(record["row"] is None for record in records)
    for record, row in zip(records, want, strict=False):
        assert record["probability"] == pytest.approx(row.max(), abs=2e-3)
    assert len(run(checkpoint, folder / "*.png", folder / "deeper" / "3.png")) == 3


@pytest.mark.parametrize("kind", ["npy", "csv", "png"])
def test_standard_input(
    checkpoint: Path, images: np.ndarray, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = io.BytesIO()
    if kind == "npy":
        np.save(data, images)
    elif kind == "csv":
        np.savetxt(data, images.reshape(7, -1), delimiter=",", fmt="%d")
    else:
        Image.fromarray((images[0].astype(int) * 255 // 16).astype(np.uint8)).save(data, "PNG")
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(data.getvalue())}))
    predict(checkpoint, ["-"])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == (1 if kind == "png" else 7)
    want = expected(checkpoint, images)
    assert records[0]["source"] == "-"
    assert records[-1]["label"] == str(want[0 if kind == "png" else 6].argmax())


def test_exported_files_predict_the_same(checkpoint: Path, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images)
    for name in ("onnx", "torchscript"):
        out = tmp_path / f"model-{name}"
        export(checkpoint, format=name, stateful=name == "onnx", out=out, check_accuracy=False)
        agrees(run(out, tmp_path / "a.npy"), expected(checkpoint, images))


def test_names_in_a_csv_output_are_no_formulas() -> None:
    stream = io.StringIO()
    writer = CsvWriter(stream)
    values = np.full((2, 1, 1), -1.5)
    writer.write(Predictions(Places(["=a.csv", "-1"], [0, 0]), values[:, 0], Named(["+b"], values, ())))
    assert list(csv.reader(io.StringIO(stream.getvalue()))) == [
        ["source", "row", "'+b"],
        ["'=a.csv", "0", "-1.5"],
        ["-1", "0", "-1.5"],
    ]


def test_csv_and_npz_output(checkpoint: Path, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", images)
    np.save(tmp_path / "one.npy", images[0])
    want = expected(checkpoint, images)
    names = [str(tmp_path / "a.npy"), str(tmp_path / "one.npy")]
    predict(checkpoint, names, format="csv", out=tmp_path / "out.csv", top=2)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert list(rows[0]) == ["source", "row", "label", "probability", "label_2", "probability_2"]
    assert [row["label"] for row in rows] == [str(p.argmax()) for p in [*want, want[0]]]
    assert rows[-1]["row"] == ""
    predict(checkpoint, names, format="npz", out=tmp_path / "out.npz", batch_size=2)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        logits = arrays["outputs"].astype(np.float64)
        assert arrays["predicted"].tolist() == [*want.argmax(1), want[0].argmax()]
        assert arrays["row"].tolist() == [*range(7), -1]
        assert [arrays["sources"][i] for i in arrays["source"]] == [names[0]] * 7 + [names[1]]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(shares[:7], want, atol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_what_is_broken_is_reported_and_the_rest_predicted(
    checkpoint: Path, images: np.ndarray, tmp_path: Path
) -> None:
    class Notes(NullUi):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def note(self, text: str, level: Any = "info") -> None:
            assert level == "error"
            self.texts.append(text)

    (tmp_path / "a.png").write_bytes(b"not an image")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "b.png")
    flat = images.reshape(7, -1).astype(np.float64)
    flat[2, 5], flat[4, 0] = np.nan, 17.0
    np.save(tmp_path / "c.npy", flat)
    rows = [",".join(map(str, row)) for row in images[:4].reshape(4, -1)]
    (tmp_path / "d.csv").write_text("\n".join([rows[0], "1,2,3", rows[2].replace(",", ",x", 1), rows[3]]))
    content = io.BytesIO()
    np.save(content, images)
    (tmp_path / "e.npy").write_bytes(content.getvalue()[:-100])
    np.save(tmp_path / "f.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive:
        archive.writestr("labels.npy", b"")
        archive.writestr("other.npy", b"")
    (tmp_path / "h.npz").write_bytes(b"PK no zip")
    (tmp_path / "i.csv").write_text("")
    notes, out = Notes(), tmp_path / "out.jsonl"
    names = [str(path) for path in sorted(tmp_path.glob("[a-i].*"))]
    with pytest.raises(DataError, match=r"12 of 19 inputs could not be predicted .*; the other 7 were") as caught:
        predict(checkpoint, [*names, str(tmp_path / "absent.png")], out=out, ui=notes)
    assert caught.value.exit_code == 3
    text = "\n".join(notes.texts)
    for message in (
        "a.png: not a readable image",
        "b.png: the image has 8 x 9 pixels, but the model takes 8 x 8",
        "c.npy, row 2: a value is not a finite number",
        "c.npy, row 4: the pixels must be in [0, 16], got 0 … 17",
        "d.csv, row 1: the shape must be (8, 8) or (64,) pixels, got (3,)",
        "d.csv, row 2: line 3: 'x",
        "e.npy: the file is cut short",
        "f.npy: the array must hold numbers, not Python objects",
        "g.npz: the file must hold one array, or one named inputs, images, x; it holds labels, other",
        "h.npz",
        "i.csv: the file holds no rows",
        "absent.png: No such file",
    ):
        assert message in text, message
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(Path(r["source"]).name, r["row"]) for r in records} >= {("c.npy", 6), ("d.csv", 0), ("d.csv", 3)}


def test_wrong_options(checkpoint: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"format": "xml"}, "jsonl"),
        ({"format": "npz"}, "--out"),
        ({"format": "parquet"}, "--format parquet is binary and needs --out"),
        ({"batch_size": 0}, "at least 1"),
        ({"top": 0}, "at least 1"),
        ({"out": tmp_path / "nowhere" / "x.jsonl"}, "no folder .*nowhere; make it"),
        (
            {"out": tmp_path / "x.xlsx"},
            r"--out must end in \.jsonl, \.csv.*; for another ending add the format: --format",
        ),
        (
            {"out": tmp_path / "x.csv", "format": "jsonl"},
            r"end in \.jsonl with --format jsonl, got .*; leave out",
        ),
    ):
        with pytest.raises(RecipeError, match=message):
            predict(checkpoint, ["x.npy"], **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no file matches"):
        predict(checkpoint, [str(tmp_path / "*.png")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        predict(checkpoint, [str(tmp_path / "empty")])


@pytest.mark.parametrize(
    ("name", "format", "first"),
    [
        ("a.csv", None, b"source,"),
        ("a.jsonl", None, b'{"'),
        ("a", None, b'{"'),
        ("a-1.0", None, b'{"'),
        ("a-1.0", "csv", b"sou"),
        ("a.NPZ", None, b"PK"),
        ("a", "csv", b"sou"),
    ],
)
def test_the_ending_of_the_file_says_the_format(
    checkpoint: Path, tmp_path: Path, name: str, format: str | None, first: bytes
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8)))
    predict(checkpoint, [str(tmp_path / "x.npy")], format=format, out=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(first)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npz", "a.parquet"])
def test_where_nothing_could_be_predicted_no_file_is_written(checkpoint: Path, tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 8, 8), 99.0))
    (tmp_path / name).write_text("before")
    with pytest.raises(DataError, match="no prediction was made"):
        predict(checkpoint, [str(tmp_path / "x.npy")], out=tmp_path / name)
    assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(["x.npy", name])


def test_rows_are_read_as_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows are not held: after the first sample only a block of the file has been read."""
    monkeypatch.setattr(arrays_module, "_CHUNK", 64 * 10)
    preparation = Preparation(
        {"kind": "pixels", "height": 8, "width": 8, "raw_max": 16, "scale": 1 / 16, "permutation": None}, 8
    )
    np.save(tmp_path / "a.npy", np.zeros((1000, 64), np.uint8))
    read = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
            nonlocal read
            data = super().read(-1 if size is None else size)
            read += len(data or b"")
            return data or b""

    with Counting(tmp_path / "a.npy") as file:
        samples = arrays_module._read_npy("a", file, preparation)  # type: ignore[arg-type]
        next(samples)
        assert read <= 128 + 640
        assert sum(1 for _ in samples) == 999


def test_permutation_and_scale_come_from_the_description() -> None:
    order = np.random.default_rng(1).permutation(6)
    description = {"kind": "pixels", "height": 2, "width": 3, "raw_max": 255, "scale": 1 / 255}
    raw = np.arange(6).reshape(2, 3) * 40
    got = Preparation(description | {"permutation": order.tolist()}, 2).array(raw)
    images = torch.from_numpy(raw).unsqueeze(0)
    want = to_sequences(images, 2, torch.from_numpy(order))[0].float() * (1 / 255)
    assert got.dtype == np.float32
    assert np.array_equal(got, want.numpy())


def test_sequences_and_tokens() -> None:
    plain = Preparation({"kind": "none"}, 2)
    assert plain.array(np.arange(6.0).reshape(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert plain.array(np.arange(6.0)).tolist() == [[0, 1], [2, 3], [4, 5]]
    for wrong in (np.zeros((3, 3)), np.zeros((0, 2)), np.zeros(5), np.array(["a"])):
        with pytest.raises(DataError):
            plain.array(wrong)
    tokens = Preparation({"kind": "one-hot", "tokens": ["a", "b", "blank"]}, 3)
    assert tokens.array(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(DataError, match=r"the tokens must be integers in \[0, 2\], got 3 … 3"):
        tokens.array(np.array([3]))


def test_a_kind_of_preprocessing_without_a_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_checkpoint(tmp_path / "model.safetensors", "model.hidden_size=4")
    monkeypatch.delitem(READERS, "pixels")
    with pytest.raises(DataError, match="unknown kind of preprocessing 'pixels'"):
        predict(model, [str(tmp_path / "x.npy")])


def test_regression_and_labels_of_every_step(tmp_path: Path) -> None:
    adding = write_checkpoint(
        tmp_path / "adding.safetensors", "model.hidden_size=4", "task.length=10", "task.train_size=20",
        "task.validation_size=5", "task.test_size=5", recipe="adding",
    )  # fmt: skip
    x = np.random.default_rng(0).random((3, 10, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with torch.no_grad():
        want = load_model(adding).model(torch.from_numpy(x))[0]
    values = [record["values"] for record in run(adding, tmp_path / "x.npy")]
    np.testing.assert_allclose(values, want, atol=1e-5)
    copying = write_checkpoint(
        tmp_path / "copying.safetensors", "model.hidden_size=4", "task.delay=5", "task.train_size=20",
        "task.validation_size=5", "task.test_size=5", recipe="copying",
    )  # fmt: skip
    np.save(tmp_path / "t.npy", np.array([[0, 1, 2, 3]]))
    (record,) = run(copying, tmp_path / "t.npy")
    assert len(record["labels"]) == 4
