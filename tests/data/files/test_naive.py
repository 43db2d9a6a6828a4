"""Naive predictors of files against computations by hand on the numbers of the file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from momentum_cli.data import Dataset, Files, Language, Sequences
from momentum_cli.errors import DataError
from momentum_cli.inspection.data import check_data
from momentum_cli.recipe.building import load_data
from momentum_cli.recipe.recipe import Recipe, parse_recipe
from momentum_cli.training.evaluation import baselines, naive_answer, tally
from momentum_cli.training.objective import Objective

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


@pytest.mark.parametrize(("growth", "season"), [(1, 12), (0, 11)])
def test_a_growing_series_has_the_season_of_the_calendar(tmp_path: Path, growth: int, season: int) -> None:
    # By the growth of one step, 11 months before is nearer than a year before.
    steps = np.arange(300)
    values = np.stack([growth * steps + 15 * np.sin(2 * np.pi * steps / season)] * 2, 1)
    dataset = forecasting(write(tmp_path / "a.csv", values), window=24, horizon=12).load()
    assert f"seasonal naive ({season} steps)" in [one.name for one in dataset.naive]


def divisors(split: Sequences, window: int = 0) -> np.ndarray:
    """Return what `mase` divides the errors of a window by, (K,)."""
    found = split.batch(torch.tensor([window])).naive_errors
    assert found is not None
    steps = found[0, 0].reshape(HORIZON, -1).numpy()
    assert (steps == steps[0]).all()
    return np.asarray(steps[0])


@pytest.mark.parametrize("season", [None, 4])
def test_mase_divides_by_the_naive_error_of_the_training_part(tmp_path: Path, season: int | None) -> None:
    values = series()
    dataset = forecasting(write(tmp_path / "a.csv", values), season=season).load()
    train = values[: round(0.7 * len(values))]
    lag = season or 1
    expected = np.abs(train[lag:] - train[:-lag]).mean(0)
    for split in (dataset.train, dataset.test):
        np.testing.assert_allclose(divisors(split), expected, rtol=1e-9)


def test_a_gap_is_no_step_of_the_naive_error(tmp_path: Path) -> None:
    values = series()
    values[60:] += 1000.0
    times = [*range(60), *range(5000, 5540)]
    dataset = forecasting(write(tmp_path / "a.csv", values, times), gaps="split").load()
    train = values[: round(0.7 * len(values))]
    changes = np.delete(np.abs(np.diff(train, axis=0)), 59, 0)
    np.testing.assert_allclose(divisors(dataset.test), changes.mean(0), rtol=1e-9)


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


SHOPS = {"a": (300, 1.0), "b": (100, 50.0), "c": (60, 1000.0)}
"""Number of steps and size of the changes of each series of a panel."""


def panel(path: Path, still: str = "") -> dict[str, np.ndarray]:
    """Write two series of each shop, in rows that alternate; the second one of the shop `still` does not change."""
    random = np.random.default_rng(5)
    values = {shop: random.normal(size=(steps, 2)).cumsum(0) * size for shop, (steps, size) in SHOPS.items()}
    if still:
        values[still][:, 1] = 7.0
    rows = [(t, shop, *pair) for shop, each in values.items() for t, pair in enumerate(each.tolist())]
    lines = [f"{t},{shop},{a!r},{b!r}" for t, shop, a, b in sorted(rows)]
    path.write_text("t,shop,a,b\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return values


def with_mase(path: Path, **options: object) -> Recipe:
    task = {"name": "files", "path": str(path), "kind": "forecasting", "order": "t", "sequence": "shop"}
    task |= {"features": ["a", "b"], "target": ["a", "b"], "window": 6, "horizon": 3}
    return parse_recipe(
        {
            "task": task | options,
            "metrics": ["mase"],
            "model": {"hidden_size": 2},
            "optimizer": {"name": "adam", "lr": 0.1},
            "train": {"epochs": 1},
        }
    )


def mase_of_last_values(values: dict[str, np.ndarray], lag: int, left_out: tuple[str, int] | None = None) -> float:
    """Compute by loops the MASE of forecasts of the last value, on the last 15 % of each series."""
    each = []
    for shop, own in values.items():
        steps = len(own)
        test_at = steps - round(steps * 0.15)
        train = test_at - round(steps * 0.15)
        for target in range(2):
            if (shop, target) == left_out:
                continue
            numbers = own[:, target].tolist()
            changes = [abs(numbers[t] - numbers[t - lag]) for t in range(lag, train)]
            divisor = sum(changes) / len(changes)
            forecasts = range(test_at, steps - 3 + 1)
            errors = [abs(numbers[t + step] - numbers[t - 1]) / divisor for t in forecasts for step in range(3)]
            each.append(sum(errors) / len(errors))
    return sum(each) / len(each)


@pytest.mark.parametrize("options", [{}, {"season": 4}, {"normalise_by": "shop"}, {"quantiles": [0.1, 0.5, 0.9]}])
def test_mase_of_a_panel_is_the_mean_over_series_each_scaled_by_itself(
    tmp_path: Path, options: dict[str, object]
) -> None:
    values = panel(tmp_path / "a.csv")
    dataset = load_data(with_mase(tmp_path / "a.csv", **options))
    assert dataset.metric == "mase"
    found = {one["name"]: one["metrics"]["mase"] for one in baselines(dataset, dataset.test, 7)}
    lag = 4 if "season" in options else 1
    assert found["last value"] == pytest.approx(mase_of_last_values(values, lag), rel=1e-5)
    assert dataset.warnings == ()


def test_a_series_that_never_changes_is_left_out_of_mase_with_a_warning(tmp_path: Path) -> None:
    values = panel(tmp_path / "a.csv", still="b")
    recipe = with_mase(tmp_path / "a.csv")
    dataset = load_data(recipe)
    found = {one["name"]: one["metrics"]["mase"] for one in baselines(dataset, dataset.test, 7)}
    assert found["last value"] == pytest.approx(mase_of_last_values(values, 1, left_out=("b", 1)), rel=1e-5)
    said = [warning for warning in dataset.warnings if "mase" in warning]
    assert said == [
        f"mase of the {split} split leaves out 1 of 6 series, for lack of a training part in which they change: b b"
        for split in ("validation", "test")
    ]
    assert [one["message"] for one in check_data(recipe)["problems"] if one["code"] == "mase"] == said


def test_error_bars_of_mase_are_those_of_its_series(tmp_path: Path) -> None:
    panel(tmp_path / "a.csv")
    dataset = load_data(with_mase(tmp_path / "a.csv"))
    last = next(one for one in dataset.naive if one.name == "last value")
    answer = naive_answer(last, dataset.test)
    found = tally(answer, dataset.test, Objective.of(dataset), size=9, keep=True)
    low, high = found.intervals(dataset.neighbours)["mase"]
    assert low < found.metrics()["mase"] < high


def test_mase_without_a_series_of_its_own_training_part_is_refused(tmp_path: Path) -> None:
    # Whole series are drawn, so those of the test split have no training part.
    panel(tmp_path / "a.csv")
    recipe = with_mase(tmp_path / "a.csv", split="fraction")
    with pytest.raises(DataError, match=r"mase is not defined: none of the 2 series of the validation"):
        load_data(recipe)
    checked = check_data(recipe)
    assert not checked["ok"]
    assert "mase is not defined" in checked["problems"][-1]["message"]


def test_mase_of_targets_that_never_change_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", np.ones((200, 2)))
    with pytest.raises(DataError, match="mase is not defined: none of the 1 series"):
        load_data(with_mase(path, sequence=None, features=["a"], target="a"))


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
