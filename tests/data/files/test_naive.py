"""Naive predictors of files against computations by hand on the numbers of the file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from momentum_cli.data import Dataset, Files, Language
from momentum_cli.errors import DataError
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.evaluation import baselines

WINDOW, HORIZON = 12, 5


def series(length: int = 600) -> np.ndarray:
    """Return two series with a season of six steps, one around 1e6."""
    noise = np.random.default_rng(0).normal(size=(length, 2))
    season = np.sin(2 * np.pi * np.arange(length) / 6)
    return np.stack([1e6 + 5 * season, 20 * season], 1) + noise * [0.1, 0.6]


def write(path: Path, values: np.ndarray, times: list[int] | None = None) -> Path:
    rows = [f"{t},{a!r},{b!r}" for t, (a, b) in zip(times or range(len(values)), values.tolist(), strict=True)]
    path.write_text("t,a,b\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def forecasting(path: Path, **options: object) -> Files:
    given = {"order": "t", "features": ["a", "b"], "target": ["a", "b"], "window": WINDOW, "horizon": HORIZON}
    return Files(str(path), "forecasting", **given | options)  # type: ignore[arg-type]


def test_naive_forecasts_are_those_of_the_file(tmp_path: Path) -> None:
    values = series()
    dataset = forecasting(write(tmp_path / "a.csv", values)).load()
    count = len(dataset.test)
    # The last window of the test split forecasts the end of the series.
    firsts = np.arange(len(values) - HORIZON - count + 1, len(values) - HORIZON + 1)
    wanted = np.stack([values[first : first + HORIZON] for first in firsts])
    mean = values[: round(0.7 * len(values))].mean(0)
    ahead = {
        "last value": np.stack([values[first - 1 : first].repeat(HORIZON, 0) for first in firsts]),
        "seasonal naive (6 steps)": np.stack([values[first - 6 : first - 6 + HORIZON] for first in firsts]),
        "training mean": np.broadcast_to(mean, wanted.shape),
    }
    found = {one["name"]: one["metrics"] for one in baselines(dataset, dataset.test, 7)}
    assert found.keys() == ahead.keys()
    for name, forecast in ahead.items():
        assert found[name]["mae"] == pytest.approx(np.abs(forecast - wanted).mean(), rel=1e-4), name
        assert found[name]["mse"] == pytest.approx(np.square(forecast - wanted).mean(), rel=1e-4), name
    assert next(iter(found)) == "seasonal naive (6 steps)"


def test_a_season_that_is_given_is_taken_and_repeats_itself_over_the_horizon(tmp_path: Path) -> None:
    values = series()
    dataset = forecasting(write(tmp_path / "a.csv", values), season=3).load()
    index = torch.tensor([4])
    seasonal = next(one for one in dataset.naive if one.name == "seasonal naive (3 steps)")
    batch = dataset.train.batch(index)
    found = seasonal.outputs(dataset.train, index, batch).reshape(HORIZON, 2).double().numpy()
    scale, offset = (np.array(one[:2]) for one in (dataset.target_scale, dataset.target_offset))
    end = 4 + WINDOW
    expected = values[[end - 3, end - 2, end - 1, end - 3, end - 2]]
    np.testing.assert_allclose(found * scale + offset, expected, rtol=1e-6)


@pytest.mark.parametrize("season", [None, 4])
def test_mase_divides_by_the_naive_error_of_the_training_part(tmp_path: Path, season: int | None) -> None:
    values = series()
    dataset = forecasting(write(tmp_path / "a.csv", values), season=season).load()
    train = values[: round(0.7 * len(values))]
    lag = season or 1
    expected = np.abs(train[lag:] - train[:-lag]).mean(0)
    np.testing.assert_allclose(dataset.naive_errors, np.tile(expected, HORIZON), rtol=1e-9)  # type: ignore[arg-type]


def test_a_gap_is_no_step_of_the_naive_error(tmp_path: Path) -> None:
    values = series()
    values[60:] += 1000.0
    times = [*range(60), *range(5000, 5540)]
    dataset = forecasting(write(tmp_path / "a.csv", values, times), gaps="split").load()
    train = values[: round(0.7 * len(values))]
    changes = np.delete(np.abs(np.diff(train, axis=0)), 59, 0)
    np.testing.assert_allclose(dataset.naive_errors[:2], changes.mean(0), rtol=1e-9)  # type: ignore[index]


def test_white_noise_has_no_season_and_its_best_forecast_is_the_mean(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(400, 2))
    dataset = forecasting(write(tmp_path / "a.csv", noise), horizon=1).load()
    found = baselines(dataset, dataset.test, 50)
    assert found[0]["name"] == "training mean"


def test_a_season_beyond_the_window_or_without_a_forecast_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be from 2 to window = 12, got 13"):
        forecasting(tmp_path / "a.csv", season=13)
    with pytest.raises(ValueError, match="must be left out unless kind is forecasting"):
        Files("a.csv", "regression", target="a", season=2)


def test_mase_of_a_target_that_never_changes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", np.ones((200, 2)))
    task = {"name": "files", "path": str(path), "kind": "forecasting", "order": "t", "target": "a", "window": 4}
    recipe = parse_recipe(
        {
            "task": task,
            "metrics": ["mase"],
            "model": {"hidden_size": 2},
            "optimizer": {"name": "adam", "lr": 0.1},
            "train": {"epochs": 1},
        }
    )
    with pytest.raises(DataError, match="mase is not defined for a target that never changes"):
        load_data(recipe)


def classes(path: Path, kind: str) -> Dataset:
    rows = [f"s{row // 3},{row % 3},{row},{'ab'[row // 3 % 3 == 2]}" for row in range(180)]
    path.write_text("id,t,x,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return Files(str(path), kind, sequence="id", order="t", features=["x"], target="label").load()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["classification", "labelling"])
def test_the_majority_class_and_its_loss_are_those_of_the_training_shares(tmp_path: Path, kind: str) -> None:
    dataset = classes(tmp_path / "a.csv", kind)
    train = torch.cat([dataset.train.batch(torch.arange(len(dataset.train))).targets.flatten()])
    test = dataset.test.batch(torch.arange(len(dataset.test))).targets.flatten()
    counts = train.bincount(minlength=2) + 1
    shares = (counts / counts.sum()).tolist()
    (naive,) = baselines(dataset, dataset.test, 4)
    assert naive["name"] == "majority class"
    assert naive["metrics"]["accuracy"] == pytest.approx(float((test == 0).double().mean()))
    assert naive["metrics"]["loss"] == pytest.approx(
        sum(-math.log(shares[label]) for label in test.tolist()) / len(test), rel=1e-6
    )


def test_the_mean_of_a_regression(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", series())
    dataset = Files(str(path), "regression", features=["t", "a"], target="b", normalise="range").load()
    scale, offset = np.array(dataset.target_scale), np.array(dataset.target_offset)
    train, test = (
        split.batch(torch.arange(len(split))).targets.double().numpy() * scale + offset
        for split in (dataset.train, dataset.test)
    )
    (naive,) = baselines(dataset, dataset.test, 10)
    assert naive["metrics"]["mse"] == pytest.approx(np.square(test - train.mean()).mean(), rel=1e-5)


def test_unigrams_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abracadabra " * 60, encoding="utf-8")
    dataset = Language("character", str(path)).load()
    train, test = (
        split.batch(torch.arange(len(split)).unsqueeze(0)).targets.flatten() for split in (dataset.train, dataset.test)
    )
    counts = train.bincount(minlength=dataset.output_size) + 1
    nats = -(counts / counts.sum()).log()[test].mean()
    (naive,) = baselines(dataset, dataset.test, 3)
    assert naive["name"] == "unigram"
    assert naive["metrics"]["bits_per_character"] == pytest.approx(float(nats) / math.log(2), rel=1e-5)
