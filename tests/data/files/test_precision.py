"""Values keep all their digits until they are scaled, and predictions have them again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.data.files import cache
from momentum_cli.data.files.cache import open_source
from momentum_cli.data.files.normalisation import fit
from momentum_cli.data.problems import Problems
from momentum_cli.errors import DataError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train
from momentum_cli.training.trained import load_model

OFFSET = 1.6e9


def values(count: int = 300) -> list[float]:
    return [round(OFFSET + 10 * math.sin(t / 5), 3) for t in range(count)]


def write(folder: Path, format: str) -> Path:
    """Write the series in a format."""
    path = folder / f"offset.{format}"
    if format == "csv":
        path.write_text("\n".join(["t,value", *(f"{t},{value:.3f}" for t, value in enumerate(values()))]) + "\n")
    elif format == "jsonl":
        path.write_text("".join(json.dumps({"t": t, "value": v}) + "\n" for t, v in enumerate(values())))
    elif format == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"t": list(range(300)), "value": values()}), path)
    else:
        np.savez(path, value=np.array(values())[:, None])
    return path


FORECAST: dict[str, Any] = {"kind": "forecasting", "window": 8}


def options(path: Path, **more: Any) -> dict[str, Any]:
    columns = {"features": ["value"]} if path.suffix == ".npz" else {"order": "t", "target": "value"}
    return {"path": str(path), **FORECAST, **columns, **more}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "npz"])
def test_a_series_around_a_large_number_keeps_its_shape(
    format: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if large:
        monkeypatch.setattr(cache, "LARGE", 1)
    dataset = Files(**options(write(tmp_path, format))).load()
    train_part = np.array(values()[:210])
    wanted = (train_part - train_part.mean()) / train_part.std()
    batch = dataset.train.batch(torch.tensor([0, 100]))
    assert batch.inputs.dtype == torch.float32
    np.testing.assert_allclose(batch.inputs[1, :, 0], wanted[100:108], atol=3e-6)
    np.testing.assert_allclose(batch.targets[:, 0], wanted[[8, 108]], atol=3e-6)


def test_errors_and_predictions_are_those_of_the_values_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "csv")
    recipe = parse_recipe(
        {
            "task": {"name": "files", **options(path)},
            "model": {"hidden_size": 4},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 2, "batch_size": 8},
        }
    )
    train(recipe, out=tmp_path / "run")
    model = load_model(tmp_path / "run").model
    series = np.array(values())
    mean, deviation = series[:210].mean(), series[:210].std()

    def forecast(start: int) -> float:
        window = torch.tensor((series[start : start + 8] - mean) / deviation, dtype=torch.float32)
        with torch.no_grad():
            return float(model(window[None, :, None])[0][0, 0].double()) * deviation + mean

    squares = [(forecast(step - 8) - series[step]) ** 2 for step in range(255, 300)]
    assert evaluate(tmp_path / "run", split="test")["mse"] == pytest.approx(np.mean(squares), rel=1e-5)
    last = forecast(292)
    assert abs(last - np.float32(last)) > 3e-5  # float32 would lose what is compared
    file = Path(export(tmp_path / "run", format="onnx", out=tmp_path / "m.onnx")["file"])
    for subject in (tmp_path / "run", file):
        for format in ("jsonl", "csv", "npz"):
            out = tmp_path / f"out.{format}"
            predict(subject, [str(path)], format=format, out=out)
            if format == "jsonl":
                got = json.loads(out.read_text())["values"]["value"][0]
            elif format == "csv":
                got = float(out.read_text().splitlines()[1].split(",")[-1])
            else:
                with np.load(out) as arrays:
                    assert arrays["outputs"].dtype == np.float64
                    got = float(arrays["outputs"][0, 0])
            assert got == pytest.approx(last, abs=1e-5)


def test_values_that_float32_would_round_are_refused_unscaled(tmp_path: Path) -> None:
    path = write(tmp_path, "csv")
    with pytest.raises(DataError, match=r"`task.normalise` must be standard or range, got 'none': .* rounded"):
        Files(**options(path, normalise="none")).load()
    Files(**options(path, normalise="range")).load()
    # A number that varies as much as it is large loses nothing, and neither does a constant one.
    large = np.array([[1e9, 1.6e9], [-1e9, 1.6e9]])
    assert fit([large], 2, "none").scale.tolist() == [1, 1]


@pytest.mark.parametrize("normalise", ["standard", "range", "sequence", "none"])
@pytest.mark.parametrize("type", [np.float16, np.float32, np.int16])
def test_numbers_that_fit_into_float32_are_kept_in_it_and_give_the_same_bits(
    type: Any, normalise: str, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    narrow = (draw.normal(size=(40, 7, 2)) * 100 + 500).astype(type)
    if type is not np.int16:
        narrow[3, 5:] = np.nan  # a shorter sequence
    loaded = []
    for name, values in (("narrow", narrow), ("wide", narrow.astype(np.float64))):
        np.savez(tmp_path / f"{name}.npz", x=values, y=np.arange(40) % 2)
        task = Files(path=str(tmp_path / f"{name}.npz"), kind="classification", target="y", normalise=normalise)
        loaded.append((task, task.load()))
    (task, one), (_, other) = loaded
    source = open_source(tmp_path / "narrow.npz", task.schema(tmp_path / "narrow.npz"), Problems())
    assert source.dtype == (np.float64 if normalise == "sequence" else np.float32)
    assert one.preprocessing == other.preprocessing
    for split in ("train", "test"):
        left, right = getattr(one, split), getattr(other, split)
        everything = torch.arange(len(left))
        assert torch.equal(left.batch(everything).inputs, right.batch(everything).inputs)
        assert [left.place(place) for place in everything] == [right.place(place) for place in everything]


@pytest.mark.parametrize("type", [np.int32, np.int64, np.float64])
def test_numbers_that_do_not_fit_into_float32_keep_their_digits(type: Any, tmp_path: Path) -> None:
    steps = 2**30 + np.arange(40 * 7).reshape(40, 7)
    np.savez(tmp_path / "large.npz", x=steps.astype(type), y=np.arange(40) % 2)
    task = Files(path=str(tmp_path / "large.npz"), kind="classification", target="y")
    gathered = task.gather(tmp_path / "large.npz", Problems())
    np.testing.assert_array_equal(gathered.features.read(0, 40 * 7)[:, 0], steps.ravel())
    assert gathered.names.tolist() == [str(row) for row in range(40)]
