"""Models of the user's own files: trained, evaluated, exported, and predicting files with the same columns."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train
from momentum_cli.training.trained import load_model


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def series(count: int = 120) -> list[dict[str, Any]]:
    return [{"day": t, "load": 500 + 100 * math.sin(t / 3), "wind": math.cos(t / 5)} for t in range(count)]


def walks() -> list[dict[str, Any]]:
    noise = np.random.default_rng(0)
    return [
        {"id": f"w{s}", "x": float(noise.normal(s % 2, 1)), "sum": 40.0 + s, "cold": -s, "kind": "ab"[s % 2]}
        for s in range(24)
        for _ in range(3 + s % 4)
    ]


def trained(folder: Path, **task: Any) -> Path:
    recipe = parse_recipe(
        {
            "task": {"name": "files", **task},
            "model": {"hidden_size": 6},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"max_steps": 3, "batch_size": 8},
        }
    )
    train(recipe, out=folder / "run")
    return folder / "run"


def predicted(model: Path, source: Path, folder: Path, format: str = "jsonl") -> list[dict[str, Any]]:
    out = folder / f"out.{format}"
    predict(model, [str(source)], format=format, out=out)
    with pytest.raises(RecipeError, match="--top must be left out for a model that ranks no classes, got 3"):
        predict(model, [str(source)], top=3)
    text = out.read_text(encoding="utf-8")
    if format == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


def test_a_forecast_is_in_original_units_and_from_the_last_window(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", series())
    task = {"path": str(path), "kind": "forecasting", "order": "day", "target": "load", "window": 10, "horizon": 2}
    run = trained(tmp_path, **task)
    rows = series()
    model = load_model(run)
    fitted = np.array([[row["load"], row["wind"]] for row in rows[:84]])  # the first 70 %
    mean, deviation = fitted.mean(0), fitted.std(0)

    def forecast(last: list[dict[str, Any]]) -> np.ndarray:
        raw = np.array([[row["load"], row["wind"]] for row in last])
        inputs = torch.tensor((raw - mean) / deviation, dtype=torch.float32)[None]
        with torch.no_grad():
            return model.model(inputs)[0][0].double().numpy() * deviation[0] + mean[0]

    (record,) = predicted(run, path, tmp_path)
    assert record["values"]["load"] == pytest.approx(forecast(rows[-10:]).tolist(), rel=1e-5)
    assert (record["sequence"], record["row"]) == ("all", 2)
    file = Path(export(run, format="onnx", out=tmp_path / "m.onnx")["file"])
    (row,) = predicted(file, write(tmp_path / "short.csv", rows[40:50]), tmp_path, "csv")
    assert [float(row[f"load[t+{step}]"]) for step in (1, 2)] == pytest.approx(forecast(rows[40:50]).tolist(), rel=1e-5)
    np.save(tmp_path / "s.npy", [[row["load"], row["wind"]] for row in rows[30:40]])
    with pytest.raises(DataError, match="order"):
        predicted(file, tmp_path / "s.npy", tmp_path)  # arrays have no column of times
    with pytest.raises(DataError, match="has 4 steps; a forecast needs 10"):
        predicted(run, write(tmp_path / "few.csv", rows[:4]), tmp_path)

    result = evaluate(run)
    ends = range(102, 119)
    errors = np.array([forecast(rows[end - 10 : end]) - [row["load"] for row in rows[end : end + 2]] for end in ends])
    assert result["samples"] == len(ends)
    assert result["mse"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert result["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert result["loss"] == pytest.approx((errors**2).mean() / deviation[0] ** 2, rel=1e-4)
    assert evaluate(file)["mse"] == pytest.approx(result["mse"], rel=1e-4)


@pytest.mark.parametrize("format", ["torchscript", "safetensors"])
def test_values_of_sequences_by_name_from_every_kind_of_input(format: str, tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", walks())
    options = {"kind": "regression", "sequence": "id", "features": ["x"], "target": ["sum", "cold"]}
    run = trained(tmp_path, path=str(path), **options)
    table = predicted(run, path, tmp_path)
    assert [record["sequence"] for record in table] == [f"w{s}" for s in range(24)]
    assert table[0]["values"].keys() == {"sum", "cold"}
    assert all(35 < record["values"]["sum"] < 70 for record in table)
    bare = write(tmp_path / "bare.csv", [{"id": row["id"], "x": row["x"]} for row in walks()])
    file = Path(export(run, format=format, out=tmp_path / "m")["file"])
    groups: dict[str, list[float]] = {}
    for row in walks():
        groups.setdefault(row["id"], []).append(row["x"])
    lists = tmp_path / "w.jsonl"
    lists.write_text("\n".join(json.dumps({"id": name, "x": x}) for name, x in groups.items()), encoding="utf-8")
    for source in (bare, lists):
        records = predicted(file, source, tmp_path)
        for one, other in zip(table, records, strict=True):
            assert one["values"] == pytest.approx(other["values"], rel=1e-4)
    named = predicted(file, bare, tmp_path, "csv")
    assert float(named[3]["cold"]) == pytest.approx(table[3]["values"]["cold"], rel=1e-4)


def test_times_that_are_whole_numbers_are_shown_as_such(tmp_path: Path) -> None:
    rows = [row | {"day": number, "half": number / 2} for number, row in enumerate(series())]
    path = write(tmp_path / "s.csv", rows)
    task = {"path": str(path), "kind": "forecasting", "target": "load", "window": 10, "horizon": 2}
    for order, after, following in (("day", "119", ["120", "121"]), ("half", "59.5", ["60", "60.5"])):
        folder = tmp_path / order
        folder.mkdir()
        run = trained(folder, order=order, **task)
        (row,) = predicted(run, path, folder, "csv")
        assert (row["after"], [row[f"time[t+{step}]"] for step in (1, 2)]) == (after, following)
        (record,) = predicted(run, path, folder)
        assert (str(record["after"]), [str(time) for time in record["times"]]) == (after, following)


def test_a_broken_sequence_is_named_and_the_rest_is_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", walks())
    task: dict[str, Any] = {"kind": "classification", "sequence": "id", "features": ["x"], "target": "kind"}
    run = trained(tmp_path, path=str(path), **task)
    rows = [{"id": row["id"], "x": row["x"]} for row in walks()]
    rows[4]["x"] = ""
    broken = write(tmp_path / "broken.csv", rows)
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"1 of 24 .*column 'x': missing value: row 6\); the other 23 were"):
        predict(run, [str(broken)], out=out)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 23
    with pytest.raises(DataError, match="unknown column 'x'"):
        predict(run, [str(write(tmp_path / "other.csv", [{"id": "a", "z": 1}]))], out=out)


def test_every_step_is_labelled_and_scored(tmp_path: Path) -> None:
    rows = [row | {"mark": "high" if row["x"] > 0.5 else "low"} for row in walks()]
    path = write(tmp_path / "w.csv", rows)
    task: dict[str, Any] = {"kind": "labelling", "sequence": "id", "features": ["x"], "target": "mark"}
    run = trained(tmp_path, path=str(path), **task)
    records = predicted(run, path, tmp_path)
    by_name = {record["sequence"]: record["labels"] for record in records}
    steps = {f"w{s}": 3 + s % 4 for s in range(24)}
    assert {name: len(labels) for name, labels in by_name.items()} == steps
    dataset = Files(path=str(path), **task).load()
    batch = dataset.test.batch(torch.arange(len(dataset.test)))
    assert batch.lengths is not None
    model = load_model(run).model
    with torch.no_grad():
        guesses = model(batch.inputs, batch.lengths)[0].argmax(2)
    right = total = 0
    for row, length in enumerate(batch.lengths.tolist()):
        right += int((guesses[row, :length] == batch.targets[row, :length]).sum())
        total += length
    assert evaluate(run)["accuracy"] == pytest.approx(right / total)


def test_files_are_predicted_as_the_recipe_reads_them(tmp_path: Path) -> None:
    def written(name: str, steps: range) -> Path:
        lines = ["Tag;Zeit;Last;x"]
        for step in steps:
            value = f"{500 + 100 * math.sin(step / 3):.2f}".replace(".", ",")
            lines.append(f"{step // 24 + 1:02}.10.2021;{step % 24:02}.00;{value};{step}%")
        path = tmp_path / name
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return path

    task = {"path": str(written("a.csv", range(200))), "kind": "forecasting", "order": ["Tag", "Zeit"],
            "order_format": "%d.%m.%Y %H.%M", "target": "Last", "window": 10, "missing": "forward_fill",
            "csv": {"delimiter": ";", "decimal": ",", "units": {"%": 0.01}}, "missing_values": ["?"]}  # fmt: skip
    run = trained(tmp_path, **task)
    load = [round(500 + 100 * math.sin(step / 3), 2) for step in range(200)]
    share = [step / 100 for step in range(200)]
    fitted = np.array([load[:140], share[:140]]).T
    mean, deviation = fitted.mean(0), fitted.std(0)
    inputs = torch.tensor((np.array([load[190:], share[190:]]).T - mean) / deviation, dtype=torch.float32)[None]
    with torch.no_grad():
        wanted = load_model(run).model(inputs)[0][0, 0].double().item() * deviation[0] + mean[0]
    file = Path(export(run, format="onnx", out=tmp_path / "m.onnx")["file"])
    for subject in (run, file):
        (record,) = predicted(subject, written("b.csv", range(190, 200)), tmp_path)
        assert record["values"]["Last"][0] == pytest.approx(wanted, rel=1e-5)
        assert (record["after"], record["times"]) == ("2021-10-09T07:00:00", ["2021-10-09T08:00:00"])


def test_quantiles_are_sorted_calibrated_on_validation_and_the_same_in_every_file(tmp_path: Path) -> None:
    rows = [row | {"load": row["load"] + 20 * math.sin(7.3 * row["day"])} for row in series(160)]
    path = write(tmp_path / "s.csv", rows)
    levels = [0.1, 0.5, 0.9]
    task = {"path": str(path), "kind": "forecasting", "order": "day", "target": "load", "window": 10, "horizon": 2}
    run = trained(tmp_path, **task, quantiles=levels)
    model = load_model(run).model
    raw = np.array([[row["load"], row["wind"]] for row in rows])
    mean, deviation = raw[:112].mean(0), raw[:112].std(0)  # the first 70 %

    def quantiles(first: int) -> np.ndarray:
        inputs = torch.tensor((raw[first - 10 : first] - mean) / deviation, dtype=torch.float32)[None]
        with torch.no_grad():
            outputs = model(inputs)[0].double().numpy().reshape(2, 3)
        return np.sort(outputs, 1) * deviation[0] + mean[0]

    def truth(first: int) -> np.ndarray:
        return raw[first : first + 2, 0]

    # Windows whose forecast lies in the validation split, steps 112 to 135, and in the test split, 136 to 159.
    scores = np.array(
        [np.maximum(quantiles(at)[:, 0] - truth(at), truth(at) - quantiles(at)[:, 2]) for at in range(112, 135)]
    )
    margin = np.sort(scores, 0)[math.ceil(24 * 0.8) - 1]
    shift = margin[:, None] * [-1, 0, 1]
    (record,) = predicted(run, path, tmp_path)
    expected = quantiles(160) + shift
    for place, level in enumerate(levels):
        assert record["quantiles"][str(level)]["load"] == pytest.approx(expected[:, place].tolist(), rel=1e-4)
    assert record["values"] == record["quantiles"]["0.5"]

    result = evaluate(run)
    tests = range(136, 159)
    inside = [
        (quantiles(at)[:, 0] + shift[:, 0] <= truth(at)) & (truth(at) <= quantiles(at)[:, 2] + shift[:, 2])
        for at in tests
    ]
    (interval,) = result["coverage"]
    assert interval["coverage"] == pytest.approx(np.mean(inside))
    assert interval["level"] == pytest.approx(0.8)
    errors = np.array([quantiles(at)[:, 1] - truth(at) for at in tests])
    (row,) = result["targets"]
    assert row["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4) == pytest.approx(result["mae"], rel=1e-4)
    for step in range(2):
        assert row["steps"][step]["mae"] == pytest.approx(np.abs(errors[:, step]).mean(), rel=1e-4)
        assert row["steps"][step]["rmse"] == pytest.approx(math.sqrt(np.square(errors[:, step]).mean()), rel=1e-4)
    last = np.array([raw[at - 1, 0] - truth(at) for at in tests])
    by_name = {one["name"]: one["metrics"] for one in result["baselines"]}
    assert by_name["last value"]["mae"] == pytest.approx(np.abs(last).mean(), rel=1e-4)
    worst = result["worst"][0]
    assert (worst["sequence"], worst["time"]) == ("all", float(worst["step"]))
    assert worst["step"] == 136 + worst["number"]
    assert {file.name for file in run.glob("*.png")} >= {"forecast-test.png", "horizon-test.png"}

    file = Path(export(run, format="safetensors", out=tmp_path / "m.safetensors")["file"])
    out = tmp_path / "out.csv"
    predict(file, [str(path)], format="csv", out=out, picture=tmp_path / "p.png")
    (line,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
    assert float(line["load 0.9[t+2]"]) == pytest.approx(expected[1, 2], rel=1e-4)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_evaluated_whatever_the_order_of_its_units(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = [f"{row['day']},{row['load'] / 1000:.6f}M,{row['wind']:.4f}%" for row in series(80)]
    path.write_text("day,load,wind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    given = {"units": {"M": 1e6, "%": 0.01}}
    task = {"kind": "forecasting", "order": "day", "target": "load", "window": 5, "csv": given}
    run = trained(tmp_path, path=str(path), **task)
    naive = {one["name"]: one["metrics"]["mae"] for one in evaluate(run)["baselines"]}
    loads = [round(row["load"] / 1000, 6) * 1e6 for row in series(80)]
    changes = [abs(loads[step] - loads[step - 1]) for step in range(68, 80)]
    assert naive["last value"] == pytest.approx(sum(changes) / len(changes), rel=1e-4)


def test_forecasts_of_each_target_are_shown_over_its_own_truth(tmp_path: Path) -> None:
    rows = series(120)
    path = write(tmp_path / "s.csv", rows)
    run = trained(
        tmp_path, path=str(path), kind="forecasting", order="day", target=["load", "wind"], window=10, horizon=3
    )
    shown = evaluate(run)["forecasts"]
    assert list(shown["others"]) == ["wind"]
    assert (run / "forecast-test.png").read_bytes().startswith(b"\x89PNG")
    assert "load" in shown["words"]["title"]
    for name, parts in (("load", shown["row"]), ("wind", shown["others"]["wind"])):
        assert [part["place"] for part in parts][-1] == 117
        for part in parts:
            wanted = [rows[step][name] for step in range(part["place"], part["place"] + 3)]
            assert part["truth"] == pytest.approx(wanted, rel=1e-5)
            assert part["past"] == pytest.approx([rows[part["place"] - 10 + step][name] for step in range(10)])


def test_a_picture_of_forecasts_is_refused_before_anything_is_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", walks())
    run = trained(tmp_path, path=str(path), kind="classification", sequence="id", features=["x"], target="kind")
    with pytest.raises(RecipeError, match="this model makes none"):
        predict(run, [str(path)], picture=tmp_path / "p.png")
    worst = evaluate(run)["worst"]
    assert [row["loss"] for row in worst] == sorted((row["loss"] for row in worst), reverse=True)
    assert worst[0].keys() == {"number", "sequence", "loss", "true", "predicted", "probability"}
    # The loss of a sequence is minus the logarithm of the probability of its class.
    for row in worst:
        right = math.exp(-row["loss"])
        assert row["probability"] == pytest.approx(right if row["true"] == row["predicted"] else 1 - right, rel=1e-4)


@pytest.mark.parametrize("levels", [[0.1, 0.9], [0.5], [0.9, 0.5, 0.1], [0.1, 0.5, 0.8], [0.0, 0.5, 1.0]])
def test_quantiles_that_make_no_intervals_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="as many levels below as above it"):
        Files("a.csv", "regression", target="a", quantiles=levels)
