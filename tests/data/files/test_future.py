"""Features that are known in advance, and forecasts of chosen steps: by independent computation, also in exports."""

from __future__ import annotations

import csv
import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.data.files.normalisation import Scaling
from momentum_cli.errors import DataError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

START = datetime.date(2024, 1, 1)
SECTIONS = {"model": {"hidden_size": 8}, "optimizer": {"name": "adam", "lr": 0.02}, "train": {"epochs": 2}}


def rows(steps: int, shop: str = "a", seed: int = 0) -> list[dict[str, Any]]:
    """Sales that follow the price and the event of their own day, which nothing before tells."""
    draw = np.random.default_rng(seed)
    found = []
    for step in range(steps):
        price = round(float(draw.uniform(1, 3)), 2)
        event = ("none", "fair", "sale")[int(draw.integers(3))]
        sales = 100 - 20 * price + {"none": 0, "fair": 30, "sale": 60}[event]
        found.append({"day": str(START + datetime.timedelta(step)), "shop": shop, "price": price,
                      "event": event, "sales": sales})  # fmt: skip
    return found


def write(path: Path, table: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "kind": "forecasting", "sequence": "shop", "order": "day", "target": "sales",
            "window": 5, "features": ["price", "event", "sales"], "categorical": ["event"],
            "known_future": ["price", "event"], "missing_values": [""], "gaps": "ignore", **more}  # fmt: skip


@pytest.mark.parametrize("horizon", [3, [2, 5]])
def test_a_window_sees_what_is_known_of_the_steps_ahead(tmp_path: Path, horizon: int | list[int]) -> None:
    table = rows(120)
    data = Files(**options(write(tmp_path / "t.csv", table), horizon=horizon)).load()
    steps = [1, 2, 3] if horizon == 3 else [2, 5]
    # price, three events and others, sales; and of each step ahead the price and the events.
    assert data.input_size == 1 + 4 + 1 + len(steps) * (1 + 4)
    scaling = Scaling.of(data.preprocessing["scaling"])
    events = [*data.preprocessing["categories"]["event"], "other"]
    batch = data.train.batch(torch.tensor([7]))
    for step in range(5):
        here = batch.inputs[0, step].double().numpy()
        for place, ahead in enumerate([0, *steps]):
            row = table[7 + step + ahead]
            begin = 0 if ahead == 0 else 6 + (place - 1) * 5
            assert here[begin] * scaling.scale[0] + scaling.offset[0] == pytest.approx(row["price"], abs=1e-5)
            assert events[int(here[begin + 1 : begin + 5].argmax())] == row["event"]
    scale = data.preprocessing["targets"]
    wanted = batch.targets[0].double().numpy() * scale["scale"][0] + scale["offset"][0]
    assert wanted == pytest.approx([table[7 + 4 + ahead]["sales"] for ahead in steps], abs=1e-4)
    # The last window ends where its last step ahead does.
    assert len(data.train) == 120 - 18 - 18 - 5 - max(steps) + 1
    first = 4 + steps[0]
    named = {"number": 0, "sequence": "a", "step": first, "time": table[first]["day"] + "T00:00:00"}
    assert data.train.place(0) == named


def test_steps_apart_are_those_of_the_whole_horizon(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows(200))
    few, all_steps = (Files(**options(path, horizon=h, known_future=None)).load() for h in ([1, 4, 6], 6))
    index = torch.arange(10)
    one, other = few.test.batch(index).targets, all_steps.test.batch(index).targets
    assert torch.equal(one, other[:, [0, 3, 5]])
    last = [data.naive[0].outputs(data.test, index, data.test.batch(index)) for data in (few, all_steps)]
    assert torch.equal(last[0], last[1][:, [0, 3, 5]])
    assert len(few.test) == len(all_steps.test)


def test_a_season_is_looked_for_at_the_steps_that_are_forecast(tmp_path: Path) -> None:
    noise = 1e-3 * np.random.default_rng(0).normal(size=400)
    day = [{"t": t, "x": math.sin(2 * math.pi * t / 12) + float(noise[t])} for t in range(400)]
    path = write(tmp_path / "t.csv", day)
    for horizon in (6, [6, 18]):
        data = Files(path=str(path), kind="forecasting", order="t", target="x", window=24, horizon=horizon).load()
        assert data.naive[1].name == "seasonal naive (12 steps)"
        batch = data.test.batch(torch.tensor([3]))
        found = data.naive[1].outputs(data.test, torch.tensor([3]), batch)
        assert torch.allclose(found, batch.targets, atol=0.02)


def test_a_run_learns_from_what_is_known_in_advance_and_predicts_from_open_rows(tmp_path: Path) -> None:
    table = rows(200) + rows(200, "b", seed=1)
    path = write(tmp_path / "t.csv", table)
    task = {"name": "files", **options(path, horizon=[1, 3])}
    sections = {**SECTIONS, "train": {"epochs": 8, "batch_size": 16}}
    result = train(parse_recipe({"task": task, **sections}), out=tmp_path / "run")
    blind = train(parse_recipe({"task": {**task, "known_future": None}, **sections}), out=tmp_path / "blind")
    assert result["test"]["mse"] < 0.3 * blind["test"]["mse"]
    found = evaluate(tmp_path / "run")
    assert [one["step"] for one in found["targets"][0]["steps"]] == [1, 3]
    assert (tmp_path / "run/forecast-test.png").stat().st_size > 10_000
    export(tmp_path / "run", format="torchscript", out=tmp_path / "m.torchscript")
    # Rows with prices and events, whose sales are still open; of shop a there are more of them than are needed.
    ahead = [{**row, "sales": ""} for row in rows(204)[200:]] + [
        {**row, "sales": ""} for row in rows(203, "b", 1)[200:]
    ]
    new = write(tmp_path / "new.csv", rows(200)[150:] + ahead[:4] + rows(200, "b", 1)[150:] + ahead[4:])
    answers = []
    for number, model in enumerate((tmp_path / "run", tmp_path / "m.torchscript")):
        predict(model, [str(new)], out=tmp_path / f"{number}.jsonl")
        answers.append([json.loads(line) for line in (tmp_path / f"{number}.jsonl").read_text().splitlines()])
    first, second = answers[0]
    assert (first["sequence"], first["after"], first["steps"]) == ("a", "2024-07-18T00:00:00", [1, 3])
    assert first["times"] == ["2024-07-19T00:00:00", "2024-07-21T00:00:00"]
    wanted = [rows(204)[200]["sales"], rows(204)[202]["sales"]]
    assert first["values"]["sales"] == pytest.approx(wanted, abs=0.6 * 25)
    assert second["values"]["sales"] == pytest.approx(answers[1][1]["values"]["sales"], rel=1e-4)
    # The same windows as in training give what the split has: the file's own last steps as open rows.
    data = Files(**options(path, horizon=[1, 3])).load()
    closed = write(tmp_path / "closed.csv", rows(197) + [{**row, "sales": ""} for row in rows(200)[197:]])
    predict(tmp_path / "run", [str(closed)], format="csv", out=tmp_path / "closed.out.csv")
    with (tmp_path / "closed.out.csv").open(encoding="utf-8") as file:
        heading, cells = list(csv.reader(file))
    assert heading[-4:] == ["time[t+1]", "time[t+3]", "sales[t+1]", "sales[t+3]"]
    from momentum_cli.inference.opened import open_subject

    subject = open_subject(tmp_path / "run")
    places = [data.test.place(number) for number in range(len(data.test))]
    number = next(n for n, one in enumerate(places) if (one["sequence"], one["step"]) == ("a", 197))
    with torch.no_grad():
        output = subject.call(data.test.batch(torch.tensor([number])).inputs, None)[0].double().numpy()
    scale = data.preprocessing["targets"]
    assert [float(cell) for cell in cells[-2:]] == pytest.approx(
        (output * scale["scale"][0] + scale["offset"][0]).tolist(), rel=1e-5
    )


def test_rows_to_forecast_may_hold_features_that_are_not_needed(tmp_path: Path) -> None:
    """A size that is the same in all rows of a shop is in those to forecast, too."""

    def sized(steps: int) -> list[dict[str, Any]]:
        return [{**row, "size": 3 + step % 2} for step, row in enumerate(rows(steps))]

    given = options(write(tmp_path / "t.csv", sized(100)), features=["price", "event", "sales", "size"], horizon=2)
    train(parse_recipe({"task": {"name": "files", **given}, **SECTIONS}), out=tmp_path / "run")
    answers = []
    for size in (4, "", 1e6):
        ahead = [{**row, "sales": "", "size": size} for row in sized(102)[100:]]
        predict(tmp_path / "run", [str(write(tmp_path / "n.csv", sized(100) + ahead))], out=tmp_path / "o.jsonl")
        answers.append(json.loads((tmp_path / "o.jsonl").read_text()))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["after"] == "2024-04-09T00:00:00"


def test_files_without_what_must_be_known_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", rows(100))
    train(parse_recipe({"task": {"name": "files", **options(path, horizon=3)}, **SECTIONS}), out=tmp_path / "run")

    def refused(table: list[dict[str, Any]], wanted: str) -> None:
        with pytest.raises(DataError, match=wanted):
            predict(tmp_path / "run", [str(write(tmp_path / "n.csv", table))], out=tmp_path / "o.jsonl")

    needed = "0 steps to forecast, and 3 are needed: rows with values of price, event, in which sales is empty"
    refused(rows(50), f"sequence 'a' ends in {needed}")
    open_rows = [{**row, "sales": ""} for row in rows(53)[50:]]
    refused(rows(50) + open_rows[:2], "ends in 2 steps to forecast, and 3 are needed")
    refused(rows(50) + [{**row, "price": ""} for row in open_rows], "column 'price': missing value")
    refused(rows(4) + [{**row, "sales": ""} for row in rows(7)[4:]], "has 4 steps; a forecast needs 5")
    gap = rows(50)
    gap[30]["sales"] = ""
    refused(gap + open_rows, "column 'sales': missing value")


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"known_future": ["sales"]}, "`known_future` must be a feature that is known in advance, and no target"),
        ({"known_future": ["weather"]}, "`known_future` must be one of the features"),
        ({"known_future": []}, "must name at least one feature, got an empty list"),
        ({"kind": "classification"}, "be left out unless kind is forecasting"),
        ({"horizon": []}, "`horizon` must be a number >= 1, or a list of rising ones"),
        ({"horizon": [6, 1]}, "`horizon` must be a number >= 1, or a list of rising ones"),
        ({"horizon": [0, 1]}, "`horizon` must be a number >= 1, or a list of rising ones"),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        Files(**options(Path("x.csv")) | more)


def test_only_rows_that_are_steps_have_columns_known_in_advance(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(200.0).reshape(100, 2))
    task = Files(path=str(tmp_path / "x.npy"), kind="forecasting", window=4, known_future=["x[1]"])
    with pytest.raises(DataError, match=r"`task\.known_future` must be left out unless each row of a table is a step"):
        task.load()
    path = write(tmp_path / "t.csv", rows(100))
    with pytest.raises(DataError, match=r"column 'weather'|feature 'weather'"):
        Files(**options(path, features=None, categorical=["event"], sequence="shop", known_future=["weather"])).load()
