"""Words, the calendar and even steps as features: by independent computation, and the same in `predict` and exports."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.data.files.calendar import calendar_features, calendar_names
from momentum_cli.data.files.normalisation import Mixed, OneHot, Scaling
from momentum_cli.data.files.pieces import Piece
from momentum_cli.data.files.resampling import interval, resampled
from momentum_cli.errors import DataError
from momentum_cli.formats.export import export
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

MODES = ("idle", "run", "idle", "stop")


def shares(moment: datetime.datetime) -> list[float]:
    """Sine and cosine of the shares of the day, the week and the year, by the calendar of Python."""
    day = (moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)) / datetime.timedelta(days=1)
    year = moment.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    passed = (moment - year) / (year.replace(year=year.year + 1) - year)
    angles = [2 * math.pi * share for share in (day, (moment.weekday() + day) / 7, passed)]
    return [wave(angle) for angle in angles for wave in (math.sin, math.cos)]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
def test_the_calendar_is_that_of_python(zone: str | None) -> None:
    moments = [
        datetime.datetime(2024, 2, 29, 23, 59, 59),
        datetime.datetime(1969, 12, 31, 18, 30),
        datetime.datetime(2021, 10, 31, 0, 30),
        datetime.datetime(2021, 10, 31, 1, 30),  # 02:30 in Berlin a second time
        datetime.datetime(1583, 3, 1, 6),
        datetime.datetime(9998, 12, 31, 12),
    ]
    found = calendar_features(np.array(moments, "M8[us]"), ("hour", "weekday", "month"), zone)
    there = moments
    if zone is not None:
        utc = [moment.replace(tzinfo=datetime.UTC) for moment in moments]
        there = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in utc]
    later = [0, 1, 2, 3, 5] if zone else [0, 1, 2, 3, 4, 5]  # in 1583 there were no zones
    np.testing.assert_allclose(found[later], np.array([shares(moment) for moment in there])[later], atol=1e-9)
    assert calendar_names(("hour", "month")) == ("hour sin", "hour cos", "month sin", "month cos")
    with pytest.raises(DataError, match=r"`task\.date_features` must be used with dates or times, got numbers"):
        calendar_features(np.arange(3.0), ("hour",), None)


@pytest.mark.parametrize("every", ["1h", "15min", "1d", "1w", 7])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_an_interval_is_the_mean_of_its_steps_and_the_last_word(every: str | int, unit: str) -> None:
    draw = np.random.default_rng(3)
    seconds = np.sort(draw.integers(-2 * 86400, 20 * 86400, 300))
    timed = isinstance(every, str)
    start = np.datetime64("1970-01-05T00:00:00", unit)  # a Monday
    order: Any = start + seconds.astype("m8[s]") if timed else seconds / 3600.0
    values = 1.6e9 + draw.normal(size=(300, 2))
    values[draw.random((300, 2)) < 0.2] = np.nan
    words = draw.integers(0, 3, 300).astype(float)
    labels = np.array([f"c{n % 4}" for n in range(300)], object)
    piece = Piece("s", np.column_stack((values, words)), np.arange(300) + 2, order, labels)
    found = resampled(piece, every, [2])
    assert found.order is not None
    assert found.target is not None
    size = interval(every)[0] / (1e9 if timed else 1)
    own = np.floor((seconds if timed else order) / size).astype(int)
    assert len(found.features) == own[-1] - own[0] + 1
    for number, place in enumerate(range(own[0], own[-1] + 1)):
        here = np.flatnonzero(own == place)
        begin = start + np.timedelta64(int(place * size), "s") if timed else place * size
        assert found.order[number] == begin
        for column in range(2):
            known = [x for x in values[here, column].tolist() if not math.isnan(x)]
            expected = math.fsum(x - 1.6e9 for x in known) / len(known) if known else math.nan
            np.testing.assert_allclose(found.features[number, column] - 1.6e9, expected, rtol=0, atol=1.3e-7)
        if len(here):
            assert (found.features[number, 2], found.target[number]) == (words[here[-1]], labels[here[-1]])
        else:
            assert math.isnan(found.features[number, 2])


def test_intervals_that_make_no_sense_are_refused() -> None:
    for wrong in ("1 month", "0h", "h", -1, math.inf):
        with pytest.raises(ValueError, match=r"`resample` must be a number > 0, or one with s, min, h, d, w behind it"):
            interval(wrong)
    dates = Piece("s", np.zeros((2, 1)), np.arange(2), np.array(["2020-01-01", "2024-01-01"], "M8[us]"))
    with pytest.raises(DataError, match=r"got dates in task\.order"):
        resampled(dates, 60, [])
    with pytest.raises(DataError, match=r"got numbers in task\.order"):
        resampled(Piece("s", np.zeros((2, 1)), np.arange(2), np.arange(2.0)), "1h", [])
    with pytest.raises(DataError, match="be longer: it makes 126230401 steps of 2"):
        resampled(dates, "1s", [])


def table(path: Path, steps: int = 240) -> Path:
    """Write an irregular series, at 0 to 3 times an hour."""
    begin = datetime.datetime(2024, 1, 1)
    lines = ["when,mode,load"]
    for step in range(steps):
        moment = begin + datetime.timedelta(minutes=30 * step + step * step % 17)
        lines.append(f"{moment:%Y-%m-%d %H:%M},{MODES[step % 4] if step < 200 else 'new'},{100 + step % 24}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {"name": "files", "path": str(path), "kind": "forecasting", "order": "when", "target": "load", "window": 6,
            "features": ["mode", "load"], "categorical": ["mode"], "date_features": ["hour"], "missing": "forward_fill",
            "resample": "1h", **more}  # fmt: skip


def test_words_and_hours_are_channels_of_a_batch(tmp_path: Path) -> None:
    given = options(table(tmp_path / "t.csv"), resample=None)
    given.pop("name")
    data = Files(**given).load()
    assert data.preprocessing["categories"] == {"mode": ["idle", "run", "stop"]}
    assert data.preprocessing["features"] == ["mode", "load", "hour sin", "hour cos"]
    assert data.input_size == 4 + 1 + 2
    batch = data.train.batch(torch.tensor([0, 1]))
    words = ["idle", "run", "stop", "other"]
    for row in range(2):
        found = batch.inputs[row, :, :4].argmax(1)
        assert [words[place] for place in found.tolist()] == [MODES[(row + step) % 4] for step in range(6)]
        assert (batch.inputs[row, :, :4].sum(1) == 1).all()
    last = data.test.batch(torch.tensor([len(data.test) - 1])).inputs[0]
    assert (last[:, :4].argmax(1) == 3).all()  # a word that the training data do not have
    scaling = data.preprocessing["scaling"]
    hours = batch.inputs[0, :, 5].double() * scaling["scale"][2] + scaling["offset"][2]
    minutes = [30 * step + step * step % 17 for step in range(6)]
    np.testing.assert_allclose(hours, [math.sin(2 * math.pi * m / 1440) for m in minutes], atol=1e-6)
    with pytest.raises(ValueError, match="be a feature, and no target"):
        Files(**given | {"categorical": ["load"]})
    with pytest.raises(ValueError, match=r"`date_features` must be left out without task\.order"):
        Files(path="x", kind="classification", target="y", date_features=["hour"])
    with pytest.raises(DataError, match="be left out unless each row of a table is a step"):
        Files(path=given["path"], kind="classification", target="when", categorical=["mode"]).load()


def test_a_run_is_evaluated_exported_and_predicts_with_the_features_that_it_was_trained_on(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv")
    sections = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.01}, "train": {"epochs": 1}}
    recipe = parse_recipe({"task": options(path), **sections})
    result = train(recipe, out=tmp_path / "run")
    assert evaluate(tmp_path / "run")["metrics"] == pytest.approx(result["test"], rel=1e-4)
    export(tmp_path / "run", format="torchscript", out=tmp_path / "m.torchscript")
    answers = []
    for number, model in enumerate((tmp_path / "run", tmp_path / "m.torchscript")):
        predict(model, [str(path)], out=tmp_path / f"{number}.jsonl")
        answers.append(json.loads((tmp_path / f"{number}.jsonl").read_text(encoding="utf-8")))
    # The last step is the hour that the last row is in, and the forecast is of the next one.
    assert (answers[0]["after"], answers[0]["times"]) == ("2024-01-05T23:00:00", ["2024-01-06T00:00:00"])
    assert answers[0]["values"]["load"] == pytest.approx(answers[1]["values"]["load"], rel=1e-5)
    # Other words come in another order there; the answer is the same.
    rows = path.read_text(encoding="utf-8").splitlines()
    (tmp_path / "tail.csv").write_text("\n".join([rows[0], *rows[-30:]]) + "\n", encoding="utf-8")
    predict(tmp_path / "run", [str(tmp_path / "tail.csv")], out=tmp_path / "2.jsonl")
    tail = json.loads((tmp_path / "2.jsonl").read_text(encoding="utf-8"))
    assert tail["values"]["load"] == pytest.approx(answers[0]["values"]["load"], rel=1e-5)


def test_each_sequence_is_scaled_by_itself_also_in_predict(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    levels = [10.0**place for place in range(8)]
    walks = [level * (5 + draw.normal(size=9).cumsum()) for level in levels]
    walks[3][:] = 7.0  # a constant sequence has no deviation
    lines = ["id,x,y"]
    for number, walk in enumerate(walks):
        lines += [f"{number},{value!r},{'ab'[number % 2]}" for value in walk.tolist()]
    path = tmp_path / "s.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    task = {"path": str(path), "kind": "classification", "sequence": "id", "target": "y", "normalise": "sequence"}
    data = Files(**task).load()  # type: ignore[arg-type]
    scaling = data.preprocessing["scaling"]
    wanted = {tuple(np.round((walk - walk.mean()) / (walk.std() or 1.0), 4)) for walk in walks}
    for split in (data.train, data.validation, data.test):
        assert split is not None
        inputs = split.batch(torch.arange(len(split))).inputs[:, :, 0].double().numpy()
        for row in inputs * scaling["scale"][0] + scaling["offset"][0]:
            assert min(max(abs(row - one)) for one in wanted) < 1e-4
    with pytest.raises(ValueError, match="be 'standard', 'range' or 'none' with series"):
        Files(**task | {"kind": "forecasting", "window": 3})  # type: ignore[arg-type]
    sections = {"model": {"hidden_size": 2}, "optimizer": {"name": "adam", "lr": 0.01}, "train": {"epochs": 1}}
    train(parse_recipe({"task": {"name": "files", **task}, **sections}), out=tmp_path / "run")
    # What the factor of a sequence is does not matter.
    scaled = [line if n == 0 else line.replace(line.split(",")[1], repr(float(line.split(",")[1]) * 3))
              for n, line in enumerate(lines)]  # fmt: skip
    (tmp_path / "3.csv").write_text("\n".join(scaled) + "\n", encoding="utf-8")
    found = []
    for name in ("s.csv", "3.csv"):
        predict(tmp_path / "run", [str(tmp_path / name)], out=tmp_path / "p.jsonl")
        found.append([json.loads(line)["probability"] for line in (tmp_path / "p.jsonl").read_text().splitlines()])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_missing_word_is_another_one() -> None:
    flat = Scaling(np.zeros(2), np.ones(2), np.array([5.0, 0.0]))
    mixed = Mixed(flat, {1: OneHot.of(["b", "new", "a"], ["a", "b"])})
    found = mixed(np.array([[1.0, 0.0], [2.0, 1.0], [np.nan, 2.0], [4.0, np.nan]]))
    # The number; then a, b and all others.
    assert found.tolist() == [[1, 0, 1, 0], [2, 0, 0, 1], [5, 1, 0, 0], [4, 0, 0, 1]]
    assert mixed.size == 4
